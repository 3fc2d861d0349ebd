package store

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"docket/internal/dbtest"
	"docket/internal/devdb"
	"docket/migrations"
)

func TestALoginThatOnlyServesNeedsOneGrant(t *testing.T) {
	t.Parallel()
	owner := withUsers(t, "ada")
	role, address := dbtest.Login(t, owner, "server", "")
	s := open(t, Config{URL: address})
	if _, err := s.Check(t.Context()); !errors.Is(err, ErrNoRole) {
		t.Errorf("before the grant, Check: %v", err)
	}
	for name, operation := range operations {
		if err := operation.call(t.Context(), s.For("ada"), "some id"); !errors.Is(err, ErrNoRole) {
			t.Errorf("before the grant, %s: %v", name, err)
		}
	}
	execute(t, connect(t, owner), "grant docket_app to "+role)
	condition, err := s.Check(t.Context())
	if want := (Condition{SchemaVersion: migrations.Newest(), RowSecurity: true}); err != nil || condition != want {
		t.Errorf("Check: %+v, %v, want %+v", condition, err, want)
	}
	for name, operation := range operations {
		if err := operation.call(t.Context(), s.For("ada"), create(t, s.For("ada"), "x").ID); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheckReturnsTheSchemasVersion(t *testing.T) {
	t.Parallel()
	address := dbtest.New(t)
	conn := connect(t, address)
	for _, mode := range modes {
		s := open(t, Config{URL: address, QueryMode: mode})
		for _, version := range []int32{1, migrations.Newest(), migrations.Newest() + 1} {
			execute(t, conn, "update docket_schema_version set version = $1", version)
			got, err := s.Check(t.Context())
			if want := (Condition{SchemaVersion: version, RowSecurity: true}); err != nil || got != want {
				t.Errorf("%s: %+v, %v, want %+v", mode, got, err, want)
			}
		}
	}
}

func TestCheckOfADatabaseThatWasNotMigrated(t *testing.T) {
	t.Parallel()
	if got, err := open(t, Config{URL: dbtest.Empty(t)}).Check(t.Context()); !errors.Is(err, ErrNoSchema) {
		t.Errorf("%+v, %v, want ErrNoSchema", got, err)
	}
}

func TestCheckAcceptsAnOlderSchema(t *testing.T) {
	t.Parallel()
	address := dbtest.New(t)
	s := open(t, Config{URL: address})
	for version := migrations.Newest() - 1; version > 1; version-- { // docket_app has privileges from version 2 on
		if err := migrations.Down(t.Context(), address, 1, t.Output()); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Check(t.Context()); err != nil || got != (Condition{SchemaVersion: version}) {
			t.Errorf("version %d: %+v, %v", version, got, err)
		}
	}
}

func TestCheckReportsWhetherRowSecurityConfinesTheRole(t *testing.T) {
	t.Parallel()
	server := dbtest.Server(t) // a server of its own: a role exists in all of a server's databases
	s := open(t, Config{URL: server.URL("postgres")})
	if c, err := s.Check(t.Context()); !errors.Is(err, ErrNoSchema) {
		t.Errorf("of a new server: %+v, %v, want ErrNoSchema", c, err)
	}
	admin := connect(t, server.URL("postgres"))
	me := value[string](t, admin, "select current_user")
	execute(t, admin, devdb.UserFixtureSQL)
	if err := migrations.Up(t.Context(), server.URL("postgres"), t.Output()); err != nil {
		t.Fatal(err)
	}
	check := func(want bool, after string) {
		t.Helper()
		if c, err := s.Check(t.Context()); err != nil || c.RowSecurity != want {
			t.Errorf("after %q: %+v, %v, want row security: %t", after, c, err, want)
		}
	}
	check(true, "migrating")
	faults := map[string]string{
		"alter role docket_app bypassrls": "alter role docket_app nobypassrls",
		"alter role docket_app superuser": "alter role docket_app nosuperuser",
	}
	execute(t, admin, "grant create on schema public to docket_app")
	for _, table := range ownedTables {
		faults["alter table "+table+" owner to docket_app"] = "alter table " + table + " owner to " + me +
			"; grant select, insert, update, delete on " + table + " to docket_app"
		faults["alter table "+table+" disable row level security"] = "alter table " + table + " enable row level security"
	}
	for fault, repair := range faults {
		execute(t, admin, fault)
		check(false, fault)
		execute(t, admin, repair, pgx.QueryExecModeSimpleProtocol)
		check(true, repair)
	}
}

func TestOwnedTablesAreComplete(t *testing.T) {
	t.Parallel()
	const tablesSQL = `
select string_agg(relname, ' ' order by relname)
from pg_class
join pg_attribute on attrelid = pg_class.oid and attname = 'user_id'
where relnamespace = 'public'::regnamespace
  and relkind in ('r', 'p', 'v', 'm', 'f')`
	if tables := value[string](t, connect(t, dbtest.New(t)), tablesSQL); tables != sorted(strings.Join(ownedTables, " ")) {
		t.Errorf("tables %s, known are %s", tables, ownedTables)
	}
}

// An unreleased Docket had other migrations, up to version 7.
func TestCheckOfADatabaseOfTheOldNumberingReturnsVersionZero(t *testing.T) {
	t.Parallel()
	address := dbtest.New(t)
	execute(t, connect(t, address), "create table task_tombstone (); update docket_schema_version set version = 7", pgx.QueryExecModeSimpleProtocol)
	if c, err := open(t, Config{URL: address}).Check(t.Context()); err != nil || c.SchemaVersion != 0 {
		t.Errorf("%+v, %v, want version 0", c, err)
	}
}
