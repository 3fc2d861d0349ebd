package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// A key is kept for 24 h, and stands for nothing from then on.
const createTaskOnceSQL = `
insert into task (user_id, id, title, description, priority, completed)
select $1::text, $2, $3, $4, $5, $6
where not exists (
  select from idempotency_key
  where user_id = $1
    and key = $7
    and kept_at >= now() - interval '24 hours'
)`

// What has expired is forgotten whenever its owner creates the next task under a key, and with the owner. Only the task
// that was created just now keeps the user from being deleted: without it, whoever deletes the user may delete the same
// keys in another order, a deadlock.
const forgetKeysSQL = `
delete from idempotency_key
where user_id = $1
  and kept_at < now() - interval '24 hours'
  and exists (
    select from task
    where user_id = $1
      and id = $2
  )`

// The task is read back because only the row knows its revision. When two requests with one key run at once, the
// second one fails here on the key of the first, is rolled back with its task, and is sent again.
const keepTaskSQL = `
insert into idempotency_key (
  user_id, key, request_hash, task_id, title, description, priority, completed, created_at, updated_at, rev
)
select $1::text, $3, $4, id, title, description, priority, completed, created_at, updated_at, rev
from task
where user_id = $1
  and id = $2`

const keptTaskSQL = `
select task_id, user_id, title, description, priority, completed, created_at, updated_at, rev, request_hash
from idempotency_key
where user_id = $1
  and key = $2`

// CreateTaskOnce is CreateTask for a caller that may have to send it again: under one key an owner creates one task.
// A second call with the same key and the same task within 24 h gives the first call's task, as it was created, and
// replayed is true. ErrKeyReused when the key was used for another task.
func (o Owner) CreateTaskOnce(ctx context.Context, key string, n NewTask) (t Task, replayed bool, err error) {
	var ids []string // an attempt that came through unnoticed must not look like the next one's
	hash := requestHash(n)
	var keptHash []byte
	err = o.send(ctx, once, func(b *pgx.Batch) {
		id := uuid.NewString()
		ids = append(ids, id)
		o.exec(b, createTaskOnceSQL, id, n.Title, n.Description, n.Priority, n.Completed, key)
		o.exec(b, forgetKeysSQL, id)
		o.exec(b, keepTaskSQL, id, key, hash)
		o.queue(b, keptTaskSQL, key).QueryRow(func(row pgx.Row) error {
			err := row.Scan(&t.ID, &t.UserID, &t.Title, &t.Description, &t.Priority, &t.Completed, &t.CreatedAt, &t.UpdatedAt, &t.Revision, &keptHash)
			if errors.Is(err, pgx.ErrNoRows) {
				return errKeyGone // with its user, or because another request found it expired: the first statement may wait
			}
			return err
		})
	})
	switch {
	case err != nil:
		return Task{}, false, err
	case !bytes.Equal(hash, keptHash):
		return Task{}, false, ErrKeyReused
	}
	return t, !slices.Contains(ids, t.ID), nil
}

// requestHash tells requests apart by what they ask for, however it was written.
func requestHash(n NewTask) []byte {
	text, err := json.Marshal(n)
	if err != nil {
		panic(err) // strings and a bool: cannot fail
	}
	sum := sha256.Sum256(text)
	return sum[:]
}
