// Package devdb runs a real PostgreSQL for `docket dev` and the tests. It finds
// one on this machine or fetches it through npm, keeps the data in a folder
// named by the major version, and does not outlive the process that started it.
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

// UserFixtureSQL is Better Auth's "user" table as its own migration makes it.
// In production that migration does; this is for `docket dev` and the tests.
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

// Options say which PostgreSQL to run and where.
type Options struct {
	Dir       string    // holds data-<major>, its password and its log; made if missing
	Major     int       // exactly this major version; 0: whatever is found first
	Port      int       // preferred port on 127.0.0.1; 0 or a taken one: any free port
	Ephemeral bool      // for tests: fast, many connections, and a crash of the machine loses the data
	Log       io.Writer // progress, in lines for people; nil: none
}

// Server is a running PostgreSQL that only this machine can reach.
type Server struct {
	bin      binaries
	dir      string
	lock     io.Closer
	password string
	port     int
	process  *os.Process
	exited   chan struct{} // closed when PostgreSQL is gone
	exitErr  error         // how it went; read only after exited
}

// Start runs PostgreSQL until Stop, or until this process ends in whatever way.
// ctx bounds the start alone. A Dir that another process is using is refused.
// Data already in Dir is kept, always: another major version gets another folder.
func Start(ctx context.Context, o Options) (_ *Server, err error) {
	if o.Log == nil {
		o.Log = io.Discard
	}
	s := &Server{}
	if s.dir, err = place(o.Dir, o.Log); err != nil {
		return nil, err
	}
	if s.lock, err = acquire(s.dir); err != nil {
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
	if err = evict(s.path("data")); err != nil {
		return nil, err
	}
	if err = s.initialize(ctx, o); err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		if s.port, err = freePort(o.Port); err != nil {
			return nil, err
		}
		err = s.run(ctx, o)
		if err == nil {
			return s, nil
		}
		// A port free a moment ago may have been taken before PostgreSQL got to it.
		if try == 3 || !strings.Contains(err.Error(), "could not bind") {
			return nil, err
		}
	}
}

// URL is the address of a database on this server, for its superuser.
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

// Major is the server's major version, such as 18.
func (s *Server) Major() int { return s.bin.major }

// Version is the server's full version, such as 18.4.
func (s *Server) Version() string { return s.bin.version }

// Stop ends the server in order (open transactions are rolled back) and waits
// until it is gone. Its error is PostgreSQL's own if that had ended badly before.
// Stopping twice is fine.
func (s *Server) Stop() error {
	if err := end(s.process, s.exited); err != nil {
		return err
	}
	s.lock.Close()
	return s.exitErr
}

// Remove deletes the data of every major version in dir, which Start never does.
// It refuses while a Server runs there.
func Remove(dir string) error {
	dir, err := place(dir, io.Discard)
	if err != nil {
		return err
	}
	lock, err := acquire(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := sweep(dir); err != nil {
		return err
	}
	folders, err := fs.Glob(os.DirFS(dir), "data-*")
	if err != nil {
		return err
	}
	for _, data := range folders {
		if err := evict(filepath.Join(dir, data)); err != nil {
			return err
		}
		// Renamed first: a half-deleted folder must never pass for data.
		if err := os.Rename(filepath.Join(dir, data), filepath.Join(dir, "tmp-"+data)); err != nil {
			return err
		}
	}
	return sweep(dir)
}

// initialize makes the data folder if there is none and learns its password.
func (s *Server) initialize(ctx context.Context, o Options) error {
	data, secret := s.path("data"), s.path("password")
	if _, err := os.Stat(data); err == nil {
		password, err := os.ReadFile(secret)
		s.password = string(password)
		return err
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := sweep(s.dir); err != nil {
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
	if err := give(secret); err != nil {
		return err
	}
	// lower() and ilike must fold É as in production. Where the system has no
	// C.UTF-8, another locale's letters with C's order come closest.
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

// initdb works in a folder of its own that becomes data only when complete, so
// that an interrupted start leaves nothing behind that looks like data.
func (s *Server) initdb(ctx context.Context, secret, data string, flags []string) error {
	folder, err := os.MkdirTemp(s.dir, "tmp-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	if err := give(folder); err != nil {
		return err
	}
	flags = append(flags, "-D", folder, "-U", "postgres", "-A", "scram-sha-256", "--pwfile="+secret, "--encoding=UTF8")
	if _, err := output(exec.CommandContext(ctx, s.bin.path("initdb"), flags...)); err != nil {
		return err
	}
	return os.Rename(folder, data)
}

// run starts PostgreSQL and returns when it answers.
func (s *Server) run(ctx context.Context, o Options) error {
	// A file and not a pipe: a pipe would break when we are killed, in the
	// middle of PostgreSQL's shutdown.
	log, err := os.Create(s.path("log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(s.bin.path("postgres"),
		"-D", s.path("data"), // first: evict knows our servers by it
		"-p", strconv.Itoa(s.port),
		"-c", "listen_addresses=127.0.0.1",
		"-c", "unix_socket_directories=")
	if o.Ephemeral {
		for _, setting := range []string{
			"fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=300",
			"wal_level=minimal", "max_wal_senders=0", "max_wal_size=64MB", // the data may be in memory
		} {
			cmd.Args = append(cmd.Args, "-c", setting)
		}
	}
	cmd.Stdout, cmd.Stderr = log, log
	asChild(cmd)

	started, exited := make(chan error), make(chan struct{})
	go func() {
		// On Linux the child is signalled when the thread that made it ends, not
		// the process. This goroutine keeps that thread as long as the child lives.
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
		return errors.Join(err, end(s.process, s.exited))
	}
	return nil
}

// await returns when the server answers, or the reason why it will not.
func (s *Server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
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

// path names one of the files kept for the server's major version.
func (s *Server) path(name string) string {
	return filepath.Join(s.dir, fmt.Sprintf("%s-%d", name, s.bin.major))
}

// sweep deletes what an interrupted initdb or Remove left behind.
func sweep(dir string) error {
	leftovers, err := fs.Glob(os.DirFS(dir), "tmp-*")
	for _, folder := range leftovers {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, folder)))
	}
	return err
}

// freePort is the preferred port, or any other if that is 0 or taken.
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

// tail is the end of a log.
func tail(path string) string {
	log, _ := os.ReadFile(path)
	return string(log[max(0, len(log)-2000):])
}
