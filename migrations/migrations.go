// Package migrations holds the DDL of Docket's own tables and carries it out, through tern.
//
// The files are numbered from 001 without a gap; each has an up and a down half. They are plain SQL: tern would expand
// Go templates in them, which a test forbids.
package migrations

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/tern/v2/migrate"
)

//go:embed *.sql
var files embed.FS

const (
	// versionTable is ours alone, so that another tern user in the same database is not confused with us.
	versionTable = "docket_schema_version"

	// lockKey is "docket" in ASCII. It is taken before tern's own lock, see migrator.
	lockKey int64 = 0x646f636b6574
)

// BetterAuthMigrate is the command that makes the "user" table.
const BetterAuthMigrate = "npx auth@latest migrate"

var (
	// ErrNoUserTable: Better Auth's own migration has not run in this database.
	ErrNoUserTable = errors.New(`table "user" is missing: it belongs to Better Auth, run its migration first (` +
		BetterAuthMigrate + `, in the project that configures Better Auth, against this database)`)

	// ErrUserIDNotText: Better Auth was configured to make ids that a varchar foreign key cannot refer to.
	ErrUserIDNotText = errors.New(`"user".id is not text: remove advanced.database.generateId "uuid" or "serial" ` +
		`from the Better Auth configuration (its default makes text ids) and run its migration on a fresh "user" table`)
)

// Up migrates the database to the newest version and writes to log what it did, a line each. It is safe to run it
// again, and from several processes at once: one migrates while the others wait. databaseURL must reach PostgreSQL
// directly and not through a transaction pooler, which loses the session's lock.
//
// It returns ErrNoUserTable or ErrUserIDNotText, wrapped, when Better Auth's table is not there or not usable.
func Up(ctx context.Context, databaseURL string, log io.Writer) error {
	return with(ctx, databaseURL, log, func(m *migrate.Migrator, conn *pgx.Conn) error {
		if err := checkUserTable(ctx, conn); err != nil {
			return err
		}
		before, err := m.GetCurrentVersion(ctx)
		if err != nil {
			return err
		}
		if int(before) > len(m.Migrations) {
			return fmt.Errorf("the database is at version %d, newer than this binary's %d: nothing done", before, len(m.Migrations))
		}
		if err := migrateAgain(ctx, m); err != nil {
			return err
		}
		if int(before) == len(m.Migrations) {
			fmt.Fprintf(log, "already at version %d, nothing to do\n", before)
		} else {
			fmt.Fprintf(log, "now at version %d\n", len(m.Migrations))
		}
		return checkIndexes(ctx, conn)
	})
}

// migrateAgain migrates, and tries again when a right is missing: a role that another database of the cluster made at
// this moment can be seen a little earlier than our membership in it.
func migrateAgain(ctx context.Context, m *migrate.Migrator) error {
	for attempt := 1; ; attempt++ {
		err := m.Migrate(ctx)
		var pg *pgconn.PgError
		if err == nil || attempt == 4 || !errors.As(err, &pg) || pg.Code != "42501" { // insufficient_privilege
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Down takes back the given number of migrations, newest first; 0 takes back all of them. It drops the tables that
// they made, with everything in them.
func Down(ctx context.Context, databaseURL string, steps int, log io.Writer) error {
	return with(ctx, databaseURL, log, func(m *migrate.Migrator, _ *pgx.Conn) error {
		before, err := m.GetCurrentVersion(ctx)
		if err != nil {
			return err
		}
		target := max(int(before)-steps, 0)
		if steps == 0 {
			target = 0
		}
		if err := m.MigrateTo(ctx, int32(target)); err != nil {
			return err
		}
		fmt.Fprintf(log, "now at version %d\n", target)
		return nil
	})
}

// State is where a database stands.
type State struct {
	Current int32    // version of the database; 0 when nothing was migrated
	Newest  int32    // version that this binary brings
	Names   []string // of the migrations, in order: Names[0] is version 1
}

// Status reads where the database stands, without changing anything.
func Status(ctx context.Context, databaseURL string) (State, error) {
	conn, err := connect(ctx, databaseURL)
	if err != nil {
		return State{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	current, err := Version(ctx, conn)
	return State{Current: current, Newest: Newest(), Names: names()}, err
}

// Newest is the version that this binary needs and brings.
func Newest() int32 { return int32(len(names())) }

func names() []string {
	names, err := migrate.FindMigrations(files)
	if err != nil {
		panic(err) // the files are embedded: every test would have seen it
	}
	return names
}

// Querier is what Version needs: a connection or a pool.
type Querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

const (
	versionTableSQL = `select to_regclass('` + versionTable + `') is not null`
	versionSQL      = `select version from ` + versionTable
)

// Version reads the version of the database, 0 when nothing was migrated. It works through a pooler.
func Version(ctx context.Context, q Querier) (int32, error) {
	var there bool
	if err := q.QueryRow(ctx, versionTableSQL).Scan(&there); err != nil || !there {
		return 0, err
	}
	var v int32
	err := q.QueryRow(ctx, versionSQL).Scan(&v)
	return v, err
}

func connect(ctx context.Context, databaseURL string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return nil, errors.New("the database URL cannot be parsed") // err would repeat it, password and all
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	return conn, nil
}

func with(ctx context.Context, databaseURL string, log io.Writer, do func(*migrate.Migrator, *pgx.Conn) error) error {
	conn, err := connect(ctx, databaseURL)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := lock(ctx, conn, log); err != nil {
		return err
	}
	defer unlock(ctx, conn)
	m, err := migrate.NewMigrator(ctx, conn, versionTable)
	if err != nil {
		return err
	}
	if err := m.LoadMigrations(files); err != nil {
		return err
	}
	m.OnStart = func(version int32, name, direction, _ string) {
		fmt.Fprintf(log, "%s %03d %s\n", direction, version, name)
	}
	return hinted(do(m, conn))
}

// hinted adds PostgreSQL's hint to its error. Ours hold what to run.
func hinted(err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Hint != "" {
		return fmt.Errorf("%w\n%s", err, pg.Hint)
	}
	return err
}

const lockSQL = `select pg_try_advisory_lock($1)`

// lock polls for our own advisory lock instead of waiting in tern's: a session that waits inside a statement holds a
// snapshot, and `create index concurrently` in another waits for that snapshot, a deadlock. The lock ends with the
// connection.
func lock(ctx context.Context, conn *pgx.Conn, log io.Writer) error {
	for said := false; ; {
		var got bool
		if err := conn.QueryRow(ctx, lockSQL, lockKey).Scan(&got); err != nil {
			return err
		}
		if got {
			return nil
		}
		if !said {
			fmt.Fprintln(log, "another process is migrating this database, waiting for it")
			said = true
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

const unlockSQL = `select pg_advisory_unlock($1)`

// unlock is for whoever migrates next: PostgreSQL notices a moment later than we that a connection was closed.
func unlock(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_, _ = conn.Exec(ctx, unlockSQL, lockKey) // closing the connection does it as well
}

const userIDTypeSQL = `
select format_type(atttypid, null)
from pg_attribute
where attrelid = to_regclass('"user"') and attname = 'id' and not attisdropped`

func checkUserTable(ctx context.Context, conn *pgx.Conn) error {
	var typ string
	switch err := conn.QueryRow(ctx, userIDTypeSQL).Scan(&typ); {
	case errors.Is(err, pgx.ErrNoRows):
		return ErrNoUserTable
	case err != nil:
		return err
	case typ != "text" && typ != "character varying":
		return fmt.Errorf("%w (it is %s)", ErrUserIDNotText, typ)
	}
	return nil
}

const invalidIndexSQL = `
select coalesce(string_agg(indexrelid::regclass::text, ', '), '')
from pg_index
where not indisvalid and indrelid in (to_regclass('task'), to_regclass('task_tombstone'), to_regclass('idempotency_key'))`

// checkIndexes fails on an index that a concurrent build left behind unusable: the version was raised all the same.
func checkIndexes(ctx context.Context, conn *pgx.Conn) error {
	var names string
	if err := conn.QueryRow(ctx, invalidIndexSQL).Scan(&names); err != nil {
		return err
	}
	if names != "" {
		return fmt.Errorf("invalid index %s: an index build was interrupted; run `reindex index concurrently` on it", names)
	}
	return nil
}
