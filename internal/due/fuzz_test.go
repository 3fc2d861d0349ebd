package due_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"docket/internal/due"
)

// befores are due dates that FuzzChange changes.
var befores = []due.Change{
	{},
	{Date: sent("2026-03-09")},
	{Zone: sent("Pacific/Apia")},
	{Date: sent("2026-03-09"), Zone: sent("America/Los_Angeles")},
	{Date: sent("2026-10-25"), Time: sent("02:30"), Zone: sent("Europe/Berlin")},
}

// FuzzChange changes due dates by members of any text. It checks that a change never panics, that its result is
// consistent, and that the day is the one that was sent or, for an instant, the day of this instant in the zone that the
// contract names.
func FuzzChange(f *testing.F) {
	for _, date := range []string{
		absent, null, "2026-03-09", "2026-02-30", "1969-12-31", "2026-03-09T00:00:00Z", "2026-03-09T00:00:00.000Z", "2026-03-09t00:00:00z",
		"2026-03-09T00:00:00+00:00", "2026-03-09T00:00:00-00:00", "2026-03-09T15:04:05.999+05:45", "2026-03-09T15:04", "2026-03-09T15:04:05",
		"2011-12-30T12:00", "9999-12-31T23:59:59-23:59", "1970-01-01T00:00:00+23:59", "2026-03-09 15:04:05Z", "2026-03-09T24:00:00Z",
		"2026-10-25T01:30:00Z", "2026-03-09T15:04:05.Z", "2026-03-09T15:04:05,5Z", "0000-01-01T00:00:00Z", "\xff026-03-09", "",
	} {
		for i, dueTime := range []string{absent, null, "17:30", "25:00"} {
			for j, timeZone := range []string{absent, null, "Europe/Berlin", "Local", "Pacific/Apia"} {
				f.Add(uint8(i+j), date, dueTime, timeZone)
			}
		}
	}
	f.Fuzz(func(t *testing.T, state uint8, date, dueTime, timeZone string) {
		before, faults := due.Due{}.Change(befores[int(state)%len(befores)])
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		change := changeOf(date, dueTime, timeZone)
		got, faults := before.Change(change)
		zone := before.Zone // that of the request, else of the task
		if change.Zone.Sent {
			zone = change.Zone.Text
		}
		if len(faults) > 0 {
			checkFaults(t, got, faults)
			if isAcceptable(change, zone) {
				t.Errorf("%q in %v was refused: %v", date, zone, faults)
			}
			return
		}
		checkConsistency(t, got)

		switch {
		case date == absent:
			if (got.Date == nil) != (before.Date == nil) || got.Date != nil && *got.Date != *before.Date {
				t.Errorf("the day became %s, was %s", describe(got, nil), describe(before, nil))
			}
		case date == null:
			if got != (due.Due{}) {
				t.Errorf("null left %s", describe(got, nil))
			}
		case len(date) == len(time.DateOnly):
			if got.Date.String() != date {
				t.Errorf("%q became %s", date, got.Date)
			}
		default:
			checkDateTime(t, got, date, zone)
		}
	})
}

// rfc3339Pattern is the form of RFC 3339, 5.6. The time package also accepts a comma and hours of one digit.
var rfc3339Pattern = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

// parseRFC3339 reads an instant, or reports false.
func parseRFC3339(s string) (at time.Time, ok bool) {
	s = strings.ToUpper(s)
	at, err := time.Parse(time.RFC3339, s)
	return at, err == nil && rfc3339Pattern.MatchString(s)
}

// isAcceptable reports whether a change is an instant of which no rule says that it is a fault.
func isAcceptable(c due.Change, zone *string) bool {
	if c.Date.Text == nil || c.Time.Sent {
		return false
	}
	at, ok := parseRFC3339(*c.Date.Text)
	if !ok {
		return false
	}
	loc := time.UTC
	if zone != nil {
		var err error
		if loc, err = due.LoadZone(*zone); err != nil {
			return false
		}
	}
	// A day later or earlier, so that a due_at after a gap is in the range as well.
	return at.In(loc).Year() >= 1970 && at.In(loc).Add(24*time.Hour).Year() <= 9999 && at.UTC().Add(24*time.Hour).Year() <= 9999
}

func checkFaults(t *testing.T, got due.Due, faults []due.Fault) {
	if got != (due.Due{}) {
		t.Errorf("%s was returned with faults", describe(got, nil))
	}
	members := []string{"due_date", "due_time", "time_zone"}
	codes := []string{due.CodeRequired, due.CodeInvalidFormat, due.CodeOutOfRange, due.CodeConflict}
	for _, f := range faults {
		if !slices.Contains(members, f.Member) || !slices.Contains(codes, f.Code) || !strings.Contains(f.Error(), " must ") &&
			!strings.Contains(f.Error(), " is ") {
			t.Errorf("fault %+v", f)
		}
	}
	if len(faults) > len(members) {
		t.Errorf("%d faults: %v", len(faults), faults)
	}
}

// checkConsistency checks what holds for every due date, and that sending it again changes nothing.
func checkConsistency(t *testing.T, d due.Due) {
	if (d.Time == nil) != (d.At == nil) || d.Time != nil && (d.Date == nil || d.Zone == nil) {
		t.Fatalf("inconsistent: %s", describe(d, nil))
	}
	var same due.Change
	if d.Zone != nil {
		if _, err := due.LoadZone(*d.Zone); err != nil {
			t.Fatalf("unknown zone: %s", describe(d, nil))
		}
		same.Zone = sent(*d.Zone)
	}
	if d.Date != nil {
		if *d.Date < due.MinDate || *d.Date > due.MaxDate {
			t.Fatalf("out of range: %s", describe(d, nil))
		}
		same.Date = sent(d.Date.String())
	}
	if d.Time != nil {
		if d.At.Location() != time.UTC || d.At.Year() > 9999 {
			t.Fatalf("due_at is %s", d.At)
		}
		same.Time = sent(d.Time.String())
	}
	if again := describe(due.Due{}.Change(same)); again != describe(d, nil) {
		t.Errorf("%s became %s when sent again", describe(d, nil), again)
	}
}

// checkDateTime compares a date-time with what the time package reads.
func checkDateTime(t *testing.T, got due.Due, text string, zone *string) {
	at, ok := parseRFC3339(text)
	if !ok {
		// Without an offset: as it was written, in a zone that is known.
		if zone == nil || got.Time == nil || got.Date.String()+"T"+got.Time.String() != strings.ToUpper(text[:len("2006-01-02T15:04")]) {
			t.Errorf("%q became %s", text, describe(got, nil))
		}
		return
	}
	if zone == nil && strings.HasSuffix(strings.ToUpper(text), "Z") && at.Equal(at.Truncate(24*time.Hour)) {
		if got.Time != nil || got.Date.String() != text[:len(time.DateOnly)] {
			t.Errorf("midnight %q became %s", text, describe(got, nil))
		}
		return
	}
	name := "UTC"
	if zone != nil {
		name = *zone
	}
	loc, err := due.LoadZone(name)
	if err != nil {
		t.Fatal(err)
	}
	if there := at.In(loc).Format("2006-01-02 15:04 ") + name; got.Time == nil ||
		got.Date.String()+" "+got.Time.String()+" "+*got.Zone != there {
		t.Errorf("%q became %s, want %s", text, describe(got, nil), there)
	}
}

// FuzzParse compares ParseDate, ParseTime and ParseBound with the time package.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", "2026-03-09", "2024-02-29", "1969-12-31", "9999-12-31", "0000-01-01", "17:30", "24:00", "2026-03-09T17:30:00Z",
		"2026-03-09T17:30:00.5+14:00", "2026-03-09T17:30", "2026-03-09T17:30:60Z", "2026-3-9", "1:00", "2026-03-09T1:30:00Z",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		day, err := time.Parse(time.DateOnly, s)
		valid := err == nil && day.Year() >= 1970
		if d, err := due.ParseDate(s); (err == nil) != valid || valid && (d.String() != s || due.Of(day) != d) {
			t.Errorf("the day %q is %s, %v", s, d, err)
		}
		clock, err := time.Parse("15:04", s)
		valid = err == nil && len(s) == len("15:04")
		if m, err := due.ParseTime(s); (err == nil) != valid || valid && (m.String() != s || int(m) != 60*clock.Hour()+clock.Minute()) {
			t.Errorf("the time %q is %s, %v", s, m, err)
		}
		at, valid := parseRFC3339(s)
		if b, err := due.ParseBound(s); err == nil && b.At != nil {
			if !valid || b.At.Sub(at) < 0 || b.At.Sub(at) >= time.Second ||
				b.Date.String() != s[:len(time.DateOnly)] {
				t.Errorf("the bound %q is %s %s: %s, %v", s, b.Date, b.At, at, err)
			}
		} else if valid && at.Year() >= 1970 {
			t.Errorf("the bound %q was refused: %v", s, err)
		}
	})
}
