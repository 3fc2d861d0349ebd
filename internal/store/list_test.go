package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"pgregory.net/rapid"

	"docket/internal/dbtest"
)

// The model is a slice of the same tasks. Few distinct values cause many ties. Titles have
// lower-case letters only, which every collation sorts alike.
func TestListsAgreeWithAModel(t *testing.T) {
	t.Parallel()
	address := dbtest.New(t)
	conn := connect(t, address)
	s := open(t, Config{URL: address})
	var count int
	rapid.Check(t, func(rt *rapid.T) {
		count++
		owner := fmt.Sprintf("owner-%d", count)
		model := populate(t, rt, conn, owner)
		o := s.For(owner)
		q := TaskQuery{
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

		// The same list in pages, by cursor and by offset.
		q = rapid.SampledFrom(inEveryOrder(q)).Draw(rt, "order")
		q.Limit = rapid.Int32Range(1, 7).Draw(rt, "limit")
		want := filtered(model, q)
		var byCursor, byOffset []Task
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
		for how, got := range map[string][]Task{"cursor": byCursor, "offset": byOffset} {
			if titlesAndIDs(got) != titlesAndIDs(want) {
				rt.Fatalf("%s, by %s:\ngot  %s\nwant %s", show(q), how, titlesAndIDs(got), titlesAndIDs(want))
			}
		}
	})
}

// While pages are read, tasks are inserted and deleted. Each remaining task is listed once, in order.
func TestPagingIsNotDisturbedByWrites(t *testing.T) {
	t.Parallel()
	address := dbtest.New(t)
	conn := connect(t, address)
	s := open(t, Config{URL: address})
	var count int
	rapid.Check(t, func(rt *rapid.T) {
		count++
		owner := fmt.Sprintf("owner-%d", count)
		model := populate(t, rt, conn, owner)
		q := rapid.SampledFrom(inEveryOrder(TaskQuery{})).Draw(rt, "order")
		q.Limit = rapid.Int32Range(1, 5).Draw(rt, "limit")
		expected := filtered(model, q)
		deletable := rapid.Permutation(model).Draw(rt, "deletable")
		stays := map[string]bool{}
		for _, task := range model {
			stays[task.ID] = true
		}
		var got []Task
		for pages := 0; ; pages++ {
			page := list(t, s.For(owner), q)
			got = append(got, page.Tasks...)
			if q.Cursor = page.NextCursor; q.Cursor == "" {
				break
			}
			if pages < min(5, len(deletable)) { // before and after the cursor, and perhaps at it
				insert(t, conn, owner, draw(rt, 2))
				execute(t, conn, "delete from task where id = $1", deletable[pages].ID)
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
		others := func(task Task) bool { return !stays[task.ID] }
		got, expected = slices.DeleteFunc(got, others), slices.DeleteFunc(expected, others)
		if titlesAndIDs(got) != titlesAndIDs(expected) {
			rt.Fatalf("%s\ngot  %s\nwant %s", show(q), titlesAndIDs(got), titlesAndIDs(expected))
		}
	})
}

// The order depends on the database's collation. With any collation, the concatenated pages equal the list.
func TestPagesByTitleEqualTheListInEveryScript(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			o := open(t, Config{URL: withUsers(t, "ada"), QueryMode: mode}).For("ada")
			for _, title := range []string{
				"a", "A", "b", "B", "é", "e\u0301", "É", "ß", "ss", "İ", "ı", "I", "-", "_", "%", `\`, `'`, `"`, " x", "x ", "x", "X", "x y", "x-y",
				"1", "10", "9", "\u00a0", "日本", "日", "😀", "👩‍👩‍👧", "\U0010ffff", "\u200b", "\ufeff", "null", strings.Repeat("😀", 200),
			} {
				create(t, o, title)
				create(t, o, title)
			}
			for _, ascending := range []bool{false, true} {
				q := TaskQuery{Sort: SortTitle, Ascending: ascending, Limit: 1000}
				want := list(t, o, q)
				q.Limit = 1
				var got []Task
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

func TestSearchTreatsPatternCharactersAsText(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			o := open(t, Config{URL: withUsers(t, "ada"), QueryMode: mode}).For("ada")
			for title, description := range map[string]*string{
				"one": new("Café au lait"), "two": new("50 % of it"), "three": new("a_b"), "four": new(`a\b`),
				"five": nil, "SIX": new(""), "seven": new("' or true --"), "eight": new("a.b*c"), "nine": new("日本語"),
			} {
				if _, err := o.CreateTask(t.Context(), NewTask{Title: title, Description: description, Priority: "low"}); err != nil {
					t.Fatal(err)
				}
			}
			for search, want := range map[string]string{
				"CAFÉ": "one", "café AU": "one", "%": "two", "_": "three", `\`: "four", "'": "seven", "or true": "seven", ".b*": "eight",
				"six": "SIX", "SiX": "SIX", "IVE": "five", "本": "nine", "a%t": "", "o_e": "", "a.*c": "", "null": "", "ada": "", "low": "",
			} {
				page := list(t, o, TaskQuery{Search: search, Limit: 10})
				if got := sorted(titles(page.Tasks)); got != want || int(page.Total) != len(page.Tasks) {
					t.Errorf("searching %q finds %q of %d, want %q", search, got, page.Total, want)
				}
			}
		})
	}
}

func TestPrioritySortsByMeaning(t *testing.T) {
	t.Parallel()
	o := open(t, Config{URL: withUsers(t, "ada")}).For("ada")
	for _, priority := range []string{"medium", "high", "low"} {
		if _, err := o.CreateTask(t.Context(), NewTask{Title: priority, Priority: priority}); err != nil {
			t.Fatal(err)
		}
	}
	for ascending, want := range map[bool]string{false: "high medium low", true: "low medium high"} {
		if got := titles(list(t, o, TaskQuery{Sort: SortPriority, Ascending: ascending, Limit: 3}).Tasks); got != want {
			t.Errorf("ascending %t: %s, want %s", ascending, got, want)
		}
	}
}

func TestEveryFilterAndSortIsPartOfTheKeyAndBindsTheCursor(t *testing.T) {
	t.Parallel()
	s := open(t, Config{URL: withUsers(t, "ada", "bob")})
	ada, bob := s.For("ada"), s.For("bob")
	bases := map[string]TaskQuery{"no filter": {}, "filters": {}}
	for _, field := range listFields() {
		all := bases["filters"]
		reflect.ValueOf(&all).Elem().FieldByIndex(field.Index).Set(samplesOf(t, field.Type)[0])
		bases["filters"] = all
	}
	for base, q := range bases {
		q.Limit = 1
		cursor := cursorAfter("ada", q.Key(), position{new("2026-01-01T00:00:00Z"), "id"})
		keys := map[string]string{q.Key(): base}
		for name, other := range variants(t, q) {
			if same := keys[other.Key()]; same != "" {
				t.Errorf("with %s: the key of a query with %s is that with %s: %s", base, name, same, other.Key())
			}
			keys[other.Key()] = name
			if other.Cursor = cursor; other.Sort == "" || other.Sort == SortCreated {
				if page, err := ada.ListTasks(t.Context(), other); !errors.Is(err, ErrBadCursor) {
					t.Errorf("with %s: the cursor is accepted by a query with %s: %+v, %v", base, name, page, err)
				}
			}
		}
		if n := len(variants(t, q)) + 1; len(keys) != n {
			t.Errorf("with %s: %d keys of %d queries", base, len(keys), n)
		}
		q.Cursor = cursor
		if _, err := bob.ListTasks(t.Context(), q); !errors.Is(err, ErrBadCursor) {
			t.Errorf("with %s: bob's list with ada's cursor: %v", base, err)
		}
		q.Limit, q.Unless = 2, []int64{0} // neither is part of the key
		if _, err := ada.ListTasks(t.Context(), q); err != nil {
			t.Errorf("with %s: %v", base, err)
		}
		for name, damaged := range map[string]string{
			"one letter changed":   cursor[:20] + string(cursor[20]^1) + cursor[21:],
			"one letter less":      cursor[:len(cursor)-1],
			"one letter more":      cursor + "A",
			"padded":               cursor + "=",
			"with a line break":    cursor[:8] + "\n" + cursor[8:],
			"not a cursor":         "next",
			"with a letter not ok": "é" + cursor,
			"U+0000":               "\x00",
		} {
			if q.Cursor = damaged; !errors.Is(errorOf(ada.ListTasks(t.Context(), q)), ErrBadCursor) {
				t.Errorf("with %s: a cursor that is %s is accepted", base, name)
			}
		}
	}
}

func errorOf[T any](_ T, err error) error { return err }

// listFields returns the fields of a query that determine which tasks its list contains.
func listFields() (all []reflect.StructField) {
	for field := range reflect.TypeFor[TaskQuery]().Fields() {
		if !slices.Contains([]string{"Sort", "Limit", "Offset", "Cursor", "Unless"}, field.Name) {
			all = append(all, field)
		}
	}
	return all
}

// samplesOf returns two different values for a field.
func samplesOf(t *testing.T, typ reflect.Type) (all []reflect.Value) {
	t.Helper()
	switch typ {
	case reflect.TypeFor[string]():
		return []reflect.Value{reflect.ValueOf("a"), reflect.ValueOf("b")}
	case reflect.TypeFor[[]string]():
		return []reflect.Value{reflect.ValueOf([]string{"low", "high"}), reflect.ValueOf([]string{"low"})}
	case reflect.TypeFor[bool]():
		return []reflect.Value{reflect.ValueOf(true), reflect.ValueOf(false)}
	case reflect.TypeFor[*bool]():
		return []reflect.Value{reflect.ValueOf(new(true)), reflect.ValueOf(new(false))}
	case reflect.TypeFor[*DueBound]():
		return []reflect.Value{reflect.ValueOf(&DueBound{Date: 7}), reflect.ValueOf(&DueBound{Date: 7, At: new(time.Unix(0, 1000))})}
	case reflect.TypeFor[*time.Time]():
		return []reflect.Value{reflect.ValueOf(new(time.Unix(0, 0))), reflect.ValueOf(new(time.Unix(0, 1000)))}
	}
	t.Fatalf("no samples of %s", typ)
	return nil
}

// variants returns the queries that differ from q in one field that determines which tasks the list contains, or their
// order.
func variants(t *testing.T, q TaskQuery) map[string]TaskQuery {
	t.Helper()
	all := map[string]TaskQuery{}
	for _, field := range listFields() {
		if field.Name == "AllTags" && len(q.Tags) < 2 {
			continue // all of one tag is any of it
		}
		for _, value := range append(samplesOf(t, field.Type), reflect.Zero(field.Type)) {
			other := q
			reflect.ValueOf(&other).Elem().FieldByIndex(field.Index).Set(value)
			if !reflect.DeepEqual(other, q) {
				all[fmt.Sprint(field.Name, " ", value)] = other
			}
		}
	}
	for _, sort := range taskSorts {
		if other := q; sort.name != SortCreated {
			other.Sort = sort.name
			all["sort "+string(sort.name)] = other
		}
	}
	return all
}

func TestEquivalentQueriesHaveTheSameKey(t *testing.T) {
	t.Parallel()
	for _, same := range [][]TaskQuery{
		{{}, {Sort: SortCreated}, {Limit: 10, Offset: 3, Cursor: "x", Unless: []int64{1}}, {Priorities: []string{}}},
		{{Priorities: []string{"low", "high"}}, {Priorities: []string{"high", "low", "low"}}},
	} {
		for _, q := range same {
			if q.Key() != same[0].Key() {
				t.Errorf("%+v has the key %s, and %+v %s", q, q.Key(), same[0], same[0].Key())
			}
		}
	}
	priorities := []string{"low", "high"}
	if TaskQuery.Key(TaskQuery{Priorities: priorities}); priorities[0] != "low" {
		t.Error("Key sorts the caller's slice")
	}
	for _, q := range []TaskQuery{{Search: "a priority=[]"}, {Search: `a" completed=true`}, {Priorities: []string{`low","high`}}} {
		if strings.Count(q.Key(), "=") != 3+strings.Count(q.Search, "=") {
			t.Errorf("the key %s", q.Key())
		}
	}
}

func TestASmallListReadsNoMoreThanItReturns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		query TaskQuery
		small bool
		scans bool
	}{
		{TaskQuery{Limit: 1}, true, false},
		{TaskQuery{Limit: 100}, true, false},
		{TaskQuery{Limit: 20, Offset: 80}, true, false},
		{TaskQuery{Limit: 20, Offset: 81}, false, false},
		{TaskQuery{Limit: 101}, false, false},
		{TaskQuery{Limit: 1000, Offset: 1000}, false, false},
		{TaskQuery{Limit: 1, Offset: 1001}, false, true},
		{TaskQuery{Limit: 20, Offset: math.MaxInt32}, false, true},
		{TaskQuery{Limit: 1000, Offset: math.MaxInt32}, false, true},
		{TaskQuery{Limit: 20, Sort: SortTitle, Ascending: true}, true, false},
		{TaskQuery{Limit: 20, Completed: new(true)}, true, false},
		{TaskQuery{Limit: 20, Completed: new(true), Sort: SortTitle}, false, true},
		{TaskQuery{Limit: 20, Completed: new(false), Sort: SortPriority}, true, false},
		{TaskQuery{Limit: 20, Completed: new(true), Sort: SortPriority}, false, true},
		{TaskQuery{Limit: 20, Priorities: []string{"high"}}, false, true},
		{TaskQuery{Limit: 20, Search: "milk"}, false, true},
		{TaskQuery{Limit: 20, Cursor: "a page before"}, false, false},
		{TaskQuery{Limit: 20, Cursor: "a page before", Search: "milk"}, false, true},
	} {
		if c.query.small() != c.small || c.query.scans() != c.scans {
			t.Errorf("%+v: small is %t, scans %t", c.query, c.query.small(), c.query.scans())
		}
	}
}

func TestScansAndNothingElseAreLimited(t *testing.T) {
	t.Parallel()
	address := withUsers(t, "ada")
	var waits, ends int
	var refusal error
	ada := open(t, Config{URL: address}).For("ada").LimitScans(func(context.Context) (func(), error) {
		waits++
		return func() { ends++ }, refusal
	})
	created := create(t, ada, "a task")
	for _, q := range []TaskQuery{{Limit: 1}, {Limit: 1000, Offset: 1000}, {Limit: 1, Completed: new(false), Sort: SortPriority}} {
		list(t, ada, q)
	}
	_, getErr := ada.GetTask(t.Context(), created.ID)
	_, deleteErr := ada.DeleteTask(t.Context(), created.ID)
	if getErr != nil || deleteErr != nil || waits != 0 {
		t.Errorf("%v, %v, and what reads by an index waited %d times", getErr, deleteErr, waits)
	}
	for _, q := range []TaskQuery{
		{Limit: 1, Search: "a"}, {Limit: 1, Priorities: []string{"high"}}, {Limit: 1, Offset: 1001}, {Limit: 1, Completed: new(true), Sort: SortTitle},
	} {
		waits, ends, refusal = 0, 0, nil
		if _, err := ada.ListTasks(t.Context(), q); err != nil || waits != 1 || ends != 1 {
			t.Errorf("%+v: %v; it waited %d times and ended %d times", q, err, waits, ends)
		}
		waits, ends, refusal = 0, 0, errors.New("too many scans")
		if _, err := ada.ListTasks(t.Context(), q); !errors.Is(err, refusal) || waits != 1 || ends != 0 {
			t.Errorf("%+v: %v; it waited %d times and ended %d times", q, err, waits, ends)
		}
	}
}

func TestAnUnknownSortIsInvalid(t *testing.T) {
	t.Parallel()
	ada := open(t, Config{URL: "postgres://docket@127.0.0.1:1/docket"}).For("ada")
	if page, err := ada.ListTasks(t.Context(), TaskQuery{Sort: "id", Limit: 1}); !errors.Is(err, ErrInvalid) {
		t.Errorf("%+v, %v", page, err)
	}
}

// The sort key that Go computes for a task equals the value that PostgreSQL sorts by. A sort whose key can be null
// defines where nulls are sorted.
func TestKeysOfSortsAgreeWithPostgreSQL(t *testing.T) {
	t.Parallel()
	address := withUsers(t, "ada")
	conn := connect(t, address)
	ada := open(t, Config{URL: address}).For("ada")
	execute(t, conn, "insert into task (id, user_id, title) values ('1', 'ada', 'x')") // null wherever a column can be null
	for _, values := range []string{"null, null", "'09:30', 'UTC'"} {
		execute(t, conn, "insert into task (id, user_id, title, due_date, due_time, time_zone, due_at) "+
			"select md5($1), 'ada', 'x', '2026-03-09', d, z, case when d is null then null else now() end from (values ("+strings.Replace(values, ",", "::time,", 1)+"::text)) as v (d, z)", values)
	}
	for _, priority := range priorities {
		if _, err := ada.CreateTask(t.Context(), NewTask{Title: "y", Description: new("z"), Priority: priority}); err != nil {
			t.Fatal(err)
		}
	}
	for _, task := range list(t, ada, TaskQuery{Limit: 10}).Tasks {
		for _, sort := range taskSorts {
			sql := "select " + sort.key + " is not distinct from $2::text::" + sort.typ + ", " + sort.key + " is null from task where id = $1"
			var equal, null bool
			if err := conn.QueryRow(t.Context(), sql, task.ID, sort.value(task)).Scan(&equal, &null); err != nil || !equal {
				t.Errorf("%s: the key of %+v differs from PostgreSQL's, %v", sort.name, task, err)
			}
			if null && (sort.lowest == "" || sort.highest == "") {
				t.Errorf("%s: the key of %+v is null", sort.name, task)
			}
		}
	}
}

// None of the service's sorts has a nullable key, so the test defines one.
func TestNullIsLastInBothDirectionsAndByCursor(t *testing.T) {
	t.Parallel()
	byDescription := sort{name: "description", key: "description", typ: "text", lowest: "''", highest: "'z'"}
	conn := connect(t, withUsers(t, "ada"))
	execute(t, conn, `
insert into task (id, user_id, title, description)
select n, 'ada', n, case when n % 3 > 0 then chr(97 + n % 5) end from generate_series(10, 21) n`)
	execute(t, conn, "create index on task (user_id, "+byDescription.keySQL("description", true)+", id)")
	execute(t, conn, "create index on task (user_id, "+byDescription.keySQL("description", false)+" desc, id desc)")
	execute(t, conn, "set enable_seqscan = off; set enable_bitmapscan = off; set enable_sort = off", pgx.QueryExecModeSimpleProtocol)
	for _, ascending := range []bool{false, true} {
		direction := map[bool]string{false: "desc", true: "asc"}[ascending]
		want := value[[]string](t, conn, fmt.Sprintf(`
select array_agg(id order by description %[1]s nulls last, id %[1]s) from task`, direction))
		var got []string
		var key *string
		for id := ""; len(got) < len(want); {
			shape := taskShape{sort: byDescription.name, ascending: ascending, cursor: id != ""}
			args := []any{"ada", []int64{}, 1, 0}
			if shape.cursor {
				args = append(args, key, id)
			}
			sql := "select page.id, page.description from (" + shape.sql(byDescription) + ") as page"
			if err := conn.QueryRow(t.Context(), sql, args...).Scan(&id, &key); err != nil {
				t.Fatal(err)
			}
			got = append(got, id)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %s, want %s", direction, got, want)
		}
		plan := explain(t, conn, taskShape{sort: byDescription.name, ascending: ascending, cursor: true}.sql(byDescription))
		if _, condition := plan.join().Plans[1].index(); !strings.Contains(condition, "ROW(CASE") || plan.has("Sort") {
			t.Errorf("%s: %s", direction, plan)
		}
	}
}

// lateSQL inserts a task when ada's first task is read, as if another transaction committed it while the list is being
// read.
const lateSQL = `
create sequence reads;
create function insert_late() returns bool language plpgsql security definer as $$
begin
	if nextval('reads') = 1 then
		insert into task (id, user_id, title) values (gen_random_uuid(), 'ada', 'late');
	end if;
	return true;
end;
$$;
create policy insert_late on task as restrictive for select using (insert_late())`

func TestRevisionTotalAndTasksComeFromOneSnapshot(t *testing.T) {
	t.Parallel()
	address := withUsers(t, "ada")
	ada := open(t, Config{URL: address}).For("ada")
	create(t, ada, "early")
	execute(t, connect(t, address), lateSQL)
	q := TaskQuery{Limit: 10}
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

// populate creates random tasks for a new owner and returns them.
func populate(t *testing.T, rt *rapid.T, conn *pgx.Conn, owner string) []Task {
	t.Helper()
	execute(t, conn, `insert into "user" (id, name, email, "emailVerified") values ($1::text, '', $1, true)`, owner)
	return insert(t, conn, owner, draw(rt, rapid.IntRange(0, 30).Draw(rt, "tasks")))
}

func draw(rt *rapid.T, n int) []Task {
	day := rapid.Map(rapid.IntRange(0, 3), func(n int) time.Time {
		return time.Date(2026, 1, 2, 3, 4, 5, 123456000, time.UTC).Add(time.Duration(n) * time.Microsecond)
	})
	return rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) Task {
		return Task{
			ID: rapid.StringMatching(`[0-9a-f]{16}`).Draw(rt, "id"),
			TaskFields: TaskFields{
				Title:       rapid.StringMatching(`[ab]{1,2}`).Draw(rt, "title"),
				Description: rapid.Ptr(rapid.StringOfN(rapid.RuneFrom([]rune(letters)), 0, 4, -1), true).Draw(rt, "description"),
				Priority:    rapid.SampledFrom(priorities).Draw(rt, "priority"),
				Completed:   rapid.Bool().Draw(rt, "completed"),
			},
			CreatedAt: day.Draw(rt, "created"),
			UpdatedAt: day.Draw(rt, "updated"),
		}
	}), n, n).Draw(rt, "rows")
}

// insert inserts the tasks whose id is not in use yet, and returns those.
func insert(t *testing.T, conn *pgx.Conn, owner string, tasks []Task) (written []Task) {
	t.Helper()
	var b pgx.Batch
	for _, task := range tasks {
		task.ID = owner + " " + task.ID // ids are unique in the table
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

func inEveryOrder(q TaskQuery) (all []TaskQuery) {
	for _, q.Completed = range []*bool{nil, new(false), new(true)} {
		for _, q.Sort = range []Sort{SortCreated, SortUpdated, SortTitle, SortPriority} {
			for _, q.Ascending = range []bool{false, true} {
				all = append(all, q)
			}
		}
	}
	return all
}

// filtered returns the model's list for a query.
func filtered(tasks []Task, q TaskQuery) (list []Task) {
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
	slices.SortFunc(list, func(a, b Task) int {
		by := cmp.Or(map[Sort]int{
			SortCreated:  a.CreatedAt.Compare(b.CreatedAt),
			SortUpdated:  a.UpdatedAt.Compare(b.UpdatedAt),
			SortTitle:    strings.Compare(a.Title, b.Title),
			SortPriority: slices.Index(priorities, a.Priority) - slices.Index(priorities, b.Priority),
		}[q.Sort], strings.Compare(a.ID, b.ID))
		if !q.Ascending {
			by = -by
		}
		return by
	})
	return list
}

func titlesAndIDs(tasks []Task) string {
	var all []string
	for _, task := range tasks {
		all = append(all, task.Title+" "+task.ID)
	}
	return strings.Join(all, ", ")
}

func show(q TaskQuery) string {
	state := "all"
	if q.Completed != nil {
		state = fmt.Sprint("completed ", *q.Completed)
	}
	return fmt.Sprintf("%s, priorities %q, search %q, sort %s, ascending %t", state, q.Priorities, q.Search, q.Sort, q.Ascending)
}
