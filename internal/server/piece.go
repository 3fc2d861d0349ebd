package server

import "net/http"

// piece is about how much of a large answer is in memory at once. A page of a thousand tasks can have 7 MB, and a client
// that does not read it would hold all of that for as long as an answer may take to be written.
const piece = 256 << 10

// pieces sends an answer that is larger than a piece, without announcing its length.
type pieces struct {
	to   http.ResponseWriter
	etag string
	sent bool // something was
	err  error
}

// send sends what there is, and gives the empty buffer back. After a failure it does nothing.
func (p *pieces) send(b []byte) []byte {
	if !p.sent {
		h := p.to.Header()
		h["Content-Type"] = []string{"application/json"}
		h["Etag"] = []string{p.etag}
		p.to.WriteHeader(http.StatusOK)
		p.sent = true
	}
	if p.err == nil {
		_, p.err = p.to.Write(b)
	}
	return b[:0]
}

// last sends the last piece. What could not be sent whole is cut off, so that nobody takes it for whole.
func (p *pieces) last(b []byte) {
	if p.send(b); p.err != nil {
		panic(http.ErrAbortHandler) // the client is gone, or too slow
	}
}
