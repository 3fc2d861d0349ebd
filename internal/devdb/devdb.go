// Package devdb runs a PostgreSQL for `docket dev` and for tests. It finds one on this machine or fetches it through npm,
// keeps the data in a folder named by the major version, and ends with the process that started it.
package devdb

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// UserFixtureSQL creates Better Auth's table "user" as Better Auth's own migration does, which `docket dev` and tests do
// not run.
const UserFixtureSQL = `
create table if not exists "user" (
	id              text primary key,
	name            text not null,
	email           text not null unique,
	"emailVerified" boolean not null,
	image           text,
	"createdAt"     timestamptz not null default now(),
	"updatedAt"     timestamptz not null default now()
)`

// Options configures a Server.
type Options struct {
	Dir       string    // holds data-<major>, its password and its log; created if missing
	Major     int       // major version; 0: the first one found
	Port      int       // preferred port of 127.0.0.1; any free port if it is 0 or in use
	Ephemeral bool      // for tests: faster, more connections, and the data is lost when the machine crashes
	Log       io.Writer // progress, in lines; nil: none
}

// Server is a running PostgreSQL that listens on loopback only.
type Server struct {
	bin      binaries
	dir      string
	lock     io.Closer
	password string
	port     int
	process  *os.Process
	exited   chan struct{} // closed when PostgreSQL has ended
	exitErr  error         // the result of cmd.Wait; set before exited is closed
}

// Start starts PostgreSQL. It runs until Stop is called or this process ends, however it ends; ctx limits the start only.
// Start returns an error when another process uses o.Dir. It keeps all data in o.Dir: each major version has a folder of
// its own.
func Start(ctx context.Context, o Options) (_ *Server, err error) {
	if o.Log == nil {
		o.Log = io.Discard
	}
	s := &Server{}
	if s.dir, err = reachableDir(o.Dir, o.Log); err != nil {
		return nil, err
	}
	if s.lock, err = lockDir(s.dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.lock.Close()
		}
	}()
	if s.bin, err = find(ctx, o.Major, s.dir, o.Log); err != nil {
		return nil, err
	}
	if err = stopOrphan(s.path("data")); err != nil {
		return nil, err
	}
	if err = s.initialize(ctx, o); err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		if s.port, err = freePort(o.Port); err != nil {
			return nil, err
		}
		if o.Port != 0 && s.port != o.Port {
			fmt.Fprintf(o.Log, "port %d is in use: PostgreSQL listens on port %d, so copy DATABASE_URL again\n", o.Port, s.port)
		}
		err = s.run(ctx, o)
		if err == nil {
			return s, nil
		}
		// Another process may have taken the port since freePort.
		if try == 3 || !strings.Contains(err.Error(), "could not bind") {
			return nil, err
		}
	}
}

// Standby makes a copy of the server in dir and starts it as a hot standby, which follows the server and answers reads until
// it is promoted with pg_promote. It is for tests. The server must not be ephemeral, and pg_basebackup must be installed
// beside its postgres.
func (s *Server) Standby(ctx context.Context, dir string) (*Server, error) {
	backup := s.bin.path("pg_basebackup")
	if _, err := os.Stat(backup); err != nil {
		return nil, fmt.Errorf("a standby needs pg_basebackup, which is not in %s: install PostgreSQL with its client programs "+
			"(Debian, Ubuntu: apt-get install postgresql; macOS: brew install postgresql@%d)", s.bin.dir, newest)
	}
	dir, err := reachableDir(dir, io.Discard)
	if err != nil {
		return nil, err
	}
	standby := &Server{bin: s.bin, dir: dir}
	if err := os.WriteFile(standby.path("password"), []byte(s.password), 0o600); err != nil {
		return nil, err
	}
	if err := os.Mkdir(standby.path("data"), 0o700); err != nil {
		return nil, err
	}
	if err := chownToServer(standby.path("data")); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, backup, "--pgdata="+standby.path("data"), "--write-recovery-conf", "--checkpoint=fast",
		"--dbname="+s.URL("postgres"))
	if _, err := output(cmd); err != nil {
		return nil, err
	}
	return Start(ctx, Options{Dir: dir, Major: s.bin.major})
}

// URL returns the URL of a database on this server, for the superuser.
func (s *Server) URL(database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword("postgres", s.password),
		Host:     net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Major returns the server's major version, such as 18.
func (s *Server) Major() int { return s.bin.major }

// Version returns the server's full version, such as 18.4.
func (s *Server) Version() string { return s.bin.version }

// Stop shuts the server down, which rolls open transactions back, and waits until it has ended. It returns an error when
// PostgreSQL ended with one, now or before. Stop may be called again.
func (s *Server) Stop() error {
	if err := stopProcess(s.process, s.exited); err != nil {
		return err
	}
	s.lock.Close()
	return s.exitErr
}

// Remove deletes the data of every major version in dir. It returns an error while a Server runs there.
func Remove(dir string) error {
	dir, err := reachableDir(dir, io.Discard)
	if err != nil {
		return err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := removeLeftovers(dir); err != nil {
		return err
	}
	folders, err := fs.Glob(os.DirFS(dir), "data-*")
	if err != nil {
		return err
	}
	for _, data := range folders {
		if err := stopOrphan(filepath.Join(dir, data)); err != nil {
			return err
		}
		// Renamed first, so that Start never uses a folder that is only half deleted.
		if err := os.Rename(filepath.Join(dir, data), filepath.Join(dir, "tmp-"+data)); err != nil {
			return err
		}
	}
	return removeLeftovers(dir)
}

// initialize creates the data folder if there is none, and reads its password.
func (s *Server) initialize(ctx context.Context, o Options) error {
	data, secret := s.path("data"), s.path("password")
	if _, err := os.Stat(data); err == nil {
		password, err := os.ReadFile(secret)
		s.password = string(password)
		return err
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := removeLeftovers(s.dir); err != nil {
		return err
	}
	fmt.Fprintf(o.Log, "creating a PostgreSQL %s database in %s\n", s.bin.version, data)
	if others, _ := fs.Glob(os.DirFS(s.dir), "data-*"); len(others) > 0 {
		fmt.Fprintf(o.Log, "the data of another version stays in %s\n", strings.Join(others, ", "))
	}
	s.password = rand.Text()
	if err := os.WriteFile(secret, []byte(s.password), 0o600); err != nil {
		return err
	}
	if err := chownToServer(secret); err != nil {
		return err
	}
	// lower() and ilike must fold É as in production. Where the system has no C.UTF-8, the letters of another locale with
	// the order of C come closest.
	locales := [][]string{{"--locale=C.UTF-8"}, {"--locale=C", "--lc-ctype=en_US.UTF-8"}, {"--locale=C"}}
	for i, flags := range locales {
		if o.Ephemeral {
			flags = append(flags, "--no-sync")
		}
		err := s.initdb(ctx, secret, data, flags)
		if err == nil || i == len(locales)-1 || !strings.Contains(err.Error(), "invalid locale name") {
			return err
		}
	}
	return nil
}

// initdb runs initdb in a temporary folder and renames that to data when it is complete, so that an interrupted start
// leaves no incomplete data folder.
func (s *Server) initdb(ctx context.Context, secret, data string, flags []string) error {
	folder, err := os.MkdirTemp(s.dir, "tmp-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	if err := chownToServer(folder); err != nil {
		return err
	}
	flags = append(flags, "-D", folder, "-U", "postgres", "-A", "scram-sha-256", "--pwfile="+secret, "--encoding=UTF8")
	if _, err := output(exec.CommandContext(ctx, s.bin.path("initdb"), flags...)); err != nil {
		return err
	}
	return os.Rename(folder, data)
}

// run starts PostgreSQL and returns when it accepts connections.
func (s *Server) run(ctx context.Context, o Options) error {
	// A file is used instead of a pipe, which would break while PostgreSQL shuts down after this process was killed.
	log, err := os.Create(s.path("log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // PostgreSQL writes to its own copy
	cmd := exec.Command(s.bin.path("postgres"),
		"-D", s.path("data"), // must be first: stopOrphan identifies the server by it
		"-p", strconv.Itoa(s.port),
		"-c", "listen_addresses=127.0.0.1",
		"-c", "unix_socket_directories=")
	if o.Ephemeral {
		for _, setting := range []string{
			"fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=300",
			"wal_level=minimal", "max_wal_senders=0", "max_wal_size=64MB", // the data may be on a file system in memory
		} {
			cmd.Args = append(cmd.Args, "-c", setting)
		}
	}
	cmd.Stdout, cmd.Stderr = log, log
	configureChild(cmd)

	started, exited := make(chan error), make(chan struct{})
	go func() {
		// Linux signals the child when the thread that created it ends, not the process (prctl(2), PR_SET_PDEATHSIG). This
		// goroutine keeps the thread until the child has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			s.exitErr = cmd.Wait()
			close(exited)
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	s.process, s.exited = cmd.Process, exited
	if err := s.await(ctx); err != nil {
		err = fmt.Errorf("PostgreSQL %s does not start: %w\n%s", s.bin.version, err, tail(log.Name()))
		return errors.Join(err, stopProcess(s.process, s.exited))
	}
	return nil
}

// await waits until the server accepts connections. It returns an error when the server has ended, and after two minutes.
func (s *Server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, s.URL("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-s.exited:
			return s.exitErr
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// path returns the path of a file or folder of the server's major version.
func (s *Server) path(name string) string {
	return filepath.Join(s.dir, fmt.Sprintf("%s-%d", name, s.bin.major))
}

// removeLeftovers deletes what an interrupted initdb or Remove left in dir.
func removeLeftovers(dir string) error {
	leftovers, err := fs.Glob(os.DirFS(dir), "tmp-*")
	for _, folder := range leftovers {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, folder)))
	}
	return err
}

// freePort returns the preferred port, or a free one when that is 0 or taken.
func freePort(preferred int) (int, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(preferred)))
	if err != nil && preferred != 0 {
		return freePort(0)
	} else if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

// tail returns the end of a log.
func tail(path string) string {
	log, _ := os.ReadFile(path)
	return string(log[max(0, len(log)-2000):])
}
