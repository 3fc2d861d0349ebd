package store

import (
	"context"
	"errors"

	"docket/internal/postgres"
)

// The statements that are not limited to one owner, each with its reason. All others have the owner as their $1.
var (
	// The condition of the database is the same for all owners and is read without one.
	conditionSQL = postgres.OperatorSQL(`
select
  case when to_regclass('task_tombstone') is null then version else 0 end,
  (
    select bool_and(coalesce(row_security_active(to_regclass(name)), false) and (
      select count(*) = 1
      from pg_policy
      where polrelid = to_regclass(name)
        and polpermissive
    ))
    from unnest('{task, task_summary, task_tag, tombstone, idempotency_key}'::text[]) as name
  ),
  pg_is_in_recovery(),
  nullif(getdatabaseencoding()::text, 'UTF8')
from docket_schema_version`).Named("condition")
)

// Condition is the state of a database, as far as this package depends on it.
type Condition struct {
	SchemaVersion int32   // set by `docket migrate up`; 0 for the old numbering of an unreleased Docket
	RowSecurity   bool    // PostgreSQL confines the statements to one owner's rows, by the only permissive policy of every table
	Standby       bool    // the server follows another one and accepts no changes
	Encoding      *string // of the database, unless it is UTF8
}

// Check executes the statements of requests for an owner who does not exist, which changes nothing, and returns the
// database's condition. So it fails if requests do: a right is missing, the server is read-only, or a trigger fails. It
// is one round trip on a connection of its own, so that it works while requests use all others.
//
// It returns ErrNoSchema if a table or column is missing, ErrNoVersion if the version is, ErrNoRole if the login may not
// act as docket_app, or ErrUnavailable, ErrDenied or ErrNotPrepared. With ErrReadOnly and ErrNoSchema it also returns the
// condition, if that could be read.
//
// Row-level security does not confine a table's owner, superusers and roles with BYPASSRLS; row_security_active takes
// that into account.
func (s *Store) Check(ctx context.Context) (Condition, error) {
	c, err := s.check(ctx, queueRequests)
	if errors.Is(err, ErrNoSchema) && c == (Condition{}) {
		// Preparing failed, so nothing was executed. An older schema still has a version.
		older, olderErr := s.check(ctx, nil)
		if olderErr != nil {
			err = olderErr
		}
		return older, err
	}
	return c, err
}

func (s *Store) check(ctx context.Context, queue func(*postgres.Tx)) (c Condition, err error) {
	err = s.db.Probe(ctx, conditionSQL, func(rows postgres.Rows) error {
		if !rows.Next() {
			return ErrNoVersion
		}
		return rows.Scan(&c.SchemaVersion, &c.RowSecurity, &c.Standby, &c.Encoding)
	}, queue)
	return c, err
}

// copyTaskSQL creates no task if there is none to copy.
var copyTaskSQL = postgres.SQL(`
insert into task (user_id, id, ` + newTaskColumns.list() + `)
select $1::text, $2, ` + newTaskColumns.list() + `
from task
where user_id = $1
  and id = $3
returning ` + taskColumns.list()).Named("copyTask")

// queueRequests queues the statements of requests, for an owner without rows.
func queueRequests(pg *postgres.Tx) {
	tx := &Tx{pg: pg}
	tx.ListTasks(TaskQuery{Limit: 1})
	pg.Queue(copyTaskSQL, nil, "", "")
	tx.GetStats()
	tx.ListTags(TagQuery{Limit: 1})
	pg.Queue(renameTagSQL, nil, "", "") // without the time limit of RenameTag, which would be that of all statements
	tx.attempt(completeTaskSQL, "", new(true))
	tx.DeleteTask("")
	pg.Queue(createTaskOnce.forget, nil, "")
	pg.Queue(createTaskOnce.keep, nil, "", "", []byte{})
	pg.Queue(keptSQL, nil, "")
}
