package main

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

// docs/operations.md lists every metric of the service, and no other.
func TestMetricsEqualTheDocumentedOnes(t *testing.T) {
	t.Parallel()
	d, e := newDependencies(t)
	e["METRICS_ADDR"] = "127.0.0.1:0"
	s := background(t, e, "serve")
	s.untilReady(t)
	name, value := d.bearer("somebody-42")
	get(t, s.url+"/api/somebody-42/tasks", name, value)
	get(t, s.url+"/nowhere/else")
	var metrics string
	for line := range strings.Lines(s.stderr.String()) {
		var entry struct{ Msg, Addr string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "metrics" {
			metrics = "http://" + entry.Addr + "/metrics"
		}
	}
	// A request is counted after its answer has been sent.
	var page string
	for _, want := range []string{
		`docket_http_request_duration_seconds_count{route="GET /api/{user_id}/tasks",status="200"} 1`,
		`docket_http_request_duration_seconds_count{route="none",status="404"} 1`,
		"docket_db_connections_max 30", "docket_info{version=", "go_goroutines ",
	} {
		eventually(t, want, func() bool {
			_, page = scrape(t, metrics)
			return strings.Contains(page, want)
		})
	}
	docs, err := os.ReadFile("../../docs/operations.md")
	check(t, err)
	_, docsMetrics, _ := strings.Cut(string(docs), "\n## Metrics\n")
	docsMetrics, _, _ = strings.Cut(docsMetrics, "\n## ")
	documented, served := map[string]bool{}, map[string]bool{}
	for _, name := range regexp.MustCompile(`docket_[a-z_]+`).FindAllString(docsMetrics, -1) {
		documented[name] = true
	}
	for _, name := range regexp.MustCompile(`(?m)^# TYPE (docket_[a-z_]+)`).FindAllStringSubmatch(page, -1) {
		served[name[1]] = true
	}
	if !maps.Equal(documented, served) {
		t.Errorf("docs/operations.md has %v, the service %v", documented, served)
	}
	for _, secret := range []string{"somebody-42", "nowhere"} {
		if strings.Contains(page, secret) {
			t.Errorf("the metrics hold %q", secret)
		}
	}
	if status, _ := scrape(t, strings.Replace(metrics, "/metrics", "/api/somebody-42/tasks", 1)); status != http.StatusNotFound {
		t.Errorf("the address of the metrics answers another path with %d", status)
	}
	if status, _ := get(t, s.url+"/metrics"); status != http.StatusNotFound {
		t.Errorf("the API answers /metrics with %d", status)
	}
}

// scrape is like get, for an address that openapi.yaml does not describe.
func scrape(t *testing.T, address string) (status int, body string) {
	t.Helper()
	response, err := http.Get(address)
	check(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	check(t, err)
	return response.StatusCode, string(text)
}
