// Package rfc3339 writes times the way the contract promises them: RFC 3339 in UTC with exactly six digits of a second,
// so that they also sort as text.
package rfc3339

import (
	"encoding/json"
	"time"
)

const layout = "2006-01-02T15:04:05.000000Z"

// Time is an instant in JSON as 2026-03-09T08:00:00.000000Z.
type Time time.Time

// Append appends the time as it stands in JSON, without the quotes. It gives what AppendFormat gives, in a fifth of the
// time: a list has two times in each of its tasks.
func Append(b []byte, t Time) []byte {
	utc := time.Time(t).UTC()
	year, month, day := utc.Date()
	if year < 0 || year > 9999 {
		return utc.AppendFormat(b, layout)
	}
	hour, minute, second := utc.Clock()
	b = append(b, "0000-00-00T00:00:00.000000Z"...)
	digits := b[len(b)-len(layout):]
	put(digits[0:4], year)
	put(digits[5:7], int(month))
	put(digits[8:10], day)
	put(digits[11:13], hour)
	put(digits[14:16], minute)
	put(digits[17:19], second)
	put(digits[20:26], utc.Nanosecond()/1000)
	return b
}

// put fills the place with the number's decimal digits.
func put(place []byte, number int) {
	for i := len(place) - 1; i >= 0; i-- {
		place[i] = byte('0' + number%10)
		number /= 10
	}
}

// String gives the time as it stands in JSON, without the quotes.
func (t Time) String() string { return string(Append(nil, t)) }

// MarshalJSON implements json.Marshaler.
func (t Time) MarshalJSON() ([]byte, error) {
	b := make([]byte, 0, len(layout)+2)
	b = append(b, '"')
	b = Append(b, t)
	return append(b, '"'), nil
}

// UnmarshalJSON implements json.Unmarshaler; it takes any RFC 3339 time.
func (t *Time) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, (*time.Time)(t)) }
