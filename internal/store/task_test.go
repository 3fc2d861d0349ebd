package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestCreateReturnsTheGivenTask(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			address := withUsers(t, "ada")
			ada := open(t, Config{URL: address, QueryMode: mode}).For("ada")
			for _, n := range []NewTask{
				{Title: "x", Priority: "low"},
				{Title: "Buy milk", Description: new("2 %"), Priority: "medium", Completed: true},
				{Title: `"'\%_$1;--`, Description: new(""), Priority: "high"},
				{Title: strings.Repeat("😀", 200), Description: new(strings.Repeat("é", 1000)), Priority: "low"},
			} {
				before := time.Now().Add(-time.Second) // a transaction may begin earlier
				got, err := ada.CreateTask(t.Context(), n)
				if err != nil {
					t.Fatal(err)
				}
				want := Task{
					ID: got.ID, UserID: "ada", TaskFields: n, CreatedAt: got.CreatedAt, UpdatedAt: got.CreatedAt, Revision: got.Revision,
				}
				want.RecurrenceMode, want.Tags = "skip_missed", []string{}
				if n.Completed {
					want.CompletedAt = &got.CreatedAt
				}
				if !same(got, want) {
					t.Errorf("created %+v, want %+v", got, want)
				}
				if id, err := uuid.Parse(got.ID); err != nil || id.Version() != 4 || id.String() != got.ID {
					t.Errorf("id %s is not a UUID of version 4", got.ID)
				}
				if got.CreatedAt.Before(before) || got.CreatedAt.After(time.Now().Add(time.Second)) {
					t.Errorf("created at %s", got.CreatedAt)
				}
				if read := get(t, ada, got.ID); !same(read, got) {
					t.Errorf("read %+v, want %+v", read, got)
				}
			}
		})
	}
}

func TestTimesHaveMicroseconds(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			address := withUsers(t, "ada")
			ada := open(t, Config{URL: address, QueryMode: mode}).For("ada")
			conn := connect(t, address)
			execute(t, conn, `insert into task (id, user_id, title, created_at, updated_at)
				values ('1', 'ada', 'x', '2026-01-02 03:04:05.123456+00', '1999-12-31 23:59:59.999999-05:30')`)
			want := Task{CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 123456000, time.UTC), UpdatedAt: time.Date(2000, 1, 1, 5, 29, 59, 999999000, time.UTC)}
			for what, got := range map[string]Task{"get": get(t, ada, "1"), "list": list(t, ada, TaskQuery{Limit: 1}).Tasks[0]} {
				if !got.CreatedAt.Equal(want.CreatedAt) || !got.UpdatedAt.Equal(want.UpdatedAt) {
					t.Errorf("%s: %s and %s, want %s and %s", what, got.CreatedAt, got.UpdatedAt, want.CreatedAt, want.UpdatedAt)
				}
			}
		})
	}
}

func TestTimesDoNotDependOnTheSessionsTimeZone(t *testing.T) {
	t.Parallel()
	address := withUsers(t, "ada")
	for _, mode := range modes {
		utc := open(t, Config{URL: address + "&timezone=UTC", QueryMode: mode}).For("ada")
		far := open(t, Config{URL: address + "&timezone=Pacific/Chatham", QueryMode: mode}).For("ada")
		written := create(t, far, "x")
		if read := get(t, utc, written.ID); !same(read, written) {
			t.Errorf("%s: written %+v, read %+v", mode, written, read)
		}
		// A cursor also contains a time.
		create(t, utc, "y")
		first := list(t, far, TaskQuery{Limit: 1})
		second := list(t, utc, TaskQuery{Limit: 1, Cursor: first.NextCursor})
		if got := titles(first.Tasks) + titles(second.Tasks); got != "yx" {
			t.Errorf("%s: pages %s, want yx", mode, got)
		}
	}
}

func TestUpdateChangesOnlyWhatIsGiven(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			ada := open(t, Config{URL: withUsers(t, "ada"), QueryMode: mode}).For("ada")
			bystander := create(t, ada, "bystander")
			for bits := range 32 {
				old, err := ada.CreateTask(t.Context(), NewTask{Title: "old", Description: new("old"), Priority: "low", Completed: bits&16 != 0})
				if err != nil {
					t.Fatal(err)
				}
				var c TaskChanges
				want := old
				if bits&1 != 0 {
					c.Title, want.Title = Set("new"), "new"
				}
				switch bits & 6 {
				case 2:
					c.Description, want.Description = Set(new("new")), new("new")
				case 4:
					c.Description, want.Description = Set[*string](nil), nil
				}
				if bits&8 != 0 {
					c.Priority, want.Priority = Set("high"), "high"
					c.Completed, want.Completed = Set(!old.Completed), !old.Completed
				}
				got, err := ada.UpdateTask(t.Context(), old.ID, c)
				if err != nil {
					t.Fatal(err)
				}
				if !got.UpdatedAt.After(old.UpdatedAt) {
					t.Errorf("%+v: updated_at went from %s to %s", c, old.UpdatedAt, got.UpdatedAt)
				}
				if got.Revision <= old.Revision {
					t.Errorf("%+v: revision went from %d to %d", c, old.Revision, got.Revision)
				}
				want.UpdatedAt, want.Revision = got.UpdatedAt, got.Revision
				if bits&8 != 0 {
					want.CompletedAt = completedAt(t, got)
				}
				if !same(got, want) {
					t.Errorf("%+v gives %+v, want %+v", c, got, want)
				}
				if read := get(t, ada, old.ID); !same(read, got) {
					t.Errorf("read %+v, want %+v", read, got)
				}
			}
			if read := get(t, ada, bystander.ID); !same(read, bystander) {
				t.Errorf("another task became %+v, was %+v", read, bystander)
			}
		})
	}
}

func TestCompleteTogglesAndSets(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			ada := open(t, Config{URL: withUsers(t, "ada"), QueryMode: mode}).For("ada")
			for _, c := range []struct {
				was  bool
				set  *bool
				want bool
			}{
				{false, nil, true},
				{true, nil, false},
				{false, new(true), true},
				{true, new(true), true},
				{false, new(false), false},
				{true, new(false), false},
			} {
				old, err := ada.CreateTask(t.Context(), NewTask{Title: "x", Description: new("y"), Priority: "high", Completed: c.was})
				if err != nil {
					t.Fatal(err)
				}
				got, err := ada.CompleteTask(t.Context(), old.ID, c.set, nil)
				if err != nil {
					t.Fatal(err)
				}
				want := old
				want.Completed, want.UpdatedAt, want.Revision = c.want, got.UpdatedAt, got.Revision
				if c.was != c.want {
					want.CompletedAt = completedAt(t, got)
				}
				if !same(got, want) || !got.UpdatedAt.After(old.UpdatedAt) || !same(get(t, ada, old.ID), got) {
					t.Errorf("%+v: %+v, want %+v", c, got, want)
				}
			}
		})
	}
}

// completedAt returns when a task was completed or reopened, after checking that it is not null if and only if it is
// completed.
func completedAt(t *testing.T, task Task) *time.Time {
	t.Helper()
	if (task.CompletedAt != nil) != task.Completed || task.Completed && task.CompletedAt.Before(task.CreatedAt) {
		t.Errorf("completed at %v: %+v", task.CompletedAt, task)
	}
	return task.CompletedAt
}

// An implementation that reads before it writes would lose some of these.
func TestConcurrentTogglesAllCount(t *testing.T) {
	t.Parallel()
	ada := open(t, Config{URL: withUsers(t, "ada")}).For("ada")
	id := create(t, ada, "x").ID
	var wg sync.WaitGroup
	var mu sync.Mutex
	became := map[bool]int{}
	for range 5 {
		wg.Go(func() {
			for range 11 {
				task, err := ada.CompleteTask(t.Context(), id, nil, nil)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				became[task.Completed]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if became[true] != 28 || became[false] != 27 || !get(t, ada, id).Completed {
		t.Errorf("55 toggles of a pending task: %d returned completed, %d pending, and the task is completed: %t",
			became[true], became[false], get(t, ada, id).Completed)
	}
}

func TestConcurrentUpdatesOfDifferentFieldsAllCount(t *testing.T) {
	t.Parallel()
	ada := open(t, Config{URL: withUsers(t, "ada")}).For("ada")
	id := create(t, ada, "old").ID
	var wg sync.WaitGroup
	for _, c := range []TaskChanges{
		{Title: Set("new")},
		{Description: Set(new("new"))},
		{Priority: Set("high")},
		{Completed: Set(true)},
	} {
		wg.Go(func() {
			for range 10 {
				if _, err := ada.UpdateTask(t.Context(), id, c); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got := get(t, ada, id)
	if got.Title != "new" || got.Description == nil || *got.Description != "new" || got.Priority != "high" || !got.Completed {
		t.Errorf("%+v", got)
	}
}

func TestDeleteReturnsTheTaskAsItWas(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			address := withUsers(t, "ada")
			ada := open(t, Config{URL: address, QueryMode: mode}).For("ada")
			kept, deleted := create(t, ada, "kept"), create(t, ada, "deleted")
			got, err := ada.DeleteTask(t.Context(), deleted.ID)
			if err != nil || !same(got, deleted) {
				t.Errorf("deleting returns %+v, %v, want %+v", got, err, deleted)
			}
			for name, operation := range operations {
				if operation.does != readsOne && operation.does != changesOne {
					continue
				}
				if err := operation.call(t.Context(), ada, deleted.ID); !errors.Is(err, ErrNotFound) {
					t.Errorf("%s of a deleted task: %v", name, err)
				}
			}
			if page := list(t, ada, TaskQuery{Limit: 10}); page.Total != 1 || len(page.Tasks) != 1 || !same(page.Tasks[0], kept) {
				t.Errorf("left: %+v, want %+v", page, kept)
			}
			if got := value[int](t, connect(t, address), "select count(*) from task"); got != 1 {
				t.Errorf("the table has %d rows, want 1", got)
			}
		})
	}
}

func TestAnotherOwnerSeesNothingAndChangesNothing(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			address := withUsers(t, "ada", "bob", "Ada", "ada ", "%")
			s := open(t, Config{URL: address, QueryMode: mode})
			ada := s.For("ada")
			task := create(t, ada, "secret")
			for _, stranger := range []string{"bob", "Ada", "ada ", "%", "nobody", "", "ada' or 'a' = 'a"} {
				for name, operation := range operations {
					for _, o := range []Owner{s.For(stranger), s.For(stranger).IfMatch(task.Revision)} {
						err := operation.call(t.Context(), o, task.ID)
						if one := operation.does == readsOne || operation.does == changesOne; one && !errors.Is(err, ErrNotFound) {
							t.Errorf("%s by %q: %v", name, stranger, err)
						}
					}
				}
				theirs := list(t, s.For(stranger), TaskQuery{Limit: 100})
				if strings.Contains(titles(theirs.Tasks), "secret") || int(theirs.Total) != len(theirs.Tasks) {
					t.Errorf("%q lists %+v", stranger, theirs)
				}
				if found := list(t, s.For(stranger), TaskQuery{Limit: 100, Search: "secret"}); found.Total != 0 || len(found.Tasks) != 0 {
					t.Errorf("%q finds %+v", stranger, found)
				}
			}
			if got := get(t, ada, task.ID); !same(got, task) {
				t.Errorf("ada's task became %+v, was %+v", got, task)
			}
			if mine := list(t, ada, TaskQuery{Limit: 100}); mine.Total != 1 || titles(mine.Tasks) != "secret" {
				t.Errorf("ada lists %+v", mine)
			}
		})
	}
}

func TestOwnersWritingAtOnceStayApart(t *testing.T) {
	t.Parallel()
	owners := []string{"ada", "bob", "cyd", "dan"}
	s := open(t, Config{URL: withUsers(t, owners...), MaxConns: 3})
	useAtOnce(t, s, owners)
}

// useAtOnce makes all owners use the store concurrently. It fails if one sees a task of another owner or misses one of
// its own.
func useAtOnce(t *testing.T, s *Store, owners []string) {
	t.Helper()
	var wg sync.WaitGroup
	for _, name := range owners {
		wg.Go(func() {
			o := s.For(name)
			if err := work(t.Context(), o, name); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	wg.Wait()
}

func work(ctx context.Context, o Owner, name string) error {
	for i := range 20 {
		title := fmt.Sprintf("%s-%d", name, i)
		task, err := o.CreateTask(ctx, NewTask{Title: title, Priority: "low"})
		if err != nil {
			return err
		}
		changed, err := o.UpdateTask(ctx, task.ID, TaskChanges{Description: Set(new(name))})
		if err != nil {
			return err
		}
		if changed.UserID != name || changed.Title != title {
			return fmt.Errorf("updated %+v", changed)
		}
		if i%4 == 3 {
			if _, err := o.DeleteTask(ctx, task.ID); err != nil {
				return err
			}
		}
		page, err := o.ListTasks(ctx, TaskQuery{Limit: 100})
		if err != nil {
			return err
		}
		if want := i + 1 - (i+1)/4; page.Total != int64(want) || len(page.Tasks) != want {
			return fmt.Errorf("lists %d of %d tasks, want %d", len(page.Tasks), page.Total, want)
		}
		for _, task := range page.Tasks {
			if task.UserID != name {
				return fmt.Errorf("sees %+v", task)
			}
		}
	}
	return nil
}

func TestAnInvalidIDIsNotFound(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			ada := open(t, Config{URL: withUsers(t, "ada"), QueryMode: mode}).For("ada")
			id := create(t, ada, "x").ID
			for _, other := range []string{
				"", " ", "1", "null", id + " ", strings.ToUpper(id) + "x", "{" + id + "}", strings.ReplaceAll(id, "-", ""),
				"' or true --", "é", "%", strings.Repeat("x", 100_000), "a\x00b", "\xff",
			} {
				for name, operation := range operations {
					if operation.does != readsOne && operation.does != changesOne {
						continue
					}
					if err := operation.call(t.Context(), ada, other); !errors.Is(err, ErrNotFound) {
						t.Errorf("%s of %.20q: %v", name, other, err)
					}
				}
			}
			get(t, ada, id)
		})
	}
}

func TestADeletedOwnerReadsNothingAndWritesNothing(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			address := withUsers(t, "ada")
			ada := open(t, Config{URL: address, QueryMode: mode}).For("ada")
			id := create(t, ada, "x").ID
			execute(t, connect(t, address), `delete from "user"`)
			for name, operation := range operations {
				want := map[effect]error{creates: ErrOwnerGone, readsOne: ErrNotFound, changesOne: ErrNotFound, changesTag: ErrNotFound}[operation.does]
				if err := operation.call(t.Context(), ada, id); !errors.Is(err, want) {
					t.Errorf("%s: %v, want %v", name, err, want)
				}
			}
			if page := list(t, ada, TaskQuery{Limit: 10}); page.Total != 0 || len(page.Tasks) != 0 {
				t.Errorf("lists %+v", page)
			}
		})
	}
}

func TestAValueThatTheDatabaseRefusesIsInvalid(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			ada := open(t, Config{URL: withUsers(t, "ada"), QueryMode: mode}).For("ada")
			task := create(t, ada, "x")
			good := NewTask{Title: "x", Priority: "low"}
			for _, bad := range []NewTask{
				{Title: "", Priority: "low"},
				{Title: strings.Repeat("x", 201), Priority: "low"},
				{Title: "a\x00b", Priority: "low"},
				{Title: "\xff", Priority: "low"},
				{Title: "x", Priority: "low", Description: new(strings.Repeat("x", 1001))},
				{Title: "x", Priority: "low", Description: new("\x00")},
				{Title: "x", Priority: "urgent"},
				{Title: "x", Priority: "highest of all"},
			} {
				if got, err := ada.CreateTask(t.Context(), bad); !errors.Is(err, ErrInvalid) {
					t.Errorf("creating %+v: %+v, %v", bad, got, err)
				}
				if got, _, err := ada.CreateTaskOnce(t.Context(), "key", bad); !errors.Is(err, ErrInvalid) {
					t.Errorf("creating %+v once: %+v, %v", bad, got, err)
				}
				var c TaskChanges
				if bad.Title != good.Title {
					c.Title = Set(bad.Title)
				}
				if bad.Priority != good.Priority {
					c.Priority = Set(bad.Priority)
				}
				if bad.Description != nil {
					c.Description = Set(bad.Description)
				}
				if got, err := ada.UpdateTask(t.Context(), task.ID, c); !errors.Is(err, ErrInvalid) {
					t.Errorf("updating to %+v: %+v, %v", bad, got, err)
				}
			}
			if _, err := ada.ListTasks(t.Context(), TaskQuery{Search: "a\x00b", Limit: math.MaxInt16}); !errors.Is(err, ErrInvalid) {
				t.Errorf("searching for U+0000: %v", err)
			}
			if page := list(t, ada, TaskQuery{Limit: 10}); page.Total != 1 || !same(page.Tasks[0], task) {
				t.Errorf("refusals left %+v, want %+v alone", page.Tasks, task)
			}
		})
	}
}
