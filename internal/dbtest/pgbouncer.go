package dbtest

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Pooler puts PgBouncer in front of a database, in transaction mode and with three server connections for all its
// clients, and gives the database's address through it. It ends with the test.
func Pooler(t testing.TB, databaseURL string) string {
	t.Helper()
	program, err := lookPgBouncer()
	if err != nil {
		t.Fatalf("this test needs PgBouncer: apt-get install pgbouncer, or brew install pgbouncer (%v)", err)
	}
	for try := 1; ; try++ {
		address, err := startPooler(t, program, databaseURL)
		if err == nil {
			return address
		}
		// A port free a moment ago may have been taken before PgBouncer got to it.
		if try == 3 || !strings.Contains(err.Error(), "in use") {
			t.Fatal(err)
		}
	}
}

// lookPgBouncer finds the program also where a user's PATH does not lead: it is a server.
func lookPgBouncer() (string, error) {
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		if sbin, failed := exec.LookPath("/usr/sbin/pgbouncer"); failed == nil {
			return sbin, nil
		}
	}
	return program, err
}

// Whoever asks is let in, as the user of the database's address: the server itself is only reachable from here.
const poolerConfig = `
[databases]
* = host=%s port=%s user=%s password=%s

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %s
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
max_client_conn = 1000
logfile = %s
`

// poolerScript ends PgBouncer when its standard input ends: with the test, or with this process however it ends.
const poolerScript = `"$@" & pid=$!; read -r _; kill -9 "$pid"; wait "$pid"`

// nobody is who PgBouncer runs as when we are root, whom it refuses to be.
const nobody = 65534

func startPooler(t testing.TB, program, databaseURL string) (string, error) {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		return "", err
	}
	dir := folder(t)
	config, log := filepath.Join(dir, "pgbouncer.ini"), filepath.Join(dir, "log")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	front := listener.Addr().String()
	listener.Close()
	_, port, _ := net.SplitHostPort(front)
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	password, _ := u.User.Password()
	text := fmt.Sprintf(poolerConfig, u.Hostname(), u.Port(), quote(u.User.Username()), quote(password), port, log)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return "", err
	}
	arguments := []string{"-c", poolerScript, "sh", program, "-q", config}
	if os.Geteuid() == 0 {
		arguments = []string{"-c", poolerScript, "sh", program, "-q", "-u", "nobody", config}
		for _, path := range []string{dir, config} {
			if err := os.Chown(path, nobody, nobody); err != nil {
				return "", err
			}
		}
	}
	cmd := exec.Command("sh", arguments...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Wait() // it says that it was killed
	})

	u.Host = front
	address := u.String()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, address)
		if err == nil {
			return address, conn.Close(ctx)
		}
		said, _ := os.ReadFile(log)
		if ctx.Err() != nil || strings.Contains(string(said), "FATAL") {
			return "", fmt.Errorf("PgBouncer does not answer: %w\n%s", err, said)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
