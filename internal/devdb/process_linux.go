package devdb

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// endWithParent asks the kernel for a fast shutdown of the child when we are
// gone, even by kill -9.
func endWithParent(attributes *syscall.SysProcAttr) { attributes.Pdeathsig = syscall.SIGINT }

// commandLine is what a process runs, empty if there is no such process.
func commandLine(pid int) string {
	arguments, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.ReplaceAll(string(arguments), "\x00", " ")
}
