package store

import (
	"context"

	"docket/internal/postgres"
)

// The statements that are not limited to one owner, each with its reason. All others have the owner as their $1.
var (
	// The condition of the database is the same for all owners and is read without one.
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

// Condition is the state of a database, as far as this package depends on it.
type Condition struct {
	SchemaVersion int32 // set by `docket migrate up`; 0 for the old numbering of an unreleased Docket
	RowSecurity   bool  // PostgreSQL confines the statements to one owner's rows, in every table
}

// Check returns the database's condition. It uses a connection of its own, so that it works while requests use all
// others. It returns ErrNoSchema if nothing was migrated, ErrNoRole if the login may not act as docket_app, and
// ErrUnavailable if the database does not answer.
//
// Row-level security does not confine a table's owner, superusers and roles with BYPASSRLS; row_security_active takes
// that into account.
func (s *Store) Check(ctx context.Context) (c Condition, err error) {
	err = s.db.Probe(ctx, conditionSQL, func(rows postgres.Rows) error {
		if !rows.Next() {
			return nil
		}
		return rows.Scan(&c.SchemaVersion, &c.RowSecurity)
	})
	return c, err
}
