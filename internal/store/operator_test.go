package store

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"docket/internal/dbtest"
	"docket/internal/dbtest/pgproxy"
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

// fault B5
func TestCheckOfATruncatedDatabase(t *testing.T) {
	t.Parallel()
	address := dbtest.New(t)
	conn := connect(t, address)
	s := open(t, Config{URL: address})
	execute(t, conn, "truncate docket_schema_version, docket_epoch, "+strings.Join(ownedTables, ", "))
	if got, err := s.Check(t.Context()); !errors.Is(err, ErrNoVersion) {
		t.Errorf("%+v, %v, want ErrNoVersion", got, err)
	}
}

func TestCheckReturnsAnotherEncodingThanUTF8(t *testing.T) {
	t.Parallel()
	address := dbtest.Empty(t)
	admin := connect(t, address)
	name := value[string](t, admin, "select current_database()") + "_latin1"
	execute(t, admin, "create database "+name+" template template0 encoding 'LATIN1' locale 'C'")
	defer execute(t, admin, "drop database "+name+" with (force)")
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	execute(t, connect(t, u.String()),
		"create table docket_schema_version as select 4 as version; grant select on docket_schema_version to docket_app", pgx.QueryExecModeSimpleProtocol)
	if got, err := open(t, Config{URL: u.String()}).Check(t.Context()); got.Encoding == nil || *got.Encoding != "LATIN1" {
		t.Errorf("%+v, %v, want LATIN1", got, err)
	}
}

// Check executes what requests execute, so it fails if they do.
func TestCheckFailsIfRequestsDo(t *testing.T) {
	t.Parallel()
	address := dbtest.New(t)
	conn := connect(t, address)
	execute(t, conn, `
create function fails() returns trigger language plpgsql as $$
begin
  raise exception 'no' using errcode = tg_argv[0];
end;
$$`)
	for _, mode := range modes {
		s := open(t, Config{URL: address, QueryMode: mode})
		for _, test := range []struct {
			fault, repair string
			want          error
		}{
			{"revoke insert on task from docket_app", "grant insert on task to docket_app", ErrDenied},
			{"revoke update on task from docket_app", "grant update on task to docket_app", ErrDenied},
			{"revoke delete on task from docket_app", "grant delete on task to docket_app", ErrDenied},
			{"revoke select on task_summary from docket_app", "grant select on task_summary to docket_app", ErrDenied},
			{"revoke delete on tombstone from docket_app", "grant delete on tombstone to docket_app", ErrDenied},
			{"revoke insert on idempotency_key from docket_app", "grant insert on idempotency_key to docket_app", ErrDenied},
			{"revoke select on idempotency_key from docket_app", "grant select on idempotency_key to docket_app", ErrDenied},
			{"revoke delete on idempotency_key from docket_app", "grant delete on idempotency_key to docket_app", ErrDenied},
			{"alter table task rename description to remark", "alter table task rename remark to description", ErrNoSchema},
			{"alter table idempotency_key rename to lost", "alter table lost rename to idempotency_key", ErrNoSchema},
			{"alter function next_revision rename to lost", "alter function lost rename to next_revision", ErrNoSchema},
			{"create trigger fails before insert on task execute function fails('25006')", "drop trigger fails on task", ErrReadOnly},
			{"create trigger fails after delete on task execute function fails('26000')", "drop trigger fails on task", ErrNotPrepared},
			{"create trigger fails before update on task execute function fails('42P05')", "drop trigger fails on task", ErrNotPrepared},
		} {
			execute(t, conn, test.fault)
			if c, err := s.Check(t.Context()); !errors.Is(err, test.want) {
				t.Errorf("%s, after %q: %+v, %v, want %v", mode, test.fault, c, err, test.want)
			}
			execute(t, conn, test.repair)
			if c, err := s.Check(t.Context()); err != nil || c != (Condition{SchemaVersion: migrations.Newest(), RowSecurity: true}) {
				t.Errorf("%s, after %q: %+v, %v", mode, test.repair, c, err)
			}
		}
	}
}

func TestCheckIsOneRoundTripAndChangesNothing(t *testing.T) {
	t.Parallel()
	address := withUsers(t, "ada")
	conn := connect(t, address)
	for _, mode := range modes {
		p := dbtest.Proxy(t, address)
		s := open(t, Config{URL: p.URL, QueryMode: mode})
		if _, _, err := s.For("ada").CreateTaskOnce(t.Context(), "key "+string(mode), NewTask{Title: "kept", Priority: "low"}); err != nil {
			t.Fatal(err)
		}
		const everythingSQL = `
select concat(
  (select jsonb_agg(to_jsonb(r) || jsonb_build_object('xmin', xmin::text, 'xmax', xmax::text) order by id) from task as r),
  (select jsonb_agg(to_jsonb(r) || jsonb_build_object('xmin', xmin::text, 'xmax', xmax::text)) from task_summary as r),
  (select jsonb_agg(to_jsonb(r) || jsonb_build_object('xmin', xmin::text, 'xmax', xmax::text)) from tombstone as r),
  (select jsonb_agg(to_jsonb(r) || jsonb_build_object('xmin', xmin::text, 'xmax', xmax::text) order by key) from idempotency_key as r))`
		before := value[string](t, conn, everythingSQL)
		for range 2 { // the first time may prepare
			p.Reset()
			if _, err := s.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		got := p.Counts()
		if got.Parses = 0; got != (pgproxy.Counts{Syncs: 1, Executed: 1, Answers: 1}) {
			t.Errorf("%s: %+v, want one sync and one answer", mode, got)
		}
		if after := value[string](t, conn, everythingSQL); after != before {
			t.Errorf("%s: stored was %s, and is %s", mode, before, after)
		}
	}
}

func TestCheckReturnsTheVersionOfAnOlderSchema(t *testing.T) {
	t.Parallel()
	address := dbtest.New(t)
	s := open(t, Config{URL: address})
	for version := migrations.Newest() - 1; version > 1; version-- { // docket_app has privileges from version 2 on
		if err := migrations.Down(t.Context(), address, 1, t.Output()); err != nil {
			t.Fatal(err)
		}
		// From version 7 on there is every table and column.
		want, wantErr := Condition{SchemaVersion: version, RowSecurity: version >= 7}, error(nil)
		if version < 7 {
			wantErr = ErrNoSchema
		}
		if got, err := s.Check(t.Context()); !errors.Is(err, wantErr) || got != want {
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
		faults["create policy another on "+table+" to docket_app using (true)"] = "drop policy another on " + table
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
