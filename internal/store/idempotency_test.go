package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"docket/internal/dbtest"
	"docket/internal/dbtest/pgproxy"
)

func createOnce(t *testing.T, o Owner, key string, n NewTask) (Task, bool) {
	t.Helper()
	task, replayed, err := o.CreateTaskOnce(t.Context(), key, n)
	if err != nil {
		t.Fatal(err)
	}
	return task, replayed
}

func TestAKeyReturnsItsTaskAsItWasCreated(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			address := withUsers(t, "ada", "bob")
			conn := connect(t, address)
			s := open(t, Config{URL: address, QueryMode: mode})
			ada := s.For("ada")
			n := NewTask{Title: "Buy milk", Description: new("2 %"), Priority: "high", Completed: true}
			first, replayed := createOnce(t, ada, "key", n)
			if replayed || !same(get(t, ada, first.ID), first) {
				t.Errorf("the first time: %+v, replayed %t", first, replayed)
			}
			for _, since := range []struct {
				happened string
				change   func() error
			}{
				{"nothing", func() error { return nil }},
				{"a change", func() error { _, err := ada.CompleteTask(t.Context(), first.ID, nil, nil); return err }},
				{"a deletion", func() error { _, err := ada.DeleteTask(t.Context(), first.ID); return err }},
				{"another create", func() error { createOnce(t, ada, "another key", n); return nil }},
			} {
				if err := since.change(); err != nil {
					t.Fatal(err)
				}
				before := revision(t, ada)
				again, replayed := createOnce(t, ada, "key", n)
				if !replayed || !same(again, first) {
					t.Errorf("after %s: %+v, replayed %t, want %+v", since.happened, again, replayed, first)
				}
				if after := revision(t, ada); after != before {
					t.Errorf("after %s: a replay took the revision from %d to %d", since.happened, before, after)
				}
			}
			bobs, replayed := createOnce(t, s.For("bob"), "key", n)
			if replayed || bobs.ID == first.ID || bobs.UserID != "bob" {
				t.Errorf("bob with ada's key: %+v, replayed %t", bobs, replayed)
			}
			if got := value[string](t, conn, "select string_agg(user_id, ' ' order by user_id) from task"); got != "ada bob" {
				t.Errorf("tasks of %s are left", got)
			}
		})
	}
}

func TestAKeyIsRefusedForAnotherTask(t *testing.T) {
	t.Parallel()
	address := withUsers(t, "ada")
	ada := open(t, Config{URL: address}).For("ada")
	n := NewTask{Title: "x", Priority: "low"}
	createOnce(t, ada, "key", n)
	before := revision(t, ada)
	for _, other := range []NewTask{
		{Title: "y", Priority: "low"},
		{Title: "X", Priority: "low"},
		{Title: "x", Priority: "high"},
		{Title: "x", Priority: "low", Completed: true},
		{Title: "x", Priority: "low", Description: new("")},
		{Title: "x", Priority: "low", Description: new("x")},
		{Title: "x", Priority: "low", Tags: []string{"home"}},
	} {
		if task, _, err := ada.CreateTaskOnce(t.Context(), "key", other); !errors.Is(err, ErrKeyReused) || !same(task, Task{}) {
			t.Errorf("%+v: %+v, %v", other, task, err)
		}
	}
	if page := list(t, ada, TaskQuery{Limit: 10}); page.Total != 1 || page.Revision != before {
		t.Errorf("%d tasks, and the revision went from %d to %d", page.Total, before, page.Revision)
	}
	for _, key := range []string{"Key", "key ", "ke", "keyy", strings.Repeat("k", 255)} {
		if _, replayed := createOnce(t, ada, key, n); replayed {
			t.Errorf("%q was treated as another key", key)
		}
	}
}

func TestConcurrentRequestsWithOneKeyCreateOneTask(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			address := withUsers(t, "ada")
			ada := open(t, Config{URL: address, QueryMode: mode, MaxConns: 10}).For("ada")
			var mu sync.Mutex
			var tasks []Task
			fresh := 0
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() {
					task, replayed, err := ada.CreateTaskOnce(t.Context(), "key", NewTask{Title: "x", Priority: "low"})
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					defer mu.Unlock()
					tasks = append(tasks, task)
					if !replayed {
						fresh++
					}
				})
			}
			all.Wait()
			for _, task := range tasks {
				if !same(task, tasks[0]) {
					t.Errorf("one got %+v, another %+v", tasks[0], task)
				}
			}
			if fresh != 1 {
				t.Errorf("%d of 50 calls are not reported as replayed", fresh)
			}
			if page := list(t, ada, TaskQuery{Limit: 100}); page.Total != 1 || !same(page.Tasks[0], tasks[0]) {
				t.Errorf("the tasks are %+v", page.Tasks)
			}
		})
	}
}

// waitSQL makes a transaction that stores a key wait while another session holds advisory lock 42.
const waitSQL = `
create function wait() returns trigger language plpgsql as $$
begin
	perform pg_advisory_xact_lock_shared(42);
	return new;
end;
$$;
create trigger wait before insert on idempotency_key for each row execute function wait()`

func TestASecondRequestWaitsForTheFirst(t *testing.T) {
	t.Parallel()
	for end, firstSucceeds := range map[string]bool{"the first is carried out": true, "the first is canceled": false} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			address := withUsers(t, "ada")
			conn := connect(t, address)
			execute(t, conn, waitSQL)
			ada := open(t, Config{URL: address}).For("ada")
			type result struct {
				Task
				replayed bool
				err      error
			}
			request := func(ctx context.Context) chan result {
				c := make(chan result, 1)
				go func() {
					task, replayed, err := ada.CreateTaskOnce(ctx, "key", NewTask{Title: "x", Priority: "low"})
					c <- result{task, replayed, err}
				}()
				return c
			}

			execute(t, conn, "select pg_advisory_lock(42)")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			one := request(ctx)
			for value[int](t, conn, waitingSQL) < 1 {
			}
			two := request(t.Context())
			for value[int](t, conn, waitingSQL) < 2 {
			}
			if !firstSucceeds {
				cancel()
				if r := <-one; !errors.Is(r.err, context.Canceled) {
					t.Errorf("the first: %+v", r)
				}
				for value[int](t, conn, waitingSQL) > 1 { // until PostgreSQL has canceled it
				}
			}
			execute(t, conn, "select pg_advisory_unlock(42)")
			second := <-two
			if second.err != nil || second.replayed != firstSucceeds {
				t.Errorf("the second: %+v", second)
			}
			if firstSucceeds {
				if first := <-one; first.err != nil || first.replayed || !same(first.Task, second.Task) {
					t.Errorf("the first: %+v, the second: %+v", first, second)
				}
			}
			if page := list(t, ada, TaskQuery{Limit: 10}); page.Total != 1 || !same(page.Tasks[0], second.Task) {
				t.Errorf("the tasks are %+v", page.Tasks)
			}
		})
	}
}

func TestAKeyIsForgottenAfter24Hours(t *testing.T) {
	t.Parallel()
	address := withUsers(t, "ada", "bob")
	conn := connect(t, address)
	s := open(t, Config{URL: address})
	ada := s.For("ada")
	n := NewTask{Title: "x", Priority: "low"}
	first, _ := createOnce(t, ada, "key", n)
	createOnce(t, ada, "another of ada's", n)
	createOnce(t, s.For("bob"), "key", n)
	age := func(interval string) {
		execute(t, conn, "update idempotency_key set created_at = now() - $1::text::interval", interval)
	}

	age("23 hours 59 minutes")
	if again, replayed := createOnce(t, ada, "key", n); !replayed || !same(again, first) {
		t.Errorf("after almost a day: %+v, replayed %t", again, replayed)
	}
	age("24 hours 1 second")
	other := NewTask{Title: "y", Priority: "low"} // an expired key may be used for another request
	second, replayed := createOnce(t, ada, "key", other)
	if replayed || second.ID == first.ID || second.Title != "y" {
		t.Errorf("after a day: %+v, replayed %t", second, replayed)
	}
	if again, replayed := createOnce(t, ada, "key", other); !replayed || !same(again, second) {
		t.Errorf("the second task's replay: %+v, replayed %t", again, replayed)
	}
	// Ada's expired keys are deleted, and bob's are not.
	const keysSQL = "select string_agg(user_id || ' ' || key, ', ' order by user_id) from idempotency_key"
	if got := value[string](t, conn, keysSQL); got != "ada key, bob key" {
		t.Errorf("kept are %s", got)
	}
}

func TestKeysAreDeletedWithTheirUser(t *testing.T) {
	t.Parallel()
	address := withUsers(t, "ada", "bob")
	conn := connect(t, address)
	s := open(t, Config{URL: address})
	ada := s.For("ada")
	n := NewTask{Title: "x", Priority: "low"}
	createOnce(t, ada, "key", n)
	createOnce(t, s.For("bob"), "key", n)
	execute(t, conn, `delete from "user" where id = 'ada'`)
	if got := value[string](t, conn, "select string_agg(user_id, ' ') from idempotency_key"); got != "bob" {
		t.Errorf("keys of %s are left", got)
	}
	if _, _, err := ada.CreateTaskOnce(t.Context(), "key", n); !errors.Is(err, ErrOwnerGone) {
		t.Errorf("with the key of a deleted owner: %v", err)
	}
	if got := value[string](t, conn, "select string_agg(user_id, ' ') from idempotency_key"); got != "bob" {
		t.Errorf("keys of %s are left", got)
	}
}

// A request finds its key and then waits for the owner's lock. Meanwhile the key is deleted, either with its user or
// because it has expired and another request uses it.
func TestAKeyIsDeletedWhileItsRequestWaits(t *testing.T) {
	t.Parallel()
	for goes, want := range map[string]error{
		`delete from "user" where id = 'ada'`:               ErrOwnerGone,
		"delete from idempotency_key where user_id = 'ada'": nil,
	} {
		t.Run(goes, func(t *testing.T) {
			t.Parallel()
			address := withUsers(t, "ada")
			conn := connect(t, address)
			ada := open(t, Config{URL: address}).For("ada")
			n := NewTask{Title: "x", Priority: "low"}
			first, _ := createOnce(t, ada, "key", n)

			execute(t, conn, "select pg_advisory_lock(1685021547, hashtext('ada') & 1023)")
			type result struct {
				Task
				replayed bool
				err      error
			}
			done := make(chan result)
			go func() {
				task, replayed, err := ada.CreateTaskOnce(t.Context(), "key", n)
				done <- result{task, replayed, err}
			}()
			until(t, func() bool { return value[int](t, conn, waitingSQL) == 1 })
			execute(t, conn, goes)
			execute(t, conn, "select pg_advisory_unlock(1685021547, hashtext('ada') & 1023)")
			if r := <-done; !errors.Is(r.err, want) || r.err == nil && (r.replayed || r.ID == first.ID) {
				t.Errorf("it gets %+v, want the error %v", r, want)
			}
		})
	}
}

func TestTaskAndKeyAreStoredAtomically(t *testing.T) {
	t.Parallel()
	for _, table := range []string{"task", "idempotency_key"} {
		t.Run("a fault in "+table, func(t *testing.T) {
			t.Parallel()
			address := withUsers(t, "ada")
			conn := connect(t, address)
			const rejectSQL = "create function reject() returns trigger language plpgsql as $$ begin raise 'a fault'; end; $$"
			execute(t, conn, rejectSQL)
			execute(t, conn, "create trigger reject after insert on "+table+" for each row execute function reject()")
			ada := open(t, Config{URL: address}).For("ada")
			n := NewTask{Title: "x", Priority: "low"}
			if _, _, err := ada.CreateTaskOnce(t.Context(), "key", n); err == nil {
				t.Error("the fault was not reported")
			}
			if got := value[int](t, conn, "select (select count(*) from task) + (select count(*) from idempotency_key)"); got != 0 {
				t.Errorf("%d rows are left", got)
			}
			// The key has not been used yet.
			execute(t, conn, "drop trigger reject on "+table)
			task, replayed := createOnce(t, ada, "key", NewTask{Title: "y", Priority: "low"})
			if replayed || task.Title != "y" {
				t.Errorf("%+v, replayed %t", task, replayed)
			}
		})
	}
}

// The store sends the request again and finds the task that its own first attempt created. That is not a replay.
func TestARetryAfterALostReplyIsNotAReplay(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		for name, lost := range map[string]pgproxy.Fault{"answer": pgproxy.LoseReply, "request": pgproxy.LoseRequest} {
			t.Run(string(mode)+" "+name, func(t *testing.T) {
				t.Parallel()
				p := dbtest.Proxy(t, withUsers(t, "ada"))
				ada := open(t, Config{URL: p.URL, QueryMode: mode, MaxConns: 1}).For("ada")
				n := NewTask{Title: "x", Priority: "low"}
				createOnce(t, ada, "prepare", n)
				p.Fail(lost)
				first, replayed := createOnce(t, ada, "key", n)
				if replayed {
					t.Error("the first answer is reported as a replay")
				}
				if again, replayed := createOnce(t, ada, "key", n); !replayed || !same(again, first) {
					t.Errorf("the second answer: %+v, replayed %t, want %+v", again, replayed, first)
				}
				if page := list(t, ada, TaskQuery{Limit: 10}); page.Total != 2 {
					t.Errorf("the tasks are %+v", page.Tasks)
				}
			})
		}
	}
}

// Both attempts of the store lose the connection, so the caller cannot know whether the task exists. It sends the
// request again with the same key.
func TestAKeyFindsTheTaskWhoseReplyWasLost(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		for name, lost := range map[string][]pgproxy.Fault{
			"both answers":         {pgproxy.LoseReply, pgproxy.LoseReply},
			"an answer, a request": {pgproxy.LoseReply, pgproxy.LoseRequest},
			"a request, an answer": {pgproxy.LoseRequest, pgproxy.LoseReply},
			"both requests":        {pgproxy.LoseRequest, pgproxy.LoseRequest},
		} {
			t.Run(string(mode)+" "+name, func(t *testing.T) {
				t.Parallel()
				address := withUsers(t, "ada")
				p := dbtest.Proxy(t, address)
				ada := open(t, Config{URL: p.URL, QueryMode: mode, MaxConns: 1}).For("ada")
				n := NewTask{Title: "x", Priority: "low"}
				createOnce(t, ada, "prepare", n)
				p.Fail(lost...)
				if _, _, err := ada.CreateTaskOnce(t.Context(), "key", n); !errors.Is(err, ErrOutcomeUnknown) {
					t.Fatalf("error %v, want ErrOutcomeUnknown", err)
				}
				made := value[int](t, connect(t, address), "select count(*) from idempotency_key where key = 'key'")
				task, replayed := createOnce(t, ada, "key", n)
				if replayed != (made == 1) {
					t.Errorf("%d tasks were created, and replayed is %t", made, replayed)
				}
				page := list(t, ada, TaskQuery{Limit: 10})
				if page.Total != 2 || !same(page.Tasks[0], task) {
					t.Errorf("the tasks are %+v, want %+v and one more", page.Tasks, task)
				}
			})
		}
	}
}

// A deployment may add a column between a request and its retry.
func TestAKeyOfAnOlderReleaseIsReplayed(t *testing.T) {
	t.Parallel()
	address := withUsers(t, "ada")
	conn := connect(t, address)
	ada := open(t, Config{URL: address}).For("ada")
	n := NewTask{Title: "x", Description: new("y")}
	first, _ := createOnce(t, ada, "key", n)
	execute(t, conn, "update idempotency_key set response = response - 'description' - 'priority' || '{\"gone\": 1}'")
	first.Description = nil // and its priority is the default again
	if again, replayed := createOnce(t, ada, "key", n); !replayed || !same(again, first) {
		t.Errorf("%+v, replayed %t, want %+v", again, replayed, first)
	}
}

func TestTheHashOfARequestIgnoresFieldsWithoutAValue(t *testing.T) {
	t.Parallel()
	type older struct {
		Title string `db:"title"`
		Done  bool   `db:"done"`
	}
	type newer struct {
		Due   *string  `db:"due"`
		Title string   `db:"title"`
		Done  bool     `db:"done"`
		Tags  []string `db:"tags"`
		Color string   `db:"color" default:"red"`
	}
	was, is := keyed[older, Task]{resource: "thing", request: columnsOf[older]()}, keyed[newer, Task]{resource: "thing", request: columnsOf[newer]()}
	for _, o := range []older{{}, {Title: "x"}, {Title: "x", Done: true}} {
		if !bytes.Equal(was.hash(o), is.hash(newer{Title: o.Title, Done: o.Done})) {
			t.Errorf("the hash of %+v changed when fields were added", o)
		}
		if !bytes.Equal(was.hash(o), is.hash(newer{Title: o.Title, Done: o.Done, Color: "red"})) {
			t.Errorf("%+v has another hash with the default of a new field", o)
		}
	}
	other := is
	other.resource = "other"
	hashes := map[string]string{}
	for name, hash := range map[string][]byte{
		"nothing": is.hash(newer{}), "a title": is.hash(newer{Title: "x"}), "another title": is.hash(newer{Title: "y"}),
		"done": is.hash(newer{Title: "x", Done: true}), "a day": is.hash(newer{Title: "x", Due: new("2026-01-01")}),
		"an empty day": is.hash(newer{Title: "x", Due: new("")}), "tags": is.hash(newer{Title: "x", Tags: []string{"a"}}),
		"a color":   is.hash(newer{Title: "x", Color: "blue"}),
		"more tags": is.hash(newer{Title: "x", Tags: []string{"a", "b"}}), "another resource": other.hash(newer{Title: "x"}),
	} {
		if same := hashes[string(hash)]; same != "" {
			t.Errorf("%s has the hash of %s", name, same)
		}
		hashes[string(hash)] = name
	}
}

// A key that was stored before tasks had tags, due dates and rules is that of the same request today.
func TestTheHashOfATaskIsThatOfEarlierReleases(t *testing.T) {
	t.Parallel()
	n := NewTask{Title: "x", Tags: UniqueTags(nil)}
	if err := n.Schedule(Schedule{}); err != nil {
		t.Fatal(err)
	}
	empty := n
	empty.Tags = []string{}
	for _, n := range []NewTask{n, empty} {
		// SHA-256 of ["task",{"title":"x"}].
		if got := fmt.Sprintf("%x", createTaskOnce.hash(n)); got != "30600a0b21bb07ecc445421417b53fb7b14f7bbc9286255f884699ad890fb56e" {
			t.Errorf("the hash of %+v is %s", n, got)
		}
	}
}
