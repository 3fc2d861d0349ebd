package main

import (
	"net/http"
	"net/http/pprof" // it registers with http.DefaultServeMux as well, which no server of ours uses
)

// handleProfiles serves what `go tool pprof` reads, at /debug/pprof/. A profile that takes longer than the server's time
// limit for writing extends that by itself.
func handleProfiles(mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/pprof/", pprof.Index) // the list of profiles, and each by its name
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}
