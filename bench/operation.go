package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"docket/bench/load"
)

// operation is a kind of request, and requests of it by many owners. They are the same bytes for every server.
type operation struct {
	name     string // as tables show it
	key      string // of its statements, for the baselines that send them; empty: the baselines do not do it
	status   int
	requests [][]byte
}

// actor is an owner with a token and some of its tasks.
type actor struct {
	owner, token string
	tasks        []string
}

const perActor = 8 // tasks that are read or changed of each

// request writes a request as a frontend in a browser sends it.
func (a actor) request(method, path, header, body string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s /api/%s/tasks%s HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nAccept: application/json\r\n"+
		"Origin: http://localhost:3000\r\nAuthorization: Bearer %s\r\n", method, a.owner, path, a.token)
	if body != "" {
		fmt.Fprintf(&b, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	b.WriteString(header + "\r\n" + body)
	return []byte(b.String())
}

// title is what a new task is called, with a place for what tells tasks apart.
const title = "Call the plumber about the tap in the kitchen"

func newTask(title string) string { return fmt.Sprintf(`{"title":%q,"priority":"high"}`, title) }

// actors gives owners from the first one on.
func (w *world) actors(ctx context.Context, url string, first, count int) ([]actor, error) {
	var all []actor
	err := onDatabase(ctx, url, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, fmt.Sprintf(`
			select owner.id, array(select id from task where user_id = owner.id order by created_at desc limit %d)
			from generate_series(%d, %d) n
			cross join lateral (select md5('owner ' || n) as id) owner
			order by n`, perActor, first, first+count-1))
		if err != nil {
			return err
		}
		var a actor
		_, err = pgx.ForEachRow(rows, []any{&a.owner, &a.tasks}, func() error {
			token, err := w.issuer.token(a.owner)
			all = append(all, actor{a.owner, token, slices.Clone(a.tasks)})
			a.tasks = nil
			return err
		})
		return err
	})
	return all, err
}

// The owners of different operations are not the same: what one writes must not be in the way of what another reads.
const (
	listing = iota
	getting
	creating
	updating
	parts
)

func (w *world) operations(ctx context.Context, service *process) ([]operation, error) {
	var cast [parts][]actor
	for part := range cast {
		var err error
		if cast[part], err = w.actors(ctx, w.url, part*w.plan.actors, w.plan.actors); err != nil {
			return nil, err
		}
	}
	all := []operation{
		{name: "listTasks, 20 of 100", key: "list", status: http.StatusOK},
		{name: "listTasks, 20 of 100, unchanged", status: http.StatusNotModified},
		{name: "listTasks, 100 of 100", status: http.StatusOK},
		{name: "listTasks, 100 of 100, unchanged", status: http.StatusNotModified},
		{name: "getTask", key: "get", status: http.StatusOK},
		{name: "createTask", key: "create", status: http.StatusCreated},
		{name: "updateTask", status: http.StatusOK},
		{name: "completeTask", status: http.StatusOK},
	}
	get, create, update, complete := &all[4], &all[5], &all[6], &all[7]
	for i, query := range []string{"?limit=20", ""} {
		full, unchanged := &all[2*i], &all[2*i+1]
		for _, a := range cast[listing] {
			full.requests = append(full.requests, a.request("GET", query, "", ""))
			tag, err := w.tagOf(ctx, service, a, query)
			if err != nil {
				return nil, err
			}
			unchanged.requests = append(unchanged.requests, a.request("GET", query, "If-None-Match: "+tag+"\r\n", ""))
		}
	}
	for _, a := range cast[getting] {
		for _, id := range a.tasks {
			get.requests = append(get.requests, a.request("GET", "/"+id, "", ""))
		}
	}
	for i, a := range cast[creating] {
		create.requests = append(create.requests, a.request("POST", "", "", newTask(fmt.Sprint(title, " ", i))))
	}
	for i, a := range cast[updating] {
		for _, id := range a.tasks {
			complete.requests = append(complete.requests, a.request("PATCH", "/"+id+"/complete", "", ""))
			for _, completed := range []bool{true, false} {
				body := fmt.Sprintf(`{"title":"%s %d","completed":%t}`, title, i, completed)
				update.requests = append(update.requests, a.request("PATCH", "/"+id, "", body))
			}
		}
	}
	return all, nil
}

func (w *world) tagOf(ctx context.Context, service *process, a actor, query string) (string, error) {
	answer, _, err := w.ask(ctx, service, a, "GET", query, "")
	if err != nil {
		return "", err
	}
	return answer.Header.Get("ETag"), nil
}

// ask sends one request, when nothing is measured.
func (w *world) ask(ctx context.Context, s *process, a actor, method, path, body string) (*http.Response, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+s.addr+"/api/"+a.owner+"/tasks"+path, strings.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+a.token)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, answer.Status, text)
	}
	return answer, text, err
}

// tasksOf reads the tasks of a list's answer.
func tasksOf(body []byte) (ids []string, err error) {
	var list struct{ Tasks []struct{ ID string } }
	err = json.Unmarshal(body, &list)
	for _, t := range list.Tasks {
		ids = append(ids, t.ID)
	}
	return ids, err
}

func (o operation) target(addr string) load.Target {
	return load.Target{Addr: addr, Requests: o.requests, Status: o.status}
}
