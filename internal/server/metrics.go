package server

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"docket/internal/store"
)

// metrics are what an operator watches, in Prometheus' form. docs/operations.md explains each.
type metrics struct {
	registry  *prometheus.Registry
	durations *prometheus.HistogramVec
	observers sync.Map // of durations, by observed: found without putting labels together
}

// observed is what requests are told apart by. There are as many as the contract has operations and statuses.
type observed struct {
	route  string
	status int
}

func newMetrics(st *store.Store, version string) *metrics {
	m := &metrics{
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
		m.durations, info, poolCollector{st},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// observe counts an answered request.
func (m *metrics) observe(route string, status int, took time.Duration) {
	if route == "" {
		route = "none"
	}
	key := observed{route, status}
	observer, known := m.observers.Load(key)
	if !known {
		observer, _ = m.observers.LoadOrStore(key, m.durations.WithLabelValues(route, strconv.Itoa(status)))
	}
	observer.(prometheus.Observer).Observe(took.Seconds())
}

// Metrics answers with the metrics in Prometheus' text format. It is not part of the contract and not for the public:
// give it an address of its own.
func (s *Server) Metrics() http.Handler {
	return promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{})
}

// poolCollector reads the state of the pool when it is asked for.
type poolCollector struct{ store *store.Store }

var (
	poolConnections = prometheus.NewDesc("docket_db_connections", "Connections to the database.", []string{"state"}, nil)
	poolMost        = prometheus.NewDesc("docket_db_connections_max", "DB_MAX_CONNS.", nil, nil)
	poolAcquires    = prometheus.NewDesc("docket_db_acquires_total", "Connections taken from the pool.", nil, nil)
	poolWaits       = prometheus.NewDesc("docket_db_acquire_waits_total", "Connections that had to be waited for.", nil, nil)
	poolWaiting     = prometheus.NewDesc("docket_db_acquire_wait_seconds_total", "Time spent waiting for them.", nil, nil)
	poolCancels     = prometheus.NewDesc("docket_db_acquire_cancels_total", "Waits that were given up.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c poolCollector) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{poolConnections, poolMost, poolAcquires, poolWaits, poolWaiting, poolCancels} {
		to <- desc
	}
}

// Collect implements prometheus.Collector.
func (c poolCollector) Collect(to chan<- prometheus.Metric) {
	s := c.store.Stat()
	gauge := func(desc *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, labels...)
	}
	counter := func(desc *prometheus.Desc, v float64) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, v)
	}
	gauge(poolConnections, float64(s.Acquired), "acquired")
	gauge(poolConnections, float64(s.Idle), "idle")
	gauge(poolMost, float64(s.Max))
	counter(poolAcquires, float64(s.Acquires))
	counter(poolWaits, float64(s.Waits))
	counter(poolWaiting, s.Waiting.Seconds())
	counter(poolCancels, float64(s.Cancels))
}
