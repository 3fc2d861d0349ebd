package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// smallest measures real processes with as little data and time as possible. Its figures mean nothing.
var smallest = plan{
	tasks: 900, perOwner: 30, users: 4, searched: 300,
	rounds: 2, warm: time.Millisecond, measure: 50 * time.Millisecond, connections: []int{4}, starts: 2,
	growth: growthPlan{
		tables: []int{3000, 6000}, owners: []int{10, 1000}, depths: []int{10, 100}, rounds: 1, measure: time.Millisecond,
	},
	sharedBuffers: "64MB",
}

func build(t *testing.T) options {
	t.Helper()
	dir := t.TempDir()
	// Not t.TempDir for the data: as root, PostgreSQL runs as a user who may not enter that.
	o := options{self: filepath.Join(dir, "bench"), docket: filepath.Join(dir, "docket"), dir: os.TempDir()}
	for _, args := range [][]string{{"-C", "..", "build", "-o", o.docket, "./cmd/docket"}, {"build", "-o", o.self, "."}} {
		if out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput(); err != nil {
			t.Fatalf("go %v: %v\n%s", args, err, out)
		}
	}
	return o
}

func TestRunReportsEveryPart(t *testing.T) {
	t.Parallel()
	o := build(t)
	var out, log bytes.Buffer
	if err := measureAll(t.Context(), smallest, o, &out, &log); err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	check(t, out.String(), o.dir,
		"| throughput of a list / bare handler | at least 0.95 | over 4 connections: ",
		"| largest table / smallest, the worst request | at most 1.30 | ",
		"| list, 20 of 100, unchanged: docket | ", "| create: bare handler, same SQL | ", "| complete: docket | ",
		"| list, 20 of 100, by due date: docket | ", "| complete an occurrence: docket | ", "| page 100 by cursor, by due date | – | ",
		"| CPU of completing an occurrence / a task without a rule, with PostgreSQL's | at most 2.50 | over 4 connections: ",
		"### At half the load", "| create: pooler, exec |", "| from exec to ready, median of 2 ", "| page 100 by cursor | – | ",
		"| 300 tasks with 1,000 characters, Greek | ", "| PostgreSQL | ",
	)
}

func TestRunAgainstAnotherBinaryComparesBoth(t *testing.T) {
	t.Parallel()
	o := build(t)
	o.against = o.docket
	var out, log bytes.Buffer
	if err := measureAll(t.Context(), smallest, o, &out, &log); err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	check(t, out.String(), o.dir,
		"| list, 20 of 100 | direct | 4 |", "| list, 20 of 100, unchanged | direct | 4 |", "| get | direct | 4 |",
		"| create | direct | 4 |",
	)
}

func check(t *testing.T, report, dir string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(report, part) {
			t.Errorf("the report has no %q", part)
		}
	}
	for _, wrong := range []string{"NaN", "Inf", dir} {
		if strings.Contains(report, wrong) {
			t.Errorf("the report has %q", wrong)
		}
	}
	if t.Failed() {
		t.Log(report)
	}
}
