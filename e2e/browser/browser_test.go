//go:build unix

// Package browser_test looks at Swagger UI of `docket dev` with a real browser.
package browser_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"docket/contract"
)

// patience ends a test that would never end; nothing is measured with it.
const patience = 3 * time.Minute

func TestSwaggerUIWorksInABrowser(t *testing.T) {
	t.Parallel()
	node, chromium := tools(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience) // t.Context() ends before what is cleaned up
	t.Cleanup(cancel)
	args := []string{"look.mjs", contract.Proxy(t, startDocket(ctx, t)), chromium}
	if os.Getenv("UPDATE_SCREENSHOT") == "1" {
		args = append(args, "../../docs/swagger-ui.png")
	}
	home := t.TempDir()
	look := exec.CommandContext(ctx, node, args...)
	look.Env = []string{"HOME=" + home, "TMPDIR=" + home, "PATH=" + os.Getenv("PATH")} // no proxy, no profile of ours
	look.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}                             // to be killed with its browser
	look.Cancel = func() error { return syscall.Kill(-look.Process.Pid, syscall.SIGKILL) }
	var complaints bytes.Buffer
	look.Stderr = &complaints
	out, err := look.Output()
	seen := 0
	for line := range bytes.Lines(out) {
		var step struct{ Name, Fault string }
		if err := json.Unmarshal(line, &step); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		seen++
		t.Run(step.Name, func(t *testing.T) {
			if step.Fault != "" {
				t.Error(step.Fault)
			}
		})
	}
	if err != nil || seen == 0 {
		t.Fatalf("the browser ended with %v after %d steps\n%s", err, seen, &complaints)
	}
}

// tools finds node and a browser, or ends the test with how to get them.
func tools(t *testing.T) (node, chromium string) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("this test drives a browser through Node.js and there is no node: install Node.js 20 or newer")
	}
	if _, err := os.Stat("node_modules/playwright-core"); err != nil {
		t.Fatal("this test drives a browser through playwright-core and it is not installed: run npm ci --prefix e2e/browser")
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "/usr/bin/chromium"} {
		if chromium, err = exec.LookPath(name); err == nil {
			return node, chromium
		}
	}
	t.Fatal("this test needs a browser and there is none: install Chromium (Debian: apt-get install chromium)")
	return "", ""
}

// openFolder is a folder that PostgreSQL can reach when the test runs as root, and PostgreSQL as another user.
func openFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "docket-browser-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// untilEOF runs a command and ends it, in order, when standard input ends: it does not outlive the test, whatever
// becomes of that.
const untilEOF = `"$@" & read -r _; kill $!; wait $!`

var addressPattern = regexp.MustCompile(`Swagger UI +(http://127\.0\.0\.1:\d+)/docs`)

// startDocket runs the built `docket dev`, with a database of its own, until the test ends. It gives the address.
func startDocket(ctx context.Context, t *testing.T) string {
	t.Helper()
	dir := openFolder(t)
	bin := filepath.Join(dir, "docket")
	if out, err := exec.CommandContext(ctx, "go", "build", "-race", "-o", bin, "docket/cmd/docket").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	dev := exec.CommandContext(ctx, "/bin/sh", "-c", untilEOF, "sh", bin, "dev", "--addr", "127.0.0.1:0")
	dev.Dir = dir
	dev.Env = slices.DeleteFunc(os.Environ(), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return !slices.Contains([]string{"PATH", "HOME", "TMPDIR"}, name) // what configures a service of ours, say
	})
	dev.Env = append(dev.Env, "GORACE=atexit_sleep_ms=0")
	dev.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dev.Cancel = func() error { return syscall.Kill(-dev.Process.Pid, syscall.SIGKILL) }
	stdin, err1 := dev.StdinPipe()
	stdout, err2 := dev.StdoutPipe()
	var log bytes.Buffer
	dev.Stderr = &log
	if err := errors.Join(err1, err2, dev.Start()); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stdout)
	t.Cleanup(func() {
		stdin.Close()
		_, _ = io.Copy(io.Discard, lines) // until it ended
		if err := dev.Wait(); err != nil {
			t.Errorf("docket dev: %v\n%s", err, &log) // a data race too
		}
	})
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("docket dev ended before it was up: %v", err)
		}
		if match := addressPattern.FindStringSubmatch(line); match != nil {
			return match[1]
		}
	}
}
