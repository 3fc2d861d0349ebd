package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"docket/internal/dbtest"
	"docket/internal/dbtest/pgproxy"
	"docket/internal/dbtest/pooler"
)

// logged is a log that tests read.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// roads are ways to a database, each with what auto finds there.
var roads = map[string]struct {
	to    func(t *testing.T, direct string) string
	finds string
}{
	"direct": {func(_ *testing.T, direct string) string { return direct }, "cache_statement, a direct connection"},
	"proxy":  {func(t *testing.T, direct string) string { return dbtest.Proxy(t, direct).URL }, "cache_statement, a direct connection"},
	"pooler that supports prepared statements": {
		func(t *testing.T, direct string) string { return dbtest.PreparingPooler(t, direct).URL },
		"cache_statement, a pooler that supports prepared statements",
	},
	"pooler that supports none": {
		dbtestPooler, "exec, a transaction pooler that does not support prepared statements",
	},
	"new pooler whose support is off": {
		with(pooler.Options{Connections: 3, Newest: true}), "exec, a transaction pooler that does not support prepared statements",
	},
	"pooler with one connection": {
		with(pooler.Options{Connections: 1}), "exec, a transaction pooler that does not support prepared statements",
	},
	"old pooler that keeps sessions": {
		with(pooler.Options{Connections: 10, Settings: "pool_mode = session\n"}), "cache_statement, a proxy that keeps sessions",
	},
}

func dbtestPooler(t *testing.T, direct string) string { return dbtest.Pooler(t, direct) }

func with(o pooler.Options) func(t *testing.T, direct string) string {
	return func(t *testing.T, direct string) string { return dbtest.StartPooler(t, direct, o).URL }
}

// fault E1
func TestAutoFindsOutHowStatementsMayBeSent(t *testing.T) {
	t.Parallel()
	for name, road := range roads {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log logged
			db := open(t, Config{URL: road.to(t, withTasks(t)), MaxConns: 4, Log: slog.New(slog.NewTextHandler(&log, nil))})
			if got := db.Mode(); got != "" {
				t.Errorf("before the first call the mode is %q", got)
			}
			bothReadAtOnce(t, db, 40)
			if got := db.Mode(); got != road.finds {
				t.Errorf("the mode is %q, want %q", got, road.finds)
			}
			mode, between, _ := strings.Cut(road.finds, ", ")
			if s := db.Stat(); s.Mode != mode || s.Lost != 0 {
				t.Errorf("the mode is counted as %q, and %d losses", s.Mode, s.Lost)
			}
			if got := log.String(); strings.Count(got, "query mode") != 1 || !strings.Contains(got, mode) || !strings.Contains(got, between) {
				t.Errorf("logged\n%s", got)
			}
			if again := db.known.Load().until; again.IsZero() != (mode == string(QueryModePrepared)) {
				t.Errorf("it looks again at %s", again)
			}
		})
	}
}

// bothReadAtOnce reads as two owners at once, and writes as one of them.
func bothReadAtOnce(t *testing.T, db *DB, times int) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range 4 {
		owner, want := "ada", "ada ada ada ada"
		if i%2 == 1 {
			owner, want = "bob", "bob bob"
		}
		wg.Go(func() {
			for n := range times {
				call := func() (string, error) { return share(t.Context(), db, owner, ownTasksSQL) }
				switch n % 4 {
				case 1:
					call = func() (string, error) { return send(t.Context(), db, ReadOnly, owner, allTasksSQL) }
				case 2:
					call = func() (string, error) {
						return send(t.Context(), db, NotIdempotent, owner, "update task set completed = not completed where user_id = $1 returning title")
					}
				}
				if got, err := call(); err != nil || got != want {
					t.Errorf("%s got %q, %v", owner, got, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// fault E2
func TestPreparedStatementsAndSharedRoundTripsBehindAPooler(t *testing.T) {
	t.Parallel()
	p := dbtest.Proxy(t, dbtest.PreparingPooler(t, withTasks(t)).URL)
	db := open(t, Config{URL: p.URL, MaxConns: 1})
	for range 2 {
		p.Reset()
		if got, err := send(t.Context(), db, ReadOnly, "bob", ownTasksSQL); err != nil || got != "bob bob" {
			t.Fatalf("%s, %v", got, err)
		}
	}
	if got := p.Counts(); got != (pgproxy.Counts{Syncs: 1, Executed: 1, Answers: 1}) {
		t.Errorf("the second time %+v, want nothing to be parsed", got)
	}
	acquired := db.Stat().Acquires
	var calls []func() error
	for range maxGroup {
		calls = append(calls, func() error { _, err := share(t.Context(), db, "ada", ownTasksSQL); return err })
	}
	if err := errors.Join(together(t, db, calls...)...); err != nil {
		t.Error(err)
	}
	if n := db.Stat().Acquires - acquired; n != 1 {
		t.Errorf("%d reads took %d connections, want 1", len(calls), n)
	}
}

// A pooler keeps a statement on the server's connection although the client that prepared it is gone.
//
// fault E3
func TestStaleStatementsHeal(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"direct", "pooler that supports prepared statements"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			direct := withTasks(t)
			address := roads[name].to(t, direct)
			admin := connect(t, direct)
			execute(t, admin, "alter table task drop column search_text") // it depends on the type of title
			first, second := open(t, Config{URL: address}), open(t, Config{URL: address})
			for n := range 3 {
				for _, db := range []*DB{first, second, open(t, Config{URL: address})} { // the third one is a process that started later
					bothReadAtOnce(t, db, 8)
				}
				execute(t, admin, fmt.Sprintf("alter table task alter title type varchar(%d)", 300+n))
			}
			bothReadAtOnce(t, first, 8)
			bothReadAtOnce(t, open(t, Config{URL: address}), 8)
			if !strings.HasPrefix(first.Mode(), string(QueryModePrepared)) {
				t.Errorf("the mode is now %s", first.Mode())
			}
		})
	}
}

// fault B3
func TestLostPreparedStatementsEndTheirUse(t *testing.T) {
	t.Parallel()
	var log logged
	address := dbtest.Pooler(t, withTasks(t))
	db := open(t, Config{URL: address, QueryMode: QueryModePrepared, MaxConns: 8, Log: slog.New(slog.NewTextHandler(&log, nil))})
	other := open(t, Config{URL: address, QueryMode: QueryModePrepared, MaxConns: 8})
	var wg sync.WaitGroup
	for _, db := range []*DB{db, other} {
		for range 4 {
			wg.Go(func() { bothReadAtOnce(t, db, 20) })
		}
	}
	wg.Wait()
	k := db.known.Load()
	if k.mode != QueryModeExec || k.until.IsZero() {
		t.Errorf("known: %+v", k)
	}
	if got := log.String(); !strings.Contains(got, "prepared statements get lost") || !strings.Contains(got, "transaction pooler") {
		t.Errorf("logged\n%s", got)
	}
	// It looks again later, for the case that the pooler is gone or another one.
	past := *k
	past.until = time.Now().Add(-time.Second)
	db.known.Store(&past)
	bothReadAtOnce(t, db, 1)
	if n := strings.Count(log.String(), "query mode"); n < 2 {
		t.Errorf("it did not look again:\n%s", &log)
	}
}

// fault E4
func TestWhatAPoolerRefusedIsUnavailable(t *testing.T) {
	t.Parallel()
	for _, prepared := range []int{0, 200} {
		mode := QueryModeExec
		if prepared > 0 {
			mode = QueryModePrepared
		}
		for name, refuse := range map[string]func(t *testing.T, address string, server *pgproxy.Proxy) (end func()){
			"server_login_retry": func(_ *testing.T, _ string, server *pgproxy.Proxy) func() {
				server.Refuse()
				return func() {}
			},
			"query_wait_timeout": func(t *testing.T, address string, _ *pgproxy.Proxy) func() {
				holder := connect(t, address)
				execute(t, holder, "begin", pgx.QueryExecModeSimpleProtocol)
				return func() { execute(t, holder, "rollback", pgx.QueryExecModeSimpleProtocol) }
			},
		} {
			t.Run(fmt.Sprintf("%s, %d prepared statements", name, prepared), func(t *testing.T) {
				t.Parallel()
				direct := withTasks(t)
				made := dbtest.CountChanges(t, direct)
				server := dbtest.Proxy(t, direct)
				address := dbtest.StartPooler(t, server.URL, pooler.Options{
					Connections: 1, PreparedStatements: prepared, Settings: "query_wait_timeout = 1\nserver_login_retry = 1\n",
				}).URL
				db := open(t, Config{URL: address, QueryMode: mode, MaxConns: 1})
				if _, err := send(t.Context(), db, NotIdempotent, "bob", completeSQL); err != nil {
					t.Fatal(err)
				}
				end := refuse(t, address, server)
				before := made()
				for _, sql := range []string{completeSQL, "update task set completed = false where user_id = $1"} { // known, and to be prepared
					_, err := send(t.Context(), db, NotIdempotent, "bob", sql)
					if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrOutcomeUnknown) || !strings.Contains(err.Error(), "08P01") {
						t.Errorf("error %v, want the pooler's and unavailable", err)
					}
				}
				end()
				if n := made() - before; n != 0 {
					t.Errorf("%d changes were made", n)
				}
			})
		}
	}
}

func TestTransactionPoolersAreRecognised(t *testing.T) {
	t.Parallel()
	for name, road := range roads {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := strings.Contains(road.finds, "pooler")
			if got, err := TransactionPooler(t.Context(), road.to(t, dbtest.Empty(t))); err != nil || got != want {
				t.Errorf("a transaction pooler: %t, %v", got, err)
			}
		})
	}
	for _, address := range []string{"postgres://docket:hunter2@127.0.0.1:port/docket", "postgres://docket:hunter2@127.0.0.1:1/docket"} {
		if _, err := TransactionPooler(context.WithoutCancel(t.Context()), address); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("error %v", err)
		}
	}
}
