package postgres

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// QueryMode is how statements are sent, see docs/operations.md.
type QueryMode string

// The query modes. See docs/operations.md.
const (
	QueryModeAuto     QueryMode = "auto"            // prepared, or exec where a pooler does not support that
	QueryModePrepared QueryMode = "cache_statement" // prepared once per connection: the fastest
	QueryModeExec     QueryMode = "exec"            // right behind any transaction pooler
	QueryModeDescribe QueryMode = "cache_describe"  // right behind any transaction pooler, binary parameters
)

func (m QueryMode) valid() error {
	switch m {
	case QueryModeAuto, QueryModePrepared, QueryModeExec, QueryModeDescribe:
		return nil
	}
	return fmt.Errorf("query mode %q is not one of auto, cache_statement, exec and cache_describe", m)
}

// lookAgain is the time after which a database is examined again if prepared statements did not work.
const lookAgain = 5 * time.Minute

// known is what was found out about a database.
type known struct {
	mode    QueryMode // not auto
	between string    // what is between this process and PostgreSQL, for people
	until   time.Time // when it is examined again; zero: never

	searchPath string // of every transaction; empty: Docket's tables were not found
}

func (k *known) expired() bool { return !k.until.IsZero() && time.Now().After(k.until) }

// Mode says how statements are sent and why, such as "cache_statement, a direct connection". It is empty until the
// database was first reached.
func (db *DB) Mode() string {
	if k := db.known.Load(); k != nil {
		return string(k.mode) + ", " + k.between
	}
	return ""
}

// prepares reports whether statements are prepared, as far as is known.
func (db *DB) prepares() bool {
	if k := db.known.Load(); k != nil {
		return k.mode == QueryModePrepared
	}
	return db.mode == QueryModePrepared || db.mode == QueryModeAuto
}

// find returns what is known about the database, and finds out what is not. One caller at a time does so; the others wait
// for it only if they could not go on.
func (db *DB) find(ctx context.Context, conn *pgx.Conn) (*known, error) {
	k := db.known.Load()
	if k != nil && !k.expired() && k.searchPath != "" {
		return k, nil
	}
	select {
	case db.finding <- struct{}{}:
	default:
		if k != nil && k.searchPath != "" {
			return k, nil
		}
		select {
		case db.finding <- struct{}{}:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
		}
	}
	defer func() { <-db.finding }()
	if k = db.known.Load(); k != nil && !k.expired() && k.searchPath != "" {
		return k, nil
	}
	found := known{mode: db.mode, between: "as DB_QUERY_MODE says"}
	if k != nil && !k.expired() {
		found = *k
	} else if db.mode == QueryModeAuto {
		var err error
		if found, err = findMode(ctx, conn); err != nil {
			return nil, err
		}
	}
	path, located, err := locate(ctx, conn)
	if err != nil {
		return nil, err
	}
	if k == nil || k.mode != found.mode || k.between != found.between {
		db.log.Info("query mode", slog.String("mode", string(found.mode)), slog.String("between", found.between))
	}
	found.searchPath = path
	stored := found
	if !located {
		stored.searchPath = "" // it is looked for again
	}
	db.known.Store(&stored)
	if located {
		return &stored, nil // adapt compares the pointer
	}
	return &found, nil
}

// locateSQL selects the schema of Docket's tables: the first one in the search path that a session of the login begins
// with, and otherwise the only one in the database. The current search path may be that of another client of a pooler.
const (
	initialPathSQL = `
select set_config('search_path', (select reset_val from pg_catalog.pg_settings where name = 'search_path'), true)`

	locateSQL = `
with found as (
  select nspname::text as name, array_position(current_schemas(false), nspname) as place
  from pg_catalog.pg_class
  join pg_catalog.pg_namespace on pg_namespace.oid = relnamespace
  where relname = 'docket_schema_version'
    and relkind = 'r'
    and nspname !~ '^pg_'
), ours as (
  select coalesce(
    (select name from found where place is not null order by place limit 1),
    (select max(name) from found having count(*) = 1)
  ) as name
)
select quote_ident(coalesce(name, current_schema()::text, 'public')) || ', pg_temp', name is not null
from ours`
)

// locate returns the search path of transactions: the schema of Docket's tables, and the schema of temporary tables
// last, which PostgreSQL would search first. found is false if there is no such schema, or none of several is in the
// login's search path.
func locate(ctx context.Context, conn *pgx.Conn) (path string, found bool, err error) {
	err = exchange(ctx, conn, func(p *pgconn.Pipeline) {
		p.SendQueryParams(initialPathSQL, nil, nil, nil, nil)
		p.SendQueryParams(locateSQL, nil, nil, nil, nil)
	}, func(rows [][][]byte) {
		if len(rows) == 2 {
			path, found = string(rows[1][0]), string(rows[1][1]) == "t"
		}
	})
	if err == nil && path == "" {
		err = errors.New("PostgreSQL does not say which schemas there are")
	}
	return path, found, err
}

const statementNameSQL = "select name, pg_backend_pid() from pg_catalog.pg_prepared_statements where statement = $1"

// findMode finds out how statements may be sent. It prepares a statement of a new name and text and looks whether
// PostgreSQL knows it under that name: a pooler that supports prepared statements gives them names of its own. It leaves
// nothing behind on the server's connection.
func findMode(ctx context.Context, conn *pgx.Conn) (known, error) {
	name := "docket_" + rand.Text()
	text := "select 1 -- " + name
	var there, pid string
	err := exchange(ctx, conn, func(p *pgconn.Pipeline) {
		p.SendPrepare(name, text, nil)
		p.SendQueryParams(statementNameSQL, [][]byte{[]byte(text)}, nil, nil, nil)
		p.SendDeallocate(name)
	}, func(rows [][][]byte) {
		if len(rows) == 1 {
			there, pid = string(rows[0][0]), string(rows[0][1])
		}
	})
	without := known{mode: QueryModeExec, until: time.Now().Add(lookAgain)}
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg) && !connectionLost(pg):
		without.between = "prepared statements are refused"
		return without, nil
	case err != nil:
		return without, err
	case pid == strconv.FormatUint(uint64(conn.PgConn().PID()), 10):
		return known{mode: QueryModePrepared, between: "a direct connection"}, nil
	case there != name && there != "":
		return known{mode: QueryModePrepared, between: "a pooler that supports prepared statements"}, nil
	}
	switch keeps, err := keepsSessions(ctx, conn.Config()); {
	case err != nil:
		without.between = "not known yet" // no connection is left, for example
	case keeps:
		return known{mode: QueryModePrepared, between: "a proxy that keeps sessions"}, nil
	default:
		without.between = "a transaction pooler that does not support prepared statements"
	}
	return without, nil
}

// TransactionPooler reports whether a transaction pooler is between this process and PostgreSQL, so that a session ends
// with each transaction. It returns an error if the database cannot be reached.
func TransactionPooler(ctx context.Context, databaseURL string) (bool, error) {
	config, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return false, errors.New("the database URL cannot be parsed") // err would repeat it
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return false, fmt.Errorf("connect to the database: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	pid, err := backend(ctx, conn, "")
	if err != nil || pid == strconv.FormatUint(uint64(conn.PgConn().PID()), 10) {
		return false, err
	}
	keeps, err := keepsSessions(ctx, config)
	return !keeps, err
}

// keepsSessions reports whether all transactions of a connection have the same session of PostgreSQL. Two connections
// each begin a transaction, end them, and begin the next ones in the order of the ends and in the other: whichever free
// session a transaction pooler gives away first, the one that was used last or first, one of the connections gets the
// other's. If the pooler has only one session, there is no answer.
func keepsSessions(ctx context.Context, config *pgx.ConnConfig) (bool, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	var conns [2]*pgx.Conn
	var backends [2]string
	for i := range conns {
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			return false, err
		}
		defer conn.Close(context.WithoutCancel(ctx))
		conns[i] = conn
	}
	for n := range 6 { // other clients may take the sessions in between
		for i, conn := range conns {
			pid, err := backend(ctx, conn, "begin;")
			if err != nil && ctx.Err() == nil {
				return false, err
			}
			if err != nil || n > 0 && pid != backends[i] {
				return false, nil // no answer is an answer, too
			}
			backends[i] = pid
		}
		for i := range conns {
			if _, err := conns[(n+i)%2].PgConn().Exec(ctx, "rollback").ReadAll(); err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

// backend returns the number of the session that executes it, after the given statements.
func backend(ctx context.Context, conn *pgx.Conn, before string) (string, error) {
	results, err := conn.PgConn().Exec(ctx, before+" select pg_backend_pid()").ReadAll()
	if err != nil {
		return "", err
	}
	return string(results[len(results)-1].Rows[0][0]), nil
}

// exchange sends statements in one transaction and one round trip, and calls read with the first row of each that
// returned one.
func exchange(ctx context.Context, conn *pgx.Conn, send func(*pgconn.Pipeline), read func(rows [][][]byte)) error {
	p := conn.PgConn().StartPipeline(ctx)
	send(p)
	err := p.Sync()
	var rows [][][]byte
	for err == nil {
		var got any
		if got, err = p.GetResults(); err != nil || got == nil {
			break
		}
		if reader, ok := got.(*pgconn.ResultReader); ok {
			result := reader.Read()
			if err = result.Err; len(result.Rows) > 0 {
				rows = append(rows, result.Rows[0])
			}
		}
	}
	if err = cmp.Or(err, p.Close()); err == nil {
		read(rows)
	}
	return err
}

// adapt learns from the error of a transaction that was sent as k says, so that its next attempt can succeed.
func (db *DB) adapt(ctx context.Context, conn *pgx.Conn, k *known, err error) {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return
	}
	switch {
	case notPrepared(err) && k.mode == QueryModePrepared:
		_ = conn.Close(ctx) // nothing is known about its statements
		without := *k
		without.mode, without.until = QueryModeExec, time.Now().Add(lookAgain)
		without.between = "prepared statements get lost, so there is a transaction pooler that does not support them"
		if db.known.CompareAndSwap(k, &without) {
			db.lost.Add(1)
			db.log.Warn("prepared statements get lost: continuing without them",
				slog.String("mode", string(without.mode)), slog.String("between", without.between), slog.Any("cause", err))
		}
	case pg.Code == "42P01", pg.Code == "3F000": // undefined_table, invalid_schema_name
		elsewhere := *k
		elsewhere.searchPath = ""
		db.known.CompareAndSwap(k, &elsewhere)
	}
}
