package server_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"docket/internal/store"
)

// waitSQL makes every statement that reads a task titled "slow" wait for as long as the test holds the lock 42.
const waitSQL = `
create function slow(title text) returns boolean language plpgsql as $$
begin
  if title = 'slow' then
    perform pg_advisory_xact_lock_shared(42);
  end if;
  return true;
end;
$$;
create policy slow on task as restrictive to docket_app using (slow(title))`

// connections is the number of connections of the service in these tests. It admits 24 requests; 12 of one owner may be
// in flight, and 3 of those active. Of the scans, 3 may run at a time, and one of one owner.
const connections = 6

// slow runs a service on which all of ada's reads wait until release is called.
func slow(t *testing.T) (s *service, release func()) {
	t.Helper()
	s = start(t, func(o *options) { o.Connections, o.RequestTimeout = connections, 10*time.Minute }).
		over(t, store.Config{MaxConns: connections, StatementTimeout: 10 * time.Minute})
	s.ada.create(t, `{"title": "slow"}`)
	s.exec(t, waitSQL)
	lock := must(s.database.Acquire(t.Context()))
	t.Cleanup(lock.Release)
	_, err := lock.Exec(t.Context(), "select pg_advisory_lock(42)")
	check(t, err)
	release = sync.OnceFunc(func() {
		_, err := lock.Exec(context.Background(), "select pg_advisory_unlock(42)") // t.Context may have ended
		check(t, err)
	})
	t.Cleanup(release)
	return s, release
}

// waiting returns how many statements wait in the database.
func (s *service) waiting(t testing.TB) (n int) {
	t.Helper()
	check(t, s.database.QueryRow(t.Context(), `
		select count(*) from pg_stat_activity
		where datname = current_database() and application_name = 'over' and wait_event_type = 'Lock'`).Scan(&n))
	return n
}

// sendMany sends many requests at once, and returns their answers as they arrive.
func (o *owner) sendMany(t *testing.T, n int, path string) (answers chan *answer) {
	t.Helper()
	answers = make(chan *answer, n)
	var all sync.WaitGroup
	for range n {
		all.Go(func() { answers <- o.send(t, "GET", path, "") })
	}
	t.Cleanup(all.Wait)
	return answers
}

// refused fails the test unless the request was not admitted. On a machine that is so busy that the database does not
// answer a check in time, that is the reason that the answer gives.
func (a *answer) refused() {
	a.t.Helper()
	code := a.want(http.StatusServiceUnavailable).problem().Code
	if seconds, err := strconv.Atoi(a.get("Retry-After")); code != "overloaded" && code != "unavailable" || err != nil || seconds < 1 {
		a.t.Errorf("the answer is %s", a)
	}
}

func TestSlowSearchesOfOneOwnerStarveNobody(t *testing.T) {
	t.Parallel()
	s, release := slow(t)
	s.bob.create(t, `{"title": "B"}`)
	const many, inFlight = 300, 2 * connections // as many of one owner's scans may wait
	answers := s.ada.sendMany(t, many, "?search=low")
	for range many - inFlight { // the others are refused while these wait
		(<-answers).refused()
	}
	eventually(t, "a connection works for ada", func() bool { return s.waiting(t) == 1 })

	for range 20 {
		s.ada.send(t, "GET", "/none", "").want(http.StatusNotFound) // the searches that wait are in nobody's way
		if l := s.bob.send(t, "GET", "?search=b", "").list(); l.Total != 1 {
			t.Errorf("bob has %+v", l)
		}
		s.bob.create(t, `{"title": "another"}`)
		s.send(t, "GET", "/health", "").want(http.StatusOK)
		s.send(t, "GET", "/health/ready", "").want(http.StatusOK)
	}
	if n := s.waiting(t); n != 1 {
		t.Errorf("%d connections work for ada", n)
	}
	release()
	for range inFlight {
		if l := (<-answers).list(); l.Total != 1 {
			t.Errorf("ada has %+v", l)
		}
	}
	s.ada.send(t, "GET", "", "").want(http.StatusOK)
}

func TestScansOfAllOwnersLeaveConnectionsForOtherRequests(t *testing.T) {
	t.Parallel()
	s, release := slow(t)
	const owners, scans = 8, connections / 2
	answers := make(chan *answer, owners)
	var all sync.WaitGroup
	t.Cleanup(all.Wait)
	defer release() // a failure must not wait for the time limit of the requests
	for range owners {
		o := s.named(s.newUser(t))
		s.exec(t, "insert into task (id, user_id, title) values (gen_random_uuid(), $1, 'slow')", o.id)
		all.Go(func() { answers <- o.send(t, "GET", "?priority=medium", "") })
	}
	for range owners - scans { // the others are refused after a second
		(<-answers).refused()
	}
	if n := s.waiting(t); n != scans {
		t.Errorf("%d connections work for scans", n)
	}
	for range 20 {
		s.bob.create(t, `{"title": "another"}`)
		s.bob.send(t, "GET", "", "").want(http.StatusOK)
	}
	release()
	for range scans {
		(<-answers).want(http.StatusOK)
	}
	s.bob.send(t, "GET", "?search=another", "").want(http.StatusOK)
}

// aloneSQL makes a statement fail that reads the task of an owner while another transaction does.
const aloneSQL = `
create function alone(owner text) returns boolean language plpgsql as $$
begin
  if not pg_try_advisory_xact_lock(hashtext(owner)) then
    raise exception 'another statement reads a task of this owner';
  end if;
  return true;
end;
$$;
create policy alone on task as restrictive to docket_app using (alone(user_id))`

// A scan counts until PostgreSQL has finished with it, also after its client has disconnected. If it did not, some of
// these searches would be executed at the same time, and get 500.
func TestSearchesOfOneOwnerAreExecutedOneAtATime(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *options) { o.Connections = connections })
	s.ada.create(t, `{"title": "low"}`)
	s.bob.create(t, `{"title": "low"}`)
	s.exec(t, aloneSQL)
	var answered, refused, canceled atomic.Int64
	var flood sync.WaitGroup
	for n := range 16 {
		flood.Go(func() {
			random := rand.New(rand.NewPCG(2, uint64(n)))
			for range 40 {
				ctx, cancel := context.WithCancel(t.Context())
				if random.IntN(3) == 0 {
					time.AfterFunc(time.Duration(random.IntN(10))*time.Millisecond, cancel)
				}
				r := must(http.NewRequestWithContext(ctx, http.MethodGet, s.url+s.ada.tasks()+"?search=low", nil))
				r.Header.Set("Authorization", "Bearer "+s.ada.token)
				response, err := s.client.Do(r)
				switch {
				case err != nil:
					canceled.Add(1)
				case response.StatusCode == http.StatusOK:
					answered.Add(1)
				case response.StatusCode == http.StatusServiceUnavailable:
					refused.Add(1)
				default:
					t.Errorf("a search gets %d", response.StatusCode)
				}
				if err == nil {
					response.Body.Close()
				}
				cancel()
			}
		})
	}
	for range 50 { // one after the other, as a person's frontend sends them
		if l := s.bob.send(t, "GET", "?search=low", "").list(); l.Total != 1 {
			t.Errorf("bob has %+v", l)
		}
	}
	flood.Wait()
	if answered.Load() == 0 || answered.Load()+refused.Load()+canceled.Load() != 16*40 {
		t.Errorf("%d answered, %d refused, %d canceled", answered.Load(), refused.Load(), canceled.Load())
	}
	eventually(t, "nothing is in flight", func() bool { return s.docket.InFlight() == 0 })
	for range 3 * connections { // and no turn was lost
		s.ada.send(t, "GET", "?search=low", "").want(http.StatusOK)
	}
}

// Several owners can use all connections and all slots. Probes need neither.
func TestProbesAreAnsweredUnderFullLoad(t *testing.T) {
	t.Parallel()
	s, release := slow(t)
	const owners, each = 8, connections / 2 // as many as may be active of one owner: together they take all slots
	defer release()                         // a failure must not wait for the time limit of the requests
	var answers []chan *answer
	for range owners {
		o := s.named(s.newUser(t))
		s.exec(t, "insert into task (id, user_id, title) values (gen_random_uuid(), $1, 'slow')", o.id)
		answers = append(answers, o.sendMany(t, each, ""))
	}
	eventually(t, "all connections are in use", func() bool { return s.waiting(t) == connections })
	eventually(t, "all slots are taken", func() bool { return s.docket.InFlight() == owners*each })
	a := s.bob.send(t, "GET", "/none", "").want(http.StatusServiceUnavailable)
	if p := a.problem(); p.Code != "overloaded" || strings.Contains(p.Detail, "your") {
		t.Errorf("bob, who sent nothing else, gets %s", a)
	}
	for range 20 {
		s.send(t, "GET", "/health", "").want(http.StatusOK)
		s.send(t, "GET", "/health/ready", "").want(http.StatusOK)
	}
	// A request that is refused needs no slot.
	s.bob.send(t, "GET", "", "", "Authorization: Bearer nonsense").want(http.StatusUnauthorized)
	s.send(t, "GET", s.ada.tasks(), "", "Authorization: Bearer "+s.bob.token).want(http.StatusForbidden)
	s.bob.send(t, "GET", "?statu=all", "").want(http.StatusBadRequest)
	release()
	for _, all := range answers {
		for range each {
			(<-all).want(http.StatusOK)
		}
	}
	s.bob.send(t, "GET", "/none", "").want(http.StatusNotFound)
}

func TestCanceledRequestsReleaseTheirSlots(t *testing.T) {
	t.Parallel()
	s, release := slow(t)
	for round := range 5 { // for more requests than there are slots
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range connections {
			all.Go(func() {
				r := must(http.NewRequestWithContext(ctx, http.MethodGet, s.url+s.ada.tasks(), nil))
				r.Header.Set("Authorization", "Bearer "+s.ada.token)
				if response, err := s.client.Do(r); err == nil {
					response.Body.Close()
					t.Errorf("an answer in round %d: %d", round, response.StatusCode)
				}
			})
		}
		eventually(t, "half of the connections work for ada", func() bool { return s.waiting(t) == connections/2 })
		cancel() // the active ones, and those in the queue
		all.Wait()
		eventually(t, "all slots are free", func() bool { return s.docket.InFlight() == 0 })
	}
	release()
	s.ada.send(t, "GET", "", "").want(http.StatusOK)
}

func TestPanicsAndTimeoutsReleaseTheirSlots(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *options) { o.Connections, o.RequestTimeout = 1, 50*time.Millisecond })
	release := sync.OnceFunc(s.block(t))
	defer release()
	for range 10 { // more than there are slots
		answers := s.ada.sendMany(t, 2, "")
		for range 2 {
			if p := (<-answers).want(http.StatusServiceUnavailable).problem(); p.Code == "overloaded" && !strings.Contains(p.Detail, "waited too long") {
				t.Errorf("refused: %s", p.Detail)
			}
		}
	}
	release()
	eventually(t, "ada is answered in time", func() bool { return s.ada.send(t, "GET", "", "").status == http.StatusOK })

	broken := s.config
	broken.Store, broken.RequestTimeout = nil, 0 // the handlers panic
	p := s.serve(t, broken)
	for range 10 {
		p.ada.send(t, "GET", "", "").want(http.StatusInternalServerError)
	}
}
