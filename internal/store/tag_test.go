package store

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"docket/internal/dbtest"
)

// Of each code point, the folded forms of Go and of the database are the same, and two are equal if and only if the code
// points differ by case only.
func TestTagsAreFoldedAsUnicodeSays(t *testing.T) {
	t.Parallel()
	conn := connect(t, dbtest.New(t))
	var all []string
	orbits := map[string]rune{}
	for r := rune(1); r <= unicode.MaxRune; r++ {
		if !utf8.ValidRune(r) {
			continue
		}
		all = append(all, string(r))
		least := r
		for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
			least = min(least, other)
		}
		folded := FoldTag(string(r))
		if known, there := orbits[folded]; there && known != least {
			t.Errorf("%q and %q are folded to %q", known, least, folded)
		}
		orbits[folded] = least
		if !strings.EqualFold(string(r), folded) || FoldTag(folded) != folded {
			t.Errorf("%q is folded to %q", r, folded)
		}
	}
	for chunk := range slices.Chunk(all, 1<<16) {
		bySQL := value[[]string](t, conn, "select array_agg(fold_tag(name) order by at) from unnest($1::text[]) with ordinality as given (name, at)", chunk)
		for i, name := range chunk {
			if bySQL[i] != FoldTag(name) {
				t.Errorf("%q is folded to %q, and by the database to %q", name, FoldTag(name), bySQL[i])
			}
		}
	}
	mixed := strings.Join([]string{"Straße", "ΑΓΟΡΆΣ", "İstanbul", "\u212aelvin", "ABC", "ſ"}, " ")
	if got := value[string](t, conn, "select fold_tag($1)", mixed); got != FoldTag(mixed) {
		t.Errorf("%q is folded to %q, and by the database to %q", mixed, FoldTag(mixed), got)
	}
}

// wrongLinksSQL selects rows that task_tag has and should not have, or the other way round.
const wrongLinksSQL = `
with wanted as (
  select user_id, fold_tag(name), id, name from task, unnest(tags) as name
), present as (
  select user_id, folded, task_id, name from task_tag
)
select coalesce(jsonb_agg(wrong)::text, '') from (
  (table wanted except all table present) union all (table present except all table wanted)
) as wrong`

// tagModel is the tags of each task of an owner.
type tagModel map[string][]string

// edit replaces tags by hand.
func (m tagModel) edit(id string, tags []string) { m[id] = slices.Clone(UniqueTags(tags)) }

// change changes the tags of each task that has one, and returns how many there were.
func (m tagModel) change(name string, change func(tag string) []string) (changed int64) {
	for id, tags := range m {
		var now []string
		has := false
		for _, tag := range tags {
			if strings.EqualFold(tag, name) {
				has = true
				now = append(now, change(tag)...)
			} else {
				now = append(now, tag)
			}
		}
		if has {
			changed++
			m.edit(id, now)
		}
	}
	return changed
}

// list returns the tags in their commonest spelling, with their number of tasks.
func (m tagModel) list() (all []Tag) {
	spellings := map[string]map[string]int{}
	for _, tags := range m {
		for _, tag := range tags {
			folded := FoldTag(tag)
			if spellings[folded] == nil {
				spellings[folded] = map[string]int{}
			}
			spellings[folded][tag]++
		}
	}
	for _, folded := range slices.Sorted(maps.Keys(spellings)) {
		names := slices.SortedFunc(maps.Keys(spellings[folded]), func(a, b string) int {
			return cmp.Or(spellings[folded][b]-spellings[folded][a], strings.Compare(a, b))
		})
		var tasks int64
		for _, n := range spellings[folded] {
			tasks += int64(n)
		}
		all = append(all, Tag{Name: names[0], Tasks: tasks, Pending: tasks})
	}
	return all
}

// Renaming a tag equals editing each task by hand, and the link table is always what the tasks say. DOCKET_TEST_SEED
// repeats a run.
func TestChangesOfTagsEqualThoseByHand(t *testing.T) {
	t.Parallel()
	const steps = 600
	seed := rand.Uint64()
	if text := os.Getenv("DOCKET_TEST_SEED"); text != "" {
		seed, _ = strconv.ParseUint(text, 10, 64)
	}
	t.Logf("DOCKET_TEST_SEED=%d repeats this run", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	address := withUsers(t, "ada", "bob")
	s := open(t, Config{URL: address})
	ada, conn := s.For("ada"), connect(t, address)
	bobs, err := s.For("bob").CreateTask(t.Context(), NewTask{Title: "bob's", Tags: []string{"home", "WORK"}})
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"home", "Home", "HOME", "work", "Work", "straße", "STRASSE", "STRAßE", "σ", "ς", "Σ", "k", "\u212a", "a b", "é", "É"}
	pick := func() string { return names[random.IntN(len(names))] }
	some := func() (all []string) {
		for range random.IntN(5) {
			all = append(all, pick())
		}
		return UniqueTags(all)
	}
	m := tagModel{}
	for step := range steps {
		ids := slices.Sorted(maps.Keys(m))
		id := ""
		if len(ids) > 0 {
			id = ids[random.IntN(len(ids))]
		}
		var said string
		var err error
		switch n := random.IntN(10); {
		case id == "" || n < 2 && len(m) < 12:
			var made Task
			tags := some()
			said = fmt.Sprintf("create %q", tags)
			made, err = ada.CreateTask(t.Context(), NewTask{Title: "x", Tags: tags})
			m.edit(made.ID, tags)
		case n < 4:
			tags := some()
			said = fmt.Sprintf("set %q", tags)
			_, err = ada.UpdateTask(t.Context(), id, TaskChanges{Tags: Set(append([]string{}, tags...))})
			m.edit(id, tags)
		case n < 6:
			added, removed := some(), some()
			said = fmt.Sprintf("add %q, remove %q", added, removed)
			_, err = ada.UpdateTask(t.Context(), id, TaskChanges{AddTags: added, RemoveTags: removed})
			left := slices.DeleteFunc(slices.Clone(m[id]), func(tag string) bool {
				return slices.ContainsFunc(removed, func(gone string) bool { return strings.EqualFold(gone, tag) })
			})
			m.edit(id, append(left, added...))
		case n < 8:
			name, renamed := pick(), pick()
			said = fmt.Sprintf("rename %q to %q", name, renamed)
			var changed int64
			changed, err = ada.RenameTag(t.Context(), name, renamed)
			if want := m.change(name, func(string) []string { return []string{renamed} }); changed != want || errors.Is(err, ErrNotFound) != (want == 0) {
				t.Errorf("%s: %d changed, want %d: %v", said, changed, want, err)
			}
		case n < 9:
			name := pick()
			said = fmt.Sprintf("delete %q", name)
			var changed int64
			changed, err = ada.DeleteTag(t.Context(), name)
			if want := m.change(name, func(string) []string { return nil }); changed != want || errors.Is(err, ErrNotFound) != (want == 0) {
				t.Errorf("%s: %d changed, want %d: %v", said, changed, want, err)
			}
		default:
			said = "delete a task"
			_, err = ada.DeleteTask(t.Context(), id)
			delete(m, id)
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			t.Fatalf("step %d, %s: %v", step, said, err)
		}
		stored := tagModel{}
		for _, task := range list(t, ada, TaskQuery{Limit: 100}).Tasks {
			stored.edit(task.ID, task.Tags)
			if len(task.Tags) != len(stored[task.ID]) {
				t.Errorf("step %d, %s: the tags %q are not unique", step, said, task.Tags)
			}
		}
		if !maps.EqualFunc(stored, m, slices.Equal) {
			t.Fatalf("step %d, %s: the tags are %q, want %q", step, said, stored, m)
		}
		listed, err := ada.ListTags(t.Context(), TagQuery{Limit: 100})
		if err != nil || !slices.Equal(listed.Tags, m.list()) {
			t.Fatalf("step %d, %s: %v, the list is %+v, want %+v", step, said, err, listed.Tags, m.list())
		}
		if wrong := value[string](t, conn, wrongLinksSQL); wrong != "" {
			t.Fatalf("step %d, %s: wrong links: %s", step, said, wrong)
		}
	}
	if got := get(t, s.For("bob"), bobs.ID); !same(got, bobs) {
		t.Errorf("bob's task was %+v, and is %+v", bobs, got)
	}
}

// The link table follows changes by SQL, too, and the deletion of a user, and is made anew for tasks that were loaded
// without their triggers.
func TestTagsFollowChangesBySQL(t *testing.T) {
	t.Parallel()
	conn := connect(t, withUsers(t, "ada", "bob"))
	for _, sql := range []string{
		"insert into task (id, user_id, title, tags) values ('1', 'ada', 'x', '{a, B}'), ('2', 'ada', 'x', '{}'), ('3', 'bob', 'x', '{b}')",
		"update task set tags = '{c, b}'",
		"update task set tags = tags || id::text",
		"update task set id = id || 'x' where id <> '2'",
		"update task set user_id = 'bob' where id = '1x'",
		"update task set title = 'y'",
		"insert into task_tag values ('ada', 'x', '2', 'x')", // as a restore does
		"delete from task where id = '2'",
		`delete from "user" where id = 'bob'`,
		"insert into task (id, user_id, title, tags) values ('4', 'ada', 'x', '{a, B}')",
		"truncate task",
		"set session_replication_role = replica; insert into task (id, user_id, title, tags, rev) values ('5', 'ada', 'x', '{a}', 1); set session_replication_role = default; select task_tag_rebuild()",
		"select task_tag_rebuild()",
	} {
		execute(t, conn, sql, pgx.QueryExecModeSimpleProtocol)
		if wrong := value[string](t, conn, wrongLinksSQL); wrong != "" {
			t.Errorf("after %s: %s", sql, wrong)
		}
	}
	if n := value[int](t, conn, "select count(*) from task_tag"); n != 1 {
		t.Errorf("%d links are left, want 1", n)
	}
}

// A rename sees the tags that a change gave while the rename waited for it.
func TestARenameWaitsForChangesInProgress(t *testing.T) {
	t.Parallel()
	address := withUsers(t, "ada")
	ada, conn, other := open(t, Config{URL: address}).For("ada"), connect(t, address), connect(t, address)
	one, two := create(t, ada, "one"), create(t, ada, "two")
	execute(t, other, "begin")
	execute(t, other, assumeRoleSQL, "ada")
	execute(t, other, "update task set tags = '{home}' where id = $1", one.ID)
	renamed := make(chan error)
	go func() {
		_, err := ada.RenameTag(t.Context(), "home", "work")
		renamed <- err
	}()
	until(t, func() bool { return value[int](t, conn, waitingSQL) == 1 })
	execute(t, other, "commit")
	if err := <-renamed; err != nil {
		t.Error(err)
	}
	if got := get(t, ada, one.ID); !slices.Equal(got.Tags, []string{"work"}) {
		t.Errorf("the tags are %q", got.Tags)
	}
	if got := get(t, ada, two.ID); !same(got, two) {
		t.Errorf("it was %+v, and is %+v", two, got)
	}
}

func TestATaskHasNoMoreTagsThanItMay(t *testing.T) {
	t.Parallel()
	ada := open(t, Config{URL: withUsers(t, "ada")}).For("ada")
	var names []string
	for i := range MaxTags {
		names = append(names, fmt.Sprint("tag ", i))
	}
	full, err := ada.CreateTask(t.Context(), NewTask{Title: "full", Tags: names})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ada.UpdateTask(t.Context(), full.ID, TaskChanges{AddTags: []string{"one more"}}); !errors.Is(err, ErrTooManyTags) {
		t.Errorf("error %v", err)
	}
	if _, err := ada.UpdateTask(t.Context(), full.ID, TaskChanges{AddTags: []string{"one more"}, RemoveTags: []string{"TAG 3"}}); err != nil {
		t.Error(err)
	}
}

// changeTags and the function of the database do the same, whatever the case and the order.
func TestTagsAreChangedAlikeInGoAndByTheDatabase(t *testing.T) {
	t.Parallel()
	conn := connect(t, dbtest.New(t))
	random := rand.New(rand.NewPCG(rand.Uint64(), 19))
	names := []string{"home", "Home", "HOME", "a b", "straße", "STRAßE", "STRASSE", "σ", "ς", "Σ", "k", "\u212a", "é", "É", "e\u0301", "ſ", "s", "ı", "i", "İ", "ǆ", "ǅ", "👩‍👩‍👧"}
	some := func() []string {
		all := []string{}
		for range random.IntN(6) {
			all = append(all, names[random.IntN(len(names))])
		}
		return all
	}
	for range 2000 {
		tags, added, removed := append([]string{}, UniqueTags(some())...), some(), some()
		if random.IntN(5) == 0 {
			added = nil
		}
		if random.IntN(5) == 0 {
			removed = nil
		}
		got := changeTags(tags, added, removed)
		if want := value[[]string](t, conn, "select change_tags($1, $2, $3)", tags, added, removed); !slices.Equal(got, want) {
			t.Errorf("%q, added %q, removed %q: %q, and by the database %q", tags, added, removed, got, want)
		}
	}
}

// The statements that change a tag of all tasks may take longer than others, whatever is configured.
func TestChangesOfTagsHaveATimeLimitOfTheirOwn(t *testing.T) {
	t.Parallel()
	p := dbtest.Proxy(t, withUsers(t, "ada"))
	ada := open(t, Config{URL: p.URL, MaxConns: 1, StatementTimeout: 10 * time.Minute}).For("ada")
	for name, want := range map[string]string{"RenameTag": "25000", "DeleteTag": "25000", "DeleteTask": "600000", "CompleteTask": "600000"} {
		id := create(t, ada, "a task").ID
		p.Reset()
		if err := operations[name].call(t.Context(), ada, id); err != nil {
			t.Fatal(err)
		}
		var limits []string
		for _, s := range p.Statements() {
			if strings.Contains(s.SQL, "set_config('statement_timeout', $2, true)") {
				limits = append(limits, string(s.Params[1]))
			}
		}
		if !slices.Equal(limits, []string{want}) {
			t.Errorf("%s has the time limits %q, want %s", name, limits, want)
		}
	}
}

// A rename writes one link of each task that has the tag, and folds only tags of the lengths that differ.
func TestARenameTouchesOnlyTheTagsThatDiffer(t *testing.T) {
	t.Parallel()
	conn := connect(t, withUsers(t, "ada"))
	execute(t, conn, `insert into task (id, user_id, title, tags)
		select i, 'ada', 'x', array['дом', 'работа', 'покупки', 'ещё одна', 'садоводство'] from generate_series(1, 100) as i`)
	execute(t, conn, "create temp table before as select ctid as place, xmin::text as made, folded from task_tag")
	execute(t, conn, "set track_functions = 'all'")
	execute(t, conn, "begin")
	execute(t, conn, "update task set tags = rename_tag(tags, fold_tag('дом'), 'дача')")
	folds := value[int](t, conn, "select coalesce(sum(calls), 0) from pg_stat_xact_user_functions where funcname = 'fold_letters'")
	execute(t, conn, "commit")
	if folds == 0 || folds > 400 { // of 500 tags, rename_tag and record_tags each fold those that differ
		t.Errorf("%d tags were folded", folds)
	}
	const keptSQL = "select count(*) from before join task_tag as link on link.ctid = place and link.xmin::text = made and link.folded = before.folded"
	if kept := value[int](t, conn, keptSQL); kept != 400 {
		t.Errorf("%d links are as they were, want 400", kept)
	}
	if wrong := value[string](t, conn, wrongLinksSQL); wrong != "" {
		t.Errorf("wrong links: %s", wrong)
	}
}

// Tags that differ by case only, as only SQL can store them, have one link: that of the first.
func TestTagsThatDifferByCaseHaveOneLink(t *testing.T) {
	t.Parallel()
	conn := connect(t, withUsers(t, "ada"))
	execute(t, conn, "insert into task (id, user_id, title, tags) values ('1', 'ada', 'x', '{a, A, б}')")
	for _, c := range []struct{ sql, want string }{
		{"update task set title = 'y'", "a б"},
		{"update task set tags = '{A, a, б}'", "A б"},
		{"update task set tags = '{A, б}'", "A б"},
		{"update task set tags = '{Б, A, a}'", "A Б"},
		{"update task set tags = '{Б}'", "Б"},
		{"update task set tags = '{}'", ""},
	} {
		execute(t, conn, c.sql)
		if got := value[string](t, conn, "select coalesce(string_agg(name, ' ' order by name), '') from task_tag"); got != c.want {
			t.Errorf("after %s the links are %q, want %q", c.sql, got, c.want)
		}
	}
}
