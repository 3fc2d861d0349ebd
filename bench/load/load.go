// Package load sends HTTP requests over connections that are kept alive and measures how long the answers take: in a
// closed loop, which shows how much a server can do, or at a fixed rate, which shows what its users see. It uses little
// CPU itself, because it shares the machine with the server.
package load

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Target is a server and the requests to send to it.
type Target struct {
	Addr     string
	Requests [][]byte // complete requests, chosen at random
	Status   int      // the expected status of every answer; any other is an error
	Once     bool     // send each request once at most, in their order; it is an error if there are too few
}

// Span is the duration of a run. Requests during the warm-up are not counted.
type Span struct {
	Warm, Measure time.Duration
	Begin, End    func() // called when measuring begins and ends, unless nil
}

// Result is what was measured. Its durations are sorted.
type Result struct {
	Elapsed   time.Duration
	Latencies []time.Duration

	// Late is how much later than scheduled requests were sent because the generator was not on a CPU in time. It is
	// part of Latencies. Closed has none.
	Late []time.Duration
}

// Rate returns the answers per second.
func (r Result) Rate() float64 { return float64(len(r.Latencies)) / r.Elapsed.Seconds() }

// grace is how long answers may take after the end of a run.
const grace = time.Minute

const (
	warming int32 = iota
	measuring
	over
)

// run is the state that the connections of one run share.
type run struct {
	Target
	phase    atomic.Int32
	began    time.Time     // when measuring began; read it only after warming
	next     atomic.Int64  // request, for Once
	answered chan struct{} // gets a value when an answer was counted
	failed   chan struct{} // closed at the first error
	once     sync.Once
	err      error

	mu     sync.Mutex
	result Result
}

func (r *run) fail(err error) {
	r.once.Do(func() {
		r.err = err
		close(r.failed)
	})
}

// Closed sends the next request over a connection when the last one was answered. If no request was answered within the
// Span, it continues until one is.
func Closed(t Target, connections int, s Span) (Result, error) {
	return send(t, connections, s, func(r *run, roundTrip func() error) (latencies []time.Duration) {
		for last := time.Now(); r.phase.Load() != over; {
			if err := roundTrip(); err != nil {
				r.fail(err)
				break
			}
			now := time.Now()
			if r.phase.Load() == measuring {
				latencies = append(latencies, now.Sub(last))
				select {
				case r.answered <- struct{}{}:
				default:
				}
			}
			last = now
		}
		return latencies
	}, nil)
}

// Open sends requests at a fixed rate per second, whether the ones before were answered or not. A request's latency
// counts from when it was scheduled, so that waiting for a free connection is part of it.
func Open(t Target, connections int, rate float64, s Span) (Result, error) {
	scheduled := make(chan time.Time, int(rate*(s.Warm+s.Measure+grace).Seconds()))
	schedule := func(r *run) {
		defer close(scheduled)
		interval := time.Duration(float64(time.Second) / rate)
		var late []time.Duration
		for due := time.Now(); r.phase.Load() != over; due = due.Add(interval) {
			sleepUntil(due)
			if r.phase.Load() == measuring {
				late = append(late, time.Since(due))
			}
			select {
			case scheduled <- due:
			case <-r.failed:
				return
			}
		}
		slices.Sort(late)
		r.result.Late = late
	}
	return send(t, connections, s, func(r *run, roundTrip func() error) (latencies []time.Duration) {
		for due := range scheduled {
			if err := roundTrip(); err != nil {
				r.fail(err)
				break
			}
			if r.phase.Load() != warming && !due.Before(r.began) && due.Before(r.began.Add(s.Measure)) {
				latencies = append(latencies, time.Since(due))
			}
		}
		return latencies
	}, schedule)
}

// send runs a worker for each connection and, unless it is nil, schedule.
func send(
	t Target, connections int, s Span, worker func(*run, func() error) []time.Duration, schedule func(*run),
) (Result, error) {
	r := &run{Target: t, answered: make(chan struct{}, 1), failed: make(chan struct{})}
	var group sync.WaitGroup
	deadline := time.Now().Add(s.Warm + s.Measure + grace)
	for i := range connections {
		c, err := dial(t.Addr, deadline)
		if err != nil {
			r.fail(err)
			break
		}
		defer c.Close()
		group.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), uint64(len(t.Requests))))
			latencies := worker(r, func() error {
				n := random.IntN(len(t.Requests))
				if t.Once {
					if n = int(r.next.Add(1)) - 1; n >= len(t.Requests) {
						return errors.New("there are too few requests to send each of them once")
					}
				}
				return c.roundTrip(t.Requests[n], t.Status)
			})
			r.mu.Lock()
			defer r.mu.Unlock()
			r.result.Latencies = append(r.result.Latencies, latencies...)
		})
	}
	if schedule != nil {
		group.Go(func() { schedule(r) })
	}
	r.wait(s.Warm)
	call(s.Begin)
	r.began = time.Now()
	r.phase.Store(measuring)
	r.wait(s.Measure)
	if schedule == nil {
		select {
		case <-r.answered:
		case <-r.failed:
		}
	}
	r.phase.Store(over)
	r.result.Elapsed = time.Since(r.began)
	call(s.End)
	group.Wait()
	slices.Sort(r.result.Latencies)
	if r.err == nil && len(r.result.Latencies) == 0 {
		r.err = errors.New("no request was answered")
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
