package postgres

import (
	"cmp"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"docket/internal/dbtest"
)

func TestMain(m *testing.M) { os.Exit(dbtest.Main(m)) }

var queryModes = []QueryMode{QueryModePrepared, QueryModeExec, QueryModeDescribe}

// open opens a database without idle connections: most tests need only one.
func open(t *testing.T, c Config, meanings ...Meaning) *DB {
	t.Helper()
	c.MinIdleConns = cmp.Or(c.MinIdleConns, -1)
	db, err := Open(t.Context(), c, meanings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

// connect opens a connection as the superuser, whom row-level security does not confine.
func connect(t *testing.T, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) }) // t.Context has ended
	return conn
}

func execute(t *testing.T, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func value[T any](t *testing.T, conn *pgx.Conn, sql string, args ...any) (v T) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// until waits until a condition holds that depends on another goroutine or connection.
func until(t *testing.T, is func() bool) {
	t.Helper()
	for ; !is(); time.Sleep(time.Millisecond) {
		if t.Failed() {
			t.FailNow()
		}
	}
}

// texts returns a function for Tx.Queue that collects the first column of all rows.
func texts(into *[]string) func(Rows) error {
	return func(rows Rows) error {
		*into = nil
		for rows.Next() {
			var text string
			if err := rows.Scan(&text); err != nil {
				return err
			}
			*into = append(*into, text)
		}
		return nil
	}
}

// send runs a statement of an owner and returns the first column of its rows.
func send(ctx context.Context, db *DB, effect Effect, owner, sql string, args ...any) (string, error) {
	var all []string
	err := db.Run(ctx, owner, effect, func(tx *Tx) { tx.Queue(Statement{sql}, texts(&all), args...) })
	return strings.Join(all, " "), err
}

// share is like send, for a statement that may share a round trip.
func share(ctx context.Context, db *DB, owner, sql string, args ...any) (string, error) {
	var all []string
	err := db.Read(ctx, owner, func(tx *Tx) { tx.Queue(Statement{sql}, texts(&all), args...) })
	if err != nil {
		return "", err // do not read all: a function may still write to it
	}
	return strings.Join(all, " "), nil
}

// waitingSQL counts the sessions that wait for a lock of this connection. Other tests use the same server.
const waitingSQL = "select count(*) from pg_locks where not granted and pg_backend_pid() = any(pg_blocking_pids(pid))"

// clientsSQL selects the database's other clients.
const clientsSQL = "from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"

// withTasks returns the address of a new database in which ada has four tasks and bob two. The title of each task is
// its owner.
func withTasks(t *testing.T) string {
	t.Helper()
	address := dbtest.New(t)
	dbtest.AddUser(t, address, "ada", "bob")
	conn := connect(t, address)
	execute(t, conn, `
insert into task (id, user_id, title) values
  ('a1', 'ada', 'ada'), ('a2', 'ada', 'ada'), ('a3', 'ada', 'ada'), ('a4', 'ada', 'ada'), ('b1', 'bob', 'bob'), ('b2', 'bob', 'bob')`)
	_ = conn.Close(t.Context()) // some tests count the connections
	return address
}

const (
	// ownTasksSQL has the filter that statements have.
	ownTasksSQL = "select title from task where user_id = $1 order by id"

	// allTasksSQL has none: row-level security alone confines it.
	allTasksSQL = "select title from task where $1::text is not null order by id"
)
