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
	"net/netip"
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

	LogClients     bool           // whether the log has the address of each request's client
	TrustedProxies []netip.Prefix // whose X-Forwarded-For names the client

	// DemoToken returns the token that Swagger UI starts with. It is for `docket dev`; nil leaves Swagger UI
	// unauthorised.
	DemoToken func() (string, error)

	MaxConnections int // of clients at a time; zero means no limit
	MaxTasks       int // of each owner; zero means no limit
	RateLimit      int // requests of each owner in a minute; zero means no limit

	Tracing *telemetry.Tracing // nil: requests get no spans

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
	rate     *limit.Rate // nil: no limit
	probes   singleflight.Group
	tags     tagVersion
	draining atomic.Bool
	clients  atomic.Int64               // their open connections
	busy     atomic.Int64               // connections that are new or have a request
	client   func(*http.Request) string // the client's address for the log; nil: not logged
	handler  http.Handler
}

var _ api.StrictServerInterface = (*Server)(nil)

// maxHeader is the maximum size of a request's address and header fields in bytes.
const maxHeader = 16 << 10

// New returns a Server. It returns an error if a part of the embedded document cannot be enforced.
func New(c Config) (*Server, error) {
	s := &Server{
		store: c.Store, verifier: c.Verifier, log: c.Log, config: c,
		limiter: limit.New(cmp.Or(c.Connections, 30)),
	}
	s.limiter.Observe(s.waited("wait for admission"), s.waited("wait for a scan"))
	s.metrics = telemetry.New(c.Version, metricLabels(), s.state)
	if c.RateLimit > 0 {
		s.rate = limit.NewRate(c.RateLimit, time.Now)
	}
	if c.LogClients {
		s.client = middleware.ClientAddress(c.TrustedProxies)
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
		middleware.Trace(c.Tracing, s.isProbe)(
			middleware.Log(c.Log, s.metrics.Observe, s.client)(
				middleware.CloseConnection(s.draining.Load)(
					middleware.CORS(c.Origins, c.CORSHeaders, c.Log)(
						middleware.CacheHeaders(
							middleware.Recover(c.Log, s.metrics.Panicked, s.fail)(
								middleware.LimitHeader(maxHeader, maxFields, s.fail)(
									middleware.BasePath(c.BasePath)(
										middleware.TrailingSlash("/api/", "/health")(
											middleware.EscapedSlash(
												middleware.Unmatched(s.unmatched)(
													mux))))))))))))
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

// Listen returns a listener for Serve. It does not use Multipath TCP, as Go's listeners do on Linux by default: such a
// socket cannot be filtered, as finishAccepting does.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	return config.Listen(ctx, "tcp", addr)
}

// Serve serves requests on l until ctx ends, and then stops in this order: it reports that it is not ready, continues
// to serve for the given drain time so that load balancers notice, and finishes the requests in flight. It returns an
// error if that takes more than 15 s. With a drain time, no connection of a listener made by Listen is reset on Linux.
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
	listener := s.listen(l)
	failed := make(chan error, 1)
	go func() { failed <- hs.Serve(listener) }()
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
	hs.SetKeepAlivesEnabled(false) // closes idle connections, and the others after their response
	if drain > 0 {
		finishAccepting(stop, l)
	}
	_ = listener.Close()
	if err := <-failed; !errors.Is(err, net.ErrClosed) { // now all connections that were accepted are counted
		return err
	}
	s.finishRequests(stop)
	if err := hs.Shutdown(stop); err != nil {
		return fmt.Errorf("requests were still in flight after 15 s: %w", err)
	}
	return nil
}

// finishRequests waits until no connection has a request, or has just been made. Shutdown alone would drop requests that
// have arrived, but were not read yet.
func (s *Server) finishRequests(ctx context.Context) {
	for s.busy.Load() > 0 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
}

var errNoResponse = errors.New("a handler returned neither a response nor an error")
