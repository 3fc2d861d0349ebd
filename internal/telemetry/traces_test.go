package telemetry_test

import (
	"context"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"docket/internal/telemetry"
	"docket/internal/tracetest"
)

func startTracing(t *testing.T, c telemetry.TracingConfig) *telemetry.Tracing {
	t.Helper()
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	on, err := telemetry.StartTracing(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(on.Stop)
	return on
}

func TestSpansAreDeliveredWithHeadersAndAttributesOfTheProcess(t *testing.T) {
	t.Parallel()
	for _, gzip := range []bool{false, true} {
		c := tracetest.Start(t)
		on := startTracing(t, telemetry.TracingConfig{
			Endpoint: c.URL, Gzip: gzip, Headers: map[string]string{"authorization": "Bearer a"}, ServiceName: "tasks", Version: "1.2.3",
			Attributes: map[string]string{"deployment.environment.name": "test", "service.name": "replaced"},
		})
		_, span := on.Tracer().Start(t.Context(), "a")
		span.End()
		on.Stop()
		if spans := c.Spans(); len(spans) != 1 || spans[0].Name != "a" {
			t.Errorf("the spans are %+v", spans)
		}
		if c.Header().Get("Authorization") != "Bearer a" || (c.Header().Get("Content-Encoding") == "gzip") != gzip {
			t.Errorf("the header is %v", c.Header())
		}
		for name, want := range map[string]string{"service.name": "tasks", "service.version": "1.2.3", "deployment.environment.name": "test"} {
			if got := c.Resource()[name]; got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		if c.Resource()["service.instance.id"] == "" {
			t.Error("the process has no id")
		}
	}
}

func TestSamplersDecideAsTheyAreNamed(t *testing.T) {
	t.Parallel()
	parent := func(flags trace.TraceFlags) context.Context {
		return trace.ContextWithRemoteSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID{15: 1}, SpanID: trace.SpanID{1}, TraceFlags: flags, // a share of 0.5 takes this trace
		}))
	}
	for sampler, want := range map[string][3]bool{ // without a parent, with one that is not sampled, with one that is
		"":                         {true, false, true},
		"always_on":                {true, true, true},
		"always_off":               {false, false, false},
		"traceidratio":             {false, false, false},
		"parentbased_always_on":    {true, false, true},
		"parentbased_always_off":   {false, false, true},
		"parentbased_traceidratio": {false, false, true},
	} {
		on := startTracing(t, telemetry.TracingConfig{Endpoint: tracetest.Start(t).URL, Sampler: sampler})
		for i, ctx := range []context.Context{t.Context(), parent(0), parent(trace.FlagsSampled)} {
			_, span := on.Tracer().Start(ctx, "a")
			if span.IsRecording() != want[i] || !span.SpanContext().TraceID().IsValid() {
				t.Errorf("%q records the span %d: %t", sampler, i, span.IsRecording())
			}
		}
	}
}

func TestABatchIsSentAgainAfterAFaultThatPasses(t *testing.T) {
	t.Parallel()
	c := tracetest.Start(t)
	var calls atomic.Int32
	restarting := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Location", c.URL)
		w.WriteHeader(http.StatusTemporaryRedirect)
	}))
	t.Cleanup(restarting.Close)
	log := new(buffer)
	on := startTracing(t, telemetry.TracingConfig{
		Endpoint: restarting.URL, Headers: map[string]string{"authorization": "secret"}, BatchDelay: time.Millisecond, Timeout: time.Hour,
		Log: slog.New(slog.NewTextHandler(log, nil)),
	})
	_, span := on.Tracer().Start(t.Context(), "a")
	span.End()
	for !strings.Contains(log.String(), "status 307") { // a redirect must not determine who gets the headers
		time.Sleep(time.Millisecond)
	}
	if calls.Load() != 2 || len(c.Spans()) != 0 || strings.Contains(log.String(), "secret") {
		t.Errorf("%d calls, %d spans, and the log %s", calls.Load(), len(c.Spans()), log)
	}
}

func TestFilesOfCertificatesAreReadAtTheStart(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]telemetry.TracingConfig{
		"OTEL_EXPORTER_OTLP_CERTIFICATE: open":                  {Certificate: empty + "x"},
		"OTEL_EXPORTER_OTLP_CERTIFICATE: the file holds no":     {Certificate: empty},
		"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE, OTEL_EXPORTER_": {ClientCertificate: empty, ClientKey: empty},
	} {
		if _, err := telemetry.StartTracing(c); err == nil || !strings.HasPrefix(err.Error(), name) {
			t.Errorf("the error is %v, want %s…", err, name)
		}
	}
}

func TestTheCollectorsCertificateIsVerified(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	secure := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	t.Cleanup(secure.Close)
	secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	trusted := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(trusted, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]int32{"": 0, trusted: 1} {
		calls.Store(0)
		on := startTracing(t, telemetry.TracingConfig{Endpoint: secure.URL, Certificate: file, Timeout: time.Second})
		_, span := on.Tracer().Start(t.Context(), "a")
		span.End()
		on.Stop()
		if calls.Load() != want {
			t.Errorf("with the certificates %q: %d calls", file, calls.Load())
		}
	}
}

func TestNoTracingDoesNothing(t *testing.T) {
	t.Parallel()
	var off *telemetry.Tracing
	off.Waited(t.Context(), "a", "b", time.Time{}, errors.New("a"))
	off.Stop()
	if off.Tracer() != nil || off.Parent() {
		t.Error("it traces")
	}
}

// buffer is a log that can be read while it is written.
type buffer struct {
	atomic.Pointer[string]
}

func (b *buffer) Write(text []byte) (int, error) { // the handler calls it once at a time
	all := b.String() + string(text)
	b.Store(&all)
	return len(text), nil
}

func (b *buffer) String() string {
	if p := b.Load(); p != nil {
		return *p
	}
	return ""
}
