package migrations_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"docket/internal/dbtest"
	"docket/internal/devdb"
	"docket/migrations"
)

func TestMain(m *testing.M) { os.Exit(dbtest.Main(m)) }

func TestUpDownAndUpAgainResultInTheSameSchema(t *testing.T) {
	t.Parallel()
	address := withUserTable(t)
	conn := connect(t, address)
	before := dump(t, conn)

	up(t, address)
	migrated := dump(t, conn)
	if migrated == before {
		t.Fatal("up changed nothing")
	}
	for steps := range migrations.Newest() {
		down(t, address, int(steps)+1)
		if dump(t, conn) == migrated {
			t.Errorf("down by %d changed nothing", steps+1)
		}
		up(t, address)
		if got := dump(t, conn); got != migrated {
			t.Errorf("after %d down and up again the schema differs:\n%s", steps+1, difference(migrated, got))
		}
	}
	if log := down(t, address, 0); !strings.HasSuffix(log, "now at version 0\n") {
		t.Errorf("down says %q", log)
	}
	exec(t, conn, "drop table docket_schema_version") // created by tern and not by a migration
	if got := dump(t, conn); got != before {
		t.Errorf("down leaves something behind:\n%s", difference(before, got))
	}
}

func TestDownRevertsOnlyTheNewestMigration(t *testing.T) {
	t.Parallel()
	address := withUserTable(t)
	up(t, address)
	log := down(t, address, 1)
	names := state(t, address).Names
	want := fmt.Sprintf("down %03d %s\nnow at version %d\n", len(names), names[len(names)-1], len(names)-1)
	if log != want {
		t.Errorf("down says %q, want %q", log, want)
	}
	if got := state(t, address).Current; got != migrations.Newest()-1 {
		t.Errorf("version %d, want %d", got, migrations.Newest()-1)
	}
	down(t, address, 100)
	if got := state(t, address).Current; got != 0 {
		t.Errorf("after more steps down than there are: version %d, want 0", got)
	}
}

func TestUpKeepsTheTasksOfTheFirstVersion(t *testing.T) {
	t.Parallel()
	address := withUserTable(t)
	up(t, address)
	down(t, address, int(migrations.Newest())-1)
	conn := connect(t, address)
	dbtest.AddUser(t, address, "ada")
	exec(t, conn, `insert into task (id, user_id, title, updated_at, rev)
		select 'task ' || i, 'ada', 'title ' || i, '2026-01-02 03:04:05.678901Z', i from generate_series(1, 50) i`)
	const kept = `select count(*) from task
		where user_id = 'ada' and title = 'title ' || rev and updated_at = '2026-01-02 03:04:05.678901Z'`

	up(t, address)
	if got := value[int](t, conn, kept); got != 50 {
		t.Errorf("after up %d of 50 tasks are as they were", got)
	}
	down(t, address, int(migrations.Newest())-1)
	if got := value[int](t, conn, kept); got != 50 {
		t.Errorf("after down %d of 50 tasks are as they were", got)
	}
}

func TestUpTwiceHasNothingToDo(t *testing.T) {
	t.Parallel()
	address := withUserTable(t)
	first := up(t, address)
	var want strings.Builder
	for i, name := range state(t, address).Names {
		fmt.Fprintf(&want, "up %03d %s\n", i+1, name)
	}
	fmt.Fprintf(&want, "now at version %d\n", migrations.Newest())
	if first != want.String() {
		t.Errorf("first up says %q, want %q", first, &want)
	}
	again := fmt.Sprintf("already at version %d, nothing to do\n", migrations.Newest())
	if second := up(t, address); second != again {
		t.Errorf("second up says %q, want %q", second, again)
	}
}

func TestConcurrentUpsMigrateOnce(t *testing.T) {
	t.Parallel()
	address := withUserTable(t)
	logs := upAtOnce(t, slices.Repeat([]string{address}, 6))
	did := map[string]int{}
	for _, log := range logs {
		for line := range strings.Lines(log) {
			did[strings.TrimSpace(line)]++
		}
	}
	for i, name := range state(t, address).Names {
		if line := fmt.Sprintf("up %03d %s", i+1, name); did[line] != 1 {
			t.Errorf("%q was done %d times, want once; logs: %q", line, did[line], logs)
		}
	}
	if idle := fmt.Sprintf("already at version %d, nothing to do", migrations.Newest()); did[idle] != 5 {
		t.Errorf("%d of 6 found nothing to do, want 5; logs: %q", did[idle], logs)
	}
}

func TestUpWaitsForAnotherMigration(t *testing.T) {
	t.Parallel()
	address := withUserTable(t)
	other := connect(t, address)
	exec(t, other, "select pg_advisory_lock(x'646f636b6574'::bigint)") // which other versions of Docket also use

	waiting, done := make(chan struct{}), make(chan error, 1)
	var log bytes.Buffer // read after done
	var once sync.Once
	go func() {
		done <- migrations.Up(t.Context(), address, writer(func(p []byte) {
			log.Write(p)
			once.Do(func() { close(waiting) })
		}))
	}()
	<-waiting
	if got := value[bool](t, other, "select to_regclass('task') is null"); !got {
		t.Error("up did not wait")
	}
	exec(t, other, "select pg_advisory_unlock_all()")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if said := strings.Count(log.String(), "another process is migrating this database, waiting for it\n"); said != 1 {
		t.Errorf("up said %d times that it waits, want once: %q", said, &log)
	}
	if got := state(t, address); got.Current != got.Newest {
		t.Errorf("version %d, want %d", got.Current, got.Newest)
	}
}

func TestWaitingUpCanBeCanceled(t *testing.T) {
	t.Parallel()
	address := withUserTable(t)
	exec(t, connect(t, address), "select pg_advisory_lock(x'646f636b6574'::bigint)")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := migrations.Up(ctx, address, writer(func([]byte) { cancel() })) // canceled by the line that says it waits
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}

func TestStatusChangesNothing(t *testing.T) {
	t.Parallel()
	address := withUserTable(t)
	conn := connect(t, address)
	before := dump(t, conn)
	got := state(t, address)
	if got.Current != 0 || got.Newest == 0 || len(got.Names) != int(got.Newest) || got.Names[0] != "001_task.sql" {
		t.Errorf("before: %+v", got)
	}
	if after := dump(t, conn); after != before {
		t.Errorf("status changed the database:\n%s", difference(before, after))
	}
	up(t, address)
	if got := state(t, address); got.Current != got.Newest || len(got.Names) != int(got.Newest) {
		t.Errorf("after: %+v", got)
	}
}

func TestStatusNeedsOnlyTheRightToRead(t *testing.T) {
	t.Parallel()
	address := withUserTable(t)
	conn := connect(t, address)
	role, reader := dbtest.Login(t, address, "reader", "")
	if got := state(t, reader); got.Current != 0 {
		t.Errorf("before: %+v", got)
	}
	up(t, address)
	exec(t, conn, "grant select on docket_schema_version to "+role)
	if got := state(t, reader); got.Current != got.Newest {
		t.Errorf("after: %+v", got)
	}
}

func TestADatabaseThatIsNewerThanTheBinaryIsRefused(t *testing.T) {
	t.Parallel()
	address := withUserTable(t)
	up(t, address)
	conn := connect(t, address)
	newer := migrations.Newest() + 1
	exec(t, conn, fmt.Sprintf("update docket_schema_version set version = %d", newer))
	before := dump(t, conn)

	err := migrations.Up(t.Context(), address, &bytes.Buffer{})
	want := fmt.Sprintf("the database is at version %d, newer than this binary's %d: nothing done", newer, migrations.Newest())
	if err == nil || err.Error() != want {
		t.Errorf("up: %v, want %q", err, want)
	}
	if err := migrations.Down(t.Context(), address, 1, &bytes.Buffer{}); err == nil {
		t.Error("down reverted a migration that this binary does not have")
	}
	if got := state(t, address); got.Current != newer || got.Newest != newer-1 {
		t.Errorf("status: %+v", got)
	}
	if after := dump(t, conn); after != before {
		t.Errorf("a refusal changed the database:\n%s", difference(before, after))
	}
}

// oldSQL creates the relevant parts of the schema that the unreleased migrations left at their last version.
const oldSQL = `
create table docket_schema_version (version integer not null);
insert into docket_schema_version values (7);
create table task (
  id         varchar(255) primary key,
  user_id    varchar(255) not null references "user" (id) on delete cascade,
  title      varchar(200) not null,
  created_at timestamptz  not null default now(),
  rev        bigint       not null default 1
);
insert into task (id, user_id, title) values ('1', 'ada', 'one'), ('2', 'ada', 'two');
create table task_tombstone ();
create table task_summary ();
create table idempotency_key ();
create function update_updated_at_column() returns trigger language plpgsql as 'begin return new; end';
create function task_owner_lock() returns trigger language plpgsql as 'begin return new; end';
create function task_revision() returns trigger language plpgsql as 'begin return new; end';
create function task_changed() returns trigger language plpgsql as 'begin return new; end';
create function task_summary_add(varchar, bigint, boolean, varchar, bigint) returns void language sql as '';
create function task_summary_rebuild() returns void language sql as '';
create function next_revision(varchar) returns bigint language sql as 'select 1::bigint';
create trigger task_revision before insert or update on task for each row execute function task_revision();
`

// oldVersions are statements that turn that schema into earlier versions.
var oldVersions = map[string]string{
	"last": "",
	"first": `
update docket_schema_version set version = 1;
drop table task_tombstone, task_summary, idempotency_key;
drop trigger task_revision on task;
drop function task_owner_lock, task_revision, task_changed, task_summary_add, task_summary_rebuild, next_revision;
alter table task drop column rev`,
}

func TestADatabaseOfTheOldNumberingIsRefused(t *testing.T) {
	t.Parallel()
	for version, change := range oldVersions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			address := withUserTable(t)
			dbtest.AddUser(t, address, "ada")
			conn := connect(t, address)
			exec(t, conn, oldSQL+change)
			before := dump(t, conn)
			_, status := migrations.Status(t.Context(), address)
			for what, err := range map[string]error{
				"up":     migrations.Up(t.Context(), address, &bytes.Buffer{}),
				"down":   migrations.Down(t.Context(), address, 1, &bytes.Buffer{}),
				"status": status,
			} {
				if !errors.Is(err, migrations.ErrOldNumbering) {
					t.Errorf("%s: %v, want ErrOldNumbering", what, err)
				}
			}
			if after := dump(t, conn); after != before {
				t.Errorf("a refusal changed the database:\n%s", difference(before, after))
			}

			// What the error says to do: dump the tasks, reset, restore them.
			columns := value[string](t, conn, `
				select string_agg(attname, ', ' order by attnum) from pg_attribute where attrelid = 'task'::regclass and attnum > 0 and not attisdropped`)
			tasks := copyOut(t, conn, "task")
			if log := down(t, address, 0); log != "now at version 0\n" {
				t.Errorf("down says %q", log)
			}
			up(t, address)
			if err := copyIn(t, conn, "task ("+columns+")", tasks); err != nil {
				t.Fatal(err)
			}
			if got := value[string](t, conn, "select string_agg(title, ' ' order by id) from task"); got != "one two" {
				t.Errorf("restored: %s, want one two", got)
			}
			if wrong := value[string](t, conn, wrongSummariesSQL); wrong != "" {
				t.Error(wrong)
			}
			down(t, address, 0)
			exec(t, conn, "drop table docket_schema_version")
			if left, want := dump(t, conn), dump(t, connect(t, withUserTable(t))); left != want {
				t.Errorf("something of the old migrations is left:\n%s", difference(want, left))
			}
		})
	}
}

// The names of the old tables do not matter before Docket was migrated: the tables belong to somebody else.
func TestOtherTablesAreNotMistakenForTheOldNumbering(t *testing.T) {
	t.Parallel()
	address := withUserTable(t)
	conn := connect(t, address)
	exec(t, conn, "create table task_tombstone ()")
	if got := state(t, address).Current; got != 0 {
		t.Errorf("version %d, want 0", got)
	}
	down(t, address, 0)
	if !value[bool](t, conn, "select to_regclass('task_tombstone') is not null") {
		t.Error("down dropped a table that is not Docket's")
	}
}

func TestMissingUserTableNamesBetterAuthsMigration(t *testing.T) {
	t.Parallel()
	address := dbtest.Empty(t)
	err := migrations.Up(t.Context(), address, &bytes.Buffer{})
	if !errors.Is(err, migrations.ErrNoUserTable) || !strings.Contains(err.Error(), migrations.BetterAuthMigrate) {
		t.Errorf("error %v", err)
	}
	if got := state(t, address).Current; got != 0 {
		t.Errorf("version %d, want 0", got)
	}
	// With the table, the same command succeeds.
	exec(t, connect(t, address), devdb.UserFixtureSQL)
	up(t, address)
}

func TestUserIDsThatAreNotTextAreRefused(t *testing.T) {
	t.Parallel()
	for typ, want := range map[string]error{
		"uuid":         migrations.ErrUserIDNotText,
		"integer":      migrations.ErrUserIDNotText,
		"bigint":       migrations.ErrUserIDNotText,
		"text":         nil,
		"varchar(36)":  nil,
		"varchar(255)": nil,
	} {
		t.Run(typ, func(t *testing.T) {
			t.Parallel()
			address := dbtest.Empty(t)
			exec(t, connect(t, address), `create table "user" (id `+typ+` primary key)`)
			err := migrations.Up(t.Context(), address, &bytes.Buffer{})
			if !errors.Is(err, want) {
				t.Fatalf("error %v, want %v", err, want)
			}
			if want == nil {
				return
			}
			for _, part := range []string{typ, "generateId"} { // what it is, and what to do
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not name %s", err, part)
				}
			}
			if got := state(t, address).Current; got != 0 {
				t.Errorf("version %d, want 0", got)
			}
		})
	}
}

func TestThePrivilegeToReferenceUserSufficesToMigrate(t *testing.T) {
	t.Parallel()
	address := withUserTable(t)
	dbtest.AddUser(t, address, "ada")
	conn := connect(t, address)
	up(t, dbtest.New(t)) // creates docket_app
	role, migrator := dbtest.Login(t, address, "migrator", "")
	exec(t, conn, "grant create, usage on schema public to "+role)
	exec(t, conn, "grant docket_app to "+role)
	if err := migrations.Up(t.Context(), migrator, &bytes.Buffer{}); err == nil {
		t.Fatal("a foreign key without the right to reference")
	}
	exec(t, conn, `grant references (id) on "user" to `+role)
	up(t, migrator)

	mine := connect(t, migrator)
	exec(t, mine, "insert into task (id, user_id, title) values ('1', 'ada', 'one')")
	if _, err := mine.Exec(t.Context(), `select id from "user"`); sqlState(err) != "42501" {
		t.Errorf("reading users: %v, want 42501: the test's premise", err)
	}
	exec(t, conn, `delete from "user" where id = 'ada'`)
	if got := value[int](t, mine, "select count(*) from task"); got != 0 {
		t.Errorf("%d tasks of a deleted user, want none", got)
	}
	down(t, migrator, 0)
}

func TestUpFailsOnAnInvalidIndex(t *testing.T) {
	t.Parallel()
	address := dbtest.New(t)
	dbtest.AddUser(t, address, "ada")
	conn := connect(t, address)
	exec(t, conn, "insert into task (id, user_id, title) values ('1', 'ada', 'same'), ('2', 'ada', 'same')")
	if _, err := conn.Exec(t.Context(), "create unique index concurrently idx_half_built on task (title)"); err == nil {
		t.Fatal("the test's premise: this build fails and leaves an invalid index")
	}
	err := migrations.Up(t.Context(), address, &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), "idx_half_built") {
		t.Errorf("error %v, want one that names idx_half_built", err)
	}
}

func TestErrorsDoNotContainThePassword(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		"postgres://ada:hunter2@127.0.0.1:port/docket",
		"postgres://ada:hunter2@127.0.0.1:1/docket?sslmode=disable",
	} {
		_, status := migrations.Status(t.Context(), address)
		for what, err := range map[string]error{
			"up":     migrations.Up(t.Context(), address, &bytes.Buffer{}),
			"down":   migrations.Down(t.Context(), address, 1, &bytes.Buffer{}),
			"status": status,
		} {
			if err == nil {
				t.Errorf("%s with %s succeeded", what, address)
			} else if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s repeats the password: %v", what, err)
			}
		}
	}
}

// withUserTable returns the address of a new database that has Better Auth's table and nothing else.
// A test suite's clean-up often truncates every table. The error says what to run, and that restores the database.
//
// fault B5
func TestATruncatedDatabaseIsNotChangedButExplained(t *testing.T) {
	t.Parallel()
	address := withUserTable(t)
	up(t, address)
	conn := connect(t, address)
	exec(t, conn, `
do $$
begin
  execute (select 'truncate ' || string_agg(format('%I', tablename), ', ') from pg_tables where schemaname = 'public');
end;
$$`)
	truncated := dump(t, conn)
	_, status := migrations.Status(t.Context(), address)
	for verb, err := range map[string]error{
		"up":     migrations.Up(t.Context(), address, &bytes.Buffer{}),
		"down":   migrations.Down(t.Context(), address, 1, &bytes.Buffer{}),
		"reset":  migrations.Down(t.Context(), address, 0, &bytes.Buffer{}),
		"status": status,
	} {
		if !errors.Is(err, migrations.ErrNoVersion) {
			t.Errorf("%s: %v", verb, err)
		}
	}
	if now := dump(t, conn); now != truncated {
		t.Errorf("changed:\n%s", difference(truncated, now))
	}
	_, command, _ := strings.Cut(migrations.ErrNoVersion.Error(), `psql -c "`)
	sql, _, _ := strings.Cut(command, `"`)
	exec(t, conn, sql)
	if log := up(t, address); !strings.HasPrefix(log, "already at version") {
		t.Errorf("up says %q", log)
	}
	if n := value[int](t, conn, "select count(*) from docket_epoch"); n != 1 {
		t.Errorf("%d epochs", n)
	}
	down(t, address, 0)
	up(t, address)
}

func withUserTable(t *testing.T) string {
	t.Helper()
	address := dbtest.Empty(t)
	exec(t, connect(t, address), devdb.UserFixtureSQL)
	return address
}

func up(t *testing.T, address string) string {
	t.Helper()
	var log strings.Builder
	if err := migrations.Up(t.Context(), address, &log); err != nil {
		t.Fatalf("up: %v; log:\n%s", err, &log)
	}
	return log.String()
}

// upAtOnce migrates all databases at the same time, each on a connection of its own, and returns their logs.
func upAtOnce(t *testing.T, addresses []string) []string {
	t.Helper()
	logs := make([]bytes.Buffer, len(addresses))
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i, address := range addresses {
		wg.Go(func() {
			<-start
			if err := migrations.Up(t.Context(), address, &logs[i]); err != nil {
				t.Errorf("number %d: %v; log:\n%s", i, err, &logs[i])
			}
		})
	}
	close(start)
	wg.Wait()
	var said []string
	for i := range logs {
		said = append(said, logs[i].String())
	}
	return said
}

func down(t *testing.T, address string, steps int) string {
	t.Helper()
	var log strings.Builder
	if err := migrations.Down(t.Context(), address, steps, &log); err != nil {
		t.Fatalf("down: %v; log:\n%s", err, &log)
	}
	return log.String()
}

func state(t *testing.T, address string) migrations.State {
	t.Helper()
	s, err := migrations.Status(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
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

func exec(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
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

type writer func(p []byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }
