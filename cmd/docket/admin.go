package main

import (
	"cmp"
	"context"
	"fmt"

	"docket/internal/config"
	"docket/migrations"
)

// admin executes `docket admin VERB`.
func admin(ctx context.Context, e env) error {
	if len(e.args) == 0 {
		return fmt.Errorf("admin takes new-epoch: %w", errUsage)
	}
	verb := e.args[0]
	if verb != "new-epoch" {
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
	before, after, err := migrations.NewEpoch(ctx, databaseURL, e.stderr)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "old epoch %s\nnew epoch %s\n", cmp.Or(before, "none"), after)
	return nil
}
