package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"docket/internal/dbtest"
	"docket/internal/devdb"
	"docket/migrations"
)

// What this file calls ada is the owner whose rows must stay hers; bob is the one who runs the statements.
const fillSQL = `
insert into task (id, user_id, title, description, priority, completed) values
  ('b1', 'bob', 'a', 'a', 'high', false),
  ('b2', 'bob', 'ba', null, 'medium', true),
  ('a1', 'ada', 'a', 'a', 'high', false),
  ('a2', 'ada', 'ba', null, 'medium', true),
  ('a3', 'ada', 'x', 'a', 'low', false),
  ('a4', 'ada', 'y', 'A', 'low', true);

insert into task_tombstone (user_id, id, rev, deleted_at) values
  ('ada', 'a old', -2, now() - interval '100 days'),
  ('bob', 'b old', -1, now() - interval '100 days'),
  ('ada', 'a new', 9000000000000000, now());

insert into idempotency_key (
  user_id, key, request_hash, kept_at, task_id, title, priority, completed, created_at, updated_at, rev
) values
  ('ada', 'key', '', now(), 'a1', 'a', 'high', false, now(), now(), 1),
  ('ada', 'old', '', now() - interval '2 days', 'a1', 'a', 'high', false, now(), now(), 1),
  ('bob', 'old', '', now() - interval '2 days', 'b1', 'a', 'high', false, now(), now(), 1)`

// Each statement, in each variant that has an owner taken out: when only the statement's filters stand, what is
// another's is seen or changed; when the wall stands, it is not. So each filter is needed, and so is the wall.
func TestEveryOwnerTakenOutIsSeenWithoutTheWallAndHeldByIt(t *testing.T) {
	t.Parallel()
	conn := filled(t)
	revision := value[int64](t, conn, "select rev from task_summary where user_id = $1", "bob")
	known := cases(revision)
	for name, sql := range source(t).statements {
		if examine(sql).accesses > 0 && known[name].args == nil {
			t.Errorf("no case for %s", name)
		}
	}
	for name, c := range known {
		t.Run(name, func(t *testing.T) {
			for _, args := range c.args {
				for _, walled := range []bool{false, true} {
					if leaks(t, conn, c.sql, args, walled) {
						t.Errorf("walled: %t; the statement itself is not confined to its owner, with %v", walled, args)
					}
				}
			}
			all := mutants(c.sql)
			if len(all) == 0 {
				t.Error("no owner to take out")
			}
			for _, m := range all {
				if !slices.ContainsFunc(c.args, func(args []any) bool { return leaks(t, conn, m, args, false) }) {
					t.Errorf("without the wall nothing is seen of it that an owner is missing here:\n%s", m)
				}
				for _, args := range c.args {
					if leaks(t, conn, m, args, true) {
						t.Errorf("the wall does not hold this:\n%s", m)
					}
				}
			}
		})
	}
}

type statementCase struct {
	sql  string
	args [][]any // of several calls, without the owner
}

// cases are the statements with arguments that aim at ada's rows, and at bob's own: some variants show only with one
// of them.
func cases(revision int64) map[string]statementCase {
	none := [][]any{{}}
	var match []int64
	update := func(id string) []any { return []any{id, match, new("new"), true, new("new"), new("low"), new(true)} }
	all := map[string]statementCase{
		"createTaskSQL":       {createTaskSQL, [][]any{{"new", "title", nil, "low", false}}},
		"getTaskSQL":          {getTaskSQL, [][]any{{"a1"}, {"b1"}}},
		"updateTaskSQL":       {updateTaskSQL, [][]any{update("a1"), update("b1")}},
		"completeTaskSQL":     {completeTaskSQL, [][]any{{"a1", match, new(true)}, {"b1", match, nil}}},
		"deleteTaskSQL":       {deleteTaskSQL, [][]any{{"a1", match}, {"b1", match}}},
		"forgetTombstonesSQL": {forgetTombstonesSQL, none},
		"forgetKeysSQL":       {forgetKeysSQL, [][]any{{"a1"}, {"b1"}}},
		"createTaskOnceSQL": {createTaskOnceSQL, [][]any{
			{"new", "title", nil, "low", false, "new"}, {"new", "title", nil, "low", false, "key"},
		}},
		"keepTaskSQL":      {keepTaskSQL, [][]any{{"a1", "new", []byte{1}}, {"b1", "new", []byte{1}}}},
		"keptTaskSQL":      {keptTaskSQL, [][]any{{"key"}, {"old"}}},
		"countTasksSQL":    {countTasksSQL, none},
		"selectSummarySQL": {selectSummarySQL, none},
		"selectTasksSQL":   {selectTasksSQL, none},
	}
	for _, s := range representative() {
		var args [][]any
		for _, unless := range [][]int64{{}, {revision}} {
			args = append(args, listArguments(s, unless))
		}
		all[fmt.Sprintf("list %+v", s)] = statementCase{listTasksSQL[s].text, args}
	}
	return all
}

// representative are some shapes: each state with each filter alone and with all of them, and each order with a cursor.
func representative() (all []shape) {
	for st := range states {
		for _, s := range []shape{{}, {priorities: true}, {search: true}, {priorities: true, search: true}} {
			s.state = st
			all = append(all, s)
		}
	}
	for sort := range sorts {
		for _, ascending := range []bool{false, true} {
			all = append(all, shape{sort: sort, ascending: ascending, cursor: true})
		}
	}
	return all
}

func listArguments(s shape, unless []int64) []any {
	args := []any{unless}
	if s.priorities {
		args = append(args, []string{"low", "medium", "high"})
	}
	if s.search {
		args = append(args, "a")
	}
	if s.cursor {
		args = append(args, cursorBefore(s), "")
	}
	return append(args, 100, 0)
}

// cursorBefore is a key that everything comes after.
func cursorBefore(s shape) any {
	switch {
	case s.sort == SortTitle && s.ascending:
		return ""
	case s.sort == SortTitle:
		return "zzz"
	case s.sort == SortPriority && s.ascending:
		return 0
	case s.sort == SortPriority:
		return 4
	case s.ascending:
		return time.Unix(0, 0)
	}
	return time.Now().Add(time.Hour)
}

// leaks runs a statement as bob, once with ada's rows in the database and once without. It reports whether that makes
// a difference to what bob sees or has afterwards, or whether ada's rows have changed.
func leaks(t *testing.T, conn *pgx.Conn, sql string, args []any, walled bool) bool {
	t.Helper()
	with, touched := run(t, conn, sql, args, walled, true)
	without, made := run(t, conn, sql, args, walled, false)
	return with != without || touched || made
}

const (
	forgetAdaSQL = `
delete from idempotency_key where user_id = 'ada';
delete from task where user_id = 'ada';
delete from task_tombstone where user_id = 'ada';
delete from task_summary where user_id = 'ada'` // also what the deletion of the tasks has just left

	// The owner's rows without what depends on the moment, and without the summary of no task.
	rowsSQL = `
select coalesce(string_agg(j::text, e'\n' order by j::text), '')
from (
  select to_jsonb(t) from task t where user_id = $1
  union all select to_jsonb(t) from task_summary t where user_id = $1 and (select count(*) from task where user_id = $1) > 0
  union all select to_jsonb(t) from task_tombstone t where user_id = $1
  union all select to_jsonb(t) from idempotency_key t where user_id = $1
) as all_rows (r), lateral (select r - array['rev', 'created_at', 'updated_at', 'deleted_at', 'kept_at']) as settled (j)`
)

// run runs a statement in a transaction that it takes back. It tells what bob saw and had after it, and whether ada's
// rows were touched.
func run(t *testing.T, conn *pgx.Conn, sql string, args []any, walled, adaThere bool) (seen string, touched bool) {
	t.Helper()
	ctx := t.Context()
	execute(t, conn, "begin")
	defer execute(t, conn, "rollback")
	var before string // ada's rows are not there, or those that were filled in
	if adaThere {
		before = value[string](t, conn, rowsSQL, "ada")
	} else {
		execute(t, conn, forgetAdaSQL, pgx.QueryExecModeSimpleProtocol)
	}
	if walled {
		execute(t, conn, enterSQL, "bob", "0")
	}
	seen, err := answer(ctx, conn, sql, append([]any{"bob"}, args...))
	if err != nil {
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != "42501" {
			t.Fatalf("%v\n%s", err, sql)
		}
		return pg.Code, false // nothing is left of the transaction
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

// answer is what a statement gives, without what depends on the moment.
func answer(ctx context.Context, conn *pgx.Conn, sql string, args []any) (string, error) {
	rows, err := conn.Query(ctx, sql, append([]any{pgx.QueryExecModeExec}, args...)...)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for rows.Next() {
		for i, field := range rows.FieldDescriptions() {
			if !slices.Contains([]string{"rev", "created_at", "updated_at"}, field.Name) {
				fmt.Fprintf(&b, "%s: %q\n", field.Name, rows.RawValues()[i])
			}
		}
	}
	fmt.Fprintln(&b, rows.CommandTag())
	return b.String(), rows.Err()
}

// logins are the ways in which DATABASE_URL may log in.
var logins = map[string]func(t *testing.T, address string) string{
	"a superuser": func(_ *testing.T, address string) string { return address },
	"who may act as docket_app": func(t *testing.T, address string) string {
		return granted(t, address, "")
	},
	"who may act as docket_app and inherits nothing": func(t *testing.T, address string) string {
		address = granted(t, address, "noinherit")
		return address
	},
	"the tables' owner": func(t *testing.T, address string) string {
		return owning(t, address, "")
	},
	"who bypasses row-level security": func(t *testing.T, address string) string {
		return granted(t, address, "bypassrls")
	},
	"the tables' owner who bypasses row-level security": func(t *testing.T, address string) string {
		return owning(t, address, "bypassrls createrole createdb")
	},
}

func granted(t *testing.T, address, attributes string) string {
	t.Helper()
	role, login := dbtest.Login(t, address, "login", attributes)
	execute(t, connect(t, address), "grant docket_app to "+role)
	return login
}

func owning(t *testing.T, address, attributes string) string {
	t.Helper()
	role, login := dbtest.Login(t, address, "login", attributes)
	conn := connect(t, address)
	execute(t, conn, "grant docket_app to "+role)
	for _, table := range append([]string{versionTable}, ownedTables...) {
		execute(t, conn, "alter table "+table+" owner to "+role)
	}
	return login
}

var queryModes = []QueryMode{QueryModePrepared, QueryModeExec, QueryModeDescribe}

func TestTheWallHoldsWhoeverLogsIn(t *testing.T) {
	t.Parallel()
	for name, login := range logins {
		for _, mode := range queryModes {
			t.Run(name+", "+string(mode), func(t *testing.T) {
				t.Parallel()
				admin := filled(t)
				s := open(t, Config{URL: login(t, admin.Config().ConnString()), QueryMode: mode, MaxConns: 2})
				condition, err := s.Check(t.Context())
				if want := (Condition{SchemaVersion: migrations.Newest(), Walled: true}); err != nil || condition != want {
					t.Errorf("Check: %+v, %v, want %+v", condition, err, want)
				}
				before := value[string](t, admin, rowsSQL, "ada")
				holds(t, s)
				if after := value[string](t, admin, rowsSQL, "ada"); after != before {
					t.Errorf("ada had\n%s\nand has now\n%s", before, after)
				}
				if bobs := value[string](t, admin, rowsSQL, "bob"); bobs != "" {
					t.Errorf("bob could not delete what is his: %s", bobs) // the premise: the statements do something
				}
			})
		}
	}
}

// holds runs statements without a filter, for bob and for nobody.
func holds(t *testing.T, s *Store) {
	t.Helper()
	owners := map[string]string{"task": "bob bob", "task_summary": "bob", "task_tombstone": "bob", "idempotency_key": "bob"}
	inserts := map[string]string{
		"task":           `insert into task (id, user_id, title) values ('new', %s, 'new')`,
		"task_summary":   `insert into task_summary values (%s, 1, 0, 0, 0, 0, 0, 0)`,
		"task_tombstone": `insert into task_tombstone (id, user_id, rev) values ('new', %s, 1)`,
		"idempotency_key": `insert into idempotency_key (user_id, key, request_hash, task_id, title, priority, completed, created_at, updated_at, rev)
			values (%s, 'new', '', 'new', 'new', 'low', false, now(), now(), 1)`,
	}
	for _, table := range ownedTables {
		// Reading.
		all := "select user_id from " + table + " where $1::text is not null"
		if got, err := send(t, s.For("bob"), all); err != nil || got != owners[table] {
			t.Errorf("bob sees the %s of %q, %v", table, got, err)
		}
		if got, err := send(t, s.For("bob"), "select count(*)::text from "+table+" where user_id = 'ada' and $1 = 'bob'"); err != nil || got != "0" {
			t.Errorf("bob counts %s rows of ada's in %s, %v", got, table, err)
		}
		// Writing for another.
		if _, err := send(t, s.For("bob"), fmt.Sprintf(inserts[table], "coalesce('ada', $1)")); !refused(err) {
			t.Errorf("bob inserts into %s for ada: %v", table, err)
		}
		if _, err := send(t, s.For("bob"), "update "+table+" set user_id = coalesce('ada', $1)"); !refused(err) {
			t.Errorf("bob gives %s to ada: %v", table, err)
		}
		// Nobody.
		for _, nobody := range []func(*pgx.Batch){
			func(b *pgx.Batch) { s.enter(b, "") },
			func(b *pgx.Batch) { b.Queue("select set_config('role', 'docket_app', true)").Exec(done) },
		} {
			var seen int
			raw := func(fill func(*pgx.Batch)) error {
				var b pgx.Batch
				fill(&b)
				return s.pool.SendBatch(t.Context(), &b).Close()
			}
			err := raw(func(b *pgx.Batch) {
				nobody(b)
				b.Queue("select count(*) from " + table).QueryRow(func(row pgx.Row) error { return row.Scan(&seen) })
				if table != "task_summary" {
					b.Queue("delete from " + table).Exec(done)
				}
			})
			if err != nil || seen != 0 {
				t.Errorf("nobody sees %d rows of %s, %v", seen, table, err)
			}
			for _, owner := range []string{"'ada'", "'bob'", "''"} {
				err = raw(func(b *pgx.Batch) {
					nobody(b)
					b.Queue(fmt.Sprintf(inserts[table], owner)).Exec(done)
				})
				if !refused(err) {
					t.Errorf("nobody inserts into %s for %s: %v", table, owner, err)
				}
			}
		}
	}
	// An owner that is not there, and the names that mean something to PostgreSQL.
	for _, owner := range []string{"", "null", "%", "ada ", "ADA", "'ada'", "docket_app", "postgres"} {
		if got, err := send(t, s.For(owner), "select user_id from task where $1::text is not null"); err != nil || got != "" {
			t.Errorf("%q sees the tasks of %q, %v", owner, got, err)
		}
	}
	// Changing without a filter.
	const stealSQL = "insert into task (id, user_id, title) values ('a1', $1, 'stolen') on conflict (id) do update set title = 'stolen'"
	if _, err := send(t, s.For("bob"), stealSQL); !refused(err) {
		t.Errorf("bob changes ada's task by inserting it: %v", err)
	}
	const changeSQL = "update task set title = 'changed' where $1::text is not null returning user_id"
	if got, err := send(t, s.For("bob"), changeSQL); err != nil || got != "bob bob" {
		t.Errorf("bob changes the tasks of %q, %v", got, err)
	}
	for _, table := range ownedTables {
		got, err := send(t, s.For("bob"), "delete from "+table+" where $1::text is not null returning user_id")
		if table == "task_summary" { // that the triggers alone write
			if !refused(err) {
				t.Errorf("bob deletes the summaries of %q, %v", got, err)
			}
			continue
		}
		if err != nil || strings.Trim(got, "bo ") != "" || got == "" {
			t.Errorf("bob deletes the %s of %q, %v", table, got, err)
		}
	}
	// The triggers left tombstones of the tasks.
	if got, err := send(t, s.For("bob"), "delete from task_tombstone where $1::text is not null returning user_id"); err != nil || strings.Trim(got, "bo ") != "" {
		t.Errorf("bob deletes the tombstones of %q, %v", got, err)
	}
}

// send sends a statement as the store's own are sent, and gives the first column of what it returns.
func send(t *testing.T, o Owner, sql string, args ...any) (string, error) {
	t.Helper()
	var values []string
	err := o.send(t.Context(), writes, func(b *pgx.Batch) {
		o.queue(b, sql, args...).Query(func(rows pgx.Rows) (err error) {
			values, err = pgx.CollectRows(rows, pgx.RowTo[string])
			return err
		})
	})
	return strings.Join(values, " "), err
}

// refused reports whether row-level security, or a right that is missing, stopped a statement: a fault of ours and no
// state of the database.
func refused(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "42501" && !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrNoRole) &&
		!errors.Is(err, ErrInvalid) && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrOutcomeUnknown)
}

func TestALoginWithoutTheRoleIsToldSoAndSeesNothing(t *testing.T) {
	t.Parallel()
	for name, attributes := range map[string]string{"plain": "", "bypasses row-level security": "bypassrls"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			admin := filled(t)
			_, address := dbtest.Login(t, admin.Config().ConnString(), "login", attributes)
			s := open(t, Config{URL: address})
			_, check := s.Check(t.Context())
			_, list := s.For("bob").ListTasks(t.Context(), ListQuery{Limit: 1})
			_, get := s.For("bob").GetTask(t.Context(), "b1")
			_, create := s.For("bob").CreateTask(t.Context(), NewTask{Title: "x", Priority: "low"})
			_, _, createOnce := s.For("bob").CreateTaskOnce(t.Context(), "key", NewTask{Title: "x", Priority: "low"})
			_, remove := s.For("bob").DeleteTask(t.Context(), "b1")
			for what, err := range map[string]error{
				"Check": check, "ListTasks": list, "GetTask": get, "CreateTask": create, "CreateTaskOnce": createOnce, "DeleteTask": remove,
			} {
				if !errors.Is(err, ErrNoRole) || errors.Is(err, ErrUnavailable) {
					t.Errorf("%s: %v, want ErrNoRole and not ErrUnavailable", what, err)
				}
			}
		})
	}
}

func TestCheckSeesAWallThatDocketAppCanStepAround(t *testing.T) {
	t.Parallel()
	server := dbtest.Server(t) // of its own: the role belongs to all databases of a server
	s := open(t, Config{URL: server.URL("postgres")})
	if c, err := s.Check(t.Context()); !errors.Is(err, ErrNoSchema) {
		t.Errorf("of a new server: %+v, %v, want ErrNoSchema", c, err)
	}
	admin := connect(t, server.URL("postgres"))
	me := value[string](t, admin, "select current_user")
	execute(t, admin, devdb.UserFixtureSQL)
	if err := migrations.Up(t.Context(), server.URL("postgres"), t.Output()); err != nil {
		t.Fatal(err)
	}
	walled := func(want bool, why string) {
		t.Helper()
		if c, err := s.Check(t.Context()); err != nil || c.Walled != want {
			t.Errorf("%s: %+v, %v, want walled: %t", why, c, err, want)
		}
	}
	walled(true, "as migrated")
	around := map[string]string{
		"alter role docket_app bypassrls": "alter role docket_app nobypassrls",
		"alter role docket_app superuser": "alter role docket_app nosuperuser",
	}
	execute(t, admin, "grant create on schema public to docket_app")
	for _, table := range ownedTables {
		around["alter table "+table+" owner to docket_app"] = "alter table " + table + " owner to " + me +
			"; grant select, insert, update, delete on " + table + " to docket_app"
		around["alter table "+table+" disable row level security"] = "alter table " + table + " enable row level security"
	}
	for breach, repair := range around {
		execute(t, admin, breach)
		walled(false, breach)
		execute(t, admin, repair, pgx.QueryExecModeSimpleProtocol)
		walled(true, repair)
	}
}

func TestCheckOfAnOlderSchemaIsNoFailure(t *testing.T) {
	t.Parallel()
	address := dbtest.New(t)
	s := open(t, Config{URL: address})
	for version := migrations.Newest() - 1; version > 1; version-- { // 1 has no wall, and nothing for docket_app
		if err := migrations.Down(t.Context(), address, 1, t.Output()); err != nil {
			t.Fatal(err)
		}
		c, err := s.Check(t.Context())
		if want := (Condition{SchemaVersion: version, Walled: version >= 6}); err != nil || c != want {
			t.Errorf("version %d: %+v, %v, want %+v", version, c, err, want)
		}
	}
}

func TestEveryTableStandsBehindTheWall(t *testing.T) {
	t.Parallel()
	conn := connect(t, dbtest.New(t))
	const tablesSQL = `
select array_agg(relname::text order by relname)
from pg_class
where relnamespace = 'public'::regnamespace
  and relkind in ('r', 'p', 'v', 'm', 'f')
  and relname not in ('user', 'docket_schema_version')`
	tables := value[[]string](t, conn, tablesSQL)
	if known := slices.Sorted(slices.Values(ownedTables)); !slices.Equal(tables, known) {
		t.Errorf("tables %s, known to these tests %s", tables, known)
	}
	const walledTablesSQL = `
select array_agg(relname::text order by relname)
from pg_class
where relnamespace = 'public'::regnamespace
  and relrowsecurity
  and exists (select from pg_attribute where attrelid = pg_class.oid and attname = 'user_id' and attnotnull)
  and (
    select array_agg((polroles = array['docket_app'::regrole::oid]) and polcmd = '*'
      and pg_get_expr(polqual, polrelid) like '%user_id%app.user_id%'
      and pg_get_expr(polqual, polrelid) = pg_get_expr(polwithcheck, polrelid))
    from pg_policy
    where polrelid = pg_class.oid
  ) = array[true]`
	if walled := value[[]string](t, conn, walledTablesSQL); !slices.Equal(tables, walled) {
		t.Errorf("tables %s, with an owner and one policy %s", tables, walled)
	}
	for _, table := range tables {
		if !strings.Contains(walledSQL, "row_security_active(to_regclass('"+table+"'))") {
			t.Errorf("Check does not look at %s", table)
		}
	}
}

// A plan that is kept must not be kept for another owner, nor for another role.
func TestTheWallHoldsWithKeptPlans(t *testing.T) {
	t.Parallel()
	for name, login := range logins {
		for _, plans := range []string{"force_generic_plan", "force_custom_plan", "auto"} {
			t.Run(name+", "+plans, func(t *testing.T) {
				t.Parallel()
				admin := filled(t)
				address := login(t, admin.Config().ConnString()) + "&plan_cache_mode=" + plans
				s := open(t, Config{URL: address, MaxConns: 1, QueryMode: QueryModePrepared})
				const allSQL = "select user_id from task where $1::text is not null"
				for range 8 { // PostgreSQL makes up its mind after five
					for owner, want := range map[string]string{"ada": "ada ada ada ada", "bob": "bob bob", "": "", "eve": ""} {
						if got, err := send(t, s.For(owner), allSQL); err != nil || got != want {
							t.Fatalf("%q sees the tasks of %q, %v", owner, got, err)
						}
						list, err := s.For(owner).ListTasks(t.Context(), ListQuery{Limit: 10})
						if err != nil || len(list.Tasks) != len(strings.Fields(want)) || list.Total != int64(len(list.Tasks)) {
							t.Fatalf("%q lists %+v, %v", owner, list, err)
						}
					}
				}
			})
		}
	}
}

func TestAPlanMadeForASuperuserIsNotKeptForTheRole(t *testing.T) {
	t.Parallel()
	conn := filled(t)
	execute(t, conn, "set plan_cache_mode = force_generic_plan")
	execute(t, conn, "prepare all_tasks as select string_agg(user_id, ' ' order by user_id) from task")
	for range 3 {
		if got := value[string](t, conn, "execute all_tasks", pgx.QueryExecModeSimpleProtocol); got != "ada ada ada ada bob bob" {
			t.Fatalf("the superuser sees the tasks of %q", got)
		}
		execute(t, conn, "begin")
		execute(t, conn, enterSQL, "bob", "0")
		if got := value[string](t, conn, "execute all_tasks", pgx.QueryExecModeSimpleProtocol); got != "bob bob" {
			t.Fatalf("bob sees the tasks of %q", got)
		}
		execute(t, conn, "rollback")
	}
}

func TestAnOwnerNeverLeaksToTheNextUseOfAConnection(t *testing.T) {
	t.Parallel()
	for _, mode := range queryModes {
		t.Run("direct, "+string(mode), func(t *testing.T) {
			t.Parallel()
			address := dbtest.New(t)
			interleave(t, address, Config{URL: address, QueryMode: mode})
		})
	}
	for _, mode := range []QueryMode{QueryModeExec, QueryModeDescribe} {
		t.Run("through PgBouncer, "+string(mode), func(t *testing.T) {
			t.Parallel()
			address := dbtest.New(t)
			interleave(t, address, Config{URL: dbtest.Pooler(t, address), QueryMode: mode})
		})
	}
}

// interleave has a thousand owners work over two connections. About a third of them change their minds half-way.
func interleave(t *testing.T, direct string, c Config) {
	t.Helper()
	admin := connect(t, direct)
	var owners []string
	for i := range 1000 {
		owners = append(owners, fmt.Sprintf("owner-%d", i))
	}
	dbtest.AddUser(t, direct, owners...)
	execute(t, admin, `insert into task (id, user_id, title) select id, id, id from "user"`)
	c.MaxConns = 2
	s := open(t, c)

	rand.Shuffle(len(owners), func(i, j int) { owners[i], owners[j] = owners[j], owners[i] })
	next := make(chan string)
	var cancelled, finished, taken atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for owner := range next {
				ctx, cancel := context.WithCancel(t.Context())
				impatient, start := rand.N(3) > 0, time.Now()
				if impatient { // at any moment of twice what a request takes: every second one comes through
					time.AfterFunc(rand.N(1+time.Duration(2*taken.Load()/max(finished.Load(), 1))), cancel)
				}
				switch err := work(ctx, s, owner, owners[rand.N(len(owners))]); {
				case err == nil:
					taken.Add(int64(time.Since(start)))
					finished.Add(1)
				case errors.Is(err, errLeak), !impatient:
					t.Errorf("%s: %v", owner, err)
				default:
					cancelled.Add(1)
				}
				cancel()
			}
		})
	}
	for _, owner := range owners {
		next <- owner
	}
	close(next)
	wg.Wait()
	inFlight := cancelled.Load() - s.pool.Stat().CanceledAcquireCount()
	t.Logf("%d finished, %d cancelled, %d of them with a connection", finished.Load(), cancelled.Load(), inFlight)
	if inFlight == 0 {
		t.Error("no request was cancelled on its way")
	}
	if got := value[int](t, admin, "select count(*) from task where title <> user_id"); got != 0 {
		t.Errorf("%d tasks were written for another owner", got)
	}

	// Nothing is left behind on the connections, which are still those that were used.
	for range 2 {
		conn, err := s.pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Release()
		const leftSQL = `
select current_setting('role'), coalesce(current_setting('app.user_id', true), ''),
       current_user = session_user, current_setting('statement_timeout')`
		var role, owner, timeout string
		var self bool
		if err := conn.QueryRow(t.Context(), leftSQL).Scan(&role, &owner, &self, &timeout); err != nil {
			t.Fatal(err)
		}
		if role != "none" || owner != "" || !self || timeout != "0" {
			t.Errorf("left on a connection: role %s, owner %q, timeout %s", role, owner, timeout)
		}
	}
}

var errLeak = errors.New("another's rows")

// work is what an owner may do in one request. It reads without a filter, too: then there is only the wall.
func work(ctx context.Context, s *Store, owner, other string) error {
	o := s.For(owner)
	mine := func(tasks ...Task) error {
		for _, task := range tasks {
			if task.UserID != owner || task.Title != owner {
				return fmt.Errorf("%w: %+v", errLeak, task)
			}
		}
		return nil
	}
	switch rand.N(5) {
	case 0:
		var users []string
		err := o.send(ctx, reads, func(b *pgx.Batch) {
			o.queue(b, "select user_id from task where $1::text is not null").Query(func(rows pgx.Rows) (err error) {
				users, err = pgx.CollectRows(rows, pgx.RowTo[string])
				return err
			})
		})
		if err == nil && (len(users) == 0 || slices.ContainsFunc(users, func(user string) bool { return user != owner })) {
			return fmt.Errorf("%w: %s", errLeak, users)
		}
		return err
	case 1:
		list, err := o.ListTasks(ctx, ListQuery{Limit: 100})
		if err == nil && (len(list.Tasks) == 0 || list.Total != int64(len(list.Tasks))) {
			return fmt.Errorf("%w: %+v", errLeak, list)
		}
		return errors.Join(err, mine(list.Tasks...))
	case 2:
		task, err := o.CreateTask(ctx, NewTask{Title: owner, Priority: "low"})
		if err != nil {
			return err
		}
		return mine(task)
	case 3:
		task, err := o.UpdateTask(ctx, owner, TaskChanges{Priority: new("high")})
		if err != nil {
			return err
		}
		return mine(task)
	}
	task, err := o.GetTask(ctx, other)
	switch {
	case owner != other && err == nil:
		return fmt.Errorf("%w: %+v", errLeak, task)
	case owner != other && errors.Is(err, ErrNotFound):
		return nil
	}
	return err
}

// filled is a connection of the superuser to a database with rows of ada and bob.
func filled(t *testing.T) *pgx.Conn {
	t.Helper()
	address := dbtest.New(t)
	dbtest.AddUser(t, address, "ada", "bob")
	conn := connect(t, address)
	execute(t, conn, fillSQL, pgx.QueryExecModeSimpleProtocol)
	return conn
}

func open(t *testing.T, c Config) *Store {
	t.Helper()
	s, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func connect(t *testing.T, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) }) // t.Context has ended
	return conn
}

func execute(t *testing.T, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func value[T any](t *testing.T, conn *pgx.Conn, sql string, args ...any) (v T) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}
