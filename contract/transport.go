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

// Client returns an HTTP client that fails the test for every response that differs from the document.
func Client(t testing.TB) *http.Client {
	return &http.Client{Transport: checkedTransport{t, http.DefaultTransport}}
}

// ClientBehindProxy is like Client, for a proxy that is not ours and may name itself in the header Server. It has one
// connection, which it keeps open, for one request at a time.
func ClientBehindProxy(t testing.TB) *http.Client {
	transport := &http.Transport{MaxConnsPerHost: 1}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: checkedTransport{t, withoutServer{transport}}}
}

// withoutServer removes the header Server of responses.
type withoutServer struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (w withoutServer) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := w.RoundTripper.RoundTrip(r)
	if err == nil {
		response.Header.Del("Server")
	}
	return response, err
}

// checkedTransport fails its test for every response that differs from the document.
type checkedTransport struct {
	t    testing.TB
	base http.RoundTripper
}

// RoundTrip implements http.RoundTripper. It reads the body of the response to its end.
func (c checkedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := c.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	for _, fault := range Current().Faults(r, Response{response.StatusCode, response.Header, string(body)}) {
		c.t.Errorf("%s: %s\n%d\n%.3000s", Describe(r), fault, response.StatusCode, body)
	}
	return response, nil
}

// Describe returns the method and target of a request for messages.
func Describe(r *http.Request) string {
	if r == nil {
		return "not HTTP"
	}
	return fmt.Sprintf("%s %.300s", r.Method, r.URL.RequestURI())
}

// Proxy starts a reverse proxy for the service at an address, which runs until the test ends, and returns its URL. It
// is for clients that are not written in Go, such as curl and browsers. It fails the test for every response that
// differs from the document.
func Proxy(t testing.TB, address string) string {
	t.Helper()
	target, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 16}
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.URL.RawQuery = r.In.URL.RawQuery // includes what SetURL removes because it cannot be parsed
		},
		Transport: checkedTransport{t, transport},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if !errors.Is(err, context.Canceled) { // the client closed the connection
				t.Errorf("%s: %v", Describe(r), err)
			}
			w.WriteHeader(http.StatusBadGateway)
		},
	})
	t.Cleanup(func() {
		proxy.Close()
		transport.CloseIdleConnections()
	})
	return proxy.URL
}
