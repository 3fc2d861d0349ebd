package main

import (
	"os/exec"
	"syscall"
)

// stopWithParent asks the kernel to end the process when this one ends, even by SIGKILL.
func stopWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
}
