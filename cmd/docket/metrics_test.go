package main

import (
	"bufio"
	"encoding/json"
	"io"
	"maps"
	"net"
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
	metrics := adminURL(s) + "/metrics"
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

// adminURL returns the address of the metrics, from the log.
func adminURL(s *running) (url string) {
	for line := range strings.Lines(s.stderr.String()) {
		var entry struct{ Msg, Addr string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "metrics" {
			url = "http://" + entry.Addr
		}
	}
	return url
}

// fault D1
func TestProbesAreAnsweredBesideTheMetricsWhileAllConnectionsAreInUse(t *testing.T) {
	t.Parallel()
	_, e := newDependencies(t)
	e["METRICS_ADDR"], e["MAX_CONNECTIONS"] = "127.0.0.1:0", "1"
	s := background(t, e, "serve")
	eventually(t, "it is ready", func() bool { status, _ := scrape(t, adminURL(s)+"/health/ready"); return status == http.StatusOK })
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	check(t, err)
	defer c.Close()
	_, err = io.WriteString(c, "GET /health HTTP/1.1\r\nHost: docket\r\n\r\n")
	check(t, err)
	answer, err := http.ReadResponse(bufio.NewReader(c), nil) // c is the one connection now
	check(t, err)
	check(t, answer.Body.Close())
	for path, want := range map[string]string{"/health": `"status":"healthy"`, "/health/ready": `"status":"ready"`} {
		if status, body := scrape(t, adminURL(s)+path); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, status, body)
		}
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
