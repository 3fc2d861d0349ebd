package store_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"pgregory.net/rapid"

	"docket/internal/dbtest"
	"docket/internal/store"
)

// Every filter, sort and order against a model: the same tasks in a slice. Few different values, so that there are
// ties everywhere. Titles are of lower-case letters, which every collation orders alike.
func TestListIsWhatAModelSays(t *testing.T) {
	t.Parallel()
	address := dbtest.New(t)
	conn := direct(t, address)
	s := open(t, store.Config{URL: address})
	var count int
	rapid.Check(t, func(rt *rapid.T) {
		count++
		owner := fmt.Sprintf("owner-%d", count)
		model := populate(t, rt, conn, owner)
		o := s.For(owner)
		q := store.ListQuery{
			Priorities: rapid.SliceOfNDistinct(rapid.SampledFrom(priorities), 0, 3, rapid.ID).Draw(rt, "priorities"),
			Search:     rapid.StringOfN(rapid.RuneFrom([]rune(letters)), 0, 2, -1).Draw(rt, "search"),
			Limit:      1000,
		}
		for _, q := range inEveryOrder(q) {
			want := filtered(model, q)
			page := list(t, o, q)
			if got := titlesAndIDs(page.Tasks); got != titlesAndIDs(want) || page.Total != int64(len(want)) || page.NextCursor != "" {
				rt.Fatalf("%s\ngot  %d: %s\nwant %d: %s", show(q), page.Total, got, len(want), titlesAndIDs(want))
			}
		}

		// The same in pages, by cursor and by offset.
		q = rapid.SampledFrom(inEveryOrder(q)).Draw(rt, "order")
		q.Limit = rapid.Int32Range(1, 7).Draw(rt, "limit")
		want := filtered(model, q)
		var byCursor, byOffset []store.Task
		for more := true; more && len(byCursor) <= len(want); more = q.Cursor != "" {
			page := list(t, o, q)
			if page.Total != int64(len(want)) || len(page.Tasks) > int(q.Limit) || len(page.Tasks) < int(q.Limit) && page.NextCursor != "" {
				rt.Fatalf("%s: page of %d of %d, next %q", show(q), len(page.Tasks), page.Total, page.NextCursor)
			}
			byCursor = append(byCursor, page.Tasks...)
			q.Cursor = page.NextCursor
		}
		for q.Cursor = ""; int(q.Offset) < len(want)+int(q.Limit); q.Offset += q.Limit {
			page := list(t, o, q)
			if page.Total != int64(len(want)) {
				rt.Fatalf("%s: total %d, want %d", show(q), page.Total, len(want))
			}
			byOffset = append(byOffset, page.Tasks...)
		}
		for how, got := range map[string][]store.Task{"cursor": byCursor, "offset": byOffset} {
			if titlesAndIDs(got) != titlesAndIDs(want) {
				rt.Fatalf("%s, by %s:\ngot  %s\nwant %s", show(q), how, titlesAndIDs(got), titlesAndIDs(want))
			}
		}
	})
}

// What is written while somebody pages does not touch what stays: each of those tasks comes once, in its place.
func TestPagingIsNotDisturbedByWrites(t *testing.T) {
	t.Parallel()
	address := dbtest.New(t)
	conn := direct(t, address)
	s := open(t, store.Config{URL: address})
	var count int
	rapid.Check(t, func(rt *rapid.T) {
		count++
		owner := fmt.Sprintf("owner-%d", count)
		model := populate(t, rt, conn, owner)
		q := rapid.SampledFrom(inEveryOrder(store.ListQuery{})).Draw(rt, "order")
		q.Limit = rapid.Int32Range(1, 5).Draw(rt, "limit")
		expected := filtered(model, q)
		deletable := rapid.Permutation(model).Draw(rt, "deletable")
		stays := map[string]bool{}
		for _, task := range model {
			stays[task.ID] = true
		}
		var got []store.Task
		for pages := 0; ; pages++ {
			page := list(t, s.For(owner), q)
			got = append(got, page.Tasks...)
			if q.Cursor = page.NextCursor; q.Cursor == "" {
				break
			}
			if pages < min(5, len(deletable)) { // tasks before and after the cursor, and perhaps the very one it stands at
				insert(t, conn, owner, draw(rt, 2))
				exec(t, conn, "delete from task where id = $1", deletable[pages].ID)
				delete(stays, deletable[pages].ID)
			}
		}
		seen := map[string]bool{}
		for _, task := range got {
			if seen[task.ID] {
				rt.Fatalf("%s gives %s twice", show(q), task.ID)
			}
			seen[task.ID] = true
		}
		others := func(task store.Task) bool { return !stays[task.ID] }
		got, expected = slices.DeleteFunc(got, others), slices.DeleteFunc(expected, others)
		if titlesAndIDs(got) != titlesAndIDs(expected) {
			rt.Fatalf("%s\ngot  %s\nwant %s", show(q), titlesAndIDs(got), titlesAndIDs(expected))
		}
	})
}

// Whatever the database's collation and a title's letters are: pages put together are the list.
func TestPagesByTitleAreTheListInEveryScript(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			o := open(t, store.Config{URL: withUsers(t, "ada"), QueryMode: mode}).For("ada")
			for _, title := range []string{
				"a", "A", "b", "B", "é", "e\u0301", "É", "ß", "ss", "İ", "ı", "I", "-", "_", "%", `\`, `'`, `"`, " x", "x ", "x", "X", "x y", "x-y",
				"1", "10", "9", "\u00a0", "日本", "日", "😀", "👩‍👩‍👧", "\U0010ffff", "\u200b", "\ufeff", "null", strings.Repeat("😀", 200),
			} {
				create(t, o, title)
				create(t, o, title)
			}
			for _, ascending := range []bool{false, true} {
				q := store.ListQuery{Sort: store.SortTitle, Ascending: ascending, Limit: 1000}
				want := list(t, o, q)
				q.Limit = 1
				var got []store.Task
				for range want.Tasks {
					page := list(t, o, q)
					got = append(got, page.Tasks...)
					q.Cursor = page.NextCursor
				}
				if q.Cursor != "" || titlesAndIDs(got) != titlesAndIDs(want.Tasks) {
					t.Errorf("ascending %t:\ngot  %s\nwant %s", ascending, titlesAndIDs(got), titlesAndIDs(want.Tasks))
				}
			}
		})
	}
}

func TestSearchIsForTextAndNotForAPattern(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			o := open(t, store.Config{URL: withUsers(t, "ada"), QueryMode: mode}).For("ada")
			for title, description := range map[string]*string{
				"one": new("Café au lait"), "two": new("50 % of it"), "three": new("a_b"), "four": new(`a\b`),
				"five": nil, "SIX": new(""), "seven": new("' or true --"), "eight": new("a.b*c"), "nine": new("日本語"),
			} {
				if _, err := o.CreateTask(t.Context(), store.NewTask{Title: title, Description: description, Priority: "low"}); err != nil {
					t.Fatal(err)
				}
			}
			for search, want := range map[string]string{
				"CAFÉ": "one", "café AU": "one", "%": "two", "_": "three", `\`: "four", "'": "seven", "or true": "seven", ".b*": "eight",
				"six": "SIX", "SiX": "SIX", "IVE": "five", "本": "nine", "a%t": "", "o_e": "", "a.*c": "", "null": "", "ada": "", "low": "",
			} {
				page := list(t, o, store.ListQuery{Search: search, Limit: 10})
				if got := sorted(titles(page.Tasks)); got != want || int(page.Total) != len(page.Tasks) {
					t.Errorf("searching %q finds %q of %d, want %q", search, got, page.Total, want)
				}
			}
		})
	}
}

func TestPrioritySortsByMeaning(t *testing.T) {
	t.Parallel()
	o := open(t, store.Config{URL: withUsers(t, "ada")}).For("ada")
	for _, priority := range []string{"medium", "high", "low"} {
		if _, err := o.CreateTask(t.Context(), store.NewTask{Title: priority, Priority: priority}); err != nil {
			t.Fatal(err)
		}
	}
	for ascending, want := range map[bool]string{false: "high medium low", true: "low medium high"} {
		if got := titles(list(t, o, store.ListQuery{Sort: store.SortPriority, Ascending: ascending, Limit: 3}).Tasks); got != want {
			t.Errorf("ascending %t: %s, want %s", ascending, got, want)
		}
	}
}

func TestACursorIsBoundToItsOwnerAndItsQuery(t *testing.T) {
	t.Parallel()
	s := open(t, store.Config{URL: withUsers(t, "ada", "bob")})
	ada, bob := s.For("ada"), s.For("bob")
	for _, o := range []store.Owner{ada, bob} {
		for range 3 {
			create(t, o, "title")
		}
	}
	query := func(change func(*store.ListQuery)) store.ListQuery {
		q := store.ListQuery{Completed: new(false), Priorities: []string{"medium", "low"}, Search: "title", Limit: 2}
		change(&q)
		return q
	}
	same := query(func(*store.ListQuery) {})
	cursor := list(t, ada, same).NextCursor
	if cursor == "" {
		t.Fatal("no cursor")
	}
	same.Cursor = cursor
	if rest := list(t, ada, same); len(rest.Tasks) != 1 || rest.NextCursor != "" || rest.Total != 3 {
		t.Errorf("the second page: %+v", rest)
	}
	same.Limit, same.Unless = 1, []int64{0} // these are not what the list is of
	list(t, ada, same)

	same.Cursor = list(t, bob, query(func(*store.ListQuery) {})).NextCursor
	refused := map[string]store.ListQuery{
		"another owner's":      same,
		"another state's":      query(func(q *store.ListQuery) { q.Completed = new(true) }),
		"both states'":         query(func(q *store.ListQuery) { q.Completed = nil }),
		"fewer priorities'":    query(func(q *store.ListQuery) { q.Priorities = []string{"medium"} }),
		"every priority's":     query(func(q *store.ListQuery) { q.Priorities = nil }),
		"another search's":     query(func(q *store.ListQuery) { q.Search = "titl" }),
		"no search's":          query(func(q *store.ListQuery) { q.Search = "" }),
		"another sort's":       query(func(q *store.ListQuery) { q.Sort = store.SortUpdated }),
		"the other order's":    query(func(q *store.ListQuery) { q.Ascending = true }),
		"one letter changed":   query(func(q *store.ListQuery) { q.Cursor = flip(cursor) }),
		"one letter less":      query(func(q *store.ListQuery) { q.Cursor = cursor[:len(cursor)-1] }),
		"one letter more":      query(func(q *store.ListQuery) { q.Cursor = cursor + "A" }),
		"padded":               query(func(q *store.ListQuery) { q.Cursor = cursor + "=" }),
		"with a line break":    query(func(q *store.ListQuery) { q.Cursor = cursor[:8] + "\n" + cursor[8:] }),
		"not a cursor":         query(func(q *store.ListQuery) { q.Cursor = "next" }),
		"with a letter not ok": query(func(q *store.ListQuery) { q.Cursor = "é" + cursor }),
		"U+0000":               query(func(q *store.ListQuery) { q.Cursor = "\x00" }),
	}
	for name, q := range refused {
		if q.Cursor == "" {
			q.Cursor = cursor
		}
		if page, err := ada.ListTasks(t.Context(), q); !errors.Is(err, store.ErrBadCursor) {
			t.Errorf("a cursor that is %s: %+v, %v", name, page, err)
		}
	}
}

func flip(cursor string) string {
	letters := []byte(cursor)
	i := len(letters) / 2
	if letters[i] == 'A' {
		letters[i] = 'B'
	} else {
		letters[i] = 'A'
	}
	return string(letters)
}

// tearSQL has a task appear when the first of ada's is looked at: as if somebody had committed it in the middle of the
// list.
const tearSQL = `
create sequence look;
create function look() returns bool language plpgsql security definer as $$
begin
	if nextval('look') = 1 then
		insert into task (id, user_id, title) values (gen_random_uuid(), 'ada', 'late');
	end if;
	return true;
end;
$$;
create policy look on task as restrictive for select using (look())`

func TestRevisionTotalAndTasksAreOfOneMoment(t *testing.T) {
	t.Parallel()
	address := withUsers(t, "ada")
	ada := open(t, store.Config{URL: address}).For("ada")
	create(t, ada, "early")
	exec(t, direct(t, address), tearSQL)
	q := store.ListQuery{Limit: 10}
	before := list(t, ada, q)
	if before.Total != 1 || titles(before.Tasks) != "early" {
		t.Errorf("%s of %d, want early of 1", titles(before.Tasks), before.Total)
	}
	q.Unless = []int64{before.Revision}
	after := list(t, ada, q)
	if after.NotModified || after.Total != 2 || titles(after.Tasks) != "late early" {
		t.Errorf("%s of %d, not modified: %t; want late early of 2", titles(after.Tasks), after.Total, after.NotModified)
	}
	q.Unless = []int64{after.Revision}
	if again := list(t, ada, q); !again.NotModified {
		t.Errorf("nothing changed, and the list is %+v", again)
	}
}

var priorities = []string{"low", "medium", "high"}

const letters = `aAbBéÉ%_\ `

// populate gives a new owner tasks at random, and returns them.
func populate(t *testing.T, rt *rapid.T, conn *pgx.Conn, owner string) []store.Task {
	t.Helper()
	exec(t, conn, `insert into "user" (id, name, email, "emailVerified") values ($1::text, '', $1, true)`, owner)
	return insert(t, conn, owner, draw(rt, rapid.IntRange(0, 30).Draw(rt, "tasks")))
}

func draw(rt *rapid.T, n int) []store.Task {
	day := rapid.Map(rapid.IntRange(0, 3), func(n int) time.Time {
		return time.Date(2026, 1, 2, 3, 4, 5, 123456000, time.UTC).Add(time.Duration(n) * time.Microsecond)
	})
	return rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) store.Task {
		return store.Task{
			ID:          rapid.StringMatching(`[0-9a-f]{16}`).Draw(rt, "id"),
			Title:       rapid.StringMatching(`[ab]{1,2}`).Draw(rt, "title"),
			Description: rapid.Ptr(rapid.StringOfN(rapid.RuneFrom([]rune(letters)), 0, 4, -1), true).Draw(rt, "description"),
			Priority:    rapid.SampledFrom(priorities).Draw(rt, "priority"),
			Completed:   rapid.Bool().Draw(rt, "completed"),
			CreatedAt:   day.Draw(rt, "created"),
			UpdatedAt:   day.Draw(rt, "updated"),
		}
	}), n, n).Draw(rt, "rows")
}

// insert writes tasks as they are, but for those whose id is taken, and returns what was written.
func insert(t *testing.T, conn *pgx.Conn, owner string, tasks []store.Task) (written []store.Task) {
	t.Helper()
	var b pgx.Batch
	for _, task := range tasks {
		task.ID = owner + " " + task.ID // the table's, not the owner's alone
		b.Queue(`insert into task (id, user_id, title, description, priority, completed, created_at, updated_at)
			values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing`,
			task.ID, owner, task.Title, task.Description, task.Priority, task.Completed, task.CreatedAt, task.UpdatedAt).
			Exec(func(tag pgconn.CommandTag) error {
				if tag.RowsAffected() == 1 {
					written = append(written, task)
				}
				return nil
			})
	}
	if err := conn.SendBatch(t.Context(), &b).Close(); err != nil {
		t.Fatal(err)
	}
	return written
}

func inEveryOrder(q store.ListQuery) (all []store.ListQuery) {
	for _, q.Completed = range []*bool{nil, new(false), new(true)} {
		for _, q.Sort = range []store.Sort{store.SortCreated, store.SortUpdated, store.SortTitle, store.SortPriority} {
			for _, q.Ascending = range []bool{false, true} {
				all = append(all, q)
			}
		}
	}
	return all
}

// filtered is what a list should be, the simplest way.
func filtered(tasks []store.Task, q store.ListQuery) (list []store.Task) {
	for _, task := range tasks {
		text := strings.ToLower(task.Title)
		if task.Description != nil {
			text += "\n" + strings.ToLower(*task.Description)
		}
		if (q.Completed == nil || task.Completed == *q.Completed) &&
			(len(q.Priorities) == 0 || slices.Contains(q.Priorities, task.Priority)) &&
			strings.Contains(text, strings.ToLower(q.Search)) {
			list = append(list, task)
		}
	}
	slices.SortFunc(list, func(a, b store.Task) int {
		by := cmp.Or(map[store.Sort]int{
			store.SortCreated:  a.CreatedAt.Compare(b.CreatedAt),
			store.SortUpdated:  a.UpdatedAt.Compare(b.UpdatedAt),
			store.SortTitle:    strings.Compare(a.Title, b.Title),
			store.SortPriority: slices.Index(priorities, a.Priority) - slices.Index(priorities, b.Priority),
		}[q.Sort], strings.Compare(a.ID, b.ID))
		if !q.Ascending {
			by = -by
		}
		return by
	})
	return list
}

func titlesAndIDs(tasks []store.Task) string {
	var all []string
	for _, task := range tasks {
		all = append(all, task.Title+" "+task.ID)
	}
	return strings.Join(all, ", ")
}

func show(q store.ListQuery) string {
	state := "all"
	if q.Completed != nil {
		state = fmt.Sprint("completed ", *q.Completed)
	}
	return fmt.Sprintf("%s, priorities %q, search %q, sort %d, ascending %t", state, q.Priorities, q.Search, q.Sort, q.Ascending)
}
