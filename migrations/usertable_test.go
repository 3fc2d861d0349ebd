package migrations_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"docket/internal/dbtest"
	"docket/internal/devdb"
	"docket/migrations"
)

// fault F6
func TestTheTableOfUsersMayHaveAnotherName(t *testing.T) {
	t.Parallel()
	for given, table := range map[string]string{
		"users":          `users`,
		"User":           `"User"`,
		"auth.user":      `auth."user"`,
		"Auth.app_users": `"Auth".app_users`,
	} {
		t.Run(given, func(t *testing.T) {
			t.Parallel()
			address := dbtest.Empty(t)
			conn := connect(t, address)
			exec(t, conn, `create schema auth; create schema "Auth"`)
			exec(t, conn, strings.Replace(devdb.UserFixtureSQL, `"user"`, table, 1))

			// Without the variable nothing is done, and the error says what there is.
			err := migrations.Up(t.Context(), address, &bytes.Buffer{})
			if !errors.Is(err, migrations.ErrNoUserTable) || !strings.Contains(err.Error(), "AUTH_USER_TABLE") ||
				!strings.Contains(err.Error(), strings.ReplaceAll(table, `"`, "")+")") || state(t, address).Current != 0 {
				t.Fatalf("without the variable: %v", err)
			}

			var log bytes.Buffer
			if err := migrations.UpFor(t.Context(), address, given, &log); err != nil {
				t.Fatalf("%v\n%s", err, &log)
			}
			for _, of := range []string{"task", "idempotency_key"} {
				if got := value[string](t, conn, `
					select string_agg(pg_get_constraintdef(oid), '; ') from pg_constraint where contype = 'f' and conrelid = '`+of+`'::regclass`); got !=
					"FOREIGN KEY (user_id) REFERENCES "+table+"(id) ON DELETE CASCADE" {
					t.Errorf("%s: %s", of, got)
				}
			}
			exec(t, conn, "insert into "+table+` (id, name, email, "emailVerified") values ('ada', 'Ada', 'ada@example.com', true)`)
			exec(t, conn, "insert into task (id, user_id, title) values ('1', 'ada', 'one')")
			if _, err := conn.Exec(t.Context(), "insert into task (id, user_id, title) values ('2', 'bob', 'two')"); sqlState(err) != "23503" {
				t.Errorf("a task of nobody: %v", err)
			}

			// From then on the table is known, also to a later migration that refers to it.
			up(t, address)
			down(t, address, 1)
			up(t, address)
			exec(t, conn, "insert into idempotency_key (user_id, key, request_hash, resource, response) values ('ada', 'k', '', 'task', '{}')")
			if err := migrations.UpFor(t.Context(), address, given, &log); err != nil {
				t.Errorf("again: %v", err)
			}
			for _, other := range []string{"user", "people", "auth.users"} {
				if err := migrations.UpFor(t.Context(), address, other, &log); !errors.Is(err, migrations.ErrOtherUserTable) {
					t.Errorf("then with %s: %v", other, err)
				}
			}
			exec(t, conn, "delete from "+table)
			if left := value[int](t, conn, "select (select count(*) from task) + (select count(*) from idempotency_key)"); left != 0 {
				t.Errorf("%d rows of a deleted user", left)
			}
			down(t, address, 0)
		})
	}
}

// fault F6
func TestATableOfUsersThatCannotBeReferredToIsNamed(t *testing.T) {
	t.Parallel()
	address := dbtest.Empty(t)
	exec(t, connect(t, address), "create table users (id uuid primary key); create table people (name text)")
	for table, want := range map[string]error{
		"users": migrations.ErrUserIDNotText, "people": migrations.ErrNoUserTable, "nobody": migrations.ErrNoUserTable, "no.users": migrations.ErrNoUserTable,
		`x"; drop table users; --`: migrations.ErrNoUserTable,
	} {
		if err := migrations.UpFor(t.Context(), address, table, &bytes.Buffer{}); !errors.Is(err, want) || state(t, address).Current != 0 {
			t.Errorf("%s: %v, want %v", table, err, want)
		}
	}
}
