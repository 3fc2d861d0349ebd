package store_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/url"
	"slices"
	"sync"
	"testing"

	"docket/internal/store"
)

func TestEveryOperationIsOneRoundTrip(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			w := newWire(t, withUsers(t, "ada"))
			ada := open(t, store.Config{URL: w.url, QueryMode: mode, MaxConns: 1}).For("ada")
			for name, do := range operations {
				for variant, want := range map[string]error{"": nil, " if it is current": nil, " if it is not": store.ErrStale} {
					var got traffic
					for range 2 { // the first time may prepare
						task := create(t, ada, "a task")
						o := map[string]store.Owner{
							"": ada, " if it is current": ada.IfMatch(task.Revision), " if it is not": ada.IfMatch(task.Revision - 1),
						}[variant]
						w.reset()
						err := do.call(t.Context(), o, task.ID)
						got = w.traffic()
						if do.of == changesOne && !errors.Is(err, want) || do.of != changesOne && err != nil {
							t.Fatalf("%s%s: %v, want %v", name, variant, err, want)
						}
					}
					if parses := got.parses; (parses == 0) != (mode == store.QueryModePrepared) {
						t.Errorf("%s%s: %d statements were parsed when they came again", name, variant, parses)
					}
					if got.parses = 0; got != (traffic{syncs: 1, answers: 1}) {
						t.Errorf("%s%s: %+v, want one sync and one answer", name, variant, got)
					}
				}
			}
		})
	}
}

// A task that is not there is an everyday answer: it must not cost the next call its prepared statement.
func TestAnOperationThatFindsNothingIsOneRoundTrip(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			w := newWire(t, withUsers(t, "ada"))
			ada := open(t, store.Config{URL: w.url, QueryMode: mode, MaxConns: 1}).For("ada")
			for name, do := range operations {
				if do.of != readsOne && do.of != changesOne {
					continue
				}
				for i := range 3 {
					w.reset()
					if err := do.call(t.Context(), ada, "not there"); !errors.Is(err, store.ErrNotFound) {
						t.Fatalf("%s: %v", name, err)
					}
					got := w.traffic()
					if got.parses = 0; i > 0 && got != (traffic{syncs: 1, answers: 1}) {
						t.Errorf("%s for the %d. time: %+v, want one sync and one answer", name, i+1, got)
					}
				}
			}
		})
	}
}

// A wire is a proxy between a store and its server that counts what goes through, and can break.
//
// It holds back what the client sends until the client asks for an answer. So a client that waits for an answer before
// it sends the rest has to ask more than once, however fast the network is.
type wire struct {
	url string

	mu     sync.Mutex
	counts traffic
	faults []fault
	conns  []net.Conn
	down   bool
}

type traffic struct {
	syncs   int // the client asked for an answer and ended a transaction
	flushes int // the client asked for an answer within a transaction
	simple  int // queries of the simple protocol, but for the pool's pings
	answers int // the server was ready for the next
	parses  int // statements that were new to the server, or not kept there
}

// fault is what happens to a request.
type fault int

const (
	none       fault = iota
	loseReply        // the server carries it out, the connection breaks before the reply is through
	loseBefore       // the connection breaks before the server sees it
)

func newWire(t *testing.T, databaseURL string) *wire {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	server := u.Host
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u.Host = listener.Addr().String()
	w := &wire{url: u.String()}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { w.carry(client, server) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		w.cut()
		wg.Wait()
	})
	return w
}

// cut ends all connections and refuses new ones.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = true
	for _, conn := range w.conns {
		conn.Close()
	}
}

// fail makes the next requests meet these faults, one each.
func (w *wire) fail(faults ...fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = faults
}

func (w *wire) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts = traffic{}
}

func (w *wire) traffic() traffic {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts
}

func (w *wire) note(count func(*traffic)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	count(&w.counts)
}

func (w *wire) nextFault() fault {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.faults) == 0 {
		return none
	}
	next := w.faults[0]
	w.faults = w.faults[1:]
	return next
}

func (w *wire) carry(client net.Conn, address string) {
	defer client.Close()
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer server.Close()
	w.mu.Lock()
	down := w.down
	w.conns = append(w.conns, client, server)
	w.mu.Unlock()
	if down {
		return
	}

	lost := make(chan struct{}) // closed when replies are not to get through any more
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer client.Close()
		for {
			typ, message, err := readMessage(server, true)
			if err != nil {
				return
			}
			select {
			case <-lost:
				if typ == 'Z' {
					return // the server has carried the request out
				}
				continue
			default:
			}
			if typ == 'Z' {
				w.note(func(t *traffic) { t.answers++ })
			}
			if _, err := client.Write(message); err != nil {
				return
			}
		}
	}()
	defer func() { <-ended }()
	defer server.Close()

	var held []byte
	for started := false; ; started = true {
		typ, message, err := readMessage(client, started)
		if err != nil {
			return
		}
		held = append(held, message...)
		switch typ {
		case 'P', 'B', 'D', 'E', 'C': // parse, bind, describe, execute and close get no answer by themselves
			if typ == 'P' {
				w.note(func(t *traffic) { t.parses++ })
			}
			continue
		case 'S':
			switch w.nextFault() {
			case loseBefore:
				return
			case loseReply:
				close(lost)
				_, _ = server.Write(held)
				<-ended
				return
			case none:
			}
			w.note(func(t *traffic) { t.syncs++ })
		case 'H':
			w.note(func(t *traffic) { t.flushes++ })
		case 'Q':
			if bytes.Contains(message, []byte("-- ping")) {
				w.note(func(t *traffic) { t.answers-- }) // the pool's: how long the connection was idle is not the call's
			} else {
				w.note(func(t *traffic) { t.simple++ })
			}
		}
		if _, err := server.Write(held); err != nil {
			return
		}
		held = held[:0]
	}
}

// readMessage reads one message of PostgreSQL's protocol: a type, but for the client's first, a length, and the rest.
func readMessage(r io.Reader, typed bool) (typ byte, message []byte, err error) {
	head := make([]byte, 4, 5)
	if typed {
		head = head[:5]
	}
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, nil, err
	}
	if typed {
		typ = head[0]
	}
	length := int(binary.BigEndian.Uint32(head[len(head)-4:])) - 4
	message = slices.Grow(head, length)[:len(head)+length]
	_, err = io.ReadFull(r, message[len(head):])
	return typ, message, err
}
