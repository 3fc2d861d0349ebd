package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"docket/bench/baseline"
	"docket/internal/devdb"
	"docket/internal/pgbouncer"
)

// world is everything that is measured, and what it needs.
type world struct {
	plan    plan
	options options
	log     io.Writer // progress
	dir     string    // for this run

	db         *devdb.Server
	postmaster int // PostgreSQL's first process
	issuer     *issuer
	contents   contents
	url        string // of the database for the rounds

	pooler      *pgbouncer.Pooler
	batches     baseline.Batches
	pgbenchPath string
}

// newWorld starts PostgreSQL and loads the tables. Call close whatever it returns.
func newWorld(ctx context.Context, p plan, o options, log io.Writer) (*world, error) {
	w := &world{plan: p, options: o, log: log}
	var err error
	if w.pgbenchPath, err = findPgbench(); err != nil {
		return w, err
	}
	if _, err = pgbouncer.Find(); err != nil { // before a million tasks are loaded
		return w, err
	}
	if w.dir, err = os.MkdirTemp(o.dir, "docket-bench-"); err != nil {
		return w, err
	}
	if err := os.Chmod(w.dir, 0o755); err != nil { // as root, PostgreSQL runs as somebody else and must get in here
		return w, err
	}
	if w.issuer, err = startIssuer(ctx); err != nil {
		return w, err
	}
	if err := w.startDatabase(ctx); err != nil {
		return w, err
	}
	// Four parts for the service, and two for pgbench.
	owners := p.tasks / p.perOwner
	if owners < (parts+2)*p.actors {
		return w, fmt.Errorf("%d owners are too few", owners)
	}
	w.contents = contents{groups: []group{{owners, p.perOwner}}, numbered: owners - 2*p.actors}
	if w.url, err = newDatabase(ctx, w.db, "rounds", w.contents, log); err != nil {
		return w, err
	}
	if err := w.startPooler(ctx); err != nil {
		return w, err
	}
	w.batches, err = w.record(ctx)
	return w, err
}

func (w *world) close() error {
	var err error
	if w.pooler != nil {
		w.pooler.Stop()
	}
	if w.db != nil {
		err = w.db.Stop()
	}
	if w.issuer != nil {
		w.issuer.stop()
	}
	if w.dir != "" {
		err = errors.Join(err, os.RemoveAll(w.dir))
	}
	return err
}

// settings are those of PostgreSQL that are not its defaults. A commit still waits for the disk.
func (p plan) settings() [][2]string {
	return [][2]string{
		{"shared_buffers", p.sharedBuffers},
		{"max_connections", "300"},
		// It is done between the rounds, so that no measurement pays for another one's writes.
		{"autovacuum", "off"},
		// None from the load to the end: after it a page's first change is logged with all of the page, and who is measured
		// first would pay for those of all.
		{"checkpoint_timeout", "1d"},
		{"max_wal_size", "16GB"},
	}
}

func (w *world) startDatabase(ctx context.Context) (err error) {
	o := devdb.Options{Dir: filepath.Join(w.dir, "postgresql"), Log: w.log}
	if major := os.Getenv("DOCKET_TEST_PG"); major != "" {
		if o.Major, err = strconv.Atoi(major); err != nil {
			return fmt.Errorf("DOCKET_TEST_PG: %q is not a major version of PostgreSQL", major)
		}
	}
	if w.db, err = devdb.Start(ctx, o); err != nil {
		return err
	}
	err = onDatabase(ctx, w.db.URL("postgres"), func(conn *pgx.Conn) error {
		for _, s := range w.plan.settings() {
			if _, err := conn.Exec(ctx, fmt.Sprintf("alter system set %s = '%s'", s[0], s[1])); err != nil {
				return err
			}
		}
		return nil
	})
	if err = errors.Join(err, w.db.Stop()); err != nil { // the settings count from the next start on
		return err
	}
	if w.db, err = devdb.Start(ctx, o); err != nil {
		return err
	}
	return onDatabase(ctx, w.db.URL("postgres"), func(conn *pgx.Conn) error {
		text, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(int(conn.PgConn().PID())), "stat"))
		if err != nil {
			return fmt.Errorf("processes are counted as Linux shows them: %w", err)
		}
		s, err := parseStat(string(text))
		w.postmaster = s.parent
		return err
	})
}

// startDocket runs the service as an operator does, on a database.
func (w *world) startDocket(ctx context.Context, databaseURL string, log io.Writer, env ...string) (*process, error) {
	p, err := w.execDocket(databaseURL, log, env...)
	if err != nil {
		return nil, err
	}
	if err := p.ready(ctx, "/health/ready", 10*time.Millisecond); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

func (w *world) execDocket(databaseURL string, log io.Writer, env ...string) (*process, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	env = append([]string{
		"DATABASE_URL=" + databaseURL, "BETTER_AUTH_URL=" + w.issuer.url, "ADDR=" + addr, "SHUTDOWN_DELAY=0s",
		"METRICS_ADDR=127.0.0.1:0",
	}, env...)
	return launch(addr, env, log, w.options.docket, "serve")
}

// startBare runs a baseline.
func (w *world) startBare(ctx context.Context, args ...string) (*process, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	command := append([]string{w.options.bare, "-addr", addr}, args...)
	p, err := launch(addr, []string{"DATABASE_URL=" + w.url}, os.Stderr, command...)
	if err != nil {
		return nil, err
	}
	path := "/api/nobody/tasks?limit=1"
	if err := p.ready(ctx, path, 10*time.Millisecond); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// servers are those that are measured in the rounds.
type servers struct{ docket, bare, same, constant *process }

// of is nil for pgbench, which is no server.
func (s servers) of(who subject) *process {
	return map[subject]*process{docket: s.docket, bare: s.bare, same: s.same, constant: s.constant}[who]
}

func (s servers) stop() {
	for _, p := range []*process{s.docket, s.bare, s.same, s.constant} {
		if p != nil {
			p.stop()
		}
	}
}

// startServers starts them and sees to it that they answer alike.
func (w *world) startServers(ctx context.Context) (s servers, err error) {
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	if s.docket, err = w.startDocket(ctx, w.url, nil); err != nil {
		return s, err
	}
	if s.bare, err = w.startBare(ctx); err != nil {
		return s, err
	}
	statements := filepath.Join(w.dir, "statements.json")
	if err := writeJSON(statements, w.batches); err != nil {
		return s, err
	}
	if s.same, err = w.startBare(ctx, "-sql", statements); err != nil {
		return s, err
	}
	some, err := w.actors(ctx, w.url, listing*w.plan.actors, 1)
	if err != nil {
		return s, err
	}
	_, list, err := w.ask(ctx, s.docket, some[0], "GET", "?limit=20", "")
	if err != nil {
		return s, err
	}
	_, task, err := w.ask(ctx, s.docket, some[0], "GET", "/"+some[0].tasks[0], "")
	if err != nil {
		return s, err
	}
	listFile, taskFile := filepath.Join(w.dir, "list.json"), filepath.Join(w.dir, "task.json")
	if err := errors.Join(os.WriteFile(listFile, list, 0o600), os.WriteFile(taskFile, task, 0o600)); err != nil {
		return s, err
	}
	if s.constant, err = w.startBare(ctx, "-list", listFile, "-task", taskFile); err != nil {
		return s, err
	}
	return s, w.alike(ctx, some[0], list, s.docket, s.bare, s.same)
}

// alike fails unless all give the same tasks: a baseline that does less would be measured too.
func (w *world) alike(ctx context.Context, a actor, list []byte, all ...*process) error {
	want, err := tasksOf(list)
	if err != nil {
		return err
	}
	if len(want) != min(20, w.plan.perOwner) {
		return fmt.Errorf("the service lists %d tasks", len(want))
	}
	for _, p := range all {
		_, body, err := w.ask(ctx, p, a, "GET", "?limit=20", "")
		if err != nil {
			return err
		}
		if got, err := tasksOf(body); err != nil || !slices.Equal(got, want) {
			return errors.Join(err, fmt.Errorf("%s lists %v, the service %v", p.cmd.Path, got, want))
		}
		_, body, err = w.ask(ctx, p, a, "GET", "/"+want[0], "")
		var task struct{ ID string }
		if err = errors.Join(err, json.Unmarshal(body, &task)); err != nil || task.ID != want[0] {
			return errors.Join(err, fmt.Errorf("%s gives the task %s", p.cmd.Path, body))
		}
	}
	return nil
}
