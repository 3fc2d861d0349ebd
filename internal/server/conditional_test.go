package server_test

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
)

// Like a response to HEAD, a 304 has the header fields of the 200.
func TestNotModifiedHasTheHeadersOfTheAnswerAndNoBody(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, path := range []string{"/" + s.ada.create(t, `{"title": "A"}`).ID, "", "?limit=1&status=pending"} {
		get := s.ada.send(t, "GET", path, "").want(http.StatusOK)
		tag := get.get("ETag")
		for _, method := range []string{"GET", "HEAD"} {
			full := s.ada.send(t, method, path, "").want(http.StatusOK)
			if got := full.get("Content-Length"); got != strconv.Itoa(len(get.body)) {
				t.Errorf("%s %s: Content-Length %s, GET's body has %d bytes", method, path, got, len(get.body))
			}
			unchanged := s.ada.send(t, method, path, "", "If-None-Match: "+tag, "X-Request-Id: poll-17").want(http.StatusNotModified)
			for _, a := range []*answer{full, unchanged} {
				for name, want := range map[string]string{"ETag": tag, "Cache-Control": "private, no-cache"} { // Vary: every test looks at it
					if got := strings.Join(a.header.Values(name), ", "); got != want {
						t.Errorf("%s %s: %d with %s: %s, want %s", method, path, a.status, name, got, want)
					}
				}
			}
			if unchanged.body != "" || unchanged.get("Content-Type") != "" || unchanged.get("X-Request-Id") != "poll-17" {
				t.Errorf("%s %s: the answer is %s", method, path, unchanged)
			}
			s.ada.send(t, method, path, "", `If-None-Match: "another"`).want(http.StatusOK)
		}
		// The next answer on the connection follows immediately.
		head := "GET " + s.ada.tasks() + path + " HTTP/1.1\nHost: docket\nAuthorization: Bearer " + s.ada.token + "\nIf-None-Match: "
		c := s.dial(t, crlf(head+tag)+crlf(head+`"another"`))
		c.answer(t, crlf(head+tag)).want(http.StatusNotModified)
		if next := c.answer(t, crlf(head+`"another"`)).want(http.StatusOK); next.body != get.body {
			t.Errorf("GET %s: the answer after a 304 is %s", path, next)
		}
	}
}

func TestIfNoneMatchMayBeRepeated(t *testing.T) {
	t.Parallel()
	s := start(t)
	path := "/" + s.ada.create(t, `{"title": "A"}`).ID
	for _, path := range []string{path, "", "?sort=title"} {
		tag := s.ada.send(t, "GET", path, "").want(http.StatusOK).get("ETag")
		send := func(lines ...string) *answer {
			t.Helper()
			head := "GET " + s.ada.tasks() + path + " HTTP/1.1\nHost: docket\nAuthorization: Bearer " + s.ada.token
			for _, line := range lines {
				head += "\nIf-None-Match: " + line
			}
			return s.raw(t, head, "")
		}
		send(`"x"`, tag).want(http.StatusNotModified)
		send(tag, `"x", "y"`).want(http.StatusNotModified)
		send(`"x"`, "W/"+tag, `W/"y"`).want(http.StatusNotModified)
		send(`"x"`, `"y"`).want(http.StatusOK)
		for _, malformed := range [][]string{{tag, "*"}, {"*", "*"}, {tag, "x"}, {tag, ""}} {
			p := send(malformed...).want(http.StatusBadRequest).problem()
			if !slices.Equal(p.Errors, []fault{{
				Header: "If-None-Match", Code: "invalid_format", Detail: "The header If-None-Match must be * or a list of quoted entity tags.",
			}}) {
				t.Errorf("%q: %+v", malformed, p)
			}
		}
	}
}

func TestTagsAreComparedExactly(t *testing.T) {
	t.Parallel()
	s := start(t)
	path := "/" + s.ada.create(t, `{"title": "A"}`).ID
	for _, path := range []string{path, "", "?limit=7"} {
		tag := s.ada.send(t, "GET", path, "").want(http.StatusOK).get("ETag")
		version, rest, _ := strings.Cut(tag, ".")
		for _, other := range []string{
			version + ".0" + rest, version + ".+" + rest, version + ".-" + rest, version + "." + rest[:len(rest)-1] + `.0"`, version + "." + rest[:len(rest)-1] + `."`,
			version + rest, strings.ToUpper(`"x` + tag[1:]), `"0` + tag[1:], `"` + rest, version + ".0x" + rest, version + "._" + rest, `"` + tag[1:len(tag)-1] + `,"`,
		} {
			s.ada.send(t, "GET", path, "", "If-None-Match: "+other).want(http.StatusOK)
			s.ada.send(t, "GET", path, "", `If-None-Match: "a", `+other+`, "b"`).want(http.StatusOK)
			if strings.HasPrefix(path, "/") {
				s.ada.send(t, "PATCH", path, `{"title": "B"}`, "If-Match: "+other).want(http.StatusPreconditionFailed)
			}
		}
		s.ada.send(t, "GET", path, "", "If-None-Match: "+tag).want(http.StatusNotModified)
	}
}

// Every request is sent with the tags of all lists and tasks of both owners.
func TestATagMatchesOnlyItsOwnListOrTask(t *testing.T) {
	t.Parallel()
	s := start(t)
	type address struct {
		owner *owner
		path  string
	}
	tags := map[address]string{}
	for _, o := range []*owner{s.ada, s.bob} {
		for _, path := range []string{
			"/" + o.create(t, `{"title": "A"}`).ID, "/" + o.create(t, `{"title": "A"}`).ID,
			"", "?limit=1", "?offset=1", "?status=pending", "?completed=true", "?search=a", "?sort=title", "?order=asc", "?priority=high",
			"?cursor=" + *o.send(t, "GET", "?limit=1", "").list().NextCursor,
		} {
			tags[address{o, path}] = ""
		}
	}
	for a := range tags {
		tags[a] = a.owner.send(t, "GET", a.path, "").want(http.StatusOK).get("ETag")
	}
	for at := range tags {
		var others []string
		for from, tag := range tags {
			if from != at {
				others = append(others, tag)
			}
		}
		at.owner.send(t, "GET", at.path, "", "If-None-Match: "+strings.Join(others, ", ")).want(http.StatusOK)
		at.owner.send(t, "GET", at.path, "", "If-None-Match: "+strings.Join(append(others, tags[at]), ", ")).want(http.StatusNotModified)
	}
}

func TestEquivalentQueriesHaveTheSameTag(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.ada.create(t, `{"title": "A"}`)
	for _, spellings := range [][]string{
		{"", "?", "?status=all", "?limit=100", "?offset=0", "?sort=created", "?sort_by=created_at", "?order=desc"},
		{"?status=pending", "?completed=false", "?completed=false&status=pending", "?status=pending&completed=false&order=desc"},
		{"?priority=low&priority=high", "?priority=high&priority=low", "?priority=high&priority=low&priority=high"},
		{"?sort=updated&search=%61", "?search=a&sort_by=updated_at"},
	} {
		first := s.ada.send(t, "GET", spellings[0], "").want(http.StatusOK)
		for _, spelling := range spellings {
			s.ada.send(t, "GET", spelling, "", "If-None-Match: "+first.get("ETag")).want(http.StatusNotModified)
			if a := s.ada.send(t, "GET", spelling, "").want(http.StatusOK); a.body != first.body {
				t.Errorf("%s and %s are different lists", spellings[0], spelling)
			}
		}
	}
}

func TestListTagFollowsChangesBySQL(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.ada.create(t, `{"title": "A"}`)
	bobs := s.bob.create(t, `{"title": "B"}`)
	bob := s.bob.send(t, "GET", "", "").want(http.StatusOK)
	last := s.ada.send(t, "GET", "", "").want(http.StatusOK)
	for _, sql := range []string{
		"update task set title = 'by SQL' where user_id = $1",
		"update task set title = title where user_id = $1",
		"update task set rev = 1 where user_id = $1",
		"insert into task (id, user_id, title) values (gen_random_uuid(), $1, 'by SQL')",
		"insert into task (id, user_id, title, rev) values (gen_random_uuid(), $1, 'by SQL', 1)",
		"delete from task where user_id = $1 and title = 'by SQL' and id = (select max(id) from task where user_id = $1)",
		"delete from task where user_id = $1",
	} {
		s.exec(t, sql, s.ada.id)
		now := s.ada.send(t, "GET", "", "", "If-None-Match: "+last.get("ETag")).want(http.StatusOK)
		if now.get("ETag") == last.get("ETag") {
			t.Errorf("%s: the tag did not change", sql)
		}
		s.ada.send(t, "GET", "", "", "If-None-Match: "+now.get("ETag")).want(http.StatusNotModified)
		last = now
	}
	s.bob.send(t, "GET", "", "", "If-None-Match: "+bob.get("ETag")).want(http.StatusNotModified)
	// Moving a task to another owner changes both lists, and so does moving it back.
	for range 2 {
		s.exec(t, "update task set user_id = $2 where id = $1", bobs.ID, s.ada.id)
		last = s.ada.send(t, "GET", "", "", "If-None-Match: "+last.get("ETag")).want(http.StatusOK)
		bob = s.bob.send(t, "GET", "", "", "If-None-Match: "+bob.get("ETag")).want(http.StatusOK)
		if last.list().Total != 1 || bob.list().Total != 0 {
			t.Errorf("ada has %s, bob %s", last.body, bob.body)
		}
		s.exec(t, "update task set user_id = $2 where id = $1", bobs.ID, s.bob.id)
		last = s.ada.send(t, "GET", "", "", "If-None-Match: "+last.get("ETag")).want(http.StatusOK)
		bob = s.bob.send(t, "GET", "", "", "If-None-Match: "+bob.get("ETag")).want(http.StatusOK)
		if last.list().Total != 0 || bob.list().Total != 1 {
			t.Errorf("ada has %s, bob %s", last.body, bob.body)
		}
	}
}

// Whatever condition is sent about another owner's task, the answer is the same as for an id that does not exist.
func TestConditionsDoNotRevealAnotherOwnersTask(t *testing.T) {
	t.Parallel()
	s := start(t)
	made := s.bob.send(t, "POST", "", `{"title": "B"}`).want(http.StatusCreated)
	tag := made.get("ETag")
	for _, request := range append(slices.Clone(changing), [3]string{"GET", "", ""}, [3]string{"HEAD", "", ""}) {
		header := "If-Match: "
		if request[2] == "" && (request[0] == "GET" || request[0] == "HEAD") {
			header = "If-None-Match: "
		}
		for _, condition := range []string{tag, "*", `"x"`, "W/" + tag, `"x", ` + tag} {
			existing := s.ada.send(t, request[0], "/"+made.task().ID+request[1], request[2], header+condition).want(http.StatusNotFound)
			missing := s.ada.send(t, request[0], "/"+uuid.NewString()+request[1], request[2], header+condition).want(http.StatusNotFound)
			if a, b := withoutID(existing), withoutID(missing); a != b {
				t.Errorf("%s %s: another owner's task is distinguishable from one that does not exist:\n%s\n%s", request, condition, a, b)
			}
		}
	}
	if now := s.bob.send(t, "GET", "/"+made.task().ID, "").want(http.StatusOK); now.body != made.body || now.get("ETag") != tag {
		t.Errorf("bob's task was %s, and is %s", made, now)
	}
}

// Five clients increment a number in one task's title: they read it, add one, write with If-Match, and start over on a
// 412.
func TestTwoHundredConcurrentIncrementsAllCount(t *testing.T) {
	t.Parallel()
	const clients, each = 5, 40
	s := start(t)
	path := "/" + s.ada.create(t, `{"title": "0"}`).ID
	var refused atomic.Int64
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for done := 0; done < each; {
				now := s.ada.send(t, "GET", path, "")
				n, err := strconv.Atoi(now.task().Title)
				if now.status != http.StatusOK || err != nil {
					t.Errorf("read %s", now)
					return
				}
				a := s.ada.send(t, "PATCH", path, fmt.Sprintf(`{"title": "%d"}`, n+1), "If-Match: "+now.get("ETag"))
				switch a.status {
				case http.StatusOK:
					done++
				case http.StatusPreconditionFailed:
					refused.Add(1)
				default:
					t.Errorf("the answer is %s", a)
					return
				}
			}
		})
	}
	all.Wait()
	if title := s.ada.send(t, "GET", path, "").want(http.StatusOK).task().Title; title != strconv.Itoa(clients*each) {
		t.Errorf("after %d increments and %d refusals the title is %s", clients*each, refused.Load(), title)
	}
	if refused.Load() == 0 {
		t.Error("no write was refused: they did not overlap")
	}
}

// slowSQL delays every read of the tasks after its snapshot, so that others can write while a list is being read.
const slowSQL = `
create function slow() returns boolean language plpgsql as $$
begin
  perform pg_sleep(0.003);
  return true;
end;
$$;
create policy slow on task as restrictive for select to docket_app using ((select slow()))`

// Writers increment a number in the titles of their own tasks while others poll with their last tag. Every change that
// was acknowledged before a poll was sent must be in the body that the client has after the poll, whether the answer is
// 304 or 200.
func TestNotModifiedIsNeverSentAfterAChange(t *testing.T) {
	t.Parallel()
	const writers, changes = 3, 40
	s := start(t)
	s.exec(t, slowSQL)
	var acknowledged [writers]atomic.Int64
	var paths [writers]string
	for n := range paths {
		paths[n] = "/" + s.ada.create(t, fmt.Sprintf(`{"title": "%d 0"}`, n)).ID
	}
	var writing, polling sync.WaitGroup
	var over atomic.Bool
	var polls, confirmed, sent atomic.Int64
	for n, path := range paths {
		writing.Go(func() {
			for i := int64(1); i <= changes; i++ {
				// Polls must have time between changes, or none would get a 304.
				for before := polls.Load(); polls.Load() < before+6 && !t.Failed(); {
					time.Sleep(time.Millisecond)
				}
				a := s.ada.send(t, "PATCH", path, fmt.Sprintf(`{"title": "%d %d"}`, n, i))
				if a.status != http.StatusOK {
					t.Errorf("the answer is %s", a)
					return
				}
				acknowledged[n].Store(i)
			}
		})
	}
	poll := func(path, tag, body string) (string, string) {
		var before [writers]int64
		for n := range before {
			before[n] = acknowledged[n].Load()
		}
		var headers []string
		if tag != "" {
			headers = append(headers, "If-None-Match: "+tag)
		}
		polls.Add(1)
		switch a := s.ada.send(t, "GET", path, "", headers...); a.status {
		case http.StatusNotModified:
			confirmed.Add(1)
			if a.get("ETag") != tag {
				t.Errorf("304 to %s has the tag %s", tag, a.get("ETag"))
			}
		case http.StatusOK:
			sent.Add(1)
			tag, body = a.get("ETag"), a.body
		default:
			t.Errorf("the answer is %s", a)
		}
		for n := range before {
			_, rest, found := strings.Cut(body, fmt.Sprintf(`"title":"%d `, n))
			text, _, _ := strings.Cut(rest, `"`)
			if count, _ := strconv.ParseInt(text, 10, 64); found && count < before[n] {
				t.Errorf("GET %s: change %d of writer %d was acknowledged, and the client is left with %s", path, before[n], n, body)
			}
		}
		return tag, body
	}
	for _, path := range []string{"", "?limit=2&sort=updated", "?search=0", paths[0]} {
		polling.Go(func() {
			var tag, body string
			for !over.Load() && !t.Failed() {
				tag, body = poll(path, tag, body)
			}
			// All writes have ended: the client must now have the current body.
			tag, body = poll(path, tag, body)
			if now := s.ada.send(t, "GET", path, ""); now.body != body || now.get("ETag") != tag {
				t.Errorf("GET %s: the client was left with %s, and the current body is %s", path, body, now)
			}
		})
	}
	writing.Wait()
	over.Store(true)
	polling.Wait()
	if confirmed.Load() == 0 || sent.Load() < 10 {
		t.Errorf("%d polls were answered with 304 and %d with 200, want some of both", confirmed.Load(), sent.Load())
	}
}

// Proxies that compress responses weaken tags. Reading the task again would not help then, so the detail must not
// suggest it.
func TestAWeakTagInIfMatchIsExplained(t *testing.T) {
	t.Parallel()
	s := start(t)
	made := s.ada.create(t, `{"title": "A"}`)
	tag := s.ada.send(t, "GET", "/"+made.ID, "").get("ETag")
	weak := s.ada.send(t, "PATCH", "/"+made.ID, `{"title": "B"}`, "If-Match: W/"+tag).want(http.StatusPreconditionFailed).problem()
	if !strings.Contains(weak.Detail, "W/") {
		t.Errorf("the detail is %q", weak.Detail)
	}
	stale := s.ada.send(t, "PATCH", "/"+made.ID, `{"title": "B"}`, `If-Match: "1.1"`).want(http.StatusPreconditionFailed).problem()
	if strings.Contains(stale.Detail, "W/") {
		t.Errorf("the detail is %q", stale.Detail)
	}
	s.ada.send(t, "PATCH", "/"+made.ID, `{"title": "B"}`, "If-Match: "+tag).want(http.StatusOK)
}
