package server_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"docket/contract"
)

// The tests of this file range over the document. A field, filter or sort that is added there fails them until it works
// everywhere. docs/architecture.md lists the places to change.

func schemaOf(t testing.TB, name string) *openapi3.Schema {
	t.Helper()
	ref := contract.Current().Components.Schemas[name]
	if ref == nil {
		t.Fatalf("the document has no schema %s", name)
	}
	return ref.Value
}

// settable returns the members of a request's schema that set a field. Those that only a request has change one. The others may be sent so that a task can be sent
// back as it was read.
func settable(schema *openapi3.Schema) openapi3.Schemas {
	fields := maps.Clone(schema.Properties)
	maps.DeleteFunc(fields, func(_ string, member *openapi3.SchemaRef) bool {
		s := member.Value
		return s.ReadOnly || s.Extensions["x-equals"] != nil || s.Extensions["x-condition"] != nil
	})
	return fields
}

// stored returns those of settable that set a field of the same name.
func stored(schema *openapi3.Schema) openapi3.Schemas {
	fields := settable(schema)
	maps.DeleteFunc(fields, func(_ string, member *openapi3.SchemaRef) bool { return member.Value.WriteOnly })
	return fields
}

// samples are values that members of requests may have. A member that accepts none of them needs an example in the
// document.
var samples = []any{
	true, false, "Feed the cat", "The grey one", "2026-03-09", "2027-11-30", "09:30", "23:00", "Europe/Berlin", "America/New_York",
	"FREQ=DAILY", "2026-03-09T08:00:00Z", "8f14e45f-ceea-467f-a0e6-1c2d3b4a5f60", 7.0, 8.0,
	[]any{"home", "garden"},
	[]any{"work"},
}

// value returns a value that the schema allows and that is none of the others.
func value(t testing.TB, name string, schema *openapi3.Schema, others ...any) any {
	t.Helper()
	for _, v := range slices.Concat([]any{schema.Example}, schema.Enum, samples) {
		other := !slices.ContainsFunc(others, func(o any) bool { return reflect.DeepEqual(o, v) })
		if v != nil && other && schema.VisitJSON(v) == nil {
			return v
		}
	}
	t.Fatalf("%s: give it an example in the document that is not %v", name, others)
	return nil
}

type object = map[string]any

func jsonOf(t testing.TB, a *answer) object {
	t.Helper()
	o, ok := contract.ParseJSON(a.body).(object)
	if !ok {
		t.Fatalf("the answer is %s", a)
	}
	return o
}

// everywhere reads a task through every operation that returns it, and fails if one differs from want.
func (o *owner) everywhere(t testing.TB, want object) {
	t.Helper()
	got := jsonOf(t, o.send(t, "GET", "/"+want["id"].(string), "").want(http.StatusOK))
	for name := range want {
		if !reflect.DeepEqual(got[name], want[name]) {
			t.Errorf("GET gives %s %v, want %v", name, got[name], want[name])
		}
	}
	for _, listed := range jsonOf(t, o.send(t, "GET", "", "").want(http.StatusOK))["tasks"].([]any) {
		if listed := listed.(object); listed["id"] == want["id"] {
			for name := range want {
				if !reflect.DeepEqual(listed[name], want[name]) {
					t.Errorf("%s is %v in the list, want %v", name, listed[name], want[name])
				}
			}
			return
		}
	}
	t.Error("the task is in no list")
}

// A member that is not required would be optional in generated clients, although it is always there.
func TestEveryMemberOfATaskIsRequired(t *testing.T) {
	t.Parallel()
	task := schemaOf(t, "Task")
	for name := range task.Properties {
		if !slices.Contains(task.Required, name) {
			t.Errorf("the document does not require %s of Task", name)
		}
	}
}

func TestEveryMemberOfATaskIsStoredAndReturned(t *testing.T) {
	t.Parallel()
	s := start(t)
	properties := stored(schemaOf(t, "NewTask"))
	smallest := object{}
	for _, name := range schemaOf(t, "NewTask").Required {
		smallest[name] = value(t, name, properties[name].Value)
	}
	absent := jsonOf(t, s.ada.send(t, "POST", "", string(must(json.Marshal(smallest)))).want(http.StatusCreated))
	sent := object{}
	for name, ref := range properties {
		sent[name] = value(t, name, ref.Value, absent[name]) // not the value that it has when it is not sent
	}
	body := string(must(json.Marshal(sent)))
	for _, headers := range [][]string{nil, {"Idempotency-Key: all-members"}} {
		made := s.ada.send(t, "POST", "", body, headers...).want(http.StatusCreated)
		want := jsonOf(t, made)
		for name, v := range sent {
			if !reflect.DeepEqual(want[name], v) {
				t.Errorf("%s was sent as %v, and is %v", name, v, want[name])
			}
		}
		for name := range schemaOf(t, "Task").Properties {
			if _, there := want[name]; !there {
				t.Errorf("the answer has no %s", name)
			}
		}
		s.ada.everywhere(t, want)
		if headers == nil {
			continue
		}
		again := s.ada.send(t, "POST", "", body, headers...).want(http.StatusCreated)
		if again.get("Idempotent-Replayed") != "true" || again.body != made.body {
			t.Errorf("the replay is %s, want %s", again, made.body)
		}
		for name, ref := range properties { // a request that differs in any member is another one
			other := maps.Clone(sent)
			other[name] = value(t, name, ref.Value, sent[name])
			p := s.ada.send(t, "POST", "", string(must(json.Marshal(other))), headers...).want(http.StatusUnprocessableEntity).problem()
			if p.Code != "idempotency_key_reused" {
				t.Errorf("another %s under the same key: %+v", name, p)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(properties)) { // due_date before those that need it
		if properties[name].Value.Nullable {
			sent[name] = nil
			made := jsonOf(t, s.ada.send(t, "POST", "", string(must(json.Marshal(sent)))).want(http.StatusCreated))
			if made[name] != nil {
				t.Errorf("%s was sent as null, and is %v", name, made[name])
			}
		}
	}
}

// dependents has, for each member, those that the service sets by it. Tests of their own say to what.
var dependents = map[string][]string{
	"completed":       {"completed_at", "next_task_id"},
	"due_date":        {"due_time", "time_zone", "due_at", "recurrence_rule", "series_id", "occurrence_date"}, // null clears all
	"due_time":        {"due_at"},
	"time_zone":       {"due_at"},
	"recurrence_rule": {"series_id", "occurrence_date"},
}

func TestEveryChangeIsStored(t *testing.T) {
	t.Parallel()
	s := start(t)
	full := object{}
	for name, ref := range stored(schemaOf(t, "NewTask")) {
		full[name] = value(t, name, ref.Value)
	}
	for _, how := range [][2]string{{"PUT", "application/json"}, {"PATCH", "application/json"}, {"PATCH", "application/merge-patch+json"}} {
		for name, ref := range stored(schemaOf(t, "TaskChanges")) {
			want := jsonOf(t, s.ada.send(t, "POST", "", string(must(json.Marshal(full)))).want(http.StatusCreated))
			changes := []any{value(t, name, ref.Value, want[name])}
			if ref.Value.Nullable {
				changes = append(changes, nil)
			}
			for _, v := range changes {
				sent := object{name: v}
				if name == "time_zone" && v == nil {
					sent["due_time"], want["due_time"] = nil, nil // needs it
				}
				body := string(must(json.Marshal(sent)))
				changed := jsonOf(t, s.ada.send(t, how[0], "/"+want["id"].(string), body, "Content-Type: "+how[1]).want(http.StatusOK))
				want[name] = v
				for _, follows := range slices.Concat([]string{"updated_at", "revision", "etag"}, dependents[name]) {
					want[follows] = changed[follows]
				}
				if !reflect.DeepEqual(changed, want) { // this member, and no other
					t.Errorf("%s %s gives %v, want %v", how[0], body, changed, want)
				}
				s.ada.everywhere(t, want)
			}
		}
	}
}

// listCase is the effect of a query parameter on the tasks of a list without it, in their order.
type listCase struct {
	query string
	want  func(all []task) []task
	page  bool // it selects a part of a list, so that cursors remain valid with it
}

func only(keep func(task) bool) func([]task) []task {
	return func(all []task) []task {
		return slices.DeleteFunc(slices.Clone(all), func(t task) bool { return !keep(t) })
	}
}

func sorted(order string, ascending bool) func([]task) []task {
	return func(all []task) []task {
		return slices.SortedFunc(slices.Values(all), func(a, b task) int {
			return compareBy(order, ascending, a, b)
		})
	}
}

// listCases has a case for each query parameter of listTasks.
var listCases = map[string]listCase{
	"status":     {query: "status=pending", want: only(func(t task) bool { return !t.Completed })},
	"completed":  {query: "completed=true", want: only(func(t task) bool { return t.Completed })},
	"priority":   {query: "priority=high", want: only(func(t task) bool { return t.Priority == "high" })},
	"search":     {query: "search=title+1", want: only(func(t task) bool { return t.Title == "title 1" })},
	"sort":       {query: "sort=title", want: sorted("title", false)},
	"sort_by":    {query: "sort_by=priority", want: sorted("priority", false)},
	"due_after":  {query: "due_after=2026-03-11", want: only(func(t task) bool { return t.DueDate >= "2026-03-11" })},
	"due_before": {query: "due_before=2026-03-11", want: only(func(t task) bool { return t.DueDate != "" && t.DueDate < "2026-03-11" })},
	"due":        {query: "due=any", want: only(func(t task) bool { return t.DueDate != "" })},
	"order":      {query: "order=asc", want: sorted("created", true)},
	// Not in the default order, which would be the list of the case above.
	"sort_order": {query: "sort_order=asc&sort=title", want: sorted("title", true)},
	"tag":        {query: "tag=EVEN", want: only(func(t task) bool { return slices.Contains(t.Tags.names(), "Even") })},
	"tags":       {query: "tags=third,even", want: only(func(t task) bool { return len(t.Tags.names()) > 0 })},
	"tag_match":  {query: "tag_match=all&tag=third&tag=even", want: only(func(t task) bool { return len(t.Tags.names()) == 2 })},
	"limit":      {query: "limit=3", want: func(all []task) []task { return all[:3] }, page: true},
	"offset":     {query: "offset=4", want: func(all []task) []task { return all[4:] }, page: true},
	"cursor":     {query: "cursor=", want: func(all []task) []task { return all[10:] }, page: true}, // of the first page of 10
}

func TestEveryQueryParameterOfAListIsApplied(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.ada.fill(t, 40)
	whole := s.ada.send(t, "GET", "", "").want(http.StatusOK)
	all := whole.list().Tasks
	first := *s.ada.send(t, "GET", "?limit=10", "").list().NextCursor
	tags := map[string]string{whole.get("ETag"): "none"}
	for _, p := range contract.Current().Parameters(contract.Current().Named("listTasks")) {
		if p.In != openapi3.ParameterInQuery {
			continue
		}
		c, known := listCases[p.Name]
		if !known {
			t.Errorf("the document has the parameter %s, but listCases has no entry for it", p.Name)
			continue
		}
		if p.Name == "cursor" {
			c.query += first
		}
		name, _, _ := strings.Cut(c.query, "=")
		if name != p.Name {
			t.Errorf("the case of %s is about %s", p.Name, name)
		}
		// Its tag differs from every other list's, so that it is not answered with 304 for another list's tag.
		a := s.ada.send(t, "GET", "?"+c.query, "", "If-None-Match: "+whole.get("ETag")).want(http.StatusOK)
		got, want := a.list(), c.want(all)
		if !slices.EqualFunc(got.Tasks, want, same) || slices.EqualFunc(got.Tasks, all, same) {
			t.Errorf("%s returns the wrong %d tasks, want %d", c.query, len(got.Tasks), len(want))
		}
		if !c.page && got.Total != len(want) {
			t.Errorf("%s: total %d, want %d", c.query, got.Total, len(want))
		}
		if other := tags[a.get("ETag")]; other != "" {
			t.Errorf("%s and %s have one tag", c.query, other)
		}
		tags[a.get("ETag")] = c.query
		s.ada.send(t, "GET", "?"+c.query, "", "If-None-Match: "+a.get("ETag")).want(http.StatusNotModified)
		if c.page {
			continue
		}
		// It also refuses the cursors of other lists.
		s.refusesCursor(t, first, c.query)
		own := s.ada.send(t, "GET", "?limit=2&"+c.query, "").list().NextCursor
		if own == nil {
			t.Errorf("%s leaves no second page", c.query)
			continue
		}
		s.refusesCursor(t, *own, "")
		rest := s.ada.send(t, "GET", "?"+c.query+"&cursor="+*own, "").list().Tasks
		if !slices.EqualFunc(rest, want[2:], same) {
			t.Errorf("%s: its second page is not its own", c.query)
		}
	}
}

func (s *service) refusesCursor(t testing.TB, cursor, query string) {
	t.Helper()
	p := s.ada.send(t, "GET", "?cursor="+url.QueryEscape(cursor)+"&"+query, "").want(http.StatusBadRequest).problem()
	if len(p.Errors) != 1 || p.Errors[0].Parameter != "cursor" {
		t.Errorf("another list's cursor with %q: %+v", query, p)
	}
}
