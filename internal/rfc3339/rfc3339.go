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

// Append appends the time as it stands in JSON, without the quotes.
func Append(b []byte, t Time) []byte { return time.Time(t).UTC().AppendFormat(b, layout) }

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
