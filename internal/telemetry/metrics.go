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
}

// requestKind identifies the metrics of requests with the same operation and status.
type requestKind struct {
	route  string
	status int
}

// PoolStats is the state of a pool of database connections.
type PoolStats struct {
	Acquired, Idle, Max int32         // connections in use, not in use, and the most that there may be
	Acquires            int64         // connections that were acquired
	Waits               int64         // of these, those that required waiting
	Waiting             time.Duration // total time of the waits
	Cancels             int64         // waits whose context ended
}

// New returns the metrics of a service with that version. pool is called whenever the metrics are read.
func New(version string, pool func() PoolStats) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "docket_http_request_duration_seconds",
			Help:    "Time from the request's header to the end of the answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"route", "status"}),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "docket_info", Help: "Always 1.", ConstLabels: prometheus.Labels{"version": version},
	})
	info.Set(1)
	m.registry.MustRegister(
		m.durations, info, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	gauge := func(name, help string, labels prometheus.Labels, value func(PoolStats) float64) {
		o := prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}
		m.registry.MustRegister(prometheus.NewGaugeFunc(o, func() float64 { return value(pool()) }))
	}
	counter := func(name, help string, value func(PoolStats) float64) {
		o := prometheus.CounterOpts{Name: name, Help: help}
		m.registry.MustRegister(prometheus.NewCounterFunc(o, func() float64 { return value(pool()) }))
	}
	const connections, help = "docket_db_connections", "Connections to the database."
	gauge(connections, help, prometheus.Labels{"state": "acquired"}, func(s PoolStats) float64 { return float64(s.Acquired) })
	gauge(connections, help, prometheus.Labels{"state": "idle"}, func(s PoolStats) float64 { return float64(s.Idle) })
	gauge("docket_db_connections_max", "DB_MAX_CONNS.", nil, func(s PoolStats) float64 { return float64(s.Max) })
	counter("docket_db_acquires_total", "Connections taken from the pool.", func(s PoolStats) float64 { return float64(s.Acquires) })
	counter("docket_db_acquire_waits_total", "Connections that had to be waited for.", func(s PoolStats) float64 { return float64(s.Waits) })
	counter("docket_db_acquire_wait_seconds_total", "Time spent waiting for them.", func(s PoolStats) float64 { return s.Waiting.Seconds() })
	counter("docket_db_acquire_cancels_total", "Waits that were given up.", func(s PoolStats) float64 { return float64(s.Cancels) })
	return m
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

// Handler returns a handler that serves the metrics in Prometheus' text format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
