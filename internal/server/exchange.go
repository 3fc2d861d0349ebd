package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/http"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	"github.com/google/uuid"
)

// exchange is what the rooms of the road know of one request and its answer.
type exchange struct {
	http.ResponseWriter
	request   *http.Request
	server    *Server
	requestID string
	route     string              // the pattern that matched; empty: none did
	owner     string              // from the verified token; empty: none
	query     map[string][]string // as it was checked
	status    int                 // of the answer; 0: none yet
	ours      bool                // the answer comes from this package and not from ServeMux
	dropping  bool                // the rest of ServeMux's own answer, which was replaced
}

type exchangeKey struct{}

func exchangeOf(r *http.Request) *exchange { return r.Context().Value(exchangeKey{}).(*exchange) }

// ownerOf is the owner that authentication found.
func ownerOf(ctx context.Context) string { return ctx.Value(exchangeKey{}).(*exchange).owner }

// Unwrap serves http.ResponseController.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// WriteHeader notes the status. What ServeMux answers by itself when no route matches (404, 405 and redirects to a
// cleaned path, all in plain text) becomes a problem document here.
func (x *exchange) WriteHeader(status int) {
	switch {
	case x.status != 0:
	case !x.ours && status >= 300:
		x.server.writeProblem(x, x.request, unmatched(x.request, x.Header()))
		x.dropping = true
	default:
		x.status = status
		x.ResponseWriter.WriteHeader(status)
	}
}

// Write implements http.ResponseWriter.
func (x *exchange) Write(b []byte) (int, error) {
	if x.dropping {
		return len(b), nil
	}
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
	return x.ResponseWriter.Write(b)
}

func unmatched(r *http.Request, h http.Header) *problem {
	if allow := h.Get("Allow"); allow != "" {
		return &problem{kind: methodNotAllowed, detail: "This address answers " + allow + " only."}
	}
	if path := r.URL.Path; strings.HasPrefix(path, "/api/") && strings.HasSuffix(path, "/") {
		return &problem{kind: routeNotFound, detail: "No such route: leave out the slash at the end."}
	}
	return &problem{kind: routeNotFound, detail: "No such route. The document at /openapi.yaml lists them all."}
}

var requestIDPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// exchanged is the outermost room: it names the request, bounds the time that is worked on it, and logs the answer.
func (s *Server) exchanged(next http.Handler) http.Handler {
	limit := or(s.config.RequestTimeout, 10*time.Second)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		x := &exchange{ResponseWriter: w, server: s, requestID: r.Header.Get("X-Request-Id")}
		if !requestIDPattern.MatchString(x.requestID) {
			x.requestID = uuid.NewString()
		}
		w.Header()["X-Request-Id"] = []string{x.requestID}
		// When stopping, the client's next request goes to another replica. A body of unannounced length, or an old
		// client, may have been framed in another way by a proxy in front: what follows is not taken for a request
		// (RFC 9112, section 6.1).
		if s.draining.Load() || len(r.TransferEncoding) > 0 || !r.ProtoAtLeast(1, 1) {
			w.Header().Set("Connection", "close")
		}
		ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), exchangeKey{}, x), limit)
		defer cancel()
		r = r.WithContext(ctx)
		x.request = r
		defer s.logged(x, start)
		next.ServeHTTP(x, r)
	})
}

// recovered turns a panic into a 500. It stands inside CORS, so that a browser can read that answer.
func (s *Server) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch v := recover(); {
			case v == nil:
			case v == http.ErrAbortHandler:
				panic(v)
			case exchangeOf(r).status != 0:
				s.logPanic(r, v)
				panic(http.ErrAbortHandler) // the answer began: cut it off rather than let it look whole
			default:
				s.logPanic(r, v)
				s.writeProblem(w, r, errPanic)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

func (s *Server) logPanic(r *http.Request, v any) {
	s.log.LogAttrs(r.Context(), slog.LevelError, "panic", slog.String("request_id", exchangeOf(r).requestID),
		slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
}

// logged counts the request and writes one line about it. The line holds no token, no query and no path but the route's
// pattern: ids and searches are the owner's own.
func (s *Server) logged(x *exchange, start time.Time) {
	took := time.Since(start)
	s.metrics.observe(x.route, x.status, took)
	level := slog.LevelInfo
	switch {
	case x.route == "GET /health" || x.route == "GET /health/ready":
		level = slog.LevelDebug // every few seconds; why one failed is in the log already
	case x.status >= 500:
		level = slog.LevelError
	}
	if !s.log.Enabled(x.request.Context(), level) {
		return
	}
	attrs := [...]slog.Attr{
		slog.String("request_id", x.requestID),
		slog.String("method", clip(x.request.Method, len("OPTIONS"))), // it may be as long as net/http lets a header be
		slog.String("route", x.route),
		slog.Int("status", x.status),
		slog.Duration("duration", took),
		slog.String("owner", ownerHash(x.owner)),
	}
	most := len(attrs)
	if x.owner == "" {
		most--
	}
	// Not through the logger, which looks up the caller for each line.
	line := slog.NewRecord(start.Add(took), level, "request", 0)
	line.AddAttrs(attrs[:most]...)
	_ = s.log.Handler().Handle(x.request.Context(), line) // as the logger: nobody is there to be told
}

// ownerHash tells owners apart in the log without naming them.
func ownerHash(owner string) string {
	sum := sha256.Sum256([]byte(owner))
	return hex.EncodeToString(sum[:6])
}
