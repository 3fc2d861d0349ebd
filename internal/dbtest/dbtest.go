// Package dbtest gives each test a PostgreSQL database of its own.
//
// The first test of a process that needs a database starts a server and migrates one database; each test gets a copy of
// that, which takes some 30 ms. Tests fail where there is no PostgreSQL and none can be fetched: they never skip.
//
// Two environment variables choose the server: DOCKET_TEST_PG is a major version, such as 18; TEST_DATABASE_URL is the
// URL of a running server on this machine, for a superuser.
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
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"docket/internal/devdb"
	"docket/migrations"
)

// New creates a migrated database with an empty table "user" and returns its URL, for the server's superuser. The database
// is dropped when the test ends.
func New(t testing.TB) string {
	t.Helper()
	c := started(t)
	return c.create(t, c.template)
}

// Empty is like New, for a database without tables.
func Empty(t testing.TB) string {
	t.Helper()
	return started(t).create(t, "template0")
}

const addUserSQL = `
insert into "user" (id, name, email, "emailVerified")
select id, id, id || '@example.com', true from unnest($1::text[]) as id`

// AddUser inserts users into the table "user". A user's name is the id, and so is the local part of the email address.
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

// Main runs a package's tests and stops the server that they used. It is for TestMain: os.Exit(dbtest.Main(m)).
func Main(m *testing.M) int {
	defer func() {
		if err := shared.stop(); err != nil {
			fmt.Fprintln(os.Stderr, "dbtest:", err)
		}
	}()
	return m.Run()
}

// shared is the test process's cluster.
var (
	shared      cluster
	startShared = sync.OnceValue(func() error { return shared.start(context.Background()) })
)

// started returns the test process's cluster, which the first call starts.
func started(t testing.TB) *cluster {
	t.Helper()
	if err := startShared(); err != nil {
		t.Fatalf("no database for the test: %v", err)
	}
	return &shared
}

// cluster is a server with a template database.
type cluster struct {
	server   *devdb.Server // nil with TEST_DATABASE_URL
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
	// A pool, because a drop waits for the database's last session to end and other tests do not wait for that.
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

// prefix is the prefix of the names of servers' data folders.
const prefix = "docket-dbtest-"

// run starts a server.
func (c *cluster) run(ctx context.Context) error {
	major, err := wantedMajor()
	if err != nil {
		return err
	}
	removeLeftovers()
	if c.dir, err = devdb.TempDir(scratch(), prefix); err != nil {
		return err
	}
	c.server, err = devdb.Start(ctx, devdb.Options{Dir: c.dir, Major: major, Ephemeral: true, Log: os.Stderr})
	if err != nil {
		return err
	}
	c.url = c.server.URL
	return nil
}

// removeLeftovers removes the data that killed test processes left behind and, except on Linux, stops their servers. It
// keeps data in use and data that is less than an hour old, whose server may still be shutting down.
func removeLeftovers() {
	left, _ := filepath.Glob(filepath.Join(scratch(), prefix+"*", "data-*"))
	for _, data := range left {
		if info, err := os.Stat(data); err == nil && time.Since(info.ModTime()) > time.Hour {
			_ = devdb.Remove(filepath.Dir(data))
		}
	}
}

// migrate creates the database that New copies.
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

// create creates a database for one test.
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
	// On the server of TEST_DATABASE_URL, a killed process with the same number may have left one of that name.
	if err := c.drop(ctx, name); err != nil {
		return err
	}
	// wal_log needs no checkpoint, unlike file_copy, and is several times faster for a small template.
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

// addresses returns a function that returns the URL of a database of the server of TEST_DATABASE_URL. It refuses a server
// on another machine, as tests create and drop databases.
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
