package postgres

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func TestReadsShareARoundTripAndGetTheirOwnRows(t *testing.T) {
	t.Parallel()
	db := open(t, Config{URL: withTasks(t)})
	acquired := db.Stat().Acquires
	var calls []func() error
	for i := range maxGroup {
		owner, want := "ada", "ada ada ada ada"
		if i%2 == 1 {
			owner, want = "bob", "bob bob"
		}
		calls = append(calls, func() error {
			got, err := share(t.Context(), db, owner, ownTasksSQL)
			if err == nil && got != want {
				err = fmt.Errorf("%s got the tasks of %q", owner, got)
			}
			return err
		})
	}
	if err := errors.Join(together(t, db, calls...)...); err != nil {
		t.Error(err)
	}
	if n := db.Stat().Acquires - acquired; n != 1 {
		t.Errorf("%d reads took %d connections, want 1", len(calls), n)
	}
	if s := db.Stat(); s.SharedGroups != 1 || s.SharedReads != maxGroup {
		t.Errorf("%d reads shared %d round trips", s.SharedReads, s.SharedGroups)
	}
}

func TestDifferentStatementsShareNoRoundTrip(t *testing.T) {
	t.Parallel()
	db := open(t, Config{URL: withTasks(t)})
	acquired := db.Stat().Acquires
	errs := together(t, db,
		func() error { _, err := share(t.Context(), db, "ada", ownTasksSQL); return err },
		func() error { _, err := share(t.Context(), db, "ada", allTasksSQL); return err },
	)
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	if n := db.Stat().Acquires - acquired; n != 2 {
		t.Errorf("2 statements took %d connections", n)
	}
	if s := db.Stat(); s.SharedGroups != 0 || s.SharedReads != 0 {
		t.Errorf("%d reads shared %d round trips", s.SharedReads, s.SharedGroups)
	}
}

func TestAFailedReadDoesNotAffectTheOthersOfItsGroup(t *testing.T) {
	t.Parallel()
	errMine := errors.New("bob's")
	for name, c := range map[string]struct {
		policy string // that makes bob's statement fail
		read   func(Rows) error
		want   error
	}{
		"error of PostgreSQL": {`
create function fails() returns boolean language plpgsql as $$
begin
  if current_setting('app.user_id') = 'bob' then raise exception 'invalid page' using errcode = 'XX001'; end if;
  return true;
end $$;
create policy fails on task as restrictive for select to docket_app using ((select fails()))`, func(Rows) error { return nil }, nil},
		"row that cannot be scanned": {"", func(rows Rows) error {
			var n int64
			rows.Next()
			return rows.Scan(&n)
		}, nil},
		"error of its function": {"", func(Rows) error { return errMine }, errMine},
		"panic of its function": {"", func(Rows) error { panic("bob's") }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := withTasks(t)
			execute(t, connect(t, address), c.policy, pgx.QueryExecModeSimpleProtocol)
			db := open(t, Config{URL: address})
			adas := func() error {
				got, err := share(t.Context(), db, "ada", ownTasksSQL)
				if err == nil && got != "ada ada ada ada" {
					err = fmt.Errorf("got the tasks of %q", got)
				}
				return err
			}
			errs := together(t, db, adas, func() (err error) {
				defer func() {
					if v := recover(); v != nil {
						err = fmt.Errorf("%v", v)
					}
				}()
				return db.Read(t.Context(), "bob", func(tx *Tx) { tx.Queue(Statement{ownTasksSQL}, c.read) })
			}, adas, adas)
			if errs[1] == nil || c.want != nil && !errors.Is(errs[1], c.want) {
				t.Errorf("bob got %v", errs[1])
			}
			if err := errors.Join(errs[0], errs[2], errs[3]); err != nil {
				t.Errorf("ada got %v", err)
			}
			until(t, func() bool { return db.Stat().Acquired == 0 })
		})
	}
}

// A read that failed because another read of its group timed out is sent again, alone and with the full timeout.
func TestEachReadTimesOutForItself(t *testing.T) {
	t.Parallel()
	address := withTasks(t)
	db := open(t, Config{URL: address, StatementTimeout: 200 * time.Millisecond})
	prepareAll(t, db, 10, ownTasksSQL)
	execute(t, connect(t, address), "begin; lock table task", pgx.QueryExecModeSimpleProtocol)
	read := func() error { _, err := share(t.Context(), db, "ada", ownTasksSQL); return err }
	for _, err := range together(t, db, read, read, read, read) {
		if !timedOut(err) {
			t.Errorf("error %v, want a timeout", err)
		}
	}
}

// prepareAll opens connections and prepares statements on them: no timeout covers that.
func prepareAll(t *testing.T, db *DB, conns int, statements ...string) {
	t.Helper()
	for range conns {
		conn, err := db.pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Release()
		if _, err := db.sender(t.Context(), conn.Conn(), statements...); err != nil {
			t.Fatal(err)
		}
	}
}

func TestACanceledReadDoesNotAffectTheOthersOfItsGroup(t *testing.T) {
	t.Parallel()
	address := withTasks(t)
	db := open(t, Config{URL: address, StatementTimeout: time.Minute})
	lock := connect(t, address)
	ctx, cancel := context.WithCancel(t.Context())
	execute(t, lock, "begin; lock table task", pgx.QueryExecModeSimpleProtocol)
	errs := together(t, db, func() error {
		time.AfterFunc(0, func() {
			until(t, func() bool { return db.Stat().Acquired > 0 }) // the group is being sent
			cancel()
		})
		_, err := share(ctx, db, "ada", ownTasksSQL)
		_, _ = lock.Exec(t.Context(), "rollback")
		return err
	}, func() error {
		_, err := share(t.Context(), db, "ada", ownTasksSQL)
		return err
	})
	if !errors.Is(errs[0], context.Canceled) || errs[1] != nil {
		t.Errorf("the canceled read got %v, the other one %v", errs[0], errs[1])
	}
}

func TestAGroupWhoseCallersAllLeftEndsWithTheLast(t *testing.T) {
	t.Parallel()
	address := withTasks(t)
	db := open(t, Config{URL: address, StatementTimeout: time.Minute})
	lock := connect(t, address)
	ctx, cancel := context.WithCancel(t.Context())
	execute(t, lock, "begin; lock table task", pgx.QueryExecModeSimpleProtocol)
	read := func() error {
		_, err := share(ctx, db, "ada", ownTasksSQL)
		return err
	}
	errs := together(t, db, func() error {
		time.AfterFunc(0, func() {
			until(t, func() bool { return db.Stat().Acquired > 0 }) // the group is being sent
			cancel()
		})
		return read()
	}, read)
	if !errors.Is(errs[0], context.Canceled) || !errors.Is(errs[1], context.Canceled) {
		t.Errorf("the reads got %v", errs)
	}
	if n := value[int64](t, lock, waitingSQL); n != 0 {
		t.Errorf("%d statements are running although no caller waits", n)
	}
	execute(t, lock, "rollback")
}

func TestACanceledReadThatWaitsIsNotSent(t *testing.T) {
	t.Parallel()
	db := open(t, Config{URL: withTasks(t)})
	errs := together(t, db,
		func() error { _, err := share(t.Context(), db, "ada", ownTasksSQL); return err },
		func() error {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := share(ctx, db, "ada", ownTasksSQL); !errors.Is(err, context.Canceled) {
				return fmt.Errorf("the canceled read got %w", err)
			}
			if n := waiting(db); n != 1 {
				return fmt.Errorf("%d reads wait", n)
			}
			_, err := share(t.Context(), db, "bob", ownTasksSQL)
			return err
		},
	)
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

func waiting(db *DB) int {
	db.shared.mu.Lock()
	defer db.shared.mu.Unlock()
	return len(db.shared.waiting)
}

// together runs calls that each read once. Those with the same statement are sent as one group.
func together(t *testing.T, db *DB, calls ...func() error) []error {
	t.Helper()
	s := db.shared
	busy := []*group{}
	s.mu.Lock()
	for range maxRecent { // reads that never finish, so that later ones wait
		busy = append(busy, s.add())
		busy[len(busy)-1].since = time.Now().Add(time.Hour)
	}
	s.mu.Unlock()
	errs := make([]error, len(calls))
	var wg sync.WaitGroup
	for i, call := range calls {
		wg.Go(func() { errs[i] = call() })
		until(t, func() bool { return waiting(db) == i+1 })
	}
	s.mu.Lock()
	for _, g := range busy {
		s.finish(g)
	}
	s.mu.Unlock()
	wg.Wait()
	return errs
}

// Many owners read at the same moment, are canceled, and lose their connections: each gets its own rows or an error.
func TestSharedReadsUnderCancellationsAndLostConnections(t *testing.T) {
	t.Parallel()
	address := withTasks(t)
	db := open(t, Config{URL: address})
	acquired := db.Stat().Acquires
	const workers, rounds = 48, 60
	var answers atomic.Int64
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			for round := range rounds {
				owner := []string{"ada", "bob"}[(worker+round)%2]
				for _, sql := range []string{ownTasksSQL, allTasksSQL} {
					ctx, cancel := context.WithCancel(t.Context())
					cancels := round%7 == 0
					if cancels {
						time.AfterFunc(time.Duration(worker)*20*time.Microsecond, cancel)
					}
					got, err := share(ctx, db, owner, sql)
					switch {
					case err == nil:
						answers.Add(1)
						if titles := strings.Fields(got); len(titles) == 0 || slices.ContainsFunc(titles, func(title string) bool { return title != owner }) {
							t.Errorf("%s got the tasks of %q", owner, got)
						}
					case !cancels && !errors.Is(err, ErrUnavailable): // its connection was ended, twice
						t.Errorf("%s: %v", owner, err)
					}
					cancel()
				}
			}
		})
	}
	conn := connect(t, address)
	for i := range 200 { // a statement may be canceled while the role is assumed, too
		time.Sleep(500 * time.Microsecond)
		execute(t, conn, "select pg_cancel_backend(pid) "+clientsSQL)
		if i%40 == 39 {
			execute(t, conn, "select pg_terminate_backend(pid) "+clientsSQL+" order by backend_start limit 1")
		}
	}
	wg.Wait()
	if n := db.Stat().Acquires - acquired; answers.Load() == 0 || n >= 2*workers*rounds {
		t.Errorf("%d reads took %d connections, and %d were answered", 2*workers*rounds, n, answers.Load())
	}
}

// A migration may change the types of what a prepared statement returns.
func TestAStaleStatementIsPreparedAgain(t *testing.T) {
	t.Parallel()
	address := withTasks(t)
	conn := connect(t, address)
	db := open(t, Config{URL: address, MaxConns: 1})
	execute(t, conn, "alter table task drop column search_text") // it depends on the type of title
	alone := func() error { _, err := send(t.Context(), db, ReadOnly, "ada", ownTasksSQL); return err }
	shared := func() error { _, err := share(t.Context(), db, "ada", ownTasksSQL); return err }
	for i, read := range []func() error{alone, shared} {
		if err := errors.Join(alone(), shared()); err != nil {
			t.Error(err)
		}
		execute(t, conn, fmt.Sprintf("alter table task alter column title type varchar(%d)", 300+i))
		for range 3 {
			if err := errors.Join(read(), alone(), shared()); err != nil {
				t.Error(err)
			}
		}
	}
}

func timedOut(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "57014" && errors.Is(err, ErrUnavailable)
}

func TestAReadWhoseFunctionPanicsIsNotSentAgain(t *testing.T) {
	t.Parallel()
	db := open(t, Config{URL: withTasks(t)})
	calls := 0
	defer func() {
		if v := recover(); v == nil || calls != 1 {
			t.Errorf("the panic is %v after %d calls, want one call", v, calls)
		}
	}()
	_ = db.Read(t.Context(), "ada", func(tx *Tx) {
		tx.Queue(Statement{ownTasksSQL}, func(Rows) error {
			if calls++; calls == 1 {
				panic("the first call")
			}
			return nil
		})
	})
}

// unencodable is an argument whose encoding panics, as a fault of pgx would.
type unencodable struct{}

func (unencodable) Value() (driver.Value, error) { panic("unencodable") }

// A panic outside of a read's own function reaches every caller of the group, none of which waits for ever, and its
// connection is not used again.
func TestAPanicWhileAGroupIsSentReachesItsCallers(t *testing.T) {
	t.Parallel()
	db := open(t, Config{URL: withTasks(t)})
	read := func(owner, sql string, args ...any) func() error {
		return func() (err error) {
			defer func() {
				if v := recover(); v != nil {
					err = fmt.Errorf("panic: %v", v)
				}
			}()
			return db.Read(t.Context(), owner, func(tx *Tx) {
				tx.Queue(Statement{sql}, func(rows Rows) error {
					for rows.Next() {
					}
					return nil
				}, args...)
			})
		}
	}
	const sql = "select id from task where user_id = $1 and $2::text is not null"
	for i, err := range together(t, db, read("ada", sql, ""), read("bob", sql, unencodable{}), read("ada", sql, "")) {
		if err == nil || !strings.Contains(err.Error(), "panic: unencodable") {
			t.Errorf("call %d got %v", i, err)
		}
	}
	if err := read("ada", sql, "")(); err != nil {
		t.Errorf("a later read got %v", err)
	}
}
