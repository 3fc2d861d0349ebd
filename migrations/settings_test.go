package migrations_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"docket/internal/dbtest"
	"docket/internal/devdb"
	"docket/migrations"
)

// fault A5
func TestUpRefusesADatabaseThatIsNotUTF8(t *testing.T) {
	t.Parallel()
	for _, encoding := range []string{"LATIN1", "SQL_ASCII"} {
		address := createDatabase(t, "encoding '"+encoding+"' locale 'C'")
		conn := connect(t, address)
		exec(t, conn, devdb.UserFixtureSQL)
		err := migrations.Up(t.Context(), address, t.Output())
		if !errors.Is(err, migrations.ErrNotUTF8) || !strings.Contains(err.Error(), encoding) || !strings.Contains(err.Error(), "create database") {
			t.Errorf("%s: %v", encoding, err)
		}
		if n := value[int](t, conn, "select count(*) from pg_class where relname in ('task', 'task_summary')"); n != 0 {
			t.Errorf("%s: %d tables", encoding, n)
		}
	}
}

// createDatabase creates a database beside those of dbtest, and returns its URL.
func createDatabase(t *testing.T, options string) string {
	t.Helper()
	u, err := url.Parse(dbtest.Empty(t))
	if err != nil {
		t.Fatal(err)
	}
	admin := connect(t, u.String())
	name := u.Path[1:] + "_" + strings.ToLower(strings.Fields(strings.ReplaceAll(options, "'", ""))[1])
	exec(t, admin, "create database "+name+" template template0 "+options)
	t.Cleanup(func() { // t.Context has ended
		u.Path = "/postgres"
		conn, err := pgx.Connect(context.Background(), u.String())
		if err == nil {
			_, err = conn.Exec(context.Background(), "drop database "+name+" with (force)")
			conn.Close(context.Background())
		}
		if err != nil {
			t.Error(err)
		}
	})
	other := *u
	other.Path = "/" + name
	return other.String()
}

// A login's own schema comes first in PostgreSQL's default search path, whenever it is created.
//
// fault A2
func TestUpContinuesInTheSchemaOfTheTables(t *testing.T) {
	t.Parallel()
	address := dbtest.New(t)
	conn := connect(t, address)
	down(t, address, 2)
	me := value[string](t, conn, "select quote_ident(current_user)")
	exec(t, conn, "create schema "+me)
	up(t, address)
	if n := value[int](t, conn, "select count(*) from pg_class where relnamespace = (select oid from pg_namespace where nspname = current_user)"); n != 0 {
		t.Errorf("%d objects are in the login's own schema", n)
	}
	for range 2 { // also where the search path has no schema at all
		state, err := migrations.Status(t.Context(), address)
		if err != nil || state.Current != migrations.Newest() {
			t.Errorf("%+v, %v", state, err)
		}
		exec(t, conn, "alter database "+value[string](t, conn, "select current_database()")+" set search_path = ''")
	}
	up(t, address)
	exec(t, conn, "create schema one; create table one.docket_schema_version (); create schema two; create table two.docket_schema_version ()")
	exec(t, conn, "drop table public.docket_schema_version cascade")
	if err := migrations.Up(t.Context(), address, t.Output()); err == nil || !strings.Contains(err.Error(), "one, two") {
		t.Errorf("with two schemas: %v", err)
	}
}

// What a database sets must not end a long migration, nor change what it does.
func TestUpDoesNotDependOnTheDatabasesSettings(t *testing.T) {
	t.Parallel()
	address := dbtest.Empty(t)
	conn := connect(t, address)
	exec(t, conn, devdb.UserFixtureSQL)
	name := value[string](t, conn, "select current_database()")
	for _, setting := range []string{
		"lock_timeout = 1", "datestyle = 'German, DMY'", "row_security = off", "standard_conforming_strings = off",
		"client_encoding = LATIN1", "idle_in_transaction_session_timeout = 1",
	} {
		exec(t, conn, "alter database "+name+" set "+setting)
	}
	up(t, address)
	exec(t, conn, "alter database "+name+" reset all")
	want, got := dump(t, connect(t, dbtest.New(t))), dump(t, connect(t, address))
	if got != want {
		t.Errorf("the schema differs:\n%s", difference(want, got))
	}
}
