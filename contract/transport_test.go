package contract_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"docket/contract"
)

// fakeTB records the errors of a test without failing it.
type fakeTB struct {
	testing.TB
	mu     sync.Mutex
	errors []string
}

func (f *fakeTB) Errorf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.errors = append(f.errors, fmt.Sprintf(format, args...))
}

// writeHealth writes a response of getHealth with valid headers.
func writeHealth(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "private, no-cache")
	w.Header().Set("Vary", "Origin, Authorization")
	w.Header().Set("X-Request-Id", "test-id")
	_, _ = io.WriteString(w, body)
}

const healthy = `{"status":"healthy","timestamp":"2026-03-09T08:00:00.000000Z","version":"test"}`

func TestClientAndProxyReportFaultsOfResponses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		want    string // part of the message; empty if there is no fault
	}{
		"no fault": {func(w http.ResponseWriter, _ *http.Request) { writeHealth(w, healthy) }, ""},
		"an additional property": {func(w http.ResponseWriter, _ *http.Request) {
			writeHealth(w, strings.Replace(healthy, "{", `{"load":1,`, 1))
		}, `property "load" is unsupported`},
		"a missing property":                  {func(w http.ResponseWriter, _ *http.Request) { writeHealth(w, `{"status":"healthy"}`) }, `property "version" is missing`},
		"a body that is not JSON":             {func(w http.ResponseWriter, _ *http.Request) { writeHealth(w, "healthy") }, "the body is not JSON"},
		"an undocumented header":              {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Server", "x"); writeHealth(w, healthy) }, "the header Server is not in the document"},
		"an undocumented status":              {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }, "getHealth: status 418 is not in the document"},
		"an error without a problem document": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "busy", http.StatusNotAcceptable) }, "the error is not a problem document"},
		"no request ID":                       {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, healthy) }, `X-Request-Id is ""`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			service := httptest.NewServer(test.handler)
			t.Cleanup(service.Close)
			for _, through := range []string{"client", "proxy"} {
				tb := &fakeTB{TB: t}
				client, address := contract.Client(tb), service.URL
				if through == "proxy" {
					client, address = service.Client(), contract.Proxy(tb, address)
				}
				response, err := client.Get(address + "/health")
				if err != nil {
					t.Fatal(err)
				}
				response.Body.Close()
				got := strings.Join(tb.errors, "\n")
				if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
					t.Errorf("%s: got the errors %q, want %q", through, got, test.want)
				}
				if got != "" && !strings.Contains(got, "GET /health: ") {
					t.Errorf("%s: the errors do not name the request: %q", through, got)
				}
			}
		})
	}
}

func TestProxyDoesNotChangeRequestsAndResponses(t *testing.T) {
	t.Parallel()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", r.Header.Get("X-Request-Id"))
		w.Header().Set("Location", "/docs")
		w.WriteHeader(http.StatusSeeOther)
		_, _ = io.WriteString(w, r.Method+" "+r.RequestURI)
	}))
	t.Cleanup(service.Close)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, contract.Proxy(t, service.URL)+"/a%2Fb?c=%00;d", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Request-Id", "test-id")
	response, err := service.Client().Transport.RoundTrip(r) // does not follow redirects
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusSeeOther || response.Header.Get("Location") != "/docs" || string(body) != "GET /a%2Fb?c=%00;d" {
		t.Errorf("%v %d %v %q", err, response.StatusCode, response.Header, body)
	}
}
