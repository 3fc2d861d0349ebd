package server

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// Whatever happens, no owner has more than its share, no more are at work than may be, and in the end all is free.
func TestNobodyHasMorePlacesThanItsShare(t *testing.T) {
	t.Parallel()
	p := newPlaces(4)
	owners := []string{"ada", "bob", "cyd"}
	var working [3]atomic.Int64
	var inFlight atomic.Int64
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
				if err := p.take(ctx, owners[i]); err == nil {
					if n := working[i].Add(1); n > int64(p.turns) {
						t.Errorf("%d of %s's are at work", n, owners[i])
					}
					if n := inFlight.Add(1); n > int64(cap(p.taken)) {
						t.Errorf("%d are in flight", n)
					}
					inFlight.Add(-1)
					working[i].Add(-1)
					p.give(owners[i])
				} else if known := (*problem)(nil); !errors.Is(err, context.Canceled) && !errors.As(err, &known) {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	all.Wait()
	if len(p.taken) != 0 || len(p.owners) != 0 || p.line.Load() != 0 {
		t.Errorf("%d places are taken, by %v, and %d wait", len(p.taken), p.owners, p.line.Load())
	}
}

func TestTurnsComeInOrder(t *testing.T) {
	t.Parallel()
	p := newPlaces(2) // one turn, four places of one owner
	order := make(chan int, 3)
	if err := p.take(t.Context(), "ada"); err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		go func() {
			if err := p.take(t.Context(), "ada"); err != nil {
				t.Error(err)
			}
			order <- n
		}()
		for waiting := 0; waiting <= n; { // until it waits
			if len(order) > 0 {
				t.Fatal("two of ada's are at work")
			}
			p.mu.Lock()
			waiting = len(p.owners["ada"].waiting)
			p.mu.Unlock()
		}
	}
	ended, end := context.WithCancel(t.Context())
	end() // or it would wait
	if known := (*problem)(nil); !errors.As(p.take(ended, "ada"), &known) {
		t.Error("ada may have a fifth place")
	}
	for n := range 3 {
		p.give("ada")
		if got := <-order; got != n {
			t.Errorf("the turn is %d's, want %d's", got, n)
		}
	}
	p.give("ada")
	if len(p.taken) != 0 || len(p.owners) != 0 || p.line.Load() != 0 {
		t.Errorf("%d places are taken, by %v, and %d wait", len(p.taken), p.owners, p.line.Load())
	}
}

// A place that is given back goes to who waits in line. Who waits for too long, or finds the line full, is refused.
func TestWhoFindsNoPlaceWaitsInLine(t *testing.T) {
	t.Parallel()
	p := newPlaces(1) // four places, two of one owner, twelve in line
	owner := func(n int) string { return fmt.Sprint("owner ", n) }
	for n := range 4 {
		if err := p.take(t.Context(), owner(n)); err != nil {
			t.Fatal(err)
		}
	}
	var refused *problem
	if err := p.take(t.Context(), "late"); !errors.As(err, &refused) || refused.kind != overloaded {
		t.Errorf("who waited for too long: %v", err)
	}
	results := make(chan error, 12)
	for n := range 12 {
		go func() { results <- p.take(t.Context(), owner(4+n)) }()
	}
	for p.line.Load() < 12 && len(results) == 0 {
		runtime.Gosched()
	}
	if err := p.take(t.Context(), "much too late"); !errors.As(err, &refused) || refused.kind != overloaded {
		t.Errorf("who found the line full: %v", err)
	}
	p.give(owner(0))
	if err := <-results; err != nil {
		t.Errorf("who waited in line: %v", err)
	}
	for range 11 {
		if err := <-results; !errors.As(err, &refused) || refused.kind != overloaded {
			t.Errorf("who waited for too long: %v", err)
		}
	}
	if len(p.taken) != 4 || len(p.owners) != 4 || p.line.Load() != 0 {
		t.Errorf("%d places are taken, by %v, and %d wait", len(p.taken), p.owners, p.line.Load())
	}
}

func BenchmarkPlace(b *testing.B) {
	p := newPlaces(30)
	b.ReportAllocs()
	for b.Loop() {
		if err := p.take(b.Context(), "yJ3kQ8vLw2Rt6ZpNc9XbHs5MfGd1TaEu"); err != nil {
			b.Fatal(err)
		}
		p.give("yJ3kQ8vLw2Rt6ZpNc9XbHs5MfGd1TaEu")
	}
}
