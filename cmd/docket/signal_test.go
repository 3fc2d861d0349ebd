//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// binary is docket, built once for all tests that need a process of their own.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := publicDir()
	if err != nil {
		return "", err
	}
	cleanUp = func() { _ = os.RemoveAll(dir) }
	path := filepath.Join(dir, "docket")
	if out, err := exec.Command("go", "build", "-race", "-o", path, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
})

// publicDir makes a temporary folder that others may enter: PostgreSQL does not run as root.
func publicDir() (string, error) {
	dir, err := os.MkdirTemp("", "docket-test-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}

// serving starts serve in a process of its own and waits until it listens.
func serving(t testing.TB, delay string) (p *exec.Cmd, log *buffer, ended <-chan struct{}) {
	t.Helper()
	path, err := binary()
	check(t, err)
	e, _, _, _ := served(t)
	p, log = exec.Command(path, "serve"), new(buffer)
	for name, value := range e {
		p.Env = append(p.Env, name+"="+value)
	}
	p.Env = append(p.Env, "SHUTDOWN_DELAY="+delay) // the last one counts
	p.Stderr = log
	check(t, p.Start())
	done := make(chan struct{})
	go func() { _ = p.Wait(); close(done) }() // how it ended is in ProcessState
	t.Cleanup(func() { _ = p.Process.Kill(); <-done })
	eventually(t, "it listens", func() bool { return strings.Contains(log.String(), `"msg":"listening"`) })
	return p, log, done
}

func TestTerminatedServeExitsInOrder(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		p, log, ended := serving(t, "0s")
		check(t, p.Process.Signal(signal))
		<-ended
		if p.ProcessState.ExitCode() != 0 || !strings.Contains(log.String(), `"msg":"stopping"`) {
			t.Errorf("%v: %v\n%s", signal, p.ProcessState, log)
		}
	}
}

// Whoever is tired of waiting for the load balancers presses Ctrl-C again.
func TestSecondInterruptEndsServeAtOnce(t *testing.T) {
	t.Parallel()
	p, log, ended := serving(t, "24h")
	check(t, p.Process.Signal(syscall.SIGINT))
	eventually(t, "it drains", func() bool { return strings.Contains(log.String(), `"msg":"stopping"`) })
	eventually(t, "it is gone", func() bool {
		_ = p.Process.Signal(syscall.SIGINT) // an error: it is gone
		select {
		case <-ended:
			return true
		default:
			return false
		}
	})
	if status := p.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGINT {
		t.Errorf("it ended with %v", p.ProcessState)
	}
}
