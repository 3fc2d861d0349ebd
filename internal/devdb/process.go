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

// stopOrphan stops the server of a data folder that a killed process left running. The caller holds the folder's lock,
// so no Server is using the folder.
func stopOrphan(data string) error {
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
		return nil //nolint:nilerr // PostgreSQL reports what is wrong with the file
	}
	// After a reboot another program may have the process's number, so its command line is compared.
	isServer := func() bool { return strings.Contains(commandLine(pid), "postgres -D "+data+" ") }
	switch command := commandLine(pid); {
	case isServer():
	case command == "":
		return nil // there is no such process; PostgreSQL removes the file itself
	case strings.Contains(command, "postgres"):
		return fmt.Errorf("process %d may be a PostgreSQL on %s: stop it, or delete %s if it is not", pid, data, pidFile)
	default:
		return os.Remove(pidFile) // PostgreSQL would refuse to start because of that process
	}
	process, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		for isServer() {
			time.Sleep(10 * time.Millisecond)
		}
		close(ended)
	}()
	return stopProcess(process, ended)
}

// stopProcess asks a PostgreSQL for a fast shutdown, after half a minute for an immediate one, and waits for ended. It
// returns an error half a minute later.
func stopProcess(process *os.Process, ended <-chan struct{}) error {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT} {
		if err := process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		select {
		case <-ended:
			return nil
		case <-time.After(30 * time.Second):
		}
	}
	return fmt.Errorf("PostgreSQL (process %d) does not stop", process.Pid)
}
