package middleware

import "net/http"

// CloseConnection ends the connection after a response where it must not be used for another request: when the service is
// draining, so that the client finds another replica; and when the request had a body of unannounced length or an old
// version of HTTP, since a proxy may see another end of it than we do (RFC 9112, section 6.1).
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
