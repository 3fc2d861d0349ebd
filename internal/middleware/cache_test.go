package middleware_test

import (
	"testing"

	"docket/internal/middleware"
)

func TestEveryResponseIsPrivate(t *testing.T) {
	t.Parallel()
	for _, status := range []int{200, 304, 404, 500} {
		h := serve(t, middleware.CacheHeaders(write(status, "")), "/").Header()
		for name, want := range map[string]string{
			"Cache-Control": "private, no-cache", "Vary": "Origin, Authorization", "X-Content-Type-Options": "nosniff",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%d: %s is %q, want %q", status, name, got, want)
			}
		}
	}
}
