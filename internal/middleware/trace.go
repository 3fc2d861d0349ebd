package middleware

import (
	"net/http"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"docket/internal/telemetry"
)

// Trace starts a span for each request, unless t is nil or skip returns true, and sets State.TraceID. The trace is that
// of the request's traceparent if there is one. The span contains no token, no query and no path but the route's
// pattern, like the log.
func Trace(t *telemetry.Tracing, skip func(*http.Request) bool) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx := r.Context()
			traced := t != nil && !skip(r)
			if parents := r.Header["Traceparent"]; len(parents) == 1 && (!traced || t.Parent()) {
				extracted := propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(r.Header))
				if parent := trace.SpanContextFromContext(extracted); parent.IsValid() {
					// A client may write anything into tracestate, and spans and their links would carry it.
					ctx = trace.ContextWithRemoteSpanContext(ctx, parent.WithTraceState(trace.TraceState{}))
					StateOf(ctx).TraceID = parent.TraceID().String()
				}
			}
			if !traced {
				next.ServeHTTP(w, r)
				return
			}
			method := knownMethod(r.Method)
			ctx, span := t.Tracer().Start(ctx, method, trace.WithSpanKind(trace.SpanKindServer),
				trace.WithAttributes(semconv.HTTPRequestMethodKey.String(method), semconv.URLScheme(scheme(r))))
			s := StateOf(ctx)
			s.TraceID = span.SpanContext().TraceID().String()
			if !span.IsRecording() {
				next.ServeHTTP(w, r)
				return
			}
			s.Request = r.WithContext(ctx)
			defer func() { // also when the response was aborted
				describe(span, s, method)
				span.End()
			}()
			next.ServeHTTP(w, s.Request)
		})
	}
}

// describe adds to a span what is known after the response.
func describe(span trace.Span, s *State, method string) {
	span.SetAttributes(attribute.String("docket.request_id", s.RequestID))
	if _, path, found := strings.Cut(s.Route, " "); found {
		span.SetName(method + " " + path)
		span.SetAttributes(semconv.HTTPRoute(path))
	}
	if s.Owner != "" {
		span.SetAttributes(attribute.String("docket.owner", ownerHash(s.Owner)))
	}
	if s.Status != 0 {
		span.SetAttributes(semconv.HTTPResponseStatusCode(s.Status))
	}
	if s.Problem != "" && s.Status < http.StatusInternalServerError {
		span.SetAttributes(attribute.String("docket.problem", s.Problem))
	}
	if s.Reason != "" {
		span.SetAttributes(attribute.String("docket.reason", s.Reason))
	}
	if s.Status >= http.StatusInternalServerError {
		kind := s.Problem
		if kind == "" {
			kind = strconv.Itoa(s.Status)
		}
		span.SetAttributes(semconv.ErrorTypeKey.String(kind))
		span.SetStatus(codes.Error, "")
	}
}

// knownMethod returns the method if it is one of HTTP's, and otherwise what OpenTelemetry has for others: a client may
// send anything.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
		http.MethodConnect, http.MethodTrace:
		return method
	}
	return "_OTHER"
}

func scheme(r *http.Request) string {
	if r.TLS != nil {
		return "https"
	}
	return "http"
}
