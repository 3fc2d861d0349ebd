package server_test

import (
	"encoding/json"
	"fmt"
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

// document is openapi.yaml in the hands of a strict client: a property that it does not list is a fault.
type document struct {
	*openapi3.T
	mux        *http.ServeMux        // finds a request's operation
	operations map[string]*operation // by pattern, such as "GET /health"
}

type operation struct {
	http.Handler // never called: it makes an operation what a mux finds
	*openapi3.Operation
	method, path string
	secured      bool
}

var contract = sync.OnceValue(func() *document { return newDocument(docket.OpenAPI) })

func newDocument(text []byte) *document {
	d := &document{
		T: must(openapi3.NewLoader().LoadFromData(text)), mux: http.NewServeMux(), operations: map[string]*operation{},
	}
	for path, item := range d.Paths.Map() {
		for method, def := range item.Operations() {
			secured := def.Security == nil && len(d.Security) > 0 || def.Security != nil && len(*def.Security) > 0
			op := &operation{http.NotFoundHandler(), def, method, path, secured}
			d.operations[method+" "+path] = op
			d.mux.Handle(method+" "+path, op)
			for _, response := range def.Responses.Map() {
				for _, media := range response.Value.Content {
					closeObjects(media.Schema)
				}
			}
		}
	}
	closeObjects(d.Components.Schemas["Problem"])
	return d
}

func closeObjects(ref *openapi3.SchemaRef) {
	if ref == nil || ref.Value.AdditionalProperties.Has != nil {
		return
	}
	schema := ref.Value
	if schema.Type.Is("object") {
		schema.AdditionalProperties.Has = ptr(false)
	}
	closeObjects(schema.Items)
	for _, parts := range []openapi3.SchemaRefs{schema.AllOf, schema.AnyOf, schema.OneOf, slices.Collect(maps.Values(schema.Properties))} {
		for _, part := range parts {
			closeObjects(part)
		}
	}
}

// sorted lists the operations by operationId.
func (d *document) sorted() []*operation {
	return slices.SortedFunc(maps.Values(d.operations), func(a, b *operation) int {
		return strings.Compare(a.OperationID, b.OperationID)
	})
}

// operation finds the operation that a request is for; nil: none.
func (d *document) operation(r *http.Request) *operation {
	handler, _ := d.mux.Handler(r)
	op, _ := handler.(*operation)
	return op
}

var requestIDPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// beyond are the statuses that any address may answer, with their codes.
var beyond = map[int]string{
	http.StatusNotFound:                    "route_not_found",
	http.StatusMethodNotAllowed:            "method_not_allowed",
	http.StatusRequestHeaderFieldsTooLarge: "header_fields_too_large",
}

// faults lists what is wrong with an answer.
func (d *document) faults(r *http.Request, a *answer) (faults []string) {
	add := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if r == nil {
		// net/http refuses what is no HTTP request before any of our code sees it.
		if a.status != http.StatusBadRequest || a.reads("Content-Type") != "text/plain; charset=utf-8" {
			add("%d to what is not HTTP", a.status)
		}
		return faults
	}
	if !requestIDPattern.MatchString(a.reads("X-Request-Id")) {
		add("X-Request-Id is %q", a.reads("X-Request-Id"))
	}
	if r.Header.Get("Origin") == frontend && r.Method != http.MethodHead {
		for name, want := range map[string]string{"Access-Control-Allow-Origin": frontend, "Access-Control-Allow-Credentials": "true"} {
			if got := a.reads(name); got != want {
				add("%s is %q", name, got)
			}
		}
	}
	op := d.operation(r)
	switch {
	case r.Method == http.MethodOptions && a.status == http.StatusNoContent: // a preflight
		if a.body != "" {
			add("a body in the answer to a preflight")
		}
	case op != nil && op.Responses.Status(a.status) != nil:
		faults = append(faults, d.documented(op.Responses.Status(a.status).Value, r, a)...)
	case beyond[a.status] != "" && !(op != nil && a.status == http.StatusNotFound) || op == nil && a.status >= 500:
		faults = append(faults, d.matches(d.Components.Schemas["Problem"], a)...)
		if code := beyond[a.status]; code != "" && !strings.Contains(a.body, quoted(code)) && r.Method != http.MethodHead {
			add("the code is not %s", code)
		}
	case op == nil && a.status < 400: // the pages outside the contract
	default:
		add("status %d is not in the document", a.status)
	}
	if op != nil || strings.HasPrefix(r.URL.Path, "/api/") && r.Method != http.MethodOptions {
		for name, want := range map[string]string{"Cache-Control": "private, no-cache", "Vary": "Origin, Authorization"} {
			if got := strings.Join(a.header.Values(name), ", "); got != want {
				add("%s is %q", name, got)
			}
		}
	}
	if a.status >= 400 && r.Method != http.MethodHead {
		faults = append(faults, coherent(a)...)
	}
	return faults
}

// sometimes are the documented headers that not every answer of their status has.
var sometimes = map[string]bool{"Idempotent-Replayed": true}

// documented checks an answer against the response that the document has for it: headers, media type, body.
func (d *document) documented(response *openapi3.Response, r *http.Request, a *answer) (faults []string) {
	for name, header := range response.Headers {
		value, schema := a.reads(name), header.Value.Schema.Value
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
			faults = append(faults, breaks(name, schema, v)...)
		}
	}
	switch {
	case r.Method == http.MethodHead || len(response.Content) == 0:
		if a.body != "" {
			faults = append(faults, "a body where there is none")
		}
		return faults
	case response.Content[a.reads("Content-Type")] == nil:
		return append(faults, "media type "+a.reads("Content-Type"))
	}
	return append(faults, d.matches(response.Content[a.reads("Content-Type")].Schema, a)...)
}

func (d *document) matches(schema *openapi3.SchemaRef, a *answer) []string {
	if a.body == "" {
		return nil // to HEAD; otherwise coherent complains
	}
	var body any
	if err := json.Unmarshal([]byte(a.body), &body); err != nil {
		return []string{"the body is not JSON: " + err.Error()}
	}
	return breaks("the body", schema.Value, body)
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

func breaks(what string, schema *openapi3.Schema, value any) []string {
	if err := schema.VisitJSON(value, formats...); err != nil {
		return []string{what + ": " + err.Error()}
	}
	return nil
}

// coherent checks what a schema cannot say of a problem document (RFC 9457): its members agree with each other and
// with the head of the answer.
func coherent(a *answer) (faults []string) {
	var p problem
	if err := json.Unmarshal([]byte(a.body), &p); err != nil || a.reads("Content-Type") != "application/problem+json" {
		return []string{"an error that is no problem document"}
	}
	id := a.reads("X-Request-Id")
	if p.Status != a.status || p.RequestID != id || p.Instance != "/requests/"+id || p.Type != "/problems/"+p.Code {
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
