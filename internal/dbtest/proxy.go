package dbtest

import (
	"testing"

	"docket/internal/dbtest/pgproxy"
)

// Proxy puts a proxy in front of a database until the test ends.
func Proxy(t testing.TB, databaseURL string) *pgproxy.Proxy {
	t.Helper()
	p, err := pgproxy.Start(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}
