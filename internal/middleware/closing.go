package middleware

import "net/http"

// CloseConnection closes the connection after a response if it must not be used for another request. That is the case
// while the service is draining, so that the client connects to another replica, and if the request had a body without
// Content-Length or an old version of HTTP, because a proxy may disagree with us about where the body ends (RFC 9112,
// section 6.1).
func CloseConnection(draining func() bool) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if draining() || len(r.TransferEncoding) > 0 || !r.ProtoAtLeast(1, 1) {
				w.Header().Set("Connection", "close")
			}
			next.ServeHTTP(w, r)
		})
	}
}
