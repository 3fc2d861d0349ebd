package main

import (
	"context"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"

	"docket/internal/devdb"
	"docket/migrations"
)

// group is a number of owners with as many tasks each.
type group struct{ owners, tasks int }

// dataset is the content of a task table: the owners of all groups, numbered from 0. The id of owner n is the MD5 hash of
// "owner n": 32 characters, as Better Auth makes them.
type dataset []group

func (d dataset) owners() (n int) {
	for _, g := range d {
		n += g.owners
	}
	return n
}

func (d dataset) tasks() (n int) {
	for _, g := range d {
		n += g.owners * g.tasks
	}
	return n
}

// create creates a database with the dataset and returns its URL.
func (d dataset) create(ctx context.Context, db *devdb.Server, name string, log io.Writer) (url string, err error) {
	fmt.Fprintf(log, "loading %d tasks of %d owners\n", d.tasks(), d.owners())
	if err := execute(ctx, db.URL("postgres"), "create database "+name); err != nil {
		return "", err
	}
	url = db.URL(name)
	if err := execute(ctx, url, devdb.UserFixtureSQL); err != nil {
		return "", err
	}
	if err := migrations.Up(ctx, url, io.Discard); err != nil {
		return "", err
	}
	return url, onDatabase(ctx, url, func(conn *pgx.Conn) error { return d.fill(ctx, conn) })
}

func onDatabase(ctx context.Context, url string, do func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return do(conn)
}

// execute executes statements one after the other.
func execute(ctx context.Context, url string, statements ...string) error {
	return onDatabase(ctx, url, func(conn *pgx.Conn) error {
		for _, s := range statements {
			if _, err := conn.Exec(ctx, s); err != nil {
				return fmt.Errorf("%s: %w", s, err)
			}
		}
		return nil
	})
}

const (
	indexesSQL = `
select format('alter table %s drop constraint %I', conrelid::regclass, conname),
       format('alter table %s add constraint %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
from pg_constraint
where conrelid in ('task'::regclass, 'task_tag'::regclass) and contype in ('p', 'u')
union all
select format('drop index %s', indexrelid::regclass), pg_get_indexdef(indexrelid)
from pg_index
where indrelid in ('task'::regclass, 'task_tag'::regclass)
  and not exists (select from pg_constraint where conindid = indexrelid and contype in ('p', 'u'))`

	fillUsersSQL = `
insert into "user" (id, name, email, "emailVerified")
select id, id, id || '@example.com', true
from (select md5('owner ' || n) as id from generate_series(0, $1::int - 1) n) owners`

	// The rows of one owner are spread evenly over the table, as after years of use. Every second task has a due date, every
	// fifth a time as well, and every twentieth recurs. A task has up to four tags, two on average, of its owner's twelve.
	fillTasksSQL = `
insert into task (
  id, user_id, title, description, priority, completed, completed_at, created_at, updated_at, rev,
  tags, due_date, due_time, time_zone, due_at, due_order, recurrence_rule, series_id, occurrence_date
)
select id,
       md5('owner ' || owner),
       'Prepare the quarterly report ' || n,
       case when n % 2 = 0 then 'Figures from the finance team are due on Thursday.' end,
       (array['low', 'medium', 'high'])[1 + n % 3],
       n % 4 = 3,
       case when n % 4 = 3 then created end,
       created,
       created,
       position,
       (array['home', 'work', 'garden', 'errands', 'family', 'reading', 'health', 'money', 'travel', 'music', 'friends', 'later'])
         [1 + n % 9:n % 9 + (n / 2) % 5],
       day, "time", zone, (day + "time") at time zone zone, day + coalesce("time", time '23:59:59'),
       case when recurs then 'FREQ=WEEKLY' end,
       case when recurs then id end,
       case when recurs then day end
from (
  select first + i % owners as owner, i / owners as n, row_number() over (order by (i + 0.5) / (owners * tasks)) as position,
         gen_random_uuid()::text as id
  from unnest($1::int[], $2::int[], $3::int[]) as groups (first, owners, tasks), generate_series(0, owners * tasks - 1) as i
) as placed,
lateral (
  select now() - interval '1 day' - ($4::int - position) * interval '1 second' as created,
         case when n % 8 < 4 then date '2026-01-01' + n * 7 % 731 end as day,
         case when n % 8 < 4 and n % 5 < 2 then time '08:00' + n % 20 * interval '30 minutes' end as "time",
         case when n % 8 < 4 and n % 5 < 2 then (array['America/Los_Angeles', 'Europe/Berlin', 'Pacific/Auckland'])[1 + n % 3] end as zone,
         n % 40 in (10, 33) as recurs -- these are pending, and one of the two has a time
) as due`

	fillTagsSQL = `
insert into task_tag (user_id, folded, task_id, name)
select user_id, name, id, name -- all are in small letters
from task, unnest(tags) as name`

	fillSummarySQL = `
insert into task_summary (
  user_id, rev, pending_low, pending_medium, pending_high, completed_low, completed_medium, completed_high
)
select user_id, max(rev),
       count(*) filter (where not completed and priority = 'low'),
       count(*) filter (where not completed and priority = 'medium'),
       count(*) filter (where not completed and priority = 'high'),
       count(*) filter (where completed and priority = 'low'),
       count(*) filter (where completed and priority = 'medium'),
       count(*) filter (where completed and priority = 'high')
from task
group by user_id`
)

// fill inserts the rows without triggers and foreign keys, and builds the indexes afterwards.
func (d dataset) fill(ctx context.Context, conn *pgx.Conn) error {
	rows, _ := conn.Query(ctx, indexesSQL) // ForEachRow returns its error
	var drops, creates []string
	var drop, create string
	if _, err := pgx.ForEachRow(rows, []any{&drop, &create}, func() error {
		drops, creates = append(drops, drop), append(creates, create)
		return nil
	}); err != nil {
		return err
	}
	var firsts, owners, tasks []int
	for i, g := range d {
		firsts, owners, tasks = append(firsts, d[:i].owners()), append(owners, g.owners), append(tasks, g.tasks)
	}
	type statement struct {
		sql  string
		args []any
	}
	statements := []statement{
		{sql: "set session_replication_role = replica"},
		{sql: "set work_mem = '512MB'"},
		{sql: "set maintenance_work_mem = '1GB'"},
		{fillUsersSQL, []any{d.owners()}},
	}
	add := func(all ...string) {
		for _, sql := range all {
			statements = append(statements, statement{sql: sql})
		}
	}
	add(drops...)
	statements = append(statements, statement{fillTasksSQL, []any{firsts, owners, tasks, d.tasks()}})
	add(fillTagsSQL)
	add(creates...)
	add(
		fillSummarySQL, "vacuum (analyze) task", "vacuum (analyze) task_tag", "vacuum (analyze) task_summary",
		`vacuum (analyze) "user"`, "checkpoint",
	)
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s.sql, s.args...); err != nil {
			return fmt.Errorf("%s: %w", s.sql, err)
		}
	}
	return nil
}
