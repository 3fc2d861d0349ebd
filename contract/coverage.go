package contract

import (
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
	"github.com/go-json-experiment/json"
)

// LogEntry describes which parts of the document a request and its response exercised. It is a line of the log that
// contract/matrix evaluates.
type LogEntry struct {
	Operation string   `json:"operation"`
	Status    int      `json:"status"`
	Valid     []string `json:"valid,omitempty"`   // valid parameters that were accepted, such as "query limit"
	Invalid   []string `json:"invalid,omitempty"` // invalid parameters that were refused
	Body      string   `json:"body,omitempty"`    // the request example that was accepted, such as "application/json full"
	Example   string   `json:"example,omitempty"` // the response example that was returned
	Headers   []string `json:"headers,omitempty"` // the documented response headers that were returned
}

// log is the log of this process. It contains each entry once.
var log struct {
	mu   sync.Mutex
	seen map[string]bool
	file *os.File
}

// Record appends an entry for a request and its response to the file that the environment variable DOCKET_CONTRACT_LOG
// names. It does nothing if the variable is not set or no operation handles the request. It returns an error if the
// file cannot be written.
func (d *Document) Record(r *http.Request, got Response) error {
	name := os.Getenv("DOCKET_CONTRACT_LOG")
	if name == "" || r == nil {
		return nil
	}
	entry, ok := d.logEntry(r, got)
	if !ok {
		return nil
	}
	line, err := json.Marshal(entry)
	if err != nil {
		return err
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	if log.seen[string(line)] {
		return nil
	}
	if log.file == nil {
		log.seen = map[string]bool{}
		if log.file, err = os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
			return err
		}
	}
	log.seen[string(line)] = true
	_, err = log.file.Write(append(line, '\n'))
	return err
}

// logEntry returns the entry for a request and its response. It reports false if no documented operation and status
// belong to them.
func (d *Document) logEntry(r *http.Request, got Response) (LogEntry, bool) {
	op := d.operation(r)
	if op == nil || r.Method != op.Method || op.Responses.Status(got.Status) == nil {
		return LogEntry{}, false
	}
	entry := LogEntry{Operation: op.OperationID, Status: got.Status}
	documented := op.Responses.Status(got.Status).Value
	for name := range documented.Headers {
		if got.Header.Get(name) != "" {
			entry.Headers = append(entry.Headers, name)
		}
	}
	for _, p := range d.Parameters(op) {
		name := p.In + " " + p.Name
		switch values := parameterValues(r, op, p); {
		case values == nil:
		case validParameter(p, values):
			if got.Status < 400 {
				entry.Valid = append(entry.Valid, name)
			}
		case refused(p, got):
			entry.Invalid = append(entry.Invalid, name)
		}
	}
	if body := requestBody(r); body != "" && op.RequestBody != nil && got.Status < 300 {
		mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if media := op.RequestBody.Value.Content[mediaType]; media != nil {
			for name, example := range media.Examples {
				if reflect.DeepEqual(ParseJSON(body), copyJSON(example.Value.Value)) {
					entry.Body = mediaType + " " + name
				}
			}
		}
	}
	if media := documented.Content[got.Header.Get("Content-Type")]; media != nil {
		for name, example := range media.Examples {
			if MatchesExample(got.Body, example.Value.Value) {
				entry.Example = name
			}
		}
	}
	return entry, true
}

// Parameters returns the parameters of an operation, including those of its path.
func (d *Document) Parameters(op *Operation) (all []*openapi3.Parameter) {
	for _, refs := range []openapi3.Parameters{d.Paths.Value(op.Path).Parameters, op.Parameters} {
		for _, ref := range refs {
			all = append(all, ref.Value)
		}
	}
	return all
}

// parameterValues returns the values of a parameter in a request, or nil if the request does not have it.
func parameterValues(r *http.Request, op *Operation, p *openapi3.Parameter) []string {
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

// validParameter reports whether the values of a parameter match its schema.
func validParameter(p *openapi3.Parameter, values []string) bool {
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

// typed converts the text of a parameter or header to the type of its schema. It returns the text itself if that is not
// possible.
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

// refused reports whether a response refuses the parameter. Invalid path parameters are refused like those of a
// resource that does not exist.
func refused(p *openapi3.Parameter, got Response) bool {
	if p.In == openapi3.ParameterInPath {
		return got.Status == http.StatusForbidden || got.Status == http.StatusNotFound
	}
	if got.Status != http.StatusBadRequest {
		return false
	}
	problem, _ := problemOf(got)
	for _, fault := range problem.Errors {
		if fault.Parameter == p.Name || fault.Header == p.Name {
			return true
		}
	}
	return false
}

// requestBody returns the body of a request that has been sent.
func requestBody(r *http.Request) string {
	if r.GetBody == nil {
		return ""
	}
	body, err := r.GetBody()
	if err != nil {
		return ""
	}
	defer body.Close()
	text, _ := io.ReadAll(body) // cannot fail: reads from memory
	return string(text)
}

// undocumentedInput returns a message for each parameter of an accepted request that the operation does not document.
func (d *Document) undocumentedInput(r *http.Request, op *Operation) (faults []string) {
	documented := map[string]bool{}
	for _, p := range d.Parameters(op) {
		documented[p.In+" "+p.Name] = true
	}
	for name := range r.URL.Query() {
		if !documented["query "+name] {
			faults = append(faults, "the query parameter "+name+" was accepted but is not in the document")
		}
	}
	for _, name := range inputHeaders[op.Method] {
		if op.Secured && r.Header.Get(name) != "" && !documented["header "+name] {
			faults = append(faults, "the header "+name+" was accepted but is not in the document")
		}
	}
	return faults
}

// inputHeaders are the header parameters that operations with a method may have. Clients may send any others.
var inputHeaders = map[string][]string{
	http.MethodGet:    {"If-None-Match"},
	http.MethodPost:   {"Idempotency-Key"},
	http.MethodPut:    {"If-Match"},
	http.MethodPatch:  {"If-Match"},
	http.MethodDelete: {"If-Match"},
}

// variableMembers are the members whose values differ between responses with the same meaning.
var variableMembers = map[string]bool{
	"id": true, "user_id": true, "created_at": true, "updated_at": true, "next_cursor": true, "timestamp": true,
	"version": true, "instance": true, "request_id": true, "revision": true, "etag": true,
	"completed_at": true, "series_id": true, "next_task_id": true,
}

// maskVariables replaces the values of variableMembers in v, except null, by a placeholder. It returns v.
func maskVariables(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			if v[name] = maskVariables(member); variableMembers[name] && member != nil {
				v[name] = "…"
			}
		}
	case []any:
		for i, item := range v {
			v[i] = maskVariables(item)
		}
	}
	return v
}

// MatchesExample reports whether a response body equals an example of the document, except for members such as id that
// differ between responses with the same meaning.
func MatchesExample(body string, example any) bool {
	return reflect.DeepEqual(maskVariables(ParseJSON(body)), maskVariables(copyJSON(example)))
}

// ParseJSON returns the value of a JSON text. It returns nil if the text is not valid JSON.
func ParseJSON(text string) (v any) {
	if json.Unmarshal([]byte(text), &v) != nil {
		return nil
	}
	return v
}

// copyJSON returns a copy of an example in the document, with the types that ParseJSON uses.
func copyJSON(example any) any {
	text, _ := json.Marshal(example) // cannot fail: the example was read from YAML
	return ParseJSON(string(text))
}
