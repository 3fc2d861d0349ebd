//go:build unix

package testenv

import (
	"bufio"
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// HangTimeout is the deadline of everything that a test waits for. It only ends tests that would hang.
const HangTimeout = 5 * time.Minute

// startServer is like start, for a server that prints its address: {"addr": "127.0.0.1:…"} in a line of its own or of a
// log. It returns the server's URL.
func startServer(t *testing.T, name string, cmd *exec.Cmd) (url string) {
	t.Helper()
	start(t, name, cmd, func(line string) bool {
		var printed struct{ Addr string }
		if json.Unmarshal([]byte(line), &printed) != nil || printed.Addr == "" {
			return false
		}
		url = "http://" + printed.Addr
		return true
	})
	return url
}

// StartUntilEOF is like start, for a server that knows nothing of its standard input and that SIGTERM ends.
func StartUntilEOF(t *testing.T, name string, cmd *exec.Cmd, started func(line string) bool) {
	t.Helper()
	shell := exec.Command("/bin/sh", append([]string{"-c", UntilEOF + " || [ $? = 143 ]", "sh"}, cmd.Args...)...)
	shell.Dir, shell.Env = cmd.Dir, cmd.Env
	start(t, name, shell, started)
}

// start runs a server until the test ends. It calls started for each line that the server prints and returns when that is
// true. The server must end without an error when its standard input does, so that it does not outlive the test however
// that ends. What it has printed is logged when the test has failed.
func start(t *testing.T, name string, cmd *exec.Cmd, started func(line string) bool) {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that Ctrl-C does not reach it, and stop can kill its children
	stdin, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	cmd.Stderr = cmd.Stdout
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	running := make(chan bool, 1) // receives true when the server has started, or is closed when it has ended before
	ended := make(chan error, 1)  // receives the result of cmd.Wait
	var log strings.Builder       // complete when ended has received
	go func() {
		waiting := true
		for lines := bufio.NewReader(out); ; {
			line, err := lines.ReadString('\n')
			log.WriteString(line)
			if waiting && started(strings.TrimSuffix(line, "\n")) {
				waiting = false
				running <- true
			}
			if err != nil {
				break
			}
		}
		close(running)
		ended <- cmd.Wait()
	}()
	t.Cleanup(func() {
		stdin.Close()
		kill := time.AfterFunc(HangTimeout, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		defer kill.Stop()
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", name, err) // also after a data race in docket
		}
		if HideTokens(log.String()) != log.String() {
			t.Errorf("%s logs a token", name)
		}
		if t.Failed() {
			t.Logf("%s printed:\n%s", name, HideTokens(log.String()))
		}
	})
	select {
	case ok := <-running:
		if !ok {
			t.Fatalf("%s ended before it had started", name)
		}
	case <-time.After(HangTimeout):
		t.Fatalf("%s does not start", name)
	}
}

// secrets are the tokens given to AddToken.
var secrets struct {
	mu     sync.Mutex
	tokens []string
}

// AddToken registers a token from Better Auth. A test fails if one of its servers logs it.
func AddToken(token string) {
	secrets.mu.Lock()
	defer secrets.mu.Unlock()
	secrets.tokens = append(secrets.tokens, token)
}

// HideTokens returns the text with every token that AddToken was given replaced.
func HideTokens(text string) string {
	secrets.mu.Lock()
	defer secrets.mu.Unlock()
	for _, token := range secrets.tokens {
		text = strings.ReplaceAll(text, token, "[token]")
	}
	return text
}
