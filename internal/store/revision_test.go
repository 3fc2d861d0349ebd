package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Change feeds and ETags rely on this.
func TestRevisionsOfAnOwnerBecomeVisibleInOrder(t *testing.T) {
	t.Parallel()
	const held = 30
	seen := follow(t, withUsers(t, owners...), held, true)
	if seen.late > 0 {
		t.Errorf("%d changes appeared after a newer revision was seen", seen.late)
	}
	if seen.missed > 0 {
		t.Errorf("a client that polls for newer revisions missed the last change of %d tasks", seen.missed)
	}
}

// Without the lock in the triggers, the test above fails: every change that is held open becomes visible late.
func TestRevisionsBecomeVisibleLateWithoutTheOwnersLock(t *testing.T) {
	t.Parallel()
	const held = 30
	address := withUsers(t, owners...)
	conn := connect(t, address)
	unlock(t, conn, "lock_owner")
	unlock(t, conn, "set_revision")
	if seen := follow(t, address, held, false); seen.late < held {
		t.Errorf("%d changes came late, at least the %d that were held open must", seen.late, held)
	}
}

// unlock removes the lock of the owner from a function.
func unlock(t *testing.T, conn *pgx.Conn, function string) {
	t.Helper()
	definition := value[string](t, conn, "select pg_get_functiondef($1::text::regproc)", function)
	unlocked := regexp.MustCompile(`perform pg_advisory_xact_lock\([^;]*;`).ReplaceAllString(definition, "null;")
	if unlocked == definition {
		t.Fatalf("there is no lock to remove:\n%s", definition)
	}
	execute(t, conn, unlocked)
}

var owners = []string{"ada", "bob", "cyd"}

// observation is what the followers of follow saw while others wrote.
type observation struct {
	changes, polls int
	late           int // changes that appeared after a newer revision was seen
	missed         int // tasks whose last change a follower never received
}

const (
	// holdSQL makes changes of some tasks wait for advisory lock 7 after they have been given a revision.
	holdSQL = `
create function hold() returns trigger
language plpgsql as $$
begin
  perform pg_advisory_xact_lock_shared(7);
  return null;
end;
$$;

create trigger hold
  after update on task
  for each row when (new.id like 'held %') execute function hold()`

	// waitsForSQL reports whether a session waits for advisory lock 7, or for the lock of an owner ($1 is its first
	// key).
	waitsForSQL = `
select exists (
  select
  from pg_locks
  where locktype = 'advisory'
    and not granted
    and database = (select oid from pg_database where datname = current_database())
    and $1 in (case when objsubid = 1 then objid else classid end)
)`

	ownersLocks = 1685021547

	// nowSQL selects the current time as a revision.
	nowSQL = "select (extract(epoch from clock_timestamp()) * 1000000)::bigint"
)

// follow runs five writers that change the tasks of a few owners through the store, and a sixth that uses SQL of its
// own. The sixth keeps each of its transactions open after it got its revision, until a newer revision of the owner was
// seen or another writer waits for the owner's lock. Meanwhile a follower of each owner polls.
func follow(t *testing.T, address string, held int, locked bool) observation {
	t.Helper()
	s := open(t, Config{URL: address, MaxConns: 5})
	followers := map[string]*follower{}
	tasks := map[string]*idPool{}
	for _, owner := range owners {
		followers[owner] = newFollower(t, address, owner)
		tasks[owner] = new(idPool)
		execute(t, followers[owner].conn, "insert into task (id, user_id, title) values ('held '||$1, $1, 'x')", owner)
	}
	var changes atomic.Int64
	over := make(chan struct{})
	var writers, readers sync.WaitGroup
	stop := sync.OnceFunc(func() {
		close(over)
		writers.Wait()
		readers.Wait()
	})
	defer stop()
	for n := range 5 {
		writers.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(n)))
			for !closed(over) {
				owner := owners[random.IntN(len(owners))]
				if err := changeAny(t.Context(), s.For(owner), tasks[owner], random); err != nil {
					t.Errorf("%s: %v", owner, err)
					return
				}
				changes.Add(1)
			}
		})
	}
	for _, f := range followers {
		readers.Go(func() {
			for !closed(over) {
				if err := f.poll(t.Context()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	conn, holder := connect(t, address), connect(t, address)
	execute(t, holder, holdSQL)
	for n := range held {
		f := followers[owners[n%len(owners)]]
		execute(t, holder, "select pg_advisory_lock(7)")
		done := make(chan error, 1)
		go func() {
			_, err := conn.Exec(t.Context(), "update task set title = title || '.' where id = 'held ' || $1", f.owner)
			done <- err
		}()
		until(t, func() bool { return value[bool](t, holder, waitsForSQL, 7) })
		now := value[int64](t, holder, nowSQL)
		until(t, func() bool { return f.newest() > now || locked && value[bool](t, holder, waitsForSQL, ownersLocks) })
		f.another(t)
		execute(t, holder, "select pg_advisory_unlock(7)")
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	stop()

	r := observation{changes: int(changes.Load()) + held}
	for _, f := range followers {
		if err := f.poll(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.polls += f.polls
		r.late += f.late
		r.missed += f.missed(t)
	}
	t.Logf("%d changes, %d polls, %d late, %d missed", r.changes, r.polls, r.late, r.missed)
	return r
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// idPool holds the ids of an owner's tasks, for several writers.
type idPool struct {
	mu  sync.Mutex
	ids []string
}

func (p *idPool) add(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ids = append(p.ids, id)
}

// take returns a random id, and removes it from the pool if last is set.
func (p *idPool) take(random *rand.Rand, last bool) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.ids) == 0 {
		return "none"
	}
	i := random.IntN(len(p.ids))
	id := p.ids[i]
	if last {
		p.ids = slices.Delete(p.ids, i, i+1)
	}
	return id
}

// changeAny creates, updates, completes or deletes a task. Another writer may have deleted it first.
func changeAny(ctx context.Context, o Owner, tasks *idPool, random *rand.Rand) error {
	var err error
	switch n := (NewTask{Title: "x", Priority: "low"}); random.IntN(7) {
	case 0:
		var task Task
		if task, err = o.CreateTask(ctx, n); err == nil {
			tasks.add(task.ID)
		}
	case 1:
		_, _, err = o.CreateTaskOnce(ctx, fmt.Sprint("key ", random.IntN(10)), n)
	case 4:
		_, err = o.DeleteTask(ctx, tasks.take(random, true))
	case 2, 3:
		_, err = o.CompleteTask(ctx, tasks.take(random, false), nil, nil)
	default:
		_, err = o.UpdateTask(ctx, tasks.take(random, false), TaskChanges{Priority: Set("high")})
	}
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// follower tracks an owner's tasks by polling for revisions newer than the newest that it has seen.
type follower struct {
	owner string
	conn  *pgx.Conn

	mu    sync.Mutex
	last  int64            // the newest revision that was seen
	known map[string]int64 // the revision of each task's or tombstone's newest change
	seen  map[int64]bool   // every revision seen so far
	late  int
	polls int
}

func newFollower(t *testing.T, address, owner string) *follower {
	return &follower{owner: owner, conn: connect(t, address), known: map[string]int64{}, seen: map[int64]bool{}}
}

// everythingSQL also reads older revisions, to find changes that the follower would have missed.
const everythingSQL = `
select id, rev
from task
where user_id = $1
union all
select id, rev
from tombstone
where user_id = $1`

func (f *follower) poll(ctx context.Context) error {
	rows, err := f.conn.Query(ctx, everythingSQL, f.owner)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	newest := f.last
	var id string
	var rev int64
	_, err = pgx.ForEachRow(rows, []any{&id, &rev}, func() error {
		if rev > f.last {
			f.known[id] = rev
		} else if !f.seen[rev] {
			f.late++
		}
		f.seen[rev] = true
		newest = max(newest, rev)
		return nil
	})
	f.last = newest
	f.polls++
	return err
}

func (f *follower) newest() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// another waits until a poll that begins after the call has ended.
func (f *follower) another(t *testing.T) {
	t.Helper()
	count := func() int {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.polls
	}
	before := count()
	until(t, func() bool { return count() >= before+2 }) // one may be in progress already
}

// missed counts the tasks and tombstones whose newest change the follower did not receive.
func (f *follower) missed(t *testing.T) (n int) {
	t.Helper()
	rows, err := f.conn.Query(t.Context(), everythingSQL, f.owner)
	if err != nil {
		t.Fatal(err)
	}
	var id string
	var rev int64
	if _, err := pgx.ForEachRow(rows, []any{&id, &rev}, func() error {
		if f.known[id] != rev {
			n++
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestADeletedUsersTasksLeaveTombstones(t *testing.T) {
	t.Parallel()
	address := withUsers(t, "ada", "bob")
	conn := connect(t, address)
	s := open(t, Config{URL: address})
	ada, bob := s.For("ada"), s.For("bob")
	gone := create(t, ada, "gone before").ID
	if _, err := ada.DeleteTask(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	ids := []string{gone, create(t, ada, "x").ID, create(t, ada, "y").ID, create(t, ada, "z").ID}
	bobs := create(t, bob, "not ada's")
	before, bobsBefore := revision(t, ada), revision(t, bob)

	execute(t, conn, `delete from "user" where id = 'ada'`)
	slices.Sort(ids)
	if got := value[[]string](t, conn, "select array_agg(id order by id) from tombstone"); !slices.Equal(got, ids) {
		t.Errorf("tombstones %v, want %v", got, ids)
	}
	if after := revision(t, ada); after <= before {
		t.Errorf("the revision was %d, and is %d without tasks", before, after)
	}
	if left := get(t, bob, bobs.ID); !same(left, bobs) || revision(t, bob) != bobsBefore {
		t.Errorf("bob's task was %+v, and is %+v", bobs, left)
	}
}

// revision returns an owner's revision, as its lists report it.
func revision(t *testing.T, o Owner) int64 {
	t.Helper()
	return list(t, o, TaskQuery{Limit: 1}).Revision
}

func TestTombstonesArePurgedAfter90Days(t *testing.T) {
	t.Parallel()
	address := withUsers(t, "ada", "bob")
	conn := connect(t, address)
	s := open(t, Config{URL: address})
	ada, bob := s.For("ada"), s.For("bob")
	deleted := func(o Owner) string {
		t.Helper()
		id := create(t, o, "x").ID
		if _, err := o.DeleteTask(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		return id
	}
	left := func(want ...string) {
		t.Helper()
		slices.Sort(want)
		if got := value[[]string](t, conn, "select array_agg(id order by id) from tombstone"); !slices.Equal(got, want) {
			t.Errorf("tombstones %v, want %v", got, want)
		}
	}
	age := func(interval string) {
		execute(t, conn, "update tombstone set deleted_at = now() - $1::text::interval", interval)
	}

	bobs := []string{deleted(bob), deleted(bob)}
	deleted(ada)
	last := value[int64](t, conn, "select max(rev) from tombstone where user_id = 'ada'")
	age("90 days 1 minute")
	before := revision(t, ada)

	// Deleting a task that does not exist leaves no tombstone.
	if _, err := ada.DeleteTask(t.Context(), "none"); !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	left(bobs...)
	if after := revision(t, ada); after != before {
		t.Errorf("the revision was %d, and is %d", before, after)
	}
	if purged := value[int64](t, conn, "select purged_rev from task_summary where user_id = 'ada'"); purged != last {
		t.Errorf("purged up to %d, want %d", purged, last)
	}

	second := deleted(ada)
	age("89 days 23 hours")
	third := deleted(ada)
	left(append(bobs, second, third)...) // none is old enough
	age("91 days")
	fourth := deleted(ada)
	left(append(bobs, fourth)...)
	if after := revision(t, ada); after <= before {
		t.Errorf("the revision was %d, and is %d after more deletions", before, after)
	}
}

// Every change of an owner's tasks raises the revision. A failed change or a change of another owner's tasks does not.
func TestAnOwnersRevisionNeverDecreases(t *testing.T) {
	t.Parallel()
	address := withUsers(t, "ada", "bob")
	conn := connect(t, address)
	s := open(t, Config{URL: address})
	ada, bob := s.For("ada"), s.For("bob")
	if r := revision(t, ada); r != 0 {
		t.Errorf("an owner without tasks has the revision %d", r)
	}
	var id string
	for _, step := range []struct {
		what  string
		do    func() error
		stays bool
	}{
		{"create", func() error { id = create(t, ada, "x").ID; return nil }, false},
		{"update", func() error {
			_, err := ada.UpdateTask(t.Context(), id, TaskChanges{Title: Set("y")})
			return err
		}, false},
		{"update to the same", func() error {
			_, err := ada.UpdateTask(t.Context(), id, TaskChanges{Title: Set("y")})
			return err
		}, false},
		{"complete", func() error { _, err := ada.CompleteTask(t.Context(), id, nil, nil); return err }, false},
		{"stale update", func() error { _, err := ada.IfMatch(1).CompleteTask(t.Context(), id, nil, nil); return err }, true},
		{"refused update", func() error { _, err := ada.UpdateTask(t.Context(), id, TaskChanges{Title: Set("")}); return err }, true},
		{"another's create", func() error { create(t, bob, "x"); return nil }, true},
		{"another's try", func() error { _, err := bob.DeleteTask(t.Context(), id); return err }, true},
		{"update by SQL", func() error { execute(t, conn, "update task set title = 'z' where id = $1", id); return nil }, false},
		{"update by SQL that sets the revision", func() error { execute(t, conn, "update task set rev = 1 where id = $1", id); return nil }, false},
		{"insert by SQL that sets the revision", func() error {
			execute(t, conn, "insert into task (id, user_id, title, rev) values ('1', 'ada', 'x', 1)")
			return nil
		}, false},
		{"new id by SQL", func() error { execute(t, conn, "update task set id = '2' where id = '1'"); return nil }, false},
		{"new owner by SQL", func() error { execute(t, conn, "update task set user_id = 'bob' where id = '2'"); return nil }, false},
		{"delete", func() error { _, err := ada.DeleteTask(t.Context(), id); return err }, false},
		{"delete again", func() error { _, err := ada.DeleteTask(t.Context(), id); return err }, true},
		{"back from another", func() error { execute(t, conn, "update task set user_id = 'ada' where id = '2'"); return nil }, false},
		{"delete by SQL", func() error { execute(t, conn, "delete from task where user_id = 'ada'"); return nil }, false},
	} {
		before := revision(t, ada)
		if err := step.do(); err != nil && !step.stays {
			t.Errorf("%s: %v", step.what, err)
		}
		if after := revision(t, ada); after < before || (after == before) != step.stays {
			t.Errorf("%s: the revision was %d, and is %d", step.what, before, after)
		}
	}
	// A task that got another owner, or another id, left a tombstone.
	if got := value[string](t, conn, "select string_agg(id, ' ' order by id) from tombstone where user_id = 'ada' and id in ('1', '2')"); got != "1 2" {
		t.Errorf("tombstones of ada: %s", got)
	}
}

// A revision tells an owner when its own tasks changed, and nothing about how much others write.
func TestARevisionIsTheTimeOfTheChange(t *testing.T) {
	t.Parallel()
	address := withUsers(t, "ada", "bob")
	conn := connect(t, address)
	s := open(t, Config{URL: address})
	ada, bob := s.For("ada"), s.For("bob")
	for range 5 {
		for range 5 {
			create(t, bob, "not ada's")
		}
		before := value[int64](t, conn, nowSQL)
		made := create(t, ada, "x").Revision
		after := value[int64](t, conn, nowSQL)
		if made < before || made > after {
			t.Errorf("the revision %d is not of a time from %d to %d", made, before, after)
		}
		if made >= 1<<53 {
			t.Errorf("JavaScript cannot count to the revision %d", made)
		}
	}
}

// The clock may have been set back, or the newest revision may come from a server whose clock was ahead.
func TestRevisionsGrowWhenTheClockIsBehind(t *testing.T) {
	t.Parallel()
	const later = int64(1) << 52
	const aheadSQL = "insert into task (id, user_id, title) values ('ahead', 'ada', 'x'); update task_summary set rev = %d where user_id = 'ada'"
	for what, nextSQL := range map[string]string{
		"of a task":      "select",
		"of a tombstone": "delete from task where id = 'ahead'",
	} {
		t.Run("the newest is "+what, func(t *testing.T) {
			t.Parallel()
			address := withUsers(t, "ada", "bob")
			conn := connect(t, address)
			ada := open(t, Config{URL: address}).For("ada")
			for _, sql := range []string{
				"insert into task (id, user_id, title) select 'bob ' || n, 'bob', 'x' from generate_series(1, 3) n",
				fmt.Sprintf(aheadSQL, later), nextSQL,
			} {
				execute(t, conn, sql, pgx.QueryExecModeSimpleProtocol)
			}
			bobs := value[int64](t, conn, "select max(rev) from task where user_id = 'bob'")
			want := revision(t, ada)
			if want < later {
				t.Fatalf("the test's premise: the revision is %d", want)
			}
			for range 3 {
				want++
				if made := create(t, ada, "x").Revision; made != want {
					t.Errorf("the revision is %d, want %d", made, want)
				}
			}
			// Several rows by one statement, and of several owners.
			execute(t, conn, "insert into task (id, user_id, title) select n, 'ada', 'x' from generate_series(1, 3) n")
			execute(t, conn, "update task set title = 'y' where id in ('1', '2', '3')")
			execute(t, conn, "delete from task where id in ('1', '2', '3', 'bob 1', 'bob 2', 'bob 3')")
			const tombstoneRevisionsSQL = "select array_agg(rev order by rev) from tombstone where user_id = $1 and id <> 'ahead'"
			if tombstones := value[[]int64](t, conn, tombstoneRevisionsSQL, "ada"); !slices.Equal(tombstones, []int64{want + 3, want + 4, want + 5}) { // an insert, an update
				t.Errorf("ada's tombstones %d, want those after %d", tombstones, want+2)
			}
			tombstones := value[[]int64](t, conn, tombstoneRevisionsSQL, "bob")
			if len(slices.Compact(tombstones)) != 3 || tombstones[0] <= bobs || tombstones[2] >= later {
				t.Errorf("bob's tombstones %d, want three after %d", tombstones, bobs)
			}
		})
	}
}

// Deleting a user deletes all tasks in one statement. Their tombstones are in the order of the tasks' last changes.
func TestTombstonesOfOneStatementHaveDistinctRevisions(t *testing.T) {
	t.Parallel()
	address := withUsers(t, "ada", "bob")
	conn := connect(t, address)
	execute(t, conn, "insert into task (id, user_id, title) select n || u.id, u.id, 'x' from generate_series(1, 500) n, \"user\" u")
	newest := value[int64](t, conn, "select max(rev) from task")
	const lastChangeSQL = "select array_agg(id order by rev) from "
	ids := value[[]string](t, conn, lastChangeSQL+"task where user_id = 'ada'")
	execute(t, conn, `delete from "user"`)
	if tombstones := value[[]string](t, conn, lastChangeSQL+"tombstone where user_id = 'ada'"); !slices.Equal(tombstones, ids) {
		t.Errorf("tombstones %s, want %s", tombstones, ids)
	}
	const goodSQL = `
select bool_and(n = 500 and least > $1)
from (
  select count(distinct rev) as n, min(rev) as least
  from tombstone
  group by user_id
) as each_owner`
	if !value[bool](t, conn, goodSQL, newest) {
		t.Error("a revision was used twice or is not new")
	}
}
