package server

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// places bounds the requests in flight: those that may use the database, or write an answer of many tasks. What finds no
// place waits in line for a moment and is then refused, as more of them would only make everybody wait. No owner has
// more than a share, so that one of them starves nobody. Probes and whoever was not let in need no place.
type places struct {
	taken chan struct{} // a value for each place that is taken
	line  atomic.Int64  // who waits for a place
	share int           // in flight, of one owner
	turns int           // at work, of one owner: the rest of the owner's requests wait for their turn

	mu     sync.Mutex
	owners map[string]held // only those who have something in flight
}

// held is what an owner has in flight.
type held struct {
	taken   int
	waiting []chan struct{} // for a turn, the first one first
}

const (
	lineForPlace = 3           // how many may wait in line for each place
	patience     = time.Second // of who does: a burst is worked off and a stall of the disk waited for, all else told soon
)

// newPlaces makes four places for each connection: enough that none of them is ever idle, and few enough that who has
// a place is answered in time.
func newPlaces(connections int) *places {
	return &places{
		taken: make(chan struct{}, 4*connections), share: 2 * connections, turns: max(1, connections/2), owners: map[string]held{},
	}
}

// take takes a place for a request of the owner's, and waits for its turn. Who took one gives it back.
func (p *places) take(ctx context.Context, owner string) error {
	if err := p.takeTurn(ctx, owner); err != nil {
		return err
	}
	select {
	case p.taken <- struct{}{}:
		return nil
	default:
	}
	err := p.waitInLine(ctx)
	if err != nil {
		p.giveTurn(owner)
	}
	return err
}

func (p *places) waitInLine(ctx context.Context) error {
	busy := &problem{kind: overloaded, detail: "Too many requests are being worked on at the moment. Try again in a moment."}
	defer p.line.Add(-1)
	if p.line.Add(1) > int64(lineForPlace*cap(p.taken)) {
		return busy
	}
	enough := time.NewTimer(patience)
	defer enough.Stop()
	select {
	case p.taken <- struct{}{}:
		return nil
	case <-enough.C:
		return busy
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *places) takeTurn(ctx context.Context, owner string) error {
	p.mu.Lock()
	h := p.owners[owner]
	if h.taken >= p.share {
		p.mu.Unlock()
		return &problem{kind: overloaded, detail: "Too many of your requests are being worked on at the moment. Wait for some of their answers, then try again."}
	}
	var turn chan struct{}
	if h.taken-len(h.waiting) >= p.turns {
		turn = make(chan struct{})
		h.waiting = append(h.waiting, turn)
	}
	h.taken++
	p.owners[owner] = h
	p.mu.Unlock()
	if turn == nil {
		return nil
	}
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
		p.leave(owner, turn)
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return &problem{kind: overloaded, detail: "Your other requests took all of the time. Wait for their answers, then try again.", cause: ctx.Err()}
		}
		return ctx.Err()
	}
}

// give gives a place back.
func (p *places) give(owner string) {
	<-p.taken
	p.giveTurn(owner)
}

// giveTurn gives a turn to who waits longest for it.
func (p *places) giveTurn(owner string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.owners[owner]
	if len(h.waiting) > 0 {
		close(h.waiting[0])
		h.waiting = h.waiting[1:]
	}
	p.release(owner, h)
}

// leave is giveTurn for who does not wait any longer. The turn may have come in the meantime: then the next one has it.
func (p *places) leave(owner string, turn chan struct{}) {
	p.mu.Lock()
	h := p.owners[owner]
	for i, other := range h.waiting {
		if other == turn {
			h.waiting = append(h.waiting[:i], h.waiting[i+1:]...)
			p.release(owner, h)
			p.mu.Unlock()
			return
		}
	}
	p.mu.Unlock()
	p.giveTurn(owner)
}

// release counts one less in flight. The caller has locked p.
func (p *places) release(owner string, h held) {
	if h.taken--; h.taken > 0 {
		p.owners[owner] = h
	} else {
		delete(p.owners, owner)
	}
}
