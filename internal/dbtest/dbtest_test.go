package dbtest

import (
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"docket/migrations"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

func TestDatabasesAreIndependent(t *testing.T) {
	t.Parallel()
	one, other := New(t), New(t)
	AddUser(t, one, "ada", "bob")
	if got := users(t, one); got != "ada <ada@example.com>, bob <bob@example.com>" {
		t.Errorf("users = %s", got)
	}
	if got := users(t, other); got != "" {
		t.Errorf("users of the other database = %s, want none", got)
	}
}

func TestTwentyDatabasesInParallel(t *testing.T) {
	t.Parallel()
	for range 20 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			address := New(t)
			AddUser(t, address, "ada")
			if got := users(t, address); got != "ada <ada@example.com>" {
				t.Errorf("users = %s", got)
			}
		})
	}
}

func TestNewDatabaseIsMigrated(t *testing.T) {
	t.Parallel()
	state, err := migrations.Status(t.Context(), New(t))
	if err != nil || state.Current == 0 || state.Current != state.Newest {
		t.Errorf("status = %+v, %v", state, err)
	}
}

func TestEmptyDatabaseHasNoTables(t *testing.T) {
	t.Parallel()
	var tables int
	conn := connect(t, Empty(t))
	if err := conn.QueryRow(t.Context(), "select count(*) from pg_tables where schemaname = 'public'").Scan(&tables); err != nil {
		t.Fatal(err)
	}
	if tables != 0 {
		t.Errorf("%d tables, want none", tables)
	}
}

func TestDatabaseIsDroppedWhenItsTestEnds(t *testing.T) {
	t.Parallel()
	var address string
	var open *pgx.Conn
	t.Run("test", func(t *testing.T) {
		address = New(t)
		var err error
		if open, err = pgx.Connect(t.Context(), address); err != nil { // never closed
			t.Fatal(err)
		}
	})
	defer open.Close(t.Context())
	conn, err := pgx.Connect(t.Context(), address)
	if err == nil {
		conn.Close(t.Context())
	}
	if err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("after the test: %v, want no such database", err)
	}
}

func TestPoolerLeadsToTheDatabase(t *testing.T) {
	t.Parallel()
	address := New(t)
	AddUser(t, Pooler(t, address), "ada")
	if got := users(t, address); got != "ada <ada@example.com>" {
		t.Errorf("users = %s", got)
	}
}

func TestServerOfTheEnvironmentMustBeOnLoopback(t *testing.T) {
	t.Parallel()
	for address, ok := range map[string]bool{
		"postgres://postgres:x@127.0.0.1:5432/":                     true,
		"postgres://postgres:x@localhost/app?sslmode=disable":       true,
		"postgresql://postgres:x@[::1]:5432/":                       true,
		"postgres://postgres:x@db.example.com/":                     false,
		"postgres://postgres:x@127.0.0.1/?host=db.example.com":      false,
		"postgres://postgres:x@127.0.0.1:5432,db.example.com:5432/": false,
		"postgres:///?host=/var/run/postgresql":                     false,
		"host=127.0.0.1 user=postgres":                              false,
		"nonsense":                                                  false,
	} {
		at, err := addresses(address)
		if (err == nil) != ok {
			t.Errorf("%s: error %v, want accepted %v", address, err, ok)
		}
		if err != nil {
			if strings.Contains(err.Error(), ":x@") {
				t.Errorf("%s: the error repeats the password: %v", address, err)
			}
			continue
		}
		config, err := pgx.ParseConfig(at("mine"))
		if err != nil || config.Database != "mine" || config.User != "postgres" {
			t.Errorf("%s: %s, %v", address, at("mine"), err)
		}
	}
}

func users(t *testing.T, address string) (list string) {
	t.Helper()
	const sql = `select coalesce(string_agg(name || ' <' || email || '>', ', ' order by id), '') from "user"`
	if err := connect(t, address).QueryRow(t.Context(), sql).Scan(&list); err != nil {
		t.Fatal(err)
	}
	return list
}

func connect(t *testing.T, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	return conn // closed when the database is dropped
}
