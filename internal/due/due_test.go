package due_test

import (
	"slices"
	"testing"
	"time"

	"docket/internal/due"
)

// Members of requests as text.
const (
	absent = "(absent)"
	null   = "(null)"
)

func sent(text string) due.Member {
	switch text {
	case absent:
		return due.Member{}
	case null:
		return due.Member{Sent: true}
	}
	return due.Member{Sent: true, Text: &text}
}

func changeOf(date, dueTime, timeZone string) due.Change {
	return due.Change{Date: sent(date), Time: sent(dueTime), Zone: sent(timeZone)}
}

// describe returns a due date as text, and what is wrong with a change.
func describe(d due.Due, faults []due.Fault) string {
	if len(faults) > 0 {
		s := "fault:"
		for _, f := range faults {
			s += " " + f.Member + "=" + f.Code
		}
		return s
	}
	s := "none"
	if d.Date != nil {
		s = d.Date.String()
	}
	if d.Time != nil {
		s += " " + d.Time.String()
	}
	if d.Zone != nil {
		s += " " + *d.Zone
	}
	if d.At != nil {
		s += " = " + d.At.Format(time.RFC3339)
	}
	return s
}

func TestChange(t *testing.T) {
	t.Parallel()
	var (
		empty    = due.Due{}
		day      = due.Due{Date: new(due.DateOf(2026, 3, 9))}
		dayThere = due.Due{Date: new(due.DateOf(2026, 3, 9)), Zone: new("America/Los_Angeles")}
		timed    = due.Due{
			Date: new(due.DateOf(2026, 3, 9)), Time: new(due.Time(17*60 + 30)), Zone: new("America/Los_Angeles"),
			At: new(time.Date(2026, 3, 10, 0, 30, 0, 0, time.UTC)),
		}
	)
	for _, c := range []struct {
		name                    string
		before                  due.Due
		date, dueTime, timeZone string
		want                    string
	}{
		{"nothing", timed, absent, absent, absent, "2026-03-09 17:30 America/Los_Angeles = 2026-03-10T00:30:00Z"},
		{"a day", empty, "2026-03-09", absent, absent, "2026-03-09"},
		{"all three", empty, "2026-03-09", "17:30", "Europe/Berlin", "2026-03-09 17:30 Europe/Berlin = 2026-03-09T16:30:00Z"},
		{"a zone alone", empty, absent, absent, "Europe/Berlin", "none Europe/Berlin"},
		{
			"another day keeps time and zone", timed, "2026-01-09", absent, absent,
			"2026-01-09 17:30 America/Los_Angeles = 2026-01-10T01:30:00Z",
		},
		{"another time keeps the zone", timed, absent, "00:00", absent, "2026-03-09 00:00 America/Los_Angeles = 2026-03-09T07:00:00Z"},
		{
			"another zone keeps the time", timed, absent, absent, "Pacific/Auckland",
			"2026-03-09 17:30 Pacific/Auckland = 2026-03-09T04:30:00Z",
		},
		{"no time keeps the zone", timed, absent, null, absent, "2026-03-09 America/Los_Angeles"},
		{"no time, no zone", timed, absent, null, null, "2026-03-09"},
		{"no day clears the others", timed, null, absent, absent, "none"},
		{"no day, whatever the request says of the others", timed, null, "25:00", "Mars/Olympus", "none"},
		{"a time in a gap", empty, "2026-03-29", "02:30", "Europe/Berlin", "2026-03-29 02:30 Europe/Berlin = 2026-03-29T01:30:00Z"},
		{
			"a time that occurs twice", empty, "2026-10-25", "02:30", "Europe/Berlin",
			"2026-10-25 02:30 Europe/Berlin = 2026-10-25T00:30:00Z",
		},
		{"the first day", empty, "1970-01-01", "00:00", "Pacific/Kiritimati", "1970-01-01 00:00 Pacific/Kiritimati = 1970-01-01T10:40:00Z"},
		{"the last day", empty, "9999-12-31", "23:59", "UTC", "9999-12-31 23:59 UTC = 9999-12-31T23:59:00Z"},

		{"a time without a day", empty, absent, "17:30", "UTC", "fault: due_date=required"},
		{"a time without a zone", day, absent, "17:30", absent, "fault: time_zone=required"},
		{"a time alone", empty, absent, "17:30", absent, "fault: due_date=required time_zone=required"},
		{"a time that loses its zone", timed, absent, absent, null, "fault: time_zone=required"},
		{
			"everything wrong", empty, "tomorrow", "5 pm", "Local",
			"fault: time_zone=invalid_format due_time=invalid_format due_date=invalid_format",
		},
		{"an empty zone", day, absent, absent, "", "fault: time_zone=invalid_format"},
		{"before 1970", empty, "1969-12-31", absent, absent, "fault: due_date=out_of_range"},
		{"a day that does not exist", empty, "2026-02-29", absent, absent, "fault: due_date=invalid_format"},
		{"an empty day", day, "", absent, absent, "fault: due_date=invalid_format"},
		{"an instant after the year 9999", empty, "9999-12-31", "23:59", "America/Los_Angeles", "fault: due_date=out_of_range"},

		// Date-times of older frontends.
		{"midnight Z", empty, "2026-03-09T00:00:00.000Z", absent, absent, "2026-03-09"},
		{"midnight Z replaces a day", day, "2026-03-10T00:00:00Z", absent, absent, "2026-03-10"},
		{"midnight Z and no time", empty, "2026-03-09T00:00:00Z", null, null, "2026-03-09"},
		{"midnight Z and no zone any longer", timed, "2026-03-09T00:00:00Z", absent, null, "2026-03-09"},
		{
			"midnight Z and a zone of the task", dayThere, "2026-03-09T00:00:00Z", absent, absent,
			"2026-03-08 17:00 America/Los_Angeles = 2026-03-09T00:00:00Z",
		},
		{
			"midnight Z and a zone of the request", empty, "2026-03-09T00:00:00Z", absent, "Europe/Berlin",
			"2026-03-09 01:00 Europe/Berlin = 2026-03-09T00:00:00Z",
		},
		{"after midnight Z", empty, "2026-03-09T00:00:00.001Z", absent, absent, "2026-03-09 00:00 UTC = 2026-03-09T00:00:00Z"},
		{"midnight with an offset", empty, "2026-03-09T00:00:00+00:00", absent, absent, "2026-03-09 00:00 UTC = 2026-03-09T00:00:00Z"},
		{"an instant", empty, "2026-03-09T23:30:59.999-08:00", absent, absent, "2026-03-10 07:30 UTC = 2026-03-10T07:30:00Z"},
		{"in lower case", empty, "2026-03-09t15:04:00z", absent, absent, "2026-03-09 15:04 UTC = 2026-03-09T15:04:00Z"},
		{
			"the zone of the request before that of the task", timed, "2026-03-09T12:00:00Z", absent, "Asia/Kolkata",
			"2026-03-09 17:30 Asia/Kolkata = 2026-03-09T12:00:00Z",
		},
		{
			"the zone of the task", timed, "2026-03-10T01:00:00Z", absent, absent,
			"2026-03-09 18:00 America/Los_Angeles = 2026-03-10T01:00:00Z",
		},
		{"the zone taken away", timed, "2026-03-10T01:00:00Z", absent, null, "2026-03-10 01:00 UTC = 2026-03-10T01:00:00Z"},
		{"a local time", dayThere, "2026-03-10T09:15", absent, absent, "2026-03-10 09:15 America/Los_Angeles = 2026-03-10T16:15:00Z"},
		{
			"a local time with seconds", dayThere, "2026-03-10T00:00:00.0", absent, absent,
			"2026-03-10 00:00 America/Los_Angeles = 2026-03-10T07:00:00Z",
		},
		{"a local time without a zone", day, "2026-03-10T09:15:00", absent, absent, "fault: due_date=invalid_format"},
		{"a local time and an unknown zone", day, "2026-03-10T09:15:00", absent, "Moon", "fault: time_zone=invalid_format"},
		{"an instant and a time", timed, "2026-03-10T09:15:00Z", "09:15", absent, "fault: due_time=conflict"},
		{"an instant and no time", timed, "2026-03-10T09:15:00Z", null, absent, "fault: due_time=conflict"},
		{"midnight Z and a time", empty, "2026-03-10T00:00:00Z", "00:00", absent, "fault: due_time=conflict"},
		{"an instant without seconds", empty, "2026-03-10T09:15Z", absent, absent, "fault: due_date=invalid_format"},
		{"a leap second", empty, "2016-12-31T23:59:60Z", absent, absent, "fault: due_date=invalid_format"},
		{"a day in 1970 in UTC", empty, "1969-12-31T20:00:00-08:00", absent, absent, "1970-01-01 04:00 UTC = 1970-01-01T04:00:00Z"},
		{"a day in 1969 in UTC", empty, "1970-01-01T00:00:00+01:00", absent, absent, "fault: due_date=out_of_range"},
		{"a day after 9999 in the zone", empty, "9999-12-31T12:00:00Z", absent, "Pacific/Kiritimati", "fault: due_date=out_of_range"},
		{"a day after 9999 in UTC", empty, "9999-12-31T23:00:00-01:00", absent, absent, "fault: due_date=out_of_range"},
	} {
		if got := describe(c.before.Change(changeOf(c.date, c.dueTime, c.timeZone))); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

func TestChangeDoesNotChangeTheOriginal(t *testing.T) {
	t.Parallel()
	before, _ := due.Due{}.Change(due.Change{Date: sent("2026-03-09"), Time: sent("17:30"), Zone: sent("Europe/Berlin")})
	want := describe(before, nil)
	before.Change(due.Change{Date: sent("2026-04-10T01:02:03Z"), Zone: sent("Asia/Tokyo")})
	before.Change(due.Change{Date: sent("2026-04-10"), Time: sent("11:11"), Zone: sent("Asia/Tokyo")})
	if got := describe(before, nil); got != want {
		t.Errorf("became %s, was %s", got, want)
	}
}

func TestLoadZoneKnowsTheEmbeddedZonesOnly(t *testing.T) {
	t.Setenv("ZONEINFO", t.TempDir()) // no other database
	names := due.ZoneNames()
	if len(names) < 590 || !slices.Contains(names, "Europe/Berlin") || !slices.Contains(names, "Asia/Calcutta") {
		t.Errorf("%d zones: %s", len(names), names)
	}
	for _, name := range names {
		if loc, err := due.LoadZone(name); err != nil || loc.String() != name {
			t.Errorf("LoadZone(%q) = %v, %v", name, loc, err)
		}
		if len(name) > 64 {
			t.Errorf("%s does not fit into the column", name)
		}
	}
	for _, name := range []string{
		"", "Local", "local", "utc", "europe/berlin", "Europe", "Europe/", "/Europe/Berlin", "../Europe/Berlin", "posix/Europe/Berlin",
		"right/UTC", "localtime", "CEST", "+01:00", "UTC\x00", "Europe/Berlin ",
	} {
		if loc, err := due.LoadZone(name); err == nil {
			t.Errorf("LoadZone(%q) = %v", name, loc)
		}
	}
}
