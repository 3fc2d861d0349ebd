//go:build unix

// Package docs_test runs the examples of docs/api.md as they are written.
package docs_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"docket/contract"
)

var (
	block  = regexp.MustCompile("(?ms)^```sh (\\S+)\n(.*?)^```$")
	status = regexp.MustCompile(`(?m)^HTTP/1\.1 (\d{3}) `)
)

// TestExamplesOfTheAPIPageAnswerAsItSays runs each shell block of docs/api.md, in order, against `docket dev`. The word
// behind "sh" is the status that the page promises.
func TestExamplesOfTheAPIPageAnswerAsItSays(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	address, token := startDev(t)
	address = contract.Proxy(t, address)
	setup, ran := "", 0
	for _, m := range block.FindAllStringSubmatch(string(page), -1) {
		promised, script := m[1], m[2]
		if promised == "setup" {
			setup = strings.NewReplacer("http://127.0.0.1:8000", address, "…", token).Replace(script)
			continue
		}
		out, err := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", setup+script).CombinedOutput()
		got := status.FindSubmatch(out)
		if err != nil || got == nil || string(got[1]) != promised {
			t.Errorf("want %s from\n%s\n%v\n%s", promised, script, err, out)
		}
		ran++
	}
	if ran < 8 {
		t.Errorf("only %d examples were found", ran)
	}
}

// startDev runs `docket dev` until the test ends and gives the address and the token that it prints.
func startDev(t *testing.T) (address, token string) {
	t.Helper()
	// Not t.TempDir: as root, PostgreSQL runs as another user, who may not pass through that.
	dir, err := os.MkdirTemp("", "docket-docs-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "docket")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-race", "-o", binary, "docket/cmd/docket").CombinedOutput(); err != nil {
		t.Fatalf("build docket: %v\n%s", err, out)
	}
	dev := exec.CommandContext(context.WithoutCancel(t.Context()), binary, "dev", "--addr", "127.0.0.1:0")
	dev.Dir = dir
	dev.Env = append(os.Environ(), "DATABASE_URL=", "BETTER_AUTH_URL=")
	stdout, err := dev.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	dev.Stderr = &log
	if err := dev.Start(); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(time.Minute, func() { _ = dev.Process.Signal(syscall.SIGTERM) })
	t.Cleanup(func() {
		watchdog.Stop()
		_ = dev.Process.Signal(syscall.SIGTERM)
		if err := dev.Wait(); err != nil || t.Failed() {
			t.Errorf("docket dev: %v\n%s", err, log.String())
		}
	})
	lines := bufio.NewScanner(stdout)
	for (address == "" || token == "") && lines.Scan() {
		line := lines.Text()
		if _, rest, ok := strings.Cut(line, "API "); ok {
			address = strings.TrimSpace(rest)
		}
		if strings.HasPrefix(line, "eyJ") {
			token = line
		}
	}
	if address == "" || token == "" {
		t.Fatal(fmt.Errorf("docket dev ended without an address and a token"))
	}
	go func() { // what else it prints, so that it does not block
		for lines.Scan() {
		}
	}()
	return address, token
}
