package postgres

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"docket/internal/dbtest"
	"docket/internal/dbtest/pooler"
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
	if db.Stat().Reconnects == 0 {
		t.Error("the connections are not counted as replaced")
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

func TestAPoolerRefusesALogin(t *testing.T) {
	t.Parallel()
	owner := dbtest.New(t)
	role, address := dbtest.Login(t, owner, "pooled", "")
	admin := connect(t, owner)
	wrong := func(address string) string { return strings.Replace(address, ":secret@", ":wrong@", 1) }
	refused := func(name, address, says string) {
		t.Helper()
		db := open(t, Config{URL: address})
		_, run := send(t.Context(), db, NotIdempotent, "ada", ownTasksSQL)
		_, read := share(t.Context(), db, "ada", ownTasksSQL)
		probe := db.Probe(t.Context(), OperatorStatement{"select 1"}, nil, nil)
		for what, err := range map[string]error{"Run": run, "Read": read, "Probe": probe} {
			if !errors.Is(err, ErrLoginRefused) || errors.Is(err, ErrOutcomeUnknown) || !strings.Contains(err.Error(), says) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
	}
	users := filepath.Join(dbtest.Dir(t), "userlist.txt")
	if err := os.WriteFile(users, []byte(`"`+role+`" "secret"`), 0o644); err != nil {
		t.Fatal(err)
	}
	for authentication, says := range map[string]string{
		"scram-sha-256": "SASL authentication failed", "md5": "password authentication failed", "plain": "password authentication failed",
	} {
		p := dbtest.StartPooler(t, address, pooler.Options{
			Connections: 3, Settings: "auth_type = " + authentication + "\nauth_file = " + users + "\n",
		})
		refused(authentication, wrong(p.URL), says+" (SQLSTATE 08P01)")
		refused(authentication+", no user", strings.Replace(p.URL, role, "nobody", 1), says+" (SQLSTATE 08P01)")
	}
	p := dbtest.StartPooler(t, address, pooler.Options{
		Connections: 3, Settings: "auth_type = trust\nauth_file = " + users + "\n",
	})
	refused("trust, no user", strings.Replace(p.URL, role, "nobody", 1), `"trust" authentication failed (SQLSTATE 08P01)`)

	// The login of the pooler itself is refused: by PostgreSQL, and after that by the pooler, which remembers it.
	p = dbtest.PreparingPooler(t, address)
	execute(t, admin, "alter role "+role+" password 'other'")
	execute(t, admin, "select pg_terminate_backend(pid, 60000) from pg_stat_activity where usename = $1", role)
	refused("the pooler's password", p.URL, "password authentication failed for user")

	// Texts of poolers that are older, look logins up in the database, or do not have every database.
	execute(t, admin, raiseSQL, pgx.QueryExecModeSimpleProtocol)
	db := open(t, Config{URL: owner})
	for message, want := range map[string]bool{
		"no such database: app": true, "no such user": true, "auth failed": true, "login rejected": true,
		`server login has been failing, cached error: database "app" does not exist (server_login_retry)`: true,
		"server login has been failing, cached error: connect failed (server_login_retry)":                false,
		"client_login_timeout": false,
	} {
		_, err := send(t.Context(), db, ReadOnly, "ada", "select raise('08P01', '', $2) where $1::text is not null", message)
		if errors.Is(err, ErrLoginRefused) != want || !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v", message, err)
		}
	}
}

// raiseSQL creates a function that raises an error.
const raiseSQL = `
create function raise(code text, constr text, msg text) returns text language plpgsql as $$
begin
  raise exception '%', msg using errcode = code, constraint = constr;
end;
$$`

func TestTheCallersMeaningsTakePrecedence(t *testing.T) {
	t.Parallel()
	errFirst, errSecond, errThird := errors.New("first"), errors.New("second"), errors.New("third")
	address := dbtest.New(t)
	execute(t, connect(t, address), raiseSQL, pgx.QueryExecModeSimpleProtocol)
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

// The log must not contain values of rows, which PostgreSQL's context may have.
func TestWhereNamesTheTableAndTheFunctionAndNoValue(t *testing.T) {
	t.Parallel()
	address := withTasks(t)
	conn := connect(t, address)
	execute(t, conn, `create function raises(text) returns text language plpgsql as $f$ begin raise exception 'a' using table = 'task'; end $f$`)
	execute(t, conn, `create function dynamic(v text) returns text language plpgsql as
		$f$ begin execute format('select 1 / (length(%L) - length(%L))', v, v); return v; end $f$`)
	execute(t, conn, `create function reads(v text) returns text language plpgsql as $f$ begin return v::int; end $f$`)
	db := open(t, Config{URL: address})
	for sql, want := range map[string]string{
		"select raises($1)":  "table task, PL/pgSQL function raises(text) line 1 at RAISE",
		"select reads($1)":   "PL/pgSQL function reads(text) line 1 at RETURN",
		"select dynamic($1)": "",
		"select $1::int":     "",
	} {
		_, err := send(t.Context(), db, ReadOnly, "secret\nPL/pgSQL function secret", sql)
		if got := Where(err); err == nil || got != want && got != strings.Replace(want, "RETURN", "assignment", 1) {
			t.Errorf("%s: %q, want %q, of %v", sql, got, want, err)
		}
	}
	for text, want := range map[string]int{
		"PL/pgSQL function " + strings.Repeat("é", 300):                 200,
		"SQL statement \"secret\nPL/pgSQL function f() line 1\"":        0,
		"unnamed portal parameter $1 = 'secret'\nPL/pgSQL function f()": 0,
		"PL/pgSQL function f()\nunnamed portal parameter $1 = 'secret'": len("PL/pgSQL function f()"),
	} {
		if got := Where(&pgconn.PgError{Where: text}); utf8.RuneCountInString(got) != want {
			t.Errorf("of %q there is %q", text, got)
		}
	}
}
