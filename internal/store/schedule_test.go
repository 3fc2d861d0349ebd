package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"docket/internal/due"
	"docket/internal/recurrence"
)

// occurrenceOf returns an open occurrence of a rule that starts on a day, as CreateTask would make it.
func occurrenceOf(t *testing.T, rule string, mode recurrence.Mode, members ...string) Task {
	t.Helper()
	s := Schedule{Rule: Set(&rule), Mode: Set(string(mode))}
	for i, m := range []*due.Member{&s.Due.Date, &s.Due.Time, &s.Due.Zone} {
		if i < len(members) {
			*m = due.Member{Sent: true, Text: &members[i]}
		}
	}
	f := NewTask{Title: "an occurrence"}
	if err := f.Schedule(s); err != nil {
		t.Fatal(err)
	}
	return Task{ID: "id", TaskFields: f, Occurrence: Occurrence{new("series"), f.DueDate}}
}

// complete returns the occurrence that follows if the task is completed at noon of a day, or nil.
func complete(t *testing.T, task Task, today due.Date) *Task {
	t.Helper()
	p, err := planChanges(task, TaskChanges{Completed: Set(true)}, "", time.Unix(int64(today)*24*60*60+12*60*60, 0))
	if err != nil {
		t.Fatal(err)
	}
	if !p.task.Completed || *p.task.DueDate != *task.DueDate || *p.task.RecurrenceRule != *task.RecurrenceRule {
		t.Errorf("completed, %+v becomes %+v", task, p.task)
	}
	if p.next != nil && (p.next.Completed || *p.next.SeriesID != *task.SeriesID || *p.next.DueDate != *p.next.OccurrenceDate || p.next.ID == task.ID) {
		t.Errorf("%+v is followed by %+v", task, p.next)
	}
	return p.next
}

// A day that is the last of its month stays so, however long the series is.
func TestTheEndsOfMonthsDoNotDrift(t *testing.T) {
	t.Parallel()
	lastOf := func(year int, month time.Month) due.Date { return due.DateOf(year, month+1, 1) - 1 }
	for _, mode := range []recurrence.Mode{recurrence.SkipMissed, recurrence.KeepMissed} {
		task := occurrenceOf(t, "FREQ=MONTHLY", mode, "2026-01-31")
		for i := range 60 {
			next := complete(t, task, *task.DueDate)
			if want := lastOf(2026+(i+1)/12, time.Month((i+1)%12+1)); next == nil || *next.DueDate != want {
				t.Fatalf("%s: %s is followed by %+v, want %s", mode, task.DueDate, next, want)
			}
			task = *next
		}
		task = occurrenceOf(t, "FREQ=YEARLY", mode, "2028-02-29")
		for year := 2029; year < 2040; year++ {
			next := complete(t, task, *task.DueDate)
			if want := lastOf(year, time.February); next == nil || *next.DueDate != want {
				t.Fatalf("%s: %s is followed by %+v, want %s", mode, task.DueDate, next, want)
			}
			task = *next
		}
	}
}

// A rule that was stored as it was given, because the mode was after_completion, must not drift in another mode.
func TestTheEndsOfMonthsDoNotDriftInAnotherMode(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]Schedule{
		"the mode alone":     {Mode: Set("keep_missed")},
		"mode and rule":      {Mode: Set("keep_missed"), Rule: Set(new("FREQ=MONTHLY"))},
		"mode, day and rule": {Mode: Set("keep_missed"), Rule: Set(new("FREQ=MONTHLY")), Due: due.Change{Date: due.Member{Sent: true, Text: new("2026-02-03")}}},
	} {
		task := occurrenceOf(t, "FREQ=MONTHLY", recurrence.AfterCompletion, "2026-01-31")
		if *task.RecurrenceRule != "FREQ=MONTHLY" {
			t.Fatalf("stored is the rule %s", *task.RecurrenceRule)
		}
		p, err := planChanges(task, TaskChanges{Schedule: s}, "another", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if got := *p.task.RecurrenceRule; got != "FREQ=MONTHLY;BYMONTHDAY=28,29,30,31;BYSETPOS=-1" || *p.task.SeriesID != "series" {
			t.Errorf("%s: the rule is %s of the series %s", name, got, *p.task.SeriesID)
		}
		if next := complete(t, p.task, *task.DueDate); next == nil || next.DueDate.String() != "2026-02-28" {
			t.Errorf("%s: it is followed by %+v", name, next)
		}
	}
	// Another day for the occurrence alone changes nothing of the rule.
	task := occurrenceOf(t, "FREQ=MONTHLY", recurrence.AfterCompletion, "2026-01-31")
	p, err := planChanges(task, TaskChanges{Schedule: Schedule{Mode: Set("after_completion")}}, "another", time.Now())
	if err != nil || *p.task.RecurrenceRule != "FREQ=MONTHLY" {
		t.Errorf("%+v, %v", p.task, err)
	}
}

// What the three modes say, for occurrences that are completed up to 1,000 days late or early: the days are counted one by
// one.
func TestCompletingLateOrEarlyInEveryMode(t *testing.T) {
	t.Parallel()
	day := due.DateOf(2026, 1, 31) // a Saturday
	clipped := func(year int, month time.Month, of int) due.Date {
		return min(due.DateOf(year, month, of), due.DateOf(year, month+1, 1)-1)
	}
	for rule, isDay := range map[string]func(start, d due.Date) bool{
		"FREQ=DAILY;INTERVAL=3": func(start, d due.Date) bool { return (d-start)%3 == 0 },
		"FREQ=WEEKLY":           func(start, d due.Date) bool { return d.Weekday() == start.Weekday() },
		"FREQ=MONTHLY": func(start, d due.Date) bool {
			_, _, of := start.Civil()
			year, month, _ := d.Civil()
			return d == clipped(year, month, of)
		},
	} {
		for late := due.Date(-1000); late <= 1000; late++ {
			today := day + late
			for mode, from := range map[recurrence.Mode]struct{ start, first due.Date }{
				recurrence.SkipMissed:      {day, max(day+1, today)},
				recurrence.KeepMissed:      {day, day + 1},
				recurrence.AfterCompletion: {today, max(day, today) + 1},
			} {
				want := from.first
				for !isDay(from.start, want) {
					want++
				}
				if next := complete(t, occurrenceOf(t, rule, mode, day.String()), today); next == nil || *next.DueDate != want {
					t.Fatalf("%s, %s, completed %d days late: %+v, want %s", rule, mode, late, next, want)
				}
			}
		}
	}
}

// The time and the zone are attached to the day, also where the clocks change.
func TestOccurrencesAtAChangeOfTheClocks(t *testing.T) {
	t.Parallel()
	for start, want := range map[string]string{
		"2026-03-28": "28T01:30 29T01:30 30T00:30", // 02:30 is in the gap on the 29th, and has the offset before it
		"2026-10-24": "24T00:30 25T00:30 26T01:30", // the first 02:30 of the 25th
	} {
		task := occurrenceOf(t, "FREQ=DAILY", recurrence.KeepMissed, start, "02:30", "Europe/Berlin")
		var got []string
		for range 3 {
			got = append(got, task.DueAt.Format("02T15:04"))
			next := complete(t, task, *task.DueDate)
			if next.DueTime.String() != "02:30" || *next.TimeZone != "Europe/Berlin" || *next.DueDate != *task.DueDate+1 {
				t.Errorf("%s is followed by %+v", task.DueDate, next)
			}
			task = *next
		}
		if strings.Join(got, " ") != want {
			t.Errorf("from %s on the instants are %q, want %s", start, got, want)
		}
	}
}

// COUNT includes the occurrence at hand and goes down by those that passed, and the day of UNTIL is included.
func TestSeriesEnd(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		rule, start string
		mode        recurrence.Mode
		late        due.Date
		want        string
	}{
		{"FREQ=DAILY;COUNT=3", "2026-01-01", recurrence.KeepMissed, 0, "01-02 COUNT=2, 01-03 COUNT=1"},
		{"FREQ=DAILY;COUNT=5", "2026-01-01", recurrence.SkipMissed, 2, "01-03 COUNT=3, 01-05 COUNT=1"},
		{"FREQ=DAILY;COUNT=5", "2026-01-01", recurrence.SkipMissed, 9, ""},
		{"FREQ=DAILY;COUNT=3", "2026-01-01", recurrence.AfterCompletion, 9, "01-11 COUNT=2, 01-21 COUNT=1"},
		{"FREQ=DAILY;COUNT=1", "2026-01-01", recurrence.SkipMissed, 0, ""},
		{"FREQ=DAILY;UNTIL=20260103", "2026-01-01", recurrence.KeepMissed, 0, "01-02 UNTIL=20260103, 01-03 UNTIL=20260103"},
		{"FREQ=DAILY;UNTIL=20260103", "2026-01-01", recurrence.SkipMissed, 2, "01-03 UNTIL=20260103"},
		{"FREQ=DAILY;UNTIL=20260103", "2026-01-01", recurrence.SkipMissed, 3, ""},
		{"FREQ=DAILY;UNTIL=20260103", "2026-01-01", recurrence.AfterCompletion, 1, "01-03 UNTIL=20260103"},
		{"FREQ=DAILY", "9999-12-30", recurrence.KeepMissed, 0, "12-31 FREQ=DAILY"},
	} {
		task := occurrenceOf(t, test.rule, test.mode, test.start)
		var got []string
		for {
			next := complete(t, task, *task.DueDate+test.late)
			if next == nil {
				break
			}
			parts := strings.Split(*next.RecurrenceRule, ";")
			got = append(got, next.DueDate.String()[len("2026-"):]+" "+parts[len(parts)-1])
			task = *next
		}
		if strings.Join(got, ", ") != test.want {
			t.Errorf("%+v: %q", test, got)
		}
	}
}

// An instant after the year 9999 in UTC could not be sent to a client.
func TestSeriesEndBeforeTheYear10000InUTC(t *testing.T) {
	t.Parallel()
	task := occurrenceOf(t, "FREQ=DAILY", recurrence.KeepMissed, "9999-12-30", "20:00", "America/Los_Angeles")
	if next := complete(t, task, *task.DueDate); next != nil {
		t.Errorf("it is followed by %+v", next)
	}
	if _, err := planSkip(task, *task.OccurrenceDate); !errors.As(err, new(FaultsError)) {
		t.Errorf("skipped: %v", err)
	}
	if all, err := task.Upcoming(10); err != nil || len(all) > 0 {
		t.Errorf("to come are %+v, %v", all, err)
	}
	if all, err := occurrenceOf(t, "FREQ=DAILY", recurrence.KeepMissed, "9999-12-29", "20:00", "America/Los_Angeles").Upcoming(10); err != nil || len(all) != 1 {
		t.Errorf("to come are %+v, %v", all, err)
	}
}

// A due_date of null clears time, zone and rule, whatever else is said of them.
func TestNoDueDateClearsWhateverElseIsSaid(t *testing.T) {
	t.Parallel()
	cleared := due.Member{Sent: true}
	word := func(s string) due.Member { return due.Member{Sent: true, Text: &s} }
	for _, s := range []Schedule{
		{Due: due.Change{Date: cleared}},
		{Due: due.Change{Date: cleared, Time: word("09:00"), Zone: word("Europe/Berlin")}},
		{Due: due.Change{Date: cleared, Time: word("no time"), Zone: word("no zone")}},
		{Due: due.Change{Date: cleared}, Rule: Set(new("FREQ=DAILY"))},
		{Due: due.Change{Date: cleared}, Rule: Set(new("no rule")), Pattern: Set("daily")},
		{Due: due.Change{Date: cleared}, Pattern: Set("no word")},
	} {
		task := occurrenceOf(t, "FREQ=DAILY", recurrence.SkipMissed, "2026-03-09", "09:00", "Europe/Berlin")
		p, err := planChanges(task, TaskChanges{Schedule: s}, "another", time.Now())
		v := p.task
		if err != nil || v.DueDate != nil || v.DueTime != nil || v.TimeZone != nil || v.DueAt != nil || v.RecurrenceRule != nil || v.SeriesID != nil || v.OccurrenceDate != nil {
			t.Errorf("%+v: %+v, %v", s, v, err)
		}
	}
}

// Writers complete, reopen, skip and change one occurrence at the same time. No write is lost. In the end one occurrence
// follows if it is completed, and none if it is open.
func TestConcurrentChangesOfAnOccurrenceLoseNothing(t *testing.T) {
	t.Parallel()
	const writers, rounds = 8, 25
	s := open(t, Config{URL: withUsers(t, "ada", "bob")})
	ada := s.For("ada")
	made := createOccurrence(t, ada, "FREQ=DAILY", due.DateOf(2026, 3, 9))
	bobs := createOccurrence(t, s.For("bob"), "FREQ=DAILY", due.DateOf(2026, 3, 9))
	var wg sync.WaitGroup
	var mu sync.Mutex
	revisions := map[int64]bool{}
	outcomes := map[string]int{}
	var tagged []string
	for writer := range writers {
		random := rand.New(rand.NewPCG(uint64(writer), 19))
		tag := fmt.Sprintf("writer %d", writer)
		wg.Go(func() {
			for round := range rounds {
				var done Task
				var err error
				what := []string{"complete", "reopen", "toggle", "update", "skip", "tag", "move"}[random.IntN(7)]
				switch what {
				case "complete":
					done, err = ada.CompleteTask(t.Context(), made.ID, new(true), nil)
				case "reopen":
					done, err = ada.CompleteTask(t.Context(), made.ID, new(false), nil)
				case "toggle":
					done, err = ada.CompleteTask(t.Context(), made.ID, nil, nil)
				case "update":
					done, err = ada.UpdateTask(t.Context(), made.ID, TaskChanges{Completed: Set(random.IntN(2) == 0), Title: Set("changed")})
				case "skip":
					if done, err = ada.GetTask(t.Context(), made.ID); err == nil {
						done, err = ada.SkipOccurrence(t.Context(), made.ID, *done.OccurrenceDate)
					}
				case "move":
					date := due.Member{Sent: true, Text: new(due.DateOf(2026, 4, 1+random.IntN(20)).String())}
					done, err = ada.UpdateTask(t.Context(), made.ID, TaskChanges{Schedule: Schedule{Due: due.Change{Date: date}}})
				case "tag":
					added := fmt.Sprintf("%s round %d", tag, round)
					done, err = ada.UpdateTask(t.Context(), made.ID, TaskChanges{AddTags: []string{added}})
					if err == nil && !slices.Contains(done.Tags, added) {
						t.Errorf("the tag %s is not among %q", added, done.Tags)
					}
					if err == nil {
						done, err = ada.UpdateTask(t.Context(), made.ID, TaskChanges{RemoveTags: []string{added}, AddTags: []string{tag}})
					}
					mu.Lock()
					tagged = append(tagged, tag)
					mu.Unlock()
				}
				mu.Lock()
				if err == nil && done.Completed != (done.NextTaskID != nil) {
					t.Errorf("%s gives %+v", what, done)
				}
				if errors.As(err, new(FaultsError)) && what == "skip" {
					what, err = "skip refused", nil
				}
				if err != nil {
					t.Errorf("%s: %v", what, err)
				}
				outcomes[what]++
				if !strings.HasPrefix(what, "skip") { // which may find that there is nothing to do
					if revisions[done.Revision] {
						t.Errorf("%s: the revision %d was another change's", what, done.Revision)
					}
					revisions[done.Revision] = true
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("%v", outcomes)
	for _, value := range []bool{true, false, true} {
		if _, err := ada.CompleteTask(t.Context(), made.ID, &value, nil); err != nil {
			t.Fatal(err)
		}
		tasks := list(t, ada, TaskQuery{Limit: 10}).Tasks
		is := get(t, ada, made.ID)
		if want := map[bool]int{true: 2, false: 1}[value]; len(tasks) != want || is.Completed != value {
			t.Errorf("completed: %t, there are %+v", value, tasks)
		}
		for _, v := range tasks {
			if v.ID != made.ID && (v.ID != *is.NextTaskID || v.Completed || *v.OccurrenceDate <= *is.OccurrenceDate) {
				t.Errorf("%+v is followed by %+v", is, v)
			}
		}
	}
	for _, tag := range tagged {
		if v := get(t, ada, made.ID); !slices.Contains(v.Tags, tag) || slices.ContainsFunc(v.Tags, func(s string) bool { return strings.Contains(s, "round") }) {
			t.Errorf("the tags are %q, without %s", v.Tags, tag)
		}
	}
	if got := get(t, s.For("bob"), bobs.ID); !same(got, bobs) {
		t.Errorf("bob's was %+v, and is %+v", bobs, got)
	}
}
