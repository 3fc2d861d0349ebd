package server_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/google/uuid"
)

// changing are the requests that change a task.
var changing = [][3]string{
	{"PUT", "", `{"title": "B"}`}, {"PATCH", "", `{"title": "B"}`}, {"PATCH", "/complete", ""}, {"PATCH", "/complete", `{"completed": true}`}, {"DELETE", "", ""},
}

// Equal tags mean equal bodies, and different bodies have different tags.
func TestTaskTagChangesWithTheTask(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := s.ada.send(t, "POST", "", `{"title": "A"}`).want(http.StatusCreated)
	path := "/" + a.task().ID
	seen := map[string]string{}
	see := func(a *answer) {
		t.Helper()
		tag := a.get("ETag")
		if body, known := seen[tag]; known && body != a.body {
			t.Errorf("%s is the tag of %s and of %s", tag, body, a.body)
		}
		seen[tag] = a.body
		if read := s.ada.send(t, "GET", path, "").want(http.StatusOK); read.get("ETag") != tag || read.body != a.body {
			t.Errorf("GET returned %s %s, the change %s %s", read.get("ETag"), read.body, tag, a.body)
		}
	}
	see(a)
	for range 5 {
		for _, request := range changing[:4] {
			see(s.ada.send(t, request[0], path+request[1], request[2]).want(http.StatusOK))
		}
	}
	s.exec(t, "update task set title = 'by hand'")
	see(s.ada.send(t, "GET", path, "").want(http.StatusOK))
	if len(seen) != 22 {
		t.Errorf("%d tags for 22 states", len(seen))
	}
}

func TestStaleChangeIsRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, request := range changing {
		made := s.ada.send(t, "POST", "", `{"title": "A"}`).want(http.StatusCreated)
		path, old := "/"+made.task().ID, made.get("ETag")
		now := s.ada.send(t, "PATCH", path, `{"priority": "high"}`, "If-Match: "+old).want(http.StatusOK).get("ETag")
		rows := s.stored(t)
		for _, stale := range []string{old, `"x"`, `""`, `"1.x"`, `"1.99999999999999999999"`, old + `, "x"`, "W/" + now, `"*"`} {
			p := s.ada.send(t, request[0], path+request[1], request[2], "If-Match: "+stale).want(http.StatusPreconditionFailed).problem()
			if p.Code != "precondition_failed" {
				t.Errorf("%s: %+v", stale, p)
			}
		}
		if s.stored(t) != rows {
			t.Errorf("%s: a stale change was made", request)
		}
		// The current tag matches, alone or in a list.
		if status := s.ada.send(t, request[0], path+request[1], request[2], "If-Match: "+old+" , "+now).status; status >= 300 {
			t.Errorf("%s with the current tag: %d", request, status)
		}
	}
}

func TestIfMatchStarMatchesEveryExistingTask(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, request := range changing {
		path := "/" + s.ada.create(t, `{"title": "A"}`).ID
		if status := s.ada.send(t, request[0], path+request[1], request[2], "If-Match: *").status; status >= 300 {
			t.Errorf("%s: %d", request, status)
		}
		// With any tag, another owner's task is not found, like one that does not exist: a 412 would reveal it.
		others := s.bob.send(t, "POST", "", `{"title": "A"}`).want(http.StatusCreated)
		for _, id := range []string{uuid.NewString(), others.task().ID} {
			for _, tag := range []string{"*", `"x"`, others.get("ETag")} {
				s.ada.send(t, request[0], "/"+id+request[1], request[2], "If-Match: "+tag).want(http.StatusNotFound)
			}
		}
	}
}

func TestOneOfManyConcurrentChangesWins(t *testing.T) {
	t.Parallel()
	s := start(t)
	made := s.ada.send(t, "POST", "", `{"title": "A"}`).want(http.StatusCreated)
	answers := make(chan *answer)
	for i := range 8 {
		go func() {
			answers <- s.ada.send(t, "PATCH", "/"+made.task().ID, fmt.Sprintf(`{"title": "writer %d"}`, i), "If-Match: "+made.get("ETag"))
		}()
	}
	var won []string
	for range 8 {
		switch a := <-answers; a.status {
		case http.StatusOK:
			won = append(won, a.task().Title)
		case http.StatusPreconditionFailed:
		default:
			t.Errorf("the answer is %s", a)
		}
	}
	if now := s.ada.send(t, "GET", "/"+made.task().ID, "").task(); len(won) != 1 || now.Title != won[0] {
		t.Errorf("%q won, and the title is %q", won, now.Title)
	}
}

func TestUnchangedTaskIsNotSentAgain(t *testing.T) {
	t.Parallel()
	s := start(t)
	made := s.ada.send(t, "POST", "", `{"title": "A"}`).want(http.StatusCreated)
	path, tag := "/"+made.task().ID, made.get("ETag")
	for _, known := range []string{tag, "W/" + tag, `"x", ` + tag, tag + `,"x"`, "*"} {
		if a := s.ada.send(t, "GET", path, "", "If-None-Match: "+known).want(http.StatusNotModified); a.get("ETag") != tag {
			t.Errorf("%s: the tag is %s", known, a.get("ETag"))
		}
	}
	s.ada.send(t, "PATCH", path+"/complete", "").want(http.StatusOK)
	for _, old := range []string{tag, "W/" + tag, `"x"`, `""`} {
		s.ada.send(t, "GET", path, "", "If-None-Match: "+old).want(http.StatusOK)
	}
	s.bob.send(t, "GET", path, "", "If-None-Match: *").want(http.StatusNotFound)
}

func TestUnchangedListIsNotSentAgain(t *testing.T) {
	t.Parallel()
	s := start(t)
	var last *answer
	poll := func(why string, changed bool) {
		t.Helper()
		for _, query := range []string{"?limit=50", "?limit=50&status=pending"} {
			now := s.ada.send(t, "GET", query, "").want(http.StatusOK)
			again := s.ada.send(t, "GET", query, "", "If-None-Match: "+now.get("ETag")).want(http.StatusNotModified)
			if again.get("ETag") != now.get("ETag") {
				t.Errorf("%s: 304 with another tag", why)
			}
			if query != "?limit=50" {
				continue
			}
			if last != nil && (last.get("ETag") != now.get("ETag")) != changed {
				t.Errorf("%s: the tag was %s, and is %s", why, last.get("ETag"), now.get("ETag"))
			}
			if last != nil && changed {
				s.ada.send(t, "GET", query, "", "If-None-Match: "+last.get("ETag")).want(http.StatusOK)
			}
			last = now
		}
	}
	poll("at first", false)
	made := s.ada.create(t, `{"title": "A"}`)
	poll("after a create", true)
	s.bob.create(t, `{"title": "B"}`)
	poll("after another's create", false)
	for _, request := range changing[:4] {
		s.ada.send(t, request[0], "/"+made.ID+request[1], request[2]).want(http.StatusOK)
		poll("after a "+request[0], true)
	}
	s.ada.send(t, "PATCH", "/"+made.ID, `{}`).want(http.StatusBadRequest)
	poll("after a refused change", false)
	s.ada.send(t, "DELETE", "/"+made.ID, "").want(http.StatusNoContent)
	poll("after a delete", true)
	s.ada.send(t, "DELETE", "/"+made.ID, "").want(http.StatusNotFound)
	poll("after a delete of nothing", false)
	s.ada.create(t, `{"title": "A"}`)
	poll("after another create", true)
	s.exec(t, "delete from task where user_id = $1", s.ada.id)
	poll("after a delete by hand", true)
}

// Lists with different bodies have different tags, even at the same revision.
func TestListTagDependsOnTheQuery(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.ada.fill(t, 30)
	bodies := map[string]string{}
	cursor := *s.ada.send(t, "GET", "?limit=10", "").list().NextCursor
	for _, query := range append(queries(), "limit=10", "limit=11", "limit=10&offset=1", "limit=10&offset=2", "limit=10&cursor="+cursor, "completed=true", "completed=false", "search=1", "search=2", "priority=low", "priority=high") {
		a := s.ada.send(t, "GET", "?"+query, "").want(http.StatusOK)
		if body, known := bodies[a.get("ETag")]; known && body != a.body {
			t.Errorf("%s has the tag of another list", query)
		}
		bodies[a.get("ETag")] = a.body
	}
	one := s.ada.send(t, "GET", "?limit=10", "").want(http.StatusOK)
	s.ada.send(t, "GET", "?limit=11", "", "If-None-Match: "+one.get("ETag")).want(http.StatusOK)
	s.ada.send(t, "GET", "?limit=10", "", "If-None-Match: "+`"x", W/`+one.get("ETag")).want(http.StatusNotModified)
	s.ada.send(t, "GET", "?limit=10", "", "If-None-Match: *").want(http.StatusNotModified)
}

func TestMalformedTagsAreRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	path := "/" + s.ada.create(t, `{"title": "A"}`).ID
	rows := s.stored(t)
	for _, header := range []string{"If-Match", "If-None-Match"} {
		requests := changing
		if header == "If-None-Match" {
			requests = [][3]string{{"GET", "", ""}}
		}
		for _, tag := range []string{"1", "x", `"`, `"x`, `x"`, `"x" "y"`, `"x",`, `,`, `*, "x"`, `w/"x"`, `W/x`, `"a b"`, `"é"`, `'x'`} {
			for _, request := range requests {
				p := s.ada.send(t, request[0], path+request[1], request[2], header+": "+tag).want(http.StatusBadRequest).problem()
				if !slices.Equal(p.Errors, []fault{{
					Header: header, Code: "invalid_format", Detail: "The header " + header + " must be * or a list of quoted entity tags.",
				}}) {
					t.Errorf("%s %s: %+v", request, tag, p)
				}
			}
		}
	}
	if s.stored(t) != rows {
		t.Error("something was changed")
	}
}

// Several lines of If-Match are one list (RFC 9110, section 5.3).
func TestIfMatchMayBeRepeated(t *testing.T) {
	t.Parallel()
	s := start(t)
	made := s.ada.send(t, "POST", "", `{"title": "A"}`).want(http.StatusCreated)
	s.raw(t, "DELETE "+made.get("Location")+" HTTP/1.1\nHost: docket\nAuthorization: Bearer "+s.ada.token+
		"\nIf-Match: \"x\"\nIf-Match: "+made.get("ETag"), "").want(http.StatusNoContent)
}
