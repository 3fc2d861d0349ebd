package middleware_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"docket/internal/middleware"
)

func TestOnlyTheGivenOriginsAreAllowed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		origins []string
		origin  string
		want    bool
	}{
		{[]string{"https://a.example", "https://b.example:8443"}, "https://a.example", true},
		{[]string{"https://a.example", "https://b.example:8443"}, "https://b.example:8443", true},
		{[]string{"https://a.example", "https://b.example:8443"}, "https://b.example", false},
		{[]string{"https://a.example"}, "http://a.example", false},
		{[]string{"https://a.example"}, "null", false},
		{nil, "https://a.example", false},
		{[]string{}, "https://a.example", false},
		// fault F2
		{[]string{"capacitor://localhost", "tauri://localhost"}, "capacitor://localhost", true},
		{[]string{"capacitor://localhost", "tauri://localhost"}, "tauri://localhost", true},
		{[]string{"capacitor://localhost"}, "http://localhost", false},
		{[]string{"capacitor://localhost"}, "capacitor://localhost.example", false},
		{[]string{"https://xn--bcher-kva.example"}, "https://xn--bcher-kva.example", true},
	} {
		h := middleware.CORS(test.origins, nil, slog.New(slog.DiscardHandler))(write(404, "no"))
		w := serve(t, h, "/", "Origin: "+test.origin)
		if got := w.Header().Get("Access-Control-Allow-Origin"); (got == test.origin) != test.want || w.Code != 404 {
			t.Errorf("%s of %q: %d with %v", test.origin, test.origins, w.Code, w.Header())
		}
		if p := preflight(h, test.origin, "PATCH", "authorization,if-match"); (p.Get("Access-Control-Allow-Methods") == "PATCH") != test.want {
			t.Errorf("a preflight of %s of %q: %v", test.origin, test.origins, p)
		}
	}
}

// preflight returns the header of the response to a preflight. Browsers sort the names of headers and write them in lower
// case.
func preflight(h http.Handler, origin, method, headers string) http.Header {
	r := httptest.NewRequest(http.MethodOptions, "/", nil)
	r.Header.Set("Origin", origin)
	r.Header.Set("Access-Control-Request-Method", method)
	if headers != "" {
		r.Header.Set("Access-Control-Request-Headers", headers)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Header()
}

// fault F3
func TestFrontendsMaySendTheHeadersOfTracingAndThoseOfTheVariable(t *testing.T) {
	t.Parallel()
	const page = "https://a.example"
	usual := "accept,authorization,baggage,confirm,content-type,idempotency-key,if-match,if-none-match,last-event-id,prefer," +
		"sentry-trace,traceparent,tracestate,x-request-id,x-requested-with"
	for _, test := range []struct {
		variable []string
		headers  string
		want     bool
	}{
		{nil, usual, true},
		{nil, "baggage,sentry-trace,traceparent", true},
		{nil, "x-client-version", false},
		{nil, "authorization,x-client-version", false},
		{[]string{"X-Client-Version"}, "authorization,x-client-version", true},
		{[]string{"x-client-version", "X-B3-TraceId"}, "x-b3-traceid,x-client-version", true},
		{[]string{"X-Client-Version"}, usual, true},
		{[]string{"X-Client-Version"}, "x-other", false},
	} {
		h := middleware.CORS([]string{page}, test.variable, slog.New(slog.DiscardHandler))(write(200, ""))
		if got := preflight(h, page, "POST", test.headers); (got.Get("Access-Control-Allow-Headers") == test.headers) != test.want {
			t.Errorf("%s with the variable %q: %v", test.headers, test.variable, got)
		}
	}
}

// fault F3
func TestEachRefusedOriginHeaderAndMethodIsLoggedOnce(t *testing.T) {
	t.Parallel()
	const page, other = "https://a.example", "https://b.example"
	var text bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&text, nil))
	h := middleware.CORS([]string{page}, []string{"X-Allowed"}, log)(write(200, ""))
	var requests sync.WaitGroup
	for range 50 {
		requests.Go(func() {
			serve(t, h, "/", "Origin: "+page)
			serve(t, h, "/", "Origin: "+other)
			serve(t, h, "/", "Origin: http://example.com") // the host of the request: a page of the service's own
			serve(t, h, "/", "Origin: https://proxy.example", "Sec-Fetch-Site: same-origin")
			serve(t, h, "/")
			preflight(h, page, "PATCH", "authorization,traceparent,x-allowed")
			preflight(h, page, "patch", "authorization")
			preflight(h, page, "PATCH", "authorization,x-one,x-two")
			preflight(h, other, "PATCH", "x-three") // only its origin is at fault
		})
	}
	requests.Wait()
	got := map[string]int{}
	for line := range strings.Lines(text.String()) {
		var entry struct{ Level, Msg, Origin, Header, Method string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Level != "WARN" || !strings.HasPrefix(entry.Msg, "a page was refused: ") {
			t.Errorf("%v: %s", err, line)
		}
		got[entry.Origin+entry.Header+entry.Method]++
	}
	if want := map[string]int{other: 1, "x-one": 1, "x-two": 1, "patch": 1}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("logged %v, want %v:\n%s", got, want, &text)
	}
}

// fault F3
func TestInventedOriginsDoNotFillTheLogOrTheMemory(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	h := middleware.CORS([]string{"https://a.example"}, nil, slog.New(slog.NewTextHandler(&text, nil)))(write(200, ""))
	for i := range 1000 {
		serve(t, h, "/", fmt.Sprintf("Origin: https://%d.example/%s", i, strings.Repeat("x", 1000)))
		preflight(h, "https://a.example", "GET", fmt.Sprintf("x-%d", i))
	}
	if lines := strings.Count(text.String(), "\n"); lines != 101 || text.Len() > 101*500 || strings.Count(text.String(), "further refusals") != 1 {
		t.Errorf("%d lines with %d bytes", lines, text.Len())
	}
}
