package baseline

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Batches are the statements that the service sends for an operation, in one round trip: list, get and create.
type Batches map[string][]Statement

// Statement is a statement with its parameters as the service sent them.
type Statement struct {
	SQL     string
	Values  [][]byte // nil: null
	Formats []int16
	Roles   []Role // of each parameter
}

// Role is the origin of a parameter's value. For every role but Constant, the value in the request replaces the
// recorded one.
type Role string

// The roles.
const (
	Constant Role = "" // the same for every request
	Owner    Role = "owner"
	ID       Role = "id" // of the requested task
	Title    Role = "title"
	NewID    Role = "new id" // generated for the request
)

func statementName(operation string, i int) string { return fmt.Sprintf("%s_%d", operation, i) }

// prepare prepares all statements on a new connection.
func (b Batches) prepare(ctx context.Context, conn *pgx.Conn) error {
	for operation, statements := range b {
		for i, s := range statements {
			if _, err := conn.Prepare(ctx, statementName(operation, i), s.SQL); err != nil {
				return fmt.Errorf("%s: %w", operation, err)
			}
		}
	}
	return nil
}

// recorded sends the service's own statements.
type recorded struct {
	pool    *pgxpool.Pool
	batches Batches
}

func (r recorded) list(ctx context.Context, owner string, limit int) ([]task, error) {
	tasks, err := r.send(ctx, "list", map[Role]string{Owner: owner})
	return tasks[:min(limit, len(tasks))], err // the statements read one more, to know whether there is a next page
}

func (r recorded) get(ctx context.Context, owner, id string) (task, error) {
	return one(r.send(ctx, "get", map[Role]string{Owner: owner, ID: id}))
}

func (r recorded) create(ctx context.Context, owner string, n newTask) (task, error) {
	return one(r.send(ctx, "create", map[Role]string{Owner: owner, Title: n.Title, NewID: uuid.NewString()}))
}

func one(tasks []task, err error) (task, error) {
	if err == nil && len(tasks) != 1 {
		err = pgx.ErrNoRows
	}
	if err != nil {
		return task{}, err
	}
	return tasks[0], nil
}

func (r recorded) send(ctx context.Context, operation string, request map[Role]string) (tasks []task, err error) {
	conn, err := r.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	var batch pgconn.Batch
	for i, s := range r.batches[operation] {
		values := slices.Clone(s.Values)
		for j, role := range s.Roles {
			if role != Constant {
				values[j] = []byte(request[role]) // the same in both formats
			}
		}
		batch.ExecPrepared(statementName(operation, i), values, s.Formats, []int16{pgx.BinaryFormatCode})
	}
	results := conn.Conn().PgConn().ExecBatch(ctx, &batch)
	defer func() { err = errors.Join(err, results.Close()) }()
	for results.NextResult() {
		t := task{UserID: request[Owner]} // the service does not read it back
		to := targets(&t, results.ResultReader().FieldDescriptions())
		rows := pgx.RowsFromResultReader(conn.Conn().TypeMap(), results.ResultReader())
		for to != nil && rows.Next() { //nolint:forbidigo // the reader closes them
			if err := rows.Scan(to...); err != nil {
				return nil, err
			}
			t.Etag = etag(t.Revision)
			tasks = append(tasks, t)
		}
		rows.Close()
	}
	return tasks, nil
}

// targets returns where to scan a row's columns, nil for those that belong to no task. It returns nil for rows that are
// not tasks.
func targets(t *task, fields []pgconn.FieldDescription) []any {
	all := make([]any, len(fields))
	tasks := false
	for i, f := range fields {
		switch f.Name {
		case "id":
			all[i] = &t.ID
		case "user_id":
			all[i] = &t.UserID
		case "title":
			all[i], tasks = &t.Title, true
		case "description":
			all[i] = &t.Description
		case "priority":
			all[i] = &t.Priority
		case "completed":
			all[i] = &t.Completed
		case "tags":
			all[i] = &t.Tags
		case "due_date":
			all[i] = &t.DueDate
		case "due_time":
			all[i] = &t.DueTime
		case "time_zone":
			all[i] = &t.TimeZone
		case "due_at":
			all[i] = &t.DueAt
		case "recurrence_rule":
			all[i] = &t.RecurrenceRule
		case "recurrence_mode":
			all[i] = &t.RecurrenceMode
		case "series_id":
			all[i] = &t.SeriesID
		case "occurrence_date":
			all[i] = &t.OccurrenceDate
		case "next_task_id":
			all[i] = &t.NextTaskID
		case "completed_at":
			all[i] = &t.CompletedAt
		case "created_at":
			all[i] = &t.CreatedAt
		case "updated_at":
			all[i] = &t.UpdatedAt
		case "rev":
			all[i] = &t.Revision
		}
	}
	if !tasks {
		return nil
	}
	return all
}
