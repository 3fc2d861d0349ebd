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
	if len(l.slots) != 0 || len(l.owners) != 0 || l.queued.Load() != 0 || l.InFlight() != 0 {
		t.Errorf("%d slots are taken, by %v, and %d requests are queued", len(l.slots), l.owners, l.queued.Load())
	}
}

func refusal(err error) bool {
	return errors.Is(err, ErrBusy) || errors.Is(err, ErrOwnerBusy) || errors.Is(err, ErrOwnerTimeout)
}

// Three owners send random requests, a third of which are canceled. The limits hold at every moment, and in the end
// everything has been released.
func TestNeitherOneOwnerNorAllTogetherExceedTheLimits(t *testing.T) {
	t.Parallel()
	l := New(4)
	owners := []string{"ada", "bob", "cyd"}
	var active [3]atomic.Int64
	var admitted atomic.Int64
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
				if err := l.Acquire(ctx, owners[i]); err == nil {
					if n := active[i].Add(1); n > int64(l.ownerActive) {
						t.Errorf("%d requests of %s's are active", n, owners[i])
					}
					if n := admitted.Add(1); n > int64(cap(l.slots)) {
						t.Errorf("%d requests were admitted", n)
					}
					admitted.Add(-1)
					active[i].Add(-1)
					l.Release(owners[i])
				} else if !errors.Is(err, context.Canceled) && !refusal(err) {
					t.Error(err)
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
	if err := l.Acquire(t.Context(), "ada"); err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		go func() {
			if err := l.Acquire(t.Context(), "ada"); err != nil {
				t.Error(err)
			}
			order <- n
		}()
		for queued := 0; queued <= n; { // until it waits
			if len(order) > 0 {
				t.Fatal("two requests of ada's are active")
			}
			l.mu.Lock()
			queued = len(l.owners["ada"].queue)
			l.mu.Unlock()
		}
	}
	ended, end := context.WithCancel(t.Context())
	end() // otherwise it would wait
	if err := l.Acquire(ended, "ada"); !errors.Is(err, ErrOwnerBusy) {
		t.Errorf("ada's fifth request got %v", err)
	}
	for n := range 3 {
		l.Release("ada")
		if got := <-order; got != n {
			t.Errorf("request %d was activated, want %d", got, n)
		}
	}
	l.Release("ada")
	empty(t, l)
}

// These tests run on the clock of synctest and do not depend on the machine's speed.
func TestARequestWaitsForASlotAndIsRefusedAfterTheQueueTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(1) // four slots, twelve requests in the queue
		owner := func(n int) string { return fmt.Sprint("owner ", n) }
		for n := range 4 {
			if err := l.Acquire(t.Context(), owner(n)); err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now()
		if err := l.Acquire(t.Context(), "late"); !errors.Is(err, ErrBusy) || time.Since(start) != queueTimeout {
			t.Errorf("a request that waited for too long got %v after %v", err, time.Since(start))
		}
		results := make(chan error, 12)
		for n := range 12 {
			go func() { results <- l.Acquire(t.Context(), owner(4+n)) }()
		}
		synctest.Wait()
		start = time.Now()
		if err := l.Acquire(t.Context(), "much too late"); !errors.Is(err, ErrBusy) || time.Since(start) != 0 {
			t.Errorf("a request that found the queue full got %v after %v", err, time.Since(start))
		}
		l.Release(owner(0))
		if err := <-results; err != nil || time.Since(start) != 0 {
			t.Errorf("a request in the queue got %v after %v", err, time.Since(start))
		}
		for range 11 {
			if err := <-results; !errors.Is(err, ErrBusy) {
				t.Errorf("a request that waited for too long got %v", err)
			}
		}
		if len(l.slots) != 4 || len(l.owners) != 4 || l.queued.Load() != 0 {
			t.Errorf("%d slots are taken, by %v, and %d requests are queued", len(l.slots), l.owners, l.queued.Load())
		}
	})
}

func TestADeadlineInTheOwnersQueueIsErrOwnerTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(1)
		if err := l.Acquire(t.Context(), "ada"); err != nil {
			t.Fatal(err)
		}
		late, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := l.Acquire(late, "ada"); !errors.Is(err, ErrOwnerTimeout) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("past its deadline: %v", err)
		}
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		if err := l.Acquire(canceled, "ada"); !errors.Is(err, context.Canceled) || refusal(err) {
			t.Errorf("canceled: %v", err)
		}
		l.Release("ada")
		empty(t, l)
	})
}

func TestOneOwnerLeavesSlotsToTheOthers(t *testing.T) {
	t.Parallel()
	l := New(6)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for n := range 3 { // half of the connections
		if err := l.Acquire(canceled, "ada"); err != nil {
			t.Errorf("request %d: %v", n, err)
		}
	}
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if err := l.Acquire(t.Context(), "ada"); err != nil {
			t.Error(err)
		}
		l.Release("ada")
	})
	for l.InFlight() < 4 {
		runtime.Gosched()
	}
	if err := l.Acquire(canceled, "bob"); err != nil {
		t.Errorf("bob's request: %v", err)
	}
	l.Release("bob")
	for range 3 {
		l.Release("ada")
	}
	waiting.Wait()
	empty(t, l)
}

func BenchmarkAcquire(b *testing.B) {
	l := New(30)
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Acquire(b.Context(), "yJ3kQ8vLw2Rt6ZpNc9XbHs5MfGd1TaEu"); err != nil {
			b.Fatal(err)
		}
		l.Release("yJ3kQ8vLw2Rt6ZpNc9XbHs5MfGd1TaEu")
	}
}
