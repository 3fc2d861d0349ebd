package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// Better Auth may delete a user while the user's requests are writing. The deletion succeeds at the first attempt, and
// the writers receive ErrNotFound or ErrOwnerGone.
func TestAUserCanBeDeletedDuringWrites(t *testing.T) {
	t.Parallel()
	address := withUsers(t)
	conn := connect(t, address)
	// PostgreSQL checks for deadlocks after this time. With its default of one second, the test would find few.
	execute(t, conn, "alter database "+conn.Config().Database+" set deadlock_timeout = '10ms'")
	s := open(t, Config{URL: address, MaxConns: 8})
	auth := connect(t, address)
	for round := range 25 {
		user := fmt.Sprintf("user %d", round)
		execute(t, conn, `insert into "user" (id, name, email, "emailVerified") values ($1, $1, $1, true)`, user)
		tasks := new(idPool)
		for n := range 20 {
			tasks.add(create(t, s.For(user), "x").ID)
			createOnce(t, s.For(user), fmt.Sprint("key ", n), NewTask{Title: "x", Priority: "low"})
		}
		execute(t, conn, "update idempotency_key set created_at = now() - interval '2 days' where user_id = $1", user)
		made := slices.Clone(tasks.ids)

		var writers sync.WaitGroup
		var changes atomic.Int64
		ctx, cancel := context.WithCancel(t.Context())
		defer writers.Wait()
		defer cancel()
		for n := range 8 {
			writers.Go(func() {
				random := rand.New(rand.NewPCG(uint64(round), uint64(n)))
				for {
					err := changeAny(ctx, s.For(user), tasks, random)
					if errors.Is(err, ErrOwnerGone) || ctx.Err() != nil {
						return
					}
					if err != nil {
						t.Errorf("a writer: %v", err)
						return
					}
					changes.Add(1)
				}
			})
		}
		until(t, func() bool { return changes.Load() >= 30 })
		execute(t, auth, `delete from "user" where id = $1`, user)
		writers.Wait()

		if left := value[int](t, conn, "select count(*) from task where user_id = $1", user); left != 0 {
			t.Errorf("%d tasks are left of %s", left, user)
		}
		tombstones := value[[]string](t, conn, "select array_agg(id) from tombstone where user_id = $1", user)
		for _, id := range made {
			if !slices.Contains(tombstones, id) {
				t.Errorf("%s has no tombstone for %s", user, id)
			}
		}
	}
}

// The deletion locks the user, a create waits for the user, a change waits for the create, and then the deletion reaches
// the task and its keys.
func TestDeletingAUserDuringWritesDoesNotDeadlock(t *testing.T) {
	t.Parallel()
	address := withUsers(t, "ada")
	writers, deletion := deleteWhileWriting(t, address)
	if deletion != nil {
		t.Errorf("the deletion: %v", deletion)
	}
	for name, err := range writers {
		want := map[bool]error{true: ErrOwnerGone, false: ErrNotFound}[operations[name].does == creates]
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
}

// Without the lock, the test above would find a deadlock.
func TestDeletingAUserDeadlocksWithoutTheStatementLock(t *testing.T) {
	t.Parallel()
	address := withUsers(t, "ada")
	unlock(t, connect(t, address), "lock_owner")
	var pg *pgconn.PgError
	if _, deletion := deleteWhileWriting(t, address); !errors.As(deletion, &pg) || pg.Code != "40P01" {
		t.Errorf("the deletion: %v", deletion)
	}
}

// deleteWhileWriting deletes ada while one call of each writing operation waits. Only the deletion's session checks for
// deadlocks.
func deleteWhileWriting(t *testing.T, address string) (writers map[string]error, deletion error) {
	t.Helper()
	conn, auth := connect(t, address), connect(t, address)
	execute(t, conn, "alter database "+conn.Config().Database+" set deadlock_timeout = '1h'")
	execute(t, auth, "set deadlock_timeout = '1ms'")
	ada := open(t, Config{URL: address, MaxConns: 10}).For("ada")
	id := create(t, ada, "x").ID
	createOnce(t, ada, "an old key", NewTask{Title: "x", Priority: "low"})
	execute(t, conn, "update idempotency_key set created_at = now() - interval '2 days'")
	execute(t, conn, "update tombstone set deleted_at = now() - interval '100 days'")

	execute(t, auth, "begin")
	execute(t, auth, `select from "user" where id = 'ada' for update`)
	var all sync.WaitGroup
	var mu sync.Mutex
	writers = map[string]error{}
	waiting := 0
	for _, name := range []string{"CreateTask", "CreateTaskOnce", "UpdateTask", "CompleteTask", "RenameTag", "DeleteTag", "DeleteTask"} {
		all.Go(func() {
			err := operations[name].call(t.Context(), ada, id)
			mu.Lock()
			defer mu.Unlock()
			writers[name] = err
		})
		waiting++
		until(t, func() bool { return value[int](t, conn, waitingSQL) == waiting })
	}
	_, deletion = auth.Exec(t.Context(), `delete from "user" where id = 'ada'`)
	execute(t, auth, map[bool]string{true: "commit", false: "rollback"}[deletion == nil])
	all.Wait()
	return writers, deletion
}
