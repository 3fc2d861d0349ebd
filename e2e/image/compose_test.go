//go:build linux

package image_test

import (
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"docket/internal/dbtest"
	"docket/internal/devdb"
)

// psql returns the path of the client.
func psql(t testing.TB) string {
	t.Helper()
	patterns := []string{"/usr/lib/postgresql/*/bin/psql", "/usr/bin/psql"}
	if path, err := exec.LookPath("psql"); err == nil {
		patterns = append(patterns, path)
	}
	for _, pattern := range patterns {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return found[len(found)-1]
		}
	}
	t.Fatal("this test needs psql, which is not installed (Debian: postgresql-client)")
	return ""
}

// The script makes roles, which belong to a cluster, so it gets one of its own.
func TestLoginsOfComposeMigrateAndServeAndNoMore(t *testing.T) {
	t.Parallel()
	server, err := devdb.Start(t.Context(), devdb.Options{Dir: dbtest.Dir(t), Ephemeral: true})
	check(t, err)
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	admin, err := pgx.Connect(t.Context(), server.URL("postgres"))
	check(t, err)
	defer admin.Close(t.Context())
	_, err = admin.Exec(t.Context(), "create database docket")
	check(t, err)

	superuser, err := url.Parse(server.URL("docket"))
	check(t, err)
	password, _ := superuser.User.Password()
	host, port, err := net.SplitHostPort(superuser.Host)
	check(t, err)
	script := exec.Command("/bin/sh", "../../deploy/compose/logins.sh")
	script.Env = []string{
		"PATH=" + filepath.Dir(psql(t)) + ":" + os.Getenv("PATH"), "PGHOST=" + host, "PGPORT=" + port, "PGPASSWORD=" + password,
		"POSTGRES_USER=" + superuser.User.Username(), "POSTGRES_DB=docket", "APP_PASSWORD=quo'ted", "MIGRATE_PASSWORD=third",
		"DOCKET_PASSWORD=other",
	}
	if out, err := script.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	address := func(login, password string) string {
		u := *superuser
		u.User = url.UserPassword(login, password)
		return u.String()
	}
	app, migrates, docket := address("app", "quo'ted"), address("docket_migrate", "third"), address("docket", "other")

	conn, err := pgx.Connect(t.Context(), app)
	check(t, err)
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), devdb.UserFixtureSQL) // as Better Auth's migration
	check(t, err)
	root, variables, _ := environment(t)
	if code, out := invoke(t, root, []string{"MIGRATE_DATABASE_URL=" + migrates}, "migrate", "up"); code != 0 {
		t.Fatalf("migrate up: %d %s", code, out)
	}
	p := start(t, root, append(variables, "DATABASE_URL="+docket), "serve")
	eventually(t, p, "it listens", func() bool { return addressIn(p.output.String(), "metrics") != "" })
	health := []string{"METRICS_ADDR=" + addressIn(p.output.String(), "metrics")}
	eventually(t, p, "it is ready", func() bool { code, _ := invoke(t, root, health, "health"); return code == 0 })

	for login, statements := range map[string][]string{
		app:      {"drop table task", "select from task", "alter table task disable row level security", "set role docket_app", "create role other"},
		migrates: {`drop table "user"`, `select * from "user"`, "create role other"},
		docket:   {"drop table task", `select * from "user"`, "create table mine ()", "create role other"},
	} {
		conn, err := pgx.Connect(t.Context(), login)
		check(t, err)
		defer conn.Close(t.Context())
		for _, sql := range statements {
			if _, err := conn.Exec(t.Context(), sql); err == nil || !strings.Contains(err.Error(), "42501") {
				t.Errorf("the login %s may %s: %v", conn.Config().User, sql, err)
			}
		}
	}
	if _, err := pgx.Connect(t.Context(), address("app", "quoted")); err == nil {
		t.Error("another password is accepted")
	}
}
