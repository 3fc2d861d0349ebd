package postgres

import (
	"sync"
	"testing"
	"time"
)

// pidsSQL selects the process of the session that runs it.
const pidsSQL = "select pg_backend_pid()::text from task where user_id = $1 limit 1"

func TestThePoolKeeps10ConnectionsAndOpens20MoreUnderLoad(t *testing.T) {
	t.Parallel()
	address := withTasks(t)
	db := open(t, Config{URL: address, MinIdleConns: 10, StatementTimeout: time.Hour})
	conn := connect(t, address)
	connections := func() int { return value[int](t, conn, "select count(*) "+clientsSQL) }
	until(t, func() bool { return connections() == 10 })

	execute(t, conn, "begin; lock table task")
	var wg sync.WaitGroup
	for i := range 90 {
		owner, want := "ada", "ada ada ada ada"
		if i%2 == 0 {
			owner, want = "bob", "bob bob"
		}
		wg.Go(func() {
			if got, err := send(t.Context(), db, ReadOnly, owner, ownTasksSQL); err != nil || got != want {
				t.Errorf("%s gets %q, %v", owner, got, err)
			}
		})
	}
	until(t, func() bool { return value[int](t, conn, waitingSQL) == 30 })
	execute(t, conn, "commit")
	wg.Wait()
	if got := connections(); got != 30 {
		t.Errorf("%d connections after 90 calls, want 30", got)
	}
}

func TestAConnectionIsReplacedAtTheEndOfItsLifetime(t *testing.T) {
	t.Parallel()
	address := withTasks(t)
	session := func(db *DB) string {
		pid, err := send(t.Context(), db, NotIdempotent, "bob", pidsSQL)
		if err != nil || pid == "" {
			t.Fatalf("%q, %v", pid, err)
		}
		return pid
	}
	short := open(t, Config{URL: address, MaxConns: 1, MaxConnLifetime: 20 * time.Millisecond, MaxConnLifetimeJitter: -1})
	for range 5 {
		before := session(short)
		until(t, func() bool { return session(short) != before })
	}
	long := open(t, Config{URL: address, MaxConns: 1}) // an hour by default
	before := session(long)
	for range 100 {
		if session(long) != before {
			t.Fatal("a connection was replaced before the end of its lifetime")
		}
	}
}
