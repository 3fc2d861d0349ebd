package server_test

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
)

// stopwatch is a clock that only a test moves.
type stopwatch struct {
	mu sync.Mutex
	at time.Time
}

func (w *stopwatch) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

func (w *stopwatch) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = w.at.Add(d)
}

// limited starts a service in which an owner may send that many requests a minute, on a clock of the test's.
func limited(t *testing.T, perMinute int) (*service, *stopwatch) {
	t.Helper()
	s := start(t, func(o *options) { o.RateLimit = perMinute })
	w := &stopwatch{at: time.Now()}
	s.docket.SetClock(w.now)
	return s, w
}

// quota fails the test unless the answer has these parameters of RateLimit, and its policy.
func (a *answer) quota(policy, remaining, seconds int) *answer {
	a.t.Helper()
	if got, want := a.get("RateLimit-Policy"), `"default";q=`+strconv.Itoa(policy)+";w=60"; got != want {
		a.t.Errorf("RateLimit-Policy is %s, want %s", got, want)
	}
	if got, want := a.get("RateLimit"), `"default";r=`+strconv.Itoa(remaining)+";t="+strconv.Itoa(seconds); got != want {
		a.t.Errorf("RateLimit is %s, want %s", got, want)
	}
	return a
}

func TestAnOwnerMaySendSoManyRequestsAMinute(t *testing.T) {
	t.Parallel()
	s, clock := limited(t, 3) // one in 20 s
	s.ada.send(t, "GET", "", "").want(http.StatusOK).quota(3, 2, 20)
	s.ada.send(t, "GET", "/none", "").want(http.StatusNotFound).quota(3, 1, 40)
	s.ada.send(t, "GET", "?nonsense=1", "").want(http.StatusBadRequest).quota(3, 0, 20)
	for range 3 {
		refused := s.ada.send(t, "GET", "", "", "Origin: "+frontend).want(http.StatusTooManyRequests).quota(3, 0, 20)
		p := refused.problem()
		if p.Code != "rate_limited" || refused.get("Retry-After") != "20" ||
			p.Detail != "You have sent more than 3 requests a minute. Nothing was done. Try again in 20 seconds." {
			t.Errorf("the answer is %s", refused)
		}
	}
	s.bob.send(t, "GET", "", "").want(http.StatusOK).quota(3, 2, 20)

	clock.advance(19100 * time.Millisecond)
	last := s.ada.send(t, "GET", "", "").want(http.StatusTooManyRequests).quota(3, 0, 1)
	if last.get("Retry-After") != "1" || !strings.HasSuffix(last.problem().Detail, "Try again in a second.") {
		t.Errorf("the answer is %s", last)
	}
	clock.advance(time.Second)
	s.ada.send(t, "GET", "", "").want(http.StatusOK).quota(3, 0, 20)
	clock.advance(time.Hour)
	s.ada.create(t, `{"title": "Milk"}`)
	s.ada.send(t, "HEAD", "", "").want(http.StatusOK).quota(3, 1, 40)
}

func TestAnAnswerThatNothingChangedCostsAFifth(t *testing.T) {
	t.Parallel()
	s, _ := limited(t, 10) // one in 6 s
	made := s.ada.create(t, `{"title": "Milk"}`)
	tag := s.ada.send(t, "GET", "", "").want(http.StatusOK).quota(10, 8, 12).get("ETag")
	for n, reset := range []int{14, 15, 16, 17, 18} { // 1.2 s each, rounded up
		remaining := 7
		if path := "/" + made.ID; n%2 == 0 {
			s.ada.send(t, "GET", path, "", "If-None-Match: "+made.Etag).want(http.StatusNotModified).quota(10, remaining, reset)
		} else {
			s.ada.send(t, "GET", "", "", "If-None-Match: "+tag, "Accept-Encoding: gzip").want(http.StatusNotModified).quota(10, remaining, reset)
		}
	}
	s.ada.send(t, "GET", "", "", `If-None-Match: "other"`).want(http.StatusOK).quota(10, 6, 24)
}

// Other users learn nothing about an owner's quota and use none of it.
func TestRequestsThatAreNotTheOwnersAreNotCounted(t *testing.T) {
	t.Parallel()
	s, _ := limited(t, 2)
	for range 3 {
		for _, a := range []*answer{
			s.send(t, "GET", s.ada.tasks(), "").want(http.StatusUnauthorized),
			s.send(t, "GET", s.ada.tasks(), "", "Authorization: Bearer "+s.bob.token).want(http.StatusForbidden),
			s.send(t, "GET", "/health", "").want(http.StatusOK),
			s.send(t, "GET", "/health/ready", "").want(http.StatusOK),
			s.send(t, "GET", s.ada.tasks()+"/a/b/c", "", "Authorization: Bearer "+s.ada.token).want(http.StatusNotFound),
			s.send(t, "OPTIONS", s.ada.tasks(), "", "Origin: "+frontend, "Access-Control-Request-Method: GET").want(http.StatusNoContent),
		} {
			if a.get("RateLimit") != "" || a.get("RateLimit-Policy") != "" {
				t.Errorf("the answer tells a quota: %s", a)
			}
		}
	}
	gone := s.newOwner().send(t, "POST", "", `{"title": "Milk"}`).want(http.StatusUnauthorized)
	if gone.get("RateLimit") != "" || gone.get("RateLimit-Policy") != "" {
		t.Errorf("an owner who does not exist has a quota: %s", gone)
	}
	s.ada.send(t, "GET", "", "").want(http.StatusOK).quota(2, 1, 30)
	s.bob.send(t, "GET", "", "").want(http.StatusOK).quota(2, 1, 30)
}

func TestARequestBeyondTheRateLimitIsRefusedBeforeItsBody(t *testing.T) {
	t.Parallel()
	s, _ := limited(t, 1)
	s.ada.send(t, "GET", "", "").want(http.StatusOK)
	head := "POST " + s.ada.tasks() + " HTTP/1.1\nHost: docket\nContent-Type: application/json\nContent-Length: 60000\n" +
		"Authorization: Bearer " + s.ada.token
	s.raw(t, head, `{"title":`).want(http.StatusTooManyRequests).quota(1, 0, 60) // the rest never comes
	s.send(t, "POST", s.ada.tasks(), strings.Repeat(" ", 70_000), "Authorization: Bearer "+s.ada.token).want(http.StatusTooManyRequests)
	s.ada.send(t, "DELETE", "/"+uuid.NewString(), "", "Accept: text/html").want(http.StatusTooManyRequests)
}

func TestThereIsNoRateLimitByDefault(t *testing.T) {
	t.Parallel()
	s := start(t)
	for range 200 {
		if a := s.ada.send(t, "GET", "/none", "").want(http.StatusNotFound); a.get("RateLimit") != "" || a.get("RateLimit-Policy") != "" {
			t.Fatalf("the answer tells a quota: %s", a)
		}
	}
}

func TestConcurrentRequestsOfAnOwnerAreCountedExactly(t *testing.T) {
	t.Parallel()
	const limit, sent = 20, 60
	s, _ := limited(t, limit)
	answers := s.ada.sendMany(t, sent, "/none")
	count := map[int]int{}
	for range sent {
		count[(<-answers).status]++
	}
	// At most 60 may be in flight, so none is refused as overloaded.
	if count[http.StatusNotFound] != limit || count[http.StatusTooManyRequests] != sent-limit {
		t.Errorf("answers by status: %v", count)
	}
}
