package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"docket/internal/store"
)

// A deadline would cost the connection: that PostgreSQL gives up first is what the timeout is for.
func TestAStatementThatTimesOutLeavesItsConnectionInUse(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			address := withUsers(t, "ada")
			conn, blocker := direct(t, address), direct(t, address)
			s := open(t, store.Config{
				URL: address + "&application_name=pool", QueryMode: mode, MaxConns: 1, StatementTimeout: 50 * time.Millisecond,
			})
			ada := s.For("ada")
			id := create(t, ada, "x").ID
			backend := func() string {
				return value[string](t, conn, "select string_agg(pid || ' since ' || backend_start, ', ') from pg_stat_activity where datname = current_database() and application_name = 'pool'")
			}
			before := backend()
			for name, do := range operations {
				if do.of != changesOne {
					continue
				}
				exec(t, blocker, "begin; select from task for update", pgx.QueryExecModeSimpleProtocol)
				err := do.call(t.Context(), ada, id)
				exec(t, blocker, "rollback")
				if !errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrOutcomeUnknown) {
					t.Errorf("%s: %v, want ErrUnavailable", name, err)
				}
				if task := get(t, ada, id); task.Title != "x" || task.Completed {
					t.Errorf("%s was carried out: %+v", name, task)
				}
				if after := backend(); after != before {
					t.Errorf("%s: the connection was %s, and is %s", name, before, after)
				}
			}
		})
	}
}

// visibleSQL has the database fail the first times that it looks whether somebody may see a row.
const visibleSQL = `
create sequence fault;
create function visible() returns boolean language plpgsql security definer as $$
begin
	if nextval('fault') <= %d then
		raise exception 'a fault' using errcode = '%s';
	end if;
	return true;
end;
$$;
create policy visible on task as restrictive for select to docket_app using ((select visible()))`

func TestReadsThatTheDatabaseTakesBackAreSentAgain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code   string
		faults int
		want   error
	}{
		{"40001", 1, nil},
		{"40P01", 2, nil},
		{"40001", 1000, store.ErrUnavailable},
		{"40P01", 1000, store.ErrUnavailable},
		{"08006", 1, nil},
		{"57P01", 1, nil},
		{"57P01", 1000, store.ErrUnavailable},
		{"53200", 1, store.ErrUnavailable}, // sending it again at once would make it worse
		{"57014", 1, store.ErrUnavailable}, // it would take as long again
	} {
		t.Run(fmt.Sprintf("%s %d times", c.code, c.faults), func(t *testing.T) {
			t.Parallel()
			for name, do := range operations {
				if do.of != readsOne && do.of != readsAll {
					continue
				}
				address := withUsers(t, "ada")
				ada := open(t, store.Config{URL: address}).For("ada")
				id := create(t, ada, "x").ID
				exec(t, direct(t, address), fmt.Sprintf(visibleSQL, c.faults, c.code), pgx.QueryExecModeSimpleProtocol)
				if err := do.call(t.Context(), ada, id); !errors.Is(err, c.want) {
					t.Errorf("%s: %v, want %v", name, err, c.want)
				}
			}
		})
	}
}
