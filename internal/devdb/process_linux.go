package devdb

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// endWithParent makes the kernel send the child the signal for a fast shutdown when this process ends, even by SIGKILL.
func endWithParent(attributes *syscall.SysProcAttr) { attributes.Pdeathsig = syscall.SIGINT }

// commandLine returns the command line of a process, empty when there is no such process.
func commandLine(pid int) string {
	arguments, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.ReplaceAll(string(arguments), "\x00", " ")
}
