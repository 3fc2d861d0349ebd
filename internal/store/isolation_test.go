package store

import (
	"context"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"docket/internal/due"
	"docket/internal/postgres"
)

func TestOwnersAndStoresCannotBeMadeOrChangedByOthers(t *testing.T) {
	t.Parallel()
	for _, typ := range []reflect.Type{reflect.TypeFor[Owner](), reflect.TypeFor[Store]()} {
		for field := range typ.Fields() {
			if field.IsExported() || field.Anonymous {
				t.Errorf("%s.%s can be reached from outside", typ, field.Name)
			}
		}
	}
}

// Only package postgres sends statements, because it binds the owner.
func TestTheStoreDoesNotUsePgx(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range file.Imports {
			if path, _ := strconv.Unquote(i.Path.Value); !strings.HasSuffix(name, "_test.go") &&
				(strings.HasPrefix(path, "github.com/jackc/") || path == "database/sql" || path == "unsafe") {
				t.Errorf("%s imports %s", name, path)
			}
		}
	}
}

func TestForIsTheOnlyWayToRows(t *testing.T) {
	t.Parallel()
	for method := range reflect.TypeFor[*Store]().Methods() {
		switch signature := method.Type.String(); {
		case method.Name == "For":
		case strings.Contains(signature, "store.Owner"), strings.Contains(signature, "store.T"), strings.Contains(signature, "pgx"), strings.Contains(signature, "postgres.DB"), strings.Contains(signature, "postgres.Tx"):
			t.Errorf("Store.%s is %s", method.Name, signature)
		}
	}
}

// fillSQL inserts rows of ada, which no statement may read or change, and of bob, who runs the statements.
const fillSQL = `
insert into task (id, user_id, title, description, priority, completed, tags) values
  ('b1', 'bob', 'a', 'a', 'high', false, '{low, medium, high}'),
  ('b2', 'bob', 'ba', null, 'medium', true, '{}'),
  ('b3', 'bob', 'ba', null, 'medium', true, '{low, medium, high}'),
  ('b4', 'bob', 'ba', null, 'medium', false, '{}'),
  ('a1', 'ada', 'a', 'a', 'high', false, '{low, medium, high}'),
  ('a2', 'ada', 'ba', null, 'medium', true, '{low, medium, high}'),
  ('a3', 'ada', 'x', 'a', 'low', false, '{low}'),
  ('a4', 'ada', 'y', 'A', 'low', true, '{}');

-- Rows that no trigger makes, so that each filter by itself keeps the owners apart.
set session_replication_role = replica;
insert into task_tag (user_id, folded, task_id, name) values
  ('ada', 'low', 'b2', 'low'), ('ada', 'medium', 'b2', 'medium'), ('ada', 'high', 'b2', 'high'),
  ('ada', 'low', 'b4', 'low'), ('ada', 'medium', 'b4', 'medium'), ('ada', 'high', 'b4', 'high'),
  ('bob', 'low', 'a1', 'low'), ('bob', 'medium', 'a1', 'medium'), ('bob', 'high', 'a1', 'high'),
  ('bob', 'low', 'a2', 'low'), ('bob', 'medium', 'a2', 'medium'), ('bob', 'high', 'a2', 'high');
set session_replication_role = default;

update task set due_date = '2026-03-09' where id in ('a1', 'b1');
insert into task (id, user_id, title, due_date, recurrence_rule) values ('a5', 'ada', 'z', '2026-03-09', 'FREQ=DAILY');

insert into tombstone (user_id, resource, id, rev, deleted_at) values
  ('ada', 'task', 'a old', -2, now() - interval '100 days'),
  ('bob', 'task', 'b old', -1, now() - interval '100 days'),
  ('ada', 'task', 'a new', 9000000000000000, now());

insert into idempotency_key (user_id, key, request_hash, created_at, resource, response) values
  ('ada', 'key', '', now(), 'task', '{"id": "a1"}'),
  ('ada', 'old', '', now() - interval '2 days', 'task', '{"id": "a1"}'),
  ('bob', 'old', '', now() - interval '2 days', 'task', '{"id": "b1"}')`

// assumeRoleSQL begins every transaction of package postgres.
const assumeRoleSQL = "select set_config('role', 'docket_app', true), set_config('app.user_id', $1, true)"

// Each statement is run in every variant that lacks one of its owner filters. Without row-level security, each variant
// reads or changes another owner's rows, so every filter is needed. With row-level security none does, so it confines
// the statements by itself.
func TestEachFilterAndRowSecurityIsolateByThemselves(t *testing.T) {
	t.Parallel()
	address := withUsers(t, "ada", "bob")
	conn := connect(t, address)
	execute(t, conn, fillSQL, pgx.QueryExecModeSimpleProtocol)
	revisionOf := func(id string) int64 { return value[int64](t, conn, "select rev from task where id = $1", id) }
	known := statementCases(value[int64](t, conn, "select rev from task_summary where user_id = 'bob'"), revisionOf("b1"), revisionOf("a1"))
	lists := map[string]bool{}
	for _, list := range listTasksSQL {
		lists[list.String()] = true
	}
	for _, sql := range postgres.Declared() {
		if examine(sql).accesses > 0 && !lists[sql] && known[sql] == nil {
			t.Errorf("no case for %s", sql)
		}
	}
	for sql, calls := range known {
		for _, args := range calls {
			for _, secured := range []bool{false, true} {
				if leaks(t, conn, sql, args, secured) {
					t.Errorf("row-level security: %t; the statement itself is not confined to its owner, with %v:\n%s", secured, args, sql)
				}
			}
		}
		all := mutants(sql)
		if len(all) == 0 {
			t.Errorf("no owner filter to remove from\n%s", sql)
		}
		for _, m := range all {
			harmless := strings.Count(m, collatedSQL) < strings.Count(sql, collatedSQL)
			if !harmless && !slices.ContainsFunc(calls, func(args []any) bool { return leaks(t, conn, m, args, false) }) {
				t.Errorf("without row-level security, removing this filter makes no difference:\n%s", m)
			}
			for _, args := range calls {
				if leaks(t, conn, m, args, true) {
					t.Errorf("row-level security does not confine this:\n%s", m)
				}
			}
		}
	}
}

// collatedSQL reads an empty text of any row, for its collation: without its filter it tells nothing of another owner.
const collatedSQL = `
    select left(search_text, 0) as none
    from task
    where user_id = $1
    limit 1
`

// statementCases returns, for each statement, the arguments of several calls, without the owner. They refer to ada's
// rows and to bob's own, because some variants leak only with one of the two.
func statementCases(bobsRevision, b1, a1 int64) map[string][][]any {
	var match []int64
	update := func(id string) []any {
		c := TaskChanges{Title: Set("new"), Description: Set(new("new")), Priority: Set("low"), Completed: Set(true), Tags: Set([]string{"new"})}
		return append([]any{id, match}, c.arguments()...)
	}
	updateOrGet := func(id string) []any {
		args := update(id)
		return slices.Insert(args, 2, any(true))
	}
	planned := plannedColumns.values(plannedFields{TaskFields: NewTask{Title: "planned", Priority: "low", RecurrenceMode: "skip_missed", Tags: []string{"new"}}})
	monday := new(due.DateOf(2026, 3, 9))
	occurrences := [][]any{
		append([]any{"b1", b1, "new", nil}, planned...),
		append([]any{"a1", a1, "new", nil}, planned...),
		append([]any{"b1", b1, "new", "a2"}, planned...),
	}
	writes := [][]any{
		append([]any{"b1", b1, nil, nil, nil, "x"}, planned...),
		append([]any{"a1", a1, nil, nil, nil, "x"}, planned...),
		append([]any{"b1", b1, "a2", nil, nil, "x"}, planned...),
		append([]any{"b1", b1, nil, "a5", monday, "x"}, planned...),
	}
	values := newTaskColumns.values(NewTask{Title: "title", Priority: "low", RecurrenceMode: "skip_missed", Tags: []string{"new"}})
	all := map[string][][]any{
		createTaskSQL.String():         {append([]any{"new", ""}, values...)},
		copyTaskSQL.String():           {{"new", "a1"}, {"new", "b1"}},
		getTaskSQL.String():            {{"a1"}, {"b1"}},
		getStatsSQL.String():           {{}},
		listTagsSQL.String():           {{[]int64{}, 100, ""}, {[]int64{bobsRevision}, 100, ""}},
		renameTagSQL.String():          {{"low", "new"}},
		deleteTagSQL.String():          {{"low"}},
		updateTaskSQL.String():         {update("a1"), update("b1")},
		completeTaskSQL.String():       {{"a1", match, new(true)}, {"b1", match, nil}},
		lockOwnerSQL.String():          {{"a1"}, {"b1"}},
		updateOrGetTaskSQL.String():    {updateOrGet("a1"), updateOrGet("b1")},
		createOccurrenceSQL.String():   occurrences,
		takeOccurrenceSQL.String():     {{"b1", b1, "b2"}, {"b1", b1, "a2"}, {"a1", a1, "b2"}},
		writeTaskSQL.String():          writes,
		deleteTaskSQL.String():         {{"a1", match}, {"b1", match}},
		purgeTombstonesSQL.String():    {{}},
		createTaskOnce.create.String(): {append([]any{"new", "new", ""}, values...), append([]any{"new", "key", ""}, values...)},
		createTaskOnce.forget.String(): {{"a1"}, {"b1"}},
		createTaskOnce.keep.String():   {{"a1", "new", []byte{1}}, {"b1", "new", []byte{1}}},
		keptSQL.String():               {{"key"}, {"old"}},
	}
	// Lists: each state with and without filters, and each order with a cursor.
	for shape, list := range listTasksSQL {
		if shape.cursor == (shape.sort == SortCreated && !shape.ascending) || shape.cursor && (shape.filtered || shape.state != anyState) {
			continue
		}
		for _, unless := range [][]int64{{}, {bobsRevision}} {
			for _, filters := range filterArguments(shape) {
				args := []any{unless, 100, 0}
				if shape.cursor {
					args = append(args, keyBeforeAll(shape), "")
				}
				all[list.String()] = append(all[list.String()], append(args, filters...))
			}
		}
	}
	return all
}

// filterArguments returns the parameters of a filtered list: one set for each filter, and one without a value for any.
func filterArguments(shape taskShape) [][]any {
	all := [][]any{{}}
	if shape.filtered {
		for i := range len(taskFilters) + 1 {
			args := make([]any, len(taskFilters))
			if i < len(args) {
				args[i] = sampleOf(taskFilters[i])
			}
			all = append(all, args)
		}
		all = all[1:]
	}
	return all
}

// sampleOf returns a value that matches some tasks of every owner.
func sampleOf(f filter) any {
	if date, ok := map[string]string{"due_after": "1970-01-01", "due_before": "9999-12-31"}[f.name]; ok {
		return []string{date}
	}
	return map[string]any{"text": "a", "text[]": []string{"low", "medium", "high"}, "boolean": true}[f.typ]
}

// keyBeforeAll returns a sort key that precedes those of all tasks.
func keyBeforeAll(shape taskShape) string {
	typ := taskSorts[slices.IndexFunc(taskSorts, func(s sort) bool { return s.name == shape.sort })].typ
	return map[string][2]string{
		"timestamptz": {"9999-01-01Z", "1970-01-01Z"}, "text": {"zzz", ""}, "integer": {"2147483647", "-2147483648"},
		"timestamp": {"infinity", "-infinity"},
	}[typ][map[bool]int{true: 1}[shape.ascending]]
}

// leaks runs a statement as bob, once with ada's rows in the database and once without. It reports whether ada's rows
// affect what bob reads or has afterwards, or whether the statement changed them.
func leaks(t *testing.T, conn *pgx.Conn, sql string, args []any, secured bool) bool {
	t.Helper()
	with, touched := runAsBob(t, conn, sql, args, secured, true)
	without, made := runAsBob(t, conn, sql, args, secured, false)
	return with != without || touched || made
}

const (
	deleteAdaSQL = `
delete from idempotency_key where user_id = 'ada';
delete from task_tag where user_id = 'ada';
delete from task where user_id = 'ada';
delete from tombstone where user_id = 'ada';
delete from task_summary where user_id = 'ada'` // also the tombstones that the deletion has just left

	// rowsSQL selects an owner's rows, without values that depend on the time and without a summary of zero tasks.
	rowsSQL = `
select coalesce(string_agg(j::text, e'\n' order by j::text), '')
from (
  select to_jsonb(t) from task t where user_id = $1
  union all select to_jsonb(t) from task_summary t where user_id = $1 and (select count(*) from task where user_id = $1) > 0
  union all select to_jsonb(t) from task_tag t where user_id = $1
  union all select to_jsonb(t) from tombstone t where user_id = $1
  union all select to_jsonb(t) - 'response' from idempotency_key t where user_id = $1
  union all select response from idempotency_key t where user_id = $1
) as all_rows (r), lateral (select r - array['rev', 'completed_at', 'created_at', 'updated_at', 'deleted_at']) as constant (j)`
)

// runAsBob runs a statement in a transaction that it rolls back. It returns the rows that bob read and those he had
// afterwards, and whether ada's rows were changed.
func runAsBob(t *testing.T, conn *pgx.Conn, sql string, args []any, secured, adaThere bool) (seen string, touched bool) {
	t.Helper()
	ctx := t.Context()
	execute(t, conn, "begin")
	defer execute(t, conn, "rollback")
	var before string // ada's rows, if they are there
	if adaThere {
		before = value[string](t, conn, rowsSQL, "ada")
	} else {
		execute(t, conn, deleteAdaSQL, pgx.QueryExecModeSimpleProtocol)
	}
	if secured {
		execute(t, conn, assumeRoleSQL, "bob")
	}
	seen, err := answer(ctx, conn, sql, append([]any{"bob"}, args...))
	if err != nil {
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != "42501" {
			t.Fatalf("%v\n%s", err, sql)
		}
		return pg.Code, false // the transaction was aborted
	}
	var adas, bobs string
	var b pgx.Batch
	b.Queue("select set_config('role', 'none', true)")
	b.Queue(rowsSQL, "ada").QueryRow(func(row pgx.Row) error { return row.Scan(&adas) })
	b.Queue(rowsSQL, "bob").QueryRow(func(row pgx.Row) error { return row.Scan(&bobs) })
	if err := conn.SendBatch(ctx, &b).Close(); err != nil {
		t.Fatal(err)
	}
	return seen + bobs, adas != before
}

// answer returns the result of a statement, without values that depend on the time.
func answer(ctx context.Context, conn *pgx.Conn, sql string, args []any) (string, error) {
	rows, err := conn.Query(ctx, sql, append([]any{pgx.QueryExecModeExec}, args...)...)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for rows.Next() { //nolint:forbidigo // the raw values are wanted
		for i, field := range rows.FieldDescriptions() {
			if !slices.Contains([]string{"rev", "completed_at", "created_at", "updated_at"}, field.Name) {
				fmt.Fprintf(&b, "%s: %q\n", field.Name, rows.RawValues()[i])
			}
		}
	}
	fmt.Fprintln(&b, rows.CommandTag())
	return b.String(), rows.Err()
}
