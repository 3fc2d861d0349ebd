// Package migrations holds the DDL of Docket's tables and applies it, through tern.
//
// The files are numbered from 001 without gaps; each has an up and a down half. They are plain SQL: tern would expand
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
	// versionTable is not tern's default, which another user of tern in the same database may have.
	versionTable = "docket_schema_version"

	// lockKey is "docket" in ASCII. This lock is taken before tern's own, see lock.
	lockKey int64 = 0x646f636b6574
)

// BetterAuthMigrate is the command that creates the "user" table.
const BetterAuthMigrate = "npx auth@latest migrate"

var (
	// ErrNoUserTable means that Better Auth's own migration has not run in this database.
	ErrNoUserTable = errors.New(`table "user" is missing: it belongs to Better Auth, run its migration first (` +
		BetterAuthMigrate + `, in the project that configures Better Auth, against this database)`)

	// ErrUserIDNotText means that Better Auth is configured for ids that a varchar foreign key cannot refer to.
	ErrUserIDNotText = errors.New(`"user".id is not text: remove advanced.database.generateId "uuid" or "serial" ` +
		`from the Better Auth configuration (its default makes text ids) and run its migration on a fresh "user" table`)

	// ErrOldNumbering means that the database was migrated before the first release, by files with other numbers.
	ErrOldNumbering = errors.New(`this database was migrated by an unreleased Docket, whose migrations had other numbers: nothing done.
To start over and keep its tasks, run
  pg_dump --data-only --table=task "$DATABASE_URL" > task.sql
  docket migrate reset --yes
  psql --set ON_ERROR_STOP=1 --file task.sql "$DATABASE_URL"
Where reset is refused, migrate a new database and load the users and task.sql into it`)
)

// Up migrates the database to the newest version and writes a line to log for each migration. Running it again does
// nothing, and several processes may run it at once: one migrates while the others wait. databaseURL must lead to
// PostgreSQL directly and not through a transaction pooler, where the session's lock does not hold.
//
// It returns ErrNoUserTable or ErrUserIDNotText, wrapped, if Better Auth's table is missing or not usable, and
// ErrOldNumbering if the database was migrated by files with other numbers.
func Up(ctx context.Context, databaseURL string, log io.Writer) error {
	return with(ctx, databaseURL, log, func(m *migrate.Migrator, conn *pgx.Conn) error {
		if err := checkUserTable(ctx, conn); err != nil {
			return err
		}
		before, err := m.GetCurrentVersion(ctx)
		if err != nil {
			return err
		}
		if err := checkNumbering(ctx, conn, before); err != nil {
			return err
		}
		if int(before) > len(m.Migrations) {
			return fmt.Errorf("the database is at version %d, newer than this binary's %d: nothing done", before, len(m.Migrations))
		}
		if err := migrateRetrying(ctx, m); err != nil {
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

// migrateRetrying migrates, and tries again when a right is missing: a role that a migration of another database of the
// cluster creates at the same time can become visible before our membership in it.
func migrateRetrying(ctx context.Context, m *migrate.Migrator) error {
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

// Down reverts the given number of migrations, newest first; 0 reverts all of them. It drops the tables that they
// created, with everything in them. It returns ErrOldNumbering, unless steps is 0.
func Down(ctx context.Context, databaseURL string, steps int, log io.Writer) error {
	return with(ctx, databaseURL, log, func(m *migrate.Migrator, conn *pgx.Conn) error {
		before, err := m.GetCurrentVersion(ctx)
		if err != nil {
			return err
		}
		err = checkNumbering(ctx, conn, before)
		if errors.Is(err, ErrOldNumbering) && steps == 0 {
			before = 0
			_, err = conn.Exec(ctx, dropOldSQL)
		}
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

// State is the state of a database's schema.
type State struct {
	Current int32    // version of the database; 0 if nothing was migrated
	Newest  int32    // version that this binary brings
	Names   []string // of the migrations, in order: Names[0] is version 1
}

// Status reads the state of a database's schema. It changes nothing. It returns ErrOldNumbering.
func Status(ctx context.Context, databaseURL string) (State, error) {
	conn, err := connect(ctx, databaseURL)
	if err != nil {
		return State{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	current, err := Version(ctx, conn)
	if err != nil {
		return State{}, err
	}
	if err := checkNumbering(ctx, conn, current); err != nil {
		return State{}, err
	}
	return State{Current: current, Newest: Newest(), Names: names()}, nil
}

// Newest returns the version that this binary contains and needs.
func Newest() int32 { return int32(len(names())) }

func names() []string {
	names, err := migrate.FindMigrations(files)
	if err != nil {
		panic(err) // the files are embedded: every test would fail
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

// Version reads the version of the database, 0 if nothing was migrated. It works through a pooler.
func Version(ctx context.Context, q Querier) (int32, error) {
	var there bool
	if err := q.QueryRow(ctx, versionTableSQL).Scan(&there); err != nil || !there {
		return 0, err
	}
	var v int32
	err := q.QueryRow(ctx, versionSQL).Scan(&v)
	return v, err
}

// The first two old versions had no revisions, all others the table task_tombstone.
const oldNumberingSQL = `
select to_regclass('task_tombstone') is not null
  or to_regclass('task') is not null and not exists (
    select from pg_attribute where attrelid = to_regclass('task') and attname = 'rev' and not attisdropped
  )`

// dropOldSQL drops all that the old migrations created, and is one transaction.
const dropOldSQL = `
drop table if exists task, task_tombstone, task_summary, idempotency_key;
drop function if exists
  update_updated_at_column, task_owner_lock, task_revision, task_tombstones, task_changed,
  task_summary_add, task_summary_rebuild, next_revision;
drop sequence if exists task_rev_seq;
update ` + versionTable + ` set version = 0`

func checkNumbering(ctx context.Context, conn *pgx.Conn, version int32) error {
	if version == 0 {
		return nil // tables with these names are not Docket's
	}
	var old bool
	if err := conn.QueryRow(ctx, oldNumberingSQL).Scan(&old); err != nil || !old {
		return err
	}
	return ErrOldNumbering
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

// hinted adds PostgreSQL's hint to its error. The migrations' hints say what to run.
func hinted(err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Hint != "" {
		return fmt.Errorf("%w\n%s", err, pg.Hint)
	}
	return err
}

const lockSQL = `select pg_try_advisory_lock($1)`

// lock polls for a lock of our own instead of waiting for tern's. A session that waits in a statement holds a snapshot,
// and `create index concurrently` in another session waits for that snapshot: a deadlock. The lock ends with the
// connection.
func lock(ctx context.Context, conn *pgx.Conn, log io.Writer) error {
	for logged := false; ; {
		var got bool
		if err := conn.QueryRow(ctx, lockSQL, lockKey).Scan(&got); err != nil {
			return err
		}
		if got {
			return nil
		}
		if !logged {
			fmt.Fprintln(log, "another process is migrating this database, waiting for it")
			logged = true
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

const unlockSQL = `select pg_advisory_unlock($1)`

// unlock releases the lock before the connection is closed, which PostgreSQL notices a moment later.
func unlock(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_, _ = conn.Exec(ctx, unlockSQL, lockKey) // if it fails, the lock ends with the connection
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
where not indisvalid
  and indrelid in (select polrelid from pg_policy where 'docket_app'::regrole = any (polroles))`

// checkIndexes fails if a concurrent build left an invalid index behind: the version was raised all the same.
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
