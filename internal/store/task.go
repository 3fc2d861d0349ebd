package store

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Task is a row of the table task.
type Task struct {
	ID          string
	UserID      string
	Title       string
	Description *string
	Priority    string
	Completed   bool
	CreatedAt   time.Time
	UpdatedAt   time.Time
	Revision    int64 // grows with every change of any of its owner's tasks
}

const taskColumns = `user_id, id, title, description, priority, completed, created_at, updated_at, rev`

// NewTask is what an owner says of a task when creating it.
type NewTask struct {
	Title       string // 1 to 200 characters, trimmed
	Description *string
	Priority    string // low, medium or high
	Completed   bool
}

const createTaskSQL = `
insert into task (user_id, id, title, description, priority, completed)
values ($1, $2, $3, $4, $5, $6)
returning ` + taskColumns

// CreateTask adds a task under a new random id. ErrOwnerGone when the owner no longer exists.
func (o Owner) CreateTask(ctx context.Context, n NewTask) (Task, error) {
	return o.one(ctx, writes, createTaskSQL, uuid.NewString(), n.Title, n.Description, n.Priority, n.Completed)
}

const getTaskSQL = `
select ` + taskColumns + `
from task
where user_id = $1
  and id = $2`

// GetTask reads a task. ErrNotFound when the owner has no such task.
func (o Owner) GetTask(ctx context.Context, id string) (Task, error) {
	if !storable(id) {
		return Task{}, ErrNotFound
	}
	return o.one(ctx, reads, getTaskSQL, id)
}

// TaskChanges are the fields to change; what is nil or not set stays as it is.
type TaskChanges struct {
	Title          *string
	SetDescription bool // Description is to be stored, also when it is nil
	Description    *string
	Priority       *string
	Completed      *bool
}

const updateTaskSQL = `
update task
set title       = coalesce($4, title),
    description = case when $5 then $6 else description end,
    priority    = coalesce($7, priority),
    completed   = coalesce($8, completed)
where user_id = $1
  and id = $2
  and ($3::bigint[] is null or rev = any($3))
returning ` + taskColumns

// UpdateTask changes the given fields of a task. ErrNotFound when the owner has no such task, ErrStale when it has but
// not in a revision that IfMatch allows.
func (o Owner) UpdateTask(ctx context.Context, id string, c TaskChanges) (Task, error) {
	return o.change(ctx, updateTaskSQL, id, c.Title, c.SetDescription, c.Description, c.Priority, c.Completed)
}

const completeTaskSQL = `
update task
set completed = coalesce($4, not completed)
where user_id = $1
  and id = $2
  and ($3::bigint[] is null or rev = any($3))
returning ` + taskColumns

// CompleteTask sets whether a task is completed, or toggles it when completed is nil. ErrNotFound when the owner has
// no such task, ErrStale when it has but not in a revision that IfMatch allows.
func (o Owner) CompleteTask(ctx context.Context, id string, completed *bool) (Task, error) {
	return o.change(ctx, completeTaskSQL, id, completed)
}

const deleteTaskSQL = `
delete from task
where user_id = $1
  and id = $2
  and ($3::bigint[] is null or rev = any($3))
returning ` + taskColumns

// A trigger leaves a tombstone for every deleted task. It is kept for 90 days, the owner's newest for ever: the owner's
// revision must not go back.
const forgetTombstonesSQL = `
delete from task_tombstone
where user_id = $1
  and deleted_at < now() - interval '90 days'
  and rev < (
    select max(rev)
    from task_tombstone
    where user_id = $1
  )`

// DeleteTask deletes a task for good and gives it as it was. ErrNotFound when the owner has no such task, ErrStale when
// it has but not in a revision that IfMatch allows.
func (o Owner) DeleteTask(ctx context.Context, id string) (Task, error) {
	return o.change(ctx, deleteTaskSQL, id)
}

// change sends a statement that changes one task. Where the statement found nothing although the task is there, its
// revision was the reason. The second statement sees what the first one waited for, as it has a snapshot of its own.
func (o Owner) change(ctx context.Context, sql, id string, args ...any) (Task, error) {
	if !storable(id) {
		return Task{}, ErrNotFound
	}
	var changed []Task
	there := false
	err := o.send(ctx, writes, func(b *pgx.Batch) {
		o.queue(b, sql, append([]any{id, o.match}, args...)...).Query(func(rows pgx.Rows) (err error) {
			changed, err = pgx.CollectRows(rows, scanTask)
			return err
		})
		if o.match != nil {
			o.queue(b, getTaskSQL, id).Query(func(rows pgx.Rows) error {
				there = rows.Next()
				rows.Close()
				return rows.Err()
			})
		}
		if sql == deleteTaskSQL {
			o.exec(b, forgetTombstonesSQL) // last: by now the owner's lock is ours, so that two of these cannot meet
		}
	})
	switch {
	case err != nil:
		return Task{}, err
	case len(changed) == 1:
		return changed[0], nil
	case there:
		return Task{}, ErrStale
	}
	return Task{}, ErrNotFound
}
