package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"docket/internal/api"
	"docket/internal/rfc3339"
	"docket/internal/store"
	"docket/migrations"
)

// GetHealth implements GET /health.
func (s *Server) GetHealth(context.Context, api.GetHealthRequestObject) (api.GetHealthResponseObject, error) {
	return api.GetHealth200JSONResponse{Body: api.Health{
		Status: api.Healthy, Version: s.config.Version, Timestamp: rfc3339.Time(time.Now()),
	}}, nil
}

// GetReadiness implements GET /health/ready.
func (s *Server) GetReadiness(ctx context.Context, _ api.GetReadinessRequestObject) (api.GetReadinessResponseObject, error) {
	const ok = "ok"
	checks := api.Checks{Database: ok, Schema: ok, Keys: ok}
	condition, err := s.looks.join(ctx, s.store.Check)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return nil, ctx.Err() // the client is gone, which says nothing about the database
	case errors.Is(err, store.ErrNoSchema):
		checks.Schema = "not there: run docket migrate up"
	case errors.Is(err, store.ErrNoRole):
		checks.Schema = "the database login may not act as the role docket_app: grant docket_app to it"
	case err != nil:
		checks.Database, checks.Schema = "cannot be reached", "not known, the database cannot be reached"
	case condition.SchemaVersion < migrations.Newest():
		checks.Schema = fmt.Sprintf("version %d, needs %d: run docket migrate up", condition.SchemaVersion, migrations.Newest())
	case !condition.Walled:
		checks.Schema = "row-level security does not hold for the role docket_app: it must not own the tables nor have BYPASSRLS"
	}
	if unready := s.verifier.Ready(); unready != nil {
		err = errors.Join(err, unready)
		checks.Keys = "the key set could not be loaded yet"
	}
	var missing []string
	for _, check := range []struct{ name, state string }{
		{"database", checks.Database}, {"schema", checks.Schema}, {"keys", checks.Keys},
	} {
		if check.state != ok {
			missing = append(missing, check.name)
		}
	}
	if s.draining.Load() {
		missing = append(missing, "stopping")
	}
	if len(missing) > 0 {
		return nil, &problem{kind: notReady, detail: "Not ready for traffic: " + strings.Join(missing, ", ") + ".", checks: &checks, cause: err}
	}
	return api.GetReadiness200JSONResponse{Body: api.Readiness{Status: api.Ready, Checks: checks}}, nil
}

// looks lets all probes that come while one looks at the database share what it finds. Anybody may ask, and the store has
// one connection for it: if each looked for itself, a hundred who ask for nothing else would make the load balancer's own
// probe wait for longer than it may take, and a client that leaves would cost that connection.
type looks struct {
	mu  sync.Mutex
	now *look // nil: nobody looks
}

type look struct {
	done      chan struct{} // closed when the rest is there
	condition store.Condition
	err       error
}

// join gives what the look under way finds, or begins one. It takes at most 2 s, also when who began it is gone.
func (l *looks) join(ctx context.Context, check func(context.Context) (store.Condition, error)) (store.Condition, error) {
	l.mu.Lock()
	it := l.now
	if it == nil {
		it = &look{done: make(chan struct{})}
		l.now = it
		go func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			defer func() {
				if v := recover(); v != nil { // no room of the road stands around this goroutine
					it.err = fmt.Errorf("%w: %v", errPanic, v)
				}
				l.mu.Lock()
				l.now = nil
				l.mu.Unlock()
				close(it.done)
			}()
			it.condition, it.err = check(ctx)
		}()
	}
	l.mu.Unlock()
	select {
	case <-it.done:
		return it.condition, it.err
	case <-ctx.Done():
		return store.Condition{}, ctx.Err()
	}
}
