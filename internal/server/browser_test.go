package server_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// exposed are the headers that a script may read.
const exposed = "ETag, Location, Link, Retry-After, RateLimit, RateLimit-Policy, Preference-Applied, Idempotent-Replayed, X-Request-Id"

// That every documented error carries the CORS headers is part of TestEveryDocumentedStatusOfEveryOperationHappens.
func TestAFrontendCanReadEveryAnswer(t *testing.T) {
	t.Parallel()
	s := start(t)
	made := s.ada.create(t, `{"title": "A"}`)
	for _, test := range []struct {
		method, target, body string
		status               int
	}{
		{"GET", s.ada.tasks(), "", 200},
		{"POST", s.ada.tasks(), `{"title": "A"}`, 201},
		{"PATCH", s.ada.tasks() + "/" + made.ID + "/complete", "", 200},
		{"POST", s.ada.tasks(), `{`, 400},
		{"GET", s.bob.tasks(), "", 403},
		{"GET", s.ada.tasks() + "/" + uuid.NewString(), "", 404},
		{"GET", "/nonsense", "", 404},
		{"GET", "//x", "", 404},
		{"PUT", s.ada.tasks(), `{"title": "A"}`, 405},
		{"POST", s.ada.tasks(), strings.Repeat(" ", 65537), 413},
		{"POST", s.ada.tasks(), `{}`, 422},
		{"GET", "/health?" + strings.Repeat("x", 16<<10), "", 431},
		{"GET", "/health", "", 200},
		{"GET", "/openapi.json", "", 200},
	} {
		a := s.send(t, test.method, test.target, test.body, "Authorization: Bearer "+s.ada.token, "Origin: "+frontend).want(test.status)
		if a.get("Access-Control-Allow-Origin") != frontend || a.get("Access-Control-Allow-Credentials") != "true" ||
			!strings.EqualFold(a.get("Access-Control-Expose-Headers"), exposed) {
			t.Errorf("%s %.80s: %s", test.method, test.target, a)
		}
	}
}

func TestPreflightNeedsNoToken(t *testing.T) {
	t.Parallel()
	s := start(t)
	const headers = "accept,authorization,baggage,confirm,content-type,idempotency-key,if-match,if-none-match,last-event-id,prefer," +
		"sentry-trace,traceparent,tracestate,x-request-id,x-requested-with"
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		a := s.send(t, "OPTIONS", s.ada.tasks(), "", "Origin: "+frontend,
			"Access-Control-Request-Method: "+method, "Access-Control-Request-Headers: "+headers).want(http.StatusNoContent)
		for name, want := range map[string]string{
			"Access-Control-Allow-Origin":      frontend,
			"Access-Control-Allow-Methods":     method,
			"Access-Control-Allow-Headers":     headers,
			"Access-Control-Allow-Credentials": "true",
			"Access-Control-Max-Age":           "600",
			"Vary":                             "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
		} {
			if a.get(name) != want {
				t.Errorf("%s: %s is %q", method, name, a.get(name))
			}
		}
	}
}

func TestPreflightAllowsOnlyWhatIsDocumented(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, refused := range [][]string{
		{"Origin: https://evil.example", "Access-Control-Request-Method: GET"},
		{"Origin: null", "Access-Control-Request-Method: GET"},
		{"Origin: " + frontend, "Access-Control-Request-Method: TRACE"},
		{"Origin: " + frontend, "Access-Control-Request-Method: GET", "Access-Control-Request-Headers: authorization,x-evil"},
		{"Access-Control-Request-Method: GET"},
	} {
		r := must(http.NewRequestWithContext(t.Context(), http.MethodOptions, s.url+s.ada.tasks(), nil))
		for _, h := range refused {
			name, value, _ := strings.Cut(h, ": ")
			r.Header.Set(name, value)
		}
		response := must(s.client.Do(r))
		r.Header.Del("Origin") // so that the missing CORS headers are not reported
		if a := received(t, r, response).want(http.StatusNoContent); allows(a) {
			t.Errorf("%q is allowed: %s", refused, a)
		}
	}
}

func allows(a *answer) bool {
	for name := range a.header {
		if strings.HasPrefix(name, "Access-Control-") {
			return true
		}
	}
	return false
}

func TestOtherOriginsAreNotAllowed(t *testing.T) {
	t.Parallel()
	several := start(t, func(o *options) { o.Origins = []string{"https://app.example", "https://admin.example:8443"} })
	for origin, allowed := range map[string]bool{
		"https://app.example": true, "https://admin.example:8443": true,
		"http://app.example": false, "https://app.example:8443": false, "https://admin.example": false, "https://x.app.example": false, "https://app.example.evil": false,
		"https://app.exampl": false, "null": false, "": false, "*": false, frontend: false,
	} {
		for _, status := range []int{200, 401} {
			authorization := "Authorization: Bearer " + several.ada.token
			if status == 401 {
				authorization = "Authorization:"
			}
			r := must(http.NewRequestWithContext(t.Context(), http.MethodGet, several.url+several.ada.tasks(), nil))
			if origin != "" {
				r.Header.Set("Origin", origin)
			}
			r.Header.Set("Authorization", strings.TrimPrefix(authorization, "Authorization: "))
			response := must(several.client.Do(r))
			r.Header.Del("Origin")
			a := received(t, r, response).want(status)
			if got := a.get("Access-Control-Allow-Origin"); allows(a) != allowed || allowed && got != origin {
				t.Errorf("%q gets %s", origin, a)
			}
		}
	}
}

func TestAnEmptyListOfOriginsAllowsNone(t *testing.T) {
	t.Parallel()
	for _, origins := range [][]string{nil, {}} {
		s := start(t, func(o *options) { o.Origins = origins })
		for _, method := range []string{"GET", "OPTIONS"} {
			r := must(http.NewRequestWithContext(t.Context(), method, s.url+"/health", nil))
			r.Header.Set("Origin", frontend)
			r.Header.Set("Access-Control-Request-Method", "GET")
			response := must(s.client.Do(r))
			r.Header.Del("Origin")
			if a := received(t, r, response); allows(a) {
				t.Errorf("%s is allowed: %s", method, a)
			}
		}
	}
}

func TestRequestIDIsTheCallersOrNew(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, id := range []string{"a", "0123.abc_DEF-9", strings.Repeat("x", 64), uuid.NewString(), "."} {
		for _, target := range []string{"/health", "/nonsense", s.ada.tasks(), "/docs"} {
			if a := s.send(t, "GET", target, "", "X-Request-Id: "+id); a.get("X-Request-Id") != id {
				t.Errorf("%q becomes %q", id, a.get("X-Request-Id"))
			}
		}
	}
	fresh := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	for _, id := range []string{"", strings.Repeat("x", 65), "a b", "a,b", "é", "a/b", `"`, "<script>", "a;b", "{}", "\xff", "a:b"} {
		got := s.send(t, "GET", "/nonsense", "", "X-Request-Id: "+id).get("X-Request-Id")
		if !fresh.MatchString(got) || seen[got] {
			t.Errorf("%q becomes %q", id, got)
		}
		seen[got] = true
	}
}

func TestBrowsersAreToldNotToGuessMediaTypes(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, target := range []string{"/health", s.ada.tasks(), "/nonsense", "/docs", "/openapi.yaml", "/problems/unauthorized"} {
		if a := s.send(t, "GET", target, "", "Authorization: Bearer "+s.ada.token); a.get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %s", target, a)
		}
	}
}
