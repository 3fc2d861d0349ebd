package limit

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// empty fails the test when anything is still counted.
func empty(t *testing.T, l *Limiter) {
	t.Helper()
	for name, c := range map[string]*class{"requests": &l.requests, "scans": &l.scans} {
		if len(c.slots) != 0 || len(c.owners) != 0 || c.queued.Load() != 0 {
			t.Errorf("%s: %d slots are taken, by %v, and %d are queued", name, len(c.slots), c.owners, c.queued.Load())
		}
	}
	if l.InFlight() != 0 {
		t.Errorf("%d requests are in flight", l.InFlight())
	}
}

func refusal(err error) bool {
	return errors.Is(err, ErrBusy) || errors.Is(err, ErrOwnerBusy) || errors.Is(err, ErrOwnerTimeout)
}

// Three owners send random requests, half of them scans. A third are canceled. The limits hold at every moment, and in
// the end everything has been released.
func TestNeitherOneOwnerNorAllTogetherExceedTheLimits(t *testing.T) {
	t.Parallel()
	l := New(4) // of one owner, two requests and one scan are active; of all, 16 requests and two scans
	owners := []string{"ada", "bob", "cyd"}
	var active, scanning [3]atomic.Int64
	var admitted, scans atomic.Int64
	scan := func(ctx context.Context, a *Admission, i int) error {
		ended, err := a.Scan(ctx)
		if err != nil {
			return err
		}
		if n := scanning[i].Add(1); n > int64(l.scans.ownerActive) {
			t.Errorf("%d scans of %s's are active", n, owners[i])
		}
		if n := scans.Add(1); n > int64(cap(l.scans.slots)) {
			t.Errorf("%d scans were admitted", n)
		}
		runtime.Gosched()
		scans.Add(-1)
		scanning[i].Add(-1)
		ended()
		return nil
	}
	var all sync.WaitGroup
	for n := range 40 {
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(n)))
			for range 2000 {
				ctx, cancel := context.WithCancel(t.Context())
				if random.IntN(3) == 0 {
					go cancel()
				}
				i := random.IntN(len(owners))
				a, err := l.Acquire(ctx, owners[i])
				if err == nil && random.IntN(2) == 0 {
					err = scan(ctx, a, i)
				}
				if err == nil {
					if n := active[i].Add(1); n > int64(l.requests.ownerActive) {
						t.Errorf("%d requests of %s's are active", n, owners[i])
					}
					if n := admitted.Add(1); n > int64(cap(l.requests.slots)) {
						t.Errorf("%d requests were admitted", n)
					}
					admitted.Add(-1)
					active[i].Add(-1)
				} else if !errors.Is(err, context.Canceled) && !refusal(err) {
					t.Error(err)
				}
				if a != nil {
					a.Release()
				}
				cancel()
			}
		})
	}
	all.Wait()
	empty(t, l)
}

func TestAnOwnersRequestsAreActivatedInOrder(t *testing.T) {
	t.Parallel()
	l := New(2) // of one owner, one is active and four are in flight
	order := make(chan int, 3)
	var admissions [4]*Admission
	admissions[0] = acquire(t, l, "ada")
	for n := range 3 {
		go func() {
			admissions[n+1] = acquire(t, l, "ada")
			order <- n
		}()
		for queued := 0; queued <= n; { // until it waits
			if len(order) > 0 {
				t.Fatal("two requests of ada's are active")
			}
			queued = l.requests.queuedOf("ada")
		}
	}
	ended, end := context.WithCancel(t.Context())
	end() // otherwise it would wait
	if _, err := l.Acquire(ended, "ada"); !errors.Is(err, ErrOwnerBusy) {
		t.Errorf("ada's fifth request got %v", err)
	}
	for n := range 3 {
		admissions[n].Release()
		if got := <-order; got != n {
			t.Errorf("request %d was activated, want %d", got, n)
		}
	}
	admissions[3].Release()
	empty(t, l)
}

// These tests run on the clock of synctest and do not depend on the machine's speed.
func TestARequestWaitsForASlotAndIsRefusedAfterTheQueueTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(1) // four slots, twelve requests in the queue
		owner := func(n int) string { return fmt.Sprint("owner ", n) }
		var admissions [4]*Admission
		for n := range 4 {
			admissions[n] = acquire(t, l, owner(n))
		}
		start := time.Now()
		if _, err := l.Acquire(t.Context(), "late"); !errors.Is(err, ErrBusy) || time.Since(start) != queueTimeout {
			t.Errorf("a request that waited for too long got %v after %v", err, time.Since(start))
		}
		results := make(chan error, 12)
		for n := range 12 {
			go func() {
				_, err := l.Acquire(t.Context(), owner(4+n))
				results <- err
			}()
		}
		synctest.Wait()
		start = time.Now()
		if _, err := l.Acquire(t.Context(), "much too late"); !errors.Is(err, ErrBusy) || time.Since(start) != 0 {
			t.Errorf("a request that found the queue full got %v after %v", err, time.Since(start))
		}
		admissions[0].Release()
		if err := <-results; err != nil || time.Since(start) != 0 {
			t.Errorf("a request in the queue got %v after %v", err, time.Since(start))
		}
		for range 11 {
			if err := <-results; !errors.Is(err, ErrBusy) {
				t.Errorf("a request that waited for too long got %v", err)
			}
		}
		if r := &l.requests; len(r.slots) != 4 || len(r.owners) != 4 || r.queued.Load() != 0 {
			t.Errorf("%d slots are taken, by %v, and %d requests are queued", len(r.slots), r.owners, r.queued.Load())
		}
	})
}

func TestADeadlineInTheOwnersQueueIsErrOwnerTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(1)
		first := acquire(t, l, "ada")
		late, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := l.Acquire(late, "ada"); !errors.Is(err, ErrOwnerTimeout) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("past its deadline: %v", err)
		}
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := l.Acquire(canceled, "ada"); !errors.Is(err, context.Canceled) || refusal(err) {
			t.Errorf("canceled: %v", err)
		}
		first.Release()
		empty(t, l)
	})
}

func TestAWaitIsObservedWithItsQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(1) // four slots; of one owner, one is active and two are in flight
		waits := make(chan string, 10)
		observe := func(kind string) Waited {
			return func(_ context.Context, queue string, start time.Time, err error) {
				if err != nil || time.Since(start) > 0 {
					waits <- fmt.Sprint(kind, " ", queue, " ", time.Since(start), " ", err)
				}
			}
		}
		l.Observe(observe("request"), observe("scan"))
		want := func(text string) {
			t.Helper()
			if got := <-waits; got != text {
				t.Errorf("%s, want %s", got, text)
			}
		}
		others := []*Admission{acquire(t, l, "a"), acquire(t, l, "b"), acquire(t, l, "c")}
		first := acquire(t, l, "ada")
		second := make(chan *Admission)
		go func() { second <- acquire(t, l, "ada") }()
		time.Sleep(time.Minute)
		_, _ = l.Acquire(t.Context(), "ada")
		want("request owner 0s " + ErrOwnerBusy.Error())
		first.Release()
		first = <-second
		want("request owner 1m0s <nil>")
		_, _ = l.Acquire(t.Context(), "bob")
		want("request service 1s " + ErrBusy.Error())
		ended := scan(t, first)
		others[0].Release()
		bob := acquire(t, l, "bob")
		_, _ = bob.Scan(t.Context())
		want("scan service 1s " + ErrBusy.Error())
		ended()
		for _, a := range append(others, first, bob) {
			a.Release()
		}
		empty(t, l)
	})
}

func TestOneOwnerLeavesSlotsToTheOthers(t *testing.T) {
	t.Parallel()
	l := New(6)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	var admissions [3]*Admission // half of the connections
	for n := range admissions {
		admissions[n] = acquire(t, l, "ada")
	}
	var waiting sync.WaitGroup
	waiting.Go(func() { acquire(t, l, "ada").Release() })
	for l.InFlight() < 4 {
		runtime.Gosched()
	}
	if a, err := l.Acquire(canceled, "bob"); err != nil {
		t.Errorf("bob's request: %v", err)
	} else {
		a.Release()
	}
	for _, a := range admissions {
		a.Release()
	}
	waiting.Wait()
	empty(t, l)
}

func TestAnOwnersScansTakeTurnsWithoutASlot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(4) // of one owner, two requests and one scan are active
		ended := scan(t, acquire(t, l, "ada"))
		order := make(chan int, 3)
		turns := [3]chan struct{}{make(chan struct{}), make(chan struct{}), make(chan struct{})}
		for n := range turns {
			go func() {
				a := acquire(t, l, "ada")
				end := scan(t, a)
				order <- n
				<-turns[n]
				end()
				a.Release()
			}()
			synctest.Wait()
		}
		if len(order) != 0 || l.Admitted() != 1 || l.InFlight() != 4 || l.ScansWaiting() != 3 {
			t.Errorf("%d more scans began, %d wait; %d requests occupy a slot, of %d", len(order), l.ScansWaiting(), l.Admitted(), l.InFlight())
		}
		other := acquire(t, l, "ada") // what waits for a scan does not keep it from being served
		other.Release()
		bob := acquire(t, l, "bob")
		scan(t, bob)()
		bob.Release()

		ended() // and its request still occupies its slot, as while a response is written
		for n := range turns {
			synctest.Wait()
			if got := <-order; got != n || len(order) != 0 {
				t.Errorf("scan %d began, want %d, and %d more", got, n, len(order))
			}
			close(turns[n])
		}
		synctest.Wait()
		if l.InFlight() != 1 || len(l.scans.slots) != 0 {
			t.Errorf("%d requests are in flight, with %d scans", l.InFlight(), len(l.scans.slots))
		}
	})
}

func TestScansOfAllOwnersAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(4) // two scans, six in the queue
		all := make([]*Admission, 9)
		for n := range all {
			all[n] = acquire(t, l, fmt.Sprint("owner ", n))
		}
		first, second := scan(t, all[0]), scan(t, all[1])
		start := time.Now()
		if _, err := all[2].Scan(t.Context()); !errors.Is(err, ErrBusy) || time.Since(start) != queueTimeout {
			t.Errorf("a scan that waited for too long got %v after %v", err, time.Since(start))
		}
		all[2].Release() // does nothing
		results := make(chan error, 6)
		for _, a := range all[3:] {
			go func() {
				ended, err := a.Scan(t.Context())
				if err == nil {
					ended()
				}
				a.Release()
				results <- err
			}()
		}
		synctest.Wait()
		start = time.Now()
		late := acquire(t, l, "late")
		if _, err := late.Scan(t.Context()); !errors.Is(err, ErrBusy) || time.Since(start) != 0 {
			t.Errorf("a scan that found the queue full got %v after %v", err, time.Since(start))
		}
		late.Release()
		if len(l.requests.slots) != 2 { // the two that scan
			t.Errorf("%d slots are taken", len(l.requests.slots))
		}
		first()
		for range 6 {
			if err := <-results; err != nil || time.Since(start) != 0 {
				t.Errorf("a scan in the queue got %v after %v", err, time.Since(start))
			}
		}
		second()
		all[0].Release()
		all[1].Release()
		empty(t, l)
	})
}

func TestAScanIsRefusedByItsDeadlineAndByTheOwnersShare(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(2) // of one owner, one request and one scan are active, and four are in flight
		first := acquire(t, l, "ada")
		ended := scan(t, first)
		first.Release() // PostgreSQL goes on
		late, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		results := make(chan error, 3)
		for range cap(results) {
			go func() {
				_, err := acquire(t, l, "ada").Scan(late)
				results <- err
			}()
		}
		synctest.Wait()
		fifth := acquire(t, l, "ada")
		if _, err := fifth.Scan(late); !errors.Is(err, ErrOwnerBusy) {
			t.Errorf("the fifth scan got %v", err)
		}
		for range cap(results) {
			if err := <-results; !errors.Is(err, ErrOwnerTimeout) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("past its deadline: %v", err)
			}
		}
		if l.InFlight() != 0 || len(l.scans.slots) != 1 {
			t.Errorf("%d requests are in flight, with %d scans", l.InFlight(), len(l.scans.slots))
		}
		ended()
		empty(t, l)
	})
}

// A scan whose turn has come needs a slot again. It may be refused then, and takes no other's turn.
func TestAScanThatFindsNoSlotEndsItsTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(1) // four slots
		first := acquire(t, l, "ada")
		ended := scan(t, first)
		first.Release()
		result := make(chan error, 1)
		go func() {
			_, err := acquire(t, l, "ada").Scan(t.Context())
			result <- err
		}()
		synctest.Wait()
		var others [4]*Admission
		for n := range others {
			others[n] = acquire(t, l, fmt.Sprint("owner ", n))
		}
		ended()
		if err := <-result; !errors.Is(err, ErrBusy) {
			t.Errorf("without a slot: %v", err)
		}
		for _, a := range others {
			a.Release()
		}
		empty(t, l)
	})
}

// acquire admits a request that need not be refused.
func acquire(t *testing.T, l *Limiter, owner string) *Admission {
	t.Helper()
	a, err := l.Acquire(t.Context(), owner)
	if err != nil {
		t.Errorf("%s's request: %v", owner, err)
	}
	return a
}

// scan admits a scan that need not be refused.
func scan(t *testing.T, a *Admission) (ended func()) {
	t.Helper()
	ended, err := a.Scan(t.Context())
	if err != nil {
		t.Errorf("a scan: %v", err)
	}
	return ended
}

// queuedOf returns how many requests are in an owner's queue.
func (c *class) queuedOf(owner string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.owners[owner].queue)
}

func BenchmarkAcquire(b *testing.B) {
	l := New(30)
	b.ReportAllocs()
	for b.Loop() {
		a, err := l.Acquire(b.Context(), "yJ3kQ8vLw2Rt6ZpNc9XbHs5MfGd1TaEu")
		if err != nil {
			b.Fatal(err)
		}
		a.Release()
	}
}
