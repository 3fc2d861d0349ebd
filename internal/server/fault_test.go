package server_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"docket/contract"
	"docket/internal/dbtest"
	"docket/internal/dbtest/pgproxy"
	"docket/internal/devdb"
	"docket/internal/server"
	"docket/internal/store"
	"docket/migrations"
)

// request is a valid request, to a path of the owner's. $id is replaced by the id of a task, which is also its tag, and $title
// by a title.
type request struct{ operation, method, path, body, header string }

var requests = []request{
	{"listTasks", "GET", "/tasks", "", ""},
	{"createTask", "POST", "/tasks", `{"title": "$title"}`, ""},
	{"createTask", "POST", "/tasks", `{"title": "$title"}`, "Idempotency-Key: k"},
	{"getTask", "GET", "/tasks/$id", "", ""},
	{"replaceTaskFields", "PUT", "/tasks/$id", `{"priority": "high"}`, ""},
	{"updateTask", "PATCH", "/tasks/$id", `{"priority": "high"}`, ""},
	{"completeTask", "PATCH", "/tasks/$id/complete", "", ""},
	{"completeTaskByPost", "POST", "/tasks/$id/complete", "", ""},
	{"skipOccurrence", "POST", "/tasks/$id/skip", `{"occurrence_date": "2026-03-09"}`, ""},
	{"listOccurrences", "GET", "/tasks/$id/occurrences", "", ""},
	{"deleteTask", "DELETE", "/tasks/$id", "", ""},
	{"getStats", "GET", "/stats", "", ""},
	{"listTags", "GET", "/tags", "", ""},
	{"renameTag", "PATCH", "/tags/$id", `{"name": "$id"}`, ""},
	{"deleteTag", "DELETE", "/tags/$id", "", ""},
}

// ownTag creates a task with its id as its tag.
func (o *owner) ownTag(t testing.TB) task {
	t.Helper()
	id := o.create(t, `{"title": "A"}`).ID
	return o.send(t, "PATCH", "/"+id, `{"tags": ["`+id+`"]}`).want(http.StatusOK).task()
}

func (r request) String() string { return strings.TrimSpace(r.operation + " " + r.header) }

// readOnly reports whether the request changes nothing, so that a retry is safe.
//
// skipOccurrence reads first, and has nothing to change in a task that does not recur.
func (r request) readOnly() bool { return r.method == "GET" || r.operation == "skipOccurrence" }

// idempotent reports whether the request has an Idempotency-Key, so that a retry is safe.
func (r request) idempotent() bool { return r.header != "" }

// success returns the status of a successful answer.
func (r request) success() int {
	switch r.operation {
	case "createTask":
		return http.StatusCreated
	case "deleteTask":
		return http.StatusNoContent
	case "skipOccurrence":
		return http.StatusUnprocessableEntity // the task does not recur
	}
	return http.StatusOK
}

func (r request) send(t testing.TB, o *owner, id, title string) *answer {
	t.Helper()
	headers := []string{"Authorization: Bearer " + o.token}
	if r.header != "" {
		headers = append(headers, r.header)
	}
	return o.service.send(t, r.method, o.path()+strings.Replace(r.path, "$id", id, 1), strings.NewReplacer("$title", title, "$id", id).Replace(r.body), headers...)
}

func TestEveryOperationIsTestedWithDatabaseErrors(t *testing.T) {
	t.Parallel()
	for _, op := range contract.Current().Operations {
		if op.Secured && !slices.ContainsFunc(requests, func(r request) bool { return r.operation == op.OperationID }) {
			t.Errorf("requests has none of %s", op.OperationID)
		}
	}
}

// faultySQL makes the database fail whenever it reads or writes a task with a title such as "raise 40001 2 times": with
// that SQLSTATE, the first two times. A sequence of that name counts the accesses, because a rollback does not reset
// it. A fifth word is the name of a constraint.
const faultySQL = `
create function faulty(title text) returns boolean language plpgsql security definer as $$
declare
  word text[] := string_to_array(title, ' ');
begin
  if word[1] = 'raise' and nextval(quote_ident(title)::regclass) <= word[3]::int then
    raise exception 'the secret of the schema' using errcode = word[2], constraint = coalesce(word[5], '');
  end if;
  return true;
end;
$$;
create policy faulty on task as restrictive to docket_app using (faulty(title)) with check (faulty(title));
-- For statements that read the summary and no task.
create policy faulty on task_summary as restrictive to docket_app using (
  exists (select from task where task.user_id = task_summary.user_id)
)`

// faulty returns a new owner with a task whose title makes the database fail.
func (s *service) faulty(t testing.TB, title string) (o *owner, id string) {
	t.Helper()
	o = s.named(s.newUser(t))
	s.exec(t, "create sequence if not exists "+pgx.Identifier{title}.Sanitize()+" minvalue 0")
	check(t, s.database.QueryRow(t.Context(),
		"insert into task (id, user_id, title, tags) select id, $1, $2, array[id] from (select gen_random_uuid()::text) as new (id) returning id",
		o.id, title).Scan(&id))
	return o, id
}

// count starts to count how often the database reads or writes a task with this title.
func (s *service) count(t testing.TB, title string) (accesses func() int) {
	t.Helper()
	name := pgx.Identifier{title}.Sanitize()
	s.exec(t, "select setval($1::text::regclass, 0)", name)
	return func() (n int) {
		check(t, s.database.QueryRow(t.Context(), "select last_value from "+name).Scan(&n))
		return n
	}
}

func TestEverySQLSTATEHasItsProblem(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.exec(t, faultySQL)
	type outcome struct {
		status   int
		code     string
		attempts int
	}
	for _, c := range []struct {
		states                       string
		readOnly, writes, idempotent outcome
	}{
		// Rolled back because of another transaction: the service retries.
		{"40001 40P01", outcome{503, "unavailable", 3}, outcome{503, "unavailable", 3}, outcome{503, "unavailable", 3}},
		// Out of resources, or too slow: nothing was done, and an immediate retry would make it worse.
		{"53000 53100 53200 53300 53400 55P03 57014", outcome{503, "unavailable", 1}, outcome{503, "unavailable", 1}, outcome{503, "unavailable", 1}},
		// The schema is not the one that the statements need.
		{"3F000 42703 42883 42P01", outcome{503, "unavailable", 1}, outcome{503, "unavailable", 1}, outcome{503, "unavailable", 1}},
		// The connection ended. Whether the change was made is unknown.
		{"08000 08003 08006 57P01 57P02 57P03 57P05", outcome{503, "unavailable", 2}, outcome{503, "outcome_unknown", 1}, outcome{503, "outcome_unknown", 2}},
		// A value that the checks should have refused. A read has no such value.
		{"22001 22003 22021 22P05 23514", outcome{}, outcome{422, "validation_failed", 1}, outcome{422, "validation_failed", 1}},
		// Of the constraints, only the foreign key to the owner can be violated by a valid request.
		{"23503:fk_user", outcome{}, outcome{401, "unauthorized", 1}, outcome{401, "unauthorized", 1}},
		// Errors of the service.
		{
			"22012 23502 23503:another 23505 42501 42601 P0001 XX000",
			outcome{500, "internal_error", 1},
			outcome{500, "internal_error", 1},
			outcome{500, "internal_error", 1},
		},
	} {
		for state := range strings.FieldsSeq(c.states) {
			t.Run(state, func(t *testing.T) {
				t.Parallel()
				state, constraint, _ := strings.Cut(state, ":")
				title := strings.TrimSpace("raise " + state + " 1000 times " + constraint)
				o, id := s.faulty(t, title)
				rows := s.storedOf(t, o)
				for _, r := range requests {
					want := c.writes
					switch {
					case r.readOnly():
						want = c.readOnly
					case r.idempotent():
						want = c.idempotent
					}
					op := contract.Current().Named(r.operation)
					if want.status == 0 || op.Responses.Status(want.status) == nil {
						continue // the request has no value that could cause this
					}
					accesses := s.count(t, title)
					a := r.send(t, o, id, title)
					p := a.problem()
					if got := (outcome{a.status, p.Code, accesses()}); got != want {
						t.Errorf("%s: %+v, want %+v\n%s", r, got, want, a)
					}
					if seconds, err := strconv.Atoi(a.get("Retry-After")); (a.status == http.StatusServiceUnavailable) != (err == nil && seconds > 0) {
						t.Errorf("%s: %d with Retry-After %q", r, a.status, a.get("Retry-After"))
					}
					if p.Code == "outcome_unknown" && !strings.Contains(p.Detail, "Idempotency-Key") {
						t.Errorf("%s: the detail does not say how to go on: %s", r, p.Detail)
					}
					for _, internal := range []string{"secret", "SQLSTATE", "ERROR", state, "fk_user", "policy", "docket_app", "select", "insert"} {
						if strings.Contains(strings.ReplaceAll(a.body, a.get("X-Request-Id"), ""), internal) {
							t.Errorf("%s: the answer holds %q: %s", r, internal, a)
						}
					}
				}
				if now := s.storedOf(t, o); now != rows {
					t.Errorf("stored was %s, and is %s", rows, now)
				}
			})
		}
	}
}

// A request that PostgreSQL rolled back because of another transaction is carried out nevertheless, and once.
func TestRolledBackRequestsAreRetried(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.exec(t, faultySQL)
	for _, state := range []string{"40001", "40P01"} {
		for _, times := range []int{1, 2} {
			for i, r := range requests {
				t.Run(fmt.Sprintf("%s %d times, %s", state, times, r), func(t *testing.T) {
					t.Parallel()
					title := fmt.Sprintf("raise %s %d times request%d", state, times, i)
					o, id := s.faulty(t, title)
					var before, after int
					const changesSQL = "select (select count(*) from task where user_id = $1) + (select count(*) from tombstone where user_id = $1)"
					check(t, s.database.QueryRow(t.Context(), changesSQL, o.id).Scan(&before))
					accesses := s.count(t, title)
					r.send(t, o, id, title).want(r.success())
					if accesses() <= times {
						t.Errorf("the database accessed it %d times", accesses())
					}
					check(t, s.database.QueryRow(t.Context(), changesSQL, o.id).Scan(&after))
					if made := after - before; (made == 1) != (r.operation == "createTask") || made > 1 {
						t.Errorf("%d tasks were created", made)
					}
				})
			}
		}
	}
}

// startBehindProxy runs a service that reaches its database through a proxy.
func startBehindProxy(t testing.TB, changes ...func(*options)) (*service, *pgproxy.Proxy) {
	t.Helper()
	var p *pgproxy.Proxy
	s := start(t, append(changes, func(o *options) {
		p = must(pgproxy.Start(o.databaseURL))
		t.Cleanup(p.Close)
		o.databaseURL = p.URL
	})...)
	check(t, s.config.Store.Ping(t.Context())) // as docket serve does: the first contact finds out about the database
	return s, p
}

// The service retries a request once if that is safe. If the request may have changed something, only the client can
// decide, because the service cannot distinguish a lost request from a lost answer.
func TestRequestsAreRetriedOnABrokenConnectionIfThatIsSafe(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		losses                       []pgproxy.Fault
		readOnly, writes, idempotent int            // statuses; 0: success
		made                         map[string]int // how often the change was made
	}{
		"request":            {losses: []pgproxy.Fault{pgproxy.LoseRequest}, writes: 503, made: map[string]int{"writes": 0, "idempotent": 1}},
		"answer":             {losses: []pgproxy.Fault{pgproxy.LoseReply}, writes: 503, made: map[string]int{"writes": 1, "idempotent": 1}},
		"request twice":      {losses: []pgproxy.Fault{pgproxy.LoseRequest, pgproxy.LoseRequest}, readOnly: 503, writes: 503, idempotent: 503, made: map[string]int{"writes": 0, "idempotent": 0}},
		"answer twice":       {losses: []pgproxy.Fault{pgproxy.LoseReply, pgproxy.LoseReply}, readOnly: 503, writes: 503, idempotent: 503, made: map[string]int{"writes": 1, "idempotent": 1}},
		"answer and request": {losses: []pgproxy.Fault{pgproxy.LoseReply, pgproxy.LoseRequest}, readOnly: 503, writes: 503, idempotent: 503, made: map[string]int{"writes": 1, "idempotent": 1}},
		"request and answer": {losses: []pgproxy.Fault{pgproxy.LoseRequest, pgproxy.LoseReply}, readOnly: 503, writes: 503, idempotent: 503, made: map[string]int{"writes": 0, "idempotent": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c := startBehindProxy(t)
			changes := dbtest.CountChanges(t, s.database.Config().ConnString())
			for _, r := range requests {
				id := s.ada.ownTag(t).ID
				before := changes()
				c.Fail(test.losses...)
				a := r.send(t, s.ada, id, "A")
				c.Fail()
				made := changes() - before

				wantStatus, wantMade, wantCode := test.writes, test.made["writes"], "outcome_unknown"
				switch {
				case r.readOnly():
					wantStatus, wantMade, wantCode = test.readOnly, 0, "unavailable"
				case r.idempotent():
					wantStatus, wantMade = test.idempotent, test.made["idempotent"]
				}
				if wantStatus == 0 {
					wantStatus = r.success()
				}
				if a.status != wantStatus || made != wantMade {
					t.Errorf("%s: made %d times, want %d and %d; the answer is %s", r, made, wantMade, wantStatus, a)
				}
				if a.status == r.success() {
					continue
				}
				if p := a.problem(); p.Code != wantCode || wantCode == "outcome_unknown" && !strings.Contains(p.Detail, "Idempotency-Key") {
					t.Errorf("%s: the answer is %s", r, a)
				}
				if r.idempotent() {
					// Repeated with its key, the request has the outcome of the first one.
					again := r.send(t, s.ada, id, "A").want(http.StatusCreated)
					if replayed := again.get("Idempotent-Replayed") == "true"; replayed != (made == 1) || changes()-before != 1 {
						t.Errorf("%s: made %d times, then %s", r, made, again)
					}
				}
			}
			// No connection is left in a bad state.
			for range 10 {
				s.ada.create(t, `{"title": "A"}`)
				s.ada.send(t, "GET", "", "").want(http.StatusOK)
			}
		})
	}
}

// persist sends a request again while the answer is 503: the pool may have more than one dead connection.
func persist(t testing.TB, send func() *answer) (a *answer) {
	t.Helper()
	eventually(t, "another answer than 503", func() bool {
		a = send()
		return a.status != http.StatusServiceUnavailable
	})
	return a
}

// A second attempt that could not even be sent says nothing about the first.
func TestALostAnswerHasAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	s, c := startBehindProxy(t)
	changes := dbtest.CountChanges(t, s.database.Config().ConnString())
	create := requests[slices.IndexFunc(requests, request.idempotent)]
	c.Fail(pgproxy.LoseReplyAndRefuse)
	a := create.send(t, s.ada, "", "A").want(http.StatusServiceUnavailable)
	if a.problem().Code != "outcome_unknown" || changes() != 1 {
		t.Errorf("made %d times, and the answer is %s", changes(), a)
	}
	check(t, c.Forward(s.database.Config().ConnString()))
	again := persist(t, func() *answer { return create.send(t, s.ada, "", "A") }).want(http.StatusCreated)
	if again.get("Idempotent-Replayed") != "true" || changes() != 1 {
		t.Errorf("made %d times, and the answer is %s", changes(), again)
	}
}

// While the database is unreachable, nothing can be changed. The answers to writes say so, too.
func TestAnUnreachableDatabaseIsUsedAgainWhenItIsBack(t *testing.T) {
	t.Parallel()
	s, c := startBehindProxy(t)
	id := s.ada.ownTag(t).ID
	for range 3 {
		c.Refuse()
		eventually(t, "all connections are found to be dead", func() bool {
			return s.ada.send(t, "POST", "", `{"title": "Lost"}`).want(http.StatusServiceUnavailable).problem().Code == "unavailable"
		})
		rows := s.stored(t)
		for _, r := range requests {
			a := r.send(t, s.ada, id, "Lost").want(http.StatusServiceUnavailable)
			if a.problem().Code != "unavailable" || a.get("Retry-After") == "" {
				t.Errorf("%s: the answer is %s", r, a)
			}
		}
		s.send(t, "GET", "/health/ready", "").want(http.StatusServiceUnavailable)
		s.send(t, "GET", "/health", "").want(http.StatusOK)
		if now := s.stored(t); now != rows || strings.Contains(now, "Lost") {
			t.Errorf("stored was %s, and is %s", rows, now)
		}

		check(t, c.Forward(s.database.Config().ConnString()))
		s.send(t, "GET", "/health/ready", "").want(http.StatusOK)
		for _, r := range requests {
			r.send(t, s.ada, s.ada.ownTag(t).ID, "Found").want(r.success())
		}
	}
}

func TestTasksSurviveARestartOfPostgreSQL(t *testing.T) {
	t.Parallel()
	dir := must(os.MkdirTemp("", "docket-restart-"))
	t.Cleanup(func() { check(t, os.RemoveAll(dir)) })
	check(t, os.Chmod(dir, 0o755)) // for PostgreSQL, when we are root
	major, _ := strconv.Atoi(os.Getenv("DOCKET_TEST_PG"))
	run := func() *devdb.Server {
		t.Helper()
		return must(devdb.Start(t.Context(), devdb.Options{Dir: dir, Major: major}))
	}
	postgres := run()
	t.Cleanup(func() { check(t, postgres.Stop()) })
	conn := must(pgx.Connect(t.Context(), postgres.URL("postgres")))
	must(conn.Exec(t.Context(), devdb.UserFixtureSQL))
	check(t, conn.Close(t.Context()))
	check(t, migrations.Up(t.Context(), postgres.URL("postgres"), io.Discard))

	c := must(pgproxy.Start(postgres.URL("postgres")))
	t.Cleanup(c.Close)
	s := start(t, func(o *options) { o.databaseURL = c.URL })
	dbtest.AddUser(t, postgres.URL("postgres"), s.ada.id)
	var want []task
	for i := range 2 {
		create := func() *answer {
			return s.ada.send(t, "POST", "", fmt.Sprintf(`{"title": "A %d"}`, i), fmt.Sprintf("Idempotency-Key: k%d", i))
		}
		made := create().want(http.StatusCreated)
		want = append(want, made.task())
		list := s.ada.send(t, "GET", "", "").want(http.StatusOK)

		check(t, postgres.Stop())
		s.ada.send(t, "GET", "", "").want(http.StatusServiceUnavailable)
		s.send(t, "GET", "/health/ready", "").want(http.StatusServiceUnavailable)
		postgres = run()
		check(t, c.Forward(postgres.URL("postgres")))

		persist(t, func() *answer { return s.send(t, "GET", "/health/ready", "") }).want(http.StatusOK)
		persist(t, func() *answer { return s.ada.send(t, "GET", "", "", "If-None-Match: "+list.get("ETag")) }).want(http.StatusNotModified)
		again := persist(t, create).want(http.StatusCreated)
		if again.body != made.body || again.get("Idempotent-Replayed") != "true" {
			t.Errorf("before the restart %s, after it %s", made, again)
		}
		if l := s.ada.send(t, "GET", "?order=asc", "").list(); !slices.Equal(l.Tasks, want) {
			t.Errorf("the tasks are %+v, want %+v", l.Tasks, want)
		}
	}
}

// over returns the same service with another pool.
func (s *service) over(t testing.TB, c store.Config) *service {
	t.Helper()
	config := s.config
	c.URL = s.database.Config().ConnString() + "&application_name=over"
	config.Store = must(store.Open(context.Background(), c))
	t.Cleanup(config.Store.Close)
	return s.serve(t, config)
}

// serve returns the same service with another configuration.
func (s *service) serve(t testing.TB, config server.Config) *service {
	t.Helper()
	other := *s
	other.config, other.docket = config, must(server.New(config))
	l := httptest.NewServer(other.docket)
	t.Cleanup(l.Close)
	other.url = l.URL
	other.ada, other.bob = &owner{&other, s.ada.id, s.ada.token}, &owner{&other, s.bob.id, s.bob.token}
	return &other
}

// backends returns the connections of the pool of over, as PostgreSQL identifies them.
func (s *service) backends(t testing.TB) (pids string) {
	t.Helper()
	check(t, s.database.QueryRow(t.Context(), `
		select coalesce(string_agg(pid || ' since ' || backend_start, ', '), '') from pg_stat_activity
		where datname = current_database() and application_name = 'over'`).Scan(&pids))
	return pids
}

// PostgreSQL cancels a statement that waits too long before a deadline has to close the connection. On a slow machine,
// even a statement that need not wait can exceed the timeout, so the test repeats it until it succeeds.
func TestStatementTimeoutKeepsItsConnection(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *options) { o.RequestTimeout = 10 * time.Minute })
	made, others := s.ada.ownTag(t), s.bob.ownTag(t)
	s = s.over(t, store.Config{MaxConns: 1, StatementTimeout: 50 * time.Millisecond})
	persist(t, func() *answer { return s.ada.send(t, "GET", "", "") })
	before := s.backends(t)
	for _, r := range requests {
		// The statement is prepared here because preparing would also wait for the lock.
		persist(t, func() *answer { return r.send(t, s.bob, others.ID, "A") })
		release := s.block(t)
		a := r.send(t, s.ada, made.ID, "A")
		release()
		if a.want(http.StatusServiceUnavailable).problem().Code != "unavailable" || a.get("Retry-After") == "" {
			t.Errorf("%s: the answer is %s", r, a)
		}
		if after := s.backends(t); after != before {
			t.Errorf("%s: the connection was %s, and is %s", r, before, after)
		}
		if l := persist(t, func() *answer { return s.ada.send(t, "GET", "", "") }).list(); l.Total != 1 || l.Tasks[0] != made {
			t.Errorf("%s: the tasks are %+v, want %+v", r, l.Tasks, made)
		}
	}
}

// If all connections are in use, a request waits for one, but not longer than its time limit.
func TestRequestWithoutAConnectionIsUnavailable(t *testing.T) {
	t.Parallel()
	const conns = 2
	s := start(t)
	id := s.ada.ownTag(t).ID
	s.config.RequestTimeout = 100 * time.Millisecond
	s = s.over(t, store.Config{MaxConns: conns})
	rows := s.stored(t)
	release := sync.OnceFunc(s.block(t))
	defer release()
	busy := make(chan error)
	for range conns { // without the requests' time limit
		go func() {
			_, err := s.config.Store.For(s.ada.id).GetTask(t.Context(), id)
			busy <- err
		}()
	}
	eventually(t, "every connection waits", func() bool {
		var waiting int
		check(t, s.database.QueryRow(t.Context(), `
			select count(*) from pg_stat_activity
			where datname = current_database() and application_name = 'over' and wait_event_type = 'Lock'`).Scan(&waiting))
		return waiting == conns
	})
	for _, r := range requests {
		// A change that was never sent was not made: its outcome is known.
		if a := r.send(t, s.ada, id, "A").want(http.StatusServiceUnavailable); a.problem().Code != "unavailable" || a.get("Retry-After") == "" {
			t.Errorf("%s: the answer is %s", r, a)
		}
	}
	select {
	case err := <-busy:
		t.Fatalf("a connection became free: %v", err)
	default:
	}
	release()
	for range conns {
		if err := <-busy; err != nil {
			t.Error(err)
		}
	}
	if now := s.stored(t); now != rows {
		t.Errorf("stored was %s, and is %s", rows, now)
	}
	persist(t, func() *answer { return s.ada.send(t, "GET", "/"+id, "") }).want(http.StatusOK)
}

// When a client disconnects, its waiting change is canceled, and nothing is logged that requires an operator's
// attention.
func TestACanceledRequestChangesNothing(t *testing.T) {
	t.Parallel()
	s := start(t)
	made := s.ada.ownTag(t)
	waiting := func() (n int) {
		check(t, s.database.QueryRow(t.Context(), `
			select count(*) from pg_stat_activity
			where datname = current_database() and wait_event_type = 'Lock'`).Scan(&n))
		return n
	}
	release := sync.OnceFunc(s.block(t))
	defer release()
	for i, r := range requests {
		for range 3 {
			id := fmt.Sprintf("canceled-%d", i)
			ctx, cancel := context.WithCancel(t.Context())
			h := must(http.NewRequestWithContext(ctx, r.method, s.url+s.ada.path()+strings.Replace(r.path, "$id", made.ID, 1), strings.NewReader(r.body)))
			h.Header.Set("Authorization", "Bearer "+s.ada.token)
			h.Header.Set("X-Request-Id", id)
			if r.body != "" {
				h.Header.Set("Content-Type", "application/json")
			}
			if name, value, found := strings.Cut(r.header, ": "); found {
				h.Header.Set(name, value)
			}
			gone := make(chan error)
			go func() {
				response, err := s.client.Do(h)
				if err == nil {
					response.Body.Close()
				}
				gone <- err
			}()
			eventually(t, "the statement waits", func() bool { return waiting() == 1 })
			cancel()
			if err := <-gone; err == nil {
				t.Errorf("%s: there was an answer", r)
			}
			eventually(t, "the statement is canceled", func() bool { return waiting() == 0 })
			eventually(t, "the request is in the log", func() bool { return strings.Contains(s.log.String(), id) })
		}
	}
	release()
	if l := s.ada.send(t, "GET", "", "").list(); l.Total != 1 || l.Tasks[0] != made {
		t.Errorf("the tasks are %+v, want %+v", l.Tasks, made)
	}
	for _, r := range requests {
		r.send(t, s.ada, s.ada.ownTag(t).ID, "A").want(r.success())
	}
	for line := range strings.Lines(s.log.String()) {
		if strings.Contains(line, `"level":"ERROR"`) || strings.Contains(line, `"level":"WARN"`) {
			t.Errorf("logged: %s", line)
		}
	}
}
