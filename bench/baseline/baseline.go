// Package baseline contains the servers that the service is compared with: handlers for listing, reading and creating
// tasks, written straightforwardly with net/http, pgx and encoding/json. They verify no token, validate nothing,
// isolate no owner and count no total.
package baseline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Conns is the most connections to the database, the service's default.
const Conns = 30

// task has the fields that the service answers with.
type task struct {
	ID             string      `json:"id"`
	UserID         string      `json:"user_id"`
	Title          string      `json:"title"`
	Description    *string     `json:"description"`
	Priority       string      `json:"priority"`
	Completed      bool        `json:"completed"`
	Tags           []string    `json:"tags"`
	DueDate        pgtype.Date `json:"due_date"`
	DueTime        timeOfDay   `json:"due_time"`
	TimeZone       *string     `json:"time_zone"`
	DueAt          *time.Time  `json:"due_at"`
	RecurrenceRule *string     `json:"recurrence_rule"`
	RecurrenceMode string      `json:"recurrence_mode"`
	SeriesID       *string     `json:"series_id"`
	OccurrenceDate pgtype.Date `json:"occurrence_date"`
	NextTaskID     *string     `json:"next_task_id"`
	CompletedAt    *time.Time  `json:"completed_at"`
	CreatedAt      time.Time   `json:"created_at"`
	UpdatedAt      time.Time   `json:"updated_at"`
	Revision       int64       `json:"revision"`
	Etag           string      `json:"etag"` // with the version of the document, which the comparison of answers ignores
}

// timeOfDay is a time of day that may be null, in JSON as HH:MM.
type timeOfDay struct{ pgtype.Time }

func (t timeOfDay) MarshalJSON() ([]byte, error) {
	if !t.Valid {
		return []byte("null"), nil
	}
	minutes := time.Duration(t.Microseconds) * time.Microsecond / time.Minute
	return fmt.Appendf(nil, `"%02d:%02d"`, minutes/60, minutes%60), nil
}

type newTask struct {
	Title       string  `json:"title"`
	Description *string `json:"description"`
	Priority    string  `json:"priority"`
	Completed   bool    `json:"completed"`
}

type taskList struct {
	Tasks []task `json:"tasks"`
	Limit int    `json:"limit"`
}

// store is the part in which the two handlers differ.
type store interface {
	list(ctx context.Context, owner string, limit int) ([]task, error)
	get(ctx context.Context, owner, id string) (task, error)
	create(ctx context.Context, owner string, n newTask) (task, error)
}

// Serve answers on addr until it fails. Without batches it sends one plain statement for a request, else the statements
// of the operation's batch.
func Serve(ctx context.Context, addr, databaseURL string, batches Batches) error {
	c, err := pgxpool.ParseConfig(databaseURL)
	if err != nil {
		return err
	}
	c.MaxConns, c.MinIdleConns = Conns, 10
	if batches != nil {
		c.AfterConnect = batches.prepare
	}
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return err
	}
	defer pool.Close()
	var s store = plain{pool}
	if batches != nil {
		s = recorded{pool, batches}
	}
	return http.ListenAndServe(addr, handler(s))
}

func handler(s store) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/{user_id}/tasks", func(w http.ResponseWriter, r *http.Request) {
		limit := 100
		if text := r.URL.Query().Get("limit"); text != "" {
			var err error
			if limit, err = strconv.Atoi(text); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
		}
		tasks, err := s.list(r.Context(), r.PathValue("user_id"), limit)
		answer(w, http.StatusOK, taskList{Tasks: tasks, Limit: limit}, err)
	})
	mux.HandleFunc("GET /api/{user_id}/tasks/{task_id}", func(w http.ResponseWriter, r *http.Request) {
		t, err := s.get(r.Context(), r.PathValue("user_id"), r.PathValue("task_id"))
		answer(w, http.StatusOK, t, err)
	})
	mux.HandleFunc("POST /api/{user_id}/tasks", func(w http.ResponseWriter, r *http.Request) {
		n := newTask{Priority: "medium"}
		if err := json.NewDecoder(r.Body).Decode(&n); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		t, err := s.create(r.Context(), r.PathValue("user_id"), n)
		answer(w, http.StatusCreated, t, err)
	})
	return mux
}

func answer(w http.ResponseWriter, status int, body any, err error) {
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		http.Error(w, "not found", http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body) // an error means that the client has disconnected
	}
}

type plain struct{ pool *pgxpool.Pool }

const (
	columns = `id, user_id, title, description, priority, completed, tags, due_date, due_time, time_zone, due_at,
  recurrence_rule, recurrence_mode, series_id, occurrence_date, next_task_id, completed_at, created_at, updated_at, rev`

	listSQL = `
select ` + columns + `
from task
where user_id = $1
order by created_at desc, id desc
limit $2`

	getSQL = `
select ` + columns + `
from task
where user_id = $1
  and id = $2`

	createSQL = `
insert into task (user_id, id, title, description, priority, completed)
values ($1, $2, $3, $4, $5, $6)
returning ` + columns
)

func scan(row pgx.CollectableRow) (t task, err error) {
	err = row.Scan(
		&t.ID, &t.UserID, &t.Title, &t.Description, &t.Priority, &t.Completed, &t.Tags, &t.DueDate, &t.DueTime, &t.TimeZone, &t.DueAt,
		&t.RecurrenceRule, &t.RecurrenceMode, &t.SeriesID, &t.OccurrenceDate, &t.NextTaskID, &t.CompletedAt, &t.CreatedAt, &t.UpdatedAt,
		&t.Revision,
	)
	t.Etag = etag(t.Revision)
	return t, err
}

func etag(revision int64) string { return `"0.` + strconv.FormatInt(revision, 10) + `"` }

func (p plain) list(ctx context.Context, owner string, limit int) ([]task, error) {
	rows, _ := p.pool.Query(ctx, listSQL, owner, limit) // CollectRows returns its error
	return pgx.CollectRows(rows, scan)
}

func (p plain) get(ctx context.Context, owner, id string) (task, error) {
	rows, _ := p.pool.Query(ctx, getSQL, owner, id)
	return pgx.CollectExactlyOneRow(rows, scan)
}

func (p plain) create(ctx context.Context, owner string, n newTask) (task, error) {
	rows, _ := p.pool.Query(ctx, createSQL, owner, uuid.NewString(), n.Title, n.Description, n.Priority, n.Completed)
	return pgx.CollectExactlyOneRow(rows, scan)
}
