package server

import (
	"net/http"

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

// Checked puts the checks of an operation before a handler of a test's, behind a mux of its own.
func (s *Server) Checked(pattern string, next http.HandlerFunc) (http.Handler, error) {
	doc, err := api.GetSpec()
	if err != nil {
		return nil, err
	}
	router := &router{mux: http.NewServeMux(), server: s, doc: doc}
	router.HandleFunc(pattern, next)
	return s.exchanged(router), router.err
}
