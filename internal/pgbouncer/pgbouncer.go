// Package pgbouncer runs a real PgBouncer for the tests and the bench: a transaction pooler such as Neon's.
package pgbouncer

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

// Pooler is a running PgBouncer that only this machine can reach.
type Pooler struct {
	URL string // of the database, through the pooler

	stdin io.Closer
	cmd   *exec.Cmd
}

// Start puts PgBouncer in front of a database, in transaction mode and with so many server connections for all its
// clients. Its configuration and its log go to dir, which another user must be able to enter: as root, PgBouncer runs as
// nobody. It ends with Stop, or with this process however that ends. Errors are those of Find too.
func Start(ctx context.Context, dir, databaseURL string, connections int) (*Pooler, error) {
	program, err := Find()
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		p, err := start(ctx, program, dir, databaseURL, connections)
		// A port free a moment ago may have been taken before PgBouncer got to it.
		if err == nil || try == 3 || !strings.Contains(err.Error(), "in use") {
			return p, err
		}
	}
}

// Find says where PgBouncer is, also where a user's PATH does not lead: it is a server. Where there is none the error
// says how to get it.
func Find() (string, error) {
	program, err := exec.LookPath("pgbouncer")
	if err == nil {
		return program, nil
	}
	if sbin, failed := exec.LookPath("/usr/sbin/pgbouncer"); failed == nil {
		return sbin, nil
	}
	return "", fmt.Errorf("this needs PgBouncer: apt-get install pgbouncer, or brew install pgbouncer (%w)", err)
}

// Whoever asks is let in, as the user of the database's address: the server itself is only reachable from here.
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

// script ends PgBouncer when its standard input ends: with Stop, or with this process however it ends.
const script = `"$@" & pid=$!; read -r _; kill -9 "$pid"; wait "$pid"`

// nobody is who PgBouncer runs as when we are root, whom it refuses to be.
const nobody = 65534

func start(ctx context.Context, program, dir, databaseURL string, connections int) (*Pooler, error) {
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
	text := fmt.Sprintf(config, u.Hostname(), u.Port(), quote(u.User.Username()), quote(password), port, connections, log)
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
	p := &Pooler{URL: u.String(), cmd: exec.Command("sh", arguments...)}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if err := p.ready(ctx, log); err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

func (p *Pooler) ready(ctx context.Context, log string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, p.URL)
		if err == nil {
			return conn.Close(ctx)
		}
		said, _ := os.ReadFile(log)
		if ctx.Err() != nil || strings.Contains(string(said), "FATAL") {
			return fmt.Errorf("PgBouncer does not answer: %w\n%s", err, said)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Stop ends PgBouncer and waits until it is gone.
func (p *Pooler) Stop() {
	_ = p.stdin.Close()
	_ = p.cmd.Wait() // it says that it was killed
}
