// Package limit controls admission: how many requests may be in flight, all together and of one owner, and how many each
// owner may send.
package limit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Errors of Acquire and Scan. Nothing was done for a request that fails with one.
var (
	ErrBusy         = errors.New("too many requests are in flight")
	ErrOwnerBusy    = errors.New("too many requests of the owner's are in flight")
	ErrOwnerTimeout = errors.New("the owner's other requests took all of the time")
)

// Limiter bounds the requests in flight, and of these the scans: requests that read as many rows as their owner has. A
// request that cannot be admitted at once is queued for a moment and then refused, since more of them in flight would
// only make all of them slower. No owner has more than a share of what may be in flight, so that the others can always
// be served. It is safe for concurrent use.
type Limiter struct {
	requests class
	scans    class
	waiting  atomic.Int64 // scans that wait, which occupy no slot of requests
}

// class is a class of requests that are bounded together.
type class struct {
	slots  chan struct{} // holds a value for each request that was admitted
	queued atomic.Int64  // requests that wait for a slot

	ownerInFlight int // most requests of one owner, admitted or waiting
	ownerActive   int // of these, the most that are admitted or wait for a slot; the others are in the owner's queue

	waited Waited // nil: not called

	mu     sync.Mutex
	owners map[string]ownerState // the owners that have a request in flight
}

type ownerState struct {
	inFlight int
	queue    []chan struct{} // closed to activate the request; first in, first out
}

const (
	slotsPerConnection = 4           // enough that no connection is ever idle, few enough that all are answered in time
	queuePerSlot       = 3           // how many may wait for each slot
	queueTimeout       = time.Second // long enough to work off a burst, or for a disk to recover

	// A scan keeps a core of the database busy. With the default of 30 connections an owner has one at a time.
	connectionsPerScan = 16
)

// New returns a Limiter for a database pool with that many connections.
func New(connections int) *Limiter {
	return &Limiter{
		requests: class{
			slots:         make(chan struct{}, slotsPerConnection*connections),
			ownerInFlight: 2 * connections,
			ownerActive:   max(1, connections/2),
			owners:        map[string]ownerState{},
		},
		scans: class{
			slots:         make(chan struct{}, max(1, connections/2)),
			ownerInFlight: 2 * connections,
			ownerActive:   max(1, connections/connectionsPerScan),
			owners:        map[string]ownerState{},
		},
	}
}

// Admission is a request that was admitted. Its methods must not be called concurrently.
type Admission struct {
	limiter *Limiter
	owner   string
	slot    bool // it occupies a slot
}

// Queues in which a request waits.
const (
	QueueOwner   = "owner"   // the owner's: too many of the owner's requests are active
	QueueService = "service" // that of all owners: too many requests are
)

// Waited is called after a request has passed a queue or was refused, with the error of that. Most have not waited.
type Waited func(ctx context.Context, queue string, start time.Time, err error)

// Observe sets what is called for requests and for scans. It must be called before the Limiter is used.
func (l *Limiter) Observe(request, scan Waited) { l.requests.waited, l.scans.waited = request, scan }

// Acquire admits a request of the owner's, or waits until it can be. After a nil error, Release must be called. It
// returns ErrOwnerBusy when the owner has its share in flight, ErrOwnerTimeout when the context's deadline passed in the
// owner's queue, ErrBusy when the service has too much in flight, and the context's error when it was canceled.
func (l *Limiter) Acquire(ctx context.Context, owner string) (*Admission, error) {
	if err := l.requests.acquire(ctx, owner); err != nil {
		return nil, err
	}
	return &Admission{limiter: l, owner: owner, slot: true}, nil
}

// Release ends the request. A second call does nothing.
func (a *Admission) Release() {
	if a.slot {
		a.slot = false
		a.limiter.requests.release(a.owner)
	}
}

// Scan admits the request to the scans, or waits until it can be. While it waits it occupies no slot, so that the
// owner's other requests are served meanwhile. After a nil error, ended must be called when PostgreSQL has finished with
// the statement, which may be after Release. Scan returns the errors of Acquire.
func (a *Admission) Scan(ctx context.Context) (ended func(), err error) {
	l := a.limiter
	ended = func() { l.scans.release(a.owner) }
	if l.scans.tryAcquire(a.owner) {
		return ended, nil
	}
	a.Release()
	l.waiting.Add(1)
	defer l.waiting.Add(-1)
	if err := l.scans.acquire(ctx, a.owner); err != nil {
		return nil, err
	}
	if err := l.requests.acquire(ctx, a.owner); err != nil {
		ended()
		return nil, err
	}
	a.slot = true
	return ended, nil
}

// InFlight counts the requests that were admitted or wait to be.
func (l *Limiter) InFlight() int { return l.requests.inFlight() + int(l.waiting.Load()) }

// ScansWaiting counts the scans that wait to be admitted.
func (l *Limiter) ScansWaiting() int { return int(l.waiting.Load()) }

// Admitted counts the requests that were admitted.
func (l *Limiter) Admitted() int { return len(l.requests.slots) }

// acquire admits a request of the owner's, or waits until it can be; see Limiter.Acquire.
func (c *class) acquire(ctx context.Context, owner string) error {
	start := time.Now()
	err := c.activate(ctx, owner)
	c.report(ctx, QueueOwner, start, err)
	if err != nil {
		return err
	}
	select {
	case c.slots <- struct{}{}:
		return nil
	default:
	}
	start = time.Now()
	err = c.waitForSlot(ctx)
	c.report(ctx, QueueService, start, err)
	if err != nil {
		c.deactivate(owner)
	}
	return err
}

func (c *class) report(ctx context.Context, queue string, start time.Time, err error) {
	if c.waited != nil {
		c.waited(ctx, queue, start, err)
	}
}

// tryAcquire admits a request of the owner's if it need not wait, and reports whether it did.
func (c *class) tryAcquire(owner string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.owners[owner]
	if o.inFlight >= c.ownerActive {
		return false
	}
	select {
	case c.slots <- struct{}{}:
		o.inFlight++
		c.owners[owner] = o
		return true
	default:
		return false
	}
}

// release ends a request that was admitted.
func (c *class) release(owner string) {
	<-c.slots
	c.deactivate(owner)
}

func (c *class) inFlight() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range c.owners {
		n += o.inFlight
	}
	return n
}

func (c *class) waitForSlot(ctx context.Context) error {
	defer c.queued.Add(-1)
	if c.queued.Add(1) > int64(queuePerSlot*cap(c.slots)) {
		return ErrBusy
	}
	timeout := time.NewTimer(queueTimeout)
	defer timeout.Stop()
	select {
	case c.slots <- struct{}{}:
		return nil
	case <-timeout.C:
		return ErrBusy
	case <-ctx.Done():
		return ctx.Err()
	}
}

// activate counts a request of the owner's, and waits in the owner's queue where too many are active.
func (c *class) activate(ctx context.Context, owner string) error {
	c.mu.Lock()
	o := c.owners[owner]
	if o.inFlight >= c.ownerInFlight {
		c.mu.Unlock()
		return ErrOwnerBusy
	}
	var activated chan struct{}
	if o.inFlight-len(o.queue) >= c.ownerActive {
		activated = make(chan struct{})
		o.queue = append(o.queue, activated)
	}
	o.inFlight++
	c.owners[owner] = o
	c.mu.Unlock()
	if activated == nil {
		return nil
	}
	select {
	case <-activated:
		return nil
	case <-ctx.Done():
		c.leaveQueue(owner, activated)
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return fmt.Errorf("%w: %w", ErrOwnerTimeout, ctx.Err())
		}
		return ctx.Err()
	}
}

// deactivate ends an active request, and activates the first one in the owner's queue.
func (c *class) deactivate(owner string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.owners[owner]
	if len(o.queue) > 0 {
		close(o.queue[0])
		o.queue = o.queue[1:]
	}
	c.end(owner, o)
}

// leaveQueue ends a request whose context ended in the owner's queue.
func (c *class) leaveQueue(owner string, activated chan struct{}) {
	c.mu.Lock()
	o := c.owners[owner]
	for i, other := range o.queue {
		if other == activated {
			o.queue = append(o.queue[:i], o.queue[i+1:]...)
			c.end(owner, o)
			c.mu.Unlock()
			return
		}
	}
	c.mu.Unlock()
	c.deactivate(owner) // it was activated in the meantime: the next one is now
}

// end counts one request less in flight. The caller has locked c.mu.
func (c *class) end(owner string, o ownerState) {
	if o.inFlight--; o.inFlight > 0 {
		c.owners[owner] = o
	} else {
		delete(c.owners, owner)
	}
}
