package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"docket/internal/dbtest"
	"docket/internal/dbtest/pooler"
	"docket/internal/devdb"
	"docket/internal/postgres"
	"docket/migrations"
)

// texts are values of settings that are neither numbers nor lists of words.
var texts = map[string][]string{
	"DateStyle":                           {"German, DMY", "SQL, MDY", "Postgres, YMD", "ISO, YMD"},
	"TimeZone":                            {"Asia/Kathmandu", "America/St_Johns", "UTC-14:59:59", "posix/Europe/Berlin"},
	"client_encoding":                     {"LATIN1", "SQL_ASCII", "EUC_JP", "WIN1252"},
	"search_path":                         {"", "pg_temp", "pg_temp, public", "evil, pg_catalog", `"$user"`, "nowhere", "pg_catalog"},
	"timezone_abbreviations":              {"India", "Australia"},
	"lc_monetary":                         {"C"},
	"lc_numeric":                          {"C"},
	"lc_time":                             {"C"},
	"lock_timeout":                        {"1", "2147483647"},
	"idle_in_transaction_session_timeout": {"1", "2147483647"},
	"statement_timeout":                   {"1", "2147483647"},
	"transaction_timeout":                 {"1", "2147483647"},
	"application_name":                    {"", "'"},
	"default_tablespace":                  {"pg_global", "nowhere"},
	"temp_tablespaces":                    {"pg_global", "nowhere"},
	"default_text_search_config":          {"pg_catalog.german"},
	"default_table_access_method":         {"heap"},
	"local_preload_libraries":             {""},
	"createrole_self_grant":               {"set, inherit"},
	"restrict_nonsystem_relation_kind":    {"view, foreign-table"},
}

// lists are settings whose values are lists of names.
var lists = map[string]bool{
	"search_path": true, "temp_tablespaces": true, "createrole_self_grant": true, "restrict_nonsystem_relation_kind": true,
}

// userSettingsSQL selects the settings that a role or a database may change, with the extremes that they do not have.
const userSettingsSQL = `
select name, array_remove(case vartype
  when 'bool' then array['on', 'off']
  when 'enum' then enumvals
  when 'string' then array['']
  else array[min_val, max_val]
end, setting)
from pg_settings
where context = 'user'
  and name not like 'transaction_%'
order by name`

// evilSQL makes a schema whose objects hide PostgreSQL's and Docket's, if it is searched first.
const evilSQL = `
create schema evil;
grant usage on schema evil to public;
create table evil.task (like public.task);
create table evil.task_summary (like public.task_summary);
grant all on evil.task, evil.task_summary to public;
create function evil.lower(character varying) returns text language sql as 'select ''evil''';
create function evil.strpos(text, text) returns integer language sql as 'select 1'`

// Whatever the database sets, every operation is right or clearly refused, and nobody gets another owner's rows.
//
// fault A1
func TestNoSettingChangesWhatAnOperationDoes(t *testing.T) {
	t.Parallel()
	address := withUsers(t, string(modes[0]), string(modes[1]), string(modes[2]), "bob")
	admin := connect(t, address)
	execute(t, admin, evilSQL, pgx.QueryExecModeSimpleProtocol)
	role, login := dbtest.Login(t, address, "server", "")
	execute(t, admin, "grant docket_app to "+role)
	execute(t, admin, "insert into task (id, user_id, title) values ('b1', 'bob', 'bob''s')")
	const bobsSQL = "select string_agg(to_jsonb(t)::text, '') from (select * from public.task where user_id = 'bob') t"
	bobs := value[string](t, admin, bobsSQL)
	database := value[string](t, admin, "select current_database()")

	all := map[string][]string{}
	rows, err := admin.Query(t.Context(), userSettingsSQL)
	if err != nil {
		t.Fatal(err)
	}
	var name string
	var values []string
	if _, err := pgx.ForEachRow(rows, []any{&name, &values}, func() error {
		all[name] = slices.Clone(values)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for name, values := range texts {
		if all[name] != nil {
			all[name] = values
		}
	}
	if len(all) < 100 {
		t.Fatalf("PostgreSQL has only %d settings that a role may change", len(all))
	}
	tried, faults, refused := 0, 0, map[string]bool{}
	for name, values := range all {
		for _, v := range values {
			quoted := "'" + strings.ReplaceAll(v, "'", "''") + "'"
			if lists[name] && v != "" {
				quoted = v
			}
			if _, err := admin.Exec(t.Context(), fmt.Sprintf("alter database %s set %s = %s", database, name, quoted)); err != nil {
				continue // no value of this setting
			}
			tried++
			var results [3]error
			var wg sync.WaitGroup
			for i, mode := range modes {
				wg.Go(func() {
					s, err := Open(t.Context(), Config{URL: login, QueryMode: mode, MaxConns: 1, MinIdleConns: -1})
					if results[i] = err; err == nil {
						results[i] = allOperations(t.Context(), s, string(mode))
						s.Close()
					}
				})
			}
			wg.Wait()
			for i, err := range results {
				switch {
				case gaveUp(err):
				case clearlyRefused(err):
					refused[name+"="+v] = true
				case err != nil:
					faults++
					t.Errorf("%s = %q, %s: %v", name, v, modes[i], err)
				}
			}
			execute(t, admin, fmt.Sprintf("alter database %s reset %s", database, name))
			if got := value[string](t, admin, bobsSQL); got != bobs {
				t.Fatalf("%s = %q: bob's rows were\n%s\nand are\n%s", name, v, bobs, got)
			}
			execute(t, admin, "delete from public.task where user_id <> 'bob'; delete from public.idempotency_key", pgx.QueryExecModeSimpleProtocol)
			if n := value[int](t, admin, "select (select count(*) from evil.task) + (select count(*) from evil.task_summary)"); n != 0 {
				t.Fatalf("%s = %q: %d rows are in another schema", name, v, n)
			}
		}
	}
	fmt.Printf("settings walk: %d settings with %d values in %d query modes, %d wrong\n", len(all), tried, len(modes), faults)
	for _, name := range []string{
		"default_transaction_read_only=on", "local_preload_libraries=", "transaction_timeout=1",
	} {
		delete(refused, name)
	}
	if len(refused) > 0 {
		t.Errorf("refused, although the statements do not depend on it: %v", refused)
	}
}

// clearlyRefused reports whether an operation was refused in a way that says to try again later.
func clearlyRefused(err error) bool {
	var pg *pgconn.PgError
	return errors.Is(err, ErrUnavailable) || errors.As(err, &pg) && pg.Code == "25006" // read_only_sql_transaction
}

// wrong returns an error about a result, with the one that was returned.
func wrong(err error, format string, args ...any) error {
	return errors.Join(fmt.Errorf(format, args...), err)
}

// gaveUp reports whether an operation was refused for what a setting makes likelier and nothing excludes: a statement that
// exceeded its timeout, with some plans on a busy machine, or one that met another transaction in each of its attempts,
// with a default_transaction_isolation above read committed.
func gaveUp(err error) bool {
	var pg *pgconn.PgError
	return errors.Is(err, ErrUnavailable) && errors.As(err, &pg) &&
		(pg.Code == "57014" || pg.Code == "40001") // query_canceled, serialization_failure
}

// allOperations runs every operation as the owner. It returns an error if one fails or has another result than always.
func allOperations(ctx context.Context, s *Store, owner string) error {
	ada, bob := s.For(owner), s.For("bob")
	const title = `Grüße €'"\ 1.5 null {a,b}`
	created, err := ada.CreateTask(ctx, NewTask{Title: title, Description: new("ÉÄ\n" + title), Priority: "high"})
	if err != nil {
		return wrong(err, "create")
	}
	if created.Title != title || created.UpdatedAt.IsZero() || created.CreatedAt.Location() == nil {
		return wrong(nil, "created %+v", created)
	}
	if got, err := ada.GetTask(ctx, created.ID); err != nil || !same(got, created) {
		return wrong(err, "got %+v of %+v", got, created)
	}
	for n := range 2 {
		once, replayed, err := ada.CreateTaskOnce(ctx, "key", NewTask{Title: title, Priority: "low"})
		if err != nil || replayed != (n == 1) || once.Title != title {
			return wrong(err, "created once %+v, replayed %t", once, replayed)
		}
		if got, err := ada.GetTask(ctx, once.ID); err != nil || !same(got, once) {
			return wrong(err, "got %+v of %+v", got, once)
		}
	}
	changed, err := ada.IfMatch(created.Revision).UpdateTask(ctx, created.ID, TaskChanges{Description: Set[*string](nil), Priority: Set("medium")})
	if err != nil || changed.Title != title || changed.Revision <= created.Revision || !changed.CreatedAt.Equal(created.CreatedAt) {
		return wrong(err, "changed to %+v", changed)
	}
	if _, err := ada.IfMatch(created.Revision).CompleteTask(ctx, created.ID, nil, nil); !errors.Is(err, ErrStale) {
		return wrong(err, "a stale change")
	}
	for _, q := range inEveryOrder(TaskQuery{Search: "GR", Limit: 1}) {
		if q.Completed != nil || q.Ascending || q.Sort == SortPriority {
			continue // the keys of cursors are times and texts
		}
		total := 0
		for {
			page, err := ada.ListTasks(ctx, q)
			if err != nil || page.Total != 2 {
				return wrong(err, "%s of %d", show(q), page.Total)
			}
			total += len(page.Tasks)
			if q.Cursor = page.NextCursor; q.Cursor == "" {
				break
			}
		}
		if total != 2 {
			return fmt.Errorf("%s: %d tasks", show(q), total)
		}
	}
	if page, err := bob.ListTasks(ctx, TaskQuery{Limit: 10}); err != nil || titles(page.Tasks) != "bob's" || page.Total != 1 {
		return wrong(err, "bob has %s of %d", titles(page.Tasks), page.Total)
	}
	if _, err := bob.GetTask(ctx, created.ID); !errors.Is(err, ErrNotFound) {
		return wrong(err, "bob reads ada's task")
	}
	if _, err := ada.CompleteTask(ctx, created.ID, nil, nil); err != nil {
		return wrong(err, "complete")
	}
	if _, err := ada.DeleteTask(ctx, created.ID); err != nil {
		return wrong(err, "delete")
	}
	if page, err := ada.ListTasks(ctx, TaskQuery{Limit: 10}); err != nil || page.Total != 1 || len(page.Tasks) != 1 {
		return wrong(err, "%d of %d are left", len(page.Tasks), page.Total)
	}
	if c, err := s.Check(ctx); err != nil || !c.RowSecurity || c.SchemaVersion == 0 {
		return wrong(err, "check: %+v", c)
	}
	return nil
}

// A pooler's server connection keeps what another client set, and its temporary tables.
func TestWhatAnotherClientOfAPoolerLeavesChangesNothing(t *testing.T) {
	t.Parallel()
	for name, start := range poolers {
		for what, sql := range map[string]string{
			"search path":  "set search_path = ''",   // fault A3
			"row security": "set row_security = off", // fault A3
			"everything":   "set search_path = pg_catalog; set row_security = off; set datestyle = 'German, DMY'; set intervalstyle = sql_standard; set bytea_output = escape; set timezone = 'Asia/Kathmandu'; set lock_timeout = 1; set transform_null_equals = on",
			"tables":       "create temporary table task as select * from public.task; grant all on task to public; create temporary table task_summary as select * from public.task_summary; grant all on task_summary to public", // fault A4
			"role":         "set role pg_read_all_data",
		} {
			t.Run(name+", "+what, func(t *testing.T) {
				t.Parallel()
				direct := withUsers(t, "ada", "bob")
				execute(t, connect(t, direct), "insert into task (id, user_id, title) values ('b1', 'bob', 'bob''s')")
				p := start(t, direct)
				// One client on each of the pooler's three connections at once.
				leave := func() {
					var clients []*pgx.Conn
					for range 3 {
						c, err := pgx.Connect(t.Context(), p.URL)
						if err != nil {
							t.Fatal(err)
						}
						clients = append(clients, c)
						execute(t, c, "begin", pgx.QueryExecModeSimpleProtocol)
					}
					for _, c := range clients {
						execute(t, c, sql+"; commit", pgx.QueryExecModeSimpleProtocol)
						c.Close(t.Context())
					}
				}
				leave()
				for _, mode := range append([]QueryMode{postgres.QueryModeAuto}, pooledModes...) {
					s := open(t, Config{URL: p.URL, QueryMode: mode})
					if err := allOperations(t.Context(), s, "ada"); err != nil {
						t.Errorf("%s: %v", mode, err)
					}
					admin := connect(t, direct)
					execute(t, admin, "delete from task where user_id = 'ada'; delete from idempotency_key", pgx.QueryExecModeSimpleProtocol)
				}
			})
		}
	}
}

// By default PostgreSQL searches the schema with the login's name first, and after the change of role that of the role.
//
// fault A2
func TestTablesAreFoundInTheSchemaWhereTheyWereMade(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ before, schema, after string }{
		"login's own":              {"create schema ROLE authorization ROLE", "ROLE", ""},
		"not in the search path":   {"create schema other authorization ROLE; alter role ROLE set search_path = other, public", "other", "alter role ROLE reset search_path"},
		"a name in need of quotes": {`create schema "O'Tasks" authorization ROLE; alter role ROLE set search_path = "O'Tasks", public`, `"O'Tasks"`, "alter role ROLE reset search_path"},
		"one of two": {
			"create schema ROLE authorization ROLE", "ROLE",
			"create schema if not exists other; create table if not exists other.docket_schema_version (version integer); grant all on schema other to ROLE",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := dbtest.Empty(t)
			admin := connect(t, address)
			execute(t, admin, devdb.UserFixtureSQL)
			dbtest.AddUser(t, address, "ada", "bob")
			role, login := dbtest.Login(t, address, "svc", "")
			named := func(sql string) string { return strings.ReplaceAll(sql, "ROLE", role) }
			execute(t, admin, named("grant docket_app to ROLE with admin option; grant references (id) on \"user\" to ROLE; "+c.before),
				pgx.QueryExecModeSimpleProtocol)
			for range 2 {
				if err := migrations.Up(t.Context(), login, t.Output()); err != nil {
					t.Fatal(err)
				}
				execute(t, admin, named(c.after), pgx.QueryExecModeSimpleProtocol)
			}
			schema := named(c.schema)
			execute(t, admin, "insert into "+schema+".task (id, user_id, title) values ('b1', 'bob', 'bob''s')")
			for _, mode := range append(modes, postgres.QueryModeAuto) {
				if err := allOperations(t.Context(), open(t, Config{URL: login, QueryMode: mode}), "ada"); err != nil {
					t.Errorf("%s: %v", mode, err)
				}
				execute(t, admin, "delete from "+schema+".task where user_id = 'ada'; delete from "+schema+".idempotency_key", pgx.QueryExecModeSimpleProtocol)
			}
		})
	}
}

// poolers start PgBouncer without and with support for prepared statements.
var poolers = map[string]func(t testing.TB, databaseURL string) *pooler.Pooler{
	"without prepared statements": dbtest.PlainPooler, "with prepared statements": dbtest.PreparingPooler,
}
