package middleware_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"docket/internal/middleware"
	"docket/internal/telemetry"
	"docket/internal/tracetest"
)

const traceparent = "Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func never(*http.Request) bool { return false }

// tracing returns a Tracing and its collector, which has all spans after Stop.
func tracing(t *testing.T, sampler string) (*telemetry.Tracing, *tracetest.Collector) {
	t.Helper()
	c := tracetest.Start(t)
	on, err := telemetry.StartTracing(telemetry.TracingConfig{
		Endpoint: c.URL, Sampler: sampler, Parent: true, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(on.Stop)
	return on, c
}

func TestTraceNamesASpanAfterItsRoute(t *testing.T) {
	t.Parallel()
	on, c := tracing(t, "always_on")
	tests := []struct {
		method, route string
		status        int
		problem       string

		name, kind string // wanted; without a kind, the span is no failure
	}{
		{"GET", "GET /a/{id}", 200, "", "GET /a/{id}", ""},
		{"HEAD", "GET /a/{id}", 304, "", "HEAD /a/{id}", ""},
		{"DELETE", "", 405, "method_not_allowed", "DELETE", ""},
		{"SECRET", "", 405, "", "_OTHER", ""},
		{"GET", "GET /a/{id}", 401, "token_expired", "GET /a/{id}", ""},
		{"GET", "GET /a/{id}", 503, "overloaded", "GET /a/{id}", "overloaded"},
		{"GET", "GET /a/{id}", 500, "", "GET /a/{id}", "500"},
	}
	for _, test := range tests {
		h := middleware.RequestID(middleware.Trace(on, never)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s := middleware.StateOf(r.Context())
			if s.Request != r {
				t.Error("the state has another request")
			}
			s.Route, s.Problem = test.route, test.problem
			if test.status == 401 {
				s.Reason = "expired"
			}
			w.WriteHeader(test.status)
		})))
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(test.method, "/secret?secret", nil))
	}
	on.Stop()
	spans := c.Spans()
	for i, want := range tests {
		got := spans[i]
		if got.Name != want.name || got.Failed != (want.kind != "") || got.Attributes["error.type"] != want.kind {
			t.Errorf("%d: the span is %+v", i, got)
		}
		if want.status < 500 && got.Attributes["docket.problem"] != want.problem || want.status >= 500 && got.Attributes["docket.problem"] != "" {
			t.Errorf("%d: the span is %+v", i, got)
		}
		if (got.Attributes["docket.reason"] == "expired") != (want.status == 401) {
			t.Errorf("%d: the span is %+v", i, got)
		}
	}
	if strings.Contains(strings.ToLower(c.Received()), "secret") {
		t.Error("a span holds a secret")
	}
}

func TestAnAbortedRequestHasASpan(t *testing.T) {
	t.Parallel()
	on, c := tracing(t, "always_on")
	func() {
		defer func() { _ = recover() }()
		serve(t, middleware.RequestID(middleware.Trace(on, never)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			middleware.StateOf(r.Context()).Status = 499
			panic(http.ErrAbortHandler)
		}))), "/")
	}()
	on.Stop()
	if spans := c.Spans(); len(spans) != 1 || spans[0].Attributes["http.response.status_code"] != "499" || spans[0].Failed {
		t.Errorf("the spans are %+v", spans)
	}
}

// A service without traces does no more for a request than it did without this middleware.
func TestTraceAllocatesNothingWithoutTraces(t *testing.T) { //nolint:paralleltest // AllocsPerRun counts those of all goroutines
	w := httptest.NewRecorder()
	none := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	h := middleware.Trace(nil, never)(none)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	r.Header.Set("Tracestate", "a=b")
	if n := testing.AllocsPerRun(100, func() { h.ServeHTTP(w, r) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestLinesOfTheLogHaveTheTrace(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	log := slog.New(slog.NewTextHandler(&text, nil))
	fail := func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusInternalServerError) }
	h := middleware.RequestID(middleware.Trace(nil, never)(middleware.Recover(log, func() {}, fail)(
		http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a") }))))
	serve(t, h, "/", traceparent)
	serve(t, h, "/")
	if strings.Count(text.String(), "trace_id=") != 1 || !strings.Contains(text.String(), "trace_id=4bf92f3577b34da6a3ce929d0e0e4736") {
		t.Errorf("logged: %s", &text)
	}
}
