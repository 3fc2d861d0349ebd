package store

import (
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"docket/internal/dbtest"
	"docket/internal/dbtest/pgproxy"
	"docket/internal/due"
	"docket/internal/postgres"
	"docket/internal/recurrence"
)

func createOccurrence(t testing.TB, o Owner, rule string, date due.Date) Task {
	t.Helper()
	n := NewTask{Title: "an occurrence", Priority: "low"}
	err := n.Schedule(Schedule{Due: due.Change{Date: due.Member{Sent: true, Text: new(date.String())}}, Rule: Set(&rule)})
	if err != nil {
		t.Fatal(err)
	}
	task, err := o.CreateTask(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	return task
}

func TestCompletingAnOccurrenceIsTwoRoundTrips(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		p := dbtest.Proxy(t, withUsers(t, "ada"))
		ada := open(t, Config{URL: p.URL, QueryMode: mode, MaxConns: 1}).For("ada")
		for name, change := range map[string]func(Owner, Task) (Task, error){
			"complete": func(o Owner, v Task) (Task, error) { return o.CompleteTask(t.Context(), v.ID, new(true), nil) },
			"toggle":   func(o Owner, v Task) (Task, error) { return o.CompleteTask(t.Context(), v.ID, nil, nil) },
			"update": func(o Owner, v Task) (Task, error) {
				return o.UpdateTask(t.Context(), v.ID, TaskChanges{Title: Set("x"), Completed: Set(true)})
			},
		} {
			var counts pgproxy.Counts
			for range 2 { // the first time may prepare
				made := createOccurrence(t, ada, "FREQ=DAILY", due.DateOf(2026, 3, 9))
				p.Reset()
				done, err := change(ada.IfMatch(made.Revision), made)
				if counts = p.Counts(); err != nil || !done.Completed || done.NextTaskID == nil {
					t.Fatalf("%s, %s: %+v, %v", mode, name, done, err)
				}
				if next, err := ada.GetTask(t.Context(), *done.NextTaskID); err != nil || next.Title != done.Title || next.Completed {
					t.Errorf("%s, %s: the next one is %+v, %v", mode, name, next, err)
				}
			}
			if counts.Syncs != 2 || counts.Answers != 2 {
				t.Errorf("%s, %s: %+v, want two syncs", mode, name, counts)
			}
		}
	}
}

// A connection that breaks at any moment leaves none or one, and the retry heals.
func TestALostConnectionWhileAnOccurrenceIsCompleted(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]pgproxy.Fault{"lost request": pgproxy.LoseRequest, "lost reply": pgproxy.LoseReply} {
		for _, mode := range modes {
			p := dbtest.Proxy(t, withUsers(t, "ada"))
			ada := open(t, Config{URL: p.URL, QueryMode: mode, MaxConns: 1}).For("ada")
			made := createOccurrence(t, ada, "FREQ=DAILY", due.DateOf(2026, 3, 9))

			// Between the round trips: what was read is acted upon on another connection.
			read, err := ada.GetTask(t.Context(), made.ID)
			if err != nil {
				t.Fatal(err)
			}
			decided, err := planChanges(read, TaskChanges{Completed: Set(true)}, "", time.Now())
			if err != nil {
				t.Fatal(err)
			}
			p.Fail(fault)
			if _, err := run(t.Context(), ada, postgres.Idempotent, func(tx *Tx) Result[attempt] { return tx.perform(read, decided) }); err != nil {
				t.Errorf("%s, %s: %v", name, mode, err) // it is sent again
			}
			if n := list(t, ada, TaskQuery{Limit: 10}).Total; n != 2 {
				t.Errorf("%s, %s: there are %d tasks after the write", name, mode, n)
			}

			other := createOccurrence(t, ada, "FREQ=DAILY", due.DateOf(2026, 3, 9))
			p.Fail(fault)
			_, err = ada.CompleteTask(t.Context(), other.ID, new(true), nil)
			if err != nil && !errors.Is(err, ErrOutcomeUnknown) {
				t.Errorf("%s, %s: %v", name, mode, err)
			}
			for range 2 {
				done, err := ada.CompleteTask(t.Context(), other.ID, new(true), nil)
				if err != nil || !done.Completed || done.NextTaskID == nil {
					t.Errorf("%s, %s: the retry gives %+v, %v", name, mode, done, err)
				}
			}
			if n := list(t, ada, TaskQuery{Limit: 10}).Total; n != 4 {
				t.Errorf("%s, %s: there are %d tasks after the retry", name, mode, n)
			}
		}
	}
}

// What was decided from an older state is not done.
func TestADecisionFromAnOlderStateDoesNothing(t *testing.T) {
	t.Parallel()
	ada := open(t, Config{URL: withUsers(t, "ada")}).For("ada")
	made := createOccurrence(t, ada, "FREQ=DAILY", due.DateOf(2026, 3, 9))
	decided, err := planChanges(made, TaskChanges{Completed: Set(true)}, "", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ada.UpdateTask(t.Context(), made.ID, TaskChanges{Title: Set("changed")}); err != nil {
		t.Fatal(err)
	}
	done, err := run(t.Context(), ada, postgres.NotIdempotent, func(tx *Tx) Result[attempt] { return tx.perform(made, decided) })
	if tasks := list(t, ada, TaskQuery{Limit: 10}).Tasks; err != nil || done.changed || len(tasks) != 1 || tasks[0].Completed {
		t.Errorf("%+v, %v: %+v", done, err, tasks)
	}
}

func TestTheDayThatFollowsDependsOnModeZoneAndToday(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 20, 23, 30, 0, 0, time.UTC)
	date := due.DateOf(2026, 3, 9) // a Monday
	for _, test := range []struct {
		mode  recurrence.Mode
		zone  string
		today string
		want  string
	}{
		{recurrence.SkipMissed, "", "", "2026-03-20"},
		{recurrence.SkipMissed, "Europe/Berlin", "", "2026-03-21"},
		{recurrence.SkipMissed, "Europe/Berlin", "2026-03-19", "2026-03-21"},
		{recurrence.SkipMissed, "", "2026-03-19", "2026-03-19"},
		{recurrence.KeepMissed, "", "", "2026-03-10"},
		{recurrence.AfterCompletion, "", "", "2026-03-21"},
		{recurrence.AfterCompletion, "Europe/Berlin", "", "2026-03-22"},
	} {
		task := Task{
			TaskFields: TaskFields{DueDate: new(date + 1), RecurrenceRule: new("FREQ=DAILY"), RecurrenceMode: string(test.mode)},
			Occurrence: Occurrence{new("s"), &date},
		}
		if test.zone != "" {
			task.TimeZone = &test.zone
		}
		c := TaskChanges{Completed: Set(true)}
		if test.today != "" {
			today, err := due.ParseDate(test.today)
			if err != nil {
				t.Fatal(err)
			}
			c.Today = &today
		}
		p, err := planChanges(task, c, "", now)
		if err != nil || p.next.DueDate.String() != test.want || *p.next.OccurrenceDate != *p.next.DueDate || *p.task.DueDate != date+1 {
			t.Errorf("%+v: %+v, %v", test, p, err)
		}
	}
}

// completed_at is kept by the database, whatever a statement says.
func TestNoStatementWritesAroundCompletedAt(t *testing.T) {
	t.Parallel()
	address := withUsers(t, "ada")
	conn := connect(t, address)
	const lie = "timestamptz '2001-01-01 00:00Z'"
	for _, sql := range []string{
		"insert into task (id, user_id, title, completed, completed_at) values ('1', 'ada', 'x', true, " + lie + ")",
		"insert into task (id, user_id, title, completed_at) values ('2', 'ada', 'x', " + lie + ")",
		"update task set completed_at = " + lie,
		"update task set completed = true, completed_at = " + lie,
		"update task set completed_at = null",
		"update task set completed = false",
	} {
		execute(t, conn, "begin")
		execute(t, conn, assumeRoleSQL, "ada")
		execute(t, conn, sql)
		execute(t, conn, "commit")
		wrong := "select count(*) from task where completed <> (completed_at is not null) or completed_at < now() - interval '1 day'"
		if n := value[int](t, conn, wrong); n != 0 {
			t.Errorf("%s: %d rows are wrong", sql, n)
		}
	}
}

// What the role docket_app could change about the triggers of a task, it may not.
func TestTheRoleCannotTurnTriggersOff(t *testing.T) {
	t.Parallel()
	address := withUsers(t, "ada")
	conn := connect(t, address)
	createOccurrence(t, open(t, Config{URL: address}).For("ada"), "FREQ=DAILY", due.DateOf(2026, 3, 9))
	for _, sql := range []string{
		"set local session_replication_role = replica",
		"alter table task disable trigger task_completed_at",
		"alter table task disable trigger all",
		"drop trigger task_completed_at on task",
		"drop trigger task_due_order on task",
		"alter function keep_completed_at() rename to another",
		"create or replace function keep_completed_at() returns trigger language plpgsql as 'begin return new; end'",
		"create trigger zz before update on task for each row execute function keep_due_order()",
		"alter table task drop constraint chk_completed_at",
		"truncate task",
		"insert into task_tag (user_id, folded, task_id, name) values ('ada', 'x', 'x', 'x')",
		"update task_tag set name = 'x'",
		"delete from task_tag",
		"select task_tag_rebuild()",
	} {
		execute(t, conn, "begin")
		execute(t, conn, assumeRoleSQL, "ada")
		_, err := conn.Exec(t.Context(), sql)
		if err == nil {
			t.Errorf("%s: allowed", sql)
		} else if pg := (*pgconn.PgError)(nil); !errors.As(err, &pg) || pg.Code != "42501" {
			t.Errorf("%s: %v", sql, err)
		}
		execute(t, conn, "rollback")
	}
}

// due_order follows the due date, and what a new task says of its series is bound to one day of one owner.
func TestTheRoleAndTheColumnsThatTheDatabaseKeeps(t *testing.T) {
	t.Parallel()
	address := withUsers(t, "ada", "bob")
	conn := connect(t, address)
	s := open(t, Config{URL: address})
	ada, bob := s.For("ada"), s.For("bob")
	adas := createOccurrence(t, ada, "FREQ=DAILY", due.DateOf(2026, 3, 9))
	for _, sql := range []string{
		"update task set due_order = '2001-01-01'",
		"update task set due_order = null",
		"insert into task (id, user_id, title, due_order) values ('1', 'ada', 'x', '2001-01-01')",
		"insert into task (id, user_id, title, due_date, due_time, time_zone, due_at, due_order) values ('2', 'ada', 'x', '2026-03-09', '09:30', 'UTC', '2026-03-09 09:30Z', null)",
		"update task set due_date = null where id = '2' and due_time is null",
		"update task set due_time = null, due_at = null where id = '2'",
		"update task set due_date = null where id = '2'",
	} {
		execute(t, conn, "begin")
		execute(t, conn, assumeRoleSQL, "ada")
		execute(t, conn, sql)
		execute(t, conn, "commit")
		const wrongSQL = "select count(*) from task where due_order is distinct from due_date + coalesce(due_time, time '23:59:59')"
		if n := value[int](t, conn, wrongSQL); n != 0 {
			t.Errorf("%s: %d rows are wrong", sql, n)
		}
	}

	// Bob's task claims ada's series and ada's task as the one that follows. Nothing of ada's is read or changed by that.
	adas = get(t, ada, adas.ID)
	bobs := createOccurrence(t, bob, "FREQ=DAILY", due.DateOf(2026, 3, 9))
	claim := func() {
		execute(t, conn, "begin")
		execute(t, conn, assumeRoleSQL, "bob")
		execute(t, conn, "update task set series_id = $1, next_task_id = $1", adas.ID)
		execute(t, conn, "commit")
	}
	for _, completed := range []bool{true, false, true} {
		claim()
		done, err := bob.CompleteTask(t.Context(), bobs.ID, &completed, nil)
		if err != nil || done.NextTaskID != nil && *done.NextTaskID == adas.ID && completed {
			t.Errorf("completed: %t: %+v, %v", completed, done, err)
		}
		if now := get(t, ada, adas.ID); !same(now, adas) {
			t.Errorf("ada's was %+v, and is %+v", adas, now)
		}
	}
	if n := list(t, ada, TaskQuery{Limit: 10}).Total; n != 3 {
		t.Errorf("ada has %d tasks", n)
	}
	if done, err := ada.CompleteTask(t.Context(), adas.ID, new(true), nil); err != nil || done.NextTaskID == nil {
		t.Errorf("bob keeps ada's next occurrence from being made: %+v, %v", done, err)
	} else if _, err := bob.GetTask(t.Context(), *done.NextTaskID); !errors.Is(err, ErrNotFound) {
		t.Errorf("bob reads ada's: %v", err)
	}
	// An occurrence exists once.
	execute(t, conn, "begin")
	execute(t, conn, assumeRoleSQL, "ada")
	_, err := conn.Exec(t.Context(), "insert into task (id, user_id, title, due_date, recurrence_rule, series_id) values ('3', 'ada', 'x', '2026-03-09', 'FREQ=DAILY', $1)", adas.ID)
	if pg := (*pgconn.PgError)(nil); !errors.As(err, &pg) || pg.ConstraintName != "idx_task_occurrence" {
		t.Errorf("an occurrence exists twice: %v", err)
	}
	execute(t, conn, "rollback")
}
