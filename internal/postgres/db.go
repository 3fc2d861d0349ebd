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
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel/trace"
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
	Log                   *slog.Logger  // for what is found out about the database; nil: it is not logged
	Tracer                trace.Tracer  // for spans of transactions; nil: there are none
}

// DB is a pool of connections to one database. It is safe for concurrent use.
type DB struct {
	pool             *pgxpool.Pool
	probes           *pgxpool.Pool // one connection, only for Probe
	shared           *sharedReads
	statementTimeout string // in milliseconds, as PostgreSQL takes it
	meanings         []Meaning
	log              *slog.Logger
	tracer           trace.Tracer // nil: there are no spans
	contact

	mode       QueryMode             // configured
	known      atomic.Pointer[known] // nil until the database was reached
	finding    chan struct{}         // holds a value while known is being found out
	generation atomic.Uint64         // of the statements' texts, see sender.failed

	retries, reconnects, lost atomic.Int64 // see Stat

	transactions, transacting atomic.Int64 // see Stat; transacting is in nanoseconds
}

// Open opens a pool without waiting for the database; the first call and Ping report a database that is down. It
// returns an error, which does not contain the URL, if the URL or the query mode is invalid. The meanings define what
// errors of PostgreSQL mean to the caller. After Open no statement can be declared.
func Open(ctx context.Context, c Config, meanings ...Meaning) (*DB, error) {
	pc, err := pgxpool.ParseConfig(c.URL)
	if err != nil {
		return nil, errors.New("the database URL cannot be parsed") // err would repeat it
	}
	mode := cmp.Or(c.QueryMode, QueryModeAuto)
	if err := mode.valid(); err != nil {
		return nil, err
	}
	// Statements are prepared here, so that the settings of their transaction apply to that.
	pc.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	pc.ConnConfig.StatementCacheCapacity, pc.ConnConfig.DescriptionCacheCapacity = 0, 0
	pc.ConnConfig.RuntimeParams["client_encoding"] = "UTF8" // whatever the login's or the database's is
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
	probes, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("open the pool: %w", err)
	}
	timeout := cmp.Or(c.StatementTimeout, 5*time.Second)
	db := &DB{
		pool: pool, probes: probes, statementTimeout: strconv.FormatInt(timeout.Milliseconds(), 10), meanings: meanings,
		log: cmp.Or(c.Log, slog.New(slog.DiscardHandler)), mode: mode, finding: make(chan struct{}, 1),
		tracer: c.Tracer,
	}
	db.shared = &sharedReads{db: db}
	opened.Store(true)
	return db, nil
}

// Close waits for the calls in progress and closes every connection.
func (db *DB) Close() {
	db.probes.Close()
	db.pool.Close()
}

// Ping reports whether the database answers, and finds out what Mode says. It returns ErrUnavailable, wrapped, if the
// database does not answer.
func (db *DB) Ping(ctx context.Context) error {
	conn, err := db.pool.Acquire(ctx)
	if err != nil {
		return db.translate(err)
	}
	defer conn.Release()
	if err := conn.Ping(ctx); err != nil {
		return db.translate(err)
	}
	_, err = db.find(ctx, conn.Conn())
	return db.translate(err)
}

// Stat is the state of a pool, with counts since it was opened.
type Stat struct {
	Acquired, Idle, Max int32         // connections in use, connections not in use, and the most there may be
	Acquires            int64         // how often a connection was acquired
	Waits               int64         // how often a caller had to wait for one
	Waiting             time.Duration // how long, all together
	Cancels             int64         // how often the context ended first

	Mode         string // the QueryMode in use; empty until the database was first reached
	Retries      int64  // how often a transaction was sent again
	Reconnects   int64  // how often all connections were replaced, as the server was read-only
	Lost         int64  // how often prepared statements turned out to get lost
	SharedReads  int64  // how many reads shared a round trip
	SharedGroups int64  // how many round trips they shared

	Transactions int64         // how often a transaction was sent on a connection, without probes
	Transacting  time.Duration // how long that took to the end of the answer, all together
}

// Stat returns the state of the pool.
func (db *DB) Stat() Stat {
	p := db.pool.Stat()
	s := Stat{
		Acquired: p.AcquiredConns(), Idle: p.IdleConns(), Max: p.MaxConns(), Acquires: p.AcquireCount(),
		Waits: p.EmptyAcquireCount(), Waiting: p.EmptyAcquireWaitTime(), Cancels: p.CanceledAcquireCount(),
		Retries: db.retries.Load(), Reconnects: db.reconnects.Load(), Lost: db.lost.Load(),
		Transactions: db.transactions.Load(), Transacting: time.Duration(db.transacting.Load()),
	}
	if k := db.known.Load(); k != nil {
		s.Mode = string(k.mode)
	}
	s.SharedGroups, s.SharedReads = db.shared.counts()
	return s
}
