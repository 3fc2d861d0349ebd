package server

// InFlight returns the number of requests that are being processed or are queued.
func (s *Server) InFlight() int { return s.limiter.InFlight() }
