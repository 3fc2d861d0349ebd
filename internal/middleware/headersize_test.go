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
	h := middleware.LimitHeader(limit, failed)(write(200, ""))
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
	} {
		if w := serve(t, h, test.target, test.headers...); w.Code != test.want {
			t.Errorf("%.20s with %.20q: %d, want %d", test.target, test.headers, w.Code, test.want)
		} else if w.Code != 200 && !strings.Contains(w.Body.String(), "larger than 1000 bytes") {
			t.Errorf("refused with %s", w.Body)
		}
	}
}
