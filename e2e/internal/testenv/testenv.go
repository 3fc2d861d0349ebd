//go:build unix

// Package testenv runs what end-to-end tests need: a PostgreSQL, a Better Auth and the docket binary. Each is a process
// that ends with its test. The package is for the tests below e2e.
package testenv

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"docket/contract"
	"docket/internal/dbtest"
)

// Binary is the path of the docket binary that Main has built, with the race detector.
var Binary string

// Main builds docket, runs a package's tests and stops the PostgreSQL that they have used. It is for TestMain:
// os.Exit(testenv.Main(m)).
func Main(m *testing.M) int {
	dir, err := os.MkdirTemp("", "docket-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	Binary = filepath.Join(dir, "docket")
	if out, err := exec.Command("go", "build", "-race", "-o", Binary, "docket/cmd/docket").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	WatchSources("../..")
	return dbtest.Main(m)
}

// WatchSources reads every folder of sources below the given one, so that `go test` notices their changes. What these
// tests run is not part of the test binary, and `go test` would otherwise return the cached result.
func WatchSources(folder string) {
	_ = filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		switch name := filepath.Base(path); {
		case err != nil || !entry.IsDir() || path == folder:
			return nil //nolint:nilerr // a folder that cannot be read holds no sources
		case strings.HasPrefix(name, ".") || slices.Contains([]string{"node_modules", "bin", "dist", "build"}, name):
			return filepath.SkipDir
		}
		return nil
	})
}

// Environment is a Better Auth and a Docket on one database.
type Environment struct {
	Database string // URL
	Auth     string // URL of Better Auth
	URL      string // of Docket
}

// New starts an environment as an operator does: Better Auth with its migration, Docket's migration, and then the service,
// configured with BETTER_AUTH_URL only.
func New(t *testing.T, o Options) *Environment {
	t.Helper()
	e := NewDatabase(t)
	e.Auth = e.StartBetterAuth(t, o)
	e.Migrate(t)
	e.StartDocket(t)
	return e
}

// NewDatabase returns an environment with an empty database and nothing else.
func NewDatabase(t *testing.T) *Environment {
	t.Helper()
	return &Environment{Database: dbtest.Empty(t)}
}

// noExitDelay keeps the race detector from sleeping for a second when a process ends.
const noExitDelay = "GORACE=atexit_sleep_ms=0"

// MigrateUp runs `docket migrate up`, with further environment variables, and returns what it prints.
func MigrateUp(t *testing.T, database string, variables ...string) (string, error) {
	cmd := exec.CommandContext(t.Context(), Binary, "migrate", "up")
	cmd.Env = append([]string{"DATABASE_URL=" + database, noExitDelay}, variables...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Migrate runs Docket's migration, which needs Better Auth's.
func (e *Environment) Migrate(t *testing.T) {
	t.Helper()
	if out, err := MigrateUp(t, e.Database); err != nil {
		t.Fatalf("docket migrate up: %v\n%s", err, out)
	}
}

// UntilEOF is a shell script that runs a command and terminates it when standard input ends.
const UntilEOF = `"$@" & read -r _; kill $!; wait $!`

// StartDocket starts the service, with further environment variables, and returns when it is ready.
func (e *Environment) StartDocket(t *testing.T, variables ...string) {
	t.Helper()
	serve := exec.Command("/bin/sh", "-c", UntilEOF, "sh", Binary, "serve")
	serve.Env = append([]string{
		"DATABASE_URL=" + e.Database, "BETTER_AUTH_URL=" + e.Auth, "ADDR=127.0.0.1:0", "SHUTDOWN_DELAY=0s", noExitDelay,
	}, variables...)
	e.URL = startServer(t, "docket", serve)
	for deadline := time.Now().Add(HangTimeout); ; time.Sleep(10 * time.Millisecond) {
		response, err := contract.Client(t).Get(e.URL + "/health/ready")
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode == http.StatusOK {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("docket is not ready: %d", response.StatusCode)
		}
	}
}

// Options are Better Auth's own: see server.mjs in e2e/betterauth.
type Options map[string]any

// secret is the same for every Better Auth.
var secret = rand.Text() + rand.Text()

// StartBetterAuth starts a Better Auth on the environment's database and returns its URL. A second one has the same users,
// sessions and signing keys.
func (e *Environment) StartBetterAuth(t *testing.T, o Options) string {
	t.Helper()
	folder := NPMFolder(t, "e2e/betterauth")
	options, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	server := exec.Command("node", filepath.Join(folder, "server.mjs"))
	server.Env = []string{
		"DATABASE_URL=" + e.Database, "BETTER_AUTH_SECRET=" + secret, "BETTER_AUTH_TELEMETRY=0",
		"NODE_ENV=production", "OPTIONS=" + string(options),
	}
	return startServer(t, "Better Auth", server)
}

// Dev is a running `docket dev`.
type Dev struct {
	URL      string // of the API
	Database string // URL
	Token    string // of the demo user; empty if the environment configures Better Auth
}

// devPatterns match what `docket dev` prints, in this order.
var devPatterns = []struct {
	pattern *regexp.Regexp
	field   func(*Dev) *string
}{
	{regexp.MustCompile(`^  API +(http://127\.0\.0\.1:\d+)$`), func(d *Dev) *string { return &d.URL }},
	{regexp.MustCompile(`^  DATABASE_URL +(\S+)$`), func(d *Dev) *string { return &d.Database }},
	{regexp.MustCompile(`^(eyJ\S+)$`), func(d *Dev) *string { return &d.Token }},
}

// StartDev runs `docket dev` in an empty folder until the test ends, with these variables. It returns when everything
// runs.
func StartDev(t *testing.T, variables ...string) Dev {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", UntilEOF, "sh", Binary, "dev", "--addr", "127.0.0.1:0")
	cmd.Dir = dbtest.Dir(t)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir(), noExitDelay}
	cmd.Env = append(cmd.Env, variables...)
	var d Dev
	start(t, "docket dev", cmd, func(line string) bool {
		for _, p := range devPatterns {
			if m := p.pattern.FindStringSubmatch(line); m != nil {
				*p.field(&d) = m[1]
			}
		}
		return line == "Ctrl-C stops everything." // the last line
	})
	return d
}

// NPMFolder returns the path of a folder of npm packages, which is given relative to the repository's root. It fails the
// test unless Node.js and the packages are installed.
func NPMFolder(t *testing.T, folder string) string {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("this test needs %s, which is not installed: install Node.js 20.19 or newer", program)
		}
	}
	path := filepath.Join("../..", filepath.FromSlash(folder)) // every package below e2e is two levels deep
	if _, err := os.Stat(filepath.Join(path, "node_modules")); err != nil {
		t.Fatalf("this test needs npm packages that are not installed: run npm ci --prefix %s", folder)
	}
	return path
}
