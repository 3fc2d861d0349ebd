package middleware_test

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"docket/internal/middleware"
)

// body returns a handler with an entity tag that responds with that many bytes in chunks, with or without
// Content-Length, and with 304 to its tag.
func body(size int, announced bool) http.Handler {
	return middleware.CacheHeaders(middleware.Compress(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1.5"`)
		for tag := range strings.SplitSeq(strings.Join(r.Header.Values("If-None-Match"), ","), ",") {
			if strings.TrimPrefix(strings.TrimSpace(tag), "W/") == `"1.5"` {
				w.WriteHeader(http.StatusNotModified)
				return
			}
		}
		if announced {
			w.Header().Set("Content-Length", strconv.Itoa(size))
		}
		for sent := 0; sent < size; sent += 1000 {
			_, _ = io.WriteString(w, strings.Repeat("x", min(1000, size-sent)))
		}
	})))
}

func unpacked(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	z, err := gzip.NewReader(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestALargeResponseIsCompressedIfTheClientAcceptsIt(t *testing.T) {
	t.Parallel()
	const large, small = 64<<10 + 1, 64 << 10
	for _, test := range []struct {
		size      int
		announced bool
		accept    string
		packed    bool
	}{
		{large, true, "gzip", true},
		{large, false, "gzip", true},
		{large, true, "br, GZIP;q=0.5", true},
		{large, true, "deflate, gzip;q=1.0, *;q=0.5", true},
		{small, true, "gzip", false},
		{small, false, "gzip", true}, // its length is not known
		{large, true, "", false},
		{large, true, "identity", false},
		{large, true, "br", false},
		{large, true, "gzip;q=0", false},
		{large, true, "gzip; q=0.000", false},
		{large, true, "gzip;Q=0", false},
		{large, true, "gzipped", false},
	} {
		w := serve(t, body(test.size, test.announced), "/", "Accept-Encoding: "+test.accept)
		h := w.Header()
		tag, length := `"1.5"`, h.Get("Content-Length")
		var text string
		if test.packed {
			tag, text = `"1.5.gz"`, unpacked(t, w)
			if h.Get("Content-Encoding") != "gzip" || length != "" {
				t.Errorf("%+v: %v", test, h)
			}
		} else {
			text = w.Body.String()
			if h.Get("Content-Encoding") != "" || test.announced && length != strconv.Itoa(test.size) {
				t.Errorf("%+v: %v", test, h)
			}
		}
		if len(text) != test.size || h.Get("ETag") != tag || h.Get("Vary") != "Origin, Authorization, Accept-Encoding" {
			t.Errorf("%+v: %d bytes, %v", test, len(text), h)
		}
	}
}

// Both representations are equally current. A client with either tag receives a 304 with that tag, and a client with
// neither receives no 304.
func TestACompressedResponseHasItsOwnTag(t *testing.T) {
	t.Parallel()
	for known, want := range map[string]string{
		`"1.5"`: `"1.5"`, `"1.5.gz"`: `"1.5.gz"`, `W/"1.5.gz"`: `"1.5.gz"`, `"x", "1.5.gz"`: `"1.5.gz"`, `"1.5.gz" , "x"`: `"1.5.gz"`, `"x.gz", "1.5"`: `"1.5"`,
		`"1.4.gz"`: "", `"1.5.gz.gz"`: "", `"1.5.gzip"`: "", `"1.5gz"`: "",
	} {
		for _, accept := range []string{"gzip", ""} {
			w := serve(t, body(100, true), "/", "If-None-Match: "+known, "Accept-Encoding: "+accept)
			if want == "" && w.Code != http.StatusOK || want != "" && (w.Code != http.StatusNotModified || w.Header().Get("ETag") != want) {
				t.Errorf("%s: %d with %s, want %q", known, w.Code, w.Header().Get("ETag"), want)
			}
			if w.Header().Get("Vary") != "Origin, Authorization, Accept-Encoding" {
				t.Errorf("%s: Vary is %s", known, w.Header().Get("Vary"))
			}
		}
	}
}

func TestAProblemIsNeitherCompressedNorVaries(t *testing.T) {
	t.Parallel()
	w := serve(t, middleware.CacheHeaders(middleware.Compress(write(503, strings.Repeat("x", 100_000)))), "/", "Accept-Encoding: gzip")
	if w.Body.Len() != 100_000 || w.Header().Get("Content-Encoding") != "" || w.Header().Get("Vary") != "Origin, Authorization" {
		t.Errorf("%d bytes, %v", w.Body.Len(), w.Header())
	}
}

// broken accepts the header and fails on every write of the body.
type broken struct{ http.ResponseWriter }

func (broken) Write([]byte) (int, error) { return 0, errors.New("the client is gone") }

func TestAnAbortedCompressedResponseDoesNotLookComplete(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]http.Handler{
		"the client is gone": body(100_000, false),
		"the handler aborts": middleware.Compress(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "the first half")
			panic(http.ErrAbortHandler)
		})),
	} {
		recorder := httptest.NewRecorder()
		func() {
			defer func() {
				if v := recover(); v != any(http.ErrAbortHandler) {
					t.Errorf("%s: the panic is %v", name, v)
				}
			}()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("Accept-Encoding", "gzip")
			h.ServeHTTP(broken{recorder}, r)
		}()
		if z, err := gzip.NewReader(recorder.Body); err == nil {
			if _, err := io.ReadAll(z); err == nil {
				t.Errorf("%s: what was sent looks complete", name)
			}
		}
	}
}
