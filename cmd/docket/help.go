package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"docket/internal/config"
)

type command struct {
	name  string
	usage string
	help  string
	run   func(context.Context, env) error
}

var commands []command

func init() { // not a literal: help refers to commands
	commands = []command{
		{"serve", "serve", "serve the API, configured by the variables below", serve},
		{"migrate", "migrate up | down [STEPS] | status | new NAME | reset --yes", "change the version of the database's schema", migrate},
		{"health", "health [-live]", "ask the service that this environment configures whether it is ready, or alive with -live", health},
		{"admin", "admin new-epoch | recompute-due", "after a restore: make positions in the change feed from before expire; after a change of the time zones: compute instants anew", admin},
		{"dev", "dev [--fresh] [--addr HOST:PORT]", "run everything for development: PostgreSQL, schema, token issuer, service", dev},
		{"version", "version", "print the version", version},
		{"help", "help", "print this help", func(_ context.Context, e env) error { writeHelp(e.stdout); return nil }},
	}
}

func writeHelp(w io.Writer) {
	fmt.Fprintf(w, "docket is a task backend for the users of Better Auth.\n\nCommands:\n")
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, c := range commands {
		fmt.Fprintf(t, "  docket %s\t%s\n", c.usage, c.help)
	}
	_ = t.Flush() // the next write fails too
	writeVariables(w, "Environment", config.Variables)
	writeVariables(w, "Traces (OpenTelemetry; off by default)", config.TraceVariables)
}

func writeVariables(w io.Writer, title string, variables []config.Variable) {
	fmt.Fprintf(w, "\n%s:\n", title)
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, v := range variables {
		fmt.Fprintf(t, "  %s\t%s\t%s\n", v.Name, v.Default, v.Help)
	}
	_ = t.Flush() // the next write fails too
}
