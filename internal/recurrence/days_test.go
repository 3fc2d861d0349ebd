package recurrence

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"docket/internal/due"
)

// make proofs checks a million rules.
var (
	rules = flag.Int("rules", 2000, "the number of random rules to check")
	seed  = flag.Uint64("seed", rand.Uint64(), "what random rules are made from")
)

// parallel calls check with the numbers from 1 to n, and a source of random numbers for each.
func parallel(t *testing.T, n int, check func(worker int, rng *rand.Rand) error) {
	t.Helper()
	t.Logf("%d rules, -seed %d", n, *seed)
	var next atomic.Int64
	var workers sync.WaitGroup
	for worker := range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				if err := check(worker, rand.New(rand.NewPCG(*seed, uint64(i)))); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	workers.Wait()
}

func TestDaysOfRandomRulesAreThoseOfAWalkerAndOfOracles(t *testing.T) {
	t.Parallel()
	oracles := make([][]oracle, runtime.GOMAXPROCS(0))
	for i := range oracles {
		oracles[i] = append(dateutil(t), rruleGo)
	}
	parallel(t, *rules, func(worker int, rng *rand.Rand) error {
		return checkRule(randomRule(rng), randomDay(rng), rng, oracles[worker]...)
	})
}

// FuzzDays looks for a rule whose days are not those of the oracles. `make recurrence-fuzz` has python-dateutil among them.
func FuzzDays(f *testing.F) {
	f.Add("FREQ=MONTHLY;BYDAY=MO,1TU;BYSETPOS=-1", int32(0))
	f.Add("FREQ=YEARLY;INTERVAL=4;BYMONTHDAY=29;BYMONTH=2", int32(20_000))
	f.Add("FREQ=WEEKLY;INTERVAL=2;BYDAY=SU,MO;WKST=SU;COUNT=3", int32(20_001))
	f.Add("FREQ=DAILY;BYMONTHDAY=-31;UNTIL=20300131", int32(20_002))
	oracles := append(dateutil(f), rruleGo)
	f.Fuzz(func(t *testing.T, text string, anchor int32) {
		r, err := Parse(text)
		if err != nil {
			if err.Detail == "" || err.Code == "" {
				t.Errorf("Parse(%q) = %#v", text, err)
			}
			return
		}
		rule := r.String()
		if again, err := Parse(rule); err != nil || again.String() != rule || len(rule) > len(text) {
			t.Fatalf("Parse(%q) is %q, which is read as %q, %v", text, rule, again, err)
		}
		rng := rand.New(rand.NewPCG(uint64(len(text)), uint64(anchor)))
		if err := checkRule(rule, due.Date(uint32(anchor)%84_000), rng, oracles...); err != nil {
			t.Error(err)
		}
	})
}

func date(t *testing.T, s string) due.Date {
	t.Helper()
	d, err := due.ParseDate(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func rule(t *testing.T, text string) Rule {
	t.Helper()
	r, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestCompletedFrom1000DaysEarlyToLate states each mode on the days of a walker.
func TestCompletedFrom1000DaysEarlyToLate(t *testing.T) {
	t.Parallel()
	parallel(t, max(40, *rules/1000), func(_ int, rng *rand.Rand) error {
		return checkModes(randomRule(rng), randomDay(rng)+1000)
	})
}

func checkModes(text string, occurrence due.Date) error {
	r, err := Parse(text)
	if err != nil {
		return err
	}
	w := newWalker(text)
	w.last = occurrence + 1000 + days20
	var days []due.Date // after the occurrence
	for d := range w.days(occurrence) {
		if d > occurrence {
			days = append(days, d)
		}
	}
	step := due.Date(1)
	if len(days) == 0 {
		step = 100
	}
	for today := occurrence - 1000; today <= occurrence+1000; today += step {
		// AfterCompletion: the rule started today, and the first day after both.
		started := *w
		started.last = today + days20/2
		started.endsOfMonths = !strings.Contains(text, "BY")
		var restarted []due.Date
		for d := range started.days(today) {
			if d > max(today, occurrence) {
				restarted = []due.Date{d}
				break
			}
		}
		// SkipMissed: the first day that is not before today. Those before it have passed, as has the occurrence.
		missed := 0
		for missed < len(days) && days[missed] < today {
			missed++
		}
		for _, want := range []struct {
			mode   Mode
			passed int
			days   []due.Date
		}{
			{SkipMissed, missed + 1, days[missed:]},
			{KeepMissed, 1, days}, // the first of them
			{AfterCompletion, 1, restarted},
		} {
			wantRest := text
			if w.count > 0 {
				wantRest = strings.Replace(text, "COUNT="+strconv.Itoa(w.count), "COUNT="+strconv.Itoa(w.count-want.passed), 1)
			}
			next, rest, ok := r.Complete(occurrence, today, want.mode)
			switch {
			case len(want.days) == 0 || w.count > 0 && w.count <= want.passed:
				if ok && (w.count > 0 && w.count <= want.passed || next <= started.last && next <= w.last) {
					return fmt.Errorf("%s of %v completed %v, %s: %v, want none", text, occurrence, today, want.mode, next)
				}
			case !ok || next != want.days[0] || rest.String() != wantRest:
				return fmt.Errorf("%s of %v completed %v, %s: %v, %v, %v, want %v, %s",
					text, occurrence, today, want.mode, next, rest, ok, want.days[0], wantRest)
			}
		}
	}
	return nil
}

// TestEndsOfMonthsDoNotDrift completes a task each time on its day.
func TestEndsOfMonthsDoNotDrift(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ rule, start, stored, days string }{
		{
			"FREQ=MONTHLY", "2026-01-31", "FREQ=MONTHLY;BYMONTHDAY=28,29,30,31;BYSETPOS=-1",
			"2026-02-28 2026-03-31 2026-04-30 2026-05-31 2026-06-30 2026-07-31 2026-08-31 2026-09-30 2026-10-31 2026-11-30 " +
				"2026-12-31 2027-01-31 2027-02-28",
		},
		{"FREQ=MONTHLY", "2028-01-31", "FREQ=MONTHLY;BYMONTHDAY=28,29,30,31;BYSETPOS=-1", "2028-02-29 2028-03-31"},
		{"FREQ=MONTHLY", "2027-12-30", "FREQ=MONTHLY;BYMONTHDAY=28,29,30;BYSETPOS=-1", "2028-01-30 2028-02-29 2028-03-30"},
		{"FREQ=MONTHLY", "2026-01-29", "FREQ=MONTHLY;BYMONTHDAY=28,29;BYSETPOS=-1", "2026-02-28 2026-03-29 2026-04-29"},
		{"FREQ=MONTHLY", "2026-01-28", "FREQ=MONTHLY", "2026-02-28 2026-03-28"},
		{
			"FREQ=MONTHLY;INTERVAL=3;WKST=SU;COUNT=4", "2026-05-31",
			"FREQ=MONTHLY;INTERVAL=3;BYMONTHDAY=28,29,30,31;BYSETPOS=-1;WKST=SU;COUNT=4", "2026-08-31 2026-11-30 2027-02-28 none",
		},
		{
			"FREQ=MONTHLY;UNTIL=20260331", "2026-01-31", "FREQ=MONTHLY;BYMONTHDAY=28,29,30,31;BYSETPOS=-1;UNTIL=20260331",
			"2026-02-28 2026-03-31 none",
		},
		{"FREQ=MONTHLY;BYMONTHDAY=31", "2026-01-31", "FREQ=MONTHLY;BYMONTHDAY=31", "2026-03-31 2026-05-31 2026-07-31"},
		{"FREQ=MONTHLY;BYMONTH=1,2,3", "2026-01-31", "FREQ=MONTHLY;BYMONTH=1,2,3", "2026-03-31 2027-01-31"},
		{
			"FREQ=YEARLY", "2024-02-29", "FREQ=YEARLY;BYMONTHDAY=28,29;BYMONTH=2;BYSETPOS=-1",
			"2025-02-28 2026-02-28 2027-02-28 2028-02-29 2029-02-28",
		},
		{
			"FREQ=YEARLY", "2096-02-29", "FREQ=YEARLY;BYMONTHDAY=28,29;BYMONTH=2;BYSETPOS=-1",
			"2097-02-28 2098-02-28 2099-02-28 2100-02-28 2101-02-28 2102-02-28 2103-02-28 2104-02-29",
		},
		{"FREQ=YEARLY", "2026-02-28", "FREQ=YEARLY", "2027-02-28 2028-02-28"},
		{"FREQ=YEARLY", "2026-01-31", "FREQ=YEARLY", "2027-01-31 2028-01-31"},
		{"FREQ=WEEKLY", "2026-01-31", "FREQ=WEEKLY", "2026-02-07 2026-02-14"},
		{"FREQ=DAILY", "2024-02-29", "FREQ=DAILY", "2024-03-01 2024-03-02"},
	} {
		day := date(t, test.start)
		r := rule(t, test.rule).Starting(day, KeepMissed)
		if r.String() != test.stored {
			t.Errorf("%s from %v is stored as %v, want %s", test.rule, day, r, test.stored)
		}
		if again := r.Starting(day, SkipMissed); again.String() != r.String() {
			t.Errorf("%v starts as %v", r, again)
		}
		if same := rule(t, test.rule).Starting(day, AfterCompletion); !same.Equal(rule(t, test.rule)) {
			t.Errorf("%s after completion is stored as %v", test.rule, same)
		}
		for _, mode := range []Mode{SkipMissed, KeepMissed} {
			r, day := r, day
			for want := range strings.FieldsSeq(test.days) {
				next, rest, ok := r.Complete(day, day, mode)
				skipped, skippedRest, skippedOK := r.Skip(day)
				if skipped != next || skippedOK != ok || skippedRest.String() != rest.String() {
					t.Errorf("%v: Skip(%v) = %v, %v", r, day, skipped, skippedRest)
				}
				if !ok && want == "none" {
					break
				}
				if !ok || next.String() != want {
					t.Errorf("%v, %s: after %v: %v, %v, want %s", r, mode, day, next, ok, want)
				}
				r, day = rest, next
			}
		}
	}
}

// TestEndsOfMonthsDriftAfterCompletion completes a task on the days on the left.
func TestEndsOfMonthsDriftAfterCompletion(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ rule, occurrence, today, want string }{
		{"FREQ=MONTHLY", "2026-01-31", "2026-01-31", "2026-02-28"},
		{"FREQ=MONTHLY", "2026-02-28", "2026-02-28", "2026-03-28"},
		{"FREQ=MONTHLY", "2026-02-28", "2026-03-02", "2026-04-02"},
		{"FREQ=MONTHLY", "2026-02-28", "2026-01-31", "2026-03-31"}, // early: after the occurrence too
		{"FREQ=MONTHLY;INTERVAL=2", "2026-02-28", "2026-12-31", "2027-02-28"},
		{"FREQ=YEARLY", "2024-02-29", "2024-02-29", "2025-02-28"},
		{"FREQ=YEARLY", "2025-02-28", "2025-02-28", "2026-02-28"},
		{"FREQ=MONTHLY;BYMONTHDAY=31", "2026-01-31", "2026-01-31", "2026-03-31"},
		{"FREQ=DAILY;INTERVAL=10", "2026-01-31", "2026-02-02", "2026-02-12"},
	} {
		r := rule(t, test.rule)
		next, rest, ok := r.Complete(date(t, test.occurrence), date(t, test.today), AfterCompletion)
		if !ok || next.String() != test.want || rest.String() != test.rule {
			t.Errorf("%s of %s completed %s: %v, %v, %v, want %s", test.rule, test.occurrence, test.today, next, rest, ok, test.want)
		}
	}
	// Left out, the rule is started by the occurrence.
	if next, rest, ok := rule(t, "FREQ=MONTHLY;COUNT=3").Skip(date(t, "2026-01-31")); !ok || next.String() != "2026-02-28" ||
		rest.String() != "FREQ=MONTHLY;COUNT=2" {
		t.Errorf("skipped: %v, %v, %v", next, rest, ok)
	}
}

func TestRecurs(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		rule, anchor string
		want         bool
	}{
		{"FREQ=DAILY;BYMONTHDAY=30;BYMONTH=2", "2026-03-09", false},
		{"FREQ=YEARLY;BYMONTHDAY=30;BYMONTH=2", "2026-03-09", false},
		{"FREQ=MONTHLY;BYMONTHDAY=31;BYMONTH=2,4,6,9,11", "2026-03-09", false},
		{"FREQ=WEEKLY;BYDAY=MO;BYSETPOS=2", "2026-03-09", false},
		{"FREQ=DAILY;BYMONTH=3;BYSETPOS=2", "2026-03-09", false},
		{"FREQ=DAILY;INTERVAL=7;BYDAY=TU", "2026-03-09", false},
		{"FREQ=DAILY;INTERVAL=7;BYDAY=MO", "2026-03-09", true},
		{"FREQ=YEARLY;INTERVAL=4;BYMONTHDAY=29;BYMONTH=2", "2026-03-09", false},
		{"FREQ=YEARLY;BYMONTHDAY=29;BYMONTH=2", "2096-02-29", true},
		{"FREQ=YEARLY;BYMONTHDAY=29;BYMONTH=2", "2096-03-01", true}, // 2104, since 2100 is no leap year
		{"FREQ=YEARLY;BYDAY=MO;BYMONTHDAY=29;BYMONTH=2", "2024-03-01", false},
		{"FREQ=YEARLY;INTERVAL=999", "2026-03-09", true}, // the anchor
		{"FREQ=YEARLY;INTERVAL=999", "9999-12-31", true},
		{"FREQ=DAILY;COUNT=1", "2026-03-09", true},
		{"FREQ=DAILY;UNTIL=20260309", "2026-03-09", true},
		{"FREQ=DAILY;UNTIL=20260308", "2026-03-09", false},
		{"FREQ=WEEKLY;BYDAY=TU;UNTIL=20260309", "2026-03-09", false},
		{"FREQ=MONTHLY;INTERVAL=120;BYMONTHDAY=1,31;BYSETPOS=1", "2026-03-02", true}, // 2036-03-01
		{"FREQ=YEARLY;INTERVAL=10;BYDAY=1SU", "2026-03-02", true},                    // 2036-01-06
		{"FREQ=MONTHLY;INTERVAL=121;BYMONTHDAY=1", "2026-03-02", false},              // 2036-04-01
		{"FREQ=DAILY;BYMONTHDAY=9;BYMONTH=3;INTERVAL=999", "2026-03-10", false},
	} {
		r, anchor := rule(t, test.rule), date(t, test.anchor)
		if got := r.Recurs(anchor); got != test.want {
			t.Errorf("%s from %s: Recurs = %v", test.rule, test.anchor, got)
		}
	}
}

// TestWorkIsBounded asks rules of all kinds for days that are not there or far away. A search that is not bounded ends with
// go test's deadline.
func TestWorkIsBounded(t *testing.T) {
	t.Parallel()
	positions := make([]string, 0, 366)
	for n := 366; n > 305; n-- {
		positions = append(positions, "-"+strconv.Itoa(n))
	}
	for _, text := range []string{
		"FREQ=DAILY;BYMONTHDAY=30;BYMONTH=2",
		"FREQ=DAILY;INTERVAL=999;BYDAY=MO;BYMONTHDAY=29;BYMONTH=2",
		"FREQ=DAILY;INTERVAL=7;BYDAY=TU",
		"FREQ=WEEKLY;INTERVAL=999;BYDAY=MO;BYSETPOS=2",
		"FREQ=WEEKLY;BYDAY=MO;BYSETPOS=2",
		"FREQ=MONTHLY;INTERVAL=12;BYMONTH=4",
		"FREQ=MONTHLY;BYSETPOS=" + strings.Join(positions[:45], ",") + ";BYDAY=MO",
		"FREQ=YEARLY;BYSETPOS=" + strings.Join(positions[:45], ",") + ";BYMONTH=1",
		"FREQ=YEARLY;INTERVAL=4;BYMONTHDAY=29;BYMONTH=2",
	} {
		r := rule(t, text)
		for _, anchor := range []string{"1970-01-05", "2026-03-09", "9999-12-27"} {
			anchor := date(t, anchor)
			if next, ok := r.Next(anchor, anchor); ok || r.Recurs(anchor) {
				t.Errorf("%s from %v has %v", text, anchor, next)
			}
		}
	}
	first, last := date(t, "1970-01-01"), date(t, "9999-12-31")
	for text, want := range map[string]due.Date{
		"FREQ=DAILY":                        last,
		"FREQ=DAILY;COUNT=9999":             0,
		"FREQ=YEARLY;BYDAY=FR;BYSETPOS=-1":  last,
		"FREQ=YEARLY;INTERVAL=999;WKST=SU":  0,
		"FREQ=WEEKLY;BYDAY=FR":              last,
		"FREQ=MONTHLY;BYMONTHDAY=-1":        last,
		"FREQ=MONTHLY;BYMONTHDAY=1":         0,
		"FREQ=DAILY;INTERVAL=999;COUNT=999": 0,
	} {
		r := rule(t, text)
		if got, ok := r.Next(first, last-1); got != want || ok != (want != 0) {
			t.Errorf("%s: the last day is %v, %v, want %v", text, got, ok, want)
		}
		if got, ok := r.Next(first, last); ok {
			t.Errorf("%s: after the last day is %v", text, got)
		}
	}
}
