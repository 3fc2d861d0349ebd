package server_test

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"docket/contract"
)

// titles returns the titles of a list's tasks, in its order.
func (l list) titles() string {
	var all []string
	for _, t := range l.Tasks {
		all = append(all, t.Title)
	}
	return strings.Join(all, " ")
}

// fill creates n tasks for an owner, in which every sort has ties and every filter excludes some. It writes to the
// table, because clients cannot choose the times.
func (o *owner) fill(t testing.TB, n int) {
	t.Helper()
	o.exec(t, `
insert into task (id, user_id, title, priority, completed, created_at, updated_at, due_date, due_time, time_zone, due_at, tags)
select gen_random_uuid(), $1, 'title ' || i % 7, (array['low', 'medium', 'high'])[1 + i % 3], i % 2 = 0,
       timestamptz '2026-03-09 08:00Z' + i % 5 * interval '1 microsecond', timestamptz '2026-03-10 08:00Z' - i % 4 * interval '1 hour',
       case when i % 4 > 0 then date '2026-03-09' + i % 5 end, case when i % 4 > 1 then time '09:00' + i % 3 * interval '1 hour' end, 'UTC',
       case when i % 4 > 1 then timestamptz '2026-03-09 09:00Z' + i % 5 * interval '1 day' + i % 3 * interval '1 hour' end,
       array_remove(array[case when i % 2 = 0 then 'Even' end, case when i % 3 = 0 then 'third' end], null)
from generate_series(1, $2) i`, o.id, n)
}

func (o *owner) all(t testing.TB, query string) list {
	t.Helper()
	return o.send(t, "GET", "?limit=1000"+query, "").list()
}

func TestFiltersCombine(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, body := range []string{
		`{"title": "a", "priority": "low"}`,
		`{"title": "b", "description": "A report of 100%"}`,
		`{"title": "c", "priority": "high", "description": "nothing"}`,
		`{"title": "d", "priority": "low", "completed": true}`,
		`{"title": "e", "completed": true}`,
		`{"title": "f REPORT", "priority": "high", "completed": true}`,
	} {
		s.ada.create(t, body)
	}
	s.bob.create(t, `{"title": "bob's report"}`)
	for query, want := range map[string]string{
		"":                               "a b c d e f REPORT",
		"status=all":                     "a b c d e f REPORT",
		"status=pending":                 "a b c",
		"status=completed":               "d e f REPORT",
		"completed=false":                "a b c",
		"completed=true":                 "d e f REPORT",
		"status=all&completed=true":      "d e f REPORT",
		"status=pending&completed=false": "a b c",
		"priority=low":                   "a d",
		"priority=low&priority=high":     "a c d f REPORT",
		"priority=high&priority=low":     "a c d f REPORT",
		"priority=low&priority=medium&priority=high": "a b c d e f REPORT",
		"priority=low&priority=low":                  "a d",
		"search=report":                              "b f REPORT",
		"search=REPORT&status=pending":               "b",
		"search=report&priority=high":                "f REPORT",
		"search=report&priority=low":                 "",
		"search=100%25":                              "b",
		"search=of+100":                              "b",
	} {
		l := s.ada.all(t, "&sort=title&order=asc&"+query)
		if got := l.titles(); got != want || l.Total != len(l.Tasks) {
			t.Errorf("%s lists %q of %d, want %q", query, got, l.Total, want)
		}
	}
}

func TestSearchHasNoWildcards(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, title := range []string{"100% sure", "under_score", `back\slash`, "École d'été", "quote ' and $1", "plain", "日本語 🎉"} {
		s.ada.create(t, `{"title": `+quoted(title)+`}`)
	}
	for search, want := range map[string]string{
		"%":           "100% sure",
		"_":           "under_score",
		`\`:           `back\slash`,
		"%e":          "",
		"école":       "École d'été",
		"D'ÉTÉ":       "École d'été",
		"É":           "École d'été",
		"'":           "quote ' and $1|École d'été",
		"$1":          "quote ' and $1",
		"本":           "日本語 🎉",
		"🎉":           "日本語 🎉",
		"; drop --":   "",
		"plain":       "plain",
		"PLAIN":       "plain",
		" ":           "100% sure|quote ' and $1|École d'été|日本語 🎉",
		"\u200bplain": "",
	} {
		l := s.ada.all(t, "&search="+url.QueryEscape(search))
		var got []string
		for _, task := range l.Tasks {
			got = append(got, task.Title)
		}
		slices.Sort(got)
		if text := strings.Join(got, "|"); text != want {
			t.Errorf("%q finds %q, want %q", search, text, want)
		}
	}
	long := strings.Repeat("é", 200)
	s.ada.create(t, `{"title": "long", "description": "`+long+`!"}`)
	if l := s.ada.all(t, "&search="+url.QueryEscape(long)); l.Total != 1 {
		t.Errorf("a search of 200 characters found %d", l.Total)
	}
	s.ada.send(t, "GET", "?search="+url.QueryEscape(long+"!"), "").want(http.StatusBadRequest)
}

// ranks maps the priorities to their order by meaning.
var ranks = map[string]int{"low": 1, "medium": 2, "high": 3}

// orders contains a comparison of two tasks for each sort in the document.
var orders = map[string]func(a, b task) int{
	"created":  func(a, b task) int { return strings.Compare(a.CreatedAt, b.CreatedAt) },
	"updated":  func(a, b task) int { return strings.Compare(a.UpdatedAt, b.UpdatedAt) },
	"title":    func(a, b task) int { return strings.Compare(a.Title, b.Title) },
	"priority": func(a, b task) int { return cmp.Compare(ranks[a.Priority], ranks[b.Priority]) },
	"due":      byDue,
	"due_date": byDue,
}

// byDue puts whole days after the times of their day.
func byDue(a, b task) int {
	return strings.Compare(a.DueDate+cmp.Or(a.DueTime, "all day"), b.DueDate+cmp.Or(b.DueTime, "all day"))
}

// compareBy compares two tasks in a list with a sort. What has no value is last in both directions.
func compareBy(sort string, ascending bool, a, b task) int {
	missing := func(t task) int {
		if strings.HasPrefix(sort, "due") && t.DueDate == "" {
			return 1
		}
		return 0
	}
	c := cmp.Or(orders[sort](a, b), strings.Compare(a.ID, b.ID))
	if !ascending {
		c = -c
	}
	return cmp.Or(cmp.Compare(missing(a), missing(b)), c)
}

// queries returns queries for every sort in both directions, with and without filters.
func queries() (all []string) {
	for sort := range orders {
		for _, order := range []string{"asc", "desc"} {
			for _, filter := range []string{"", "&status=pending", "&priority=low&priority=high", "&search=1", "&status=completed&priority=medium&search=title"} {
				all = append(all, "sort="+sort+"&order="+order+filter)
			}
		}
	}
	return all
}

func TestEverySortOrdersBothWaysAndBreaksTiesByID(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.ada.fill(t, 60)
	whole := s.ada.all(t, "").Tasks
	for _, by := range schemaOf(t, "SortBy").Enum {
		if sort := strings.TrimSuffix(by.(string), "_at"); !slices.Contains(schemaOf(t, "Sort").Enum, any(sort)) {
			t.Errorf("sort_by=%s has no sort=%s", by, sort)
		}
	}
	for _, sort := range schemaOf(t, "Sort").Enum {
		sort := sort.(string)
		if orders[sort] == nil {
			t.Errorf("the document has the sort %s, but orders has no entry for it", sort)
			continue
		}
		for _, order := range []string{"asc", "desc"} {
			want := slices.SortedFunc(slices.Values(whole), func(a, b task) int {
				return compareBy(sort, order == "asc", a, b)
			})
			by := sort
			if sort == "created" || sort == "updated" {
				by += "_at"
			}
			spellings := []string{"sort=" + sort}
			if slices.Contains(schemaOf(t, "SortBy").Enum, any(by)) {
				spellings = append(spellings, "sort_by="+by, "sort="+sort+"&sort_by="+by)
			}
			for _, query := range spellings {
				if got := s.ada.all(t, "&order="+order+"&"+query).Tasks; !slices.EqualFunc(got, want, same) {
					t.Errorf("%s %s: wrong order", query, order)
				}
			}
		}
	}
	if got := s.ada.all(t, "").Tasks; !slices.EqualFunc(got, s.ada.all(t, "&sort=created&order=desc").Tasks, same) {
		t.Error("without parameters, a list is not the newest first")
	}
}

func same(a, b task) bool { return a.ID == b.ID }

// pages reads a query page by page, by cursor, and returns its tasks in order. between is called after each page but the
// last.
func (o *owner) pages(t testing.TB, query string, limit int, between func()) (tasks []task) {
	t.Helper()
	for cursor := ""; ; {
		l := o.send(t, "GET", fmt.Sprintf("?%s&limit=%d%s", query, limit, cursor), "").list()
		if l.Limit != limit || l.Offset != 0 || len(l.Tasks) > limit {
			t.Fatalf("a page of %d, limit %d, offset %d", len(l.Tasks), l.Limit, l.Offset)
		}
		tasks = append(tasks, l.Tasks...)
		if l.NextCursor == nil {
			return tasks
		}
		if len(l.Tasks) < limit {
			t.Fatal("a short page before the last")
		}
		cursor = "&cursor=" + *l.NextCursor
		between()
	}
}

func TestCursorsPageThroughEveryQuery(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.ada.fill(t, 61)
	s.bob.fill(t, 10)
	for _, query := range queries() {
		t.Run(query, func(t *testing.T) {
			t.Parallel()
			want := s.ada.all(t, "&"+query)
			if want.Total != len(want.Tasks) || want.NextCursor != nil || want.Total < 8 {
				t.Fatalf("%d of %d at once", len(want.Tasks), want.Total)
			}
			for _, limit := range []int{7, want.Total, want.Total + 1} {
				if got := s.ada.pages(t, query, limit, func() {}); !slices.EqualFunc(got, want.Tasks, same) {
					t.Errorf("pages of %d: %d tasks, not the %d in their order", limit, len(got), len(want.Tasks))
				}
			}
		})
	}
}

func TestOffsetsPageThroughEveryQuery(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.ada.fill(t, 61)
	for _, query := range queries() {
		want := s.ada.all(t, "&"+query)
		var got []task
		for offset := 0; offset <= want.Total; offset += 9 {
			l := s.ada.send(t, "GET", fmt.Sprintf("?%s&limit=9&offset=%d", query, offset), "").list()
			if l.Total != want.Total || l.Limit != 9 || l.Offset != offset || (l.NextCursor == nil) != (offset+9 >= want.Total) {
				t.Errorf("%s: total %d, limit %d, offset %d, next %v", query, l.Total, l.Limit, l.Offset, l.NextCursor)
			}
			got = append(got, l.Tasks...)
		}
		if !slices.EqualFunc(got, want.Tasks, same) {
			t.Errorf("%s: the pages are not the list", query)
		}
	}
	if l := s.ada.send(t, "GET", "?offset=2147483647", "").list(); l.Total != 61 || len(l.Tasks) != 0 || l.NextCursor != nil {
		t.Errorf("beyond the end: %+v", l)
	}
	// A cursor may continue after a page that was requested by offset.
	first := s.ada.send(t, "GET", "?limit=20&offset=30", "").list()
	rest := s.ada.pages(t, "cursor="+*first.NextCursor, 20, func() {})
	if whole := s.ada.all(t, ""); !slices.EqualFunc(append(first.Tasks, rest...), whole.Tasks[30:], same) {
		t.Error("a cursor does not continue after a page by offset")
	}
}

// A client that reads all pages sees every unchanged task exactly once, even if others write meanwhile.
func TestPagingNeitherRepeatsNorSkipsWhileOthersWrite(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, query := range []string{"sort=created", "sort=updated&order=asc", "sort=title", "sort=priority&order=asc"} {
		t.Run(query, func(t *testing.T) {
			t.Parallel()
			reader := s.named(s.newUser(t))
			reader.fill(t, 120)
			var still, moving []task
			for i, task := range reader.all(t, "").Tasks {
				if i%4 == 0 {
					moving = append(moving, task)
				} else {
					still = append(still, task)
				}
			}
			var seen []string
			for _, task := range reader.pages(t, query, 11, func() {
				if len(moving) < 3 {
					return
				}
				for _, task := range moving[:2] {
					reader.send(t, "PATCH", "/"+task.ID, `{"title": "zzz", "priority": "high"}`).want(http.StatusOK)
				}
				reader.send(t, "DELETE", "/"+moving[2].ID, "").want(http.StatusNoContent)
				reader.create(t, `{"title": "new"}`)
				moving = moving[3:]
			}) {
				seen = append(seen, task.ID)
			}
			for _, task := range still {
				if n := count(seen, task.ID); n != 1 {
					t.Errorf("a task that did not change was seen %d times", n)
				}
			}
		})
	}
}

func count(all []string, one string) (n int) {
	for _, each := range all {
		if each == one {
			n++
		}
	}
	return n
}

func TestACursorOfAnotherQueryIsRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.ada.fill(t, 30)
	s.bob.fill(t, 30)
	const query = "?status=pending&priority=low&search=title&sort=title&order=asc&limit=2"
	cursor := *s.ada.send(t, "GET", query, "").list().NextCursor
	s.ada.send(t, "GET", query+"&cursor="+cursor, "").want(http.StatusOK)
	s.ada.send(t, "GET", strings.Replace(query, "limit=2", "limit=9", 1)+"&cursor="+cursor, "").want(http.StatusOK)
	s.ada.send(t, "GET", strings.Replace(query, "sort=", "sort_by=", 1)+"&cursor="+cursor, "").want(http.StatusOK)

	refused := func(what string, o *owner, query string) {
		t.Helper()
		p := o.send(t, "GET", query, "").want(http.StatusBadRequest).problem()
		if len(p.Errors) != 1 || p.Errors[0].Parameter != "cursor" {
			t.Errorf("%s: %+v", what, p)
		}
	}
	refused("of another owner", s.bob, query+"&cursor="+cursor)
	for _, change := range [][2]string{
		{"status=pending", "status=completed"},
		{"status=pending&", ""},
		{"priority=low", "priority=high"},
		{"priority=low", "priority=low&priority=high"},
		{"search=title", "search=titl"},
		{"search=title&", ""},
		{"sort=title", "sort=priority"},
		{"sort=title", "sort=created"},
		{"order=asc", "order=desc"},
	} {
		refused("of another query, "+change[1], s.ada, strings.Replace(query, change[0], change[1], 1)+"&cursor="+cursor)
	}
	for i := range cursor { // one character changed, at any position
		other := "A"
		if cursor[i] == 'A' {
			other = "B"
		}
		refused("damaged", s.ada, query+"&cursor="+cursor[:i]+other+cursor[i+1:])
	}
	for _, damaged := range []string{
		cursor[:len(cursor)-1], cursor[1:], cursor + "A", cursor + cursor, "A", "AAAA", strings.Repeat("A", 2048), strings.Repeat("A", 2049),
		"", "%20", cursor + "%3D", cursor + "%00", "%FF", "*", "null",
	} {
		refused("damaged", s.ada, query+"&cursor="+damaged)
	}
}

func TestACursorWorksAfterItsTaskWasDeleted(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.ada.fill(t, 20)
	whole := s.ada.all(t, "&sort=title").Tasks
	first := s.ada.send(t, "GET", "?sort=title&limit=5", "").list()
	s.ada.send(t, "DELETE", "/"+first.Tasks[4].ID, "").want(http.StatusNoContent)
	second := s.ada.send(t, "GET", "?sort=title&limit=15&cursor="+*first.NextCursor, "").list()
	if !slices.EqualFunc(second.Tasks, whole[5:], same) || second.Total != 19 {
		t.Error("the next page differs")
	}
}

func TestListParametersAreReadStrictly(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.ada.create(t, `{"title": "One"}`)
	for _, query := range []string{
		"limit=1", "limit=1000", "offset=0", "offset=2147483647", "limit=10&offset=2", "%6Cimit=1", "", "&", "limit=1&", "&&limit=1", "search=a%3Bb%26c",
		"search=" + strings.Repeat("%F0%9F%8E%89", 200),
	} {
		s.ada.send(t, "GET", "?"+query, "").want(http.StatusOK)
	}
	for query, parameter := range map[string]string{
		"limit=0": "limit", "limit=1001": "limit", "limit=-1": "limit", "limit=010": "limit", "limit=%2B10": "limit", "limit=+10": "limit",
		"limit=1.0": "limit", "limit=1e2": "limit", "limit=": "limit", "limit": "limit", "limit=ten": "limit", "limit=0x10": "limit", "limit=1_0": "limit",
		"limit=%EF%BC%91": "limit", "limit=9223372036854775808": "limit", "limit=1%00": "limit", "limit=10;offset=2": "limit", "limit=1&limit=1": "limit",
		"limit=1&%6Cimit=1": "limit",
		"offset=-1":         "offset", "offset=2147483648": "offset", "offset=99999999999999999999": "offset", "offset=00": "offset", "offset=-0": "offset",
		"status=Pending": "status", "status=": "status", "status=done": "status", "status=all&status=all": "status", "status=%FF": "status",
		"completed=1": "completed", "completed=TRUE": "completed", "completed=": "completed", "completed=null": "completed",
		"priority=HIGH": "priority", "priority=": "priority", "priority=low,high": "priority", "priority[]=low": "priority[]",
		"priority=low&priority=low&priority=low&priority=low": "priority",
		"sort=created_at": "sort", "sort=id": "sort", "sort=": "sort", "sort=title&sort=title": "sort",
		"sort_by=created": "sort_by", "sort_by=updated": "sort_by", "sort_by=": "sort_by",
		"order=DESC": "order", "order=": "order", "order=descending": "order",
		"search=": "search", "search=%00": "search", "search=a%00b": "search", "search=%FF": "search", "search=%ED%A0%80": "search",
		"search=" + strings.Repeat("a", 201): "search", "search=a&search=a": "search", "search=a;b": "search", "search=%zz": "search", "search=%": "search",
		"Limit=1": "Limit", "page=2": "page", "q=a": "q", "user_id=1": "user_id", "%zz=1": "%zz", "%FF=1": "\ufffd", "=1": "(no name)",
		"status=pending&completed=true": "completed", "status=completed&completed=false": "completed",
		"sort=title&sort_by=priority": "sort_by", "sort=created&sort_by=updated_at": "sort_by",
		"cursor=AAAA&offset=0": "offset",
	} {
		p := s.ada.send(t, "GET", "?"+query, "").want(http.StatusBadRequest).problem()
		if p.Code != "invalid_parameter" || len(p.Errors) != 1 || p.Errors[0].Parameter != parameter {
			t.Errorf("%s: %+v", query, p)
		}
	}
}

func TestOtherOperationsRefuseTheParametersOfLists(t *testing.T) {
	t.Parallel()
	s := start(t)
	made := s.ada.create(t, `{"title": "Stay"}`)
	for _, op := range contract.Current().Operations {
		if op.OperationID == "listTasks" || op.OperationID == "listOccurrences" {
			continue
		}
		c := callOf(t, op, s.ada, made.ID)
		c.target += "?offset=1"
		if p := s.call(t, c).want(http.StatusBadRequest).problem(); len(p.Errors) != 1 || p.Errors[0].Parameter != "offset" {
			t.Errorf("%s: %+v", op.OperationID, p)
		}
	}
	if l := s.ada.all(t, ""); l.Total != 1 || l.Tasks[0] != made {
		t.Error("a refused request changed something")
	}
}

func TestListHasDefaultsAndLimits(t *testing.T) {
	t.Parallel()
	s := start(t)
	if l := s.ada.send(t, "GET", "", "").list(); l.Tasks == nil || l.Total != 0 || l.Limit != 100 || l.Offset != 0 || l.NextCursor != nil {
		t.Errorf("the empty list is %+v", l)
	}
	s.ada.fill(t, 1001)
	if l := s.ada.send(t, "GET", "", "").list(); len(l.Tasks) != 100 || l.Total != 1001 || l.NextCursor == nil {
		t.Errorf("by default %d of %d", len(l.Tasks), l.Total)
	}
	if l := s.ada.send(t, "GET", "?limit=1000", "").list(); len(l.Tasks) != 1000 || l.Total != 1001 || l.NextCursor == nil {
		t.Errorf("at most %d of %d", len(l.Tasks), l.Total)
	}
}

// Times are in UTC, to the microsecond, whatever time zone the database's sessions have.
func TestTimesAreUTCWithMicroseconds(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *options) { o.databaseURL += "&timezone=Asia/Kathmandu" })
	before := time.Now().Add(-time.Minute)
	made := s.ada.create(t, `{"title": "Now"}`)
	if created, err := time.Parse(time.RFC3339Nano, made.CreatedAt); err != nil || created.Before(before) || created.After(before.Add(time.Hour)) {
		t.Errorf("created_at is %s", made.CreatedAt)
	}
	s.exec(t, "update task set created_at = '2026-03-09 08:00:00.1+05:45' where id = $1", made.ID)
	if got := s.ada.send(t, "GET", "/"+made.ID, "").want(http.StatusOK).task().CreatedAt; got != "2026-03-09T02:15:00.100000Z" {
		t.Errorf("created_at is %s", got)
	}
}
