package dbtest

import (
	"os"
	"strconv"
	"testing"

	"docket/internal/devdb"
)

// Server starts a server for one test alone, with nothing on it: for tests of what a whole server has one of, such as
// roles and TLS. It takes a second; New is what most tests want.
func Server(t testing.TB) *devdb.Server {
	t.Helper()
	major := 0
	if value := os.Getenv("DOCKET_TEST_PG"); value != "" {
		var err error
		if major, err = strconv.Atoi(value); err != nil {
			t.Fatalf("DOCKET_TEST_PG: %q is not a major version of PostgreSQL", value)
		}
	}
	server, err := devdb.Start(t.Context(), devdb.Options{
		Dir: folder(t), Major: major, Ephemeral: true, Log: os.Stderr,
	})
	if err != nil {
		t.Fatalf("no server for the test: %v", err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	return server
}

// folder is a temporary folder that others than us may enter: when we are root, servers run as somebody else.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(scratch(), "docket-dbtest-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
