package middleware

import "net/http"

// Unmatched replaces the responses that an http.ServeMux sends itself if no route matches (404, 405 and redirects to a
// cleaned path, all in plain text) with those of answer. The Allow header is set for answer if the method was wrong.
// Every handler of the mux must set State.Route before it writes.
func Unmatched(answer http.HandlerFunc) func(http.Handler) http.Handler {
	return func(mux http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mux.ServeHTTP(&unmatchedWriter{ResponseWriter: w, request: r, state: StateOf(r.Context()), answer: answer}, r)
		})
	}
}

// unmatchedWriter passes on the response of a handler, and discards the mux's own.
type unmatchedWriter struct {
	http.ResponseWriter
	request *http.Request
	state   *State
	answer  http.HandlerFunc
	drop    bool
}

// Unwrap serves http.ResponseController.
func (u *unmatchedWriter) Unwrap() http.ResponseWriter { return u.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (u *unmatchedWriter) WriteHeader(status int) {
	if u.state.Route != "" {
		u.ResponseWriter.WriteHeader(status)
		return
	}
	u.drop = true
	u.answer(u.ResponseWriter, u.request)
}

// Write implements http.ResponseWriter.
func (u *unmatchedWriter) Write(b []byte) (int, error) {
	if u.drop {
		return len(b), nil
	}
	return u.ResponseWriter.Write(b)
}
