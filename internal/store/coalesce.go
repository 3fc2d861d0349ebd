package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// coalescer sends small reads that come at the same moment down one connection together, each as a transaction of its
// own: one write, one read, and one process of PostgreSQL that wakes up once. With many connections at work these were a
// third of what a read cost. See docs/adr/0021.
//
// Nobody waits for others to come. Who comes is sent at once, unless enough was sent just now and is not back yet: then
// it goes with the next. Where the way to the database is long, that is soon.
type coalescer struct {
	store *Store

	mu      sync.Mutex
	out     []*group // under way
	waiting []*read
	looking bool // a timer runs as long as somebody waits
}

// group is what goes together. Its first read's goroutine sends it, and receives for all.
type group struct {
	reads []*read
	since time.Time
}

// read is a statement of one owner's that takes no longer than others of its kind, and cannot fail for what is in it.
type read struct {
	owner string
	sql   string
	args  []any
	rows  func(pgx.Rows) error

	alone    bool        // not to be sent with others
	lead     chan *group // tells who waits: the group to send, or nil when it was done
	gone     bool        // nobody waits
	sent     bool
	err      error
	panicked any // by rows
}

const (
	justNow      = time.Millisecond // a group that is not back by then is on a long way, or stuck
	largestGroup = 8                // the last one's answer comes after all of the others'
	longestGroup = 10 * time.Second // PostgreSQL ends a statement sooner
)

// fewGroups are enough to keep us busy: to read and write an answer takes longer than PostgreSQL takes to give it.
var fewGroups = runtime.GOMAXPROCS(0)

// errLeftOut is a read that was not answered for the sake of another one in its group.
var errLeftOut = errors.New("another read ended the group")

// errMixedUp would be the unforgivable: an answer that belongs to somebody else.
var errMixedUp = errors.New("PostgreSQL answered for another owner")

// do has the read sent, and reports whether it was. Its error is the read's own, and so is a panic of its rows: where the
// read was left out for another one's sake it is sent again, alone.
func (c *coalescer) do(ctx context.Context, r *read) (sent bool, err error) {
	for {
		g, err := c.join(ctx, r)
		if err != nil {
			return false, err // and no look at r, which another one may be receiving
		}
		if g != nil {
			c.carry(ctx, g)
		}
		switch {
		case r.panicked != nil:
			panic(r.panicked)
		case r.err != errLeftOut:
			return r.sent, r.err
		case ctx.Err() != nil:
			return r.sent, ctx.Err()
		}
		r.alone = true
	}
}

// join returns the group that the caller has to send; nil when another one did it, r included.
func (c *coalescer) join(ctx context.Context, r *read) (*group, error) {
	c.mu.Lock()
	if now := time.Now(); r.alone || len(c.waiting) == 0 && c.few(now) {
		g := &group{[]*read{r}, now}
		c.out = append(c.out, g)
		c.mu.Unlock()
		return g, nil
	}
	r.lead = make(chan *group, 1)
	c.waiting = append(c.waiting, r)
	if !c.looking {
		c.looking = true
		time.AfterFunc(justNow, c.look)
	}
	c.mu.Unlock()
	select {
	case g := <-r.lead:
		return g, nil
	case <-ctx.Done():
		c.leave(r)
		return nil, ctx.Err()
	}
}

// few reports whether another group may be sent at once. The caller has locked c.
func (c *coalescer) few(now time.Time) bool {
	recent := 0
	for _, g := range c.out {
		if now.Sub(g.since) < justNow {
			recent++
		}
	}
	return recent < fewGroups
}

// look keeps those who wait from waiting for groups that do not come back.
func (c *coalescer) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.looking = len(c.waiting) > 0; !c.looking {
		return
	}
	for now := time.Now(); len(c.waiting) > 0 && c.few(now); {
		c.out = append(c.out, c.gather())
	}
	time.AfterFunc(justNow, c.look)
}

// gather makes a group of who waits longest, and of those who wait for the same: where what lists look at is locked, who
// reads one task does not wait for it. The caller has locked c.
func (c *coalescer) gather() *group {
	g := &group{since: time.Now()}
	first := c.waiting[0]
	c.waiting = slices.DeleteFunc(c.waiting, func(r *read) bool {
		if len(g.reads) == largestGroup || r.sql != first.sql {
			return false
		}
		g.reads = append(g.reads, r)
		return true
	})
	g.reads[0].lead <- g
	return g
}

// leave is for who does not wait any longer. Where it was just made the first of a group, the next one is.
func (c *coalescer) leave(r *read) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(c.waiting, r); i >= 0 {
		c.waiting = slices.Delete(c.waiting, i, i+1)
		return
	}
	select {
	case g := <-r.lead:
		if g == nil {
			return
		}
		g.reads = slices.DeleteFunc(g.reads, func(other *read) bool { return other == r || other.gone })
		if len(g.reads) == 0 {
			c.next(g)
		} else {
			g.reads[0].lead <- g
		}
	default: // another one has it sent
		r.gone = true
	}
}

// next puts those who wait in the place of a group that is back. The caller has locked c.
func (c *coalescer) next(back *group) {
	i := slices.Index(c.out, back)
	if len(c.waiting) == 0 {
		c.out = slices.Delete(c.out, i, i+1)
		return
	}
	c.out[i] = c.gather()
}

// carry sends a group and tells each of the others when it was done.
func (c *coalescer) carry(ctx context.Context, g *group) {
	reads := g.reads
	done := 0
	tell := func() {
		if done++; done > 1 { // the first is the caller
			reads[done-1].lead <- nil
		}
	}
	defer func() {
		c.mu.Lock()
		c.next(g)
		c.mu.Unlock()
		for done < len(reads) {
			tell()
		}
	}()
	for _, r := range reads {
		r.err = errLeftOut // until there is an answer
	}
	if len(reads) > 1 {
		// The others do not depend on the first one's client, but that one does not wait for them beyond its time.
		end := time.Now().Add(longestGroup)
		if its, ok := ctx.Deadline(); ok && its.Before(end) {
			end = its
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(context.WithoutCancel(ctx), end)
		defer cancel()
	}
	conn, err := c.store.pool.Acquire(ctx)
	if err != nil {
		for _, r := range reads {
			r.err = fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return
	}
	defer release(ctx, conn)
	for _, r := range reads {
		r.sent = true
	}
	c.exchange(ctx, conn.Conn(), reads, tell)
}

// exchange sends the reads in one write, and calls answered after each. It stops at the first that PostgreSQL refuses: then
// the pool throws the connection away, as the pipeline is not at its end, and the rest are left out.
func (c *coalescer) exchange(ctx context.Context, conn *pgx.Conn, reads []*read, answered func()) {
	p, err := c.send(ctx, conn, reads)
	if err != nil {
		if len(reads) == 1 { // or else whose fault it was is not known
			reads[0].err = err
		}
		return
	}
	for i, r := range reads {
		if err := receive(conn.TypeMap(), p, r, i == len(reads)-1); err != nil {
			if r.err = err; len(reads) > 1 && ctx.Err() != nil {
				r.err = errLeftOut // the time was the group's
			}
			return
		}
		answered()
	}
	_ = p.Close() // has nothing left to do
}

func (c *coalescer) send(ctx context.Context, conn *pgx.Conn, reads []*read) (*pgconn.Pipeline, error) {
	enter, err := prepare(ctx, conn, enterSQL)
	if err != nil {
		return nil, err
	}
	statements := make([]*pgconn.StatementDescription, len(reads))
	for i, r := range reads {
		if statements[i], err = prepare(ctx, conn, r.sql); err != nil {
			return nil, err
		}
	}
	p := conn.PgConn().StartPipeline(ctx)
	var b pgx.ExtendedQueryBuilder
	for i, r := range reads {
		if err := b.Build(conn.TypeMap(), statements[i], r.args); err != nil {
			return nil, err
		}
		p.SendQueryStatement(enter, [][]byte{[]byte(r.owner), []byte(c.store.statementTimeout)}, nil, nil)
		p.SendQueryStatement(statements[i], b.ParamValues, b.ParamFormats, slices.Clone(b.ResultFormats))
		p.SendPipelineSync() // ends the read's transaction
	}
	return p, p.Flush()
}

// prepare makes a statement of the connection's once; from then on it is only looked up.
func prepare(ctx context.Context, conn *pgx.Conn, sql string) (*pgconn.StatementDescription, error) {
	return conn.Prepare(ctx, sql, sql)
}

// receive reads the results of one read. It returns PostgreSQL's error; that of reading the rows is noted as the read's own.
// After an error inside a transaction the library's pipeline may not tell the results apart, and what took too long once
// would do so for each of the others. Only where none follow is the connection kept, unless a statement is stale.
func receive(types *pgtype.Map, p *pgconn.Pipeline, r *read, last bool) error {
	entered, err := result(p)
	if err != nil {
		return err
	}
	if !entered.NextRow() || string(entered.Values()[1]) != r.owner {
		_, err := entered.Close()
		return or(err, errMixedUp)
	}
	if _, err := entered.Close(); err != nil { // it may be cancelled after its row was sent
		return err
	}
	answer, err := result(p)
	if err == nil {
		r.take(pgx.RowsFromResultReader(types, answer))
		_, err = answer.Close()
	}
	if err != nil {
		r.err = err
		var pg *pgconn.PgError
		if !last || !errors.As(err, &pg) || connectionLost(pg) || stale(err) {
			return err
		}
	}
	synced, err := p.GetResults()
	if _, ok := synced.(*pgconn.PipelineSync); !ok {
		return or(err, io.ErrUnexpectedEOF)
	}
	return nil
}

// take reads the rows, in the goroutine of whoever sent the group.
func (r *read) take(rows pgx.Rows) {
	defer func() {
		if v := recover(); v != nil {
			r.panicked = fmt.Sprintf("%v\n%s", v, debug.Stack())
		}
	}()
	r.err = r.rows(rows)
}

func result(p *pgconn.Pipeline) (*pgconn.ResultReader, error) {
	got, err := p.GetResults()
	if reader, ok := got.(*pgconn.ResultReader); ok {
		return reader, nil
	}
	return nil, or(err, io.ErrUnexpectedEOF)
}
