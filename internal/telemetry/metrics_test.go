package telemetry_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"docket/internal/telemetry"
)

var labels = telemetry.Labels{Problems: []string{"internal_error", "unavailable"}, Refusals: []string{"busy", "owner_busy"}}

// page returns what a scrape reads.
func page(m *telemetry.Metrics) string {
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

func TestMetricsKeepTheirNames(t *testing.T) {
	t.Parallel()
	m := telemetry.New("1.2.3", labels, func() telemetry.State {
		return telemetry.State{
			Ready:         telemetry.Ready{Database: true, Keys: true},
			SchemaVersion: 4, SchemaNeeded: 5,
			DB: telemetry.DBStats{
				Acquired: 1, Idle: 2, Max: 3, Acquires: 4, Waits: 5, Waiting: 6 * time.Second, Cancels: 7,
				Mode: "exec", Retries: 8, Reconnects: 9, Lost: 10, SharedReads: 11, SharedGroups: 12,
				Transactions: 23, Transacting: 24 * time.Second,
			},
			Auth:     telemetry.AuthStats{Keys: 13, Fetched: time.UnixMilli(14500), Failures: 15, CacheHits: 16, CacheMisses: 17, CacheEntries: 18},
			Admitted: 19, Queued: 20, ScansWaiting: 25, Connections: 21, ConnectionsMost: 22,
		}
	})
	m.Observe("GET /health", 200, 3*time.Millisecond)
	m.Observe("GET /health", 200, 3*time.Millisecond)
	m.Observe("", 404, time.Minute)
	m.Problem("internal_error")
	m.Refused("owner_busy")
	m.Refused("owner_busy")
	m.Panicked()
	text := page(m)
	lines := strings.Split(text, "\n")
	for _, want := range []string{
		`docket_info{version="1.2.3"} 1`,
		`docket_http_request_duration_seconds_count{route="GET /health",status="200"} 2`,
		`docket_http_request_duration_seconds_bucket{route="GET /health",status="200",le="0.005"} 2`,
		`docket_http_request_duration_seconds_bucket{route="GET /health",status="200",le="0.0025"} 0`,
		`docket_http_request_duration_seconds_bucket{route="none",status="404",le="10"} 0`,
		`docket_http_request_duration_seconds_count{route="none",status="404"} 1`,
		`docket_problems_total{type="internal_error"} 1`,
		`docket_problems_total{type="unavailable"} 0`,
		`docket_panics_total 1`,
		`docket_ready{check="database"} 1`,
		`docket_ready{check="schema"} 0`,
		`docket_ready{check="keys"} 1`,
		`docket_schema_version 4`,
		`docket_schema_version_needed 5`,
		`docket_db_connections{state="acquired"} 1`,
		`docket_db_connections{state="idle"} 2`,
		`docket_db_connections_max 3`,
		`docket_db_acquires_total 4`,
		`docket_db_acquire_waits_total 5`,
		`docket_db_acquire_wait_seconds_total 6`,
		`docket_db_acquire_cancels_total 7`,
		`docket_db_query_mode{mode="cache_statement"} 0`,
		`docket_db_query_mode{mode="exec"} 1`,
		`docket_db_query_mode{mode="cache_describe"} 0`,
		`docket_db_retries_total 8`,
		`docket_db_reconnects_total 9`,
		`docket_db_prepared_statements_lost_total 10`,
		`docket_db_shared_reads_total 11`,
		`docket_db_shared_round_trips_total 12`,
		`docket_auth_keys 13`,
		`docket_auth_keys_fetched_timestamp_seconds 14.5`,
		`docket_auth_key_fetch_failures_total 15`,
		`docket_token_cache_hits_total 16`,
		`docket_token_cache_misses_total 17`,
		`docket_token_cache_entries 18`,
		`docket_admission_in_flight 19`,
		`docket_admission_queued 20`,
		`docket_admission_scans_waiting 25`,
		`docket_db_transactions_total 23`,
		`docket_db_transaction_seconds_total 24`,
		`docket_admission_refused_total{reason="busy"} 0`,
		`docket_admission_refused_total{reason="owner_busy"} 2`,
		`docket_client_connections 21`,
		`docket_client_connections_max 22`,
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("there is no line %s", want)
		}
	}
	for _, name := range []string{"go_goroutines ", "process_start_time_seconds ", "docket_start_time_seconds "} {
		if !strings.Contains(text, "\n"+name) {
			t.Errorf("there is no %s", name)
		}
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// What is not known has no series, as any value would be taken for the truth.
func TestWhatIsNotKnownHasNoSeries(t *testing.T) {
	t.Parallel()
	text := page(telemetry.New("1.2.3", labels, func() telemetry.State {
		return telemetry.State{Ready: telemetry.Ready{SchemaUnknown: true}}
	}))
	for _, absent := range []string{"\ndocket_schema_version ", "\ndocket_auth_keys_fetched_timestamp_seconds ", `docket_ready{check="schema"}`} {
		if strings.Contains(text, absent) {
			t.Errorf("there is a %s", absent)
		}
	}
	if !strings.Contains(text, "\ndocket_ready{check=\"database\"} 0\n") {
		t.Error("the check of the database has no series")
	}
}

// Counting a problem or a refusal allocates nothing: the counters are made when the service starts.
//
//nolint:paralleltest // AllocsPerRun counts the allocations of all goroutines
func TestCountingDoesNotAllocate(t *testing.T) {
	m := telemetry.New("1.2.3", labels, func() telemetry.State { return telemetry.State{} })
	if n := testing.AllocsPerRun(100, func() {
		m.Problem("unavailable")
		m.Refused("busy")
		m.Panicked()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
