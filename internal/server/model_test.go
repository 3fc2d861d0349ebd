package server_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// The model is a map of tasks for each owner. The test sends thousands of random requests by several owners, one after
// the other, with current and older tags and keys, as several clients of one owner would. After each request, the
// answer and the owner's list must match the model. DOCKET_TEST_SEED repeats a run.
func TestServiceBehavesLikeItsModel(t *testing.T) {
	t.Parallel()
	const steps = 3000
	seed := rand.Uint64()
	if text := os.Getenv("DOCKET_TEST_SEED"); text != "" {
		seed = must(strconv.ParseUint(text, 10, 64))
	}
	t.Logf("DOCKET_TEST_SEED=%d repeats this run", seed)
	s := start(t)
	m := &model{t: t, Rand: rand.New(rand.NewPCG(seed, 0)), outcomes: map[string]int{}}
	for _, o := range []*owner{s.ada, s.bob, s.named(s.newUser(t))} {
		m.owners = append(m.owners, &ownerModel{owner: o, tasks: map[string]taskModel{}, keys: map[string]keyModel{}, answers: map[string]listModel{}})
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the last steps:\n%s", strings.Join(m.trace[max(0, len(m.trace)-20):], "\n"))
		}
	})
	for range steps {
		m.step()
		if t.Failed() {
			break
		}
	}
	t.Logf("%v", m.outcomes)
	for _, what := range []string{
		"create 201", "create 201 replayed", "create 422", "get 200", "get 304", "get 404", "change 200", "change 400", "change 404", "change 412", "change 422",
		"complete 200", "complete 404", "complete 412", "delete 204", "delete 404", "delete 412", "list 200", "list 304", "list 400", "list 200 by cursor",
		"stats 200", "stats 304", "tag 200", "tag 404", "foreign 403", "poll 200", "poll 304",
		"skip 200", "skip 412", "skip 422", "occurrences 200", "occurrences 404", "followed", "taken",
	} {
		if m.outcomes[what] < 5 && !t.Failed() {
			t.Errorf("%s happened %d times: %v", what, m.outcomes[what], m.outcomes)
		}
	}
}

// model is the state that the service should have.
type model struct {
	*rand.Rand
	t        *testing.T
	owners   []*ownerModel
	trace    []string
	outcomes map[string]int
}

// ownerModel is an owner and the state that it should have.
type ownerModel struct {
	*owner
	tasks   map[string]taskModel
	deleted []string // ids
	version int      // how many changes there were
	keys    map[string]keyModel
	answers map[string]listModel // the newest answer to each list's address
	counted listModel            // the newest answer to getStats
	cursors []cursor
	tags    []string // every tag so far
}

// taskModel is a task as returned by its last change.
type taskModel struct {
	fullTask
	body, tag string
}

// keyModel is the first answer to a create with a key.
type keyModel struct {
	sent  fields
	asked fullTask
	body  string
	head  [2]string
}

// listModel is an answer to a list that a client has, and its owner's version at that time.
type listModel struct {
	version   int
	meaning   string
	tag, body string
}

// say records a step for the trace of a failure.
func (m *model) say(format string, args ...any) {
	m.trace = append(m.trace, fmt.Sprintf("%5d ", len(m.trace))+fmt.Sprintf(format, args...))
}

// happened counts the kinds of outcome, so that the test can require that all of them occurred.
func (m *model) happened(what string, a *answer, more ...string) {
	what = strings.Join(append([]string{what, strconv.Itoa(a.status)}, more...), " ")
	m.say("  %s", what)
	m.outcomes[what]++
}

func (m *model) chance(percent int) bool { return m.IntN(100) < percent }

func pick[T any](m *model, from []T) T { return from[m.IntN(len(from))] }

func (m *model) step() {
	m.t.Helper()
	o := pick(m, m.owners)
	act := pick(m, []func(*ownerModel){
		m.create, m.create, m.create, m.get, m.get, m.change, m.change, m.change, m.complete, m.complete, m.complete, m.skip, m.occurrences, m.delete, m.list, m.list, m.list, m.stats, m.stats, m.renameTag, m.foreign, m.bySQL,
	})
	if len(o.tasks) > 20 {
		act = m.delete
	}
	act(o)
	m.poll(o)
	if m.chance(30) {
		m.poll(pick(m, m.owners)) // usually another owner, whose tasks have not changed
	}
}

// poll reads all of an owner's tasks with the last tag, as a frontend does. The answer must be 304 unless something has
// changed.
func (m *model) poll(o *ownerModel) {
	m.t.Helper()
	const path = "?limit=1000"
	last, polled := o.answers[path]
	var headers []string
	if polled {
		headers = append(headers, "If-None-Match: "+last.tag)
	}
	a := o.send(m.t, "GET", path, "", headers...)
	m.happened("poll", a)
	m.checkList(o, path, query{limit: 1000}, a, polled && last.version == o.version)
}

// stats reads the counts, often with the tag of an earlier answer.
func (m *model) stats(o *ownerModel) {
	m.t.Helper()
	last, asked := o.counted, o.counted.tag != ""
	asked = asked && m.chance(70)
	var headers []string
	if asked {
		headers = append(headers, "If-None-Match: "+last.tag)
	}
	m.say("%.3s stats %s", o.id, headers)
	a := o.stats(m.t, headers...)
	m.happened("stats", a)
	if !m.t.Failed() && !asked {
		defer m.stats(o) // often with the tag of this answer
	}
	if asked && last.version == o.version {
		if a.want(http.StatusNotModified); a.get("ETag") != last.tag {
			m.t.Errorf("the tag is %s, want %s", a.get("ETag"), last.tag)
		}
		return
	}
	var tasks []task
	for _, t := range o.tasks {
		tasks = append(tasks, t.task)
	}
	a.wantStats(tasks)
	o.counted = listModel{o.version, "stats", a.get("ETag"), a.body}
}

// anID usually returns the id of one of the owner's tasks. Otherwise it returns the id of another owner's task, of a
// deleted one, or of none.
func (m *model) anID(o *ownerModel) string {
	other := pick(m, m.owners)
	switch n := m.IntN(100); {
	case n < 80 && len(o.tasks) > 0:
		return pick(m, slices.Sorted(maps.Keys(o.tasks)))
	case n < 88 && len(o.deleted) > 0:
		return pick(m, o.deleted)
	case n < 96 && other != o && len(other.tasks) > 0:
		return pick(m, slices.Sorted(maps.Keys(other.tasks)))
	case n < 98:
		return "no-such-task"
	}
	return uuid.NewString()
}

// aTag returns a condition on a task, and whether it holds with strong and with weak comparison.
func (m *model) aTag(o *ownerModel, at taskModel) (condition string, strong, weak bool) {
	junk := `"another"`
	if len(o.tags) > 0 {
		junk = pick(m, o.tags) // of another task or an older one of this task, or its own by chance
	}
	own := junk == at.tag
	switch m.IntN(6) {
	case 0:
		return "*", true, true
	case 1:
		return at.tag, true, true
	case 2:
		return junk + " , " + at.tag, true, true
	case 3:
		return "W/" + at.tag, false, true
	}
	return junk, own, own
}

var words = []string{"bread", "break", "milk", "milkshake", "oat", "oatmeal", "plum", "zest"}

// someTags returns up to three tags, which may differ by case only.
func (m *model) someTags() []string {
	names := []string{}
	for range m.IntN(4) {
		names = append(names, pick(m, []string{"home", "Home", "work", "WORK", "straße", "STRAßE"}))
	}
	return names
}

func hasTag(names []string, name string) bool {
	return slices.ContainsFunc(names, func(other string) bool { return strings.EqualFold(other, name) })
}

// uniqueTags returns tags as the service stores them.
func uniqueTags(names []string) rawTags {
	var unique []string
	for _, name := range names {
		if !hasTag(unique, name) {
			unique = append(unique, name)
		}
	}
	return tagsOf(unique...)
}

// renameTag renames a tag, or deletes it.
func (m *model) renameTag(o *ownerModel) {
	m.t.Helper()
	name, renamed := pick(m, []string{"home", "work", "STRAßE", "none"}), pick(m, []string{"Home", "work", "straße"})
	method, body := "PATCH", `{"name": "`+renamed+`"}`
	if m.chance(30) {
		method, body = "DELETE", ""
	}
	m.say("%.3s %s tag %s %s", o.id, method, name, body)
	a := o.tag(m.t, method, name, body)
	m.happened("tag", a)
	changed := 0
	for id, at := range o.tasks {
		if !hasTag(at.Tags.names(), name) {
			continue
		}
		changed++
		var names []string
		for _, tag := range at.Tags.names() {
			switch {
			case !strings.EqualFold(tag, name):
				names = append(names, tag)
			case method == "PATCH":
				names = append(names, renamed)
			}
		}
		now := o.send(m.t, "GET", "/"+id, "").want(http.StatusOK)
		want := at.fullTask
		want.Tags = uniqueTags(names)
		if got := now.full(); !reflect.DeepEqual(got, want.changedTo(got)) || got.Revision <= at.Revision {
			m.t.Errorf("it was %+v, is %+v, want %+v", at, got, want)
		}
		o.put(m.t, taskModel{now.full(), now.body, now.get("ETag")})
	}
	if changed == 0 {
		a.want(http.StatusNotFound)
	} else if a.want(http.StatusOK); a.body != fmt.Sprintf("{\"changed\":%d}\n", changed) {
		m.t.Errorf("the answer is %s, want %d", a, changed)
	}
}

func (m *model) create(o *ownerModel) {
	m.t.Helper()
	asked := fullTask{task{Title: pick(m, words) + pick(m, words), Priority: "medium", Tags: "[]"}, scheduled{RecurrenceMode: "skip_missed"}}
	fields := fields{"title": asked.Title}
	if m.chance(30) {
		fields["title"] = "\t" + asked.Title + " "
	}
	switch m.IntN(3) {
	case 0:
		asked.Description = new("100 % " + strings.ToUpper(pick(m, words)) + ` _\`)
		fields["description"] = *asked.Description
	case 1:
		fields["description"] = nil
	}
	if m.chance(60) {
		asked.Priority = pick(m, []string{"low", "medium", "high"})
		fields["priority"] = asked.Priority
	}
	if m.chance(50) {
		asked.Completed = m.chance(50)
		fields["completed"] = asked.Completed
	}
	if m.chance(50) {
		names := m.someTags()
		asked.Tags, fields["tags"] = uniqueTags(names), names
	}
	if m.chance(60) {
		m.schedule(fields)
	}
	p := planned{want: asked}
	invalid := !p.reschedule(fields)
	asked = p.want
	if m.chance(5) {
		invalid = true
		fields[pick(m, []string{"title", "priority", "completed", "titel"})] = " "
	}
	var headers []string
	var key string
	var before keyModel
	used := false
	if m.chance(50) {
		key = "key-" + strconv.Itoa(m.IntN(20))
		headers = append(headers, "Idempotency-Key: "+key)
		if before, used = o.keys[key]; used && !invalid && m.chance(60) {
			asked, fields = before.asked, before.sent
		}
	}
	body := string(must(json.Marshal(fields)))
	m.say("%.3s create %s %s", o.id, body, headers)
	a := o.send(m.t, "POST", "", body, headers...)
	same := reflect.DeepEqual(asked, before.asked)
	switch {
	case invalid || used && !same:
		a.want(http.StatusUnprocessableEntity)
		m.happened("create", a)
	case used:
		a.want(http.StatusCreated)
		m.happened("create", a, "replayed")
		if a.body != before.body || [2]string{a.get("ETag"), a.get("Location")} != before.head || a.get("Idempotent-Replayed") != "true" {
			m.t.Errorf("first %+v, then %s", before, a)
		}
	default:
		a.want(http.StatusCreated)
		m.happened("create", a)
		made := a.full()
		want := asked
		if want.RecurrenceRule != "" {
			want.SeriesID = made.ID
		}
		if want.Completed {
			want.CompletedAt = made.CreatedAt
		}
		want.ID, want.UserID, want.CreatedAt, want.UpdatedAt = made.ID, o.id, made.CreatedAt, made.CreatedAt
		want.Revision, want.Etag = made.Revision, a.get("ETag")
		if !reflect.DeepEqual(made, want) || a.get("Idempotent-Replayed") != "" || a.get("Location") != o.owner.tasks()+"/"+made.ID {
			m.t.Errorf("made %s, want %+v", a, want)
		}
		if _, there := o.tasks[made.ID]; there || slices.Contains(o.deleted, made.ID) {
			m.t.Errorf("the id %s is in use already", made.ID)
		}
		o.put(m.t, taskModel{made, a.body, a.get("ETag")})
		if key != "" {
			o.keys[key] = keyModel{fields, asked, a.body, [2]string{a.get("ETag"), a.get("Location")}}
		}
	}
}

// put records a change of a task. Its tag must be new.
func (o *ownerModel) put(t *testing.T, now taskModel) {
	t.Helper()
	if slices.Contains(o.tags, now.tag) {
		t.Errorf("the tag %s was used before", now.tag)
	}
	o.tags = append(o.tags, now.tag)
	o.tasks[now.ID] = now
	o.version++
}

func (m *model) get(o *ownerModel) {
	m.t.Helper()
	id := m.anID(o)
	at, there := o.tasks[id]
	var headers []string
	unchanged := false
	if m.chance(60) {
		var condition string
		condition, _, unchanged = m.aTag(o, at)
		if !there {
			condition = "*"
		}
		headers = append(headers, "If-None-Match: "+condition)
	}
	m.say("%.3s get %s %s", o.id, id, headers)
	a := o.send(m.t, pick(m, []string{"GET", "GET", "HEAD"}), "/"+id, "", headers...)
	m.happened("get", a)
	switch {
	case !there:
		a.want(http.StatusNotFound)
		return
	case unchanged:
		a.want(http.StatusNotModified)
	default:
		if a.want(http.StatusOK); a.body != at.body && a.body != "" {
			m.t.Errorf("got %s, want %s", a, at.body)
		}
	}
	if a.get("ETag") != at.tag {
		m.t.Errorf("the tag is %s, want %s", a.get("ETag"), at.tag)
	}
}

// changedAt sends a change of a task, checks the answer and records it. plan says what follows from the change at a moment,
// which matters only where a day ends in the meantime.
func (m *model) changedAt(what string, o *ownerModel, id, method, suffix, body string, headers []string, refusal int, plan func(fullTask, time.Time) planned) {
	m.t.Helper()
	at, there := o.tasks[id]
	stale := false
	if m.chance(50) {
		condition, strong, _ := m.aTag(o, at)
		if !there {
			condition = pick(m, []string{"*", `"another"`})
		}
		stale = !strong
		if refusal == 0 && method != "DELETE" && strings.Count(condition, `"`) == 2 && m.chance(50) {
			fields := map[string]any{}
			if body != "" {
				check(m.t, json.Unmarshal([]byte(body), &fields))
			}
			fields["etag"] = condition
			body = string(must(json.Marshal(fields)))
		} else {
			headers = append(headers, "If-Match: "+condition)
		}
	}
	m.say("%.3s %s %s %s %s %s", o.id, method, id, suffix, body, headers)
	before := time.Now()
	a := o.send(m.t, method, "/"+id+suffix, body, headers...)
	after := time.Now()
	m.happened(what, a)
	var p planned
	if there && plan != nil {
		p = plan(at.fullTask, before)
	}
	switch {
	case refusal != 0:
		a.want(refusal)
	case !there:
		a.want(http.StatusNotFound)
		if a.problem().Detail != "Task not found or does not belong to this user" {
			m.t.Errorf("the answer is %s", a)
		}
	case stale:
		a.want(http.StatusPreconditionFailed)
	case method == "DELETE":
		a.want(http.StatusNoContent)
		delete(o.tasks, id)
		o.deleted = append(o.deleted, id)
		o.version++
	case p.refused:
		a.want(http.StatusUnprocessableEntity)
	case p.nothing:
		if a.want(http.StatusOK); a.body != at.body || a.get("ETag") != at.tag {
			m.t.Errorf("it was %+v, is %s", at, a)
		}
	default:
		now := a.want(http.StatusOK).full()
		if !p.matches(o, at.fullTask, now) {
			if p = plan(at.fullTask, after); !p.matches(o, at.fullTask, now) {
				m.t.Errorf("it was %+v, is %s, want %+v, followed by %+v", at, a, p.want, p.next)
			}
		}
		o.put(m.t, taskModel{now, a.body, a.get("ETag")})
		m.follow(o, p)
	}
}

func (m *model) change(o *ownerModel) {
	m.t.Helper()
	fields := fields{}
	var changes []func(*task)
	if m.chance(40) {
		title := pick(m, words)
		fields["title"] = title
		changes = append(changes, func(t *task) { t.Title = title })
	}
	if m.chance(40) {
		var description *string
		if m.chance(60) {
			description = new("then " + pick(m, words))
		}
		fields["description"] = description
		changes = append(changes, func(t *task) { t.Description = description })
	}
	if m.chance(40) {
		priority := pick(m, []string{"low", "medium", "high"})
		fields["priority"] = priority
		changes = append(changes, func(t *task) { t.Priority = priority })
	}
	if m.chance(40) {
		completed := m.chance(50)
		fields["completed"] = completed
		changes = append(changes, func(t *task) { t.Completed = completed })
	}
	switch m.IntN(5) {
	case 0:
		names := m.someTags()
		fields["tags"] = names
		changes = append(changes, func(t *task) { t.Tags = uniqueTags(names) })
	case 1:
		added, removed := m.someTags(), m.someTags()
		fields["add_tags"], fields["remove_tags"] = added, removed
		changes = append(changes, func(t *task) {
			left := slices.DeleteFunc(t.Tags.names(), func(name string) bool { return hasTag(removed, name) })
			t.Tags = uniqueTags(append(left, added...))
		})
	}
	if m.chance(40) {
		m.schedule(fields)
	}
	refusal := 0
	if len(fields) == 0 {
		refusal = http.StatusBadRequest
	} else if m.chance(12) {
		fields[pick(m, []string{"title", "priority", "completed", "owner"})] = " "
		refusal = http.StatusUnprocessableEntity
	}
	method, headers := "PUT", []string(nil)
	if m.chance(60) {
		method = "PATCH"
		if m.chance(50) {
			headers = append(headers, "Content-Type: application/merge-patch+json")
		}
	}
	m.changedAt("change", o, m.anID(o), method, "", fields.String(), headers, refusal, func(at fullTask, moment time.Time) planned {
		p := planned{want: at}
		for _, change := range changes {
			change(&p.want.task)
		}
		if p.refused = !p.reschedule(fields); !p.refused {
			p.complete(o, at, "", moment)
		}
		return p
	})
}

func (m *model) complete(o *ownerModel) {
	m.t.Helper()
	fields := fields{}
	if m.chance(70) {
		fields["completed"] = pick(m, []any{nil, true, true, false})
	}
	today := ""
	if m.chance(40) {
		today = time.Now().UTC().Format(time.DateOnly)
		fields["today"] = today
	}
	body := fields.String()
	if len(fields) == 0 && m.chance(50) {
		body = ""
	}
	m.changedAt("complete", o, m.anOccurrence(o), pick(m, []string{"PATCH", "POST"}), "/complete", body, nil, 0, func(at fullTask, moment time.Time) planned {
		p := planned{want: at}
		p.want.Completed = !at.Completed
		if completed, is := fields["completed"].(bool); is {
			p.want.Completed = completed
		}
		p.complete(o, at, today, moment)
		return p
	})
}

func (m *model) delete(o *ownerModel) {
	m.t.Helper()
	m.changedAt("delete", o, m.anID(o), "DELETE", "", "", nil, 0, nil)
}

// bySQL changes a task directly in the database. The service must then return the changed task.
func (m *model) bySQL(o *ownerModel) {
	m.t.Helper()
	if len(o.tasks) == 0 {
		return
	}
	at := o.tasks[pick(m, slices.Sorted(maps.Keys(o.tasks)))]
	m.say("%.3s by SQL %s", o.id, at.ID)
	if m.chance(30) {
		o.exec(m.t, "delete from task where id = $1", at.ID)
		delete(o.tasks, at.ID)
		o.deleted = append(o.deleted, at.ID)
		o.version++
		return
	}
	o.exec(m.t, "update task set title = 'sql' where id = $1", at.ID)
	a := o.send(m.t, "GET", "/"+at.ID, "", "If-None-Match: "+at.tag).want(http.StatusOK)
	want, now := at.fullTask, a.full()
	want.Title = "sql"
	if !reflect.DeepEqual(now, want.changedTo(now)) || now.UpdatedAt <= at.UpdatedAt || now.Revision <= at.Revision {
		m.t.Errorf("it was %+v, is %s, want %+v", at, a, want)
	}
	o.put(m.t, taskModel{now, a.body, a.get("ETag")})
}

// foreign sends a request to another owner's path. It must be refused and change nothing.
func (m *model) foreign(o *ownerModel) {
	m.t.Helper()
	for _, other := range m.owners {
		if other == o {
			continue
		}
		r := pick(m, requests)
		m.say("%.3s to the path of %.3s: %s", o.id, other.id, r)
		path := strings.Replace(r.path, "$id", m.anID(other), 1)
		a := o.service.send(m.t, r.method, other.path()+path, r.body, "Authorization: Bearer "+o.token)
		a.want(http.StatusForbidden)
		m.happened("foreign", a)
		m.poll(other)
	}
}

// modelList is a page of tasks with all their members.
type modelList struct {
	Tasks      []fullTask `json:"tasks"`
	Total      int        `json:"total"`
	Limit      int        `json:"limit"`
	Offset     int        `json:"offset"`
	NextCursor *string    `json:"next_cursor"`
}

// query contains the parameters of a list.
type query struct {
	completed  *bool
	priorities []string
	search     string
	filters
	sort      string // created when empty
	ascending bool
	limit     int // 100 when 0
	offset    int
	after     *cursor
}

// cursor is the position after a page.
type cursor struct {
	text string
	of   query
	last task
}

func (m *model) list(o *ownerModel) {
	m.t.Helper()
	q, v := m.aQuery()
	wrong := false
	if len(o.cursors) > 0 && m.chance(40) {
		c := pick(m, o.cursors)
		q, v = c.of, c.of.values(m)
		q.after, q.offset = &c, 0
		v.Del("offset")
		if wrong = m.chance(25); wrong {
			v.Set("order", map[bool]string{true: "desc", false: "asc"}[q.ascending])
		}
		if m.chance(50) {
			q.limit = 1 + m.IntN(5)
			v.Set("limit", strconv.Itoa(q.limit))
		}
		v.Set("cursor", c.text)
	}
	path := "?" + v.Encode()
	if seen := slices.Sorted(maps.Keys(o.answers)); !wrong && m.chance(20) && len(seen) > 0 {
		m.again(o, pick(m, seen))
		return
	}
	var headers []string
	unchanged := false
	last, asked := o.answers[path]
	switch m.IntN(4) {
	case 0:
		headers, unchanged = []string{"If-None-Match: *"}, true
	case 1:
		if asked {
			headers, unchanged = []string{`If-None-Match: "another", W/` + last.tag}, last.version == o.version
		}
	case 2: // the tags of other lists
		var others []string
		for other, answer := range o.answers {
			if other != path && answer.meaning != q.meaning() && len(others) < 20 {
				others = append(others, answer.tag)
			}
		}
		if len(others) > 0 {
			headers = []string{"If-None-Match: " + strings.Join(others, ", ")}
		}
	}
	m.say("%.3s list %s %s", o.id, path, headers)
	a := o.send(m.t, "GET", path, "", headers...)
	if wrong {
		a.want(http.StatusBadRequest)
		m.happened("list", a)
		return
	}
	m.happened("list", a)
	if q.after != nil {
		m.happened("list", a, "by cursor")
	}
	m.checkList(o, path, q, a, unchanged)
}

// again reads a list that was read before, with the tag that it had then.
func (m *model) again(o *ownerModel, path string) {
	m.t.Helper()
	last := o.answers[path]
	m.say("%.3s list %s again", o.id, path)
	a := o.send(m.t, "GET", path, "", "If-None-Match: "+last.tag)
	m.happened("list", a)
	if (a.status == http.StatusNotModified) != (last.version == o.version) {
		m.t.Errorf("%d changes ago the tag was %s, and now the answer is %s", o.version-last.version, last.tag, a)
	}
}

// checkList compares the answer to a list with the model.
func (m *model) checkList(o *ownerModel, path string, q query, a *answer, unchanged bool) {
	m.t.Helper()
	last, asked := o.answers[path]
	same := asked && last.version == o.version
	if same != (a.get("ETag") == last.tag) {
		m.t.Errorf("%d changes ago the tag of %s was %s, and now the answer is %s", o.version-last.version, path, last.tag, a)
	}
	if unchanged {
		a.want(http.StatusNotModified)
		return
	}
	var got modelList
	a.want(http.StatusOK).read(&got)
	want := o.want(q)
	next := got.NextCursor
	more := want.NextCursor != nil
	want.NextCursor = next
	if !reflect.DeepEqual(got, want) || (next != nil) != more {
		m.t.Errorf("%s returned\n%+v, want, with a next page: %t,\n%+v", path, got, more, want)
	}
	if same && a.body != last.body {
		m.t.Errorf("%s was %s, and is %s", path, last.body, a.body)
	}
	for other, answer := range o.answers { // queries with the same meaning have the same tag
		if same := answer.meaning == q.meaning(); answer.version == o.version && same != (answer.tag == a.get("ETag")) {
			m.t.Errorf("%s has the tag %s, and %s %s", path, a.get("ETag"), other, answer.tag)
		}
	}
	o.answers[path] = listModel{o.version, q.meaning(), a.get("ETag"), a.body}
	if next != nil {
		o.cursors = append(o.cursors, cursor{*next, q, got.Tasks[len(got.Tasks)-1].task})
		o.cursors = o.cursors[max(0, len(o.cursors)-20):]
	}
}

// meaning returns the same value for queries that select the same list, however they are written.
func (q query) meaning() string {
	completed, after := "both", ""
	if q.completed != nil {
		completed = strconv.FormatBool(*q.completed)
	}
	if q.after != nil {
		after = q.after.text
	}
	return fmt.Sprintf("%s %q %q %s %s %t %d %d %s", completed, q.priorities, q.search, q.filters.meaning(), cmp.Or(q.sort, "created"), q.ascending, cmp.Or(q.limit, 100), q.offset, after)
}

func (m *model) aQuery() (query, url.Values) {
	var q query
	if m.chance(40) {
		q.completed = new(m.chance(50))
	}
	for _, priority := range []string{"low", "medium", "high"} {
		if m.chance(20) {
			q.priorities = append(q.priorities, priority)
		}
	}
	if m.chance(30) {
		q.search = pick(m, []string{"mil", "OAT", "%", `_\`, "100 % b", "then", "sql", "nowhere"})
	}
	q.filters = m.someFilters()
	if m.chance(70) {
		q.sort = pick(m, []string{"created", "updated", "title", "priority", "due", "due"})
	}
	q.ascending = m.chance(50)
	if m.chance(70) {
		q.limit = 1 + m.IntN(6)
	}
	if m.chance(30) {
		q.offset = m.IntN(6)
	}
	return q, q.values(m)
}

// values writes the query in one of several equivalent forms.
func (q query) values(m *model) url.Values {
	v := url.Values{}
	if q.completed != nil {
		if m.chance(50) {
			v.Set("completed", strconv.FormatBool(*q.completed))
		}
		if v.Get("completed") == "" || m.chance(30) {
			v.Set("status", map[bool]string{true: "completed", false: "pending"}[*q.completed])
		}
	}
	for _, i := range m.Perm(len(q.priorities)) {
		v.Add("priority", q.priorities[i])
	}
	if q.search != "" {
		v.Set("search", q.search)
	}
	if q.sort != "" {
		if m.chance(50) {
			v.Set("sort", q.sort)
		} else {
			v.Set("sort_by", map[string]string{"created": "created_at", "updated": "updated_at", "title": "title", "priority": "priority", "due": "due_date"}[q.sort])
		}
	}
	q.add(m, v)
	if q.ascending {
		v.Set("order", "asc")
	} else if m.chance(50) {
		v.Set("order", "desc")
	}
	if q.limit > 0 {
		v.Set("limit", strconv.Itoa(q.limit))
	}
	if q.offset > 0 || m.chance(10) {
		v.Set("offset", strconv.Itoa(q.offset))
	}
	return v
}

// want returns the model's list for a query. NextCursor only tells whether there is a next page.
func (o *ownerModel) want(q query) modelList {
	l := modelList{Tasks: []fullTask{}, Limit: cmp.Or(q.limit, 100), Offset: q.offset}
	var found []fullTask
	for _, t := range o.tasks {
		text := strings.ToLower(t.Title + "\n" + deref(t.Description))
		if (q.completed == nil || *q.completed == t.Completed) && (len(q.priorities) == 0 || slices.Contains(q.priorities, t.Priority)) &&
			strings.Contains(text, strings.ToLower(q.search)) && q.match(t.fullTask) {
			found = append(found, t.fullTask)
		}
	}
	compare := func(a, b fullTask) int {
		return compareBy(cmp.Or(q.sort, "created"), q.ascending, a.task, b.task)
	}
	slices.SortFunc(found, compare)
	l.Total = len(found)
	if q.after != nil {
		found = slices.DeleteFunc(found, func(t fullTask) bool { return compare(t, fullTask{task: q.after.last}) <= 0 })
	}
	found = found[min(q.offset, len(found)):]
	if len(found) > l.Limit {
		found, l.NextCursor = found[:l.Limit], new("more")
	}
	l.Tasks = append(l.Tasks, found...)
	return l
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
