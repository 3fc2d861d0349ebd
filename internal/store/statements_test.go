package store

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	pgquery "github.com/wasilibs/go-pgquery/parser"

	"docket/internal/postgres"
)

func TestEveryStatementIsBoundToItsOwner(t *testing.T) {
	t.Parallel()
	operator := map[string]bool{conditionSQL.String(): true}
	for _, sql := range postgres.Declared() {
		c := examine(sql)
		for _, fault := range c.faults {
			t.Errorf("%s\n%s", fault, sql)
		}
		if operator[sql] != (c.accesses == 0) {
			t.Errorf("accesses of owners' tables: %d, a statement for operators: %t\n%s", c.accesses, operator[sql], sql)
		}
	}
	if n := len(listTasksSQL); len(postgres.Declared()) < n+10 || n != len(taskSorts)*3*8 {
		t.Errorf("%d statements are declared, %d of lists", len(postgres.Declared()), n)
	}
}

// A connection keeps 256 statements prepared, and PgBouncer 200.
func TestStatementsAreFewEnoughToStayPrepared(t *testing.T) {
	t.Parallel()
	if n := len(postgres.Declared()); n > 190 {
		t.Errorf("%d statements are declared", n)
	}
}

func TestStatementsOfOneOwnerPass(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sql      string
		accesses int
	}{
		"no table":      {"select $1::text, now()", 0},
		"version":       {"select version from docket_schema_version", 0},
		"select":        {"select id from task\nwhere user_id = $1", 1},
		"more filters":  {"select id from task\nwhere user_id = $1\n  and id = $2\n  and (completed or title = $3)", 1},
		"the limit":     {"select set_config('app.max_tasks', $2, true)", 0},
		"later":         {"select id from task where id = $2\nand user_id = $1", 1},
		"parentheses":   {"select id from task where (id = $2 and (true and (\nuser_id = $1\n)))", 1},
		"alias":         {"select t.id from task as t\nwhere t.user_id = $1", 1},
		"alias unsaid":  {"select t.id from task as t\nwhere user_id = $1", 1},
		"quoted":        {"select id from \"task\"\nwhere user_id = $1", 1},
		"locked":        {"select id from task\nwhere user_id = $1\nfor update skip locked", 1},
		"sample":        {"select id from task tablesample system (1)\nwhere user_id = $1", 1},
		"update":        {"update task set title = $2\nwhere user_id = $1\nand id = $3 returning id", 1},
		"update alias":  {"update task as t set title = $2\nwhere t.user_id = $1\nreturning t.id", 1},
		"delete":        {"delete from task\nwhere user_id = $1\nreturning *", 1},
		"insert":        {"insert into task (id, user_id) values ($2, $1) returning id", 1},
		"insert rows":   {"insert into task (id, user_id) values ($2, $1), ($3, $1::text)", 1},
		"insert select": {"insert into task (user_id, id) select $1::text, id from tombstone\nwhere user_id = $1", 2},
		"insert union": {
			"insert into task (user_id, id) select $1, 'a' union all select $1, id from tombstone\nwhere user_id = $1", 2,
		},
		"insert or not": {"insert into task (user_id, id) values ($1, $2) on conflict do nothing", 1},
		"insert or update": {
			"insert into task as t (user_id, id) values ($1, $2) on conflict (id) do update set title = excluded.title\n" +
				"where t.user_id = $1", 1,
		},
		"join": {
			"select a.id from task a join tombstone b on a.id = b.id\nwhere a.user_id = $1\nand b.user_id = $1", 2,
		},
		"comma": {
			"select a.id from task a, tombstone\nwhere a.user_id = $1\nand tombstone.user_id = $1", 2,
		},
		"update from": {
			"update task a set title = b.id from tombstone b\nwhere a.user_id = $1\nand b.user_id = $1", 2,
		},
		"delete using": {
			"delete from task a using tombstone b\nwhere a.user_id = $1\nand b.user_id = $1", 2,
		},
		"union":    {"select id from task\nwhere user_id = $1\nunion select id from tombstone\nwhere user_id = $1", 2},
		"subquery": {"select (select max(rev) from task\nwhere user_id = $1\n)", 1},
		"lateral": {
			"select a.id, b.id from task a, lateral (select id from tombstone\nwhere user_id = $1\nand id = a.id) b\n" +
				"where a.user_id = $1", 2,
		},
		"cte": {
			"with mine as (select id from task\nwhere user_id = $1\n), few as (select id from mine) select * from few, mine", 1,
		},
		"changing cte": {
			"with gone as (delete from task\nwhere user_id = $1\nreturning id) select count(*) from gone", 1,
		},
		"exists": {
			"delete from task\nwhere user_id = $1\nand exists (select from idempotency_key k\nwhere k.user_id = $1\n)", 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := examine(c.sql)
			if len(got.faults) > 0 {
				t.Errorf("refused: %q\n%s", got.faults, c.sql)
			}
			if got.accesses != c.accesses {
				t.Errorf("%d accesses seen, want %d\n%s", got.accesses, c.accesses, c.sql)
			}
		})
	}
}

func TestStatementsOfOthersAreRefused(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		// No filter, or a condition that filters nothing.
		"missing":               "select id from task",
		"missing with a filter": "select id from task\nwhere id = $2",
		"table":                 "table task",
		"only":                  "select id from only task",
		"limit":                 "select id from task limit 1",
		"limit to one's own":    "select id from task limit (select count(*) from task\nwhere user_id = $1\n)",
		"having":                "select user_id from task group by user_id having user_id = $1",
		"order by":              "select id from task order by user_id = $1",
		"aggregate filter":      "select count(*) filter (\nwhere user_id = $1\n) from task",
		"in the list":           "select id, user_id = $1 from task",
		"case":                  "select id from task where case when user_id = $1 then true else true end",
		"case of case":          "select id from task where case when user_id = $1 then id = $2 else true end",
		"coalesce":              "select id from task where coalesce(user_id = $1, true)",
		"or true":               "select id from task\nwhere user_id = $1\nor true",
		"true or":               "select id from task where true or\nuser_id = $1",
		"or another":            "select id from task\nwhere user_id = $1\nor id = $2",
		"or in parentheses":     "select id from task where (\nuser_id = $1\nor completed) and id = $2",
		"and binds tighter":     "select id from task\nwhere user_id = $1\nand id = $2 or completed",
		"not":                   "select id from task where not (user_id = $1)",
		"not not":               "select id from task where not (not (user_id = $1))",
		"is true":               "select id from task where (user_id = $1) is true",
		"is not unknown":        "select id from task where (user_id = $1) is not unknown",
		"is not null":           "select id from task where (user_id = $1) is not null",
		"equals false":          "select id from task where (user_id = $1) = false",
		"other than":            "select id from task where user_id <> $1",
		"at least":              "select id from task where user_id >= $1",
		"like":                  "select id from task where user_id like $1",
		"ilike":                 "select id from task where user_id ilike $1",
		"in":                    "select id from task where user_id in ($1, $2)",
		"any":                   "select id from task where user_id = any($1)",
		"between":               "select id from task where user_id between $1 and $1",
		"distinct":              "select id from task where user_id is distinct from $1",
		"nullif":                "select id from task where nullif(user_id, $1) is null",
		"another's operator":    "select id from task where user_id operator(pg_temp.=) $1",
		"another parameter":     "select id from task\nwhere user_id = $2",
		"a constant":            "select id from task where user_id = 'ada'",
		"the parameter itself":  "select id from task where $1 = $1",
		"the column itself":     "select id from task where user_id = user_id",
		"another column":        "select id from task where id = $1",
		"quoted column":         "select id from task where \"USER_ID\" = $1",
		"shortened":             "select id from task where user_id = $1::varchar(1)",
		"cut off":               "select id from task where user_id::varchar(1) = $1",
		"computed":              "select id from task where user_id = $1 || ''",
		"lowered":               "select id from task where lower(user_id) = $1",
		"a row":                 "select id from task where (user_id, id) = ($1, $2)",
		"line comment":          "select id from task --\n--\nwhere user_id = $1\n",
		"hidden by a line":      "select id from task -- where user_id = $1",
		"hidden by a block":     "select id from task /*\nwhere user_id = $1\n*/",
		"hidden in a text":      "select '\nwhere user_id = $1\n' from task",
		"hidden in a name":      "select id as \"\nwhere user_id = $1\n\" from task",

		// A filter of another level.
		"subquery in the list":   "select (select max(rev) from task)",
		"subquery beside":        "select (select max(rev) from tombstone) from task\nwhere user_id = $1",
		"subquery in from":       "select id from (select id, user_id from task) t\nwhere user_id = $1",
		"subquery in where":      "select id from task\nwhere user_id = $1\nand id in (select id from tombstone)",
		"filter in the subquery": "select id from task where id in (select id from tombstone\nwhere user_id = $1\n)",
		"exists outside":         "select id from task where exists (select from task\nwhere user_id = $1\n)",
		"array":                  "select array(select id from task)",
		"any of a subquery":      "select id from task\nwhere user_id = $1\nand id = any(select id from tombstone)",
		"in order by":            "select id from task\nwhere user_id = $1\norder by (select max(id) from tombstone)",
		"in limit":               "select id from task\nwhere user_id = $1\nlimit (select count(*) from tombstone)",
		"in having":              "select count(*) from task\nwhere user_id = $1\nhaving (select count(*) from tombstone) > 0",
		"in a function":          "select max(coalesce((select max(rev) from task), 0))",
		"in a function of from":  "select * from lower((select max(id) from task)) as l",
		"in rows from":           "select * from rows from (lower((select max(id) from task))) as l",
		"in values":              "values ((select max(id) from task))",
		"in a sample":            "select id from task tablesample system ((select max(rev) from tombstone))\nwhere user_id = $1",
		"in a window":            "select count(*) over (order by (select max(id) from tombstone)) from task\nwhere user_id = $1",
		"in join's condition": "select 1 from docket_schema_version a join docket_schema_version b " +
			"on exists (select from task)",
		"cte":                   "with all_of_them as (select * from task) select * from all_of_them\nwhere user_id = $1",
		"unused cte":            "with gone as (delete from task) select id from task\nwhere user_id = $1",
		"cte that is a table":   "with task as (select * from task) select * from task",
		"cte after its use":     "with a as (select * from tombstone), tombstone as (select 1) select * from a",
		"cte of another level":  "select * from (with task as (select 1) select * from task) t, task",
		"alias of a cte's name": "with t as (select 1) select t.id from task t",
		"target is no cte":      "with task as (select 1) delete from task",
		"qualified is no cte":   "with task as (select 1) select * from public.task",
		"recursive cte":         "with recursive r as (select id from task\nwhere user_id = $1\nunion all select t.id from task t, r) select * from r",
		"cte in a subquery":     "select (with x as (select id from task) select max(id) from x)",
		"cte of a cte":          "with a as (with b as (select id from task) select * from b) select * from a",
		"captured by the outer": "select id from task t\nwhere t.user_id = $1\nand exists (select from tombstone\nwhere t.user_id = $1\n)",
		"captured by the name":  "select id from task\nwhere task.user_id = $1\nand exists (select from task x\nwhere task.user_id = $1\n)",
		"captured by no column": "select id from task\nwhere user_id = $1\nand exists (select from docket_other\nwhere user_id = $1\n)",
		"captured by the alias": "select id from task tombstone, tombstone task\nwhere task.user_id = $1",
		"captured under a join's alias": "select id from task a\nwhere a.user_id = $1\n" +
			"and exists (select from (task a join docket_schema_version on true) as j\nwhere a.user_id = $1\n)",
		"lateral":                "select a.id from task a, lateral (select * from tombstone b where b.id = a.id) c\nwhere a.user_id = $1",
		"lateral outer's filter": "select a.id from task a, lateral (select * from tombstone b\nwhere a.user_id = $1\n) c\nwhere a.user_id = $1",

		// Several tables.
		"join":                 "select a.id from task a join tombstone b on a.id = b.id\nwhere a.user_id = $1",
		"join's own filter":    "select a.id from task a join tombstone b on b.user_id = $1\nwhere a.user_id = $1",
		"comma":                "select a.id from task a, task b\nwhere a.user_id = $1",
		"cross join":           "select b.id from task a cross join task b\nwhere a.user_id = $1",
		"left join":            "select b.id from task a left join task b on true\nwhere a.user_id = $1",
		"natural join":         "select id from task natural join tombstone\nwhere user_id = $1",
		"using":                "select id from task join tombstone using (user_id)\nwhere user_id = $1",
		"unqualified":          "select a.id from task a, docket_schema_version b\nwhere user_id = $1",
		"one or the other":     "select a.id from task a, task b where (\na.user_id = $1\nor\nb.user_id = $1\n)",
		"alias of a join":      "select 1 from (task a join tombstone b using (user_id)) as j\nwhere j.user_id = $1",
		"alias of using":       "select 1 from task a join tombstone b using (user_id) as j\nwhere j.user_id = $1",
		"renamed columns":      "select 1 from task as t (user_id, owner)\nwhere t.user_id = $1",
		"renamed columns, one": "select 1 from task as t (user_id, owner)\nwhere user_id = $1",
		"table of functions":   "select 1 from task a, rows from (query_to_xml('table task', true, true, '')) b\nwhere a.user_id = $1",
		"xmltable":             "select 1 from task a, xmltable('x' passing (select max(title) from task) columns x text) b\nwhere a.user_id = $1",

		// Unions.
		"union":             "select id from task\nwhere user_id = $1\nunion select id from task",
		"union all first":   "select id from task union all select id from task\nwhere user_id = $1",
		"union of three":    "select id from task\nwhere user_id = $1\nunion (select id from task union select id from task\nwhere user_id = $1\n)",
		"except":            "select id from task except select id from task\nwhere user_id = $1",
		"intersect":         "select id from task intersect select id from task\nwhere user_id = $1",
		"union of table":    "select id from task\nwhere user_id = $1\nunion table task",
		"cte of a union":    "with x as (table task) select 1 union select 2",
		"order of a union":  "select 1 union select 2 order by (select count(*) from task)",
		"union in a filter": "select id from task\nwhere user_id = $1\nand id in (select id from task union select 'a')",

		// Changes.
		"update":                 "update task set title = $2",
		"update another's":       "update task set title = $2\nwhere user_id = $2",
		"update to another":      "update task set user_id = $2\nwhere user_id = $1",
		"update row to another":  "update task set (title, user_id) = ($2, $3)\nwhere user_id = $1",
		"update row to itself":   "update task set (title, user_id) = (select id, id from tombstone\nwhere user_id = $1\n)\nwhere user_id = $1",
		"update from":            "update task a set title = b.id from tombstone b\nwhere a.user_id = $1",
		"update from, unsaid":    "update task set title = b.id from tombstone b\nwhere user_id = $1",
		"update from, the other": "update task a set title = b.id from tombstone b\nwhere b.user_id = $1",
		"update with a subquery": "update task set title = (select max(title) from task)\nwhere user_id = $1",
		"update of a cursor":     "update task set title = $1 where current of c",
		"update returning":       "update task set title = $2\nwhere user_id = $1\nreturning (select max(title) from task)",
		"delete":                 "delete from task",
		"delete or":              "delete from task\nwhere user_id = $1\nor id = $2",
		"delete using":           "delete from task a using tombstone b\nwhere b.user_id = $1",
		"delete using, unsaid":   "delete from task using docket_schema_version\nwhere user_id = $1",
		"delete of a cursor":     "delete from task where current of c",
		"delete returning":       "delete from task\nwhere user_id = $1\nreturning (select max(title) from task)",
		"version":                "update docket_schema_version set version = 1",
		"version deleted":        "delete from docket_schema_version",
		"version inserted":       "insert into docket_schema_version (version) values (1)",

		// Inserts.
		"insert another's":        "insert into task (user_id, id) values ($2, $1)",
		"insert a constant":       "insert into task (user_id, id) values ('ada', $1)",
		"insert the default":      "insert into task (user_id, id) values (default, $1)",
		"insert defaults":         "insert into task default values",
		"insert without columns":  "insert into task values ($1, $2)",
		"insert without owner":    "insert into task (id) values ($1)",
		"insert in another order": "insert into task (id, user_id) values ($1, $2)",
		"insert the second row":   "insert into task (user_id, id) values ($1, $2), ($3, $4)",
		"insert shortened":        "insert into task (user_id, id) values ($1::varchar(1), $2)",
		"insert cut to 63 bytes":  "insert into task (user_id, id) values ($1::name, $2)",
		"insert an array":         "insert into task (user_id, id) values ($1::text[], $2)",
		"insert computed":         "insert into task (user_id, id) values ($1 || 'x', $2)",
		"insert a case":           "insert into task (user_id, id) values (case when true then $2 else $1 end, $2)",
		"insert a subquery":       "insert into task (user_id, id) values ((select max(user_id) from task), $1)",
		"insert select":           "insert into task (user_id, id) select $1, id from tombstone",
		"insert select owner":     "insert into task (user_id, id) select user_id, id from tombstone\nwhere user_id = $1",
		"insert select another":   "insert into task (user_id, id) select $2::text, id from tombstone\nwhere user_id = $1",
		"insert select star":      "insert into task (id, user_id) select k.*, $1 from tombstone k\nwhere user_id = $1",
		"insert table":            "insert into task (user_id, id) table tombstone",
		"insert too few":          "insert into task (id, user_id) select $1",
		"insert union":            "insert into task (user_id, id) select $1, 'a' union all select $2, 'b'",
		"insert union of values":  "insert into task (user_id, id) values ($1, 'a') union all values ($2, 'b')",
		"insert union first":      "insert into task (user_id, id) select $2, 'a' union all select $1, 'b'",
		"insert nested union":     "insert into task (user_id, id) select $1, 'a' union (select $1, 'b' union select 'ada', 'c')",
		"insert with a cte":       "with x as (table task) insert into tombstone (user_id, id) select $1, id from x",
		"insert with inside":      "insert into task (user_id, id) with x as (table task) select $1, id from x",
		"insert returning":        "insert into task (user_id, id) values ($1, $2) returning (select max(title) from task)",
		"upsert":                  "insert into task (user_id, id) values ($1, $2) on conflict (id) do update set title = 'x'",
		"upsert by the new row": "insert into task (user_id, id) values ($1, $2) on conflict (id) do update set title = 'x'\n" +
			"where excluded.user_id = $1",
		"upsert unqualified": "insert into task (user_id, id) values ($1, $2) on conflict (id) do update set title = 'x'\n" +
			"where user_id = $1",
		"upsert by another name": "insert into task as t (user_id, id) values ($1, $2) on conflict (id) do update set title = 'x'\n" +
			"where task.user_id = $1",
		"upsert as excluded": "insert into task as excluded (user_id, id) values ($1, $2) on conflict (id) do update set title = 'x'\n" +
			"where excluded.user_id = $1",
		"upsert to another": "insert into task (user_id, id) values ($1, $2) on conflict (id) do update set user_id = excluded.id\n" +
			"where task.user_id = $1",
		"upsert with a subquery": "insert into task (user_id, id) values ($1, $2) on conflict (id) do update set title = (select max(title) from task)\n" +
			"where task.user_id = $1",

		// Other ways to a row.
		"qualified":          "select id from public.task",
		"qualified filter":   "select id from public.task\nwhere user_id = $1",
		"catalog":            "select id from docket.public.task\nwhere user_id = $1",
		"quoted":             "select id from \"task\"",
		"other case":         "select id from TASK",
		"escaped":            "select id from U&\"\\0074ask\"",
		"a table not known":  "select id from tasks\nwhere user_id = $1",
		"users":              "select id from \"user\"\nwhere user_id = $1",
		"system table":       "select most_common_vals from pg_stats",
		"another's version":  "select * from evil.docket_schema_version",
		"function":           "select query_to_xml('select * from task', true, true, '')",
		"function of tables": "select table_to_xml('task', true, true, '')",
		"function qualified": "select pg_catalog.lower(title) from task\nwhere user_id = $1",
		"function of ours":   "select evil.max(title) from task\nwhere user_id = $1",
		"function in from":   "select * from dblink('', 'table task') as t (id text)",
		"the owner changed":  "select set_config('app.user_id', $2, true)",
		"the role changed":   "select set_config('role', 'none', true)",
		"a limit for longer": "select set_config('app.max_tasks', $2, false)",
		"a setting by name":  "select set_config($2, 'app.max_tasks', true)",
		"merge":              "merge into task using docket_schema_version on true when matched then delete",
		"merge in a cte": "with m as (merge into task using docket_schema_version on true when matched then delete returning 1) " +
			"select * from m",
		"truncate":        "truncate task",
		"copy":            "copy task to stdout",
		"copy of a query": "copy (select * from task) to stdout",
		"select into":     "select 1 as n into task",
		"create table as": "create table mine as select * from task",
		"create view":     "create view mine as select * from task",
		"prepare":         "prepare p as select * from task",
		"execute":         "execute p",
		"declare":         "declare c cursor for select * from task",
		"fetch":           "fetch all from c",
		"explain analyze": "explain analyze delete from task",
		"do":              "do 'begin delete from task; end'",
		"call":            "call evil()",
		"lock":            "lock task",
		"set role":        "set local role none",
		"reset":           "reset role",
		"set":             "set app.user_id = 'ada'",
		"row security":    "set row_security = off",
		"begin":           "begin",
		"commit":          "commit",
		"two statements":  "select id from task\nwhere user_id = $1\n; select 1",
		"the second":      "select 1; select id from task",
		"nothing":         "",
		"a comment":       "-- where user_id = $1",
		"not SQL":         "select from where user_id = $1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c := examine(sql); len(c.faults) == 0 {
				t.Errorf("accepted:\n%s", sql)
			}
		})
	}
}

func TestTheOwnersFilterIsALineOfItsOwn(t *testing.T) {
	t.Parallel()
	for _, sql := range []string{
		"select id from task where user_id = $1",
		"select id from task\nwhere user_id = $1 and id = $2",
		"select id from task\nwhere user_id=$1",
		"select id from task\nwhere user_id = $1 -- or true",
		"select id\nfrom task\nwhere id = $2 and user_id = $1",
		"select id\nfrom task\nwhere user_id\n= $1",
	} {
		if c := examine(sql); len(c.faults) == 0 {
			t.Errorf("accepted:\n%s", sql)
		}
	}
}

// Each mutant of a statement lacks one of its owner filters. The checker must refuse it.
func TestEveryOwnerRemovedFromAStatementIsDetected(t *testing.T) {
	t.Parallel()
	for _, sql := range postgres.Declared() {
		found := examine(sql)
		all := mutants(sql)
		if len(all) < found.accesses || found.accesses == 0 && len(all) > 0 {
			t.Errorf("%d accesses and %d mutants\n%s", found.accesses, len(all), sql)
		}
		for _, m := range all {
			if c := examine(m); len(c.faults) == 0 {
				t.Errorf("accepted\n%s", m)
			}
		}
	}
}

func TestEveryFilterWeakenedInAStatementIsDetected(t *testing.T) {
	t.Parallel()
	for _, sql := range postgres.Declared() {
		for _, weak := range []string{
			"where user_id = $2", "where user_id <> $1", "where user_id >= $1", "where user_id = user_id", "where $1 = $1",
			"where not (user_id = $1)", "where user_id like $1", "where user_id is not null and $1 is not null",
			"where true or user_id = $1", "where (user_id = $1 or true)", "where (user_id = $1) is not null",
			"where coalesce(user_id = $1, true)", "where case when user_id = $1 then true else true end",
			"where true -- user_id = $1", "where true /*\nwhere user_id = $1\n*/",
		} {
			for _, at := range ownerLine.FindAllStringIndex(sql, -1) {
				if m := sql[:at[0]] + weak + sql[at[1]:]; len(examine(m).faults) == 0 {
					t.Errorf("accepted\n%s", m)
				}
			}
		}
	}
}

var (
	ownerLine  = regexp.MustCompile(`(?m)where user_id = \$1$`)
	ownerValue = regexp.MustCompile(`\$1\b(::text)?`)
)

// mutants returns the variants of a statement that each lack one owner: a filter is removed, or a value is replaced by
// another owner's. $1 stays in the text so that PostgreSQL can determine its type.
func mutants(sql string) (all []string) {
	for _, at := range ownerValue.FindAllStringIndex(sql, -1) {
		line := strings.LastIndexByte(sql[:at[0]], '\n') + 1
		if filter := sql[line:at[1]]; ownerLine.MatchString(filter) {
			indent := len(filter) - len(strings.TrimLeft(filter, " "))
			all = append(all, sql[:line+indent]+"where $1::text is not null"+sql[at[1]:])
		} else {
			all = append(all, sql[:at[0]]+"coalesce('ada', $1::text)"+sql[at[1]:])
		}
	}
	return all
}

// ownedTables have a column user_id. The checker refuses every other table except the schema's version.
var ownedTables = []string{"task", "task_summary", "task_tag", "tombstone", "idempotency_key"}

const versionTable = "docket_schema_version"

// harmless are the functions that statements call: they read no table and set nothing.
var harmless = []string{
	"bool_and", "cardinality", "change_tags", "count", "getdatabaseencoding", "hashtext", "left", "lower", "max", "mode", "now",
	"pg_advisory_xact_lock", "pg_catalog.normalize", "pg_is_in_recovery", "rename_tag", "replace",
	"row_security_active", "strpos", "sum", "to_jsonb", "to_regclass", "translate", "unnest", "upper",
}

// setsLimit reports whether a call sets the limit on the owner's tasks, which concerns nothing else, for its transaction.
func setsLimit(call node) bool {
	args := elements(call["args"])
	return words(call["funcname"]) == "set_config" && len(args) == 3 &&
		field(args[0], "A_Const", "sval", "sval") == "app.max_tasks" && field(args[2], "A_Const", "boolval", "boolval") == true
}

// A checker walks the syntax tree that PostgreSQL's own parser makes of a statement. Each query level must bind every
// table that it reads or changes to the owner; the filter of another level does not count. The checker refuses
// everything that it does not know.
type checker struct {
	faults   []string
	accesses int // to tables that belong to owners
}

type node = map[string]any

func examine(sql string) *checker {
	c := &checker{}
	text, err := parseSQL(sql)
	if err != nil {
		c.fault("%v", err)
		return c
	}
	var parsed struct{ Stmts []struct{ Stmt node } }
	if err := json.Unmarshal([]byte(text), &parsed); err != nil {
		c.fault("%v", err)
		return c
	}
	if len(parsed.Stmts) != 1 {
		c.fault("%d statements", len(parsed.Stmts))
		return c
	}
	for kind, statement := range parsed.Stmts[0].Stmt {
		if !slices.Contains([]string{"SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt"}, kind) {
			c.fault("a statement of another kind: %s", kind)
			return c
		}
		c.visit(kind, statement, nil)
	}
	c.lines(sql)
	return c
}

// parseSQL parses one text at a time: the parser is WebAssembly, and is compiled once more for every parallel call.
func parseSQL(sql string) (string, error) {
	parsing.Lock()
	defer parsing.Unlock()
	return pgquery.ParseToJSON(sql)
}

var parsing sync.Mutex

func (c *checker) fault(format string, args ...any) {
	c.faults = append(c.faults, fmt.Sprintf(format, args...))
}

var (
	comparison = regexp.MustCompile(`user_id\s*=\s*\$1`)
	ownLine    = regexp.MustCompile(`(?m)^ *(where|and)? ?(\w+\.)?user_id = \$1$`)
)

// lines checks that a filter by the owner is a line of its own, so that one search shows them all.
func (c *checker) lines(sql string) {
	if all, own := len(comparison.FindAllString(sql, -1)), len(ownLine.FindAllString(sql, -1)); all != own {
		c.fault("%d filters by the owner, %d of them on a line of their own", all, own)
	}
	if strings.Contains(sql, "--") || strings.Contains(sql, "/*") {
		c.fault("a comment: it belongs to the Go code")
	}
}

// walk looks for queries inside a node. ctes are the names of the common table expressions that are in scope.
func (c *checker) walk(n any, ctes []string) {
	switch n := n.(type) {
	case []any:
		for _, element := range n {
			c.walk(element, ctes)
		}
	case node:
		for kind, inner := range n {
			c.visit(kind, inner, ctes)
		}
	}
}

func (c *checker) visit(kind string, inner any, ctes []string) {
	n, _ := inner.(node)
	switch kind {
	case "SelectStmt":
		c.selects(n, ctes)
	case "InsertStmt":
		c.inserts(n, ctes)
	case "UpdateStmt":
		c.updates(n, ctes)
	case "DeleteStmt":
		c.deletes(n, ctes)
	case "relname":
		c.fault("a table at a place that is not known")
	case "FuncCall":
		if name := words(n["funcname"]); !slices.Contains(harmless, name) && !setsLimit(n) {
			c.fault("calls %s", name)
		}
		c.walk(n, ctes)
	default:
		c.walk(inner, ctes)
	}
}

// rest walks the parts of a query that have not been examined yet.
func (c *checker) rest(query node, ctes []string, seen ...string) {
	query = maps.Clone(query)
	for _, part := range seen {
		delete(query, part)
	}
	c.walk(query, ctes)
}

func (c *checker) selects(query node, ctes []string) {
	ctes = c.with(query, ctes)
	if query["op"] != "SETOP_NONE" {
		c.selects(query["larg"].(node), ctes)
		c.selects(query["rarg"].(node), ctes)
		c.rest(query, ctes, "withClause", "larg", "rarg")
		return
	}
	c.bind(c.sources(query["fromClause"], ctes), query["whereClause"])
	c.rest(query, ctes, "withClause", "fromClause")
}

func (c *checker) updates(query node, ctes []string) {
	ctes = c.with(query, ctes)
	target := c.target(query)
	c.bind(append(c.sources(query["fromClause"], ctes), target), query["whereClause"])
	c.sets(query["targetList"])
	c.rest(query, ctes, "withClause", "fromClause", "relation")
}

func (c *checker) deletes(query node, ctes []string) {
	ctes = c.with(query, ctes)
	target := c.target(query)
	c.bind(append(c.sources(query["usingClause"], ctes), target), query["whereClause"])
	c.rest(query, ctes, "withClause", "usingClause", "relation")
}

func (c *checker) inserts(query node, ctes []string) {
	ctes = c.with(query, ctes)
	target := c.target(query)
	c.accesses++
	at := slices.IndexFunc(elements(query["cols"]), func(column any) bool { return field(column, "ResTarget", "name") == "user_id" })
	if at < 0 {
		c.fault("an insert into %s does not name the column user_id", target.table)
		return
	}
	if rows, ok := field(query["selectStmt"], "SelectStmt").(node); ok {
		c.rows(rows, at)
	} else {
		c.fault("an insert of defaults into %s", target.table)
	}
	if conflict, ok := query["onConflictClause"].(node); ok && conflict["action"] != "ONCONFLICT_NOTHING" {
		// Without a qualifier, or with another, it might be the new row's column.
		if target.name == "excluded" || !binds(conflict["whereClause"], target, false) {
			c.fault("on conflict, %s is not bound to the owner", target.name)
		}
		c.sets(conflict["targetList"])
	}
	c.rest(query, ctes, "withClause", "relation")
}

// rows checks that each row to insert has the owner in the column with this number.
func (c *checker) rows(query node, at int) {
	if query["op"] != "SETOP_NONE" {
		c.rows(query["larg"].(node), at)
		c.rows(query["rarg"].(node), at)
		return
	}
	var rows [][]any
	for _, row := range elements(query["valuesLists"]) {
		rows = append(rows, elements(field(row, "List", "items")))
	}
	if rows == nil {
		var columns []any
		for _, column := range elements(query["targetList"]) {
			value := field(column, "ResTarget", "val")
			if words(field(value, "ColumnRef", "fields")) == "*" || strings.HasSuffix(words(field(value, "ColumnRef", "fields")), ".*") {
				c.fault("a star in an insert")
			}
			columns = append(columns, value)
		}
		rows = append(rows, columns)
	}
	for _, row := range rows {
		if len(row) <= at || !isOwner(row[at]) {
			c.fault("an insert whose user_id may not be the owner")
		}
	}
}

// sets checks that a change does not assign a row to another owner.
func (c *checker) sets(assignments any) {
	for _, a := range elements(assignments) {
		if field(a, "ResTarget", "name") == "user_id" && !isOwner(field(a, "ResTarget", "val")) {
			c.fault("a change of user_id")
		}
	}
}

// with walks the common table expressions of a query and returns the names that are then in scope. In an expression
// that is not recursive, its own name refers to a table.
func (c *checker) with(query node, ctes []string) []string {
	clause, _ := query["withClause"].(node)
	all := elements(clause["ctes"])
	if clause["recursive"] == true {
		for _, cte := range all {
			ctes = append(ctes, field(cte, "CommonTableExpr", "ctename").(string))
		}
	}
	for _, cte := range all {
		c.walk(cte, ctes)
		ctes = append(ctes, field(cte, "CommonTableExpr", "ctename").(string))
	}
	return ctes
}

// A relation is what a query level reads or changes.
type relation struct {
	name  string // by which the level knows it
	table string // empty when it is no table
}

// sources returns what a level reads, including the sides of its joins. It walks subqueries as levels of their own.
func (c *checker) sources(n any, ctes []string) (all []relation) {
	switch n := n.(type) {
	case []any:
		for _, element := range n {
			all = append(all, c.sources(element, ctes)...)
		}
	case node:
		for kind, inner := range n {
			inner, _ := inner.(node)
			name, _ := field(inner["alias"], "aliasname").(string)
			switch kind {
			case "RangeVar":
				s := c.table(inner)
				if slices.Contains(ctes, s.table) {
					s.table = ""
				}
				all = append(all, s)
			case "RangeTableSample":
				all = append(all, c.sources(inner["relation"], ctes)...)
				c.rest(inner, ctes, "relation")
			case "RangeSubselect", "RangeFunction":
				all = append(all, relation{name: name})
				c.walk(inner, ctes)
			case "JoinExpr":
				if inner["alias"] != nil { // it hides the names inside, which then mean those of an outer level
					c.fault("a join under an alias")
				}
				all = append(all, c.sources([]any{inner["larg"], inner["rarg"]}, ctes)...)
				c.rest(inner, ctes, "larg", "rarg")
			default:
				c.fault("%s: a source that is not known", kind)
			}
		}
	}
	return all
}

// target returns the table that a query changes. It is never a common table expression.
func (c *checker) target(query node) relation {
	target := c.table(query["relation"].(node))
	if target.table == versionTable {
		c.fault("a change of %s", versionTable)
	}
	return target
}

func (c *checker) table(rangeVar node) relation {
	name := rangeVar["relname"].(string)
	for _, qualifier := range []string{"schemaname", "catalogname"} {
		if q, ok := rangeVar[qualifier].(string); ok {
			name = q + "." + name // and so a table that is not known
		}
	}
	s := relation{name, name}
	if alias, ok := rangeVar["alias"].(node); ok {
		s.name = alias["aliasname"].(string)
		if alias["colnames"] != nil {
			c.fault("%s under other column names", name)
		}
	}
	return s
}

// bind checks that each table of a level is bound to the owner by the level's own condition.
func (c *checker) bind(sources []relation, where any) {
	for _, s := range sources {
		switch {
		case s.table == "" || s.table == versionTable || s.table == "pg_policy":
			continue
		case !slices.Contains(ownedTables, s.table):
			c.fault("%s is not a table that is known to have an owner", s.table)
		case !binds(where, s, len(sources) == 1):
			c.fault("%s is not bound to the owner", s.name)
		}
		c.accesses++
	}
}

// binds reports whether a condition is `user_id = $1`, or that and more. alone says that the column needs no qualifier.
func binds(where any, s relation, alone bool) bool {
	if field(where, "BoolExpr", "boolop") == "AND_EXPR" {
		return slices.ContainsFunc(elements(field(where, "BoolExpr", "args")), func(part any) bool { return binds(part, s, alone) })
	}
	column := words(field(where, "A_Expr", "lexpr", "ColumnRef", "fields"))
	return field(where, "A_Expr", "kind") == "AEXPR_OP" &&
		words(field(where, "A_Expr", "name")) == "=" &&
		(column == s.name+".user_id" || alone && column == "user_id") &&
		field(where, "A_Expr", "rexpr", "ParamRef", "number") == 1.0
}

// isOwner reports whether a value is `$1` or `$1::text`.
func isOwner(value any) bool {
	if cast, ok := field(value, "TypeCast").(node); ok {
		typ := cast["typeName"].(node)
		if words(typ["names"]) != "text" || typ["arrayBounds"] != nil {
			return false
		}
		value = cast["arg"]
	}
	return field(value, "ParamRef", "number") == 1.0
}

// field returns the value at a path in a tree, or nil if there is none.
func field(n any, path ...string) any {
	for _, name := range path {
		inner, _ := n.(node)
		n = inner[name]
	}
	return n
}

func elements(n any) []any {
	all, _ := n.([]any)
	return all
}

// words joins the parts of a name. A quoted name that contains a dot cannot be mistaken for a qualified one, because no
// name in the schema contains a dot.
func words(n any) string {
	var all []string
	for _, part := range elements(n) {
		word, isWord := field(part, "String", "sval").(string)
		if !isWord {
			word = "*"
		}
		all = append(all, word)
	}
	return strings.Join(all, ".")
}

// Traces name statements, and never show their texts.
func TestEveryStatementHasAName(t *testing.T) {
	t.Parallel()
	for _, sql := range postgres.Declared() {
		if postgres.NameOf(sql) == "statement" {
			t.Errorf("a statement has no name: declare it with postgres.SQL(…).Named(…)\n%s", sql)
		}
	}
}
