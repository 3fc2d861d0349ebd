// Package wire records the statements that a client sends to PostgreSQL, on their way there. So the baselines send what
// the service really sends, and cannot fall behind it.
package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/url"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Bind is one statement that was sent, with its parameters as they were sent.
type Bind struct {
	SQL     string
	Params  [][]byte // nil: null
	Formats []int16  // of each parameter: text or binary
}

// Tap is a proxy in front of a PostgreSQL that takes down every statement of the extended protocol.
type Tap struct {
	URL string // of the database, through the tap

	listener net.Listener
	group    sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
	binds []Bind
	syncs int
}

// Open taps a database on this machine. It listens on loopback alone.
func Open(databaseURL string) (*Tap, error) {
	u, err := url.Parse(databaseURL)
	if err != nil {
		return nil, err
	}
	server := u.Host
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	u.Host = l.Addr().String()
	t := &Tap{URL: u.String(), listener: l}
	t.group.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			t.group.Go(func() { t.carry(client, server) })
		}
	})
	return t, nil
}

// Close cuts all connections.
func (t *Tap) Close() {
	t.listener.Close()
	t.mu.Lock()
	for _, c := range t.conns {
		c.Close()
	}
	t.mu.Unlock()
	t.group.Wait()
}

// Take gives what was sent since the last call, and in how many round trips.
func (t *Tap) Take() (binds []Bind, syncs int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	binds, syncs = t.binds, t.syncs
	t.binds, t.syncs = nil, 0
	return binds, syncs
}

func (t *Tap) carry(client net.Conn, address string) {
	defer client.Close()
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer server.Close()
	t.mu.Lock()
	t.conns = append(t.conns, client, server)
	t.mu.Unlock()
	t.group.Go(func() {
		defer client.Close()
		_, _ = io.Copy(client, server)
	})
	// Taken down before it is passed on: who has the answer finds the question here.
	var heard bytes.Buffer
	_ = t.listen(io.TeeReader(client, &heard), func() error { // ends with the connection
		_, err := heard.WriteTo(server)
		return err
	})
}

// listen reads what a client sends, and calls passOn after each message.
func (t *Tap) listen(r io.Reader, passOn func() error) error {
	if _, _, err := message(r, false); err != nil { // the first one has no type
		return err
	}
	prepared := map[string]string{}
	var batch []Bind
	for {
		if err := passOn(); err != nil {
			return err
		}
		typ, body, err := message(r, true)
		if err != nil {
			return err
		}
		switch typ {
		case 'P':
			var m pgproto3.Parse
			if err := m.Decode(body); err != nil {
				return err
			}
			prepared[m.Name] = m.Query
		case 'B':
			var m pgproto3.Bind
			if err := m.Decode(body); err != nil {
				return err
			}
			batch = append(batch, bind(prepared[m.PreparedStatement], m))
		case 'S':
			t.mu.Lock()
			t.binds = append(t.binds, batch...)
			if len(batch) > 0 { // the others prepare, or end what they began
				t.syncs++
			}
			t.mu.Unlock()
			batch = nil
		}
	}
}

// bind copies a message, whose memory is used again. One format stands for all parameters, none for text.
func bind(sql string, m pgproto3.Bind) Bind {
	b := Bind{SQL: sql, Formats: make([]int16, len(m.Parameters))}
	for i, p := range m.Parameters {
		b.Params = append(b.Params, slices.Clone(p))
		switch len(m.ParameterFormatCodes) {
		case 0:
		case 1:
			b.Formats[i] = m.ParameterFormatCodes[0]
		default:
			b.Formats[i] = m.ParameterFormatCodes[i]
		}
	}
	return b
}

var errTooLong = errors.New("a message of PostgreSQL's protocol is too long")

func message(r io.Reader, typed bool) (typ byte, body []byte, err error) {
	head := make([]byte, 5)
	if !typed {
		head = head[1:]
	}
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, nil, err
	}
	length := int(binary.BigEndian.Uint32(head[len(head)-4:])) - 4
	if length < 0 || length > 1<<24 {
		return 0, nil, errTooLong
	}
	body = make([]byte, length)
	_, err = io.ReadFull(r, body)
	return head[0], body, err
}
