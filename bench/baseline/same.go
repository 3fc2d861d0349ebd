package baseline

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Batch is what the service sends for one request: statements in one round trip.
type Batch []Statement

// Batches are those of the operations, by name: list, get and create.
type Batches map[string]Batch

// Statement is one of them, with its parameters.
type Statement struct {
	SQL  string
	Args []Arg
}

// Arg is a parameter. It is the same for every request when Role is empty.
type Arg struct {
	Role Role
	OID  uint32 // of its type
	Text string // as PostgreSQL writes it
	Null bool
}

// Role says which parameter of a request a statement's parameter is.
type Role string

const (
	Owner Role = "owner"
	ID    Role = "id" // of the task that is asked for
	Title Role = "title"
	Fresh Role = "fresh" // an id that is made for the request
)

// SameSQL gives the handler that sends for every request what the service sends.
func SameSQL(ctx context.Context, pool *pgxpool.Pool, batches Batches) (http.Handler, error) {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	s := same{pool: pool, ready: map[string][]ready{}}
	for name, batch := range batches {
		gives := false
		for _, statement := range batch {
			r, err := prepare(ctx, conn.Conn(), statement)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			gives = gives || r.columns != nil
			s.ready[name] = append(s.ready[name], r)
		}
		if !gives {
			return nil, fmt.Errorf("%s: no statement gives tasks", name)
		}
	}
	return routes(s), nil
}

// ready is a statement whose constant parameters are Go's values already.
type ready struct {
	sql     string
	args    []any    // a Role where the request decides
	columns []string // nil: it gives no tasks
}

func prepare(ctx context.Context, conn *pgx.Conn, s Statement) (ready, error) {
	r := ready{sql: s.SQL}
	description, err := conn.Prepare(ctx, s.SQL, s.SQL)
	if err != nil {
		return r, err
	}
	var columns []string
	for _, field := range description.Fields {
		columns = append(columns, field.Name)
	}
	if slices.Contains(columns, "title") {
		r.columns = columns
	}
	for _, a := range s.Args {
		switch {
		case a.Role != "":
			r.args = append(r.args, a.Role)
		case a.Null:
			r.args = append(r.args, nil)
		default:
			value, err := value(conn.TypeMap(), a)
			if err != nil {
				return r, err
			}
			r.args = append(r.args, value)
		}
	}
	return r, nil
}

func value(types *pgtype.Map, a Arg) (any, error) {
	typ, ok := types.TypeForOID(a.OID)
	if !ok {
		return nil, fmt.Errorf("a parameter has the type %d, which is unknown", a.OID)
	}
	return typ.Codec.DecodeValue(types, a.OID, pgtype.TextFormatCode, []byte(a.Text))
}

// targets are where the columns of a row go. Nothing is made of a column that is none of a task's.
func targets(t *Task, columns []string) []any {
	all := make([]any, len(columns))
	for i, name := range columns {
		switch name {
		case "id":
			all[i] = &t.ID
		case "user_id":
			all[i] = &t.UserID
		case "title":
			all[i] = &t.Title
		case "description":
			all[i] = &t.Description
		case "priority":
			all[i] = &t.Priority
		case "completed":
			all[i] = &t.Completed
		case "created_at":
			all[i] = &t.CreatedAt
		case "updated_at":
			all[i] = &t.UpdatedAt
		}
	}
	return all
}

// request is what the parameters of the statements are taken from.
type request struct{ owner, id, title, fresh string }

func (r request) value(role Role) string {
	switch role {
	case Owner:
		return r.owner
	case ID:
		return r.id
	case Title:
		return r.title
	}
	return r.fresh
}

type same struct {
	pool  *pgxpool.Pool
	ready map[string][]ready
}

func (s same) list(r *http.Request, owner string, limit int) ([]Task, error) {
	tasks, err := s.send(r.Context(), "list", request{owner: owner}) // the limit is that of the statements
	return tasks[:min(limit, len(tasks))], err                       // they ask for one more, to see whether it is there
}

func (s same) get(r *http.Request, owner, id string) (Task, error) {
	return one(s.send(r.Context(), "get", request{owner: owner, id: id}))
}

func (s same) create(r *http.Request, owner string, n newTask) (Task, error) {
	return one(s.send(r.Context(), "create", request{owner: owner, title: n.Title, fresh: uuid.NewString()}))
}

func one(tasks []Task, err error) (Task, error) {
	switch {
	case err != nil:
		return Task{}, err
	case len(tasks) != 1:
		return Task{}, pgx.ErrNoRows
	}
	return tasks[0], nil
}

func (s same) send(ctx context.Context, name string, q request) (tasks []Task, err error) {
	var b pgx.Batch
	for _, statement := range s.ready[name] {
		args := make([]any, len(statement.args))
		for i, a := range statement.args {
			args[i] = a
			if role, ok := a.(Role); ok {
				args[i] = q.value(role)
			}
		}
		queued := b.Queue(statement.sql, args...)
		if statement.columns == nil {
			queued.Exec(func(pgconn.CommandTag) error { return nil })
			continue
		}
		queued.Query(func(rows pgx.Rows) error {
			var t Task
			to := targets(&t, statement.columns)
			for rows.Next() {
				if err := rows.Scan(to...); err != nil {
					return err
				}
				tasks = append(tasks, t)
			}
			return rows.Err()
		})
	}
	return tasks, s.pool.SendBatch(ctx, &b).Close()
}
