package due

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
)

// A Time is a time of day: the minutes since midnight on the clock, 0 to 1439.
type Time int16

// ErrTime is returned by ParseTime.
var ErrTime = errors.New("due: not a time of day in the form 15:04")

// ParseTime reads a time from 00:00 to 23:59. It returns ErrTime if the text is not one.
func ParseTime(s string) (Time, error) {
	if len(s) != len("15:04") || s[2] != ':' {
		return 0, ErrTime
	}
	hour, ok1 := twoDigits(s[0:2], 23)
	minute, ok2 := twoDigits(s[3:5], 59)
	if !ok1 || !ok2 {
		return 0, ErrTime
	}
	return Time(60*hour + minute), nil
}

// String returns the time in the form 15:04.
func (t Time) String() string { return string(t.append(nil)) }

func (t Time) append(b []byte) []byte {
	hour, minute := byte(t/60), byte(t%60)
	return append(b, '0'+hour/10, '0'+hour%10, ':', '0'+minute/10, '0'+minute%10)
}

// AppendText implements encoding.TextAppender.
func (t Time) AppendText(b []byte) ([]byte, error) { return t.append(b), nil }

// MarshalText implements encoding.TextMarshaler.
func (t Time) MarshalText() ([]byte, error) { return t.append(nil), nil }

// UnmarshalText implements encoding.TextUnmarshaler. It accepts what Scan does, such as 15:04:00 of PostgreSQL's to_jsonb.
func (t *Time) UnmarshalText(text []byte) error { return t.Scan(string(text)) }

// Value implements driver.Valuer.
func (t Time) Value() (driver.Value, error) { return t.String(), nil }

// Scan implements sql.Scanner for PostgreSQL's type time. It returns an error if the time has seconds.
func (t *Time) Scan(src any) (err error) {
	s, ok := src.(string)
	if !ok {
		return fmt.Errorf("due: cannot read a time of day from %T", src)
	}
	minutes, rest := s[:min(len(s), len("15:04"))], s[min(len(s), len("15:04")):]
	if strings.Trim(rest, ":.0") != "" {
		return ErrTime
	}
	*t, err = ParseTime(minutes)
	return err
}
