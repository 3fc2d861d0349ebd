package migrations_test

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"testing"

	"github.com/jackc/pgx/v5"

	"docket/internal/dbtest"
	"docket/internal/devdb"
	"docket/migrations"
)

// onServers runs a test on servers of its own, since the role docket_app belongs to a whole server: on the version that
// all tests run on, and on PostgreSQL 18, where the creator of a role may not act as it.
func onServers(t *testing.T, test func(t *testing.T, server *devdb.Server)) {
	t.Helper()
	t.Run("", func(t *testing.T) {
		t.Parallel()
		test(t, dbtest.Server(t))
	})
	t.Run("18", func(t *testing.T) {
		t.Parallel()
		dir, err := os.MkdirTemp("", "docket-role-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		})
		if err := os.Chmod(dir, 0o755); err != nil { // if the test runs as root, PostgreSQL runs as another user
			t.Fatal(err)
		}
		server, err := devdb.Start(t.Context(), devdb.Options{Dir: dir, Major: 18, Ephemeral: true, Log: t.Output()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := server.Stop(); err != nil {
				t.Error(err)
			}
		})
		test(t, server)
	})
}

func TestDatabasesOfANewServerMigrateConcurrently(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, server *devdb.Server) {
		admin := connect(t, server.URL("postgres"))
		exec(t, admin, `create role "migrator" login createrole password 'secret'`)
		var databases []string
		for i := range 8 {
			name := fmt.Sprintf("one_of_eight_%d", i)
			databases = append(databases, name)
			withOwner(t, server, name, "migrator")
			// Without this right only the migration's own grant lets docket_app use the schema.
			exec(t, connect(t, server.URL(name)), "revoke usage on schema public from public")
		}
		newRole := func() { exec(t, admin, "drop role docket_app") }
		for _, round := range []struct {
			name    string
			prepare func()
			migrate func(address string) string
		}{
			{"the role is made by a login", func() {}, func(address string) string { return loginAs(t, address, "migrator") }},
			{"the role is made by a superuser", newRole, func(address string) string { return address }},
			{"the role is made by a login, again", newRole, func(address string) string { return loginAs(t, address, "migrator") }},
			{"the role is there and granted by a login to itself", func() {
				exec(t, admin, "revoke docket_app from migrator cascade")
				if server.Major() >= 16 {
					exec(t, admin, "grant docket_app to migrator with admin true, inherit false, set false")
				}
			}, func(address string) string { return loginAs(t, address, "migrator") }},
		} {
			round.prepare()
			var addresses []string
			for _, name := range databases {
				addresses = append(addresses, round.migrate(server.URL(name)))
			}
			upAtOnce(t, addresses)
			if t.Failed() {
				t.Fatalf("where %s", round.name)
			}
			for _, address := range addresses {
				serves(t, address)
				down(t, address, 0)
			}
			for _, name := range databases {
				exec(t, connect(t, server.URL(name)), "drop owned by docket_app")
			}
		}
	})
}

func TestTheErrorForALoginThatMayNotCreateRolesContainsTheSQL(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, server *devdb.Server) {
		admin := connect(t, server.URL("postgres"))
		exec(t, admin, `create role "O'Hara ""of"" IT" login password 'secret'`)
		exec(t, admin, "create role other login password 'secret'")
		exec(t, admin, "create role administrator login createrole password 'secret'")
		administrator := connect(t, loginAs(t, server.URL("postgres"), "administrator"))

		// The first login lacks the role, the second one membership in it.
		for _, login := range []string{`O'Hara "of" IT`, "other"} {
			database := fmt.Sprintf("of %q", login)
			withOwner(t, server, database, login)
			address := loginAs(t, server.URL(database), login)
			err := migrations.Up(t.Context(), address, &bytes.Buffer{})
			if sqlState(err) != "42501" {
				t.Fatalf("%s migrated: %v, want 42501", login, err)
			}
			hint := regexp.MustCompile(`: ((create role|grant) .*;)$`).FindStringSubmatch(err.Error())
			if hint == nil {
				t.Fatalf("the message does not end in SQL: %v", err)
			}
			if _, err := administrator.Exec(t.Context(), hint[1], pgx.QueryExecModeSimpleProtocol); err != nil {
				t.Fatalf("%s: %v", hint[1], err)
			}
			up(t, address)
			serves(t, address)
		}
	})
}

func TestALoginThatMayCreateRolesMigrates(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, server *devdb.Server) {
		exec(t, connect(t, server.URL("postgres")), "create role migrator login createrole password 'secret'")
		withOwner(t, server, "tasks", "migrator")
		address := loginAs(t, server.URL("tasks"), "migrator")
		up(t, address)
		serves(t, address)

		// Again in this database and in another one, now that the role exists.
		conn := connect(t, server.URL("tasks"))
		before := dump(t, conn)
		withOwner(t, server, "more_tasks", "migrator")
		more := loginAs(t, server.URL("more_tasks"), "migrator")
		up(t, more)
		serves(t, more)

		down(t, address, 0)
		if !value[bool](t, conn, "select exists (select from pg_roles where rolname = 'docket_app')") {
			t.Error("down dropped the role, which another database uses")
		}
		serves(t, more)
		up(t, address)
		if after := dump(t, conn); after != before {
			t.Errorf("down and up again changed the database:\n%s", difference(before, after))
		}
		serves(t, address)
	})
}

// withOwner creates a database that belongs to a login, with a "user" table that does not.
func withOwner(t *testing.T, server *devdb.Server, database, login string) {
	t.Helper()
	exec(t, connect(t, server.URL("postgres")),
		"create database "+pgx.Identifier{database}.Sanitize()+" owner "+pgx.Identifier{login}.Sanitize())
	conn := connect(t, server.URL(database))
	exec(t, conn, devdb.UserFixtureSQL)
	exec(t, conn, `insert into "user" (id, name, email, "emailVerified") values ('ada', '', 'ada', true), ('bob', '', 'bob', true)`)
	exec(t, conn, `grant references (id) on "user" to `+pgx.Identifier{login}.Sanitize())
}

func loginAs(t *testing.T, address, role string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "secret")
	return u.String()
}

// serves checks that the login can do what the service's statements do, and that row-level security confines them.
func serves(t *testing.T, address string) {
	t.Helper()
	conn := connect(t, address)
	if got := value[int](t, conn, "select version from docket_schema_version"); got != int(migrations.Newest()) {
		t.Errorf("version %d, want %d", got, migrations.Newest())
	}
	exec(t, conn, "begin")
	exec(t, conn, "select set_config('role', 'docket_app', true), set_config('app.user_id', 'ada', true)")
	exec(t, conn, "insert into task (id, user_id, title) values ('1', 'ada', 'one'), ('2', 'ada', 'two')")
	exec(t, conn, "delete from task where id = '2'")
	exec(t, conn, "select set_config('app.user_id', 'bob', true)")
	if got := value[int](t, conn, "select (select count(*) from task) + (select count(*) from tombstone) + (select count(*) from task_summary)"); got != 0 {
		t.Errorf("bob sees %d rows of ada's", got)
	}
	exec(t, conn, "rollback")
	if err := conn.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// A login that may execute a trigger's function can make it the trigger of a temporary table with any rows, those of
// other owners among them. So nobody may execute one that runs as the tables' owner.
func TestTriggerFunctionsCannotBeUsedOnOtherTables(t *testing.T) {
	t.Parallel()
	conn := withTasks(t, 2)
	address := conn.Config().ConnString()
	login, _ := dbtest.Login(t, address, "stranger", "")
	const definersSQL = "select coalesce(array_agg(proname::text), '{}') from pg_proc where prosecdef and pronamespace = 'public'::regnamespace"
	tried := 0
	for definers := value[[]string](t, conn, definersSQL); len(definers) > 0; definers = value[[]string](t, conn, definersSQL) {
		for _, function := range definers {
			for _, role := range []string{"docket_app", login} {
				_, err := conn.Exec(t.Context(), "begin; set local role "+role+`;
					create temporary table mine (user_id varchar, id varchar, completed boolean, priority varchar, rev bigint);
					create trigger mine after delete on mine referencing old table as old_rows for each statement execute function `+function+"()",
					pgx.QueryExecModeSimpleProtocol)
				if sqlState(err) != "42501" {
					t.Errorf("version %d: %s makes %s the trigger of its own table: %v", state(t, address).Current, role, function, err)
				}
				exec(t, conn, "rollback")
				tried++
			}
		}
		down(t, address, 1) // until no such function is left
	}
	if tried == 0 {
		t.Error("the test's premise: a function runs as the tables' owner")
	}
}
