package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"docket/bench/figure"
	"docket/bench/load"
)

// sample is what one measurement gives. Times on a CPU are for one request.
type sample struct {
	rate          float64 // requests a second
	p50, p95, p99 time.Duration
	server        time.Duration // of the measured process
	database      time.Duration // of all of PostgreSQL's
	generator     time.Duration // of whoever sent the requests
	memory        int64         // the measured process's peak, in bytes
}

// subject is who is measured.
type subject string

const (
	docket   subject = "docket"
	bare     subject = "bare handler"
	same     subject = "bare, same SQL"
	constant subject = "net/http alone"
	database subject = "pgbench, same SQL"
)

var subjects = []subject{docket, bare, same, constant, database}

// cell is what the measurements of all rounds belong to.
type cell struct {
	operation string
	conns     int
	subject   subject
}

// results are the samples of each cell, one a round.
type results map[cell][]sample

// turned turns every other round around, so that nobody is always the first.
func turned[T any](all []T, round int) []T {
	all = slices.Clone(all)
	if round%2 == 1 {
		slices.Reverse(all)
	}
	return all
}

// rounds measures every cell once a round, and what will be compared right after one another.
func (w *world) rounds(ctx context.Context, s servers, operations []operation) (results, error) {
	all := results{}
	for round := range w.plan.rounds {
		fmt.Fprintf(w.log, "round %d of %d\n", round+1, w.plan.rounds)
		if err := w.tidy(ctx); err != nil {
			return nil, err
		}
		for _, o := range operations {
			for _, conns := range w.plan.conns {
				for _, who := range turned(subjects, round) {
					if err := ctx.Err(); err != nil {
						return nil, err
					}
					got, measured, err := w.once(ctx, s, o, conns, who)
					if err != nil {
						return nil, fmt.Errorf("%s by %s: %w", o.name, who, err)
					}
					if measured {
						c := cell{o.name, conns, who}
						all[c] = append(all[c], got)
						fmt.Fprintf(w.log, "  %-32s %3d  %-17s  %7s/s  p50 %8s  p99 %8s  CPU %8s + %8s PostgreSQL, %8s generator\n",
							o.name, conns, who, figure.Count(got.rate), micro(got.p50), micro(got.p99),
							micro(got.server), micro(got.database), micro(got.generator))
					}
				}
			}
		}
	}
	return all, nil
}

func micro(d time.Duration) string { return figure.Micro(figure.Micros(d)) }

// tidy makes the table what it was, and does what PostgreSQL would do by itself some time.
func (w *world) tidy(ctx context.Context) error {
	return onDatabase(ctx, w.url, func(conn *pgx.Conn) error {
		for _, statement := range []string{
			"set session_replication_role = replica",                          // no tombstones
			"delete from task where created_at > now() - interval '20 hours'", // what was loaded is older
			"vacuum (analyze) task",
		} {
			if _, err := conn.Exec(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
}

// once measures a cell; measured is false where the subject does not do that.
func (w *world) once(ctx context.Context, s servers, o operation, conns int, who subject) (got sample, measured bool, err error) {
	if who != docket && o.key == "" {
		return got, false, nil
	}
	if who == database {
		got, err = w.pgbench(ctx, o.key, conns)
	} else {
		got, err = w.hit(s.of(who), o, conns)
	}
	return got, true, err
}

// hit measures a server with as many requests as it can take.
func (w *world) hit(p *process, o operation, conns int) (sample, error) {
	m := meter{world: w, server: p.pid}
	if err := forgetPeak(p.pid); err != nil {
		return sample{}, err
	}
	r, err := load.Closed(o.target(p.addr), conns, load.Span{
		Warm: w.plan.warm, Measure: w.plan.measure, Begin: m.begin, End: m.end,
	})
	if err != nil {
		return sample{}, err
	}
	memory, err := peak(p.pid)
	got := m.sample(r)
	got.memory = memory
	return got, errors.Join(err, m.err)
}

// meter reads how long everybody has been on a CPU, at the beginning and the end of a measurement.
type meter struct {
	world         *world
	server        int
	before, after usage
	err           error
}

type usage struct{ server, database, generator time.Duration }

func (m *meter) read() (u usage) {
	var errs [3]error
	u.server, errs[0] = spent(m.server)
	u.database, errs[1] = familySpent(m.world.postmaster)
	u.generator, errs[2] = spent(os.Getpid())
	m.err = errors.Join(append(errs[:], m.err)...)
	return u
}

func (m *meter) begin() { m.before = m.read() }

func (m *meter) end() { m.after = m.read() }

func (m *meter) sample(r load.Result) sample {
	n := time.Duration(len(r.Latencies))
	return sample{
		rate: r.Rate(),
		p50:  figure.Percentile(r.Latencies, 50), p95: figure.Percentile(r.Latencies, 95), p99: figure.Percentile(r.Latencies, 99),
		server:    (m.after.server - m.before.server) / n,
		database:  (m.after.database - m.before.database) / n,
		generator: (m.after.generator - m.before.generator) / n,
	}
}
