//go:build unix

package server_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"docket/internal/dbtest"
	"docket/internal/devdb"
	"docket/migrations"
)

// freeze stops every process of a PostgreSQL server until thaw is called.
func freeze(t *testing.T, address string) (thaw func()) {
	t.Helper()
	conn := must(pgx.Connect(t.Context(), address))
	var postmaster int
	check(t, conn.QueryRow(t.Context(), `select split_part(pg_read_file('postmaster.pid'), E'\n', 1)::int`).Scan(&postmaster))
	check(t, syscall.Kill(postmaster, syscall.SIGSTOP)) // first, so that it starts no others
	rows, err := conn.Query(t.Context(), "select pid from pg_stat_activity order by pid = pg_backend_pid()")
	check(t, err)
	frozen := append(must(pgx.CollectRows(rows, pgx.RowTo[int])), postmaster)
	for _, pid := range frozen {
		_ = syscall.Kill(pid, syscall.SIGSTOP) // an error: it has ended
	}
	thaw = sync.OnceFunc(func() {
		for _, pid := range frozen {
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
		_ = conn.Close(context.Background()) // t.Context may have ended
	})
	t.Cleanup(thaw)
	return thaw
}

// fault B7
func TestAFrozenDatabaseIsUnavailableAndNotOverloaded(t *testing.T) {
	t.Parallel()
	database := dbtest.Server(t)
	address := database.URL("postgres")
	conn := must(pgx.Connect(t.Context(), address))
	must(conn.Exec(t.Context(), devdb.UserFixtureSQL))
	check(t, conn.Close(t.Context()))
	check(t, migrations.Up(t.Context(), address, io.Discard))
	s := start(t, func(o *options) {
		o.databaseURL, o.Connections, o.RequestTimeout = address, connections, 10*time.Minute
	})
	const owners, each = 8, connections / 2 // as many as may be active of one owner: together they take all slots
	all := []*owner{s.bob}
	for range owners {
		all = append(all, s.newOwner())
	}
	for _, o := range all {
		dbtest.AddUser(t, address, o.id)
		o.create(t, `{"title": "A"}`)
	}

	thaw := freeze(t, address)
	var answers []chan *answer
	for _, o := range all[1:] {
		answers = append(answers, o.sendMany(t, each, ""))
	}
	defer thaw() // a failure must not wait for the time limit of the requests
	eventually(t, "all slots are taken", func() bool { return s.docket.InFlight() == owners*each })
	refused := func() string {
		a := s.bob.send(t, "GET", "", "").want(http.StatusServiceUnavailable)
		if code := a.problem().Code; code != "unavailable" || !strings.Contains(a.body, "cannot be reached") {
			return code
		}
		return "unavailable"
	}
	eventually(t, "a refused request finds that the database does not answer", func() bool { return refused() == "unavailable" })
	for range 3 {
		if code := refused(); code != "unavailable" {
			t.Errorf("the code is %s although the database does not answer", code)
		}
	}
	if c := s.unready(t); !strings.HasPrefix(c["database"], "does not answer") {
		t.Errorf("the checks are %v", c)
	}

	thaw()
	for _, sent := range answers {
		for range each {
			if a := <-sent; a.status != http.StatusOK { // PostgreSQL cancels a statement that was frozen for too long
				a.wantUnavailable("a frozen request")
			}
		}
	}
	persist(t, func() *answer { return s.bob.send(t, "GET", "", "") }).want(http.StatusOK)
	persist(t, func() *answer { return s.send(t, "GET", "/health/ready", "") }).want(http.StatusOK)
}
