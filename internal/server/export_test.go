package server

import (
	"time"

	"docket/internal/limit"
)

// InFlight returns the number of requests that are being processed or are queued.
func (s *Server) InFlight() int { return s.limiter.InFlight() }

func (s *Server) Admitted() int { return s.limiter.Admitted() }

// SetClock makes the rate limit begin anew, on another clock. It must be called before the first request.
func (s *Server) SetClock(now func() time.Time) { s.rate = limit.NewRate(s.config.RateLimit, now) }
