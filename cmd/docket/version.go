package main

import (
	"context"
	"fmt"
	"runtime"
)

// buildVersion and buildCommit are set when docket is built: by the Makefile, by tools/release and by the Dockerfile.
var (
	buildVersion = "dev"
	buildCommit  = "unknown"
)

// version executes `docket version`.
func version(_ context.Context, e env) error {
	if err := e.parse(e.flags("version"), 0); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "docket %s (%s, %s/%s, commit %s)\n", buildVersion, runtime.Version(), runtime.GOOS, runtime.GOARCH, buildCommit)
	return nil
}
