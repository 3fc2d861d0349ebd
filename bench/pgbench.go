package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"docket/bench/baseline"
)

// findPgbench looks where Debian and Homebrew put it first: Debian's command on PATH is a script that looks for it too,
// and its time would count.
func findPgbench() (string, error) {
	var found []string
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin/pgbench", "/opt/homebrew/opt/postgresql@*/bin/pgbench", "/usr/local/opt/postgresql@*/bin/pgbench",
	} {
		matches, _ := filepath.Glob(pattern) // the only error is a malformed pattern
		found = append(found, matches...)
	}
	if len(found) > 0 {
		return slices.MaxFunc(found, func(a, b string) int { return cmp.Compare(len(a), len(b))*2 + cmp.Compare(a, b) }), nil
	}
	path, err := exec.LookPath("pgbench")
	if err != nil {
		return "", errors.New("there is no pgbench, which PostgreSQL itself is measured with: it comes with PostgreSQL's server\n" +
			"(Debian, Ubuntu: apt-get install postgresql; macOS: brew install postgresql@18)")
	}
	return path, nil
}

// script makes a batch of statements a script of pgbench's: sent as one, and each of them prepared once. Its owners and
// tasks are those that have numbers for ids. The second result defines the constants.
func (w *world) script(key string, batch baseline.Batch) (text string, definitions []string) {
	var b strings.Builder
	first := w.contents.numbered
	fmt.Fprintf(&b, "\\set n random(%d, %d)\n", first, first+w.plan.actors-1)
	if key == "create" { // these owners' lists are not read
		fmt.Fprintf(&b, "\\set n :n + %d\n", w.plan.actors)
	}
	fmt.Fprintf(&b, "\\set owner %d + :n\n", numbered)
	fmt.Fprintf(&b, "\\set id %d + random(0, %d) * %d + :n\n", numberedTask, w.plan.perOwner-1, w.contents.owners())
	fmt.Fprintf(&b, "\\set fresh random(%d, %d)\n\\startpipeline\n", 2*numberedTask, int64(math.MaxInt64))
	for i, s := range batch {
		values := make([]string, len(s.Args))
		for j, a := range s.Args {
			switch {
			case a.Null:
				values[j] = "null"
			case a.Role == baseline.Title:
				values[j] = ":title"
			case a.Role != "":
				values[j] = ":" + string(a.Role)
			default:
				name := fmt.Sprintf("s%dp%d", i, j)
				definitions = append(definitions, "-D", name+"="+a.Text)
				values[j] = ":" + name
			}
		}
		b.WriteString(substitute(strings.TrimSpace(s.SQL), values) + ";\n")
	}
	b.WriteString("\\endpipeline\n")
	return b.String(), append(definitions, "-D", "title="+title)
}

var parameterPattern = regexp.MustCompile(`\$(\d+)`)

// substitute puts values in the place of $1, $2, …
func substitute(sql string, values []string) string {
	return parameterPattern.ReplaceAllStringFunc(sql, func(match string) string {
		n, err := strconv.Atoi(match[1:])
		if err != nil || n < 1 || n > len(values) {
			return match
		}
		return values[n-1]
	})
}

// pgbench measures PostgreSQL alone with as many connections as the pool has for so many clients.
func (w *world) pgbench(ctx context.Context, key string, conns int) (sample, error) {
	text, definitions := w.script(key, w.batches[key])
	file := filepath.Join(w.dir, key+".pgbench")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return sample{}, err
	}
	// It counts whole seconds, and the time to connect is among them: on a busy machine that may take them all.
	seconds := max(1, int(w.plan.measure.Round(time.Second).Seconds()))
	for {
		got, err := w.pgbenchFor(ctx, seconds, append([]string{"-f", file, "-c", strconv.Itoa(min(conns, baseline.Conns))}, definitions...))
		if seconds *= 2; !errors.Is(err, errNoTransaction) || seconds > 60 {
			return got, err
		}
	}
}

func (w *world) pgbenchFor(ctx context.Context, seconds int, args []string) (sample, error) {
	args = append([]string{"-n", "-M", "prepared", "-j", strconv.Itoa(runtime.NumCPU()), "-T", strconv.Itoa(seconds)}, args...)
	cmd := exec.CommandContext(ctx, w.pgbenchPath, append(args, w.url)...)
	others, _, err := family(w.postmaster)
	if err != nil {
		return sample{}, err
	}
	before, err := familySpent(w.postmaster)
	if err != nil {
		return sample{}, err
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return sample{}, fmt.Errorf("pgbench: %w\n%s", err, out)
	}
	if err := w.until(ctx, len(others)); err != nil {
		return sample{}, err
	}
	after, err := familySpent(w.postmaster)
	if err != nil {
		return sample{}, err
	}
	r, err := parsePgbench(string(out))
	if err != nil {
		return sample{}, err
	}
	used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return sample{
		rate:      r.rate,
		database:  (after - before) / time.Duration(r.transactions),
		generator: used / time.Duration(r.transactions),
	}, nil
}

// until returns when PostgreSQL has no more processes than that. Those that have just ended are counted as its children
// only when it has noticed.
func (w *world) until(ctx context.Context, most int) error {
	for deadline := time.Now().Add(patience); ; {
		pids, _, err := family(w.postmaster)
		switch {
		case err != nil || len(pids) <= most:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Now().After(deadline):
			return fmt.Errorf("PostgreSQL has %d processes and had %d", len(pids), most)
		}
		time.Sleep(time.Millisecond)
	}
}

var errNoTransaction = errors.New("pgbench: not one transaction")

// pgbenchResult is what we need of what pgbench prints.
type pgbenchResult struct {
	transactions int
	rate         float64 // a second, without the time to connect
}

var (
	transactionsPattern = regexp.MustCompile(`number of transactions actually processed: (\d+)`)
	failedPattern       = regexp.MustCompile(`number of failed transactions: (\d+)`)
	ratePattern         = regexp.MustCompile(`tps = ([0-9.]+) \(without initial connection time\)`)
)

func parsePgbench(out string) (r pgbenchResult, err error) {
	transactions := transactionsPattern.FindStringSubmatch(out)
	rate := ratePattern.FindStringSubmatch(out)
	if transactions != nil && transactions[1] == "0" {
		return r, errNoTransaction
	}
	if transactions == nil || rate == nil {
		return r, fmt.Errorf("pgbench prints no result:\n%s", out)
	}
	if failed := failedPattern.FindStringSubmatch(out); failed != nil && failed[1] != "0" {
		return r, fmt.Errorf("pgbench: %s transactions failed:\n%s", failed[1], out)
	}
	r.transactions, err = strconv.Atoi(transactions[1])
	if err == nil {
		r.rate, err = strconv.ParseFloat(rate[1], 64)
	}
	return r, err
}
