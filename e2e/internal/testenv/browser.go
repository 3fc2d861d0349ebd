//go:build unix

package testenv

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"docket/internal/dbtest"
)

// Browse runs a script of e2e/browser, which uses a browser, with these arguments after the browser's path. Each line that
// the script prints is a step, {"name", "fault"}, and becomes a subtest.
func Browse(t *testing.T, script string, args ...string) {
	t.Helper()
	args = append([]string{filepath.Join(NPMFolder(t, "e2e/browser"), script), findChromium(t)}, args...)
	ctx, cancel := context.WithTimeout(t.Context(), 2*HangTimeout)
	defer cancel()
	home := dbtest.Dir(t) // short, as the browser makes a socket in it
	cmd := exec.CommandContext(ctx, "node", args...)
	cmd.Env = []string{"HOME=" + home, "TMPDIR=" + home, "PATH=" + os.Getenv("PATH")} // without a proxy or a user's profile
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}                             // so that Cancel ends the browser, too
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var errors bytes.Buffer
	cmd.Stderr = &errors
	out, err := cmd.Output()
	steps := 0
	for line := range bytes.Lines(out) {
		var step struct{ Name, Fault string }
		if err := json.Unmarshal(line, &step); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		steps++
		t.Run(step.Name, func(t *testing.T) {
			if step.Fault != "" {
				t.Error(step.Fault)
			}
		})
	}
	if err != nil || steps == 0 {
		t.Fatalf("the script ended with %v after %d steps\n%s", err, steps, &errors)
	}
}

// findChromium returns the path of a browser.
func findChromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "/usr/bin/chromium"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("this test needs Chromium, which is not installed (Debian, Ubuntu: apt-get install chromium; macOS: brew install chromium)")
	return ""
}
