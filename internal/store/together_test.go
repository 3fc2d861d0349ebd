package store

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"docket/internal/dbtest"
)

// What is wrong with one owner's read is told to that owner alone.
func TestAnothersFailureIsNotMine(t *testing.T) {
	t.Parallel()
	s, conn := openWith(t, Config{}, "ada", "bob")
	task, err := s.For("ada").CreateTask(t.Context(), NewTask{Title: "A", Priority: "low"})
	if err != nil {
		t.Fatal(err)
	}
	// A list cannot even be prepared.
	if _, err := conn.Exec(t.Context(), "alter table task_summary rename to elsewhere"); err != nil {
		t.Fatal(err)
	}
	s.coalescer.mu.Lock()
	for range fewGroups { // under way: who comes now goes together with the next
		s.coalescer.out = append(s.coalescer.out, &group{since: time.Now().Add(time.Hour)})
	}
	back := s.coalescer.out[0]
	s.coalescer.mu.Unlock()
	type answer struct {
		task Task
		err  error
	}
	adas, bobs := make(chan answer), make(chan error)
	go func() {
		task, err := s.For("ada").GetTask(t.Context(), task.ID)
		adas <- answer{task, err}
	}()
	waiting(t, s.coalescer, 1)
	go func() {
		_, err := s.For("bob").ListTasks(t.Context(), ListQuery{Limit: 20})
		bobs <- err
	}()
	waiting(t, s.coalescer, 2)
	s.coalescer.mu.Lock()
	s.coalescer.next(back)
	s.coalescer.mu.Unlock()
	if got := <-adas; got.err != nil || got.task.ID != task.ID {
		t.Errorf("ada got %+v", got)
	}
	if err := <-bobs; err == nil {
		t.Error("bob was told nothing")
	}
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
		if _, err := conn.Exec(t.Context(), "alter table task alter column title type "+typ); err != nil {
			t.Fatal(err)
		}
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

func openWith(t *testing.T, c Config, owners ...string) (*Store, *pgx.Conn) {
	t.Helper()
	c.URL = dbtest.New(t)
	dbtest.AddUser(t, c.URL, owners...)
	s, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	conn, err := pgx.Connect(t.Context(), c.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return s, conn
}
