package server

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"testing"

	"docket/internal/api"
)

// bound notes with which parameters the generated code calls it.
type bound struct {
	api.ServerInterface
	params *api.ListTasksParams
}

// ListTasks implements api.ServerInterface.
func (b *bound) ListTasks(_ http.ResponseWriter, _ *http.Request, _ api.UserIDPath, params api.ListTasksParams) {
	b.params = &params
}

// FuzzListIsBoundLikeTheGeneratedOne gives both whatever the checks let pass.
func FuzzListIsBoundLikeTheGeneratedOne(f *testing.F) {
	for _, query := range []string{
		"", "limit=20", "status=pending&priority=high&priority=low&search=a%20b&sort=title&order=asc&limit=1&offset=3", "completed=true",
		"completed=false&sort_by=updated_at&cursor=abc", "search=%25+%5C&limit=1000", "status=all&&", "priority=medium", "offset=2147483647",
		"search=caf%C3%A9", "sort=priority&sort_by=priority", "order=desc&cursor=x&limit=5",
	} {
		f.Add(query, "")
		f.Add(query, `"1.2", W/"3"`)
	}
	doc, err := api.GetSpec()
	if err != nil {
		f.Fatal(err)
	}
	op, err := new(Server).compile(doc, listRoute, nil)
	if err != nil {
		f.Fatal(err)
	}
	all := reflect.TypeFor[api.ListTasksParams]().NumField()
	if want := len(op.queries) + len(op.headers); all != want || want != 11 {
		f.Fatalf("listTasks has %d parameters: listParams has to know them all", want)
	}
	f.Fuzz(func(t *testing.T, query, tags string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/ada/tasks", nil)
		r.URL = &url.URL{Path: "/api/ada/tasks", RawQuery: query}
		r.SetPathValue("user_id", "ada")
		if tags != "" {
			r.Header["If-None-Match"] = []string{tags}
		}
		x := new(exchange)
		if op.checkParameters(x, r) != nil {
			return
		}
		b := new(bound)
		generated := api.ServerInterfaceWrapper{Handler: b, ErrorHandlerFunc: func(_ http.ResponseWriter, _ *http.Request, err error) {
			t.Errorf("the generated code refuses %q: %v", query, err)
		}}
		generated.ListTasks(httptest.NewRecorder(), r)
		if got := listParams(x.query, r.Header); b.params != nil && !reflect.DeepEqual(got, *b.params) {
			t.Errorf("%q, %q: got %+v, want %+v", query, tags, got, *b.params)
		}
	})
}
