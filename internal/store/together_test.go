package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"docket/internal/dbtest"
)

// What is wrong with one owner's read is told to that owner alone.
func TestAnothersFailureIsNotMine(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		sql  string // that makes bob's read fail
		read func(s *Store) error
	}{
		"a row that cannot be read": {`
create function unreadable() returns boolean language plpgsql as $$
begin
  if current_setting('app.user_id') = 'bob' then raise exception 'invalid page' using errcode = 'XX001'; end if;
  return true;
end $$;
create policy unreadable on task as restrictive for select to docket_app using ((select unreadable()))`, nil},
		"a panic": {"", func(s *Store) (err error) {
			defer func() { err = fmt.Errorf("%v", recover()) }()
			return s.For("bob").read(t.Context(), func(pgx.Rows) error { panic("bob's") }, getTaskSQL, "1")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, conn := openWith(t, Config{}, "ada", "bob")
			ada := s.For("ada")
			task, err := ada.CreateTask(t.Context(), NewTask{Title: "A", Priority: "low"})
			if err != nil {
				t.Fatal(err)
			}
			bobsTask, err := s.For("bob").CreateTask(t.Context(), NewTask{Title: "B", Priority: "low"})
			if err != nil {
				t.Fatal(err)
			}
			execute(t, conn, test.sql, pgx.QueryExecModeSimpleProtocol)
			adas := func() error {
				got, err := ada.GetTask(t.Context(), task.ID)
				if err == nil && got.ID != task.ID {
					err = fmt.Errorf("got %+v", got)
				}
				return err
			}
			bobs := test.read
			if bobs == nil {
				bobs = func(s *Store) error {
					_, err := s.For("bob").GetTask(t.Context(), bobsTask.ID)
					return err
				}
			}
			errs := together(t, s, adas, func() error { return bobs(s) }, adas, adas)
			if errs[1] == nil {
				t.Errorf("bob was told %v", errs[1])
			}
			if err := errors.Join(errs[0], errs[2], errs[3]); err != nil {
				t.Errorf("ada was told %v", err)
			}
			if n := s.pool.Stat().AcquiredConns(); n > 0 {
				t.Errorf("%d connections are still in use", n)
			}
		})
	}
}

// Who is left out because another one waited for too long has the statement's timeout, too, and no more than that.
func TestATimeoutIsOfEachReadAlone(t *testing.T) {
	t.Parallel()
	s, conn := openWith(t, Config{StatementTimeout: 200 * time.Millisecond}, "ada")
	var prepared []*pgxpool.Conn
	for range 10 { // a connection that has prepared nothing waits before there is a timeout
		c, err := s.pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, sql := range []string{enterSQL, getTaskSQL} {
			if _, err := prepare(t.Context(), c.Conn(), sql); err != nil {
				t.Fatal(err)
			}
		}
		prepared = append(prepared, c)
	}
	for _, c := range prepared {
		c.Release()
	}
	execute(t, conn, "begin; lock table task", pgx.QueryExecModeSimpleProtocol)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	one := func() error {
		_, err := s.For("ada").GetTask(ctx, "1")
		return err
	}
	for _, err := range together(t, s, one, one, one, one) {
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != "57014" {
			t.Error(err)
		}
	}
}

// A group ends with its first read's time, and the others go on.
func TestTheFirstReadsTimeIsItsOwn(t *testing.T) {
	t.Parallel()
	s, conn := openWith(t, Config{StatementTimeout: time.Minute}, "ada")
	task, err := s.For("ada").CreateTask(t.Context(), NewTask{Title: "A", Priority: "low"})
	if err != nil {
		t.Fatal(err)
	}
	execute(t, conn, "begin; lock table task", pgx.QueryExecModeSimpleProtocol)
	read := func(limit time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		_, err := s.For("ada").GetTask(ctx, task.ID)
		return err
	}
	errs := together(t, s, func() error {
		err := read(time.Second)
		_, _ = conn.Exec(t.Context(), "rollback")
		return err
	}, func() error {
		return read(longestGroup - time.Second)
	})
	if !errors.Is(errs[0], context.DeadlineExceeded) || errs[1] != nil {
		t.Errorf("the first was told %v, the other %v", errs[0], errs[1])
	}
}

// together has the calls, of which each reads once and the same statement, sent as one group.
func together(t *testing.T, s *Store, calls ...func() error) []error {
	t.Helper()
	c := s.coalescer
	c.mu.Lock()
	busy := []*group{}
	for range fewGroups { // under way: who comes now waits
		busy = append(busy, &group{since: time.Now().Add(time.Hour)})
	}
	c.out = append(c.out, busy...)
	c.mu.Unlock()
	errs := make([]error, len(calls))
	var wg sync.WaitGroup
	for i, call := range calls {
		wg.Go(func() { errs[i] = call() })
		waiting(t, c, i+1)
	}
	c.mu.Lock()
	for _, g := range busy {
		c.next(g)
	}
	c.mu.Unlock()
	wg.Wait()
	return errs
}

// waiting returns when so many reads wait for others.
func waiting(t *testing.T, c *coalescer, n int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		c.mu.Lock()
		now := len(c.waiting)
		c.mu.Unlock()
		if now == n {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d reads wait, want %d", now, n)
		}
	}
}

// A migration may change what a prepared statement gives. Nobody notices, on whatever road it was prepared.
func TestAStaleStatementIsPreparedAnew(t *testing.T) {
	t.Parallel()
	s, conn := openWith(t, Config{MaxConns: 1}, "ada")
	ada := s.For("ada")
	task, err := ada.CreateTask(t.Context(), NewTask{Title: "A", Priority: "low"})
	if err != nil {
		t.Fatal(err)
	}
	small, large := ListQuery{Limit: 20}, ListQuery{Limit: 20, Offset: 500}
	for i, typ := range []string{"varchar(400)", "varchar(500)"} {
		for _, q := range []ListQuery{small, large} {
			if _, err := ada.ListTasks(t.Context(), q); err != nil {
				t.Error(err)
			}
		}
		if _, err := ada.GetTask(t.Context(), task.ID); err != nil {
			t.Error(err)
		}
		execute(t, conn, "alter table task alter column title type "+typ)
		next := large
		if i > 0 {
			next = small
		}
		for range 3 {
			if _, err := ada.ListTasks(t.Context(), next); err != nil {
				t.Error(err)
			}
			if _, err := ada.GetTask(t.Context(), task.ID); err != nil {
				t.Error(err)
			}
			if _, err := ada.IfMatch(task.Revision).CompleteTask(t.Context(), task.ID, new(false)); err != nil && err != ErrStale {
				t.Error(err)
			}
		}
	}
}

// openWith opens a store, and a connection beside it, as whoever owns the tables.
func openWith(t *testing.T, c Config, owners ...string) (*Store, *pgx.Conn) {
	t.Helper()
	c.URL = dbtest.New(t)
	dbtest.AddUser(t, c.URL, owners...)
	return open(t, c), connect(t, c.URL)
}
