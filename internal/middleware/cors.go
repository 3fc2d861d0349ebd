package middleware

import (
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/rs/cors"

	"docket/internal/problem"
)

// The methods and request headers that every frontend may use. Tracing libraries add headers of their own to each request.
var (
	corsMethods = []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
	corsHeaders = []string{
		"Authorization", "Content-Type", "Accept", "If-Match", "If-None-Match", "Idempotency-Key", "X-Requested-With",
		"Prefer", "Last-Event-ID", "Confirm", "X-Request-Id", "traceparent", "tracestate", "baggage", "sentry-trace",
	}
)

// CORS allows pages of the given origins to call the service from a browser, with the usual request headers and the given
// ones, and to read every response. An empty list of origins allows none.
//
// A browser does not tell a page why it was refused. So CORS logs each origin, header and method that it refuses, once.
func CORS(origins, headers []string, log *slog.Logger) func(http.Handler) http.Handler {
	allowed := slices.Concat(corsHeaders, headers)
	o := cors.Options{
		AllowedOrigins:   origins,
		AllowCredentials: true,
		AllowedMethods:   corsMethods,
		AllowedHeaders:   allowed,
		ExposedHeaders: []string{
			"ETag", "Location", "Link", "Retry-After", "RateLimit", "RateLimit-Policy", "Preference-Applied", "Idempotent-Replayed", "X-Request-Id",
		},
		MaxAge: 600,
	}
	if len(origins) == 0 {
		o.AllowOriginFunc = func(string) bool { return false } // to the library, an empty list means all origins
	}
	c := cors.New(o)
	refused := refusals{log: log, headers: map[string]bool{}, logged: map[string]bool{}}
	for _, name := range allowed {
		refused.headers[strings.ToLower(name)] = true
	}
	return func(next http.Handler) http.Handler {
		h := c.Handler(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if origin := r.Header.Get("Origin"); origin != "" {
				refused.check(r, origin, c.OriginAllowed(r))
			}
			h.ServeHTTP(w, r)
		})
	}
}

// maxRefusals is the number of different refusals that are logged until the process ends. A client can invent any number.
const maxRefusals = 100

// refusals logs what CORS refuses.
type refusals struct {
	log     *slog.Logger
	headers map[string]bool // allowed, in lower case

	mu     sync.Mutex
	logged map[string]bool
}

func (f *refusals) check(r *http.Request, origin string, allowed bool) {
	method := r.Header.Get("Access-Control-Request-Method")
	preflight := r.Method == http.MethodOptions && method != ""
	switch {
	case !allowed && !sameOrigin(r, origin):
		f.warn("a page was refused: FRONTEND_URL does not list its origin", "origin", origin)
	case !allowed || !preflight:
	case !slices.Contains(corsMethods, method):
		f.warn("a page was refused: it may not use this method", "method", method)
	default:
		for _, list := range r.Header.Values("Access-Control-Request-Headers") {
			for name := range strings.SplitSeq(list, ",") {
				if name = strings.ToLower(strings.TrimSpace(name)); name != "" && !f.headers[name] {
					f.warn("a page was refused: CORS_ALLOW_HEADERS does not list this request header", "header", name)
				}
			}
		}
	}
}

// sameOrigin reports whether the page is the service's own. Browsers send Origin with its writes, too.
func sameOrigin(r *http.Request, origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host == r.Host || r.Header.Get("Sec-Fetch-Site") == "same-origin"
}

func (f *refusals) warn(message, name, value string) {
	value = problem.Clip(value, 200)
	f.mu.Lock()
	defer f.mu.Unlock()
	if key := name + " " + value; len(f.logged) < maxRefusals && !f.logged[key] {
		f.logged[key] = true
		f.log.Warn(message, slog.String(name, value)) //nolint:sloglint // the callers pass constants
		if len(f.logged) == maxRefusals {
			f.log.Warn("further refusals of pages are not logged")
		}
	}
}
