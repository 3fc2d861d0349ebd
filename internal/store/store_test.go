package store

import (
	"cmp"
	"context"
	"errors"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"docket/internal/dbtest"
	"docket/internal/postgres"
)

func TestMain(m *testing.M) { os.Exit(dbtest.Main(m)) }

var modes = []QueryMode{postgres.QueryModePrepared, postgres.QueryModeExec, postgres.QueryModeDescribe}

// operations are all methods of Owner that access the database. Each is called for the task with the given id.
var operations = map[string]struct {
	does effect
	call func(ctx context.Context, o Owner, id string) error
}{
	"CreateTask": {creates, func(ctx context.Context, o Owner, _ string) error {
		_, err := o.CreateTask(ctx, NewTask{Title: "new", Priority: "low"})
		return err
	}},
	"CreateTaskOnce": {creates, func(ctx context.Context, o Owner, id string) error {
		_, _, err := o.CreateTaskOnce(ctx, "key of "+id, NewTask{Title: "new", Priority: "low"})
		return err
	}},
	"GetTask": {readsOne, func(ctx context.Context, o Owner, id string) error {
		_, err := o.GetTask(ctx, id)
		return err
	}},
	"GetStats": {readsAll, func(ctx context.Context, o Owner, _ string) error {
		_, err := o.GetStats(ctx)
		return err
	}},
	"ListTasks": {readsAll, func(ctx context.Context, o Owner, _ string) error {
		_, err := o.ListTasks(ctx, TaskQuery{
			Completed: new(false), Priorities: []string{"low", "high", "medium"}, Search: "a", Unless: []int64{1}, Limit: 10,
		})
		return err
	}},
	"ListTasks of a short page": {readsAll, func(ctx context.Context, o Owner, _ string) error {
		_, err := o.ListTasks(ctx, TaskQuery{Unless: []int64{1}, Limit: 100})
		return err
	}},
	"UpdateTask": {changesOne, func(ctx context.Context, o Owner, id string) error {
		_, err := o.UpdateTask(ctx, id, TaskChanges{
			Title: Set("changed"), Description: Set[*string](nil), Priority: Set("high"), Completed: Set(true), Tags: Set([]string{"changed"}),
		})
		return err
	}},
	"CompleteTask": {changesOne, func(ctx context.Context, o Owner, id string) error {
		_, err := o.CompleteTask(ctx, id, nil, nil)
		return err
	}},
	"UpdateTask of some fields": {changesOne, func(ctx context.Context, o Owner, id string) error {
		_, err := o.UpdateTask(ctx, id, TaskChanges{Title: Set("changed")})
		return err
	}},
	"ListTags": {readsAll, func(ctx context.Context, o Owner, _ string) error {
		_, err := o.ListTags(ctx, TagQuery{Limit: 10, Unless: []int64{1}})
		return err
	}},
	"RenameTag": {changesTag, func(ctx context.Context, o Owner, id string) error {
		_, err := o.RenameTag(ctx, tagOf(id), strings.ToUpper(tagOf(id)))
		return err
	}},
	"DeleteTag": {changesTag, func(ctx context.Context, o Owner, id string) error {
		_, err := o.DeleteTag(ctx, tagOf(id))
		return err
	}},
	"DeleteTask": {changesOne, func(ctx context.Context, o Owner, id string) error {
		_, err := o.DeleteTask(ctx, id)
		return err
	}},
}

// effect describes whether an operation writes and may be repeated.
type effect int

const (
	readsOne effect = iota
	readsAll
	changesOne
	changesTag // of the task with the id, which no other has
	creates
)

func TestOperationsAreComplete(t *testing.T) {
	t.Parallel()
	for method := range reflect.TypeFor[Owner]().Methods() {
		view := slices.Contains([]string{"IfMatch", "LimitScans", "MaxTasks", "SkipOccurrence"}, method.Name)
		if _, tested := operations[method.Name]; !tested && !view {
			t.Errorf("operations has no case for %s", method.Name)
		}
	}
}

// until waits until a condition holds that depends on another goroutine or connection.
func until(t *testing.T, is func() bool) {
	t.Helper()
	for ; !is(); time.Sleep(time.Millisecond) {
		if t.Failed() {
			t.FailNow()
		}
	}
}

// withUsers returns the address of a new database with these users.
func withUsers(t *testing.T, ids ...string) string {
	t.Helper()
	address := dbtest.New(t)
	dbtest.AddUser(t, address, ids...)
	return address
}

// open opens a store without idle connections: most tests need only one.
func open(t *testing.T, c Config) *Store {
	t.Helper()
	c.MinIdleConns = cmp.Or(c.MinIdleConns, -1)
	s, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// connect opens a connection as the superuser, whom row-level security does not confine.
func connect(t *testing.T, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) }) // t.Context has ended
	return conn
}

// waitingSQL counts the sessions that wait for a lock.
const waitingSQL = `
select count(*)
from pg_stat_activity
where datname = current_database()
  and wait_event_type = 'Lock'`

func execute(t *testing.T, conn *pgx.Conn, sql string, args ...any) {
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

// create creates a task with a tag that no other task has.
func create(t *testing.T, o Owner, title string) Task {
	t.Helper()
	tag := "tag " + strconv.FormatInt(lastTag.Add(1), 10)
	task, err := o.CreateTask(t.Context(), NewTask{Title: title, Priority: "medium", Tags: []string{tag}})
	if err != nil {
		t.Fatal(err)
	}
	tagsByID.Store(task.ID, tag)
	return task
}

var (
	lastTag  atomic.Int64
	tagsByID sync.Map
)

// tagOf returns the tag of a task that create created, or of no task.
func tagOf(id string) string {
	if tag, ok := tagsByID.Load(id); ok {
		return tag.(string)
	}
	return "no task's"
}

func get(t *testing.T, o Owner, id string) Task {
	t.Helper()
	task, err := o.GetTask(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return task
}

func list(t *testing.T, o Owner, q TaskQuery) TaskList {
	t.Helper()
	page, err := o.ListTasks(t.Context(), q)
	if err != nil {
		t.Fatalf("%+v: %v", q, err)
	}
	return page
}

// same compares tasks by value. Times are equal if they are the same instant.
func same(a, b Task) bool {
	if !a.CreatedAt.Equal(b.CreatedAt) || !a.UpdatedAt.Equal(b.UpdatedAt) {
		return false
	}
	a.CreatedAt, a.UpdatedAt = b.CreatedAt, b.UpdatedAt
	return reflect.DeepEqual(a, b)
}

func titles(tasks []Task) string {
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

func TestSeveralOperationsAreOneTransaction(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		p := dbtest.Proxy(t, withUsers(t, "ada"))
		ada := open(t, Config{URL: p.URL, QueryMode: mode}).For("ada")
		first, second := create(t, ada, "first"), create(t, ada, "second")
		var created, updated, stale, none, read, deleted Result[Task]
		all := func(title string) (TaskList, error) {
			return run(t.Context(), ada.IfMatch(first.Revision), postgres.NotIdempotent, func(tx *Tx) Result[TaskList] {
				created = tx.CreateTask(NewTask{Title: "third", Priority: "low"})
				updated = tx.changeTask(updateTaskSQL, first.ID, TaskChanges{Title: Set(title)}.arguments()...)
				stale = tx.DeleteTask(second.ID)
				none = tx.DeleteTask("\x00")
				read = tx.GetTask(first.ID)
				deleted = tx.IfMatch(second.Revision).DeleteTask(second.ID)
				return tx.ListTasks(TaskQuery{Limit: 10, Sort: SortTitle, Ascending: true})
			})
		}
		if _, err := all("\xff"); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", mode, err)
		}
		if page := list(t, ada, TaskQuery{Limit: 10}); titles(page.Tasks) != "second first" {
			t.Errorf("%s: a transaction that failed left %s", mode, titles(page.Tasks))
		}
		p.Reset()
		page, err := all("changed")
		if n := p.Counts().Executed; err != nil || n != 1 {
			t.Errorf("%s: %v, %d round trips", mode, err, n)
		}
		if titles(page.Tasks) != "changed third" || page.Total != 2 {
			t.Errorf("%s: the list is %s of %d", mode, titles(page.Tasks), page.Total)
		}
		for name, c := range map[string]struct {
			result Result[Task]
			title  string
			err    error
		}{
			"created": {created, "third", nil}, "updated": {updated, "changed", nil}, "read": {read, "changed", nil},
			"deleted": {deleted, "second", nil}, "stale": {stale, "", ErrStale}, "none": {none, "", ErrNotFound},
		} {
			if task, err := c.result(); task.Title != c.title || !errors.Is(err, c.err) {
				t.Errorf("%s, %s: %+v, %v", mode, name, task, err)
			}
		}
	}
}

func TestNotFoundErrorsNameTheirResource(t *testing.T) {
	t.Parallel()
	_, err := open(t, Config{URL: withUsers(t, "ada")}).For("ada").GetTask(t.Context(), "none")
	var notFound NotFoundError
	if !errors.Is(err, ErrNotFound) || !errors.As(err, &notFound) || notFound.Resource != "task" {
		t.Errorf("error %v", err)
	}
}
