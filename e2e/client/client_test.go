//go:build unix

// Package client_test runs the tests of clients/typescript where they belong: against the docket binary, a PostgreSQL and
// a Better Auth.
package client_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/jackc/pgx/v5"

	"docket/contract"
	"docket/e2e/internal/stage"
)

func TestMain(m *testing.M) { os.Exit(stage.Main(m)) }

func TestTypeScriptClientWorksWithTheService(t *testing.T) {
	t.Parallel()
	s := stage.New(t, stage.Options{})
	failAsTitled(t, s.Database)
	// The same people, and tokens that have expired when they are given.
	expired := s.StartBetterAuth(t, stage.Options{"baseURL": s.Auth, "jwt": stage.Options{"jwt": stage.Options{"expirationTime": "-1 minute"}}})
	npmTest(t, "clients/typescript", "DOCKET_URL="+contract.Proxy(t, s.URL), "BETTER_AUTH_URL="+s.Auth, "EXPIRED_AUTH_URL="+expired)
}

func TestOtherGeneratorsMakeCodeThatCompiles(t *testing.T) {
	t.Parallel()
	npmTest(t, "clients/typescript/generators")
}

// A task called "fail 53000" fails with that SQLSTATE: any fault of a database, whenever a test wants it.
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

// npmTest runs `npm test` in a folder, seen from the root.
func npmTest(t *testing.T, folder string, variables ...string) {
	t.Helper()
	if _, err := exec.LookPath("npm"); err != nil {
		t.Fatal("these tests are in TypeScript and there is no npm: install Node.js 20 or newer")
	}
	dir := "../../" + folder
	if _, err := os.Stat(dir + "/node_modules"); err != nil {
		t.Fatalf("what these tests need is not installed: run npm ci --prefix %s", folder)
	}
	npm := exec.CommandContext(t.Context(), "npm", "test")
	npm.Dir, npm.Env = dir, append(os.Environ(), variables...)
	if out, err := npm.CombinedOutput(); err != nil {
		t.Errorf("npm test: %v\n%s", err, stage.Hide(string(out)))
	}
}
