// Command bench measures what a request to the service costs: beside handlers that do the same job with nothing else on,
// through a pooler, and as the data grows. With -against it compares two binaries of the service, and with -flood it
// measures what one owner's searches do to the others. docs/performance.md says how to read what it prints.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"docket/bench/baseline"
)

func main() {
	ctx, args := context.Background(), os.Args[1:]
	var err error
	if len(args) > 0 && args[0] == "baseline" { // a process started by this command
		err = runBaseline(ctx, args[1:])
	} else {
		ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		err = runBench(ctx, args)
		stop()
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// plan is the amount of data and the duration of the measurements.
type plan struct {
	tasks    int // in the table
	perOwner int
	users    int // owners that send the requests of one operation
	searched int // tasks of the owner with long texts

	rounds        int
	warm, measure time.Duration
	connections   []int // over which requests are sent
	starts        int   // of the service, to measure those
	growth        growthPlan
	sharedBuffers string // of PostgreSQL
}

var full = plan{
	tasks: 1_000_000, perOwner: 100, users: 1000, searched: 50_000,
	rounds: 7, warm: 300 * time.Millisecond, measure: 1500 * time.Millisecond, connections: []int{16, 256}, starts: 20,
	growth: growthPlan{
		tables: []int{100_000, 10_000_000}, owners: []int{10, 1000, 100_000}, depths: []int{1000, 10_000},
		rounds: 5, measure: 300 * time.Millisecond,
	},
	sharedBuffers: "2GB",
}

var quick = plan{
	tasks: 100_000, perOwner: 100, users: 100, searched: 50_000,
	rounds: 3, warm: 100 * time.Millisecond, measure: 400 * time.Millisecond, connections: []int{16, 256}, starts: 5,
	growth: growthPlan{
		tables: []int{100_000, 300_000}, owners: []int{10, 1000, 100_000}, depths: []int{1000, 10_000},
		rounds: 1, measure: 60 * time.Millisecond,
	},
	sharedBuffers: "512MB",
}

type options struct {
	self    string // this program
	docket  string // binary of the service
	against string // another binary of the service; empty: a normal run
	flood   bool   // measure a flood of searches, and nothing else
	dir     string // for the data
	strict  bool
}

func runBench(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	var o options
	flags.StringVar(&o.docket, "docket", "bin/docket", "the service's `binary`")
	flags.StringVar(&o.against, "against", "", "another `binary` of the service: measure both in turns and nothing else")
	flags.StringVar(&o.dir, "dir", os.TempDir(), "`folder` for the databases during the run; a full one takes 20 GB")
	flags.BoolVar(&o.strict, "strict", false, "fail when a goal is not met")
	flags.BoolVar(&o.flood, "flood", false, "measure a flood of searches by one owner and nothing else, for three minutes at most")
	short := flags.Bool("quick", false, "a short run with little data")
	rounds := flags.Int("rounds", 0, "number of rounds; 0: the run's own")
	measure := flags.Duration("measure", 0, "duration of each measurement; 0: the run's own")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	if o.self, err = os.Executable(); err != nil {
		return err
	}
	p := full
	if *short {
		p = quick
	}
	if o.against != "" {
		p.connections = p.connections[:1]
		p.rounds *= 3 // to detect differences of a few percent
	}
	if o.flood {
		p = quick
		p.tasks, p.users = p.perOwner*usages, 1 // the flood has data of its own
		ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
		defer cancel()
		return measureAll(ctx, p, o, os.Stdout, os.Stderr)
	}
	if *rounds > 0 {
		p.rounds = *rounds
	}
	if *measure > 0 {
		p.measure = *measure
	}
	return measureAll(ctx, p, o, os.Stdout, os.Stderr)
}

// measureAll runs all measurements and prints the report.
func measureAll(ctx context.Context, p plan, o options, stdout, log io.Writer) (err error) {
	began := time.Now()
	e, err := newEnvironment(ctx, p, o, log)
	defer func() { err = errors.Join(err, e.close()) }()
	if err != nil {
		return err
	}
	if o.against != "" {
		text, err := e.against(ctx)
		fmt.Fprint(stdout, text)
		return err
	}
	if o.flood {
		return e.reportFlood(ctx, o, stdout)
	}
	r := report{plan: p}
	if err := e.measureServers(ctx, &r); err != nil {
		return err
	}
	if r.startup, err = e.startup(ctx); err != nil {
		return err
	}
	if r.growth, err = e.grow(ctx); err != nil {
		return err
	}
	if r.searches, err = e.searches(ctx); err != nil {
		return err
	}
	if r.machine, err = e.machine(ctx, time.Since(began)); err != nil {
		return err
	}
	fmt.Fprint(stdout, r.markdown())
	if o.strict && slices.ContainsFunc(r.goals(), func(g goal) bool { return !g.passed() }) {
		return errors.New("a goal is not met")
	}
	return nil
}

// measureServers runs the measurements that need the baselines.
func (e *environment) measureServers(ctx context.Context, r *report) error {
	all, err := e.startAll(ctx)
	if err != nil {
		return err
	}
	defer all.stop()
	service := all[0]
	if service.operations, err = e.operations(ctx, service); err != nil {
		return err
	}
	for _, c := range all[1:] {
		c.operations = choose(service.operations, baselineOperations...)
	}
	if r.results, err = e.inTurns(ctx, "beside the bare handlers", all, e.plan.connections, e.closed); err != nil {
		return err
	}
	beside := *service
	beside.operations = choose(service.operations, baselineOperations...)
	if r.halfLoad, err = e.atHalfLoad(ctx, contenders{&beside, all[2]}, r.results); err != nil {
		return err
	}
	r.pooled, err = e.pooled(ctx, service)
	return err
}

// runBaseline runs one of the baselines: with the file of statements that is named, or the bare handler.
func runBaseline(ctx context.Context, args []string) error {
	var batches baseline.Batches
	if len(args) > 0 {
		text, err := os.ReadFile(args[0])
		if err != nil {
			return err
		}
		if err := json.Unmarshal(text, &batches); err != nil {
			return err
		}
	}
	return baseline.Serve(ctx, os.Getenv("ADDR"), os.Getenv("DATABASE_URL"), batches)
}
