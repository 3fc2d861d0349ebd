// Package server implements the operations of openapi.yaml over HTTP: it checks a request against the document, calls
// the store and writes the response.
package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"docket/internal/api"
	"docket/internal/auth"
	"docket/internal/check"
	"docket/internal/limit"
	"docket/internal/middleware"
	"docket/internal/store"
	"docket/internal/telemetry"
)

// Config contains the dependencies and settings of a Server.
type Config struct {
	Store    *store.Store
	Verifier *auth.Verifier
	Log      *slog.Logger
	Version  string
	Origins  []string // of the frontends that may call from a browser

	CORSHeaders []string // that they may send in addition to the usual ones
	BasePath    string   // under which a proxy serves this service, such as /docket; empty: the root of the origin

	// DemoToken returns the token that Swagger UI starts with. It is for `docket dev`; nil leaves Swagger UI
	// unauthorised.
	DemoToken func() (string, error)

	MaxConnections int // of clients at a time; zero means no limit
	MaxTasks       int // of each owner; zero means no limit

	Connections    int           // maximum of Store, which limits the requests in flight; zero means 30
	ReadTimeout    time.Duration // for a request to arrive; zero means 11 s
	RequestTimeout time.Duration // replaces the time limit of each operation, for tests; zero means those of the document
}

// Server serves the operations of the document. It is safe for concurrent use.
type Server struct {
	store    *store.Store
	verifier *auth.Verifier
	log      *slog.Logger
	config   Config
	metrics  *telemetry.Metrics
	limiter  *limit.Limiter
	probes   singleflight.Group
	tags     tagVersion
	draining atomic.Bool
	handler  http.Handler
}

var _ api.StrictServerInterface = (*Server)(nil)

// maxHeader is the maximum size of a request's address and header fields in bytes.
const maxHeader = 16 << 10

// New returns a Server. It returns an error if a part of the embedded document cannot be enforced.
func New(c Config) (*Server, error) {
	s := &Server{
		store: c.Store, verifier: c.Verifier, log: c.Log, config: c,
		metrics: telemetry.New(c.Version, func() telemetry.PoolStats { return telemetry.PoolStats(c.Store.Stat()) }),
		limiter: limit.New(cmp.Or(c.Connections, 30)),
	}
	doc, err := api.GetSpec()
	if err != nil {
		return nil, fmt.Errorf("read the document: %w", err)
	}
	if s.tags, err = tagVersionOf(doc); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	if err := s.routeDocs(mux, doc); err != nil {
		return nil, err
	}
	if err := s.routeOperations(mux, doc); err != nil {
		return nil, err
	}

	// Outermost first. What each operation adds is in operation.go.
	s.handler = middleware.RequestID(
		middleware.Log(c.Log, s.metrics.Observe)(
			middleware.CloseConnection(s.draining.Load)(
				middleware.CORS(c.Origins, c.CORSHeaders, c.Log)(
					middleware.CacheHeaders(
						middleware.Recover(c.Log, s.fail)(
							middleware.LimitHeader(maxHeader, maxFields, s.fail)(
								middleware.BasePath(c.BasePath)(
									middleware.TrailingSlash("/api/", "/health")(
										middleware.Unmatched(s.unmatched)(
											mux))))))))))
	return s, nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	markServed(r)
	s.handler.ServeHTTP(w, r)
}

// Metrics returns the handler of the metrics in Prometheus' text format. They are not part of the document and must not
// be public: serve them on an address of their own.
func (s *Server) Metrics() http.Handler { return s.metrics.Handler() }

// The connection's deadlines are later than a request's time limit, so that a request that exceeds it gets a response.
const (
	readSlack  = time.Second
	writeSlack = 5 * time.Second
)

// Serve serves requests on l until ctx ends, and then stops in this order: it reports that it is not ready, continues
// to serve for the given drain time so that load balancers notice, and finishes the requests in flight. It returns an
// error if that takes more than 15 s.
func (s *Server) Serve(ctx context.Context, l net.Listener, drain time.Duration) error {
	hs := &http.Server{
		Handler:           s,
		ConnContext:       connContext,
		ConnState:         connState,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       cmp.Or(s.config.ReadTimeout, check.DefaultTimeout+readSlack),
		WriteTimeout:      check.DefaultTimeout + writeSlack,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    maxHeader, // net/http reads 4 KiB more before it refuses
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),

		DisableGeneralOptionsHandler: true, // OPTIONS * is handled like other requests
	}
	failed := make(chan error, 1)
	go func() { failed <- hs.Serve(s.listen(l)) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	s.draining.Store(true)
	s.log.Info("stopping", slog.Duration("drain", drain))
	select {
	case err := <-failed:
		return err
	case <-time.After(drain):
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
	defer cancel()
	if err := hs.Shutdown(stop); err != nil {
		return fmt.Errorf("requests were still in flight after 15 s: %w", err)
	}
	return nil
}

var errNoResponse = errors.New("a handler returned neither a response nor an error")
