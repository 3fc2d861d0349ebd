package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"docket/internal/store"
)

// Many owners read at the same moment, leave in the middle, are cancelled, and lose their connections: whoever gets an
// answer gets its own, and round trips are shared.
func TestReadsThatGoTogetherStayApart(t *testing.T) {
	t.Parallel()
	owners := []string{"ada", "bob", "cyd", "dan", "eve", "fay"}
	address := withUsers(t, owners...)
	s := open(t, store.Config{URL: address})
	ids := map[string]string{}
	for i, owner := range owners {
		for n := range i + 1 {
			ids[owner] = create(t, s.For(owner), fmt.Sprintf("%s %d", owner, n)).ID
		}
	}
	var wg sync.WaitGroup
	before := s.Stat().Acquires
	var answers atomic.Int64
	for worker := range 48 {
		wg.Go(func() {
			for round := range 60 {
				i := (worker + round) % len(owners)
				owner := owners[i]
				other := owners[(i+1)%len(owners)]
				ctx, cancel := context.WithCancel(t.Context())
				leaves := round%7 == 0
				if leaves {
					time.AfterFunc(time.Duration(worker)*20*time.Microsecond, cancel)
				}
				list, err := s.For(owner).ListTasks(ctx, store.ListQuery{Limit: 20})
				switch {
				case err == nil:
					answers.Add(1)
					if len(list.Tasks) != i+1 || list.Total != int64(i+1) {
						t.Errorf("%s has %d of %d tasks, want %d", owner, len(list.Tasks), list.Total, i+1)
					}
					for _, task := range list.Tasks {
						if !strings.HasPrefix(task.Title, owner+" ") {
							t.Errorf("%s got %q", owner, task.Title)
						}
					}
				case !leaves && !errors.Is(err, store.ErrUnavailable): // its connection was ended, twice
					t.Errorf("%s: %v", owner, err)
				}
				task, err := s.For(owner).GetTask(t.Context(), ids[owner])
				if err == nil && (task.UserID != owner || task.ID != ids[owner]) || err != nil && !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("%s got %+v, %v", owner, task, err)
				}
				if _, err := s.For(owner).GetTask(t.Context(), ids[other]); !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("%s got a task of %s's: %v", owner, other, err)
				}
				cancel()
			}
		})
	}
	conn := direct(t, address)
	for i := range 200 { // a cancel may also come while an owner is entered
		time.Sleep(500 * time.Microsecond)
		exec(t, conn, "select pg_cancel_backend(pid) "+othersSQL)
		if i%40 == 39 {
			exec(t, conn, "select pg_terminate_backend(pid) "+othersSQL+" order by backend_start limit 1")
		}
	}
	wg.Wait()
	if took := s.Stat().Acquires - before; answers.Load() == 0 || took >= 3*48*60 {
		t.Errorf("%d connections were taken for %d reads, %d lists were answered", took, 3*48*60, answers.Load())
	}
}

// What PostgreSQL holds of one owner may be unreadable. Those who went with it do not notice.
func TestAReadThatFailsTakesNobodyWithIt(t *testing.T) {
	t.Parallel()
	address := withUsers(t, "ada", "bob")
	s := open(t, store.Config{URL: address, MaxConns: 2})
	create(t, s.For("ada"), "x")
	create(t, s.For("bob"), "y")
	exec(t, direct(t, address), "update task set created_at = 'infinity' where user_id = 'bob'")
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			owner := []string{"ada", "bob"}[i%2]
			for range 20 {
				list, err := s.For(owner).ListTasks(t.Context(), store.ListQuery{Limit: 20})
				if fails := owner == "bob"; fails != (err != nil) || !fails && list.Tasks[0].Title != "x" {
					t.Errorf("%s: %+v, %v", owner, list, err)
				}
			}
		})
	}
	wg.Wait()
}
