package middleware

import (
	"fmt"
	"net/http"
	"strings"

	"docket/internal/problem"
)

// HeaderTooLarge returns the problem of a request whose address and header fields together have more than limit bytes.
func HeaderTooLarge(limit int) *problem.Problem {
	return &problem.Problem{
		Type:   problem.HeadersTooLarge,
		Detail: fmt.Sprintf("The request's address and header fields together are larger than %s.", problem.Size(int64(limit))),
	}
}

// TooManyFields returns the problem of a request that has more than the given number of header fields.
func TooManyFields(most int) *problem.Problem {
	return &problem.Problem{
		Type: problem.HeadersTooLarge, Detail: fmt.Sprintf("The request has more than %d header fields.", most),
	}
}

// LimitHeader refuses requests whose address and header fields together have more than limit bytes, and those with more
// than the given number of fields. It makes these limits exact: the connection allows some KiB more.
func LimitHeader(limit, fields int, fail func(http.ResponseWriter, *http.Request, error)) func(http.Handler) http.Handler {
	tooLarge, tooMany := HeaderTooLarge(limit), TooManyFields(fields)
	tokenTooLarge := &problem.Problem{
		Type: problem.HeadersTooLarge, Detail: strings.TrimSuffix(tooLarge.Detail, ".") + ", most of them the token. Better Auth " +
			"puts the whole user into it, also an image that is a data: URL; name the claims it needs with jwt.definePayload in the " +
			"options of the jwt plugin.",
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			size, count := len(r.Method)+len(r.RequestURI)+len(r.Host), 1 // Host is not in r.Header
			for name, values := range r.Header {
				count += len(values)
				for _, v := range values {
					size += len(name) + len(v) + len(": \r\n")
				}
			}
			switch {
			case size > limit && len(strings.Join(r.Header["Authorization"], "")) > limit/2:
				fail(w, r, tokenTooLarge)
				return
			case size > limit:
				fail(w, r, tooLarge)
				return
			case count > fields:
				fail(w, r, tooMany)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}
