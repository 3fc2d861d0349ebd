package due

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"time"
)

// A Date is a day of the Gregorian calendar: the number of days since 1970-01-01. It has no zone.
type Date int32

// MinDate and MaxDate are the first and the last day that a task can be due.
const (
	MinDate Date = 0       // 1970-01-01
	MaxDate Date = 2932896 // 9999-12-31
)

// The errors of ParseDate.
var (
	ErrDate      = errors.New("due: not a day in the form 2006-01-02")
	ErrDateRange = errors.New("due: a day before 1970")
)

const secondsPerDay = 24 * 60 * 60

// DateOf returns the day of a year, month and day of the month. Like time.Date, it takes values outside of their usual
// ranges: 31 November is 1 December.
func DateOf(year int, month time.Month, day int) Date {
	return Date(time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix() / secondsPerDay)
}

// Of returns the day that t falls on in its location.
func Of(t time.Time) Date { return DateOf(t.Date()) }

// ParseDate reads a day from 1970-01-01 to 9999-12-31. It returns ErrDate if the text has another form or the day does
// not exist, and ErrDateRange if the day is earlier.
func ParseDate(s string) (Date, error) {
	d, ok := parseDate(s)
	if !ok {
		return 0, ErrDate
	}
	if d < MinDate {
		return 0, ErrDateRange
	}
	return d, nil
}

// parseDate reads a day of the years 0 to 9999.
func parseDate(s string) (Date, bool) {
	if len(s) != len("2006-01-02") || s[4] != '-' || s[7] != '-' {
		return 0, false
	}
	century, ok1 := twoDigits(s[0:2], 99)
	year, ok2 := twoDigits(s[2:4], 99)
	month, ok3 := twoDigits(s[5:7], 12)
	day, ok4 := twoDigits(s[8:10], 31)
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return 0, false
	}
	d := DateOf(100*century+year, time.Month(month), day)
	if _, m, dd := d.Civil(); m != time.Month(month) || dd != day {
		return 0, false
	}
	return d, true
}

// twoDigits reads the first two bytes of s as a number from 0 to most.
func twoDigits(s string, most int) (n int, ok bool) {
	tens, ones := s[0]-'0', s[1]-'0'
	n = 10*int(tens) + int(ones)
	return n, tens <= 9 && ones <= 9 && n <= most
}

// utc returns the midnight at which d begins in UTC.
func (d Date) utc() time.Time { return time.Unix(int64(d)*secondsPerDay, 0).UTC() }

// Civil returns the year, the month and the day of the month.
func (d Date) Civil() (year int, month time.Month, day int) { return d.utc().Date() }

// Weekday returns the day of the week.
func (d Date) Weekday() time.Weekday { return d.utc().Weekday() }

// String returns the day in the form 2006-01-02.
func (d Date) String() string { return string(d.append(make([]byte, 0, len(time.DateOnly)))) }

func (d Date) append(b []byte) []byte { return d.utc().AppendFormat(b, time.DateOnly) }

// AppendText implements encoding.TextAppender.
func (d Date) AppendText(b []byte) ([]byte, error) { return d.append(b), nil }

// MarshalText implements encoding.TextMarshaler.
func (d Date) MarshalText() ([]byte, error) { return d.append(nil), nil }

// UnmarshalText implements encoding.TextUnmarshaler. It accepts what ParseDate does.
func (d *Date) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDate(string(text))
	return err
}

// Value implements driver.Valuer. The value is text, since a time.Time would be sent as a timestamp with a time zone
// where the type of the parameter is unknown, and PostgreSQL would convert it in the zone of the session.
func (d Date) Value() (driver.Value, error) { return d.String(), nil }

// Scan implements sql.Scanner for PostgreSQL's type date.
func (d *Date) Scan(src any) error {
	switch src := src.(type) {
	case time.Time:
		*d = Of(src)
		return nil
	case string:
		return d.UnmarshalText([]byte(src))
	}
	return fmt.Errorf("due: cannot read a day from %T", src)
}
