// Package recurrence computes the days of recurring tasks. A rule is an RRULE of RFC 5545, section 3.3.10, restricted to
// days: nothing in it is about times, zones or the clock, which are attached to a day afterwards.
//
// A rule is started at a day, its anchor, as an RRULE is at DTSTART. Each day that a rule gives can be its anchor from then
// on: the days that follow are the same. A task therefore remembers one day only, that of its occurrence.
//
// # The grammar
//
// These are the parts of a rule, in canonical order. Each may be given once. All others are refused, and so is whitespace.
//
//	FREQ        DAILY, WEEKLY, MONTHLY or YEARLY; required. The others are shorter than a day.
//	INTERVAL    1 to 999
//	BYDAY       MO to SU. With a number, as in 2TU or -1FR, only where FREQ is MONTHLY, or YEARLY: it counts within the
//	            month (1 to 5), or within the year (1 to 53) if the rule is YEARLY without BYMONTH.
//	BYMONTHDAY  1 to 31, or -31 to -1 from the end of the month; not where FREQ is WEEKLY
//	BYMONTH     1 to 12
//	BYSETPOS    1 to 366, or -366 to -1 from the end of the period; only with another BY part
//	WKST        MO to SU, the first day of a week; MO if not given
//	COUNT       1 to 9999, of which the anchor is the first
//	UNTIL       a date such as 20261231, which is included; not with COUNT
//
// BYYEARDAY and BYWEEKNO are left out because no calendar offers them, BYHOUR, BYMINUTE and BYSECOND because they are not
// about days. What is refused in BYDAY, BYMONTHDAY and BYSETPOS is what section 3.3.10 forbids, and numbers that no month
// has.
//
// # The days
//
// Section 3.3.10 has a table that says whether a part limits or expands the days of a rule. With the grammar above both are
// one: the days of a period (a day, week, month or year) that all BY parts allow, of which BYSETPOS selects some. Only every
// INTERVALth period counts, beginning with that of the anchor. If nothing says which day of a period it is, it is that of the
// anchor, and a month without that day is left out. Days before the anchor are none of the rule, but BYSETPOS counts them.
package recurrence

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"docket/internal/due"
)

// Rule is a recurrence rule. Parse makes it; the zero Rule is none.
type Rule struct {
	freq       frequency
	interval   int // 0 if not given
	byDay      []weekday
	byMonthDay []int
	byMonth    []int
	bySetPos   []int
	weekStart  string   // "" if not given
	count      int      // 0 if not given
	until      due.Date // due.MaxDate if not given
	hasUntil   bool
}

type frequency string

const (
	daily   frequency = "DAILY"
	weekly  frequency = "WEEKLY"
	monthly frequency = "MONTHLY"
	yearly  frequency = "YEARLY"
)

// weekday is a day of the week, or the nth one of a month or year: from its end if n is negative.
type weekday struct {
	n   int // 0: each
	day time.Weekday
}

func (w weekday) String() string {
	if w.n == 0 {
		return weekdays[w.day]
	}
	return strconv.Itoa(w.n) + weekdays[w.day]
}

var weekdays = []string{"SU", "MO", "TU", "WE", "TH", "FR", "SA"} // as time.Weekday

// String returns the rule in canonical form: the parts in the order of the grammar, in upper case, lists sorted and without
// repetition. Defaults that were given are kept.
func (r Rule) String() string {
	b := []byte("FREQ=")
	b = append(b, r.freq...)
	if r.interval != 0 {
		b = strconv.AppendInt(append(b, ";INTERVAL="...), int64(r.interval), 10)
	}
	if len(r.byDay) > 0 {
		b = append(b, ";BYDAY="...)
		for _, w := range r.byDay {
			b = append(append(b, w.String()...), ',')
		}
		b = b[:len(b)-1]
	}
	b = appendList(b, ";BYMONTHDAY=", r.byMonthDay)
	b = appendList(b, ";BYMONTH=", r.byMonth)
	b = appendList(b, ";BYSETPOS=", r.bySetPos)
	if r.weekStart != "" {
		b = append(append(b, ";WKST="...), r.weekStart...)
	}
	if r.count != 0 {
		b = strconv.AppendInt(append(b, ";COUNT="...), int64(r.count), 10)
	}
	if r.hasUntil {
		b = append(append(b, ";UNTIL="...), strings.ReplaceAll(r.until.String(), "-", "")...)
	}
	return string(b)
}

func appendList(b []byte, name string, list []int) []byte {
	if len(list) == 0 {
		return b
	}
	b = append(b, name...)
	for _, n := range list {
		b = append(strconv.AppendInt(b, int64(n), 10), ',')
	}
	return b[:len(b)-1]
}

// Equal reports whether both rules have the same parts, where a part that is not given equals its default.
func (r Rule) Equal(s Rule) bool {
	return r.withDefaults().String() == s.withDefaults().String()
}

func (r Rule) withDefaults() Rule {
	r.interval = max(r.interval, 1)
	r.weekStart = cmp.Or(r.weekStart, "MO")
	return r
}

// Starting returns the rule as it is to be stored for a task that is due on day d, so that the ends of months do not drift. A
// monthly rule without BY parts that starts on a 29th to 31st means the last day of the month, or the one next to it:
// 31 January, 28 February, 31 March. A yearly one that starts on 29 February means the last day of February. With
// AfterCompletion the rule stays as it is, since each completion starts it anew.
func (r Rule) Starting(d due.Date, m Mode) Rule {
	if m == AfterCompletion || len(r.byDay)+len(r.byMonthDay)+len(r.byMonth)+len(r.bySetPos) > 0 {
		return r
	}
	_, month, day := d.Civil()
	switch {
	case r.freq == yearly && month == time.February && day == 29:
		r.byMonth = []int{2}
	case r.freq == monthly && day > 28:
	default:
		return r
	}
	for n := 28; n <= day; n++ {
		r.byMonthDay = append(r.byMonthDay, n)
	}
	r.bySetPos = []int{-1}
	return r
}

// Plain returns the rule from which Starting made this one, or this one if Starting makes no such rule.
func (r Rule) Plain() Rule {
	plain := r
	plain.byMonth, plain.byMonthDay, plain.bySetPos = nil, nil, nil
	for _, d := range []due.Date{due.DateOf(2028, 1, 29), due.DateOf(2028, 1, 30), due.DateOf(2028, 1, 31), due.DateOf(2028, 2, 29)} {
		if len(r.bySetPos) > 0 && plain.Starting(d, SkipMissed).Equal(r) {
			return plain
		}
	}
	return r
}

// Pattern returns the rule of a word of recurrence_pattern, which is empty for "none". It reports whether there is such a
// word.
func Pattern(word string) (rule string, ok bool) {
	switch word {
	case "none":
		return "", true
	case "daily", "weekly", "monthly", "yearly":
		return "FREQ=" + strings.ToUpper(word), true
	}
	return "", false
}

// sortedSet sorts a list and removes repetition.
func sortedSet[T comparable](list []T, compare func(a, b T) int) []T {
	slices.SortFunc(list, compare)
	return slices.Compact(list)
}
