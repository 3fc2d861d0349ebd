package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"docket/internal/dbtest"
	"docket/internal/dbtest/pgproxy"
)

func TestTheOwnerIsTheFirstParameterOfEveryStatement(t *testing.T) {
	t.Parallel()
	// The test reads from the connection what PostgreSQL received.
	for _, mode := range queryModes {
		p := dbtest.Proxy(t, withTasks(t))
		db := open(t, Config{URL: p.URL, QueryMode: mode})
		if err := db.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, do := range []func() (string, error){
			func() (string, error) {
				return send(t.Context(), db, NotIdempotent, "bob", ownTasksSQL+", $2::text", "x")
			},
			func() (string, error) { return share(t.Context(), db, "bob", ownTasksSQL+", $2::text", "x") },
		} {
			p.Reset()
			if got, err := do(); err != nil || got != "bob bob" {
				t.Errorf("%s: %s, %v", mode, got, err)
			}
			sent := p.Statements()
			if len(sent) != 2 || sent[0].SQL != assumeRoleSQL || string(sent[0].Params[0]) != "bob" || string(sent[1].Params[0]) != "bob" {
				t.Errorf("%s: sent %+v", mode, sent)
			}
		}
	}
}

const (
	completeSQL    = "update task set completed = true where user_id = $1 returning title"
	completeOneSQL = "update task set completed = true where user_id = $1 and id = 'b1'"
	failSQL        = "select 1 / (length($1) - length($1))"
)

func TestATransactionIsCommittedAsAWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	for _, mode := range queryModes {
		address := withTasks(t)
		conn := connect(t, address)
		db := open(t, Config{URL: address, QueryMode: mode})
		completed := func() int { return value[int](t, conn, "select count(*) from task where completed") }
		err := db.Run(t.Context(), "ada", NotIdempotent, func(tx *Tx) {
			tx.Queue(Statement{completeSQL}, nil)
			tx.Queue(Statement{failSQL}, nil)
		})
		if err == nil || completed() != 0 {
			t.Errorf("%s: %v, and %d tasks were completed", mode, err, completed())
		}
		var first, second []string
		err = db.Run(t.Context(), "ada", NotIdempotent, func(tx *Tx) {
			tx.Queue(Statement{completeSQL}, texts(&first))
			tx.Queue(Statement{"delete from task where user_id = $1 and completed returning id"}, texts(&second))
		})
		if err != nil || len(first) != 4 || len(second) != 4 || value[int](t, conn, "select count(*) from task") != 2 {
			t.Errorf("%s: %v, completed %s, deleted %s", mode, err, first, second)
		}
	}
}

func TestAnEmptyTransactionIsNotSent(t *testing.T) {
	t.Parallel()
	db := open(t, Config{URL: "postgres://docket@127.0.0.1:1/docket"})
	if err := db.Run(t.Context(), "ada", NotIdempotent, func(*Tx) {}); err != nil {
		t.Error(err)
	}
	if err := db.Read(t.Context(), "ada", func(*Tx) {}); err != nil {
		t.Error(err)
	}
}

func TestATransactionIsOneRoundTrip(t *testing.T) {
	t.Parallel()
	for _, mode := range queryModes {
		p := dbtest.Proxy(t, withTasks(t))
		db := open(t, Config{URL: p.URL, QueryMode: mode, MaxConns: 1})
		for name, do := range map[string]func() error{
			"Run": func() error {
				return db.Run(t.Context(), "ada", NotIdempotent, func(tx *Tx) {
					tx.Queue(Statement{completeSQL}, nil)
					tx.Queue(Statement{ownTasksSQL}, nil)
				})
			},
			"Read": func() error { _, err := share(t.Context(), db, "ada", ownTasksSQL); return err },
		} {
			for n := range 3 {
				p.Reset()
				if err := do(); err != nil {
					t.Errorf("%s, %s: %v", mode, name, err)
				}
				got := p.Counts()
				if got.Parses = 0; n > 0 && got != (pgproxy.Counts{Syncs: 1, Executed: 1, Answers: 1}) { // the first may prepare
					t.Errorf("%s, %s: %+v, want one sync and one answer", mode, name, got)
				}
			}
		}
	}
}

// The client cannot tell the two cases apart: in both, the connection ends after it has sent everything.
func TestALostConnectionDuringATransaction(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]pgproxy.Fault{"lost request": pgproxy.LoseRequest, "lost reply": pgproxy.LoseReply} {
		for _, mode := range queryModes {
			t.Run(name+", "+string(mode), func(t *testing.T) {
				t.Parallel()
				address := withTasks(t)
				p := dbtest.Proxy(t, address)
				db := open(t, Config{URL: p.URL, QueryMode: mode, MaxConns: 1})
				made := dbtest.CountChanges(t, address)
				committed := map[pgproxy.Fault]int{pgproxy.LoseReply: 1}[lost]
				for _, c := range []struct {
					effect Effect
					losses int
					want   error
					made   int
				}{
					{ReadOnly, 1, nil, committed + 1},
					{Idempotent, 1, nil, committed + 1},
					{NotIdempotent, 1, ErrOutcomeUnknown, committed},
					{ReadOnly, 2, ErrUnavailable, 2 * committed},
					{Idempotent, 2, ErrOutcomeUnknown, 2 * committed},
				} {
					if _, err := send(t.Context(), db, ReadOnly, "bob", completeOneSQL); err != nil { // prepares, and connects
						t.Fatal(err)
					}
					before := made()
					p.Fail([]pgproxy.Fault{lost, lost}[:c.losses]...)
					_, err := send(t.Context(), db, c.effect, "bob", completeOneSQL)
					if p.Fail(); !errors.Is(err, c.want) {
						t.Errorf("effect %d, lost %d times: %v, want %v", c.effect, c.losses, err, c.want)
					}
					if got := made() - before; got != c.made {
						t.Errorf("effect %d, lost %d times: made %d times, want %d", c.effect, c.losses, got, c.made)
					}
				}
			})
		}
	}
}

// failsSQL creates a function that fails with a given code the first few times it is called. A sequence counts the
// calls, because a rollback does not reset it.
const failsSQL = `
create sequence calls;
grant usage on sequence calls to docket_app;
create function fails(times bigint, code text) returns text language plpgsql as $$
begin
  if nextval('calls') <= times then
    raise exception 'a fault' using errcode = code;
  end if;
  return 'done';
end;
$$`

func TestTransactionsThatPostgreSQLRollsBackAreRetried(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code   string
		faults int
		effect Effect
		want   error
		sent   int
	}{
		{"40001", 1, ReadOnly, nil, 2},
		{"40P01", 2, NotIdempotent, nil, 3},
		{"40001", 1000, ReadOnly, ErrUnavailable, attempts},
		{"40P01", 1000, NotIdempotent, ErrUnavailable, attempts},
		{"08006", 1, ReadOnly, nil, 2},
		{"57P01", 1, Idempotent, nil, 2},
		{"57P01", 1, NotIdempotent, ErrOutcomeUnknown, 1},
		{"57P01", 1000, ReadOnly, ErrUnavailable, 2},
		{"57P01", 1000, Idempotent, ErrOutcomeUnknown, 2},
		{"53200", 1, ReadOnly, ErrUnavailable, 1}, // an immediate retry would make it worse
		{"57014", 1, ReadOnly, ErrUnavailable, 1}, // a retry would take as long
	} {
		t.Run(fmt.Sprint(c.code, " ", c.faults, " times, effect ", c.effect), func(t *testing.T) {
			t.Parallel()
			address := dbtest.New(t)
			conn := connect(t, address)
			execute(t, conn, failsSQL, pgx.QueryExecModeSimpleProtocol)
			db := open(t, Config{URL: address})
			const callSQL = "select fails($2, $3) where $1::text is not null"
			calls := map[string]func() (string, error){
				"Run": func() (string, error) { return send(t.Context(), db, c.effect, "ada", callSQL, c.faults, c.code) },
			}
			if c.effect == ReadOnly {
				calls["Read"] = func() (string, error) { return share(t.Context(), db, "ada", callSQL, c.faults, c.code) }
			}
			for name, call := range calls {
				execute(t, conn, "alter sequence calls restart")
				before := db.Stat().Retries
				got, err := call()
				if !errors.Is(err, c.want) || err == nil && got != "done" {
					t.Errorf("%s: %s, %v, want %v", name, got, err, c.want)
				}
				if n := value[int](t, conn, "select last_value from calls"); n != c.sent {
					t.Errorf("%s: sent %d times, want %d", name, n, c.sent)
				}
				if n := db.Stat().Retries - before; n != int64(c.sent-1) {
					t.Errorf("%s: %d retries are counted, want %d", name, n, c.sent-1)
				}
			}
		})
	}
}

func TestAFunctionThatReadsRowsMayRequestARetry(t *testing.T) {
	t.Parallel()
	db := open(t, Config{URL: withTasks(t)})
	for times, want := range map[int]error{2: nil, 3: ErrUnavailable} {
		n := 0
		err := db.Run(t.Context(), "ada", NotIdempotent, func(tx *Tx) {
			tx.Queue(Statement{ownTasksSQL}, func(Rows) error {
				if n++; n <= times {
					return fmt.Errorf("%w: try again", ErrRetry)
				}
				return nil
			})
		})
		if !errors.Is(err, want) || errors.Is(err, ErrOutcomeUnknown) || n != 3 {
			t.Errorf("after %d times: %v, want %v; %d attempts", times, err, want, n)
		}
	}
}

func TestAContextThatEndsDuringARetry(t *testing.T) {
	t.Parallel()
	db := open(t, Config{URL: withTasks(t)})
	ctx, cancel := context.WithCancel(t.Context())
	err := db.Run(ctx, "ada", NotIdempotent, func(tx *Tx) {
		tx.Queue(Statement{ownTasksSQL}, func(Rows) error {
			cancel()
			return ErrRetry
		})
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
}

// What a second attempt gets says nothing about the first one, unless it comes from the transaction's own statements.
func TestTheOutcomeStaysUnknownAfterASecondAttempt(t *testing.T) {
	t.Parallel()
	db := open(t, Config{URL: withTasks(t)})
	errStale := errors.New("the row has changed")
	for name, c := range map[string]struct {
		second error
		cancel bool // before the second attempt ends
		want   error
	}{
		"success":             {nil, false, nil},
		"the caller's result": {errStale, false, errStale},
		"lost again":          {io.ErrUnexpectedEOF, false, ErrOutcomeUnknown},
		"canceled":            {context.Canceled, true, ErrOutcomeUnknown},
		"deadlock, canceled":  {&pgconn.PgError{Code: "40P01"}, true, ErrOutcomeUnknown},
		"denied":              {&pgconn.PgError{Code: "42501"}, false, ErrOutcomeUnknown},
		"a bug":               {&pgconn.PgError{Code: "42601"}, false, ErrOutcomeUnknown},
		"refused by a pooler": {&pgconn.PgError{Code: "08P01", Message: "query_wait_timeout"}, false, ErrOutcomeUnknown},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		sends := 0
		err := db.attempt(ctx, Idempotent, func() (bool, error) {
			if sends++; sends == 1 {
				return true, io.ErrUnexpectedEOF
			}
			if c.cancel {
				cancel()
			}
			return !refusedByPooler(c.second), c.second
		})
		cancel()
		if !errors.Is(err, c.want) || c.want == nil && err != nil || sends != 2 {
			t.Errorf("%s: %v after %d attempts, want %v", name, err, sends, c.want)
		}
	}
}

func TestNoFreeConnectionIsUnavailable(t *testing.T) {
	t.Parallel()
	db := open(t, Config{URL: withTasks(t), MaxConns: 1})
	conn, err := db.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = send(ctx, db, NotIdempotent, "ada", completeSQL)
	if !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("error %v", err)
	}
}

func TestStatementsHaveTheConfiguredTimeout(t *testing.T) {
	t.Parallel()
	for timeout, want := range map[time.Duration]string{0: "5s", 1234 * time.Millisecond: "1234ms", time.Hour: "1h"} {
		db := open(t, Config{URL: dbtest.New(t), StatementTimeout: timeout})
		const sql = "select current_setting('statement_timeout') where $1::text is not null"
		alone, err := send(t.Context(), db, ReadOnly, "ada", sql)
		shared, err2 := share(t.Context(), db, "ada", sql)
		if err := errors.Join(err, err2); err != nil || alone != want || shared != want {
			t.Errorf("%s: %s, %s, %v", timeout, alone, shared, err)
		}
	}
}

// A deadline in the service would close the connection. The statement timeout exists so that PostgreSQL cancels the
// statement first.
func TestAStatementThatPostgreSQLCancelsKeepsItsConnection(t *testing.T) {
	t.Parallel()
	for _, mode := range queryModes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			address := withTasks(t)
			blocker := connect(t, address)
			db := open(t, Config{URL: address, QueryMode: mode, MaxConns: 1, StatementTimeout: time.Hour})
			const sql = "select pg_advisory_lock(7)::text from task where user_id = $1 and id = 'b1'"
			const backendSQL = "select pg_backend_pid()::text where $1::text is not null"
			before, err := send(t.Context(), db, ReadOnly, "bob", backendSQL)
			if err != nil {
				t.Fatal(err)
			}
			execute(t, blocker, "select pg_advisory_lock(7)")
			for _, call := range []func() (string, error){
				func() (string, error) { return send(t.Context(), db, NotIdempotent, "bob", sql) },
				func() (string, error) { return share(t.Context(), db, "bob", sql) },
			} {
				done := make(chan error)
				go func() { _, err := call(); done <- err }()
				until(t, func() bool { return value[int](t, blocker, waitingSQL) == 1 })
				execute(t, blocker, "select pg_cancel_backend(pid) "+clientsSQL)
				if err := <-done; !timedOut(err) || errors.Is(err, ErrOutcomeUnknown) {
					t.Errorf("error %v, want that of a canceled statement", err)
				}
			}
			if after, err := send(t.Context(), db, ReadOnly, "bob", backendSQL); err != nil || after != before {
				t.Errorf("the connection was %s and is %s, %v", before, after, err)
			}
		})
	}
}
