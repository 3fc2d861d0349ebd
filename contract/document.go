// Package contract checks the responses that tests receive from the service against openapi.yaml. Only tests use it.
package contract

import (
	"compress/gzip"
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
	"github.com/go-json-experiment/json"

	"docket"
)

// Document is a parsed OpenAPI document. Its response schemas are closed: they do not allow properties that they do not
// list.
type Document struct {
	*openapi3.T
	Operations []*Operation // sorted by operationId

	mux *http.ServeMux // finds the operation of a request
}

// Operation is an operation of a document.
type Operation struct {
	*openapi3.Operation
	http.Handler // never called; allows mux to return the operation
	Method, Path string
	Secured      bool // requests need a token
}

// Response is a response whose body has been read.
type Response struct {
	Status int
	Header http.Header
	Body   string
}

// Frontend is the default of the allowed CORS origins.
const Frontend = "http://localhost:3000"

// Current returns the document in openapi.yaml. It panics if the document cannot be parsed.
var Current = sync.OnceValue(func() *Document {
	d, err := New(docket.OpenAPI)
	if err != nil {
		panic(err)
	}
	return d
})

// New parses an OpenAPI document.
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

// closeObjects disallows unlisted properties in a schema and in the schemas that it consists of, unless the document
// allows them explicitly.
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

// Named returns the operation with an operationId, or nil if there is none.
func (d *Document) Named(operationID string) *Operation {
	for _, op := range d.Operations {
		if op.OperationID == operationID {
			return op
		}
	}
	return nil
}

// operation returns the operation that handles a request, or nil if there is none.
func (d *Document) operation(r *http.Request) *Operation {
	if path, slash := strings.CutSuffix(r.URL.EscapedPath(), "/"); slash && path != "" {
		u, err := r.URL.Parse(path) // the introduction allows a slash at the end
		if err != nil {
			return nil
		}
		r = &http.Request{Method: r.Method, Host: r.Host, URL: u}
	}
	handler, _ := d.mux.Handler(r)
	op, _ := handler.(*Operation)
	return op
}

var requestIDPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// commonStatuses are the statuses that any address may return, with their problem codes.
var commonStatuses = map[int]string{
	http.StatusNotFound:                    "route_not_found",
	http.StatusMethodNotAllowed:            "method_not_allowed",
	http.StatusRequestHeaderFieldsTooLarge: "header_fields_too_large",
}

// corsMethods are the methods that a frontend may use. The preflight of others is refused.
var corsMethods = []string{
	http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
}

// Faults returns a message for each difference between a response and the document. A nil request stands for bytes that
// are not an HTTP request.
func (d *Document) Faults(r *http.Request, got Response) (faults []string) {
	if r == nil || got.Status == http.StatusExpectationFailed && r.Header.Get("Expect") != "" {
		return d.notHTTPFaults(r, got)
	}
	op := d.operation(r)
	if op != nil && got.Header.Get("Content-Encoding") == "gzip" && got.Body != "" {
		text, err := decompress(got.Body)
		if err != nil {
			faults = append(faults, "the body cannot be decompressed: "+err.Error())
		}
		got.Body = text
	}
	faults = append(faults, commonHeaderFaults(r, op, got)...)
	faults = append(faults, d.statusFaults(r, op, got)...)
	if got.Status >= 400 && r.Method != http.MethodHead {
		faults = append(faults, problemFaults(got)...)
	}
	if op != nil && got.Status < 400 {
		faults = append(faults, d.undocumentedInput(r, op)...)
	}
	return faults
}

// notHTTPStatuses are the statuses of responses to what is not an HTTP request, with their problem codes.
var notHTTPStatuses = map[int]string{
	http.StatusBadRequest:                  "malformed_request",
	http.StatusExpectationFailed:           "expectation_failed",
	http.StatusRequestHeaderFieldsTooLarge: "header_fields_too_large",
	http.StatusNotImplemented:              "unsupported_transfer_encoding",
	http.StatusHTTPVersionNotSupported:     "unsupported_http_version",
}

// notHTTPFaults checks the response to what is not an HTTP request, or to one with an Expect that nobody meets. r is nil
// in the first case.
func (d *Document) notHTTPFaults(r *http.Request, got Response) (faults []string) {
	code := notHTTPStatuses[got.Status]
	if code == "" {
		return []string{fmt.Sprintf("%d in response to bytes that are not HTTP", got.Status)}
	}
	if id := got.Header.Get("X-Request-Id"); !requestIDPattern.MatchString(id) {
		faults = append(faults, fmt.Sprintf("X-Request-Id is %q", id))
	}
	if r != nil && r.Method == http.MethodHead {
		return faults
	}
	if !strings.Contains(got.Body, strconv.Quote(code)) {
		faults = append(faults, "the code is not "+code)
	}
	return append(append(faults, d.schemaFaults(d.Components.Schemas["Problem"], got)...), problemFaults(got)...)
}

// commonHeaderFaults checks the headers that the document's introduction promises for every response. op is nil if no
// operation handles the request.
func commonHeaderFaults(r *http.Request, op *Operation, got Response) (faults []string) {
	if id := got.Header.Get("X-Request-Id"); !requestIDPattern.MatchString(id) {
		faults = append(faults, fmt.Sprintf("X-Request-Id is %q", id))
	}
	want := map[string]string{}
	preflight := r.Header.Get("Access-Control-Request-Method") != "" // may ask for what is not allowed
	if r.Header.Get("Origin") == Frontend && slices.Contains(corsMethods, r.Method) && !preflight {
		want["Access-Control-Allow-Origin"] = Frontend
		want["Access-Control-Allow-Credentials"] = "true"
	}
	if op != nil || strings.HasPrefix(r.URL.Path, "/api/") && r.Method != http.MethodOptions {
		want["Cache-Control"] = "private, no-cache"
		want["Vary"] = "Origin, Authorization"
		if op != nil && op.OperationID == "listTasks" && got.Status < 400 {
			want["Vary"] += ", Accept-Encoding"
		}
	}
	for name := range want {
		if value := strings.Join(got.Header.Values(name), ", "); value != want[name] {
			faults = append(faults, fmt.Sprintf("%s is %q", name, value))
		}
	}
	return faults
}

// statusFaults checks a response against what the document has for its status. op is nil if no operation handles the
// request.
func (d *Document) statusFaults(r *http.Request, op *Operation, got Response) (faults []string) {
	if r.Method == http.MethodOptions && got.Status == http.StatusNoContent {
		if got.Body != "" {
			return []string{"the response to a preflight has a body"}
		}
		return nil
	}
	if op != nil {
		if documented := op.Responses.Status(got.Status); documented != nil {
			return d.responseFaults(documented.Value, r, got)
		}
	}
	code := commonStatuses[got.Status]
	switch {
	case op == nil && got.Status < 400:
		return nil // a page that is not part of the API
	case op == nil && got.Status >= 500:
		return d.schemaFaults(d.Components.Schemas["Problem"], got)
	case code == "" || op != nil && got.Status == http.StatusNotFound:
		id := "no operation"
		if op != nil {
			id = op.OperationID
		}
		return []string{fmt.Sprintf("%s: status %d is not in the document", id, got.Status)}
	}
	faults = d.schemaFaults(d.Components.Schemas["Problem"], got)
	if !strings.Contains(got.Body, strconv.Quote(code)) && r.Method != http.MethodHead {
		faults = append(faults, "the code is not "+code)
	}
	return faults
}

func decompress(body string) (string, error) {
	z, err := gzip.NewReader(strings.NewReader(body))
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(z)
	return string(text), err
}

// optionalHeaders are the documented headers that not every response with their status has.
var optionalHeaders = map[string]bool{"Idempotent-Replayed": true, "RateLimit": true, "RateLimit-Policy": true}

// commonHeaders are the headers of HTTP itself and those that the document's introduction describes for all responses or
// all errors. All others must be documented with their response.
var commonHeaders = map[string]bool{
	"Cache-Control": true, "Connection": true, "Content-Encoding": true, "Content-Length": true, "Content-Type": true, "Date": true, "Vary": true,
	"Ratelimit": true, "Ratelimit-Policy": true, "X-Content-Type-Options": true, "X-Request-Id": true,
}

// responseFaults checks the headers, media type and body of a response against its description in the document.
func (d *Document) responseFaults(documented *openapi3.Response, r *http.Request, got Response) (faults []string) {
	known := map[string]bool{}
	for name := range documented.Headers {
		known[http.CanonicalHeaderKey(name)] = true
	}
	for name := range got.Header {
		if !known[name] && !commonHeaders[name] && !strings.HasPrefix(name, "Access-Control-") {
			faults = append(faults, "the header "+name+" is not in the document")
		}
	}
	for name, header := range documented.Headers {
		text, schema := got.Header.Get(name), header.Value.Schema.Value
		switch {
		case text == "" && optionalHeaders[name]:
		case text == "":
			faults = append(faults, "there is no header "+name)
		default:
			faults = append(faults, SchemaFaults(name, schema, typed(schema, text))...)
		}
	}
	mediaType := got.Header.Get("Content-Type")
	switch {
	case r.Method == http.MethodHead || len(documented.Content) == 0:
		if got.Body != "" {
			faults = append(faults, "there must be no body")
		}
	case documented.Content[mediaType] == nil:
		faults = append(faults, "the media type is "+mediaType)
	default:
		faults = append(faults, d.schemaFaults(documented.Content[mediaType].Schema, got)...)
		faults = append(faults, entityTagFaults(got)...)
	}
	return faults
}

// entityTagFaults checks that a resource carries the entity tag of its response.
func entityTagFaults(got Response) []string {
	var body struct {
		Etag *string `json:"etag"`
	}
	err := json.Unmarshal([]byte(got.Body), &body)
	if header := got.Header.Get("ETag"); err == nil && body.Etag != nil && *body.Etag != header {
		return []string{fmt.Sprintf("the body has the etag %s, and the header ETag is %s", *body.Etag, header)}
	}
	return nil
}

func (d *Document) schemaFaults(schema *openapi3.SchemaRef, got Response) []string {
	if got.Body == "" {
		return nil // a response to HEAD; otherwise problemFaults reports it
	}
	var body any
	if err := json.Unmarshal([]byte(got.Body), &body); err != nil {
		return []string{"the body is not JSON: " + err.Error()}
	}
	return SchemaFaults("the body", schema.Value, body)
}

var schemaOptions = []openapi3.SchemaValidationOption{
	openapi3.MultiErrors(),
	openapi3.VisitAsResponse(),
	openapi3.EnableFormatValidation(),
	openapi3.SetSchemaErrorMessageCustomizer(func(e *openapi3.SchemaError) string {
		return "/" + strings.Join(e.JSONPointer(), "/") + ": " + e.Reason // the default also prints the schema
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

// SchemaFaults returns a message if a value does not match a schema. The message begins with the name of the value.
func SchemaFaults(name string, schema *openapi3.Schema, value any) []string {
	if err := schema.VisitJSON(value, schemaOptions...); err != nil {
		return []string{name + ": " + err.Error()}
	}
	return nil
}

// problemFaults checks the rules of a problem document (RFC 9457) that its schema cannot express: its members must be
// consistent with each other and with the headers.
func problemFaults(got Response) (faults []string) {
	p, err := problemOf(got)
	if err != nil || got.Header.Get("Content-Type") != "application/problem+json" {
		return []string{"the error is not a problem document"}
	}
	id := got.Header.Get("X-Request-Id")
	base, _ := strings.CutSuffix(p.Type, "/problems/"+p.Code) // empty, except behind a path prefix
	if p.Status != got.Status || p.RequestID != id || p.Instance != base+"/requests/"+id || p.Type != base+"/problems/"+p.Code {
		faults = append(faults, "the members of the problem document are inconsistent")
	}
	for _, fault := range p.Errors {
		locations := slices.DeleteFunc([]string{fault.Pointer, fault.Parameter, fault.Header}, func(s string) bool { return s == "" })
		if len(locations) > 1 {
			faults = append(faults, "a fault has two locations: "+fault.Detail)
		}
	}
	return faults
}

// problem contains the members of a problem document that programs use.
type problem struct {
	Type      string  `json:"type"`
	Code      string  `json:"code"`
	Instance  string  `json:"instance"`
	Status    int     `json:"status"`
	RequestID string  `json:"request_id"`
	Errors    []fault `json:"errors"`
}

// fault is an element of a problem document's errors.
type fault struct {
	Pointer   string `json:"pointer"`
	Parameter string `json:"parameter"`
	Header    string `json:"header"`
	Detail    string `json:"detail"`
}

func problemOf(got Response) (p problem, err error) {
	err = json.Unmarshal([]byte(got.Body), &p)
	return p, err
}
