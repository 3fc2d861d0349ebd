// Package check checks requests against openapi.yaml: parameters, media types, the body and its schema. The document is
// compiled once, when the service starts.
package check

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"docket/internal/api"
	"docket/internal/problem"
)

// Operation is an operation of the document.
type Operation struct {
	Route  string // its pattern, "GET /api/{user_id}/tasks"
	Policy Policy
	Public bool // no token is needed
	Owned  bool // the path names the owner, as user_id

	produces []string // the media types of a success, sorted
	queries  map[string]*parameter
	paths    []*parameter
	headers  []*parameter
	body     *body // nil: none is allowed
}

// body is the request body of an operation.
type body struct {
	required bool
	schemas  map[string]*bodySchema // by media type
}

// ownerParameter is the path parameter that names the owner.
const ownerParameter = "user_id"

// Compile finds the operation of a pattern in the document. It returns an error for everything that this package cannot
// enforce, so that nothing in the document remains unchecked without notice.
func Compile(doc *openapi3.T, pattern string) (*Operation, error) {
	method, path, _ := strings.Cut(pattern, " ")
	item := doc.Paths.Value(path)
	if item == nil || item.GetOperation(method) == nil {
		return nil, errors.New("it is not in the document")
	}
	def := item.GetOperation(method)
	op := &Operation{
		Route: pattern, queries: map[string]*parameter{},
		Public: def.Security != nil && len(*def.Security) == 0, // secured by default: only an explicit empty list makes it public
	}
	var err error
	if op.Policy, err = policyOf(def); err != nil {
		return nil, err
	}
	if op.Public && op.Policy.Admission != AdmissionNone {
		return nil, errors.New("x-policy: an operation without a token has no owner to be admitted")
	}
	for code, response := range def.Responses.Map() {
		if strings.HasPrefix(code, "2") {
			op.produces = append(op.produces, sortedKeys(response.Value.Content)...)
		}
	}
	slices.Sort(op.produces)
	op.produces = slices.Compact(op.produces)
	for _, ref := range slices.Concat(item.Parameters, def.Parameters) {
		if err := op.add(ref.Value); err != nil {
			return nil, err
		}
	}
	op.body, err = op.compileBody(def.RequestBody)
	return op, err
}

func (op *Operation) add(def *openapi3.Parameter) error {
	p, err := compileParameter(def)
	if err != nil {
		return err
	}
	switch {
	case p.in == openapi3.ParameterInPath && p.name == ownerParameter:
		op.Owned = true // compared with the owner in the token, which has been verified
	case p.in == openapi3.ParameterInPath && !slices.Contains(problem.Resources, p.resource):
		return fmt.Errorf("parameter %s: x-resource must name one of the resources %s", p.name, problem.Resources)
	case p.in == openapi3.ParameterInPath:
		op.paths = append(op.paths, p)
	case p.in == openapi3.ParameterInQuery:
		op.queries[p.name] = p
	case p.in == openapi3.ParameterInHeader:
		op.headers = append(op.headers, p)
	default:
		return fmt.Errorf("parameter %s in %s is not supported", p.name, p.in)
	}
	return nil
}

func (op *Operation) compileBody(def *openapi3.RequestBodyRef) (*body, error) {
	if def == nil {
		return nil, nil
	}
	b := &body{required: def.Value.Required, schemas: map[string]*bodySchema{}}
	for name, media := range def.Value.Content {
		if name != "application/json" && !strings.HasSuffix(name, "+json") {
			return nil, fmt.Errorf("a request body of %s is not supported", name)
		}
		schema, err := op.compileSchema(media.Schema.Value)
		if err != nil {
			return nil, err
		}
		b.schemas[name] = schema
	}
	return b, nil
}

// Check checks everything about a request except its token and owner. It reads the body and puts it back for the generated
// code. Its errors are a *problem.Problem, or an *http.MaxBytesError or os.ErrDeadlineExceeded where the body
// is too large or does not arrive.
func (op *Operation) Check(r *http.Request) error {
	if err := op.negotiate(r); err != nil {
		return err
	}
	if err := op.checkParameters(r); err != nil {
		return err
	}
	return op.checkBody(r)
}

// negotiate refuses an Accept header that rules out every media type of a success (RFC 9110, section 12.5.1).
func (op *Operation) negotiate(r *http.Request) error {
	accept := r.Header.Values("Accept")
	if len(accept) == 0 || len(op.produces) == 0 {
		return nil
	}
	for _, mediaType := range op.produces {
		if accepts(accept, mediaType) {
			return nil
		}
	}
	return &problem.Problem{
		Type:   problem.NotAcceptable,
		Detail: "This operation answers " + joined(op.produces, "or") + ", which the Accept header rules out.",
		Faults: []api.Fault{violation{
			code: problem.FaultNotOneOf, must: "must allow " + joined(op.produces, "or"), allowed: op.produces,
		}.at(problem.Header, "Accept")},
	}
}

// accepts reports whether the Accept header allows the media type: the most specific range decides, q=0 refuses.
func accepts(accept []string, mediaType string) bool {
	if strings.TrimSpace(strings.Join(accept, "")) == "" {
		return true // an empty header counts as absent
	}
	group, _, _ := strings.Cut(mediaType, "/")
	best, allowed := 0, false
	for _, value := range accept {
		for part := range strings.SplitSeq(value, ",") {
			media, params, err := mime.ParseMediaType(part)
			if err != nil && media == "" {
				continue
			}
			specificity := 0
			switch media {
			case mediaType:
				specificity = 3
			case group + "/*":
				specificity = 2
			case "*/*", "*":
				specificity = 1
			}
			if specificity > best {
				best, allowed = specificity, strings.Trim(params["q"], "0.") != "" || params["q"] == ""
			}
		}
	}
	return allowed
}

// checkBody reads the body once, checks it, and puts it back for the generated decoder.
func (op *Operation) checkBody(r *http.Request) error {
	if op.body == nil {
		if r.ContentLength > 0 || r.ContentLength < 0 && !empty(r.Body) {
			return &problem.Problem{Type: problem.UnexpectedBody, Detail: "This operation takes no body."}
		}
		return nil
	}
	raw, err := readBody(r, op.Policy.Body)
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
	case errors.As(err, &tooLarge), errors.Is(err, os.ErrDeadlineExceeded):
		return err
	default:
		return malformed("ends before its announced length, or is not chunked as HTTP says")
	}
	if len(raw) == 0 && !op.body.required {
		r.Body = http.NoBody
		return nil
	}
	media, err := op.body.mediaType(r.Header, len(raw) == 0)
	if err != nil {
		return err
	}
	if len(raw) == 0 {
		return malformed("is empty, a JSON object is needed")
	}
	if raw, err = op.body.schemas[media].check(r, raw); err != nil {
		return err
	}
	// The generated code compares the header byte for byte.
	r.Header["Content-Type"] = []string{media}
	r.Body = io.NopCloser(bytes.NewReader(raw))
	return nil
}

// readBody allocates no more than the announced length of a body.
func readBody(r *http.Request, limit int64) ([]byte, error) {
	switch {
	case r.ContentLength > limit:
		return nil, &http.MaxBytesError{Limit: limit}
	case r.ContentLength < 0:
		return io.ReadAll(http.MaxBytesReader(nil, r.Body, limit))
	}
	raw := make([]byte, r.ContentLength)
	_, err := io.ReadFull(r.Body, raw)
	return raw, err
}

// empty reports whether a body of unknown length is empty.
func empty(body io.Reader) bool {
	var one [1]byte
	n, err := io.ReadFull(body, one[:])
	return n == 0 && err == io.EOF
}

// mediaType returns the media type of the body, one of those in the document: JSON in UTF-8, not compressed.
func (b *body) mediaType(h http.Header, absent bool) (string, error) {
	refuse := func(header, must string, allowed ...string) (string, error) {
		faults := []api.Fault{violation{code: problem.FaultNotOneOf, must: must, allowed: allowed}.at(problem.Header, header)}
		return "", &problem.Problem{Type: problem.UnsupportedMedia, Detail: problem.Summary(faults), Faults: faults}
	}
	for _, coding := range h.Values("Content-Encoding") {
		if !strings.EqualFold(strings.TrimSpace(coding), "identity") {
			return refuse("Content-Encoding", "must be absent: the body must not be compressed", "identity")
		}
	}
	values := h.Values("Content-Type")
	if len(values) == 0 && absent {
		return "", malformed("is empty, a JSON object is needed")
	}
	media, params, err := mime.ParseMediaType(strings.Join(values, ","))
	if err != nil || b.schemas[media] == nil {
		return refuse("Content-Type", "must be "+joined(sortedKeys(b.schemas), "or"), sortedKeys(b.schemas)...)
	}
	if charset, named := params["charset"]; named && !strings.EqualFold(charset, "utf-8") {
		return refuse("Content-Type", "must be in UTF-8, without another charset", sortedKeys(b.schemas)...)
	}
	return media, nil
}
