package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"runtime"
	"slices"
	"syscall"
	"time"
)

// contender is a server process that is measured.
type contender struct {
	name       string
	addr       string
	pid        int
	pooler     int         // process id of the parent of the pooler between it and PostgreSQL; 0: no pooler
	operations []operation // that it supports

	cmd    *exec.Cmd
	exited chan struct{} // closed when the process has ended
	err    error         // of the process; read it only after exited
}

// hangTimeout ends operations that would hang.
const hangTimeout = 2 * time.Minute

// launch starts a server that listens on the address $ADDR of its environment, and waits until it answers GET path with
// 200. Its log is discarded.
func launch(ctx context.Context, name, path string, env []string, command ...string) (*contender, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	c := &contender{name: name, addr: addr, cmd: exec.Command(command[0], command[1:]...), exited: make(chan struct{})}
	c.cmd.Env = slices.Concat(env, []string{"ADDR=" + addr}) // and nothing of this process
	stopWithParent(c.cmd)
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // on Linux the process ends with the thread that started it
		defer runtime.UnlockOSThread()
		err := c.cmd.Start()
		started <- err
		if err == nil {
			c.err = c.cmd.Wait()
			close(c.exited)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	c.pid = c.cmd.Process.Pid
	if err := c.await(ctx, path); err != nil {
		c.stop()
		return nil, err
	}
	return c, nil
}

func (c *contender) await(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, hangTimeout)
	defer cancel()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.addr+path, nil)
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(r)
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(answer.Status)
		}
		select {
		case <-c.exited:
			return fmt.Errorf("%s ended before it was ready: %w", c.cmd.Path, c.err)
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w", c.cmd.Path, errors.Join(ctx.Err(), err))
		case <-time.After(time.Millisecond):
		}
	}
}

// stop ends the process and waits for it.
func (c *contender) stop() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-c.exited:
	case <-time.After(hangTimeout):
		_ = c.cmd.Process.Kill()
		<-c.exited
	}
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
