package store

import (
	"context"
	"strconv"
	"time"

	"github.com/google/uuid"

	"docket/internal/postgres"
)

// TaskFields are the fields of a task that its owner sets.
type TaskFields struct {
	Title       string  `db:"title"` // 1 to 200 characters, trimmed
	Description *string `db:"description"`
	Priority    string  `db:"priority" default:"medium"` // low, medium or high
	Completed   bool    `db:"completed"`
}

// NewTask is a task to create.
type NewTask = TaskFields

// Task is a row of the table task.
type Task struct {
	UserID string // not read from the row: only the owner's rows are read
	ID     string `db:"id"`
	TaskFields
	CreatedAt time.Time `db:"created_at"`
	UpdatedAt time.Time `db:"updated_at"`
	Revision  int64     `db:"rev"` // grows with every change of any of its owner's tasks
}

// TaskChanges are the fields to change. Fields that are not set keep their values.
type TaskChanges struct {
	Title       Optional[string]
	Description Optional[*string]
	Priority    Optional[string]
	Completed   Optional[bool]
}

const taskResource = "task"

var (
	taskColumns    = columnsOf[Task]()
	newTaskColumns = columnsOf[NewTask]()
	changedColumns = changesOf[TaskChanges, Task]()
)

// task queues a statement that returns the columns of one task or no row.
func (tx *Tx) task(s postgres.Statement, args ...any) Result[Task] {
	t, found := Task{UserID: tx.pg.Owner()}, false
	tx.pg.Queue(s, func(rows postgres.Rows) error {
		if found = rows.Next(); !found {
			return nil
		}
		return rows.Scan(taskColumns.pointers(&t)...)
	}, args...)
	return func() (Task, error) {
		if !found {
			return Task{}, NotFoundError{taskResource}
		}
		return t, nil
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
set ` + changedColumns.assignments(4) + `
where user_id = $1
  and id = $2
  and ($3::bigint[] is null or rev = any($3))
returning ` + taskColumns.list()).Named("updateTask")

// UpdateTask changes the given fields of a task. It returns ErrNotFound if the owner has no such task, and ErrStale if
// it has one but not in a revision that IfMatch allows.
func (o Owner) UpdateTask(ctx context.Context, id string, c TaskChanges) (Task, error) {
	return run(ctx, o, postgres.NotIdempotent, func(tx *Tx) Result[Task] { return tx.UpdateTask(id, c) })
}

// UpdateTask queues what Owner.UpdateTask does.
func (tx *Tx) UpdateTask(id string, c TaskChanges) Result[Task] {
	return tx.changeTask(updateTaskSQL, id, changedColumns.arguments(c)...)
}

var completeTaskSQL = postgres.SQL(`
update task
set completed = coalesce($4, not completed)
where user_id = $1
  and id = $2
  and ($3::bigint[] is null or rev = any($3))
returning ` + taskColumns.list()).Named("completeTask")

// CompleteTask sets whether a task is completed, or toggles it if completed is nil. Its errors are those of UpdateTask.
func (o Owner) CompleteTask(ctx context.Context, id string, completed *bool) (Task, error) {
	return run(ctx, o, postgres.NotIdempotent, func(tx *Tx) Result[Task] { return tx.CompleteTask(id, completed) })
}

// CompleteTask queues what Owner.CompleteTask does.
func (tx *Tx) CompleteTask(id string, completed *bool) Result[Task] {
	return tx.changeTask(completeTaskSQL, id, completed)
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

// changeTask queues a statement that changes one task. If the statement finds nothing although the task exists, the
// revision did not match. The second statement has a snapshot of its own, so it sees the changes that the first one
// waited for.
func (tx *Tx) changeTask(s postgres.Statement, id string, args ...any) Result[Task] {
	if !storable(id) {
		return failed[Task](NotFoundError{taskResource})
	}
	changed := tx.task(s, append([]any{id, tx.match}, args...)...)
	if tx.match == nil {
		return changed
	}
	exists := tx.task(getTaskSQL, id)
	return func() (Task, error) {
		t, err := changed()
		if err == nil {
			return t, nil
		}
		if _, err := exists(); err == nil {
			return Task{}, ErrStale
		}
		return Task{}, err
	}
}
