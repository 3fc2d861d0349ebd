package server_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// counting counts the connections of a listener, and what is read from them.
type counting struct {
	net.Listener
	mu    sync.Mutex
	open  int
	most  int             // at a time
	reads []*atomic.Int64 // bytes, by connection
}

func (l *counting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open++
	l.most = max(l.most, l.open)
	read := new(atomic.Int64)
	l.reads = append(l.reads, read)
	return &countingConn{TCPConn: c.(*net.TCPConn), read: read, closed: sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.open--
	})}, nil
}

// total returns what was read from all connections, and the most of one.
func (l *counting) total() (total, most int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, read := range l.reads {
		total += read.Load()
		most = max(most, read.Load())
	}
	return total, most
}

type countingConn struct {
	*net.TCPConn
	read   *atomic.Int64
	closed func()
}

func (c *countingConn) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	c.read.Add(int64(n))
	return n, err
}

func (c *countingConn) Close() error {
	defer c.closed()
	return c.TCPConn.Close()
}

func countedBy(l *counting) func(*options) {
	return func(o *options) {
		o.listener = func(inner net.Listener) net.Listener {
			l.Listener = inner
			return l
		}
	}
}

// The documented limit of address and header fields.
const headerLimit = 16 << 10

// fault D1
func TestLittleIsReadOfAHeaderThatIsTooLarge(t *testing.T) {
	t.Parallel()
	l := new(counting)
	s := start(t, countedBy(l))
	for name, text := range map[string]string{
		"one field":     "GET /health HTTP/1.1\r\nHost: docket\r\nX-Large: " + strings.Repeat("x", 200<<10),
		"a name":        "GET /health HTTP/1.1\r\nHost: docket\r\n" + strings.Repeat("x", 200<<10),
		"the path":      "GET /" + strings.Repeat("x", 200<<10),
		"the method":    strings.Repeat("X", 200<<10),
		"long fields":   "GET /health HTTP/1.1\r\nHost: docket\r\n" + strings.Repeat("X-Some: "+strings.Repeat("x", 1000)+"\r\n", 200),
		"one with more": "GET /health HTTP/1.1\r\nHost: docket\r\nX-Large: " + strings.Repeat("x", 200<<10) + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			p := s.dial(t, text).answer(t, "").want(http.StatusRequestHeaderFieldsTooLarge).problem()
			if p.Code != "header_fields_too_large" || !strings.Contains(p.Detail, "16 KiB") {
				t.Errorf("%+v", p)
			}
		})
	}
	if _, most := l.total(); most > headerLimit+4<<10 {
		t.Errorf("%d bytes of a header were read", most)
	}
}

// fault D1
func TestAHeaderHasAtMost100Fields(t *testing.T) {
	t.Parallel()
	s := start(t)
	request := func(fields int) string {
		var b strings.Builder
		b.WriteString("GET /health HTTP/1.1\r\nHost: docket\r\n")
		for i := range fields - 1 {
			fmt.Fprintf(&b, "X-%d: %d\r\n", i, i)
		}
		return b.String() + "\r\n"
	}
	c := s.dial(t, "")
	for range 3 { // the fields of each request are counted anew
		_, err := io.WriteString(c, request(100))
		check(t, err)
		c.answer(t, request(100)).want(http.StatusOK)
	}
	for _, text := range []string{request(101), request(2000), strings.TrimSuffix(request(2000), "\r\n")} {
		c := s.dial(t, request(1))
		c.answer(t, request(1)).want(http.StatusOK)
		_, err := io.WriteString(c, text)
		check(t, err)
		if p := c.answer(t, "").want(http.StatusRequestHeaderFieldsTooLarge).problem(); p.Code != "header_fields_too_large" || !strings.Contains(p.Detail, "100 header fields") {
			t.Errorf("%+v", p)
		}
	}
	// Lines of a body are no header fields.
	body := "{" + strings.Repeat("\n", 5000) + `"title": "A"` + strings.Repeat("\r\n", 5000) + "}"
	for _, token := range []string{s.ada.token, "x"} {
		head := crlf(fmt.Sprintf("POST %s HTTP/1.1\nHost: docket\nAuthorization: Bearer %s\nContent-Type: application/json\nContent-Length: %d", s.ada.tasks(), token, len(body)))
		c := s.dial(t, head+body)
		if a := c.answer(t, head); a.status != http.StatusCreated && a.status != http.StatusUnauthorized {
			t.Errorf("%s", a)
		}
		_, err := io.WriteString(c, request(2))
		check(t, err)
		c.answer(t, request(2)).want(http.StatusOK)
	}
}

// fault D1
func TestAConnectionWhoseHeaderDoesNotEndHoldsLittleMemory(t *testing.T) { //nolint:paralleltest // measures the process
	const connections = 200
	var many strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&many, "%X:\r\n", i)
	}
	for name, text := range map[string]string{
		"one field":    "GET /health HTTP/1.1\r\nHost: docket\r\nX-Large: " + strings.Repeat("x", 200<<10),
		"almost":       "GET /health HTTP/1.1\r\nHost: docket\r\nX-Large: " + strings.Repeat("x", headerLimit),
		"many fields":  "GET /health HTTP/1.1\r\nHost: docket\r\n" + many.String(),
		"their limit":  "GET /health HTTP/1.1\r\nHost: docket\r\n" + many.String()[:98*4],
		"longer lines": "GET /health HTTP/1.1\r\nHost: docket\r\n" + strings.Repeat("X-Some: "+strings.Repeat("x", 150)+"\r\n", 98),
	} {
		t.Run(name, func(t *testing.T) {
			l := new(counting)
			s := start(t, countedBy(l), withoutDatabase)
			before := inUse()
			var open []net.Conn
			for range connections {
				c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
				check(t, err)
				t.Cleanup(func() { c.Close() })
				_, _ = io.WriteString(c, text) // the service may refuse it before all is sent
				open = append(open, c)
			}
			want := int64(connections * min(len(text), headerLimit/8))
			eventually(t, "the service has read", func() bool { total, _ := l.total(); return total >= want })
			if per := (inUse() - before) / connections; per > 3*headerLimit {
				t.Errorf("%d bytes are in use for a connection", per)
			}
			runtime.KeepAlive(open)
		})
	}
}

// inUse returns the bytes of memory that the process needs.
func inUse() int64 {
	runtime.GC()
	runtime.GC() // what finalizers and pools held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// fault D1
func TestConnectionsAreLimited(t *testing.T) {
	t.Parallel()
	l := new(counting)
	s := start(t, countedBy(l), func(o *options) { o.MaxConnections = 2 })
	const head = "GET /health HTTP/1.1\r\nHost: docket\r\n\r\n"
	first, second := s.dial(t, head), s.dial(t, head)
	first.answer(t, head).want(http.StatusOK)
	second.answer(t, head).want(http.StatusOK)
	var waiting []*conn
	for range 3 {
		waiting = append(waiting, s.dial(t, head))
	}
	check(t, first.Close())
	for _, c := range waiting {
		c.answer(t, head).want(http.StatusOK)
		check(t, c.Close())
	}
	_, err := io.WriteString(second, head)
	check(t, err)
	second.answer(t, head).want(http.StatusOK)
	if l.most > 2 {
		t.Errorf("%d connections were open at a time", l.most)
	}
	if n := strings.Count(s.log.String(), "all connections are in use"); n != 1 {
		t.Errorf("logged %d times that connections wait", n)
	}
}

func TestAServiceWhoseConnectionsAreAllInUseStops(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *options) { o.MaxConnections = 1 })
	const head = "GET /health HTTP/1.1\r\nHost: docket\r\n\r\n"
	s.dial(t, head).answer(t, head).want(http.StatusOK)
	s.stop()
	<-s.stopped
}

// fault D2
func TestWhatIsNoHTTPIsAnsweredWithAProblem(t *testing.T) {
	t.Parallel()
	s := start(t)
	for head, want := range map[string]struct {
		status int
		code   string
	}{
		"GET /%zz HTTP/1.1\nHost: docket":                      {400, "malformed_request"},
		"GET " + s.ada.tasks() + "/%zz HTTP/1.1\nHost: docket": {400, "malformed_request"},
		"GET /health":                                            {400, "malformed_request"},
		"GET  /health HTTP/1.1\nHost: docket":                    {400, "malformed_request"},
		"GET /health HTTP/1.1":                                   {400, "malformed_request"},
		"GET /health HTTP/1.1\nHost: a\nHost: b":                 {400, "malformed_request"},
		"GET /health HTTP/1.1\nHost: docket\nbad header: x":      {400, "malformed_request"},
		"GET /health HTTP/1.1\nHost: docket\nX: \x00":            {400, "malformed_request"},
		"GET /health HTTP/1.1\nHost: docket\nContent-Length: -1": {400, "malformed_request"},
		"nonsense": {400, "malformed_request"},
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03":              {400, "malformed_request"},
		"GET /health HTTP/1.1\nHost: docket\nExpect: x":             {417, "expectation_failed"},
		"GET /health HTTP/1.0\nExpect: x":                           {417, "expectation_failed"},
		"POST /health HTTP/1.1\nHost: docket\nTransfer-Encoding: x": {501, "unsupported_transfer_encoding"},
		"GET /health HTTP/3.0\nHost: docket":                        {505, "unsupported_http_version"},
	} {
		t.Run(fmt.Sprintf("%.60q", head), func(t *testing.T) {
			t.Parallel()
			c := s.dial(t, crlf(head))
			a := c.answer(t, "").want(want.status)
			id := a.header.Get("X-Request-Id")
			if p := a.problem(); p.Code != want.code || p.RequestID != id || id == "" || p.Detail == "" {
				t.Errorf("X-Request-Id %q, %+v", id, p)
			}
			for name, value := range map[string]string{
				"Content-Type": "application/problem+json", "Cache-Control": "private, no-cache", "X-Content-Type-Options": "nosniff",
				"Access-Control-Allow-Origin": "*",
			} {
				if got := a.header.Get(name); got != value {
					t.Errorf("%s: %q, want %q", name, got, value)
				}
			}
			if rest, _ := io.ReadAll(c.answers); len(rest) > 0 || !a.last { // an error says that it was closed
				t.Errorf("the connection stays open, then %q", rest)
			}
			eventually(t, "it is logged", func() bool { return strings.Contains(s.log.String(), `"request_id":"`+id+`"`) })
		})
	}
	// A response to HEAD has no body.
	head := crlf("HEAD /health HTTP/1.1\nHost: docket\nExpect: x")
	c := s.dial(t, head)
	text, err := io.ReadAll(c.answers)
	check(t, err)
	if before, body, _ := strings.Cut(string(text), "\r\n\r\n"); body != "" || !strings.Contains(before, "\r\nX-Request-Id: ") {
		t.Errorf("%q", text)
	}
}

// A chunk of a response may begin with any text of a user's, also with what net/http writes when it refuses a request.
func TestAResponseThatContainsARefusalIsSentAsItIs(t *testing.T) {
	t.Parallel()
	s := start(t)
	const text = "HTTP/1.1 417 "
	description := strings.Repeat(text, 1000/len(text))
	for range 4 {
		s.ada.create(t, `{"title": "A", "description": "`+description+`"}`)
	}
	id := s.ada.create(t, `{"title": "A"}`).ID
	for length := range len(text) { // so that each alignment of the text with the chunks occurs
		s.ada.send(t, "PUT", "/"+id, `{"title": "`+strings.Repeat("A", length+1)+`"}`).want(http.StatusOK)
		if got := s.ada.send(t, "GET", "", "", "Accept-Encoding: identity").list(); len(got.Tasks) != 5 || *got.Tasks[1].Description != description {
			t.Errorf("with a title of %d characters the list has %d tasks", length+1, len(got.Tasks))
		}
	}
}
