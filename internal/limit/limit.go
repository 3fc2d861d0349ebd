// Package limit controls admission: how many requests may be in flight, all together and of one owner.
package limit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Errors of Acquire. Nothing was done for a request that fails with one.
var (
	ErrBusy         = errors.New("too many requests are in flight")
	ErrOwnerBusy    = errors.New("too many requests of the owner's are in flight")
	ErrOwnerTimeout = errors.New("the owner's other requests took all of the time")
)

// Limiter bounds the requests in flight. A request that cannot be admitted at once is queued for a moment and then
// refused, since more of them in flight would only make all of them slower. No owner has more than a share of what may
// be in flight, so that the others can always be served. It is safe for concurrent use.
type Limiter struct {
	slots  chan struct{} // holds a value for each request that was admitted
	queued atomic.Int64  // requests that wait for a slot

	ownerInFlight int // most requests of one owner, admitted or waiting
	ownerActive   int // of these, the most that are admitted or wait for a slot; the others are in the owner's queue

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
)

// New returns a Limiter for a database pool with that many connections.
func New(connections int) *Limiter {
	return &Limiter{
		slots:         make(chan struct{}, slotsPerConnection*connections),
		ownerInFlight: 2 * connections,
		ownerActive:   max(1, connections/2),
		owners:        map[string]ownerState{},
	}
}

// Acquire admits a request of the owner's, or waits until it can be. After a nil error, Release must be called. It
// returns ErrOwnerBusy when the owner has its share in flight, ErrOwnerTimeout when the context's deadline passed in the
// owner's queue, ErrBusy when the service has too much in flight, and the context's error when it was canceled.
func (l *Limiter) Acquire(ctx context.Context, owner string) error {
	if err := l.activate(ctx, owner); err != nil {
		return err
	}
	select {
	case l.slots <- struct{}{}:
		return nil
	default:
	}
	err := l.waitForSlot(ctx)
	if err != nil {
		l.deactivate(owner)
	}
	return err
}

// Release ends a request that Acquire admitted.
func (l *Limiter) Release(owner string) {
	<-l.slots
	l.deactivate(owner)
}

// InFlight counts the requests that were admitted or wait to be.
func (l *Limiter) InFlight() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range l.owners {
		n += o.inFlight
	}
	return n
}

func (l *Limiter) waitForSlot(ctx context.Context) error {
	defer l.queued.Add(-1)
	if l.queued.Add(1) > int64(queuePerSlot*cap(l.slots)) {
		return ErrBusy
	}
	timeout := time.NewTimer(queueTimeout)
	defer timeout.Stop()
	select {
	case l.slots <- struct{}{}:
		return nil
	case <-timeout.C:
		return ErrBusy
	case <-ctx.Done():
		return ctx.Err()
	}
}

// activate counts a request of the owner's, and waits in the owner's queue where too many are active.
func (l *Limiter) activate(ctx context.Context, owner string) error {
	l.mu.Lock()
	o := l.owners[owner]
	if o.inFlight >= l.ownerInFlight {
		l.mu.Unlock()
		return ErrOwnerBusy
	}
	var activated chan struct{}
	if o.inFlight-len(o.queue) >= l.ownerActive {
		activated = make(chan struct{})
		o.queue = append(o.queue, activated)
	}
	o.inFlight++
	l.owners[owner] = o
	l.mu.Unlock()
	if activated == nil {
		return nil
	}
	select {
	case <-activated:
		return nil
	case <-ctx.Done():
		l.leaveQueue(owner, activated)
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return fmt.Errorf("%w: %w", ErrOwnerTimeout, ctx.Err())
		}
		return ctx.Err()
	}
}

// deactivate ends an active request, and activates the first one in the owner's queue.
func (l *Limiter) deactivate(owner string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.owners[owner]
	if len(o.queue) > 0 {
		close(o.queue[0])
		o.queue = o.queue[1:]
	}
	l.end(owner, o)
}

// leaveQueue ends a request whose context ended in the owner's queue.
func (l *Limiter) leaveQueue(owner string, activated chan struct{}) {
	l.mu.Lock()
	o := l.owners[owner]
	for i, other := range o.queue {
		if other == activated {
			o.queue = append(o.queue[:i], o.queue[i+1:]...)
			l.end(owner, o)
			l.mu.Unlock()
			return
		}
	}
	l.mu.Unlock()
	l.deactivate(owner) // it was activated in the meantime: the next one is now
}

// end counts one request less in flight. The caller has locked l.mu.
func (l *Limiter) end(owner string, o ownerState) {
	if o.inFlight--; o.inFlight > 0 {
		l.owners[owner] = o
	} else {
		delete(l.owners, owner)
	}
}
