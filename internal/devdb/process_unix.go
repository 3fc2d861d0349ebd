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

// childAttributes puts a child into a process group of its own, out of reach of
// the terminal's Ctrl-C: we stop it ourselves, when its clients are done.
func childAttributes() *syscall.SysProcAttr {
	attributes := &syscall.SysProcAttr{Setpgid: true}
	if isRoot() {
		attributes.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	endWithParent(attributes)
	return attributes
}

// acquire makes dir ours until the lock is closed or this process ends, however
// that comes: the kernel forgets the lock with the process.
func acquire(dir string) (io.Closer, error) {
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("another process is running PostgreSQL in %s", dir)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return folderLock{file}, nil
}

type folderLock struct{ file *os.File }

// Close frees the folder at once. Closing the file alone would not: the lock
// lasts as long as any copy of the descriptor, and a child that another
// goroutine has just forked holds one until its exec (flock(2)).
func (l folderLock) Close() error {
	err := syscall.Flock(int(l.file.Fd()), syscall.LOCK_UN)
	return errors.Join(err, l.file.Close())
}
