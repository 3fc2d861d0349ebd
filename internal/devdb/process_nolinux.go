//go:build unix && !linux

package devdb

import (
	"os/exec"
	"strconv"
	"syscall"
)

// endWithParent does nothing: there is no such signal here. The next Start stops the server of a killed process.
func endWithParent(*syscall.SysProcAttr) {}

// commandLine returns the command line of a process, empty when there is no such process.
func commandLine(pid int) string {
	out, _ := exec.Command("ps", "-ww", "-o", "args=", "-p", strconv.Itoa(pid)).Output()
	return string(out)
}
