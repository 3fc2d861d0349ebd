package postgres

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// Spans are made only within a span that is recorded, and are nil otherwise. They contain names of statements, and
// neither values nor messages of PostgreSQL, which may contain values.

// startSpan starts the span of a transaction with all its attempts.
func (db *DB) startSpan(ctx context.Context) (context.Context, trace.Span) {
	if db.tracer == nil || !trace.SpanFromContext(ctx).IsRecording() {
		return ctx, nil
	}
	return db.tracer.Start(ctx, "transaction", trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(semconv.DBSystemNamePostgreSQL))
}

// nameSpan names a span after the statements of its transaction.
func nameSpan(span trace.Span, queries []query) {
	if span == nil {
		return
	}
	var all []string
	for _, q := range queries {
		if name := NameOf(q.sql); !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	if len(all) == 0 {
		return
	}
	span.SetName(all[0])
	span.SetAttributes(semconv.DBOperationName(strings.Join(all, ", ")))
	if len(queries) > 1 {
		span.SetAttributes(semconv.DBOperationBatchSize(len(queries)))
	}
}

// retrying adds to a transaction's span that an attempt failed and is followed by another one.
func retrying(ctx context.Context, attempt int, err error) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.AddEvent("retry", trace.WithAttributes(append(failure(err), attribute.Int("docket.attempt", attempt))...))
	}
}

// endSpan ends a span with the error of what it describes.
func endSpan(span trace.Span, err error) {
	if span == nil {
		return
	}
	if err != nil {
		span.SetAttributes(failure(err)...)
		if !errors.Is(err, context.Canceled) { // otherwise the client has disconnected
			span.SetStatus(codes.Error, "")
		}
	}
	span.End()
}

// failure describes an error by its SQLSTATE, or by its kind if it is not one of PostgreSQL.
func failure(err error) []attribute.KeyValue {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return []attribute.KeyValue{semconv.DBResponseStatusCode(pg.Code), semconv.ErrorTypeKey.String(pg.Code)}
	}
	kind := "_OTHER"
	switch {
	case errors.Is(err, context.Canceled):
		kind = "canceled"
	case errors.Is(err, context.DeadlineExceeded):
		kind = "timeout"
	case broken(err), errors.Is(err, ErrUnavailable):
		kind = "connection"
	}
	return []attribute.KeyValue{semconv.ErrorTypeKey.String(kind)}
}

// noticeable is the shortest wait that gets a span of its own.
const noticeable = time.Millisecond

// acquire takes a connection from a pool. A wait for it that was noticeable or failed gets a span.
func (db *DB) acquire(ctx context.Context, pool *pgxpool.Pool) (*pgxpool.Conn, error) {
	if db.tracer == nil {
		return pool.Acquire(ctx)
	}
	start := time.Now()
	conn, err := pool.Acquire(ctx)
	if (err != nil || time.Since(start) >= noticeable) && trace.SpanFromContext(ctx).IsRecording() {
		_, span := db.tracer.Start(ctx, "wait for a connection", trace.WithTimestamp(start))
		endSpan(span, err)
	}
	return conn, err
}

// wasSent adds to a transaction's span that it was written to its connection: what follows is waiting for PostgreSQL.
func wasSent(ctx context.Context) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.AddEvent("sent")
	}
}

// startGroupSpan starts the span of a round trip that several reads share. It is in the trace of the first of them that
// is recorded, since a span has one parent, and is linked with the spans of all.
func (db *DB) startGroupSpan(ctx context.Context, reads []*sharedRead) (context.Context, trace.Span) {
	if db.tracer == nil {
		return ctx, nil
	}
	var spans []trace.Span
	var links []trace.Link
	for _, r := range reads {
		if span := trace.SpanFromContext(r.ctx); span.IsRecording() {
			spans = append(spans, span)
			links = append(links, trace.Link{SpanContext: span.SpanContext()})
		}
	}
	if len(spans) == 0 || len(reads) == 1 {
		return ctx, nil
	}
	ctx, group := db.tracer.Start(trace.ContextWithSpan(ctx, spans[0]), "shared round trip", trace.WithSpanKind(trace.SpanKindClient),
		trace.WithLinks(links...), trace.WithAttributes(semconv.DBSystemNamePostgreSQL,
			semconv.DBOperationName(NameOf(reads[0].query.sql)), semconv.DBOperationBatchSize(len(reads))))
	for _, span := range spans {
		span.AddLink(trace.Link{SpanContext: group.SpanContext()})
	}
	return ctx, group
}

// groupError returns the error of the read that ended its group.
func groupError(reads []*sharedRead) error {
	for _, r := range reads {
		if r.err != nil {
			return r.err
		}
	}
	return nil
}
