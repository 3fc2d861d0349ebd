package main

import (
	"os/exec"
	"syscall"
)

// endWithUs asks the kernel to end a child when we are gone, even by kill -9.
func endWithUs(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} }
