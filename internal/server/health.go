package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"docket/internal/api"
	"docket/internal/middleware"
	"docket/internal/problem"
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
	condition, err := s.shared(ctx, s.store.Check)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return nil, ctx.Err() // the client has disconnected, which says nothing about the database
	case errors.Is(err, store.ErrNoSchema):
		checks.Schema = "not there: run docket migrate up"
	case errors.Is(err, store.ErrNoRole):
		checks.Schema = "the database login may not act as the role docket_app: grant docket_app to it"
	case err != nil:
		checks.Database, checks.Schema = "cannot be reached", "not known, the database cannot be reached"
	case condition.SchemaVersion < migrations.Newest():
		checks.Schema = fmt.Sprintf("version %d, needs %d: run docket migrate up", condition.SchemaVersion, migrations.Newest())
	case !condition.RowSecurity:
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
		return nil, &problem.Problem{
			Type: problem.NotReady, Detail: "Not ready for traffic: " + strings.Join(missing, ", ") + ".", Checks: &checks, Cause: err,
		}
	}
	return api.GetReadiness200JSONResponse{Body: api.Readiness{Status: api.Ready, Checks: checks}}, nil
}

// probeTimeout limits a check of the database, even if the client of the probe that started it has disconnected.
const probeTimeout = 2 * time.Second

// shared calls check, or waits for a call that another probe started. Probes need no token, and the store has one
// connection for them. If each probe made a check of its own, a hundred probes would delay a load balancer's beyond its
// time limit, and a client that disconnects would break that connection.
func (s *Server) shared(ctx context.Context, check func(context.Context) (store.Condition, error)) (store.Condition, error) {
	done := s.probes.DoChan("database", func() (condition any, err error) {
		defer func() {
			if v := recover(); v != nil { // this is not the request's goroutine
				err = fmt.Errorf("%w: %v", middleware.ErrPanic, v)
			}
		}()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTimeout)
		defer cancel()
		return check(ctx)
	})
	select {
	case result := <-done:
		condition, _ := result.Val.(store.Condition)
		return condition, result.Err
	case <-ctx.Done():
		return store.Condition{}, ctx.Err()
	}
}
