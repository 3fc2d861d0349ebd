//go:build unix

// Package browser_test uses the Swagger UI of `docket dev` in a browser.
package browser_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"docket/contract"
	"docket/e2e/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

func TestSwaggerUIWorksInABrowser(t *testing.T) {
	t.Parallel()
	folder, chromium := testenv.NPMFolder(t, "e2e/browser"), findChromium(t)
	args := []string{filepath.Join(folder, "swagger-ui.mjs"), contract.Proxy(t, testenv.StartDev(t).URL), chromium}
	if os.Getenv("UPDATE_SCREENSHOT") == "1" {
		args = append(args, "../../docs/swagger-ui.png")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*testenv.HangTimeout)
	defer cancel()
	home := t.TempDir()
	script := exec.CommandContext(ctx, "node", args...)
	script.Env = []string{"HOME=" + home, "TMPDIR=" + home, "PATH=" + os.Getenv("PATH")} // without a proxy or a user's profile
	script.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}                             // so that Cancel ends the browser, too
	script.Cancel = func() error { return syscall.Kill(-script.Process.Pid, syscall.SIGKILL) }
	var errors bytes.Buffer
	script.Stderr = &errors
	out, err := script.Output()
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
