// Package telemetry contains the service's metrics, in Prometheus' format. docs/operations.md explains each.
package telemetry

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics collects the metrics that operators watch. It is safe for concurrent use.
type Metrics struct {
	registry  *prometheus.Registry
	durations *prometheus.HistogramVec
	observers sync.Map // requestKind → prometheus.Observer, so that labels are not formatted for each request
	problems  map[string]prometheus.Counter
	refused   map[string]prometheus.Counter
	panics    prometheus.Counter
}

// requestKind identifies the metrics of requests with the same operation and status.
type requestKind struct {
	route  string
	status int
}

// Labels are the values of labels, which are all known when the service starts. So each series is there, with the value 0,
// before anything is counted: Prometheus does not see the first increase of a series that appears with it.
type Labels struct {
	Problems []string // codes of problem types
	Refusals []string // reasons for which a request is not admitted
}

// New returns the metrics of a service with that version. read is called whenever the metrics are read.
func New(version string, l Labels, read func() State) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "docket_http_request_duration_seconds",
			Help:    "Time from the request's header to the end of the answer, without that in the owner's own queue.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"route", "status"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "docket_panics_total", Help: "Panics while a request was served.",
		}),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "docket_info", Help: "Always 1.", ConstLabels: prometheus.Labels{"version": version},
	})
	info.Set(1)
	// The process collector has it too, but not where /proc is restricted.
	start := prometheus.NewGauge(prometheus.GaugeOpts{Name: "docket_start_time_seconds", Help: "When the process started, in Unix time."})
	start.SetToCurrentTime()
	problems := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "docket_problems_total", Help: "Responses with a problem document, by the code of the problem's type.",
	}, []string{"type"})
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "docket_admission_refused_total", Help: "Requests that were not admitted.",
	}, []string{"reason"})
	m.problems, m.refused = counters(problems, l.Problems), counters(refused, l.Refusals)
	m.registry.MustRegister(
		m.durations, m.panics, info, start, problems, refused, stateCollector(read),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

func counters(vec *prometheus.CounterVec, values []string) map[string]prometheus.Counter {
	all := make(map[string]prometheus.Counter, len(values))
	for _, v := range values {
		all[v] = vec.WithLabelValues(v)
	}
	return all
}

// Observe counts a request that was answered. The route is the pattern of its operation, or "" if none matched.
func (m *Metrics) Observe(route string, status int, took time.Duration) {
	if route == "" {
		route = "none"
	}
	kind := requestKind{route, status}
	observer, known := m.observers.Load(kind)
	if !known {
		observer, _ = m.observers.LoadOrStore(kind, m.durations.WithLabelValues(route, strconv.Itoa(status)))
	}
	observer.(prometheus.Observer).Observe(took.Seconds())
}

// Problem counts a response with a problem of that type, one of Labels.Problems.
func (m *Metrics) Problem(code string) { m.problems[code].Inc() }

// Refused counts a request that was not admitted, for one of Labels.Refusals.
func (m *Metrics) Refused(reason string) { m.refused[reason].Inc() }

// Panicked counts a panic.
func (m *Metrics) Panicked() { m.panics.Inc() }

// Handler returns a handler that serves the metrics in Prometheus' text format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
