package postgres

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// sharedReads sends small reads that arrive at the same moment over one connection together, each as a transaction of
// its own. They cost one write, one read and one wake-up of a PostgreSQL process. See docs/adr/0021.
//
// A read is usually sent immediately. It waits for the next group only if, within the last millisecond, as many groups
// as there are cores were sent and none of them has been answered.
type sharedReads struct {
	db *DB

	mu      sync.Mutex
	sent    []*group // not answered yet
	waiting []*sharedRead
	timer   bool // runs as long as a read waits

	groups, grouped int64 // groups of several reads, and the reads in them
}

// group is a set of reads that are sent together.
type group struct {
	reads  []*sharedRead
	since  time.Time
	ctx    context.Context // nil for a single read, which uses its own
	cancel context.CancelFunc
	wanted int // reads that are not answered yet and whose callers still wait
}

// sharedRead is a query of one owner.
type sharedRead struct {
	ctx   context.Context
	owner string
	query query

	group    *group        // the group that it is sent in
	left     bool          // the caller no longer waits
	done     chan struct{} // closed once all fields below are final
	sent     bool
	err      error
	panicked any // by query.read
}

const (
	recent       = time.Millisecond // a group that takes longer is on a slow network, or waits for a lock
	maxGroup     = 8                // the last read's answer arrives after all others
	groupTimeout = 10 * time.Second // PostgreSQL cancels a statement sooner
)

// maxRecent is enough to keep this process busy: writing and reading take longer than PostgreSQL's work.
var maxRecent = runtime.GOMAXPROCS(0)

// errNotAnswered means that PostgreSQL did not execute this read, because another one of its group failed.
var errNotAnswered = errors.New("another read ended the group")

// do sends a query, and reports whether it was sent. The error is the query's own, and so is a panic of its function.
func (s *sharedReads) do(ctx context.Context, owner string, q query) (sent bool, err error) {
	r := &sharedRead{ctx: ctx, owner: owner, query: q, done: make(chan struct{})}
	if !s.join(r) {
		return false, ctx.Err() // without reading r, which another goroutine may be receiving
	}
	if r.panicked == nil && errors.Is(r.err, errNotAnswered) && ctx.Err() == nil {
		r = &sharedRead{ctx: ctx, owner: owner, query: q, done: make(chan struct{})}
		s.mu.Lock()
		g := s.add(r)
		s.mu.Unlock()
		s.send(g)
	}
	switch {
	case r.panicked != nil:
		panic(r.panicked)
	case errors.Is(r.err, errNotAnswered):
		return r.sent, ctx.Err()
	}
	return r.sent, r.err
}

// join sends the read, alone or with others, and returns when its answer was received. It returns false if the read's
// context ended before.
func (s *sharedReads) join(r *sharedRead) bool {
	s.mu.Lock()
	if len(s.waiting) == 0 && s.free() {
		g := s.add(r)
		s.mu.Unlock()
		s.send(g)
		return true
	}
	s.waiting = append(s.waiting, r)
	if !s.timer {
		s.timer = true
		time.AfterFunc(recent, s.tick)
	}
	s.mu.Unlock()
	select {
	case <-r.done:
		return true
	case <-r.ctx.Done():
	}
	return s.leave(r)
}

// leave removes a read whose context ended. It returns true if the read's answer was received nevertheless. The last
// caller that leaves a group cancels it and waits until it has ended: as long as a connection is in use, a request must
// count as being served (see release).
func (s *sharedReads) leave(r *sharedRead) bool {
	s.mu.Lock()
	g := r.group
	if g == nil {
		s.waiting = slices.DeleteFunc(s.waiting, func(other *sharedRead) bool { return other == r })
		s.mu.Unlock()
		return false
	}
	select {
	case <-r.done:
		s.mu.Unlock()
		return true
	default:
	}
	r.left = true
	g.wanted--
	last := g.wanted == 0
	s.mu.Unlock()
	if last {
		g.cancel()
		<-r.done
	}
	return last
}

// free reports whether another group may be sent now. The caller must hold s.mu, as for add, sendNext and finish.
func (s *sharedReads) free() bool {
	n, now := 0, time.Now()
	for _, g := range s.sent {
		if now.Sub(g.since) < recent {
			n++
		}
	}
	return n < maxRecent
}

func (s *sharedReads) add(reads ...*sharedRead) *group {
	g := &group{reads: reads, since: time.Now(), cancel: func() {}, wanted: len(reads)}
	if len(reads) > 1 { // the client of the first read must not cancel the others
		s.groups, s.grouped = s.groups+1, s.grouped+int64(len(reads))
		g.ctx, g.cancel = context.WithTimeout(context.WithoutCancel(reads[0].ctx), groupTimeout)
	}
	for _, r := range reads {
		r.group = g
	}
	s.sent = append(s.sent, g)
	return g
}

// counts returns how many round trips were shared, and by how many reads.
func (s *sharedReads) counts() (groups, reads int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.groups, s.grouped
}

// sendNext sends the read that has waited longest, together with those that have the same statement. A group has only
// one statement, so that no read waits for a lock that only another statement needs.
func (s *sharedReads) sendNext() {
	first := s.waiting[0]
	var reads []*sharedRead
	s.waiting = slices.DeleteFunc(s.waiting, func(r *sharedRead) bool {
		if len(reads) == maxGroup || r.query.sql != first.query.sql {
			return false
		}
		reads = append(reads, r)
		return true
	})
	go s.send(s.add(reads...))
}

// tick sends the waiting reads even if no group is answered.
func (s *sharedReads) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer = len(s.waiting) > 0; !s.timer {
		return
	}
	for len(s.waiting) > 0 && s.free() {
		s.sendNext()
	}
	time.AfterFunc(recent, s.tick)
}

// finish removes a group that was answered, and sends the next one if reads wait.
func (s *sharedReads) finish(g *group) {
	s.sent = slices.DeleteFunc(s.sent, func(other *group) bool { return other == g })
	if len(s.waiting) > 0 {
		s.sendNext()
	}
}

// send sends a group and receives its answers.
func (s *sharedReads) send(g *group) {
	reads, answered := g.reads, 0
	defer func() {
		v := recover() // a group of several reads has a goroutine of its own
		s.mu.Lock()
		s.finish(g)
		s.mu.Unlock()
		for _, r := range reads[answered:] {
			if v != nil {
				r.panicked = fmt.Sprintf("%v\n%s", v, debug.Stack())
			}
			close(r.done)
		}
	}()
	defer g.cancel()
	ctx := g.ctx
	if ctx == nil {
		ctx = reads[0].ctx
	}
	ctx, span := s.db.startGroupSpan(ctx, reads)
	defer func() { endSpan(span, groupError(reads)) }()
	conn, err := s.db.acquire(ctx, s.db.pool)
	if err != nil {
		for _, r := range reads {
			r.err = fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return
	}
	defer release(ctx, conn)
	for _, r := range reads {
		r.sent, r.err = true, errNotAnswered
	}
	s.roundTrip(ctx, conn.Conn(), reads, func() {
		s.mu.Lock()
		if !reads[answered].left {
			g.wanted--
		}
		close(reads[answered].done)
		answered++
		unwanted := g.wanted == 0 && answered < len(reads)
		s.mu.Unlock()
		if unwanted {
			g.cancel()
		}
	})
}

// roundTrip sends the reads in one write, and calls next after each. It ends with the first that PostgreSQL refuses:
// the pool closes the connection then, as the pipeline is not at its end, and the other reads are not answered.
func (s *sharedReads) roundTrip(ctx context.Context, conn *pgx.Conn, reads []*sharedRead, next func()) {
	start := now()
	p, sender, err := s.write(ctx, conn, reads)
	if err != nil {
		s.db.count(start)
		if len(reads) == 1 { // otherwise the failed read is unknown
			reads[0].err = err
		}
		return
	}
	for _, r := range reads {
		wasSent(r.ctx)
	}
	for i, r := range reads {
		read := func(_ query, rows pgx.Rows) error { return r.readRows(rows) }
		more, err := receive(conn.TypeMap(), p, r.owner, []query{r.query}, read, i == len(reads)-1)
		s.db.count(start)
		if r.err = err; err != nil {
			sender.failed(ctx, err)
		}
		if !more {
			if len(reads) > 1 && ctx.Err() != nil {
				r.err = errNotAnswered // the deadline of the group, not of this read
			}
			return
		}
		next()
	}
	_ = p.Close() // nothing is left to do
}

func (s *sharedReads) write(ctx context.Context, conn *pgx.Conn, reads []*sharedRead) (*pgconn.Pipeline, *sender, error) {
	sender, err := s.db.sender(ctx, conn, reads[0].query.sql) // the same for all reads
	if err != nil {
		return nil, nil, err
	}
	p := conn.PgConn().StartPipeline(ctx)
	for _, r := range reads {
		if err := sender.queue(p, r.owner, r.query); err != nil {
			return nil, nil, err
		}
	}
	return p, sender, p.Flush()
}

// readRows calls query.read, in the goroutine that sent the group.
func (r *sharedRead) readRows(rows pgx.Rows) (err error) {
	defer func() {
		if v := recover(); v != nil {
			r.panicked = fmt.Sprintf("%v\n%s", v, debug.Stack())
		}
	}()
	return r.query.read(Rows{rows})
}
