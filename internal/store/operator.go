package store

import (
	"context"

	"docket/internal/postgres"
)

// The statements that are not of one owner, each with its reason. All others have the owner as their $1.
var (
	// The condition of the database is the same for all owners, and is asked for when none is at work.
	conditionSQL = postgres.OperatorSQL(`
select case when to_regclass('task_tombstone') is null then version else 0 end, coalesce(
  row_security_active(to_regclass('task')) and
  row_security_active(to_regclass('task_summary')) and
  row_security_active(to_regclass('tombstone')) and
  row_security_active(to_regclass('idempotency_key')),
  false
)
from docket_schema_version`)
)

// Condition is the state of a database as far as this package needs it.
type Condition struct {
	SchemaVersion int32 // that `docket migrate up` reached; 0 for the old numbering of an unreleased Docket
	RowSecurity   bool  // PostgreSQL confines the statements to one owner's rows, in every table
}

// Check reads the database's condition, also while requests use all connections: it has one of its own. It returns
// ErrNoSchema if nothing was migrated, ErrNoRole if the login may not act as docket_app, and ErrUnavailable if the
// database does not answer.
//
// Row-level security does not confine a table's owner, superusers and roles with BYPASSRLS: row_security_active knows.
func (s *Store) Check(ctx context.Context) (c Condition, err error) {
	err = s.db.Probe(ctx, conditionSQL, func(rows postgres.Rows) error {
		if !rows.Next() {
			return nil
		}
		return rows.Scan(&c.SchemaVersion, &c.RowSecurity)
	})
	return c, err
}
