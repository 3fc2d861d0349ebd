package middleware_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"docket/internal/middleware"
)

// serve sends a GET request with the given headers ("Name: value") through a handler, and returns the response.
func serve(t *testing.T, h http.Handler, target string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// write returns a handler that responds with a status and a text.
func write(status int, text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	})
}

// failed responds as the service does, with the error.
func failed(w http.ResponseWriter, _ *http.Request, err error) {
	http.Error(w, err.Error(), http.StatusTeapot)
}

var newID = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func TestTheClientsRequestIDIsUsedIfItIsWellFormed(t *testing.T) {
	t.Parallel()
	var state *middleware.State
	h := middleware.RequestID(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { state = middleware.StateOf(r.Context()) }))
	for _, id := range []string{"a", "0123.abc_DEF-9", strings.Repeat("x", 64), "."} {
		if got := serve(t, h, "/", "X-Request-Id: "+id).Header().Get("X-Request-Id"); got != id || state.RequestID != id {
			t.Errorf("%q becomes %q in the response and %q in the state", id, got, state.RequestID)
		}
	}
	seen := map[string]bool{}
	for _, id := range []string{"", strings.Repeat("x", 65), "a b", "é", "a/b", `"`, "\xff", "a:b"} {
		got := serve(t, h, "/", "X-Request-Id: "+id).Header().Get("X-Request-Id")
		if !newID.MatchString(got) || seen[got] || state.RequestID != got {
			t.Errorf("%q becomes %q in the response and %q in the state", id, got, state.RequestID)
		}
		seen[got] = true
	}
}

func TestStateRecordsTheFirstStatus(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		want int
		do   func(w http.ResponseWriter)
	}{
		{0, func(http.ResponseWriter) {}},
		{200, func(w http.ResponseWriter) { _, _ = io.WriteString(w, "text") }},
		{404, func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusNotFound)
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, "text")
		}},
	} {
		var state *middleware.State
		w := serve(t, middleware.RequestID(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			state = middleware.StateOf(r.Context())
			test.do(w)
		})), "/")
		if state.Status != test.want || test.want != 0 && w.Code != test.want {
			t.Errorf("recorded %d and sent %d, want %d", state.Status, w.Code, test.want)
		}
	}
}

// A stream must be able to flush and to set deadlines, so every ResponseWriter in between must be unwrappable.
func TestEveryResponseWriterCanBeUnwrapped(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.Handle("GET /", middleware.Compress(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		middleware.StateOf(r.Context()).Route = "GET /"
		connection := http.NewResponseController(w)
		for name, err := range map[string]error{
			"SetReadDeadline":  connection.SetReadDeadline(time.Time{}),
			"SetWriteDeadline": connection.SetWriteDeadline(time.Time{}),
			"Flush":            connection.Flush(),
		} {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})))
	host := httptest.NewServer(middleware.RequestID(middleware.Unmatched(nil)(mux)))
	defer host.Close()
	response, err := host.Client().Get(host.URL)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
}
