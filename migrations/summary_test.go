package migrations_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"docket/internal/dbtest"
	"docket/migrations"
)

// wrongSummariesSQL describes the summaries whose totals are not the numbers of tasks, or whose revision is older than a
// task or a tombstone.
const wrongSummariesSQL = `
select coalesce(string_agg(concat(user_id, ': ', stored, ', counted ', counted), e'\n'), '')
from (
  select user_id, rev, purged_rev,
    array[pending_low, pending_medium, pending_high, completed_low, completed_medium, completed_high]::text as stored
  from task_summary
) as summary
full join (
  select user_id, max(rev) as newest, array[
      count(*) filter (where completed is false and priority = 'low'),
      count(*) filter (where completed is false and priority = 'medium'),
      count(*) filter (where completed is false and priority = 'high'),
      count(*) filter (where completed is true and priority = 'low'),
      count(*) filter (where completed is true and priority = 'medium'),
      count(*) filter (where completed is true and priority = 'high')
    ]::text as counted
  from (
    select user_id, rev, completed, priority from task
    union all
    select user_id, rev, null, null from tombstone
  ) as known
  group by user_id
) as truth using (user_id)
where stored is distinct from coalesce(counted, '{0,0,0,0,0,0}') or newest > rev or purged_rev > rev`

// summaryChanges are statements as the service sends them, and others as people write them.
var summaryChanges = []string{
	"insert into task (id, user_id, title) values (gen_random_uuid(), 'ada', 'x')",
	"insert into task (id, user_id, title, priority, completed) values (gen_random_uuid(), 'bob', 'x', 'high', true)",
	`insert into task (id, user_id, title, priority, completed)
		select gen_random_uuid(), (array['ada', 'bob', 'eve'])[1 + i % 3], 'x', (array['low', 'medium', 'high'])[1 + i % 3], i % 2 = 0
		from generate_series(1, 12) i`,
	"insert into task (id, user_id, title) select id, user_id, title from task limit 1 on conflict do nothing",
	"insert into task (id, user_id, title) select id, user_id, title from task limit 1 on conflict (id) do update set completed = not task.completed",
	"update task set completed = not completed where id in (select id from task order by random() limit 1)",
	"update task set title = title || '.' where length(title) < 100 and id in (select id from task order by random() limit 3)",
	"update task set priority = (array['low', 'medium', 'high'])[1 + floor(random() * 3)] where random() < 0.3",
	"update task set title = 'x' where false",
	"update task set user_id = 'eve' where id in (select id from task order by random() limit 2)",
	"update task set id = gen_random_uuid() where id in (select id from task order by random() limit 2)",
	"delete from task where id in (select id from task order by random() limit 1)",
	"delete from task where random() < 0.2",
	"delete from task where false",
	`delete from "user" where id = 'bob'; insert into "user" (id, name, email, "emailVerified") values ('bob', 'Bob', 'bob@example.com', true)`,
	"begin; delete from task where random() < 0.5; rollback",
	"begin; insert into task (id, user_id, title) values (gen_random_uuid(), 'ada', 'x'); update task set completed = true; commit",
	"delete from tombstone where random() < 0.3",
	"truncate task",
	"truncate tombstone",
	"select task_summary_rebuild()",
}

func TestTotalsEqualTheNumberOfTasks(t *testing.T) {
	t.Parallel()
	address := dbtest.New(t)
	dbtest.AddUser(t, address, "ada", "eve")
	conn := connect(t, address)
	exec(t, conn, `insert into "user" (id, name, email, "emailVerified") values ('bob', 'Bob', 'bob@example.com', true)`)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var newest, purged int64
	for range 400 {
		sql := summaryChanges[random.IntN(len(summaryChanges))]
		exec(t, conn, sql)
		if wrong := value[string](t, conn, wrongSummariesSQL); wrong != "" {
			t.Fatalf("after %s\n%s", sql, wrong)
		}
		rev := value[int64](t, conn, "select coalesce(max(rev), 0) from task_summary where user_id = 'ada'")
		floor := value[int64](t, conn, "select coalesce(max(purged_rev), 0) from task_summary where user_id = 'ada'")
		if rev < newest || floor < purged {
			t.Fatalf("the revision went from %d to %d, the purged one from %d to %d, after %s", newest, rev, purged, floor, sql)
		}
		newest, purged = rev, floor
	}
}

// This is the state after tasks were loaded while their triggers were disabled.
func TestRebuildingCorrectsTotals(t *testing.T) {
	t.Parallel()
	conn := withTasks(t, 5)
	exec(t, conn, `set session_replication_role = replica;
		delete from task where id = '1';
		insert into task (id, user_id, title, completed, rev) values ('new', 'ada', 'x', true, 7), ('first', 'bob', 'x', true, 8);
		set session_replication_role = default`)
	if value[string](t, conn, wrongSummariesSQL) == "" {
		t.Fatal("the test's premise: the summaries are wrong")
	}
	exec(t, conn, "select task_summary_rebuild()")
	if wrong := value[string](t, conn, wrongSummariesSQL); wrong != "" {
		t.Error(wrong)
	}
}

// A client that has a list with a wrong total must not receive a 304.
func TestRebuildingRaisesTheRevisionAndExpiresTheFeed(t *testing.T) {
	t.Parallel()
	conn := withTasks(t, 5)
	const revSQL = "select rev from task_summary where user_id = 'ada'"
	for name, change := range map[string]string{
		"tasks went":          "delete from task where id = '1'",
		"tasks came":          "insert into task (id, user_id, title, rev) values ('new', 'ada', 'x', 7)",
		"the total was wrong": "update task_summary set pending_low = 9",
	} {
		seen := value[int64](t, conn, revSQL)
		exec(t, conn, "set session_replication_role = replica; "+change+"; set session_replication_role = default")
		exec(t, conn, "select task_summary_rebuild()")
		if rev := value[int64](t, conn, revSQL); rev <= seen {
			t.Errorf("%s: the revision is %d, and was %d", name, rev, seen)
		}
		if purged := value[int64](t, conn, "select purged_rev from task_summary where user_id = 'ada'"); purged <= seen {
			t.Errorf("%s: a client at revision %d misses what was purged up to %d", name, seen, purged)
		}
	}
}

func TestUpCountsExistingTasks(t *testing.T) {
	t.Parallel()
	conn := withTasks(t, 5)
	address := conn.Config().ConnString()
	exec(t, conn, "delete from task where id = '2'")
	down(t, address, int(migrations.Newest())-2) // to the version without totals
	exec(t, conn, "update task set completed = true where id = '3'")
	up(t, address)
	if wrong := value[string](t, conn, wrongSummariesSQL); wrong != "" {
		t.Error(wrong)
	}
}
