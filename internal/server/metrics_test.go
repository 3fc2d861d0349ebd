package server_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// metrics returns the lines of a scrape.
func (s *service) metrics() map[string]bool {
	w := httptest.NewRecorder()
	s.docket.Metrics().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	lines := map[string]bool{}
	for line := range strings.Lines(w.Body.String()) {
		lines[strings.TrimSuffix(line, "\n")] = true
	}
	return lines
}

func (s *service) wantMetrics(t testing.TB, want ...string) {
	t.Helper()
	got := s.metrics()
	for _, line := range want {
		if !got[line] {
			t.Errorf("there is no line %s", line)
		}
	}
}

func TestMetricsOfAdmission(t *testing.T) {
	t.Parallel()
	s, release := slow(t)
	s.wantMetrics(t,
		"docket_admission_in_flight 0", "docket_admission_queued 0", `docket_admission_refused_total{reason="busy"} 0`,
		`docket_admission_refused_total{reason="owner_busy"} 0`, `docket_admission_refused_total{reason="owner_timeout"} 0`)
	const inFlight, refused = 2 * connections, 5
	answers := s.ada.sendMany(t, inFlight+refused, "")
	for range refused {
		(<-answers).want(http.StatusServiceUnavailable)
	}
	eventually(t, "the others wait", func() bool { return s.metrics()["docket_admission_queued 9"] })
	s.wantMetrics(t,
		"docket_admission_in_flight 3", `docket_admission_refused_total{reason="owner_busy"} 5`,
		`docket_admission_refused_total{reason="busy"} 0`, `docket_problems_total{type="overloaded"} 5`)
	s.wantMetrics(t, "docket_admission_scans_waiting 0")
	release()
	for range inFlight {
		(<-answers).want(http.StatusOK)
	}
	eventually(t, "none is in flight", func() bool { return s.metrics()["docket_admission_in_flight 0"] })
}

func TestMetricsOfReadiness(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.wantMetrics(t, `docket_ready{check="database"} 1`, `docket_ready{check="schema"} 1`, `docket_ready{check="keys"} 1`)
	s.exec(t, "update docket_schema_version set version = version - 1")
	s.wantMetrics(t, `docket_ready{check="database"} 1`, `docket_ready{check="schema"} 0`, `docket_ready{check="keys"} 1`)

	s = start(t, withoutDatabase, func(o *options) { o.keysURL = nowhere })
	s.wantMetrics(t, `docket_ready{check="database"} 0`, `docket_ready{check="keys"} 0`, "docket_auth_keys 0")
	for line := range s.metrics() {
		if strings.HasPrefix(line, `docket_ready{check="schema"}`) || strings.HasPrefix(line, "docket_schema_version ") {
			t.Errorf("%s, although the database was never reached", line)
		}
	}
}

func TestMetricsOfProblemsAndConnections(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *options) { o.MaxConnections = 100 })
	s.send(t, "GET", "/nowhere", "").want(http.StatusNotFound)
	c := s.dial(t, "NONSENSE\r\n\r\n") // net/http refuses it
	c.answer(t, "NONSENSE\r\n\r\n").want(http.StatusBadRequest)
	s.wantMetrics(t,
		`docket_problems_total{type="route_not_found"} 1`, `docket_problems_total{type="malformed_request"} 1`,
		`docket_problems_total{type="internal_error"} 0`, "docket_panics_total 0", "docket_client_connections_max 100")
	s.client.CloseIdleConnections()
	eventually(t, "no client is connected", func() bool { return s.metrics()["docket_client_connections 0"] })
	s.dial(t, "GET /health HTTP/1.1\r\nHost: docket\r\n\r\n").answer(t, "GET /health HTTP/1.1\r\nHost: docket\r\n\r\n").want(http.StatusOK)
	s.wantMetrics(t, "docket_client_connections 1")
}
