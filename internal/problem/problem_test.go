package problem_test

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"docket/internal/api"
	"docket/internal/problem"
)

func TestAProblemIsWrittenAsItsDocument(t *testing.T) {
	t.Parallel()
	for _, typ := range problem.Types {
		p := &problem.Problem{
			Type: typ, Detail: `Nothing is "right" <here>`, Cause: errors.New("secret"),
			Faults: []api.Fault{problem.Body("#/title", "required", "is required"), problem.Header("If-Match", "a", "x"), problem.Parameter("limit", "b", "y")},
		}
		w := httptest.NewRecorder()
		w.Header().Set("Location", "/elsewhere")
		problem.Write(w, p, "/base", "id-1", "")
		var got, want any
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(map[string]any{
			"type": "/base/problems/" + typ.Code, "title": typ.Title, "status": typ.Status, "detail": p.Detail, "code": typ.Code,
			"instance": "/base/requests/id-1", "request_id": "id-1",
			"errors": []map[string]string{
				{"pointer": "#/title", "code": "required", "detail": "Title is required."},
				{"header": "If-Match", "code": "a", "detail": "The header If-Match x."},
				{"parameter": "limit", "code": "b", "detail": "The parameter limit y."},
			},
		})
		if err != nil || json.Unmarshal(text, &want) != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) || w.Code != typ.Status {
			t.Errorf("%d %s, want %s", w.Code, w.Body, text)
		}
		h := w.Header()
		if h.Get("Content-Type") != "application/problem+json" || h.Get("Content-Length") != strconv.Itoa(w.Body.Len()) || h.Get("Location") != "" {
			t.Errorf("%s: %v", typ.Code, h)
		}
		if (h.Get("Retry-After") == "1") != (typ.Status == 429 || typ.Status == 503) || (h.Get("Connection") == "close") != (typ.Status == 408 || typ.Status == 413) {
			t.Errorf("%s: %v", typ.Code, h)
		}
	}
}

func TestAProblemWithoutFaultsHasNoErrors(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	problem.Write(w, &problem.Problem{Type: problem.NotReady, Detail: "x", Checks: &api.Checks{Database: "ok"}}, "", "id", "")
	if body := w.Body.String(); strings.Contains(body, `"errors"`) || !strings.Contains(body, `"checks":{"database":"ok"`) {
		t.Errorf("the document is %s", body)
	}
}

func TestTypesAreDifferentAndInOrder(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, typ := range problem.Types {
		if seen[typ.Code] || typ.Code == "" || typ.Title == "" || typ.Advice == "" || typ.Status < 400 {
			t.Errorf("%+v", typ)
		}
		seen[typ.Code] = true
	}
	if !slices.IsSortedFunc(problem.Types, func(a, b *problem.Type) int { return a.Status - b.Status }) {
		t.Error("the types are not sorted by status")
	}
}

func TestEveryResourceHasItsNotFound(t *testing.T) {
	t.Parallel()
	for _, resource := range problem.Resources {
		p := problem.NotFound(resource)
		if p.Code != resource+"_not_found" || p.Status != 404 || !slices.Contains(problem.Types, p.Type) {
			t.Errorf("%s: %+v", resource, p)
		}
	}
	p := problem.NotFound("task")
	if p.Title != "Task not found" || p.Detail != "Task not found or does not belong to this user" {
		t.Errorf("%s: %s", p.Title, p.Detail)
	}
	defer func() {
		if recover() == nil {
			t.Error("a resource that is not known has a problem")
		}
	}()
	_ = problem.NotFound("house")
}

func TestTheSummaryNamesEveryFault(t *testing.T) {
	t.Parallel()
	for want, faults := range map[string][]api.Fault{
		"The parameter limit must be at least 1. The header If-Match is wrong.": {
			problem.Parameter("limit", problem.FaultOutOfRange, "must be at least 1"), problem.Header("If-Match", problem.FaultInvalidFormat, "is wrong"),
		},
		"Title is required. Due date must be a date. The field a é/b is not known.": {
			problem.Body("#/title", problem.FaultRequired, "is required"), problem.Body("#/due_date", problem.FaultInvalidFormat, "must be a date"),
			problem.Body("#/a%20%C3%A9~1b", problem.FaultUnknown, "is not known"),
		},
		"Tag 1 must not be blank. Tag 12 must not be blank.": {
			problem.Body("#/tags/0", problem.FaultBlank, "must not be blank"), problem.Body("#/add_tags/11", problem.FaultBlank, "must not be blank"),
		},
		"The field operations/3/title must not be blank.": {problem.Body("#/operations/3/title", problem.FaultBlank, "must not be blank")},
		"The body is empty.":                              {problem.Body("#", problem.FaultRequired, "is empty")},
		"The field  is not known.":                        {problem.Body("#/", problem.FaultUnknown, "is not known")},
		"":                                                nil,
	} {
		if got := problem.Summary(faults); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	var many []api.Fault
	for range 1000 {
		many = append(many, problem.Parameter("é", problem.FaultUnknown, "is not known"))
	}
	if got := problem.Summary(many); len(got) > 4010 || !utf8.ValidString(got) {
		t.Errorf("%d bytes", len(got))
	}
}

func TestClipCutsBetweenCharacters(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"": "", "abc": "abc", "abcd": "abcd", "abcde": "abcd…", "ééé": "éé…", "日本": "日本", "日本語": "日本…"} {
		if got := problem.Clip(text, 3); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestEveryTypeHasAPageOfItsOwn(t *testing.T) {
	t.Parallel()
	for _, typ := range problem.Types {
		w := httptest.NewRecorder()
		if !problem.WritePage(w, typ.Code) || !strings.Contains(w.Body.String(), typ.Code) || !strings.Contains(w.Body.String(), typ.Title) {
			t.Errorf("%s: %s", typ.Code, w.Body)
		}
	}
	w := httptest.NewRecorder()
	if problem.WritePage(w, "nonsense") || w.Body.Len() > 0 || len(w.Header()) > 0 {
		t.Errorf("an unknown type has the page %s", w.Body)
	}
}
