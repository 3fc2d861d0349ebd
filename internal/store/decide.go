package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"docket/internal/due"
	"docket/internal/postgres"
)

// FaultsError is returned if changes do not go with each other or with the task's other fields. Nothing was changed.
type FaultsError struct{ Faults []due.Fault }

func (e FaultsError) Error() string {
	all := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		all[i] = f.Error()
	}
	return strings.Join(all, "; ")
}

// changeOrGetSQL returns a statement that changes a task unless that needs a decision: completing the open occurrence of a
// series makes the next one, and reopening an occurrence takes the next one away. Then it returns the task unchanged. Its
// first column is whether it changed the task. completed is an expression of the new value.
func changeOrGetSQL(assignments, completed string) string {
	return `
with changed as (
  update task
  set ` + assignments + `
  where user_id = $1
    and id = $2
    and ($3::bigint[] is null or rev = any($3))
    and case when completed then next_task_id is null or ` + completed + ` else recurrence_rule is null or not ` + completed + ` end
  returning ` + taskColumns.list() + `
)
select true as changed, ` + taskColumns.list() + `
from changed
union all
select false, ` + taskColumns.list() + `
from task
where user_id = $1
  and id = $2
  and ($3::bigint[] is null or rev = any($3))
  and not exists (select from changed)`
}

// attempt is a task, and whether a statement changed it or only read it.
type attempt struct {
	changed bool
	task    Task
}

// attempt queues a statement of changeOrGetSQL.
func (tx *Tx) attempt(s postgres.Statement, id string, args ...any) Result[attempt] {
	return changeRow(tx, s, id, tx.attempted, args...)
}

// attempted queues a statement that returns an attempt or no row.
func (tx *Tx) attempted(s postgres.Statement, args ...any) Result[attempt] {
	a := attempt{task: Task{UserID: tx.pg.Owner()}}
	return one(tx, s, append([]any{&a.changed}, taskColumns.pointers(&a.task)...), &a, args...)
}

// current queues reading a task that is to be changed.
func (tx *Tx) current(id string) Result[attempt] {
	task := tx.GetTask(id)
	return func() (attempt, error) {
		t, err := task()
		if err == nil && tx.match != nil && !slices.Contains(tx.match, t.Revision) {
			err = ErrStale
		}
		return attempt{task: t}, err
	}
}

// decision is what is to be done with a task, decided from its row.
type decision struct {
	task    Task  // the task as it is to be; the database sets its revision and times
	next    *Task // the occurrence that follows, unless there is one
	reopens bool  // the occurrence that followed is deleted if nobody has changed it
	nothing bool  // there is nothing to do
}

// planned decides from a row what to do with it.
type planned struct {
	first  postgres.Effect // of the transaction that reads the row, and may change it
	effect postgres.Effect // of the transaction that does what was decided
	decide func(Task) (decision, error)
}

// most is the largest number of times that a change is decided anew because another one came between.
const most = 100

// decide reads a task, decides what to do with it, and does that only if the task still has the revision that was read.
// Otherwise it begins again. first may also change the task, which is all then.
func (o Owner) decide(ctx context.Context, p planned, first func(*Tx) Result[attempt]) (Task, error) {
	for range most {
		read, err := run(ctx, o, p.first, first)
		if err != nil || read.changed {
			return read.task, err
		}
		decided, err := p.decide(read.task)
		if err != nil || decided.nothing {
			return read.task, err
		}
		done, err := run(ctx, o, p.effect, func(tx *Tx) Result[attempt] { return tx.perform(read.task, decided) })
		if err != nil || done.changed {
			return done.task, err
		}
	}
	return Task{}, fmt.Errorf("%w: the task changed %d times in the meantime", ErrTimeout, most)
}

type plannedFields struct {
	TaskFields
	Occurrence
}

var plannedColumns = columnsOf[plannedFields]()

// The statements of a plan follow lockOwnerSQL, so that all see what the last holder of the lock committed, and nothing
// changes between them. Each is bound to the revision $3 of the task that was read.
var (
	// It takes the lock that the trigger task_lock_owner does.
	lockOwnerSQL = postgres.SQL(`
select pg_advisory_xact_lock(1685021547, hashtext(user_id) & 1023)
from task
where user_id = $1
  and id = $2`).Named("lockOwner")

	// $5 is the occurrence that is known to follow, which may be deleted.
	createOccurrenceSQL = postgres.SQL(`
insert into task (user_id, id, ` + plannedColumns.list() + `)
select $1::text, $4, ` + plannedColumns.parameters(6) + `
from task
where user_id = $1
  and id = $2
  and rev = $3
  and not exists (
    select from task
    where user_id = $1
      and id = $5
  )
on conflict (user_id, series_id, occurrence_date) where series_id is not null do nothing`).Named("createOccurrence")

	takeOccurrenceSQL = postgres.SQL(`
delete from task
where user_id = $1
  and id = $4
  and created_at = updated_at
  and exists (
    select from task
    where user_id = $1
      and id = $2
      and rev = $3
  )`).Named("takeOccurrence")

	// The occurrence that follows is $4 if that exists, or else the one of the series $5 on the day $6, or else $7.
	writeTaskSQL = postgres.SQL(`
update task
set ` + plannedColumns.settings(8) + `,
    next_task_id = coalesce(
      (
        select id
        from task
        where user_id = $1
          and id = $4
      ),
      (
        select id
        from task
        where user_id = $1
          and series_id = $5
          and occurrence_date = $6
      ),
      $7
    )
where user_id = $1
  and id = $2
  and rev = $3
returning ` + taskColumns.list()).Named("writeTask")
)

// perform queues a plan for a task. Nothing happens if the task has another revision.
func (tx *Tx) perform(was Task, p decision) Result[attempt] {
	tx.pg.Queue(lockOwnerSQL, nil, was.ID)
	var known, series *string
	var day *due.Date
	named := p.task.NextTaskID
	switch {
	case p.next != nil:
		known, series, day = was.NextTaskID, p.next.SeriesID, p.next.OccurrenceDate
		fields := plannedFields{p.next.TaskFields, p.next.Occurrence}
		tx.pg.Queue(createOccurrenceSQL, nil, append([]any{was.ID, was.Revision, p.next.ID, known}, plannedColumns.values(fields)...)...)
	case p.reopens:
		tx.pg.Queue(takeOccurrenceSQL, nil, was.ID, was.Revision, was.NextTaskID)
		known, named = named, nil // a new series is not followed by an occurrence of the old one
	}
	fields := plannedFields{p.task.TaskFields, p.task.Occurrence}
	written := tx.task(writeTaskSQL, append([]any{was.ID, was.Revision, known, series, day, named}, plannedColumns.values(fields)...)...)
	return func() (attempt, error) {
		t, err := written()
		if errors.Is(err, ErrNotFound) {
			return attempt{}, nil // another change came between
		}
		return attempt{true, t}, err
	}
}
