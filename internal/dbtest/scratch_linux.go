package dbtest

import (
	"os"
	"syscall"
)

// scratch is where the cluster goes: into memory if there is room. A copy of a
// database is some 300 new files, and on a busy disk takes ten times as long.
func scratch() string {
	const memory, room = "/dev/shm", 1 << 30 // containers often have 64 MB
	var s syscall.Statfs_t
	if err := syscall.Statfs(memory, &s); err == nil && s.Bavail*uint64(s.Bsize) > room {
		return memory
	}
	return os.TempDir()
}
