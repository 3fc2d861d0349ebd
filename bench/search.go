package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"docket/bench/load"
)

// searchTime is the median latency of a search that finds nothing, in each round: the most that a search reads.
type searchTime struct {
	texts  string
	micros []float64
}

// longTextsSQL gives every task a description of 1,000 characters. Triggers would take longer and change nothing here.
const longTextsSQL = `
set session_replication_role = replica;
update task set description = left(repeat('%s', 200), 1000)`

// searches measures searches of one owner whose tasks have long texts.
func (e *environment) searches(ctx context.Context) (all []searchTime, err error) {
	for i, texts := range []struct{ name, word string }{
		{"ASCII", "Quarterly figures "}, {"half of the words with umlauts", "Übersicht der Umsätze "}, {"Greek", "Τριμηνιαία στοιχεία "},
	} {
		url, err := dataset{{1, e.plan.searched}}.create(ctx, e.postgres, fmt.Sprint("search_", i), e.log)
		if err != nil {
			return nil, err
		}
		if err := execute(ctx, url, fmt.Sprintf(longTextsSQL, texts.word), "vacuum full analyze task"); err != nil {
			return nil, err
		}
		times, err := e.search(ctx, url)
		if err != nil {
			return nil, err
		}
		all = append(all, searchTime{texts.name, times})
	}
	return all, nil
}

// search returns the median latency of each round in a database with one owner.
func (e *environment) search(ctx context.Context, url string) (times []float64, err error) {
	c, err := e.start(ctx, docket, e.options.docket, url)
	if err != nil {
		return nil, err
	}
	defer c.stop()
	owners, err := e.users(ctx, url, 0, 1)
	if err != nil {
		return nil, err
	}
	o := operation{name: search, status: http.StatusOK, requests: [][]byte{owners[0].request("GET", "?search=nowhere", "", "")}}
	for range e.plan.rounds {
		r, err := load.Closed(o.target(c), 1, load.Span{Warm: e.plan.warm, Measure: e.plan.measure})
		if err = errors.Join(err, ctx.Err()); err != nil {
			return nil, err
		}
		times = append(times, inMicros(percentile(r.Latencies, 50)))
	}
	return times, nil
}

func (r report) searchTable() string {
	rows := [][]string{{"search that finds nothing", "median"}}
	for _, s := range r.searches {
		name := fmt.Sprintf("%s tasks with 1,000 characters, %s", count(r.plan.searched), s.texts)
		rows = append(rows, []string{name, micros(spreadOf(s.micros).median)})
	}
	return table(rows)
}
