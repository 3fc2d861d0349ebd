package main

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"docket/bench/figure"
)

// report is everything that was measured.
type report struct {
	plan        plan
	machine     string
	operations  []operation
	results     results
	allocations map[cell]allocation
	steady      map[steadyCell]*steady
	pooled      map[pooledCell][]sample
	clients     []client
	footprint   footprint
	growth      growth
}

// machine says what the figures were measured on, in general terms.
func (w *world) machine(ctx context.Context, took time.Duration) (string, error) {
	memory, err := os.ReadFile(proc + "/meminfo")
	if err != nil {
		return "", err
	}
	kilobytes, err := strconv.ParseFloat(strings.Fields(string(memory))[1], 64) // MemTotal: … kB
	if err != nil {
		return "", err
	}
	version, err := exec.CommandContext(ctx, w.options.docket, "version").Output()
	if err != nil {
		return "", err
	}
	pgbench, err := exec.CommandContext(ctx, w.pgbenchPath, "--version").Output()
	if err != nil {
		return "", err
	}
	var settings []string
	for _, s := range w.plan.settings() {
		settings = append(settings, s[0]+" = "+s[1])
	}
	return figure.Table([]string{"what", "value"}, [][]string{
		{"measured", string(bytes.TrimSpace(version))},
		{"machine", fmt.Sprintf("%d cores, %.0f GiB of memory, shared by all that takes part", runtime.NumCPU(), kilobytes/(1<<20))},
		{"PostgreSQL", w.db.Version() + ", its own settings but for " + strings.Join(settings, ", ")},
		{"pgbench", strings.Fields(string(pgbench))[2]},
		{"tables", fmt.Sprintf("%s tasks of %s owners, %s of them in each operation",
			figure.Count(float64(w.contents.rows())), figure.Count(float64(w.contents.owners())), figure.Count(float64(w.plan.actors)))},
		{"rounds", fmt.Sprintf("%d, each measurement %v after %v to warm up", w.plan.rounds, w.plan.measure, w.plan.warm)},
		{"time of it all", took.Round(time.Second).String()},
	}), nil
}

// markdown is the report as it stands in docs/performance.md.
func (r report) markdown(targets []target) string {
	var b strings.Builder
	section := func(title, table string) { fmt.Fprintf(&b, "\n### %s\n\n%s", title, table) }
	b.WriteString("### Measured on\n\n" + r.machine)
	section("Targets", targetTable(targets))
	for _, conns := range r.plan.conns {
		section(fmt.Sprintf("Over %d connections", conns), r.resultTable(conns))
	}
	section("Compared with the baselines", r.ratioTable())
	section("Allocations of one request", r.allocationTable())
	section("At half the load", r.steadyTable())
	section("Behind a pooler", r.pooledTable())
	section("The generator", r.generatorTable())
	section("Start and footprint", r.footprintTable())
	section("Growth with the table", r.growthTable())
	section("Growth with the owner", r.ownerTable())
	return b.String()
}

func median(samples []sample, value func(sample) float64) float64 {
	return figure.Of(each(samples, value)).Median
}

func micros(value func(sample) time.Duration) func(sample) float64 {
	return func(s sample) float64 { return figure.Micros(value(s)) }
}

func serverCPU(s sample) float64 { return figure.Micros(s.server) }

func allCPU(s sample) float64 { return figure.Micros(s.server + s.database) }

func (r report) resultTable(conns int) string {
	var rows [][]string
	for _, o := range r.operations {
		for _, who := range subjects {
			samples := r.results[cell{o.name, conns, who}]
			if len(samples) == 0 {
				continue
			}
			row := []string{o.name + ": " + string(who), figure.Count(median(samples, func(s sample) float64 { return s.rate }))}
			for _, value := range []func(sample) time.Duration{
				func(s sample) time.Duration { return s.p50 },
				func(s sample) time.Duration { return s.p95 },
				func(s sample) time.Duration { return s.p99 },
				func(s sample) time.Duration { return s.server },
				func(s sample) time.Duration { return s.database },
				func(s sample) time.Duration { return s.generator },
			} {
				row = append(row, figure.Micro(median(samples, micros(value))))
			}
			memory := figure.Of(each(samples, func(s sample) float64 { return float64(s.memory) })).Max
			rows = append(rows, append(row, mebibytes(memory)))
		}
	}
	return figure.Table([]string{
		"operation: who", "requests/s", "p50", "p95", "p99", "its CPU", "PostgreSQL's CPU", "generator's CPU", "memory, peak",
	}, rows)
}

func mebibytes(n float64) string {
	if n == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f MiB", n/(1<<20))
}

// ratio compares two cells by what value gives.
func (r report) ratio(a, b cell, value func(sample) float64) figure.Spread {
	return figure.Ratio(each(r.results[a], value), each(r.results[b], value))
}

func (r report) ratioTable() string {
	var rows [][]string
	for _, o := range r.operations {
		for _, conns := range r.plan.conns {
			for _, who := range subjects[1:] {
				ours, theirs := cell{o.name, conns, docket}, cell{o.name, conns, who}
				if len(r.results[theirs]) == 0 {
					continue
				}
				cpu := "–" // pgbench is no server
				if who != database {
					cpu = r.ratio(ours, theirs, serverCPU).String()
				}
				rows = append(rows, []string{
					o.name + ": docket / " + string(who), strconv.Itoa(conns),
					r.ratio(ours, theirs, func(s sample) float64 { return s.rate }).String(), cpu, r.ratio(ours, theirs, allCPU).String(),
				})
			}
		}
	}
	return figure.Table([]string{"what", "connections", "requests/s", "its CPU", "CPU with PostgreSQL's"}, rows)
}

func (r report) allocationTable() string {
	var rows [][]string
	for _, o := range r.operations {
		for _, who := range subjects {
			if a, counted := r.allocations[cell{operation: o.name, subject: who}]; counted {
				rows = append(rows, []string{
					o.name + ": " + string(who), figure.Count(a.objects), fmt.Sprintf("%.1f KiB", a.bytes/(1<<10)),
				})
			}
		}
	}
	return figure.Table([]string{"operation: who", "objects", "bytes"}, rows)
}

func (r report) steadyTable() string {
	var rows [][]string
	for _, o := range r.operations {
		for _, who := range subjects {
			s := r.steady[steadyCell{o.name, who}]
			if s == nil {
				continue
			}
			row := []string{o.name + ": " + string(who), figure.Count(s.rate)}
			for _, values := range [][]float64{s.p50, s.p95, s.p99, s.late} {
				row = append(row, figure.Micro(figure.Of(values).Median))
			}
			rows = append(rows, append(row, figure.Ratio(s.p99, s.p50).String()))
		}
	}
	return figure.Table([]string{"operation: who", "requests/s", "p50", "p95", "p99", "generator late, p99", "p99 / p50"}, rows)
}

func (r report) generatorTable() string {
	var rows [][]string
	for _, c := range r.clients {
		rows = append(rows, []string{c.name, figure.Count(c.rate), micro(c.cpu)})
	}
	return figure.Table([]string{"client, asking net/http alone", "requests/s", "its CPU for one"}, rows)
}

func (r report) footprintTable() string {
	f := r.footprint
	ready := f.spread()
	return figure.Table([]string{"what", "measured"}, [][]string{
		{
			fmt.Sprintf("from exec to ready, median of %d (least to most)", len(f.ready)),
			fmt.Sprintf("%.1f ms (%.1f to %.1f)", ready.Median/1e6, ready.Min/1e6, ready.Max/1e6),
		},
		{"memory when ready", mebibytes(float64(f.idle))},
		{fmt.Sprintf("memory, peak over %d connections, all operations", r.most()), mebibytes(r.peak())},
		{"binary", mebibytes(float64(f.binary))},
	})
}

// most is the largest number of connections.
func (r report) most() int { return slices.Max(r.plan.conns) }

// peak is the most memory that the service had at once under load over the most connections, whatever it did.
func (r report) peak() (bytes float64) {
	for c, samples := range r.results {
		if c.subject == docket && c.conns == r.most() {
			bytes = max(bytes, figure.Of(each(samples, func(s sample) float64 { return float64(s.memory) })).Max)
		}
	}
	return bytes
}

func (g growth) time(c growthCell) float64 { return figure.Of(g.times[c]).Median }

func (r report) growthTable() string {
	g := r.growth
	head := []string{"tasks of the owner: request"}
	var sizes []float64
	for _, rows := range g.rows {
		head = append(head, figure.Count(float64(rows))+" rows")
		sizes = append(sizes, float64(rows))
	}
	var rows [][]string
	for _, c := range g.order {
		row := []string{figure.Count(float64(c.owner)) + ": " + c.shape}
		var times []float64
		for _, table := range r.plan.growth.tables {
			at := g.time(growthCell{c.shape, c.owner, table})
			times = append(times, at)
			row = append(row, figure.Micro(at))
		}
		rows = append(rows, append(row, g.tables(c, r.plan.growth.tables).String(), fmt.Sprintf("%+.2f", figure.Exponent(sizes, times))))
	}
	return figure.Table(append(head, "largest / smallest", "exponent"), rows)
}

// tables compares a request in the largest table with the same in the smallest.
func (g growth) tables(c growthCell, tables []int) figure.Spread {
	return figure.Ratio(
		g.times[growthCell{c.shape, c.owner, tables[len(tables)-1]}],
		g.times[growthCell{c.shape, c.owner, tables[0]}],
	)
}

// ownerTable shows what becomes of a request when its owner has more tasks, in the largest table.
func (r report) ownerTable() string {
	largest := slices.Max(r.plan.growth.tables)
	head := []string{"request"}
	for _, owner := range r.plan.growth.owners {
		head = append(head, figure.Count(float64(owner))+" tasks")
	}
	var rows [][]string
	seen := map[string]bool{}
	for _, c := range r.growth.order {
		if seen[c.shape] {
			continue
		}
		seen[c.shape] = true
		row := []string{c.shape}
		var sizes, times []float64
		for _, owner := range r.plan.growth.owners {
			at := r.growth.time(growthCell{c.shape, owner, largest})
			row = append(row, figure.Micro(at))
			if at > 0 {
				sizes, times = append(sizes, float64(owner)), append(times, at)
			}
		}
		exponent := "–"
		if len(sizes) > 1 {
			exponent = fmt.Sprintf("%+.2f", figure.Exponent(sizes, times))
		}
		rows = append(rows, append(row, exponent))
	}
	return figure.Table(append(head, "exponent"), rows)
}

// plot draws what matters most of it.
func (r report) plot() figure.Plot {
	few := r.plan.conns[0]
	var rates, cpus []figure.Bars
	for _, o := range r.operations {
		if o.key == "" {
			continue
		}
		rate := figure.Bars{Title: o.name + ": requests/s"}
		cpu := figure.Bars{Title: o.name + ": CPU of one"}
		for _, who := range subjects {
			samples := r.results[cell{o.name, few, who}]
			if len(samples) == 0 || who == constant { // it would dwarf the others
				continue
			}
			n := median(samples, func(s sample) float64 { return s.rate })
			rate.Bars = append(rate.Bars, figure.Bar{Label: string(who), Parts: []float64{n}, Text: figure.Count(n), Ours: who == docket})
			own, all := median(samples, serverCPU), median(samples, allCPU)
			cpu.Bars = append(cpu.Bars, figure.Bar{
				Label: string(who), Parts: []float64{own, all - own}, Text: figure.Micro(all), Ours: who == docket,
			})
		}
		rates, cpus = append(rates, rate), append(cpus, cpu)
	}
	tables := figure.Lines{
		Title: "The owner with the most tasks, while the table grows", X: figure.Count, Y: figure.Axis,
	}
	largest := slices.Max(r.plan.growth.owners)
	deepest := deep(slices.Max(r.plan.growth.depths))
	for _, name := range []string{"first page", deepest, searching, "getTask", "createTask", "updateTask"} {
		line := figure.Line{Label: name}
		for i, table := range r.plan.growth.tables {
			if at := r.growth.time(growthCell{name, largest, table}); at > 0 {
				line.X, line.Y = append(line.X, float64(r.growth.rows[i])), append(line.Y, at)
			}
		}
		tables.Lines = append(tables.Lines, line)
	}
	owners := figure.Lines{Title: "The largest table, while the owner's tasks grow", X: figure.Count, Y: figure.Axis}
	for _, name := range []string{"first page", "by title", searching, "getTask", "createTask", "updateTask"} {
		line := figure.Line{Label: name}
		for _, owner := range r.plan.growth.owners {
			if at := r.growth.time(growthCell{name, owner, slices.Max(r.plan.growth.tables)}); at > 0 {
				line.X, line.Y = append(line.X, float64(owner)), append(line.Y, at)
			}
		}
		owners.Lines = append(owners.Lines, line)
	}
	return figure.Plot{
		Title: fmt.Sprintf("Docket with everything on, over %d connections: the server's CPU dark, PostgreSQL's light", few),
		Rows:  [][]figure.Bars{rates, cpus},
		Lines: [][]figure.Lines{{tables, owners}},
	}
}

// The command writes between these lines of a document, and leaves the rest of it alone.
const (
	beginMark = "<!-- What follows is written by `make bench`. -->\n"
	endMark   = "<!-- What `make bench` writes ends here. -->\n"
)

// document is one that has a place for figures.
type document struct{ path, before, after string }

func openDocument(path string) (document, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return document{}, err
	}
	before, rest, begins := strings.Cut(string(text), beginMark)
	_, after, ends := strings.Cut(rest, endMark)
	if !begins || !ends {
		return document{}, fmt.Errorf("%s: there is no place for figures, between %q and %q", path, beginMark, endMark)
	}
	return document{path, before, after}, nil
}

func (d document) renew(figures string) error {
	return os.WriteFile(d.path, []byte(d.before+beginMark+"\n"+figures+"\n"+endMark+d.after), 0o644)
}

// worst is the largest of the values, or when they are to be large the smallest.
func worst(spreads []figure.Spread, large bool) float64 {
	value := math.Inf(-1)
	if large {
		value = math.Inf(1)
	}
	for _, s := range spreads {
		if large {
			value = min(value, s.Median)
		} else {
			value = max(value, s.Median)
		}
	}
	return value
}
