package postgres

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"docket/internal/dbtest"
)

func TestErrorsOfPostgreSQLHaveAMeaning(t *testing.T) {
	t.Parallel()
	known := []error{ErrInvalid, ErrOutcomeUnknown, ErrNoRole, ErrUnavailable}
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
		"40001": ErrUnavailable, // if all retries fail
		"40P01": ErrUnavailable,
		"53100": ErrUnavailable, // disk full
		"53200": ErrUnavailable, // out of memory
		"53300": ErrUnavailable, // too many connections
		"55P03": ErrUnavailable, // lock not available
		"57014": ErrUnavailable, // query cancelled
		// The server ended the connection. Whether the change was made is unknown.
		"08006": ErrOutcomeUnknown,
		"57P01": ErrOutcomeUnknown,
		"57P02": ErrOutcomeUnknown,
		// Bugs in the service.
		"23502": nil,
		"23503": nil,
		"23505": nil,
		"42501": nil, // row-level security stopped a statement
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
			if errors.Is(err, meaning) != errors.Is(meaning, want) {
				t.Errorf("%v: is it %q? %t", err, meaning, errors.Is(err, meaning))
			}
		}
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
			"Probe": db.Probe(t.Context(), OperatorStatement{"select 1"}, func(Rows) error { return nil }),
		} {
			if !errors.Is(err, ErrUnavailable) && (name != "went away" || !errors.Is(err, ErrOutcomeUnknown)) {
				t.Errorf("%s, %s: %v", name, what, err)
			} else if strings.Contains(fmt.Sprint(err), "hunter2") {
				t.Errorf("%s, %s repeats the password: %v", name, what, err)
			}
		}
	}
}
