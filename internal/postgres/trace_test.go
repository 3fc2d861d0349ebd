package postgres

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// recorder returns a tracer whose spans are kept.
func recorder() (*tracetest.SpanRecorder, trace.Tracer) {
	spans := tracetest.NewSpanRecorder()
	return spans, sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("")
}

// named returns the spans with that name that have ended.
func named(spans *tracetest.SpanRecorder, name string) (all []sdktrace.ReadOnlySpan) {
	for _, s := range spans.Ended() {
		if s.Name() == name {
			all = append(all, s)
		}
	}
	return all
}

func attributeOf(s sdktrace.ReadOnlySpan, key attribute.Key) string {
	for _, a := range s.Attributes() {
		if a.Key == key {
			return a.Value.String()
		}
	}
	return ""
}

// linked reports whether a span has a link to another one.
func linked(s sdktrace.ReadOnlySpan, to trace.SpanContext) bool {
	return slices.ContainsFunc(s.Links(), func(l sdktrace.Link) bool { return l.SpanContext.Equal(to) })
}

func TestASharedRoundTripIsInTheTraceOfEachOfItsReads(t *testing.T) {
	t.Parallel()
	spans, tracer := recorder()
	db := open(t, Config{URL: withTasks(t), Tracer: tracer})
	calls := []func() error{func() error { _, err := share(t.Context(), db, "ada", ownTasksSQL); return err }} // it is not traced
	for _, owner := range []string{"ada", "bob"} {
		calls = append(calls, func() error {
			ctx, span := tracer.Start(t.Context(), owner)
			defer span.End()
			_, err := share(ctx, db, owner, ownTasksSQL)
			return err
		})
	}
	if err := errors.Join(together(t, db, calls...)...); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return len(named(spans, "shared round trip")) > 0 }) // it ends after its reads
	groups, reads := named(spans, "shared round trip"), named(spans, "statement")
	if len(groups) != 1 || len(reads) != 2 {
		t.Fatalf("%d round trips of %d reads", len(groups), len(reads))
	}
	group := groups[0]
	if n := attributeOf(group, "db.operation.batch.size"); n != "3" || len(group.Links()) != 2 {
		t.Errorf("the round trip has %s reads and %d links", n, len(group.Links()))
	}
	children := 0
	for _, read := range reads {
		if !linked(read, group.SpanContext()) || !linked(group, read.SpanContext()) {
			t.Errorf("the links of the read are %v, those of the round trip %v", read.Links(), group.Links())
		}
		if events := read.Events(); len(events) != 1 || events[0].Name != "sent" {
			t.Errorf("the events of the read are %v", events)
		}
		if group.Parent().Equal(read.SpanContext()) {
			children++
		}
	}
	if children != 1 || reads[0].SpanContext().TraceID() == reads[1].SpanContext().TraceID() {
		t.Errorf("the round trip is a child of %d reads", children)
	}
}

func TestATraceShowsTheWaitForAConnection(t *testing.T) {
	t.Parallel()
	spans, tracer := recorder()
	db := open(t, Config{URL: withTasks(t), MaxConns: 1, Tracer: tracer})
	only, err := db.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer only.Release()
	ctx, span := tracer.Start(t.Context(), "request")
	defer span.End()
	ctx, cancel := context.WithTimeout(ctx, 10*noticeable)
	defer cancel()
	for n, call := range []func() error{
		func() error { _, err := send(ctx, db, ReadOnly, "ada", ownTasksSQL); return err },
		func() error { _, err := share(ctx, db, "ada", ownTasksSQL); return err },
		func() error {
			return db.Scan(ctx, "ada", func(tx *Tx) { tx.Queue(Statement{ownTasksSQL}, nil) }, func() {})
		},
	} {
		if err := call(); !errors.Is(err, ErrUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%d: the error is %v", n, err)
		}
		waits, transactions := named(spans, "wait for a connection"), named(spans, "statement")
		if len(waits) != n+1 || len(transactions) != n+1 || !waits[n].Parent().Equal(transactions[n].SpanContext()) {
			t.Fatalf("%d: %d waits in %d transactions", n, len(waits), len(transactions))
		}
		if attributeOf(waits[n], "error.type") != "timeout" || len(transactions[n].Events()) != 0 {
			t.Errorf("%d: %v, and the events %v", n, waits[n].Attributes(), transactions[n].Events())
		}
	}
	wait := named(spans, "wait for a connection")[0]
	if wait.EndTime().Sub(wait.StartTime()) < noticeable {
		t.Errorf("it waited from %v to %v", wait.StartTime(), wait.EndTime())
	}
	if s := db.Stat(); s.Transactions != 0 || s.Transacting != 0 {
		t.Errorf("%d transactions were sent, which took %v", s.Transactions, s.Transacting)
	}
}

// A trace and the metrics tell how long PostgreSQL took.
func TestEveryTransactionTellsWhenItWasSentAndIsCounted(t *testing.T) {
	t.Parallel()
	spans, tracer := recorder()
	db := open(t, Config{URL: withTasks(t), Tracer: tracer})
	ctx, span := tracer.Start(t.Context(), "request")
	defer span.End()
	const slowSQL = "select pg_sleep(0.01)::text where $1::text is not null"
	queue := func(tx *Tx) { tx.Queue(Statement{slowSQL}, nil) }
	for n, call := range []func() error{
		func() error { return db.Run(ctx, "ada", ReadOnly, queue) },
		func() error { return db.Read(ctx, "ada", queue) },
		func() error { return db.Scan(ctx, "ada", queue, func() {}) },
	} {
		if err := call(); err != nil {
			t.Fatal(err)
		}
		s := named(spans, "statement")[n]
		if events := s.Events(); len(events) != 1 || events[0].Name != "sent" || s.EndTime().Sub(events[0].Time) < 9*time.Millisecond {
			t.Errorf("%d: the events are %v, the end is %v", n, events, s.EndTime())
		}
		if got := db.Stat(); got.Transactions != int64(n)+1 || got.Transacting < time.Duration(n+1)*9*time.Millisecond {
			t.Errorf("%d transactions were sent, which took %v", got.Transactions, got.Transacting)
		}
	}
	before := db.Stat().Transactions
	if err := db.Probe(ctx, OperatorStatement{"select 1"}, nil, nil); err != nil || db.Stat().Transactions != before {
		t.Errorf("a probe is counted, %v", err)
	}
}

func TestATraceShowsRetriesAndTheSQLSTATE(t *testing.T) {
	t.Parallel()
	spans, tracer := recorder()
	db := open(t, Config{URL: withTasks(t), Tracer: tracer})
	ctx, span := tracer.Start(t.Context(), "request")
	defer span.End()
	if _, err := send(ctx, db, Idempotent, "ada", "select failing($1)"); err == nil {
		t.Fatal("a function that does not exist was called")
	}
	unknown := named(spans, "statement")[0]
	if unknown.Status().Code != codes.Error || unknown.Status().Description != "" || attributeOf(unknown, "db.response.status_code") != "42883" {
		t.Errorf("%v %v", unknown.Status(), unknown.Attributes())
	}
	conn := connect(t, db.pool.Config().ConnString())
	execute(t, conn, "create function failing(text) returns text language plpgsql as $f$"+
		" begin raise exception 'the secret' using errcode = '40001'; end $f$")
	if _, err := send(ctx, db, Idempotent, "ada", "select failing($1)"); !errors.Is(err, ErrRetry) {
		t.Fatalf("the error is %v", err)
	}
	failed := named(spans, "statement")[1]
	var events []string
	for _, e := range failed.Events() {
		events = append(events, e.Name)
	}
	if !slices.Equal(events, []string{"sent", "retry", "sent", "retry", "sent"}) {
		t.Errorf("the events are %v", events)
	}
	if failed.Status().Code != codes.Error || attributeOf(failed, "error.type") != "40001" {
		t.Errorf("%v %v", failed.Status(), failed.Attributes())
	}
}

// A request that is not traced must not pay for those that are.
func TestWithoutASpanNothingIsAllocatedForTraces(t *testing.T) { //nolint:paralleltest // AllocsPerRun counts those of all goroutines
	_, tracer := recorder()
	notSampled, _ := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample())).Tracer("").Start(t.Context(), "request")
	queries, reads := []query{{sql: ownTasksSQL}}, []*sharedRead{{ctx: t.Context()}, {ctx: t.Context()}}
	for name, c := range map[string]struct {
		db  *DB
		ctx context.Context
	}{
		"off":         {&DB{}, t.Context()},
		"no span":     {&DB{tracer: tracer}, t.Context()},
		"not sampled": {&DB{tracer: tracer}, notSampled},
	} {
		if n := testing.AllocsPerRun(100, func() {
			ctx, span := c.db.startSpan(c.ctx)
			nameSpan(span, queries)
			ctx, group := c.db.startGroupSpan(ctx, reads)
			wasSent(ctx)
			retrying(ctx, 1, ErrRetry)
			endSpan(group, nil)
			endSpan(span, ErrRetry)
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
