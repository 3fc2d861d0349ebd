//go:build unix && !linux

package devdb

import (
	"os/exec"
	"strconv"
	"syscall"
)

// endWithParent has no equivalent here: the next Start evicts what a killed
// process left running.
func endWithParent(*syscall.SysProcAttr) {}

// commandLine is what a process runs, empty if there is no such process.
func commandLine(pid int) string {
	out, _ := exec.Command("ps", "-ww", "-o", "args=", "-p", strconv.Itoa(pid)).Output()
	return string(out)
}
