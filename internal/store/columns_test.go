package store

import (
	"reflect"
	"slices"
	"testing"

	"docket/internal/dbtest"
)

func TestTasksHaveEveryColumnOfTheirTable(t *testing.T) {
	t.Parallel()
	columns := value[[]string](t, connect(t, dbtest.New(t)), `
select array_agg(attname::text order by attname)
from pg_attribute
where attrelid = 'task'::regclass and attnum > 0 and not attisdropped and attgenerated = ''`)
	if names := slices.Sorted(slices.Values(append(slices.Clone(taskColumns.names), "user_id", "due_order"))); !slices.Equal(names, columns) {
		t.Errorf("the table has %s, the struct has %s", columns, names)
	}
}

// A field that is missing from TaskChanges could be set at creation but never changed.
func TestEveryFieldOfATaskCanBeChanged(t *testing.T) {
	t.Parallel()
	scheduled := []string{"due_date", "due_time", "time_zone", "due_at", "recurrence_rule", "recurrence_mode"} // see Schedule
	if names := append(slices.Clone(changedColumns.names), scheduled...); !slices.Equal(names, newTaskColumns.names) {
		t.Errorf("columns to create %s, to change %s", newTaskColumns.names, names)
	}
}

type part struct {
	B int     `db:"b"`
	C *string `db:"c"`
}

type whole struct {
	A string `db:"a"`
	part
	None bool
	D    bool `db:"d"`
}

func TestColumnsOfAStruct(t *testing.T) {
	t.Parallel()
	c := columnsOf[whole]()
	if c.list() != "a, b, c, d" || c.parameters(3) != "$3, $4, $5, $6" {
		t.Errorf("columns %s, parameters %s", c.list(), c.parameters(3))
	}
	w := whole{A: "x", part: part{B: 1, C: new("y")}, D: true}
	if got := c.values(w); !reflect.DeepEqual(got, []any{"x", 1, w.C, true}) {
		t.Errorf("values %v", got)
	}
	if got := c.pointers(&w); !reflect.DeepEqual(got, []any{&w.A, &w.B, &w.C, &w.D}) || got[1] != any(&w.B) {
		t.Errorf("pointers %v", got)
	}
}

func TestColumnsOfChanges(t *testing.T) {
	t.Parallel()
	type changes struct {
		C Optional[*string]
		A Optional[string]
	}
	c := changesOf[changes, whole]()
	const want = "c = case when $4 then $5 else c end,\n    a = case when $6 then $7 else a end"
	if got := c.assignments(4); got != want {
		t.Errorf("assignments %s", got)
	}
	if got := c.arguments(changes{A: Set("x")}); !reflect.DeepEqual(got, []any{false, (*string)(nil), true, "x"}) {
		t.Errorf("arguments %v", got)
	}
	for name, wrong := range map[string]func(){
		"another type":  func() { changesOf[struct{ A Optional[int] }, whole]() },
		"another name":  func() { changesOf[struct{ E Optional[bool] }, whole]() },
		"no Optional":   func() { changesOf[struct{ A string }, whole]() },
		"not stored":    func() { changesOf[struct{ None Optional[bool] }, whole]() },
		"a value alone": func() { changesOf[struct{ B struct{ value int } }, whole]() },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s did not panic", name)
				}
			}()
			wrong()
		}()
	}
}
