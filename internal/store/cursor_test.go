package store

import (
	"encoding/base64"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"docket/internal/dbtest"
)

// Whatever arrives as a cursor, nothing panics, and what is accepted is letter for letter what cursorAfter makes.
func FuzzCursor(f *testing.F) {
	owner := Owner{id: "ada"}
	last := Task{ID: "id", Title: "title", Priority: "high", CreatedAt: time.UnixMicro(1), UpdatedAt: time.UnixMicro(-1)}
	for sort := range sorts {
		made := owner.cursorAfter(ListQuery{Sort: sort}, last)
		f.Add(int(sort), false, made, "")
		f.Add(int(sort), true, made, "")
		for _, text := range []string{
			sortKey(sort, last) + "\x00id", "", "\x00", "1", "x\x00id", "+1\x00id", "01\x00id", " 1\x00id", "4\x00id", "-0\x00id",
			"9223372036854775807\x00id", "-9223372036854775808\x00id", "9223372036854775808\x00id", "2147483648\x00id",
			"1\x00i\x00d", "\xff\x00id", "1\x00\xff", "a\x00", "1\x00" + strings.Repeat("x", 256),
		} {
			f.Add(int(sort), false, "", text)
		}
	}
	f.Fuzz(func(t *testing.T, sort int, ascending bool, cursor, forged string) {
		q := ListQuery{Sort: Sort(uint(sort) % uint(sorts)), Ascending: ascending, Cursor: cursor}
		if cursor == "" { // the checksum is no secret
			q.Cursor = base64.RawURLEncoding.EncodeToString(append(owner.checksum(q, forged), forged...))
		}
		after, err := owner.parseCursor(q)
		if err != nil {
			if !errors.Is(err, ErrBadCursor) {
				t.Errorf("%v, want ErrBadCursor", err)
			}
			return
		}
		last := Task{ID: after.id}
		switch key := after.key.(type) {
		case time.Time:
			last.CreatedAt, last.UpdatedAt = key, key
		case string:
			last.Title = key
		case int32:
			last.Priority = map[int32]string{1: "low", 2: "medium", 3: "high"}[key]
		}
		if made := owner.cursorAfter(q, last); made != q.Cursor {
			t.Errorf("%q was accepted, but a cursor to %+v is %q", q.Cursor, after, made)
		}
	})
}

// Who works out the checksum gets a page of its own tasks or a refusal, but no fault of ours.
func TestAForgedCursorIsNoFault(t *testing.T) {
	t.Parallel()
	address := dbtest.New(t)
	dbtest.AddUser(t, address, "ada")
	for _, mode := range []QueryMode{QueryModePrepared, QueryModeExec, QueryModeDescribe} {
		s, err := Open(t.Context(), Config{URL: address, QueryMode: mode})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		ada := s.For("ada")
		for sort, keys := range map[Sort][]string{
			SortCreated: {
				sortKey(SortCreated, Task{CreatedAt: time.UnixMicro(math.MaxInt64)}), sortKey(SortCreated, Task{CreatedAt: time.UnixMicro(math.MinInt64)}),
				"9224318015999999999", "-210866803200000000", "-210866803200000001", "0",
			},
			SortTitle:    {"", "\xff", "\xed\xa0\x80", "\ufffe", strings.Repeat("x", 10_000)},
			SortPriority: {"0", "4", "-2147483648", "2147483647"},
		} {
			for _, key := range keys {
				for _, id := range []string{"", "id", "\x00", "\xff", strings.Repeat("x", 1000)} {
					q := ListQuery{Sort: sort, Limit: 1}
					text := key + "\x00" + id
					q.Cursor = base64.RawURLEncoding.EncodeToString(append(ada.checksum(q, text), text...))
					if _, err := ada.ListTasks(t.Context(), q); err != nil && !errors.Is(err, ErrBadCursor) {
						t.Errorf("%s, sort %d, key %.30q, id %.10q: %v", mode, sort, key, id, err)
					}
				}
			}
		}
	}
}
