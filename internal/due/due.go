// Package due has the rules of due dates: days, times of day, time zones and the instants that they stand for. It is
// pure: it reads no clock, and the only time zones are those embedded in it.
package due

import (
	"errors"
	"time"
)

// Due is when a task is due.
type Due struct {
	Date *Date      // nil: the task has no due date
	Time *Time      // nil: the whole day, wherever the reader is; else Date and Zone are not nil
	Zone *string    // the name of a time zone that LoadZone knows
	At   *time.Time // the instant of the three, in UTC; nil if Time is
}

// Change has the members of a request that set when a task is due.
type Change struct {
	Date Member // due_date
	Time Member // due_time
	Zone Member // time_zone
}

// Member is a member of a request. The zero Member was not sent.
type Member struct {
	Sent bool
	Text *string // nil: it was sent as null
}

// The codes of faults. They are among those of package problem.
const (
	CodeRequired      = "required"
	CodeInvalidFormat = "invalid_format"
	CodeOutOfRange    = "out_of_range"
	CodeConflict      = "conflict"
)

// Fault says what is wrong with a member of a request.
type Fault struct {
	Member string // such as due_date
	Code   string
	Detail string // continues a sentence that begins with the member: must be …

	Min, Max int      // the numbers of the rule that the member breaks; Max 0: there are none
	Allowed  []string // the values that are allowed, if these are few
}

func (f Fault) Error() string { return f.Member + " " + f.Detail }

const (
	mustBeDate     = "must be a day that exists, such as 2026-03-09"
	mustBeInRange  = "must be a day from 1970-01-01 to 9999-12-31"
	mustBeTime     = "must be a time of day from 00:00 to 23:59, such as 17:30"
	mustBeZone     = "must be the name of a time zone in the IANA database, such as Europe/Berlin"
	mustHaveOffset = "must be a day, or have an offset from UTC, or come with time_zone"
	mustHaveNoTime = "must not be sent together with a due_date that has a time"
	isNeeded       = "is needed with due_time"
)

// Change returns d after a change, or what is wrong with the change. A new task is a change of the zero Due.
//
// A due_date may be a date-time, as older frontends send it. An instant is converted to the zone of the request, else
// that of d, else UTC; midnight Z is the whole day if there is no zone. Seconds are dropped. Without an offset from UTC
// it is a time in one of these zones, and a fault if there is none.
func (d Due) Change(c Change) (Due, []Fault) {
	if !c.Date.Sent && !c.Time.Sent && !c.Zone.Sent {
		return d, nil
	}
	if c.Date.Sent && c.Date.Text == nil {
		return Due{}, nil // clears the others as well, whatever the request says of them
	}
	var faults []Fault
	fault := func(member, code, detail string) {
		faults = append(faults, Fault{Member: member, Code: code, Detail: detail})
	}

	if c.Zone.Sent {
		d.Zone = c.Zone.Text
	}
	var loc *time.Location
	if d.Zone != nil {
		var err error
		if loc, err = LoadZone(*d.Zone); err != nil {
			fault("time_zone", CodeInvalidFormat, mustBeZone)
		}
	}
	if c.Time.Sent {
		d.Time = nil
		if c.Time.Text != nil {
			if t, err := ParseTime(*c.Time.Text); err == nil {
				d.Time = &t
			} else {
				fault("due_time", CodeInvalidFormat, mustBeTime)
			}
		}
	}
	if c.Date.Text != nil {
		if f := d.setDate(*c.Date.Text, c.Time, loc); f != nil {
			faults = append(faults, *f)
		}
	}
	if d.Time != nil && d.Date == nil && c.Date.Text == nil {
		fault("due_date", CodeRequired, isNeeded)
	}
	if d.Time != nil && d.Zone == nil {
		fault("time_zone", CodeRequired, isNeeded)
	}
	if len(faults) > 0 {
		return Due{}, faults
	}

	d.At = nil
	if d.Time != nil {
		if loc == nil {
			loc = time.UTC // chosen by setDate
		}
		at := Instant(*d.Date, *d.Time, loc).UTC()
		if at.Year() > 9999 {
			return Due{}, []Fault{{Member: "due_date", Code: CodeOutOfRange, Detail: mustBeInRange + " in UTC"}}
		}
		d.At = &at
	}
	return d, nil
}

// setDate sets the day to that of a due_date, and if this is a date-time also the time and, unless d has one, the zone.
// It returns a fault if it cannot. The location is that of d's zone, nil without a known one.
func (d *Due) setDate(text string, dueTime Member, loc *time.Location) *Fault {
	if len(text) == len(time.DateOnly) {
		date, err := ParseDate(text)
		switch {
		case err == nil:
			d.Date = &date
			return nil
		case errors.Is(err, ErrDateRange):
			return &Fault{Member: "due_date", Code: CodeOutOfRange, Detail: mustBeInRange}
		}
	}
	w, ok := parseWritten(text)
	if !ok {
		return &Fault{Member: "due_date", Code: CodeInvalidFormat, Detail: mustBeDate}
	}
	wholeDay := w.isMidnightZ() && d.Zone == nil
	if dueTime.Sent && (!wholeDay || dueTime.Text != nil) {
		d.Time = nil // and does not need a zone
		return &Fault{Member: "due_time", Code: CodeConflict, Detail: mustHaveNoTime}
	}
	date, minute := w.date, w.minute
	switch {
	case wholeDay:
	case w.offset == "" && d.Zone == nil:
		return &Fault{Member: "due_date", Code: CodeInvalidFormat, Detail: mustHaveOffset}
	case d.Zone != nil && loc == nil: // the unknown zone is a fault already
		return nil
	case w.offset != "":
		if d.Zone == nil {
			utc := "UTC"
			d.Zone, loc = &utc, time.UTC
		}
		at := w.instant().In(loc)
		date, minute = Of(at), Time(60*at.Hour()+at.Minute())
	}
	if date < MinDate || date > MaxDate {
		return &Fault{Member: "due_date", Code: CodeOutOfRange, Detail: mustBeInRange}
	}
	d.Date, d.Time = &date, &minute
	if wholeDay {
		d.Time = nil
	}
	return nil
}
