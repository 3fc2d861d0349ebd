package server

import (
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"sync"
)

// piece is about how much of a large answer is in memory at once. A page of a thousand tasks can have 7 MB, and a client
// that does not read it would hold all of that for as long as an answer may take to be written.
const piece = 256 << 10

// zipped is the size from which a list is compressed for who asks for that. Compressing costs some 10 µs for each KiB,
// more than all else that a list costs: it is worth that where it saves a slow network many packets.
const zipped = 64 << 10

// zippers compress as fast as they can.
var zippers = sync.Pool{New: func() any {
	z, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		panic(err) // of a level that is not known
	}
	return z
}}

// pieces sends an answer that is larger than a piece, without announcing its length.
type pieces struct {
	to   http.ResponseWriter
	etag string
	zip  bool // the client takes gzip
	sent bool // something was
	way  io.Writer
	err  error
}

// full tells whether there is enough to send.
func (p *pieces) full(b []byte) bool { return len(b) > piece || p.zip && len(b) > zipped }

// send sends what there is, and gives the empty buffer back. After a failure it does nothing.
func (p *pieces) send(b []byte) []byte {
	if !p.sent {
		p.way = p.to
		h := p.to.Header()
		h["Content-Type"] = []string{"application/json"}
		h["Etag"] = []string{p.etag}
		if p.zip {
			h["Content-Encoding"] = []string{"gzip"}
			h["Etag"] = []string{zippedTag(p.etag)}
			z := zippers.Get().(*gzip.Writer)
			z.Reset(p.to)
			p.way = z
		}
		p.to.WriteHeader(http.StatusOK)
		p.sent = true
	}
	if p.err == nil {
		_, p.err = p.way.Write(b)
	}
	return b[:0]
}

// last sends the last piece. What could not be sent whole is cut off, so that nobody takes it for whole.
func (p *pieces) last(b []byte) {
	p.send(b)
	if z, is := p.way.(*gzip.Writer); is {
		if p.err == nil {
			p.err = z.Close()
		}
		z.Reset(nil) // or it would keep the request
		zippers.Put(z)
	}
	if p.err != nil {
		panic(http.ErrAbortHandler) // the client is gone, or too slow
	}
}

// acceptsGzip reports whether an Accept-Encoding header names gzip (RFC 9110, section 12.5.3).
func acceptsGzip(header []string) bool {
	for _, value := range header {
		for _, part := range strings.Split(value, ",") {
			coding, weight, _ := strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
				name, q, given := strings.Cut(weight, "=")
				return !given || !strings.EqualFold(strings.TrimSpace(name), "q") || strings.Trim(q, "0. \t") != ""
			}
		}
	}
	return false
}
