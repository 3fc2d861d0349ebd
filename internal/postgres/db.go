// Package postgres runs transactions on a PostgreSQL database, each of one owner and in one round trip.
//
// A transaction acts as the role docket_app and names its owner to the policies of row-level security, so that its
// statements read and change no rows of others. The package knows no table.
package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Config says how to reach the database. The zero value of everything but URL means the default beside it.
type Config struct {
	URL                   string
	MaxConns              int32         // 30
	MinIdleConns          int32         // 10; negative: none
	MaxConnLifetime       time.Duration // 1 h
	MaxConnLifetimeJitter time.Duration // a tenth of MaxConnLifetime, so that replicas do not reconnect at once; negative: none
	MaxConnIdleTime       time.Duration // 5 min
	PingTimeout           time.Duration // 2 s, for the check of a connection that was idle for over a second
	StatementTimeout      time.Duration // 5 s, after which PostgreSQL cancels a statement; keep it below a request's deadline
	QueryMode             QueryMode     // QueryModeAuto
}

// QueryMode is how statements are sent, see docs/operations.md.
type QueryMode string

// The query modes. See docs/operations.md.
const (
	QueryModeAuto     QueryMode = "auto"            // prepared, but exec when the address is a known pooler's
	QueryModePrepared QueryMode = "cache_statement" // prepared once per connection: the fastest, for a direct connection
	QueryModeExec     QueryMode = "exec"            // right behind any transaction pooler
	QueryModeDescribe QueryMode = "cache_describe"  // right behind any transaction pooler, binary results
)

// DB is a pool of connections to one database. It is safe for concurrent use.
type DB struct {
	pool             *pgxpool.Pool
	probes           *pgxpool.Pool // one connection, only for Probe
	shared           *sharedReads  // nil where nothing is prepared
	statementTimeout string        // in milliseconds, as PostgreSQL takes it
	meanings         []Meaning
}

// statementCache is the number of statements that a connection keeps prepared. It exceeds the number of statements, so
// that none is prepared twice.
const statementCache = 256

// Open opens a pool without waiting for the database; the first call and Ping report a database that is down. It
// returns an error, which does not contain the URL, if the URL or the query mode is invalid. The meanings define what
// errors of PostgreSQL mean to the caller. After Open no statement can be declared.
func Open(ctx context.Context, c Config, meanings ...Meaning) (*DB, error) {
	pc, err := pgxpool.ParseConfig(c.URL)
	if err != nil {
		return nil, errors.New("the database URL cannot be parsed") // err would repeat it
	}
	mode, err := execMode(c)
	if err != nil {
		return nil, err
	}
	pc.ConnConfig.DefaultQueryExecMode = mode
	pc.ConnConfig.StatementCacheCapacity, pc.ConnConfig.DescriptionCacheCapacity = 0, 0
	switch mode {
	case pgx.QueryExecModeCacheStatement:
		pc.ConnConfig.StatementCacheCapacity = statementCache
	case pgx.QueryExecModeCacheDescribe:
		pc.ConnConfig.DescriptionCacheCapacity = statementCache
	}
	if !strings.Contains(c.URL, "connect_timeout") {
		pc.ConnConfig.ConnectTimeout = 5 * time.Second // the default of pgx is two minutes
	}
	pc.MaxConns = cmp.Or(c.MaxConns, 30)
	pc.MinIdleConns = max(0, min(cmp.Or(c.MinIdleConns, 10), pc.MaxConns))
	pc.MaxConnLifetime = cmp.Or(c.MaxConnLifetime, time.Hour)
	pc.MaxConnLifetimeJitter = max(0, cmp.Or(c.MaxConnLifetimeJitter, pc.MaxConnLifetime/10))
	pc.MaxConnIdleTime = cmp.Or(c.MaxConnIdleTime, 5*time.Minute)
	pc.PingTimeout = cmp.Or(c.PingTimeout, 2*time.Second)
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, fmt.Errorf("open the pool: %w", err)
	}
	pc = pc.Copy()
	pc.MaxConns, pc.MinIdleConns = 1, 0
	// A failed probe must mean that the database is down, and not that an old connection was closed.
	pc.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return true }
	probes, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("open the pool: %w", err)
	}
	timeout := cmp.Or(c.StatementTimeout, 5*time.Second)
	db := &DB{pool: pool, probes: probes, statementTimeout: strconv.FormatInt(timeout.Milliseconds(), 10), meanings: meanings}
	if mode == pgx.QueryExecModeCacheStatement {
		db.shared = &sharedReads{db: db}
	}
	opened.Store(true)
	return db, nil
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

// Close waits for the calls in progress and closes every connection.
func (db *DB) Close() {
	db.probes.Close()
	db.pool.Close()
}

// Ping reports whether the database answers. It returns ErrUnavailable, wrapped, if it does not.
func (db *DB) Ping(ctx context.Context) error { return db.translate(db.pool.Ping(ctx)) }

// Stat is the state of a pool, with counts since it was opened.
type Stat struct {
	Acquired, Idle, Max int32         // connections in use, connections not in use, and the most there may be
	Acquires            int64         // how often a connection was acquired
	Waits               int64         // how often a caller had to wait for one
	Waiting             time.Duration // how long, all together
	Cancels             int64         // how often the context ended first
}

// Stat returns the state of the pool.
func (db *DB) Stat() Stat {
	p := db.pool.Stat()
	return Stat{
		Acquired: p.AcquiredConns(), Idle: p.IdleConns(), Max: p.MaxConns(), Acquires: p.AcquireCount(),
		Waits: p.EmptyAcquireCount(), Waiting: p.EmptyAcquireWaitTime(), Cancels: p.CanceledAcquireCount(),
	}
}
