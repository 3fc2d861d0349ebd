package main

import (
	"context"
	"fmt"
	"runtime"
)

// buildVersion is set by the Makefile, from git.
var buildVersion = "dev"

// version executes `docket version`.
func version(_ context.Context, e env) error {
	if err := e.parse(e.flags("version"), 0); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "docket %s (%s, %s/%s)\n", buildVersion, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}
