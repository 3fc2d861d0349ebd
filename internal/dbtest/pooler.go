package dbtest

import (
	"testing"

	"docket/internal/dbtest/pooler"
)

// Pooler puts PgBouncer in front of a database until the test ends, in transaction mode and with three server connections
// for all its clients. It returns the database's URL through it.
func Pooler(t testing.TB, databaseURL string) string {
	t.Helper()
	p, err := pooler.Start(t.Context(), dataDir(t), databaseURL, 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p.URL
}
