package migrations_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"docket/internal/dbtest"
)

func TestTaskHasExactlyItsColumns(t *testing.T) {
	t.Parallel()
	conn := connect(t, dbtest.New(t))
	rows, err := conn.Query(t.Context(), `
		select concat_ws(' ', attname, format_type(atttypid, atttypmod), case when attnotnull then 'not null' end,
			case attgenerated when '' then 'default ' || pg_get_expr(adbin, adrelid) else 'generated' end)
		from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
		where attrelid = 'task'::regclass and attnum > 0 and not attisdropped
		order by attnum`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"id character varying(255) not null",
		"user_id character varying(255) not null",
		"title character varying(200) not null",
		"description text",
		"priority character varying(10) not null default 'medium'::character varying",
		"completed boolean not null default false",
		"created_at timestamp with time zone not null default now()",
		"updated_at timestamp with time zone not null default now()",
		"rev bigint not null",
		"search_text text generated",
		"due_date date",
		"due_time time without time zone",
		"time_zone character varying(64)",
		"due_at timestamp with time zone",
		"due_order timestamp without time zone",
		"completed_at timestamp with time zone",
		"recurrence_rule character varying(255)",
		"recurrence_mode character varying(20) not null default 'skip_missed'::character varying",
		"series_id character varying(255)",
		"occurrence_date date",
		"next_task_id character varying(255)",
		"tags text[] not null default '{}'::text[]",
	}
	if !slices.Equal(got, want) {
		t.Errorf("columns:\n%s", difference(strings.Join(want, "\n"), strings.Join(got, "\n")))
	}
}

func TestTaskHasExactlyItsConstraints(t *testing.T) {
	t.Parallel()
	got := definitions(t, connect(t, dbtest.New(t)), `
		select conname, pg_get_constraintdef(oid, true) from pg_constraint where conrelid = 'task'::regclass and contype <> 'n'`)
	equal(t, got, map[string]string{
		"task_pkey": "PRIMARY KEY (id)",
		"fk_user":   `FOREIGN KEY (user_id) REFERENCES "user"(id) ON DELETE CASCADE`,
		"chk_priority": "CHECK (priority::text = ANY (ARRAY['low'::character varying, 'medium'::character varying, " +
			"'high'::character varying]::text[]))",
		"chk_title_length":       "CHECK (char_length(title::text) >= 1 AND char_length(title::text) <= 200)",
		"chk_description_length": "CHECK (char_length(description) <= 1000)",
		"chk_completed_at":       "CHECK (completed OR completed_at IS NULL)",
		"chk_due_at":             "CHECK ((due_at IS NULL) = (due_time IS NULL))",
		"chk_due_date":           "CHECK (due_date >= '1970-01-01'::date AND due_date <= '9999-12-31'::date)",
		"chk_due_time":           "CHECK (due_time IS NULL OR due_date IS NOT NULL AND time_zone IS NOT NULL)",
		"chk_recurrence_mode": "CHECK (recurrence_mode::text = ANY (ARRAY['skip_missed'::character varying, " +
			"'keep_missed'::character varying, 'after_completion'::character varying]::text[]))",
		"chk_recurrence_rule": "CHECK (recurrence_rule IS NULL OR due_date IS NOT NULL AND series_id IS NOT NULL AND occurrence_date IS NOT NULL)",
		"chk_tags":            "CHECK (cardinality(tags) <= 20)",
	})
}

func TestTaskHasExactlyItsIndexes(t *testing.T) {
	t.Parallel()
	got := definitions(t, connect(t, dbtest.New(t)), `
		select indexrelid::regclass::text, regexp_replace(pg_get_indexdef(indexrelid, 0, true), '\s+', ' ', 'g')
		from pg_index where indrelid = 'task'::regclass and indisvalid`)
	equal(t, got, map[string]string{
		"task_pkey":           "CREATE UNIQUE INDEX task_pkey ON task USING btree (id)",
		"idx_task_completed":  "CREATE INDEX idx_task_completed ON task USING btree (user_id, completed, created_at DESC, id DESC)",
		"idx_task_created_at": "CREATE INDEX idx_task_created_at ON task USING btree (user_id, created_at DESC, id DESC)",
		"idx_task_user_pending_priority": "CREATE INDEX idx_task_user_pending_priority ON task USING btree (user_id, " +
			"( CASE priority WHEN 'high'::text THEN 3 WHEN 'medium'::text THEN 2 ELSE 1 END) DESC, id DESC) WHERE completed = false",
		"idx_task_user_id":    "CREATE UNIQUE INDEX idx_task_user_id ON task USING btree (user_id, id)",
		"idx_task_rev":        "CREATE INDEX idx_task_rev ON task USING btree (user_id, rev)",
		"idx_task_updated_at": "CREATE INDEX idx_task_updated_at ON task USING btree (user_id, updated_at DESC, id DESC)",
		"idx_task_occurrence": "CREATE UNIQUE INDEX idx_task_occurrence ON task USING btree (user_id, series_id, occurrence_date) " +
			"WHERE series_id IS NOT NULL",
		"idx_task_due_asc": "CREATE INDEX idx_task_due_asc ON task USING btree (user_id, " +
			"( CASE WHEN due_order IS NULL THEN 'infinity'::timestamp without time zone ELSE due_order END), id)",
		"idx_task_due_desc": "CREATE INDEX idx_task_due_desc ON task USING btree (user_id, " +
			"( CASE WHEN due_order IS NULL THEN '-infinity'::timestamp without time zone ELSE due_order END) DESC, id DESC)",
		"idx_task_title": "CREATE INDEX idx_task_title ON task USING btree (user_id, title, id)",
		"idx_task_priority": "CREATE INDEX idx_task_priority ON task USING btree (user_id, " +
			"( CASE priority WHEN 'high'::text THEN 3 WHEN 'medium'::text THEN 2 ELSE 1 END) DESC, id DESC)",
	})
}

func TestTaskHasExactlyItsTriggers(t *testing.T) {
	t.Parallel()
	got := definitions(t, connect(t, dbtest.New(t)), `
		select tgname, pg_get_triggerdef(oid, true) from pg_trigger where tgrelid = 'task'::regclass and not tgisinternal and tgenabled = 'O'`)
	equal(t, got, map[string]string{
		"task_tags_insert":    "CREATE TRIGGER task_tags_insert AFTER INSERT ON task REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION record_tags()",
		"task_tags_update":    "CREATE TRIGGER task_tags_update AFTER UPDATE ON task REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION record_tags()",
		"task_tags_delete":    "CREATE TRIGGER task_tags_delete AFTER DELETE ON task REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION record_tags()",
		"task_tags_truncated": "CREATE TRIGGER task_tags_truncated AFTER TRUNCATE ON task FOR EACH STATEMENT EXECUTE FUNCTION truncate_tags()",
		"task_updated_at": "CREATE TRIGGER task_updated_at BEFORE UPDATE ON task " +
			"FOR EACH ROW EXECUTE FUNCTION update_updated_at_column()",
		"task_completed_at": "CREATE TRIGGER task_completed_at BEFORE INSERT OR UPDATE ON task FOR EACH ROW " +
			"WHEN (new.completed OR new.completed_at IS NOT NULL) EXECUTE FUNCTION keep_completed_at()",
		"task_due_order": "CREATE TRIGGER task_due_order BEFORE INSERT OR UPDATE OF due_date, due_time, due_order ON task FOR EACH ROW " +
			"WHEN (new.due_date IS NOT NULL OR new.due_order IS NOT NULL) EXECUTE FUNCTION keep_due_order()",
		"task_series": "CREATE TRIGGER task_series BEFORE INSERT ON task FOR EACH ROW " +
			"WHEN (new.recurrence_rule IS NOT NULL) EXECUTE FUNCTION begin_series()",
		"task_lock_owner": "CREATE TRIGGER task_lock_owner BEFORE INSERT OR DELETE OR UPDATE ON task " +
			"FOR EACH STATEMENT EXECUTE FUNCTION lock_owner()",
		"task_revision": "CREATE TRIGGER task_revision BEFORE INSERT OR DELETE OR UPDATE ON task " +
			"FOR EACH ROW EXECUTE FUNCTION set_revision('task')",
		"task_totals_limit": "CREATE TRIGGER task_totals_limit AFTER INSERT ON task FOR EACH STATEMENT " +
			"WHEN (current_setting('app.max_tasks'::text, true) <> ''::text) EXECUTE FUNCTION limit_tasks()",
		"task_totals_insert": "CREATE TRIGGER task_totals_insert AFTER INSERT ON task REFERENCING NEW TABLE AS new_rows " +
			"FOR EACH STATEMENT EXECUTE FUNCTION count_tasks()",
		"task_totals_update": "CREATE TRIGGER task_totals_update AFTER UPDATE ON task " +
			"REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION count_tasks()",
		"task_totals_delete": "CREATE TRIGGER task_totals_delete AFTER DELETE ON task REFERENCING OLD TABLE AS old_rows " +
			"FOR EACH STATEMENT EXECUTE FUNCTION count_tasks()",
		"task_tombstones": "CREATE TRIGGER task_tombstones AFTER DELETE ON task REFERENCING OLD TABLE AS old_rows " +
			"FOR EACH STATEMENT EXECUTE FUNCTION record_tombstones('task')",
		"task_truncated": "CREATE TRIGGER task_truncated AFTER TRUNCATE ON task FOR EACH STATEMENT EXECUTE FUNCTION record_truncation()",
	})
}

func TestTaskRefusesInvalidValues(t *testing.T) {
	t.Parallel()
	address := dbtest.New(t)
	dbtest.AddUser(t, address, "ada")
	conn := connect(t, address)
	const insert = `insert into task (id, user_id, title, description, priority) values (gen_random_uuid(), $1, $2, $3, $4)`
	long := strings.Repeat("😀", 1000) // a character of four bytes
	for _, c := range []struct {
		name, user, title string
		description       any
		priority          any
		code, constraint  string
	}{
		{"longest", "ada", long[:200*4], long, "high", "", ""},
		{"shortest", "ada", "x", "", "low", "", ""},
		{"no description", "ada", "x", nil, "medium", "", ""},
		{"empty title", "ada", "", nil, "low", "23514", "chk_title_length"},
		{"long title", "ada", long[:201*4], nil, "low", "22001", ""},
		{"long description", "ada", "x", long + "x", "low", "23514", "chk_description_length"},
		{"unknown priority", "ada", "x", nil, "urgent", "23514", "chk_priority"},
		{"priority in capitals", "ada", "x", nil, "Low", "23514", "chk_priority"},
		{"empty priority", "ada", "x", nil, "", "23514", "chk_priority"},
		{"no priority", "ada", "x", nil, nil, "23502", ""},
		{"unknown user", "bob", "x", nil, "low", "23503", "fk_user"},
	} {
		_, err := conn.Exec(t.Context(), insert, c.user, c.title, c.description, c.priority)
		if got := sqlState(err); got != c.code || c.code == "" && err != nil {
			t.Errorf("%s: %v, want SQLSTATE %q", c.name, err, c.code)
		} else if c.constraint != "" && !strings.Contains(err.Error(), c.constraint) {
			t.Errorf("%s: %v, want constraint %s", c.name, err, c.constraint)
		}
	}
}

func TestUpdatedAtGrowsWithinOneTransaction(t *testing.T) {
	t.Parallel()
	conn := withTasks(t, 1)
	last := value[time.Time](t, conn, "select updated_at from task")
	exec(t, conn, "begin")
	for range 50 {
		next := value[time.Time](t, conn, "update task set title = title returning updated_at")
		if !next.After(last) {
			t.Fatalf("updated_at went from %s to %s", last, next)
		}
		last = next
	}
	exec(t, conn, "commit")
}

func TestUpdatedAtGrowsWhenTheClockStepsBack(t *testing.T) {
	t.Parallel()
	conn := withTasks(t, 1)
	// Equivalent to a clock that was set back by an hour: a row from an hour ahead.
	exec(t, conn, "alter table task disable trigger task_updated_at")
	ahead := value[time.Time](t, conn, "update task set updated_at = now() + interval '1 hour' returning updated_at")
	exec(t, conn, "alter table task enable trigger task_updated_at")
	for range 3 {
		next := value[time.Time](t, conn, "update task set title = title returning updated_at")
		if got := next.Sub(ahead); got != time.Microsecond {
			t.Fatalf("updated_at changed by %s, want 1µs, the smallest step", got)
		}
		ahead = next
	}
}

func TestUpdatedAtCannotBeSetByAStatement(t *testing.T) {
	t.Parallel()
	conn := withTasks(t, 1)
	before := value[time.Time](t, conn, "select updated_at from task")
	for _, text := range []string{"'2000-01-01'", "'2100-01-01'", "'infinity'", "null"} {
		after := value[time.Time](t, conn, "update task set updated_at = "+text+" returning updated_at")
		if !after.After(before) || after.After(before.Add(time.Hour)) {
			t.Errorf("set updated_at = %s gives %s after %s", text, after, before)
		}
		before = after
	}
	if value[bool](t, conn, "select created_at > updated_at from task") {
		t.Error("created_at changed")
	}
}

func TestDeletingAUserDeletesOnlyItsTasks(t *testing.T) {
	t.Parallel()
	address := dbtest.New(t)
	dbtest.AddUser(t, address, "ada", "bob")
	conn := connect(t, address)
	exec(t, conn, `insert into task (id, user_id, title)
		select u || i, u, 'x' from generate_series(1, 20) i, unnest(array['ada', 'bob']) u`)
	exec(t, conn, `delete from "user" where id = 'ada'`)
	got := value[string](t, conn, "select string_agg(distinct user_id, ' ') || ' ' || count(*) from task")
	if got != "bob 20" {
		t.Errorf("left: %s, want bob 20", got)
	}
}

// Better Auth deletes a user in one statement while the user's other sessions may still write. PostgreSQL resolves a
// deadlock with an error for one of the two: the user would be deleted in part.
func TestDeletingAUserDoesNotDeadlockWithItsWrites(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ held, write, code string }{
		// The deletion has locked the first task, and waits for the second while the third is written.
		"update": {"2", "update task set title = 'new' where id = '3'", ""},
		"delete": {"2", "delete from task where id = '3'", ""},
		// The deletion has locked the user, and waits for the first task.
		"insert": {"1", "insert into task (id, user_id, title) values ('new', 'ada', 'new')", "23503"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			holder := withTasks(t, 5)
			address := holder.Config().ConnString()
			exec(t, holder, "begin")
			exec(t, holder, "select from task where id = '"+c.held+"' for update")

			deletion := start(t, address, holder, `delete from "user" where id = 'ada'`)
			if len(deletion) > 0 {
				t.Fatalf("the test's premise: the deletion waits for the task; it ended with %v", <-deletion)
			}
			write := start(t, address, holder, c.write)
			exec(t, holder, "commit")
			if err := <-deletion; err != nil {
				t.Errorf("the deletion: %v", err)
			}
			if err := <-write; sqlState(err) != c.code || c.code == "" && err != nil {
				t.Errorf("the write: %v, want SQLSTATE %q", err, c.code)
			}
			if got := value[int](t, holder, "select count(*) from task"); got != 0 {
				t.Errorf("%d tasks of a deleted user, want none", got)
			}
		})
	}
}

// start runs a statement on a connection of its own. It returns when the statement has ended or waits for a lock.
func start(t *testing.T, address string, watcher *pgx.Conn, sql string) <-chan error {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	pid := conn.PgConn().PID()
	done := make(chan error, 1)
	go func() {
		_, err := conn.Exec(t.Context(), sql)
		done <- errors.Join(err, conn.Close(context.WithoutCancel(t.Context())))
	}()
	for len(done) == 0 && !value[bool](t, watcher, "select cardinality(pg_blocking_pids($1)) > 0", pid) {
	}
	return done
}

// withTasks returns a connection to a new database where ada has tasks with the ids 1 to n.
func withTasks(t *testing.T, n int) *pgx.Conn {
	t.Helper()
	address := dbtest.New(t)
	dbtest.AddUser(t, address, "ada")
	conn := connect(t, address)
	if _, err := conn.Exec(t.Context(), `insert into task (id, user_id, title)
		select i, 'ada', 'title ' || i from generate_series(1, $1::int) i`, n); err != nil {
		t.Fatal(err)
	}
	return conn
}

// definitions reads pairs of a name and a definition.
func definitions(t *testing.T, conn *pgx.Conn, sql string) map[string]string {
	t.Helper()
	rows, err := conn.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	var name, definition string
	if _, err := pgx.ForEachRow(rows, []any{&name, &definition}, func() error {
		found[name] = definition
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return found
}

func equal(t *testing.T, got, want map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] != want[name] {
			t.Errorf("%s\n     = %q\nwant   %q", name, got[name], want[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if _, wanted := want[name]; !wanted {
			t.Errorf("unexpected %s: %s", name, got[name])
		}
	}
}

// In production Better Auth often has a login of its own, with another search_path and no right on Docket's tables.
func TestTheOwnerOfUserCanDeleteAUserWithoutRightsOnTasks(t *testing.T) {
	t.Parallel()
	conn := withTasks(t, 3)
	role := "owner_of_" + value[string](t, conn, "select current_database()")
	exec(t, conn, "create role "+role)
	defer func() {
		exec(t, conn, "reset role")
		exec(t, conn, `alter table public."user" owner to current_user`)
		exec(t, conn, "drop owned by "+role)
		exec(t, conn, "drop role "+role)
	}()
	exec(t, conn, `alter table "user" owner to `+role)
	exec(t, conn, "grant usage, create on schema public to "+role)
	exec(t, conn, "set role "+role)
	exec(t, conn, "set search_path = pg_catalog")
	exec(t, conn, `delete from public."user" where id = 'ada'`)
	exec(t, conn, "reset role")
	if got := value[int](t, conn, "select count(*) from public.task"); got != 0 {
		t.Errorf("%d tasks of a deleted user, want none", got)
	}
	if got := value[int](t, conn, "select count(*) from public.tombstone"); got != 3 {
		t.Errorf("%d tombstones, want 3", got)
	}
}
