package store_test

import (
	"cmp"
	"context"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"docket/internal/dbtest"
	"docket/internal/store"
)

func TestMain(m *testing.M) { os.Exit(dbtest.Main(m)) }

var modes = []store.QueryMode{store.QueryModePrepared, store.QueryModeExec, store.QueryModeDescribe}

// operations are all methods of an owner that go to the database.
var operations = map[string]struct {
	of   effect
	call func(ctx context.Context, o store.Owner, id string) error
}{
	"CreateTask": {creates, func(ctx context.Context, o store.Owner, _ string) error {
		_, err := o.CreateTask(ctx, store.NewTask{Title: "new", Priority: "low"})
		return err
	}},
	"CreateTaskOnce": {creates, func(ctx context.Context, o store.Owner, id string) error {
		_, _, err := o.CreateTaskOnce(ctx, "key of "+id, store.NewTask{Title: "new", Priority: "low"})
		return err
	}},
	"GetTask": {readsOne, func(ctx context.Context, o store.Owner, id string) error {
		_, err := o.GetTask(ctx, id)
		return err
	}},
	"ListTasks": {readsAll, func(ctx context.Context, o store.Owner, _ string) error {
		_, err := o.ListTasks(ctx, store.ListQuery{
			Completed: new(false), Priorities: []string{"low", "high", "medium"}, Search: "a", Unless: []int64{1}, Limit: 10,
		})
		return err
	}},
	"ListTasks that go together": {readsAll, func(ctx context.Context, o store.Owner, _ string) error {
		_, err := o.ListTasks(ctx, store.ListQuery{Unless: []int64{1}, Limit: 100})
		return err
	}},
	"UpdateTask": {changesOne, func(ctx context.Context, o store.Owner, id string) error {
		_, err := o.UpdateTask(ctx, id, store.TaskChanges{Title: new("changed"), SetDescription: true, Priority: new("high"), Completed: new(true)})
		return err
	}},
	"CompleteTask": {changesOne, func(ctx context.Context, o store.Owner, id string) error {
		_, err := o.CompleteTask(ctx, id, nil)
		return err
	}},
	"DeleteTask": {changesOne, func(ctx context.Context, o store.Owner, id string) error {
		_, err := o.DeleteTask(ctx, id)
		return err
	}},
}

// effect is what an operation does.
type effect int

const (
	readsOne effect = iota
	readsAll
	changesOne
	creates
)

func TestEveryOperationIsTested(t *testing.T) {
	t.Parallel()
	for method := range reflect.TypeFor[store.Owner]().Methods() {
		if _, tested := operations[method.Name]; !tested && method.Name != "IfMatch" {
			t.Errorf("operations has no case for %s", method.Name)
		}
	}
}

// withUsers is a database with these users in it.
func withUsers(t *testing.T, ids ...string) string {
	t.Helper()
	address := dbtest.New(t)
	dbtest.AddUser(t, address, ids...)
	return address
}

// open opens a store that keeps no connections for later: to log in costs more than most tests.
func open(t *testing.T, c store.Config) *store.Store {
	t.Helper()
	c.MinIdleConns = cmp.Or(c.MinIdleConns, -1)
	s, err := store.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// direct is a connection of the database's superuser, whom no wall holds.
func direct(t *testing.T, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) }) // t.Context has ended
	return conn
}

// waitingSQL are those who wait for a lock of this connection's. Other tests have databases on the same server.
const waitingSQL = "from pg_locks where not granted and pg_backend_pid() = any(pg_blocking_pids(pid))"

// waitersSQL counts those who wait for a lock of anybody's.
const waitersSQL = `
select count(*)
from pg_stat_activity
where datname = current_database()
  and wait_event_type = 'Lock'`

func exec(t *testing.T, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func value[T any](t *testing.T, conn *pgx.Conn, sql string, args ...any) (v T) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

func create(t *testing.T, o store.Owner, title string) store.Task {
	t.Helper()
	task, err := o.CreateTask(t.Context(), store.NewTask{Title: title, Priority: "medium"})
	if err != nil {
		t.Fatal(err)
	}
	return task
}

func get(t *testing.T, o store.Owner, id string) store.Task {
	t.Helper()
	task, err := o.GetTask(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return task
}

func list(t *testing.T, o store.Owner, q store.ListQuery) store.TaskList {
	t.Helper()
	page, err := o.ListTasks(t.Context(), q)
	if err != nil {
		t.Fatalf("%+v: %v", q, err)
	}
	return page
}

// same compares tasks by value. Two times are the same when they are the same moment.
func same(a, b store.Task) bool {
	if !a.CreatedAt.Equal(b.CreatedAt) || !a.UpdatedAt.Equal(b.UpdatedAt) {
		return false
	}
	a.CreatedAt, a.UpdatedAt = b.CreatedAt, b.UpdatedAt
	return reflect.DeepEqual(a, b)
}

func titles(tasks []store.Task) string {
	var all []string
	for _, task := range tasks {
		all = append(all, task.Title)
	}
	return strings.Join(all, " ")
}

func sorted(titles string) string {
	all := strings.Fields(titles)
	slices.Sort(all)
	return strings.Join(all, " ")
}
