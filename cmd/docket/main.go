// Command docket is the task backend: see `docket help`.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // an image that holds nothing but docket has no time zones for TZ

	"docket/internal/config"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(report(err, os.Stderr))
}

// errUsage marks errors in the command line.
var errUsage = errors.New("see docket help")

// run executes one command line. It returns when the command is done or ctx ends.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		writeHelp(stderr)
		return errUsage
	}
	name := args[0]
	if name == "-h" || name == "-help" || name == "--help" {
		name = "help"
	}
	for _, c := range commands {
		if c.name == name {
			return c.run(ctx, env{args[1:], config.Trim(getenv), stdout, stderr})
		}
	}
	return fmt.Errorf("unknown command %q: %w", args[0], errUsage)
}

// report prints an error and returns the exit code: 0 without an error, 2 when the command line or the environment is
// invalid, 1 for any other error. Go's runtime exits with 2 too, after a panic.
func report(err error, stderr io.Writer) int {
	var faults config.Faults
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &faults), errors.Is(err, errUsage):
		fmt.Fprintln(stderr, "docket:", err)
		return 2
	}
	fmt.Fprintln(stderr, "docket:", err)
	return 1
}

// env is what a command gets from its process.
type env struct {
	args           []string // without the command's name
	getenv         func(string) string
	stdout, stderr io.Writer
}

// flags returns a new flag set for a command. It prints its errors itself.
func (e env) flags(name string) *flag.FlagSet {
	f := flag.NewFlagSet("docket "+name, flag.ContinueOnError)
	f.SetOutput(e.stderr)
	return f
}

// parse parses the command's flags. It returns errUsage when a flag is wrong or the number of arguments is another.
func (e env) parse(f *flag.FlagSet, arguments int) error {
	if err := f.Parse(e.args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%w: %w", err, errUsage)
	}
	if f.NArg() != arguments {
		return fmt.Errorf("%s takes %d arguments, not %d: %w", f.Name(), arguments, f.NArg(), errUsage)
	}
	return nil
}
