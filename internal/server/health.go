package server

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"

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

const (
	ok            = "ok"
	schemaUnknown = "not known, as the database cannot be used"
)

// isProbe reports whether a request is for a probe. Probes get no spans: they would be most of what a quiet service
// sends.
func (s *Server) isProbe(r *http.Request) bool {
	path := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, s.config.BasePath), "/")
	return path == "/health" || path == "/health/ready"
}

// GetReadiness implements GET /health/ready.
func (s *Server) GetReadiness(ctx context.Context, _ api.GetReadinessRequestObject) (api.GetReadinessResponseObject, error) {
	condition, err := s.shared(ctx, s.store.Check)
	if errors.Is(ctx.Err(), context.Canceled) {
		return nil, ctx.Err() // the client has disconnected, which says nothing about the database
	}
	database, schema := databaseChecks(condition, err)
	checks := api.Checks{Database: database, Schema: schema, Keys: ok}
	if unready := s.verifier.Ready(); unready != nil {
		err = errors.Join(err, unready)
		checks.Keys = "the key set could not be loaded yet"
	}
	var missing []string
	for name, says := range checksOf(checks) {
		if says != ok {
			missing = append(missing, name)
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
	return api.GetReadiness200JSONResponse{Body: api.Readiness{Status: api.Ready, Checks: checks, QueryMode: new(s.store.Mode())}}, nil
}

// checksOf yields the name of each check, and what it says.
func checksOf(c api.Checks) iter.Seq2[string, string] {
	return func(yield func(name, says string) bool) {
		_ = yield("database", c.Database) && yield("schema", c.Schema) && yield("keys", c.Keys)
	}
}

// databaseFaults are the errors of a check of the database that are faults of the database itself; the first row that
// matches is used.
var databaseFaults = []struct {
	err  error
	says string
}{
	{store.ErrReadOnly, "accepts no changes: it is a standby, or default_transaction_read_only is on for the server, the database or the login"},
	{store.ErrTooManyConnections, "too many connections: raise the limit of the server, the database or the login, or lower DB_MAX_CONNS"},
	{store.ErrLoginRefused, "refuses the login: check the user, the password and the database in DATABASE_URL; behind a pooler, check its list of logins, too"},
	{store.ErrNotPrepared, "a transaction pooler without prepared statements: set DB_QUERY_MODE=exec"},
	{context.DeadlineExceeded, "does not answer within 2 s: it hangs, or a lock is held on a table"},
	{store.ErrUnavailable, "cannot be reached"},
}

// databaseChecks returns what the checks named database and schema say.
func databaseChecks(c store.Condition, err error) (database, schema string) {
	database, schema = ok, ok
	switch {
	case errors.Is(err, store.ErrNoVersion):
		schema = "its version is missing, as if every table had been truncated: docket migrate status says what to do"
	case errors.Is(err, store.ErrNoSchema) && c.SchemaVersion == 0:
		schema = "not there: run docket migrate up"
	case errors.Is(err, store.ErrNoRole):
		schema = "the database login may not act as the role docket_app: grant docket_app to it"
	case errors.Is(err, store.ErrDenied) && c.SchemaVersion == 0:
		schema = "its version cannot be read: run docket migrate up, or grant select on docket_schema_version to docket_app"
	case errors.Is(err, store.ErrDenied):
		schema = "a right is missing that the migrations grant to the role docket_app: the log says which"
	case err != nil && c == store.Condition{}:
		schema = schemaUnknown
	case c.SchemaVersion < migrations.Newest():
		schema = fmt.Sprintf("version %d, needs %d: run docket migrate up", c.SchemaVersion, migrations.Newest())
	case errors.Is(err, store.ErrNoSchema):
		schema = "a table, a column or a function is missing: the log says which"
	case !c.RowSecurity:
		schema = "row-level security does not hold for the role docket_app: it must not own the tables nor have BYPASSRLS, and each table has only the policy of the migrations"
	}
	if c.Encoding != nil {
		database = "its encoding is " + *c.Encoding + ": it must be UTF8"
	}
	if c.Standby {
		return "accepts no changes: it is a standby that follows another server", schema
	}
	for _, fault := range databaseFaults {
		if errors.Is(err, fault.err) {
			return fault.says, schema
		}
	}
	if err != nil && (schema == ok || schema == schemaUnknown) {
		database = "does not execute the statements of requests: the log says why"
	}
	return database, schema
}

// probeTimeout limits a check of the database, even if the client of the probe that started it has disconnected.
const probeTimeout = 2 * time.Second

// shared calls check, or waits for a call that another probe started. Probes need no token, and the store has one
// connection for them. If each probe made a check of its own, a hundred probes would delay a load balancer's beyond its
// time limit, and a client that disconnects would break that connection.
func (s *Server) shared(ctx context.Context, check func(context.Context) (store.Condition, error)) (store.Condition, error) {
	select {
	case result := <-s.probe(ctx, check):
		condition, _ := result.Val.(store.Condition)
		return condition, result.Err
	case <-ctx.Done():
		return store.Condition{}, ctx.Err()
	}
}

// probe calls check in the background, unless a call of it is in progress already. The channel receives the result.
func (s *Server) probe(ctx context.Context, check func(context.Context) (store.Condition, error)) <-chan singleflight.Result {
	return s.probes.DoChan("database", func() (condition any, err error) {
		defer func() {
			if v := recover(); v != nil { // this is not the request's goroutine
				err = fmt.Errorf("%w: %v", middleware.ErrPanic, v)
			}
		}()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTimeout)
		defer cancel()
		return check(ctx)
	})
}

// silence is how long the database may answer nothing before a refused request has it checked.
const silence = time.Second

// refusal returns the error of a request that was not admitted. If the database does not answer at all, that is the
// reason, and not the number of requests.
func (s *Server) refusal(ctx context.Context, err error) error {
	s.countRefusal(err)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
	case s.store.Silent():
		return fmt.Errorf("%w: it does not answer: %v", store.ErrUnavailable, err) //nolint:errorlint // it is not overloaded
	case s.store.Silence() > silence:
		s.probe(ctx, s.store.Check)
	}
	return err
}
