package store

import (
	"context"

	"docket/internal/postgres"
)

// CountByPriority is a number of tasks for each priority.
type CountByPriority struct{ Low, Medium, High int64 }

// Total returns the number of tasks of all priorities.
func (c CountByPriority) Total() int64 { return c.Low + c.Medium + c.High }

// Stats is how many tasks an owner has.
type Stats struct {
	Pending, Completed CountByPriority

	// Revision changes whenever one of the owner's tasks changes. It is 0 for an owner who never had one.
	Revision int64
}

var getStatsSQL = postgres.SQL(`
select rev, pending_low, pending_medium, pending_high, completed_low, completed_medium, completed_high
from task_summary
where user_id = $1`).Named("getStats")

// GetStats returns how many tasks the owner has. It reads one row.
func (o Owner) GetStats(ctx context.Context) (Stats, error) {
	return read(ctx, o, func(tx *Tx) Result[Stats] { return tx.GetStats() })
}

// GetStats queues what Owner.GetStats does.
func (tx *Tx) GetStats() Result[Stats] {
	var s Stats
	tx.pg.Queue(getStatsSQL, func(rows postgres.Rows) error {
		if !rows.Next() {
			return nil
		}
		p, c := &s.Pending, &s.Completed
		return rows.Scan(&s.Revision, &p.Low, &p.Medium, &p.High, &c.Low, &c.Medium, &c.High)
	})
	return func() (Stats, error) { return s, nil }
}
