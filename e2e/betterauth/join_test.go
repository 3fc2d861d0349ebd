//go:build unix

package betterauth_test

import (
	"context"
	"os"
	"reflect"
	"regexp"
	"testing"

	"github.com/jackc/pgx/v5"

	"docket/e2e/internal/testenv"
	"docket/internal/api"
	"docket/internal/dbtest"
)

var (
	joinPattern      = regexp.MustCompile("(?ms)^```sql join\n(.*?)^```$")
	conditionPattern = regexp.MustCompile(`(?m)^where .*\n`)
)

// TestTasksAreJoinedWithTheirUsersInOneStatement runs the statement of docs/specification.md as the login that owns the
// tables, which is no superuser.
func TestTasksAreJoinedWithTheirUsersInOneStatement(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/specification.md")
	if err != nil {
		t.Fatal(err)
	}
	block := joinPattern.FindSubmatch(page)
	if block == nil {
		t.Fatal("docs/specification.md has no statement")
	}
	statement := string(block[1])

	database := testenv.NewDatabase(t).Database
	role, owners := dbtest.Login(t, database, "owner", "")
	super := connect(t, database)
	for _, sql := range []string{
		"grant docket_app to " + role, // dbtest's own migration has created it
		"grant create, usage on schema public to " + role,
	} {
		if _, err := super.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	e := &environment{Environment: &testenv.Environment{Database: owners}}
	e.auth = e.startBetterAuth(t, options{})
	e.Auth = e.auth.url
	e.Migrate(t)
	e.StartDocket(t)
	ada, bob := e.signUp(t, "Ada"), e.signUp(t, "Bob")
	for _, title := range []string{"one", "two", "three"} {
		call[api.Task](t, ada, "POST /tasks", `{"title":"`+title+`"}`, 201)
	}
	call[api.Task](t, bob, "POST /tasks", `{"title":"four"}`, 201)

	type row struct {
		ID          string
		Title       string
		Completed   bool
		Name, Email string
	}
	owner := connect(t, owners)
	titles := func(sql string, arguments ...any) (found []string) {
		t.Helper()
		rows, err := owner.Query(t.Context(), sql, arguments...)
		if err != nil {
			t.Fatal(err)
		}
		joined, err := pgx.CollectRows(rows, pgx.RowToStructByPos[row])
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range joined {
			if r.ID == "" || r.Email == "" || r.Completed {
				t.Errorf("a row is %+v", r)
			}
			found = append(found, r.Title+" of "+r.Name)
		}
		return found
	}
	if got, want := titles(statement, ada.id), []string{"three of Ada", "two of Ada", "one of Ada"}; !reflect.DeepEqual(got, want) {
		t.Errorf("the tasks of one user are %v, want %v", got, want)
	}
	everybody := conditionPattern.ReplaceAllString(statement, "")
	if got, want := titles(everybody), []string{"four of Bob", "three of Ada", "two of Ada", "one of Ada"}; !reflect.DeepEqual(got, want) {
		t.Errorf("the tasks of all users are %v, want %v", got, want)
	}
}

func connect(t *testing.T, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}
