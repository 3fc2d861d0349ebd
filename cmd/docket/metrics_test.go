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

// docs/operations.md explains the metrics: every one that is there, and none that is not.
func TestMetricsAreThoseOfTheDocs(t *testing.T) {
	t.Parallel()
	e, database, keys, i := served(t)
	database.now(open)
	keys.now(open)
	e["METRICS_ADDR"] = "127.0.0.1:0"
	s := background(t, e, "serve")
	eventually(t, "it is ready", func() bool {
		status, _ := get(t, s.url+"/health/ready")
		return status == http.StatusOK
	})
	token, err := i.token("somebody-42", 1e12)
	check(t, err)
	get(t, s.url+"/api/somebody-42/tasks", "Authorization", "Bearer "+token)
	get(t, s.url+"/nowhere/else")
	var metrics string
	for line := range strings.Lines(s.stderr.String()) {
		var entry struct{ Msg, Addr string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "metrics" {
			metrics = "http://" + entry.Addr + "/metrics"
		}
	}
	// A request is counted when its answer has been sent, perhaps a moment after it was read.
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
		t.Errorf("the metrics' address answers something else: %d", status)
	}
	if status, _ := get(t, s.url+"/metrics"); status != http.StatusNotFound {
		t.Errorf("the public address answers /metrics: %d", status)
	}
}

// scrape is get for an address that is not the contract's.
func scrape(t *testing.T, address string) (status int, body string) {
	t.Helper()
	response, err := http.Get(address)
	check(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	check(t, err)
	return response.StatusCode, string(text)
}
