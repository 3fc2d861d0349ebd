package server_test

import (
	"net/http"
	"strings"
	"testing"

	"docket"
	"docket/contract"
)

// These tests cover the check that every answer in every test passes. Each passes it a document or an answer with one
// fault, which it must report.

// changedDocument returns a copy of the document in which the first occurrence of old after a line is replaced.
func changedDocument(t *testing.T, after, old, with string) *contract.Document {
	t.Helper()
	text := string(docket.OpenAPI)
	from := strings.Index(text, "\n"+after+"\n")
	at := strings.Index(text[max(from, 0):], old)
	if from < 0 || at < 0 {
		t.Fatalf("there is no %q after %q in the document", old, after)
	}
	at += from
	return must(contract.New([]byte(text[:at] + with + text[at+len(old):])))
}

// asked returns a request as an owner's client sends it.
func asked(t *testing.T, o *owner, method, path string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, o.url+o.tasks()+path, nil)
	check(t, err)
	return r
}

func TestCheckFindsAStatusThatTheDocumentDoesNotHave(t *testing.T) {
	t.Parallel()
	s := start(t)
	path := "/" + s.ada.create(t, `{"title": "Stay"}`).ID
	stale := s.ada.send(t, "DELETE", path, "", `If-Match: "1.0"`).want(http.StatusPreconditionFailed)
	without := changedDocument(t, "      operationId: deleteTask", "        '412':\n          $ref: '#/components/responses/PreconditionFailed'\n", "")
	faults := without.Faults(asked(t, s.ada, "DELETE", path), stale.plain())
	if len(faults) != 1 || faults[0] != "deleteTask: status 412 is not in the document" {
		t.Errorf("faults: %q", faults)
	}
}

func TestCheckFindsAMemberThatTheDocumentDoesNotHave(t *testing.T) {
	t.Parallel()
	s := start(t)
	path := "/" + s.ada.create(t, `{"title": "Stay"}`).ID
	for _, test := range []struct{ path, old, with, where string }{
		{path, `"title":`, `"deadline":null,"title":`, `the body: /: property "deadline" is unsupported`},
		{"", `"title":`, `"deadline":null,"title":`, `the body: /tasks/0: property "deadline" is unsupported`},
		{"", `"total":`, `"pages":1,"total":`, `the body: /: property "pages" is unsupported`},
		{path, `"title":"Stay",`, ``, `property "title" is missing`},
		{path, `"completed":false`, `"completed":"no"`, `/completed: value must be a boolean`},
		{path, `"created_at":"2`, `"created_at":"02`, `/created_at: `},
		{path, `"etag":"`, `"etag":"\"x\"","e":"`, `the body has the etag "x", and the header ETag is "3.`},
		{"/none", `"code":`, `"trace":"secret","code":`, `the body: /: property "trace" is unsupported`},
	} {
		a := s.ada.send(t, "GET", test.path, "")
		r := asked(t, s.ada, "GET", test.path)
		if faults := contract.Current().Faults(r, a.plain()); faults != nil {
			t.Fatalf("without a fault: %q", faults)
		}
		body := strings.Replace(a.body, test.old, test.with, 1)
		faults := contract.Current().Faults(r, contract.Response{Status: a.status, Header: a.header, Body: body})
		if len(faults) == 0 || !strings.Contains(strings.Join(faults, "\n"), test.where) {
			t.Errorf("%s: faults: %q", body, faults)
		}
	}
}

func TestCheckFindsAParameterThatTheDocumentDoesNotHave(t *testing.T) {
	t.Parallel()
	s := start(t)
	id := s.ada.create(t, `{"title": "Sorted"}`).ID
	for _, test := range []struct{ after, old, with, method, path, header, where string }{
		{"    SortByParameter:", "name: sort_by", "name: sortBy", "GET", "?sort_by=title", "", "the query parameter sort_by"},
		{"    Limit:", "name: limit", "name: page_size", "GET", "?limit=1", "", "the query parameter limit"},
		{"    IfNoneMatch:", "name: If-None-Match", "name: If-Modified", "GET", "/" + id, `If-None-Match: "1.0"`, "the header If-None-Match"},
	} {
		a := s.ada.send(t, test.method, test.path, "", test.header)
		r := asked(t, s.ada, test.method, test.path)
		if name, value, ok := strings.Cut(test.header, ": "); ok {
			r.Header.Set(name, value)
		}
		faults := changedDocument(t, test.after, test.old, test.with).Faults(r, a.want(http.StatusOK).plain())
		if len(faults) != 1 || faults[0] != test.where+" was accepted but is not in the document" {
			t.Errorf("faults: %q", faults)
		}
	}
}

func TestCheckFindsAHeaderThatIsMissing(t *testing.T) {
	t.Parallel()
	s := start(t)
	path := "/" + s.ada.create(t, `{"title": "Tagged"}`).ID
	a := s.ada.send(t, "GET", path, "").want(http.StatusOK)
	for name, where := range map[string]string{
		"ETag": "no header ETag", "X-Request-Id": "X-Request-Id", "Content-Type": "media type", "Vary": "Vary is", "Cache-Control": "Cache-Control is",
	} {
		h := a.header.Clone()
		h.Del(name)
		faults := contract.Current().Faults(asked(t, s.ada, "GET", path), contract.Response{Status: a.status, Header: h, Body: a.body})
		if len(faults) == 0 || !strings.Contains(faults[0], where) {
			t.Errorf("without %s: %q", name, faults)
		}
	}
}
