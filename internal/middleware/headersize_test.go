package middleware_test

import (
	"net/http"
	"strings"
	"testing"

	"docket/internal/middleware"
)

func TestAddressAndHeaderTogetherAreLimited(t *testing.T) {
	t.Parallel()
	const limit = 1000
	h := middleware.LimitHeader(limit, 4, failed)(write(200, ""))
	half := strings.Repeat("x", limit/2)
	for _, test := range []struct {
		target  string
		headers []string
		want    int
	}{
		{"/", nil, 200},
		{"/", []string{"A: " + half}, 200},
		{"/" + half, nil, 200},
		{"/" + half, []string{"A: " + half}, http.StatusTeapot},
		{"/?" + half + half, nil, http.StatusTeapot},
		{"/", []string{"A: " + half, "A: " + half}, http.StatusTeapot},
		{"/", []string{half + half + ": 1"}, http.StatusTeapot},
		{"/", []string{"Authorization: Bearer " + half}, 200},
		{"/", []string{"Authorization: Bearer " + half + half}, http.StatusTeapot},
	} {
		if w := serve(t, h, test.target, test.headers...); w.Code != test.want {
			t.Errorf("%.20s with %.20q: %d, want %d", test.target, test.headers, w.Code, test.want)
		} else if w.Code != 200 && !strings.Contains(w.Body.String(), "larger than 1000 bytes") {
			t.Errorf("refused with %s", w.Body)
		} else if token := strings.HasPrefix(strings.Join(test.headers, ""), "Auth"); w.Code != 200 &&
			strings.Contains(w.Body.String(), "jwt.definePayload") != token { // fault F8
			t.Errorf("%.20q: refused with %s", test.headers, w.Body)
		}
	}
}

func TestHeaderFieldsAreLimited(t *testing.T) {
	t.Parallel()
	h := middleware.LimitHeader(1000, 4, failed)(write(200, ""))
	for want, headers := range map[int][]string{
		200:               {"A: 1", "A: 2", "B: 3"}, // Host is the fourth
		http.StatusTeapot: {"A: 1", "A: 2", "B: 3", "C: 4"},
	} {
		if w := serve(t, h, "/", headers...); w.Code != want {
			t.Errorf("%q: %d, want %d", headers, w.Code, want)
		} else if want != 200 && !strings.Contains(w.Body.String(), "more than 4 header fields") {
			t.Errorf("refused with %s", w.Body)
		}
	}
}
