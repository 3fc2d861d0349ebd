package store

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// position is where a page ends: the sort key and the id of its last task.
type position struct {
	key any // time.Time, string or int32, as the query's sort has it
	id  string
}

// A cursor is base64url(checksum, key, NUL, id). The checksum binds it to the owner, the filters and the sort. It is no
// signature and need not be: somebody who forges a cursor still only reads its own rows, from another place.
const checksumLen = 8

func (o Owner) cursorAfter(q ListQuery, last Task) string {
	text := sortKey(q.Sort, last) + "\x00" + last.ID
	return base64.RawURLEncoding.EncodeToString(append(o.checksum(q, text), text...))
}

func (o Owner) parseCursor(q ListQuery) (position, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(q.Cursor)
	if err != nil || len(raw) < checksumLen || strings.ContainsAny(q.Cursor, "\r\n") { // the decoder skips line breaks
		return position{}, ErrBadCursor
	}
	text := string(raw[checksumLen:])
	if subtle.ConstantTimeCompare(raw[:checksumLen], o.checksum(q, text)) != 1 {
		return position{}, ErrBadCursor
	}
	key, id, two := strings.Cut(text, "\x00")
	value, err := parseSortKey(q.Sort, key)
	if err != nil || !two || !utf8.ValidString(text) || strings.Contains(id, "\x00") {
		return position{}, ErrBadCursor
	}
	return position{key: value, id: id}, nil
}

func (o Owner) checksum(q ListQuery, text string) []byte {
	state := "all"
	if q.Completed != nil {
		state = strconv.FormatBool(*q.Completed)
	}
	h := sha256.New()
	for _, part := range []string{
		"docket cursor 1", o.id, state, strings.Join(q.Priorities, ","), q.Search,
		strconv.Itoa(int(q.Sort)), strconv.FormatBool(q.Ascending), text,
	} {
		// The length goes first: no two lists of parts are the same bytes.
		h.Write(binary.AppendUvarint(nil, uint64(len(part))))
		h.Write([]byte(part))
	}
	return h.Sum(nil)[:checksumLen]
}

func sortKey(sort Sort, t Task) string {
	switch sort {
	case SortUpdated:
		return strconv.FormatInt(t.UpdatedAt.UnixMicro(), 10)
	case SortTitle:
		return t.Title
	case SortPriority:
		return strconv.Itoa(priorityRank(t.Priority))
	}
	return strconv.FormatInt(t.CreatedAt.UnixMicro(), 10)
}

// parseSortKey takes what sortKey gives, and nothing else that PostgreSQL might not.
func parseSortKey(sort Sort, key string) (any, error) {
	if sort == SortTitle {
		return key, nil
	}
	n, err := strconv.ParseInt(key, 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != key {
		return nil, ErrBadCursor
	}
	if sort == SortPriority {
		if n < 1 || n > 3 {
			return nil, ErrBadCursor
		}
		return int32(n), nil
	}
	at := time.UnixMicro(n).UTC()
	if at.Year() < 1 || at.Year() > 9999 {
		return nil, ErrBadCursor
	}
	return at, nil
}

// priorityRank is priorityRankExpression in Go.
func priorityRank(priority string) int {
	switch priority {
	case "high":
		return 3
	case "medium":
		return 2
	}
	return 1
}
