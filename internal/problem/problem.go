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

	RetryAfter int // seconds; 0: 1, for a status that has the header
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

// Write writes the problem document. Its addresses begin with base, the path at which a proxy serves the service; empty is
// the root. traceID is empty if the request belongs to no trace. Write adds Retry-After to a 429 and a 503, and closes the
// connection if a part of the request has not been read.
func Write(w http.ResponseWriter, p *Problem, base, requestID, traceID string) {
	type document struct {
		api.Problem
		Checks *api.Checks `json:"checks,omitempty"`
	}
	var trace *string // left out
	if traceID != "" {
		trace = &traceID
	}
	body, err := json.Marshal(document{Checks: p.Checks, Problem: api.Problem{
		Type: base + "/problems/" + p.Code, Title: p.Title, Status: int32(p.Status), Detail: p.Detail, Code: p.Code,
		Instance: base + "/requests/" + requestID, RequestID: requestID, TraceID: trace, Errors: p.Faults,
	}})
	if err != nil {
		panic(err) // strings and numbers only: cannot fail
	}
	h := w.Header()
	switch p.Status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		h.Set("Retry-After", strconv.Itoa(max(1, p.RetryAfter)))
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

// Parameter returns a fault of a query or path parameter. must is what the parameter must be or what is wrong with it, the
// rest of a sentence that begins with its name.
func Parameter(name, code, must string) api.Fault {
	return api.Fault{Parameter: &name, Code: code, Detail: "The parameter " + name + " " + must + "."}
}

// Header returns a fault of a header; see Parameter.
func Header(name, code, must string) api.Fault {
	return api.Fault{Header: &name, Code: code, Detail: "The header " + name + " " + must + "."}
}

// Body returns a fault of the body, at a JSON pointer in the form of a URI fragment; see Parameter. The sentence calls a
// member by its name in words, "Due date" for due_date, and an entry of a list by its number, "Tag 1" for add_tags/0.
func Body(pointer, code, must string) api.Fault {
	path, _ := url.PathUnescape(strings.TrimPrefix(pointer, "#")) // it was escaped by us
	name := pointerUnescape.Replace(strings.TrimPrefix(path, "/"))
	list, index, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	number, err := strconv.Atoi(index)
	switch {
	case path == "":
		name = "The body"
	case err == nil && strings.HasSuffix(list, "s"):
		name = sentence(strings.TrimSuffix(list[strings.LastIndex(list, "_")+1:], "s")) + " " + strconv.Itoa(number+1)
	case code == FaultUnknown || strings.Count(path, "/") > 1:
		name = "The field " + name
	case name != "":
		name = sentence(strings.ReplaceAll(name, "_", " "))
	}
	return api.Fault{Pointer: &pointer, Code: code, Detail: name + " " + must + "."}
}

// pointerUnescape reverses the escapes of a JSON pointer (RFC 6901, section 4).
var pointerUnescape = strings.NewReplacer("~1", "/", "~0", "~")

// Summary returns all faults in one line, for clients that show only the detail.
func Summary(faults []api.Fault) string {
	details := make([]string, len(faults))
	for i, f := range faults {
		details[i] = f.Detail
	}
	return Clip(strings.Join(details, " "), 4000)
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
