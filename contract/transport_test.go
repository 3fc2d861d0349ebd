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

// complaints is a test that is told of faults and goes on.
type complaints struct {
	testing.TB
	mu   sync.Mutex
	said []string
}

func (c *complaints) Errorf(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.said = append(c.said, fmt.Sprintf(format, args...))
}

// health is an answer of getHealth without a fault. Others are made of it.
func health(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "private, no-cache")
	w.Header().Set("Vary", "Origin, Authorization")
	w.Header().Set("X-Request-Id", "mine")
	_, _ = io.WriteString(w, body)
}

const healthy = `{"status":"healthy","timestamp":"2026-03-09T08:00:00.000000Z","version":"test"}`

func TestClientAndProxySayWhatIsWrongWithAnAnswer(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		says   string // nothing is wrong when empty
	}{
		"nothing": {func(w http.ResponseWriter, _ *http.Request) { health(w, healthy) }, ""},
		"a member more": {func(w http.ResponseWriter, _ *http.Request) {
			health(w, strings.Replace(healthy, "{", `{"load":1,`, 1))
		}, `property "load" is unsupported`},
		"a member less":   {func(w http.ResponseWriter, _ *http.Request) { health(w, `{"status":"healthy"}`) }, `property "version" is missing`},
		"no JSON":         {func(w http.ResponseWriter, _ *http.Request) { health(w, "healthy") }, "the body is not JSON"},
		"another header":  {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Server", "x"); health(w, healthy) }, "the header Server is not in the document"},
		"another status":  {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }, "getHealth: status 418 is not in the document"},
		"no problem":      {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "busy", http.StatusNotAcceptable) }, "an error that is no problem document"},
		"no request's id": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, healthy) }, `X-Request-Id is ""`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			service := httptest.NewServer(test.answer)
			t.Cleanup(service.Close)
			for _, through := range []string{"the client", "the proxy"} {
				told := &complaints{TB: t}
				client, address := contract.Client(told), service.URL
				if through == "the proxy" {
					client, address = service.Client(), contract.Proxy(told, address)
				}
				response, err := client.Get(address + "/health")
				if err != nil {
					t.Fatal(err)
				}
				response.Body.Close()
				said := strings.Join(told.said, "\n")
				if (said == "") != (test.says == "") || !strings.Contains(said, test.says) {
					t.Errorf("%s says %q", through, said)
				}
				if said != "" && !strings.Contains(said, "GET /health: ") {
					t.Errorf("%s does not say where: %q", through, said)
				}
			}
		})
	}
}

func TestProxyGivesTheAnswerAsItIs(t *testing.T) {
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
	r.Header.Set("X-Request-Id", "mine")
	response, err := service.Client().Transport.RoundTrip(r) // which follows no redirection
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusSeeOther || response.Header.Get("Location") != "/docs" || string(body) != "GET /a%2Fb?c=%00;d" {
		t.Errorf("%v %d %v %q", err, response.StatusCode, response.Header, body)
	}
}
