package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// tagList is the answer to listTags.
type tagList struct {
	Tags []struct {
		Name    string `json:"name"`
		Tasks   int    `json:"tasks"`
		Pending int    `json:"pending"`
	} `json:"tags"`
	Limit      int     `json:"limit"`
	NextCursor *string `json:"next_cursor"`
}

func (l tagList) String() string {
	var all []string
	for _, t := range l.Tags {
		all = append(all, fmt.Sprintf("%s %d/%d", t.Name, t.Pending, t.Tasks))
	}
	return strings.Join(all, ", ")
}

func (o *owner) listTags(t testing.TB, query string, headers ...string) *answer {
	t.Helper()
	return o.service.send(t, "GET", o.path()+"/tags"+query, "", append([]string{"Authorization: Bearer " + o.token}, headers...)...)
}

// tag sends a request to one of the owner's tags.
func (o *owner) tag(t testing.TB, method, name, body string) *answer {
	t.Helper()
	return o.service.send(t, method, o.path()+"/tags/"+url.PathEscape(name), body, "Authorization: Bearer "+o.token)
}

func (a *answer) tags() (l tagList) {
	a.t.Helper()
	a.want(http.StatusOK).read(&l)
	return l
}

func TestTagsAreNormalizedAndChanged(t *testing.T) {
	t.Parallel()
	s := start(t)
	made := s.ada.create(t, `{"title": "A", "tags": [" Home ", "work", "HOME", "Straße", "\u00a0x\u3000"]}`)
	if made.Tags != tagsOf("Home", "work", "Straße", "x") {
		t.Errorf("created with %s", made.Tags)
	}
	for _, c := range []struct{ body, want string }{
		{`{"title": "B"}`, "Home work Straße x"},
		{`{"add_tags": ["WORK", "new", "New"]}`, "Home work Straße x new"},
		{`{"remove_tags": ["home", "none", "STRAßE"]}`, "work x new"},
		{`{"add_tags": ["Home"], "remove_tags": ["new", "X"]}`, "work Home"},
		{`{"add_tags": ["WORK"], "remove_tags": ["work"]}`, "Home WORK"},
		{`{"add_tags": [], "remove_tags": []}`, "Home WORK"},
		{`{"tags": ["b", "a", "B"]}`, "b a"},
		{`{"tags": []}`, ""},
	} {
		now := s.ada.send(t, "PATCH", "/"+made.ID, c.body).want(http.StatusOK).task()
		if got := strings.Join(now.Tags.names(), " "); got != c.want {
			t.Errorf("after %s: %q, want %q", c.body, got, c.want)
		}
	}
	if none := s.ada.create(t, `{"title": "B"}`); none.Tags != "[]" {
		t.Errorf("created with %s", none.Tags)
	}
}

func TestInvalidTagsAreRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	names := func(n int) string {
		return `["t` + strings.Join(strings.Split(strings.Repeat("x", n), ""), `","t`) + `"]`
	}
	var many []string
	for i := range 20 {
		many = append(many, fmt.Sprintf("tag %d", i))
	}
	full := s.ada.create(t, `{"title": "full", "tags": ["`+strings.Join(many, `", "`)+`"]}`)
	for body, want := range map[string]string{
		`{"title": "x", "tags": null}`:                                        "#/tags invalid_type",
		`{"title": "x", "tags": [""]}`:                                        "#/tags/0 blank",
		`{"title": "x", "tags": [" "]}`:                                       "#/tags/0 blank",
		`{"title": "x", "tags": ["a,b"]}`:                                     "#/tags/0 invalid_format",
		`{"title": "x", "tags": ["."]}`:                                       "#/tags/0 invalid_format",
		`{"title": "x", "tags": [" .. "]}`:                                    "#/tags/0 invalid_format",
		`{"title": "x", "tags": ["a\tb"]}`:                                    "#/tags/0 invalid_format",
		`{"title": "x", "tags": ["a\u0000b"]}`:                                "#/tags/0 invalid_format",
		`{"title": "x", "tags": ["ok", "a\u009fb"]}`:                          "#/tags/1 invalid_format",
		`{"title": "x", "tags": ["` + strings.Repeat("ß", 51) + `"]}`:         "#/tags/0 too_long",
		`{"title": "x", "tags": ` + names(21) + `}`:                           "#/tags too_long",
		`{"title": "x", "add_tags": ["a"], "tags": [], "remove_tags": ["b"]}`: "#/add_tags conflict #/remove_tags conflict",
		`{"add_tags": ["one more"]}`:                                          "#/add_tags too_long",
	} {
		var got []string
		for _, f := range s.ada.send(t, "PATCH", "/"+full.ID, body).want(http.StatusUnprocessableEntity).problem().Errors {
			got = append(got, f.Pointer+" "+f.Code)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
	if now := s.ada.send(t, "GET", "/"+full.ID, "").task(); now != full {
		t.Errorf("it was %+v, and is %+v", full, now)
	}
	for _, name := range []string{"...", ".a", "a.", "..a", "ab", "a", strings.Repeat("ß", 50), "a b", "a/", "a//b", "/a", "%2F", "?#&=+", "👩‍👩‍👧"} {
		made := s.ada.create(t, `{"title": "x", "tags": ["`+name+`"]}`)
		if made.Tags != tagsOf(name) && name != "?#&=+" {
			t.Errorf("%q became %s", name, made.Tags)
		}
		s.ada.tag(t, "PATCH", name, `{"name": "other"}`).want(http.StatusOK)
		s.ada.tag(t, "PATCH", "OTHER", `{"name": "`+name+`"}`).want(http.StatusOK)
		s.ada.tag(t, "DELETE", name, "").want(http.StatusOK)
		s.ada.tag(t, "DELETE", name, "").want(http.StatusNotFound)
	}
}

func TestListsFilterByTags(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.ada.create(t, `{"title": "a", "tags": ["Home", "work"]}`)
	s.ada.create(t, `{"title": "b", "tags": ["home"]}`)
	s.ada.create(t, `{"title": "c", "tags": ["WORK"], "completed": true}`)
	s.ada.create(t, `{"title": "d"}`)
	s.bob.create(t, `{"title": "bob's", "tags": ["home"]}`)
	for query, want := range map[string]string{
		"tag=home":                          "a b",
		"tag=HOME&tag=home":                 "a b",
		"tag=home&tag=work":                 "a b c",
		"tag=home&tag=work&tag_match=any":   "a b c",
		"tag=home&tag=work&tag_match=all":   "a",
		"tag=home&tag=HOME&tag_match=all":   "a b",
		"tag=none":                          "",
		"tag=home&tag=none&tag_match=all":   "",
		"tags=home,work":                    "a b c",
		"tags=+Work+,,home&tag_match=all":   "a",
		"tag=work&tag=home&tags=HOME,WORK":  "a b c",
		"tag=work&status=pending":           "a",
		"tag=work&priority=medium&search=c": "c",
		"tag_match=all":                     "a b c d",
	} {
		l := s.ada.all(t, "&sort=title&order=asc&"+query)
		if got := l.titles(); got != want || l.Total != len(l.Tasks) {
			t.Errorf("%s lists %q of %d, want %q", query, got, l.Total, want)
		}
	}
	for query, want := range map[string]string{
		"tag=a&tags=b": "tags conflict", "tag=a&tags=a,b": "tags conflict", "tags=+,": "tags blank", "tags=": "tags blank",
		"tag=a,b": "tag invalid_format", "tag_match=some": "tag_match not_one_of", "tags=a&tags=a": "tags repeated",
		"tags=" + strings.Repeat("a,b,c,d,e,f,g,h,i,j,k,", 1) + "l,m,n,o,p,q,r,s,t,u": "tags too_long",
	} {
		p := s.ada.send(t, "GET", "?"+query, "").want(http.StatusBadRequest).problem()
		if got := p.Errors[0].Parameter + " " + p.Errors[0].Code; len(p.Errors) != 1 || got != want {
			t.Errorf("%s: %+v, want %s", query, p.Errors, want)
		}
	}
}

func TestTagsAreListedInPages(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, body := range []string{
		`{"title": "1", "tags": ["Work", "home"]}`, `{"title": "2", "tags": ["work", "Zoo"], "completed": true}`, `{"title": "3", "tags": ["work"]}`,
		`{"title": "4", "tags": ["HOME", "äpfel"]}`,
	} {
		s.ada.create(t, body)
	}
	s.bob.create(t, `{"title": "bob's", "tags": ["home", "bob"]}`)
	all := s.ada.listTags(t, "")
	const want = "HOME 2/2, work 2/3, Zoo 0/1, äpfel 1/1"
	if got := all.tags(); got.String() != want || got.NextCursor != nil || got.Limit != 100 {
		t.Errorf("listed %s, want %s", all, want)
	}
	var pages []string
	for query := "?limit=1"; ; {
		page := s.ada.listTags(t, query).tags()
		pages = append(pages, page.String())
		if page.NextCursor == nil {
			break
		}
		query = "?limit=1&cursor=" + *page.NextCursor
		s.bob.listTags(t, query).want(http.StatusBadRequest)
	}
	if got := strings.Join(pages, ", "); got != want {
		t.Errorf("the pages are %s, want %s", got, want)
	}
	s.ada.listTags(t, "?cursor=AAAA").want(http.StatusBadRequest)
	s.ada.listTags(t, "", "If-None-Match: "+all.get("ETag")).want(http.StatusNotModified)
	s.ada.listTags(t, "?limit=1", "If-None-Match: "+all.get("ETag")).want(http.StatusOK)
	s.ada.create(t, `{"title": "5"}`)
	s.ada.listTags(t, "", "If-None-Match: "+all.get("ETag")).want(http.StatusOK)
}

// Tasks that are changed get a new revision, and those without the tag do not.
func TestRenamingATagChangesItsTasks(t *testing.T) {
	t.Parallel()
	s := start(t)
	one, two := s.ada.create(t, `{"title": "1", "tags": ["x", "Home", "work"]}`), s.ada.create(t, `{"title": "2", "tags": ["home"]}`)
	other := s.ada.create(t, `{"title": "3", "tags": ["Office", "x"]}`)
	if a := s.ada.tag(t, "PATCH", "hOME", `{"name": " WORK "}`).want(http.StatusOK); a.body != "{\"changed\":2}\n" || a.get("ETag") != "" {
		t.Errorf("the answer is %s", a)
	}
	for at, want := range map[task]rawTags{one: tagsOf("x", "WORK"), two: tagsOf("WORK"), other: other.Tags} {
		now := s.ada.send(t, "GET", "/"+at.ID, "").task()
		if now.Tags != want || (now.Revision > at.Revision) != (want != at.Tags) || (now.Etag != at.Etag) != (want != at.Tags) {
			t.Errorf("it was %+v, and is %+v, want the tags %s", at, now, want)
		}
	}
	s.ada.tag(t, "PATCH", "home", `{"name": "work"}`).want(http.StatusNotFound)
	s.bob.tag(t, "DELETE", "work", "").want(http.StatusNotFound)
	if a := s.ada.tag(t, "DELETE", "X", ""); a.body != "{\"changed\":2}\n" {
		t.Errorf("the answer is %s", a)
	}
	if l := s.ada.listTags(t, "").tags(); l.String() != "Office 1/1, WORK 2/2" {
		t.Errorf("the tags are %s", l)
	}
	for body, code := range map[string]string{`{}`: "required", `{"name": null}`: "invalid_type", `{"name": ","}`: "invalid_format", `{"name": "a", "x": 1}`: "unknown"} {
		if p := s.ada.tag(t, "PATCH", "work", body).want(http.StatusUnprocessableEntity).problem(); p.Errors[0].Code != code {
			t.Errorf("%s: %+v", body, p)
		}
	}
}

func TestTagsThatAreAddedAtTheSameTimeBothStay(t *testing.T) {
	t.Parallel()
	s := start(t)
	made := s.ada.create(t, `{"title": "A"}`)
	var want []string
	var wg sync.WaitGroup
	for i := range 20 {
		name := fmt.Sprintf("tag-%02d", i)
		want = append(want, name)
		wg.Go(func() {
			persist(t, func() *answer { return s.ada.send(t, "PATCH", "/"+made.ID, `{"add_tags": ["`+name+`"]}`) }).want(http.StatusOK)
		})
	}
	wg.Wait()
	got := s.ada.send(t, "GET", "/"+made.ID, "").task().Tags.names()
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("the tags are %q", got)
	}
}

func TestAReplayedCreateHasItsTags(t *testing.T) {
	t.Parallel()
	s := start(t)
	const body = `{"title": "A", "tags": ["Home", "work"]}`
	first := s.ada.send(t, "POST", "", body, "Idempotency-Key: k").want(http.StatusCreated)
	s.ada.tag(t, "DELETE", "home", "").want(http.StatusOK)
	again := s.ada.send(t, "POST", "", body, "Idempotency-Key: k").want(http.StatusCreated)
	if again.body != first.body || again.get("Idempotent-Replayed") != "true" || first.task().Tags != tagsOf("Home", "work") {
		t.Errorf("first %s, then %s", first, again)
	}
	s.ada.send(t, "POST", "", `{"title": "A", "tags": ["Home"]}`, "Idempotency-Key: k").want(http.StatusUnprocessableEntity)
}

// Every tag that a task can have is in a path what it is in a body, also behind a proxy that adds a path, and with the slash
// at the end that older frontends send.
func TestEveryTagCanBeRenamedAndDeleted(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"", "/docket"} {
		s := start(t, func(o *options) { o.BasePath = base })
		names := []string{
			"/", "//", "a/b", "/a", "a/", "a//b", "./a", "a/.", "a/..", "../a", "a/../b", "/..", "...", "%", "%2F", "%2f", "%252F", "%zz", "+", "a+b",
			"?", "#", "a?b=c&d", ";", "a;b=c", ":", "@", "~", "*", "\\", "\"", "'", "<b>", "{name}", "[0]", "|", "^", "`", "$", "!", "a b", "👩‍👩‍👧",
			"é", "e\u0301", "日本語", "\u202ea", "tasks", "api", "health", "\ufeffa", strings.Repeat("/", 50), strings.Repeat("👩", 50),
		}
		for c := rune(' ') + 1; c < 0x7f; c++ {
			if c != ',' && c != '.' && base == "" {
				names = append(names, string(c))
			}
		}
		made := s.ada.create(t, `{"title": "x"}`)
		for _, name := range names {
			now := s.ada.send(t, "PATCH", "/"+made.ID, `{"tags": [`+quoted(name)+`]}`).want(http.StatusOK).task()
			if got := now.Tags.names(); !slices.Equal(got, []string{name}) {
				t.Errorf("%q became %q", name, got)
			}
			for _, at := range []struct{ method, path, body string }{
				{"PATCH", url.PathEscape(name), `{"name": "other"}`},
				{"PATCH", "OTHER", `{"name": ` + quoted(name) + `}`},
				{"PATCH", url.PathEscape(name) + "/", `{"name": ` + quoted(name) + `}`},
				{"DELETE", url.PathEscape(name), ""},
			} {
				a := s.send(t, at.method, base+s.ada.path()+"/tags/"+at.path, at.body, "Authorization: Bearer "+s.ada.token)
				if a.status != http.StatusOK {
					t.Errorf("%s of the tag %q under %q: %s", at.method, name, base, a)
				}
			}
			if now := s.ada.send(t, "GET", "/"+made.ID, "").task(); now.Tags != "[]" {
				t.Errorf("%q is not deleted: %s", name, now.Tags)
			}
		}
	}
}
