package telemetry_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"docket/internal/telemetry"
)

func TestMetricsKeepTheirNames(t *testing.T) {
	t.Parallel()
	m := telemetry.New("1.2.3", func() telemetry.PoolStats {
		return telemetry.PoolStats{Acquired: 1, Idle: 2, Max: 3, Acquires: 4, Waits: 5, Waiting: 6 * time.Second, Cancels: 7}
	})
	m.Observe("GET /health", 200, 3*time.Millisecond)
	m.Observe("GET /health", 200, 3*time.Millisecond)
	m.Observe("", 404, time.Minute)
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	lines := strings.Split(w.Body.String(), "\n")
	for _, want := range []string{
		`docket_info{version="1.2.3"} 1`,
		`docket_http_request_duration_seconds_count{route="GET /health",status="200"} 2`,
		`docket_http_request_duration_seconds_bucket{route="GET /health",status="200",le="0.005"} 2`,
		`docket_http_request_duration_seconds_bucket{route="GET /health",status="200",le="0.0025"} 0`,
		`docket_http_request_duration_seconds_bucket{route="none",status="404",le="10"} 0`,
		`docket_http_request_duration_seconds_count{route="none",status="404"} 1`,
		`docket_db_connections{state="acquired"} 1`,
		`docket_db_connections{state="idle"} 2`,
		`docket_db_connections_max 3`,
		`docket_db_acquires_total 4`,
		`docket_db_acquire_waits_total 5`,
		`docket_db_acquire_wait_seconds_total 6`,
		`docket_db_acquire_cancels_total 7`,
	} {
		found := false
		for _, line := range lines {
			found = found || line == want
		}
		if !found {
			t.Errorf("there is no line %s", want)
		}
	}
	for _, name := range []string{"go_goroutines ", "process_start_time_seconds "} {
		if !strings.Contains(w.Body.String(), "\n"+name) {
			t.Errorf("there is no %s", name)
		}
	}
}
