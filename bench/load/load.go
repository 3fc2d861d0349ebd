// Package load sends requests over connections that are kept alive, as fast as answers come or at a fixed rate, and
// says how long they took. It is made to take as little as it can of a machine that it shares with what it measures.
package load

import (
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Target is what to send, and where.
type Target struct {
	Addr     string
	Requests [][]byte // whole ones, each chosen as often as any other
	Status   int      // of every answer; another one ends the run with an error
}

// Span is how long a run takes: at first it warms up and counts nothing, then it measures.
type Span struct {
	Warm, Measure time.Duration
	Begin, End    func() // called around Measure, where they are not nil
}

// Result is what a run measured.
type Result struct {
	Elapsed   time.Duration
	Latencies []time.Duration // in order of size

	// Late is how much later than intended requests of an open run were sent because no thread was there to send them,
	// in order of size. It is part of Latencies.
	Late []time.Duration
}

// Rate is requests per second.
func (r Result) Rate() float64 { return float64(len(r.Latencies)) / r.Elapsed.Seconds() }

// grace is how long answers may take after the end.
const grace = 15 * time.Second

const (
	warming int32 = iota
	measuring
	over
)

// run is what the connections of one run share.
type run struct {
	Target
	phase  atomic.Int32
	began  time.Time     // of measuring; to be read only when phase is no longer warming
	failed chan struct{} // closed at the first error
	once   sync.Once
	err    error
	mu     sync.Mutex
	result Result
}

func (r *run) fail(err error) {
	r.once.Do(func() {
		r.err = err
		close(r.failed)
	})
}

func (r *run) add(latencies []time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Latencies = append(r.result.Latencies, latencies...)
}

// Closed keeps every connection busy: the next request goes out when the answer to the last one is in. It shows how
// much a server can do.
func Closed(t Target, conns int, s Span) (Result, error) {
	return send(t, conns, s, func(r *run, exchange func() error) []time.Duration {
		var latencies []time.Duration
		for last := time.Now(); r.phase.Load() != over; {
			if err := exchange(); err != nil {
				r.fail(err)
				break
			}
			now := time.Now()
			if r.phase.Load() == measuring {
				latencies = append(latencies, now.Sub(last))
			}
			last = now
		}
		return latencies
	}, nil)
}

// Open sends at a fixed rate, whether answers come or not, as users do who know nothing of each other. A request's time
// counts from the moment it was to be sent, so that waiting for a connection is part of it.
func Open(t Target, conns int, rate float64, s Span) (Result, error) {
	queue := make(chan time.Time, int(rate*(s.Warm+s.Measure+grace).Seconds())) // all of them, should no answer come
	pace := func(r *run) {
		defer close(queue)
		interval := time.Duration(float64(time.Second) / rate)
		var late []time.Duration
		for due := time.Now(); r.phase.Load() != over; due = due.Add(interval) {
			sleepUntil(due)
			if r.phase.Load() == measuring {
				late = append(late, time.Since(due))
			}
			select {
			case queue <- due:
			default:
				r.fail(errors.New("more requests than the run was made for"))
				return
			}
		}
		slices.Sort(late)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.result.Late = late
	}
	return send(t, conns, s, func(r *run, exchange func() error) []time.Duration {
		var latencies []time.Duration
		for due := range queue {
			if err := exchange(); err != nil {
				r.fail(err)
				break
			}
			if r.phase.Load() != warming && !due.Before(r.began) && due.Before(r.began.Add(s.Measure)) {
				latencies = append(latencies, time.Since(due))
			}
		}
		return latencies
	}, pace)
}

// send runs one worker for each connection, and beside them until the last one.
func send(t Target, conns int, s Span, worker func(*run, func() error) []time.Duration, beside func(*run)) (Result, error) {
	r := &run{Target: t, failed: make(chan struct{})}
	var group sync.WaitGroup
	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	deadline := time.Now().Add(s.Warm + s.Measure + grace)
	for i := range conns {
		c, err := dial(t.Addr, deadline)
		if err != nil {
			r.fail(err)
			break
		}
		open = append(open, c)
		group.Go(func() {
			choose := rand.New(rand.NewPCG(uint64(i), uint64(len(t.Requests))))
			r.add(worker(r, func() error { return c.exchange(t.Requests[choose.IntN(len(t.Requests))], t.Status) }))
		})
	}
	if beside != nil {
		group.Go(func() { beside(r) })
	}
	r.wait(s.Warm)
	call(s.Begin)
	r.began = time.Now()
	r.phase.Store(measuring)
	r.wait(s.Measure)
	r.phase.Store(over)
	r.result.Elapsed = time.Since(r.began)
	call(s.End)
	group.Wait()
	slices.Sort(r.result.Latencies)
	if r.err == nil && len(r.result.Latencies) == 0 {
		r.err = errors.New("not one answer came in time to be counted")
	}
	return r.result, r.err
}

func (r *run) wait(d time.Duration) {
	select {
	case <-time.After(d):
	case <-r.failed:
	}
}

func call(f func()) {
	if f != nil {
		f()
	}
}

// One sends requests one after the other over one connection, each as often as any other, and gives the time that each
// took: most of them, or as many as fit into d but at least three.
func One(t Target, most int, d time.Duration) ([]time.Duration, error) {
	end := time.Now().Add(d)
	c, err := dial(t.Addr, end.Add(grace))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	latencies := make([]time.Duration, 0, most)
	for began := time.Now(); len(latencies) < min(most, 3) || len(latencies) < most && began.Before(end); {
		if err := c.exchange(t.Requests[len(latencies)%len(t.Requests)], t.Status); err != nil {
			return nil, err
		}
		now := time.Now()
		latencies = append(latencies, now.Sub(began))
		began = now
	}
	return latencies, nil
}
