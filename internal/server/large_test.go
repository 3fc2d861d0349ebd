package server_test

import (
	"compress/gzip"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// counted is a listener that counts the writes to its connections.
type counted struct {
	net.Listener
	writes *atomic.Int64
}

func (l counted) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return countedConn{c.(*net.TCPConn), l.writes}, nil
}

type countedConn struct {
	*net.TCPConn
	writes *atomic.Int64
}

func (c countedConn) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.TCPConn.Write(b)
}

// ReadFrom counts, too: net/http may write with it.
func (c countedConn) ReadFrom(r io.Reader) (int64, error) {
	c.writes.Add(1)
	return c.TCPConn.ReadFrom(r)
}

func TestAListIsOneWriteOfAnnouncedLength(t *testing.T) {
	t.Parallel()
	var writes atomic.Int64
	s := start(t, func(o *options) { o.listener = func(l net.Listener) net.Listener { return counted{l, &writes} } })
	s.exec(t, `
		insert into task (id, user_id, title, description)
		select gen_random_uuid(), $1, 'task ' || n, repeat('x', 100) from generate_series(1, 100) n`, s.ada.id)
	for _, query := range []string{"?limit=1", "?limit=5", "?limit=20", ""} {
		before := writes.Load()
		page := s.ada.send(t, "GET", query, "").want(http.StatusOK)
		if n := writes.Load() - before; n != 1 || page.get("Content-Length") != strconv.Itoa(len(page.body)) {
			t.Errorf("%q: %d bytes in %d writes, announced as %s", query, len(page.body), n, page.get("Content-Length"))
		}
	}
}

// fillLargePage creates 1000 tasks for ada, of 6 KB each in JSON, and returns the head of a request for all of them.
func (s *service) fillLargePage(t testing.TB) (head string) {
	t.Helper()
	s.exec(t, `
		insert into task (id, user_id, title, description)
		select gen_random_uuid(), $1, 'task ' || n, repeat('<', 1000) from generate_series(1, 1000) n`, s.ada.id)
	return crlf("GET " + s.ada.tasks() + "?limit=1000 HTTP/1.1\nHost: docket\nAuthorization: Bearer " + s.ada.token)
}

func TestALargePageIsSentInChunksAndComplete(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.fillLargePage(t)
	page := s.ada.send(t, "GET", "?limit=1000", "")
	all := page.list()
	if len(page.body) < 5<<20 || page.get("Content-Length") != "" || len(all.Tasks) != 1000 || all.Total != 1000 {
		t.Errorf("%d bytes with %d of %d tasks", len(page.body), len(all.Tasks), all.Total)
	}
	seen := map[string]bool{}
	for _, task := range all.Tasks {
		if seen[task.Title] = true; *task.Description != strings.Repeat("<", 1000) {
			t.Errorf("task %s is %+v", task.ID, task)
		}
	}
	if len(seen) != 1000 {
		t.Errorf("%d different tasks", len(seen))
	}
	s.ada.send(t, "GET", "?limit=1000", "", "If-None-Match: "+page.get("ETag")).want(http.StatusNotModified)
	if head := s.ada.send(t, "HEAD", "?limit=1000", "").want(http.StatusOK); head.body != "" || head.get("ETag") != page.get("ETag") {
		t.Errorf("HEAD: %s", head)
	}
}

func TestAClientThatDisconnectsReleasesItsSlot(t *testing.T) {
	t.Parallel()
	s := start(t)
	head := s.fillLargePage(t)
	for range 3 {
		c := s.dial(t, "")
		check(t, c.Conn.(*net.TCPConn).SetReadBuffer(4<<10)) // otherwise the system might buffer the whole page
		_ = must(io.WriteString(c, head))
		_ = must(io.ReadFull(c.answers, make([]byte, 1000)))
		if n := s.docket.InFlight(); n != 1 {
			t.Errorf("%d requests are in flight", n)
		}
		c.Close()
		eventually(t, "the slot is free", func() bool { return s.docket.InFlight() == 0 })
	}
	if log := s.log.String(); strings.Contains(log, `"level":"ERROR"`) {
		t.Errorf("logged: %s", log)
	}
}

func TestALargePageIsCompressedWhenTheClientAcceptsIt(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.fillLargePage(t)
	plain := s.ada.send(t, "GET", "?limit=1000", "")
	for _, accept := range []string{"gzip", "br, GZIP;q=0.5", "deflate, gzip;q=1.0, *;q=0.5"} {
		packed := s.ada.send(t, "GET", "?limit=1000", "", "Accept-Encoding: "+accept).want(http.StatusOK)
		text := must(io.ReadAll(must(gzip.NewReader(strings.NewReader(packed.body)))))
		if packed.get("Content-Encoding") != "gzip" || string(text) != plain.body || len(packed.body) > len(plain.body)/4 {
			t.Errorf("%s: %d bytes that unpack to %d, want %d", accept, len(packed.body), len(text), len(plain.body))
		}
		if packed.get("ETag") == plain.get("ETag") {
			t.Errorf("both representations have the tag %s", plain.get("ETag"))
		}
		for _, a := range []*answer{plain, packed} {
			again := s.ada.send(t, "GET", "?limit=1000", "", "If-None-Match: "+a.get("ETag"), "Accept-Encoding: "+accept)
			if again.want(http.StatusNotModified).get("ETag") != a.get("ETag") {
				t.Errorf("sent %s, got %s", a.get("ETag"), again.get("ETag"))
			}
		}
	}
	for _, accept := range []string{"", "identity", "br", "gzip;q=0", "gzip; q=0.000", "gzip;Q=0", "gzipped"} {
		if a := s.ada.send(t, "GET", "?limit=1000", "", "Accept-Encoding: "+accept).want(http.StatusOK); a.body != plain.body {
			t.Errorf("the answer to %q differs", accept)
		}
	}
	if a := s.ada.send(t, "GET", "?limit=5", "", "Accept-Encoding: gzip").want(http.StatusOK); a.get("Content-Encoding") != "" {
		t.Error("a small list is compressed, too")
	}
	s.exec(t, "delete from task where user_id = $1", s.ada.id)
	s.ada.send(t, "GET", "?limit=1000", "", "If-None-Match: "+plain.get("ETag"), "Accept-Encoding: gzip").want(http.StatusOK)
}

func TestAClientThatDisconnectsIsNotLoggedAsAnError(t *testing.T) {
	t.Parallel()
	s := start(t)
	head := strings.Replace(s.fillLargePage(t), "limit=1000", "limit=40", 1) // just below a chunk
	for range 20 {
		c := s.dial(t, strings.Repeat(head, 12))
		_ = must(io.ReadFull(c.answers, make([]byte, 100)))
		c.Close()
	}
	eventually(t, "all requests have ended", func() bool { return s.docket.InFlight() == 0 })
	if _, logged, is := strings.Cut(s.log.String(), `"level":"ERROR"`); is {
		t.Errorf("logged: %.2000s", logged)
	}
}
