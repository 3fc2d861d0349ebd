package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"docket/bench/figure"
	"docket/bench/load"
)

// growthPlan says which tables are compared. Each holds owners of every size, the rest is filled up with owners that
// have as many tasks as those of the rounds.
type growthPlan struct {
	tables  []int // how many tasks are in each
	owners  []int // how many tasks the measured owners have
	depths  []int // which pages are reached by cursor, in the lists that have so many
	rounds  int
	measure time.Duration // of each request in each round
}

const (
	pageSize   = 10
	mostWrites = 100 // of each measurement, so that no owner grows much
	searching  = "search"
)

// shape is a request whose cost might grow.
type shape struct {
	name   string
	target load.Target
	most   int // requests in one measurement
}

// growthCell is what the measurements of all rounds belong to.
type growthCell struct {
	shape        string
	owner, table int // their tasks
}

// growth holds the median time of each cell's requests in microseconds, one a round, in the order of measurement.
type growth struct {
	order []growthCell // of the first table
	rows  []int        // of each table, as they really are
	times map[growthCell][]float64
}

// grow measures the same requests in tables of every size, one right after another.
func (w *world) grow(ctx context.Context) (g growth, err error) {
	g.times = map[growthCell][]float64{}
	var shapes [][]map[string]shape // by table and owner
	var names [][]string            // by owner, in order
	for _, size := range w.plan.growth.tables {
		c := w.growthContents(size)
		url, err := newDatabase(ctx, w.db, fmt.Sprintf("growth_%d", size), c, w.log)
		if err != nil {
			return g, err
		}
		// One connection, so that its plans are settled when they are measured.
		service, err := w.startDocket(ctx, url, nil, "DB_MAX_CONNS=1", "DB_MIN_IDLE_CONNS=1")
		if err != nil {
			return g, err
		}
		defer service.stop()
		g.rows = append(g.rows, c.rows())
		var here []map[string]shape
		names = nil
		first := 0
		for i, tasks := range w.plan.growth.owners {
			owners := c.groups[i].owners
			ordered, err := w.shapes(ctx, service, url, first, owners, tasks)
			if err != nil {
				return g, err
			}
			byName := map[string]shape{}
			var order []string
			for _, s := range ordered {
				byName[s.name] = s
				order = append(order, s.name)
			}
			here, names = append(here, byName), append(names, order)
			first += owners
		}
		shapes = append(shapes, here)
	}
	for round := range w.plan.growth.rounds {
		fmt.Fprintf(w.log, "growth, round %d of %d\n", round+1, w.plan.growth.rounds)
		for i, tasks := range w.plan.growth.owners {
			for _, name := range names[i] {
				for j, size := range w.plan.growth.tables {
					if err := ctx.Err(); err != nil {
						return g, err
					}
					c := growthCell{name, tasks, size}
					s := shapes[j][i][name]
					if round == 0 {
						if j == 0 {
							g.order = append(g.order, c)
						}
						if _, err := load.One(s.target, 10, w.plan.growth.measure); err != nil { // pages are read, plans made
							return g, fmt.Errorf("%s: %w", name, err)
						}
					}
					times, err := load.One(s.target, s.most, w.plan.growth.measure)
					if err != nil {
						return g, fmt.Errorf("%s: %w", name, err)
					}
					slices.Sort(times)
					g.times[c] = append(g.times[c], figure.Micros(figure.Percentile(times, 50)))
				}
			}
		}
	}
	return g, nil
}

// growthContents is a table of that size: the fewer tasks an owner has, the more such owners there are.
func (w *world) growthContents(size int) contents {
	var c contents
	owners := 1
	for _, tasks := range slices.Backward(w.plan.growth.owners) {
		c.groups = append([]group{{owners, tasks}}, c.groups...)
		owners *= 10
	}
	if rest := (size - c.rows()) / w.plan.perOwner; rest > 0 {
		c.groups = append(c.groups, group{rest, w.plan.perOwner})
	}
	c.numbered = c.owners()
	return c
}

// shapes are the requests for owners that have so many tasks.
func (w *world) shapes(ctx context.Context, p *process, url string, first, owners, tasks int) ([]shape, error) {
	all, err := w.actors(ctx, url, first, owners)
	if err != nil {
		return nil, err
	}
	reader, writers := all[0], all[len(all)/2:] // where there is but one, it does both
	var shapes []shape
	add := func(name string, status, most int, requests ...[]byte) {
		shapes = append(shapes, shape{name, load.Target{Addr: p.addr, Requests: requests, Status: status}, most})
	}
	read := func(name, path string) { add(name, http.StatusOK, 1000, reader.request("GET", path, "", "")) }
	page := fmt.Sprintf("?limit=%d", pageSize)
	for _, depth := range w.plan.growth.depths {
		switch {
		case depth == 1:
			read("first page", page)
		case depth*pageSize <= tasks:
			cursor, err := w.cursorTo(ctx, p, reader, page, depth)
			if err != nil {
				return nil, err
			}
			read(deep(depth), page+"&cursor="+cursor)
		}
	}
	for _, query := range []struct{ name, text string }{
		{"pending", "&status=pending"},
		{"completed", "&status=completed"},
		{"high priority", "&priority=high"},
		{"pending, by priority", "&status=pending&sort=priority"},
		{searching, "&search=report%207"},
		{"by title", "&sort=title"},
		{"by update", "&sort=updated"},
		{"by priority", "&sort=priority"},
	} {
		read(query.name, page+query.text)
	}
	var get, create, update [][]byte
	for _, id := range reader.tasks {
		get = append(get, reader.request("GET", "/"+id, "", ""))
	}
	for i, a := range writers {
		create = append(create, a.request("POST", "", "", newTask(fmt.Sprint(title, " ", i))))
		for _, id := range a.tasks {
			update = append(update, a.request("PATCH", "/"+id, "", fmt.Sprintf(`{"title":"%s %d"}`, title, i)))
		}
	}
	add("getTask", http.StatusOK, 1000, get...)
	add("createTask", http.StatusCreated, mostWrites, create...)
	add("updateTask", http.StatusOK, mostWrites, update...)
	return shapes, nil
}

func deep(depth int) string { return "page " + figure.Count(float64(depth)) + " by cursor" }

// cursorTo gives the cursor that leads to a page: that of the page before, which is asked for by its offset.
func (w *world) cursorTo(ctx context.Context, p *process, a actor, page string, depth int) (string, error) {
	_, body, err := w.ask(ctx, p, a, "GET", fmt.Sprintf("%s&offset=%d", page, (depth-2)*pageSize), "")
	if err != nil {
		return "", err
	}
	var list struct {
		NextCursor string `json:"next_cursor"`
	}
	if err := json.Unmarshal(body, &list); err != nil || list.NextCursor == "" {
		return "", fmt.Errorf("no cursor leads to page %d: %v: %s", depth, err, body)
	}
	return list.NextCursor, nil
}
