package server

import (
	"context"
	"errors"

	"docket/internal/limit"
	"docket/internal/problem"
	"docket/internal/telemetry"
	"docket/migrations"
)

// refusals are the reasons for which a request is not admitted, as the metrics name them; the first row that matches is
// used.
var refusals = []struct {
	err    error
	reason string
}{
	{limit.ErrOwnerBusy, "owner_busy"},
	{limit.ErrOwnerTimeout, "owner_timeout"},
	{limit.ErrBusy, "busy"},
	{context.DeadlineExceeded, "busy"},
}

// metricLabels returns the values of the metrics' labels.
func metricLabels() (l telemetry.Labels) {
	for _, t := range problem.Types {
		l.Problems = append(l.Problems, t.Code)
	}
	for _, r := range refusals {
		l.Refusals = append(l.Refusals, r.reason)
	}
	return l
}

// countRefusal counts a request that was not admitted. A client that has disconnected was not refused.
func (s *Server) countRefusal(err error) {
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			s.metrics.Refused(r.reason)
			return
		}
	}
}

// state returns what the metrics show. It checks the database as /health/ready does, together with probes that do so at
// the same time, so that it takes as long as that: one round trip, and not much longer than probeTimeout.
func (s *Server) state() telemetry.State {
	ctx, cancel := context.WithTimeout(context.Background(), 2*probeTimeout)
	defer cancel()
	condition, err := s.shared(ctx, s.store.Check)
	database, schema := databaseChecks(condition, err)
	admitted := s.limiter.Admitted()
	return telemetry.State{
		Ready: telemetry.Ready{
			Database: database == ok, Schema: schema == ok, Keys: s.verifier.Ready() == nil, SchemaUnknown: schema == schemaUnknown,
		},
		SchemaVersion:   int(condition.SchemaVersion),
		SchemaNeeded:    int(migrations.Newest()),
		DB:              telemetry.DBStats(s.store.Stat()),
		Auth:            telemetry.AuthStats(s.verifier.Stats()),
		Admitted:        admitted,
		Queued:          max(0, s.limiter.InFlight()-admitted), // the two change independently
		ScansWaiting:    s.limiter.ScansWaiting(),
		Connections:     int(s.clients.Load()),
		ConnectionsMost: s.config.MaxConnections,
	}
}
