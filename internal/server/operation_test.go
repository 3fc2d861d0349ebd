package server

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"docket/internal/api"
	"docket/internal/check"
	"docket/internal/limit"
	"docket/internal/middleware"
)

// alone returns a Server without a database or keys, for operations that need neither.
func alone() *Server {
	return &Server{log: slog.New(slog.DiscardHandler), limiter: limit.New(1)}
}

func TestAServiceWithAnOperationWithoutAPolicyDoesNotStart(t *testing.T) {
	t.Parallel()
	doc, err := api.GetSpec()
	if err != nil {
		t.Fatal(err)
	}
	if err := alone().routeOperations(http.NewServeMux(), doc); err != nil {
		t.Fatal(err)
	}
	delete(doc.Paths.Value("/health").Get.Extensions, "x-policy")
	if err := alone().routeOperations(http.NewServeMux(), doc); err == nil || !strings.Contains(err.Error(), "GET /health: the document has no x-policy") {
		t.Errorf("the error is %v", err)
	}
}

func TestAnOperationHasTheTimeLimitOfItsPolicy(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		policy   check.Policy
		override time.Duration
		want     time.Duration // 0: none
	}{
		{check.Policy{Timeout: check.DefaultTimeout}, 0, check.DefaultTimeout},
		{check.Policy{Timeout: time.Hour}, 0, time.Hour},
		{check.Policy{Timeout: time.Hour, Stream: true}, 0, time.Hour},
		{check.Policy{Stream: true}, 0, 0},
		{check.Policy{Timeout: time.Hour}, time.Minute, time.Minute},
	} {
		s := alone()
		s.config.RequestTimeout = test.override
		before := time.Now()
		h := middleware.RequestID(s.operation(&check.Operation{Public: true, Policy: test.policy}, func(_ http.ResponseWriter, r *http.Request) {
			deadline, limited := r.Context().Deadline()
			if limited != (test.want > 0) {
				t.Errorf("%+v: limited is %t", test.policy, limited)
			}
			if limited && (deadline.Before(before.Add(test.want)) || deadline.After(time.Now().Add(test.want))) {
				t.Errorf("%+v: the limit is %v", test.policy, deadline.Sub(before))
			}
		}))
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	}
}

// hostOf runs an operation behind an http.Server whose own deadlines have passed before the handler writes.
func hostOf(t *testing.T, policy check.Policy, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	op := alone().operation(&check.Operation{Public: true, Policy: policy}, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(50 * time.Millisecond)
		handler(w, r)
	})
	host := httptest.NewUnstartedServer(middleware.RequestID(op))
	host.Config.WriteTimeout = 10 * time.Millisecond
	host.Start()
	t.Cleanup(host.Close)
	return host
}

// net/http ends a connection silently at its own deadlines: an operation that may take longer replaces them.
func TestTheConnectionHasTheDeadlinesOfThePolicy(t *testing.T) {
	t.Parallel()
	for _, policy := range []check.Policy{{Timeout: time.Hour}, {Timeout: time.Hour, Stream: true}, {Stream: true}} {
		host := hostOf(t, policy, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "in time") })
		response, err := host.Client().Get(host.URL)
		if err != nil {
			t.Fatalf("%+v: %v", policy, err)
		}
		if text, err := io.ReadAll(response.Body); string(text) != "in time" || err != nil {
			t.Errorf("%+v: %q, %v", policy, text, err)
		}
		response.Body.Close()
	}
	host := hostOf(t, check.Policy{Timeout: check.DefaultTimeout}, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "too late") })
	if response, err := host.Client().Get(host.URL); err == nil {
		response.Body.Close()
		t.Error("the server's own deadline does not apply although the policy has the default")
	}
}

// An operation that is idle most of the time, such as a stream or a probe, must not use a slot that others need.
func TestAnOperationWithoutAdmissionIsServedUnderFullLoad(t *testing.T) {
	t.Parallel()
	s := alone()
	for owner := range 4 {
		if _, err := s.limiter.Acquire(t.Context(), strings.Repeat("x", owner)); err != nil {
			t.Fatal(err)
		}
	}
	served := false
	h := middleware.RequestID(s.operation(&check.Operation{Public: true, Policy: check.Policy{Stream: true, Admission: check.AdmissionNone}},
		func(http.ResponseWriter, *http.Request) { served = true }))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	if !served || s.limiter.InFlight() != 4 {
		t.Errorf("served is %t, and %d requests are in flight", served, s.limiter.InFlight())
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequestWithContext(canceled, "GET", "/", nil)
	h = middleware.RequestID(s.operation(&check.Operation{Public: true, Policy: check.Policy{Timeout: time.Hour, Admission: check.AdmissionOwner}},
		func(http.ResponseWriter, *http.Request) { t.Error("served without a slot") }))
	defer func() {
		if v := recover(); v != any(http.ErrAbortHandler) {
			t.Errorf("the panic is %v", v)
		}
	}()
	h.ServeHTTP(httptest.NewRecorder(), r)
}
