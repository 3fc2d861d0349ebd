package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"docket/bench/baseline"
	"docket/bench/figure"
	"docket/internal/pgbouncer"
)

// way is how the service comes to PostgreSQL, and how it sends statements on it.
type way string

const (
	direct           way = "direct, cache_statement"
	pooledByExec     way = "PgBouncer, exec"
	pooledByDescribe way = "PgBouncer, cache_describe"
)

var ways = []way{direct, pooledByExec, pooledByDescribe}

type pooledCell struct {
	operation string
	way       way
}

// startPooler has PgBouncer at hand for pooled.
func (w *world) startPooler(ctx context.Context) (err error) {
	dir := filepath.Join(w.dir, "pgbouncer")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.Chmod(dir, 0o755)); err != nil {
		return err
	}
	w.pooler, err = pgbouncer.Start(ctx, dir, w.url, baseline.Conns)
	return err
}

// pooled measures the service behind a transaction pooler, in both modes that work there, beside the one without.
func (w *world) pooled(ctx context.Context, service *process, operations []operation) (map[pooledCell][]sample, error) {
	to := map[way]*process{direct: service}
	for way, mode := range map[way]string{pooledByExec: "exec", pooledByDescribe: "cache_describe"} {
		p, err := w.startDocket(ctx, w.pooler.URL, nil, "DB_QUERY_MODE="+mode)
		if err != nil {
			return nil, err
		}
		defer p.stop()
		to[way] = p
	}
	all := map[pooledCell][]sample{}
	for round := range w.plan.rounds {
		fmt.Fprintf(w.log, "behind a pooler, round %d of %d\n", round+1, w.plan.rounds)
		for _, o := range operations {
			if o.key == "" {
				continue
			}
			for _, way := range turned(ways, round) {
				if err := ctx.Err(); err != nil {
					return nil, err
				}
				got, err := w.hit(to[way], o, w.plan.conns[0])
				if err != nil {
					return nil, fmt.Errorf("%s by %s: %w", o.name, way, err)
				}
				c := pooledCell{o.name, way}
				all[c] = append(all[c], got)
			}
		}
	}
	return all, nil
}

func (r report) pooledTable() string {
	var rows [][]string
	for _, o := range r.operations {
		beside := r.pooled[pooledCell{o.name, direct}]
		if len(beside) == 0 {
			continue
		}
		for _, way := range ways {
			samples := r.pooled[pooledCell{o.name, way}]
			rows = append(rows, []string{
				o.name + ": " + string(way), figure.Count(figure.Of(rates(samples)).Median),
				figure.Ratio(rates(samples), rates(beside)).String(),
				figure.Micro(median(samples, serverCPU)), figure.Micro(median(samples, micros(func(s sample) time.Duration { return s.database }))),
			})
		}
	}
	return figure.Table([]string{"operation: way", "requests/s", "/ direct", "its CPU", "PostgreSQL's CPU"}, rows)
}
