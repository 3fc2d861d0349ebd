package middleware_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"docket/internal/middleware"
)

func TestResponsesOfTheMuxItselfAreReplaced(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /tasks", func(w http.ResponseWriter, r *http.Request) {
		middleware.StateOf(r.Context()).Route = r.Pattern
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "of the handler")
	})
	mux.HandleFunc("GET /folder/", func(w http.ResponseWriter, r *http.Request) {
		middleware.StateOf(r.Context()).Route = r.Pattern
		_, _ = io.WriteString(w, "of the handler") // without WriteHeader
	})
	h := middleware.RequestID(middleware.Unmatched(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "replaced "+w.Header().Get("Allow"))
	})(mux))
	for _, test := range []struct {
		method, target, want string
		status               int
	}{
		{"GET", "/tasks", "of the handler", 404},
		{"GET", "/folder/a", "of the handler", 200},
		{"GET", "/none", "replaced ", 418},
		{"POST", "/tasks", "replaced GET, HEAD", 418},
		{"GET", "/folder", "replaced ", 418},
		{"GET", "//tasks", "replaced ", 418},
		{"GET", "/x/../tasks", "replaced ", 418},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(test.method, test.target, nil))
		if w.Body.String() != test.want || w.Code != test.status {
			t.Errorf("%s %s: %d %q, want %d %q", test.method, test.target, w.Code, w.Body, test.status, test.want)
		}
	}
}
