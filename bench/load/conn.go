package load

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"strconv"
	"time"
)

// conn is a persistent connection. It parses only the status and the length of an answer, so that a request costs two
// system calls and hardly any memory.
type conn struct {
	net.Conn
	r *bufio.Reader
}

func dial(addr string, deadline time.Time) (*conn, error) {
	c, err := net.DialTimeout("tcp", addr, time.Until(deadline))
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, r: bufio.NewReaderSize(c, 32<<10)}, c.SetDeadline(deadline)
}

// roundTrip sends a request and reads the whole answer, which must have the given status.
func (c *conn) roundTrip(request []byte, status int) error {
	if _, err := c.Write(request); err != nil {
		return err
	}
	line, err := c.line()
	if err != nil {
		return err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return fmt.Errorf("an answer begins with %q", line)
	}
	got, err := strconv.Atoi(string(line[9:12]))
	var length int64
	chunked := false
	for err == nil {
		if line, err = c.line(); err != nil || len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(": "))
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			length, err = strconv.ParseInt(string(value), 10, 32)
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = true
		}
	}
	switch {
	case err != nil:
		return err
	case got != status:
		request, _, _ := bytes.Cut(request, []byte("\r\n"))
		text, _ := c.r.Peek(min(c.r.Buffered(), 1000)) // enough of the body for a message
		return fmt.Errorf("%s: status %d instead of %d: %s", request, got, status, text)
	case got == 204 || got == 304: // they have no body
		return nil
	case !chunked:
		_, err = c.r.Discard(int(length))
		return err
	}
	if _, err = io.Copy(io.Discard, httputil.NewChunkedReader(c.r)); err != nil {
		return err
	}
	_, err = c.line() // behind the last chunk
	return err
}

func (c *conn) line() ([]byte, error) {
	line, err := c.r.ReadSlice('\n')
	return bytes.TrimRight(line, "\r\n"), err
}
