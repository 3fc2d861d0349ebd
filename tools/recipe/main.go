// Command recipe tests the tests. It adds a made-up field, filter and sort to a copy of the sources, at the places that
// docs/architecture.md lists. With all of them the tests must pass; without any one of them a named test must fail. So
// the tests detect a place that is forgotten when a real field is added.
//
// Run it through `make recipe`, in a checkout of Docket.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	only := flag.String("only", "", "leave out only the places whose name matches this regular expression")
	keep := flag.Bool("keep", false, "keep the copy of the sources, with all places, and print where it is")
	flag.Parse()
	err := run(ctx, *only, *keep, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "recipe:", err)
		os.Exit(1)
	}
}

// place is one manual edit that a new field needs.
type place struct {
	name string // as docs/architecture.md calls it
	file string // relative to the root of the repository
	// The text is inserted before the only line that starts with before, replaces the only occurrence of replaces, or
	// is the content of a new file.
	before, replaces string
	text             string
	// The place is also left out if the place with this name is.
	needs string
	// The test that fails without the place, such as "./internal/server TestName", or "build" if the build fails.
	found string
}

func (p place) newFile() bool { return p.before == "" && p.replaces == "" }

func run(ctx context.Context, only string, keep bool, out io.Writer) error {
	filter, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	root, err := output(ctx, "", "git", "rev-parse", "--show-toplevel")
	if err != nil {
		return err
	}
	root = strings.TrimSpace(root)
	work, err := os.MkdirTemp("", "docket-recipe-")
	if err != nil {
		return err
	}
	if keep {
		fmt.Fprintln(out, "sources:", work)
	} else {
		defer os.RemoveAll(work)
	}
	if err := os.Chmod(work, 0o755); err != nil { // the tests' PostgreSQL may run as another user
		return err
	}

	start := time.Now()
	if err := prepare(ctx, root, work, ""); err != nil {
		return err
	}
	for _, test := range tests() {
		if text, err := runTest(ctx, work, test); err != nil {
			return fmt.Errorf("with all places %s must pass: %w\n%s", test, err, text)
		}
	}
	fmt.Fprintf(out, "ok    all %d places: %d tests pass (%s)\n", len(places), len(tests()), since(start))

	var missed []string
	for _, left := range places {
		if !filter.MatchString(left.name) {
			continue
		}
		start := time.Now()
		if err := prepare(ctx, root, work, left.name); err != nil {
			return fmt.Errorf("without %s: %w", left.name, err)
		}
		text, err := runTest(ctx, work, left.found)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			missed = append(missed, left.name)
			fmt.Fprintf(out, "FAIL  without %s: %s passes (%s)\n", left.name, left.found, since(start))
		case left.found != "build" && !strings.Contains(text, "--- FAIL: "+name(left.found)):
			missed = append(missed, left.name)
			fmt.Fprintf(out, "FAIL  without %s: %s does not run to its end (%s)\n%s\n", left.name, left.found, since(start), text)
		default:
			fmt.Fprintf(out, "ok    without %s: %s fails (%s)\n", left.name, left.found, since(start))
		}
	}
	if keep {
		if err := prepare(ctx, root, work, ""); err != nil {
			return err
		}
	}
	if len(missed) > 0 {
		return fmt.Errorf("nothing finds that these are forgotten: %s", strings.Join(missed, "; "))
	}
	return nil
}

// tests returns every test that detects a missing place, without duplicates.
func tests() []string {
	var all []string
	for _, p := range places {
		if !slices.Contains(all, p.found) {
			all = append(all, p.found)
		}
	}
	return all
}

// prepare copies the sources to work, with all places except one, and runs the generators.
func prepare(ctx context.Context, root, work, leftOut string) error {
	list, err := output(ctx, root, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	if err != nil {
		return err
	}
	for _, p := range places {
		if p.newFile() { // left by an earlier round
			if err := os.Remove(filepath.Join(work, p.file)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	for file := range strings.SplitSeq(strings.TrimRight(list, "\x00"), "\x00") {
		if err := copyFile(filepath.Join(root, file), filepath.Join(work, file)); err != nil {
			return err
		}
	}
	for _, p := range slices.Concat(support, places) {
		if leftOut != "" && (p.name == leftOut || p.needs == leftOut) {
			continue
		}
		if err := apply(work, p); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	for _, args := range [][]string{
		{"go", "tool", "-modfile=tools/go.mod", "oapi-codegen", "-config", "oapi-codegen.yaml", "-o", "internal/api/api.gen.go", "openapi.yaml"},
	} {
		if text, err := output(ctx, work, args[0], args[1:]...); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, text)
		}
	}
	if leftOut == "" {
		if text, err := output(ctx, work, "go", "test", "./internal/server", "-run", "Representation", "-update"); err != nil {
			return fmt.Errorf("%w\n%s", err, text)
		}
	}
	return nil
}

// copyFile copies a file if it differs, so that builds of the other files remain cached.
func copyFile(from, to string) error {
	text, err := os.ReadFile(from)
	if errors.Is(err, os.ErrNotExist) {
		return nil // deleted and not committed yet
	}
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(to); err == nil && bytes.Equal(old, text) {
		return nil
	}
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, text, info.Mode().Perm())
}

// apply makes one edit.
func apply(work string, p place) error {
	path := filepath.Join(work, p.file)
	if p.newFile() {
		return os.WriteFile(path, []byte(p.text), 0o644)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text := string(raw)
	old, edited := p.replaces, p.text
	if p.before != "" {
		old, edited = "\n"+p.before, "\n"+p.text+p.before
	}
	if n := strings.Count(text, old); n != 1 {
		return fmt.Errorf("%s: %q occurs %d times, must be once", p.file, old, n)
	}
	return os.WriteFile(path, []byte(strings.Replace(text, old, edited, 1)), 0o644)
}

// runTest runs one test, "./internal/server TestName", or builds everything for "build".
func runTest(ctx context.Context, work, test string) (string, error) {
	if test == "build" {
		return output(ctx, work, "go", "build", "./...")
	}
	folder, _, _ := strings.Cut(test, " ")
	return output(ctx, work, "go", "test", "-count=1", "-timeout=10m", "-run", "^"+name(test)+"$", folder)
}

func name(test string) string {
	_, name, _ := strings.Cut(test, " ")
	return name
}

func output(ctx context.Context, dir, command string, args ...string) (string, error) {
	c := exec.CommandContext(ctx, command, args...)
	c.Dir = dir
	// The copy is not a git checkout, and its tests must not use the settings of this process's tests.
	c.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false", "DOCKET_CONTRACT_LOG=")
	var text bytes.Buffer
	c.Stdout, c.Stderr = &text, &text
	if command == "git" {
		c.Stderr = os.Stderr
	}
	err := c.Run()
	return text.String(), err
}

func since(start time.Time) time.Duration { return time.Since(start).Round(time.Second) }
