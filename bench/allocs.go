package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"time"

	"docket/bench/baseline"
	"docket/bench/load"
	"docket/internal/auth"
	"docket/internal/server"
	"docket/internal/store"
)

// allocation is what one request takes from the heap.
type allocation struct{ objects, bytes float64 }

// allocations are counted in this process: a server's own counters can be read from nowhere else. It is the same road on
// the same net/http, and a client that allocates nothing.
func (w *world) allocations(ctx context.Context, operations []operation) (map[cell]allocation, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	road, err := w.road(ctx)
	if err != nil {
		return nil, err
	}
	defer road.close()
	pool, err := baseline.Pool(ctx, w.url)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	sameSQL, err := baseline.SameSQL(ctx, pool, w.batches)
	if err != nil {
		return nil, err
	}
	all := map[cell]allocation{}
	for _, one := range []struct {
		who     subject
		handler http.Handler
	}{
		{docket, road.handler}, {bare, baseline.Bare(pool)}, {same, sameSQL},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		s := &http.Server{Handler: one.handler, ReadHeaderTimeout: 5 * time.Second}
		go func() { _ = s.Serve(l) }() // ends with Close
		for _, o := range operations {
			if one.who != docket && o.key == "" {
				continue
			}
			a, err := count(o.target(l.Addr().String()), w.plan.allocs)
			if err != nil {
				return nil, errors.Join(err, s.Close())
			}
			all[cell{operation: o.name, subject: one.who}] = a
			if w.options.profiles != "" {
				if err := w.profile(o, one.who, l.Addr().String()); err != nil {
					return nil, errors.Join(err, s.Close())
				}
			}
		}
		if err := s.Close(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// profile shows where the time goes. The generator is in the picture too.
func (w *world) profile(o operation, who subject, addr string) (err error) {
	words := strings.FieldsFunc(o.name+" "+string(who), func(r rune) bool { return r == ' ' || r == ',' || r == '/' })
	file, err := os.Create(filepath.Join(w.options.profiles, strings.Join(words, "-")+".prof"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := pprof.StartCPUProfile(file); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	_, err = load.Closed(o.target(addr), w.plan.conns[0], load.Span{Measure: w.plan.measure})
	return err
}

func count(t load.Target, n int) (allocation, error) {
	if _, err := load.One(t, n/2, patience); err != nil { // statements are prepared, tokens remembered, pools filled
		return allocation{}, err
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	sent, err := load.One(t, n, patience)
	runtime.ReadMemStats(&after)
	return allocation{
		objects: float64(after.Mallocs-before.Mallocs) / float64(len(sent)),
		bytes:   float64(after.TotalAlloc-before.TotalAlloc) / float64(len(sent)),
	}, err
}

// road is the service's handler in this process, put together as `docket serve` does.
type road struct {
	handler http.Handler
	close   func()
}

func (w *world) road(ctx context.Context) (r road, err error) {
	log := slog.New(slog.NewJSONHandler(io.Discard, nil))
	st, err := store.Open(ctx, store.Config{URL: w.url})
	if err != nil {
		return r, err
	}
	r.close = st.Close
	verifier, err := auth.New(ctx, auth.Config{
		JWKSURL: w.issuer.url + "/api/auth/jwks", Issuer: w.issuer.url, Audience: w.issuer.url, Logger: log,
	})
	if err != nil {
		st.Close()
		return r, err
	}
	r.handler, err = server.New(server.Config{
		Store: st, Verifier: verifier, Log: log, Version: "bench", Origins: []string{"http://localhost:3000"},
	})
	for deadline := time.Now().Add(patience); err == nil && verifier.Ready() != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			err = verifier.Ready()
		}
	}
	if err != nil {
		st.Close()
	}
	return r, err
}
