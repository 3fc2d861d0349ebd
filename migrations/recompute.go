package migrations

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// dueOwnerSQL finds the next owner after $1 who has tasks that are due at a time to come.
	dueOwnerSQL = `
select user_id
from task
where user_id > $1
  and due_at > now()
order by user_id
limit 1`

	// dueTasksSQL reads the tasks of the owner $1 after the id $2, as many as a batch has.
	dueTasksSQL = `
select id, rev, due_date::text, to_char(due_time, 'HH24:MI'), time_zone, due_at
from task
where user_id = $1
  and id > $2
  and due_at > now()
order by id
limit 500`

	// recomputeDueSQL changes tasks that nobody has changed since they were read.
	recomputeDueSQL = `
update task
set due_at = computed.due_at
from unnest($2::text[], $3::bigint[], $4::timestamptz[]) as computed (id, rev, due_at)
where user_id = $1
  and task.id = computed.id
  and task.rev = computed.rev`

	// setOwnerSQL makes the triggers take the lock of the owner before the statement locks a row.
	setOwnerSQL = `select set_config('app.user_id', $1, true)`
)

// Recomputed counts what RecomputeDue did.
type Recomputed struct {
	Owners, Tasks, Changed int64
	Skipped                int64 // were changed by somebody else at the same time
}

// RecomputeDue computes the instants of tasks that are due at a time to come anew, owner by owner and in batches, each a
// transaction. A task whose instant differs is changed and gets a new revision. instant returns the instant of a day, a time of
// day and a time zone. RecomputeDue may be interrupted and repeated.
func RecomputeDue(ctx context.Context, databaseURL string, log io.Writer, instant func(date, clock, zone string) (time.Time, error)) (r Recomputed, err error) {
	conn, err := connectToMigrate(ctx, databaseURL)
	if err != nil {
		return r, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := lock(ctx, conn, log); err != nil {
		return r, err
	}
	defer unlock(ctx, conn)
	for owner := ""; ; {
		owners, err := queryColumn(ctx, conn, dueOwnerSQL, owner)
		if err != nil || len(owners) == 0 {
			return r, err
		}
		owner = owners[0]
		r.Owners++
		for last := ""; ; {
			batch, err := conn.Query(ctx, dueTasksSQL, owner, last)
			if err != nil {
				return r, err
			}
			tasks, err := pgx.CollectRows(batch, pgx.RowToStructByPos[dueTask])
			if err != nil {
				return r, err
			}
			if len(tasks) == 0 {
				break
			}
			last = tasks[len(tasks)-1].ID
			r.Tasks += int64(len(tasks))
			if err := recompute(ctx, conn, owner, tasks, instant, &r); err != nil {
				return r, err
			}
		}
	}
}

type dueTask struct {
	ID                string
	Rev               int64
	Date, Clock, Zone string
	DueAt             time.Time
}

// recompute changes the tasks of a batch whose instants differ.
func recompute(ctx context.Context, conn *pgx.Conn, owner string, tasks []dueTask, instant func(date, clock, zone string) (time.Time, error), r *Recomputed) error {
	var ids []string
	var revisions []int64
	var times []time.Time
	for _, t := range tasks {
		at, err := instant(t.Date, t.Clock, t.Zone)
		if err != nil {
			return fmt.Errorf("the task %s: %w", t.ID, err)
		}
		if !at.Equal(t.DueAt) {
			ids, revisions, times = append(ids, t.ID), append(revisions, t.Rev), append(times, at)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, setOwnerSQL, owner); err != nil {
			return err
		}
		done, err := tx.Exec(ctx, recomputeDueSQL, owner, ids, revisions, times)
		if err != nil {
			return err
		}
		r.Changed += done.RowsAffected()
		r.Skipped += int64(len(ids)) - done.RowsAffected()
		return nil
	})
}

func queryColumn(ctx context.Context, conn *pgx.Conn, sql string, args ...any) ([]string, error) {
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
