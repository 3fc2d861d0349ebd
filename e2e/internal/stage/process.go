//go:build unix

package stage

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Patience ends a test that would never end; nothing is measured with it.
const Patience = time.Minute

// Start runs a server until the test ends and gives the address that it prints: {"addr": "…"} in a line of its own or
// of a log. The server must end, without an error, when its standard input does; so it does not outlive the test,
// whatever becomes of that. What it printed is shown when the test failed.
func Start(t *testing.T, name string, env []string, command ...string) string {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = env                                         // and nothing of ours: no proxy, no PG…
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // out of reach of Ctrl-C, and to be killed as one
	stdin, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	cmd.Stderr = cmd.Stdout
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}

	var log strings.Builder // read only after ended
	listening, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		defer func() { ended <- cmd.Wait() }()
		defer close(listening)
		told := false
		for lines := bufio.NewReader(out); ; {
			line, err := lines.ReadString('\n')
			log.WriteString(line)
			var says struct{ Addr string }
			if !told && json.Unmarshal([]byte(line), &says) == nil && says.Addr != "" {
				told = true
				listening <- says.Addr
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { stop(t, name, cmd, stdin, ended, &log) })

	select {
	case addr := <-listening:
		if addr == "" {
			t.Fatalf("%s ended before it listened", name)
		}
		return addr
	case <-time.After(Patience):
		t.Fatalf("%s does not listen", name)
		return ""
	}
}

func stop(t *testing.T, name string, cmd *exec.Cmd, stdin io.Closer, ended <-chan error, log *strings.Builder) {
	stdin.Close()
	kill := time.AfterFunc(Patience, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer kill.Stop()
	if err := <-ended; err != nil {
		t.Errorf("%s: %v", name, err) // a data race in docket also ends here
	}
	text := Hide(log.String())
	if text != log.String() {
		t.Errorf("%s logs a token", name)
	}
	if t.Failed() {
		t.Logf("%s printed:\n%s", name, text)
	}
}

// issued is every token that was given to Issue.
var issued struct {
	mu     sync.Mutex
	tokens []string
}

// Issue notes a token that a Better Auth gave out: no log may hold it.
func Issue(token string) {
	issued.mu.Lock()
	defer issued.mu.Unlock()
	issued.tokens = append(issued.tokens, token)
}

// Hide gives the text without the tokens that were issued.
func Hide(text string) string {
	issued.mu.Lock()
	defer issued.mu.Unlock()
	for _, token := range issued.tokens {
		text = strings.ReplaceAll(text, token, "[token]")
	}
	return text
}
