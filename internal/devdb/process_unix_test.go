//go:build unix

package devdb

import (
	"syscall"
	"testing"
)

func TestCloseReleasesTheLockAlthoughAChildHoldsTheFile(t *testing.T) {
	t.Parallel()
	dir := publicDir(t)
	lock, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	inherited, err := syscall.Dup(int(lock.(folderLock).file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(inherited) }()
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}
