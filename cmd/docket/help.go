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

func init() { // not a literal: help lists the commands, itself included
	commands = []command{
		{"serve", "serve", "answer the API; reads the variables below", serve},
		{"migrate", "migrate up | down [STEPS] | status | new NAME | reset --yes", "move the database's schema", migrate},
		{"dev", "dev [--fresh] [--addr HOST:PORT]", "everything for development in one command: PostgreSQL, schema, issuer, service", dev},
		{"version", "version", "say which version this is", version},
		{"help", "help", "say this", func(_ context.Context, e env) error { writeHelp(e.stdout); return nil }},
	}
}

func writeHelp(w io.Writer) {
	fmt.Fprintf(w, "docket is a task backend for the users of Better Auth.\n\nCommands:\n")
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, c := range commands {
		fmt.Fprintf(t, "  docket %s\t%s\n", c.usage, c.help)
	}
	_ = t.Flush() // a failure shows in the next line
	fmt.Fprintf(w, "\nEnvironment:\n")
	for _, v := range config.Variables {
		fmt.Fprintf(t, "  %s\t%s\t%s\n", v.Name, v.Default, v.Help)
	}
	_ = t.Flush()
}
