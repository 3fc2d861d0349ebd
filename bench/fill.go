package main

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/jackc/pgx/v5"

	"docket/internal/devdb"
	"docket/migrations"
)

// An owner of a table is known by its number. Its id has 32 characters, as Better Auth makes them.
//
// pgbench can make numbers and no such texts. So some owners and their tasks have numbers for ids, with this much added
// so that they are as long as bigint allows, and are like the others otherwise.
const (
	numbered     = 1_000_000_000_000_000_000
	numberedTask = 2_000_000_000_000_000_000
)

const ownerExpression = `case when %[1]s < %[2]d then md5('owner ' || %[1]s) else (%[3]d + %[1]s)::text end`

// group is a number of owners that have as many tasks each.
type group struct{ owners, tasks int }

func (g group) rows() int { return g.owners * g.tasks }

// contents are the tasks of a table: groups of owners, numbered one after the other. From the owner numbered on, ids are
// numbers.
type contents struct {
	groups   []group
	numbered int
}

func (c contents) owners() (n int) {
	for _, g := range c.groups {
		n += g.owners
	}
	return n
}

func (c contents) rows() (n int) {
	for _, g := range c.groups {
		n += g.rows()
	}
	return n
}

// newDatabase makes a database with that much in it, and gives its URL.
func newDatabase(ctx context.Context, db *devdb.Server, name string, c contents, log io.Writer) (url string, err error) {
	fmt.Fprintf(log, "loading %d tasks of %d owners\n", c.rows(), c.owners())
	if err := onDatabase(ctx, db.URL("postgres"), func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "create database "+name)
		return err
	}); err != nil {
		return "", err
	}
	url = db.URL(name)
	if err := onDatabase(ctx, url, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, devdb.UserFixtureSQL)
		return err
	}); err != nil {
		return "", err
	}
	if err := migrations.Up(ctx, url, io.Discard); err != nil {
		return "", err
	}
	return url, onDatabase(ctx, url, func(conn *pgx.Conn) error { return fill(ctx, conn, c) })
}

func onDatabase(ctx context.Context, url string, do func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return do(conn)
}

const definitionsSQL = `
select format('alter table task drop constraint %I', conname),
       format('alter table task add constraint %I %s', conname, pg_get_constraintdef(oid))
from pg_constraint
where conrelid = 'task'::regclass and contype in ('p', 'u')
union all
select format('drop index %s', indexrelid::regclass), pg_get_indexdef(indexrelid)
from pg_index
where indrelid = 'task'::regclass
  and not exists (select from pg_constraint where conindid = indexrelid and contype in ('p', 'u'))`

// Tasks lie in the table in the order in which they were created, and the owners' take turns at random: those of one
// owner are everywhere, as after years of use. Narrow rows are sorted, wide ones made of them.
const fillSQL = `
insert into task (id, user_id, title, description, priority, completed, created_at, updated_at, rev)
select case when owner < %[2]d then gen_random_uuid()::text else (%[4]d::bigint + at)::text end,
       ` + ownerExpression + `,
       'Prepare the quarterly report ' || task,
       case when task %% 2 = 0 then 'Figures from the finance team are due on Thursday.' end,
       (array['low', 'medium', 'high'])[1 + task %% 3],
       task %% 4 = 3,
       now() - interval '1 day' + (place - %[5]d) * interval '1 second',
       now() - interval '1 day' + (place - %[5]d) * interval '1 second',
       place
from (
  select owner, task, at, row_number() over () as place
  from (%[6]s) tasks
) placed`

const usersSQL = `
insert into "user" (id, name, email, "emailVerified")
select id, id, id || '@example.com', true
from (select ` + ownerExpression + ` as id from generate_series(0, %[4]d - 1) n) owners`

// fill puts the tasks in the way a dump is restored: rows first, then the indexes that the migrations made.
func fill(ctx context.Context, conn *pgx.Conn, c contents) error {
	rows, err := conn.Query(ctx, definitionsSQL)
	if err != nil {
		return err
	}
	var before, after []string
	var drop, create string
	if _, err := pgx.ForEachRow(rows, []any{&drop, &create}, func() error {
		before, after = append(before, drop), append(after, create)
		return nil
	}); err != nil {
		return err
	}
	statements := []string{
		"set session_replication_role = replica", // no triggers, no foreign keys
		"set work_mem = '512MB'", "set maintenance_work_mem = '1GB'",
		fmt.Sprintf(usersSQL, "n", c.numbered, numbered, c.owners()),
	}
	statements = append(statements, before...)
	statements = append(statements, fmt.Sprintf(fillSQL, "owner", c.numbered, numbered, numberedTask, c.rows(), c.tasksSQL()))
	statements = append(statements, after...)
	statements = append(statements, "select task_summary_rebuild()",
		"vacuum (analyze) task", "vacuum (analyze) task_summary", `vacuum (analyze) "user"`, "checkpoint")
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

// tasksSQL gives a row for each task: the owner's number, its number among the owner's, and where it stands among the
// group's, in an order that mixes the owners.
func (c contents) tasksSQL() string {
	var all string
	first := 0
	for i, g := range c.groups {
		if i > 0 {
			all += " union all "
		}
		// A task's place is a share of the whole, so that groups of any size are spread evenly.
		all += "select " + strconv.Itoa(first) + " + n % " + strconv.Itoa(g.owners) + " as owner, n / " + strconv.Itoa(g.owners) +
			" as task, n as at, (n + 0.5) / " + strconv.Itoa(g.rows()) + "::float8 as share from generate_series(0, " +
			strconv.Itoa(g.rows()-1) + ") n"
		first += g.owners
	}
	return "select owner, task, at from (" + all + ") every order by share"
}
