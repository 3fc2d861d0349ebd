package server_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"docket/internal/due"
)

func (o *owner) createObject(t testing.TB, body string) object {
	t.Helper()
	return jsonOf(t, o.send(t, "POST", "", body).want(http.StatusCreated))
}

func (o *owner) change(t testing.TB, made object, body string) object {
	t.Helper()
	return jsonOf(t, o.send(t, "PATCH", "/"+made["id"].(string), body).want(http.StatusOK))
}

func (o *owner) complete(t testing.TB, made object, body string) object {
	t.Helper()
	return jsonOf(t, o.send(t, "POST", "/"+made["id"].(string)+"/complete", body).want(http.StatusOK))
}

func (o *owner) get(t testing.TB, id any) object {
	t.Helper()
	return jsonOf(t, o.send(t, "GET", "/"+id.(string), "").want(http.StatusOK))
}

// has fails unless the task has the members.
func has(t testing.TB, task object, members string) {
	t.Helper()
	var want object
	check(t, json.Unmarshal([]byte(members), &want))
	for name, v := range want {
		if !reflect.DeepEqual(task[name], v) {
			t.Errorf("%s is %v, want %v", name, task[name], v)
		}
	}
}

func TestDueDatesAreTheDaysThatTheOwnerMeans(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, test := range []struct{ sent, want string }{
		{`"due_date": "2026-03-09"`, `{"due_date": "2026-03-09", "due_time": null, "time_zone": null, "due_at": null}`},
		{
			`"due_date": "2026-03-09", "due_time": "23:30", "time_zone": "America/Los_Angeles"`,
			`{"due_date": "2026-03-09", "due_time": "23:30", "due_at": "2026-03-10T06:30:00.000000Z"}`,
		},
		{`"due_date": "2026-03-09T00:00:00.000Z"`, `{"due_date": "2026-03-09", "due_time": null, "time_zone": null}`},
		{
			`"due_date": "2026-03-09T23:30:00Z", "time_zone": "Europe/Berlin"`,
			`{"due_date": "2026-03-10", "due_time": "00:30", "time_zone": "Europe/Berlin", "due_at": "2026-03-09T23:30:00.000000Z"}`,
		},
		{`"due_date": "2026-10-25", "due_time": "02:30", "time_zone": "Europe/Berlin"`, `{"due_at": "2026-10-25T00:30:00.000000Z"}`}, // the first of two
		{`"due_date": "2026-03-29", "due_time": "02:30", "time_zone": "Europe/Berlin"`, `{"due_at": "2026-03-29T01:30:00.000000Z"}`}, // in a gap
		{`"due_date": null, "due_time": "09:30", "recurrence_rule": "FREQ=DAILY"`, `{"due_date": null, "due_time": null, "recurrence_rule": null}`},
	} {
		made := s.ada.createObject(t, `{"title": "A", `+test.sent+`}`)
		has(t, made, test.want)
		changed := s.ada.change(t, s.ada.createObject(t, `{"title": "A"}`), `{`+test.sent+`}`)
		has(t, changed, test.want)
		s.ada.everywhere(t, changed)
	}
	made := s.ada.createObject(t, `{"title": "A", "due_date": "2026-03-09", "due_time": "09:30", "time_zone": "Europe/Berlin", "recurrence_rule": "FREQ=DAILY"}`)
	moved := s.ada.change(t, made, `{"due_date": "2026-07-01"}`)
	has(t, moved, `{"due_time": "09:30", "due_at": "2026-07-01T07:30:00.000000Z", "occurrence_date": "2026-03-09", "recurrence_rule": "FREQ=DAILY"}`)
	cleared := s.ada.change(t, made, `{"due_date": null, "due_time": "10:00", "time_zone": "UTC", "recurrence_rule": "FREQ=WEEKLY"}`)
	has(t, cleared, `{"due_date": null, "due_time": null, "time_zone": null, "due_at": null, "recurrence_rule": null, "series_id": null, "occurrence_date": null}`)
}

func TestFaultsOfDueDatesAndRulesNameTheirMembers(t *testing.T) {
	t.Parallel()
	s := start(t)
	made := s.ada.create(t, `{"title": "A"}`)
	rows := s.stored(t)
	for sent, want := range map[string]string{
		`"due_date": "2026-02-30"`:                                                                 "#/due_date invalid_format",
		`"due_date": "1969-12-31"`:                                                                 "#/due_date out_of_range",
		`"due_date": "2026-03-09T08:00:00"`:                                                        "#/due_date invalid_format",
		`"due_date": "2026-03-09T08:00:00Z", "due_time": "08:00"`:                                  "#/due_time conflict",
		`"due_time": "08:00", "time_zone": "UTC"`:                                                  "#/due_date required",
		`"due_date": "2026-03-09", "due_time": "08:00"`:                                            "#/time_zone required",
		`"due_date": "2026-03-09", "due_time": "24:00", "time_zone": "UTC"`:                        "#/due_time invalid_format",
		`"due_date": "2026-03-09", "time_zone": "Local"`:                                           "#/time_zone invalid_format",
		`"recurrence_rule": "FREQ=DAILY"`:                                                          "#/due_date required",
		`"recurrence_pattern": "daily"`:                                                            "#/due_date required",
		`"due_date": "2026-03-09", "recurrence_rule": "FREQ=HOURLY"`:                               "#/recurrence_rule not_one_of",
		`"due_date": "2026-03-09", "recurrence_rule": "FREQ=DAILY;INTERVAL=0"`:                     "#/recurrence_rule out_of_range",
		`"due_date": "2026-03-09", "recurrence_rule": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"`:       "#/recurrence_rule out_of_range",
		`"due_date": "2026-03-09", "recurrence_rule": "FREQ=DAILY", "recurrence_pattern": "daily"`: "#/recurrence_rule conflict",
		`"due_date": "2026-03-09", "recurrence_mode": "sometimes"`:                                 "#/recurrence_mode not_one_of",
	} {
		for _, how := range [][2]string{{"POST", ""}, {"PUT", "/" + made.ID}, {"PATCH", "/" + made.ID}} {
			p := s.ada.send(t, how[0], how[1], `{"title": "B", `+sent+`}`).want(http.StatusUnprocessableEntity).problem()
			if len(p.Errors) != 1 || p.Errors[0].Pointer+" "+p.Errors[0].Code != want || p.Code != "validation_failed" || p.Detail != p.Errors[0].Detail {
				t.Errorf("%s %s: %+v, want %s", how[0], sent, p, want)
			}
		}
	}
	if s.stored(t) != rows {
		t.Error("something was changed")
	}
}

// Every task with a due date is on one side of any bound, and none is on both.
func TestDueFiltersPartitionAllTasks(t *testing.T) {
	t.Parallel()
	s := start(t)
	random := rand.New(rand.NewPCG(19, uint64(time.Now().UnixNano())))
	zones := []string{"UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago", "America/Los_Angeles", "Asia/Kathmandu"}
	day := func() string { return time.Date(2026, 3, 1+random.IntN(5), 0, 0, 0, 0, time.UTC).Format(time.DateOnly) }
	var all, none []string
	tasks := map[string]object{}
	for i := range 60 {
		body := object{"title": fmt.Sprint(i)}
		if random.IntN(6) > 0 {
			body["due_date"] = day()
			if random.IntN(2) == 0 {
				body["due_time"] = fmt.Sprintf("%02d:%02d", random.IntN(24), 30*random.IntN(2))
				body["time_zone"] = zones[random.IntN(len(zones))]
			}
		}
		made := s.ada.createObject(t, string(must(json.Marshal(body))))
		id := made["id"].(string)
		tasks[id] = made
		if made["due_date"] == nil {
			none = append(none, id)
		} else {
			all = append(all, id)
		}
	}
	ids := func(query string) (found []string) {
		for _, v := range s.ada.all(t, query).Tasks {
			found = append(found, v.ID)
		}
		slices.Sort(found)
		return found
	}
	slices.Sort(all)
	slices.Sort(none)
	if !slices.Equal(ids("&due=any"), all) || !slices.Equal(ids("&due=none"), none) {
		t.Error("due=any and due=none do not partition the tasks")
	}
	for range 60 {
		bound := day()
		date := bound
		var at time.Time
		if random.IntN(3) > 0 {
			bound += fmt.Sprintf("T%02d:%02d:00%s", random.IntN(24), 30*random.IntN(2), []string{"Z", "+14:00", "-11:00", "+05:45"}[random.IntN(4)])
			at = must(time.Parse(time.RFC3339, bound))
		}
		var after, before []string // what the contract says
		for _, id := range all {
			made := tasks[id]
			late := made["due_date"].(string) >= date
			if due, timed := made["due_at"].(string); timed && !at.IsZero() {
				late = !must(time.Parse(time.RFC3339, due)).Before(at)
			}
			if late {
				after = append(after, id)
			} else {
				before = append(before, id)
			}
		}
		escaped := url.QueryEscape(bound)
		if got := ids("&due_after=" + escaped); !slices.Equal(got, after) {
			t.Errorf("due_after=%s gives %d tasks, want %d", bound, len(got), len(after))
		}
		if got := ids("&due_before=" + escaped); !slices.Equal(got, before) {
			t.Errorf("due_before=%s gives %d tasks, want %d", bound, len(got), len(before))
		}
	}
}

func TestFaultsOfDueFilters(t *testing.T) {
	t.Parallel()
	s := start(t)
	for query, parameter := range map[string]string{
		"due=any&due_after=2026-03-09": "due", "due=none&due_before=2026-03-09": "due", "due=today": "due", "due_after=2026-02-30": "due_after",
		"due_before=2026-03-09T08:00:00": "due_before", "due_before=tomorrow-ish": "due_before", "due_after=2026-03-09T08:00:00+01:00": "due_after",
	} {
		p := s.ada.send(t, "GET", "?"+query, "").want(http.StatusBadRequest).problem()
		if len(p.Errors) != 1 || p.Errors[0].Parameter != parameter {
			t.Errorf("%s: %+v", query, p)
		}
	}
}

func TestCompletingAnOccurrenceMakesTheNextOneByEveryRoad(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *options) { o.MaxTasks = 14 })
	today := time.Now().UTC().Format(time.DateOnly) // or yesterday's, if a day begins now
	for _, road := range [][3]string{
		{"PATCH", "", `{"completed": true}`},
		{"PUT", "", `{"completed": true}`},
		{"PATCH", "/complete", ""},
		{"POST", "/complete", `{"completed": true}`},
		{"PATCH", "/complete", `{"completed": true, "today": "` + today + `"}`},
	} {
		made := s.ada.createObject(t, `{"title": "Water", "description": "All", "priority": "high", "due_date": "2099-01-01", "recurrence_rule": "freq=daily;interval=1"}`)
		has(t, made, `{"recurrence_rule": "FREQ=DAILY;INTERVAL=1", "occurrence_date": "2099-01-01", "next_task_id": null}`)
		if made["series_id"] != made["id"] {
			t.Errorf("%v begins the series %v", made["id"], made["series_id"])
		}
		path := "/" + made["id"].(string)
		done := jsonOf(t, s.ada.send(t, road[0], path+road[1], road[2], "If-Match: "+made["etag"].(string)).want(http.StatusOK))
		has(t, done, `{"completed": true, "due_date": "2099-01-01"}`)
		if done["completed_at"] == nil || done["next_task_id"] == nil {
			t.Fatalf("%v: %v", road, done)
		}
		next := s.ada.get(t, done["next_task_id"])
		has(t, next, `{"title": "Water", "description": "All", "priority": "high", "completed": false, "completed_at": null, "next_task_id": null}`)
		if next["series_id"] != made["id"] || next["due_date"] != next["occurrence_date"] || next["due_date"] != "2099-01-02" {
			t.Errorf("%v: it is followed by %v", road, next)
		}
		// Completing it again makes no other, and keeps the time.
		again := s.ada.complete(t, made, `{"completed": true}`)
		if again["next_task_id"] != done["next_task_id"] || again["completed_at"] != done["completed_at"] {
			t.Errorf("%v: completed again, it is %v", road, again)
		}
	}
	if l := s.ada.all(t, ""); l.Total != 10 {
		t.Errorf("there are %d tasks", l.Total)
	}
	// The quota does not count occurrences that follow.
	for range 4 {
		s.ada.create(t, `{"title": "A"}`)
	}
	s.ada.send(t, "POST", "", `{"title": "A"}`).want(http.StatusConflict)
	for _, v := range s.ada.all(t, "&status=pending&sort=due&order=asc").Tasks[:2] {
		s.ada.send(t, "POST", "/"+v.ID+"/complete", `{"completed": true, "today": "`+today+`"}`).want(http.StatusOK)
	}
	if l := s.ada.all(t, ""); l.Total != 16 {
		t.Errorf("there are %d tasks", l.Total)
	}
	for _, day := range []string{"2026-01-01", "2026-02-30"} {
		p := s.ada.send(t, "POST", "/"+s.ada.all(t, "").Tasks[0].ID+"/complete", `{"today": "`+day+`"}`).want(http.StatusUnprocessableEntity).problem()
		if len(p.Errors) != 1 || p.Errors[0].Pointer != "#/today" {
			t.Errorf("%+v", p)
		}
	}
}

func TestReopeningTakesTheNextOccurrenceAwayUnlessItWasChanged(t *testing.T) {
	t.Parallel()
	s := start(t)
	const body = `{"title": "A", "due_date": "2026-03-09", "recurrence_rule": "FREQ=DAILY", "recurrence_mode": "keep_missed"}`
	made := s.ada.createObject(t, body)
	done := s.ada.complete(t, made, "")
	reopened := s.ada.complete(t, made, "")
	has(t, reopened, `{"completed": false, "completed_at": null, "next_task_id": null}`)
	s.ada.send(t, "GET", "/"+done["next_task_id"].(string), "").want(http.StatusNotFound)

	done = s.ada.complete(t, made, `{"completed": true}`)
	next := s.ada.get(t, done["next_task_id"])
	has(t, next, `{"due_date": "2026-03-10"}`)
	s.ada.change(t, next, `{"title": "Changed"}`)
	reopened = s.ada.change(t, made, `{"completed": false}`)
	if reopened["next_task_id"] != next["id"] || s.ada.get(t, next["id"])["title"] != "Changed" {
		t.Errorf("the occurrence that was changed is gone: %v", reopened)
	}
	// While it lives, completing again makes none.
	if again := s.ada.complete(t, made, `{"completed": true}`); again["next_task_id"] != next["id"] || s.ada.all(t, "").Total != 2 {
		t.Errorf("completed again: %v", again)
	}
	// It stays named when it is deleted, which ends the series.
	s.ada.send(t, "DELETE", "/"+next["id"].(string), "").want(http.StatusNoContent)
	if s.ada.get(t, made["id"])["next_task_id"] != next["id"] || s.ada.all(t, "").Total != 1 {
		t.Error("the deleted occurrence is not named any more")
	}
	s.ada.complete(t, made, `{"completed": false}`)
	again := s.ada.complete(t, made, `{"completed": true}`)
	if again["next_task_id"] == next["id"] || s.ada.all(t, "").Total != 2 {
		t.Errorf("completed after the next one was deleted: %v", again)
	}
	// A task that is created completed has none that follows.
	if created := s.ada.createObject(t, strings.Replace(body, "{", `{"completed": true, `, 1)); created["next_task_id"] != nil || created["completed_at"] == nil {
		t.Errorf("created completed: %v", created)
	}
}

func TestTheLastOccurrenceHasNoneThatFollows(t *testing.T) {
	t.Parallel()
	s := start(t)
	made := s.ada.createObject(t, `{"title": "A", "due_date": "2026-01-31", "recurrence_rule": "FREQ=MONTHLY;COUNT=3", "recurrence_mode": "keep_missed"}`)
	has(t, made, `{"recurrence_rule": "FREQ=MONTHLY;BYMONTHDAY=28,29,30,31;BYSETPOS=-1;COUNT=3"}`)
	var days []any
	for next := made; ; next = s.ada.get(t, next["next_task_id"]) {
		days = append(days, next["due_date"])
		if next = s.ada.complete(t, next, `{"completed": true}`); next["next_task_id"] == nil {
			break
		}
	}
	if !slices.Equal(days, []any{"2026-01-31", "2026-02-28", "2026-03-31"}) {
		t.Errorf("the days are %v", days)
	}
}

func TestARuleThatIsEqualChangesNothingAndAnotherStartsAnew(t *testing.T) {
	t.Parallel()
	s := start(t)
	made := s.ada.createObject(t, `{"title": "A", "due_date": "2026-01-31", "recurrence_pattern": "monthly"}`)
	moved := s.ada.change(t, made, `{"due_date": "2026-02-02", "recurrence_rule": "FREQ=MONTHLY"}`)
	if moved["series_id"] != made["series_id"] {
		t.Error("an equal rule starts a series")
	}
	has(t, moved, `{"occurrence_date": "2026-01-31", "recurrence_rule": "FREQ=MONTHLY;BYMONTHDAY=28,29,30,31;BYSETPOS=-1"}`)
	anew := s.ada.change(t, made, `{"recurrence_rule": "FREQ=WEEKLY"}`)
	has(t, anew, `{"occurrence_date": "2026-02-02", "recurrence_rule": "FREQ=WEEKLY"}`)
	if anew["series_id"] == made["series_id"] {
		t.Error("another rule keeps the series")
	}
	ended := s.ada.change(t, made, `{"recurrence_pattern": "none"}`)
	has(t, ended, `{"due_date": "2026-02-02", "recurrence_rule": null, "series_id": null, "occurrence_date": null}`)
}

// Forms of older frontends send recurrence_pattern with every save, also in months that are shorter than the first one.
func TestARuleThatIsSentAgainInAShortMonthKeepsItsSeries(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, c := range []struct{ first, pattern, second, rule string }{
		{"2027-01-31", "monthly", "2027-02-28", "FREQ=MONTHLY;BYMONTHDAY=28,29,30,31;BYSETPOS=-1"},
		{"2028-02-29", "yearly", "2029-02-28", "FREQ=YEARLY;BYMONTHDAY=28,29;BYMONTH=2;BYSETPOS=-1"},
	} {
		made := s.ada.createObject(t, `{"title": "A", "due_date": "`+c.first+`", "recurrence_pattern": "`+c.pattern+`", "recurrence_mode": "keep_missed"}`)
		next := s.ada.get(t, s.ada.complete(t, made, `{"completed": true}`)["next_task_id"])
		saved := s.ada.change(t, next, `{"title": "B", "recurrence_pattern": "`+c.pattern+`"}`)
		has(t, saved, `{"due_date": "`+c.second+`", "occurrence_date": "`+c.second+`", "recurrence_rule": "`+c.rule+`"}`)
		if saved["series_id"] != made["series_id"] {
			t.Errorf("%s: saving starts another series", c.pattern)
		}
	}
}

func TestTheFormOfTheEndsOfMonthsIsThatOfTheMode(t *testing.T) {
	t.Parallel()
	s := start(t)
	const fixed = `{"recurrence_rule": "FREQ=MONTHLY;BYMONTHDAY=28,29,30,31;BYSETPOS=-1"}`
	made := s.ada.createObject(t, `{"title": "A", "due_date": "2027-01-31", "recurrence_rule": "FREQ=MONTHLY"}`)
	has(t, made, fixed)
	has(t, s.ada.change(t, made, `{"recurrence_mode": "keep_missed"}`), fixed)
	has(t, s.ada.change(t, made, `{"recurrence_mode": "after_completion"}`), `{"recurrence_rule": "FREQ=MONTHLY"}`)
	has(t, s.ada.change(t, made, `{"recurrence_mode": "skip_missed", "recurrence_pattern": "monthly"}`), fixed)

	// A client that says the ends of months means them.
	said := s.ada.change(t, made, `{"recurrence_mode": "after_completion", "recurrence_rule": "FREQ=MONTHLY;BYMONTHDAY=28,29,30,31;BYSETPOS=-1"}`)
	has(t, said, fixed)
	if said["series_id"] != made["series_id"] {
		t.Error("another mode starts another series")
	}
}

func TestReopeningTakesTheNextOccurrenceAwayWhateverHappenedToTheRule(t *testing.T) {
	t.Parallel()
	s := start(t)
	for name, changes := range map[string][]string{
		"at once":              {`{"completed": false, "recurrence_rule": null}`},
		"another rule at once": {`{"completed": false, "recurrence_rule": "FREQ=YEARLY"}`},
		"before":               {`{"recurrence_rule": null}`, `{"completed": false}`},
		"no due date before":   {`{"due_date": null}`, `{"completed": false}`},
	} {
		made := s.ada.createObject(t, `{"title": "A", "due_date": "2027-03-01", "recurrence_rule": "FREQ=DAILY"}`)
		next := s.ada.complete(t, made, `{"completed": true}`)["next_task_id"]
		var reopened object
		for _, change := range changes {
			reopened = s.ada.change(t, made, change)
		}
		has(t, reopened, `{"completed": false, "next_task_id": null}`)
		if a := s.ada.send(t, "GET", "/"+next.(string), ""); a.status != http.StatusNotFound {
			t.Errorf("%s: the next occurrence is still there: %s", name, a)
		}
	}
}

func TestEveryRoadOfCompletingHasTheDayOfTheOwner(t *testing.T) {
	t.Parallel()
	s := start(t)
	tomorrow := due.Of(time.Now().UTC()) + 1
	for _, road := range [][2]string{{"PATCH", ""}, {"PUT", ""}, {"PATCH", "/complete"}, {"POST", "/complete"}} {
		made := s.ada.createObject(t, `{"title": "A", "due_date": "2026-03-09", "recurrence_rule": "FREQ=DAILY"}`)
		path := "/" + made["id"].(string) + road[1]
		for today, code := range map[string]string{"2026-03-09": "out_of_range", "2026-02-30": "invalid_format", "today": "invalid_format"} {
			p := s.ada.send(t, road[0], path, `{"completed": true, "today": "`+today+`"}`).want(http.StatusUnprocessableEntity).problem()
			if len(p.Errors) == 0 || p.Errors[0].Pointer != "#/today" || p.Errors[0].Code != code && today != "today" {
				t.Errorf("%s, %s: %+v", road, today, p)
			}
		}
		done := jsonOf(t, s.ada.send(t, road[0], path, `{"completed": true, "today": "`+tomorrow.String()+`"}`).want(http.StatusOK))
		has(t, s.ada.get(t, done["next_task_id"]), `{"due_date": "`+tomorrow.String()+`"}`)
	}
}

func TestFaultsOfRulesHaveTheirNumbers(t *testing.T) {
	t.Parallel()
	s := start(t)
	for rule, want := range map[string]numbered{
		"FREQ=DAILY;INTERVAL=1000": {Code: "out_of_range", Min: new(int64(1)), Max: new(int64(999))},
		"FREQ=HOURLY":              {Code: "not_one_of", Allowed: []string{"DAILY", "WEEKLY", "MONTHLY", "YEARLY"}},
		"FREQ=DAILY;BYHOUR=1":      {Code: "invalid_format"},
	} {
		var p struct{ Errors []numbered }
		s.ada.send(t, "POST", "", `{"title": "A", "due_date": "2026-03-09", "recurrence_rule": "`+rule+`"}`).want(http.StatusUnprocessableEntity).read(&p)
		if len(p.Errors) == 1 {
			want.Detail = p.Errors[0].Detail
		}
		if len(p.Errors) != 1 || !reflect.DeepEqual(p.Errors[0], want) {
			t.Errorf("%s: %+v", rule, p)
		}
	}
}

func TestSkippingAnOccurrenceOnceHoweverOftenItIsSent(t *testing.T) {
	t.Parallel()
	s := start(t)
	made := s.ada.createObject(t, `{"title": "A", "due_date": "2026-03-28", "due_time": "09:00", "time_zone": "Europe/Berlin", "recurrence_rule": "FREQ=DAILY;COUNT=3"}`)
	path := "/" + made["id"].(string) + "/skip"
	l := jsonOf(t, s.ada.send(t, "GET", "/"+made["id"].(string)+"/occurrences", "").want(http.StatusOK))
	if got := fmt.Sprint(l["occurrences"]); got != "[map[due_at:2026-03-29T07:00:00.000000Z occurrence_date:2026-03-29] map[due_at:2026-03-30T07:00:00.000000Z occurrence_date:2026-03-30]]" {
		t.Errorf("the occurrences are %s", got)
	}
	var skipped object
	for range 3 {
		again := jsonOf(t, s.ada.send(t, "POST", path, `{"occurrence_date": "2026-03-28"}`).want(http.StatusOK))
		has(t, again, `{"due_date": "2026-03-29", "due_at": "2026-03-29T07:00:00.000000Z", "recurrence_rule": "FREQ=DAILY;COUNT=2", "completed": false}`)
		if again["id"] != made["id"] || skipped != nil && again["etag"] != skipped["etag"] {
			t.Errorf("a retry gives %v", again)
		}
		skipped = again
	}
	s.ada.send(t, "POST", path, `{"occurrence_date": "2026-03-29"}`, "If-Match: "+made["etag"].(string)).want(http.StatusPreconditionFailed)
	s.ada.send(t, "POST", path, `{"occurrence_date": "2026-03-29", "etag": `+quoted(skipped["etag"].(string))+`}`).want(http.StatusOK)
	for _, day := range []string{"2026-03-30" /* the last */, "2026-03-31", "2026-02-30"} {
		p := s.ada.send(t, "POST", path, `{"occurrence_date": "`+day+`"}`).want(http.StatusUnprocessableEntity).problem()
		if len(p.Errors) != 1 || p.Errors[0].Pointer != "#/occurrence_date" {
			t.Errorf("%s: %+v", day, p)
		}
	}
}

// Completing an occurrence makes the next one once, by every road and at the same time.
func TestFiftyParallelCompletesMakeOneNextOccurrence(t *testing.T) {
	t.Parallel()
	s := start(t)
	made := s.ada.createObject(t, `{"title": "A", "due_date": "2026-03-09", "recurrence_rule": "FREQ=DAILY"}`)
	path, etag := "/"+made["id"].(string), made["etag"].(string)
	roads := [][4]string{
		{"POST", "/complete", `{"completed": true}`},
		{"PATCH", "/complete", `{"completed": true}`, "Idempotency-Key: key"},
		{"PATCH", "", `{"completed": true}`},
		{"PUT", "", `{"completed": true}`},
		{"PATCH", "", `{"completed": true, "due_date": "2026-03-10"}`},
		{"POST", "/complete", `{"completed": true}`, "If-Match: " + etag},
	}
	type outcome struct {
		road [4]string
		*answer
	}
	answers := make(chan outcome)
	for i := range 50 {
		road := roads[i%len(roads)]
		go func() {
			var headers []string
			if road[3] != "" {
				headers = append(headers, road[3])
			}
			answers <- outcome{road, s.ada.send(t, road[0], path+road[1], road[2], headers...)}
		}()
	}
	var next any
	conditional := 0
	for range 50 {
		a := <-answers
		switch {
		case a.status == http.StatusServiceUnavailable:
			continue // too many requests of one owner at a time
		case a.road[3] == "If-Match: "+etag && a.status == http.StatusPreconditionFailed:
			continue
		case a.road[3] == "If-Match: "+etag:
			conditional++
		}
		done := jsonOf(t, a.want(http.StatusOK))
		if next == nil {
			next = done["next_task_id"]
		}
		if next == nil || done["next_task_id"] != next || done["completed"] != true {
			t.Errorf("followed by %v, and by %v", next, done)
		}
	}
	if l := s.ada.all(t, ""); l.Total != 2 || conditional > 1 {
		t.Errorf("there are %d tasks, and %d conditional requests succeeded", l.Total, conditional)
	}
}
