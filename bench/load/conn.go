package load

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// conn is a connection that is kept alive. It reads an answer's status and length and skips the rest, so that a request
// costs two system calls and no memory.
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

// exchange sends a request and reads its answer to the end. The body is kept only in an error: when the status is not
// the wanted one.
func (c *conn) exchange(request []byte, status int) error {
	if _, err := c.Write(request); err != nil {
		return err
	}
	a, err := c.head()
	if err != nil {
		return err
	}
	if a.status == status {
		return c.body(a, nil)
	}
	var text bytes.Buffer
	err = c.body(a, &text)
	line, _, _ := bytes.Cut(request, []byte("\r\n"))
	return errors.Join(fmt.Errorf("%s: answered %d and not %d: %s", line, a.status, status, &text), err)
}

// answer is what the head of an answer says.
type answer struct {
	status  int
	length  int64
	chunked bool
}

func (c *conn) head() (a answer, err error) {
	line, err := c.line()
	if err != nil {
		return a, err
	}
	if a.status = status(line); a.status == 0 {
		return a, fmt.Errorf("an answer begins with %q", line)
	}
	for {
		line, err := c.line()
		if err != nil {
			return a, err
		}
		if len(line) == 0 {
			return a, nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if a.length, err = number(value, 10); err != nil {
				return a, err
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			a.chunked = bytes.EqualFold(value, []byte("chunked"))
		}
	}
}

// body reads what follows the head, into w unless that is nil.
func (c *conn) body(a answer, w io.Writer) error {
	switch {
	case a.status == 204 || a.status == 304:
		return nil
	case !a.chunked:
		return c.skip(a.length, w)
	}
	for {
		line, err := c.line()
		if err != nil {
			return err
		}
		size, err := number(line, 16)
		if err != nil {
			return err
		}
		if err := c.skip(size, w); err != nil {
			return err
		}
		if line, err = c.line(); err != nil || len(line) != 0 {
			return errors.Join(err, fmt.Errorf("%q behind a chunk", line))
		}
		if size == 0 {
			return nil
		}
	}
}

func (c *conn) skip(n int64, w io.Writer) error {
	if w != nil {
		_, err := io.CopyN(w, c.r, n)
		return err
	}
	_, err := c.r.Discard(int(n))
	return err
}

func (c *conn) line() ([]byte, error) {
	line, err := c.r.ReadSlice('\n')
	return bytes.TrimRight(line, "\r\n"), err
}

// status is that of a line such as HTTP/1.1 200 OK, and 0 when there is none.
func status(line []byte) int {
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0
	}
	n, err := number(line[9:12], 10)
	if err != nil {
		return 0
	}
	return int(n)
}

func number(digits []byte, base int) (int64, error) {
	n, err := strconv.ParseUint(string(digits), base, 31) // the compiler makes no copy where it does not escape
	if err != nil {
		return 0, fmt.Errorf("%q is no length", digits)
	}
	return int64(n), nil
}
