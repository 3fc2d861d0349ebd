package server

import (
	"context"
	"errors"
	"sync"
)

// places bounds the requests in flight: those that may use the database, or write an answer of many tasks. What is
// beyond that is refused at once, as it would only make everybody wait. No owner has more than a share, so that one of
// them starves nobody. Probes and whoever was not let in need no place.
type places struct {
	most  int // in flight
	share int // in flight, of one owner
	turns int // at work, of one owner: the rest of the owner's requests wait for their turn

	mu     sync.Mutex
	taken  int
	owners map[string]held // only those who hold a place
}

// held is what an owner holds.
type held struct {
	taken   int
	waiting []chan struct{} // for a turn, the first one first
}

// newPlaces makes four places for each connection: enough that none of them is ever idle, and few enough that who has
// a place is answered in time.
func newPlaces(connections int) *places {
	return &places{
		most: 4 * connections, share: 2 * connections, turns: max(1, connections/2), owners: map[string]held{},
	}
}

// take takes a place for a request of the owner's, and waits for its turn. Who took one gives it back.
func (p *places) take(ctx context.Context, owner string) error {
	p.mu.Lock()
	h := p.owners[owner]
	switch {
	case h.taken >= p.share:
		p.mu.Unlock()
		return &problem{kind: overloaded, detail: "Too many of your requests are being worked on at the moment. Wait for some of their answers, then try again."}
	case p.taken >= p.most:
		p.mu.Unlock()
		return &problem{kind: overloaded, detail: "Too many requests are being worked on at the moment. Try again in a moment."}
	}
	var turn chan struct{}
	if h.taken-len(h.waiting) >= p.turns {
		turn = make(chan struct{})
		h.waiting = append(h.waiting, turn)
	}
	h.taken++
	p.taken++
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

// give gives a place back, and its turn to who waits longest.
func (p *places) give(owner string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.owners[owner]
	if len(h.waiting) > 0 {
		close(h.waiting[0])
		h.waiting = h.waiting[1:]
	}
	p.release(owner, h)
}

// leave is give for who does not wait any longer. The turn may have come in the meantime: then the next one has it.
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
	p.give(owner)
}

// release counts a place as free. The caller has locked p.
func (p *places) release(owner string, h held) {
	p.taken--
	if h.taken--; h.taken > 0 {
		p.owners[owner] = h
	} else {
		delete(p.owners, owner)
	}
}
