package dbtest

import (
	"testing"

	"docket/internal/pgbouncer"
)

// Pooler puts PgBouncer in front of a database, in transaction mode and with three server connections for all its
// clients, and gives the database's address through it. It ends with the test.
func Pooler(t testing.TB, databaseURL string) string {
	t.Helper()
	p, err := pgbouncer.Start(t.Context(), folder(t), databaseURL, 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p.URL
}
