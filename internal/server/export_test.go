package server

import (
	"maps"
	"net/http"
	"slices"

	"docket/internal/api"
)

// Problem is a row of the table of problems.
type Problem struct {
	Status int
	Title  string
}

// Problems gives the table of problems by code.
func Problems() map[string]Problem {
	all := map[string]Problem{}
	for _, k := range kinds {
		all[k.code] = Problem{k.status, k.title}
	}
	return all
}

// InFlight is how many requests have a place, or wait for one or for their turn.
func (s *Server) InFlight() (n int) {
	s.places.mu.Lock()
	defer s.places.mu.Unlock()
	for _, h := range s.places.owners {
		n += h.taken
	}
	return n
}

// Around puts the rooms of the road that every request walks through around a handler of a test's.
func (s *Server) Around(next http.HandlerFunc) http.Handler {
	return s.exchanged(s.crossOrigin(s.private(s.recovered(next))))
}

// Checked puts the checks of an operation before a handler of a test's, behind a mux of its own. Without the quick ones
// they are the library's alone.
func (s *Server) Checked(pattern string, quick bool, next http.HandlerFunc) (http.Handler, error) {
	doc, err := api.GetSpec()
	if err != nil {
		return nil, err
	}
	op, err := s.compile(doc, pattern, next)
	if err != nil {
		return nil, err
	}
	if !quick {
		for _, p := range slices.Concat(op.paths, op.headers, slices.Collect(maps.Values(op.queries))) {
			p.quick = nil
		}
		if op.body != nil {
			clear(op.body.quick)
		}
	}
	mux := http.NewServeMux()
	mux.Handle(pattern, op)
	return s.exchanged(mux), nil
}
