package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"docket/bench/figure"
)

// target is something that we want to be so. Where it is measured in several ways, the worst counts.
type target struct {
	measure  string
	limit    float64
	large    bool   // the measured value must be at least the limit, and not at most
	unit     string // behind the limit
	measured []measured
}

type measured struct {
	where  string
	spread figure.Spread
}

func (t target) met() bool {
	if len(t.measured) == 0 {
		return false
	}
	var spreads []figure.Spread
	for _, m := range t.measured {
		spreads = append(spreads, m.spread)
	}
	value := worst(spreads, t.large)
	if t.large {
		return value >= t.limit
	}
	return value <= t.limit
}

func missed(targets []target) (n int) {
	for _, t := range targets {
		if !t.met() {
			n++
		}
	}
	return n
}

func targetTable(targets []target) string {
	var rows [][]string
	for _, t := range targets {
		bound := "at most"
		if t.large {
			bound = "at least"
		}
		var all []string
		for _, m := range t.measured {
			all = append(all, strings.TrimSpace(m.where+" "+m.spread.String()))
		}
		verdict := "met"
		if !t.met() {
			verdict = "**NOT met**"
		}
		limit := strings.TrimSpace(strconv.FormatFloat(t.limit, 'f', -1, 64) + " " + t.unit)
		rows = append(rows, []string{t.measure, bound + " " + limit, strings.Join(all, "; "), verdict})
	}
	return figure.Table([]string{"measure", "must be", "measured: median (least to most)", "so"}, rows)
}

// targets are those of the project, with what was measured.
func (r report) targets() []target {
	rate := func(s sample) float64 { return s.rate }
	list := r.operations[0].name
	compare := func(value func(sample) float64, who subject, operations ...string) (all []measured) {
		for _, o := range operations {
			for _, conns := range r.plan.conns {
				where := fmt.Sprintf("over %d", conns)
				if len(operations) > 1 {
					where = o + " " + where
				}
				all = append(all, measured{where, r.ratio(cell{o, conns, docket}, cell{o, conns, who}, value)})
			}
		}
		return all
	}
	// A frontend that polls asks for its list without a limit, which is 100.
	polled, notModified := r.operations[2].name, r.operations[3].name
	var unchanged, steady []measured
	for _, conns := range r.plan.conns {
		unchanged = append(unchanged, measured{
			fmt.Sprintf("over %d", conns),
			r.ratio(cell{notModified, conns, docket}, cell{polled, conns, docket}, allCPU),
		})
	}
	for _, o := range r.operations {
		if s := r.steady[steadyCell{o.name, docket}]; s != nil {
			steady = append(steady, measured{o.name, figure.Ratio(s.p99, s.p50)})
		}
	}
	ready := r.footprint.spread()
	one := func(v float64) []measured { return []measured{{"", figure.Of([]float64{v})}} }
	return []target{
		{measure: "CPU of listTasks (20 of 100), everything on / bare handler", limit: 1, measured: compare(serverCPU, bare, list)},
		{measure: "throughput of listTasks, everything on / bare handler", limit: 0.95, large: true, measured: compare(rate, bare, list)},
		{
			measure: "throughput of getTask and createTask / bare handler doing the same SQL", limit: 0.9, large: true,
			measured: compare(rate, same, "getTask", "createTask"),
		},
		{
			measure: "throughput of listTasks / pgbench with the same statements", limit: 0.4, large: true,
			measured: compare(rate, database, list),
		},
		{measure: "unchanged list (of 100) by If-None-Match / full list, CPU of service and database", limit: 0.33, measured: unchanged},
		{measure: "p99 at half the saturating load / p50", limit: 10, measured: steady},
		{measure: "cursor, deepest page / first page", limit: 1.3, measured: r.deepest()},
		{measure: "largest table / smallest, every request but search: the worst", limit: 1.3, measured: r.widest(false)},
		{measure: "largest table / smallest, search: the worst", limit: 1.3, measured: r.widest(true)},
		{
			measure: "ready after exec", limit: 150, unit: "ms",
			measured: []measured{{"", figure.Spread{Median: ready.Median / 1e6, Min: ready.Min / 1e6, Max: ready.Max / 1e6}}},
		},
		{measure: fmt.Sprintf("memory over %d connections", r.most()), limit: 64, unit: "MiB", measured: one(r.peak() / (1 << 20))},
		{measure: "static binary", limit: 25, unit: "MiB", measured: one(float64(r.footprint.binary) / (1 << 20))},
	}
}

// deepest compares the deepest page with the first one, in each table.
func (r report) deepest() (all []measured) {
	owner, depth := slices.Max(r.plan.growth.owners), slices.Max(r.plan.growth.depths)
	for i, table := range r.plan.growth.tables {
		all = append(all, measured{
			figure.Count(float64(r.growth.rows[i])) + " rows",
			figure.Ratio(
				r.growth.times[growthCell{deep(depth), owner, table}],
				r.growth.times[growthCell{"first page", owner, table}],
			),
		})
	}
	return all
}

// widest is the request that the table's growth hurts most: of all that searches, or of all that does not.
func (r report) widest(searches bool) []measured {
	var most measured
	for _, c := range r.growth.order {
		if s := r.growth.tables(c, r.plan.growth.tables); s.Median > most.spread.Median && (c.shape == searching) == searches {
			most = measured{figure.Count(float64(c.owner)) + " tasks, " + c.shape, s}
		}
	}
	return []measured{most}
}
