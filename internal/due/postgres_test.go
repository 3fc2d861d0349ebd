package due_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"docket/internal/dbtest"
	"docket/internal/due"
)

const createDueSQL = `
create table due (id bigint generated always as identity, due_date date, due_time time, time_zone varchar(64), due_at timestamptz)`

const readDueSQL = `
select due_date, due_time, time_zone, due_at, concat_ws(' ', due_date::text, due_time::text) from due order by id`

// TestReadersInAllZonesSeeTheSameDay writes and reads due dates in sessions of 27 time zones and in every way in which
// pgx sends parameters.
func TestReadersInAllZonesSeeTheSameDay(t *testing.T) {
	t.Parallel()
	conn, err := pgx.Connect(t.Context(), dbtest.Empty(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), createDueSQL); err != nil {
		t.Fatal(err)
	}
	changes := []due.Change{
		{},
		{Date: sent("1970-01-01")},
		{Date: sent("2026-03-09")},
		{Date: sent("9999-12-31")},
		{Date: sent("2026-03-09T00:00:00Z")},
		{Date: sent("2026-03-08"), Time: sent("02:30"), Zone: sent("America/Los_Angeles")},
		{Date: sent("2026-10-25"), Time: sent("23:59"), Zone: sent("Europe/Berlin")},
		{Date: sent("2026-04-05"), Time: sent("00:00"), Zone: sent("Pacific/Auckland")},
	}
	modes := []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	}
	var want, stored []string
	for _, mode := range modes {
		for _, change := range changes {
			d, faults := due.Due{}.Change(change)
			if len(faults) > 0 {
				t.Fatal(faults)
			}
			setZone(t, conn, len(want)%27-12)
			if _, err := conn.Exec(t.Context(), "insert into due (due_date, due_time, time_zone, due_at) values ($1, $2, $3, $4)",
				mode, d.Date, d.Time, d.Zone, d.At); err != nil {
				t.Fatal(mode, err)
			}
			text := ""
			if d.Date != nil {
				text = d.Date.String()
			}
			if d.Time != nil {
				text += " " + d.Time.String() + ":00"
			}
			want, stored = append(want, describe(d, nil)), append(stored, text)
		}
	}
	for offset := -12; offset <= 14; offset++ {
		setZone(t, conn, offset)
		for _, mode := range modes {
			rows, err := conn.Query(t.Context(), readDueSQL, mode)
			if err != nil {
				t.Fatal(err)
			}
			var d due.Due
			var text string
			n := 0
			if _, err := pgx.ForEachRow(rows, []any{&d.Date, &d.Time, &d.Zone, &d.At, &text}, func() error {
				if d.At != nil {
					*d.At = d.At.UTC()
				}
				if got := describe(d, nil); got != want[n] || text != stored[n] {
					t.Errorf("%s, UTC%+d: read %s, stored as %s, want %s", mode, offset, got, text, want[n])
				}
				n++
				return nil
			}); err != nil || n != len(want) {
				t.Errorf("%s, UTC%+d: %d rows, %v", mode, offset, n, err)
			}
		}
	}
}

// setZone sets the time zone of a session to a number of hours ahead of UTC.
func setZone(t *testing.T, conn *pgx.Conn, hours int) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), fmt.Sprintf("set time zone interval '%d hours' hour to minute", hours)); err != nil {
		t.Fatal(err)
	}
}

func TestScanRefusesWhatIsNoDueDate(t *testing.T) {
	t.Parallel()
	for _, src := range []any{nil, int64(1), "infinity", "2026-02-30", "0044-03-15 BC", []byte("2026-03-09"), 1.5} {
		if d := due.Date(7); d.Scan(src) == nil {
			t.Errorf("the date of %v is %s", src, d)
		}
	}
	for _, src := range []any{nil, int64(1), "24:00:00", "17:30:01", "17:30:00.000001", "17:30:00+02", "17:3", "", time.Now()} {
		if d := due.Time(7); d.Scan(src) == nil {
			t.Errorf("the time of %v is %s", src, d)
		}
	}
	var d due.Date
	if err := d.Scan("2026-03-09"); err != nil || d != due.DateOf(2026, 3, 9) {
		t.Error(d, err)
	}
	var minute due.Time
	for _, src := range []string{"17:30", "17:30:00", "17:30:00.000000"} {
		if err := minute.Scan(src); err != nil || minute.String() != "17:30" {
			t.Errorf("%s: %s, %v", src, minute, err)
		}
	}
	if err := d.Scan(7); err == nil || !strings.Contains(err.Error(), "int") {
		t.Error(err)
	}
}
