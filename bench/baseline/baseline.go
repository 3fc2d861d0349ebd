// Package baseline is what the service is measured against: handlers as anybody would write them first, with net/http,
// pgx and encoding/json, and nothing else. They verify no token, check no request and count no total.
package baseline

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Task is a task as the contract has it.
type Task struct {
	ID          string    `json:"id"`
	UserID      string    `json:"user_id"`
	Title       string    `json:"title"`
	Description *string   `json:"description"`
	Priority    string    `json:"priority"`
	Completed   bool      `json:"completed"`
	CreatedAt   time.Time `json:"created_at"`
	UpdatedAt   time.Time `json:"updated_at"`
}

type newTask struct {
	Title       string  `json:"title"`
	Description *string `json:"description"`
	Priority    string  `json:"priority"`
	Completed   bool    `json:"completed"`
}

type taskList struct {
	Tasks []Task `json:"tasks"`
	Limit int    `json:"limit"`
}

// work is what the two kinds of handlers do differently.
type work interface {
	list(r *http.Request, owner string, limit int) ([]Task, error)
	get(r *http.Request, owner, id string) (Task, error)
	create(r *http.Request, owner string, n newTask) (Task, error)
}

// Bare gives the handler that sends the plainest statement to do the job.
func Bare(pool *pgxpool.Pool) http.Handler { return routes(plain{pool}) }

func routes(do work) http.Handler {
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
		tasks, err := do.list(r, r.PathValue("user_id"), limit)
		answer(w, http.StatusOK, taskList{Tasks: tasks, Limit: limit}, err)
	})
	mux.HandleFunc("GET /api/{user_id}/tasks/{task_id}", func(w http.ResponseWriter, r *http.Request) {
		task, err := do.get(r, r.PathValue("user_id"), r.PathValue("task_id"))
		answer(w, http.StatusOK, task, err)
	})
	mux.HandleFunc("POST /api/{user_id}/tasks", func(w http.ResponseWriter, r *http.Request) {
		n := newTask{Priority: "medium"}
		if err := json.NewDecoder(r.Body).Decode(&n); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		task, err := do.create(r, r.PathValue("user_id"), n)
		answer(w, http.StatusCreated, task, err)
	})
	return mux
}

func answer(w http.ResponseWriter, status int, body any, err error) {
	if errors.Is(err, pgx.ErrNoRows) {
		http.Error(w, "not found", http.StatusNotFound)
		return
	} else if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a failure means that the client is gone
}

type plain struct{ pool *pgxpool.Pool }

const (
	columns = `id, user_id, title, description, priority, completed, created_at, updated_at`

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

func scan(row pgx.CollectableRow) (t Task, err error) {
	err = row.Scan(&t.ID, &t.UserID, &t.Title, &t.Description, &t.Priority, &t.Completed, &t.CreatedAt, &t.UpdatedAt)
	return t, err
}

func (p plain) list(r *http.Request, owner string, limit int) ([]Task, error) {
	rows, err := p.pool.Query(r.Context(), listSQL, owner, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scan)
}

func (p plain) get(r *http.Request, owner, id string) (Task, error) {
	rows, err := p.pool.Query(r.Context(), getSQL, owner, id)
	if err != nil {
		return Task{}, err
	}
	return pgx.CollectExactlyOneRow(rows, scan)
}

func (p plain) create(r *http.Request, owner string, n newTask) (Task, error) {
	rows, err := p.pool.Query(r.Context(), createSQL, owner, uuid.NewString(), n.Title, n.Description, n.Priority, n.Completed)
	if err != nil {
		return Task{}, err
	}
	return pgx.CollectExactlyOneRow(rows, scan)
}

// Constant gives the handler that answers from memory, with one list or one task: what net/http and encoding/json cost.
func Constant(list, task []byte) http.Handler {
	send := func(w http.ResponseWriter, status int, body []byte) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(status)
		_, _ = w.Write(body) // a failure means that the client is gone
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/{user_id}/tasks", func(w http.ResponseWriter, _ *http.Request) { send(w, http.StatusOK, list) })
	mux.HandleFunc("GET /api/{user_id}/tasks/{task_id}", func(w http.ResponseWriter, _ *http.Request) { send(w, http.StatusOK, task) })
	mux.HandleFunc("POST /api/{user_id}/tasks", func(w http.ResponseWriter, r *http.Request) {
		var n newTask
		if err := json.NewDecoder(r.Body).Decode(&n); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		send(w, http.StatusCreated, task)
	})
	return mux
}

// Conns is the size of the pool, as the service has it.
const Conns = 30

// Pool opens a pool of the service's size.
func Pool(ctx context.Context, databaseURL string) (*pgxpool.Pool, error) {
	c, err := pgxpool.ParseConfig(databaseURL)
	if err != nil {
		return nil, err
	}
	c.MaxConns, c.MinIdleConns = Conns, 10
	return pgxpool.NewWithConfig(ctx, c)
}
