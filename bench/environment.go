package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"docket/bench/baseline"
	"docket/internal/dbtest/pooler"
	"docket/internal/devauth"
	"docket/internal/devdb"
)

// environment is what the measured servers need: a PostgreSQL with data, a pooler and an issuer of tokens.
type environment struct {
	plan    plan
	options options
	log     io.Writer // progress
	dir     string    // for this run

	postgres    *devdb.Server
	postmaster  int // process id
	issuer      *devauth.Issuer
	pooler      *pooler.Pooler
	plainPooler *pooler.Pooler // the installed one, without prepared statements
	data        dataset
	url         string // of the database with data
}

// newEnvironment starts everything and loads the data. Call close also after an error.
func newEnvironment(ctx context.Context, p plan, o options, log io.Writer) (*environment, error) {
	e := &environment{plan: p, options: o, log: log}
	_, err := pooler.Find() // before anything takes time
	if err != nil {
		return e, err
	}
	if e.dir, err = os.MkdirTemp(o.dir, "docket-bench-"); err != nil {
		return e, err
	}
	if err := os.Chmod(e.dir, 0o755); err != nil { // as root, PostgreSQL and PgBouncer run as another user
		return e, err
	}
	if e.issuer, err = devauth.Start(devauth.Options{Lifetime: 12 * time.Hour}); err != nil {
		return e, err
	}
	if err := e.startPostgres(ctx); err != nil {
		return e, err
	}
	e.data = dataset{{p.tasks / p.perOwner, p.perOwner}}
	if need := usages * p.users; e.data.owners() < need {
		return e, fmt.Errorf("%d owners are too few: %d are needed", e.data.owners(), need)
	}
	if e.url, err = e.data.create(ctx, e.postgres, "bench", log); err != nil {
		return e, err
	}
	folders := [2]string{filepath.Join(e.dir, "pooler"), filepath.Join(e.dir, "plain-pooler")}
	for _, dir := range folders {
		if err := errors.Join(os.Mkdir(dir, 0o755), os.Chmod(dir, 0o755)); err != nil {
			return e, err
		}
	}
	if e.pooler, err = pooler.Start(ctx, folders[0], e.url, baseline.Conns); err != nil {
		return e, err
	}
	e.plainPooler, err = pooler.StartWith(ctx, folders[1], e.url, pooler.Options{Connections: baseline.Conns})
	return e, err
}

func (e *environment) close() (err error) {
	for _, p := range []*pooler.Pooler{e.pooler, e.plainPooler} {
		if p != nil {
			p.Stop()
		}
	}
	if e.postgres != nil {
		err = e.postgres.Stop()
	}
	if e.issuer != nil {
		e.issuer.Close()
	}
	if e.dir != "" {
		err = errors.Join(err, os.RemoveAll(e.dir))
	}
	return err
}

// settings are the settings of PostgreSQL that differ from its defaults. Commits wait for the disk, as by default.
func (p plan) settings() [][2]string {
	return [][2]string{
		{"shared_buffers", p.sharedBuffers},
		{"max_connections", "300"},
		// Vacuum runs between the rounds, and no checkpoint after the data was loaded: after one, the first change of each
		// page logs the whole page, and the contender that is measured first would do so for all.
		{"autovacuum", "off"},
		{"checkpoint_timeout", "1d"},
		{"max_wal_size", "16GB"},
	}
}

func (e *environment) startPostgres(ctx context.Context) (err error) {
	o := devdb.Options{Dir: filepath.Join(e.dir, "postgresql"), Log: e.log}
	if major := os.Getenv("DOCKET_TEST_PG"); major != "" {
		if o.Major, err = strconv.Atoi(major); err != nil {
			return fmt.Errorf("DOCKET_TEST_PG: %q is not a major version of PostgreSQL", major)
		}
	}
	if e.postgres, err = devdb.Start(ctx, o); err != nil {
		return err
	}
	var statements []string
	for _, s := range e.plan.settings() {
		statements = append(statements, fmt.Sprintf("alter system set %s = '%s'", s[0], s[1]))
	}
	err = execute(ctx, e.postgres.URL("postgres"), statements...)
	if err = errors.Join(err, e.postgres.Stop()); err != nil { // they take effect at the next start
		return err
	}
	if e.postgres, err = devdb.Start(ctx, o); err != nil {
		return err
	}
	return onDatabase(ctx, e.postgres.URL("postgres"), func(conn *pgx.Conn) error {
		s, err := readStat(int(conn.PgConn().PID()))
		e.postmaster = s.parent
		return err
	})
}

// start starts the service as an operator does, with further variables.
func (e *environment) start(ctx context.Context, name, binary, databaseURL string, env ...string) (*contender, error) {
	return launch(ctx, name, "/health/ready", append([]string{
		"DATABASE_URL=" + databaseURL, "BETTER_AUTH_URL=" + e.issuer.URL, "METRICS_ADDR=127.0.0.1:0", "SHUTDOWN_DELAY=0s",
		"MAX_TASKS_PER_OWNER=0", // owners with 100,000 tasks create more
	}, env...), binary, "serve")
}

// startBaseline starts a baseline, which is a subcommand of this program.
func (e *environment) startBaseline(ctx context.Context, name string, args ...string) (*contender, error) {
	command := append([]string{e.options.self, "baseline"}, args...)
	return launch(ctx, name, "/api/nobody/tasks?limit=1", []string{"DATABASE_URL=" + e.url}, command...)
}

// contenders are running servers.
type contenders []*contender

func (all contenders) stop() {
	for _, c := range all {
		c.stop()
	}
}

// startAll starts the service and the baselines, which answer with the same tasks.
func (e *environment) startAll(ctx context.Context) (all contenders, err error) {
	defer func() {
		if err != nil {
			all.stop()
		}
	}()
	batches, err := e.record(ctx)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(batches)
	if err != nil {
		return nil, err
	}
	statements := filepath.Join(e.dir, "statements.json")
	if err := os.WriteFile(statements, text, 0o600); err != nil {
		return nil, err
	}
	for _, start := range []func() (*contender, error){
		func() (*contender, error) { return e.start(ctx, docket, e.options.docket, e.url) },
		func() (*contender, error) { return e.startBaseline(ctx, bare) },
		func() (*contender, error) { return e.startBaseline(ctx, sameSQL, statements) },
	} {
		c, err := start()
		if err != nil {
			return all, err
		}
		all = append(all, c)
	}
	users, err := e.users(ctx, e.url, 0, 1)
	if err != nil {
		return all, err
	}
	want, err := e.tasksOf(ctx, all[0], users[0])
	for _, c := range all[1:] {
		var got []map[string]any
		if err == nil {
			got, err = e.tasksOf(ctx, c, users[0])
		}
		if err == nil && !reflect.DeepEqual(got, want) {
			err = fmt.Errorf("%s and %s answer with different tasks:\n%v\n%v", docket, c.name, want, got)
		}
	}
	return all, err
}

// tasksOf returns the tasks that a contender lists for a user, and the first of them once more, as getTask returns it.
func (e *environment) tasksOf(ctx context.Context, c *contender, u user) ([]map[string]any, error) {
	_, text, err1 := e.ask(ctx, c, u, "GET", "?limit=20", "")
	_, one, err2 := e.ask(ctx, c, u, "GET", "/"+u.tasks[0], "")
	var list struct{ Tasks []map[string]any }
	var task map[string]any
	err := errors.Join(err1, err2, json.Unmarshal(text, &list), json.Unmarshal(one, &task))
	list.Tasks = append(list.Tasks, task)
	for _, t := range list.Tasks {
		for _, name := range []string{"created_at", "updated_at", "completed_at", "due_at"} { // the servers format them differently
			if t[name] == nil {
				continue
			}
			text, _ := t[name].(string)
			at, parseErr := time.Parse(time.RFC3339Nano, text)
			t[name], err = at.UTC(), errors.Join(err, parseErr)
		}
		tag, _ := t["etag"].(string)
		_, t["etag"], _ = strings.Cut(tag, ".") // the revision, without the representation's version
	}
	return list.Tasks, err
}
