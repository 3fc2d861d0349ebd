package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/pprof/profile"
)

func TestProfilesAreServedBesideTheMetricsOnly(t *testing.T) {
	t.Parallel()
	_, e := newDependencies(t)
	e["METRICS_ADDR"] = "127.0.0.1:0"
	s := background(t, e, "serve")
	for path, unit := range map[string]string{"heap": "bytes", "goroutine": "count", "profile?seconds=1": "nanoseconds"} {
		p := fetchProfile(t, adminURL(s)+"/debug/pprof/"+path)
		if units := p.SampleType; units[len(units)-1].Unit != unit {
			t.Errorf("%s is a profile of %v", path, units)
		}
		if path != "profile?seconds=1" { // an idle process has no samples of its CPU
			if text := p.String(); !strings.Contains(text, "docket/") {
				t.Errorf("%s names no function of ours", path)
			}
		}
	}
	if status, body := scrape(t, adminURL(s)+"/debug/pprof/"); status != http.StatusOK || !strings.Contains(body, "goroutine") {
		t.Errorf("the list of profiles: %d %s", status, body)
	}
	if status, body := scrape(t, adminURL(s)+"/debug/pprof/cmdline"); status != http.StatusNotFound {
		t.Errorf("the command line: %d %s", status, body)
	}
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/profile?seconds=1"} {
		if status, body := get(t, s.url+path); status != http.StatusNotFound || !strings.Contains(body, "route_not_found") {
			t.Errorf("the API answers %s with %d %s", path, status, body)
		}
	}
}

// net/http/pprof registers its handlers with http.DefaultServeMux, as any package may.
func TestNoAddressServesTheDefaultServeMux(t *testing.T) {
	t.Parallel()
	const path = "/of/the/default/mux"
	http.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	local := httptest.NewServer(nil)
	defer local.Close()
	if status, _ := scrape(t, local.URL+path); status != http.StatusTeapot {
		t.Fatalf("the default mux itself answers %d", status)
	}
	d, e := newDependencies(t)
	e["METRICS_ADDR"] = "127.0.0.1:0"
	s := background(t, e, "serve")
	for _, address := range []string{s.url, adminURL(s), d.issuer.URL} {
		if status, _ := scrape(t, address+path); status != http.StatusNotFound {
			t.Errorf("%s answers %d", address, status)
		}
	}
}

// The admin server has 15 s to write a response. A profile of 30 s is written after that.
func TestAProfileMayTakeLongerThanTheTimeLimitForWriting(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	handleProfiles(mux)
	server := httptest.NewUnstartedServer(mux)
	server.Config.WriteTimeout = 1900 * time.Millisecond
	server.Start()
	defer server.Close()
	for _, name := range []string{"heap", "mutex"} {
		if p := fetchProfile(t, server.URL+"/debug/pprof/"+name+"?seconds=2"); p.DurationNanos < int64(2*time.Second) {
			t.Errorf("%s took %d ns", name, p.DurationNanos)
		}
	}
}

func fetchProfile(t *testing.T, address string) *profile.Profile {
	t.Helper()
	status, body := scrape(t, address)
	if status != http.StatusOK {
		t.Fatalf("%s: %d %s", address, status, body)
	}
	p, err := profile.ParseData([]byte(body))
	check(t, err)
	return p
}
