package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestBenchRunsToItsEnd takes every part of it through, on real processes, with as little data and time as can be. What
// it measures means nothing.
func TestBenchRunsToItsEnd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, pkg := range map[string]string{"docket": "docket/cmd/docket", "bare": "docket/bench/bare"} {
		if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, name), pkg).CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", name, err, out)
		}
	}
	document := filepath.Join(dir, "performance.md")
	if err := os.WriteFile(document, []byte("before\n"+beginMark+"old figures\n"+endMark+"after\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	smallest := plan{
		tasks: 900, perOwner: 30, actors: 4,
		rounds: 2, warm: 20 * time.Millisecond, measure: 250 * time.Millisecond, conns: []int{4},
		growth: growthPlan{
			tables: []int{3000, 6000}, owners: []int{10, 100, 1000}, depths: []int{1, 10, 100},
			rounds: 1, measure: time.Millisecond,
		},
		starts: 2, allocs: 20, sharedBuffers: "64MB",
	}
	// Not t.TempDir: as root, PostgreSQL runs as another user, who may not pass through that.
	o := options{
		docket: filepath.Join(dir, "docket"), bare: filepath.Join(dir, "bare"), docs: dir, dir: os.TempDir(), profiles: dir,
	}
	var out, log bytes.Buffer
	if err := measureAll(t.Context(), smallest, o, &out, &log); err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}

	for _, part := range []string{
		"### Targets", "### Over 4 connections", "### At half the load", "### Behind a pooler", "### Growth with the owner",
		"| listTasks, 20 of 100, unchanged: docket |", "| createTask: bare, same SQL |", "| createTask: net/http alone |", "| createTask: PgBouncer, exec |", "| getTask: pgbench, same SQL |",
		"1,000: page 100 by cursor", "static binary",
	} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("the report has no %s", part)
		}
	}
	for _, wrong := range []string{"NaN", "Inf", dir} {
		if strings.Contains(out.String(), wrong) {
			t.Errorf("the report has %s", wrong)
		}
	}
	if t.Failed() {
		t.Log(out.String())
	}
	text, err := os.ReadFile(document)
	if want := "before\n" + beginMark + "\n" + out.String() + "\n" + endMark + "after\n"; err != nil || string(text) != want {
		t.Errorf("the document is %v\n%s", err, text)
	}
	if info, err := os.Stat(filepath.Join(dir, "createTask-bare-same-SQL.prof")); err != nil || info.Size() == 0 {
		t.Errorf("there is no profile: %v", err)
	}
	plot, err := os.Open(filepath.Join(dir, "performance.svg"))
	if err != nil {
		t.Fatal(err)
	}
	defer plot.Close()
	for d := xml.NewDecoder(plot); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
