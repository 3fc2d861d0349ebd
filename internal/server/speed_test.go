package server_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"docket/internal/server"
)

// blank takes an answer and forgets it.
type blank struct {
	header http.Header
	status int
}

func (b *blank) Header() http.Header { return b.header }

func (b *blank) Write(body []byte) (int, error) { return len(body), nil }

func (b *blank) WriteHeader(status int) { b.status = status }

// serveAgain has a handler answer one request over and over.
func serveAgain(b *testing.B, h http.Handler, status int, method, target, token, body string) {
	b.Helper()
	r := httptest.NewRequest(method, target, nil)
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Accept", "application/json")
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
		r.ContentLength = int64(len(body))
	}
	w := &blank{header: http.Header{}}
	reader := strings.NewReader(body)
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		reader.Reset(body)
		r.Body = io.NopCloser(reader)
		h.ServeHTTP(w, r)
	}
	if w.status != status {
		b.Fatalf("status %d, want %d", w.status, status)
	}
}

// silent makes a service that logs as it does elsewhere, to nobody.
func silent(b *testing.B) (*service, *server.Server) {
	s := start(b, withoutDatabase)
	config := s.config
	config.Log = slog.New(slog.NewJSONHandler(io.Discard, nil))
	return s, must(server.New(config))
}

// BenchmarkChecks is everything between the mux and the handler: token, path, parameters, body. The library makes all
// checks of the contract where the quick ones do not.
func BenchmarkChecks(b *testing.B) {
	s, docket := silent(b)
	for _, test := range []struct{ name, pattern, method, path, body string }{
		{"list", "GET /api/{user_id}/tasks", "GET", "?status=pending&sort=priority&limit=20", ""},
		{"create", "POST /api/{user_id}/tasks", "POST", "", `{"title":"Prepare the quarterly report","priority":"high"}`},
		{"update", "PATCH /api/{user_id}/tasks/{task_id}", "PATCH", "/8f14e45f-ceea-467f-a0e6-1c2d3b4a5f60", `{"completed":true}`},
	} {
		for by, quick := range map[string]bool{"quick": true, "library": false} {
			h := must(docket.Checked(test.pattern, quick, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
			b.Run(test.name+"/"+by, func(b *testing.B) {
				serveAgain(b, h, http.StatusNoContent, test.method, s.ada.tasks()+test.path, s.ada.token, test.body)
			})
		}
	}
}

// BenchmarkProblem is the whole way of a request that is refused.
func BenchmarkProblem(b *testing.B) {
	s, docket := silent(b)
	for _, test := range []struct {
		name               string
		status             int
		method, path, body string
	}{
		{"parameter", http.StatusBadRequest, "GET", "?statu=pending", ""},
		{"body", http.StatusUnprocessableEntity, "POST", "", `{"title":"","priority":"urgent","colour":"red"}`},
	} {
		b.Run(test.name, func(b *testing.B) {
			serveAgain(b, docket, test.status, test.method, s.ada.tasks()+test.path, s.ada.token, test.body)
		})
	}
}
