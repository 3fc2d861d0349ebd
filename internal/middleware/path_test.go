package middleware_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"docket/internal/middleware"
)

func TestASlashAtTheEndIsRemoved(t *testing.T) {
	t.Parallel()
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.URL.Path+" "+r.URL.EscapedPath())
	})
	for target, want := range map[string]string{
		"/api/a/tasks/":       "/api/a/tasks /api/a/tasks",
		"/api/a/tasks":        "/api/a/tasks /api/a/tasks",
		"/api/a%2Fb/tasks/":   "/api/a/b/tasks /api/a%2Fb/tasks",
		"/api/a/tasks/?x=/":   "/api/a/tasks /api/a/tasks",
		"/api/a/tasks//":      "/api/a/tasks// /api/a/tasks//",
		"/api/a/tasks/%2F":    "/api/a/tasks// /api/a/tasks/%2F",
		"/api/a/tasks/%2F/":   "/api/a/tasks// /api/a/tasks/%2F",
		"/api/a/tasks%2F":     "/api/a/tasks/ /api/a/tasks%2F",
		"/api/":               "/api /api",
		"/docs/":              "/docs/ /docs/",
		"/":                   "/ /",
		"/health/":            "/health /health",
		"/%61pi/a/tasks/":     "/api/a/tasks/ /%61pi/a/tasks/",
		"/api/a/tasks?next=/": "/api/a/tasks /api/a/tasks",
	} {
		r := httptest.NewRequest(http.MethodGet, target, nil)
		before := *r.URL
		w := httptest.NewRecorder()
		middleware.TrailingSlash("/api/", "/health")(echo).ServeHTTP(w, r)
		if w.Body.String() != want || *r.URL != before {
			t.Errorf("%s arrives as %s, want %s", target, w.Body, want)
		}
	}
}

func TestAnEscapedSlashAloneIsASegment(t *testing.T) {
	t.Parallel()
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.URL.EscapedPath())
	})
	for target, want := range map[string]string{
		"/tags/%2F": "/tags/%00%2F", "/tags/%2f": "/tags/%00%2F", "/tags/%2F%2F": "/tags/%2F%2F", "/tags/a%2F": "/tags/a%2F", "/tags//": "/tags//",
		"/tags/": "/tags/", "/tags%2F/": "/tags%2F/", "//": "//", "/%2F": "/%00%2F", "/": "/", "/tags/%2F/a": "/tags/%2F/a",
	} {
		r := httptest.NewRequest(http.MethodGet, target, nil)
		before := *r.URL
		w := httptest.NewRecorder()
		middleware.EscapedSlash(echo).ServeHTTP(w, r)
		if w.Body.String() != want || *r.URL != before {
			t.Errorf("%s arrives as %s, want %s", target, w.Body, want)
		}
	}
}

// fault F7
func TestTheBasePathIsRemoved(t *testing.T) {
	t.Parallel()
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.URL.Path+" "+r.URL.EscapedPath()+" "+r.URL.RawQuery)
	})
	for _, test := range []struct{ base, target, want string }{
		{"", "/api/a/tasks?x=1", "/api/a/tasks /api/a/tasks x=1"},
		{"", "/docket/api/a/tasks", "/docket/api/a/tasks /docket/api/a/tasks "},
		{"/docket", "/docket/api/a/tasks?x=1", "/api/a/tasks /api/a/tasks x=1"},
		{"/docket", "/api/a/tasks", "/api/a/tasks /api/a/tasks "}, // a proxy has removed it
		{"/docket", "/docket/api/a%2Fb/tasks", "/api/a/b/tasks /api/a%2Fb/tasks "},
		{"/docket", "/api/a%2Fb/tasks", "/api/a/b/tasks /api/a%2Fb/tasks "},
		{"/docket", "/docket", "/ / "},
		{"/docket", "/docket?x", "/ / x"},
		{"/docket", "/docket/", "/ / "},
		{"/docket", "/docketx/api", "/docketx/api /docketx/api "},
		{"/docket", "/docket/docket/api", "/docket/api /docket/api "},
		{"/docket", "/docket%2Fapi", "/docket/api /docket%2Fapi "},
		{"/a/b", "/a/b/health", "/health /health "},
		{"/a/b", "/a/health", "/a/health /a/health "},
	} {
		r := httptest.NewRequest(http.MethodGet, test.target, nil)
		before := *r.URL
		w := httptest.NewRecorder()
		middleware.BasePath(test.base)(echo).ServeHTTP(w, r)
		if w.Body.String() != test.want || *r.URL != before {
			t.Errorf("%s under %q arrives as %s, want %s", test.target, test.base, w.Body, test.want)
		}
	}
}
