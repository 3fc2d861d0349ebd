// Package contract holds what the service answers against openapi.yaml, wherever a test receives it. It is for tests.
package contract

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"

	"docket"
)

// Document is openapi.yaml in the hands of a strict client: a property that it does not list is a fault.
type Document struct {
	*openapi3.T
	// Operations are sorted by operationId.
	Operations []*Operation

	mux *http.ServeMux // finds a request's operation
}

// Operation is one of a document's. Secured ones need a token.
type Operation struct {
	*openapi3.Operation
	http.Handler // never called: it makes an operation what a mux finds
	Method, Path string
	Secured      bool
}

// Answer is a response that was read to its end.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// Frontend is the origin that may call from a browser when nothing else is configured.
const Frontend = "http://localhost:3000"

// Current is the document that the service is built from. It panics when that is none, as every test would fail.
var Current = sync.OnceValue(func() *Document {
	d, err := New(docket.OpenAPI)
	if err != nil {
		panic(err)
	}
	return d
})

// New reads a document. It fails when the text is none.
func New(text []byte) (*Document, error) {
	parsed, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		return nil, err
	}
	d := &Document{T: parsed, mux: http.NewServeMux()}
	for path, item := range d.Paths.Map() {
		for method, def := range item.Operations() {
			secured := def.Security == nil && len(d.Security) > 0 || def.Security != nil && len(*def.Security) > 0
			op := &Operation{def, http.NotFoundHandler(), method, path, secured}
			d.Operations = append(d.Operations, op)
			d.mux.Handle(method+" "+path, op)
			for _, response := range def.Responses.Map() {
				for _, media := range response.Value.Content {
					closeObjects(media.Schema)
				}
			}
		}
	}
	closeObjects(d.Components.Schemas["Problem"])
	slices.SortFunc(d.Operations, func(a, b *Operation) int { return strings.Compare(a.OperationID, b.OperationID) })
	return d, nil
}

func closeObjects(ref *openapi3.SchemaRef) {
	if ref == nil || ref.Value.AdditionalProperties.Has != nil {
		return
	}
	schema := ref.Value
	if schema.Type.Is("object") {
		schema.AdditionalProperties.Has = new(bool)
	}
	closeObjects(schema.Items)
	for _, parts := range []openapi3.SchemaRefs{schema.AllOf, schema.AnyOf, schema.OneOf, slices.Collect(maps.Values(schema.Properties))} {
		for _, part := range parts {
			closeObjects(part)
		}
	}
}

// Named finds an operation by its operationId; nil: there is none.
func (d *Document) Named(operationID string) *Operation {
	for _, op := range d.Operations {
		if op.OperationID == operationID {
			return op
		}
	}
	return nil
}

// operation finds the operation that a request is for; nil: none.
func (d *Document) operation(r *http.Request) *Operation {
	if r == nil {
		return nil
	}
	handler, _ := d.mux.Handler(r)
	op, _ := handler.(*Operation)
	return op
}

var requestIDPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// beyond are the statuses that any address may answer, with their codes.
var beyond = map[int]string{
	http.StatusNotFound:                    "route_not_found",
	http.StatusMethodNotAllowed:            "method_not_allowed",
	http.StatusRequestHeaderFieldsTooLarge: "header_fields_too_large",
}

// fromBrowsers are the methods that a frontend may use. One with another is refused in the preflight.
var fromBrowsers = []string{
	http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
}

// Faults lists what is wrong with an answer to a request; a nil request was none of HTTP.
func (d *Document) Faults(r *http.Request, a Answer) (faults []string) {
	add := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if r == nil {
		// net/http refuses what is no HTTP request before any of our code sees it.
		if a.Status != http.StatusBadRequest || a.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
			add("%d to what is not HTTP", a.Status)
		}
		return faults
	}
	if a.Status == http.StatusExpectationFailed && r.Header.Get("Expect") != "" && a.Body == "" {
		return nil // so does it what expects another thing than 100-continue
	}
	if !requestIDPattern.MatchString(a.Header.Get("X-Request-Id")) {
		add("X-Request-Id is %q", a.Header.Get("X-Request-Id"))
	}
	asks := r.Header.Get("Access-Control-Request-Method") != "" // a preflight, which may be for what is not allowed
	if r.Header.Get("Origin") == Frontend && slices.Contains(fromBrowsers, r.Method) && !asks {
		for name, want := range map[string]string{"Access-Control-Allow-Origin": Frontend, "Access-Control-Allow-Credentials": "true"} {
			if got := a.Header.Get(name); got != want {
				add("%s is %q", name, got)
			}
		}
	}
	op := d.operation(r)
	if op != nil && a.Header.Get("Content-Encoding") == "gzip" && a.Body != "" {
		text, err := unzipped(a.Body)
		if err != nil {
			add("the body cannot be unzipped: %v", err)
		}
		a.Body = text
	}
	switch {
	case r.Method == http.MethodOptions && a.Status == http.StatusNoContent: // a preflight
		if a.Body != "" {
			add("a body in the answer to a preflight")
		}
	case op != nil && op.Responses.Status(a.Status) != nil:
		faults = append(faults, d.documented(op.Responses.Status(a.Status).Value, r, a)...)
	case beyond[a.Status] != "" && !(op != nil && a.Status == http.StatusNotFound) || op == nil && a.Status >= 500:
		faults = append(faults, d.matches(d.Components.Schemas["Problem"], a)...)
		if code := beyond[a.Status]; code != "" && !strings.Contains(a.Body, strconv.Quote(code)) && r.Method != http.MethodHead {
			add("the code is not %s", code)
		}
	case op == nil && a.Status < 400: // the pages outside the contract
	default:
		id := "no operation"
		if op != nil {
			id = op.OperationID
		}
		add("%s: status %d is not in the document", id, a.Status)
	}
	if op != nil || strings.HasPrefix(r.URL.Path, "/api/") && r.Method != http.MethodOptions {
		vary := "Origin, Authorization"
		if op != nil && op.OperationID == "listTasks" && a.Status < 400 {
			vary += ", Accept-Encoding"
		}
		for name, want := range map[string]string{"Cache-Control": "private, no-cache", "Vary": vary} {
			if got := strings.Join(a.Header.Values(name), ", "); got != want {
				add("%s is %q", name, got)
			}
		}
	}
	if a.Status >= 400 && r.Method != http.MethodHead {
		faults = append(faults, coherent(a)...)
	}
	return append(faults, d.undocumented(r, a)...)
}

func unzipped(body string) (string, error) {
	z, err := gzip.NewReader(strings.NewReader(body))
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(z)
	return string(text), err
}

// sometimes are the documented headers that not every answer of their status has.
var sometimes = map[string]bool{"Idempotent-Replayed": true}

// everywhere are the headers that the document's introduction has for all answers, and those that are HTTP's own.
// Others are documented with the response that has them.
var everywhere = map[string]bool{
	"Cache-Control": true, "Connection": true, "Content-Encoding": true, "Content-Length": true, "Content-Type": true, "Date": true, "Vary": true,
	"X-Content-Type-Options": true, "X-Request-Id": true,
}

// documented checks an answer against the response that the document has for it: headers, media type, body.
func (d *Document) documented(response *openapi3.Response, r *http.Request, a Answer) (faults []string) {
	named := map[string]bool{}
	for name := range response.Headers {
		named[http.CanonicalHeaderKey(name)] = true
	}
	for name := range a.Header {
		if !named[name] && !everywhere[name] && !strings.HasPrefix(name, "Access-Control-") {
			faults = append(faults, "the header "+name+" is not in the document")
		}
	}
	for name, header := range response.Headers {
		value, schema := a.Header.Get(name), header.Value.Schema.Value
		switch {
		case value == "" && sometimes[name]:
		case value == "":
			faults = append(faults, "no header "+name)
		default:
			var v any = value
			if schema.Type.Is("integer") {
				n, err := strconv.Atoi(value)
				if err != nil {
					faults = append(faults, name+" is no integer: "+value)
				}
				v = float64(n)
			}
			faults = append(faults, Breaks(name, schema, v)...)
		}
	}
	switch {
	case r.Method == http.MethodHead || len(response.Content) == 0:
		if a.Body != "" {
			faults = append(faults, "a body where there is none")
		}
		return faults
	case response.Content[a.Header.Get("Content-Type")] == nil:
		return append(faults, "media type "+a.Header.Get("Content-Type"))
	}
	return append(faults, d.matches(response.Content[a.Header.Get("Content-Type")].Schema, a)...)
}

func (d *Document) matches(schema *openapi3.SchemaRef, a Answer) []string {
	if a.Body == "" {
		return nil // to HEAD; otherwise coherent complains
	}
	var body any
	if err := json.Unmarshal([]byte(a.Body), &body); err != nil {
		return []string{"the body is not JSON: " + err.Error()}
	}
	return Breaks("the body", schema.Value, body)
}

var formats = []openapi3.SchemaValidationOption{
	openapi3.MultiErrors(),
	openapi3.VisitAsResponse(),
	openapi3.EnableFormatValidation(),
	openapi3.SetSchemaErrorMessageCustomizer(func(e *openapi3.SchemaError) string {
		return "/" + strings.Join(e.JSONPointer(), "/") + ": " + e.Reason // without the whole schema
	}),
	openapi3.WithStringFormatValidator("date-time", pattern(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$`)),
	openapi3.WithStringFormatValidator("uuid", pattern(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)),
	openapi3.WithStringFormatValidator("uri-reference", openapi3.NewCallbackValidator(func(text string) error {
		_, err := url.Parse(text)
		return err
	})),
}

func pattern(text string) openapi3.StringFormatValidator {
	return openapi3.NewRegexpFormatValidator(text)
}

// Breaks lists how a value, called what, breaks a schema.
func Breaks(what string, schema *openapi3.Schema, value any) []string {
	if err := schema.VisitJSON(value, formats...); err != nil {
		return []string{what + ": " + err.Error()}
	}
	return nil
}

// coherent checks what a schema cannot say of a problem document (RFC 9457): its members agree with each other and
// with the head of the answer.
func coherent(a Answer) (faults []string) {
	p, err := problemOf(a)
	if err != nil || a.Header.Get("Content-Type") != "application/problem+json" {
		return []string{"an error that is no problem document"}
	}
	id := a.Header.Get("X-Request-Id")
	if p.Status != a.Status || p.RequestID != id || p.Instance != "/requests/"+id || p.Type != "/problems/"+p.Code {
		faults = append(faults, "the members of the problem do not agree")
	}
	for _, f := range p.Errors {
		places := 0
		for _, place := range []string{f.Pointer, f.Parameter, f.Header} {
			if place != "" {
				places++
			}
		}
		if places > 1 {
			faults = append(faults, "a fault has two places: "+f.Detail)
		}
	}
	return faults
}

// problem is what programs read in a problem document.
type problem struct {
	Type, Code, Instance string
	Status               int
	RequestID            string `json:"request_id"`
	Errors               []struct{ Pointer, Parameter, Header, Detail string }
}

func problemOf(a Answer) (p problem, err error) {
	err = json.Unmarshal([]byte(a.Body), &p)
	return p, err
}
