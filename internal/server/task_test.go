package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"unicode"

	"github.com/google/uuid"

	"docket/internal/api"
)

func TestATaskIsReturnedAsCreated(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := s.ada.send(t, "POST", "", `{"title": "Report", "description": "Due on Thursday", "priority": "high", "completed": true}`).want(http.StatusCreated)
	made := a.task()
	if made.UserID != s.ada.id || made.Title != "Report" || *made.Description != "Due on Thursday" || made.Priority != "high" || !made.Completed ||
		made.CreatedAt != made.UpdatedAt {
		t.Errorf("made %+v", made)
	}
	if id, err := uuid.Parse(made.ID); err != nil || id.Version() != 4 {
		t.Errorf("the id is %s", made.ID)
	}
	if location := a.get("Location"); location != s.ada.tasks()+"/"+made.ID {
		t.Errorf("Location is %s", location)
	}
	if got := s.send(t, "GET", a.get("Location"), "", "Authorization: Bearer "+s.ada.token).want(http.StatusOK); got.body != a.body {
		t.Errorf("read %s, made %s", got.body, a.body)
	}
	if l := s.ada.send(t, "GET", "", "").want(http.StatusOK); !strings.Contains(l.body, "["+strings.TrimSpace(a.body)+"]") {
		t.Errorf("listed %s, made %s", l.body, a.body)
	}
}

func TestNewTaskHasItsDefaults(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, body := range []string{`{"title": "A"}`, `{"title": "A", "description": null}`, `{"title": "A", "priority": "medium", "completed": false}`} {
		if made := s.ada.create(t, body); made.Description != nil || made.Priority != "medium" || made.Completed {
			t.Errorf("%s makes %+v", body, made)
		}
	}
	if made := s.ada.create(t, `{"title": "A", "description": ""}`); made.Description == nil || *made.Description != "" {
		t.Errorf("an empty description becomes %v", made.Description)
	}
}

// letters are characters of one to four bytes, and one that consists of two.
var letters = map[string]string{"ASCII": "a", "accents": "é", "CJK": "語", "emoji": "🎉", "combining": "e\u0301"}

func TestTitleHas1To200Characters(t *testing.T) {
	t.Parallel()
	s := start(t)
	for name, letter := range letters {
		size := len([]rune(letter))
		for _, title := range []string{letter, strings.Repeat(letter, 200/size)} {
			padded := "\t \u00a0" + title + "\u3000\r\n"
			made := s.ada.create(t, `{"title": `+quoted(padded)+`}`)
			if made.Title != title {
				t.Errorf("%s: %q is kept as %q", name, padded, made.Title)
			}
			if got := s.ada.send(t, "PUT", "/"+made.ID, `{"title": `+quoted(padded)+`}`).want(http.StatusOK).task(); got.Title != title {
				t.Errorf("%s: PUT keeps %q", name, got.Title)
			}
			for _, tooLong := range []string{strings.Repeat(letter, 200/size) + "a", strings.Repeat(letter, 1000)} {
				s.ada.send(t, "POST", "", `{"title": `+quoted(tooLong)+`}`).want(http.StatusUnprocessableEntity)
				s.ada.send(t, "PUT", "/"+made.ID, `{"title": `+quoted(tooLong)+`}`).want(http.StatusUnprocessableEntity)
				s.ada.send(t, "PATCH", "/"+made.ID, `{"title": `+quoted(tooLong)+`}`).want(http.StatusUnprocessableEntity)
			}
		}
	}
}

// White space is what Unicode says it is (White_Space), at both ends of a title and nowhere else.
func TestTitleIsTrimmed(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, space := range "\t\n\v\f\r \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000" {
		if made := s.ada.create(t, fmt.Sprintf(`{"title": %s}`, quoted(fmt.Sprintf("%[1]c%[1]ca%[1]cb%[1]c", space)))); made.Title != fmt.Sprintf("a%cb", space) {
			t.Errorf("%U: the title is %q", space, made.Title)
		}
		for _, blank := range []string{string(space), string(space) + " "} {
			p := s.ada.send(t, "POST", "", `{"title": `+quoted(blank)+`}`).want(http.StatusUnprocessableEntity).problem()
			if len(p.Errors) != 1 || p.Errors[0].Pointer != "#/title" {
				t.Errorf("%U: %+v", space, p)
			}
		}
		made := s.ada.create(t, `{"title": `+quoted(strings.Repeat(string(space), 300)+strings.Repeat("é", 200)+string(space))+`}`)
		if len([]rune(made.Title)) != 200 {
			t.Errorf("%U: %d characters are left", space, len([]rune(made.Title)))
		}
	}
	for _, letter := range "\ufeff\u200b\u200d\u2060\u180e\u0001\u001c\u001f\u007f\U000e0020" {
		title := fmt.Sprintf("%[1]ca%[1]c", letter)
		if made := s.ada.create(t, `{"title": `+quoted(title)+`}`); made.Title != title {
			t.Errorf("%U: the title is %q", letter, made.Title)
		}
	}
}

// fault D6
func TestATitleThatCannotBeSeenIsRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	made := s.ada.create(t, `{"title": "A"}`)
	const person = "Title must have a character that can be seen."
	for _, invisible := range []string{
		"\u200b", "\ufeff", "\u00ad", "\u034f", "\u061c", "\u115f\u1160", "\u17b4", "\u180e", "\u200e\u200f", "\u202a\u202c", "\u2060",
		"\u2800", "\u3164", "\ufe0f", "\uffa0", "\ufff9\ufffb", "\x01", "\x1f", "\x7f", "\u0080", " \u200b ", "\u200b \ufeff", "\u3000\u200b\t", strings.Repeat("\u200b", 300),
	} {
		for method, path := range map[string]string{"POST": "", "PUT": "/" + made.ID, "PATCH": "/" + made.ID} {
			p := s.ada.send(t, method, path, `{"title": `+quoted(invisible)+`}`).want(http.StatusUnprocessableEntity).problem()
			if len(p.Errors) != 1 || p.Errors[0].Pointer != "#/title" || p.Errors[0].Detail != person {
				t.Errorf("%s %+q: %+v", method, invisible, p.Errors)
			}
		}
	}
	for _, visible := range []string{"a\u200b", "\u200ba", "❤\ufe0f", "👨\u200d👩", "\u200fשלום", "\u0301", "\u0600", "\ue000", "🏴\U000e0067\U000e007f", "\u2800x"} {
		if made := s.ada.create(t, `{"title": `+quoted(visible)+`}`); made.Title != visible {
			t.Errorf("%+q is kept as %+q", visible, made.Title)
		}
	}
}

// fault D6
func TestTheDocumentListsEveryCharacterThatCannotBeSeen(t *testing.T) {
	t.Parallel()
	doc := must(api.GetSpec())
	invisible := doc.Components.Schemas["Title"].Value.Not.Value
	for r := rune(1); r <= 0xffff; r++ { // beyond, expressions of JavaScript need a flag that validators do not set
		if r >= 0xd800 && r < 0xe000 || unicode.Is(unicode.White_Space, r) {
			continue
		}
		want := r == 0x2800 || !unicode.Is(unicode.Prepended_Concatenation_Mark, r) &&
			unicode.In(r, unicode.Cc, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
		if got := invisible.VisitJSON(string(r)) == nil; got != want {
			t.Errorf("%U: listed %t, want %t", r, got, want)
		}
	}
}

func TestDescriptionHasAtMost1000Characters(t *testing.T) {
	t.Parallel()
	s := start(t)
	for name, letter := range letters {
		most := strings.Repeat(letter, 1000/len([]rune(letter)))
		made := s.ada.create(t, `{"title": "A", "description": `+quoted(most)+`}`)
		if *made.Description != most {
			t.Errorf("%s: the description differs", name)
		}
		s.ada.send(t, "PUT", "/"+made.ID, `{"description": `+quoted(most)+`}`).want(http.StatusOK)
		for _, method := range []string{"PUT", "PATCH"} {
			s.ada.send(t, method, "/"+made.ID, `{"description": `+quoted(most+"a")+`}`).want(http.StatusUnprocessableEntity)
		}
		s.ada.send(t, "POST", "", `{"title": "A", "description": `+quoted(most+"a")+`}`).want(http.StatusUnprocessableEntity)
	}
	// The description is kept as it is, including white space.
	if made := s.ada.create(t, `{"title": "A", "description": " \n "}`); *made.Description != " \n " {
		t.Errorf("the description is %q", *made.Description)
	}
}

func TestTextWithNULIsRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	made := s.ada.create(t, `{"title": "A"}`)
	for _, field := range []string{"title", "description"} {
		for _, text := range []string{`\u0000`, `a\u0000`, `\u0000a`, `a\u0000b`, ` \u0000 `} {
			for _, request := range [][2]string{{"POST", ""}, {"PUT", "/" + made.ID}, {"PATCH", "/" + made.ID}} {
				body := `{"title": "A", "` + field + `": "` + text + `"}`
				if field == "title" {
					body = `{"title": "` + text + `"}`
				}
				p := s.ada.send(t, request[0], request[1], body).want(http.StatusUnprocessableEntity).problem()
				if len(p.Errors) != 1 || p.Errors[0].Pointer != "#/"+field {
					t.Errorf("%s: %+v", body, p)
				}
			}
		}
	}
}

func TestNullClearsADescriptionAndNothingElse(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, method := range []string{"PUT", "PATCH"} {
		made := s.ada.create(t, `{"title": "A", "description": "B", "priority": "high", "completed": true}`)
		for _, field := range []string{"title", "priority", "completed"} {
			p := s.ada.send(t, method, "/"+made.ID, `{"`+field+`": null}`).want(http.StatusUnprocessableEntity).problem()
			if len(p.Errors) != 1 || p.Errors[0].Pointer != "#/"+field {
				t.Errorf("%s %s: %+v", method, field, p)
			}
		}
		got := s.ada.send(t, method, "/"+made.ID, `{"description": null}`).want(http.StatusOK).task()
		made.Description = nil
		if got != made.changedTo(got) {
			t.Errorf("%s gives %+v", method, got)
		}
	}
	s.ada.send(t, "POST", "", `{"title": null}`).want(http.StatusUnprocessableEntity)
	s.ada.send(t, "POST", "", `{"title": "A", "priority": null}`).want(http.StatusUnprocessableEntity)
	s.ada.send(t, "POST", "", `{"title": "A", "completed": null}`).want(http.StatusUnprocessableEntity)
}

// This holds for PUT and PATCH and every combination of fields.
func TestFieldsThatAreNotSentDoNotChange(t *testing.T) {
	t.Parallel()
	s := start(t)
	fields := []struct {
		text  string
		apply func(*task)
	}{
		{`"title": "new"`, func(t *task) { t.Title = "new" }},
		{`"description": "new"`, func(t *task) { t.Description = new("new") }},
		{`"priority": "low"`, func(t *task) { t.Priority = "low" }},
		{`"completed": true`, func(t *task) { t.Completed = true }},
	}
	for _, how := range [][2]string{{"PUT", "application/json"}, {"PATCH", "application/json"}, {"PATCH", "application/merge-patch+json"}} {
		for set := 1; set < 1<<len(fields); set++ {
			want := s.ada.create(t, `{"title": "old", "description": "old", "priority": "high"}`)
			var parts []string
			for i, field := range fields {
				if set&(1<<i) != 0 {
					parts = append(parts, field.text)
					field.apply(&want)
				}
			}
			body := "{" + strings.Join(parts, ", ") + "}"
			changed := s.ada.send(t, how[0], "/"+want.ID, body, "Content-Type: "+how[1]).want(http.StatusOK).task()
			if changed.UpdatedAt <= want.UpdatedAt {
				t.Errorf("%s %s: updated_at was %s and is %s", how, body, want.UpdatedAt, changed.UpdatedAt)
			}
			want = want.changedTo(changed)
			read := s.ada.send(t, "GET", "/"+want.ID, "").want(http.StatusOK).task()
			for _, got := range []task{changed, read} {
				d, w := got.Description, want.Description
				got.Description, want.Description = nil, nil
				if got != want || *d != *w {
					t.Errorf("%s %s gives %+v with %q, want %+v with %q", how, body, got, *d, want, *w)
				}
				want.Description = w
			}
		}
	}
}

func TestAChangeWithoutAFieldIsRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	made := s.ada.create(t, `{"title": "A"}`)
	for _, how := range [][2]string{{"PUT", "application/json"}, {"PATCH", "application/json"}, {"PATCH", "application/merge-patch+json"}} {
		p := s.ada.send(t, how[0], "/"+made.ID, `{}`, "Content-Type: "+how[1]).want(http.StatusBadRequest).problem()
		if p.Code != "no_changes" || !strings.HasPrefix(p.Detail, "Send at least one field to change") {
			t.Errorf("%s: %+v", how, p)
		}
	}
	if now := s.ada.send(t, "GET", "/"+made.ID, "").task(); now != made {
		t.Errorf("a refused change gives %+v", now)
	}
}

func TestMisspeltFieldsAreRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	made := s.ada.create(t, `{"title": "A"}`)
	rows := s.stored(t)
	for _, field := range []string{"Title", "TITLE", "Created_at", "ID", "Etag", "rev", "done", "", "title ", "__proto__", "$where"} {
		body := `{"completed": true, "title": "B", ` + quoted(field) + `: "x"}`
		for _, request := range [][2]string{{"POST", ""}, {"PUT", "/" + made.ID}, {"PATCH", "/" + made.ID}, {"PATCH", "/" + made.ID + "/complete"}} {
			s.ada.send(t, request[0], request[1], body).want(http.StatusUnprocessableEntity)
		}
	}
	if s.stored(t) != rows {
		t.Error("a refused request changed something")
	}
}

func TestCompleteSetsOrToggles(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, was := range []bool{false, true} {
		for body, want := range map[string]bool{
			"":                     !was,
			"{}":                   !was,
			` { } `:                !was,
			`{"completed": null}`:  !was,
			`{"completed": true}`:  true,
			`{"completed": false}`: false,
		} {
			made := s.ada.create(t, fmt.Sprintf(`{"title": "A", "completed": %v}`, was))
			got := s.ada.send(t, "PATCH", "/"+made.ID+"/complete", body).want(http.StatusOK).task()
			if got.Completed != want || got.UpdatedAt <= made.UpdatedAt || got.Title != "A" {
				t.Errorf("%q on %v gives %+v", body, was, got)
			}
			if read := s.ada.send(t, "GET", "/"+made.ID, "").task(); read != got {
				t.Errorf("%q on %v: read %+v, changed %+v", body, was, read, got)
			}
		}
	}
}

// Go's client cannot send a request without Content-Length and Content-Type.
func TestCompleteTogglesWithoutABody(t *testing.T) {
	t.Parallel()
	s := start(t)
	made := s.ada.create(t, `{"title": "A"}`)
	for i, headers := range []string{
		"", "\nContent-Length: 0", "\nContent-Type: application/json", "\nContent-Type: text/plain\nContent-Length: 0", "\nTransfer-Encoding: chunked",
	} {
		body := ""
		if strings.Contains(headers, "chunked") {
			body = "0\r\n\r\n"
		}
		got := s.raw(t, "PATCH "+s.ada.tasks()+"/"+made.ID+"/complete HTTP/1.1\nHost: docket\nAuthorization: Bearer "+s.ada.token+headers, body)
		if now := got.want(http.StatusOK).task().Completed; now != (i%2 == 0) {
			t.Errorf("%q gives %v", headers, now)
		}
	}
}

func TestCompleteRefusesEverythingElse(t *testing.T) {
	t.Parallel()
	s := start(t)
	made := s.ada.create(t, `{"title": "A"}`)
	for body, status := range map[string]int{
		"null": 422, "true": 422, "[]": 422, `"true"`: 422, "1": 422,
		`{"completed": "true"}`: 422, `{"completed": 1}`: 422, `{"completed": {}}`: 422, `{"complete": true}`: 422, `{"completed": true, "title": "B"}`: 422,
		" ": 400, "{": 400, `{"completed": }`: 400, `{"completed": True}`: 400, `{"completed": true} {}`: 400, `{"completed": true, "completed": false}`: 400,
	} {
		s.ada.send(t, "PATCH", "/"+made.ID+"/complete", body).want(status)
	}
	s.ada.send(t, "PATCH", "/"+made.ID+"/complete", `{"completed": true}`, "Content-Type: text/plain").want(http.StatusUnsupportedMediaType)
	s.ada.send(t, "PATCH", "/"+made.ID+"/complete", `{"completed": true}`, "Content-Type: application/merge-patch+json").want(http.StatusUnsupportedMediaType)
	if now := s.ada.send(t, "GET", "/"+made.ID, "").task(); now != made {
		t.Errorf("a refused request gives %+v", now)
	}
}

// It grows even if a change changes nothing, or follows another one immediately.
func TestUpdatedAtAlwaysGrows(t *testing.T) {
	t.Parallel()
	s := start(t)
	last := s.ada.create(t, `{"title": "A"}`)
	created := last.CreatedAt
	for range 20 {
		for _, request := range [][3]string{{"PUT", "", `{"title": "A"}`}, {"PATCH", "", `{"completed": true}`}, {"PATCH", "/complete", `{"completed": true}`}} {
			now := s.ada.send(t, request[0], "/"+last.ID+request[1], request[2]).want(http.StatusOK).task()
			if now.UpdatedAt <= last.UpdatedAt || now.CreatedAt != created {
				t.Fatalf("updated_at was %s, and is %s", last.UpdatedAt, now.UpdatedAt)
			}
			last = now
		}
	}
	// It grows even if the clock was set back.
	s.exec(t, "alter table task disable trigger task_updated_at")
	s.exec(t, "update task set updated_at = '2100-01-01T00:00:00Z' where id = $1", last.ID)
	s.exec(t, "alter table task enable trigger task_updated_at")
	if now := s.ada.send(t, "PUT", "/"+last.ID, `{"title": "B"}`).want(http.StatusOK).task(); now.UpdatedAt <= "2100-01-01T00:00:00.000000Z" {
		t.Errorf("updated_at is %s", now.UpdatedAt)
	}
}

func TestDeletedTaskIsGone(t *testing.T) {
	t.Parallel()
	s := start(t)
	made, kept := s.ada.create(t, `{"title": "A"}`), s.ada.create(t, `{"title": "B"}`)
	if a := s.ada.send(t, "DELETE", "/"+made.ID, "").want(http.StatusNoContent); a.get("Content-Type") != "" || a.get("Content-Length") != "" {
		t.Errorf("the answer is %s", a)
	}
	for _, request := range [][3]string{
		{"DELETE", "", ""}, {"GET", "", ""}, {"PUT", "", `{"title": "C"}`}, {"PATCH", "", `{"title": "C"}`}, {"PATCH", "/complete", ""},
	} {
		s.ada.send(t, request[0], "/"+made.ID+request[1], request[2]).want(http.StatusNotFound)
	}
	if l := s.ada.send(t, "GET", "", "").list(); l.Total != 1 || l.Tasks[0] != kept {
		t.Errorf("left is %+v", l)
	}
}

func TestATextThatIsNotAnIDIsNotFound(t *testing.T) {
	t.Parallel()
	s := start(t)
	made := s.ada.create(t, `{"title": "A"}`)
	for _, id := range []string{
		"1", "-1", "null", "undefined", "nonsense", "complete", "changes", "events", "batch", "export", "import", "stats", "tags", "*", "$1", "'", "%27%20or%201=1--",
		strings.ToUpper(made.ID) + "x", made.ID + "%20", "%20" + made.ID, made.ID + "%00", "%00", "%FF", "%ED%A0%80", "a%2Fb", "%2Fa", "..%2F" + made.ID, "%2E", "%2e%2e",
		"%252F", "é", "%F0%9F%8E%89", "{" + made.ID + "}", strings.ReplaceAll(made.ID, "-", ""), strings.Repeat("9", 300), strings.Repeat("%20", 3000),
	} {
		for _, request := range [][3]string{
			{"GET", "", ""}, {"PUT", "", `{"title": "B"}`}, {"PATCH", "", `{"title": "B"}`}, {"PATCH", "/complete", ""}, {"DELETE", "", ""},
		} {
			p := s.ada.send(t, request[0], "/"+id+request[1], request[2]).want(http.StatusNotFound).problem()
			if p.Detail != "Task not found or does not belong to this user" {
				t.Errorf("%s %s: %+v", request, id, p)
			}
		}
	}
	if now := s.ada.send(t, "GET", "/"+made.ID, "").task(); now != made {
		t.Errorf("the task is now %+v", now)
	}
}

// fault D4
func TestAnOwnerWithTooManyTasksGets409(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *options) { o.MaxTasks = 2 })
	s.ada.create(t, `{"title": "first"}`)
	const key = "Idempotency-Key: the-last"
	last := s.ada.send(t, "POST", "", `{"title": "last"}`, key).want(http.StatusCreated).task()
	for _, header := range []string{"X-Nothing: 1", "Idempotency-Key: another"} {
		p := s.ada.send(t, "POST", "", `{"title": "one too many"}`, header).want(http.StatusConflict).problem()
		if p.Code != "too_many_tasks" || !strings.Contains(p.Detail, "the limit of 2 tasks. Delete some") {
			t.Errorf("%+v", p)
		}
	}
	again := s.ada.send(t, "POST", "", `{"title": "last"}`, key).want(http.StatusCreated)
	if again.task().ID != last.ID || again.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("the create that reached the limit is not replayed: %s", again)
	}
	s.bob.create(t, `{"title": "of another owner"}`)
	s.ada.send(t, "PATCH", "/"+last.ID, `{"title": "changed"}`).want(http.StatusOK)
	s.ada.send(t, "DELETE", "/"+last.ID, "").want(http.StatusNoContent)
	s.ada.create(t, `{"title": "in its place"}`)
	s.ada.send(t, "POST", "", `{"title": "one too many"}`).want(http.StatusConflict)
}
