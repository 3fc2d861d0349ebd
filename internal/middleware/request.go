// Package middleware contains the middleware that every request passes before its operation. Each is a
// func(http.Handler) http.Handler in a file of its own. RequestID must be the outermost: the others use the State that
// it creates.
package middleware

import (
	"context"
	"log/slog"
	"net/http"
	"regexp"
	"time"

	"github.com/google/uuid"
)

// State describes a request while it is being served. As a ResponseWriter it records the response.
type State struct {
	http.ResponseWriter
	Request    *http.Request // with the context that StateOf finds the State in
	RequestID  string
	Route      string        // the pattern of the operation; empty: none matched
	Owner      string        // from the verified token; empty: none
	Quiet      bool          // logged at level DEBUG
	Status     int           // of the response; 0: it has not begun
	TraceID    string        // 32 hexadecimal digits; empty: the request belongs to no trace
	Problem    string        // the code of the problem that is the response; empty: none
	OwnerQueue time.Duration // time in the owner's own queue
	Reason     string        // why a token was refused, as a short code; empty: none was

	BeforeHeader func(status int)                              // is called before the response begins; nil: nothing is
	Scan         func(context.Context) (ended func(), _ error) // see store.Owner.LimitScans; nil: it was not admitted
}

type stateKey struct{}

// StateOf returns the State of the request that the context belongs to. It panics outside RequestID.
func StateOf(ctx context.Context) *State { return ctx.Value(stateKey{}).(*State) }

// TraceAttr returns the trace's id for a line of the log. It is empty, and left out of the line, without a trace.
func (s *State) TraceAttr() slog.Attr {
	if s.TraceID == "" {
		return slog.Attr{}
	}
	return slog.String("trace_id", s.TraceID)
}

// Unwrap serves http.ResponseController.
func (s *State) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// WriteHeader implements http.ResponseWriter. A second call does nothing.
func (s *State) WriteHeader(status int) {
	if s.Status == 0 {
		s.Status = status
		if s.BeforeHeader != nil {
			s.BeforeHeader(status)
		}
		s.ResponseWriter.WriteHeader(status)
	}
}

// Write implements http.ResponseWriter.
func (s *State) Write(b []byte) (int, error) {
	s.WriteHeader(http.StatusOK)
	return s.ResponseWriter.Write(b)
}

var requestIDPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// RequestID creates the State of each request. The request's id is the client's if that is well-formed. The response
// has it in the header X-Request-Id.
func RequestID(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := &State{ResponseWriter: w, RequestID: r.Header.Get("X-Request-Id")}
		if !requestIDPattern.MatchString(s.RequestID) {
			s.RequestID = uuid.NewString()
		}
		w.Header()["X-Request-Id"] = []string{s.RequestID}
		s.Request = r.WithContext(context.WithValue(r.Context(), stateKey{}, s))
		next.ServeHTTP(s, s.Request)
	})
}
