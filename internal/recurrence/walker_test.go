package recurrence

import (
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"docket/internal/due"
)

// walker is a second implementation of rules: it looks at each day in turn, and shares no code with the first.
type walker struct {
	freq                            string
	interval                        int
	byDay                           []string // such as MO or -1FR
	byMonthDay, byMonth, bySetPos   []int
	weekStart                       time.Weekday
	count                           int
	until                           due.Date
	last                            due.Date // where it stops to walk
	endsOfMonths                    bool     // a day that a month does not have is its last one instead
	year, day, monthLength, yearDay int      // of the day that it looks at
	month                           time.Month
	weekday                         time.Weekday
}

var weekdayNames = map[string]time.Weekday{"SU": 0, "MO": 1, "TU": 2, "WE": 3, "TH": 4, "FR": 5, "SA": 6}

// newWalker reads a rule that is known to be valid.
func newWalker(rule string) *walker {
	w := &walker{interval: 1, weekStart: time.Monday, until: due.MaxDate, last: due.MaxDate}
	integers := func(value string) (list []int) {
		for s := range strings.SplitSeq(value, ",") {
			n, err := strconv.Atoi(s)
			if err != nil {
				panic(err)
			}
			list = append(list, n)
		}
		return list
	}
	for part := range strings.SplitSeq(rule, ";") {
		name, value, _ := strings.Cut(part, "=")
		switch name {
		case "FREQ":
			w.freq = value
		case "INTERVAL":
			w.interval = integers(value)[0]
		case "BYDAY":
			w.byDay = strings.Split(value, ",")
		case "BYMONTHDAY":
			w.byMonthDay = integers(value)
		case "BYMONTH":
			w.byMonth = integers(value)
		case "BYSETPOS":
			w.bySetPos = integers(value)
		case "WKST":
			w.weekStart = weekdayNames[value]
		case "COUNT":
			w.count = integers(value)[0]
		case "UNTIL":
			at, err := time.Parse("20060102", value)
			if err != nil {
				panic(err)
			}
			w.until = due.Of(at)
		default:
			panic(rule)
		}
	}
	return w
}

// days returns the days of the rule started at anchor, whatever its COUNT.
func (w *walker) days(anchor due.Date) iter.Seq[due.Date] {
	return func(yield func(due.Date) bool) {
		w := *w
		at := time.Unix(int64(anchor)*86400, 0).UTC()
		w.imply(at)
		// Go back to the first day of the period.
		d := anchor
		for w.look(at); !w.beginsPeriod(); d-- {
			at = at.AddDate(0, 0, -1)
			w.look(at)
		}
		var days []due.Date // of this period
		for i := 0; ; {     // the number of this period
			if i%w.interval == 0 && w.allows() {
				days = append(days, d)
			}
			d++
			w.step()
			if !w.beginsPeriod() {
				continue
			}
			for n, day := range days {
				selected := len(w.bySetPos) == 0 || slices.Contains(w.bySetPos, n+1) || slices.Contains(w.bySetPos, n-len(days))
				if day > min(w.until, w.last) || selected && day >= anchor && !yield(day) {
					return
				}
			}
			days = days[:0]
			i++
			if d > w.last {
				return
			}
		}
	}
}

// imply takes what the rule does not say from the day at which it starts.
func (w *walker) imply(at time.Time) {
	switch {
	case len(w.byDay) > 0 || len(w.byMonthDay) > 0 || w.freq == "DAILY":
	case w.freq == "WEEKLY":
		w.byDay = []string{strings.ToUpper(at.Weekday().String()[:2])}
	default:
		if w.freq == "YEARLY" && len(w.byMonth) == 0 {
			w.byMonth = []int{int(at.Month())}
		}
		w.byMonthDay = []int{at.Day()}
	}
}

// look looks at a day.
func (w *walker) look(at time.Time) {
	w.year, w.month, w.day = at.Date()
	w.weekday, w.yearDay = at.Weekday(), at.YearDay()
	w.monthLength = time.Date(w.year, w.month+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// step looks at the day after.
func (w *walker) step() {
	w.weekday = (w.weekday + 1) % 7
	w.day++
	w.yearDay++
	if w.day <= w.monthLength {
		return
	}
	w.day = 1
	if w.month++; w.month > time.December {
		w.month, w.yearDay = time.January, 1
		w.year++
	}
	w.monthLength = time.Date(w.year, w.month+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

func (w *walker) beginsPeriod() bool {
	switch w.freq {
	case "DAILY":
		return true
	case "WEEKLY":
		return w.weekday == w.weekStart
	case "MONTHLY":
		return w.day == 1
	default:
		return w.yearDay == 1
	}
}

func (w *walker) allows() bool {
	if len(w.byMonth) > 0 && !slices.Contains(w.byMonth, int(w.month)) {
		return false
	}
	if len(w.byMonthDay) > 0 && !slices.ContainsFunc(w.byMonthDay, func(n int) bool {
		return n == w.day || n == w.day-w.monthLength-1 || w.endsOfMonths && n > w.monthLength && w.day == w.monthLength
	}) {
		return false
	}
	return len(w.byDay) == 0 || slices.ContainsFunc(w.byDay, func(s string) bool {
		if weekdayNames[s[len(s)-2:]] != w.weekday {
			return false
		}
		if len(s) == 2 {
			return true
		}
		n, err := strconv.Atoi(s[:len(s)-2])
		if err != nil {
			panic(err)
		}
		day, length := w.day, w.monthLength
		if w.freq == "YEARLY" && len(w.byMonth) == 0 {
			day, length = w.yearDay, time.Date(w.year, time.December, 31, 0, 0, 0, 0, time.UTC).YearDay()
		}
		return n == (day-1)/7+1 || n == -((length-day)/7+1)
	})
}
