package store

import (
	"encoding/binary"
	"math"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Rows are read as they come. It is what pgx's Scan does, without looking for a way to read each value, without a task
// on the heap for each row, and with one allocation for a row's text instead of four: rows were a tenth of a list's cost.

// scanTask reads a row of taskColumns.
func scanTask(row pgx.CollectableRow) (Task, error) {
	if t, ok := rawTask(row, 1); ok {
		t.UserID = string(row.RawValues()[0])
		return t, nil
	}
	var t Task
	err := row.Scan(&t.UserID, &t.ID, &t.Title, &t.Description, &t.Priority, &t.Completed, &t.CreatedAt, &t.UpdatedAt, &t.Revision)
	return t, err
}

// scanListed reads a task, and what stands beside it of the list. A list without tasks is one row without an id.
func (o Owner) scanListed(row pgx.CollectableRow, list *TaskList) (Task, error) {
	values := row.RawValues()
	if values[2] == nil {
		return Task{}, row.Scan(&list.Revision, &list.Total, nil, nil, nil, nil, nil, nil, nil, nil)
	}
	if t, ok := rawTask(row, 2); ok && binaryValues(row, 0, 1) {
		list.Revision, list.Total = integer(values[0]), integer(values[1])
		t.UserID = o.id
		return t, nil
	}
	t := Task{UserID: o.id}
	err := row.Scan(&list.Revision, &list.Total, &t.ID, &t.Title, &t.Description, &t.Priority, &t.Completed, &t.CreatedAt, &t.UpdatedAt, &t.Revision)
	return t, err
}

// rawTask reads id, title, description, priority, completed, created_at, updated_at and rev, which begin at the column
// first. It leaves to Scan what it does not know.
func rawTask(row pgx.CollectableRow, first int) (t Task, ok bool) {
	values := row.RawValues()[first:]
	if !binaryValues(row, first+4, first+5, first+6, first+7) || infinite(values[5]) || infinite(values[6]) {
		return Task{}, false
	}
	id, title := len(values[0]), len(values[0])+len(values[1])
	var text strings.Builder
	text.Grow(title + len(values[2]))
	for _, value := range values[:3] {
		text.Write(value)
	}
	all := text.String()
	t.ID, t.Title = all[:id], all[id:title]
	if values[2] != nil {
		t.Description = new(all[title:])
	}
	t.Priority = priorityOf(values[3])
	t.Completed = values[4][0] != 0
	t.CreatedAt, t.UpdatedAt, t.Revision = moment(values[5]), moment(values[6]), integer(values[7])
	return t, true
}

// binaryValues reports whether values came in PostgreSQL's binary format. In text they come where nothing is prepared,
// see QueryMode.
func binaryValues(row pgx.CollectableRow, columns ...int) bool {
	fields := row.FieldDescriptions()
	for _, i := range columns {
		if fields[i].Format != pgx.BinaryFormatCode {
			return false
		}
	}
	return true
}

func integer(value []byte) int64 { return int64(binary.BigEndian.Uint64(value)) }

// moment is a timestamptz: microseconds since 2000.
func moment(value []byte) time.Time {
	const epoch = 946_684_800_000_000
	return time.UnixMicro(epoch + integer(value))
}

// infinite is a timestamptz that is no time; Scan says so.
func infinite(value []byte) bool {
	n := integer(value)
	return n == math.MaxInt64 || n == math.MinInt64
}

// priorityOf is the text without a copy of it.
func priorityOf(value []byte) string {
	for _, known := range [...]string{"low", "medium", "high"} {
		if string(value) == known {
			return known
		}
	}
	return string(value)
}
