//go:build unix

// Package stage sets up what whole stories are told on: a PostgreSQL, a Better Auth and the docket binary, each a real
// process that ends with its test. It is for the tests below e2e.
package stage

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"docket/contract"
	"docket/internal/dbtest"
)

// docket is the built binary.
var docket string

// Main builds docket, runs a package's tests and stops what is behind them. It is for TestMain: os.Exit(stage.Main(m)).
func Main(m *testing.M) int {
	dir, err := os.MkdirTemp("", "docket-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	docket = filepath.Join(dir, "docket")
	if out, err := exec.Command("go", "build", "-race", "-o", docket, "docket/cmd/docket").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	watch("../..")
	return dbtest.Main(m)
}

// watch looks at every source file below a folder. What these tests run is no part of the test binary, so that `go test`
// would otherwise give its cached answer after a change.
func watch(folder string) {
	_ = filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		switch name := filepath.Base(path); {
		case err != nil || !entry.IsDir() || path == folder:
			return nil
		case strings.HasPrefix(name, ".") || slices.Contains([]string{"node_modules", "bin", "dist", "build"}, name):
			return filepath.SkipDir
		}
		return nil
	})
}

// Stage is a Better Auth and a Docket beside it, on one database.
type Stage struct {
	Database string // its URL
	Auth     string // URL of Better Auth
	URL      string // of docket
}

// New builds one as an operator would: Better Auth with its migration first, then Docket's, then the service, which is
// told of Better Auth by BETTER_AUTH_URL alone.
func New(t *testing.T, o Options) *Stage {
	t.Helper()
	s := Empty(t)
	s.Auth = s.StartBetterAuth(t, o)
	s.Migrate(t)
	s.StartDocket(t)
	return s
}

// Empty is a stage with nothing on it but an empty database.
func Empty(t *testing.T) *Stage {
	t.Helper()
	return &Stage{Database: dbtest.Empty(t)}
}

// noNap is for the race detector, which otherwise sleeps for a second at the end of a process.
const noNap = "GORACE=atexit_sleep_ms=0"

// MigrateUp runs `docket migrate up` and gives what it prints.
func MigrateUp(t *testing.T, database string) (string, error) {
	cmd := exec.CommandContext(t.Context(), docket, "migrate", "up")
	cmd.Env = []string{"DATABASE_URL=" + database, noNap}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Migrate migrates the stage's database, which Better Auth has migrated before.
func (s *Stage) Migrate(t *testing.T) {
	t.Helper()
	if out, err := MigrateUp(t, s.Database); err != nil {
		t.Fatalf("docket migrate up: %v\n%s", err, out)
	}
}

// untilEOF runs a command and ends it, in order, when standard input ends.
const untilEOF = `"$@" & read -r _; kill $!; wait $!`

// StartDocket returns when the service is ready.
func (s *Stage) StartDocket(t *testing.T) {
	t.Helper()
	env := []string{"DATABASE_URL=" + s.Database, "BETTER_AUTH_URL=" + s.Auth, "ADDR=127.0.0.1:0", "SHUTDOWN_DELAY=0s", noNap}
	s.URL = "http://" + Start(t, "docket", env, "/bin/sh", "-c", untilEOF, "sh", docket, "serve")
	for deadline := time.Now().Add(Patience); ; time.Sleep(10 * time.Millisecond) {
		answer, err := contract.Client(t).Get(s.URL + "/health/ready")
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode == http.StatusOK {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("docket is not ready: %d", answer.StatusCode)
		}
	}
}

// Options are Better Auth's own, see server.mjs in e2e/betterauth.
type Options map[string]any

// secret is the same for all.
var secret = rand.Text() + rand.Text()

// StartBetterAuth gives the URL of a Better Auth on the stage's database. It may be called again: one more Better Auth
// there has the same people, sessions and signing keys.
func (s *Stage) StartBetterAuth(t *testing.T, o Options) string {
	t.Helper()
	const folder = "../betterauth" // seen from any folder below e2e
	const install = "install Node.js 20 or newer, then run: npm ci --prefix e2e/betterauth"
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatalf("these tests run a real Better Auth and there is no node: %s", install)
	}
	if _, err := os.Stat(folder + "/node_modules/better-auth"); err != nil {
		t.Fatalf("these tests run a real Better Auth and it is not installed: %s", install)
	}
	given, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	env := []string{
		"DATABASE_URL=" + s.Database, "BETTER_AUTH_SECRET=" + secret, "BETTER_AUTH_TELEMETRY=0",
		"NODE_ENV=production", "OPTIONS=" + string(given),
	}
	return "http://" + Start(t, "Better Auth", env, node, folder+"/server.mjs")
}
