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

	"docket/internal/devdb"
)

// binary builds docket once, for the tests that need a process of their own, and returns its path.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := devdb.TempDir("", "docket-test-")
	if err != nil {
		return "", err
	}
	removeBinary = func() { _ = os.RemoveAll(dir) }
	path := filepath.Join(dir, "docket")
	if out, err := exec.Command("go", "build", "-race", "-o", path, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
})

// serving starts serve in a process of its own and returns when it listens.
func serving(t testing.TB, delay string) (p *exec.Cmd, log *buffer, ended <-chan struct{}) {
	t.Helper()
	path, err := binary()
	check(t, err)
	_, e := newDependencies(t)
	p, log = exec.Command(path, "serve"), new(buffer)
	for name, value := range e {
		p.Env = append(p.Env, name+"="+value)
	}
	p.Env = append(p.Env, "SHUTDOWN_DELAY="+delay) // overrides the one above
	p.Stderr = log
	check(t, p.Start())
	done := make(chan struct{})
	go func() { _ = p.Wait(); close(done) }() // how it ended is in ProcessState
	t.Cleanup(func() { _ = p.Process.Kill(); <-done })
	eventually(t, "it listens", func() bool { return strings.Contains(log.String(), `"msg":"listening"`) })
	return p, log, done
}

func TestServeExitsWithoutAnErrorAfterASignal(t *testing.T) {
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

// The first Ctrl-C waits for load balancers as long as SHUTDOWN_DELAY says, the second does not.
func TestSecondInterruptEndsServeAtOnce(t *testing.T) {
	t.Parallel()
	p, log, ended := serving(t, "24h")
	check(t, p.Process.Signal(syscall.SIGINT))
	eventually(t, "it drains", func() bool { return strings.Contains(log.String(), `"msg":"stopping"`) })
	eventually(t, "it ends", func() bool {
		_ = p.Process.Signal(syscall.SIGINT) // fails when it has ended
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
