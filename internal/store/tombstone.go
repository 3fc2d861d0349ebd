package store

import "docket/internal/postgres"

// A trigger leaves a tombstone for every deleted row. It is kept for 90 days; up to which revision tombstones are gone,
// the owner's summary remembers.
var purgeTombstonesSQL = postgres.SQL(`
delete from tombstone
where user_id = $1
  and deleted_at < now() - interval '90 days'`)

func (tx *Tx) purgeTombstones() { tx.pg.Queue(purgeTombstonesSQL, nil) }
