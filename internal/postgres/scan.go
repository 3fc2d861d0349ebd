package postgres

import (
	"encoding/binary"
	"math"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// Rows are the rows that a statement returned.
type Rows struct{ rows pgx.Rows }

// Next advances to the next row and reports whether there is one.
func (r Rows) Next() bool { return r.rows.Next() } //nolint:forbidigo // Tx closes the rows

// Null reports whether a column of the row is null.
func (r Rows) Null(column int) bool { return r.rows.RawValues()[column] == nil }

// Scan stores the row's first columns in the variables that the destinations point to.
func (r Rows) Scan(to ...any) error { return scan(r.rows, to) }

// scan is the implementation of Rows.Scan. scanPlain can replace it and does the same.
var scan = scanFast

func scanPlain(rows pgx.Rows, to []any) error {
	all := make([]any, len(rows.RawValues())) // pgx skips a column whose destination is nil
	copy(all, to)
	return rows.Scan(all...)
}

// scanFast decodes PostgreSQL's binary format of the most common types itself, and leaves the others to pgx. It makes
// one allocation for all texts of a row.
func scanFast(rows pgx.Rows, to []any) error {
	fields, values := rows.FieldDescriptions(), rows.RawValues()
	size := 0
	for i := range to {
		if isText(&fields[i]) {
			size += len(values[i])
		}
	}
	var texts strings.Builder
	texts.Grow(size)
	var rest []any
	for i, dest := range to {
		if !decode(&fields[i], values[i], dest, &texts) {
			if rest == nil {
				rest = make([]any, len(values))
			}
			rest[i] = dest
		}
	}
	if rest == nil {
		return nil
	}
	return rows.Scan(rest...)
}

// decode stores a value in dest. It reports false if it does not know the type. The builder has room for all texts, so
// it never reallocates.
func decode(field *pgconn.FieldDescription, value []byte, dest any, texts *strings.Builder) bool {
	text := func() string {
		start := texts.Len()
		texts.Write(value)
		return texts.String()[start:]
	}
	typed := func(oid uint32) bool {
		return field.DataTypeOID == oid && field.Format == pgx.BinaryFormatCode && value != nil
	}
	switch dest := dest.(type) {
	case *string:
		if !isText(field) || value == nil {
			return false
		}
		*dest = text()
	case **string:
		if value == nil {
			*dest = nil
			return true
		}
		if !isText(field) {
			return false
		}
		*dest = new(text())
	case *bool:
		if !typed(pgtype.BoolOID) {
			return false
		}
		*dest = value[0] != 0
	case *int64:
		if !typed(pgtype.Int8OID) {
			return false
		}
		*dest = int64(binary.BigEndian.Uint64(value))
	case *int32:
		if !typed(pgtype.Int4OID) {
			return false
		}
		*dest = int32(binary.BigEndian.Uint32(value))
	case *time.Time:
		if !typed(pgtype.TimestamptzOID) || infinite(value) {
			return false
		}
		*dest = timestamp(value)
	case **time.Time:
		if value == nil {
			*dest = nil
			return true
		}
		if !typed(pgtype.TimestamptzOID) || infinite(value) {
			return false
		}
		*dest = new(timestamp(value))
	default:
		return false
	}
	return true
}

// isText reports whether a column's values are texts, which are the same in both formats.
func isText(field *pgconn.FieldDescription) bool {
	return field.DataTypeOID == pgtype.TextOID || field.DataTypeOID == pgtype.VarcharOID
}

// timestamp reads a timestamptz: microseconds since 2000.
func timestamp(value []byte) time.Time {
	const epoch = 946_684_800_000_000
	return time.UnixMicro(epoch + int64(binary.BigEndian.Uint64(value)))
}

// infinite reports whether a timestamptz is no time. pgx says so in an error.
func infinite(value []byte) bool {
	n := int64(binary.BigEndian.Uint64(value))
	return n == math.MaxInt64 || n == math.MinInt64
}
