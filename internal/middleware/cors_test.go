package middleware_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"docket/internal/middleware"
)

func TestOnlyTheGivenOriginsAreAllowed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		origins []string
		origin  string
		want    bool
	}{
		{[]string{"https://a.example", "https://b.example:8443"}, "https://a.example", true},
		{[]string{"https://a.example", "https://b.example:8443"}, "https://b.example:8443", true},
		{[]string{"https://a.example", "https://b.example:8443"}, "https://b.example", false},
		{[]string{"https://a.example"}, "http://a.example", false},
		{[]string{"https://a.example"}, "null", false},
		{nil, "https://a.example", false},
		{[]string{}, "https://a.example", false},
	} {
		h := middleware.CORS(test.origins)(write(404, "no"))
		w := serve(t, h, "/", "Origin: "+test.origin)
		if got := w.Header().Get("Access-Control-Allow-Origin"); (got == test.origin) != test.want || w.Code != 404 {
			t.Errorf("%s of %q: %d with %v", test.origin, test.origins, w.Code, w.Header())
		}
		r := httptest.NewRequest(http.MethodOptions, "/", nil)
		r.Header.Set("Origin", test.origin)
		r.Header.Set("Access-Control-Request-Method", "PATCH")
		r.Header.Set("Access-Control-Request-Headers", "authorization,if-match")
		p := httptest.NewRecorder()
		h.ServeHTTP(p, r)
		if got := p.Header().Get("Access-Control-Allow-Methods"); (got == "PATCH") != test.want || p.Code != 204 {
			t.Errorf("a preflight of %s of %q: %d with %v", test.origin, test.origins, p.Code, p.Header())
		}
	}
}
