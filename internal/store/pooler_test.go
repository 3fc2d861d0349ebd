package store_test

import (
	"errors"
	"fmt"
	"testing"

	"docket/internal/dbtest"
	"docket/internal/store"
	"docket/migrations"
)

// pooledModes are the modes that are right behind a pooler that gives every transaction another connection.
var pooledModes = []store.QueryMode{store.QueryModeExec, store.QueryModeDescribe}

func TestThroughAPoolerEveryOperationWorks(t *testing.T) {
	t.Parallel()
	for _, mode := range pooledModes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			address := withUsers(t, "ada", "bob")
			s := open(t, store.Config{URL: dbtest.Pooler(t, address), QueryMode: mode})
			ada, bob := s.For("ada"), s.For("bob")
			condition, err := s.Check(t.Context())
			if want := (store.Condition{SchemaVersion: migrations.Newest(), Walled: true}); err != nil || condition != want {
				t.Errorf("Check: %+v, %v, want %+v", condition, err, want)
			}
			for name, do := range operations {
				task := create(t, ada, "ada's")
				if err := do.call(t.Context(), bob, task.ID); (do.of == readsOne || do.of == changesOne) && !errors.Is(err, store.ErrNotFound) {
					t.Errorf("%s by a stranger: %v", name, err)
				}
				if got := get(t, ada, task.ID); !same(got, task) {
					t.Errorf("%s by a stranger makes it %+v, was %+v", name, got, task)
				}
				if err := do.call(t.Context(), ada.IfMatch(task.Revision+1), task.ID); do.of == changesOne && !errors.Is(err, store.ErrStale) {
					t.Errorf("%s of another revision: %v", name, err)
				}
				if err := do.call(t.Context(), ada.IfMatch(task.Revision), task.ID); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if err := do.call(t.Context(), s.For("nobody"), task.ID); do.of == creates && !errors.Is(err, store.ErrOwnerGone) {
					t.Errorf("%s by nobody: %v", name, err)
				}
			}
			if _, err := ada.CreateTask(t.Context(), store.NewTask{Title: "x", Priority: "urgent"}); !errors.Is(err, store.ErrInvalid) {
				t.Errorf("an unknown priority: %v", err)
			}
		})
	}
}

func TestThroughAPoolerPagesAreTheList(t *testing.T) {
	t.Parallel()
	for _, mode := range pooledModes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			o := open(t, store.Config{URL: dbtest.Pooler(t, withUsers(t, "ada")), QueryMode: mode}).For("ada")
			for i := range 12 {
				if _, err := o.CreateTask(t.Context(), store.NewTask{
					Title: fmt.Sprint("é", i%5), Priority: priorities[i%3], Completed: i%2 == 0,
				}); err != nil {
					t.Fatal(err)
				}
			}
			for _, q := range inEveryOrder(store.ListQuery{Search: "É", Priorities: []string{"high", "low"}, Limit: 100}) {
				want := list(t, o, q)
				q.Limit = 3
				var got []store.Task
				for range len(want.Tasks)/3 + 1 {
					page := list(t, o, q)
					got = append(got, page.Tasks...)
					if q.Cursor = page.NextCursor; q.Cursor == "" {
						break
					}
				}
				if titlesAndIDs(got) != titlesAndIDs(want.Tasks) || int(want.Total) != len(got) {
					t.Errorf("%s\ngot  %s\nwant %s of %d", show(q), titlesAndIDs(got), titlesAndIDs(want.Tasks), want.Total)
				}
			}
		})
	}
}

// Two services and twelve owners share three connections to the database.
func TestThroughAPoolerOwnersStayApart(t *testing.T) {
	t.Parallel()
	for _, mode := range pooledModes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			var owners [2][]string
			for i := range 12 {
				owners[i%2] = append(owners[i%2], fmt.Sprintf("owner-%d", i))
			}
			direct := withUsers(t, append(owners[0], owners[1]...)...)
			address := dbtest.Pooler(t, direct)
			for i := range owners {
				s := open(t, store.Config{URL: address, QueryMode: mode})
				t.Run("", func(t *testing.T) {
					t.Parallel()
					live(t, s, owners[i])
				})
			}
		})
	}
}
