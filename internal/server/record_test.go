package server_test

import (
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

// exchange is what one request and its answer say about the document: a line of the log that `make contract` counts.
// DOCKET_CONTRACT_LOG names the log.
type exchange struct {
	Operation string   `json:"operation"`
	Status    int      `json:"status"`
	Valid     []string `json:"valid,omitempty"`   // parameters, "query limit", that were good and taken
	Invalid   []string `json:"invalid,omitempty"` // parameters that were bad and refused
	Body      string   `json:"body,omitempty"`    // the example that was sent and taken, "application/json full"
	Example   string   `json:"example,omitempty"` // the example that the answer is
	Headers   []string `json:"headers,omitempty"` // the documented ones that the answer has
}

// recorder writes each exchange once.
var recorder struct {
	mu   sync.Mutex
	seen map[string]bool
	file *os.File
}

func record(t testing.TB, e exchange) {
	name := os.Getenv("DOCKET_CONTRACT_LOG")
	if name == "" {
		return
	}
	line := string(must(json.Marshal(e))) + "\n"
	recorder.mu.Lock()
	defer recorder.mu.Unlock()
	if recorder.seen == nil {
		recorder.seen = map[string]bool{}
		recorder.file = must(os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600))
	}
	if !recorder.seen[line] {
		recorder.seen[line] = true
		_, err := recorder.file.WriteString(line)
		check(t, err)
	}
}

// exchange reads what a request and its answer say about the document. It says false when they are of no operation.
func (d *document) exchange(r *http.Request, a *answer) (exchange, bool) {
	var op *operation
	if r != nil {
		op = d.operation(r)
	}
	if op == nil || r.Method != op.method || op.Responses.Status(a.status) == nil {
		return exchange{}, false
	}
	e := exchange{Operation: op.OperationID, Status: a.status}
	response := op.Responses.Status(a.status).Value
	for name := range response.Headers {
		if a.reads(name) != "" {
			e.Headers = append(e.Headers, name)
		}
	}
	for _, p := range d.parameters(op) {
		name := p.In + " " + p.Name
		switch values := sent(r, op, p); {
		case values == nil:
		case fits(p, values):
			if a.status < 400 {
				e.Valid = append(e.Valid, name)
			}
		case refused(p, a):
			e.Invalid = append(e.Invalid, name)
		}
	}
	if body := resent(r); body != "" && op.RequestBody != nil && a.status < 300 {
		kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if media := op.RequestBody.Value.Content[kind]; media != nil {
			for name, example := range media.Examples {
				if reflect.DeepEqual(value(body), asJSON(example.Value.Value)) {
					e.Body = kind + " " + name
				}
			}
		}
	}
	if media := response.Content[a.reads("Content-Type")]; media != nil {
		for name, example := range media.Examples {
			if reflect.DeepEqual(anyone(value(a.body)), anyone(asJSON(example.Value.Value))) {
				e.Example = name
			}
		}
	}
	return e, true
}

// parameters are those of an operation, and of its path.
func (d *document) parameters(op *operation) (all []*openapi3.Parameter) {
	for _, refs := range []openapi3.Parameters{d.Paths.Value(op.path).Parameters, op.Parameters} {
		for _, ref := range refs {
			all = append(all, ref.Value)
		}
	}
	return all
}

// sent gives the values of a parameter in a request; nil: it was not sent.
func sent(r *http.Request, op *operation, p *openapi3.Parameter) []string {
	switch p.In {
	case openapi3.ParameterInQuery:
		return r.URL.Query()[p.Name]
	case openapi3.ParameterInHeader:
		if values := r.Header.Values(p.Name); len(values) > 0 {
			return []string{strings.Join(values, ", ")}
		}
	case openapi3.ParameterInPath:
		path := strings.Split(r.URL.EscapedPath(), "/")
		for i, segment := range strings.Split(op.path, "/") {
			if segment == "{"+p.Name+"}" && i < len(path) {
				if text, err := url.PathUnescape(path[i]); err == nil {
					return []string{text}
				}
			}
		}
	}
	return nil
}

// fits reports whether the values of a parameter are as its schema says.
func fits(p *openapi3.Parameter, values []string) bool {
	schema := p.Schema.Value
	if !schema.Type.Is("array") {
		return len(values) == 1 && schema.VisitJSON(typed(schema, values[0])) == nil
	}
	items := make([]any, len(values))
	for i, v := range values {
		items[i] = typed(schema.Items.Value, v)
	}
	return schema.VisitJSON(items) == nil
}

// typed is text as a value of the schema's type, if it is one.
func typed(schema *openapi3.Schema, text string) any {
	switch {
	case schema.Type.Is("integer"):
		if n, err := strconv.Atoi(text); err == nil && strconv.Itoa(n) == text {
			return float64(n)
		}
	case schema.Type.Is("boolean") && (text == "true" || text == "false"):
		return text == "true"
	}
	return text
}

// refused reports whether an answer refuses the parameter. A bad path names nothing that is there.
func refused(p *openapi3.Parameter, a *answer) bool {
	if p.In == openapi3.ParameterInPath {
		return a.status == http.StatusForbidden || a.status == http.StatusNotFound
	}
	var told problem
	if a.status != http.StatusBadRequest || json.Unmarshal([]byte(a.body), &told) != nil {
		return false
	}
	for _, f := range told.Errors {
		if f.Parameter == p.Name || f.Header == p.Name {
			return true
		}
	}
	return false
}

// resent is the body of a request that was sent.
func resent(r *http.Request) string {
	if r.GetBody == nil {
		return ""
	}
	body := must(r.GetBody())
	defer body.Close()
	return string(must(io.ReadAll(body)))
}

// undocumented lists the parameters that a request was answered well with although the document does not have them.
func (d *document) undocumented(r *http.Request, a *answer) (faults []string) {
	var op *operation
	if r != nil {
		op = d.operation(r)
	}
	if op == nil || a.status >= 400 {
		return nil
	}
	known := map[string]bool{}
	for _, p := range d.parameters(op) {
		known[p.In+" "+p.Name] = true
	}
	for name := range r.URL.Query() {
		if !known["query "+name] {
			faults = append(faults, "the query parameter "+name+" is not in the document, and was taken")
		}
	}
	for _, name := range meant[op.method] {
		if op.secured && r.Header.Get(name) != "" && !known["header "+name] {
			faults = append(faults, "the header "+name+" is not in the document, and was taken")
		}
	}
	return faults
}

// meant are the header parameters that a method looks at. Others are anybody's to send.
var meant = map[string][]string{
	http.MethodGet:    {"If-None-Match"},
	http.MethodPost:   {"Idempotency-Key"},
	http.MethodPut:    {"If-Match"},
	http.MethodPatch:  {"If-Match"},
	http.MethodDelete: {"If-Match"},
}

// own are the members whose value is another in every answer.
var own = map[string]bool{
	"id": true, "user_id": true, "created_at": true, "updated_at": true, "next_cursor": true, "timestamp": true,
	"version": true, "instance": true, "request_id": true,
}

// anyone is a value without what only its owner, its time and its request give it. Null stays null.
func anyone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			if v[name] = anyone(member); own[name] && member != nil {
				v[name] = "…"
			}
		}
	case []any:
		for i, item := range v {
			v[i] = anyone(item)
		}
	}
	return v
}

func value(text string) (v any) {
	_ = json.Unmarshal([]byte(text), &v) // what is no JSON is no example: nil
	return v
}

// asJSON is an example as a client has it, a copy.
func asJSON(v any) any { return value(string(must(json.Marshal(v)))) }
