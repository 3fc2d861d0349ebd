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

// discard is a ResponseWriter that keeps only the status.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header { return d.header }

func (d *discard) Write(body []byte) (int, error) { return len(body), nil }

func (d *discard) WriteHeader(status int) { d.status = status }

// repeat sends one request to a handler b.N times.
func repeat(b *testing.B, h http.Handler, status int, method, target, token, body string) {
	b.Helper()
	r := httptest.NewRequest(method, target, nil)
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Accept", "application/json")
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
		r.ContentLength = int64(len(body))
	}
	w := &discard{header: http.Header{}}
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

// silent returns a service whose log is formatted and discarded.
func silent(b *testing.B) (*service, *server.Server) {
	s := start(b, withoutDatabase)
	config := s.config
	config.Log = slog.New(slog.DiscardHandler)
	return s, must(server.New(config))
}

// BenchmarkProblem measures a request that is refused.
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
			repeat(b, docket, test.status, test.method, s.ada.tasks()+test.path, s.ada.token, test.body)
		})
	}
}
