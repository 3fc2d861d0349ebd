package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"docket/internal/config"
	"docket/internal/devauth"
	"docket/internal/devdb"
	"docket/migrations"
)

const (
	devDir      = ".docket" // keeps the data between runs
	devDatabase = "docket"
	devPort     = 25432 // of PostgreSQL: fixed and not an ephemeral one, so that a frontend's DATABASE_URL stays valid
	issuerPort  = 8001

	// The demo owner and its first task are the examples of openapi.yaml, which Swagger UI fills in.
	demoOwner = "yJ3kQ8vLw2Rt6ZpNc9XbHs5MfGd1TaEu"
	demoTask  = "8f14e45f-ceea-467f-a0e6-1c2d3b4a5f60"
)

// dev runs PostgreSQL, a token issuer and the service until ctx ends. It starts no PostgreSQL when DATABASE_URL is set,
// and no issuer when the environment says how tokens are verified.
func dev(ctx context.Context, e env) error {
	flags := e.flags("dev")
	fresh := flags.Bool("fresh", false, "delete the database and start with an empty one")
	addr := flags.String("addr", "127.0.0.1:8000", "loopback address to listen on")
	if err := e.parse(flags, 0); err != nil {
		return err
	}
	if err := requireLoopback(*addr); err != nil {
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
		if databaseURL, err = createDatabase(ctx, db); err != nil {
			return err
		}
	} else if *fresh {
		return fmt.Errorf("--fresh deletes only a database that docket dev created, not the one of DATABASE_URL: %w", errUsage)
	} else if !isLoopbackDatabase(databaseURL) {
		return errors.New("docket dev creates a demo user and tasks, and refuses a database that is not on loopback: use docket migrate and docket serve")
	}
	settings := map[string]string{
		"DATABASE_URL": databaseURL, "MIGRATE_DATABASE_URL": "", "ADDR": *addr,
		"LOG_FORMAT": "text", "SHUTDOWN_DELAY": "0s",
	}
	var demoToken func() (string, error)
	if e.getenv("BETTER_AUTH_URL") == "" && e.getenv("AUTH_JWKS_URL") == "" && e.getenv("BETTER_AUTH_SECRET") == "" {
		issuer, err := startIssuer()
		if err != nil {
			return err
		}
		defer issuer.Close()
		settings["BETTER_AUTH_URL"] = issuer.URL
		demoToken = func() (string, error) { return issuer.Token(demoOwner), nil }
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
	if err := prepareDatabase(ctx, databaseURL, c.UserTable, demoToken != nil, e.stderr); err != nil {
		return err
	}
	l, err := listenPreferring(*addr)
	if err != nil {
		return err
	}
	if err := printAddresses(e.stdout, l.Addr().String(), databaseURL, c.Auth.JWKSURL, demoToken); err != nil {
		return err
	}
	return serveOn(ctx, l, c, newLogger(c, e.stderr), demoToken)
}

// startIssuer starts the issuer that replaces Better Auth, with tokens that last for a working day.
func startIssuer() (*devauth.Issuer, error) {
	l, err := listenPreferring(fmt.Sprintf("127.0.0.1:%d", issuerPort))
	if err != nil {
		return nil, err
	}
	return devauth.Start(devauth.Options{Listener: l, Owner: demoOwner, Lifetime: 12 * time.Hour})
}

// createDatabase creates Docket's database on the development server unless it is there. It returns its URL.
func createDatabase(ctx context.Context, db *devdb.Server) (string, error) {
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

// demoUserSQL, like the fixture, says "user" for the table of users.
const demoUserSQL = `
insert into "user" (id, name, email, "emailVerified", "createdAt", "updatedAt")
values ($1, 'Demo', 'demo@example.com', true, now(), now())
on conflict do nothing`

// demoTasksSQL adds a task for each way to be due: on a day and at a time in a zone, today, overdue, once and by rules. The
// first is that of the document's examples, whose occurrence the example of skipOccurrence skips; so its day is fixed.
const demoTasksSQL = `
insert into task (
  user_id, id, title, description, priority, completed, created_at, tags,
  due_date, due_time, time_zone, due_at, recurrence_rule, recurrence_mode
)
select $1::text, id, title, description, priority, completed, now() - age, tags,
  due_date, due_time, time_zone, (due_date + due_time) at time zone time_zone, rule, mode
from (values
  ($2::text, 'Prepare the quarterly report', 'Figures from the finance team are due on Thursday.', 'high', false, interval '0 minutes',
    array['work', 'report'], date '2026-03-16', time '09:30', 'Europe/Berlin', 'FREQ=WEEKLY;BYDAY=MO', 'skip_missed'),
  (gen_random_uuid()::text, 'Buy oat milk', null, 'medium', false, interval '3 hours',
    array['home', 'shopping'], current_date, null, null, null, 'skip_missed'),
  (gen_random_uuid()::text, 'Call the plumber', 'The tap in the kitchen drips.', 'high', true, interval '1 day',
    array['home'], current_date - 1, null, null, null, 'skip_missed'),
  (gen_random_uuid()::text, 'Read the Docket README', null, 'low', false, interval '2 days',
    array[]::text[], null, null, null, null, 'skip_missed'),
  (gen_random_uuid()::text, 'Renew the passport', null, 'high', false, interval '30 days',
    array[]::text[], current_date - 3, null, null, null, 'skip_missed'),
  (gen_random_uuid()::text, 'Pay the rent', 'On the last day of each month.', 'medium', false, interval '40 days',
    array['home'], (date_trunc('month', current_date) + interval '1 month - 1 day')::date, null, null,
    'FREQ=MONTHLY;BYMONTHDAY=-1', 'keep_missed'),
  (gen_random_uuid()::text, 'Water the plants', 'Every third day after they were watered.', 'low', false, interval '50 days',
    array['home', 'Garden'], current_date + 1, null, null, 'FREQ=DAILY;INTERVAL=3', 'after_completion')
) sample (id, title, description, priority, completed, age, tags, due_date, due_time, time_zone, rule, mode)
where not exists (select from task where user_id = $1::text)`

// prepareDatabase migrates the database. For the demo it adds a user and a few tasks. userTable is AUTH_USER_TABLE.
func prepareDatabase(ctx context.Context, databaseURL, userTable string, demo bool, log io.Writer) error {
	users := pgx.Identifier(strings.Split(cmp.Or(userTable, "user"), "."))
	named := strings.NewReplacer(`"user"`, users.Sanitize())
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return fmt.Errorf("connect to the database: %w", err)
	}
	defer conn.Close(ctx)
	if len(users) == 2 {
		if _, err := conn.Exec(ctx, "create schema if not exists "+users[:1].Sanitize()); err != nil {
			return err
		}
	}
	if _, err := conn.Exec(ctx, named.Replace(devdb.UserFixtureSQL)); err != nil {
		return err
	}
	err = migrations.UpFor(ctx, databaseURL, userTable, log)
	if errors.Is(err, migrations.ErrOldNumbering) {
		return fmt.Errorf("%w\nOr delete the development database: docket dev --fresh", err)
	}
	if err != nil || !demo {
		return err
	}
	if _, err := conn.Exec(ctx, named.Replace(demoUserSQL), demoOwner); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, demoTasksSQL, demoOwner, demoTask)
	return err
}

// requireLoopback refuses an address that other machines could reach: the development issuer signs a token for everybody
// who asks.
func requireLoopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("docket dev listens on loopback only, such as 127.0.0.1:8000: %w", errUsage)
	}
	return nil
}

// listenPreferring listens on addr, or on a free port of its host when addr is taken.
func listenPreferring(addr string) (net.Listener, error) {
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

// printAddresses prints the addresses of everything that runs and, with a token, a first request.
func printAddresses(w io.Writer, addr, databaseURL, jwksURL string, demoToken func() (string, error)) error {
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
		fmt.Fprintf(w, "\nA token for the demo user %s, valid for 12 hours:\n\n%s\n\nCreate a task:\n\n"+
			"curl -i %s/api/%s/tasks -H 'Authorization: Bearer %s' -H 'Content-Type: application/json' -d '{\"title\":\"My first task\"}'\n",
			demoOwner, token, base, demoOwner, token)
	}
	_, err := fmt.Fprintf(w, "\nCtrl-C stops everything.\n\n")
	return err
}
