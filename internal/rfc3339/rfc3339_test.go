package rfc3339_test

import (
	"encoding/json"
	"testing"
	"time"

	"docket/internal/rfc3339"
)

func TestTimeHasSixDigitsAndIsUTC(t *testing.T) {
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
