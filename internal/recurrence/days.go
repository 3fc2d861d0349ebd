package recurrence

import (
	"iter"
	"math/bits"
	"slices"
	"time"

	"docket/internal/due"
)

// Mode says which day follows an occurrence that is completed.
type Mode string

// The modes. Any other is taken as SkipMissed, the default.
const (
	SkipMissed      Mode = "skip_missed"      // the first day after the occurrence that is not before today
	KeepMissed      Mode = "keep_missed"      // the first day after the occurrence
	AfterCompletion Mode = "after_completion" // the first day after both today and the occurrence, of the rule started today
)

// Next returns the first day of the rule started at anchor that is strictly after the day after. It reports whether there
// is one. The anchor is the first of COUNT, whether or not the BY parts allow it.
func (r Rule) Next(anchor, after due.Date) (due.Date, bool) {
	if after < anchor {
		for d := range r.days(anchor, anchor, anchor) {
			return d, true
		}
		after = anchor
	}
	d, _, ok := r.next(anchor, after+1)
	return d, ok
}

// Recurs reports whether the rule started at anchor has an occurrence within ten years. The anchor is one if the rule
// gives it.
func (r Rule) Recurs(anchor due.Date) bool {
	year, month, day := anchor.Civil()
	for range r.days(anchor, anchor, due.DateOf(year+10, month, day)) {
		return true
	}
	return false
}

// Complete returns the day that follows the occurrence if it is completed today, and the rule from that day on, whose COUNT
// is less by the days that passed. It reports whether there is such a day. With AfterCompletion only the occurrence itself
// has passed, since the others would have been different days.
func (r Rule) Complete(occurrence, today due.Date, m Mode) (next due.Date, rest Rule, ok bool) {
	switch m {
	case AfterCompletion:
		return r.follow(today, max(today, occurrence)+1)
	case KeepMissed:
		return r.next(occurrence, occurrence+1)
	default:
		return r.next(occurrence, max(today, occurrence+1))
	}
}

// Skip returns the day that follows the occurrence if it is left out, and the rule from that day on.
func (r Rule) Skip(occurrence due.Date) (next due.Date, rest Rule, ok bool) {
	return r.follow(occurrence, occurrence+1)
}

// next returns the first day of the rule started at anchor that is not before from, which is after the anchor, and the rule
// from that day on.
func (r Rule) next(anchor, from due.Date) (next due.Date, rest Rule, ok bool) {
	if r.count == 0 {
		for d := range r.days(anchor, from, due.MaxDate) {
			return d, r, true
		}
		return 0, Rule{}, false
	}
	for d := range r.days(anchor, anchor+1, due.MaxDate) {
		if r.count--; r.count == 0 {
			break
		}
		if d >= from {
			return d, r, true
		}
	}
	return 0, Rule{}, false
}

// follow is next for an occurrence that starts the rule: it is one day of COUNT, and the ends of months are as Starting has
// them, though the rest of the rule is not fixed to them.
func (r Rule) follow(anchor, from due.Date) (next due.Date, rest Rule, ok bool) {
	if r.count == 1 {
		return 0, Rule{}, false
	}
	for d := range r.Starting(anchor, SkipMissed).days(anchor, from, due.MaxDate) {
		r.count = max(r.count-1, 0)
		return d, r, true
	}
	return 0, Rule{}, false
}

// cycle is the length in days of 400 years, after which the calendar repeats, days of the week included.
const cycle = 146_097

// days returns the days of the rule started at anchor, whatever its COUNT, that are neither before from nor after to, in
// their order.
//
// It goes from period to period, and computes the days of each from at most twelve sets of 31 bits. Rules that never
// happen end too: what has not happened within INTERVAL cycles never will.
func (r Rule) days(anchor, from, to due.Date) iter.Seq[due.Date] {
	return func(yield func(due.Date) bool) {
		r := r.withDefaults().implied(anchor)
		p := r.period()
		from := max(anchor, from)
		to := min(to, r.until, due.MaxDate)
		end := from + due.Date(cycle*r.interval)

		// DAILY goes from month to month, and interval selects days.
		step := r.interval
		if r.freq == daily {
			step = 1
		}
		i := p.of(anchor)
		i += (p.of(from) - i) / step * step
		var buffer []due.Date
		for start := p.start(i); start <= min(to, end); i, start = i+step, p.start(i+step) {
			buffer = r.appendDays(buffer[:0], start, p.start(i+1))
			for _, d := range r.selected(buffer) {
				if d < from || r.freq == daily && int(d-anchor)%r.interval != 0 {
					continue
				}
				if d > to || !yield(d) {
					return
				}
				end = d + due.Date(cycle*r.interval)
			}
		}
	}
}

// implied returns the rule with the parts that it takes from its anchor.
func (r Rule) implied(anchor due.Date) Rule {
	if len(r.byDay)+len(r.byMonthDay) > 0 {
		return r
	}
	_, month, day := anchor.Civil()
	switch r.freq {
	case weekly:
		r.byDay = []weekday{{day: anchor.Weekday()}}
	case monthly:
		r.byMonthDay = []int{day}
	case yearly:
		r.byMonthDay = []int{day}
		if len(r.byMonth) == 0 {
			r.byMonth = []int{int(month)}
		}
	}
	return r
}

// period numbers the weeks, months or years in which BYSETPOS counts.
type period struct {
	of    func(due.Date) int // the number of the period that a day is in
	start func(int) due.Date // the first day of a period
}

func (r Rule) period() period {
	switch r.freq {
	case weekly:
		// Any week would do for 0. This one begins at most 11 days before 1970-01-01, a Thursday, so that no number is negative.
		first := due.Date(slices.Index(weekdays, r.weekStart)) - 4 - 7
		return period{
			of:    func(d due.Date) int { return int(d-first) / 7 },
			start: func(i int) due.Date { return first + 7*due.Date(i) },
		}
	case yearly:
		return period{
			of:    func(d due.Date) int { year, _, _ := d.Civil(); return year },
			start: func(i int) due.Date { return due.DateOf(i, time.January, 1) },
		}
	default:
		return period{
			of:    func(d due.Date) int { year, month, _ := d.Civil(); return 12*year + int(month) - 1 },
			start: func(i int) due.Date { return due.DateOf(i/12, time.Month(i%12+1), 1) },
		}
	}
}

// appendDays appends the days from start up to end, which is not among them, that all BY parts but BYSETPOS allow.
func (r Rule) appendDays(days []due.Date, start, end due.Date) []due.Date {
	year, month, day := start.Civil()
	first := start - due.Date(day-1)
	for first < end {
		length := monthLength(year, month)
		set := r.inMonth(year, month, first, length)
		if first < start {
			set &= ^uint32(0) << (start - first)
		}
		for ; set != 0; set &= set - 1 {
			if d := first + due.Date(bits.TrailingZeros32(set)); d < end {
				days = append(days, d)
			}
		}
		first += due.Date(length)
		if month++; month > time.December {
			year, month = year+1, time.January
		}
	}
	return days
}

func monthLength(year int, month time.Month) int {
	switch month {
	case time.April, time.June, time.September, time.November:
		return 30
	case time.February:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	default:
		return 31
	}
}

// inMonth returns the days of a month that all BY parts but BYSETPOS allow, as a set of bits: the lowest one is the first
// of the month.
func (r Rule) inMonth(year int, month time.Month, first due.Date, length int) uint32 {
	if len(r.byMonth) > 0 && !slices.Contains(r.byMonth, int(month)) {
		return 0
	}
	all := uint32(1)<<length - 1
	set := all
	if len(r.byMonthDay) > 0 {
		set = 0
		for _, n := range r.byMonthDay {
			if n < 0 {
				n += length + 1
			}
			if 0 < n && n <= length {
				set |= 1 << (n - 1)
			}
		}
	}
	if len(r.byDay) == 0 {
		return set
	}
	// BYDAY counts within the month or, if the rule is yearly without BYMONTH, within the year.
	start, end := first, first+due.Date(length)
	if r.freq == yearly && len(r.byMonth) == 0 {
		start, end = due.DateOf(year, time.January, 1), due.DateOf(year+1, time.January, 1)
	}
	var byDay uint32
	for _, w := range r.byDay {
		const weeks = 1 | 1<<7 | 1<<14 | 1<<21 | 1<<28
		if w.n == 0 {
			byDay |= weeks << mod7(w.day-first.Weekday())
			continue
		}
		d := start + due.Date(mod7(w.day-start.Weekday())+7*(w.n-1))
		if w.n < 0 {
			last := end - 1
			d = last - due.Date(mod7(last.Weekday()-w.day)-7*(w.n+1))
		}
		if first <= d && d < first+due.Date(length) && start <= d && d < end {
			byDay |= 1 << (d - first)
		}
	}
	return set & byDay & all
}

func mod7(n time.Weekday) int { return (int(n) + 7) % 7 }

// selected returns the days that BYSETPOS selects from those of a period.
func (r Rule) selected(days []due.Date) []due.Date {
	if len(r.bySetPos) == 0 || len(days) == 0 {
		return days
	}
	if r.freq == daily { // each day is a period of its own
		if slices.Contains(r.bySetPos, 1) || slices.Contains(r.bySetPos, -1) {
			return days
		}
		return nil
	}
	var selected []due.Date
	for _, n := range r.bySetPos {
		if n < 0 {
			n += len(days) + 1
		}
		if 0 < n && n <= len(days) {
			selected = append(selected, days[n-1])
		}
	}
	slices.Sort(selected)
	return slices.Compact(selected)
}
