package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// This is a frontend that was written for another backend with the same paths and names. It knows nothing of cursors, ETags,
// codes or merge patches, and must work unchanged.

// legacyAPI is its api.ts: a base URL, the user of the session, and a token that it attaches to every call.
type legacyAPI struct {
	t       *testing.T
	service *service
	userID  string
	token   string
}

// fetch is its one helper: JSON in, JSON out, null for 204, and an Error with data.detail otherwise.
func (f legacyAPI) fetch(method, path string, body any) (data map[string]any, err error) {
	f.t.Helper()
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(must(json.Marshal(body)))
	}
	r := must(http.NewRequestWithContext(f.t.Context(), method, f.service.url+"/api/"+f.userID+path, reader))
	r.Header.Set("Authorization", "Bearer "+f.token)
	r.Header.Set("Content-Type", "application/json") // always, body or not
	r.Header.Set("Origin", frontend)
	a := f.service.do(f.t, r)
	if a.status == http.StatusNoContent {
		return nil, nil
	}
	check(f.t, json.Unmarshal([]byte(a.body), &data))
	if a.status < 200 || a.status > 299 {
		detail, ok := data["detail"].(string)
		if !ok {
			f.t.Errorf("it shows data.detail to the user, and that is %v", data["detail"])
		}
		return nil, fmt.Errorf("%s", detail)
	}
	return data, nil
}

func (f legacyAPI) want(method, path string, body any) map[string]any {
	f.t.Helper()
	data, err := f.fetch(method, path, body)
	check(f.t, err)
	return data
}

func TestExistingFrontendsWorkUnchanged(t *testing.T) {
	t.Parallel()
	s := start(t)
	api := legacyAPI{t, s, s.ada.id, s.ada.token}
	type object = map[string]any

	// The page opens: an empty list.
	page := api.want("GET", "/tasks?status=all&sort_by=created_at&order=desc&limit=100&offset=0", nil)
	if len(page["tasks"].([]any)) != 0 || page["total"] != 0.0 || page["limit"] != 100.0 || page["offset"] != 0.0 {
		t.Errorf("the empty page is %v", page)
	}

	// Its form leaves an empty description out or sends null, and always sends the priority.
	milk := api.want("POST", "/tasks", object{"title": "Buy milk", "description": nil, "priority": "medium"})
	report := api.want("POST", "/tasks", object{"title": "Write the report", "description": "By Thursday", "priority": "high"})
	for _, field := range []string{"id", "user_id", "title", "description", "priority", "completed", "created_at", "updated_at"} {
		if _, there := report[field]; !there {
			t.Errorf("its Task type has %s, but the answer does not: %v", field, report)
		}
	}
	if milk["completed"] != false || milk["description"] != nil || milk["user_id"] != s.ada.id {
		t.Errorf("made %v", milk)
	}

	// Its edit form sends what was edited, with PUT; the rest stays.
	edited := api.want("PUT", "/tasks/"+report["id"].(string), object{"title": "Write the yearly report"})
	if edited["title"] != "Write the yearly report" || edited["description"] != "By Thursday" || edited["priority"] != "high" {
		t.Errorf("edited %v", edited)
	}

	// Its checkbox toggles without a body; its newer one says what it wants.
	for _, click := range []struct {
		body any
		want bool
	}{{nil, true}, {nil, false}, {object{"completed": true}, true}, {object{"completed": true}, true}, {object{}, false}} {
		if got := api.want("PATCH", "/tasks/"+milk["id"].(string)+"/complete", click.body); got["completed"] != click.want {
			t.Errorf("%v gives %v", click.body, got["completed"])
		}
	}

	// Its filters and sorts.
	api.want("PATCH", "/tasks/"+milk["id"].(string)+"/complete", nil)
	for query, titles := range map[string][]any{
		"":                                 {"Write the yearly report", "Buy milk"},
		"?status=pending":                  {"Write the yearly report"},
		"?status=completed":                {"Buy milk"},
		"?priority=high":                   {"Write the yearly report"},
		"?search=MILK":                     {"Buy milk"},
		"?sort_by=title&order=asc":         {"Buy milk", "Write the yearly report"},
		"?sort_by=priority&order=desc":     {"Write the yearly report", "Buy milk"},
		"?sort_by=updated_at&order=desc":   {"Buy milk", "Write the yearly report"},
		"?limit=1&offset=1":                {"Buy milk"},
		"?status=all&search=nothing+there": {},
	} {
		got := []any{}
		for _, task := range api.want("GET", "/tasks"+query, nil)["tasks"].([]any) {
			got = append(got, task.(object)["title"])
		}
		if fmt.Sprint(got) != fmt.Sprint(titles) {
			t.Errorf("%s lists %v, want %v", query, got, titles)
		}
	}
	if one := api.want("GET", "/tasks/"+milk["id"].(string), nil); one["title"] != "Buy milk" {
		t.Errorf("read %v", one)
	}

	// Older ones send a slash at the end, sort_order, and POST to complete.
	for _, slash := range []string{"", "/"} {
		for query, titles := range map[string][]any{
			"?sort_by=title&sort_order=asc":              {"Buy milk", "Write the yearly report"},
			"?sort_by=title&sort_order=desc":             {"Write the yearly report", "Buy milk"},
			"?sort_by=title&sort_order=asc&order=asc":    {"Buy milk", "Write the yearly report"},
			"?sort_order=desc&sort=title&order=desc":     {"Write the yearly report", "Buy milk"},
			"?sort_by=created_at&sort_order=asc&limit=1": {"Buy milk"},
		} {
			got := []any{}
			for _, task := range api.want("GET", "/tasks"+slash+query, nil)["tasks"].([]any) {
				got = append(got, task.(object)["title"])
			}
			if fmt.Sprint(got) != fmt.Sprint(titles) {
				t.Errorf("%s%s lists %v, want %v", slash, query, got, titles)
			}
		}
		one := "/tasks/" + milk["id"].(string)
		for _, click := range []struct {
			body any
			want bool
		}{{object{"completed": true}, true}, {nil, false}, {object{}, true}, {object{"completed": true}, true}} {
			if got := api.want("POST", one+"/complete"+slash, click.body); got["completed"] != click.want || got["id"] != milk["id"] {
				t.Errorf("POST of %v gives %v", click.body, got)
			}
		}
		if got := api.want("GET", one+slash, nil); got["title"] != "Buy milk" {
			t.Errorf("read %v", got)
		}
		if got := api.want("PUT", one+slash, object{"title": "Buy milk"}); got["title"] != "Buy milk" {
			t.Errorf("changed %v", got)
		}
		made := api.want("POST", "/tasks"+slash, object{"title": "Feed the cat"})
		if data, err := api.fetch("DELETE", "/tasks/"+made["id"].(string)+slash, nil); err != nil || data != nil {
			t.Errorf("deleted with %v, %v", data, err)
		}
	}
	if _, err := api.fetch("GET", "/tasks?order=asc&sort_order=desc", nil); err == nil || err.Error() != "The parameter sort_order differs from order." {
		t.Errorf("two orders: %v", err)
	}

	// Its date picker sends an instant, and it sorts and shows what it gets. Its form has a word for recurrence.
	dentist := api.want("POST", "/tasks", object{"title": "Dentist", "due_date": "2026-03-12T00:00:00.000Z", "recurrence_pattern": "none"})
	water := api.want("POST", "/tasks", object{"title": "Water", "due_date": "2026-03-09T08:30:00.000Z", "recurrence_pattern": "weekly"})
	if dentist["due_date"] != "2026-03-12" || water["due_date"] != "2026-03-09" || water["recurrence_rule"] != "FREQ=WEEKLY" {
		t.Errorf("made %v and %v", dentist, water)
	}
	for query, titles := range map[string][]any{
		"?sort_by=due_date&sort_order=asc":                  {"Water", "Dentist", "Buy milk", "Write the yearly report"},
		"?sort_by=due_date&sort_order=desc&status=pending":  {"Dentist", "Water", "Write the yearly report"},
		"?sort_by=due_date&sort_order=asc&limit=1&offset=1": {"Dentist"},
	} {
		got := []any{}
		for _, task := range api.want("GET", "/tasks"+query, nil)["tasks"].([]any) {
			got = append(got, task.(object)["title"])
		}
		if strings.Contains(query, "asc&limit") || strings.Contains(query, "desc") {
			if fmt.Sprint(got) != fmt.Sprint(titles) {
				t.Errorf("%s lists %v, want %v", query, got, titles)
			}
		} else if fmt.Sprint(got[:2]) != fmt.Sprint(titles[:2]) || len(got) != 4 { // those without a date are in the order of their ids
			t.Errorf("%s lists %v, want %v", query, got, titles)
		}
	}
	if moved := api.want("PUT", "/tasks/"+water["id"].(string), object{"due_date": "2026-03-10T00:00:00.000Z"}); moved["due_date"] != "2026-03-10" {
		t.Errorf("moved %v", moved)
	}
	done := api.want("PATCH", "/tasks/"+water["id"].(string)+"/complete", nil)
	if next := api.want("GET", "/tasks/"+done["next_task_id"].(string), nil); next["title"] != "Water" || next["completed"] != false {
		t.Errorf("the next one is %v", next)
	}

	// It shows every error in a toast: detail is a sentence.
	if _, err := api.fetch("POST", "/tasks", object{"title": "   "}); err == nil || len(err.Error()) < 20 {
		t.Errorf("an empty title: %v", err)
	}
	if data, err := api.fetch("DELETE", "/tasks/"+milk["id"].(string), nil); err != nil || data != nil {
		t.Errorf("deleted with %v, %v", data, err)
	}
	if _, err := api.fetch("GET", "/tasks/"+milk["id"].(string), nil); err == nil || err.Error() != "Task not found or does not belong to this user" {
		t.Errorf("the deleted task: %v", err)
	}
	signedOut := api
	signedOut.token = "expired"
	if _, err := signedOut.fetch("GET", "/tasks", nil); err == nil || len(err.Error()) < 20 {
		t.Errorf("signed out: %v", err)
	}
}

func TestTheAliasesOfOlderFrontendsAreCheckedLikeTheRest(t *testing.T) {
	t.Parallel()
	s := start(t)
	made := s.ada.send(t, "POST", "", `{"title": "A"}`).want(http.StatusCreated)
	one := "/" + made.task().ID + "/complete"
	changed := s.ada.send(t, "POST", one, "", "If-Match: "+made.get("ETag")).want(http.StatusOK)
	if !changed.task().Completed || changed.get("ETag") == made.get("ETag") {
		t.Errorf("%s", changed)
	}
	s.ada.send(t, "POST", one, "", "If-Match: "+made.get("ETag")).want(http.StatusPreconditionFailed)
	for header, status := range map[string]int{"If-Match: stale": http.StatusBadRequest, "If-Match: *": http.StatusOK} {
		s.ada.send(t, "POST", one, `{"completed": true}`, header).want(status)
	}
	s.ada.send(t, "POST", "/"+strings.Repeat("x", 256)+"/complete", "").want(http.StatusNotFound)
	s.ada.send(t, "POST", one, `{"completed": true, "title": "A"}`).want(http.StatusUnprocessableEntity)
	for query, parameter := range map[string]string{
		"?sort_order=up": "sort_order", "?sort_order=": "sort_order", "?sort_order=asc&sort_order=asc": "sort_order", "?sort_order=asc&order=desc": "sort_order",
	} {
		if p := s.ada.send(t, "GET", query, "").want(http.StatusBadRequest).problem(); len(p.Errors) != 1 || p.Errors[0].Parameter != parameter {
			t.Errorf("%s: %+v", query, p)
		}
	}
}
