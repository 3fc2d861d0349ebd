package middleware

import (
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/http"
	"time"

	"docket/internal/problem"
)

// Log writes a line about each request after its response, and calls observe for the metrics. The line contains no
// token, no query and no path but the route's pattern: ids and searches are the owner's own. client returns the address of
// the client for the line; nil: it has none.
func Log(
	log *slog.Logger, observe func(route string, status int, took time.Duration), client func(*http.Request) string,
) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			start := time.Now()
			defer func() { // also when the response was aborted
				s, took := StateOf(r.Context()), time.Since(start)
				observe(s.Route, s.Status, max(0, took-s.OwnerQueue)) // an owner who keeps the queue full makes nothing slow
				writeLine(log, r, s, start, took, client)
			}()
			next.ServeHTTP(w, r)
		})
	}
}

func writeLine(log *slog.Logger, r *http.Request, s *State, start time.Time, took time.Duration, client func(*http.Request) string) {
	level := slog.LevelInfo
	switch {
	case s.Quiet:
		level = slog.LevelDebug
	case s.Status >= 500:
		level = slog.LevelError
	}
	if !log.Enabled(r.Context(), level) {
		return
	}
	owner := slog.Attr{} // left out of the line
	if s.Owner != "" {
		owner = slog.String("owner", ownerHash(s.Owner))
	}
	attrs := [...]slog.Attr{
		slog.String("request_id", s.RequestID),
		slog.String("method", problem.Clip(r.Method, len("OPTIONS"))), // a client may send a long one
		slog.String("route", s.Route),
		slog.Int("status", s.Status),
		slog.Duration("duration", took),
		owner,
		s.TraceAttr(),
	}
	// Not through the logger, which looks up the caller for each line.
	line := slog.NewRecord(start.Add(took), level, "request", 0)
	line.AddAttrs(attrs[:]...)
	if s.Problem != "" {
		line.AddAttrs(slog.String("problem", s.Problem))
	}
	if s.Reason != "" {
		line.AddAttrs(slog.String("reason", s.Reason))
	}
	if client != nil {
		line.AddAttrs(slog.String("client", client(r)))
	}
	_ = log.Handler().Handle(r.Context(), line) // the logger ignores the error, too
}

// ownerHash distinguishes owners in the log without naming them.
func ownerHash(owner string) string {
	sum := sha256.Sum256([]byte(owner))
	return hex.EncodeToString(sum[:6])
}
