// Package store keeps tasks in PostgreSQL.
//
// For(owner) is the only way to a row: every statement is a constant whose $1 is the owner, bound by the helpers here
// and nowhere else. Each operation is one round trip.
package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Config says how to reach the database. The zero value of everything but URL means the default beside it.
type Config struct {
	URL                   string
	MaxConns              int32         // 30
	MinIdleConns          int32         // 10, kept open for the next burst; negative: none
	MaxConnLifetime       time.Duration // 1 h
	MaxConnLifetimeJitter time.Duration // a tenth of MaxConnLifetime, so that replicas do not reconnect at once; negative: none
	MaxConnIdleTime       time.Duration // 5 min
	PingTimeout           time.Duration // 2 s, for the check of a connection that was idle for over a second
	StatementTimeout      time.Duration // 5 s, after which PostgreSQL gives up a statement; keep it below a request's deadline
	QueryMode             QueryMode     // QueryModeAuto
}

// QueryMode is how statements are sent, see docs/operations.md.
type QueryMode string

const (
	QueryModeAuto     QueryMode = "auto"            // prepared, but exec when the address is a known pooler's
	QueryModePrepared QueryMode = "cache_statement" // prepared once per connection: the fastest, for a direct connection
	QueryModeExec     QueryMode = "exec"            // right behind any transaction pooler
	QueryModeDescribe QueryMode = "cache_describe"  // right behind any transaction pooler, binary results
)

// Store is a pool of connections to one database. It is safe for concurrent use.
type Store struct {
	pool             *pgxpool.Pool
	probes           *pgxpool.Pool // one connection, which no request can take
	coalescer        *coalescer    // nil where nothing is prepared
	statementTimeout string        // in milliseconds, as PostgreSQL takes it
}

// Open makes a pool without waiting for the database: one that is down now is reported by the first call, and by
// Ping. It fails on a URL or a query mode that cannot be used, without repeating the URL.
func Open(ctx context.Context, c Config) (*Store, error) {
	pc, err := pgxpool.ParseConfig(c.URL)
	if err != nil {
		return nil, errors.New("the database URL cannot be parsed") // err would repeat it
	}
	mode, err := execMode(c)
	if err != nil {
		return nil, err
	}
	pc.ConnConfig.DefaultQueryExecMode = mode
	// Each connection has room for as many statements as there are, and in the kind of cache that its mode uses.
	pc.ConnConfig.StatementCacheCapacity, pc.ConnConfig.DescriptionCacheCapacity = 0, 0
	switch mode {
	case pgx.QueryExecModeCacheStatement:
		pc.ConnConfig.StatementCacheCapacity = mostStatements
	case pgx.QueryExecModeCacheDescribe:
		pc.ConnConfig.DescriptionCacheCapacity = mostStatements
	}
	if !strings.Contains(c.URL, "connect_timeout") {
		pc.ConnConfig.ConnectTimeout = 5 * time.Second // the library waits for two minutes
	}
	pc.MaxConns = or(c.MaxConns, 30)
	pc.MinIdleConns = max(0, min(or(c.MinIdleConns, 10), pc.MaxConns))
	pc.MaxConnLifetime = or(c.MaxConnLifetime, time.Hour)
	pc.MaxConnLifetimeJitter = max(0, or(c.MaxConnLifetimeJitter, pc.MaxConnLifetime/10))
	pc.MaxConnIdleTime = or(c.MaxConnIdleTime, 5*time.Minute)
	pc.PingTimeout = or(c.PingTimeout, 2*time.Second)
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, fmt.Errorf("open the pool: %w", err)
	}
	pc = pc.Copy()
	pc.MaxConns, pc.MinIdleConns = 1, 0
	pc.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return true } // a dead connection is no verdict
	probes, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("open the pool: %w", err)
	}
	timeout := or(c.StatementTimeout, 5*time.Second)
	s := &Store{pool: pool, probes: probes, statementTimeout: strconv.FormatInt(timeout.Milliseconds(), 10)}
	if mode == pgx.QueryExecModeCacheStatement {
		s.coalescer = &coalescer{store: s}
	}
	return s, nil
}

func or[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}

func execMode(c Config) (pgx.QueryExecMode, error) {
	switch c.QueryMode {
	case QueryModePrepared:
		return pgx.QueryExecModeCacheStatement, nil
	case QueryModeExec:
		return pgx.QueryExecModeExec, nil
	case QueryModeDescribe:
		return pgx.QueryExecModeCacheDescribe, nil
	case QueryModeAuto, "":
		if Pooled(c.URL) {
			return pgx.QueryExecModeExec, nil
		}
		return pgx.QueryExecModeCacheStatement, nil
	}
	return 0, fmt.Errorf("query mode %q is not one of auto, cache_statement, exec and cache_describe", c.QueryMode)
}

// Pooled recognises the addresses of well-known transaction poolers: Neon's host name holds "-pooler.", PgBouncer
// listens on 6432 and Supabase's pooler on 6543 by default. Prepared statements do not belong to a client there.
func Pooled(databaseURL string) bool {
	c, err := pgconn.ParseConfig(databaseURL)
	return err == nil && (strings.Contains(c.Host, "-pooler.") || c.Port == 6432 || c.Port == 6543)
}

// Close waits for the calls under way and closes every connection.
func (s *Store) Close() {
	s.probes.Close()
	s.pool.Close()
}

// Ping reports whether the database answers; ErrUnavailable, wrapped, when it does not.
func (s *Store) Ping(ctx context.Context) error { return translate(s.pool.Ping(ctx)) }

// Stat is the state of a pool, and what it did so far.
type Stat struct {
	Acquired, Idle, Max int32         // connections that are in use, that are not, and that there may be
	Acquires            int64         // connections that were taken
	Waits               int64         // those that had to be waited for
	Waiting             time.Duration // how long, all together
	Cancels             int64         // waits that were given up
}

// Stat reads the state of the pool.
func (s *Store) Stat() Stat {
	p := s.pool.Stat()
	return Stat{
		Acquired: p.AcquiredConns(), Idle: p.IdleConns(), Max: p.MaxConns(), Acquires: p.AcquireCount(),
		Waits: p.EmptyAcquireCount(), Waiting: p.EmptyAcquireWaitTime(), Cancels: p.CanceledAcquireCount(),
	}
}

// Condition is the state of a database as far as this package needs it.
type Condition struct {
	SchemaVersion int32 // that `docket migrate up` reached
	Walled        bool  // row-level security confines the statements to one owner
}

const schemaVersionSQL = `
select version
from docket_schema_version`

// The wall stands when the statements' role cannot step around it. Its owner, superusers and roles with BYPASSRLS are
// not confined by a policy; row_security_active knows all of that. In an older schema there may not be all tables yet.
const walledSQL = `
select coalesce(
  row_security_active(to_regclass('task')) and
  row_security_active(to_regclass('task_summary')) and
  row_security_active(to_regclass('task_tombstone')) and
  row_security_active(to_regclass('idempotency_key')),
  false
)`

// Check reads the database's condition, also while requests use all connections: it has one of its own. ErrNoSchema when
// nothing was migrated, ErrNoRole when the login may not act as docket_app, ErrUnavailable when the database does not
// answer.
func (s *Store) Check(ctx context.Context) (Condition, error) {
	var c Condition
	var b pgx.Batch
	s.enter(&b, "") // as an operation does: who may log in may have no right but to act as docket_app
	b.Queue(schemaVersionSQL).QueryRow(func(row pgx.Row) error { return row.Scan(&c.SchemaVersion) })
	b.Queue(walledSQL).QueryRow(func(row pgx.Row) error { return row.Scan(&c.Walled) })
	return c, translate(s.probes.SendBatch(ctx, &b).Close())
}

// For is the door to one owner's rows, and to no others.
func (s *Store) For(owner string) Owner { return Owner{store: s, id: owner} }

// Owner is one owner's view of the store. Its methods read and change that owner's rows alone.
type Owner struct {
	store *Store
	id    string
	match []int64 // nil: no condition
}

// IfMatch puts a condition on changes: the task must be at one of these revisions, or the change is ErrStale. It is
// checked by the statement that writes.
func (o Owner) IfMatch(revisions ...int64) Owner {
	o.match = append([]int64{}, revisions...)
	return o
}

// enterSQL confines the transaction to one owner: it drops to the role that row-level security holds for, and names the
// owner to its policies. All of it ends with the transaction, so that nothing is left on the connection for the next
// user of it, behind a transaction pooler either.
//
// Each statement has one plan for all owners, which a test looks at. Left to itself PostgreSQL plans some of them anew
// for every call, which takes longer than to carry them out.
const enterSQL = `
select set_config('role', 'docket_app', true),
       set_config('app.user_id', $1, true),
       set_config('statement_timeout', $2, true),
       set_config('plan_cache_mode', 'force_generic_plan', true)`

func (s *Store) enter(b *pgx.Batch, owner string) {
	b.Queue(enterSQL, owner, s.statementTimeout).Exec(done)
}

func done(pgconn.CommandTag) error { return nil }

// queue adds a statement to the batch with the owner bound as its $1.
func (o Owner) queue(b *pgx.Batch, sql string, args ...any) *pgx.QueuedQuery {
	return b.Queue(sql, append([]any{o.id}, args...)...)
}

// exec is queue for a statement that returns no rows.
func (o Owner) exec(b *pgx.Batch, sql string, args ...any) { o.queue(b, sql, args...).Exec(done) }

// effect says what sending a batch a second time would do.
type effect int

const (
	reads  effect = iota // nothing
	writes               // the change once more, if the first time came through
	once                 // nothing: the statements themselves see to it
)

// mostStatements is above the number of this package's statements: no statement pushes another one out of a cache.
const mostStatements = 256

// attempts is how often a batch is sent at most when PostgreSQL rolled it back for the sake of another transaction.
const attempts = 3

// send sends the statements that fill queues in one round trip: one implicit transaction, confined to the owner.
func (o Owner) send(ctx context.Context, does effect, fill func(*pgx.Batch)) error {
	return attempt(ctx, does, func() (bool, error) { return o.sendOnce(ctx, fill) })
}

// read is send for one statement that reads, takes no longer than others of its kind, and cannot fail for what is in it:
// those share round trips, see coalescer.
func (o Owner) read(ctx context.Context, rows func(pgx.Rows) error, sql string, args ...any) error {
	if o.store.coalescer == nil {
		return o.send(ctx, reads, func(b *pgx.Batch) { o.queue(b, sql, args...).Query(rows) })
	}
	args = append([]any{o.id}, args...)
	return attempt(ctx, reads, func() (bool, error) {
		return o.store.coalescer.do(ctx, &read{owner: o.id, sql: sql, args: args, rows: rows})
	})
}

// attempt sends a batch, and sends it again when it cannot have taken effect. A write whose connection broke after it was
// sent may have, and is ErrOutcomeUnknown.
func attempt(ctx context.Context, does effect, send func() (sent bool, err error)) error {
	var broke, unknown bool
	for attempt := 1; ; attempt++ {
		sent, err := send()
		again := false
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil && undone(err):
			return ctx.Err()
		case ctx.Err() != nil:
		case undone(err):
			again = attempt < attempts
		case !sent || broken(err):
			again = !broke && (!sent || does != writes)
			broke = true
		}
		unknown = unknown || sent && does != reads && broken(err) // also when the next attempt cannot even be sent
		if again {
			continue
		}
		if meaning := translate(err); !unknown || !errors.Is(meaning, ErrUnavailable) {
			return meaning
		}
		return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	}
}

// sendOnce reports also whether anything was sent at all.
func (o Owner) sendOnce(ctx context.Context, fill func(*pgx.Batch)) (sent bool, err error) {
	conn, err := o.store.pool.Acquire(ctx)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer release(ctx, conn)
	var b pgx.Batch
	o.store.enter(&b, o.id)
	fill(&b)
	err = conn.SendBatch(ctx, &b).Close()
	if stale(err) {
		_ = conn.Conn().Close(ctx) // what the coalescer prepared is not forgotten otherwise
	}
	// The exec mode reports a connection that broke under a batch as one that was closed before: that is no proof.
	return !pgconn.SafeToRetry(err) || errors.Is(err, pgconn.ErrConnClosed), err
}

// release gives a connection back.
func release(ctx context.Context, conn *pgxpool.Conn) {
	if errors.Is(ctx.Err(), context.Canceled) && conn.Conn().IsClosed() {
		// The library tells PostgreSQL to stop, closes the connection and does not wait, but until then the pool has one
		// less. Nobody waits for this call either, and who is counted as working must be: an owner who asks and leaves, and
		// asks again, would have all connections. It takes 15 s at most.
		<-conn.Conn().PgConn().CleanupDone()
	}
	conn.Release()
}

// one sends a statement that concerns one task: ErrNotFound when the owner has no such task.
func (o Owner) one(ctx context.Context, does effect, sql string, args ...any) (Task, error) {
	var tasks []Task
	rows := func(rows pgx.Rows) (err error) {
		// An error from here would cost the connection its prepared statements, so that there is no row is told later.
		tasks, err = pgx.CollectRows(rows, scanTask)
		return err
	}
	var err error
	if does == reads {
		err = o.read(ctx, rows, sql, args...)
	} else {
		err = o.send(ctx, does, func(b *pgx.Batch) { o.queue(b, sql, args...).Query(rows) })
	}
	switch {
	case err != nil:
		return Task{}, err
	case len(tasks) == 0:
		return Task{}, ErrNotFound
	}
	return tasks[0], nil
}

// storable reports whether PostgreSQL could hold the text at all. An id that it could not is the id of no task.
func storable(text string) bool { return utf8.ValidString(text) && !strings.Contains(text, "\x00") }
