package postgres

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// contact records when the database answered and when the connections were last replaced. Its times are durations since
// the process started.
type contact struct {
	answered atomic.Int64 // the last answer to anything
	missed   atomic.Int64 // the start of the last probe that was not answered in time

	mu       sync.Mutex
	replaced time.Duration
}

// count counts a transaction, or an attempt of one, that began on its connection at start and was answered or has failed.
func (db *DB) count(start time.Duration) {
	db.transactions.Add(1)
	db.transacting.Add(int64(now() - start))
}

// replaceInterval limits how often the connections are replaced while the server is read-only, because connecting takes
// longer than a statement.
const replaceInterval = time.Second

var processStart = time.Now()

// now returns the time since the process started. It does not depend on the system's clock being set.
func now() time.Duration { return time.Since(processStart) }

// heard records the outcome of a round trip. An error of PostgreSQL is an answer, too.
func (c *contact) heard(err error) {
	var pg *pgconn.PgError
	if err == nil || errors.As(err, &pg) && !refusedByPooler(err) {
		c.answered.Store(int64(now()))
	}
}

// Silence returns how long the database has not answered anything. It is long when nothing was sent, too.
func (db *DB) Silence() time.Duration { return now() - time.Duration(db.answered.Load()) }

// Silent reports whether the database does not answer: a probe was not answered in time, nor was anything that was sent
// before or after it.
func (db *DB) Silent() bool { return db.missed.Load() > db.answered.Load() }

// reconnect replaces all connections, each when it is next idle, and reports whether they were replaced after since. It
// is for a server that turned out to be read-only: after a failover, the address may lead to another server, or the
// database may have another default.
func (db *DB) reconnect(since time.Duration) bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.replaced > since {
		return true
	}
	if db.replaced > 0 && now()-db.replaced < replaceInterval {
		return false
	}
	db.pool.Reset()
	db.probes.Reset()
	db.replaced = now()
	db.reconnects.Add(1)
	return true
}
