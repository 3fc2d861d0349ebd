package main

import (
	"net/http"
	"strings"
	"testing"

	"docket/internal/tracetest"
)

func TestServeDeliversItsTracesBeforeItEnds(t *testing.T) {
	t.Parallel()
	c := tracetest.Start(t)
	d, e := newDependencies(t)
	e["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"], e["OTEL_EXPORTER_OTLP_HEADERS"] = c.URL, "authorization=hunter2"
	e["OTEL_SERVICE_NAME"], e["OTEL_BSP_SCHEDULE_DELAY"] = "tasks", "3600000" // nothing is delivered before it ends
	s := background(t, e, "serve")
	s.untilReady(t)
	name, value := d.bearer("somebody-42")
	get(t, s.url+"/api/somebody-42/tasks", name, value)
	s.stop()
	s.wait(t)
	found := map[string]bool{}
	for _, span := range c.Spans() {
		found[span.Name] = true
	}
	for _, want := range []string{"GET /api/{user_id}/tasks", "listTasks", "GET"} {
		if !found[want] {
			t.Errorf("no span is called %s: %v", want, found)
		}
	}
	if c.Resource()["service.name"] != "tasks" || c.Resource()["service.version"] != buildVersion || c.Header().Get("Authorization") != "hunter2" {
		t.Errorf("%v, with the header %v", c.Resource(), c.Header())
	}
	for _, secret := range []string{"hunter2", c.URL} {
		if strings.Contains(s.stderr.String(), secret) {
			t.Errorf("the log holds %s:\n%s", secret, &s.stderr)
		}
	}
}

func TestServeNamesVariablesOfTracesThatItRefuses(t *testing.T) {
	t.Parallel()
	_, e := newDependencies(t)
	e["OTEL_EXPORTER_OTLP_ENDPOINT"], e["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http://127.0.0.1:1", "grpc"
	invoke(t, e, "serve").want(t, 2, "OTEL_EXPORTER_OTLP_PROTOCOL: must be http/protobuf")
	e["OTEL_EXPORTER_OTLP_PROTOCOL"], e["OTEL_EXPORTER_OTLP_CERTIFICATE"] = "", "nowhere.pem"
	invoke(t, e, "serve").want(t, 1, "OTEL_EXPORTER_OTLP_CERTIFICATE: open nowhere.pem")
	invoke(t, e, "migrate", "status").want(t, 0)
	e["OTEL_SDK_DISABLED"] = "true"
	s := background(t, e, "serve")
	if status, _ := get(t, s.url+"/health"); status != http.StatusOK {
		t.Errorf("the status is %d", status)
	}
}
