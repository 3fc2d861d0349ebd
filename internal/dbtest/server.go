package dbtest

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"docket/internal/devdb"
)

// Server starts a PostgreSQL server for one test. It is for tests of things that all databases of a server share, such
// as roles and TLS. It takes a second, so most tests use New.
func Server(t testing.TB) *devdb.Server {
	t.Helper()
	major, err := wantedMajor()
	if err != nil {
		t.Fatal(err)
	}
	server, err := devdb.Start(t.Context(), devdb.Options{Dir: dataDir(t), Major: major, Ephemeral: true, Log: os.Stderr})
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

// Replicated starts a PostgreSQL server for one test, and a hot standby that follows it. It fails the test if pg_basebackup
// is not installed beside the server's other programs.
func Replicated(t testing.TB) (primary, standby *devdb.Server) {
	t.Helper()
	major, err := wantedMajor()
	if err != nil {
		t.Fatal(err)
	}
	start := func(start func(dir string) (*devdb.Server, error)) *devdb.Server {
		server, err := start(dataDir(t))
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
	primary = start(func(dir string) (*devdb.Server, error) {
		return devdb.Start(t.Context(), devdb.Options{Dir: dir, Major: major, Log: os.Stderr})
	})
	return primary, start(func(dir string) (*devdb.Server, error) { return primary.Standby(t.Context(), dir) })
}

// wantedMajor returns the major version of DOCKET_TEST_PG, or 0 without that variable.
func wantedMajor() (int, error) {
	value := os.Getenv("DOCKET_TEST_PG")
	if value == "" {
		return 0, nil
	}
	major, err := strconv.Atoi(value)
	if err != nil {
		return 0, fmt.Errorf("DOCKET_TEST_PG: %q is not a major version of PostgreSQL", value)
	}
	return major, nil
}

// Dir returns a temporary folder that other users can enter, unlike t.TempDir's: when tests run as root, servers run as
// another user. The folder is removed when the test ends.
func Dir(t testing.TB) string {
	t.Helper()
	return tempDir(t, os.TempDir(), "docket-test-")
}

// dataDir is like Dir, for the data of a server of this package.
func dataDir(t testing.TB) string {
	t.Helper()
	return tempDir(t, scratch(), prefix)
}

func tempDir(t testing.TB, parent, pattern string) string {
	t.Helper()
	dir, err := devdb.TempDir(parent, pattern)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
