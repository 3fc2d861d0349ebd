package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"docket"
	"docket/internal/config"
	"docket/internal/dbtest"
)

func TestMain(m *testing.M) {
	code := dbtest.Main(m)
	removeBinary()
	os.Exit(code)
}

// removeBinary removes the binary that tests have built.
var removeBinary = func() {}

// buffer collects output. It may be read while it is written.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

type environment map[string]string

func (e environment) get(name string) string { return e[name] }

// output is the result of a command line.
type output struct {
	code           int
	stdout, stderr string
}

// invoke runs a command line and returns when it has ended.
func invoke(t testing.TB, e environment, args ...string) output {
	t.Helper()
	var stdout, stderr buffer
	err := run(t.Context(), args, e.get, &stdout, &stderr)
	code := report(err, &stderr)
	return output{code, stdout.String(), stderr.String()}
}

// want fails the test when the exit code is another or the output lacks one of the texts.
func (o output) want(t testing.TB, code int, texts ...string) output {
	t.Helper()
	if o.code != code {
		t.Fatalf("exit code %d, want %d\n%s\n%s", o.code, code, o.stdout, o.stderr)
	}
	for _, text := range texts {
		if !strings.Contains(o.stdout+o.stderr, text) {
			t.Fatalf("no %q in\n%s\n%s", text, o.stdout, o.stderr)
		}
	}
	return o
}

// eventually waits until a condition holds. The deadline only ends a test that would hang.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestHelpListsEveryCommandAndVariable(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"help"}, {"-h"}, {"--help"}, {"-help"}} {
		o := invoke(t, nil, args...).want(t, 0)
		if o.stderr != "" {
			t.Errorf("%s prints to standard error: %s", args, o.stderr)
		}
		for _, c := range commands {
			if !strings.Contains(o.stdout, "\n  docket "+c.usage+" ") || !strings.Contains(o.stdout, c.help) {
				t.Errorf("%s does not explain %s", args, c.name)
			}
		}
		for _, v := range slices.Concat(config.Variables, config.TraceVariables) {
			if !strings.Contains(o.stdout, "\n  "+v.Name+" ") || !strings.Contains(o.stdout, v.Default) || !strings.Contains(o.stdout, v.Help) {
				t.Errorf("%s does not explain %s", args, v.Name)
			}
		}
	}
	// Without a command the help goes to standard error.
	o := invoke(t, nil).want(t, 2)
	if !strings.HasPrefix(o.stderr, invoke(t, nil, "help").stdout) || o.stdout != "" {
		t.Errorf("without a command: %+v", o)
	}
}

func TestInvalidCommandLinesAreUsageErrors(t *testing.T) {
	t.Parallel()
	database := environment{"DATABASE_URL": "postgres://docket@127.0.0.1:1/docket"}
	for _, args := range []string{
		"nonsense", "Serve", "serve now", "serve --port 1", "version please", "-v", "migrate", "migrate sideways", "migrate up 2", "migrate up --force", "migrate status x", "migrate down x",
		"migrate down 0", "migrate down -1", "migrate down 1 2", "migrate new", "migrate new a b", "migrate reset", "migrate reset yes", "dev now", "dev --nonsense",
		"admin", "health now", "health --dead", "admin epoch", "admin new-epoch now",
		"dev --addr 0.0.0.0:8000", "dev --addr :8000", "dev --addr 192.0.2.1:8000", "dev --addr localhost", "dev --fresh",
	} {
		if o := invoke(t, database, strings.Fields(args)...).want(t, 2, "docket: "); o.stdout != "" {
			t.Errorf("%s prints %s", args, o.stdout)
		}
	}
	for _, args := range []string{"serve -h", "migrate up -h", "dev -h", "version -h"} {
		invoke(t, nil, strings.Fields(args)...).want(t, 0, "Usage of docket ")
	}
}

func TestVersionPrintsTheVersion(t *testing.T) {
	t.Parallel()
	o := invoke(t, nil, "version").want(t, 0)
	if !strings.HasPrefix(o.stdout, "docket "+buildVersion+" (go1.") || !strings.HasSuffix(o.stdout, ", commit "+buildCommit+")\n") {
		t.Errorf("version prints %s", o.stdout)
	}
}

func TestEveryFaultOfTheEnvironmentIsReported(t *testing.T) {
	t.Parallel()
	e := environment{"ADDR": "x", "LOG_LEVEL": "loud", "BETTER_AUTH_SECRET": "hunter2", "DB_MAX_CONNS": "none"}
	for _, args := range []string{"serve", "migrate up", "migrate down", "migrate status", "migrate reset --yes"} {
		o := invoke(t, e, strings.Fields(args)...).want(t, 2, "DATABASE_URL: ", "ADDR: ", "LOG_LEVEL: ", "BETTER_AUTH_SECRET: ", "DB_MAX_CONNS: ")
		if strings.Contains(o.stderr, "hunter2") || strings.Count(o.stderr, "docket: ") != 1 {
			t.Errorf("%s prints %s", args, o.stderr)
		}
	}
	invoke(t, e, "serve").want(t, 2, "AUTH_ISSUER: ", "AUTH_AUDIENCE: ")
}

// Swagger UI fills in the examples of the document: "Execute" finds the demo's task with them.
func TestDemoHasTheExamplesOfTheDocument(t *testing.T) {
	t.Parallel()
	doc, err := openapi3.NewLoader().LoadFromData(docket.OpenAPI)
	check(t, err)
	for name, want := range map[string]string{"UserIdPath": demoOwner, "TaskIdPath": demoTask} {
		if got := doc.Components.Parameters[name].Value.Example; got != want {
			t.Errorf("the example of %s is %v, the demo has %s", name, got, want)
		}
	}
}

// The commands must end even if the other side never answers.
func TestCommandsEndWithTheirContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // never accepts
	check(t, err)
	defer silent.Close()
	addr := silent.Addr().String()
	e := environment{"DATABASE_URL": "postgres://docket@" + addr + "/docket", "BETTER_AUTH_URL": "http://" + addr, "ADDR": "127.0.0.1:0", "SHUTDOWN_DELAY": "0s"}
	for _, args := range []string{"serve", "migrate up", "migrate down", "migrate status", "migrate reset --yes"} {
		var stderr buffer
		err := run(ctx, strings.Fields(args), e.get, &stderr, &stderr)
		if (err == nil) != (args == "serve") {
			t.Errorf("%s ends with %v", args, err)
		}
	}
}

// repository is the root of the repository, relative to this package.
var repository = filepath.Join("..", "..")
