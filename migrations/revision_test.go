package migrations_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"docket/internal/dbtest"
)

// labelSQL is all that a second resource needs.
const labelSQL = `
create table label (
  id      varchar(255) primary key,
  user_id varchar(255) not null references "user" (id) on delete cascade,
  name    text         not null,
  rev     bigint       not null
);

create trigger label_lock_owner before insert or update or delete on label for each statement execute function lock_owner();
create trigger label_revision before insert or update or delete on label for each row execute function set_revision('label');
create trigger label_inserted after insert on label referencing new table as new_rows for each statement execute function record_revision();
create trigger label_updated after update on label referencing new table as new_rows for each statement execute function record_revision();
create trigger label_deleted after delete on label referencing old table as old_rows for each statement execute function record_tombstones('label');
create trigger label_truncated after truncate on label for each statement execute function record_truncation();

grant select, insert, update, delete on label to docket_app;
select isolate_by_owner('label')`

const (
	revisionSQL = "select rev from task_summary where user_id = 'ada'"
	purgedSQL   = "select purged_rev from task_summary where user_id = 'ada'"
)

func TestASecondResourceNeedsOnlyTriggers(t *testing.T) {
	t.Parallel()
	conn := withTasks(t, 3)
	exec(t, conn, labelSQL)
	dbtest.AddUser(t, conn.Config().ConnString(), "bob")
	const newestSQL = "select max(rev) from (select user_id, rev from label union all select user_id, rev from tombstone) as all_rows where user_id = 'ada'"
	for _, change := range []string{
		"insert into label (id, user_id, name) values ('1', 'ada', 'x'), ('2', 'ada', 'y'), ('3', 'ada', 'z')",
		"update label set name = 'new' where id = '1'",
		"update label set name = 'all'",
		"delete from label where id = '1'",
		"update label set user_id = 'bob' where id = '2'",
		"insert into label (id, user_id, name) values ('4', 'ada', 'x')",
		"update label set id = 'four' where id = '4'",
		"delete from label",
	} {
		seen := value[int64](t, conn, revisionSQL)
		exec(t, conn, "begin; set local role docket_app; set local app.user_id = 'ada'")
		if change == "update label set user_id = 'bob' where id = '2'" {
			exec(t, conn, "reset role") // row-level security forbids it to docket_app
		}
		exec(t, conn, change)
		exec(t, conn, "commit")
		newest, revision := value[int64](t, conn, newestSQL), value[int64](t, conn, revisionSQL)
		if revision <= seen || revision != newest {
			t.Errorf("%s: the revision was %d and is %d, the newest of a row %d", change, seen, revision, newest)
		}
	}
	const want = "ada label 1, ada label 2, ada label 3, ada label 4, ada label four"
	if got := value[string](t, conn, "select string_agg(concat_ws(' ', user_id, resource, id), ', ' order by user_id, id) from tombstone"); got != want {
		t.Errorf("tombstones: %s, want %s", got, want)
	}
	seen := value[int64](t, conn, revisionSQL)
	exec(t, conn, "truncate label")
	if purged := value[int64](t, conn, purgedSQL); purged <= seen {
		t.Errorf("truncating does not expire revision %d: purged up to %d", seen, purged)
	}
	if wrong := value[string](t, conn, wrongSummariesSQL); wrong != "" {
		t.Errorf("the totals of tasks: %s", wrong)
	}
}

// The tombstones of two resources may have the same id.
func TestTombstonesAreKeptByResource(t *testing.T) {
	t.Parallel()
	conn := withTasks(t, 1)
	exec(t, conn, labelSQL)
	exec(t, conn, "insert into label (id, user_id, name) values ('1', 'ada', 'x')")
	exec(t, conn, "delete from label")
	exec(t, conn, "delete from task")
	if got := value[string](t, conn, "select string_agg(resource || ' ' || id, ', ' order by rev) from tombstone"); got != "label 1, task 1" {
		t.Errorf("tombstones: %s", got)
	}
}

func TestPurgingTombstonesRaisesThePurgedRevision(t *testing.T) {
	t.Parallel()
	conn := withTasks(t, 5)
	dbtest.AddUser(t, conn.Config().ConnString(), "bob")
	exec(t, conn, "insert into task (id, user_id, title) values ('bob', 'bob', 'x')")
	exec(t, conn, "delete from task where id <> '5'")
	const newestSQL = "select coalesce(max(rev), 0) from tombstone where user_id = 'ada' and id in "
	revision := value[int64](t, conn, revisionSQL)
	if got := value[int64](t, conn, purgedSQL); got != 0 {
		t.Fatalf("purged up to %d before anything was", got)
	}

	// As the service does, and then as an operator does.
	second := value[int64](t, conn, newestSQL+"('1', '2')")
	exec(t, conn, "begin; set local role docket_app; set local app.user_id = 'ada'")
	exec(t, conn, "delete from tombstone where id in ('1', '2')")
	exec(t, conn, "commit")
	if got := value[int64](t, conn, purgedSQL); got != second {
		t.Errorf("purged up to %d, want %d", got, second)
	}
	exec(t, conn, "delete from tombstone where false")
	fourth := value[int64](t, conn, newestSQL+"('4')")
	exec(t, conn, "delete from tombstone where id = '4'")
	exec(t, conn, "delete from tombstone where id = '3'") // older than the one that was purged before
	if got := value[int64](t, conn, purgedSQL); got != fourth {
		t.Errorf("purged up to %d, want %d", got, fourth)
	}
	if got := value[int64](t, conn, revisionSQL); got != revision {
		t.Errorf("purging changed the revision from %d to %d", revision, got)
	}
	if got := value[int64](t, conn, "select purged_rev from task_summary where user_id = 'bob'"); got != 0 {
		t.Errorf("bob's tombstones were purged up to %d, although they are there", got)
	}
}

// A client at an earlier revision would never learn what was deleted.
func TestTruncatingExpiresEarlierRevisions(t *testing.T) {
	t.Parallel()
	for _, table := range []string{"task", "tombstone", `"user" cascade`, "task, tombstone"} {
		conn := withTasks(t, 5)
		exec(t, conn, "delete from task where id = '1'")
		seen := value[int64](t, conn, revisionSQL)
		exec(t, conn, "truncate "+table)
		purged, revision := value[int64](t, conn, purgedSQL), value[int64](t, conn, revisionSQL)
		if purged <= seen || revision < purged {
			t.Errorf("truncate %s: the revision was %d and is %d, purged up to %d", table, seen, revision, purged)
		}
		if wrong := value[string](t, conn, wrongSummariesSQL); wrong != "" {
			t.Errorf("truncate %s: %s", table, wrong)
		}
	}
}

func TestTheServiceCannotWriteRevisions(t *testing.T) {
	t.Parallel()
	conn := withTasks(t, 2)
	exec(t, conn, "delete from task where id = '1'")
	exec(t, conn, "set role docket_app; set app.user_id = 'ada'")
	for _, sql := range []string{
		"insert into task_summary (user_id, rev) values ('bob', 1)",
		"update task_summary set purged_rev = 0",
		"delete from task_summary",
		"insert into tombstone (user_id, resource, id, rev) values ('ada', 'task', 'x', 1)",
		"update tombstone set rev = 1",
		"truncate tombstone",
		"insert into docket_epoch default values",
		"update docket_epoch set epoch = gen_random_uuid()",
		"update docket_schema_version set version = 1",
		"select task_summary_rebuild()",
	} {
		if _, err := conn.Exec(t.Context(), sql); sqlState(err) != "42501" {
			t.Errorf("%s: %v, want 42501", sql, err)
		}
	}
	for _, sql := range []string{
		"select count(*) from task_summary where user_id = 'ada'", "select count(*) from tombstone",
		"select count(*) from docket_epoch", "select count(*) from docket_schema_version",
	} {
		if got := value[int](t, conn, sql); got != 1 {
			t.Errorf("%s: %d, want 1", sql, got)
		}
	}
}

// A restore writes the tasks of all owners in one statement. By default PostgreSQL has memory for some 7000 locks.
func TestAStatementForManyOwnersTakesFewLocks(t *testing.T) {
	t.Parallel()
	conn := connect(t, dbtest.New(t))
	exec(t, conn, `insert into "user" (id, name, email, "emailVerified") select i, '', i, true from generate_series(1, 3000) as i`)
	exec(t, conn, "begin")
	exec(t, conn, "insert into task (id, user_id, title) select i, i, 'x' from generate_series(1, 3000) as i")
	const locksSQL = "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()"
	if got := value[int](t, conn, locksSQL); got == 0 || got > 1024 {
		t.Errorf("%d locks, want 1 to 1024", got)
	}
	exec(t, conn, "commit")
	for _, sql := range []string{"update task set completed = true", "delete from task"} {
		exec(t, conn, sql)
		if wrong := value[string](t, conn, wrongSummariesSQL); wrong != "" {
			t.Fatalf("%s: %.200s", sql, wrong)
		}
	}
}

func TestEpochAndVersionHaveOneRowEach(t *testing.T) {
	t.Parallel()
	conn := connect(t, dbtest.New(t))
	const epochSQL = "select string_agg(epoch::text, ' ') from docket_epoch"
	const versionSQL = "select string_agg(version::text, ' ') from docket_schema_version"
	epoch, version := value[string](t, conn, epochSQL), value[string](t, conn, versionSQL)
	exec(t, conn, "insert into docket_epoch default values")
	exec(t, conn, "insert into docket_schema_version values (1), (2)")
	if got := value[string](t, conn, epochSQL); got != epoch {
		t.Errorf("the epoch was %s, and is %s", epoch, got)
	}
	if got := value[string](t, conn, versionSQL); got != version {
		t.Errorf("the version was %s, and is %s", version, got)
	}
	if got := value[string](t, conn, "update docket_epoch set epoch = gen_random_uuid() returning epoch::text"); got == epoch {
		t.Error("an epoch cannot be renewed")
	}
	// Even if they were deleted.
	exec(t, conn, "delete from docket_epoch; delete from docket_schema_version")
	if _, err := conn.Exec(t.Context(), "insert into docket_epoch select gen_random_uuid() from generate_series(1, 3)", pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	exec(t, conn, "insert into docket_schema_version values (4), (5)")
	if got := value[string](t, conn, versionSQL); got != "4" {
		t.Errorf("versions %s, want 4", got)
	}
	if got := value[int](t, conn, "select count(*) from docket_epoch"); got != 1 {
		t.Errorf("%d epochs, want 1", got)
	}
}
