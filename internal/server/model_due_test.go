package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"docket/internal/due"
	"docket/internal/recurrence"
)

// fullTask is a task with all its members.
type fullTask struct {
	task
	scheduled
}

// scheduled has the members about due dates and recurrence that task lacks. Null is empty.
type scheduled struct {
	TimeZone       string `json:"time_zone"`
	DueAt          string `json:"due_at"`
	CompletedAt    string `json:"completed_at"`
	RecurrenceRule string `json:"recurrence_rule"`
	RecurrenceMode string `json:"recurrence_mode"`
	SeriesID       string `json:"series_id"`
	OccurrenceDate string `json:"occurrence_date"`
	NextTaskID     string `json:"next_task_id"`
}

func (a *answer) full() (v fullTask) { a.t.Helper(); a.read(&v); return v }

// changedTo returns the task with the members of a later state that every change sets.
func (v fullTask) changedTo(later fullTask) fullTask {
	v.task = v.task.changedTo(later.task)
	return v
}

// fields are the members of a request.
type fields map[string]any

func (f fields) String() string { return string(must(json.Marshal(map[string]any(f)))) }

// zones are zones that do not change their offset from UTC: internal/due has tests of those that do.
var zones = map[string]int{"UTC": 0, "Asia/Tokyo": 9 * 60, "America/Phoenix": -7 * 60, "Asia/Kathmandu": 5*60 + 45}

var zoneNames = []string{"UTC", "Asia/Tokyo", "America/Phoenix", "Asia/Kathmandu"}

func zoneOf(name string) *time.Location { return time.FixedZone(name, 60*zones[name]) }

const (
	minutes   = "15:04"
	timestamp = "2006-01-02T15:04:05.000000Z"
)

// instant returns the due_at of a day and a time.
func instant(date, clock, zone string) string {
	if clock == "" {
		return ""
	}
	return must(time.ParseInLocation(time.DateOnly+" "+minutes, date+" "+clock, zoneOf(zone))).UTC().Format(timestamp)
}

// aDay returns a day near the present one.
func (m *model) aDay() string {
	return time.Now().UTC().AddDate(0, 0, m.IntN(25)-12).Format(time.DateOnly)
}

// schedule adds members about due dates and recurrence, which may not go together.
func (m *model) schedule(f fields) {
	if m.chance(60) {
		f["due_date"] = m.aDay()
	}
	switch n := m.IntN(20); {
	case n == 0:
		f["due_date"] = nil
	case n < 3:
		f["due_date"] = m.aDay() + "T22:30:00" + pick(m, []string{"Z", "+05:30", "-08:00"})
	}
	if m.chance(25) {
		f["due_time"] = pick(m, []string{"00:00", "09:30", "23:59"})
		if m.chance(80) {
			f["time_zone"] = pick(m, zoneNames)
		}
	}
	switch m.IntN(12) {
	case 0:
		f["due_time"] = nil
	case 1:
		f["time_zone"] = nil
	case 2:
		f["time_zone"] = pick(m, zoneNames)
	}
	switch n := m.IntN(10); {
	case n < 5:
		f["recurrence_rule"] = pick(m, []string{
			"FREQ=DAILY", "freq=daily;interval=3", "FREQ=WEEKLY;BYDAY=TH,MO", "FREQ=MONTHLY", "FREQ=MONTHLY;INTERVAL=1", "FREQ=YEARLY",
			"FREQ=DAILY;COUNT=2", "FREQ=DAILY;INTERVAL=2;COUNT=5", "FREQ=DAILY;UNTIL=99991231",
		})
	case n < 6:
		f["recurrence_pattern"] = pick(m, []string{"none", "daily", "weekly", "monthly", "yearly"})
	case n < 7:
		f["recurrence_rule"] = nil
	}
	if m.chance(30) {
		f["recurrence_mode"] = pick(m, []string{"skip_missed", "keep_missed", "after_completion"})
	}
}

// planned is what a request should lead to.
type planned struct {
	want      fullTask
	refused   bool      // 422
	nothing   bool      // 200, and nothing changes
	newSeries bool      // want has another series, which is new
	next      *fullTask // the occurrence that follows, which is new
	taken     string    // the id of the occurrence that followed, which is deleted
}

// reschedule changes when a task is due and how it recurs, as the contract says. It reports whether the members go together.
func (p *planned) reschedule(f fields) bool {
	t := &p.want
	was := recurrence.Mode(t.RecurrenceMode)
	if mode, sent := f["recurrence_mode"]; sent {
		t.RecurrenceMode = mode.(string)
	}
	date, dated := f["due_date"]
	if dated && date == nil {
		t.DueDate, t.DueTime, t.TimeZone, t.DueAt = "", "", "", ""
		t.startSeries("", "")
		return true
	}
	text := func(name string, member *string) (sent bool) {
		v, sent := f[name]
		if sent {
			*member, _ = v.(string) // null: empty
		}
		return sent
	}
	text("time_zone", &t.TimeZone)
	timed := text("due_time", &t.DueTime)
	if dated {
		t.DueDate = date.(string)
		if at, err := time.Parse(time.RFC3339, t.DueDate); err == nil {
			if timed {
				return false
			}
			if t.TimeZone == "" {
				t.TimeZone = "UTC"
			}
			at = at.In(zoneOf(t.TimeZone))
			t.DueDate, t.DueTime = at.Format(time.DateOnly), at.Format(minutes)
		}
	}
	if t.DueTime != "" && (t.DueDate == "" || t.TimeZone == "") {
		return false
	}
	t.DueAt = instant(t.DueDate, t.DueTime, t.TimeZone)

	rule := t.RecurrenceRule
	text("recurrence_rule", &rule)
	if pattern, sent := f["recurrence_pattern"]; sent { // never both
		rule = ""
		if pattern != "none" {
			rule = "FREQ=" + strings.ToUpper(pattern.(string))
		}
	}
	if rule == "" {
		t.startSeries("", "")
		return true
	}
	if t.DueDate == "" {
		return false
	}
	given := ruleOf(rule)
	day, mode := must(due.ParseDate(t.DueDate)), recurrence.Mode(t.RecurrenceMode)
	if t.RecurrenceRule != "" {
		stored, anchor := ruleOf(t.RecurrenceRule), must(due.ParseDate(t.OccurrenceDate))
		if given.Equal(stored) || given.Equal(stored.Plain()) {
			_, written := f["recurrence_rule"]
			switch {
			case mode == was:
			case was == recurrence.AfterCompletion:
				t.RecurrenceRule = stored.Starting(anchor, mode).String()
			case mode == recurrence.AfterCompletion && written:
				t.RecurrenceRule = given.String()
			case mode == recurrence.AfterCompletion:
				t.RecurrenceRule = stored.Plain().String()
			}
			return true
		}
	}
	t.startSeries(given.Starting(day, mode).String(), t.DueDate)
	p.newSeries = true
	return true
}

// startSeries gives a task another rule, or none. What followed an occurrence that is completed is still named.
func (v *fullTask) startSeries(rule, day string) {
	v.RecurrenceRule, v.OccurrenceDate, v.SeriesID = rule, day, ""
	if !v.Completed {
		v.NextTaskID = ""
	}
}

func ruleOf(text string) recurrence.Rule {
	r, wrong := recurrence.Parse(text)
	if wrong != nil {
		panic(wrong)
	}
	return r
}

// moved returns an occurrence on another day of its rule.
func (v fullTask) moved(date due.Date, rest recurrence.Rule) fullTask {
	v.DueDate, v.OccurrenceDate, v.RecurrenceRule = date.String(), date.String(), rest.String()
	v.DueAt = instant(v.DueDate, v.DueTime, v.TimeZone)
	return v
}

// occurrence returns the owner's task of a series on a day.
func (o *ownerModel) occurrence(series, day string) (id string) {
	for id, t := range o.tasks {
		if series != "" && t.SeriesID == series && t.OccurrenceDate == day {
			return id
		}
	}
	return ""
}

// complete decides what follows from a change of completed at a moment. today may be empty.
func (p *planned) complete(o *ownerModel, at fullTask, today string, moment time.Time) {
	t := &p.want
	_, lives := o.tasks[t.NextTaskID]
	switch {
	case t.Completed && !at.Completed && t.RecurrenceRule != "" && !lives:
		switch {
		case t.TimeZone != "":
			today = moment.In(zoneOf(t.TimeZone)).Format(time.DateOnly)
		case today == "":
			today = moment.UTC().Format(time.DateOnly)
		}
		day, rest, ok := ruleOf(t.RecurrenceRule).Complete(must(due.ParseDate(t.OccurrenceDate)), must(due.ParseDate(today)), recurrence.Mode(t.RecurrenceMode))
		if !ok {
			return
		}
		if t.NextTaskID = o.occurrence(t.SeriesID, day.String()); t.NextTaskID == "" {
			following := t.moved(day, rest)
			following.Completed, following.CompletedAt = false, ""
			p.next = &following
		}
	case !t.Completed && at.Completed && at.NextTaskID != "":
		next, there := o.tasks[at.NextTaskID]
		if lives = there; lives && next.CreatedAt == next.UpdatedAt {
			p.taken, lives = at.NextTaskID, false
		}
		if !lives {
			t.NextTaskID = ""
		}
	}
}

// matches reports whether a task is as planned, and completes what the plan could not know.
func (p *planned) matches(o *ownerModel, at, now fullTask) bool {
	want := p.want.changedTo(now)
	if p.newSeries {
		for _, other := range o.tasks {
			if other.SeriesID == now.SeriesID {
				return false
			}
		}
		want.SeriesID = now.SeriesID
	}
	if p.next != nil {
		if _, there := o.tasks[now.NextTaskID]; there || slices.Contains(o.deleted, now.NextTaskID) {
			return false
		}
		want.NextTaskID = now.NextTaskID
		p.next.ID, p.next.SeriesID, p.next.NextTaskID = now.NextTaskID, now.SeriesID, ""
	}
	switch {
	case !want.Completed:
		want.CompletedAt = ""
	case !at.Completed:
		if now.CompletedAt <= at.UpdatedAt {
			return false
		}
		want.CompletedAt = now.CompletedAt
	}
	return reflect.DeepEqual(now, want) && (p.newSeries || p.next != nil || now.NextTaskID != now.ID) && now.UpdatedAt > at.UpdatedAt && now.Revision > at.Revision
}

// anOccurrence usually returns the id of a task that recurs, more often of one that is followed by another.
func (m *model) anOccurrence(o *ownerModel) string {
	var ids []string
	for id, t := range o.tasks {
		if t.RecurrenceRule != "" {
			ids = append(ids, id)
		}
		if t.NextTaskID != "" {
			ids = append(ids, id, id)
		}
	}
	if len(ids) == 0 || m.chance(30) {
		return m.anID(o)
	}
	slices.Sort(ids)
	return pick(m, ids)
}

// follow compares what else a change did.
func (m *model) follow(o *ownerModel, p planned) {
	m.t.Helper()
	if p.next != nil {
		a := o.send(m.t, "GET", "/"+p.next.ID, "").want(http.StatusOK)
		now := a.full()
		want := p.next.changedTo(now)
		want.CreatedAt = now.CreatedAt
		if !reflect.DeepEqual(now, want) || now.CreatedAt != now.UpdatedAt || now.Revision == p.want.Revision {
			m.t.Errorf("it is followed by %s, want %+v", a, want)
		}
		o.put(m.t, taskModel{now, a.body, a.get("ETag")})
		m.outcomes["followed"]++
	}
	if p.taken != "" {
		o.send(m.t, "GET", "/"+p.taken, "").want(http.StatusNotFound)
		delete(o.tasks, p.taken)
		o.deleted = append(o.deleted, p.taken)
		o.version++
		m.outcomes["taken"]++
	}
}

// skip skips an occurrence, usually the one at hand.
func (m *model) skip(o *ownerModel) {
	m.t.Helper()
	var day string
	for _, t := range o.tasks { // the ids are drawn again, so that some days are those of other tasks
		if t.OccurrenceDate != "" && (day == "" || t.OccurrenceDate < day) {
			day = t.OccurrenceDate
		}
	}
	id := m.anOccurrence(o)
	if at, there := o.tasks[id]; there && at.OccurrenceDate != "" {
		day = at.OccurrenceDate
	}
	if day == "" {
		day = m.aDay()
	}
	if m.chance(15) {
		day = m.aDay()
	}
	body := fields{"occurrence_date": day}.String()
	m.changedAt("skip", o, id, "POST", "/skip", body, nil, 0, func(at fullTask, _ time.Time) planned {
		p := planned{want: at}
		if at.RecurrenceRule == "" || at.OccurrenceDate <= day && (at.OccurrenceDate < day || at.Completed) {
			p.refused = true
			return p
		}
		if at.OccurrenceDate > day {
			p.nothing = true
			return p
		}
		date, rest, ok := ruleOf(at.RecurrenceRule).Skip(must(due.ParseDate(day)))
		if p.refused = !ok || o.occurrence(at.SeriesID, date.String()) != ""; ok {
			p.want = at.moved(date, rest)
		}
		return p
	})
}

// occurrences lists the days to come.
func (m *model) occurrences(o *ownerModel) {
	m.t.Helper()
	id := m.anID(o)
	m.say("%.3s occurrences of %s", o.id, id)
	a := o.send(m.t, "GET", "/"+id+"/occurrences?limit=3", "")
	m.happened("occurrences", a)
	at, there := o.tasks[id]
	if !there {
		a.want(http.StatusNotFound)
		return
	}
	type item struct {
		OccurrenceDate string `json:"occurrence_date"`
		DueAt          string `json:"due_at"`
	}
	var got struct{ Occurrences []item }
	a.want(http.StatusOK).read(&got)
	want := []item{}
	for next := at.fullTask; next.RecurrenceRule != "" && len(want) < 3; {
		date, rest, ok := ruleOf(next.RecurrenceRule).Skip(must(due.ParseDate(next.OccurrenceDate)))
		if !ok {
			break
		}
		next = next.moved(date, rest)
		want = append(want, item{next.OccurrenceDate, next.DueAt})
	}
	if !slices.Equal(got.Occurrences, want) {
		m.t.Errorf("the occurrences of %+v are %+v, want %+v", at, got, want)
	}
}

// filters are those of a list by due dates and tags.
type filters struct {
	due           string // any, none or empty
	after, before string
	tags          []string
	allTags       bool
}

func (m *model) someFilters() (f filters) {
	bound := func() string {
		if m.chance(50) {
			return m.aDay()
		}
		return m.aDay() + "T" + pick(m, []string{"00:00:00", "09:30:00", "22:30:00"}) + pick(m, []string{"Z", "+14:00", "-12:00"})
	}
	switch m.IntN(8) {
	case 0:
		f.due = pick(m, []string{"any", "none"})
	case 1:
		f.after = bound()
	case 2:
		f.before = bound()
	case 3:
		f.after, f.before = bound(), bound()
	}
	if m.chance(25) {
		f.tags = append(m.someTags(), "home")
		f.allTags = m.chance(50)
	}
	return f
}

func (f filters) add(m *model, v url.Values) {
	for name, value := range map[string]string{"due": f.due, "due_after": f.after, "due_before": f.before} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if len(f.tags) > 0 {
		if m.chance(30) {
			v.Set("tags", strings.Join(f.tags, ","))
		} else {
			v["tag"] = f.tags
		}
		if f.allTags {
			v.Set("tag_match", "all")
		} else if m.chance(30) {
			v.Set("tag_match", "any")
		}
	}
}

// meaning returns the same value for filters that select the same tasks.
func (f filters) meaning() string {
	bound := func(text string) string {
		if at, err := time.Parse(time.RFC3339, text); err == nil {
			return text[:len(time.DateOnly)] + at.UTC().Format(time.RFC3339)
		}
		return text
	}
	folded := slices.Compact(slices.Sorted(slices.Values(strings.Split(strings.ToLower(strings.Join(f.tags, ",")), ","))))
	return fmt.Sprint(f.due, bound(f.after), bound(f.before), folded, f.allTags && len(folded) > 1)
}

func (f filters) match(t fullTask) bool {
	if f.due != "" && (f.due == "any") != (t.DueDate != "") {
		return false
	}
	notBefore := func(bound string) bool {
		if at, err := time.Parse(time.RFC3339, bound); err == nil && t.DueAt != "" {
			return t.DueAt >= at.UTC().Format(timestamp)
		}
		return t.DueDate >= bound[:len(time.DateOnly)]
	}
	if (f.after != "" || f.before != "") && t.DueDate == "" || f.after != "" && !notBefore(f.after) || f.before != "" && notBefore(f.before) {
		return false
	}
	has := func(name string) bool { return hasTag(t.Tags.names(), name) }
	lacks := func(name string) bool { return !has(name) }
	switch {
	case len(f.tags) == 0:
		return true
	case f.allTags:
		return !slices.ContainsFunc(f.tags, lacks)
	}
	return slices.ContainsFunc(f.tags, has)
}
