package server_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"docket/contract"
	"docket/internal/server"
	"docket/internal/store"
	"docket/internal/telemetry"
	"docket/internal/tracetest"
)

const (
	clientTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	clientSpan  = "00f067aa0ba902b7"
	traceparent = "Traceparent: 00-" + clientTrace + "-" + clientSpan + "-01"
)

// traced configures a service whose traces go to a collector. A change may set anything else.
func traced(t testing.TB, to string, changes ...func(*telemetry.TracingConfig)) func(*options) {
	t.Helper()
	return func(o *options) {
		c := telemetry.TracingConfig{Endpoint: to, Parent: true, BatchDelay: time.Millisecond, Log: o.Log}
		for _, change := range changes {
			change(&c)
		}
		o.Tracing = must(telemetry.StartTracing(c))
		t.Cleanup(o.Tracing.Stop)
	}
}

// spansOf waits until a trace has the span of its request, which is the last to end, and returns the trace's spans by
// name.
func spansOf(t testing.TB, c *tracetest.Collector, traceID string) map[string]tracetest.Span {
	t.Helper()
	all := map[string]tracetest.Span{}
	eventually(t, "the trace arrives", func() bool {
		found := false
		for _, s := range c.Spans() {
			if s.Trace == traceID {
				all[s.Name] = s
				found = found || s.Kind == tracepb.Span_SPAN_KIND_SERVER
			}
		}
		return found
	})
	return all
}

func TestATraceHasTheSpansOfItsRequest(t *testing.T) {
	t.Parallel()
	c := tracetest.Start(t)
	s := start(t, traced(t, c.URL))
	a := s.ada.send(t, "GET", "?search=secret", "", traceparent, "X-Request-Id: mine").want(http.StatusOK)
	got := spansOf(t, c, clientTrace)
	request, verify, list := got["GET /api/{user_id}/tasks"], got["verify token"], got["listTasks"]
	l := s.logged(t, "mine")
	if request.Parent != clientSpan || verify.Parent != request.ID || list.Parent != request.ID || list.Kind != tracepb.Span_SPAN_KIND_CLIENT {
		t.Errorf("the spans are %+v", got)
	}
	for name, want := range map[string]string{
		"http.request.method": "GET", "http.route": "/api/{user_id}/tasks", "http.response.status_code": "200", "url.scheme": "http",
		"docket.request_id": "mine", "docket.owner": l.Owner,
	} {
		if request.Attributes[name] != want {
			t.Errorf("%s is %q, want %q", name, request.Attributes[name], want)
		}
	}
	if len(request.Attributes) != 6 || request.Failed {
		t.Errorf("the request's span is %+v", request)
	}
	if list.Attributes["db.system.name"] != "postgresql" || list.Attributes["db.operation.name"] != "listTasks" || list.Failed {
		t.Errorf("the transaction's span is %+v", list)
	}
	if l.TraceID != clientTrace {
		t.Errorf("the log has the trace %q", l.TraceID)
	}

	// A transaction of several statements names all of them. The token is cached now.
	made := s.ada.send(t, "POST", "", `{"title": "A"}`, "Idempotency-Key: k", "X-Request-Id: create").want(http.StatusCreated)
	got = spansOf(t, c, s.logged(t, "create").TraceID)
	create := got["createOnce"]
	if create.Attributes["db.operation.name"] != "createOnce, forgetKeys, keepKey, keptKey" || create.Attributes["db.operation.batch.size"] != "4" {
		t.Errorf("the transaction's span is %+v", create)
	}
	if _, verified := got["verify token"]; verified || got["POST /api/{user_id}/tasks"].Parent != "" {
		t.Errorf("the spans are %+v", got)
	}

	// The keys were fetched in a trace of their own.
	eventually(t, "the fetch of the keys arrives", func() bool {
		return slices.ContainsFunc(c.Spans(), func(s tracetest.Span) bool {
			return s.Attributes["docket.purpose"] == "signing keys" && s.Attributes["http.response.status_code"] == "200" &&
				s.Kind == tracepb.Span_SPAN_KIND_CLIENT && s.Parent == ""
		})
	})
	if strings.Contains(a.body+made.body, "trace_id") {
		t.Error("an answer that is no problem has a trace_id")
	}
}

func TestAFaultOfTheDatabaseIsInTheTraceTheLogAndTheProblem(t *testing.T) {
	t.Parallel()
	c := tracetest.Start(t)
	s := start(t, traced(t, c.URL))
	s.exec(t, raiseSQL)
	for _, test := range []struct {
		title, state, kind string
		status             int
	}{
		{"raise XX000", "XX000", "internal_error", http.StatusInternalServerError},
		{"raise 57014", "57014", "unavailable", http.StatusServiceUnavailable},
	} {
		p := s.ada.send(t, "POST", "", `{"title": "`+test.title+`"}`).want(test.status).problem()
		got := spansOf(t, c, p.TraceID)
		request, create := got["POST /api/{user_id}/tasks"], got["createTask"]
		if !request.Failed || request.Attributes["error.type"] != test.kind {
			t.Errorf("the request's span is %+v", request)
		}
		if !create.Failed || create.Attributes["db.response.status_code"] != test.state || create.Attributes["error.type"] != test.state {
			t.Errorf("the transaction's span is %+v", create)
		}
		lines := 0
		eventually(t, "both lines are in the log", func() bool {
			lines = 0
			for line := range strings.Lines(s.log.String()) {
				var entry struct {
					Msg     string `json:"msg"`
					TraceID string `json:"trace_id"`
				}
				if strings.Contains(line, `"cause"`) && !strings.Contains(line, `"where":"PL/pgSQL function raise_by_title() line 4 at RAISE"`) {
					t.Errorf("the line does not say where: %s", line)
				}
				if strings.Contains(line, p.RequestID) && json.Unmarshal([]byte(line), &entry) == nil && entry.TraceID == p.TraceID {
					lines++
				}
			}
			return lines == 2
		})
	}
	// A fault of the client's is none of the service's.
	p := s.ada.send(t, "GET", "?nonsense=1", "").want(http.StatusBadRequest).problem()
	if request := spansOf(t, c, p.TraceID)["GET /api/{user_id}/tasks"]; request.Failed || request.Attributes["error.type"] != "" ||
		request.Attributes["docket.problem"] != "invalid_parameter" {
		t.Errorf("the request's span is %+v", request)
	}
}

// More people may see traces than tasks. So they name no owner and contain none of their data.
func TestTracesContainNoSecrets(t *testing.T) {
	t.Parallel()
	c := tracetest.Start(t)
	s := start(t, traced(t, c.URL), func(o *options) { o.RequestTimeout = time.Minute })
	s.exec(t, raiseSQL)
	made := s.ada.create(t, `{"title": "secret-title", "description": "secret-description"}`)
	var last string
	for _, op := range contract.Current().Operations {
		task := s.ada.create(t, `{"title": "secret-title"}`)
		last = s.call(t, callOf(t, op, s.ada, task.ID), "X-Request-Id:", "Cookie: session=secret-cookie").get("X-Request-Id")
		if strings.Contains(c.Received(), task.ID) {
			t.Errorf("%s: the trace holds the task's id", op.OperationID)
		}
	}
	for _, request := range [][3]string{
		{"GET", "?search=secret-search", ""},
		{"GET", "?search=secret-search&nonsense=secret-parameter", ""},
		{"GET", "/secret-task", ""},
		{"SECRET", "/" + made.ID, ""},
		{"POST", "", `{"title": "raise XX000", "description": "secret-description"}`},
		{"POST", "", `{"title": "raise 23514", "description": "secret-description"}`},
		{"POST", "", `{"title": "hang up", "description": "secret-description"}`},
	} {
		last = s.ada.send(t, request[0], request[1], request[2], "Baggage: user=secret-baggage",
			"Tracestate: vendor=secret-state", traceparent).get("X-Request-Id")
	}
	s.send(t, "GET", s.bob.tasks(), "", "Authorization: Bearer secret-token")
	spansOf(t, c, s.logged(t, last).TraceID)
	s.config.Tracing.Stop()
	for _, secret := range []string{"secret", "SECRET", made.ID, s.ada.id, s.bob.id, s.ada.token[:40]} {
		if received := c.Received(); strings.Contains(received, secret) {
			t.Errorf("the traces hold %q", secret)
		}
	}
}

func TestMalformedTraceparentsAreIgnored(t *testing.T) {
	t.Parallel()
	c := tracetest.Start(t)
	on, off := start(t, traced(t, c.URL)), start(t)
	for _, value := range []string{
		"", "00", "00-" + clientTrace + "-" + clientSpan, "00-" + strings.ToUpper(clientTrace) + "-" + clientSpan + "-01",
		"00-" + strings.Repeat("0", 32) + "-" + clientSpan + "-01", "00-" + clientTrace + "-" + strings.Repeat("0", 16) + "-01",
		"ff-" + clientTrace + "-" + clientSpan + "-01", "00-" + clientTrace + "-" + clientSpan + "-01-more", strings.Repeat("4", 5000),
	} {
		p := on.send(t, "GET", "/nowhere", "", "Traceparent: "+value).want(http.StatusNotFound).problem()
		if span := spansOf(t, c, p.TraceID)["GET"]; p.TraceID == clientTrace || span.Parent != "" {
			t.Errorf("%q: the span is %+v", value, span)
		}
		if p := off.send(t, "GET", "/nowhere", "", "Traceparent: "+value).want(http.StatusNotFound).problem(); p.TraceID != "" {
			t.Errorf("%q: without traces the trace is %q", value, p.TraceID)
		}
	}
	// Two are as good as none.
	r := must(http.NewRequestWithContext(t.Context(), http.MethodGet, off.url+"/nowhere", nil))
	r.Header["Traceparent"] = []string{strings.TrimPrefix(traceparent, "Traceparent: "), strings.TrimPrefix(traceparent, "Traceparent: ")}
	if p := off.do(t, r).problem(); p.TraceID != "" {
		t.Errorf("of two traceparents, the trace is %q", p.TraceID)
	}
}

func TestWithoutTracesTheLogAndTheProblemHaveTheTraceOfAProxy(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := s.send(t, "GET", "/nowhere", "", traceparent).want(http.StatusNotFound)
	if l := s.logged(t, a.get("X-Request-Id")); a.problem().TraceID != clientTrace || l.TraceID != clientTrace {
		t.Errorf("%+v and %s", l, a)
	}
	s.send(t, "GET", "/nowhere", "").want(http.StatusNotFound)
	if strings.Count(s.log.String(), "trace_id") != 1 {
		t.Errorf("a line without a trace has a trace_id:\n%s", s.log)
	}
}

func TestRequestsThatAreNotSampledAndProbesHaveNoSpans(t *testing.T) {
	t.Parallel()
	c := tracetest.Start(t)
	s := start(t, traced(t, c.URL, func(c *telemetry.TracingConfig) { c.Sampler = "parentbased_always_off" }))
	s.exec(t, raiseSQL)
	p := s.ada.send(t, "POST", "", `{"title": "raise XX000"}`).want(http.StatusInternalServerError).problem()
	if l := s.logged(t, p.RequestID); len(p.TraceID) != 32 || l.TraceID != p.TraceID {
		t.Errorf("%+v is logged as %+v", p, l)
	}
	s.send(t, "GET", "/health", "", traceparent).want(http.StatusOK)
	s.send(t, "GET", "/health/ready", "", traceparent).want(http.StatusOK)
	s.config.Tracing.Stop()
	if spans := c.Spans(); len(spans) != 0 {
		t.Errorf("the spans are %+v", spans)
	}
}

func TestWithoutParentsClientsDoNotChooseWhatIsTraced(t *testing.T) {
	t.Parallel()
	c := tracetest.Start(t)
	s := start(t, traced(t, c.URL, func(c *telemetry.TracingConfig) { c.Sampler, c.Parent = "parentbased_always_off", false }))
	p := s.send(t, "GET", "/nowhere", "", traceparent).want(http.StatusNotFound).problem()
	if p.TraceID == clientTrace || p.TraceID == "" {
		t.Errorf("the trace is %q", p.TraceID)
	}
	s.config.Tracing.Stop()
	if spans := c.Spans(); len(spans) != 0 {
		t.Errorf("the spans are %+v", spans)
	}
}

func TestWaitsForAdmissionAreInTheTrace(t *testing.T) {
	t.Parallel()
	c := tracetest.Start(t)
	s, release := slow(t)
	config := s.config
	o := options{Config: server.Config{Log: s.config.Log}}
	traced(t, c.URL)(&o)
	config.Tracing = o.Tracing
	config.Store = must(store.Open(context.Background(), store.Config{
		URL: s.database.Config().ConnString() + "&application_name=over", MaxConns: connections, StatementTimeout: 10 * time.Minute,
		Tracer: o.Tracing.Tracer(),
	}))
	t.Cleanup(config.Store.Close)
	s = s.serve(t, config)
	const active = connections / 2 // of one owner; of these, one scan
	scans := s.ada.sendMany(t, 2, "?search=low")
	eventually(t, "a scan waits for the other one", func() bool { return s.docket.InFlight() == 2 && s.docket.Admitted() == 1 })
	lists := s.ada.sendMany(t, active, "")
	eventually(t, "a list waits for the others", func() bool { return s.docket.InFlight() == 2+active && s.docket.Admitted() == active })
	time.Sleep(2 * telemetry.Noticeable)
	release()
	for range 2 {
		(<-scans).want(http.StatusOK)
	}
	for range active {
		(<-lists).want(http.StatusOK)
	}
	for _, name := range []string{"wait for admission", "wait for a scan"} {
		eventually(t, name+" arrives", func() bool {
			return slices.ContainsFunc(c.Spans(), func(s tracetest.Span) bool {
				return s.Name == name && s.Parent != "" && s.Attributes["docket.queue"] == "owner"
			})
		})
	}
}

// A collector that is down, or hangs, must cost no request and not keep the process from ending.
func TestACollectorThatIsDownOrHangsAffectsNoRequest(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	called := make(chan struct{}, 100)
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		called <- struct{}{}
		<-hang
	}))
	t.Cleanup(hanging.Close)
	t.Cleanup(func() { close(hang) }) // before hanging.Close
	for name, address := range map[string]string{"down": nowhere + "secret-path", "hanging": hanging.URL} {
		s := start(t, traced(t, address, func(c *telemetry.TracingConfig) {
			c.Timeout, c.QueueSize, c.BatchSize = 10*time.Millisecond, 4, 2
			c.Headers = map[string]string{"Authorization": "secret-header"}
			if name == "hanging" {
				c.Timeout = time.Hour
			}
		}))
		for range 20 { // more spans than fit into the queue
			s.ada.create(t, `{"title": "A"}`)
		}
		if name == "hanging" {
			<-called
			s.config.Tracing.Stop() // returns although the collector still hangs
			continue
		}
		eventually(t, "the fault is in the log", func() bool { return strings.Contains(s.log.String(), "traces are not delivered") })
		s.config.Tracing.Stop()
		if log := s.log.String(); strings.Contains(log, "secret") || strings.Count(log, "traces are not delivered") != 1 {
			t.Errorf("the log is\n%s", log)
		}
	}
}

// BenchmarkTracing measures a list of 20 tasks in the service and the database, without traces, with one request of a
// hundred traced, and with every one. It prints the CPU time of this process, which depends less on what else the machine
// does than the time between.
func BenchmarkTracing(b *testing.B) {
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	b.Cleanup(collector.Close)
	s := start(b)
	for range 20 {
		s.ada.create(b, `{"title": "A"}`)
	}
	for _, c := range []struct {
		name  string
		ratio float64
	}{{"off", -1}, {"ratio=0.01", 0.01}, {"ratio=1", 1}} {
		b.Run(c.name, func(b *testing.B) {
			config := s.config
			config.Log = slog.New(slog.DiscardHandler)
			if c.ratio >= 0 {
				config.Tracing = must(telemetry.StartTracing(telemetry.TracingConfig{
					Endpoint: collector.URL, Sampler: "traceidratio", SamplerRatio: c.ratio, Log: config.Log,
				}))
				defer config.Tracing.Stop()
			}
			config.Store = must(store.Open(context.Background(), store.Config{
				URL: s.database.Config().ConnString(), MaxConns: 6, Tracer: config.Tracing.Tracer(),
			}))
			defer config.Store.Close()
			h := must(server.New(config))
			before := cpuTime()
			repeat(b, h, http.StatusOK, "GET", s.ada.tasks(), s.ada.token, "")
			b.ReportMetric(float64((cpuTime()-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
}

// cpuTime returns the time that this process was on a CPU.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // cannot fail with these arguments
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
