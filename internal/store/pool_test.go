package store_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"docket/internal/store"
)

// othersSQL are the database's other clients.
const othersSQL = "from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"

// figures are what a pool was configured with.
type figures struct {
	MaxConns, MinIdleConns                  int32
	Lifetime, Jitter, IdleTime, PingTimeout time.Duration
	Connect                                 time.Duration
	Mode                                    pgx.QueryExecMode
}

func TestThePoolGetsTheConfiguredFigures(t *testing.T) {
	t.Parallel()
	const address = "postgres://docket@127.0.0.1:1/docket"
	defaults := figures{30, 10, time.Hour, 6 * time.Minute, 5 * time.Minute, 2 * time.Second, 5 * time.Second, pgx.QueryExecModeCacheStatement}
	with := func(change func(*figures)) figures {
		f := defaults
		change(&f)
		return f
	}
	for name, c := range map[string]struct {
		config store.Config
		want   figures
	}{
		"defaults": {store.Config{URL: address}, defaults},
		"everything": {
			store.Config{
				URL: address, MaxConns: 7, MinIdleConns: 3, MaxConnLifetime: 20 * time.Minute, MaxConnLifetimeJitter: time.Second,
				MaxConnIdleTime: time.Minute, PingTimeout: time.Millisecond, QueryMode: store.QueryModeDescribe,
			},
			figures{7, 3, 20 * time.Minute, time.Second, time.Minute, time.Millisecond, 5 * time.Second, pgx.QueryExecModeCacheDescribe},
		},
		"fewer than stay idle":      {store.Config{URL: address, MaxConns: 4}, with(func(f *figures) { f.MaxConns, f.MinIdleConns = 4, 4 })},
		"jitter follows lifetime":   {store.Config{URL: address, MaxConnLifetime: 10 * time.Minute}, with(func(f *figures) { f.Lifetime, f.Jitter = 10*time.Minute, time.Minute })},
		"none idle, no jitter":      {store.Config{URL: address, MinIdleConns: -1, MaxConnLifetimeJitter: -1}, with(func(f *figures) { f.MinIdleConns, f.Jitter = 0, 0 })},
		"another connect timeout":   {store.Config{URL: address + "?connect_timeout=7"}, with(func(f *figures) { f.Connect = 7 * time.Second })},
		"auto, direct":              {store.Config{URL: address, QueryMode: store.QueryModeAuto}, defaults},
		"auto, a pooler's address":  {store.Config{URL: "postgres://docket@127.0.0.1:6432/docket"}, with(func(f *figures) { f.Mode = pgx.QueryExecModeExec })},
		"prepared whatever address": {store.Config{URL: "postgres://docket@127.0.0.1:6432/docket", QueryMode: store.QueryModePrepared}, defaults},
		"exec":                      {store.Config{URL: address, QueryMode: store.QueryModeExec}, with(func(f *figures) { f.Mode = pgx.QueryExecModeExec })},
	} {
		s, err := store.Open(t.Context(), c.config)
		if err != nil {
			t.Fatal(err)
		}
		pool := s.Pool().Config()
		s.Close()
		got := figures{
			pool.MaxConns, pool.MinIdleConns, pool.MaxConnLifetime, pool.MaxConnLifetimeJitter, pool.MaxConnIdleTime,
			pool.PingTimeout, pool.ConnConfig.ConnectTimeout, pool.ConnConfig.DefaultQueryExecMode,
		}
		if got != c.want {
			t.Errorf("%s:\ngot  %+v\nwant %+v", name, got, c.want)
		}
	}
}

func TestThePoolOpensNoMoreThanItMay(t *testing.T) {
	t.Parallel()
	address := withUsers(t, "ada")
	s := open(t, store.Config{URL: address, MaxConns: 3})
	conn := direct(t, address)
	id := create(t, s.For("ada"), "x").ID
	exec(t, conn, "begin; lock table task")
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if _, err := s.For("ada").GetTask(t.Context(), id); err != nil {
				t.Error(err)
			}
		})
	}
	for s.Pool().Stat().EmptyAcquireCount() == 0 || value[int](t, conn, "select count(*) "+waitingSQL) < 3 {
	}
	if got := value[int](t, conn, "select count(*) "+othersSQL); got != 3 {
		t.Errorf("%d connections for 10 calls, want 3", got)
	}
	exec(t, conn, "commit")
	wg.Wait()
}

// With a change, for a read would be sent again.
func TestAConnectionThatDiedIdleIsNoticedBeforeItIsUsed(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			address := withUsers(t, "ada")
			ada := open(t, store.Config{URL: address, QueryMode: mode, MaxConns: 2}).For("ada")
			id := create(t, ada, "x").ID
			conn := direct(t, address)
			exec(t, conn, "select pg_terminate_backend(pid) "+othersSQL)
			for value[int](t, conn, "select count(*) "+othersSQL) > 0 {
			}
			time.Sleep(1100 * time.Millisecond) // idle for over a second: the pool asks before it hands one out
			task, err := ada.CompleteTask(t.Context(), id, nil)
			if err != nil || !task.Completed {
				t.Errorf("%+v, %v", task, err)
			}
		})
	}
}

func TestNothingIsLeftOnAConnection(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			s := open(t, store.Config{URL: withUsers(t, "ada"), QueryMode: mode, MaxConns: 1})
			id := create(t, s.For("ada"), "x").ID
			for name, do := range operations {
				for _, id := range []string{id, "not there"} { // succeeding and failing
					_ = do.call(t.Context(), s.For("ada"), id)
					var left string
					err := s.Pool().QueryRow(t.Context(), `select concat_ws(' ', current_user = session_user,
						coalesce(current_setting('app.user_id', true), ''), current_setting('statement_timeout'),
						(select count(*) from pg_locks where pid = pg_backend_pid() and locktype = 'advisory'))`).Scan(&left)
					if err != nil || left != "t  0 0" {
						t.Errorf("%s of %s leaves %q, %v: want the login's own role, no owner, no timeout and no lock", name, id, left, err)
					}
				}
			}
		})
	}
}

func TestCloseEndsEveryConnection(t *testing.T) {
	t.Parallel()
	address := withUsers(t, "ada")
	s, err := store.Open(context.WithoutCancel(t.Context()), store.Config{URL: address})
	if err != nil {
		t.Fatal(err)
	}
	create(t, s.For("ada"), "x")
	s.Close()
	conn := direct(t, address)
	for value[int](t, conn, "select count(*) "+othersSQL) > 0 {
	}
	if err := s.Ping(t.Context()); err == nil {
		t.Error("a closed store answers")
	}
}

// A caller who leaves is not gone before its statement is: the place that it gives back is one that others can have.
func TestWhoLeavesTakesTheStatementAlong(t *testing.T) {
	t.Parallel()
	for _, mode := range []store.QueryMode{store.QueryModePrepared, store.QueryModeExec, store.QueryModeDescribe} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			address := withUsers(t, "ada")
			conn := direct(t, address)
			ada := open(t, store.Config{URL: address, QueryMode: mode}).For("ada")
			exec(t, conn, "begin")
			exec(t, conn, "lock table task in access exclusive mode")
			for range 10 {
				ctx, leave := context.WithCancel(t.Context())
				left := make(chan error)
				go func() {
					_, err := ada.ListTasks(ctx, store.ListQuery{Limit: 1})
					left <- err
				}()
				until(t, func() bool { return value[int](t, conn, "select count(*) "+waitingSQL) == 1 })
				leave()
				if err := <-left; !errors.Is(err, context.Canceled) {
					t.Errorf("who left got %v", err)
				}
				if n := value[int](t, conn, "select count(*) "+waitingSQL); n != 0 {
					t.Fatalf("%d statements are still there", n)
				}
			}
		})
	}
}
