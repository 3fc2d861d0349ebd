package server

// InFlight counts the requests that are being worked on, or wait for it.
func (s *Server) InFlight() int { return s.limiter.InFlight() }
