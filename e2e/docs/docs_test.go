//go:build unix

// Package docs_test runs the examples of docs/api.md as they are written.
package docs_test

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"docket/contract"
	"docket/e2e/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

var (
	block  = regexp.MustCompile("(?ms)^```sh (\\S+)\n(.*?)^```$")
	status = regexp.MustCompile(`(?m)^HTTP/1\.1 (\d{3}) `)
)

// TestExamplesHaveTheDocumentedStatus runs each shell block of docs/api.md, in order, against `docket dev`. The word after
// "sh" is the documented status, or "setup" for a block that belongs to all others.
func TestExamplesHaveTheDocumentedStatus(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	dev := testenv.StartDev(t)
	address := contract.Proxy(t, dev.URL)
	setup, ran := "", 0
	for _, m := range block.FindAllStringSubmatch(string(page), -1) {
		documented, script := m[1], m[2]
		if documented == "setup" {
			setup = strings.NewReplacer("http://127.0.0.1:8000", address, "…", dev.Token).Replace(script)
			continue
		}
		var progress bytes.Buffer // of curl
		bash := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", setup+script)
		bash.Stderr = &progress
		out, err := bash.Output()
		got := status.FindSubmatch(out)
		if err != nil || got == nil || string(got[1]) != documented {
			t.Errorf("want %s from\n%s\n%v\n%s\n%s", documented, script, err, out, &progress)
		}
		ran++
	}
	if ran < 8 {
		t.Errorf("only %d examples were found", ran)
	}
}
