package main

import (
	"context"
	"fmt"
	"time"

	"docket/bench/figure"
	"docket/bench/load"
)

// steadyConns are enough that a request of an open run hardly ever waits for a connection.
const steadyConns = 64

// steady is what users see of a service that is half busy.
type steady struct {
	rate          float64
	p50, p95, p99 []float64 // in microseconds, of each round
	late          []float64 // the generator's own delay, its 99th percentile
}

// steadyCell is what the measurements of all rounds at half the load belong to.
type steadyCell struct {
	operation string
	subject   subject
}

// steadily sends half of what the service could take, at a fixed rate. The baselines get as much: what the machine does
// to a request that comes at a bad moment, it does to theirs.
func (w *world) steadily(ctx context.Context, s servers, operations []operation, all results) (map[steadyCell]*steady, error) {
	found := map[steadyCell]*steady{}
	for round := range w.plan.rounds {
		fmt.Fprintf(w.log, "half the load, round %d of %d\n", round+1, w.plan.rounds)
		for _, o := range operations {
			if o.key == "" {
				continue
			}
			rate := figure.Of(rates(all[cell{o.name, w.plan.conns[0], docket}])).Median / 2
			for _, who := range turned([]subject{docket, same, constant}, round) {
				if err := ctx.Err(); err != nil {
					return nil, err
				}
				r, err := load.Open(o.target(s.of(who).addr), steadyConns, rate, load.Span{Warm: w.plan.warm, Measure: w.plan.measure})
				if err != nil {
					return nil, fmt.Errorf("%s by %s at half the load: %w", o.name, who, err)
				}
				c := steadyCell{o.name, who}
				if found[c] == nil {
					found[c] = &steady{rate: rate}
				}
				found[c].add(r)
			}
		}
	}
	return found, nil
}

func (s *steady) add(r load.Result) {
	at := func(sorted []time.Duration, p float64) float64 { return figure.Micros(figure.Percentile(sorted, p)) }
	s.p50 = append(s.p50, at(r.Latencies, 50))
	s.p95 = append(s.p95, at(r.Latencies, 95))
	s.p99 = append(s.p99, at(r.Latencies, 99))
	s.late = append(s.late, at(r.Late, 99))
}

func rates(samples []sample) []float64 {
	return each(samples, func(s sample) float64 { return s.rate })
}

func each(samples []sample, value func(sample) float64) []float64 {
	all := make([]float64, len(samples))
	for i, s := range samples {
		all[i] = value(s)
	}
	return all
}
