package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"docket/bench/load"
)

// Names of the contenders, as tables show them.
const (
	docket  = "docket"
	bare    = "bare handler"
	sameSQL = "bare handler, same SQL"
)

// sample is one measurement of an operation. Times are in microseconds.
type sample struct {
	rate                float64            // requests per second
	cpu                 [processes]float64 // for one request
	memory              float64            // peak of the server, in bytes
	p50, p95, p99, late float64            // latencies, and how late requests were sent; only at a fixed rate
}

// The processes whose CPU time is measured.
const (
	server = iota
	pgbouncer
	postgres
	generator
	processes
)

// The values by which samples are compared.
func rate(s sample) float64     { return s.rate }
func memory(s sample) float64   { return s.memory }
func totalCPU(s sample) float64 { return s.cpu[server] + s.cpu[pgbouncer] + s.cpu[postgres] }
func cpu(process int) func(sample) float64 {
	return func(s sample) float64 { return s.cpu[process] }
}

// cell identifies the samples of all rounds that belong together.
type cell struct {
	operation   string
	connections int
	contender   string
}

// results has one sample for each round.
type results map[cell][]sample

func (r results) values(c cell, value func(sample) float64) []float64 {
	all := make([]float64, len(r[c]))
	for i, s := range r[c] {
		all[i] = value(s)
	}
	return all
}

func (r results) median(c cell, value func(sample) float64) float64 {
	return spreadOf(r.values(c, value)).median
}

func (r results) ratio(a, b cell, value func(sample) float64) spread {
	return ratio(r.values(a, value), r.values(b, value))
}

// inTurns measures all contenders in each round, one right after the other for each operation of the first. Every other
// round has the reverse order, so that none is always the first. The number of connections goes to measure.
func (e *environment) inTurns(
	ctx context.Context, title string, all contenders, connections []int,
	measure func(*contender, operation, int) (sample, error),
) (results, error) {
	found := results{}
	for round := range e.plan.rounds {
		fmt.Fprintf(e.log, "%s, round %d of %d\n", title, round+1, e.plan.rounds)
		if err := e.tidy(ctx); err != nil {
			return nil, err
		}
		for _, first := range all[0].operations {
			for _, n := range connections {
				for _, c := range inOrder(all, round) {
					for _, o := range choose(c.operations, first.name) { // skips operations that it does not support
						if o.once != nil {
							if err := o.once(ctx); err != nil {
								return nil, fmt.Errorf("%s: %w", o.name, err)
							}
						}
						s, err := measure(c, o, n)
						if err = errors.Join(err, ctx.Err()); err != nil {
							return nil, fmt.Errorf("%s, %s: %w", o.name, c.name, err)
						}
						at := cell{o.name, n, c.name}
						found[at] = append(found[at], s)
						fmt.Fprintf(e.log, "  %-28s %3d  %-24s %8s/s, CPU %9s\n", o.name, n, c.name, count(s.rate), micros(totalCPU(s)))
					}
				}
			}
		}
	}
	return found, nil
}

func inOrder(all contenders, round int) contenders {
	all = slices.Clone(all)
	if round%2 == 1 {
		slices.Reverse(all)
	}
	return all
}

// tidy deletes the created tasks and does the work of autovacuum.
func (e *environment) tidy(ctx context.Context) error {
	return execute(ctx, e.url,
		"set session_replication_role = replica", // no tombstones
		// The loaded rows are older. With session_replication_role, no trigger deletes the rows of their tags.
		`with gone as (delete from task where created_at > now() - interval '20 hours' returning user_id, id)
delete from task_tag using gone where task_tag.user_id = gone.user_id and task_id = id`,
		"vacuum (analyze) task", "vacuum (analyze) task_tag", "vacuum (analyze) task_summary",
	)
}

// closed sends as many requests as the contender can answer.
func (e *environment) closed(c *contender, o operation, connections int) (s sample, err error) {
	if err := resetPeak(c.pid); err != nil {
		return s, err
	}
	var before, after [processes]time.Duration
	var err1, err2, err3 error
	r, err := load.Closed(o.target(c), connections, load.Span{
		Warm: e.plan.warm, Measure: e.plan.measure,
		Begin: func() { before, err1 = e.cpuTimes(c) }, End: func() { after, err2 = e.cpuTimes(c) },
	})
	s.rate = r.Rate()
	for p := range processes {
		s.cpu[p] = inMicros(after[p]-before[p]) / float64(len(r.Latencies))
	}
	s.memory, err3 = peakMemory(c.pid)
	return s, errors.Join(err, err1, err2, err3)
}

// cpuTimes returns how long the processes that take part in a measurement have been on a CPU.
func (e *environment) cpuTimes(c *contender) (used [processes]time.Duration, err error) {
	var errs [processes]error
	used[server], errs[server] = cpuTime(c.pid)
	used[postgres], errs[postgres] = treeCPUTime(e.postmaster)
	used[generator], errs[generator] = cpuTime(os.Getpid())
	if c.pooler != 0 {
		used[pgbouncer], errs[pgbouncer] = treeCPUTime(c.pooler)
	}
	return used, errors.Join(errs[:]...)
}

// openConnections is enough that a request at a fixed rate hardly ever waits for a connection.
const openConnections = 64

// atHalfLoad sends requests to the contenders at half the rate that the service can answer.
func (e *environment) atHalfLoad(ctx context.Context, all contenders, most results) (results, error) {
	return e.inTurns(ctx, "half the load", all, []int{openConnections}, func(c *contender, o operation, n int) (sample, error) {
		rate := most.median(cell{o.name, e.plan.connections[0], docket}, rate) / 2
		r, err := load.Open(o.target(c), n, rate, load.Span{Warm: e.plan.warm, Measure: e.plan.measure})
		at := func(sorted []time.Duration, p float64) float64 { return inMicros(percentile(sorted, p)) }
		return sample{
			rate: rate, p50: at(r.Latencies, 50), p95: at(r.Latencies, 95), p99: at(r.Latencies, 99), late: at(r.Late, 99),
		}, err
	})
}

// startup is the time and memory that the service needs before it has answered a request.
type startup struct {
	ready        []float64 // from exec to ready, in milliseconds
	idle, binary float64   // memory when ready and size of the binary, in bytes
}

func (e *environment) startup(ctx context.Context) (s startup, err error) {
	fmt.Fprintf(e.log, "starting the service %d times\n", e.plan.starts)
	for range e.plan.starts {
		began := time.Now()
		c, err := e.start(ctx, docket, e.options.docket, e.url)
		if err != nil {
			return s, err
		}
		s.ready = append(s.ready, time.Since(began).Seconds()*1e3)
		s.idle, err = peakMemory(c.pid)
		c.stop()
		if err != nil {
			return s, err
		}
	}
	info, err := os.Stat(e.options.docket)
	if err != nil {
		return s, err
	}
	s.binary = float64(info.Size())
	return s, nil
}
