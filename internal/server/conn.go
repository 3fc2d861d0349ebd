package server

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"docket/internal/cork"
	"docket/internal/middleware"
	"docket/internal/problem"
)

// maxFields is the maximum number of lines of a request's header. Many short fields take far more memory than their
// bytes: 16 KiB of them would be half a MiB.
const maxFields = 100

// listener wraps the listener of an http.Server. It bounds the number of connections; what exceeds it waits to be
// accepted. It does not use netutil.LimitListener, which hides CloseWrite: net/http needs that to answer a client that
// is still sending.
type listener struct {
	net.Listener
	server *Server
	slots  chan struct{} // nil: no limit
	closed chan struct{}
	close  func()
	warned time.Time
}

func (s *Server) listen(l net.Listener) *listener {
	wrapped := &listener{Listener: cork.Listen(l), server: s, closed: make(chan struct{})}
	wrapped.close = sync.OnceFunc(func() { close(wrapped.closed) })
	if s.config.MaxConnections > 0 {
		wrapped.slots = make(chan struct{}, s.config.MaxConnections)
	}
	return wrapped
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	if err := l.acquire(); err != nil {
		return nil, err
	}
	c, err := l.Listener.Accept()
	if err != nil {
		l.release()
		return nil, err
	}
	l.server.clients.Add(1)
	return &conn{Conn: c, server: l.server, release: sync.OnceFunc(func() {
		l.server.clients.Add(-1)
		l.release()
	})}, nil
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.close()
	return l.Listener.Close()
}

// acquire waits for a free slot.
func (l *listener) acquire() error {
	if l.slots == nil {
		return nil
	}
	select {
	case l.slots <- struct{}{}:
		return nil
	default:
	}
	if now := time.Now(); now.Sub(l.warned) > time.Minute {
		l.warned = now
		l.server.log.Warn("all connections are in use, new ones wait", slog.Int("limit", cap(l.slots)))
	}
	select {
	case l.slots <- struct{}{}:
		return nil
	case <-l.closed:
		return net.ErrClosed
	}
}

func (l *listener) release() {
	if l.slots != nil {
		<-l.slots
	}
}

// conn is a connection of a listener. It bounds the lines of each header, and replaces the responses that net/http
// writes by itself, in plain text or empty, with problem documents.
type conn struct {
	net.Conn
	server  *Server
	release func()

	// Used by the one Read at a time.
	lines   int  // of the header so far
	begun   bool // the current line has bytes
	inBody  bool // the header is complete
	tooMany bool // it is not, and has more than maxFields fields

	busy   bool // new, or has a request
	served bool // a handler was called for the current request, so that net/http refuses it no more
}

// Close implements net.Conn.
func (c *conn) Close() error {
	defer c.release()
	return c.Conn.Close()
}

// CloseWrite closes the sending side, if the connection has sides.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// connContext is the ConnContext of an http.Server with a listener.
func connContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(cork.ConnContext(ctx, c.(*conn).Conn), connKey{}, c)
}

type connKey struct{}

// markServed records that a handler was called for a request. What is written from now on is the service's, even if
// it contains what net/http writes.
func markServed(r *http.Request) {
	if c, ok := r.Context().Value(connKey{}).(*conn); ok {
		c.served = true
	}
}

// connState is the ConnState of an http.Server with a listener. It counts the busy connections. After a response, the next
// header begins. What net/http has read of that header already is not counted: middleware.LimitHeader is exact.
func connState(nc net.Conn, state http.ConnState) {
	c := nc.(*conn)
	if busy := state == http.StateNew || state == http.StateActive; busy && !c.busy {
		c.busy = true
		c.server.busy.Add(1)
	} else if !busy && c.busy {
		c.busy = false
		c.server.busy.Add(-1)
	}
	if state == http.StateIdle {
		c.lines, c.begun, c.inBody, c.served = 0, false, false, false
	}
}

var errTooManyFields = errors.New("too many header fields")

// Read implements net.Conn. Within a header of too many lines it returns an error, but only after the bytes that made
// them too many: net/http does not answer if it cannot read the beginning of a request.
func (c *conn) Read(b []byte) (int, error) {
	if c.tooMany {
		return 0, errTooManyFields
	}
	n, err := c.Conn.Read(b)
	for rest := b[:n]; len(rest) > 0 && !c.inBody; {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		c.begun = c.begun || len(bytes.TrimSuffix(line, []byte("\r"))) > 0
		if !ended {
			break
		}
		c.inBody = !c.begun && c.lines > 0
		c.lines++
		c.begun, rest = false, after
	}
	c.tooMany = !c.inBody && c.lines > maxFields+1 // the first line is the request line
	return n, err
}

// Write implements net.Conn.
func (c *conn) Write(b []byte) (int, error) {
	if c.served {
		return c.Conn.Write(b)
	}
	if p, bodiless := c.refusal(b); p != nil {
		if _, err := c.Conn.Write(c.server.refuse(p, c.RemoteAddr(), bodiless)); err != nil {
			return 0, err
		}
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// plainText is what follows the status line of a response that net/http writes by itself.
const plainText = "Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"

// refusal returns the problem of a response that net/http writes by itself, and nil for all others. bodiless says that
// the response must not have a body.
func (c *conn) refusal(response []byte) (p *problem.Problem, bodiless bool) {
	const prefix = "HTTP/1.1 "
	if len(response) < len(prefix) || response[len(prefix)] < '4' || string(response[:len("HTTP/1.")]) != "HTTP/1." {
		return nil, false
	}
	line, rest, _ := strings.Cut(string(response[len(prefix):]), "\r\n")
	status, text, _ := strings.Cut(line, " ")
	if status == "417" {
		// net/http writes the length of all empty bodies but those of responses to HEAD.
		return &problem.Problem{
			Type: problem.ExpectationFailed, Detail: "The only Expect that the service meets is 100-continue.",
		}, !strings.Contains(rest, "Content-Length: 0\r\n")
	}
	if !strings.HasPrefix(rest, plainText) {
		return nil, false
	}
	_, reason, _ := strings.Cut(text, ": ")
	switch {
	case c.tooMany:
		return middleware.TooManyFields(maxFields), false
	case status == "431":
		return middleware.HeaderTooLarge(maxHeader), false
	case status == "501":
		return &problem.Problem{Type: problem.TransferEncoding, Detail: "Transfer-Encoding must be chunked."}, false
	case status == "505":
		return &problem.Problem{Type: problem.HTTPVersion, Detail: "The service speaks HTTP/1.0 and HTTP/1.1."}, false
	case reason != "":
		return &problem.Problem{Type: problem.MalformedRequest, Detail: "The request is not valid HTTP: " + reason + "."}, false
	}
	return &problem.Problem{
		Type: problem.MalformedRequest, Detail: "The request is not valid HTTP. If the path contains a literal %, write it as %25.",
	}, false
}

// refuse returns the bytes of a response with a problem to a request that did not reach the handlers. It is logged as
// others are, but its method, origin and X-Request-Id are not known: any page may read the response, which tells nothing.
func (s *Server) refuse(p *problem.Problem, client net.Addr, bodiless bool) []byte {
	w := &refusal{header: http.Header{
		"Access-Control-Allow-Origin":   {"*"},
		"Access-Control-Expose-Headers": {"X-Request-Id"},
	}}
	handler := middleware.RequestID(
		middleware.Log(s.log, s.metrics.Observe, s.client)(
			middleware.CacheHeaders(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.fail(w, r, p) }))))
	handler.ServeHTTP(w, &http.Request{URL: new(url.URL), Header: http.Header{}, RemoteAddr: client.String()})
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 " + strconv.Itoa(w.status) + " " + http.StatusText(w.status) + "\r\n")
	w.header.Set("Connection", "close")
	w.header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	_ = w.header.Write(&b) // a buffer does not fail
	b.WriteString("\r\n")
	if !bodiless {
		b.Write(w.body)
	}
	return b.Bytes()
}

// refusal records a response.
type refusal struct {
	header http.Header
	status int
	body   []byte
}

func (w *refusal) Header() http.Header { return w.header }

func (w *refusal) WriteHeader(status int) { w.status = status }

func (w *refusal) Write(b []byte) (int, error) {
	w.body = append(w.body, b...)
	return len(b), nil
}
