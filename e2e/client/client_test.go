//go:build unix

// Package client_test runs the tests of clients/typescript against the docket binary, a PostgreSQL and a Better Auth.
package client_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/jackc/pgx/v5"

	"docket/contract"
	"docket/e2e/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

func TestTypeScriptClientWorksWithTheService(t *testing.T) {
	t.Parallel()
	e := testenv.New(t, testenv.Options{})
	failAsTitled(t, e.Database)
	// A second Better Auth with the same users, whose tokens have expired when it issues them.
	expired := e.StartBetterAuth(t, testenv.Options{"baseURL": e.Auth, "jwt": testenv.Options{"jwt": testenv.Options{"expirationTime": "-1 minute"}}})
	limited := *e // a second process on the same database
	limited.StartDocket(t, "RATE_LIMIT_PER_MINUTE=30")
	npmTest(t, "clients/typescript", "DOCKET_URL="+contract.Proxy(t, e.URL), "LIMITED_URL="+contract.Proxy(t, limited.URL),
		"BETTER_AUTH_URL="+e.Auth, "EXPIRED_AUTH_URL="+expired)
}

func TestCodeOfOtherGeneratorsCompiles(t *testing.T) {
	t.Parallel()
	npmTest(t, "clients/typescript/generators")
}

// failAsTitledSQL makes an insert of a task called "fail 53000" fail with that SQLSTATE, so that a test can have any error
// of the database.
const failAsTitledSQL = `
create function fail_as_titled() returns trigger language plpgsql as $$
begin
  raise exception 'as the title says' using errcode = right(new.title, 5);
end $$;
create trigger fail_as_titled before insert on task
for each row when (new.title like 'fail _____') execute function fail_as_titled()`

func failAsTitled(t *testing.T, database string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), failAsTitledSQL); err != nil {
		t.Fatal(err)
	}
}

// npmTest runs `npm test` in a folder, which is given relative to the repository's root.
func npmTest(t *testing.T, folder string, variables ...string) {
	t.Helper()
	npm := exec.CommandContext(t.Context(), "npm", "test")
	npm.Dir, npm.Env = testenv.NPMFolder(t, folder), append(os.Environ(), variables...)
	if out, err := npm.CombinedOutput(); err != nil {
		t.Errorf("npm test: %v\n%s", err, testenv.HideTokens(string(out)))
	}
}
