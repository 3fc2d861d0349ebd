package contract

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
)

// Client is an HTTP client whose every answer must be as the document says, or the test fails.
func Client(t testing.TB) *http.Client {
	return &http.Client{Transport: checked{t, http.DefaultTransport}}
}

// checked is a way to the service. It fails its test with what is wrong with an answer.
type checked struct {
	t   testing.TB
	way http.RoundTripper
}

func (c checked) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := c.way.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	for _, fault := range Current().Faults(r, Answer{response.StatusCode, response.Header, string(body)}) {
		c.t.Errorf("%s: %s\n%d\n%.3000s", Describe(r), fault, response.StatusCode, body)
	}
	return response, nil
}

// Describe is a request in a line.
func Describe(r *http.Request) string {
	if r == nil {
		return "not HTTP"
	}
	return fmt.Sprintf("%s %.300s", r.Method, r.URL.RequestURI())
}

// Proxy stands before the service at an address until the test ends, for what is no Go: curl, a browser, another
// language's client. Every answer that goes through it must be as the document says, or the test fails.
func Proxy(t testing.TB, address string) string {
	t.Helper()
	target, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	way := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 16}
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.URL.RawQuery = r.In.URL.RawQuery // with what cannot be parsed: that is the service's to refuse
		},
		Transport: checked{t, way},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if !errors.Is(err, context.Canceled) { // the client went away
				t.Errorf("%s: %v", Describe(r), err)
			}
			w.WriteHeader(http.StatusBadGateway)
		},
	})
	t.Cleanup(func() {
		proxy.Close()
		way.CloseIdleConnections()
	})
	return proxy.URL
}
