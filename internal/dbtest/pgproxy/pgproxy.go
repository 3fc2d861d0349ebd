// Package pgproxy is a proxy between clients and a PostgreSQL for tests and benchmarks. It counts the messages and
// records the statements that pass, and it breaks connections at chosen moments.
//
// A request is everything that a client sends up to a message that requires an answer: Sync, Flush or Query. The proxy
// forwards a request when it is complete. So a client that waits for an answer before it sends the rest sends more than
// one request, however fast the network is, and the counts do not depend on timing.
package pgproxy

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

// Fault is a fault that a request encounters.
type Fault int

// The faults look the same to the client: the connection ends after it has sent everything.
const (
	None               Fault = iota
	LoseRequest              // the connection ends before the server has seen the request
	LoseReply                // the server carries the request out, and the connection ends before the reply
	LoseReplyAndRefuse       // like LoseReply, followed by a call of Refuse
)

// Counts are numbers of messages.
type Counts struct {
	Parses   int // Parse: statements that are new to the server, or not kept there
	Syncs    int // Sync: ends a transaction of the extended protocol and requires an answer
	Executed int // Syncs after the execution of a statement; the others only prepare, within the settings of a transaction
	Flushes  int // Flush: requires an answer within a transaction
	Queries  int // Query: the simple protocol, except pgx's pings
	Answers  int // ReadyForQuery, except those to pgx's pings
}

// Statement is a statement of the extended protocol that was executed, with its parameters as they were sent.
type Statement struct {
	SQL     string
	Params  [][]byte // nil: null
	Formats []int16  // of each parameter: pgx.TextFormatCode or pgx.BinaryFormatCode
}

// Proxy is a running proxy. Its methods may be called from several goroutines.
type Proxy struct {
	URL string // of the database, through the proxy

	listener net.Listener
	running  sync.WaitGroup
	done     chan struct{} // closed by Close

	mu         sync.Mutex
	server     string // host and port
	mode       mode
	conns      map[net.Conn]bool
	faults     []Fault
	counts     Counts
	statements []Statement
}

type mode int

const (
	forward mode = iota
	refuse
	hang
)

// Start starts a proxy on a free port of 127.0.0.1, in front of a database whose address has the form of a URL. It runs
// until Close is called.
func Start(databaseURL string) (*Proxy, error) {
	u, err := url.Parse(databaseURL)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{listener: l, done: make(chan struct{}), server: u.Host, conns: map[net.Conn]bool{}}
	u.Host = l.Addr().String()
	p.URL = u.String()
	p.running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return // closed
			}
			p.running.Go(func() { p.serve(client) })
		}
	})
	return p, nil
}

// Close ends the proxy and all its connections.
func (p *Proxy) Close() {
	p.listener.Close()
	close(p.done)
	p.Refuse()
	p.running.Wait()
}

// Refuse closes all connections, and every new one immediately.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode = refuse
	for c := range p.conns {
		c.Close()
	}
}

// Hang accepts every new connection and never answers it. It does not affect existing connections.
func (p *Proxy) Hang() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode = hang
}

// Forward ends the effect of Refuse or Hang: new connections are forwarded to the server of this database.
func (p *Proxy) Forward(databaseURL string) error {
	u, err := url.Parse(databaseURL)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode, p.server = forward, u.Host
	return nil
}

// Fail makes the next requests that execute a statement encounter these faults, one each. It replaces the remaining
// faults of an earlier call.
func (p *Proxy) Fail(faults ...Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = faults
}

// Reset sets the counts to zero and discards the recorded statements.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts, p.statements = Counts{}, nil
}

// Counts returns the counts since Reset. An answer is counted before the client receives it.
func (p *Proxy) Counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts
}

// Statements returns the statements that have been passed to the server since Reset.
func (p *Proxy) Statements() []Statement {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.statements)
}

func (p *Proxy) count(change func(*Counts)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.counts)
}

func (p *Proxy) nextFault() (next Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.faults) > 0 {
		next, p.faults = p.faults[0], p.faults[1:]
	}
	return next
}

// serve answers one client until either side ends the connection.
func (p *Proxy) serve(client net.Conn) {
	defer client.Close()
	server, mode := p.connect(client)
	if mode == hang {
		<-p.done
	}
	if server == nil {
		return
	}
	defer func() {
		server.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, client)
		delete(p.conns, server)
	}()
	c := &connection{proxy: p, client: client, server: server, lost: make(chan struct{}), ended: make(chan struct{})}
	go c.passReplies()
	c.passRequests()
	server.Close()
	<-c.ended
}

// connect opens a connection to the server for a client. It returns nil if that is impossible.
func (p *Proxy) connect(client net.Conn) (net.Conn, mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mode != forward {
		return nil, p.mode
	}
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return nil, p.mode
	}
	p.conns[client], p.conns[server] = true, true
	return server, p.mode
}

// connection is a client's connection together with the corresponding one to the server.
type connection struct {
	proxy          *Proxy
	client, server net.Conn
	fault          Fault         // set before lost is closed
	lost           chan struct{} // closed when no reply may reach the client any more
	ended          chan struct{} // closed when the server's side has ended
	pings          int           // pings that are not answered yet; guarded by proxy.mu
}

// passReplies forwards the server's messages.
func (c *connection) passReplies() {
	defer close(c.ended)
	defer c.client.Close()
	for {
		typ, message, err := readMessage(c.server, true)
		if err != nil {
			return
		}
		select {
		case <-c.lost:
			if typ != 'Z' {
				continue
			}
			if c.fault == LoseReplyAndRefuse { // ready for the next request, so this one was committed
				c.proxy.Refuse()
			}
			return
		default:
		}
		if typ == 'Z' {
			c.proxy.count(func(n *Counts) {
				if c.pings > 0 {
					c.pings--
				} else {
					n.Answers++
				}
			})
		}
		if _, err := c.client.Write(message); err != nil {
			return
		}
	}
}

// passRequests forwards the client's requests, each when it is complete.
func (c *connection) passRequests() {
	if !c.passStartup() {
		return
	}
	p := c.proxy
	prepared := map[string]string{} // statements by name
	var held []byte                 // the request so far
	var bound, executed []Statement // of this request
	preparing := false              // this request describes statements
	for {
		typ, message, err := readMessage(c.client, true)
		if err != nil {
			return
		}
		held = append(held, message...)
		switch typ {
		case 'P':
			var m pgproto3.Parse
			if m.Decode(message[5:]) != nil {
				return
			}
			prepared[m.Name] = m.Query
			p.count(func(n *Counts) { n.Parses++ })
			continue
		case 'B':
			var m pgproto3.Bind
			if m.Decode(message[5:]) != nil {
				return
			}
			bound = append(bound, newStatement(prepared[m.PreparedStatement], m))
			continue
		case 'E': // executes what was bound last
			executed, bound = append(executed, bound...), nil
			continue
		case 'D':
			preparing = preparing || message[5] == 'S'
			continue
		case 'C': // Close requires no answer by itself
			continue
		case 'S':
			if preparing {
				executed = nil
			}
			preparing = false
			fault := None
			if len(executed) > 0 {
				fault = p.nextFault()
			}
			switch fault {
			case None:
			case LoseRequest:
				return
			case LoseReply, LoseReplyAndRefuse:
				c.fault = fault
				close(c.lost)
				_, _ = c.server.Write(held) // if it fails, the connection ends as well
				<-c.ended
				return
			}
			p.count(func(n *Counts) {
				n.Syncs++
				if len(executed) > 0 {
					n.Executed++
				}
				p.statements = append(p.statements, executed...)
			})
			bound, executed = nil, nil
		case 'H':
			p.count(func(n *Counts) { n.Flushes++ })
		case 'Q':
			p.count(func(n *Counts) {
				if bytes.Contains(message, []byte("-- ping")) {
					c.pings++ // the pool sends them depending on how long a connection was idle
				} else {
					n.Queries++
				}
			})
		}
		if _, err := c.server.Write(held); err != nil {
			return
		}
		held = held[:0]
	}
}

// Codes of a client's first message that ask for an encrypted connection.
const sslRequest, gssEncRequest = 80877103, 80877104

// passStartup forwards the client's first message, which has no type. It reports whether it succeeded.
func (c *connection) passStartup() bool {
	for {
		_, message, err := readMessage(c.client, false)
		if err != nil {
			return false
		}
		if code := binary.BigEndian.Uint32(message[4:]); code == sslRequest || code == gssEncRequest {
			if _, err := c.client.Write([]byte("N")); err != nil { // refused; the client may continue without encryption
				return false
			}
			continue
		}
		_, err = c.server.Write(message)
		return err == nil
	}
}

// newStatement copies a message's parameters, whose memory is used again.
func newStatement(sql string, m pgproto3.Bind) Statement {
	s := Statement{SQL: sql, Formats: make([]int16, len(m.Parameters))}
	for i, p := range m.Parameters {
		s.Params = append(s.Params, slices.Clone(p))
		switch len(m.ParameterFormatCodes) {
		case 0: // all are text
		case 1: // all are the same
			s.Formats[i] = m.ParameterFormatCodes[0]
		default:
			s.Formats[i] = m.ParameterFormatCodes[i]
		}
	}
	return s
}

var errMessage = errors.New("pgproxy: this is no message of PostgreSQL's protocol")

// readMessage reads one message: a type, except for a client's first, a length that counts itself, and the rest.
func readMessage(r io.Reader, typed bool) (typ byte, message []byte, err error) {
	head := make([]byte, 5)
	if !typed {
		head = head[1:]
	}
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, nil, err
	}
	length := int(binary.BigEndian.Uint32(head[len(head)-4:]))
	if length < 4 || length > 1<<26 || !typed && length < 8 {
		return 0, nil, errMessage
	}
	message = make([]byte, len(head)+length-4)
	copy(message, head)
	_, err = io.ReadFull(r, message[len(head):])
	return head[0], message, err
}
