package postgres

import (
	"encoding/binary"
	"math"
	"reflect"
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
		if isText(&fields[i]) || fields[i].DataTypeOID == pgtype.TextArrayOID {
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
	text := func() string { return appendText(texts, value) }
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
	case *[]string:
		return typed(pgtype.TextArrayOID) && decodeTexts(value, dest, texts)
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
		return decodePointer(field, value, reflect.ValueOf(dest).Elem())
	}
	return true
}

// appendText appends a text to the others of its row, and returns it.
func appendText(texts *strings.Builder, text []byte) string {
	start := texts.Len()
	texts.Write(text)
	return texts.String()[start:]
}

// decodeTexts stores an array of texts in dest. It reports false if that has several dimensions or a null.
func decodeTexts(value []byte, dest *[]string, texts *strings.Builder) bool {
	next := func() int {
		n := int32(binary.BigEndian.Uint32(value))
		value = value[4:]
		return int(n)
	}
	dimensions, nulls, _ := next(), next(), next() // and the type of the elements
	if dimensions == 0 {
		*dest = []string{}
		return true
	}
	if dimensions != 1 || nulls != 0 {
		return false
	}
	all := make([]string, next())
	next() // the index of the first element
	for i := range all {
		size := next()
		all[i], value = appendText(texts, value[:size]), value[size:]
	}
	*dest = all
	return true
}

// decodePointer stores a value that may be null in a pointer. It knows a date as a number of days since 1970 in a type
// based on int32, and a time of whole minutes as their number in a type based on int16.
func decodePointer(field *pgconn.FieldDescription, value []byte, dest reflect.Value) bool {
	if dest.Kind() != reflect.Pointer {
		return false
	}
	if value == nil {
		dest.SetZero()
		return true
	}
	if field.Format != pgx.BinaryFormatCode {
		return false
	}
	var n int64
	switch kind := dest.Type().Elem().Kind(); {
	case kind == reflect.Int32 && field.DataTypeOID == pgtype.DateOID:
		const epoch = 10_957 // 2000-01-01
		if n = int64(int32(binary.BigEndian.Uint32(value))); n == math.MaxInt32 || n == math.MinInt32 {
			return false // infinite
		}
		n += epoch
	case kind == reflect.Int16 && field.DataTypeOID == pgtype.TimeOID:
		const minute = 60_000_000
		if n = int64(binary.BigEndian.Uint64(value)); n%minute != 0 {
			return false
		}
		n /= minute
	default:
		return false
	}
	dest.Set(reflect.New(dest.Type().Elem()))
	dest.Elem().SetInt(n)
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
