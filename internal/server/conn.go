package server

import (
	"bytes"
	"context"
	"net"
	"net/http"
)

// wholeListener accepts connections that can send an answer in one piece.
type wholeListener struct{ net.Listener }

// Accept implements net.Listener.
func (l wholeListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if half, ok := c.(halfCloser); ok {
		return &wholeConn{halfCloser: half}, nil
	}
	return c, err
}

// halfCloser is a connection of net/http's over TCP: it has its own side closed before it is torn down.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// wholeConn sends an answer in one write, if asked to. net/http writes the first 4 KiB and then the rest, so that a list
// of 20 tasks is two system calls, two packets, and often two reads for the client.
//
// What it holds needs no lock: net/http writes and closes an active connection in the goroutine that serves it.
type wholeConn struct {
	halfCloser
	held *[]byte // what waits for the rest; nil: nothing waits
	body int     // the bytes that follow the header
}

type connKey struct{}

// withConn is the ConnContext of an http.Server.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// inOnePiece announces an answer with a body of that length. It does nothing for an answer that needs no such care, and
// behind another listener.
func inOnePiece(r *http.Request, body int) {
	c, ok := r.Context().Value(connKey{}).(*wholeConn)
	if !ok || r.Method == http.MethodHead || body < 2<<10 || body > largestKept {
		return
	}
	c.held, c.body = buffers.Get().(*[]byte), body
	*c.held = (*c.held)[:0]
}

// Write implements net.Conn. What it holds back is sent by the write that completes the answer.
func (c *wholeConn) Write(b []byte) (int, error) {
	if c.held == nil {
		return c.halfCloser.Write(b)
	}
	*c.held = append(*c.held, b...)
	if header := bytes.Index(*c.held, []byte("\r\n\r\n")); header >= 0 && len(*c.held) < header+4+c.body {
		return len(b), nil
	}
	return len(b), c.release()
}

// release sends what was held back.
func (c *wholeConn) release() error {
	if c.held == nil {
		return nil
	}
	_, err := c.halfCloser.Write(*c.held)
	if cap(*c.held) <= 2*largestKept { // a body of that size, and its header
		buffers.Put(c.held)
	}
	c.held = nil
	return err
}

// CloseWrite sends what was held back, as the answer will not be completed.
func (c *wholeConn) CloseWrite() error {
	_ = c.release() // the connection ends in any case
	return c.halfCloser.CloseWrite()
}

// Close implements net.Conn.
func (c *wholeConn) Close() error {
	_ = c.release() // as above
	return c.halfCloser.Close()
}
