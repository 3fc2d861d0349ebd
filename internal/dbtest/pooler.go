package dbtest

import (
	"testing"

	"docket/internal/dbtest/pooler"
)

// Pooler puts PgBouncer in front of a database until the test ends, in transaction mode and with three server connections
// for all its clients. It does not support prepared statements. It returns the database's URL through it.
func Pooler(t testing.TB, databaseURL string) string {
	t.Helper()
	return PlainPooler(t, databaseURL).URL
}

// PlainPooler is like Pooler, and returns the pooler.
func PlainPooler(t testing.TB, databaseURL string) *pooler.Pooler {
	t.Helper()
	return StartPooler(t, databaseURL, pooler.Options{Connections: 3})
}

// PreparingPooler is like PlainPooler, for a PgBouncer that supports prepared statements. The test fails where there is
// none, and says how to get it.
func PreparingPooler(t testing.TB, databaseURL string) *pooler.Pooler {
	t.Helper()
	return StartPooler(t, databaseURL, pooler.Options{Connections: 3, PreparedStatements: 200})
}

// StartPooler puts a PgBouncer with these options in front of a database until the test ends.
func StartPooler(t testing.TB, databaseURL string, o pooler.Options) *pooler.Pooler {
	t.Helper()
	p, err := pooler.StartWith(t.Context(), dataDir(t), databaseURL, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}
