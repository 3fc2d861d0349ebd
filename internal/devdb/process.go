package devdb

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// evict stops the server that an earlier run left on a data folder when it was
// killed. The caller holds the lock, so no other Server is using it.
func evict(data string) error {
	pidFile := filepath.Join(data, "postmaster.pid")
	content, err := os.ReadFile(pidFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	line, _, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(line)
	if err != nil || pid <= 0 {
		return nil // PostgreSQL says best what is wrong with this file
	}
	// pg_ctl asks only whether the process exists. After a reboot the number may
	// be anyone's, so we look at what it runs.
	ours := func() bool { return strings.Contains(commandLine(pid), "postgres -D "+data+" ") }
	switch command := commandLine(pid); {
	case ours():
	case command == "":
		return nil // gone; PostgreSQL clears the file itself
	case strings.Contains(command, "postgres"):
		return fmt.Errorf("process %d may be a PostgreSQL on %s: stop it, or delete %s if it is not", pid, data, pidFile)
	default:
		return os.Remove(pidFile) // PostgreSQL would take that process for a server and refuse
	}
	process, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	gone := make(chan struct{})
	go func() {
		for ours() {
			time.Sleep(10 * time.Millisecond)
		}
		close(gone)
	}()
	return end(process, gone)
}

// end asks for a fast shutdown, after ten seconds for an immediate one, and
// waits for gone.
func end(process *os.Process, gone <-chan struct{}) error {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT} {
		if err := process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		select {
		case <-gone:
			return nil
		case <-time.After(10 * time.Second):
		}
	}
	return fmt.Errorf("PostgreSQL (process %d) does not stop", process.Pid)
}
