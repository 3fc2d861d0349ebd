package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"docket/internal/config"
	"docket/internal/store"
	"docket/migrations"
)

// migrate executes `docket migrate VERB`.
func migrate(ctx context.Context, e env) error {
	if len(e.args) == 0 {
		return fmt.Errorf("migrate takes up, down, status, new or reset: %w", errUsage)
	}
	verb := e.args[0]
	e.args = e.args[1:]
	flags := e.flags("migrate " + verb)
	if verb == "new" {
		dir := flags.String("dir", "migrations", "folder of the migrations")
		if err := e.parse(flags, 1); err != nil {
			return err
		}
		path, err := migrations.New(*dir, flags.Arg(0))
		if err == nil {
			fmt.Fprintln(e.stdout, path)
		}
		return err
	}

	steps := 1
	yes := false
	switch verb {
	case "up", "status":
	case "down":
		if len(e.args) == 1 {
			n, err := strconv.Atoi(e.args[0])
			if err != nil || n < 1 {
				return fmt.Errorf("STEPS must be a whole number from 1: %w", errUsage)
			}
			steps, e.args = n, nil
		}
	case "reset":
		flags.BoolVar(&yes, "yes", false, "confirm that every task is dropped")
	default:
		return fmt.Errorf("unknown: migrate %q: %w", verb, errUsage)
	}
	if err := e.parse(flags, 0); err != nil {
		return err
	}
	c, err := config.LoadMigrate(e.getenv)
	if err != nil {
		return err
	}
	databaseURL := c.MigrateDatabaseURL.Reveal()
	if verb == "reset" {
		if err := checkReset(databaseURL, yes); err != nil {
			return err
		}
	}
	if verb != "status" {
		if err := refusePooler(ctx, databaseURL); err != nil {
			return err
		}
	}
	switch verb {
	case "up":
		return migrations.UpFor(ctx, databaseURL, c.UserTable, e.stdout)
	case "down":
		return migrations.Down(ctx, databaseURL, steps, e.stdout)
	case "reset":
		return migrations.Reset(ctx, databaseURL, c.UserTable, e.stdout)
	}
	state, err := migrations.Status(ctx, databaseURL)
	if err != nil {
		return err
	}
	for i, name := range state.Names {
		mark := "pending"
		if int32(i) < state.Current {
			mark = "applied"
		}
		fmt.Fprintf(e.stdout, "%s  %s\n", mark, name)
	}
	fmt.Fprintf(e.stdout, "at version %d, this binary brings %d\n", state.Current, state.Newest)
	return nil
}

// refusePooler returns an error if the URL is a transaction pooler's.
func refusePooler(ctx context.Context, databaseURL string) error {
	if pooled, err := store.TransactionPooler(ctx, databaseURL); err != nil || !pooled {
		return err
	}
	return errors.New("this is the address of a transaction pooler, through which a migration's lock does not hold: " +
		"set MIGRATE_DATABASE_URL to the direct address (on Neon the one without -pooler)")
}

// checkReset returns an error unless the database is on this machine and the user has confirmed that it is emptied.
func checkReset(databaseURL string, yes bool) error {
	if !isLoopbackDatabase(databaseURL) {
		return errors.New("reset drops every task and is for development: it refuses a database that is not on loopback")
	}
	if !yes {
		return fmt.Errorf("reset drops every task: confirm with --yes: %w", errUsage)
	}
	return nil
}

// isLoopbackDatabase reports whether every host of the URL is this machine.
func isLoopbackDatabase(databaseURL string) bool {
	c, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return false
	}
	hosts := []string{c.Host}
	for _, f := range c.Fallbacks {
		hosts = append(hosts, f.Host)
	}
	return !slices.ContainsFunc(hosts, func(host string) bool {
		ip := net.ParseIP(host)
		return !strings.HasPrefix(host, "/") && host != "localhost" && (ip == nil || !ip.IsLoopback())
	})
}
