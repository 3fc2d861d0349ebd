// Package dbtest gives each test a PostgreSQL database of its own.
//
// The first use in a test process starts a server and migrates one database;
// every test then gets a copy of that, in some 30 ms. Tests need a real
// PostgreSQL and fail where none can be had: they never skip.
//
// Two variables choose the server: DOCKET_TEST_PG is a major version, such as 18;
// TEST_DATABASE_URL is a server that runs already, on this machine, with a superuser.
package dbtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"docket/internal/devdb"
	"docket/migrations"
)

// New gives a fresh database, migrated, with the "user" fixture: its URL, for
// the server's superuser. The database is gone when the test is.
func New(t testing.TB) string {
	t.Helper()
	c := shared(t)
	return c.create(t, c.template)
}

// Empty gives a fresh database with nothing in it.
func Empty(t testing.TB) string {
	t.Helper()
	return shared(t).create(t, "template0")
}

const addUserSQL = `
insert into "user" (id, name, email, "emailVerified")
select id, id, id || '@example.com', true from unnest($1::text[]) as id`

// AddUser inserts users into the fixture. A user's name is the id, and so is the
// first part of the email address.
func AddUser(t testing.TB, databaseURL string, ids ...string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), addUserSQL, ids); err != nil {
		t.Fatal(err)
	}
}

// Main runs a package's tests and stops the server behind them. It is for
// TestMain: os.Exit(dbtest.Main(m)).
func Main(m *testing.M) int {
	defer func() {
		if err := only.stop(); err != nil {
			fmt.Fprintln(os.Stderr, "dbtest:", err)
		}
	}()
	return m.Run()
}

// only is the test process's cluster, started by the first test that needs it.
var (
	only  cluster
	start = sync.OnceValue(func() error { return only.start(context.Background()) })
)

func shared(t testing.TB) *cluster {
	t.Helper()
	if err := start(); err != nil {
		t.Fatalf("no database for the test: %v", err)
	}
	return &only
}

// cluster is a server with a template database on it.
type cluster struct {
	server   *devdb.Server // nil when the server is somebody else's
	dir      string
	url      func(database string) string
	admin    *pgxpool.Pool
	template string
	count    atomic.Int64
}

func (c *cluster) start(ctx context.Context) (err error) {
	if address := os.Getenv("TEST_DATABASE_URL"); address != "" {
		c.url, err = addresses(address)
	} else {
		err = c.run(ctx)
	}
	if err != nil {
		return err
	}
	// Several connections: a drop waits for the database's last session to end,
	// and other tests should not wait with it.
	if c.admin, err = pgxpool.New(ctx, c.url("postgres")); err != nil {
		return err
	}
	var super bool
	if err := c.admin.QueryRow(ctx, "select current_setting('is_superuser')::bool").Scan(&super); err != nil {
		return err
	}
	if !super {
		return errors.New("TEST_DATABASE_URL: this user is not a superuser")
	}
	return c.migrate(ctx)
}

// run starts a server of our own.
func (c *cluster) run(ctx context.Context) (err error) {
	major := 0
	if value := os.Getenv("DOCKET_TEST_PG"); value != "" {
		if major, err = strconv.Atoi(value); err != nil {
			return fmt.Errorf("DOCKET_TEST_PG: %q is not a major version of PostgreSQL", value)
		}
	}
	sweep()
	if c.dir, err = os.MkdirTemp(scratch(), "docket-dbtest-"); err != nil {
		return err
	}
	// When we are root, PostgreSQL runs as somebody else and must get in here.
	if err := os.Chmod(c.dir, 0o755); err != nil {
		return err
	}
	c.server, err = devdb.Start(ctx, devdb.Options{Dir: c.dir, Major: major, Ephemeral: true, Log: os.Stderr})
	if err != nil {
		return err
	}
	c.url = c.server.URL
	return nil
}

// sweep removes what killed runs left: their data and, off Linux, their servers.
// One that is in use refuses; one that is young may be about to go by itself.
func sweep() {
	left, _ := filepath.Glob(filepath.Join(scratch(), "docket-dbtest-*", "data-*"))
	for _, data := range left {
		if info, err := os.Stat(data); err == nil && time.Since(info.ModTime()) > time.Hour {
			_ = devdb.Remove(filepath.Dir(data))
		}
	}
}

// migrate makes the template that New copies.
func (c *cluster) migrate(ctx context.Context) error {
	name := fmt.Sprintf("docket_test_%d_template", os.Getpid())
	if err := c.copy(ctx, name, "template0"); err != nil {
		return err
	}
	c.template = name
	conn, err := pgx.Connect(ctx, c.url(name))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, devdb.UserFixtureSQL); err != nil {
		return err
	}
	return migrations.Up(ctx, c.url(name), io.Discard)
}

// create makes a database for one test.
func (c *cluster) create(t testing.TB, template string) string {
	t.Helper()
	name := fmt.Sprintf("docket_test_%d_%d", os.Getpid(), c.count.Add(1))
	if err := c.copy(t.Context(), name, template); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.drop(context.Background(), name); err != nil { // t.Context has ended
			t.Error(err)
		}
	})
	return c.url(name)
}

func (c *cluster) copy(ctx context.Context, name, template string) error {
	// On a server that is not ours, a killed process with our number may have left it.
	if err := c.drop(ctx, name); err != nil {
		return err
	}
	// Copying through the log needs no checkpoint: several times faster for a small template.
	_, err := c.admin.Exec(ctx, "create database "+name+" template "+template+" strategy wal_log")
	return err
}

func (c *cluster) drop(ctx context.Context, name string) error {
	_, err := c.admin.Exec(ctx, "drop database if exists "+name+" with (force)")
	return err
}

func (c *cluster) stop() (err error) {
	if c.admin != nil {
		if c.template != "" {
			err = c.drop(context.Background(), c.template)
		}
		c.admin.Close()
	}
	if c.server != nil {
		err = errors.Join(err, c.server.Stop())
	}
	if c.dir != "" {
		err = errors.Join(err, os.RemoveAll(c.dir))
	}
	return err
}

// addresses checks the address of a server that is not ours, and makes those of
// its databases. Tests create and drop databases: never on another machine.
func addresses(address string) (func(database string) string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, errors.New("TEST_DATABASE_URL: want postgres://superuser:password@127.0.0.1:5432/")
	}
	config, err := pgx.ParseConfig(address)
	if err != nil {
		return nil, errors.New("TEST_DATABASE_URL cannot be parsed") // err would repeat the password
	}
	hosts := []string{config.Host}
	for _, other := range config.Fallbacks {
		hosts = append(hosts, other.Host)
	}
	for _, host := range hosts {
		if host != "localhost" && !net.ParseIP(host).IsLoopback() {
			return nil, fmt.Errorf("TEST_DATABASE_URL: %s is not this machine's loopback: refusing to test on it", host)
		}
	}
	return func(database string) string {
		at := *u
		at.Path = "/" + database
		return at.String()
	}, nil
}
