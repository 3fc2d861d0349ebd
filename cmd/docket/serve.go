package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"docket/internal/auth"
	"docket/internal/config"
	"docket/internal/server"
	"docket/internal/store"
	"docket/internal/telemetry"
)

// serve executes `docket serve`.
func serve(ctx context.Context, e env) error {
	if err := e.parse(e.flags("serve"), 0); err != nil {
		return err
	}
	c, err := config.Load(e.getenv)
	if err != nil {
		return err
	}
	l, err := server.Listen(ctx, c.Addr)
	if err != nil {
		return err
	}
	log := newLogger(c, e.stderr)
	tuneMemory(e.getenv, memlimit.FromCgroup, log)
	return serveOn(ctx, l, c, log, nil)
}

// serveOn serves the API on l until ctx ends, and then until the requests in flight are done. demoToken is for
// development; nil: none.
func serveOn(ctx context.Context, l net.Listener, c config.Config, log *slog.Logger, demoToken func() (string, error)) error {
	defer l.Close() // Serve closes it, too

	// Requests in flight outlive ctx and need the database and the keys until they are done.
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	tracing, err := startTracing(c.Traces, log)
	if err != nil {
		return err
	}
	defer tracing.Stop()
	st, err := store.Open(work, store.Config{
		URL:                   c.DatabaseURL.Reveal(),
		MaxConns:              c.Pool.MaxConns,
		MinIdleConns:          orNone(c.Pool.MinIdleConns),
		MaxConnLifetime:       c.Pool.MaxConnLifetime,
		MaxConnLifetimeJitter: orNone(c.Pool.MaxConnLifetimeJitter),
		MaxConnIdleTime:       c.Pool.MaxConnIdleTime,
		PingTimeout:           c.Pool.PingTimeout,
		StatementTimeout:      c.Pool.StatementTimeout,
		QueryMode:             store.QueryMode(c.Pool.QueryMode),
		Log:                   log,
		Tracer:                tracing.Tracer(),
	})
	if err != nil {
		return err
	}
	defer closeStore(st)
	verifier, err := auth.New(work, auth.Config{
		JWKSURL: c.Auth.JWKSURL, Secret: []byte(c.Auth.Secret.Reveal()), Issuer: c.Auth.Issuer, Audience: c.Auth.Audience,
		MaxTokenAge: c.Auth.MaxTokenAge, Logger: log, Tracer: tracing.Tracer(),
	})
	if err != nil {
		return err
	}
	s, err := server.New(server.Config{
		Store: st, Verifier: verifier, Log: log, Version: buildVersion, DemoToken: demoToken,
		Origins: c.FrontendURLs, CORSHeaders: c.CORSHeaders, BasePath: c.BasePath,
		LogClients: c.LogClientAddress, TrustedProxies: c.TrustedProxies,
		Connections: int(c.Pool.MaxConns), MaxConnections: int(c.MaxConnections), MaxTasks: int(c.MaxTasksPerOwner),
		RateLimit: int(c.RateLimitPerMinute),
		Tracing:   tracing,
	})
	if err != nil {
		return err
	}
	if c.MetricsAddr != "" {
		stopMetrics, err := serveAdmin(c.MetricsAddr, s, log)
		if err != nil {
			return err
		}
		defer stopMetrics()
	}
	go func() { // in the background: /health answers without a database
		if err := st.Ping(work); err != nil && work.Err() == nil {
			log.Warn("the database cannot be reached yet", slog.Any("cause", err))
		}
	}()
	log.Info("listening", slog.String("addr", l.Addr().String()), slog.String("version", buildVersion))
	return s.Serve(ctx, l, c.ShutdownDelay)
}

// startTracing returns nil if there are no traces.
func startTracing(c config.Traces, log *slog.Logger) (*telemetry.Tracing, error) {
	if c.Endpoint == "" {
		return nil, nil
	}
	headers := map[string]string{}
	for name, value := range c.Headers {
		headers[name] = value.Reveal()
	}
	log.Info("traces", slog.String("sampler", c.Sampler), slog.Float64("ratio", c.SamplerRatio))
	return telemetry.StartTracing(telemetry.TracingConfig{
		Endpoint: c.Endpoint, Headers: headers, Gzip: c.Gzip, Timeout: c.Timeout,
		Certificate: c.Certificate, ClientCertificate: c.ClientCertificate, ClientKey: c.ClientKey,
		Sampler: c.Sampler, SamplerRatio: c.SamplerRatio, Parent: c.Parent,
		ServiceName: c.ServiceName, Attributes: c.Attributes,
		QueueSize: c.QueueSize, BatchSize: c.BatchSize, BatchDelay: c.BatchDelay,
		Version: buildVersion, Log: log,
	})
}

// serveAdmin serves /metrics, profiles and the probes on an address of its own until stop is called. The probes are
// answered there also when all connections of the API are in use.
func serveAdmin(addr string, s *server.Server, log *slog.Logger) (stop func(), err error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.Metrics())
	mux.Handle("GET /health", s)
	mux.Handle("GET /health/ready", s)
	handleProfiles(mux)
	hs := &http.Server{
		Handler: mux, MaxHeaderBytes: 16 << 10, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 15 * time.Second, IdleTimeout: 120 * time.Second,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	go func() { _ = hs.Serve(l) }() // returns when it is closed
	log.Info("metrics", slog.String("addr", l.Addr().String()))
	return func() { _ = hs.Close() }, nil
}

// orNone returns -1 for zero: to the store, zero means the default and -1 means none.
func orNone[T int32 | time.Duration](v T) T {
	if v == 0 {
		return -1
	}
	return v
}

// closeStore closes the store and returns after a second at the latest: a connection that is being made to a database
// that hangs may take minutes, and an orchestrator kills the process sooner.
func closeStore(st *store.Store) {
	closed := make(chan struct{})
	go func() {
		st.Close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(time.Second):
	}
}

func newLogger(c config.Config, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == "text" {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}
