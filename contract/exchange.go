package contract

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

	"github.com/getkin/kin-openapi/openapi3"
)

// Exchange is what one request and its answer say about the document: a line of the log that contract/matrix counts.
type Exchange struct {
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

// Record adds what a request and its answer say to the log that DOCKET_CONTRACT_LOG names. Without the variable, and
// without an operation for the request, it does nothing. It fails when the log cannot be written.
func (d *Document) Record(r *http.Request, a Answer) error {
	name := os.Getenv("DOCKET_CONTRACT_LOG")
	if name == "" {
		return nil
	}
	e, ok := d.exchange(r, a)
	if !ok {
		return nil
	}
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	recorder.mu.Lock()
	defer recorder.mu.Unlock()
	if recorder.seen[string(line)] {
		return nil
	}
	if recorder.file == nil {
		recorder.seen = map[string]bool{}
		if recorder.file, err = os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
			return err
		}
	}
	recorder.seen[string(line)] = true
	_, err = recorder.file.Write(append(line, '\n'))
	return err
}

// exchange reads what a request and its answer say about the document. It says false when they are of no operation.
func (d *Document) exchange(r *http.Request, a Answer) (Exchange, bool) {
	op := d.operation(r)
	if op == nil || r.Method != op.Method || op.Responses.Status(a.Status) == nil {
		return Exchange{}, false
	}
	e := Exchange{Operation: op.OperationID, Status: a.Status}
	response := op.Responses.Status(a.Status).Value
	for name := range response.Headers {
		if a.Header.Get(name) != "" {
			e.Headers = append(e.Headers, name)
		}
	}
	for _, p := range d.Parameters(op) {
		name := p.In + " " + p.Name
		switch values := sent(r, op, p); {
		case values == nil:
		case fits(p, values):
			if a.Status < 400 {
				e.Valid = append(e.Valid, name)
			}
		case refused(p, a):
			e.Invalid = append(e.Invalid, name)
		}
	}
	if body := resent(r); body != "" && op.RequestBody != nil && a.Status < 300 {
		kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if media := op.RequestBody.Value.Content[kind]; media != nil {
			for name, example := range media.Examples {
				if reflect.DeepEqual(JSON(body), plain(example.Value.Value)) {
					e.Body = kind + " " + name
				}
			}
		}
	}
	if media := response.Content[a.Header.Get("Content-Type")]; media != nil {
		for name, example := range media.Examples {
			if Alike(a.Body, example.Value.Value) {
				e.Example = name
			}
		}
	}
	return e, true
}

// Parameters are those of an operation, and of its path.
func (d *Document) Parameters(op *Operation) (all []*openapi3.Parameter) {
	for _, refs := range []openapi3.Parameters{d.Paths.Value(op.Path).Parameters, op.Parameters} {
		for _, ref := range refs {
			all = append(all, ref.Value)
		}
	}
	return all
}

// sent gives the values of a parameter in a request; nil: it was not sent.
func sent(r *http.Request, op *Operation, p *openapi3.Parameter) []string {
	switch p.In {
	case openapi3.ParameterInQuery:
		return r.URL.Query()[p.Name]
	case openapi3.ParameterInHeader:
		if values := r.Header.Values(p.Name); len(values) > 0 {
			return []string{strings.Join(values, ", ")}
		}
	case openapi3.ParameterInPath:
		path := strings.Split(r.URL.EscapedPath(), "/")
		for i, segment := range strings.Split(op.Path, "/") {
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
func refused(p *openapi3.Parameter, a Answer) bool {
	if p.In == openapi3.ParameterInPath {
		return a.Status == http.StatusForbidden || a.Status == http.StatusNotFound
	}
	if a.Status != http.StatusBadRequest {
		return false
	}
	told, _ := problemOf(a)
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
	body, err := r.GetBody()
	if err != nil {
		return ""
	}
	defer body.Close()
	text, _ := io.ReadAll(body) // from memory: cannot fail
	return string(text)
}

// undocumented lists the parameters that a request was answered well with although the document does not have them.
func (d *Document) undocumented(r *http.Request, a Answer) (faults []string) {
	op := d.operation(r)
	if op == nil || a.Status >= 400 {
		return nil
	}
	known := map[string]bool{}
	for _, p := range d.Parameters(op) {
		known[p.In+" "+p.Name] = true
	}
	for name := range r.URL.Query() {
		if !known["query "+name] {
			faults = append(faults, "the query parameter "+name+" is not in the document, and was taken")
		}
	}
	for _, name := range meant[op.Method] {
		if op.Secured && r.Header.Get(name) != "" && !known["header "+name] {
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

// Alike reports whether the body of an answer is an example of the document's, but for what only its owner, its time
// and its request give it.
func Alike(body string, example any) bool {
	return reflect.DeepEqual(anyone(JSON(body)), anyone(plain(example)))
}

// JSON is the value of a text; nil when the text is no JSON, as no example is.
func JSON(text string) (v any) {
	_ = json.Unmarshal([]byte(text), &v)
	return v
}

// plain is an example of the document's as a client has it, a copy.
func plain(example any) any {
	text, _ := json.Marshal(example) // it was read from JSON or YAML: cannot fail
	return JSON(string(text))
}
