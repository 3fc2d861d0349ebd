package dbtest

import (
	"os"
	"syscall"
)

// scratch returns the folder for servers' data: one in memory when it has enough space. A copy of a database is some 300
// new files, which on a busy disk take ten times as long.
func scratch() string {
	const memory, enough = "/dev/shm", 1 << 30 // containers often have 64 MB
	var s syscall.Statfs_t
	if err := syscall.Statfs(memory, &s); err == nil && s.Bavail*uint64(s.Bsize) > enough {
		return memory
	}
	return os.TempDir()
}
