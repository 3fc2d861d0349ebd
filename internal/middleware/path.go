package middleware

import (
	"net/http"
	"net/url"
	"strings"
)

// BasePath removes the base path from the paths of requests. A proxy may have removed it already: other paths stay as they
// are.
func BasePath(base string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		if base == "" {
			return next
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			path, found := strings.CutPrefix(r.URL.EscapedPath(), base) // no character of the base is escaped
			switch {
			case found && path == "":
				r = withPath(r, "/")
			case found && path[0] == '/':
				r = withPath(r, path)
			}
			next.ServeHTTP(w, r)
		})
	}
}

// TrailingSlash removes a slash at the end of paths that begin with one of the prefixes. Older frontends send it.
func TrailingSlash(prefixes ...string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/") {
				path := r.URL.EscapedPath() // an escaped slash stays
				for _, prefix := range prefixes {
					if strings.HasPrefix(path, prefix) && strings.HasSuffix(path, "/") && !strings.HasSuffix(path, "//") {
						r = withPath(r, strings.TrimSuffix(path, "/"))
						break
					}
				}
			}
			next.ServeHTTP(w, r)
		})
	}
}

// Slash is the last segment of a path in place of one that is only an escaped slash; see EscapedSlash.
const Slash = "\x00/"

// EscapedSlash replaces the last segment of paths that end in an escaped slash alone by Slash. An http.ServeMux takes such a
// segment for a slash at the end of the path, which no wildcard matches.
func EscapedSlash(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "//") {
			path := r.URL.EscapedPath()
			if start := len(path) - len("%2F"); strings.EqualFold(path[max(start, 0):], "%2F") && strings.HasSuffix(path[:start], "/") {
				r = withPath(r, path[:start]+"%00%2F")
			}
		}
		next.ServeHTTP(w, r)
	})
}

// withPath returns a copy of the request with another path, which is escaped.
func withPath(r *http.Request, path string) *http.Request {
	changed := new(http.Request)
	*changed = *r
	changed.URL = new(url.URL)
	*changed.URL = *r.URL
	changed.URL.Path, _ = url.PathUnescape(path) // it is a part of a path that was unescaped before
	changed.URL.RawPath = path
	return changed
}
