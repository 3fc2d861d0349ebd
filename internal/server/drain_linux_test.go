package server_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// gatedListener accepts no connection before it is opened.
type gatedListener struct {
	*net.TCPListener
	open chan struct{}
}

func (l gatedListener) Accept() (net.Conn, error) {
	<-l.open
	return l.TCPListener.Accept()
}

// Connections that wait to be accepted when the service stops are served, and none can be made that would be reset.
func TestNoConnectionIsResetWhenTheServiceStops(t *testing.T) {
	t.Parallel()
	open := make(chan struct{})
	accept := sync.OnceFunc(func() { close(open) })
	s := start(t, func(o *options) {
		o.drain = time.Millisecond
		o.listener = func(l net.Listener) net.Listener { return gatedListener{l.(*net.TCPListener), open} }
	})
	const head = "GET /health HTTP/1.1\nHost: docket"
	t.Cleanup(accept) // or the service could not stop after a failure
	waiting := []*conn{s.dial(t, crlf(head))}
	s.stop()
	eventually(t, "no new connection can be made", func() bool {
		c, err := net.DialTimeout("tcp", strings.TrimPrefix(s.url, "http://"), 100*time.Millisecond)
		if err != nil {
			return true
		}
		t.Cleanup(func() { c.Close() })
		_, err = io.WriteString(c, crlf(head))
		check(t, err)
		waiting = append(waiting, &conn{c, bufio.NewReader(c)})
		return false
	})
	accept()
	for _, c := range waiting {
		if a := c.answer(t, crlf(head)).want(http.StatusOK); !a.last {
			t.Error("the connection stays open")
		}
	}
	<-s.stopped
}

// Connections without a request do not keep those with one from being accepted.
func TestIdleConnectionsMakeRoomWhenTheServiceStops(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *options) { o.drain, o.MaxConnections = time.Millisecond, 1 })
	const head = "GET /health HTTP/1.1\nHost: docket"
	idle := s.dial(t, crlf(head))
	if idle.answer(t, crlf(head)).want(http.StatusOK).last {
		t.Fatal("the connection is closed")
	}
	waiting := s.dial(t, crlf(head))
	s.stop()
	waiting.answer(t, crlf(head)).want(http.StatusOK)
	<-s.stopped
}

// net/http drops a request that arrives after its Shutdown has begun, on a connection from before.
func TestTheFirstRequestOfAConnectionIsServedWhenTheServiceStops(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *options) { o.drain = time.Millisecond })
	c := s.dial(t, "")
	s.stop()
	eventually(t, "no new connection can be made", func() bool {
		other, err := net.DialTimeout("tcp", strings.TrimPrefix(s.url, "http://"), 100*time.Millisecond)
		if err == nil {
			other.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	const head = "GET /health HTTP/1.1\nHost: docket"
	_, err := io.WriteString(c, crlf(head))
	check(t, err)
	if !c.answer(t, crlf(head)).want(http.StatusOK).last {
		t.Error("the connection stays open")
	}
	<-s.stopped
}
