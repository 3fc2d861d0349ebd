//go:build unix

package betterauth_test

import (
	"net/http"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// contract is openapi.yaml, to look up what a request may be answered with.
type contract struct {
	mux    *http.ServeMux // its patterns are the document's own paths
	routes map[string]*routers.Route
}

var theContract = sync.OnceValues(func() (contract, error) {
	c := contract{http.NewServeMux(), map[string]*routers.Route{}}
	doc, err := openapi3.NewLoader().LoadFromFile("../../openapi.yaml")
	if err != nil {
		return c, err
	}
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			pattern := method + " " + path
			c.mux.Handle(pattern, http.NotFoundHandler())
			c.routes[pattern] = &routers.Route{Spec: doc, Path: path, PathItem: item, Method: method, Operation: operation}
		}
	}
	return c, nil
})

// mustBeDocumented fails the test unless the document says that r may be answered so: with that status, those headers
// and a body of that form.
func mustBeDocumented(t *testing.T, r *http.Request, answer *http.Response, body []byte) {
	t.Helper()
	c, err := theContract()
	if err != nil {
		t.Fatal(err)
	}
	_, pattern := c.mux.Handler(r)
	if c.routes[pattern] == nil {
		t.Fatalf("%s %s is no operation of the document", r.Method, r.URL.Path)
	}
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, Route: c.routes[pattern]},
		Status:                 answer.StatusCode,
		Header:                 answer.Header,
		Options:                &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	}
	if err := openapi3filter.ValidateResponse(t.Context(), input.SetBodyBytes(body)); err != nil {
		t.Errorf("%s answers %d, not as documented: %v\n%s", pattern, answer.StatusCode, err, body)
	}
	if answer.Header.Get("X-Request-Id") == "" {
		t.Errorf("%s answers %d without X-Request-Id", pattern, answer.StatusCode)
	}
}
