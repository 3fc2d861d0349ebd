// Package cork sends a response in one write to its connection. net/http writes the first 4 KiB of a response and then
// the rest, so that a list of 20 tasks is two system calls, two packets, and often two reads for the client.
package cork

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"sync"
)

// plain turns the fast path off, for comparison. It is set by the linker, with -ldflags '-X docket/internal/cork.plain=1'.
var plain string

// The size of the bodies that are held back. A smaller one is a single write in any case; for a larger one a second
// system call is nothing.
const (
	smallest = 2 << 10
	largest  = 64 << 10
)

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 8<<10); return &b }}

// Listen wraps a listener of an http.Server whose ConnContext is ConnContext.
func Listen(l net.Listener) net.Listener {
	if plain != "" {
		return l
	}
	return listener{l}
}

type listener struct{ net.Listener }

// Accept implements net.Listener.
func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if half, ok := c.(halfCloser); ok {
		return &conn{halfCloser: half}, nil
	}
	return c, err
}

type connKey struct{}

// ConnContext is the ConnContext of an http.Server.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// Expect announces a response to r with a body of that length, before its header is written: it is sent when it is
// complete. Expect does nothing on a connection of another listener, and for a body that needs no such care.
func Expect(r *http.Request, body int) {
	c, ok := r.Context().Value(connKey{}).(*conn)
	if !ok || r.Method == http.MethodHead || body < smallest || body > largest {
		return
	}
	c.held, c.body = buffers.Get().(*[]byte), body
	*c.held = (*c.held)[:0]
}

// halfCloser is a connection over TCP: net/http closes its own side before it ends the connection.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// conn holds back what is written of a response until it is complete. It needs no lock: net/http writes to and closes an
// active connection in the goroutine that serves it.
type conn struct {
	halfCloser
	held *[]byte // what was written so far; nil: nothing is held back
	body int     // the bytes that follow the header
}

// Write implements net.Conn.
func (c *conn) Write(b []byte) (int, error) {
	if c.held == nil {
		return c.halfCloser.Write(b)
	}
	*c.held = append(*c.held, b...)
	if header := bytes.Index(*c.held, []byte("\r\n\r\n")); header >= 0 && len(*c.held) < header+4+c.body {
		return len(b), nil
	}
	return len(b), c.flush()
}

// flush sends what was held back.
func (c *conn) flush() error {
	if c.held == nil {
		return nil
	}
	_, err := c.halfCloser.Write(*c.held)
	if cap(*c.held) <= 2*largest { // a larger one would hold its memory for ever
		buffers.Put(c.held)
	}
	c.held = nil
	return err
}

// CloseWrite sends what was held back: the response will not be completed.
func (c *conn) CloseWrite() error {
	_ = c.flush() // the connection ends in any case
	return c.halfCloser.CloseWrite()
}

// Close implements net.Conn.
func (c *conn) Close() error {
	_ = c.flush() // as above
	return c.halfCloser.Close()
}
