// Package problem contains the problem types of the service and writes them as problem documents (RFC 9457).
package problem

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"docket/internal/api"
)

// Problem is an error together with the response to it.
type Problem struct {
	*Type
	Detail string      // a sentence for a person
	Faults []api.Fault // of the request; nil: Detail says everything
	Checks *api.Checks // the result of a failed readiness check
	Cause  error       // only for the log
}

// Error implements error.
func (p *Problem) Error() string {
	if p.Cause != nil {
		return p.Detail + ": " + p.Cause.Error()
	}
	return p.Detail
}

// Unwrap returns the cause.
func (p *Problem) Unwrap() error { return p.Cause }

// Write writes the problem document. It adds Retry-After to a 503, and closes the connection if a part of the request
// has not been read.
func Write(w http.ResponseWriter, p *Problem, requestID string) {
	type document struct {
		api.Problem
		Checks *api.Checks `json:"checks,omitempty"`
	}
	body, err := json.Marshal(document{Checks: p.Checks, Problem: api.Problem{
		Type: "/problems/" + p.Code, Title: p.Title, Status: int32(p.Status), Detail: p.Detail, Code: p.Code,
		Instance: "/requests/" + requestID, RequestID: requestID, Errors: p.Faults,
	}})
	if err != nil {
		panic(err) // strings and numbers only: cannot fail
	}
	h := w.Header()
	switch p.Status {
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", "1")
	case http.StatusRequestTimeout, http.StatusRequestEntityTooLarge:
		h.Set("Connection", "close")
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Del("Location")
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // an error means that the client has disconnected
}

// InvalidParameters returns the problem of one or more invalid parameters.
func InvalidParameters(faults ...api.Fault) *Problem {
	return &Problem{Type: InvalidParameter, Detail: Summary(faults), Faults: faults}
}

// Parameter returns a fault of a query or path parameter.
func Parameter(name, detail string) api.Fault { return api.Fault{Parameter: &name, Detail: detail} }

// Header returns a fault of a header.
func Header(name, detail string) api.Fault { return api.Fault{Header: &name, Detail: detail} }

// Body returns a fault of the body, at a JSON pointer in the form of a URI fragment.
func Body(pointer, detail string) api.Fault { return api.Fault{Pointer: &pointer, Detail: detail} }

// Summary returns all faults in one line, for clients that show only the detail.
func Summary(faults []api.Fault) string {
	var b strings.Builder
	for i, f := range faults {
		if i > 0 {
			b.WriteString("; ")
		}
		switch {
		case f.Parameter != nil:
			b.WriteString(*f.Parameter + ": ")
		case f.Header != nil:
			b.WriteString(*f.Header + ": ")
		case f.Pointer != nil && *f.Pointer != "#":
			pointer, _ := url.PathUnescape(strings.TrimPrefix(*f.Pointer, "#/")) // it was escaped by us
			b.WriteString(pointer + ": ")
		case f.Pointer != nil:
			b.WriteString("The body ")
		}
		b.WriteString(f.Detail)
	}
	return Clip(b.String(), 4000)
}

// Clip shortens text that a client may have sent to about the given number of bytes.
func Clip(s string, most int) string {
	for i := range s {
		if i > most {
			return s[:i] + "…"
		}
	}
	return s
}
