package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"docket/bench/load"
)

// growthPlan defines the tables to compare. Each has owners of every size; the remaining owners have as many tasks as
// those of the other measurements.
type growthPlan struct {
	tables  []int // tasks in each
	owners  []int // tasks of the measured owners
	depths  []int // page numbers to read by cursor, in lists that are long enough
	rounds  int
	measure time.Duration // for each request and round
}

func (p growthPlan) dataset(tasks, perOwner int) (d dataset) {
	owners := 1
	for _, tasks := range slices.Backward(p.owners) { // smaller owners are more numerous
		d = append(dataset{{owners, tasks}}, d...)
		owners *= 10
	}
	if rest := (tasks - d.tasks()) / perOwner; rest > 0 {
		d = append(d, group{rest, perOwner})
	}
	return d
}

const (
	pageSize       = 10
	firstPage      = "first page"
	firstPageByDue = "by due date"
	search         = "search"
)

// queries are the measured lists. Those that are scans may read all tasks of their owner.
var queries = []struct {
	name, query string
	scan        bool
}{
	{firstPage, "", false},
	{"pending", "&status=pending", false},
	{"completed", "&status=completed", false},
	{"high priority", "&priority=high", false},
	{"pending, by priority", "&status=pending&sort=priority", false},
	{"by title", "&sort=title", false},
	{"by update", "&sort=updated", false},
	{"by priority", "&sort=priority", false},
	{firstPageByDue, "&sort=due&order=asc", false},
	{"by due date, descending", "&sort=due&order=desc", false},
	{search, "&search=report%207", true},
	{"due after a day", "&due_after=2026-12-01&sort=due&order=asc", true},
	{"due before a day", "&due_before=2026-12-01&sort=due&order=asc", true},
	{"due after an instant", "&due_after=2026-12-01T00:00:00%2B01:00&sort=due&order=asc", true},
	{"due before an instant", "&due_before=2026-12-01T00:00:00%2B01:00&sort=due&order=asc", true},
	{"with a due date", "&due=any", true},
	{"without a due date", "&due=none", true},
	{"with a tag", "&tag=home", true},
	{"with one of two tags", "&tag=home&tag=later", true},
	{"with both of two tags", "&tag=home&tag=work&tag_match=all", true},
}

// scans are the requests that may read all tasks of their owner.
var scans = func() (names []string) {
	for _, q := range queries {
		if q.scan {
			names = append(names, q.name)
		}
	}
	return append(names, tags)
}()

func deepPage(first string, depth int) string {
	name := "page " + count(depth) + " by cursor"
	if first != firstPage {
		name += ", " + first
	}
	return name
}

// growthCell identifies the times of all rounds that belong together.
type growthCell struct {
	request      string
	owner, table int // their tasks, as planned
}

// growth has the median latency of each round, in microseconds.
type growth struct {
	plan     growthPlan
	tables   []int    // tasks in each table, as they are
	requests []string // names in order
	times    map[growthCell][]float64
}

// tableRatio compares the largest table with the smallest.
func (g growth) tableRatio(request string, owner int) spread {
	tables := g.plan.tables
	return ratio(g.times[growthCell{request, owner, tables[len(tables)-1]}], g.times[growthCell{request, owner, tables[0]}])
}

// grow measures the same requests in tables of different sizes, one right after the other.
func (e *environment) grow(ctx context.Context) (growth, error) {
	g := growth{plan: e.plan.growth, times: map[growthCell][]float64{}}
	services := map[int]*contender{} // by table
	operations := map[growthCell]operation{}
	var cells []growthCell // of the first table, in order
	for i, tasks := range g.plan.tables {
		d := g.plan.dataset(tasks, e.plan.perOwner)
		url, err := d.create(ctx, e.postgres, fmt.Sprintf("growth_%d", tasks), e.log)
		if err != nil {
			return g, err
		}
		g.tables = append(g.tables, d.tasks())
		// With one connection, the plans of its statements are made before they are measured.
		c, err := e.start(ctx, docket, e.options.docket, url, "DB_MAX_CONNS=1", "DB_MIN_IDLE_CONNS=1")
		if err != nil {
			return g, err
		}
		defer c.stop()
		services[tasks] = c
		for j, owner := range g.plan.owners {
			all, err := e.growthOperations(ctx, c, url, d[:j].owners(), d[j])
			if err != nil {
				return g, err
			}
			for _, o := range all {
				at := growthCell{o.name, owner, tasks}
				operations[at] = o
				if i == 0 {
					cells = append(cells, at)
				}
				if !slices.Contains(g.requests, o.name) {
					g.requests = append(g.requests, o.name)
				}
			}
		}
	}
	for round := range g.plan.rounds {
		fmt.Fprintf(e.log, "growth, round %d of %d\n", round+1, g.plan.rounds)
		for _, at := range cells {
			for _, at.table = range g.plan.tables {
				to := operations[at].target(services[at.table])
				r, err := load.Closed(to, 1, load.Span{Warm: g.plan.measure / 2, Measure: g.plan.measure})
				if err = errors.Join(err, ctx.Err()); err != nil {
					return g, fmt.Errorf("%s: %w", at.request, err)
				}
				g.times[at] = append(g.times[at], inMicros(percentile(r.Latencies, 50)))
			}
		}
	}
	return g, nil
}

// growthOperations returns the requests to a service for the owners of a group, of which first is the first.
func (e *environment) growthOperations(
	ctx context.Context, c *contender, url string, first int, owners group,
) (all []operation, err error) {
	users, err := e.users(ctx, url, first, owners.owners)
	if err != nil {
		return nil, err
	}
	reader, writers := users[0], users[len(users)/2:] // a single one does both
	for _, q := range queries {
		request := reader.request("GET", fmt.Sprintf("?limit=%d%s", pageSize, q.query), "", "")
		all = append(all, operation{name: q.name, status: http.StatusOK, requests: [][]byte{request}})
		if q.name != firstPage && q.name != firstPageByDue {
			continue
		}
		for _, depth := range e.plan.growth.depths {
			if depth*pageSize > owners.tasks {
				continue
			}
			var before struct {
				Cursor string `json:"next_cursor"`
			}
			path := fmt.Sprintf("?limit=%d&offset=%d%s", pageSize, (depth-2)*pageSize, q.query)
			_, text, err := e.ask(ctx, c, reader, "GET", path, "")
			if err = errors.Join(err, json.Unmarshal(text, &before)); err != nil {
				return nil, err
			}
			path = fmt.Sprintf("?limit=%d%s&cursor=%s", pageSize, q.query, before.Cursor)
			name := deepPage(q.name, depth)
			all = append(all, operation{name: name, status: http.StatusOK, requests: [][]byte{reader.request("GET", path, "", "")}})
		}
	}
	for _, name := range []string{tags, stats} {
		all = append(all, operation{name: name, status: http.StatusOK, requests: [][]byte{reader.requestTo("GET", "/"+name, "", "")}})
	}
	gets, creates, updates := operation{name: get, status: http.StatusOK}, operation{name: create, status: http.StatusCreated},
		operation{name: update, status: http.StatusOK}
	for _, id := range reader.tasks {
		gets.requests = append(gets.requests, reader.request("GET", "/"+id, "", ""))
	}
	for i, u := range writers {
		creates.requests = append(creates.requests, u.request("POST", "", "", newTask(fmt.Sprint(title, " ", i))))
		for _, id := range u.tasks {
			body := fmt.Sprintf(`{"title":"%s %d"}`, title, i)
			updates.requests = append(updates.requests, u.request("PATCH", "/"+id, "", body))
		}
	}
	return append(all, gets, creates, updates), nil
}
