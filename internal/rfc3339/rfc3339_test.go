package rfc3339_test

import (
	"encoding/json"
	"testing"
	"time"

	"docket/internal/rfc3339"
)

func TestTimeIsEncodedInUTCWithSixFractionalDigits(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("", 2*60*60)
	for in, want := range map[time.Time]string{
		time.Date(2026, 3, 9, 10, 0, 0, 0, zone):              `"2026-03-09T08:00:00.000000Z"`,
		time.Date(2026, 3, 9, 10, 0, 0, 120_000_000, zone):    `"2026-03-09T08:00:00.120000Z"`,
		time.Date(2026, 3, 9, 8, 0, 0, 123_456_789, time.UTC): `"2026-03-09T08:00:00.123456Z"`,
	} {
		got, err := json.Marshal(rfc3339.Time(in))
		if err != nil || string(got) != want {
			t.Errorf("Marshal(%v) = %s, %v, want %s", in, got, err, want)
		}
		var back rfc3339.Time
		if err := json.Unmarshal(got, &back); err != nil || back.String() != want[1:len(want)-1] {
			t.Errorf("Unmarshal(%s) = %v, %v", got, back, err)
		}
	}
}

const layout = "2006-01-02T15:04:05.000000Z"

func FuzzTimeIsFormattedAsByTheTimePackage(f *testing.F) {
	for _, at := range []time.Time{
		{},
		time.Unix(0, 0), time.Unix(0, 999_999_999), time.Unix(-1, 1), time.Date(2024, 2, 29, 23, 59, 59, 999_999_999, time.UTC),
		time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(-1, 12, 31, 23, 59, 59, 0, time.UTC),
	} {
		f.Add(at.Unix(), int64(at.Nanosecond()), 0)
		f.Add(at.Unix(), int64(at.Nanosecond()), -7*60*60)
	}
	f.Fuzz(func(t *testing.T, second, nanosecond int64, offset int) {
		at := time.Unix(second, nanosecond).In(time.FixedZone("", offset))
		if got, want := rfc3339.Time(at).String(), at.UTC().Format(layout); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

// BenchmarkAppend compares Append with the method of the time package that gives the same result.
func BenchmarkAppend(b *testing.B) {
	at := time.Date(2026, 3, 9, 8, 0, 0, 123_456_789, time.UTC)
	text := make([]byte, 0, len(layout))
	b.Run("Append", func(b *testing.B) {
		for b.Loop() {
			text = rfc3339.Append(text[:0], rfc3339.Time(at))
		}
	})
	b.Run("AppendFormat", func(b *testing.B) {
		for b.Loop() {
			text = at.UTC().AppendFormat(text[:0], layout)
		}
	})
}
