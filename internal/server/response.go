package server

import (
	"context"
	"net/http"
	"strconv"
	"sync"

	"docket/internal/cork"
	"docket/internal/encode"
	"docket/internal/middleware"
)

// response is a successful response. It writes the same bytes as the generated responses in a fraction of the time, and
// sets Content-Length if it can. Each resource's file lists the operations that return it.
type response struct {
	request  *http.Request
	status   int
	etag     string // empty: none
	location string // of a resource that was created
	replayed bool   // it was created by an earlier request
	body     any    // a pointer to the generated type; nil: no body
}

func respond(ctx context.Context, status int, etag string, body any) response {
	return response{request: middleware.StateOf(ctx).Request, status: status, etag: etag, body: body}
}

// notModified returns the response that the client's copy is current.
func notModified(ctx context.Context, etag string) response {
	return respond(ctx, http.StatusNotModified, etag, nil)
}

// chunkSize is the approximate size up to which a large body is in memory at once. A list of a thousand tasks can have
// 7 MB, and a client that reads slowly would keep all of it in memory until the time limit.
const chunkSize = 256 << 10

// A buffer that grew beyond largestBuffer for a large response is not kept.
const largestBuffer = 64 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 8<<10); return &b }}

func (r response) write(w http.ResponseWriter) error {
	h := w.Header()
	if r.etag != "" {
		h["Etag"] = []string{r.etag}
	}
	if r.location != "" {
		h["Location"] = []string{r.location}
	}
	if r.replayed {
		h["Idempotent-Replayed"] = []string{"true"}
	}
	if r.body == nil {
		w.WriteHeader(r.status)
		return nil
	}
	h["Content-Type"] = []string{"application/json"}
	buffer := buffers.Get().(*[]byte)
	c := chunks{to: w, status: r.status}
	b, err := encode.Append((*buffer)[:0], r.body, c.flush)
	b = append(b, '\n')
	if cap(b) <= largestBuffer {
		*buffer = b
		defer buffers.Put(buffer)
	}
	switch {
	case c.begun && (err != nil || c.send(b) != nil):
		panic(http.ErrAbortHandler) // an incomplete response must not look complete
	case c.begun || err != nil:
		return err
	}
	h["Content-Length"] = []string{strconv.Itoa(len(b))}
	cork.Expect(r.request, len(b))
	return c.send(b)
}

// chunks sends a body that is too large to be in memory at once, without Content-Length.
type chunks struct {
	to     http.ResponseWriter
	status int
	begun  bool
	err    error // the first error, after which nothing is sent
}

// flush sends the buffer when it is full.
func (c *chunks) flush(b []byte) []byte {
	if len(b) <= chunkSize {
		return b
	}
	_ = c.send(b) // the next call returns it
	return b[:0]
}

func (c *chunks) send(b []byte) error {
	if !c.begun {
		c.begun = true
		c.to.WriteHeader(c.status)
	}
	if c.err == nil {
		_, c.err = c.to.Write(b)
	}
	return c.err
}
