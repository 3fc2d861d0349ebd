package due

import "time"

// written is a date-time as it was written.
type written struct {
	date     Date // of the years 0 to 9999
	minute   Time
	second   int    // 0 to 59
	fraction bool   // whether the fraction of the second is not zero
	offset   string // Z, in either case, or ±hh:mm, or empty
	ahead    int    // the seconds that the offset is ahead of UTC
}

// parseWritten reads a date-time in the form of RFC 3339. Without an offset from UTC, seconds may be left out.
func parseWritten(s string) (w written, ok bool) {
	const day, minute = len("2006-01-02"), len("2006-01-02T15:04")
	if len(s) < minute || s[day] != 'T' && s[day] != 't' {
		return w, false
	}
	if w.date, ok = parseDate(s[:day]); !ok {
		return w, false
	}
	var err error
	if w.minute, err = ParseTime(s[day+1 : minute]); err != nil {
		return w, false
	}
	if s = s[minute:]; s == "" {
		return w, true
	}
	if len(s) < len(":05") || s[0] != ':' {
		return w, false
	}
	if w.second, ok = twoDigits(s[1:3], 59); !ok {
		return w, false
	}
	if s = s[3:]; s != "" && s[0] == '.' {
		n := 1
		for n < len(s) && '0' <= s[n] && s[n] <= '9' {
			w.fraction = w.fraction || s[n] != '0'
			n++
		}
		if n == 1 {
			return w, false
		}
		s = s[n:]
	}
	w.offset = s
	switch {
	case s == "", s == "Z", s == "z":
		return w, true
	case s[0] != '+' && s[0] != '-':
		return w, false
	}
	ahead, err := ParseTime(s[1:])
	if w.ahead = int(ahead) * 60; s[0] == '-' {
		w.ahead = -w.ahead
	}
	return w, err == nil
}

// isMidnightZ reports whether w is the beginning of a day in UTC, written with Z.
func (w written) isMidnightZ() bool {
	return (w.offset == "Z" || w.offset == "z") && w.minute == 0 && w.second == 0 && !w.fraction
}

// instant returns the instant, without the fraction of its second, of a date-time with an offset.
func (w written) instant() time.Time {
	return time.Unix(int64(w.date)*secondsPerDay+int64(w.minute)*60+int64(w.second-w.ahead), 0)
}

// Bound is where a filter of due dates begins or ends: a day, or an instant and the day on which it was written. Tasks
// with a time compare with the instant, and those without it with the day.
type Bound struct {
	Date Date
	At   *time.Time // in UTC; nil if the filter is a day, with which all tasks compare their day
}

// ParseBound reads a day from 1970-01-01 to 9999-12-31, or a date-time with an offset from UTC on such a day. It returns
// ErrDate if the text is neither, and ErrDateRange if the day is earlier.
func ParseBound(s string) (Bound, error) {
	w, ok := parseWritten(s)
	if !ok || w.offset == "" {
		d, err := ParseDate(s)
		return Bound{Date: d}, err
	}
	if w.date < MinDate {
		return Bound{}, ErrDateRange
	}
	at := w.instant().UTC()
	if w.fraction {
		at = at.Add(time.Second) // no task is due within a second, so that this separates the same tasks
	}
	return Bound{w.date, &at}, nil
}
