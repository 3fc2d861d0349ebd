package store

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"docket/internal/dbtest"
)

// fault D4
func TestAnOwnerCreatesNoMoreTasksThanItMay(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			address := dbtest.New(t)
			dbtest.AddUser(t, address, "ada", "bob")
			s := open(t, Config{URL: address, QueryMode: mode})
			ada := s.For("ada").MaxTasks(3)
			var last Task
			for i := range 2 {
				last = create(t, ada, fmt.Sprint("task ", i))
			}
			first, _ := createOnce(t, ada, "key", NewTask{Title: "third"})

			refused := func() {
				t.Helper()
				if _, err := ada.CreateTask(t.Context(), NewTask{Title: "one too many"}); !errors.Is(err, ErrTooManyTasks) {
					t.Errorf("create: %v, want %v", err, ErrTooManyTasks)
				}
				if _, _, err := ada.CreateTaskOnce(t.Context(), "another", NewTask{Title: "one too many"}); !errors.Is(err, ErrTooManyTasks) {
					t.Errorf("create under a key: %v, want %v", err, ErrTooManyTasks)
				}
			}
			refused()
			if again, replayed := createOnce(t, ada, "key", NewTask{Title: "third"}); !replayed || again.ID != first.ID {
				t.Errorf("the create that reached the limit is not replayed: %t, %+v", replayed, again)
			}
			if page := list(t, ada, TaskQuery{Limit: 10}); page.Total != 3 || len(page.Tasks) != 3 {
				t.Errorf("%d tasks, total %d", len(page.Tasks), page.Total)
			}
			if n := value[int](t, connect(t, address), "select count(*) from idempotency_key"); n != 1 {
				t.Errorf("%d keys: one of a task that was refused was kept", n)
			}

			// Other owners have limits of their own, other changes have none, and a deletion makes room.
			create(t, s.For("bob").MaxTasks(1), "the first")
			if _, err := ada.UpdateTask(t.Context(), last.ID, TaskChanges{Completed: Set(true)}); err != nil {
				t.Error(err)
			}
			if _, err := ada.DeleteTask(t.Context(), last.ID); err != nil {
				t.Error(err)
			}
			create(t, ada, "in its place")
			refused()
			create(t, s.For("ada"), "without a limit")
			create(t, s.For("ada").MaxTasks(5), "with a greater one")
			refused()
		})
	}
}

// fault D4
func TestTheLimitOfTasksIsExactWhateverComesAtOnce(t *testing.T) {
	t.Parallel()
	address := dbtest.New(t)
	dbtest.AddUser(t, address, "ada")
	ada := open(t, Config{URL: address, MaxConns: 8}).For("ada").MaxTasks(10)
	var created, refused atomic.Int32
	var group sync.WaitGroup
	for i := range 32 {
		group.Go(func() {
			var err error
			if i%2 == 0 {
				_, err = ada.CreateTask(t.Context(), NewTask{Title: "x"})
			} else {
				_, _, err = ada.CreateTaskOnce(t.Context(), fmt.Sprint("key ", i), NewTask{Title: "x"})
			}
			switch {
			case err == nil:
				created.Add(1)
			case errors.Is(err, ErrTooManyTasks):
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	group.Wait()
	if created.Load() != 10 || refused.Load() != 22 {
		t.Errorf("%d were created and %d refused, want 10 and 22", created.Load(), refused.Load())
	}
	if n := value[int](t, connect(t, address), "select count(*) from task"); n != 10 {
		t.Errorf("%d tasks are stored, want 10", n)
	}
}
