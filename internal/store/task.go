package store

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"docket/internal/due"
	"docket/internal/postgres"
)

// TaskFields are the fields of a task that its owner sets.
type TaskFields struct {
	Title       string   `db:"title"` // 1 to 200 characters, trimmed
	Description *string  `db:"description"`
	Priority    string   `db:"priority" default:"medium"` // low, medium or high
	Completed   bool     `db:"completed"`
	Tags        []string `db:"tags"` // at most MaxTags, see UniqueTags

	// Schedule sets the following fields, which depend on each other.
	DueDate        *due.Date  `db:"due_date"`
	DueTime        *due.Time  `db:"due_time"` // nil: the whole day
	TimeZone       *string    `db:"time_zone"`
	DueAt          *time.Time `db:"due_at" derived:"true"` // the instant of the three above
	RecurrenceRule *string    `db:"recurrence_rule"`
	RecurrenceMode string     `db:"recurrence_mode" default:"skip_missed"`
}

// NewTask is a task to create.
type NewTask = TaskFields

// Task is a row of the table task.
type Task struct {
	UserID string // not read from the row: only the owner's rows are read
	ID     string `db:"id"`
	TaskFields
	Occurrence
	NextTaskID  *string    `db:"next_task_id"` // the occurrence that followed; it may be deleted
	CompletedAt *time.Time `db:"completed_at"` // set by a trigger
	CreatedAt   time.Time  `db:"created_at"`
	UpdatedAt   time.Time  `db:"updated_at"`
	Revision    int64      `db:"rev"` // grows with every change of any of its owner's tasks
}

// Occurrence is the place of a task in its series. Its fields are nil if the task does not recur.
type Occurrence struct {
	SeriesID       *string   `db:"series_id"`
	OccurrenceDate *due.Date `db:"occurrence_date"` // the day that the rule gave
}

// TaskChanges are the fields to change. Fields that are not set keep their values.
type TaskChanges struct {
	Title       Optional[string]
	Description Optional[*string]
	Priority    Optional[string]
	Completed   Optional[bool]
	Tags        Optional[[]string]

	// Tags to add and to remove, whatever the case. Those that are removed are removed first. See UniqueTags.
	AddTags, RemoveTags []string `db:"-"`

	Schedule Schedule  `db:"-"`
	Today    *due.Date `db:"-"` // where the owner is; nil: that of the task's time zone, or of UTC
}

const taskResource = "task"

var (
	taskColumns    = columnsOf[Task]()
	newTaskColumns = columnsOf[NewTask]()
	changedColumns = changesOf[TaskChanges, Task]()
)

// task queues a statement that returns the columns of one task or no row.
func (tx *Tx) task(s postgres.Statement, args ...any) Result[Task] {
	t := Task{UserID: tx.pg.Owner()}
	return one(tx, s, taskColumns.pointers(&t), &t, args...)
}

// one queues a statement that returns one row, which is stored in to, or no row. Its result is row.
func one[T any](tx *Tx, s postgres.Statement, to []any, row *T, args ...any) Result[T] {
	found := false
	tx.pg.Queue(s, func(rows postgres.Rows) error {
		if found = rows.Next(); !found {
			return nil
		}
		return rows.Scan(to...)
	}, args...)
	return func() (none T, _ error) {
		if !found {
			return none, NotFoundError{taskResource}
		}
		return *row, nil
	}
}

var createTaskSQL = postgres.SQL(`
insert into task (user_id, id, ` + newTaskColumns.list() + `)
select $1::text, $2, ` + newTaskColumns.parameters(4) + `
from set_config('app.max_tasks', $3, true)
returning ` + taskColumns.list()).Named("createTask")

// CreateTask adds a task under a new random id. It returns ErrOwnerGone if the owner no longer exists, and
// ErrTooManyTasks if it has as many tasks as MaxTasks allows.
func (o Owner) CreateTask(ctx context.Context, n NewTask) (Task, error) {
	return run(ctx, o, postgres.NotIdempotent, func(tx *Tx) Result[Task] { return tx.CreateTask(n) })
}

// CreateTask queues what Owner.CreateTask does.
func (tx *Tx) CreateTask(n NewTask) Result[Task] {
	newTaskColumns.complete(&n)
	return tx.task(createTaskSQL, append([]any{uuid.NewString(), mostOf(tx.most)}, newTaskColumns.values(n)...)...)
}

// mostOf returns a limit as the setting app.max_tasks, which a trigger of the table reads.
func mostOf(most int) string {
	if most == 0 {
		return ""
	}
	return strconv.Itoa(most)
}

var createTaskOnce = newKeyed[NewTask, Task](taskResource)

// CreateTaskOnce is like CreateTask, for callers that may have to repeat the call: an owner creates only one task under
// a key. A second call with the same key and the same task within 24 h returns the first call's task, as it was
// created, and replayed is true. It returns ErrKeyReused if the key was used for another request, and what CreateTask
// returns.
func (o Owner) CreateTaskOnce(ctx context.Context, key string, n NewTask) (t Task, replayed bool, err error) {
	t.UserID = o.id
	if replayed, err = createTaskOnce.run(ctx, o, key, n, &t); err != nil {
		return Task{}, false, err
	}
	return t, replayed, nil
}

var getTaskSQL = postgres.SQL(`
select ` + taskColumns.list() + `
from task
where user_id = $1
  and id = $2`).Named("getTask")

// GetTask reads a task. It returns ErrNotFound if the owner has no such task.
func (o Owner) GetTask(ctx context.Context, id string) (Task, error) {
	return read(ctx, o, func(tx *Tx) Result[Task] { return tx.GetTask(id) })
}

// GetTask queues what Owner.GetTask does.
func (tx *Tx) GetTask(id string) Result[Task] {
	if !storable(id) {
		return failed[Task](NotFoundError{taskResource})
	}
	return tx.task(getTaskSQL, id)
}

var updateTaskSQL = postgres.SQL(`
update task
set ` + changeAssignments(4) + `
where user_id = $1
  and id = $2
  and ($3::bigint[] is null or rev = any($3))
returning ` + taskColumns.list()).Named("updateTask")

// UpdateTask changes the given fields of a task. It returns ErrNotFound if the owner has no such task, ErrStale if it has
// one but not in a revision that IfMatch allows, and FaultsError if the changes do not go with the task's other fields.
//
// A change that sets due or recurrence fields, or completes or reopens an occurrence, takes two round trips; see
// Owner.decide.
func (o Owner) UpdateTask(ctx context.Context, id string, c TaskChanges) (Task, error) {
	p := planned{postgres.NotIdempotent, postgres.NotIdempotent, func(t Task) (decision, error) { return planChanges(t, c, uuid.NewString(), time.Now()) }}
	switch {
	case c.Schedule.sent():
		p.first = postgres.ReadOnly
		return o.decide(ctx, p, func(tx *Tx) Result[attempt] { return tx.current(id) })
	case c.Completed.set:
		return o.decide(ctx, p, func(tx *Tx) Result[attempt] {
			return tx.attempt(updateOrGetTaskSQL, id, append([]any{c.Completed.value}, c.arguments()...)...)
		})
	}
	return run(ctx, o, postgres.NotIdempotent, func(tx *Tx) Result[Task] {
		return tx.changeTask(updateTaskSQL, id, c.arguments()...)
	})
}

var updateOrGetTaskSQL = postgres.SQL(changeOrGetSQL(changeAssignments(5), "$4::boolean")).Named("updateTask")

// changeAssignments returns the set clause of an update. Its parameters are those of TaskChanges.arguments.
func changeAssignments(first int) string {
	added := first + 2*len(changedColumns.names)
	changed := fmt.Sprintf("when $%[1]d::text[] is not null or $%[2]d::text[] is not null then change_tags(tags, $%[1]d, $%[2]d) else tags end", added, added+1)
	return strings.Replace(changedColumns.assignments(first), "else tags end", changed, 1)
}

func (c TaskChanges) arguments() []any {
	return append(changedColumns.arguments(c), c.AddTags, c.RemoveTags)
}

var completeTaskSQL = postgres.SQL(changeOrGetSQL("completed = coalesce($4, not completed)", "coalesce($4, not completed)")).Named("completeTask")

// CompleteTask sets whether a task is completed, or toggles it if completed is nil. today is the day it is where the owner
// is, and may be nil; see TaskChanges. Its errors are those of UpdateTask. Setting may be repeated without a second
// effect.
func (o Owner) CompleteTask(ctx context.Context, id string, completed *bool, today *due.Date) (Task, error) {
	p := planned{postgres.NotIdempotent, postgres.NotIdempotent, func(t Task) (decision, error) {
		value := !t.Completed
		if completed != nil {
			value = *completed
		}
		return planChanges(t, TaskChanges{Completed: Set(value), Today: today}, "", time.Now())
	}}
	if completed != nil && o.match == nil {
		p.effect = postgres.Idempotent
	}
	return o.decide(ctx, p, func(tx *Tx) Result[attempt] { return tx.attempt(completeTaskSQL, id, completed) })
}

var deleteTaskSQL = postgres.SQL(`
delete from task
where user_id = $1
  and id = $2
  and ($3::bigint[] is null or rev = any($3))
returning ` + taskColumns.list()).Named("deleteTask")

// DeleteTask deletes a task permanently and returns its last state. Its errors are those of UpdateTask.
func (o Owner) DeleteTask(ctx context.Context, id string) (Task, error) {
	return run(ctx, o, postgres.NotIdempotent, func(tx *Tx) Result[Task] { return tx.DeleteTask(id) })
}

// DeleteTask queues what Owner.DeleteTask does.
func (tx *Tx) DeleteTask(id string) Result[Task] {
	deleted := tx.changeTask(deleteTaskSQL, id)
	tx.purgeTombstones() // last: the transaction holds the owner's lock by now, so that two of these cannot deadlock
	return deleted
}

// changeTask queues a statement that changes one task.
func (tx *Tx) changeTask(s postgres.Statement, id string, args ...any) Result[Task] {
	return changeRow(tx, s, id, tx.task, args...)
}

// changeRow queues a statement that changes one task. If the statement finds nothing although the task exists, the
// revision did not match. The second statement has a snapshot of its own, so it sees the changes that the first one
// waited for.
func changeRow[T any](tx *Tx, s postgres.Statement, id string, queue func(postgres.Statement, ...any) Result[T], args ...any) Result[T] {
	if !storable(id) {
		return failed[T](NotFoundError{taskResource})
	}
	changed := queue(s, append([]any{id, tx.match}, args...)...)
	if tx.match == nil {
		return changed
	}
	exists := tx.task(getTaskSQL, id)
	return func() (none T, _ error) {
		t, err := changed()
		if err == nil {
			return t, nil
		}
		if _, err := exists(); err == nil {
			return none, ErrStale
		}
		return none, err
	}
}
