package due_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"docket/internal/due"
)

// TestEveryDayIsReadAsItIsWritten walks from 1970 to 2100, and with -all to 9999.
func TestEveryDayIsReadAsItIsWritten(t *testing.T) {
	t.Parallel()
	want := time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	last := due.DateOf(2100, 12, 31)
	if *all {
		last = due.MaxDate
	}
	for d := due.MinDate; d <= last; d++ {
		year, month, day := want.Date()
		got, err := due.ParseDate(d.String())
		if err != nil || got != d || d.String() != want.Format(time.DateOnly) || due.DateOf(year, month, day) != d || due.Of(want) != d ||
			d.Weekday() != want.Weekday() {
			t.Fatalf("%d is %s, want %s; read as %d, %v", d, d, want.Format(time.DateOnly), got, err)
		}
		if y, m, dd := d.Civil(); y != year || m != month || dd != day {
			t.Fatalf("%s is %d-%d-%d", d, y, m, dd)
		}
		want = want.AddDate(0, 0, 1)
	}
	if due.MinDate.String() != "1970-01-01" || due.MaxDate.String() != "9999-12-31" || (due.MaxDate+1).String() != "10000-01-01" {
		t.Errorf("%s to %s", due.MinDate, due.MaxDate)
	}
}

func TestDatesBefore1970(t *testing.T) {
	t.Parallel()
	for _, d := range []due.Date{-1, -365, -719162} {
		at := time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, int(d))
		if due.Of(at) != d || due.Of(at.Add(24*time.Hour-1)) != d || d.String() != at.Format(time.DateOnly) || d.Weekday() != at.Weekday() {
			t.Errorf("%d is %s, want %s", d, d, at)
		}
		if got, err := due.ParseDate(d.String()); !errors.Is(err, due.ErrDateRange) {
			t.Errorf("%s is read as %s, %v", d, got, err)
		}
	}
}

func TestDateOfNormalizes(t *testing.T) {
	t.Parallel()
	got := []due.Date{due.DateOf(2026, 11, 31), due.DateOf(2026, 13, 1), due.DateOf(2026, 3, 0)}
	if fmt.Sprint(got) != "[2026-12-01 2027-01-01 2026-02-28]" {
		t.Error(got)
	}
}

func TestParseDateRefusesOtherForms(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"", "2026", "2026-3-9", "2026-03-9", "2026-02-29", "1900-02-29", "2026-04-31", "2026-00-01", "2026-13-01", "2026-01-00", "2026-01-32",
		"2026/03/09", "20260309", "2026-03-09 ", " 2026-03-09", "+026-03-09", "-026-03-09", "2026-W11-1", "٢026-03-09", "2026-03-0９",
		"12026-03-09", "2026-03-09T00:00:00Z", "tomorrow!!", "\x00026-03-09",
	} {
		if d, err := due.ParseDate(s); !errors.Is(err, due.ErrDate) {
			t.Errorf("%q is read as %s, %v", s, d, err)
		}
	}
}

func TestEveryTimeIsReadAsItIsWritten(t *testing.T) {
	t.Parallel()
	for minute := range due.Time(24 * 60) {
		want := fmt.Sprintf("%02d:%02d", minute/60, minute%60)
		if got, err := due.ParseTime(want); err != nil || got != minute || minute.String() != want {
			t.Errorf("%s is read as %d, %v, and written %s", want, got, err, minute)
		}
	}
	for _, s := range []string{"", "24:00", "23:60", "7:30", "07:3", "07:30:00", "0730", "07-30", "+7:30", "07:30 ", "5 pm", "０7:30", "-1:00"} {
		if got, err := due.ParseTime(s); !errors.Is(err, due.ErrTime) {
			t.Errorf("%q is read as %s, %v", s, got, err)
		}
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	type task struct {
		Date *due.Date `json:"due_date"`
		Time *due.Time `json:"due_time"`
	}
	for _, want := range []string{`{"due_date":"2026-03-09","due_time":"17:30"}`, `{"due_date":null,"due_time":null}`} {
		var v task
		if err := json.Unmarshal([]byte(want), &v); err != nil {
			t.Fatal(err)
		}
		if got, err := json.Marshal(v); err != nil || string(got) != want {
			t.Errorf("%s became %s, %v", want, got, err)
		}
	}
	for _, text := range []string{`{"due_date":"2026-02-30"}`, `{"due_date":"1969-01-01"}`, `{"due_time":"24:00"}`} {
		if json.Unmarshal([]byte(text), new(task)) == nil {
			t.Errorf("%s was read", text)
		}
	}
}

func TestParseBound(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"2026-03-09":                    "2026-03-09",
		"2026-03-09T00:00:00Z":          "2026-03-09 2026-03-09T00:00:00Z",
		"2026-03-09T23:30:00-08:00":     "2026-03-09 2026-03-10T07:30:00Z",
		"2026-03-09T00:30:00+13:45":     "2026-03-09 2026-03-08T10:45:00Z",
		"2026-03-09T12:00:00.000000Z":   "2026-03-09 2026-03-09T12:00:00Z",
		"2026-03-09T12:00:00.00000001Z": "2026-03-09 2026-03-09T12:00:01Z", // no due_at is between the two
		"1970-01-01T00:00:00+01:00":     "1970-01-01 1969-12-31T23:00:00Z",
	} {
		b, err := due.ParseBound(text)
		got := b.Date.String()
		if b.At != nil {
			got += " " + b.At.Format(time.RFC3339)
		}
		if err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", text, got, err, want)
		}
	}
	for text, want := range map[string]error{
		"": due.ErrDate, "today": due.ErrDate, "2026-03-09T12:00:00": due.ErrDate, "2026-03-09T12:00Z": due.ErrDate,
		"2026-02-29T12:00:00Z": due.ErrDate, "1969-12-31": due.ErrDateRange, "1969-12-31T23:00:00Z": due.ErrDateRange,
	} {
		if b, err := due.ParseBound(text); !errors.Is(err, want) {
			t.Errorf("%s: got %v, %v", text, b, err)
		}
	}
}

func TestNothingIsAllocated(t *testing.T) { //nolint:paralleltest // AllocsPerRun counts those of all goroutines
	loc, err := due.LoadZone("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	date, text := due.DateOf(2026, 10, 25), make([]byte, 0, 32)
	for name, f := range map[string]func(){
		"ParseDate":       func() { _, _ = due.ParseDate("2026-10-25") },
		"ParseTime":       func() { _, _ = due.ParseTime("17:30") },
		"Date.AppendText": func() { _, _ = date.AppendText(text) },
		"Time.AppendText": func() { _, _ = due.Time(1050).AppendText(text) },
		"LoadZone":        func() { _, _ = due.LoadZone("Europe/Berlin") },
		"unknown zone":    func() { _, _ = due.LoadZone("Europe/Atlantis") },
		"Instant":         func() { due.Instant(date, 150, loc) },
		"Civil":           func() { _, _, _ = date.Civil() },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func BenchmarkParseDate(b *testing.B) {
	for b.Loop() {
		_, _ = due.ParseDate("2026-03-09")
	}
}

func BenchmarkAppendDate(b *testing.B) {
	text := make([]byte, 0, 32)
	for b.Loop() {
		_, _ = due.Date(20521).AppendText(text)
	}
}

func BenchmarkLoadZone(b *testing.B) {
	for b.Loop() {
		_, _ = due.LoadZone("Europe/Berlin")
	}
}

func BenchmarkInstant(b *testing.B) {
	loc, err := due.LoadZone("Europe/Berlin")
	if err != nil {
		b.Fatal(err)
	}
	for name, date := range map[string]due.Date{
		"overlap": due.DateOf(2026, 10, 25), "2026": due.DateOf(2026, 3, 9), "2096": due.DateOf(2096, 3, 9), "leap day": due.DateOf(2096, 12, 31),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				due.Instant(date, 150, loc)
			}
		})
	}
}

func BenchmarkChange(b *testing.B) {
	change := due.Change{Date: sent("2026-03-09"), Time: sent("17:30"), Zone: sent("Europe/Berlin")}
	b.ReportAllocs()
	for b.Loop() {
		due.Due{}.Change(change)
	}
}
