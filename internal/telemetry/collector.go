package telemetry

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collector implements otlptrace.Client: it sends spans by OTLP over HTTP. OpenTelemetry's own client would link gRPC
// into the binary, see docs/adr/0043.
type collector struct {
	reports
	url     string
	headers map[string]string
	gzip    bool
	timeout time.Duration
	client  *http.Client
	ctx     context.Context // of all requests
	cancel  context.CancelFunc
}

func newCollector(c TracingConfig) (*collector, error) {
	security := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.Certificate != "" {
		pem, err := os.ReadFile(c.Certificate)
		if err != nil {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CERTIFICATE: %w", err)
		}
		security.RootCAs = x509.NewCertPool()
		if !security.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("OTEL_EXPORTER_OTLP_CERTIFICATE: the file holds no certificate")
		}
	}
	if c.ClientCertificate != "" {
		own, err := tls.LoadX509KeyPair(c.ClientCertificate, c.ClientKey)
		if err != nil {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE, OTEL_EXPORTER_OTLP_CLIENT_KEY: %w", err)
		}
		security.Certificates = []tls.Certificate{own}
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &collector{
		reports: reports{log: c.Log}, url: c.Endpoint, headers: c.Headers, gzip: c.Gzip, timeout: cmp.Or(c.Timeout, 10*time.Second),
		ctx: ctx, cancel: cancel,
		client: &http.Client{
			// A redirect must not determine who receives the headers.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: security, IdleConnTimeout: time.Minute},
		},
	}, nil
}

// Start implements otlptrace.Client.
func (c *collector) Start(context.Context) error { return nil }

// Stop implements otlptrace.Client. It is called after the last batch.
func (c *collector) Stop(context.Context) error {
	c.client.CloseIdleConnections()
	return nil
}

// UploadTraces implements otlptrace.Client. It repeats what may succeed later until the timeout. It reports an error
// instead of returning it, since an error that is returned goes to a handler of the whole process.
func (c *collector) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	body, err := c.encode(&tracepb.TracesData{ResourceSpans: spans}) // the same bytes as an ExportTraceServiceRequest
	if err != nil {
		c.report(err)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	for delay := time.Second; ; delay *= 2 {
		again, err := c.post(ctx, body)
		if err == nil {
			return nil
		}
		if again > 0 {
			select {
			case <-time.After(max(delay, again)):
				continue
			case <-ctx.Done():
			}
		}
		c.report(err)
		return nil
	}
}

func (c *collector) encode(message proto.Message) ([]byte, error) {
	body, err := proto.Marshal(message)
	if err != nil || !c.gzip {
		return body, err
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err = w.Write(body)
	err = errors.Join(err, w.Close())
	return b.Bytes(), err
}

// post sends a batch once. again is positive if another attempt may succeed, after that time. The error contains no
// header and no part of the URL or of the response, any of which may be a secret.
func (c *collector) post(ctx context.Context, body []byte) (again time.Duration, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return 0, errors.New("the collector's URL is not valid")
	}
	for name, value := range c.headers {
		request.Header.Set(name, value)
	}
	request.Header.Set("Content-Type", "application/x-protobuf")
	if c.gzip {
		request.Header.Set("Content-Encoding", "gzip")
	}
	response, err := c.client.Do(request)
	if failed, is := errors.AsType[*url.Error](err); is {
		return time.Nanosecond, failed.Err
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10)) // so that the connection can be used again
	switch response.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		seconds, _ := strconv.Atoi(response.Header.Get("Retry-After")) // 0 if it is a date
		again = max(time.Nanosecond, time.Duration(min(seconds, 3600))*time.Second)
	}
	if response.StatusCode < 200 || response.StatusCode > 299 {
		err = fmt.Errorf("the collector answered with status %d", response.StatusCode)
	}
	return again, err
}
