package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"docket/bench/load"
)

// floodPlan is a flood of searches by one owner, and the requests of others meanwhile.
type floodPlan struct {
	tasks          int // of the owner, each with 1,000 characters
	owners         int // others, with as many tasks as those of the other measurements
	clients        int // of the owner; each sends the next search when the last one was answered
	reads, creates float64
	rounds         int
	warm, measure  time.Duration // of a quiet part and of a flooded part
}

// A run takes about two minutes, most of it for the data.
var flooded = floodPlan{
	tasks: 50_000, owners: 300, clients: 64, reads: 100, creates: 20,
	rounds: 6, warm: time.Second, measure: 5 * time.Second,
}

// floodGoal is the most that a flood may multiply the p99 of others by.
const floodGoal = 3

// refusedPause is how long a client of the flood waits after a refusal. Retry-After says a second.
const refusedPause = 100 * time.Millisecond

// floodResult has the latencies of the others in each round, in microseconds, quiet and during the flood.
type floodResult struct {
	quiet, flood      map[string]*percentiles // by kind of request
	answered, refused atomic.Int64            // searches
}

type percentiles struct{ p50, p99 []float64 }

const (
	floodReads   = "list or get"
	floodCreates = "create"
)

// reportFlood measures a flood and prints the report.
func (e *environment) reportFlood(ctx context.Context, o options, stdout io.Writer) error {
	r, err := e.flood(ctx, flooded)
	if err != nil {
		return err
	}
	fmt.Fprint(stdout, r.markdown())
	if o.strict && slices.ContainsFunc(r.goals(), func(g goal) bool { return !g.passed() }) {
		return errors.New("a goal is not met")
	}
	return nil
}

// flood measures the requests of other owners, quiet and while one owner floods the service with searches, in turns.
func (e *environment) flood(ctx context.Context, p floodPlan) (*floodResult, error) {
	r := &floodResult{quiet: map[string]*percentiles{}, flood: map[string]*percentiles{}}
	url, err := dataset{{1, p.tasks}, {p.owners, e.plan.perOwner}}.create(ctx, e.postgres, "flood", e.log)
	if err != nil {
		return r, err
	}
	if err := execute(ctx, url, "set session_replication_role = replica",
		"update task set description = left(repeat('Quarterly figures ', 200), 1000) where user_id = md5('owner 0')",
		"vacuum full analyze task"); err != nil {
		return r, err
	}
	c, err := e.start(ctx, docket, e.options.docket, url)
	if err != nil {
		return r, err
	}
	defer c.stop()
	users, err := e.users(ctx, url, 0, p.owners+1)
	if err != nil {
		return r, err
	}
	others := map[string]load.Target{
		floodReads: {Addr: c.addr, Status: http.StatusOK}, floodCreates: {Addr: c.addr, Status: http.StatusCreated},
	}
	add := func(kind string, request []byte) {
		t := others[kind]
		t.Requests = append(t.Requests, request)
		others[kind] = t
	}
	for i, u := range users[1:] {
		add(floodReads, u.request("GET", "?limit=20", "", ""))
		add(floodReads, u.request("GET", "/"+u.tasks[0], "", ""))
		add(floodCreates, u.request("POST", "", "", newTask(fmt.Sprint(title, " ", i))))
	}
	deadline, limited := ctx.Deadline()
	for round := range p.rounds {
		if round > 0 && limited && time.Until(deadline) < 3*(p.warm+p.measure) {
			break // the rounds so far are a result, too
		}
		fmt.Fprintf(e.log, "round %d of %d\n", round+1, p.rounds)
		if err := p.measureOthers(others, r.quiet); err != nil {
			return r, err
		}
		stop := p.search(ctx, c, users[0], r)
		err := p.measureOthers(others, r.flood)
		stop()
		if err = errors.Join(err, ctx.Err()); err != nil {
			return r, err
		}
	}
	return r, nil
}

// measureOthers sends the requests of other owners at a fixed rate, and adds their percentiles.
func (p floodPlan) measureOthers(others map[string]load.Target, to map[string]*percentiles) error {
	var all sync.WaitGroup
	var mu sync.Mutex
	var failed error
	for kind, rate := range map[string]float64{floodReads: p.reads, floodCreates: p.creates} {
		all.Go(func() {
			got, err := load.Open(others[kind], openConnections, rate, load.Span{Warm: p.warm, Measure: p.measure})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("%s: %w", kind, err))
				return
			}
			if to[kind] == nil {
				to[kind] = &percentiles{}
			}
			to[kind].p50 = append(to[kind].p50, inMicros(percentile(got.Latencies, 50)))
			to[kind].p99 = append(to[kind].p99, inMicros(percentile(got.Latencies, 99)))
		})
	}
	all.Wait()
	return failed
}

// search sends searches until stop is called, which waits for the clients to end.
func (p floodPlan) search(ctx context.Context, c *contender, u user, r *floodResult) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	transport := &http.Transport{MaxIdleConnsPerHost: p.clients}
	var clients sync.WaitGroup
	for range p.clients {
		clients.Go(func() {
			for ctx.Err() == nil {
				switch status := searchOnce(ctx, transport, c, u); status {
				case 0: // canceled
				case http.StatusOK:
					r.answered.Add(1)
				default:
					r.refused.Add(1)
					select {
					case <-time.After(refusedPause):
					case <-ctx.Done():
					}
				}
			}
		})
	}
	return func() {
		cancel()
		clients.Wait()
		transport.CloseIdleConnections()
	}
}

// searchOnce sends a search that finds nothing, and returns the status of its answer, or 0 if there was none.
func searchOnce(ctx context.Context, transport *http.Transport, c *contender, u user) int {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.addr+"/api/"+u.owner+"/tasks?search=nowhere", nil)
	if err != nil {
		return 0
	}
	r.Header.Set("Authorization", "Bearer "+u.token)
	answer, err := transport.RoundTrip(r)
	if err != nil {
		return 0
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, answer.Body) // a part is as good
	return answer.StatusCode
}

func (r *floodResult) goals() (all []goal) {
	for _, kind := range []string{floodReads, floodCreates} {
		all = append(all, goal{
			measure: "p99 of other owners during a flood of searches / quiet, " + kind, limit: floodGoal,
			values: []goalValue{{"one owner with 50,000 tasks searches", ratio(r.flood[kind].p99, r.quiet[kind].p99)}},
		})
	}
	return all
}

// markdown returns the report.
func (r *floodResult) markdown() string {
	rows := [][]string{{"other owners", "quiet p50", "flood p50", "ratio", "quiet p99", "flood p99", "ratio"}}
	for _, kind := range []string{floodReads, floodCreates} {
		q, f := r.quiet[kind], r.flood[kind]
		rows = append(rows, []string{
			kind,
			micros(spreadOf(q.p50).median), micros(spreadOf(f.p50).median), ratio(f.p50, q.p50).String(),
			micros(spreadOf(q.p99).median), micros(spreadOf(f.p99).median), ratio(f.p99, q.p99).String(),
		})
	}
	var b strings.Builder
	b.WriteString(table(rows))
	fmt.Fprintf(&b, "\nsearches: %s answered, %s refused\n", count(int(r.answered.Load())), count(int(r.refused.Load())))
	for _, g := range r.goals() {
		verdict := "passed"
		if !g.passed() {
			verdict = "FAIL"
		}
		fmt.Fprintf(&b, "%s: %s, at most %.1f: %s\n", g.measure, g.values[0].spread, g.limit, verdict)
	}
	return b.String()
}
