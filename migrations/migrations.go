// Package migrations holds the DDL of Docket's tables and applies it, through tern.
//
// The files are numbered from 001 without gaps; each has an up and a down half. They are plain SQL: tern would expand
// Go templates in them, which a test forbids.
package migrations

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
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

// BetterAuthMigrate is the command that creates Better Auth's tables.
const BetterAuthMigrate = "npx auth@latest migrate"

var (
	// ErrNoUserTable means that Better Auth's own migration has not run in this database, or that its table has another
	// name.
	ErrNoUserTable = errors.New(`it belongs to Better Auth: run its migration first (` +
		BetterAuthMigrate + ` with Node.js 22.12 or newer, in the project that configures Better Auth, against this database), ` +
		`or set AUTH_USER_TABLE if its table of users has another name`)

	// ErrOtherUserTable means that the tables were migrated for another table of users.
	ErrOtherUserTable = errors.New(`AUTH_USER_TABLE is another table than the one that the tasks already refer to: ` +
		`unset it, or start over with a new database`)

	// ErrUserIDNotText means that Better Auth is configured for ids that a varchar foreign key cannot refer to.
	ErrUserIDNotText = errors.New(`the id of Better Auth's users is not text: remove advanced.database.generateId "uuid" or "serial" ` +
		`from the Better Auth configuration (its default makes text ids) and run its migration on a fresh table`)

	// ErrPoolerSettings means that a pooler in session mode does not accept the settings that a migration needs.
	ErrPoolerSettings = errors.New("this address leads through a pooler that accepts no settings: " +
		"set MIGRATE_DATABASE_URL to the direct address of the database")

	// ErrNotUTF8 means that the database cannot store every text.
	ErrNotUTF8 = errors.New(`its encoding must be UTF8: nothing done. It cannot be changed in an existing database. Create another one
and load the data into it: create database NAME template template0 encoding 'UTF8' locale 'C.UTF-8'
(see docs/operations.md, which says where that locale is missing)`)

	// ErrNoVersion means that the table of the version is empty.
	ErrNoVersion = fmt.Errorf(`the table %[1]s is empty, as if a clean-up had truncated every table: nothing done.
Truncating keeps the tables themselves. If they were at version %[2]d, this binary's, say so:
  psql -c "insert into %[1]s values (%[2]d); insert into docket_epoch default values" "$DATABASE_URL"
If they were at another version, insert that. Let the clean-up leave out %[1]s and docket_epoch`, versionTable, Newest())

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
// It returns ErrNotUTF8, wrapped, if the database has another encoding, ErrNoUserTable or ErrUserIDNotText, wrapped, if
// Better Auth's table is missing or not usable, and ErrOldNumbering if the database was migrated by files with other numbers.
func Up(ctx context.Context, databaseURL string, log io.Writer) error {
	return UpFor(ctx, databaseURL, "", log)
}

// UpFor is like Up for a Better Auth whose table of users is not named "user". The table is given as its name or as
// schema.name, without quotation marks; an empty one is the table that the tasks already refer to, or else "user". It
// returns ErrOtherUserTable, wrapped, if the tasks already refer to another table.
func UpFor(ctx context.Context, databaseURL, userTable string, log io.Writer) error {
	return with(ctx, databaseURL, log, func(m *migrate.Migrator, conn *pgx.Conn) error {
		if err := checkEncoding(ctx, conn); err != nil {
			return err
		}
		if err := chooseUserTable(ctx, conn, userTable); err != nil {
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

// Reset reverts all migrations, which deletes all tasks, and applies them again, for the same table of users unless
// another one is given.
func Reset(ctx context.Context, databaseURL, userTable string, log io.Writer) error {
	conn, err := connectToMigrate(ctx, databaseURL)
	if err != nil {
		return err
	}
	var referred string
	err = conn.QueryRow(ctx, referredNameSQL).Scan(&referred)
	_ = conn.Close(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	if err := Down(ctx, databaseURL, 0, log); err != nil {
		return err
	}
	return UpFor(ctx, databaseURL, cmp.Or(userTable, referred), log)
}

// Status reads the state of a database's schema. It changes nothing. It returns ErrOldNumbering
// or ErrNoVersion.
func Status(ctx context.Context, databaseURL string) (State, error) {
	config, err := parse(databaseURL)
	if err != nil {
		return State{}, err
	}
	conn, err := connect(ctx, config)
	if err != nil {
		return State{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	tx, err := conn.Begin(ctx) // the search path must not stay in a pooler's session
	if err != nil {
		return State{}, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	path, err := searchPath(ctx, tx)
	if err != nil {
		return State{}, err
	}
	if _, err := tx.Exec(ctx, "select set_config('search_path', $1, true)", path); err != nil {
		return State{}, err
	}
	current, err := Version(ctx, tx)
	if err != nil {
		return State{}, err
	}
	if err := checkNumbering(ctx, tx, current); err != nil {
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

// Querier is what Version needs: a connection, a transaction or a pool.
type Querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

const (
	versionTableSQL = `select to_regclass('` + versionTable + `') is not null`
	versionSQL      = `select version from ` + versionTable
)

// Version reads the version of the database, 0 if nothing was migrated. It works through a pooler. It returns ErrNoVersion
// if the version is missing.
func Version(ctx context.Context, q Querier) (int32, error) {
	var there bool
	if err := q.QueryRow(ctx, versionTableSQL).Scan(&there); err != nil || !there {
		return 0, err
	}
	var v int32
	err := q.QueryRow(ctx, versionSQL).Scan(&v)
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNoVersion
	}
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

func checkNumbering(ctx context.Context, q Querier, version int32) error {
	if version == 0 {
		return nil // tables with these names are not Docket's
	}
	var old bool
	if err := q.QueryRow(ctx, oldNumberingSQL).Scan(&old); err != nil || !old {
		return err
	}
	return ErrOldNumbering
}

func parse(databaseURL string) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return nil, errors.New("the database URL cannot be parsed") // err would repeat it, password and all
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec // Status works through a pooler
	config.RuntimeParams["client_encoding"] = "UTF8"
	return config, nil
}

func connect(ctx context.Context, config *pgx.ConnConfig) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	return conn, nil
}

// searchPathSQL selects the search path with the schema of Docket's tables before all others: the first one that the
// search path finds, or the only one in the database. Migrations create their objects there.
const searchPathSQL = `
with found as (
  select nspname::text as name, array_position(current_schemas(false), nspname) as place
  from pg_class
  join pg_namespace on pg_namespace.oid = relnamespace
  where relname = '` + versionTable + `' and relkind = 'r' and nspname !~ '^pg_'
)
select concat_ws(', ', quote_ident(coalesce(
    (select name from found where place is not null order by place limit 1),
    (select max(name) from found having count(*) = 1)
  )), nullif(current_setting('search_path'), '')),
  case when not exists (select from found where place is not null) and (select count(*) from found) > 1
    then (select string_agg(quote_ident(name), ', ' order by name) from found) else '' end`

// searchPath returns the search path for migrations. It returns an error if several schemas have Docket's tables, and
// the search path finds none of them.
func searchPath(ctx context.Context, q Querier) (path string, err error) {
	var several string
	if err := q.QueryRow(ctx, searchPathSQL).Scan(&path, &several); err != nil {
		return "", err
	}
	if several != "" {
		return "", fmt.Errorf("the schemas %s have tables of Docket, and the search path of this login has none of them: nothing done.\n"+
			"Put one of them there: alter role <login> set search_path = <schema>, public", several)
	}
	return path, nil
}

// connectToMigrate opens a connection that creates objects in the schema of Docket's tables, and whose settings do not
// depend on the database's and the login's. They last: tern resets all settings to those that a session begins with.
func connectToMigrate(ctx context.Context, databaseURL string) (*pgx.Conn, error) {
	config, err := parse(databaseURL)
	if err != nil {
		return nil, err
	}
	conn, err := connect(ctx, config)
	if err != nil {
		return nil, err
	}
	path, err := searchPath(ctx, conn)
	_ = conn.Close(context.WithoutCancel(ctx))
	if err != nil {
		return nil, err
	}
	maps.Copy(config.RuntimeParams, map[string]string{
		"search_path": path, "row_security": "on", "standard_conforming_strings": "on", "datestyle": "ISO, MDY",
		"statement_timeout": "0", "lock_timeout": "0", "idle_in_transaction_session_timeout": "0",
	})
	conn, err = connect(ctx, config)
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "08P01" { // protocol_violation: unsupported startup parameter
		return nil, fmt.Errorf("%w\n%w", ErrPoolerSettings, err)
	}
	return conn, err
}

func with(ctx context.Context, databaseURL string, log io.Writer, do func(*migrate.Migrator, *pgx.Conn) error) error {
	conn, err := connectToMigrate(ctx, databaseURL)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := lock(ctx, conn, log); err != nil {
		return err
	}
	defer unlock(ctx, conn)
	if _, err := Version(ctx, conn); err != nil {
		return err // tern would say that there are no rows
	}
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

const encodingSQL = `select pg_encoding_to_char(encoding) from pg_database where datname = current_database()`

func checkEncoding(ctx context.Context, conn *pgx.Conn) error {
	var encoding string
	if err := conn.QueryRow(ctx, encodingSQL).Scan(&encoding); err != nil || encoding == "UTF8" {
		return err
	}
	return fmt.Errorf("the database has the encoding %s, and %w", encoding, ErrNotUTF8)
}

// referredTableSQL selects the table that tasks refer to, and the given one. Either may be null.
const referredTableSQL = `
select confrelid::int8, to_regclass($1)::oid::int8
from (select) none
left join pg_constraint on conrelid = to_regclass('task') and conname = 'fk_user'`

// referredNameSQL selects the name of the table that tasks refer to, as UpFor takes it.
const referredNameSQL = `
select coalesce(max(nspname || '.' || relname), '')
from pg_constraint
join pg_class on pg_class.oid = confrelid
join pg_namespace on pg_namespace.oid = relnamespace
where conrelid = to_regclass('task') and conname = 'fk_user'`

// userTableSQL selects a table's name, for use in SQL, and the type of its ids.
const userTableSQL = `
select format('%I.%I', nspname, relname), format_type(atttypid, null)
from pg_class
join pg_namespace on pg_namespace.oid = relnamespace
join pg_attribute on attrelid = pg_class.oid and attname = 'id' and not attisdropped
where pg_class.oid = $1::int8::oid`

// similarTablesSQL selects the names of tables that have the columns of Better Auth's.
const similarTablesSQL = `
select coalesce(string_agg(distinct nspname || '.' || relname, ', '), '')
from pg_attribute
join pg_class on pg_class.oid = attrelid
join pg_namespace on pg_namespace.oid = relnamespace
where attname in ('emailVerified', 'email_verified') and relkind in ('r', 'p')`

// setUserTableSQL is for the first migration. tern resets all settings after each one.
const setUserTableSQL = `select set_config('docket.user_table', $1, false)`

// chooseUserTable makes the migrations refer to a table of users, which it checks.
func chooseUserTable(ctx context.Context, conn *pgx.Conn, given string) error {
	name := cmp.Or(given, "user")
	var referred, table *int64
	err := conn.QueryRow(ctx, referredTableSQL, pgx.Identifier(strings.Split(name, ".")).Sanitize()).Scan(&referred, &table)
	if err != nil {
		return err
	}
	switch {
	case referred != nil && given != "" && (table == nil || *table != *referred):
		return fmt.Errorf("%s: %w", name, ErrOtherUserTable)
	case referred != nil:
		table = referred
	case table == nil:
		return noUserTable(ctx, conn, name)
	}
	var quoted, typ string
	switch err := conn.QueryRow(ctx, userTableSQL, *table).Scan(&quoted, &typ); {
	case errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("the table %s has no column id: %w", name, ErrNoUserTable)
	case err != nil:
		return err
	case typ != "text" && typ != "character varying":
		return fmt.Errorf("%w (it is %s)", ErrUserIDNotText, typ)
	}
	_, err = conn.Exec(ctx, setUserTableSQL, quoted)
	return err
}

func noUserTable(ctx context.Context, conn *pgx.Conn, name string) error {
	var similar string
	if err := conn.QueryRow(ctx, similarTablesSQL).Scan(&similar); err != nil {
		return err
	}
	if similar != "" {
		similar = " (this database has " + similar + ")"
	}
	return fmt.Errorf("table %q is missing: %w%s", name, ErrNoUserTable, similar)
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
