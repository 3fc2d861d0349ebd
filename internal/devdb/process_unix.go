//go:build unix

package devdb

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// childAttributes puts a child into a process group of its own, so that Ctrl-C in a terminal does not reach it: Stop ends
// it, after its clients.
func childAttributes() *syscall.SysProcAttr {
	attributes := &syscall.SysProcAttr{Setpgid: true}
	if isRoot() {
		attributes.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	endWithParent(attributes)
	return attributes
}

// lockDir locks dir until the lock is closed or this process ends, however it ends. It returns an error when another
// process holds the lock.
func lockDir(dir string) (io.Closer, error) {
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("another process is running PostgreSQL in %s", dir)
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return folderLock{file}, nil
}

type folderLock struct{ file *os.File }

// Close releases the lock. Closing the file alone might not: a lock lasts as long as any copy of the file descriptor
// (flock(2)), and a child that another goroutine has forked holds one until its exec.
func (l folderLock) Close() error {
	err := syscall.Flock(int(l.file.Fd()), syscall.LOCK_UN)
	return errors.Join(err, l.file.Close())
}
