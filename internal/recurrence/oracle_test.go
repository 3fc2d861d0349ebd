package recurrence

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/teambition/rrule-go"

	"docket/internal/due"
)

// randomRule returns a rule of the grammar in canonical form. Rules of few and of many days, that end and that do not, and
// that never happen are all among them.
func randomRule(rng *rand.Rand) string {
	freq := []string{"DAILY", "WEEKLY", "MONTHLY", "YEARLY"}[rng.IntN(4)]
	rule := "FREQ=" + freq
	add := func(name string, n int, value func() string) {
		values := make([]string, n)
		for i := range values {
			values[i] = value()
		}
		if n > 0 {
			rule += ";" + name + "=" + strings.Join(values, ",")
		}
	}
	some := func(oneIn, most int) int {
		if rng.IntN(oneIn) > 0 {
			return 0
		}
		return 1 + rng.IntN(most)
	}
	signed := func(most int) string {
		n := 1 + rng.IntN(most)
		if rng.IntN(2) == 0 {
			n = -n
		}
		return strconv.Itoa(n)
	}
	add("INTERVAL", some(2, 1), func() string {
		return strconv.Itoa(1 + rng.IntN([]int{1, 4, 31, 999}[rng.IntN(4)]))
	})
	months := some(3, 4)
	add("BYDAY", some(2, 4), func() string {
		day := weekdays[rng.IntN(7)]
		switch most := 5; {
		case freq != "MONTHLY" && freq != "YEARLY" || rng.IntN(2) == 0:
			return day
		case freq == "YEARLY" && months == 0:
			most = 53
			fallthrough
		default:
			return signed(most) + day
		}
	})
	if freq != "WEEKLY" {
		add("BYMONTHDAY", some(3, 5), func() string { return signed(31) })
	}
	add("BYMONTH", months, func() string { return strconv.Itoa(1 + rng.IntN(12)) })
	if strings.Contains(rule, "BY") {
		most := []int{2, 7, 31, 366}[rng.IntN(4)]
		add("BYSETPOS", some(3, 5), func() string { return signed(most) })
	}
	add("WKST", some(3, 1), func() string { return weekdays[rng.IntN(7)] })
	switch rng.IntN(4) {
	case 0:
		add("COUNT", 1, func() string { return strconv.Itoa(1 + rng.IntN([]int{3, 100, 9999}[rng.IntN(3)])) })
	case 1:
		add("UNTIL", 1, func() string { return strings.ReplaceAll(randomDay(rng).String(), "-", "") })
	}
	r, err := Parse(rule)
	if err != nil {
		panic(rule + ": " + err.Error())
	}
	return r.String()
}

// randomDay returns a day of the years 1970 to 2199, and more often one at the end of a month.
func randomDay(rng *rand.Rand) due.Date {
	d := due.Date(rng.IntN(84_000))
	if rng.IntN(4) == 0 {
		year, month, _ := d.Civil()
		d = due.DateOf(year, month+1, -rng.IntN(3)) // the last, the one before that, or the third last
	}
	return max(d, 0)
}

// days20 are twenty years of days.
const days20 = 7305

// checkRule compares all days of a rule within twenty years of its anchor with those of a walker, and at most 300 of them
// with those of each oracle.
func checkRule(rule string, anchor due.Date, rng *rand.Rand, oracles ...oracle) error {
	r, parseErr := Parse(rule)
	if parseErr != nil {
		return fmt.Errorf("Parse(%q): %w", rule, parseErr)
	}
	last := min(anchor+days20, due.MaxDate)
	w := newWalker(rule)
	var want []due.Date
	w.last = last
	for d := range w.days(anchor) {
		want = append(want, d)
	}
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%s from %v: %s", rule, anchor, fmt.Sprintf(format, args...))
	}

	n := 0
	for d := range r.days(anchor, anchor, last) {
		if n >= len(want) || d != want[n] {
			return fail("day %d is %v, want one of %v", n, d, want[n:min(n+1, len(want))])
		}
		n++
	}
	if n < len(want) {
		return fail("%d days, want %d: the next is %v", n, len(want), want[n])
	}
	tenYears := time.Unix(int64(anchor)*86400, 0).UTC().AddDate(10, 0, 0)
	if got := r.Recurs(anchor); got != (len(want) > 0 && want[0] <= due.Of(tenYears)) {
		return fail("Recurs = %v, the first day is %v", got, want[:min(1, len(want))])
	}

	// Next, with the days that COUNT leaves: the anchor is the first, and does not depend on the rule.
	counted := want
	if w.count > 0 {
		others := want
		if len(want) > 0 && want[0] == anchor {
			others = want[1:]
		}
		counted = append([]due.Date{}, want[:len(want)-len(others)]...)
		counted = append(counted, others[:min(w.count-1, len(others))]...)
	}
	for i := range 8 {
		if i > 0 && len(want) == 0 {
			break // to see that a rule never happens takes longer
		}
		after := anchor - 2 + due.Date(rng.IntN(days20))
		got, ok := r.Next(anchor, after)
		i := 0
		for i < len(counted) && counted[i] <= after {
			i++
		}
		if i < len(counted) && (!ok || got != counted[i]) || i == len(counted) && ok && got <= last {
			return fail("Next(%v) = %v, %v, want one of %v", after, got, ok, counted[i:min(i+1, len(counted))])
		}
	}
	// Each day can be the anchor of those that follow.
	if len(want) > 0 {
		i := rng.IntN(len(want))
		n := i
		for d := range r.days(want[i], want[i], last) {
			if n >= len(want) || d != want[n] {
				return fail("started at %v, day %d is %v, want one of %v", want[i], n, d, want[n:min(n+1, len(want))])
			}
			n++
		}
		if n < len(want) {
			return fail("started at %v, %d days, want %d", want[i], n-i, len(want)-i)
		}
	}

	// An oracle looks for a day that never happens until the year 9999. One of them is fast enough to be asked for it.
	for _, o := range oracles {
		start, oracleRule := forOracles(w, rule, anchor)
		const most = 300
		n := min(len(want), most)
		if o.looksFurther && (n > 0 || rng.IntN(200) == 0) {
			n = min(n+1, most)
		}
		if n == 0 {
			continue
		}
		got := o.days(oracleRule, start, anchor, n)
		for len(got) > 0 && got[len(got)-1] > last {
			got = got[:len(got)-1]
		}
		if fmt.Sprint(got) != fmt.Sprint(want[:min(len(want), most)]) {
			return fail("%s has %v, want %v", o.name, got, want[:min(len(want), most)])
		}
	}
	return nil
}

// forOracles returns the rule and its start as rrule-go and python-dateutil understand it. COUNT is left to the caller. They
// require a day to be both of the BYDAY with and without number, where RFC 5545 lets it be either, so MO becomes 1MO to
// 53MO. And to them the first week begins with DTSTART, so that BYSETPOS would miss the days before.
func forOracles(w *walker, rule string, anchor due.Date) (start due.Date, text string) {
	start = anchor
	var parts []string
	numbers := false
	for _, day := range w.byDay {
		numbers = numbers || len(day) > 2
	}
	for part := range strings.SplitSeq(rule, ";") {
		switch name, _, _ := strings.Cut(part, "="); {
		case name == "COUNT":
			continue
		case name == "BYDAY" && numbers:
			most := 5
			if w.freq == "YEARLY" && len(w.byMonth) == 0 {
				most = 53
			}
			var days []string
			for _, day := range w.byDay {
				if len(day) > 2 {
					days = append(days, day)
					continue
				}
				for n := 1; n <= most; n++ {
					days = append(days, strconv.Itoa(n)+day)
				}
			}
			part = "BYDAY=" + strings.Join(days, ",")
		}
		parts = append(parts, part)
	}
	if w.freq == "WEEKLY" && len(w.bySetPos) > 0 {
		if len(w.byDay) == 0 {
			parts = append(parts, "BYDAY="+weekdays[anchor.Weekday()])
		}
		for start.Weekday() != w.weekStart {
			start--
		}
	}
	return start, strings.Join(parts, ";")
}

// oracle computes at most n days, not before from, of a rule started at a day.
type oracle struct {
	name         string
	looksFurther bool
	days         func(rule string, start, from due.Date, n int) []due.Date
}

var rruleGo = oracle{"rrule-go", true, func(rule string, start, from due.Date, n int) (days []due.Date) {
	option, err := rrule.StrToROption(rule)
	if err != nil {
		panic(err)
	}
	option.Dtstart = time.Unix(int64(start)*86400, 0).UTC()
	r, err := rrule.NewRRule(*option)
	if err != nil {
		panic(err)
	}
	next := r.Iterator()
	for len(days) < n {
		at, ok := next()
		if !ok {
			break
		}
		if d := due.Of(at); d >= from {
			days = append(days, d)
		}
	}
	return days
}}

// dateutil starts the Python program with python-dateutil that the environment variable names, if it is set.
func dateutil(t testing.TB) []oracle {
	t.Helper()
	python := os.Getenv("DOCKET_TEST_DATEUTIL")
	if python == "" {
		return nil
	}
	cmd := exec.Command(python, "testdata/dateutil_days.py")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	reader := bufio.NewReader(out)
	return []oracle{{"python-dateutil", false, func(rule string, start, from due.Date, n int) (days []due.Date) {
		if _, err := fmt.Fprintln(in, rule, start, from, n); err != nil {
			panic(err)
		}
		line, err := reader.ReadString('\n')
		if err != nil && err != io.EOF {
			panic(err)
		}
		for text := range strings.FieldsSeq(line) {
			d, err := due.ParseDate(text)
			if err != nil {
				panic(err)
			}
			days = append(days, d)
		}
		return days
	}}}
}
