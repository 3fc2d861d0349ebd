package main

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"docket/internal/dbtest"
	"docket/internal/dbtest/pooler"
	"docket/migrations"
)

// query returns the one text that a query selects.
func query(t testing.TB, databaseURL, sql string) (text string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), databaseURL)
	check(t, err)
	defer conn.Close(t.Context())
	check(t, conn.QueryRow(t.Context(), sql).Scan(&text))
	return text
}

const tableSQL = `select coalesce(to_regclass('task')::text, 'none')`

func TestMigrateUpDownAndStatus(t *testing.T) {
	t.Parallel()
	address := dbtest.New(t)
	e := environment{"DATABASE_URL": address}
	newest := int(migrations.Newest())
	at := func(version int) {
		t.Helper()
		o := invoke(t, e, "migrate", "status").want(t, 0, fmt.Sprintf("at version %d, this binary brings %d\n", version, newest), "001_task.sql")
		if applied, pending := strings.Count(o.stdout, "applied  "), strings.Count(o.stdout, "pending  "); applied != version || pending != newest-version {
			t.Errorf("status prints\n%s", o.stdout)
		}
	}
	at(newest)
	invoke(t, e, "migrate", "up").want(t, 0, fmt.Sprintf("already at version %d, nothing to do", newest))
	invoke(t, e, "migrate", "down").want(t, 0, fmt.Sprintf("now at version %d", newest-1))
	at(newest - 1)
	invoke(t, e, "migrate", "up").want(t, 0, fmt.Sprintf("now at version %d", newest))
	at(newest)
	invoke(t, e, "migrate", "down", fmt.Sprint(newest)).want(t, 0, "now at version 0")
	at(0)
	if table := query(t, address, tableSQL); table != "none" {
		t.Errorf("the table is %s", table)
	}
	invoke(t, e, "migrate", "down").want(t, 0)
	at(0)
	invoke(t, e, "migrate", "up").want(t, 0)
	invoke(t, e, "migrate", "up").want(t, 0, "nothing to do")
	at(newest)
}

func TestMigrateResetEmptiesALocalDatabase(t *testing.T) {
	t.Parallel()
	address := dbtest.New(t)
	e := environment{"DATABASE_URL": address}
	dbtest.AddUser(t, address, "ada")
	query(t, address, "insert into task (id, user_id, title) values ('1', 'ada', 'A') returning id")
	const countSQL = "select (select count(*) from task) || ' of ' || (select count(*) from \"user\")"

	invoke(t, e, "migrate", "reset").want(t, 2, "--yes")
	if got := query(t, address, countSQL); got != "1 of 1" {
		t.Fatalf("without --yes there are %s tasks and users", got)
	}
	invoke(t, e, "migrate", "reset", "--yes").want(t, 0, "now at version 0", fmt.Sprintf("now at version %d", migrations.Newest()))
	if got := query(t, address, countSQL); got != "0 of 1" {
		t.Errorf("there are %s tasks and users", got)
	}
}

func TestMigrateResetRefusesDatabasesOfOtherMachines(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		"postgres://docket@db.example/docket", "postgres://docket@192.0.2.1/docket", "postgres://docket@[2001:db8::1]/docket", "postgres://docket@127.0.0.1,db.example/docket",
		"postgres://docket@localhost.example/docket", "host=db.example dbname=docket", "postgres://docket@127.0.0.1.example/docket", "postgres:///docket?host=db.example",
	} {
		for _, e := range []environment{{"DATABASE_URL": address}, {"DATABASE_URL": "postgres://docket@localhost:1/docket", "MIGRATE_DATABASE_URL": address}} {
			invoke(t, e, "migrate", "reset", "--yes").want(t, 1, "not on loopback")
			invoke(t, e, "migrate", "reset").want(t, 1, "not on loopback")
		}
	}
}

// fault E5
func TestMigrateRefusesEveryTransactionPooler(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB, string) *pooler.Pooler{
		"without prepared statements": dbtest.PlainPooler, "with prepared statements": dbtest.PreparingPooler,
		"the longest unused connection first": func(t testing.TB, direct string) *pooler.Pooler {
			t.Helper()
			return dbtest.StartPooler(t, direct, pooler.Options{Connections: 4, Settings: "server_round_robin = 1\nmin_pool_size = 2\n"})
		},
		"one connection": func(t testing.TB, direct string) *pooler.Pooler {
			t.Helper()
			return dbtest.StartPooler(t, direct, pooler.Options{Connections: 1})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			direct := dbtest.New(t)
			pooled := environment{"DATABASE_URL": start(t, direct).URL}
			for _, verb := range []string{"up", "down", "reset --yes"} {
				invoke(t, pooled, append([]string{"migrate"}, strings.Fields(verb)...)...).want(t, 1, "MIGRATE_DATABASE_URL", "transaction pooler")
			}
			for range 4 { // it changes nothing, and leaves nothing on the pooler's connections
				invoke(t, pooled, "migrate", "status").want(t, 0, "at version")
			}
			// MIGRATE_DATABASE_URL is used in place of DATABASE_URL.
			pooled["MIGRATE_DATABASE_URL"] = direct
			invoke(t, pooled, "migrate", "up").want(t, 0, "nothing to do")
		})
	}
	strict := dbtest.StartPooler(t, dbtest.New(t), pooler.Options{Connections: 4, Settings: "pool_mode = session\n"})
	invoke(t, environment{"DATABASE_URL": strict.URL}, "migrate", "up").want(t, 1, "MIGRATE_DATABASE_URL", "accepts no settings")
	session := dbtest.StartPooler(t, dbtest.New(t), pooler.Options{Connections: 4, Settings: "pool_mode = session\nignore_startup_parameters = " +
		"search_path, row_security, statement_timeout, lock_timeout, idle_in_transaction_session_timeout\n"})
	invoke(t, environment{"DATABASE_URL": session.URL}, "migrate", "up").want(t, 0, "nothing to do")
}

func TestMigrateNamesBetterAuthsOwnMigration(t *testing.T) {
	t.Parallel()
	invoke(t, environment{"DATABASE_URL": dbtest.Empty(t)}, "migrate", "up").want(t, 1, `table "user" is missing`, migrations.BetterAuthMigrate)
}

func TestMigrateFailsWithoutShowingThePassword(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(dbtest.New(t))
	check(t, err)
	for _, host := range []string{u.Host, "127.0.0.1:1"} {
		wrong := *u
		wrong.Host, wrong.User = host, url.UserPassword("postgres", "hunter2-hunter2")
		for _, verb := range []string{"up", "down", "status", "reset --yes"} {
			o := invoke(t, environment{"DATABASE_URL": wrong.String()}, append([]string{"migrate"}, strings.Fields(verb)...)...).want(t, 1, "connect to the database")
			if strings.Contains(o.stderr+o.stdout, "hunter2") {
				t.Errorf("%s prints %s", verb, o.stderr)
			}
		}
	}
}

func TestMigrateNewWritesTheNextFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	check(t, os.CopyFS(dir, os.DirFS(filepath.Join(repository, "migrations"))))
	next := fmt.Sprintf("%03d_add_due_date.sql", migrations.Newest()+1)
	o := invoke(t, nil, "migrate", "new", "--dir", dir, "add_due_date").want(t, 0)
	if o.stdout != filepath.Join(dir, next)+"\n" {
		t.Errorf("printed %s", o.stdout)
	}
	text, err := os.ReadFile(filepath.Join(dir, next))
	check(t, err)
	if !strings.Contains(string(text), "---- create above / drop below ----") {
		t.Errorf("the file holds %s", text)
	}
	for _, name := range []string{"Add", "a-b", "../a", "1a", "a b", ""} {
		invoke(t, nil, "migrate", "new", "--dir", dir, name).want(t, 1, "migration name")
	}
	invoke(t, nil, "migrate", "new", "--dir", t.TempDir(), "add").want(t, 1, "checkout of Docket")
}
