package postgres

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"docket/internal/dbtest"
)

func TestErrorsOfPostgreSQLHaveAMeaning(t *testing.T) {
	t.Parallel()
	known := []error{ErrInvalid, ErrOutcomeUnknown, ErrNoRole, ErrUnavailable, ErrDenied, ErrNotPrepared}
	address := dbtest.New(t)
	execute(t, connect(t, address), failsSQL, pgx.QueryExecModeSimpleProtocol)
	db := open(t, Config{URL: address})
	for code, want := range map[string]error{
		"22001": ErrInvalid,
		"22003": ErrInvalid,
		"22007": ErrInvalid,
		"22008": ErrInvalid,
		"22021": ErrInvalid,
		"22P02": ErrInvalid,
		"22P05": ErrInvalid,
		"23514": ErrInvalid,
		"40001": ErrRetry,
		"40P01": ErrRetry,
		"53100": ErrUnavailable,        // disk full
		"53200": ErrUnavailable,        // out of memory
		"53300": ErrTooManyConnections, // too many connections
		"55P03": ErrUnavailable,        // lock not available
		"57014": ErrTimeout,            // query canceled
		// The server ended the connection. Whether the change was made is unknown.
		"08006": ErrOutcomeUnknown,
		"57P01": ErrOutcomeUnknown,
		"57P02": ErrOutcomeUnknown,
		"25006": ErrReadOnly, // read-only
		"26000": ErrNotPrepared,
		"42P05": ErrNotPrepared,
		"42501": ErrDenied, // row-level security stopped a statement
		// Bugs in the service.
		"23502": nil,
		"23503": nil,
		"23505": nil,
		"42601": nil,
		"42703": nil,
		"P0001": nil,
		"XX000": nil,
	} {
		_, err := send(t.Context(), db, NotIdempotent, "ada", "select fails(1000, $2) where $1::text is not null", code)
		if err == nil || !strings.Contains(err.Error(), code) {
			t.Errorf("%s: error %v, want one that wraps the cause", code, err)
		}
		for _, meaning := range known {
			if errors.Is(err, meaning) != errors.Is(want, meaning) {
				t.Errorf("%v: is it %q? %t", err, meaning, errors.Is(err, meaning))
			}
		}
	}
}

// The connections of the pool and of probes were made while the server was read-only.
//
// fault B1
// fault B2
func TestConnectionsThatAcceptNoChangesAreReplaced(t *testing.T) {
	t.Parallel()
	for _, mode := range queryModes {
		owner := withTasks(t)
		role, address := dbtest.Login(t, owner, "server", "")
		admin := connect(t, owner)
		execute(t, admin, "grant docket_app to "+role)
		readOnly := "alter role " + role + " set default_transaction_read_only = "
		const changeSQL = "update task set completed = true where user_id = $1 returning title"
		probe := func(db *DB) error {
			return db.Probe(t.Context(), OperatorStatement{"select 1"}, nil, func(tx *Tx) { tx.Queue(Statement{changeSQL}, nil) })
		}
		for name, change := range map[string]func(*DB) error{
			"a change": func(db *DB) error { _, err := send(t.Context(), db, NotIdempotent, "ada", changeSQL); return err }, "a probe": probe,
		} {
			execute(t, admin, readOnly+"on")
			db := open(t, Config{URL: address, QueryMode: mode, MaxConns: 3})
			var conns []*pgxpool.Conn
			for range 3 {
				conn, err := db.pool.Acquire(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				conns = append(conns, conn)
			}
			for _, conn := range conns {
				conn.Release()
			}
			if err := db.probes.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
			const oldSQL = "select count(*) from pg_stat_activity where usename = $1 and backend_start < $2"
			execute(t, admin, readOnly+"off")
			since := value[time.Time](t, admin, "select clock_timestamp()")
			if n := value[int](t, admin, oldSQL, role, since); n != 4 {
				t.Fatalf("%d connections, want 4", n)
			}
			if err := change(db); err != nil {
				t.Errorf("%s, %s: %v", mode, name, err)
			}
			if _, err := send(t.Context(), db, NotIdempotent, "ada", changeSQL); err != nil { // another connection
				t.Errorf("%s, after %s: %v", mode, name, err)
			}
			until(t, func() bool { return value[int](t, admin, oldSQL, role, since) == 0 })
			db.Close()
		}
	}
}

func TestAReadOnlyServerIsUnavailable(t *testing.T) {
	t.Parallel()
	address := withTasks(t) + "&default_transaction_read_only=on"
	db := open(t, Config{URL: address})
	for range 5 {
		if _, err := send(t.Context(), db, NotIdempotent, "ada", "delete from task where user_id = $1"); !errors.Is(err, ErrReadOnly) {
			t.Errorf("a change: %v", err)
		}
		if got, err := send(t.Context(), db, ReadOnly, "ada", ownTasksSQL); err != nil || got != "ada ada ada ada" {
			t.Errorf("a read: %s, %v", got, err)
		}
	}
	attributes := open(t, Config{URL: address + "&target_session_attrs=read-write"})
	if _, err := send(t.Context(), attributes, ReadOnly, "ada", ownTasksSQL); !errors.Is(err, ErrReadOnly) {
		t.Errorf("with target_session_attrs: %v", err)
	}
}

func TestWhyNoConnectionIsMade(t *testing.T) {
	t.Parallel()
	owner := withTasks(t)
	role, address := dbtest.Login(t, owner, "login", "")
	admin := connect(t, owner)
	database := value[string](t, admin, "select current_database()")
	for name, test := range map[string]struct {
		sql, address string
		want         error
	}{
		// fault B6
		"limit of the login": {"alter role " + role + " connection limit 0", address, ErrTooManyConnections},
		// fault B6
		"limit of the database": {"alter database " + database + " connection limit 0", address, ErrTooManyConnections},
		"password":              {"select", strings.Replace(address, ":secret@", ":wrong@", 1), ErrLoginRefused},
		"no login":              {"alter role " + role + " nologin", address, ErrLoginRefused},
		"no database":           {"select", strings.Replace(address, database+"?", "docket_none?", 1), ErrLoginRefused},
		"no right to connect":   {"revoke connect on database " + database + " from public", address, ErrLoginRefused},
	} {
		execute(t, admin, test.sql)
		db := open(t, Config{URL: test.address})
		_, run := send(t.Context(), db, NotIdempotent, "ada", ownTasksSQL)
		_, read := share(t.Context(), db, "ada", ownTasksSQL)
		probe := db.Probe(t.Context(), OperatorStatement{"select 1"}, nil, nil)
		for what, err := range map[string]error{"Run": run, "Read": read, "Probe": probe} {
			if !errors.Is(err, test.want) || !errors.Is(err, ErrUnavailable) || strings.Contains(fmt.Sprint(err), "secret") {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
		execute(t, admin, "alter role "+role+" login connection limit -1; alter database "+database+
			" connection limit -1; grant connect on database "+database+" to public", pgx.QueryExecModeSimpleProtocol)
	}
}

func TestTheCallersMeaningsTakePrecedence(t *testing.T) {
	t.Parallel()
	errFirst, errSecond, errThird := errors.New("first"), errors.New("second"), errors.New("third")
	address := dbtest.New(t)
	execute(t, connect(t, address), `
create function raise(code text, constr text, msg text) returns text language plpgsql as $$
begin
  raise exception '%', msg using errcode = code, constraint = constr;
end;
$$`, pgx.QueryExecModeSimpleProtocol)
	db := open(t, Config{URL: address}, []Meaning{
		{Code: "23514", Constraint: "one", Err: errFirst},
		{Code: "23514", Message: "two", Err: errSecond},
		{Code: "P0001", Err: errThird},
		{Code: "23505", Err: ErrRetry},
	}...)
	for _, c := range []struct {
		code, constraint, message string
		want                      error
	}{
		{"23514", "one", "", errFirst},
		{"23514", "one", "two", errFirst},
		{"23514", "other", "it is two", errSecond},
		{"23514", "other", "it is three", ErrInvalid},
		{"P0001", "", "", errThird},
		{"23505", "", "", ErrUnavailable},
	} {
		const sql = "select raise($2, $3, $4) where $1::text is not null"
		if _, err := send(t.Context(), db, NotIdempotent, "ada", sql, c.code, c.constraint, c.message); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestADatabaseThatDoesNotAnswerIsUnavailable(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "postgres://docket:hunter2@" + listener.Addr().String() + "/docket?sslmode=disable"
	listener.Close()
	_, crowded := dbtest.Login(t, dbtest.New(t), "crowded", "connection limit 0")
	refusing := dbtest.Proxy(t, dbtest.New(t))
	gone := open(t, Config{URL: refusing.URL, MaxConns: 1})
	if err := gone.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	refusing.Refuse()
	for name, db := range map[string]*DB{
		"not listening": open(t, Config{URL: closed}), "no connection left": open(t, Config{URL: crowded}), "went away": gone,
	} {
		_, run := send(t.Context(), db, NotIdempotent, "ada", ownTasksSQL)
		_, read := share(t.Context(), db, "ada", ownTasksSQL)
		for what, err := range map[string]error{
			"Run": run, "Read": read, "Ping": db.Ping(t.Context()),
			"Probe": db.Probe(t.Context(), OperatorStatement{"select 1"}, func(Rows) error { return nil }, nil),
		} {
			if !errors.Is(err, ErrUnavailable) && (name != "went away" || !errors.Is(err, ErrOutcomeUnknown)) {
				t.Errorf("%s, %s: %v", name, what, err)
			} else if strings.Contains(fmt.Sprint(err), "hunter2") {
				t.Errorf("%s, %s repeats the password: %v", name, what, err)
			}
		}
	}
}
