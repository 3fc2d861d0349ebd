package middleware

import "net/http"

// CacheHeaders prevents shared caches from storing responses or serving them to another owner, and browsers from
// guessing media types.
func CacheHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["Cache-Control"] = []string{"private, no-cache"}
		h["Vary"] = []string{"Origin, Authorization"}
		h["X-Content-Type-Options"] = []string{"nosniff"}
		next.ServeHTTP(w, r)
	})
}
