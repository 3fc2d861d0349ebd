package postgres

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"docket/internal/due"
)

// row has a destination of every kind that scanFast knows, and some that it leaves to pgx.
type row struct {
	Text           string
	MaybeText      *string
	Bool           bool
	Int64          int64
	Int32          int32
	Time           time.Time
	MaybeTime      *time.Time
	Int16          int16
	MaybeInt64     *int64
	Float          float64
	Bytes          []byte
	Texts          []string
	Day            time.Time
	UUID           string
	MaybeDay       *due.Date
	MaybeTimeOfDay *due.Time
	NoTexts        []string
}

func (r *row) pointers() (all []any) {
	for _, field := range reflect.ValueOf(r).Elem().Fields() {
		all = append(all, field.Addr().Interface())
	}
	return all
}

// rowsSQL returns a row of these columns for each set of values.
const rowsSQL = `
select a::text, b::varchar, c::bool, d::bigint, e::integer, f::timestamptz, g::timestamptz, h::smallint, i::bigint, j::float8,
  k::bytea, l::text[], m::date, n::uuid,
  case when b is null then m end::date, case when b is null then time '23:59' end, array[]::text[]
from (values %s) as v (a, b, c, d, e, f, g, h, i, j, k, l, m, n)
where $1::text is not null`

func TestScanFastReturnsTheSameAsPgx(t *testing.T) {
	t.Parallel()
	address := withTasks(t)
	sql := fmt.Sprintf(rowsSQL, strings.Join([]string{
		`('', '', 'f', '0', '0', '2000-01-01Z', '2000-01-01Z', '0', '0', '0', '\x', '{}', '2000-01-01', '00000000-0000-0000-0000-000000000000')`,
		`('é😀', 'x', 't', '9223372036854775807', '2147483647', '9999-12-31 23:59:59.999999Z', '0001-01-01Z', '32767', '-1', '1.5', '\x00ff', '{a,NULL,"b c"}', '9999-12-31', 'ffffffff-ffff-4fff-bfff-ffffffffffff')`,
		`('a', null, 't', '-9223372036854775808', '-2147483648', '1969-12-31 23:59:59.999999+05:30', null, '-32768', null, '-0.25', null, null, '1970-01-01', '123e4567-e89b-42d3-a456-426614174000')`,
		`('a', 'b', null, '1', '1', '2026-01-01Z', null, '1', '1', '1', null, null, '2026-01-01', '123e4567-e89b-42d3-a456-426614174000')`,
		`(null, 'b', 'f', '1', '1', '2026-01-01Z', null, '1', '1', '1', null, null, '2026-01-01', '123e4567-e89b-42d3-a456-426614174000')`,
		`('a', 'b', 'f', null, '1', '2026-01-01Z', null, '1', '1', '1', null, null, '2026-01-01', '123e4567-e89b-42d3-a456-426614174000')`,
		`('a', 'b', 'f', '1', null, '2026-01-01Z', null, '1', '1', '1', null, null, '2026-01-01', '123e4567-e89b-42d3-a456-426614174000')`,
		`('a', 'b', 'f', '1', '1', null, null, '1', '1', '1', null, null, '2026-01-01', '123e4567-e89b-42d3-a456-426614174000')`,
		`('a', 'b', 'f', '1', '1', 'infinity', null, '1', '1', '1', null, null, '2026-01-01', '123e4567-e89b-42d3-a456-426614174000')`,
		`('a', 'b', 'f', '1', '1', '2026-01-01Z', '-infinity', '1', '1', '1', null, null, '2026-01-01', '123e4567-e89b-42d3-a456-426614174000')`,
	}, ", "))
	sql = strings.NewReplacer(`'{a,NULL,"b c"}'`, `'{a,"b c"}'`).Replace(sql)
	for _, mode := range queryModes {
		db := open(t, Config{URL: address, QueryMode: mode})
		for n := range 10 {
			read := func(scan func(pgx.Rows, []any) error) (r row, err error) {
				err = db.Run(t.Context(), "ada", ReadOnly, func(tx *Tx) {
					tx.Queue(Statement{sql + fmt.Sprintf("\noffset %d limit 1", n)}, func(rows Rows) error {
						if !rows.Next() {
							return nil
						}
						return scan(rows.rows, r.pointers())
					})
				})
				return r, err
			}
			want, wantErr := read(scanPlain)
			got, err := read(scanFast)
			if (err != nil) != (wantErr != nil) || err == nil && !reflect.DeepEqual(got, want) {
				t.Errorf("%s, row %d:\ngot  %+v, %v\nwant %+v, %v", mode, n, got, err, want, wantErr)
			}
			if fails := n >= 3; fails != (wantErr != nil) {
				t.Errorf("%s, row %d: %v", mode, n, wantErr)
			}
		}
	}
}

func TestScanOfFewerColumns(t *testing.T) {
	t.Parallel()
	for _, mode := range queryModes {
		db := open(t, Config{URL: withTasks(t), QueryMode: mode})
		var id string
		var missing bool
		err := db.Run(t.Context(), "ada", ReadOnly, func(tx *Tx) {
			tx.Queue(Statement{"select id, description, title from task where user_id = $1 and id = 'a1'"}, func(rows Rows) error {
				rows.Next()
				missing = rows.Null(1)
				return rows.Scan(&id)
			})
		})
		if err != nil || id != "a1" || !missing {
			t.Errorf("%s: %q, %t, %v", mode, id, missing, err)
		}
	}
}

// The texts of a row share memory, which is not reused afterwards.
func TestScannedTextsDoNotChange(t *testing.T) {
	t.Parallel()
	db := open(t, Config{URL: withTasks(t)})
	var all []string
	var a, b string
	for range 2 {
		if err := db.Run(t.Context(), "ada", ReadOnly, func(tx *Tx) {
			tx.Queue(Statement{"select n::text, (n * 7)::text from generate_series(1, 1000) n where $1::text is not null"}, func(rows Rows) error {
				for rows.Next() {
					if err := rows.Scan(&a, &b); err != nil {
						return err
					}
					all = append(all, a+"*7="+b)
				}
				return nil
			})
		}); err != nil {
			t.Fatal(err)
		}
	}
	for i, got := range all {
		if n := i%1000 + 1; got != fmt.Sprintf("%d*7=%d", n, 7*n) {
			t.Fatalf("row %d is %s", i, got)
		}
	}
}
