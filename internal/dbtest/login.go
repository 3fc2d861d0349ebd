package dbtest

import (
	"context"
	"fmt"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Login creates a role that can log in, with no rights but the attributes, such as "createrole" or "connection limit 1".
// It returns the role and the database's URL for it. A server's databases share their roles, so the database's name is
// part of the role's. The role and everything that it owns in the database are dropped when the test ends.
func Login(t testing.TB, databaseURL, name, attributes string) (role, address string) {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	role = u.Path[1:] + "_" + name
	execute := func(ctx context.Context, statements ...string) error {
		conn, err := pgx.Connect(ctx, databaseURL)
		if err != nil {
			return err
		}
		defer conn.Close(ctx)
		for _, sql := range statements {
			if _, err := conn.Exec(ctx, sql); err != nil {
				return fmt.Errorf("%s: %w", sql, err)
			}
		}
		return nil
	}
	if err := execute(t.Context(), "create role "+role+" login password 'secret' "+attributes); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // t.Context has ended
		if err := execute(context.Background(), "drop owned by "+role+" cascade", "drop role "+role); err != nil {
			t.Error(err)
		}
	})
	u.User = url.UserPassword(role, "secret")
	return role, u.String()
}
