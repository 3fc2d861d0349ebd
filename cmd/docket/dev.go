package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/jackc/pgx/v5"

	"docket/internal/config"
	"docket/internal/devdb"
	"docket/migrations"
)

const (
	devDir      = ".docket" // holds what lasts between runs
	devDatabase = "docket"
	devPort     = 54329 // of PostgreSQL, so that a frontend's DATABASE_URL stays the same
	issuerPort  = 8001

	// The demo owner and its first task are the examples of openapi.yaml, so that Swagger UI is filled in with them.
	demoOwner = "yJ3kQ8vLw2Rt6ZpNc9XbHs5MfGd1TaEu"
	demoTask  = "8f14e45f-ceea-467f-a0e6-1c2d3b4a5f60"
)

// dev runs everything that development needs, and stops it again.
func dev(ctx context.Context, e env) error {
	flags := e.flags("dev")
	fresh := flags.Bool("fresh", false, "start over with an empty database")
	addr := flags.String("addr", "127.0.0.1:8000", "address to listen on, a loopback one")
	if err := e.parse(flags, 0); err != nil {
		return err
	}
	if err := onLoopback(*addr); err != nil {
		return err
	}

	databaseURL := e.getenv("DATABASE_URL")
	if databaseURL == "" {
		if *fresh {
			if err := devdb.Remove(devDir); err != nil {
				return err
			}
		}
		db, err := devdb.Start(ctx, devdb.Options{Dir: devDir, Port: devPort, Log: e.stderr})
		if err != nil {
			return err
		}
		defer func() {
			if err := db.Stop(); err != nil {
				fmt.Fprintln(e.stderr, "docket:", err)
			}
		}()
		if databaseURL, err = makeDatabase(ctx, db); err != nil {
			return err
		}
	} else if *fresh {
		return fmt.Errorf("--fresh deletes only a database that docket dev made itself, not the one of DATABASE_URL: %w", errUsage)
	} else if !loopbackDatabase(databaseURL) {
		return errors.New("docket dev makes a demo user and tasks, and refuses a database that is not on loopback: use docket migrate and docket serve")
	}
	settings := map[string]string{
		"DATABASE_URL": databaseURL, "MIGRATE_DATABASE_URL": "", "ADDR": *addr,
		"LOG_FORMAT": "text", "SHUTDOWN_DELAY": "0s",
	}
	var demoToken func() (string, error)
	if e.getenv("BETTER_AUTH_URL") == "" && e.getenv("AUTH_JWKS_URL") == "" && e.getenv("BETTER_AUTH_SECRET") == "" {
		issuer, err := startIssuer(ctx)
		if err != nil {
			return err
		}
		defer issuer.stop()
		settings["BETTER_AUTH_URL"] = issuer.url
		demoToken = func() (string, error) { return issuer.token(demoOwner, 12*time.Hour) }
	}
	c, err := config.Load(func(name string) string {
		if v, set := settings[name]; set {
			return v
		}
		return e.getenv(name)
	})
	if err != nil {
		return err
	}
	if err := prepare(ctx, databaseURL, demoToken != nil, e.stderr); err != nil {
		return err
	}
	l, err := listenNear(*addr)
	if err != nil {
		return err
	}
	if err := welcome(e.stdout, l.Addr().String(), databaseURL, c.Auth.JWKSURL, demoToken); err != nil {
		return err
	}
	return serveOn(ctx, l, c, newLogger(c, e.stderr), demoToken)
}

// makeDatabase gives the URL of our database on the development server, made on the first run.
func makeDatabase(ctx context.Context, db *devdb.Server) (string, error) {
	conn, err := pgx.Connect(ctx, db.URL("postgres"))
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "create database "+devDatabase)
	var pg interface{ SQLState() string }
	if errors.As(err, &pg) && pg.SQLState() == "42P04" { // duplicate_database
		err = nil
	}
	return db.URL(devDatabase), err
}

const demoUserSQL = `
insert into "user" (id, name, email, "emailVerified", "createdAt", "updatedAt")
values ($1, 'Demo', 'demo@example.com', true, now(), now())
on conflict do nothing`

const demoTasksSQL = `
insert into task (user_id, id, title, description, priority, completed, created_at)
select $1::text, id, title, description, priority, completed, now() - age
from (values
  ($2::text,                'Prepare the quarterly report', 'Figures from the finance team are due on Thursday.', 'high', false, interval '0 minutes'),
  (gen_random_uuid()::text, 'Buy oat milk',                 null,                                                 'medium', false, interval '3 hours'),
  (gen_random_uuid()::text, 'Call the plumber',             'The tap in the kitchen drips.',                      'high', true, interval '1 day'),
  (gen_random_uuid()::text, 'Read the Docket README',       null,                                                 'low', false, interval '2 days')
) sample (id, title, description, priority, completed, age)
where not exists (select from task where user_id = $1::text)`

// prepare migrates the database and, for the demo, adds the user and a few tasks.
func prepare(ctx context.Context, databaseURL string, demo bool, log io.Writer) error {
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return fmt.Errorf("connect to the database: %w", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, devdb.UserFixtureSQL); err != nil {
		return err
	}
	if err := migrations.Up(ctx, databaseURL, log); err != nil || !demo {
		return err
	}
	if _, err := conn.Exec(ctx, demoUserSQL, demoOwner); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, demoTasksSQL, demoOwner, demoTask)
	return err
}

// onLoopback refuses an address that others could reach: a development issuer signs whatever it is asked for.
func onLoopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("docket dev listens on loopback alone, such as 127.0.0.1:8000: %w", errUsage)
	}
	return nil
}

// listenNear listens on addr, or on any free port of its host when that one is taken.
func listenNear(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err == nil {
		return l, nil
	}
	host, _, splitErr := net.SplitHostPort(addr)
	if splitErr != nil {
		return nil, err
	}
	return net.Listen("tcp", net.JoinHostPort(host, "0"))
}

// welcome says where everything is.
func welcome(w io.Writer, addr, databaseURL, jwksURL string, demoToken func() (string, error)) error {
	base := "http://" + addr
	fmt.Fprintf(w, "\nDocket is up.\n\n  Swagger UI    %s/docs\n  API           %s\n", base, base)
	if jwksURL != "" {
		fmt.Fprintf(w, "  keys          %s\n", jwksURL)
	}
	fmt.Fprintf(w, "  DATABASE_URL  %s\n", databaseURL)
	if demoToken != nil {
		token, err := demoToken()
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "\nA token for the demo user %s, good for 12 hours:\n\n%s\n\nCreate a task:\n\n"+
			"curl -i %s/api/%s/tasks -H 'Authorization: Bearer %s' -H 'Content-Type: application/json' -d '{\"title\":\"My first task\"}'\n",
			demoOwner, token, base, demoOwner, token)
	}
	_, err := fmt.Fprintf(w, "\nCtrl-C stops everything.\n\n")
	return err
}
