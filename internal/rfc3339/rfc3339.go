// Package rfc3339 formats times as the API returns them: RFC 3339 in UTC with six fractional digits, so that they also
// sort as text.
package rfc3339

import (
	"encoding/json"
	"time"
)

const layout = "2006-01-02T15:04:05.000000Z"

// Time is an instant that is encoded in JSON as 2026-03-09T08:00:00.000000Z.
type Time time.Time

// Append appends the time in the layout 2006-01-02T15:04:05.000000Z.
func Append(b []byte, t Time) []byte {
	utc := time.Time(t).UTC()
	// The time package formats the layout RFC3339 several times faster than one with fractional digits.
	b = append(utc.AppendFormat(b, time.RFC3339), "000000Z"...)
	fraction := b[len(b)-len(".000000Z"):]
	fraction[0] = '.'
	microseconds := utc.Nanosecond() / 1000
	for i := 6; i > 0; i-- {
		fraction[i] = byte('0' + microseconds%10)
		microseconds /= 10
	}
	return b
}

// String returns the time as it is encoded in JSON, without the quotes.
func (t Time) String() string { return string(Append(nil, t)) }

// MarshalJSON implements json.Marshaler.
func (t Time) MarshalJSON() ([]byte, error) {
	b := make([]byte, 0, len(layout)+2)
	b = append(b, '"')
	b = Append(b, t)
	return append(b, '"'), nil
}

// UnmarshalJSON implements json.Unmarshaler. It accepts any time in RFC 3339.
func (t *Time) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, (*time.Time)(t)) }
