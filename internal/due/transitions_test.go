package due_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"docket/internal/dbtest"
	"docket/internal/due"
)

var (
	all  = flag.Bool("all", false, "test all zones and minutes instead of a sample (make proofs)")
	seed = flag.Uint64("seed", 0, "the seed of the sample, to repeat a test (without it, any)")
)

// unusual zones are in every sample: offsets and changes that are not whole hours, days that were skipped or came twice,
// winter time that is the change from the standard, two changes within weeks.
var unusual = []string{
	"Pacific/Apia", "Pacific/Kwajalein", "Pacific/Kiritimati", "Australia/Lord_Howe", "Antarctica/Troll", "Antarctica/Casey",
	"Africa/Casablanca", "Africa/Monrovia", "Europe/Dublin", "America/St_Johns", "Asia/Gaza", "Asia/Kathmandu", "America/Nuuk",
	"America/Los_Angeles", "Europe/Berlin", "Pacific/Auckland", "UTC",
}

// sample returns the zones to test, and a source for other choices. It logs how to repeat the test.
func sample(t *testing.T) ([]string, *rand.Rand) {
	from := *seed
	if from == 0 {
		from = rand.Uint64()
	}
	r := rand.New(rand.NewPCG(from, 0))
	names := due.ZoneNames()
	if !*all {
		r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		names = append(names[:len(names)/40], unusual...)
		slices.Sort(names)
		names = slices.Compact(names)
	}
	t.Logf("%d zones, seed %d: go test ./internal/due -run %s -seed %d", len(names), from, t.Name(), from)
	return names, r
}

// A transition is a change of a zone's offset from UTC.
type transition struct{ at, before, after int64 }

// A zone is a time zone with the transitions and offsets of the years 1970 to 2037.
type zone struct {
	name        string
	loc         *time.Location
	transitions []transition
	offsets     []int64 // without repetition
}

func (z zone) offset(at int64) int64 {
	_, offset := time.Unix(at, 0).In(z.loc).Zone()
	return int64(offset)
}

const quarterDay = 6 * 60 * 60

// loadZone finds the transitions by comparing the offsets of all quarters of days.
func loadZone(t *testing.T, name string) zone {
	loc, err := due.LoadZone(name)
	if err != nil {
		t.Fatal(err)
	}
	z := zone{name: name, loc: loc}
	first, last := time.Date(1969, 12, 30, 0, 0, 0, 0, time.UTC).Unix(), time.Date(2038, 1, 2, 0, 0, 0, 0, time.UTC).Unix()
	z.offsets = []int64{z.offset(first)}
	for from := first; from < last; from += quarterDay {
		before, after := z.offset(from), z.offset(from+quarterDay)
		if before == after {
			continue
		}
		lo, hi := from, from+quarterDay
		for hi-lo > 1 {
			if middle := (lo + hi) / 2; z.offset(middle) == before {
				lo = middle
			} else {
				hi = middle
			}
		}
		z.transitions = append(z.transitions, transition{hi, before, after})
		if !slices.Contains(z.offsets, after) {
			z.offsets = append(z.offsets, after)
		}
	}
	return z
}

// instants returns all instants at which clocks show a time, given as the instant if the offset were zero.
func (z zone) instants(clock int64) (all []int64) {
	for _, offset := range z.offsets {
		if z.offset(clock-offset) == offset {
			all = append(all, clock-offset)
		}
	}
	slices.Sort(all)
	return all
}

// instant is what due.Instant should return: the first instant or, in a gap, the one of the offset before it.
func (z zone) instant(t *testing.T, clock int64) int64 {
	if all := z.instants(clock); len(all) > 0 {
		return all[0]
	}
	for _, tr := range z.transitions {
		if tr.at+tr.before <= clock && clock < tr.at+tr.after {
			return clock - tr.before
		}
	}
	t.Fatalf("%s: no clock shows %s, and there is no gap", z.name, time.Unix(clock, 0).UTC().Format(time.DateTime))
	return 0
}

// onClock returns a clock's day and time, and the second of the minute.
func onClock(clock int64) (due.Date, due.Time, int64) {
	at := time.Unix(clock, 0).UTC()
	return due.Of(at), due.Time(60*at.Hour() + at.Minute()), int64(at.Second())
}

// TestDueDatesAroundTransitions walks over the three hours before and after each transition of a zone. What is written
// as a day and a time is read as the same, and clocks show it at the instant, or it is in a gap. What is written as an
// instant is read as this instant, or an overlap has it twice.
func TestDueDatesAroundTransitions(t *testing.T) {
	t.Parallel()
	names, r := sample(t)
	var transitions, minutes, overlaps, gaps int
	for _, name := range names {
		z := loadZone(t, name)
		for _, tr := range z.transitions {
			if !*all && r.IntN(16) != 0 {
				continue
			}
			transitions++
			for m := int64(-180); m <= 180; m++ {
				minutes++
				switch len(z.checkClock(t, tr.at+tr.before+60*m)) {
				case 0:
					gaps++
				case 2:
					overlaps++
				}
				z.checkInstant(t, tr.at+60*m)
			}
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d transitions, %d minutes: %d in overlaps, %d in gaps", transitions, minutes, overlaps, gaps)
	if overlaps == 0 || gaps == 0 {
		t.Error("the sample has no overlap or no gap")
	}
}

// checkClock writes what a clock shows, and returns the instants at which it does.
func (z zone) checkClock(t *testing.T, clock int64) []int64 {
	date, minute, second := onClock(clock)
	clock -= second
	got, faults := due.Due{}.Change(due.Change{Date: sent(date.String()), Time: sent(minute.String()), Zone: sent(z.name)})
	if len(faults) > 0 {
		if date < due.MinDate {
			return []int64{0}
		}
		t.Fatalf("%s %s %s: %v", date, minute, z.name, faults)
	}
	if *got.Date != date || *got.Time != minute || *got.Zone != z.name {
		t.Errorf("%s %s %s became %s", date, minute, z.name, describe(got, nil))
	}
	if want := z.instant(t, clock); got.At.Unix() != want {
		t.Errorf("%s, want %s", describe(got, nil), time.Unix(want, 0).UTC().Format(time.RFC3339))
	}
	instants := z.instants(clock)
	if d, m, _ := onClock(got.At.Unix() + z.offset(got.At.Unix())); (d != date || m != minute) != (len(instants) == 0) {
		t.Errorf("%s: clocks show %s %s then", describe(got, nil), d, m)
	}
	return instants
}

// checkInstant writes an instant.
func (z zone) checkInstant(t *testing.T, at int64) {
	date, minute, second := onClock(at + z.offset(at))
	got, faults := due.Due{}.Change(due.Change{Date: sent(time.Unix(at, 0).UTC().Format(time.RFC3339)), Zone: sent(z.name)})
	if len(faults) > 0 {
		if date < due.MinDate {
			return
		}
		t.Fatalf("%d in %s: %v", at, z.name, faults)
	}
	if *got.Date != date || *got.Time != minute || *got.Zone != z.name {
		t.Errorf("%d became %s, but clocks show %s %s", at, describe(got, nil), date, minute)
	}
	if want := z.instant(t, at+z.offset(at)-second); got.At.Unix() != want {
		t.Errorf("%d became %s, want %s", at, describe(got, nil), time.Unix(want, 0).UTC().Format(time.RFC3339))
	}
	again, _ := due.Due{}.Change(due.Change{Date: sent(got.Date.String()), Time: sent(got.Time.String()), Zone: sent(*got.Zone)})
	if describe(again, nil) != describe(got, nil) {
		t.Errorf("%s became %s when sent again", describe(got, nil), describe(again, nil))
	}
}

// TestInstantInOverlapsAndGaps has instants that were looked up elsewhere.
func TestInstantInOverlapsAndGaps(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ zone, clock, want string }{
		// Overlaps: the first of two.
		{"Europe/Berlin", "2026-10-25 02:00", "2026-10-25T00:00:00Z"},
		{"Europe/Berlin", "2026-10-25 02:59", "2026-10-25T00:59:00Z"},
		{"Europe/Berlin", "2026-10-25 03:00", "2026-10-25T02:00:00Z"},
		{"America/Los_Angeles", "2026-11-01 01:30", "2026-11-01T08:30:00Z"},
		{"America/Los_Angeles", "2026-11-01 02:00", "2026-11-01T10:00:00Z"},
		{"Pacific/Auckland", "2026-04-05 02:30", "2026-04-04T13:30:00Z"},
		{"Australia/Lord_Howe", "2026-04-05 01:45", "2026-04-04T14:45:00Z"}, // half an hour
		{"Antarctica/Troll", "2026-10-25 01:30", "2026-10-24T23:30:00Z"},    // two hours
		{"Europe/Dublin", "2026-10-25 01:30", "2026-10-25T00:30:00Z"},       // winter is the change
		{"America/St_Johns", "2006-10-28 23:30", "2006-10-29T02:00:00Z"},    // across midnight
		{"Pacific/Kwajalein", "1969-09-30 13:00", "1969-09-30T02:00:00Z"},   // 23 hours
		// Gaps: the offset before.
		{"Europe/Berlin", "2026-03-29 01:59", "2026-03-29T00:59:00Z"},
		{"Europe/Berlin", "2026-03-29 02:00", "2026-03-29T01:00:00Z"},
		{"Europe/Berlin", "2026-03-29 02:59", "2026-03-29T01:59:00Z"},
		{"Europe/Berlin", "2026-03-29 03:00", "2026-03-29T01:00:00Z"},
		{"America/Los_Angeles", "2026-03-08 02:30", "2026-03-08T10:30:00Z"},
		{"Pacific/Auckland", "2026-09-27 02:30", "2026-09-26T14:30:00Z"},
		{"Australia/Lord_Howe", "2026-10-04 02:15", "2026-10-03T15:45:00Z"},
		{"Africa/Cairo", "2026-04-24 00:00", "2026-04-23T22:00:00Z"}, // at midnight
		{"Africa/Monrovia", "1972-01-07 00:30", "1972-01-07T01:14:30Z"},
		{"Pacific/Apia", "2011-12-29 23:59", "2011-12-30T09:59:00Z"},
		{"Pacific/Apia", "2011-12-30 12:00", "2011-12-30T22:00:00Z"}, // a day that nobody had
		{"Pacific/Apia", "2011-12-31 00:00", "2011-12-30T10:00:00Z"},
		{"Pacific/Kwajalein", "1993-08-21 12:00", "1993-08-22T00:00:00Z"},
		// After the table of changes, and on the last day of a leap year.
		{"Europe/Berlin", "2096-03-25 02:30", "2096-03-25T01:30:00Z"},
		{"Europe/Berlin", "2096-10-28 02:30", "2096-10-28T00:30:00Z"},
		{"Europe/Berlin", "2096-12-31 12:00", "2096-12-31T11:00:00Z"},
		{"Pacific/Auckland", "2096-12-31 23:59", "2096-12-31T10:59:00Z"},
		{"America/Los_Angeles", "9996-12-31 23:59", "9997-01-01T07:59:00Z"},
	} {
		loc, err := due.LoadZone(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		day, clock, _ := strings.Cut(c.clock, " ")
		at, err := time.Parse(time.DateOnly, day)
		if err != nil {
			t.Fatal(err)
		}
		minute, err := due.ParseTime(clock)
		if err != nil {
			t.Fatal(err)
		}
		if got := due.Instant(due.Of(at), minute, loc); got.UTC().Format(time.RFC3339) != c.want || got.Location() != loc {
			t.Errorf("%s in %s is %s, want %s", c.clock, c.zone, got.UTC().Format(time.RFC3339), c.want)
		}
	}
}

// TestInstantAgreesWithTheTimePackage compares days until the year 9999 with time.Date, where clocks show a time once.
func TestInstantAgreesWithTheTimePackage(t *testing.T) {
	t.Parallel()
	names, r := sample(t)
	for _, name := range names {
		loc, err := due.LoadZone(name)
		if err != nil {
			t.Fatal(err)
		}
		for range 500 {
			date, minute := due.Date(r.IntN(int(due.MaxDate)+1)), due.Time(r.IntN(24*60))
			if r.IntN(2) == 0 { // the last days of leap years
				date = due.DateOf(1972+4*r.IntN(2000), 12, 31)
			}
			year, month, day := date.Civil()
			want := time.Date(year, month, day, int(minute/60), int(minute%60), 0, 0, loc)
			if around := want.Add(-4 * time.Hour); !sameOffset(around, want) || !sameOffset(want, want.Add(4*time.Hour)) {
				continue
			}
			if got := due.Instant(date, minute, loc); !got.Equal(want) {
				t.Errorf("%s %s in %s is %s, want %s", date, minute, name, got, want)
			}
		}
	}
}

func sameOffset(a, b time.Time) bool {
	_, x := a.Zone()
	_, y := b.Zone()
	return x == y
}

const instantsSQL = `
select array_agg(extract(epoch from (timestamp '1970-01-01' + clock * interval '1 second') at time zone $2)::bigint order by n)
from unnest($1::bigint[]) with ordinality as c (clock, n)`

const clocksSQL = `
select array_agg(extract(epoch from to_timestamp(at) at time zone $2)::bigint order by n)
from unnest($1::bigint[]) with ordinality as c (at, n)`

// TestInstantAgreesWithPostgreSQL compares the minutes around transitions, and others, with PostgreSQL's "at time zone",
// where clocks show them once. PostgreSQL may have another version of the time zone database. Where an instant differs,
// clocks must also differ at it. What differs is logged, and is less than one percent of all zones.
func TestInstantAgreesWithPostgreSQL(t *testing.T) {
	t.Parallel()
	names, r := sample(t)
	conn, err := pgx.Connect(t.Context(), dbtest.Empty(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	rows, err := conn.Query(t.Context(), "select name from pg_timezone_names")
	if err != nil {
		t.Fatal(err)
	}
	known, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}

	var compared, different, unknown int
	for _, name := range names {
		if !slices.Contains(known, name) {
			t.Logf("PostgreSQL does not know %s", name)
			unknown++
			continue
		}
		z := loadZone(t, name)
		var clocks []int64
		for _, tr := range z.transitions {
			for m := int64(-180); m <= 180; m++ {
				if *all || r.IntN(10) == 0 {
					clocks = append(clocks, tr.at+tr.before+60*m)
				}
			}
		}
		for range 500 { // between transitions, and years without a table
			clocks = append(clocks, r.Int64N(130*365*24*60*60))
		}
		for i := range clocks {
			clocks[i] -= (clocks[i]%60 + 60) % 60
		}
		clocks = slices.DeleteFunc(clocks, func(clock int64) bool { return len(z.instants(clock)) != 1 })
		var want []int64
		if err := conn.QueryRow(t.Context(), instantsSQL, clocks, name).Scan(&want); err != nil {
			t.Fatal(err)
		}
		var examples []string
		var instants []int64 // two for each difference: ours, and PostgreSQL's
		for i, clock := range clocks {
			date, minute, _ := onClock(clock)
			if got := due.Instant(date, minute, z.loc).Unix(); got != want[i] {
				instants = append(instants, got, want[i])
				if len(examples) < 3 {
					examples = append(examples, fmt.Sprintf("%s %s (%d seconds)", date, minute, got-want[i]))
				}
			}
		}
		var there []int64 // what clocks show then
		if err := conn.QueryRow(t.Context(), clocksSQL, instants, name).Scan(&there); err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(instants); i += 2 {
			ours, theirs := instants[i], instants[i+1]
			if ours+z.offset(ours) == there[i] && theirs+z.offset(theirs) == there[i+1] {
				t.Errorf("%s: got %d, want %d", name, ours, theirs)
			}
		}
		different += len(instants) / 2
		compared += len(clocks)
		if len(examples) > 0 {
			t.Logf("%s differs, such as at %s", name, strings.Join(examples, ", "))
		}
	}
	t.Logf("%d of %d instants differ; PostgreSQL does not know %d of %d zones", different, compared, unknown, len(names))
	if *all && (100*different >= compared || 100*unknown >= len(names)) {
		t.Error("one percent or more differ")
	}
}
