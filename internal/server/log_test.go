package server_test

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// line is the log entry of one request.
type line struct {
	Level     string        `json:"level"`
	Message   string        `json:"msg"`
	RequestID string        `json:"request_id"`
	Method    string        `json:"method"`
	Route     string        `json:"route"`
	Status    int           `json:"status"`
	Duration  time.Duration `json:"duration"`
	Owner     string        `json:"owner"`
	TraceID   string        `json:"trace_id"`
	Problem   string        `json:"problem"`
	Reason    string        `json:"reason"`
}

// logged waits for the line of a request. It is written after the answer.
func (s *service) logged(t testing.TB, requestID string) (found line) {
	t.Helper()
	eventually(t, "the request is in the log", func() bool {
		for text := range strings.Lines(s.log.String()) {
			var l line
			if json.Unmarshal([]byte(text), &l) == nil && l.Message == "request" && l.RequestID == requestID {
				found = l
				return true
			}
		}
		return false
	})
	return found
}

func TestLogHasALineForEveryRequest(t *testing.T) {
	t.Parallel()
	s := start(t)
	made := s.ada.create(t, `{"title": "A"}`)
	adas := s.logged(t, s.ada.send(t, "GET", "", "").get("X-Request-Id")).Owner
	bobs := s.logged(t, s.bob.send(t, "GET", "", "").get("X-Request-Id")).Owner
	if adas == "" || bobs == "" || adas == bobs {
		t.Errorf("the owners are %q and %q", adas, bobs)
	}
	for _, test := range []struct {
		method, target, body, token string
		want                        line
	}{
		{"GET", s.ada.tasks() + "?search=x", "", s.ada.token, line{"INFO", "", "", "GET", "GET /api/{user_id}/tasks", 200, 0, adas, "", "", ""}},
		{"POST", s.ada.tasks(), `{"title": "A"}`, s.ada.token, line{"INFO", "", "", "POST", "POST /api/{user_id}/tasks", 201, 0, adas, "", "", ""}},
		{"HEAD", s.ada.tasks() + "/" + made.ID, "", s.ada.token, line{"INFO", "", "", "HEAD", "GET /api/{user_id}/tasks/{task_id}", 200, 0, adas, "", "", ""}},
		{"PUT", s.ada.tasks() + "/" + uuid.NewString(), `{"title": "A"}`, s.ada.token, line{"INFO", "", "", "PUT", "PUT /api/{user_id}/tasks/{task_id}", 404, 0, adas, "", "task_not_found", ""}},
		{"GET", s.bob.tasks(), "", s.ada.token, line{"INFO", "", "", "GET", "GET /api/{user_id}/tasks", 403, 0, adas, "", "user_mismatch", ""}},
		{"GET", s.ada.tasks(), "", "", line{"INFO", "", "", "GET", "GET /api/{user_id}/tasks", 401, 0, "", "", "unauthorized", "missing"}},
		{"GET", s.ada.tasks(), "", "session", line{"INFO", "", "", "GET", "GET /api/{user_id}/tasks", 401, 0, "", "", "unauthorized", "not_a_jwt"}},
		{"DELETE", s.ada.tasks(), "", s.ada.token, line{"INFO", "", "", "DELETE", "", 405, 0, "", "", "method_not_allowed", ""}},
		{"GET", "/nonsense/" + s.ada.id, "", "", line{"INFO", "", "", "GET", "", 404, 0, "", "", "route_not_found", ""}},
		{"GET", "/docs", "", "", line{"INFO", "", "", "GET", "GET /docs", 200, 0, "", "", "", ""}},
		{"GET", "/health", "", "", line{"DEBUG", "", "", "GET", "GET /health", 200, 0, "", "", "", ""}},
		{"GET", "/health/ready", "", "", line{"DEBUG", "", "", "GET", "GET /health/ready", 200, 0, "", "", "", ""}},
	} {
		headers := []string{}
		if test.token != "" {
			headers = append(headers, "Authorization: Bearer "+test.token)
		}
		a := s.send(t, test.method, test.target, test.body, headers...)
		got := s.logged(t, a.get("X-Request-Id"))
		if got.Duration <= 0 {
			t.Errorf("%+v took no time", got)
		}
		got.Message, got.RequestID, got.Duration = "", "", 0
		if got != test.want {
			t.Errorf("%s %s is logged as %+v, want %+v", test.method, test.target, got, test.want)
		}
	}
}

// More people may read the log than the tasks, so it names no owner and contains none of their data.
func TestLogContainsNoSecrets(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *options) { o.RequestTimeout = time.Minute })
	s.exec(t, raiseSQL)
	made := s.ada.create(t, `{"title": "secret-title", "description": "secret-description"}`)
	s.ada.create(t, `{"title": "secret-title too"}`)
	cursor := *s.ada.send(t, "GET", "?limit=1", "").list().NextCursor
	for _, request := range [][3]string{
		{"GET", "?search=secret-search", ""},
		{"GET", "?search=secret-search&nonsense=secret-parameter", ""},
		{"GET", "?limit=1&cursor=" + cursor, ""},
		{"GET", "?cursor=secret-cursor", ""},
		{"GET", "/" + made.ID, ""},
		{"GET", "/secret-task", ""},
		{"PUT", "/" + made.ID, `{"title": "secret-title", "description": "secret-description"}`},
		{"PUT", "/" + made.ID, `{"secret-field": "secret-value"}`},
		{"PATCH", "/" + made.ID, `{"title": "secret-title"`},
		{"POST", "", `{"title": "raise XX000", "description": "secret-description"}`},
		{"POST", "", `{"title": "raise 23514", "description": "secret-description"}`},
		{"POST", "", `{"title": "hang up", "description": "secret-description"}`},
		{"DELETE", "/" + made.ID, ""},
	} {
		s.logged(t, s.ada.send(t, request[0], request[1], request[2], "Cookie: session=secret-cookie", "Referer: https://secret-referer.example").get("X-Request-Id"))
	}
	s.exec(t, "create policy broken on task as restrictive to docket_app using (1 / 0 > 0)")
	s.logged(t, s.ada.send(t, "POST", "", `{"title": "secret-title"}`).want(http.StatusInternalServerError).get("X-Request-Id"))
	s.logged(t, s.bob.send(t, "GET", "", "", "Authorization: Bearer secret-token").get("X-Request-Id"))
	s.logged(t, s.bob.send(t, "GET", "", "", "Authorization: Basic secret-password").get("X-Request-Id"))
	for _, secret := range []string{
		"secret", cursor, made.ID, s.ada.id, s.bob.id, s.ada.token, s.ada.token[:40], strings.Split(s.ada.token, ".")[1], strings.Split(s.ada.token, ".")[2],
	} {
		text := strings.ReplaceAll(s.log.String(), "the secret of the schema", "")
		if i := strings.Index(text, secret); i >= 0 {
			t.Errorf("the log holds %q: …%s…", secret, text[max(0, i-300):min(len(text), i+100)])
		}
	}
}

func TestACanceledRequestIsLoggedAs499(t *testing.T) {
	t.Parallel()
	s := start(t)
	release := s.block(t)
	ctx, cancel := context.WithCancel(t.Context())
	r := must(http.NewRequestWithContext(ctx, http.MethodGet, s.url+s.ada.tasks(), nil))
	r.Header.Set("Authorization", "Bearer "+s.ada.token)
	r.Header.Set("X-Request-Id", "canceled")
	gone := make(chan error)
	go func() {
		response, err := s.client.Do(r)
		if err == nil {
			response.Body.Close()
		}
		gone <- err
	}()
	s.blocked(t)
	cancel()
	if err := <-gone; err == nil {
		t.Error("there was an answer")
	}
	if l := s.logged(t, "canceled"); l.Status != 499 || l.Level != "INFO" {
		t.Errorf("logged as %+v", l)
	}
	release()
}

// block makes every statement on the table wait, until release is called.
func (s *service) block(t testing.TB) (release func()) {
	t.Helper()
	tx := must(s.database.Begin(t.Context()))
	_, err := tx.Exec(t.Context(), "lock table task, task_summary in access exclusive mode")
	check(t, err)
	return func() { check(t, tx.Rollback(t.Context())) }
}

// blocked waits until a statement waits.
func (s *service) blocked(t testing.TB) {
	t.Helper()
	eventually(t, "a statement waits for the lock", func() (is bool) {
		check(t, s.database.QueryRow(t.Context(),
			"select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')").Scan(&is))
		return is
	})
}

// A client may send a method of any length, with content that must not be logged.
func TestLogContainsNoLongMethod(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := s.send(t, strings.Repeat("A", 1000), "/health", "").want(http.StatusMethodNotAllowed)
	if method := s.logged(t, a.get("X-Request-Id")).Method; len(method) > 20 {
		t.Errorf("the method has %d bytes", len(method))
	}
	s.send(t, strings.Repeat("A", 17<<10), "/health", "").want(http.StatusRequestHeaderFieldsTooLarge)
}

func TestTheLogSaysWhichChecksFailAndWhy(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *options) { o.keysURL = nowhere })
	s.exec(t, "update docket_schema_version set version = version - 1")
	var want, got map[string]string
	eventually(t, "the line has what the answer says", func() bool {
		want = s.unready(t)
		for text := range strings.Lines(s.log.String()) {
			var l struct {
				Message string            `json:"msg"`
				Cause   string            `json:"cause"`
				Checks  map[string]string `json:"checks"`
			}
			if json.Unmarshal([]byte(text), &l) == nil && l.Message == "Not ready" && strings.Contains(l.Cause, nowhere) {
				got = l.Checks
			}
		}
		return got != nil
	})
	delete(want, "database") // it is ok
	if len(want) != 2 || !maps.Equal(got, want) {
		t.Errorf("the log has %v, the answer %v", got, want)
	}
}
