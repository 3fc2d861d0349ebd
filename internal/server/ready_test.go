package server_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"docket/internal/dbtest"
	"docket/internal/store"
	"docket/migrations"
)

// unready requests the readiness until the service is not ready, and returns its checks by name.
func (s *service) unready(t testing.TB) (checks map[string]string) {
	t.Helper()
	var a *answer
	eventually(t, "it is not ready", func() bool {
		a = s.send(t, "GET", "/health/ready", "")
		return a.status == http.StatusServiceUnavailable
	})
	var body struct{ Checks map[string]string }
	a.read(&body)
	return body.Checks
}

// wantUnavailable checks that an answer is a 503 that says when to try again.
func (a *answer) wantUnavailable(what string) {
	a.t.Helper()
	if a.want(http.StatusServiceUnavailable).problem().Code != "unavailable" || a.get("Retry-After") == "" {
		a.t.Errorf("%s: the answer is %s", what, a)
	}
}

// fault B4
func TestADatabaseThatWasNotMigratedIsUnavailable(t *testing.T) {
	t.Parallel()
	refuses := func(t *testing.T, s *service, says string) {
		t.Helper()
		for _, r := range requests {
			r.send(t, s.ada, "some id", "A").wantUnavailable(r.String())
		}
		if c := s.unready(t); !strings.HasPrefix(c["schema"], says) || c["database"] != "ok" {
			t.Errorf("the checks are %v", c)
		}
	}
	t.Run("never", func(t *testing.T) {
		t.Parallel()
		refuses(t, start(t, func(o *options) { o.databaseURL = dbtest.Empty(t) }), "not there: run docket migrate up")
	})
	for _, mode := range []store.QueryMode{"cache_statement", "exec", "cache_describe"} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			s := start(t)
			address := s.database.Config().ConnString()
			s = s.over(t, store.Config{QueryMode: mode, MaxConns: 2})
			for says, steps := range map[string]int{"version ": 1, "its version cannot be read: run docket migrate up": 0} {
				if err := migrations.Down(t.Context(), address, steps, io.Discard); err != nil {
					t.Fatal(err)
				}
				if steps == 1 { // only a search needs the newest migration
					s.ada.send(t, "GET", "?search=a", "").wantUnavailable("an older schema")
					if c := s.unready(t); !strings.HasPrefix(c["schema"], says) {
						t.Errorf("the checks are %v", c)
					}
				} else {
					refuses(t, s, says)
				}
				if err := migrations.Up(t.Context(), address, io.Discard); err != nil {
					t.Fatal(err)
				}
				s.send(t, "GET", "/health/ready", "").want(http.StatusOK)
				s.ada.send(t, "GET", "", "").want(http.StatusOK)
			}
		})
	}
}

// fault B2
func TestADatabaseThatAcceptsNoChangesIsUnavailable(t *testing.T) {
	t.Parallel()
	for _, mode := range []store.QueryMode{"cache_statement", "exec", "cache_describe"} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			s := start(t)
			id := s.ada.ownTag(t).ID
			name := pgx.Identifier{s.database.Config().ConnConfig.Database}.Sanitize()
			s.exec(t, "alter database "+name+" set default_transaction_read_only = on")
			s = s.over(t, store.Config{QueryMode: mode, MaxConns: 6}) // its connections have the default
			for range 5 {
				for _, r := range requests {
					a := r.send(t, s.ada, id, "A")
					if r.readOnly() {
						a.want(r.success())
						continue
					}
					a.wantUnavailable(r.String())
					if !strings.Contains(a.body, "accepts no changes") {
						t.Errorf("%s: the answer is %s", r, a)
					}
				}
			}
			if c := s.unready(t); !strings.HasPrefix(c["database"], "accepts no changes") || c["schema"] != "ok" {
				t.Errorf("the checks are %v", c)
			}
			_, err := s.database.Exec(t.Context(), "set default_transaction_read_only = off; alter database "+name+" reset all")
			check(t, err)
			persist(t, func() *answer { return s.ada.send(t, "POST", "", `{"title": "A"}`) }).want(http.StatusCreated)
			persist(t, func() *answer { return s.send(t, "GET", "/health/ready", "") }).want(http.StatusOK)
			for _, r := range requests {
				persist(t, func() *answer { return r.send(t, s.ada, s.ada.ownTag(t).ID, "A") }).want(r.success())
			}
		})
	}
}

// fault B6
func TestReadinessNamesALimitOfConnections(t *testing.T) {
	t.Parallel()
	var address, role string
	s := start(t, func(o *options) {
		role, address = dbtest.Login(t, o.databaseURL, "limited", "connection limit 3")
		o.databaseURL = address
	})
	s.exec(t, "grant docket_app to "+role)
	persist(t, func() *answer { return s.send(t, "GET", "/health/ready", "") }).want(http.StatusOK)
	s.exec(t, "select pg_terminate_backend(pid, 60000) from pg_stat_activity where usename = $1", role)
	var others []*pgx.Conn
	eventually(t, "the limit is reached", func() bool {
		conn, err := pgx.Connect(t.Context(), address)
		if err != nil {
			return true
		}
		others = append(others, conn)
		return false
	})
	if c := s.unready(t); !strings.HasPrefix(c["database"], "too many connections") {
		t.Errorf("the checks are %v", c)
	}
	for _, conn := range others {
		check(t, conn.Close(context.WithoutCancel(t.Context())))
	}
	persist(t, func() *answer { return s.send(t, "GET", "/health/ready", "") }).want(http.StatusOK)
}

func TestReadinessNamesAFaultOfTheDatabase(t *testing.T) {
	t.Parallel()
	for says, code := range map[string]string{
		"a transaction pooler without prepared statements": "26000",
		"does not execute the statements of requests":      "P0001",
		"accepts no changes":                               "25006",
	} {
		s := start(t)
		s.exec(t, `
create function fails() returns trigger language plpgsql as $$
begin
  raise exception 'no' using errcode = '`+code+`';
end;
$$;
create trigger fails before insert on task execute function fails()`)
		if c := s.unready(t); !strings.HasPrefix(c["database"], says) || c["schema"] != "ok" {
			t.Errorf("%s: the checks are %v", code, c)
		}
		s.exec(t, "drop trigger fails on task")
		s.send(t, "GET", "/health/ready", "").want(http.StatusOK)
	}
	s := start(t, func(o *options) { o.databaseURL = strings.Replace(o.databaseURL, "@", "x@", 1) })
	if c := s.unready(t); !strings.HasPrefix(c["database"], "refuses the login") {
		t.Errorf("the checks are %v", c)
	}
}
