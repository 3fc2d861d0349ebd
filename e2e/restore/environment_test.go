//go:build unix

package restore_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"docket/contract"
	"docket/e2e/internal/testenv"
	"docket/internal/api"
	"docket/internal/dbtest"
	"docket/internal/devdb"
)

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// clients finds the programs that the runbook needs, in PATH or in the folders of PostgreSQL's packages. It returns their
// folder and their major version.
var clients = sync.OnceValues(func() (folder string, major int) {
	folders := filepath.SplitList(os.Getenv("PATH"))
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql@*/bin", "/opt/homebrew/opt/libpq/bin", "/usr/local/opt/postgresql@*/bin",
	} {
		found, _ := filepath.Glob(pattern) // the only error is a malformed pattern
		folders = append(folders, found...)
	}
	for _, folder := range folders {
		found := true
		for _, program := range []string{"psql", "pg_dump", "pg_restore"} {
			out, err := exec.Command(filepath.Join(folder, program), "--version").Output()
			version := versionPattern.FindSubmatch(out)
			if found = err == nil && version != nil; !found {
				break
			}
			major, _ = strconv.Atoi(string(version[1]))
		}
		if found {
			return folder, major
		}
	}
	return "", 0
})

func clientPath(t *testing.T) string {
	t.Helper()
	folder, _ := clients()
	if folder == "" {
		t.Fatal("this test needs psql, pg_dump and pg_restore: install PostgreSQL's client programs (Debian: postgresql-client)")
	}
	return folder
}

// cluster is a PostgreSQL server of the same version as the programs: an older pg_dump refuses a newer server.
type cluster struct{ server *devdb.Server }

func newCluster(t *testing.T) cluster {
	t.Helper()
	clientPath(t)
	_, major := clients()
	server, err := devdb.Start(t.Context(), devdb.Options{Dir: dbtest.Dir(t), Major: major, Ephemeral: true, Log: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	return cluster{server}
}

const loginPassword = "a-password-of-this-test"

// url returns the URL of a database for a login, or for the superuser.
func (c cluster) url(database, login string) string {
	u, err := url.Parse(c.server.URL(database))
	if err != nil {
		panic(err)
	}
	if login != "" {
		u.User = url.UserPassword(login, loginPassword)
	}
	return u.String()
}

// execute runs SQL in a database as the superuser.
func (c cluster) execute(t *testing.T, database, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.url(database, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// logins are the logins of a database.
type logins struct {
	owner    string // of the database and of Better Auth's tables
	migrator string // of Docket's tables
	service  string // serves
}

// one returns the same login for everything.
func one(login string) logins { return logins{login, login, login} }

func (l logins) names() []string {
	if l.owner == l.service {
		return []string{l.owner}
	}
	return []string{l.owner, l.migrator, l.service}
}

func (c cluster) setPasswords(t *testing.T, l logins) {
	t.Helper()
	for _, login := range l.names() {
		c.execute(t, "postgres", fmt.Sprintf("alter role %s password '%s'", pgx.Identifier{login}.Sanitize(), loginPassword))
	}
}

// database is a database of a cluster.
type database struct {
	cluster
	name string
	logins
}

func (d database) super() string           { return d.cluster.url(d.name, "") }
func (d database) url(login string) string { return d.cluster.url(d.name, login) }

// create creates a database with its logins, and the tables of Better Auth and of Docket.
func (c cluster) create(t *testing.T, name string, l logins) database {
	t.Helper()
	d := database{c, name, l}
	for _, login := range l.names() {
		c.execute(t, "postgres", "create role "+pgx.Identifier{login}.Sanitize()+" login")
	}
	c.setPasswords(t, l)
	owner, migrator, server := pgx.Identifier{l.owner}.Sanitize(), pgx.Identifier{l.migrator}.Sanitize(), pgx.Identifier{l.service}.Sanitize()
	c.execute(t, "postgres", fmt.Sprintf(`
		do $$ begin create role docket_app nologin noinherit; exception when duplicate_object then null; end $$;
		grant docket_app to %s with admin option`, migrator))
	c.execute(t, "postgres", fmt.Sprintf("create database %s owner %s template template0 encoding 'UTF8'", pgx.Identifier{name}.Sanitize(), owner))
	d.visit(t, "Better Auth migrates", nil)
	if migrator != owner {
		c.execute(t, name, "grant create on schema public to "+migrator+`; grant references (id) on "user" to `+migrator)
	}
	if out, err := testenv.MigrateUp(t, d.url(l.migrator)); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if server != migrator {
		c.execute(t, name, "grant docket_app to "+server)
	}
	return d
}

// fillSQL adds tasks of owners o1 to o60 and of one whose revisions are in the future, as after a clock was wrong. The owner
// o60 is deleted, and some tombstones were purged.
const fillSQL = `
insert into "user" (id, name, email, "emailVerified")
select 'o' || i, 'o' || i, i || '@example.com', true from generate_series(1, 61) as i;
insert into task (
  id, user_id, title, priority, completed, description, tags, due_date, due_time, time_zone, due_at, recurrence_rule
)
select gen_random_uuid(), 'o' || 1 + i % 60, 'Größe ' || i, (array['low', 'medium', 'high'])[1 + i % 3], i % 2 = 0,
  case when i % 5 = 0 then e'tab\tand\nline\\N' end,
  case when i % 3 = 0 then array['Straße', 'a "b" {c}'] else '{}' end,
  day, "time", zone, (day + "time") at time zone zone, case when i % 8 = 1 then 'FREQ=WEEKLY' end
from generate_series(1, 2000) as i, lateral (
  select case when i % 4 < 2 then date '2026-03-09' + i % 400 end as day,
    case when i % 4 = 1 then time '09:30' end as "time",
    case when i % 4 = 1 then 'Europe/Berlin' end as zone
) as due;
update task_summary set rev = 9000000000000000 where user_id = 'o59';
update task set completed = not completed where title like '%3';
delete from task where title like '%7';
delete from "user" where id = 'o60';
update tombstone set deleted_at = now() - interval '91 days' where rev % 2 = 0;
delete from tombstone where deleted_at < now() - interval '90 days';
insert into idempotency_key (user_id, key, request_hash, resource, response)
select user_id, 'key of ' || id, decode(md5(id), 'hex'), 'task', to_jsonb(task) - 'search_text' - 'due_order' from task`

const (
	email    = "ada@example.com"
	password = "correct horse battery staple"
	title    = "Read the runbook"
)

// fill adds users and tasks: many by SQL, and one who signs up and creates a task.
func (d database) fill(t *testing.T) {
	t.Helper()
	d.execute(t, d.name, fillSQL)
	d.visit(t, "a user creates a task", func(t *testing.T, e *testenv.Environment) {
		ada := signIn(t, e, "sign-up", `{"name":"Ada","email":"`+email+`","password":"`+password+`"}`)
		ada.send(t, "POST", "/tasks", `{"title":"`+title+`","priority":"high"}`, http.StatusCreated, nil)
	})
}

// works fails the test unless the user of fill can sign in, sees the task, creates another one, and no other user's tasks.
func (d database) works(t *testing.T) {
	t.Helper()
	d.visit(t, "the user works with the tasks", func(t *testing.T, e *testenv.Environment) {
		ada := signIn(t, e, "sign-in", `{"email":"`+email+`","password":"`+password+`"}`)
		var list api.TaskList
		ada.send(t, "GET", "/tasks", "", http.StatusOK, &list)
		if list.Total != 1 || len(list.Tasks) != 1 || list.Tasks[0].Title != title {
			t.Errorf("the user sees %+v", list)
		}
		ada.send(t, "POST", "/tasks", `{"title":"Rehearse it"}`, http.StatusCreated, nil)
		ada.send(t, "GET", "/tasks", "", http.StatusOK, &list)
		if list.Total != 2 {
			t.Errorf("%d tasks, want 2", list.Total)
		}
	})
}

// visit runs Better Auth, which migrates, and Docket, and stops them after do, which may be nil. It runs Better Auth alone then.
func (d database) visit(t *testing.T, name string, do func(t *testing.T, e *testenv.Environment)) {
	t.Helper()
	if !t.Run(name, func(t *testing.T) {
		e := &testenv.Environment{Database: d.url(d.owner)}
		e.Auth = e.StartBetterAuth(t, testenv.Options{})
		if do != nil {
			e.Database = d.url(d.service)
			e.StartDocket(t)
			do(t, e)
		}
	}) {
		t.FailNow()
	}
}

// user is a user with a token for the API.
type user struct{ url, token string }

// signIn signs a user up or in.
func signIn(t *testing.T, e *testenv.Environment, how, body string) user {
	t.Helper()
	var session struct {
		Token string
		User  struct{ ID string }
	}
	var token struct{ Token string }
	send(t, http.DefaultClient, "POST", e.Auth+"/api/auth/"+how+"/email", "", body, http.StatusOK, &session)
	testenv.AddToken(session.Token)
	send(t, http.DefaultClient, "GET", e.Auth+"/api/auth/token", session.Token, "", http.StatusOK, &token)
	testenv.AddToken(token.Token)
	return user{e.URL + "/api/" + session.User.ID, token.Token}
}

func (u user) send(t *testing.T, method, path, body string, status int, into any) {
	t.Helper()
	send(t, contract.Client(t), method, u.url+path, u.token, body, status, into)
}

func send(t *testing.T, client *http.Client, method, url, token, body string, status int, into any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != status {
		t.Fatalf("%s %s: %d, want %d: %v, %s", method, r.URL.Path, response.StatusCode, status, err, testenv.HideTokens(string(text)))
	}
	if into != nil {
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatal(err)
		}
	}
}

// query returns the values that a query of one column selects, for the superuser.
func query[T any](t *testing.T, d database, sql string) []T {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), d.super())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	rows, err := conn.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	values, err := pgx.CollectRows(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return values
}
