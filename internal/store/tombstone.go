package store

import "docket/internal/postgres"

// A trigger leaves a tombstone for every deleted row. Tombstones are kept for 90 days. The owner's summary records up
// to which revision they have been purged.
var purgeTombstonesSQL = postgres.SQL(`
delete from tombstone
where user_id = $1
  and deleted_at < now() - interval '90 days'`).Named("purgeTombstones")

func (tx *Tx) purgeTombstones() { tx.pg.Queue(purgeTombstonesSQL, nil) }
