package middleware_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"docket/internal/middleware"
)

func TestEveryRequestIsLoggedAndObserved(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		state middleware.State // what the handler sets
		level string
	}{
		{middleware.State{Route: "GET /tasks", Owner: "ada", Status: 200}, "INFO"},
		{middleware.State{Route: "GET /tasks", Owner: "ada", Status: 404, Problem: "task_not_found"}, "INFO"},
		{middleware.State{Route: "GET /tasks", Status: 401, Problem: "unauthorized", Reason: "unknown_key"}, "INFO"},
		{middleware.State{Route: "GET /tasks", Owner: "bob", Status: 500}, "ERROR"},
		{middleware.State{Route: "GET /health", Quiet: true, Status: 200}, "DEBUG"},
		{middleware.State{Route: "GET /health", Quiet: true, Status: 503}, "DEBUG"},
		{middleware.State{Status: 404}, "INFO"},
	} {
		var text bytes.Buffer
		log := slog.New(slog.NewJSONHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug}))
		var route string
		var status int
		observe := func(r string, s int, took time.Duration) {
			if route, status = r, s; took < 0 {
				t.Errorf("it took %v", took)
			}
		}
		h := middleware.RequestID(middleware.Log(log, observe, nil)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s := middleware.StateOf(r.Context())
			s.Route, s.Owner, s.Quiet = test.state.Route, test.state.Owner, test.state.Quiet
			s.Problem, s.Reason = test.state.Problem, test.state.Reason
			w.WriteHeader(test.state.Status)
		})))
		serve(t, h, "/secret?secret", "X-Request-Id: mine", "Authorization: secret")
		if route != test.state.Route || status != test.state.Status {
			t.Errorf("observed %s %d, want %+v", route, status, test.state)
		}
		var line map[string]any
		if err := json.Unmarshal(text.Bytes(), &line); err != nil {
			t.Fatalf("%v in %s", err, &text)
		}
		owner, _ := line["owner"].(string)
		if (owner == "") != (test.state.Owner == "") {
			t.Errorf("the owner is %q", owner)
		}
		for name, want := range map[string]string{"problem": test.state.Problem, "reason": test.state.Reason} {
			if got, has := line[name]; has != (want != "") || has && got != want {
				t.Errorf("%s is %v, want %q", name, got, want)
			}
		}
		for name, want := range map[string]any{
			"level": test.level, "msg": "request", "request_id": "mine", "method": "GET", "route": test.state.Route, "status": float64(test.state.Status),
		} {
			if line[name] != want {
				t.Errorf("%s is %v, want %v", name, line[name], want)
			}
		}
		for _, secret := range []string{"secret", "ada", "bob"} {
			if strings.Contains(text.String(), secret) {
				t.Errorf("the line holds %s: %s", secret, &text)
			}
		}
	}
}

func TestAnAbortedRequestIsLogged(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	h := middleware.RequestID(middleware.Log(slog.New(slog.NewTextHandler(&text, nil)), func(string, int, time.Duration) {}, nil)(
		http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })))
	func() {
		defer func() {
			if v := recover(); v != any(http.ErrAbortHandler) {
				t.Errorf("the panic is %v", v)
			}
		}()
		serve(t, h, "/")
	}()
	if !strings.Contains(text.String(), "msg=request") {
		t.Errorf("logged: %s", &text)
	}
}

func TestTheTimeInTheOwnersQueueIsNotObserved(t *testing.T) {
	t.Parallel()
	for queued, longest := range map[time.Duration]time.Duration{0: time.Hour, time.Hour: 0} {
		took := time.Duration(-1)
		observe := func(_ string, _ int, d time.Duration) { took = d }
		h := middleware.RequestID(middleware.Log(slog.New(slog.DiscardHandler), observe, nil)(
			http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { middleware.StateOf(r.Context()).OwnerQueue = queued })))
		serve(t, h, "/")
		if took < 0 || took > longest || took == 0 && queued == 0 {
			t.Errorf("with %v in the queue, %v was observed", queued, took)
		}
	}
}

func TestALongMethodIsShortenedInTheLog(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	h := middleware.RequestID(middleware.Log(slog.New(slog.NewTextHandler(&text, nil)), func(string, int, time.Duration) {}, nil)(write(405, "")))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(strings.Repeat("GET", 1000), "/", nil))
	if !strings.Contains(text.String(), "method=GETGETGE… ") {
		t.Errorf("logged: %.300s", &text)
	}
}
