package server_test

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// fault G10
func TestEveryTaskCarriesItsTagAndRevision(t *testing.T) {
	t.Parallel()
	s := start(t)
	last := int64(0)
	shows := func(a *answer) task {
		t.Helper()
		v := a.task()
		if v.Etag == "" || v.Etag != a.get("ETag") || v.Etag != fmt.Sprintf(`"3.%d"`, v.Revision) {
			t.Errorf("the body has the etag %s and the revision %d\n%s", v.Etag, v.Revision, a)
		}
		if v.Revision <= last {
			t.Errorf("the revision was %d, and is %d after a change", last, v.Revision)
		}
		last = v.Revision
		path := "/" + v.ID
		if read := s.ada.send(t, "GET", path, "").want(http.StatusOK); read.body != a.body || read.get("ETag") != v.Etag {
			t.Errorf("GET gives %s", read)
		}
		for _, query := range []string{"", "?sort=title", "?status=all&limit=1"} {
			if l := s.ada.send(t, "GET", query, "").list(); !reflect.DeepEqual(l.Tasks[0], v) {
				t.Errorf("the list %q has %+v, want %+v", query, l.Tasks[0], v)
			}
		}
		return v
	}
	made := shows(s.ada.send(t, "POST", "", `{"title": "A"}`, "Idempotency-Key: k").want(http.StatusCreated))
	path := "/" + made.ID
	shows(s.ada.send(t, "PUT", path, `{"title": "B"}`).want(http.StatusOK))
	shows(s.ada.send(t, "PATCH", path, `{"title": "B"}`).want(http.StatusOK)) // changes nothing, and is a change
	shows(s.ada.send(t, "PATCH", path+"/complete", "").want(http.StatusOK))
	now := s.ada.send(t, "GET", "", "").list().Tasks[0]

	// The key returns the task as it was created, with the tag that it had.
	again := s.ada.send(t, "POST", "", `{"title": "A"}`, "Idempotency-Key: k").want(http.StatusCreated)
	if again.task() != made || again.get("ETag") != made.Etag || again.get("Idempotent-Replayed") != "true" {
		t.Errorf("the replay is %s, want %+v", again, made)
	}
	// The tag from the list is what a change needs.
	s.ada.send(t, "PATCH", path, `{"title": "C"}`, "If-Match: "+made.Etag).want(http.StatusPreconditionFailed)
	s.ada.send(t, "PATCH", path, `{"title": "C"}`, "If-Match: "+now.Etag).want(http.StatusOK)
}

// The key keeps the row and not the answer, so that a key of an earlier representation returns the present one.
func TestAKeyOfAnEarlierRepresentationReturnsThePresentOne(t *testing.T) {
	t.Parallel()
	s := start(t)
	first := s.ada.send(t, "POST", "", `{"title": "A"}`, "Idempotency-Key: k").want(http.StatusCreated)
	var stored string
	check(t, s.database.QueryRow(t.Context(), "select response::text from idempotency_key").Scan(&stored))
	if strings.Contains(stored, "etag") || !strings.Contains(stored, `"rev"`) {
		t.Errorf("stored is %s", stored)
	}
	if again := s.ada.send(t, "POST", "", `{"title": "A"}`, "Idempotency-Key: k").want(http.StatusCreated); again.body != first.body {
		t.Errorf("the replay is %s, want %s", again.body, first.body)
	}
}

// A large list comes compressed, and the list's own tag then says so. Those of its tasks do not.
func TestTheTagsOfTasksInACompressedListAreTheirOwn(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.ada.fill(t, 400)
	a := s.ada.send(t, "GET", "?limit=400", "", "Accept-Encoding: gzip").want(http.StatusOK)
	if a.get("Content-Encoding") != "gzip" {
		t.Fatalf("the list is not compressed: %s", a.get("Content-Encoding"))
	}
	a.body = string(must(io.ReadAll(must(gzip.NewReader(strings.NewReader(a.body))))))
	for _, listed := range a.list().Tasks[:3] {
		s.ada.send(t, "PATCH", "/"+listed.ID, `{"title": "B"}`, "If-Match: "+listed.Etag).want(http.StatusOK)
	}
}

// updates are the ways to change fields of a task.
var updates = [][2]string{{"PUT", "application/json"}, {"PATCH", "application/json"}, {"PATCH", "application/merge-patch+json"}}

// fault G3
func TestATaskThatWasReadCanBeSentBackWithAChange(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.ada.create(t, `{"title": "A", "description": "B", "priority": "high"}`)
	read := func() object {
		return jsonOf(t, s.ada.send(t, "GET", "", "").want(http.StatusOK))["tasks"].([]any)[0].(object)
	}
	for _, how := range updates {
		was := read()
		path := "/" + was["id"].(string)
		sent := maps.Clone(was)
		sent["title"] = "B " + how[1]
		body := string(must(json.Marshal(sent)))
		changed := jsonOf(t, s.ada.send(t, how[0], path, body, "Content-Type: "+how[1]).want(http.StatusOK))
		for name, value := range sent {
			if kept := !slices.Contains([]string{"updated_at", "revision", "etag"}, name); kept != reflect.DeepEqual(changed[name], value) {
				t.Errorf("%s: %s was %v, and is %v", how, name, value, changed[name])
			}
		}
		// It was conditional by its tag: the same state a second time is stale.
		s.ada.send(t, how[0], path, body, "Content-Type: "+how[1]).want(http.StatusPreconditionFailed)
		if now := read(); !reflect.DeepEqual(now, changed) {
			t.Errorf("%s: it is %v, want %v", how, now, changed)
		}
	}
}

// fault G3
func TestWhatOnlyTheServiceSetsIsIgnoredInRequests(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, junk := range []string{"null", "0", "-1", "1e400", "7.5", `""`, `"x"`, `"2026-03-09T08:00:00Z"`, "true", "[]", `[{"a": [1]}]`, `{"b": {}}`} {
		extra := fmt.Sprintf(`"created_at": %s, "updated_at": %[1]s, "revision": %[1]s`, junk)
		made := s.ada.create(t, `{"title": "A", `+extra+`, "etag": `+junk+`}`)
		for _, how := range updates {
			changed := s.ada.send(t, how[0], "/"+made.ID, `{`+extra+`, "title": "B"}`, "Content-Type: "+how[1]).want(http.StatusOK).task()
			want := made.changedTo(changed)
			want.Title = "B"
			if changed != want || changed.UpdatedAt <= made.UpdatedAt {
				t.Errorf("%s %s: it is %+v, want %+v", how, extra, changed, want)
			}
			rows := s.stored(t)
			p := s.ada.send(t, how[0], "/"+made.ID, `{`+extra+`}`, "Content-Type: "+how[1]).want(http.StatusBadRequest).problem()
			if p.Code != "no_changes" || s.stored(t) != rows {
				t.Errorf("%s %s: %+v", how, extra, p)
			}
			// Faults elsewhere in the body are still found.
			p = s.ada.send(t, how[0], "/"+made.ID, `{`+extra+`, "rev": 1, "title": " "}`, "Content-Type: "+how[1]).want(http.StatusUnprocessableEntity).problem()
			if len(p.Errors) != 2 {
				t.Errorf("%s %s: %+v", how, extra, p)
			}
		}
	}
}

func TestTheDocumentMarksWhatOnlyTheServiceSets(t *testing.T) {
	t.Parallel()
	fields := settable(schemaOf(t, "TaskChanges"))
	for name, member := range schemaOf(t, "Task").Properties {
		for _, request := range []string{"NewTask", "TaskChanges"} {
			sent := schemaOf(t, request).Properties[name]
			switch {
			case sent == nil && request == "NewTask" && name == "id": // not yet
			case sent == nil:
				t.Errorf("%s has no %s, which a task has", request, name)
			case slices.Contains(schemaOf(t, request).Required, name) && fields[name] == nil:
				t.Errorf("%s requires %s", request, name)
			case sent.Value.ReadOnly != member.Value.ReadOnly:
				t.Errorf("%s of %s is readOnly: %t", name, request, sent.Value.ReadOnly)
			}
		}
	}
}

// fault G3
func TestAnIDUnlikeThePathIsRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	made, other := s.ada.create(t, `{"title": "A"}`), s.ada.create(t, `{"title": "A"}`)
	rows := s.stored(t)
	for _, how := range updates {
		send := func(body string) *answer {
			return s.ada.send(t, how[0], "/"+made.ID, body, "Content-Type: "+how[1])
		}
		for _, id := range []string{other.ID, strings.ToUpper(made.ID), uuid.NewString(), "", "x"} {
			for _, body := range []string{`{"title": "B", "id": ` + quoted(id) + `}`, `{"id": ` + quoted(id) + `}`} {
				p := send(body).want(http.StatusUnprocessableEntity).problem()
				if !slices.Equal(p.Errors, []fault{{Pointer: "#/id", Code: "conflict", Detail: "Id must be the same as in the path."}}) {
					t.Errorf("%s %s: %+v", how, body, p)
				}
			}
		}
		p := send(`{"title": "", "user_id": ` + quoted(s.bob.id) + `, "id": 7}`).want(http.StatusUnprocessableEntity).problem()
		if len(p.Errors) != 3 {
			t.Errorf("%s: %+v", how, p)
		}
		for _, body := range []string{`{"id": null, "title": "B"}`, `{"user_id": null, "title": "B"}`, `{"user_id": "", "title": "B"}`} {
			send(body).want(http.StatusUnprocessableEntity)
		}
		if p := send(`{"id": "` + made.ID + `", "user_id": "` + s.ada.id + `"}`).want(http.StatusBadRequest).problem(); p.Code != "no_changes" {
			t.Errorf("%s: %+v", how, p)
		}
	}
	p := s.ada.send(t, "POST", "", `{"title": "A", "user_id": `+quoted(s.bob.id)+`}`).want(http.StatusUnprocessableEntity).problem()
	if len(p.Errors) != 1 || p.Errors[0].Pointer != "#/user_id" || p.Errors[0].Code != "conflict" {
		t.Errorf("%+v", p)
	}
	p = s.ada.send(t, "POST", "", `{"title": "A", "id": `+quoted(uuid.NewString())+`}`).want(http.StatusUnprocessableEntity).problem()
	if len(p.Errors) != 1 || p.Errors[0].Pointer != "#/id" || p.Errors[0].Code != "unknown" {
		t.Errorf("%+v", p)
	}
	if s.stored(t) != rows {
		t.Error("something was changed")
	}
	s.ada.create(t, `{"title": "A", "user_id": "`+s.ada.id+`"}`)
}

// fault G3
func TestAnEtagInTheBodyIsACondition(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, request := range changing {
		if request[0] == "DELETE" {
			continue // has no body
		}
		for _, test := range []struct {
			header, etag string // TAG is the current one
			status       int
		}{
			{"", `TAG`, 200},
			{"*", `TAG`, 200},
			{`TAG`, `TAG`, 200},
			{`"x",W/"y" , TAG`, `TAG`, 200},
			{"", `"1.1"`, 412},
			{"", `""`, 412},
			{"", `W/TAG`, 412},
			{"*", `"x"`, 412},
			{`"x"`, `"x"`, 412},
			{`"x,y", TAG`, `"x,y"`, 412}, // both must hold
			{`TAG, "x"`, `"x"`, 412},
			{`W/TAG`, `W/TAG`, 412},
			{`"x"`, `TAG`, 400},
			{`TAG`, `"x"`, 400},
			{`W/TAG`, `TAG`, 400},
			{`TAG`, `W/TAG`, 400},
			{"", ``, 422},
			{"", `*`, 422},
			{"", `TAG, TAG`, 422},
			{"", `2.1`, 422},
			{"", `"é"`, 422},
			{"", `"` + strings.Repeat("x", 127) + `"`, 422},
		} {
			made := s.ada.create(t, `{"title": "A"}`)
			etag := quoted(strings.ReplaceAll(test.etag, "TAG", made.Etag))
			body := strings.Replace(request[2], "{", `{"etag": `+etag+", ", 1)
			if body == "" {
				body = `{"etag": ` + etag + `}`
			}
			var headers []string
			if test.header != "" {
				headers = append(headers, "If-Match: "+strings.ReplaceAll(test.header, "TAG", made.Etag))
			}
			rows := s.stored(t)
			a := s.ada.send(t, request[0], "/"+made.ID+request[1], body, headers...)
			if a.status != test.status {
				t.Errorf("%s %s %s %s: %d, want %d", request[0], request[1], headers, body, a.status, test.status)
			}
			if (s.stored(t) != rows) != (test.status == 200) {
				t.Errorf("%s %s %s: %d, and what is stored is %s", request[0], headers, body, a.status, s.stored(t))
			}
			if a.status == 412 && strings.Contains(a.problem().Detail, "W/") != strings.HasPrefix(test.etag, "W/") {
				t.Errorf("%s: %s", test.etag, a.problem().Detail) // reading the task again does not help against a weak tag
			}
			if test.status == 400 {
				want := fault{Header: "If-Match", Code: "conflict", Detail: "The header If-Match must be * or contain the etag of the body."}
				if p := a.problem(); p.Code != "invalid_parameter" || !slices.Equal(p.Errors, []fault{want}) {
					t.Errorf("%+v", p)
				}
			}
		}
		for _, null := range []string{"null", "7", "[]", "{}"} {
			made := s.ada.create(t, `{"title": "A"}`)
			p := s.ada.send(t, request[0], "/"+made.ID+request[1], `{"etag": `+null+`}`).want(http.StatusUnprocessableEntity).problem()
			if len(p.Errors) != 1 || p.Errors[0].Pointer != "#/etag" {
				t.Errorf("%s %s: %+v", request, null, p)
			}
		}
	}
	// A condition is no change, and does not reveal another owner's task.
	made := s.bob.create(t, `{"title": "A"}`)
	for _, how := range updates {
		p := s.bob.send(t, how[0], "/"+made.ID, `{"etag": `+quoted(made.Etag)+`}`, "Content-Type: "+how[1]).want(http.StatusBadRequest).problem()
		if p.Code != "no_changes" {
			t.Errorf("%s: %+v", how, p)
		}
		for _, etag := range []string{made.Etag, `"x"`} {
			s.ada.send(t, how[0], "/"+made.ID, `{"title": "B", "etag": `+quoted(etag)+`}`, "Content-Type: "+how[1]).want(http.StatusNotFound)
		}
	}
}

// numbered is a fault with its numbers.
type numbered struct {
	Code, Detail string
	Min, Max     *int64
	Allowed      []string
}

// fault G6
func TestAFaultHasACodeItsNumbersAndASentenceForPeople(t *testing.T) {
	t.Parallel()
	s := start(t)
	path := "/" + s.ada.create(t, `{"title": "A"}`).ID
	number := func(n int64) *int64 { return &n }
	blank := numbered{Code: "blank", Detail: "Title must not be blank."}
	long := numbered{Code: "too_long", Detail: "Title must be at most 200 characters long.", Max: number(200)}
	nul := "must not contain the character U+0000."
	for body, want := range map[string]numbered{
		`{"title": ""}`:                                   blank,
		`{"title": " \t\n\u00a0 "}`:                       blank,
		`{"title": "` + strings.Repeat("é", 201) + `"}`:   long,
		`{"title": " ` + strings.Repeat("x", 201) + ` "}`: long,
		`{"title": "a\u0000b"}`:                           {Code: "invalid_character", Detail: "Title " + nul},
		`{"title": null}`:                                 {Code: "invalid_type", Detail: "Title must be a string."},
		`{"description": "` + strings.Repeat("x", 1001) + `"}`: {
			Code: "too_long", Detail: "Description must be at most 1000 characters long.", Max: number(1000),
		},
		`{"description": "\u0000"}`: {Code: "invalid_character", Detail: "Description " + nul},
		`{"priority": "urgent"}`: {
			Code: "not_one_of", Detail: "Priority must be one of low, medium or high.", Allowed: []string{"low", "medium", "high"},
		},
		`{"titel": "A"}`: {
			Code: "unknown", Detail: "The field titel is not known; the fields are add_tags, completed, description, due_date, due_time, priority, recurrence_mode, recurrence_pattern, recurrence_rule, remove_tags, tags, time_zone, title and today.",
			Allowed: []string{"add_tags", "completed", "description", "due_date", "due_time", "priority", "recurrence_mode", "recurrence_pattern", "recurrence_rule", "remove_tags", "tags", "time_zone", "title", "today"},
		},
		`{"etag": "7"}`: {Code: "invalid_format", Detail: "Etag must be the etag of a task as the service gave it, with its quotes."},
		`{"add_tags": ["ok", "."]}`: {
			Code: "invalid_format", Detail: "Tag 2 must not contain a comma or a control character, nor be just one or two dots.",
		},
		`{}`:            {Code: "required", Detail: "The body must have at least one field to change."},
		`{"a":1,"a":1}`: {Code: "repeated", Detail: `The body has the name "a" twice in one object.`},
		`{`:             {Code: "invalid_format", Detail: "The body is not valid JSON: it ends early, at byte 1."},
	} {
		var p struct {
			Detail string
			Errors []numbered
		}
		a := s.ada.send(t, "PATCH", path, body)
		a.read(&p)
		if len(p.Errors) != 1 || !reflect.DeepEqual(p.Errors[0], want) || body != "{}" && p.Detail != want.Detail {
			t.Errorf("%.60s: %s", body, a.body)
		}
	}
	for name, sent := range map[string][2]string{
		"Today": {"/complete", `{"today": "now"}`}, "Occurrence date": {"/skip", `{"occurrence_date": "now"}`},
	} {
		p := s.ada.send(t, "POST", path+sent[0], sent[1]).want(http.StatusUnprocessableEntity).problem()
		if p.Detail != name+" must be a day that exists, such as 2026-03-09." {
			t.Errorf("%s: %s", sent, p.Detail)
		}
	}
	for query, want := range map[string]numbered{
		"limit=1001":    {Code: "out_of_range", Detail: "The parameter limit must be from 1 to 1000.", Min: number(1), Max: number(1000)},
		"limit=1&limit": {Code: "repeated", Detail: "The parameter limit must not be repeated."},
		"completed=yes": {Code: "not_one_of", Detail: "The parameter completed must be true or false.", Allowed: []string{"true", "false"}},
		"search=" + strings.Repeat("x", 201): {
			Code: "too_long", Detail: "The parameter search must be at most 200 characters long.", Max: number(200),
		},
		"due_after=today": {
			Code:   "invalid_format",
			Detail: "The parameter due_after must be a day or a date-time with its offset, such as 2026-03-09 or 2026-03-09T08:00:00+01:00.",
		},
		"due_before=2026": {
			Code:   "invalid_format",
			Detail: "The parameter due_before must be a day or a date-time with its offset, such as 2026-03-09 or 2026-03-09T08:00:00+01:00.",
		},
		"search=%00": {Code: "invalid_character", Detail: "The parameter search " + nul},
		"cursor=*":   {Code: "invalid_format", Detail: "The parameter cursor is not a cursor of this service."},
		"priority=low&priority=low&priority=low&priority=low": {
			Code: "too_long", Detail: "The parameter priority must be given at most 3 times.", Max: number(3),
		},
	} {
		var p struct{ Errors []numbered }
		a := s.ada.send(t, "GET", "?"+query, "").want(http.StatusBadRequest)
		a.read(&p)
		if len(p.Errors) != 1 || !reflect.DeepEqual(p.Errors[0], want) {
			t.Errorf("%.60s: %s", query, a.body)
		}
	}
}
