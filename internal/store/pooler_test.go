package store

import (
	"errors"
	"fmt"
	"testing"

	"docket/internal/dbtest"
	"docket/internal/postgres"
	"docket/migrations"
)

// pooledModes are the query modes that work through a pooler in transaction mode.
var pooledModes = []QueryMode{postgres.QueryModeExec, postgres.QueryModeDescribe}

func TestEveryOperationWorksThroughAPooler(t *testing.T) {
	t.Parallel()
	for _, mode := range pooledModes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			address := withUsers(t, "ada", "bob")
			s := open(t, Config{URL: dbtest.Pooler(t, address), QueryMode: mode})
			ada, bob := s.For("ada"), s.For("bob")
			condition, err := s.Check(t.Context())
			if want := (Condition{SchemaVersion: migrations.Newest(), RowSecurity: true}); err != nil || condition != want {
				t.Errorf("Check: %+v, %v, want %+v", condition, err, want)
			}
			for name, operation := range operations {
				task := create(t, ada, "ada's")
				if err := operation.call(t.Context(), bob, task.ID); (operation.does == readsOne || operation.does == changesOne) && !errors.Is(err, ErrNotFound) {
					t.Errorf("%s by a stranger: %v", name, err)
				}
				if got := get(t, ada, task.ID); !same(got, task) {
					t.Errorf("%s by a stranger changed the task to %+v, was %+v", name, got, task)
				}
				if operation.does == changesTag {
					if err := operation.call(t.Context(), ada, task.ID); err != nil {
						t.Errorf("%s: %v", name, err)
					}
					continue
				}
				if err := operation.call(t.Context(), ada.IfMatch(task.Revision+1), task.ID); operation.does == changesOne && !errors.Is(err, ErrStale) {
					t.Errorf("%s of another revision: %v", name, err)
				}
				if err := operation.call(t.Context(), ada.IfMatch(task.Revision), task.ID); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if err := operation.call(t.Context(), s.For("nobody"), task.ID); operation.does == creates && !errors.Is(err, ErrOwnerGone) {
					t.Errorf("%s by nobody: %v", name, err)
				}
			}
			if _, err := ada.CreateTask(t.Context(), NewTask{Title: "x", Priority: "urgent"}); !errors.Is(err, ErrInvalid) {
				t.Errorf("an unknown priority: %v", err)
			}
		})
	}
}

func TestPagesEqualTheListThroughAPooler(t *testing.T) {
	t.Parallel()
	for _, mode := range pooledModes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			o := open(t, Config{URL: dbtest.Pooler(t, withUsers(t, "ada")), QueryMode: mode}).For("ada")
			for i := range 12 {
				if _, err := o.CreateTask(t.Context(), NewTask{
					Title: fmt.Sprint("é", i%5), Priority: priorities[i%3], Completed: i%2 == 0,
				}); err != nil {
					t.Fatal(err)
				}
			}
			for _, q := range inEveryOrder(TaskQuery{Search: "É", Priorities: []string{"high", "low"}, Limit: 100}) {
				want := list(t, o, q)
				q.Limit = 3
				var got []Task
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
func TestOwnersStayApartThroughAPooler(t *testing.T) {
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
				s := open(t, Config{URL: address, QueryMode: mode})
				t.Run("", func(t *testing.T) {
					t.Parallel()
					useAtOnce(t, s, owners[i])
				})
			}
		})
	}
}
