package main

import (
	"context"
	"crypto/md5"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"docket/bench/load"
)

// The measured operations. The baselines support some of them.
const (
	list20          = "list, 20 of 100"
	list20Unchanged = "list, 20 of 100, unchanged"
	list100         = "list, 100 of 100"
	// A frontend polls its list without a limit, which is 100.
	list100Unchanged = "list, 100 of 100, unchanged"
	get              = "get"
	create           = "create"
	update           = "update"
	complete         = "complete"
	completeNext     = "complete an occurrence" // which makes the next one
	listDue          = "list, 20 of 100, by due date"
	tags             = "tags"
	stats            = "stats"
)

var baselineOperations = []string{list20, get, create}

// operation is a kind of request, by many users.
type operation struct {
	name     string
	status   int // of its answers
	requests [][]byte

	// once is called before each measurement if a request has its effect only once. It makes that possible again, and each
	// request is then sent once at most. If it is nil, requests are chosen at random.
	once func(context.Context) error
}

func (o operation) target(c *contender) load.Target {
	return load.Target{Addr: c.addr, Requests: o.requests, Status: o.status, Once: o.once != nil}
}

// choose returns the operations with these names.
func choose(all []operation, names ...string) []operation {
	return slices.DeleteFunc(slices.Clone(all), func(o operation) bool { return !slices.Contains(names, o.name) })
}

// Each kind of operation has owners of its own, so that created or updated tasks are not in any list that is measured.
const (
	listing = iota
	getting
	creating
	updating
	recurring
	usages
)

// user is an owner with a token and some of its tasks.
type user struct {
	owner, token string
	tasks        []string
}

// users returns the owners from number first on.
func (e *environment) users(ctx context.Context, url string, first, count int) (all []user, err error) {
	err = onDatabase(ctx, url, func(conn *pgx.Conn) error {
		rows, _ := conn.Query(ctx, `
select owner, array(select id from task where user_id = owner and recurrence_rule is null order by created_at desc limit 8)
from generate_series($1::int, $2::int) n, md5('owner ' || n) owner
order by n`, first, first+count-1)
		all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (u user, err error) {
			err = row.Scan(&u.owner, &u.tasks)
			u.token = e.issuer.Token(u.owner)
			return u, err
		})
		return err
	})
	return all, err
}

// request returns the bytes of a request for the owner's tasks as a frontend in a browser sends it.
func (u user) request(method, path, header, body string) []byte {
	return u.requestTo(method, "/tasks"+path, header, body)
}

// requestTo is like request, for everything that belongs to the owner.
func (u user) requestTo(method, path, header, body string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s /api/%s%s HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nAccept: application/json\r\n"+
		"Origin: http://localhost:3000\r\nAuthorization: Bearer %s\r\n", method, u.owner, path, u.token)
	if body != "" {
		fmt.Fprintf(&b, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	b.WriteString(header + "\r\n" + body)
	return []byte(b.String())
}

const title = "Call the plumber about the tap in the kitchen"

func newTask(title string) string { return fmt.Sprintf(`{"title":%q,"priority":"high"}`, title) }

// operations returns all operations, with entity tags of the contender's.
func (e *environment) operations(ctx context.Context, c *contender) ([]operation, error) {
	var users [usages][]user
	for usage := range users {
		var err error
		if users[usage], err = e.users(ctx, e.url, usage*e.plan.users, e.plan.users); err != nil {
			return nil, err
		}
	}
	all := []operation{
		{name: list20, status: http.StatusOK},
		{name: list20Unchanged, status: http.StatusNotModified},
		{name: list100, status: http.StatusOK},
		{name: list100Unchanged, status: http.StatusNotModified},
		{name: get, status: http.StatusOK},
		{name: create, status: http.StatusCreated},
		{name: update, status: http.StatusOK},
		{name: complete, status: http.StatusOK},
		{name: listDue, status: http.StatusOK},
		{name: stats, status: http.StatusOK},
	}
	add := func(i int, request []byte) { all[i].requests = append(all[i].requests, request) }
	for _, u := range users[listing] {
		for i, query := range []string{"?limit=20", ""} {
			add(2*i, u.request("GET", query, "", ""))
			header, _, err := e.ask(ctx, c, u, "GET", query, "")
			if err != nil {
				return nil, err
			}
			add(2*i+1, u.request("GET", query, "If-None-Match: "+header.Get("ETag")+"\r\n", ""))
		}
		add(8, u.request("GET", "?limit=20&sort=due&order=asc", "", ""))
		add(9, u.requestTo("GET", "/stats", "", ""))
	}
	for _, u := range users[getting] {
		for _, id := range u.tasks {
			add(4, u.request("GET", "/"+id, "", ""))
		}
	}
	for i, u := range users[creating] {
		add(5, u.request("POST", "", "", newTask(fmt.Sprint(title, " ", i))))
	}
	for i, u := range users[updating] {
		for _, id := range u.tasks {
			for _, completed := range []bool{true, false} {
				body := fmt.Sprintf(`{"title":"%s %d","completed":%t}`, title, i, completed)
				add(6, u.request("PATCH", "/"+id, "", body))
			}
			add(7, u.request("PATCH", "/"+id+"/complete", "", ""))
		}
	}
	return append(all, e.completions(users[recurring])), nil
}

// occurrencesSQL creates $2 recurring tasks for each of the owners $1, with ids of their numbers.
const occurrencesSQL = `
insert into task (id, user_id, title, due_date, due_time, time_zone, due_at, recurrence_rule, tags)
select md5(user_id || ' ' || n)::uuid::text, user_id, 'Water the plants ' || n, '2026-01-05', '08:30', 'Europe/Berlin',
       '2026-01-05 07:30Z', 'FREQ=DAILY;COUNT=1000', array['home', 'garden']
from unnest($1::text[]) as user_id, generate_series(1, $2::int) as n`

// mostCompletions is more than the completions of an occurrence that two cores can do in a second.
const mostCompletions = 5000

// completions returns the operation that completes occurrences of the users', each once. So every request makes the next
// occurrence, and none finds an occurrence that is completed already.
func (e *environment) completions(users []user) operation {
	perUser := int((e.plan.warm+e.plan.measure).Seconds()*mostCompletions)/len(users) + 1
	o := operation{name: completeNext, status: http.StatusOK}
	owners := make([]string, len(users))
	for i, u := range users {
		owners[i] = u.owner
	}
	for n := range perUser {
		for _, u := range users { // in turn, so that no two requests of an owner wait for each other
			id := uuid.UUID(md5.Sum(fmt.Appendf(nil, "%s %d", u.owner, n+1)))
			o.requests = append(o.requests, u.request("PATCH", "/"+id.String()+"/complete", "", ""))
		}
	}
	o.once = func(ctx context.Context) error {
		return onDatabase(ctx, e.url, func(conn *pgx.Conn) error {
			if _, err := conn.Exec(ctx, "delete from task where user_id = any($1) and series_id is not null", owners); err != nil {
				return err
			}
			_, err := conn.Exec(ctx, occurrencesSQL, owners, perUser)
			return err
		})
	}
	return o
}

// ask sends one request while nothing is measured, and returns the answer's header and body.
func (e *environment) ask(ctx context.Context, c *contender, u user, method, path, body string) (http.Header, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+c.addr+"/api/"+u.owner+"/tasks"+path, strings.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+u.token)
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
		err = fmt.Errorf("%s %s %s: %s: %s", c.name, method, path, answer.Status, text)
	}
	return answer.Header, text, err
}
