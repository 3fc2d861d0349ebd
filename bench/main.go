// Command bench measures what the service costs: against handlers that do the same job with nothing on, against
// PostgreSQL alone, while the data grows, and against the targets that we set ourselves. `make bench` runs it;
// docs/performance.md says how to read what it prints.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	} else if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// plan is how much is measured, and for how long.
type plan struct {
	tasks    int // in the table
	perOwner int
	actors   int // owners that take part in one operation, each with a token

	rounds        int
	warm, measure time.Duration
	conns         []int // of the client

	growth growthPlan
	starts int // how often the service is started
	allocs int // how many requests allocations are counted over

	sharedBuffers string // of PostgreSQL
}

var full = plan{
	tasks: 1_000_000, perOwner: 100, actors: 1000,
	rounds: 5, warm: 500 * time.Millisecond, measure: 3 * time.Second, conns: []int{16, 256},
	growth: growthPlan{
		tables: []int{100_000, 1_000_000, 10_000_000}, owners: []int{10, 1000, 100_000}, depths: []int{1, 1000, 10_000},
		rounds: 3, measure: 300 * time.Millisecond,
	},
	starts: 20, allocs: 5000, sharedBuffers: "2GB",
}

var quick = plan{
	tasks: 100_000, perOwner: 100, actors: 100,
	rounds: 2, warm: 200 * time.Millisecond, measure: 500 * time.Millisecond, conns: []int{16, 256},
	growth: growthPlan{
		tables: []int{100_000, 300_000}, owners: []int{10, 1000, 100_000}, depths: []int{1, 1000, 10_000},
		rounds: 1, measure: 60 * time.Millisecond,
	},
	starts: 5, allocs: 1000, sharedBuffers: "512MB",
}

// options are the command's own.
type options struct {
	docket, bare string // the binaries
	docs         string // folder to write to; empty: none
	dir          string // for the data
	profiles     string // folder for CPU profiles; empty: none are made
	strict       bool
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var o options
	flags.StringVar(&o.docket, "docket", "bin/docket", "the service's binary")
	flags.StringVar(&o.bare, "bare", "bin/bare", "the baselines' binary")
	flags.StringVar(&o.docs, "docs", "docs", "folder whose performance.md and performance.svg are renewed; none when empty, or with -quick")
	flags.StringVar(&o.dir, "dir", os.TempDir(), "where the databases go for the time of the run; 12 GB for a full one")
	flags.StringVar(&o.profiles, "profiles", "", "folder for a CPU profile of each operation, to be read with go tool pprof")
	flags.BoolVar(&o.strict, "strict", false, "fail when a target is not met")
	short := flags.Bool("quick", false, "a short run with little data: to see that all of it works, not to quote")
	rounds := flags.Int("rounds", 0, "how many rounds; 0: as many as the run has by itself")
	measure := flags.Duration("measure", 0, "how long each measurement of a round takes; 0: as long as it has by itself")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("what is %q?", flags.Arg(0))
	}
	p := full
	if *short {
		p = quick
		asked := false
		flags.Visit(func(f *flag.Flag) { asked = asked || f.Name == "docs" })
		if !asked {
			o.docs = "" // the figures of a short run are none to publish
		}
	}
	if *rounds > 0 {
		p.rounds = *rounds
	}
	if *measure > 0 {
		p.measure = *measure
	}
	return measureAll(ctx, p, o, stdout, stderr)
}
