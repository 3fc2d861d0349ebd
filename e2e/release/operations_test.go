//go:build unix

package release_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"docket/e2e/internal/testenv"
	"docket/internal/dbtest"
	"docket/internal/dbtest/pooler"
	"docket/internal/devdb"
)

// nobody is the user who goes the way if this process is root: the page says that root is not needed, and PgBouncer does
// not run as root.
const nobody = 65534

const (
	email    = "ada@example.com"
	password = "correct horse battery staple"
	login    = "a-login's-password-/?#"
)

// signUp adds the user who makes the first request, as the frontend does.
const signUp = `curl --silent --show-error --fail --output /dev/null "$AUTH/api/auth/sign-up/email" --header "Origin: $AUTH" \
  --header 'Content-Type: application/json' --data "{\"name\":\"Ada\",\"email\":\"$EMAIL\",\"password\":\"$PASSWORD\"}"
`

// TestOperationsPageLeadsFromAReleaseFileToAService goes from a release's archive to a task behind a pooler with the
// commands of docs/operations.md, as they are written there, as a user who is not root and with a login that is no
// superuser. Only the port numbers are others.
func TestOperationsPageLeadsFromAReleaseFileToAService(t *testing.T) {
	t.Parallel()
	build(t)
	dir := dbtest.Dir(t)
	for _, name := range []string{"checksums.txt", archiveName(runtime.GOOS+"_"+runtime.GOARCH) + ".tar.gz"} {
		if err := os.WriteFile(filepath.Join(dir, name), read(t, releases.first, name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	program := findPooler(t, dir)

	// The database of an app, with a user.
	major, _ := strconv.Atoi(os.Getenv("DOCKET_TEST_PG")) // without it, any
	server, err := devdb.Start(t.Context(), devdb.Options{Dir: dbtest.Dir(t), Major: major, Ephemeral: true, Log: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	for _, sql := range []string{
		"create role app login createrole password '" + strings.ReplaceAll(login, "'", "''") + "'",
		"create database app owner app template template0 encoding 'UTF8'",
	} {
		execute(t, server.URL("postgres"), sql)
	}
	admin, err := url.Parse(server.URL("app"))
	if err != nil {
		t.Fatal(err)
	}
	direct := *admin
	direct.User = nil
	admin.User = url.UserPassword("app", login)
	e := &testenv.Environment{Database: admin.String()}
	e.Auth = e.StartBetterAuth(t, testenv.Options{})

	service, pooler := freePort(t), freePort(t)
	pooled := direct
	pooled.Host = "127.0.0.1:" + pooler
	address := func(u url.URL) string { return strings.TrimPrefix(u.String(), u.Scheme+"://") }

	script := signUp
	for _, name := range []string{"unpack", "settings", "roles", "migrate", "pooler", "serve", "request", "stop"} {
		script += "echo '--- " + name + "'\n" + blocks(t)[name]
	}
	script = strings.NewReplacer("127.0.0.1:8000", "127.0.0.1:"+service, "listen_port = 6432", "listen_port = "+pooler).Replace(script)
	ctx, cancel := context.WithTimeout(t.Context(), testenv.HangTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = dir
	cmd.Env = []string{
		"HOME=" + dir, "PATH=" + filepath.Dir(program) + ":" + os.Getenv("PATH") + ":/opt/homebrew/opt/libpq/bin",
		"RELEASE=" + archiveName(runtime.GOOS+"_"+runtime.GOARCH), "ADMIN=" + admin.String(), "DIRECT=" + address(direct),
		"POOLED=" + address(pooled), "AUTH=" + e.Auth, "EMAIL=" + email, "PASSWORD=" + password,
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that nothing outlives the test
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var printed bytes.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &printed
	err = cmd.Run()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what a failed script has left
	logged := func(name string) string {
		text, _ := os.ReadFile(filepath.Join(dir, archiveName(runtime.GOOS+"_"+runtime.GOARCH), name))
		return string(text)
	}
	if err != nil {
		t.Fatalf("%v\n%s\ndocket.log:\n%s\npgbouncer.log:\n%s", err, &printed, logged("docket.log"), logged("pgbouncer.log"))
	}
	// It prints these, in this order.
	rest := printed.String()
	for _, want := range []string{
		archiveName(runtime.GOOS+"_"+runtime.GOARCH) + ".tar.gz: OK\n",
		"docket " + releases.version + " (go",
		`"query_mode":"cache_statement, a pooler that supports prepared statements"`,
		`"status":"ready"`,
		"HTTP/1.1 201 Created",
		`"title":"My first task"`,
	} {
		_, after, found := strings.Cut(rest, want)
		if !found {
			t.Fatalf("the commands print no %s:\n%s", want, &printed)
		}
		rest = after
	}
	if log := logged("docket.log"); !strings.Contains(log, `"msg":"stopping"`) || strings.Contains(log, "MIGRATE") {
		t.Errorf("docket.log:\n%s", log)
	}
	for _, name := range []string{"docket.env", "migrate.env", "userlist.txt"} {
		info, err := os.Stat(filepath.Join(dir, archiveName(runtime.GOOS+"_"+runtime.GOARCH), name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s, which holds a password: %v, %v", name, info.Mode(), err)
		}
	}
}

var (
	sectionPattern  = regexp.MustCompile(`(?ms)^## From a release file to a running service\n(.*?)^## `)
	blockPattern    = regexp.MustCompile("(?ms)^```(\\S+) ?(\\S*)\n(.*?)^```$")
	variablePattern = regexp.MustCompile(`(?m)(?:^export| )\s*([A-Z]+)='?\S`)
)

// blocks returns the section's blocks of shell code by name.
func blocks(t *testing.T) map[string]string {
	t.Helper()
	section := sectionPattern.FindSubmatch(read(t, "../../docs", "operations.md"))
	if section == nil {
		t.Fatal("docs/operations.md does not say how to go from a release file to a running service")
	}
	found := map[string]string{}
	var names []string
	for _, m := range blockPattern.FindAllStringSubmatch(string(section[1]), -1) {
		if m[1] != "sh" {
			t.Errorf("a block is %q %q, want shell code", m[1], m[2])
		}
		found[m[2]] = m[3]
		names = append(names, m[2])
	}
	// The test runs each of them, except the variables, which it sets.
	want := []string{"variables", "unpack", "settings", "roles", "migrate", "pooler", "serve", "request", "stop"}
	if !slices.Equal(names, want) {
		t.Fatalf("the section has the blocks %v, the test runs %v", names, want)
	}
	var variables []string
	for _, m := range variablePattern.FindAllStringSubmatch(found["variables"], -1) {
		variables = append(variables, m[1])
	}
	if want := []string{"RELEASE", "ADMIN", "DIRECT", "POOLED", "AUTH", "EMAIL", "PASSWORD"}; !slices.Equal(variables, want) {
		t.Fatalf("the section has the variables %v, the test sets %v", variables, want)
	}
	if !strings.Contains(found["variables"], "RELEASE=docket_"+releases.version+"_linux_amd64 ") {
		t.Errorf("the section names another version than %s", releases.version)
	}
	return found
}

// findPooler returns the path of a program named pgbouncer that nobody can run, and that supports prepared statements.
func findPooler(t *testing.T, dir string) string {
	t.Helper()
	found, err := pooler.Find()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(found)
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "bin")
	program := filepath.Join(bin, "pgbouncer")
	if !bytes.HasPrefix(content, []byte("#!")) {
		if err := errors.Join(os.Mkdir(bin, 0o755), os.Symlink(found, program)); err != nil {
			t.Fatal(err)
		}
		return program
	}
	// What tools/pgbouncer.sh has downloaded is in the cache of this process's user. The script names its folder.
	if err := os.CopyFS(bin, os.DirFS(filepath.Dir(found))); err != nil {
		t.Fatal(err)
	}
	content = bytes.ReplaceAll(content, []byte(filepath.Dir(found)), []byte(bin))
	if err := os.WriteFile(program, content, 0o755); err != nil {
		t.Fatal(err)
	}
	return program
}

func execute(t *testing.T, database, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

// freePort returns a port of 127.0.0.1 that nothing listens on.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
