package store

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"strings"
)

// position is the position after a page: the id of its last row and that row's sort key, as PostgreSQL reads it.
type position struct {
	Key *string // nil is null
	ID  string
}

// A cursor is base64url(checksum, position as JSON). The checksum binds it to the owner, the filters and the sort. It
// is not a signature and need not be one: with a forged cursor, a caller still reads only its own rows, from another
// position.
const checksumLen = 8

// cursorAfter returns the cursor that continues an owner's list after a position. key is the canonical form of its query.
func cursorAfter(owner, key string, p position) string {
	text, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings only: cannot fail
	}
	return base64.RawURLEncoding.EncodeToString(append(checksum(owner, key, text), text...))
}

// parseCursor returns the position in a cursor. It returns ErrBadCursor if the cursor does not belong to this owner and
// query.
func parseCursor(owner, key, cursor string) (p position, err error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(raw) < checksumLen || strings.ContainsAny(cursor, "\r\n") { // the decoder skips line breaks
		return p, ErrBadCursor
	}
	text := raw[checksumLen:]
	if subtle.ConstantTimeCompare(raw[:checksumLen], checksum(owner, key, text)) != 1 || json.Unmarshal(text, &p) != nil {
		return position{}, ErrBadCursor
	}
	return p, nil
}

func checksum(owner, key string, text []byte) []byte {
	h := sha256.New()
	for _, part := range []string{"docket cursor 2", owner, key, string(text)} {
		// Each part is preceded by its length, so that different lists of parts are different bytes.
		h.Write(binary.AppendUvarint(nil, uint64(len(part))))
		h.Write([]byte(part))
	}
	return h.Sum(nil)[:checksumLen]
}
