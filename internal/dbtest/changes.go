package dbtest

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
)

// A sequence counts the changes, because a rollback does not reset it.
const countChangesSQL = `
create sequence changes minvalue 0;
select nextval('changes');
create function count_change() returns trigger language plpgsql security definer as $$
begin
  perform nextval('changes');
  return null;
end;
$$;
create trigger count_change after insert or update or delete on task for each row execute function count_change()`

// CountChanges returns a function that returns the number of rows of the table task that were changed since the call of
// CountChanges, including changes that were rolled back.
func CountChanges(t testing.TB, databaseURL string) (made func() int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) }) // t.Context has ended
	if _, err := conn.Exec(t.Context(), countChangesSQL, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	return func() (n int) {
		t.Helper()
		if err := conn.QueryRow(t.Context(), "select last_value from changes").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
}
