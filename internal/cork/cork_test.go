package cork

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// serve runs a server whose responses have bodies of the length in the path, as announced; with ?short it breaks off in
// the middle.
func serve(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{ConnContext: ConnContext, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var n int
		_, err := fmt.Sscanf(r.URL.Path, "/%d", &n)
		if err != nil {
			t.Error(err)
		}
		Expect(r, n)
		w.Header().Set("Content-Length", fmt.Sprint(n))
		if r.URL.RawQuery == "short" {
			_, _ = io.WriteString(w, strings.Repeat("x", n/2))
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, strings.Repeat("x", n))
	})}
	go func() { _ = s.Serve(Listen(l)) }()
	t.Cleanup(func() { _ = s.Shutdown(context.Background()) })
	return l.Addr().String()
}

func TestResponsesOfEverySizeArriveComplete(t *testing.T) {
	t.Parallel()
	address := serve(t)
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		for _, n := range []int{0, 1, 2047, 2048, 2049, 3900, 4000, 4096, 4097, 8192, 10_000, largest - 1, largest, largest + 1, 1 << 20} {
			fmt.Fprintf(conn, "%s /%d HTTP/1.1\r\nHost: x\r\n\r\n", method, n)
			r, err := http.ReadResponse(in, &http.Request{Method: method})
			if err != nil {
				t.Fatalf("%s %d: %v", method, n, err)
			}
			body, err := io.ReadAll(r.Body)
			if method == http.MethodHead {
				n = 0
			}
			if err != nil || len(body) != n || strings.Trim(string(body), "x") != "" {
				t.Errorf("%s: %d bytes, %v; want %d", method, len(body), err, n)
			}
		}
	}
}

func TestWhatWasHeldBackOfAResponseThatBreaksOffIsSent(t *testing.T) {
	t.Parallel()
	conn, err := net.Dial("tcp", serve(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /20000?short HTTP/1.1\r\nHost: x\r\n\r\n")
	all, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(all), "HTTP/1.1 200 OK") || len(all) > 20_000 {
		t.Errorf("%d bytes, %v", len(all), err)
	}
}

func TestAnAnnouncedResponseIsOneWrite(t *testing.T) {
	t.Parallel()
	client, server := tcpPair(t)
	c := &conn{halfCloser: server}
	r, err := http.NewRequestWithContext(ConnContext(t.Context(), c), http.MethodGet, "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	header, body := "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", strings.Repeat("x", 5000)
	Expect(r, len(body))
	all := header + body
	for _, part := range []string{all[:4096], all[4096:]} {
		if c.held == nil {
			t.Fatal("nothing is held back")
		}
		if n, err := io.WriteString(c, part); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	if c.held != nil {
		t.Error("the complete response is still held back")
	}
	got := make([]byte, len(all))
	if _, err := io.ReadFull(client, got); err != nil || string(got) != all {
		t.Errorf("%v, %q", err, got)
	}
}

func tcpPair(t *testing.T) (client net.Conn, server *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); accepted.Close() })
	return client, accepted.(*net.TCPConn)
}
