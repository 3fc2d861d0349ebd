//go:build linux

// Package image_test runs the binary as the image of the Dockerfile does: statically linked, alone in a read-only root
// folder without users, as the user 65532 and as process 1.
package image_test

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"docket/contract"
	"docket/e2e/internal/testenv"
	"docket/internal/dbtest"
	"docket/internal/devauth"
	"docket/internal/devdb"
)

// binary is the path of the binary that TestMain has built with the flags of the Dockerfile.
var binary string

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == initArgument {
		fmt.Fprintln(os.Stderr, "init:", becomeContainer(os.Args[2], os.Args[3:]))
		os.Exit(initFailed)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "docket-image-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "docket")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "docket/cmd/docket")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	testenv.WatchSources("../..")
	return dbtest.Main(m)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newRoot returns a folder with what the image holds: the binary and root certificates.
func newRoot(t testing.TB, certificates []byte) string {
	t.Helper()
	root, err := devdb.TempDir("", "docket-root-")
	check(t, err)
	t.Cleanup(func() { os.RemoveAll(root) })
	certificatesDir := filepath.Join(root, "etc/ssl/certs")
	check(t, os.MkdirAll(certificatesDir, 0o755))
	for dir := certificatesDir; dir != root; dir = filepath.Dir(dir) {
		check(t, os.Chmod(dir, 0o755)) // whatever the umask
	}
	content, err := os.ReadFile(binary)
	check(t, err)
	for name, file := range map[string]struct {
		content []byte
		mode    os.FileMode
	}{"docket": {content, 0o555}, "etc/ssl/certs/ca-certificates.crt": {certificates, 0o444}} {
		path := filepath.Join(root, name)
		check(t, os.WriteFile(path, file.content, file.mode))
		check(t, os.Chmod(path, file.mode))
	}
	return root
}

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

// process is a docket in a container of its own.
type process struct {
	*exec.Cmd
	output buffer
	ended  chan struct{}
}

// start starts a docket in a root folder. It ends with the test.
func start(t testing.TB, root string, environment []string, args ...string) *process {
	t.Helper()
	p := &process{Cmd: container(root, args), ended: make(chan struct{})}
	p.Env, p.Stdout, p.Stderr = environment, &p.output, &p.output
	if err := p.Start(); err != nil {
		t.Fatalf("no container can be made: this test needs a kernel that lets this user make namespaces: %v", err)
	}
	go func() { _ = p.Wait(); close(p.ended) }() // how it ended is in ProcessState
	t.Cleanup(func() { _ = p.Process.Kill(); <-p.ended })
	return p
}

// wait returns the exit code.
func (p *process) wait(t testing.TB) int {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(5 * time.Minute): // only ends a test that would hang
		t.Fatalf("it does not end:\n%s", &p.output)
	}
	if p.ProcessState.ExitCode() == initFailed {
		t.Fatalf("the container cannot be set up: this test needs a kernel that lets this user make namespaces:\n%s", &p.output)
	}
	return p.ProcessState.ExitCode()
}

// invoke runs a command to its end.
func invoke(t testing.TB, root string, environment []string, args ...string) (code int, output string) {
	t.Helper()
	p := start(t, root, environment, args...)
	code = p.wait(t)
	return code, p.output.String()
}

func eventually(t testing.TB, p *process, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); !is(); time.Sleep(10 * time.Millisecond) {
		select {
		case <-p.ended:
			p.wait(t)
			t.Fatalf("it has ended before this: %s\n%s", what, &p.output)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("never: %s\n%s", what, &p.output)
		}
	}
}

// addressIn returns the address in the log entry with this message, or nothing.
func addressIn(log, message string) string {
	for line := range strings.Lines(log) {
		var entry struct{ Msg, Addr string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == message {
			return entry.Addr
		}
	}
	return ""
}

// environment prepares a database and a token issuer and returns what a container is configured with.
func environment(t testing.TB) (root string, variables []string, issuer *devauth.Issuer) {
	t.Helper()
	issuer, err := devauth.Start(devauth.Options{})
	check(t, err)
	t.Cleanup(issuer.Close)
	target, err := url.Parse(issuer.URL)
	check(t, err)
	// The keys are behind TLS, so that they are loaded only if the root certificates are found.
	tls := httptest.NewTLSServer(httputil.NewSingleHostReverseProxy(target))
	t.Cleanup(tls.Close)
	root = newRoot(t, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: tls.Certificate().Raw}))

	database := dbtest.Empty(t)
	conn, err := pgx.Connect(t.Context(), database)
	check(t, err)
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), devdb.UserFixtureSQL)
	check(t, err)
	dbtest.AddUser(t, database, "ada")
	return root, []string{
		"DATABASE_URL=" + database, "BETTER_AUTH_URL=" + issuer.URL, "AUTH_JWKS_URL=" + tls.URL + devauth.KeysPath, "ADDR=127.0.0.1:0",
		"METRICS_ADDR=127.0.0.1:0", "SHUTDOWN_DELAY=0s",
	}, issuer
}

func TestBinaryRunsAsTheImageDoes(t *testing.T) {
	t.Parallel()
	root, variables, issuer := environment(t)
	if code, out := invoke(t, root, nil, "version"); code != 0 || !strings.HasPrefix(out, "docket ") {
		t.Fatalf("version: %d %s", code, out)
	}
	if code, out := invoke(t, root, variables, "serve", "now"); code != 2 {
		t.Errorf("a usage error: %d %s", code, out)
	}
	if code, out := invoke(t, root, variables, "migrate", "up"); code != 0 || !strings.Contains(out, "now at version") {
		t.Fatalf("migrate up: %d %s", code, out)
	}

	p := start(t, root, append(variables, "TZ=Pacific/Apia"), "serve")
	eventually(t, p, "it listens", func() bool { return addressIn(p.output.String(), "listening") != "" })
	api := "http://" + addressIn(p.output.String(), "listening")
	health := []string{"METRICS_ADDR=" + addressIn(p.output.String(), "metrics")}
	eventually(t, p, "it is healthy", func() bool { code, _ := invoke(t, root, health, "health"); return code == 0 })
	for _, args := range [][]string{{"health"}, {"health", "-live"}} {
		if code, out := invoke(t, root, health, args...); code != 0 {
			t.Errorf("%s: %d %s", args, code, out)
		}
	}
	checkConfinement(t, p.Process.Pid)

	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, api+"/api/ada/tasks", strings.NewReader(`{"title":"Ship it"}`))
	check(t, err)
	request.Header.Set("Authorization", "Bearer "+issuer.Token("ada"))
	request.Header.Set("Content-Type", "application/json")
	response, err := contract.Client(t).Do(request)
	check(t, err)
	body, err := io.ReadAll(response.Body)
	check(t, err)
	check(t, response.Body.Close())
	if response.StatusCode != http.StatusCreated {
		t.Errorf("%d %s", response.StatusCode, body)
	}

	check(t, p.Process.Signal(syscall.SIGTERM))
	if code := p.wait(t); code != 0 {
		t.Errorf("after SIGTERM: %d\n%s", code, &p.output)
	}
	if !strings.Contains(p.output.String(), "+13:00") {
		t.Errorf("TZ has no effect:\n%s", &p.output)
	}
	if !strings.Contains(p.output.String(), `"msg":"stopping"`) || strings.Contains(p.output.String(), `"level":"ERROR"`) {
		t.Errorf("its log:\n%s", &p.output)
	}
	entries, err := os.ReadDir(root)
	check(t, err)
	if len(entries) != 2 {
		t.Errorf("files were written: %v", entries)
	}
}

// Process 1 is not ended by a signal that it does not handle.
func TestSecondSignalEndsProcess1AtOnce(t *testing.T) {
	t.Parallel()
	root, variables, _ := environment(t)
	if code, out := invoke(t, root, variables, "migrate", "up"); code != 0 {
		t.Fatalf("migrate up: %d %s", code, out)
	}
	p := start(t, root, append(variables, "SHUTDOWN_DELAY=24h"), "serve")
	eventually(t, p, "it listens", func() bool { return addressIn(p.output.String(), "listening") != "" })
	health := []string{"METRICS_ADDR=" + addressIn(p.output.String(), "metrics")}
	eventually(t, p, "it is healthy", func() bool { code, _ := invoke(t, root, health, "health"); return code == 0 })
	check(t, p.Process.Signal(syscall.SIGTERM))
	eventually(t, p, "it stops", func() bool { return strings.Contains(p.output.String(), `"msg":"stopping"`) })
	if code, out := invoke(t, root, health, "health"); code != 1 || !strings.Contains(out, "stopping") {
		t.Errorf("health of a service that stops: %d %s", code, out)
	}
	if code, out := invoke(t, root, health, "health", "-live"); code != 0 {
		t.Errorf("it is alive: %d %s", code, out)
	}
	check(t, p.Process.Signal(syscall.SIGTERM))
	if code := p.wait(t); code == 0 {
		t.Errorf("a second signal ends it with %d", code)
	}
}

// checkConfinement compares what the kernel says of a process with what the image promises.
func checkConfinement(t *testing.T, pid int) {
	t.Helper()
	folder := fmt.Sprintf("/proc/%d/", pid)
	status, err := os.ReadFile(folder + "status")
	check(t, err)
	uid := "65532"
	if os.Getuid() != 0 { // seen from here it is this user
		uid = fmt.Sprint(os.Getuid())
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.Join(strings.Fields(value), " ")
	}
	for name, want := range map[string]string{
		"Uid": strings.Repeat(uid+" ", 3) + uid, "CapEff": strings.Repeat("0", 16), "CapPrm": strings.Repeat("0", 16), "NoNewPrivs": "1",
	} {
		if fields[name] != want {
			t.Errorf("%s is %q, want %q", name, fields[name], want)
		}
	}
	if ids := strings.Fields(fields["NSpid"]); len(ids) < 2 || ids[len(ids)-1] != "1" {
		t.Errorf("it is not process 1: NSpid %v", ids)
	}
	// It starts no processes, so none can be left behind as zombies.
	children, err := filepath.Glob(folder + "task/*/children")
	check(t, err)
	for _, file := range children {
		if list, err := os.ReadFile(file); err == nil && len(list) > 0 {
			t.Errorf("it has child processes: %s", list)
		}
	}
	mounts, err := os.ReadFile(folder + "mountinfo")
	check(t, err)
	if fields := strings.Fields(string(mounts)); len(fields) < 6 || fields[4] != "/" || !strings.HasPrefix(fields[5], "ro") {
		t.Errorf("its root is not read-only: %s", mounts)
	}
}

func TestContainerHasNoUsersAndNoFiles(t *testing.T) {
	t.Parallel()
	root := newRoot(t, nil)
	if _, err := os.Stat(filepath.Join(root, "etc/passwd")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	addr := closed.Addr().String()
	check(t, closed.Close())
	// pgx looks for the user and for files in the user's folder. There are none.
	code, out := invoke(t, root, []string{"DATABASE_URL=postgres://docket:secret-of-a-test@" + addr + "/docket"}, "migrate", "status")
	if code != 1 || strings.Contains(out, "secret-of-a-test") || !strings.Contains(out, "refused") {
		t.Errorf("without a database: %d %s", code, out)
	}
}
