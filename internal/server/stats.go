package server

import (
	"context"
	"net/http"
	"slices"

	"docket/internal/api"
	"docket/internal/store"
)

// GetStats implements GET /api/{user_id}/stats.
func (s *Server) GetStats(ctx context.Context, r api.GetStatsRequestObject) (api.GetStatsResponseObject, error) {
	counted, err := s.owner(ctx).GetStats(ctx)
	if err != nil {
		return nil, err
	}
	suffix := listSuffix("stats")
	tag, known := s.tags.tag(counted.Revision, suffix), s.tags.parse(r.Params.IfNoneMatch, suffix, true)
	if known.any || slices.Contains(known.revisions, counted.Revision) {
		return notModified(ctx, tag), nil
	}
	return respond(ctx, http.StatusOK, tag, &api.Stats{
		Total:               counted.Pending.Total() + counted.Completed.Total(),
		Pending:             counted.Pending.Total(),
		Completed:           counted.Completed.Total(),
		PendingByPriority:   countByPriority(counted.Pending),
		CompletedByPriority: countByPriority(counted.Completed),
	}), nil
}

func countByPriority(c store.CountByPriority) api.CountByPriority {
	return api.CountByPriority{Low: c.Low, Medium: c.Medium, High: c.High}
}

// The operations that may return a response of type response.

func (r response) VisitGetStatsResponse(w http.ResponseWriter) error { return r.write(w) }
