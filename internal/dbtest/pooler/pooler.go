// Package pooler runs a PgBouncer, a transaction pooler such as Neon's, for tests and benchmarks.
package pooler

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Pooler is a running PgBouncer that listens on loopback only.
type Pooler struct {
	URL     string // of the database, through the pooler
	Version Version

	stdin io.Closer
	cmd   *exec.Cmd
}

// Version is a version of PgBouncer. Only the first two numbers matter.
type Version struct{ Major, Minor int }

// PreparedStatements reports whether the version can keep clients' prepared statements.
func (v Version) PreparedStatements() bool { return v.Major > 1 || v.Major == 1 && v.Minor >= 21 }

// String returns the version as PgBouncer writes it, such as 1.24.
func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// Variable is the environment variable with the path of the PgBouncer to use. tools/pgbouncer.sh prints the path of one
// that can keep prepared statements.
const Variable = "DOCKET_TEST_PGBOUNCER"

// Options configure a PgBouncer.
type Options struct {
	Connections        int    // to the server, for all clients
	PreparedStatements int    // that it keeps on each of them; 0: it does not support them
	Settings           string // more lines of its configuration
	Newest             bool   // Find's PgBouncer, whatever is wanted
}

// Start is like StartWith, for the PgBouncer that Find returns. If it can, it keeps 200 prepared statements on each
// server connection.
func Start(ctx context.Context, dir, databaseURL string, connections int) (*Pooler, error) {
	program, err := Find()
	if err != nil {
		return nil, err
	}
	return startProgram(ctx, program, dir, databaseURL, Options{Connections: connections, PreparedStatements: 200})
}

// StartWith puts PgBouncer in front of a database, in transaction mode. It takes the installed PgBouncer, or Find's if
// only that supports prepared statements and they are wanted. It returns an error that says how to get a PgBouncer when
// there is none that does what is wanted.
//
// StartWith writes PgBouncer's configuration and log to dir, which other users must be able to enter: when this process is
// root, PgBouncer runs as nobody. PgBouncer ends when Stop is called or this process ends, however it ends.
func StartWith(ctx context.Context, dir, databaseURL string, o Options) (*Pooler, error) {
	program, err := installed()
	if o.PreparedStatements > 0 || o.Newest {
		if program, err = Find(); err == nil {
			var version Version
			if version, err = versionOf(ctx, program); err == nil && !version.PreparedStatements() {
				err = fmt.Errorf("PgBouncer 1.21 or newer is needed, and %s is %s: run make test, or set %s to what tools/pgbouncer.sh prints",
					program, version, Variable)
			}
		}
	}
	if err != nil {
		return nil, err
	}
	return startProgram(ctx, program, dir, databaseURL, o)
}

func startProgram(ctx context.Context, program, dir, databaseURL string, o Options) (*Pooler, error) {
	version, err := versionOf(ctx, program)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		p, err := start(ctx, program, version, dir, databaseURL, o)
		// Another process may have taken the port since it was found to be free.
		if err == nil || try == 3 || !strings.Contains(err.Error(), "in use") {
			return p, err
		}
	}
}

// Find returns the path of PgBouncer: the variable's, or the installed one, also where PATH does not have the folder of
// servers. Its error says how to install it.
func Find() (string, error) {
	if program := os.Getenv(Variable); program != "" {
		return program, nil
	}
	return installed()
}

func installed() (string, error) {
	program, err := exec.LookPath("pgbouncer")
	if err == nil {
		return program, nil
	}
	if sbin, failed := exec.LookPath("/usr/sbin/pgbouncer"); failed == nil {
		return sbin, nil
	}
	return "", fmt.Errorf("PgBouncer is needed and not installed (Debian, Ubuntu: apt-get install pgbouncer; macOS: brew install pgbouncer): %w", err)
}

func versionOf(ctx context.Context, program string) (v Version, err error) {
	out, err := exec.CommandContext(ctx, program, "--version").CombinedOutput()
	if err == nil {
		_, err = fmt.Sscanf(string(out), "PgBouncer %d.%d", &v.Major, &v.Minor)
	}
	if err != nil {
		return v, fmt.Errorf("%s --version: %w: %s", program, err, out)
	}
	return v, nil
}

// Every client is accepted and becomes the user of the database's address: the server is on this machine's loopback.
const config = `
[databases]
* = host=%s port=%s user=%s password=%s

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %s
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = %d
max_client_conn = 1000
logfile = %s
`

// script kills PgBouncer when its standard input ends: when Stop closes it, or this process ends.
const script = `"$@" & pid=$!; read -r _; kill -9 "$pid"; wait "$pid"`

// nobody is the user that PgBouncer runs as if this process is root, because PgBouncer refuses to run as root.
const nobody = 65534

func start(
	ctx context.Context, program string, version Version, dir, databaseURL string, o Options,
) (*Pooler, error) {
	u, err := url.Parse(databaseURL)
	if err != nil {
		return nil, err
	}
	ini, log := filepath.Join(dir, "pgbouncer.ini"), filepath.Join(dir, "log")
	_ = os.Remove(log) // of an earlier try
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	front := listener.Addr().String()
	listener.Close()
	_, port, _ := net.SplitHostPort(front)
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	password, _ := u.User.Password()
	text := fmt.Sprintf(config, u.Hostname(), u.Port(), quote(u.User.Username()), quote(password), port, o.Connections, log)
	if version.PreparedStatements() {
		text += fmt.Sprintf("max_prepared_statements = %d\n", o.PreparedStatements)
	}
	text += o.Settings
	if err := os.WriteFile(ini, []byte(text), 0o600); err != nil {
		return nil, err
	}
	arguments := []string{"-c", script, "sh", program, "-q", ini}
	if os.Geteuid() == 0 {
		arguments = []string{"-c", script, "sh", program, "-q", "-u", "nobody", ini}
		for _, path := range []string{dir, ini} {
			if err := os.Chown(path, nobody, nobody); err != nil {
				return nil, err
			}
		}
	}
	u.Host = front
	p := &Pooler{URL: u.String(), Version: version, cmd: exec.Command("sh", arguments...)}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if err := p.await(ctx, log); err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

// await waits until the pooler accepts connections. It returns an error when the pooler logs one, and after two minutes.
func (p *Pooler) await(ctx context.Context, log string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, p.URL)
		if err == nil {
			return conn.Close(ctx)
		}
		logged, _ := os.ReadFile(log)
		if ctx.Err() != nil || strings.Contains(string(logged), "FATAL") {
			return fmt.Errorf("PgBouncer does not answer: %w\n%s", err, logged)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// PID returns the id of the process whose child PgBouncer is.
func (p *Pooler) PID() int { return p.cmd.Process.Pid }

// Stop ends PgBouncer and waits until it has ended.
func (p *Pooler) Stop() {
	_ = p.stdin.Close()
	_ = p.cmd.Wait() // it was killed, which is reported as an error
}
