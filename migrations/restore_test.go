package migrations_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"docket/internal/dbtest"
)

// restoredTables are the tables of a dump of data only, without "user", which others refer to.
var restoredTables = []string{
	"task", "task_summary", "tombstone", "task_tag", "docket_epoch", "docket_schema_version", "idempotency_key",
}

// dumpedSQL fills a database to be dumped. The owners are o1 to o60 and clock, whose revisions are in the future, as
// after a clock was wrong. The user o60 was deleted.
const dumpedSQL = `
insert into task (id, user_id, title, priority, completed, tags)
select 't' || i, 'o' || 1 + i % 60, 'x', (array['low', 'medium', 'high'])[1 + i % 3], i % 2 = 0, array['Tag', 'tag ' || i % 7]
from generate_series(1, 600) as i;
insert into task (id, user_id, title) values ('ahead', 'clock', 'x');
update task_summary set rev = 9000000000000000 where user_id = 'clock';
delete from task where id like '%7';
delete from "user" where id = 'o60';
update tombstone set deleted_at = now() - interval '91 days' where id like '%27';
delete from tombstone where deleted_at < now() - interval '90 days';
insert into idempotency_key (user_id, key, request_hash, resource, response)
select user_id, 'key of ' || id, '', 'task', to_jsonb(task) from task;
update docket_epoch set epoch = gen_random_uuid() -- test databases are copies of one`

// tombstonesSQL and keysSQL read all that must be restored as it was.
const (
	tombstonesSQL = "select jsonb_agg(to_jsonb(tombstone) order by user_id, id)::text from tombstone"
	keysSQL       = "select jsonb_agg(to_jsonb(idempotency_key) order by user_id, key)::text from idempotency_key"
)

func TestTotalsAreCorrectAfterRestoringTablesInAnyOrder(t *testing.T) {
	t.Parallel()
	from, to := dumped(t), withDumpedUsers(t)
	orders := permutations(restoredTables[:4])
	for _, order := range orders {
		exec(t, to, "begin")
		for _, table := range append(order, restoredTables[4:]...) {
			copyRows(t, from, to, table)
		}
		if wrong := restoredWrongly(t, from, to); wrong != "" {
			t.Errorf("%v: %s", order, wrong)
		}
		exec(t, to, "rollback")
	}
	if len(orders) != 24 {
		t.Errorf("%d orders, want 24", len(orders))
	}
}

// Like pg_restore with the option --jobs: one transaction for each table, concurrently.
func TestTablesCanBeRestoredConcurrently(t *testing.T) {
	t.Parallel()
	from := dumped(t)
	rows := map[string][]byte{}
	for _, table := range restoredTables {
		rows[table] = copyOut(t, from, table)
	}
	for range 5 {
		to := withDumpedUsers(t)
		start := make(chan struct{})
		var wg sync.WaitGroup
		for _, table := range restoredTables {
			conn := connect(t, to.Config().ConnString())
			wg.Go(func() {
				<-start
				if err := copyIn(t, conn, table, rows[table]); err != nil {
					t.Error(err)
				}
			})
		}
		close(start)
		wg.Wait()
		if wrong := restoredWrongly(t, from, to); wrong != "" {
			t.Error(wrong)
		}
	}
}

// Both write the summaries of many owners, in any order. If the second did not wait for the first to end, each would
// end up waiting for a row of the other.
func TestRestoringATableDoesNotDeadlockWithWritingTasks(t *testing.T) {
	t.Parallel()
	for _, restore := range []string{
		"insert into task_summary (user_id, rev) values ('bob', 1), ('ada', 1)",
		"insert into tombstone (user_id, resource, id, rev) values ('bob', 'task', '1', 1), ('ada', 'task', '1', 9000000000000000)",
	} {
		address := dbtest.New(t)
		dbtest.AddUser(t, address, "ada", "bob")
		conn := connect(t, address)
		exec(t, conn, "begin")
		exec(t, conn, "insert into task (id, user_id, title) values ('a', 'ada', 'x')")
		restored := start(t, address, conn, restore)
		exec(t, conn, "insert into task (id, user_id, title) values ('b', 'bob', 'x')")
		exec(t, conn, "commit")
		if err := <-restored; err != nil {
			t.Errorf("%s: %v", restore, err)
		}
		if wrong := value[string](t, conn, wrongSummariesSQL); wrong != "" {
			t.Errorf("%s: %s", restore, wrong)
		}
	}
}

// dumped returns a connection to a database with the rows to be restored.
func dumped(t *testing.T) *pgx.Conn {
	t.Helper()
	conn := withDumpedUsers(t)
	exec(t, conn, dumpedSQL)
	return conn
}

// withDumpedUsers returns a connection to a new database with the users of dumpedSQL.
func withDumpedUsers(t *testing.T) *pgx.Conn {
	t.Helper()
	users := []string{"clock"}
	for i := range 60 {
		users = append(users, fmt.Sprintf("o%d", i+1))
	}
	address := dbtest.New(t)
	dbtest.AddUser(t, address, users...)
	return connect(t, address)
}

// restoredWrongly returns a description of everything that differs from the original after all tables were restored.
func restoredWrongly(t *testing.T, from, to *pgx.Conn) string {
	t.Helper()
	var wrong []string
	for _, sql := range []string{"select count(*)::text from task", tombstonesSQL, keysSQL} {
		if got, want := value[string](t, to, sql), value[string](t, from, sql); got != want {
			wrong = append(wrong, fmt.Sprintf("%s\n     = %s\nwant   %s", sql, got, want))
		}
	}
	for _, sql := range []string{
		wrongSummariesSQL,
		"select case when (select count(*) from task_tag) = (select sum(cardinality(tags)) from task) then '' else 'the tags are wrong' end",
		"select case count(*) when 1 then '' else count(*) || ' versions' end from docket_schema_version",
		"select case count(*) when 1 then '' else count(*) || ' epochs' end from docket_epoch",
	} {
		wrong = append(wrong, value[string](t, to, sql))
	}
	if value[string](t, to, "select epoch::text from docket_epoch") == value[string](t, from, "select epoch::text from docket_epoch") {
		wrong = append(wrong, "the epoch is that of the dump")
	}
	// An owner's revisions never go back, and what was purged stays purged.
	rows, err := from.Query(t.Context(), "select user_id, rev, purged_rev from task_summary")
	if err != nil {
		t.Fatal(err)
	}
	var owner string
	var revision, purged int64
	if _, err := pgx.ForEachRow(rows, []any{&owner, &revision, &purged}, func() error {
		if !value[bool](t, to, "select coalesce(bool_and(rev >= $2 and purged_rev >= $3), false) from task_summary where user_id = $1", owner, revision, purged) {
			wrong = append(wrong, owner+" went back")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(strings.Join(wrong, "\n"))
}

func copyRows(t *testing.T, from, to *pgx.Conn, table string) {
	t.Helper()
	if err := copyIn(t, to, table, copyOut(t, from, table)); err != nil {
		t.Fatal(err)
	}
}

// copyOut reads a table as pg_dump does.
func copyOut(t *testing.T, conn *pgx.Conn, table string) []byte {
	t.Helper()
	var rows bytes.Buffer
	if _, err := conn.PgConn().CopyTo(t.Context(), &rows, "copy public."+table+" to stdout"); err != nil {
		t.Fatal(err)
	}
	return rows.Bytes()
}

// copyIn writes a table as the output of pg_dump does, which sets the search path.
func copyIn(t *testing.T, conn *pgx.Conn, table string, rows []byte) error {
	if _, err := conn.Exec(t.Context(), "select set_config('search_path', '', false)"); err != nil {
		return err
	}
	if _, err := conn.PgConn().CopyFrom(t.Context(), bytes.NewReader(rows), "copy public."+table+" from stdin"); err != nil {
		return fmt.Errorf("%s: %w", table, err)
	}
	_, err := conn.Exec(t.Context(), "reset search_path")
	return err
}

// permutations returns all orders of the items.
func permutations(items []string) (all [][]string) {
	if len(items) == 0 {
		return [][]string{nil}
	}
	for _, rest := range permutations(items[1:]) {
		for i := range items {
			order := append(append([]string{}, rest[:i]...), items[0])
			all = append(all, append(order, rest[i:]...))
		}
	}
	return all
}
