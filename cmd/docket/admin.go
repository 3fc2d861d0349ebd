package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"docket/internal/config"
	"docket/internal/due"
	"docket/migrations"
)

// admin executes `docket admin VERB`.
func admin(ctx context.Context, e env) error {
	if len(e.args) == 0 {
		return fmt.Errorf("admin takes new-epoch or recompute-due: %w", errUsage)
	}
	verb := e.args[0]
	execute, known := map[string]func(context.Context, env, string) error{"new-epoch": newEpoch, "recompute-due": recomputeDue}[verb]
	if !known {
		return fmt.Errorf("unknown: admin %q: %w", verb, errUsage)
	}
	e.args = e.args[1:]
	if err := e.parse(e.flags("admin "+verb), 0); err != nil {
		return err
	}
	c, err := config.LoadMigrate(e.getenv)
	if err != nil {
		return err
	}
	databaseURL := c.MigrateDatabaseURL.Reveal()
	if err := refusePooler(ctx, databaseURL); err != nil {
		return err
	}
	return execute(ctx, e, databaseURL)
}

func newEpoch(ctx context.Context, e env, databaseURL string) error {
	before, after, err := migrations.NewEpoch(ctx, databaseURL, e.stderr)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "old epoch %s\nnew epoch %s\n", cmp.Or(before, "none"), after)
	return nil
}

func recomputeDue(ctx context.Context, e env, databaseURL string) error {
	r, err := migrations.RecomputeDue(ctx, databaseURL, e.stderr, instantOf)
	fmt.Fprintf(e.stdout, "owners %d\ntasks %d\nchanged %d\nskipped %d\n", r.Owners, r.Tasks, r.Changed, r.Skipped)
	return err
}

// instantOf returns the instant of a due date with a time, as this binary's time zones have it.
func instantOf(date, clock, zone string) (time.Time, error) {
	d, err := due.ParseDate(date)
	if err != nil {
		return time.Time{}, err
	}
	t, err := due.ParseTime(clock)
	if err != nil {
		return time.Time{}, err
	}
	loc, err := due.LoadZone(zone)
	if err != nil {
		return time.Time{}, err
	}
	return due.Instant(d, t, loc), nil
}
