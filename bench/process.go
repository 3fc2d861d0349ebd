package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// process is a server that was started to be measured.
type process struct {
	addr   string
	pid    int
	cmd    *exec.Cmd
	exited chan struct{} // closed when it is gone
	err    error         // how it went; read only after exited
}

// patience ends what would never end; nothing is measured with it.
const patience = 30 * time.Second

// launch starts a server that is to listen on addr. What it logs goes to log; nil discards it in the kernel.
func launch(addr string, env []string, log io.Writer, command ...string) (*process, error) {
	p := &process{addr: addr, cmd: exec.Command(command[0], command[1:]...), exited: make(chan struct{})}
	p.cmd.Env = env // and nothing of ours
	p.cmd.Stderr = log
	endWithUs(p.cmd)
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // on Linux the child ends with the thread that made it
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
			close(p.exited)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	p.pid = p.cmd.Process.Pid
	return p, nil
}

// ready returns when GET path answers 200, looking every so often.
func (p *process) ready(ctx context.Context, path string, every time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.addr+path, nil)
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(r)
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("it answers %s", answer.Status)
		}
		select {
		case <-p.exited:
			return fmt.Errorf("%s ended before it was ready: %w", p.cmd.Path, p.err)
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w", p.cmd.Path, errors.Join(ctx.Err(), err))
		case <-time.After(every):
		}
	}
}

// stop ends the server and waits until it is gone.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may be gone
	select {
	case <-p.exited:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
