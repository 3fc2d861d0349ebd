package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// report is everything that was measured.
type report struct {
	plan     plan
	machine  string // a table
	results  results
	halfLoad results
	pooled   results
	startup  startup
	growth   growth
	searches []searchTime
}

// goal is a limit for measured values. If there are several values, the worst one counts.
type goal struct {
	measure string
	limit   float64
	atLeast bool // otherwise at most
	values  []goalValue
}

type goalValue struct {
	where string
	spread
}

func (g goal) passed() bool {
	failed := func(v goalValue) bool { return !(v.median <= g.limit) }
	if g.atLeast {
		failed = func(v goalValue) bool { return !(v.median >= g.limit) }
	}
	return len(g.values) > 0 && !slices.ContainsFunc(g.values, failed)
}

// goals returns the project's goals with what was measured.
func (r report) goals() []goal {
	compare := func(operation, otherOperation, other string, value func(sample) float64) (all []goalValue) {
		for _, n := range r.plan.connections {
			a, b := cell{operation, n, docket}, cell{otherOperation, n, other}
			all = append(all, goalValue{fmt.Sprintf("over %d connections", n), r.results.ratio(a, b, value)})
		}
		return all
	}
	owners, depths := r.growth.plan.owners, r.growth.plan.depths
	largest := owners[len(owners)-1]
	var depth []goalValue
	for i, table := range r.growth.plan.tables {
		for _, first := range []string{firstPage, firstPageByDue} {
			deepest, first := growthCell{deepPage(first, depths[len(depths)-1]), largest, table}, growthCell{first, largest, table}
			where := fmt.Sprintf("%s of %s rows", first.request, count(r.growth.tables[i]))
			depth = append(depth, goalValue{where, ratio(r.growth.times[deepest], r.growth.times[first])})
		}
	}
	var size goalValue
	for _, owner := range owners {
		for _, request := range r.growth.requests {
			// A scan reads all of its owner's tasks, and 100,000 of them do not stay in memory.
			if s := r.growth.tableRatio(request, owner); s.median > size.median && (!slices.Contains(scans, request) || owner != largest) {
				size = goalValue{fmt.Sprintf("%s, owner with %s tasks", request, count(owner)), s}
			}
		}
	}
	return []goal{
		{"CPU of a list / bare handler", 1, false, compare(list20, list20, bare, cpu(server))},
		{"throughput of a list / bare handler", 0.95, true, compare(list20, list20, bare, rate)},
		{
			"CPU of an unchanged list / full list, with PostgreSQL's", 1. / 3, false,
			compare(list100Unchanged, list100, docket, totalCPU),
		},
		{
			"CPU of completing an occurrence / a task without a rule, with PostgreSQL's", 2.5, false,
			compare(completeNext, complete, docket, totalCPU),
		},
		{"deepest page by cursor / first page", 1.3, false, depth},
		{"largest table / smallest, the worst request", 1.3, false, []goalValue{size}},
	}
}

func goalTable(goals []goal) string {
	rows := [][]string{{"goal", "limit", "measured: median (quartiles)", "result"}}
	for _, g := range goals {
		limit, result := "at most ", "PASS"
		if g.atLeast {
			limit = "at least "
		}
		if !g.passed() {
			result = "**FAIL**"
		}
		var values []string
		for _, v := range g.values {
			values = append(values, v.where+": "+v.String())
		}
		rows = append(rows, []string{g.measure, fmt.Sprintf("%s%.2f", limit, g.limit), strings.Join(values, "; "), result})
	}
	return table(rows)
}

// markdown returns the report as docs/performance.md has it.
func (r report) markdown() string {
	var b strings.Builder
	for _, section := range []struct{ title, table string }{
		{"Goals", goalTable(r.goals())},
		{"Requests per second and CPU", r.resultTable()},
		{"Compared with the bare handlers", r.ratioTable()},
		{"At half the load", r.halfLoadTable()},
		{"Behind a pooler", r.pooledTable()},
		{"Start and memory", r.startupTable()},
		{"Growth", r.growthTable()},
		{"Search in long texts", r.searchTable()},
		{"Measured on", r.machine},
	} {
		fmt.Fprintf(&b, "### %s\n\n%s\n", section.title, section.table)
	}
	return b.String()
}

// rowsOf returns the cells of the contenders that were measured over a number of connections, in the order of a table.
func rowsOf(found results, connections int, contenders ...string) (cells []cell) {
	for _, operation := range []string{
		list20, list20Unchanged, list100, list100Unchanged, listDue, stats, get, create, update, complete, completeNext,
	} {
		for _, contender := range contenders {
			if c := (cell{operation, connections, contender}); len(found[c]) > 0 {
				cells = append(cells, c)
			}
		}
	}
	return cells
}

// String names the row of a table.
func (c cell) String() string { return c.operation + ": " + c.contender }

func (r report) resultTable() string {
	head := []string{"operation"}
	for _, n := range r.plan.connections {
		head = append(head, fmt.Sprintf("requests/s over %d", n), "CPU", "PostgreSQL's CPU", "generator's CPU")
	}
	rows := [][]string{append(head, "peak memory")}
	for _, c := range rowsOf(r.results, r.plan.connections[0], docket, bare, sameSQL) {
		row := []string{c.String()}
		var peak float64
		for _, c.connections = range r.plan.connections {
			row = append(row, count(r.results.median(c, rate)))
			for _, process := range []int{server, postgres, generator} {
				row = append(row, micros(r.results.median(c, cpu(process))))
			}
			peak = max(peak, slices.Max(r.results.values(c, memory)))
		}
		rows = append(rows, append(row, mebibytes(peak)))
	}
	return table(rows)
}

func (r report) ratioTable() string {
	head := []string{"docket / other"}
	for _, n := range r.plan.connections {
		head = append(head, fmt.Sprintf("requests/s over %d", n), "CPU", "CPU with PostgreSQL's")
	}
	rows := [][]string{head}
	for _, c := range rowsOf(r.results, r.plan.connections[0], bare, sameSQL) {
		row := []string{c.String()}
		for _, c.connections = range r.plan.connections {
			for _, value := range []func(sample) float64{rate, cpu(server), totalCPU} {
				row = append(row, r.results.ratio(cell{c.operation, c.connections, docket}, c, value).String())
			}
		}
		rows = append(rows, row)
	}
	return table(rows)
}

func (r report) halfLoadTable() string {
	rows := [][]string{{"operation", "requests/s", "p50", "p95", "p99", "generator late, p99"}}
	for _, c := range rowsOf(r.halfLoad, openConnections, docket, sameSQL) {
		row := []string{c.String(), count(r.halfLoad.median(c, rate))}
		for _, value := range []func(sample) float64{
			func(s sample) float64 { return s.p50 }, func(s sample) float64 { return s.p95 },
			func(s sample) float64 { return s.p99 }, func(s sample) float64 { return s.late },
		} {
			row = append(row, micros(r.halfLoad.median(c, value)))
		}
		rows = append(rows, row)
	}
	return table(rows)
}

func (r report) pooledTable() string {
	rows := [][]string{{"operation", "requests/s", "/ direct", "CPU", "pooler's CPU", "PostgreSQL's CPU", "all CPU / direct"}}
	for _, c := range rowsOf(r.pooled, r.plan.connections[0], direct, pooledPrepared, pooledExec, pooledPlain) {
		beside := cell{c.operation, c.connections, direct}
		rows = append(rows, []string{
			c.String(), count(r.pooled.median(c, rate)), r.pooled.ratio(c, beside, rate).String(),
			micros(r.pooled.median(c, cpu(server))), micros(r.pooled.median(c, cpu(pgbouncer))),
			micros(r.pooled.median(c, cpu(postgres))),
			r.pooled.ratio(c, beside, totalCPU).String(),
		})
	}
	return table(rows)
}

func (r report) startupTable() string {
	ready := spreadOf(r.startup.ready)
	return table([][]string{
		{"service", "measured"},
		{
			fmt.Sprintf("from exec to ready, median of %d (quartiles)", len(r.startup.ready)),
			fmt.Sprintf("%.1f ms (%.1f to %.1f)", ready.median, ready.lower, ready.upper),
		},
		{"memory when ready", mebibytes(r.startup.idle)},
		{"size of the binary", mebibytes(r.startup.binary)},
	})
}

func (r report) growthTable() string {
	g := r.growth
	smallest, largest := 0, len(g.tables)-1
	head := []string{"request"}
	for _, owner := range g.plan.owners {
		head = append(head, fmt.Sprintf("owner with %s tasks", count(owner)))
	}
	rows := [][]string{append(head, fmt.Sprintf("%s rows / %s", count(g.tables[largest]), count(g.tables[smallest])))}
	for _, request := range g.requests {
		row := []string{request}
		var ratios []string
		for _, owner := range g.plan.owners {
			time, ratio := "–", "–"
			if times := g.times[growthCell{request, owner, g.plan.tables[largest]}]; len(times) > 0 {
				time, ratio = micros(spreadOf(times).median), fmt.Sprintf("%.2f", g.tableRatio(request, owner).median)
			}
			row, ratios = append(row, time), append(ratios, ratio)
		}
		rows = append(rows, append(row, strings.Join(ratios, ", ")))
	}
	return table(rows)
}

// machine describes in general terms what the measurements were made on.
func (e *environment) machine(ctx context.Context, took time.Duration) (string, error) {
	version, err := exec.CommandContext(ctx, e.options.docket, "version").Output()
	if err != nil {
		return "", err
	}
	var settings []string
	for _, s := range e.plan.settings() {
		settings = append(settings, s[0]+" = "+s[1])
	}
	return table([][]string{
		{"what", "value"},
		{"service", string(bytes.TrimSpace(version))},
		{"machine", fmt.Sprintf("%d cores", runtime.NumCPU())},
		{"PostgreSQL", e.postgres.Version() + ", defaults but for " + strings.Join(settings, ", ")},
		{"poolers", "PgBouncer " + e.pooler.Version.String() + ", and without prepared statements " + e.plainPooler.Version.String()},
		{"data", fmt.Sprintf("%s tasks of %s owners, %s of them for each kind of operation",
			count(e.data.tasks()), count(e.data.owners()), count(e.plan.users))},
		{"rounds", fmt.Sprintf("%d, each measurement %v after %v to warm up", e.plan.rounds, e.plan.measure, e.plan.warm)},
		{"duration", took.Round(time.Second).String()},
	}), nil
}
