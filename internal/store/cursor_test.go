package store

import (
	"encoding/base64"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// Decoding any text returns a query position or an error and never panics. A cursor that the store encoded decodes to
// the same values.
func FuzzCursor(f *testing.F) {
	for _, text := range []string{
		`{"Key":"2026-01-01T00:00:00Z","ID":"id"}`, `{"Key":null,"ID":""}`, "", "{}", "null", "[]", "1", `{"Key":1}`, `{"ID":null}`, "\x00", "\xff",
		`{"Key":"a"}{"Key":"b"}`, `{"Key":"\ud800"}`,
	} {
		f.Add("", text, "key", "id")
	}
	f.Add(cursorAfter("ada", "query", position{new("key"), "id"}), "", "", "")
	f.Fuzz(func(t *testing.T, cursor, forged, key, id string) {
		if cursor == "" { // the checksum is not secret
			cursor = base64.RawURLEncoding.EncodeToString(append(checksum("ada", "query", []byte(forged)), forged...))
		}
		if p, err := parseCursor("ada", "query", cursor); err != nil && (!errors.Is(err, ErrBadCursor) || p != (position{})) {
			t.Errorf("%+v, %v, want ErrBadCursor", p, err)
		}
		for _, want := range []position{{&key, id}, {nil, id}} {
			want.ID = strings.ToValidUTF8(want.ID, "") // PostgreSQL stores only valid UTF-8
			if want.Key != nil {
				want.Key = new(strings.ToValidUTF8(key, ""))
			}
			if got, err := parseCursor("ada", "query", cursorAfter("ada", "query", want)); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%+v was read as %+v, %v", want, got, err)
			}
			if _, err := parseCursor("bob", "query", cursorAfter("ada", "query", want)); !errors.Is(err, ErrBadCursor) {
				t.Errorf("another owner's cursor: %v", err)
			}
			if _, err := parseCursor("ada", "query ", cursorAfter("ada", "query", want)); !errors.Is(err, ErrBadCursor) {
				t.Errorf("another query's cursor: %v", err)
			}
		}
	})
}

// A client can compute the checksum itself. It then receives a page of its own tasks or a client error, never an
// internal error.
func TestAForgedCursorCausesNoInternalError(t *testing.T) {
	t.Parallel()
	address := withUsers(t, "ada")
	for _, mode := range modes {
		ada := open(t, Config{URL: address, QueryMode: mode}).For("ada")
		create(t, ada, "x")
		for _, sort := range taskSorts {
			for _, key := range []*string{
				nil, new(""), new("x"), new("\x00"), new("infinity"), new("-infinity"), new("now"), new("2020-01-01 00:00 America/Nowhere"), new("294277-01-01Z"), new("9999999-01-01Z"),
				new("2026-02-30Z"), new("4714-11-25Z BC"), new("0"), new("-2147483649"), new("2147483648"), new("1e3"), new(strings.Repeat("x", 10_000)),
			} {
				for _, id := range []string{"", "id", "\x00", strings.Repeat("x", 1000)} {
					q := TaskQuery{Sort: sort.name, Limit: 1}
					q.Cursor = cursorAfter("ada", q.Key(), position{key, id})
					if _, err := ada.ListTasks(t.Context(), q); err != nil && !errors.Is(err, ErrBadCursor) {
						t.Errorf("%s, sort %s, key %v, id %.10q: %v", mode, sort.name, key, id, err)
					}
				}
			}
		}
	}
}
