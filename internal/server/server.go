// Package server answers the contract over HTTP: it takes a request, checks it against openapi.yaml, asks the store and
// writes the answer.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/rs/cors"

	"docket/internal/api"
	"docket/internal/auth"
	"docket/internal/store"
)

// Config is what a Server needs.
type Config struct {
	Store    *store.Store
	Verifier *auth.Verifier
	Log      *slog.Logger
	Version  string
	Origins  []string // of the frontends that may call from a browser

	// DemoToken gives the token that Swagger UI opens with. It is for `docket dev`; nil leaves Swagger UI
	// unauthorised.
	DemoToken func() (string, error)

	Connections    int           // most that Store has; the requests in flight are bounded by them; 30 when zero
	ReadTimeout    time.Duration // for a whole request; 10 s when zero
	RequestTimeout time.Duration // for the work on one request; 10 s when zero
}

// Server answers the operations of the contract. It is safe for concurrent use.
type Server struct {
	store    *store.Store
	verifier *auth.Verifier
	log      *slog.Logger
	config   Config
	metrics  *metrics
	handler  http.Handler
	places   *places
	looks    looks
	draining atomic.Bool
}

var _ api.StrictServerInterface = (*Server)(nil)

var (
	errNoAnswer = errors.New("a handler gave neither an answer nor an error")
	errPanic    = errors.New("panic")
)

// New builds the whole road. It fails when the embedded contract says something that could not be enforced.
func New(c Config) (*Server, error) {
	s := &Server{
		store: c.Store, verifier: c.Verifier, log: c.Log, config: c,
		metrics: newMetrics(c.Store, c.Version), places: newPlaces(or(c.Connections, 30)),
	}
	doc, err := api.GetSpec()
	if err != nil {
		return nil, fmt.Errorf("read the contract: %w", err)
	}
	mux := http.NewServeMux()
	if err := s.routeDocs(mux, doc); err != nil {
		return nil, err
	}
	router := &router{mux: mux, server: s, doc: doc}
	strict := api.NewStrictHandlerWithOptions(s, []api.StrictMiddlewareFunc{mustAnswer}, api.StrictHTTPServerOptions{
		RequestErrorHandlerFunc:  s.writeProblem,
		ResponseErrorHandlerFunc: s.writeProblem,
	})
	router.bound = map[string]http.HandlerFunc{listRoute: bindList(strict)}
	api.HandlerWithOptions(strict, api.StdHTTPServerOptions{BaseRouter: router, ErrorHandlerFunc: s.writeProblem})
	if router.err != nil {
		return nil, fmt.Errorf("the contract cannot be enforced: %w", router.err)
	}

	// The road, outermost first. Each operation's own part is in operation.ServeHTTP.
	s.handler = s.exchanged(
		s.crossOrigin(
			s.private(
				s.recovered(
					s.limitedHeaders(
						mux)))))
	return s, nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// crossOrigin lets the configured frontends call from a browser, errors included.
func (s *Server) crossOrigin(next http.Handler) http.Handler {
	return cors.New(cors.Options{
		AllowedOrigins:   s.config.Origins,
		AllowOriginFunc:  nobodyElse(s.config.Origins),
		AllowCredentials: true,
		AllowedMethods:   []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"},
		AllowedHeaders: []string{
			"Authorization", "Content-Type", "Accept", "If-Match", "If-None-Match", "Idempotency-Key", "X-Requested-With",
		},
		ExposedHeaders: []string{
			"ETag", "Location", "Link", "Retry-After", "RateLimit", "RateLimit-Policy", "Idempotent-Replayed", "X-Request-Id",
		},
		MaxAge: 600,
	}).Handler(next)
}

// nobodyElse keeps an empty list of origins from meaning "all", as the library has it.
func nobodyElse(origins []string) func(string) bool {
	if len(origins) > 0 {
		return nil
	}
	return func(string) bool { return false }
}

// private keeps shared caches from storing or mixing up what belongs to one owner.
func (s *Server) private(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["Cache-Control"] = []string{"private, no-cache"}
		h["Vary"] = []string{"Origin, Authorization"}
		h["X-Content-Type-Options"] = []string{"nosniff"}
		next.ServeHTTP(w, r)
	})
}

// maxHeader is the most bytes of header fields. net/http has a limit of its own, far above, and answers it in plain
// text.
const maxHeader = 16 << 10

func (s *Server) limitedHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		size := len(r.Method) + len(r.RequestURI) + len(r.Host)
		for name, values := range r.Header {
			for _, v := range values {
				size += len(name) + len(v) + len(": \r\n")
			}
		}
		if size > maxHeader {
			s.writeProblem(w, r, &problem{kind: headersTooLarge, detail: "The request's address and header fields together are larger than 16384 bytes."})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// mustAnswer makes a fault of ours out of a handler that returns nothing: the generated code would send an empty 200.
func mustAnswer(next api.StrictHandlerFunc, _ string) api.StrictHandlerFunc {
	return func(ctx context.Context, w http.ResponseWriter, r *http.Request, request any) (any, error) {
		response, err := next(ctx, w, r, request)
		if response == nil && err == nil {
			err = errNoAnswer
		}
		return response, err
	}
}

// Serve answers on l until ctx ends, then stops in order: it reports itself not ready, goes on answering for the given
// drain so that load balancers notice, and finishes what is in flight, for at most 15 s.
func (s *Server) Serve(ctx context.Context, l net.Listener, drain time.Duration) error {
	hs := &http.Server{
		Handler:           s,
		ConnContext:       withConn,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       or(s.config.ReadTimeout, 10*time.Second),
		WriteTimeout:      15 * time.Second,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    256 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),

		DisableGeneralOptionsHandler: true, // OPTIONS * goes our way, like everything else
	}
	failed := make(chan error, 1)
	go func() { failed <- hs.Serve(wholeListener{l}) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	s.draining.Store(true)
	s.log.Info("stopping", slog.Duration("drain", drain))
	time.Sleep(drain)
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
	defer cancel()
	if err := hs.Shutdown(stop); err != nil {
		return fmt.Errorf("requests were still in flight after 15 s: %w", err)
	}
	return nil
}

func or[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}
