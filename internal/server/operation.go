package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"docket/internal/store"
)

// maxBody is the most bytes that a request body may have.
const maxBody = 64 << 10

// operation is an operation of the contract, compiled once: what a request must pass before its handler runs.
type operation struct {
	server  *Server
	route   string // the pattern, "GET /api/{user_id}/tasks"
	public  bool   // the contract says that no token is needed
	owned   bool   // the path names the owner
	json    bool   // a success has a JSON body
	queries map[string]*parameter
	paths   []*parameter
	headers []*parameter
	body    *body // nil: none allowed
	next    http.HandlerFunc
}

// body is what the contract says of a request body.
type body struct {
	required bool
	schemas  map[string]*openapi3.Schema // by media type
	quick    map[string]*quickBody       // by media type; nil: only the schema knows
	types    string                      // the media types, for people
}

// router takes the routes from the generated code and puts an operation before each: generated.ServeMux.
type router struct {
	mux    *http.ServeMux
	server *Server
	doc    *openapi3.T
	bound  map[string]http.HandlerFunc // handlers that stand in for the generated binding, by route
	err    error
}

// ServeHTTP implements the generated ServeMux interface.
func (rt *router) ServeHTTP(w http.ResponseWriter, r *http.Request) { rt.mux.ServeHTTP(w, r) }

// HandleFunc implements the generated ServeMux interface.
func (rt *router) HandleFunc(pattern string, next func(http.ResponseWriter, *http.Request)) {
	if ours := rt.bound[pattern]; ours != nil {
		next = ours
	}
	op, err := rt.server.compile(rt.doc, pattern, next)
	if err != nil {
		rt.err = errors.Join(rt.err, fmt.Errorf("%s: %w", pattern, err))
		return
	}
	rt.mux.Handle(pattern, op)
}

// compile finds the operation behind a pattern in the document. It fails on what this package could not enforce, so
// that nothing that the document says is silently left unchecked.
func (s *Server) compile(doc *openapi3.T, pattern string, next http.HandlerFunc) (*operation, error) {
	method, path, _ := strings.Cut(pattern, " ")
	item := doc.Paths.Value(path)
	if item == nil || item.GetOperation(method) == nil {
		return nil, errors.New("not in the document")
	}
	def := item.GetOperation(method)
	op := &operation{server: s, route: pattern, next: next, queries: map[string]*parameter{}}

	// Closed by default: only an explicit empty list opens an operation.
	op.public = def.Security != nil && len(*def.Security) == 0
	for code, response := range def.Responses.Map() {
		if strings.HasPrefix(code, "2") && response.Value.Content.Get("application/json") != nil {
			op.json = true
		}
	}
	for _, ref := range append(append(openapi3.Parameters{}, item.Parameters...), def.Parameters...) {
		p, err := compileParameter(ref.Value)
		if err != nil {
			return nil, err
		}
		switch p.in {
		case openapi3.ParameterInPath:
			op.paths = append(op.paths, p)
			op.owned = op.owned || p.name == "user_id"
		case openapi3.ParameterInQuery:
			op.queries[p.name] = p
		case openapi3.ParameterInHeader:
			op.headers = append(op.headers, p)
		default:
			return nil, fmt.Errorf("parameter %s in %s is not supported", p.name, p.in)
		}
	}
	if def.RequestBody != nil {
		op.body = &body{
			required: def.RequestBody.Value.Required, schemas: map[string]*openapi3.Schema{}, quick: map[string]*quickBody{},
		}
		for name, media := range def.RequestBody.Value.Content {
			op.body.schemas[name] = media.Schema.Value
			op.body.quick[name] = newQuickBody(media.Schema.Value)
		}
		op.body.types = joined(sortedKeys(op.body.schemas), "or")
	}
	return op, nil
}

// ServeHTTP checks the request against the contract, cheapest and most secret first, and passes it on.
func (op *operation) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := exchangeOf(r)
	x.route, x.ours = op.route, true
	for _, check := range [...]func(*exchange, *http.Request) error{
		op.authenticate, op.authorize, op.negotiate, op.checkParameters, op.checkBody, op.takePlace,
	} {
		if err := check(x, r); err != nil {
			op.server.writeProblem(w, r, err)
			return
		}
	}
	if !op.public {
		defer op.server.places.give(x.owner)
	}
	op.next(w, r)
}

// authenticate finds the owner behind the token.
func (op *operation) authenticate(x *exchange, r *http.Request) error {
	if op.public {
		return nil
	}
	identity, err := op.server.verifier.Verify(r.Context(), r.Header.Values("Authorization"))
	x.owner = identity.Owner
	return err
}

// authorize lets an owner at its own paths alone.
func (op *operation) authorize(x *exchange, r *http.Request) error {
	if op.owned && (x.owner == "" || r.PathValue("user_id") != x.owner) {
		return &problem{kind: userMismatch, detail: "User ID mismatch: the user_id in the path is not the token's sub."}
	}
	return nil
}

// negotiate refuses an Accept header that rules out what the operation answers (RFC 9110, section 12.5.1).
func (op *operation) negotiate(_ *exchange, r *http.Request) error {
	if accept := r.Header.Values("Accept"); op.json && len(accept) > 0 && !accepts(accept, "application", "json") {
		return &problem{
			kind: notAcceptable, detail: "This operation answers application/json, which the Accept header rules out.",
			errors: append(noFaults, headerFault("Accept", "must allow application/json")),
		}
	}
	return nil
}

// accepts reports whether the Accept header allows the media type: the most specific range decides, q=0 refuses.
func accepts(accept []string, typ, subtype string) bool {
	if strings.TrimSpace(strings.Join(accept, "")) == "" {
		return true // an empty header is none
	}
	best, allowed := 0, false
	for _, value := range accept {
		for _, part := range strings.Split(value, ",") {
			media, params, err := mime.ParseMediaType(part)
			if err != nil && media == "" {
				continue
			}
			specificity := 0
			switch media {
			case typ + "/" + subtype:
				specificity = 3
			case typ + "/*":
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

// lists are the header parameters whose value is a list.
var lists = map[string]bool{"If-Match": true, "If-None-Match": true}

// checkParameters checks what came in the path, the header and the query.
func (op *operation) checkParameters(x *exchange, r *http.Request) error {
	faults := noFaults
	for _, p := range op.paths {
		// The owner is the token's by now. Text that cannot be an id is the id of nothing.
		if id := r.PathValue(p.name); p.check([]string{id}) != "" || strings.Contains(id, "\x00") {
			return store.ErrNotFound
		}
	}
	for _, p := range op.headers {
		values := r.Header.Values(p.name)
		if len(values) == 0 {
			continue
		}
		if lists[p.name] {
			// Several lines are one list (RFC 9110, section 5.3), which the generated code wants in one line.
			values = []string{strings.Join(values, ", ")}
			r.Header[p.name] = values
		}
		if detail := p.check(values); detail != "" {
			faults = append(faults, headerFault(p.name, detail))
		}
	}
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		faults = append(faults, op.checkQuery(x, r.URL.RawQuery)...)
	}
	if len(faults) > 0 {
		return invalidParameters(faults...)
	}
	return nil
}

// checkBody reads the body once, checks it, and puts it back for the generated decoder.
func (op *operation) checkBody(x *exchange, r *http.Request) error {
	if op.body == nil {
		if r.ContentLength > 0 || r.ContentLength < 0 && !empty(r.Body) {
			return &problem{kind: unexpectedBody, detail: "This operation takes no body."}
		}
		return nil
	}
	if r.ContentLength > maxBody {
		return &http.MaxBytesError{Limit: maxBody}
	}
	raw, err := readBody(x, r)
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
	media, err := op.mediaType(r.Header, len(raw) == 0)
	if err != nil {
		return err
	}
	if len(raw) == 0 {
		return malformed("is empty, a JSON object is needed")
	}
	if quick := op.body.quick[media]; quick == nil || !quick.good(raw) {
		if err := op.body.check(media, raw); err != nil {
			return err
		}
	}
	// The generated code compares prefixes of the header as it stands.
	r.Header["Content-Type"] = []string{media}
	r.Body = io.NopCloser(bytes.NewReader(raw))
	return nil
}

// readBody makes no more room than a body of announced length takes.
func readBody(x *exchange, r *http.Request) ([]byte, error) {
	if r.ContentLength < 0 {
		return io.ReadAll(http.MaxBytesReader(x.ResponseWriter, r.Body, maxBody))
	}
	raw := make([]byte, r.ContentLength)
	_, err := io.ReadFull(r.Body, raw)
	return raw, err
}

func (b *body) check(media string, raw []byte) error {
	value, err := parseJSON(raw)
	if err != nil {
		return err
	}
	return checkSchema(b.schemas[media], value)
}

// takePlace bounds what is in flight, last of all: a body that does not come holds no place.
func (op *operation) takePlace(x *exchange, r *http.Request) error {
	if op.public {
		return nil
	}
	return op.server.places.take(r.Context(), x.owner)
}

// empty reads whether a body of unknown length has nothing in it.
func empty(body io.Reader) bool {
	var one [1]byte
	n, err := io.ReadFull(body, one[:])
	return n == 0 && err == io.EOF
}

// mediaType gives the media type of the body, one of those in the document: JSON in UTF-8, not compressed.
func (op *operation) mediaType(h http.Header, absent bool) (string, error) {
	refuse := func(header, detail string) (string, error) {
		return "", &problem{
			kind: unsupportedMedia, detail: "The " + header + " " + detail + ".",
			errors: append(noFaults, headerFault(header, detail)),
		}
	}
	for _, coding := range h.Values("Content-Encoding") {
		if !strings.EqualFold(strings.TrimSpace(coding), "identity") {
			return refuse("Content-Encoding", "must be absent: the body must not be compressed")
		}
	}
	values := h.Values("Content-Type")
	if len(values) == 0 && absent {
		return "", malformed("is empty, a JSON object is needed")
	}
	if len(values) != 1 {
		return refuse("Content-Type", "must be "+op.body.types)
	}
	media, params, err := mime.ParseMediaType(values[0])
	if err != nil || op.body.schemas[media] == nil {
		return refuse("Content-Type", "must be "+op.body.types)
	}
	if charset, named := params["charset"]; named && !strings.EqualFold(charset, "utf-8") {
		return refuse("Content-Type", "must be in UTF-8, without another charset")
	}
	return media, nil
}
