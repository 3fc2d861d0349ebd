package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// assumeRoleSQL confines the transaction to one owner: it assumes the role to which row-level security applies, and
// sets the owner for the policies. All settings end with the transaction, so that nothing remains on the connection for
// its next user, also behind a transaction pooler.
//
// What the statements rely on is set, too: a database, a role or another client of a pooler may have set something
// else. See docs/adr/0031.
//
// Each statement has one plan for all owners, and tests of the store check that it uses an index. By default PostgreSQL
// would plan some of them anew for every call, which takes longer than executing them. So does compiling them. A
// statement has one process, so that the statements of an owner use no more cores than there are statements.
const assumeRoleSQL = `
select set_config('role', 'docket_app', true),
       set_config('app.user_id', $1, true),
       set_config('statement_timeout', $2, true),
       set_config('search_path', $3, true),
       set_config('row_security', 'on', true),
       set_config('client_encoding', 'UTF8', true),
       set_config('datestyle', 'ISO, MDY', true),
       set_config('intervalstyle', 'postgres', true),
       set_config('timezone', 'UTC', true),
       set_config('bytea_output', 'hex', true),
       set_config('lock_timeout', '0', true),
       set_config('jit', 'off', true),
       set_config('max_parallel_workers_per_gather', '0', true),
       set_config('plan_cache_mode', 'force_generic_plan', true)`

// Tx collects the statements of a transaction of one owner.
type Tx struct {
	owner   string
	queries []query
	timeout string          // of each statement; empty: that of the configuration
	cleanup <-chan struct{} // nil if the connection was not closed; otherwise closed when PostgreSQL was told to stop
}

type query struct {
	sql  string
	args []any // the owner is the first
	read func(Rows) error
}

// Owner returns the transaction's owner.
func (tx *Tx) Owner() string { return tx.owner }

// Limit sets the time after which PostgreSQL cancels one of the transaction's statements, instead of that of the
// configuration.
func (tx *Tx) Limit(timeout time.Duration) {
	tx.timeout = strconv.FormatInt(timeout.Milliseconds(), 10)
}

// Queue adds a statement. The owner is its $1, and args are its parameters from $2 on. When the transaction is sent,
// read is called with the rows that the statement returned, unless it is nil. An error of read becomes the error of
// Run; it does not roll the transaction back.
func (tx *Tx) Queue(s Statement, read func(Rows) error, args ...any) {
	tx.queries = append(tx.queries, query{s.text, append([]any{tx.owner}, args...), read})
}

// Effect is the effect of executing a transaction a second time.
type Effect int

// The effects.
const (
	ReadOnly      Effect = iota // nothing
	NotIdempotent               // repeats its changes, if it was committed the first time
	Idempotent                  // nothing, because its statements prevent it
)

// Run sends the statements that queue adds, as one transaction of the owner and in one round trip. It is sent again,
// and queue called again, as often as that is safe.
//
// It returns ErrUnavailable, wrapped, if the database cannot be reached or has no capacity, ErrOutcomeUnknown if the
// connection broke after a change was sent, ErrInvalid if PostgreSQL refused a value, or what a Meaning says.
func (db *DB) Run(ctx context.Context, owner string, effect Effect, queue func(*Tx)) error {
	ctx, span := db.startSpan(ctx)
	err := db.attempt(ctx, effect, func() (bool, error) {
		tx := &Tx{owner: owner}
		queue(tx)
		nameSpan(span, tx.queries)
		return db.send(ctx, tx)
	})
	endSpan(span, err)
	return err
}

// Scan is like Run, for statements that read and may take long. It calls ended when PostgreSQL has finished with them.
// That is before Scan returns, unless the context's deadline has passed: then PostgreSQL has been told to stop and may
// take another moment, and Scan does not wait for it.
func (db *DB) Scan(ctx context.Context, owner string, queue func(*Tx), ended func()) error {
	var cleanup <-chan struct{}
	defer func() {
		select {
		case <-cleanup:
			ended()
		default:
			if cleanup == nil {
				ended()
				return
			}
			go func() {
				<-cleanup // after 15 s at most
				ended()
			}()
		}
	}()
	ctx, span := db.startSpan(ctx)
	err := db.attempt(ctx, ReadOnly, func() (bool, error) {
		tx := &Tx{owner: owner}
		queue(tx)
		nameSpan(span, tx.queries)
		sent, err := db.send(ctx, tx)
		if tx.cleanup != nil {
			cleanup = tx.cleanup
		}
		return sent, err
	})
	endSpan(span, err)
	return err
}

// Read is like Run, for one statement that reads a few rows through an index and cannot fail because of its arguments.
// Such statements may share a round trip. The function that reads the rows may still be called after Read has returned
// an error.
func (db *DB) Read(ctx context.Context, owner string, queue func(*Tx)) error {
	ctx, span := db.startSpan(ctx)
	err := db.attempt(ctx, ReadOnly, func() (bool, error) {
		tx := &Tx{owner: owner}
		queue(tx)
		nameSpan(span, tx.queries)
		if len(tx.queries) != 1 || !db.prepares() {
			return db.send(ctx, tx)
		}
		return db.shared.do(ctx, owner, tx.queries[0])
	})
	endSpan(span, err)
	return err
}

// Probe sends a statement that is not limited to one owner, calls read with its rows, and sends the statements that queue
// adds, unless it is nil, all in one round trip. These have the owner "", who has no rows. It uses a connection of its
// own, so that it works while all others are in use, and runs as the role docket_app.
func (db *DB) Probe(ctx context.Context, s OperatorStatement, read func(Rows) error, queue func(*Tx)) error {
	start := now()
	ctx, span := db.startSpan(ctx)
	err := db.attempt(ctx, ReadOnly, func() (bool, error) {
		tx := &Tx{queries: []query{{sql: s.text, read: read}}}
		if queue != nil {
			queue(tx)
		}
		nameSpan(span, tx.queries)
		return db.sendOn(ctx, db.probes, tx)
	})
	endSpan(span, err)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		db.missed.Store(int64(start))
	}
	return err
}

// send sends a transaction once. It also reports whether PostgreSQL may have received it.
func (db *DB) send(ctx context.Context, tx *Tx) (sent bool, err error) {
	if len(tx.queries) == 0 {
		return false, nil
	}
	return db.sendOn(ctx, db.pool, tx)
}

func (db *DB) sendOn(ctx context.Context, pool *pgxpool.Pool, tx *Tx) (sent bool, err error) {
	conn, err := db.acquire(ctx, pool)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer release(ctx, conn)
	start := now()
	sent, err = db.transact(ctx, conn.Conn(), tx)
	if pool == db.pool {
		db.count(start)
	}
	if conn.Conn().IsClosed() {
		tx.cleanup = conn.Conn().PgConn().CleanupDone()
	}
	return sent, err
}

// transact is send on a connection.
func (db *DB) transact(ctx context.Context, conn *pgx.Conn, tx *Tx) (sent bool, err error) {
	texts := make([]string, len(tx.queries))
	for i, q := range tx.queries {
		texts[i] = q.sql
	}
	s, err := db.sender(ctx, conn, texts...)
	if err != nil {
		return !broken(err) && !pgconn.SafeToRetry(err), err // an error of PostgreSQL is that of the statement
	}
	s.timeout = tx.timeout
	p := conn.PgConn().StartPipeline(ctx)
	if err := s.queue(p, tx.owner, tx.queries...); err != nil {
		_ = p.Close()
		return true, err
	}
	if err := p.Flush(); err != nil {
		return !pgconn.SafeToRetry(err), err
	}
	wasSent(ctx)
	read := func(q query, rows pgx.Rows) error { return q.read(Rows{rows}) }
	if _, err = receive(conn.TypeMap(), p, tx.owner, tx.queries, read, true); err != nil {
		s.failed(ctx, err)
	}
	_ = p.Close() // nothing is left to receive
	return !refusedByPooler(err), err
}

// release returns a connection to the pool.
func release(ctx context.Context, conn *pgxpool.Conn) {
	if errors.Is(ctx.Err(), context.Canceled) && conn.Conn().IsClosed() {
		// pgx asks PostgreSQL to cancel the statement and closes the connection, without waiting. Until that is done the
		// statement runs, and its caller must count as being served: clients that cancel and come back could otherwise
		// keep all connections busy. It takes 15 s at most.
		<-conn.Conn().PgConn().CleanupDone()
	}
	conn.Release()
}

// attempts is the maximum number of times that a transaction is sent if PostgreSQL rolled it back because of another
// one.
const attempts = 3

// attempt calls send, and calls it again if the transaction cannot have taken effect or may take effect twice.
func (db *DB) attempt(ctx context.Context, effect Effect, send func() (sent bool, err error)) error {
	var broke, unknown bool
	for n := 1; ; n++ {
		start := now()
		sent, cause := send()
		db.heard(cause)
		if cause == nil {
			return nil
		}
		err, again := db.translate(cause), false
		unknown = unknown || sent && effect != ReadOnly && broken(cause) // also when the next attempt cannot even be sent
		switch {
		case refusedByPooler(cause):
			// Soon after, it would refuse again.
		case ctx.Err() != nil && errors.Is(err, ErrRetry) && !unknown:
			return ctx.Err()
		case ctx.Err() != nil:
		case errors.Is(err, ErrRetry):
			again = n < attempts
		case errors.Is(err, ErrReadOnly): // PostgreSQL did nothing
			again = !broke && db.reconnect(start)
			broke = true
		case !sent || broken(cause):
			again = !broke && (!sent || effect != NotIdempotent)
			broke = true
		}
		switch {
		case again:
			db.retries.Add(1)
			retrying(ctx, n, cause)
		case unknown && (errors.Is(err, ErrUnavailable) || db.unexpected(err)):
			return fmt.Errorf("%w: %w", ErrOutcomeUnknown, cause)
		default:
			return err
		}
	}
}
