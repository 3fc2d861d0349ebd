package limit

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// clock is a clock that only a test moves.
type clock struct{ at time.Time }

func newClock() *clock { return &clock{time.Date(2026, 12, 1, 8, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time          { return c.at }
func (c *clock) advance(d time.Duration) { c.at = c.at.Add(d) }

// take fails the test unless the owner's next request has that outcome.
func take(t *testing.T, r *Rate, owner string, allowed bool, remaining int, reset time.Duration) {
	t.Helper()
	if q, ok := r.Take(owner); ok != allowed || q != (Quota{remaining, reset}) {
		t.Errorf("%s: %t %+v, want %t, %d remaining, reset in %v", owner, ok, q, allowed, remaining, reset)
	}
}

func TestAMinutesRequestsMayBeSentAtOnceAndComeBackEvenly(t *testing.T) {
	t.Parallel()
	c := newClock()
	r := NewRate(3, c.now) // one in 20 s
	take(t, r, "ada", true, 2, 20*time.Second)
	take(t, r, "ada", true, 1, 40*time.Second)
	take(t, r, "ada", true, 0, 20*time.Second)
	take(t, r, "ada", false, 0, 20*time.Second)
	take(t, r, "bob", true, 2, 20*time.Second)
	c.advance(19 * time.Second)
	take(t, r, "ada", false, 0, time.Second)
	c.advance(time.Second)
	take(t, r, "ada", true, 0, 20*time.Second)
	take(t, r, "ada", false, 0, 20*time.Second)
	c.advance(time.Minute)
	take(t, r, "ada", true, 2, 20*time.Second)
	c.advance(time.Hour) // nothing is saved up beyond a minute's requests
	take(t, r, "ada", true, 2, 20*time.Second)
}

// No minute has more than a minute's requests beyond the first burst, for any limit.
func TestTheRateIsExactForEveryLimit(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{1, 2, 7, 60, 61, 100, 999, 100_000, 1_000_000} {
		c := newClock()
		r := NewRate(limit, c.now)
		for n := range limit {
			if q, ok := r.Take("ada"); !ok || q.Remaining != limit-n-1 {
				t.Fatalf("%d a minute: request %d is %t, %+v", limit, n, ok, q)
			}
		}
		if _, ok := r.Take("ada"); ok {
			t.Errorf("%d a minute: one more is allowed", limit)
		}
		c.advance(window)
		n := 0
		for _, ok := r.Take("ada"); ok; _, ok = r.Take("ada") {
			n++
		}
		if n != limit {
			t.Errorf("%d a minute: %d in the second minute", limit, n)
		}
	}
}

func TestANotModifiedCostsAFifth(t *testing.T) {
	t.Parallel()
	c := newClock()
	r := NewRate(10, c.now) // one in 6 s
	n := 0
	for ; n < 1000; n++ {
		if _, ok := r.Take("ada"); !ok {
			break
		}
		r.NotModified("ada")
	}
	// The last one needs a whole request, of which four fifths come back.
	if n != 46 {
		t.Errorf("%d answers without a body at once, want 46", n)
	}
	c.advance(time.Minute)
	take(t, r, "ada", true, 9, 6*time.Second)
	if q := r.NotModified("ada"); q != (Quota{9, 1200 * time.Millisecond}) {
		t.Errorf("after a 304: %+v", q)
	}
	if q := r.NotModified("bob"); q != (Quota{10, 0}) { // it was forgotten, and gains nothing
		t.Errorf("the quota of somebody unknown is %+v", q)
	}
	take(t, r, "bob", true, 9, 6*time.Second)
}

func TestOwnersAreForgottenWhenTheirQuotaIsWhole(t *testing.T) {
	t.Parallel()
	c := newClock()
	r := NewRate(1, c.now)
	for n := range 1000 {
		take(t, r, fmt.Sprint("owner ", n), true, 0, time.Minute)
	}
	c.advance(time.Minute - time.Second)
	take(t, r, "late", true, 0, time.Minute)
	c.advance(2 * time.Second)
	take(t, r, "owner 0", true, 0, time.Minute)
	take(t, r, "late", false, 0, 58*time.Second) // who sent something a moment ago is remembered
	c.advance(time.Minute + time.Second)
	take(t, r, "bob", true, 0, time.Minute)
	c.advance(time.Minute + time.Second)
	take(t, r, "bob", true, 0, time.Minute)
	if n := len(r.recent) + len(r.older); n != 2 {
		t.Errorf("%d owners are remembered: %v, %v", n, r.recent, r.older)
	}
}

func TestTheNumberOfOwnersIsBounded(t *testing.T) {
	t.Parallel()
	c := newClock()
	r := NewRate(2, c.now)
	for n := range 3 * maxOwners {
		if _, ok := r.Take(fmt.Sprint("owner ", n)); !ok {
			t.Fatalf("owner %d is refused for the requests of others", n)
		}
		if len(r.recent) > maxOwners || len(r.older) > maxOwners {
			t.Fatalf("%d and %d owners are remembered", len(r.recent), len(r.older))
		}
	}
	last := fmt.Sprint("owner ", 3*maxOwners-1)
	take(t, r, last, true, 0, 30*time.Second)
	take(t, r, last, false, 0, 30*time.Second)
}

// The bubble's clock does not move, so the number of requests that are allowed is exact.
func TestConcurrentRequestsAreCountedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := NewRate(500, time.Now)
		var allowed atomic.Int64
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 500 {
					if _, ok := r.Take("ada"); ok {
						allowed.Add(1)
					}
				}
			})
		}
		all.Wait()
		if n := allowed.Load(); n != 500 {
			t.Errorf("%d requests were allowed", n)
		}
	})
}

func BenchmarkTake(b *testing.B) {
	r := NewRate(1_000_000, time.Now)
	b.ReportAllocs()
	for b.Loop() {
		r.Take("yJ3kQ8vLw2Rt6ZpNc9XbHs5MfGd1TaEu")
	}
}
