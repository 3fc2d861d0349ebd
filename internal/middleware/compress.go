package middleware

import (
	"compress/gzip"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// compressMinimum is the size of a body from which a response is compressed. Compressing takes some 10 µs per KiB, more
// than everything else in a response. That is worthwhile if it saves a slow network many packets.
const compressMinimum = 64 << 10

// gzipSuffix ends the entity tag of a compressed response. That is another representation, and a strong tag identifies
// only one (RFC 9110, section 8.8.3.3).
const gzipSuffix = ".gz"

// Compress compresses a 200 that is larger than 64 KiB or has no Content-Length, for clients that accept gzip. Such a
// response has an entity tag of its own. Compress translates between that tag and the handler's, also in If-None-Match.
func Compress(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &compressor{ResponseWriter: w, accepted: acceptsGzip(r.Header["Accept-Encoding"])}
		c.known = withoutGzipSuffix(r.Header["If-None-Match"])
		next.ServeHTTP(c, r)
		c.close()
	})
}

type compressor struct {
	http.ResponseWriter
	accepted bool     // the client accepts gzip
	known    []string // the tags of compressed responses that the client has, as the handler knows them
	gzip     *gzip.Writer
	begun    bool
}

// Unwrap serves http.ResponseController.
func (c *compressor) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (c *compressor) WriteHeader(status int) {
	if c.begun {
		return
	}
	c.begun = true
	h := c.Header()
	tag := h.Get("ETag")
	if status < 400 {
		h["Vary"] = []string{strings.Join(append(h["Vary"], "Accept-Encoding"), ", ")}
	}
	switch {
	case status == http.StatusNotModified && slices.Contains(c.known, tag):
		h["Etag"] = []string{withGzipSuffix(tag)}
	case status == http.StatusOK && c.accepted && large(h):
		h["Content-Encoding"] = []string{"gzip"}
		delete(h, "Content-Length")
		if tag != "" {
			h["Etag"] = []string{withGzipSuffix(tag)}
		}
		c.gzip = gzipWriters.Get().(*gzip.Writer)
		c.gzip.Reset(c.ResponseWriter)
	}
	c.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (c *compressor) Write(b []byte) (int, error) {
	c.WriteHeader(http.StatusOK)
	if c.gzip != nil {
		return c.gzip.Write(b)
	}
	return c.ResponseWriter.Write(b)
}

// close ends the compressed body. After a panic it is not called, because a truncated body must not look complete.
func (c *compressor) close() {
	if c.gzip == nil {
		return
	}
	if err := c.gzip.Close(); err != nil {
		panic(http.ErrAbortHandler) // the client has disconnected, or is too slow
	}
	c.gzip.Reset(nil) // do not keep a reference to the request
	gzipWriters.Put(c.gzip)
}

// gzipWriters compress as fast as they can.
var gzipWriters = sync.Pool{New: func() any {
	z, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		panic(err) // only for an unknown level
	}
	return z
}}

// large reports whether the body is worth compressing. One without Content-Length is: its length is not known because it
// is too large to be in memory at once.
func large(h http.Header) bool {
	length := h["Content-Length"]
	if len(length) == 0 {
		return true
	}
	n, err := strconv.Atoi(length[0])
	return err == nil && n > compressMinimum
}

func withGzipSuffix(tag string) string { return strings.TrimSuffix(tag, `"`) + gzipSuffix + `"` }

// withoutGzipSuffix removes the suffix from the entity tags of a header, in place, and returns the tags that had it.
func withoutGzipSuffix(values []string) (had []string) {
	for i, value := range values {
		if !strings.Contains(value, gzipSuffix+`"`) {
			continue
		}
		tags := strings.Split(value, ",")
		for j, tag := range tags {
			if plain, is := strings.CutSuffix(strings.TrimRight(tag, " \t"), gzipSuffix+`"`); is {
				tags[j] = plain + `"`
				had = append(had, strings.TrimPrefix(strings.Trim(tags[j], " \t"), "W/"))
			}
		}
		values[i] = strings.Join(tags, ",")
	}
	return had
}

// acceptsGzip reports whether an Accept-Encoding header names gzip (RFC 9110, section 12.5.3).
func acceptsGzip(header []string) bool {
	for _, value := range header {
		for part := range strings.SplitSeq(value, ",") {
			coding, weight, _ := strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
				name, q, given := strings.Cut(weight, "=")
				return !given || !strings.EqualFold(strings.TrimSpace(name), "q") || strings.Trim(q, "0. \t") != ""
			}
		}
	}
	return false
}
