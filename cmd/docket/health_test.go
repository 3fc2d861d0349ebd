package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// portOf returns the port of an address.
func portOf(t testing.TB, url string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(strings.TrimPrefix(url, "http://"))
	check(t, err)
	return port
}

func TestHealthReportsWhatTheProbesSay(t *testing.T) {
	t.Parallel()
	d, e := newDependencies(t)
	d.issuer.Publish() // no keys
	e["METRICS_ADDR"], e["MAX_CONNECTIONS"] = "127.0.0.1:0", "1"
	s := background(t, e, "serve")
	api, admin := portOf(t, s.url), portOf(t, adminURL(s))
	others := []environment{
		{"ADDR": "127.0.0.1:" + api},
		{"ADDR": ":" + api},
		{"ADDR": "0.0.0.0:" + api},
		{"PORT": api, "BASE_PATH": "/docket"},
		{"ADDR": "127.0.0.1:0", "METRICS_ADDR": ":" + admin}, // the address of the metrics is preferred
	}
	ask := func(code int, text string, args ...string) {
		t.Helper()
		for _, other := range others {
			o := invoke(t, other, append([]string{"health"}, args...)...).want(t, code, text)
			if strings.Count(o.stdout+o.stderr, "\n") != 1 {
				t.Errorf("%v: not one line: %+v", other, o)
			}
		}
	}
	ask(0, "alive\n", "-live")
	ask(1, "docket: not ready: keys: ")
	d.issuer.Publish(d.issuer.JWK())
	eventually(t, "the keys are loaded", func() bool { return invoke(t, others[0], "health").code == 0 })
	ask(0, "ready\n")
	d.database.Refuse()
	ask(1, "docket: not ready: database: ")
	ask(0, "alive\n", "-live")

	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://")) // the one connection of MAX_CONNECTIONS
	check(t, err)
	defer c.Close()
	_, err = io.WriteString(c, "GET /health HTTP/1.1\r\nHost: docket\r\n\r\n")
	check(t, err)
	_, err = c.Read(make([]byte, 1)) // it is answered, so it is the one now
	check(t, err)
	invoke(t, environment{"METRICS_ADDR": "127.0.0.1:" + admin}, "health", "-live").want(t, 0, "alive")
}

func TestHealthFailsWithoutADocket(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	addr := closed.Addr().String()
	check(t, closed.Close())
	invoke(t, environment{"ADDR": addr}, "health").want(t, 1, "docket: not ready: "+addr+" does not answer")
	invoke(t, environment{"ADDR": addr}, "health", "-live").want(t, 1, "docket: not alive: "+addr+" does not answer")
	invoke(t, environment{"ADDR": ":0"}, "health").want(t, 1, "ADDR: ", "port")
	invoke(t, environment{"METRICS_ADDR": "[::]:0", "ADDR": addr}, "health").want(t, 1, "METRICS_ADDR: ", "port")
	invoke(t, environment{"ADDR": "x"}, "health").want(t, 2, "ADDR: ")

	silent, err := net.Listen("tcp", "127.0.0.1:0") // never answers
	check(t, err)
	defer silent.Close()
	started := time.Now()
	invoke(t, environment{"ADDR": silent.Addr().String()}, "health").want(t, 1, "does not answer")
	if waited := time.Since(started); waited < healthTimeout {
		t.Errorf("it waits %v only", waited)
	}

	for status, header := range map[int]string{http.StatusBadGateway: "", http.StatusFound: "https://app.example/"} {
		other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", header)
			w.WriteHeader(status)
		}))
		invoke(t, environment{"PORT": portOf(t, other.URL)}, "health").want(t, 1, "not ready: ", http.StatusText(status))
		other.Close()
	}
}

func TestHealthFindsTheLoopbackAddressOfWildcards(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		":8000": "127.0.0.1:8000", "0.0.0.0:8000": "127.0.0.1:8000", "[::]:8000": "[::1]:8000", "[::1]:1": "[::1]:1",
		"192.0.2.1:8000": "192.0.2.1:8000", "localhost:80": "localhost:80",
	} {
		if got, err := dialable(addr); err != nil || got != want {
			t.Errorf("%s: %s %v, want %s", addr, got, err, want)
		}
	}
}
