package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
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
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	condition, err := s.store.Check(ctx)
	switch {
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
