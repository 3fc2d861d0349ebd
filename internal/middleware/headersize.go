package middleware

import (
	"fmt"
	"net/http"

	"docket/internal/problem"
)

// LimitHeader refuses requests whose address and header fields together have more than limit bytes. net/http has a limit
// of its own, which should be far above: it answers in plain text.
func LimitHeader(limit int, fail func(http.ResponseWriter, *http.Request, error)) func(http.Handler) http.Handler {
	tooLarge := &problem.Problem{
		Type:   problem.HeadersTooLarge,
		Detail: fmt.Sprintf("The request's address and header fields together are larger than %d bytes.", limit),
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			size := len(r.Method) + len(r.RequestURI) + len(r.Host)
			for name, values := range r.Header {
				for _, v := range values {
					size += len(name) + len(v) + len(": \r\n")
				}
			}
			if size > limit {
				fail(w, r, tooLarge)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}
