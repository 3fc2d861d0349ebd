//go:build unix

// Package failover_test moves the service's address between a primary and a hot standby while clients write.
package failover_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5"

	"docket/contract"
	"docket/e2e/internal/testenv"
	"docket/internal/dbtest"
	"docket/internal/devauth"
	"docket/internal/devdb"
	"docket/migrations"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

const (
	user    = "failover-test-owner"
	issuer  = "https://issuer.test"
	secret  = "a secret for this test only, of 32 bytes or more"
	writers = 8
)

// The service starts on an address that leads to a hot standby. Then the address leads to the primary. Then the primary
// fails and the standby is promoted: once while the service is connected to it, and the address stays, and once while the
// service is connected to the primary, and the address changes. Connections would be replaced after an hour.
//
// fault B1
func TestWritesSucceedAgainAfterAFailover(t *testing.T) {
	t.Parallel()
	t.Run("the address moves from a standby to the primary, then the other way after a promotion", func(t *testing.T) {
		t.Parallel()
		primary, standby := replicated(t)
		proxy := dbtest.Proxy(t, standby.URL("postgres"))
		s := startService(t, proxy.URL)
		s.startWriters(t)
		s.untilRefused(t, 100)
		s.wantStandby(t)
		eventually(t, "the service is connected to the standby", func() bool { return clients(t, standby) > 0 })

		check(t, proxy.Forward(primary.URL("postgres")))
		s.untilHealed(t, "the address led to the primary")
		eventually(t, "the connections to the standby are dropped", func() bool { return clients(t, standby) == 0 })

		check(t, primary.Stop())
		promote(t, standby)
		check(t, proxy.Forward(standby.URL("postgres")))
		s.untilHealed(t, "the standby was promoted and the address led to it")
	})
	t.Run("the standby that the address leads to is promoted", func(t *testing.T) {
		t.Parallel()
		_, standby := replicated(t)
		s := startService(t, standby.URL("postgres"))
		s.startWriters(t)
		s.untilRefused(t, 100)
		s.wantStandby(t)
		promote(t, standby)
		s.untilHealed(t, "the standby was promoted")
	})
	t.Run("the address names both servers", func(t *testing.T) {
		t.Parallel()
		primary, standby := replicated(t)
		s := startService(t, both(t, standby, primary))
		s.startWriters(t)
		s.untilHealed(t, "the service started")
		// A new connection is one to the standby until it is found to accept no changes.
		eventually(t, "no connection to the standby is kept", func() bool { return clients(t, standby) == 0 })
		check(t, primary.Stop())
		promote(t, standby)
		s.untilHealed(t, "the standby was promoted")
	})
}

// replicated starts a migrated database and its standby, which has all that was written.
func replicated(t *testing.T) (primary, standby *devdb.Server) {
	t.Helper()
	primary, standby = dbtest.Replicated(t)
	conn := connect(t, primary)
	_, err := conn.Exec(t.Context(), devdb.UserFixtureSQL)
	check(t, err)
	dbtest.AddUser(t, primary.URL("postgres"), user)
	check(t, migrations.Up(t.Context(), primary.URL("postgres"), io.Discard))
	var written string
	check(t, conn.QueryRow(t.Context(), "select pg_current_wal_lsn()::text").Scan(&written))
	follower := connect(t, standby)
	eventually(t, "the standby has the schema", func() (is bool) {
		check(t, follower.QueryRow(t.Context(), "select pg_last_wal_replay_lsn() >= $1::text::pg_lsn", written).Scan(&is))
		return is
	})
	return primary, standby
}

// both returns an address that names two servers.
func both(t *testing.T, first, second *devdb.Server) string {
	t.Helper()
	address, err := url.Parse(first.URL("postgres"))
	check(t, err)
	other, err := url.Parse(second.URL("postgres"))
	check(t, err)
	address.Host += "," + other.Host
	address.RawQuery += "&target_session_attrs=read-write"
	return address.String()
}

// promote makes a standby the primary.
func promote(t *testing.T, standby *devdb.Server) {
	t.Helper()
	var promoted bool
	check(t, connect(t, standby).QueryRow(t.Context(), "select pg_promote(true, 300)").Scan(&promoted))
	if !promoted {
		t.Fatal("the standby was not promoted")
	}
}

// clients counts the connections of the service to a server.
func clients(t *testing.T, server *devdb.Server) (n int) {
	t.Helper()
	conn := connect(t, server)
	check(t, conn.QueryRow(t.Context(), "select count(*) from pg_stat_activity where application_name = 'docket-failover'").Scan(&n))
	check(t, conn.Close(t.Context()))
	return n
}

// service is a running service with clients that write without a pause.
type service struct {
	url, token       string
	log              bytes.Buffer // read it when the service has ended
	created, refused atomic.Int64
	faults           sync.Map // answers that no client should get
}

// startService runs `docket serve` until the test ends.
func startService(t *testing.T, databaseURL string) *service {
	t.Helper()
	s := &service{}
	claims := devauth.Claims(issuer, user, 24*time.Hour).JSON()
	s.token = devauth.Sign(jwt.SigningMethodHS256, []byte(secret), `{"alg":"HS256"}`, claims)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	s.url = "http://" + l.Addr().String()
	l.Close()
	serve := exec.Command(testenv.Binary, "serve")
	serve.Env = []string{
		"DATABASE_URL=" + databaseURL + "&application_name=docket-failover", "ADDR=" + strings.TrimPrefix(s.url, "http://"),
		"BETTER_AUTH_SECRET=" + secret, "AUTH_ISSUER=" + issuer, "AUTH_AUDIENCE=" + issuer,
		"LOG_LEVEL=error", "SHUTDOWN_DELAY=0s",
	}
	serve.Stderr = &s.log
	check(t, serve.Start())
	t.Cleanup(func() {
		_ = serve.Process.Kill()
		_ = serve.Wait()
		if t.Failed() {
			t.Logf("%.5000s", s.log.String())
		}
	})
	eventually(t, "the service listens", func() bool {
		response, err := contract.Client(t).Get(s.url + "/health")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	return s
}

// startWriters creates tasks until the test ends. At the end it reports every answer that is not a 201 or a 503 of a
// database that is unavailable.
func (s *service) startWriters(t *testing.T) {
	t.Helper()
	stop := make(chan struct{})
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			client := contract.Client(t)
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				s.create(client, fmt.Sprintf("writer %d task %d", i, n))
			}
		})
	}
	t.Cleanup(func() {
		close(stop)
		all.Wait()
		t.Logf("%d creates succeeded, %d were refused", s.created.Load(), s.refused.Load())
		s.faults.Range(func(fault, _ any) bool {
			t.Error(fault)
			return true
		})
	})
}

// create sends one create and counts its outcome.
func (s *service) create(client *http.Client, title string) {
	body := strings.NewReader(`{"title": "` + title + `"}`)
	r, err := http.NewRequest(http.MethodPost, s.url+"/api/"+user+"/tasks", body)
	if err != nil {
		panic(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.token)
	r.Header.Set("Content-Type", "application/json")
	response, err := client.Do(r)
	if err != nil {
		s.faults.Store(err.Error(), true)
		return
	}
	defer response.Body.Close()
	var p struct{ Code, Detail string }
	err = json.NewDecoder(response.Body).Decode(&p)
	switch {
	case err != nil:
		s.faults.Store(err.Error(), true)
	case response.StatusCode == http.StatusCreated:
		s.created.Add(1)
	case response.StatusCode == http.StatusServiceUnavailable && response.Header.Get("Retry-After") != "" &&
		(p.Code == "unavailable" || p.Code == "outcome_unknown"): // a connection may break while it is used
		s.refused.Add(1)
	default:
		s.faults.Store(fmt.Sprintf("%d %s: %s", response.StatusCode, p.Code, p.Detail), true)
	}
}

// untilRefused waits for n more creates that are refused. No create succeeds meanwhile.
func (s *service) untilRefused(t *testing.T, n int64) {
	t.Helper()
	target := s.refused.Load() + n
	eventually(t, "creates are refused", func() bool { return s.refused.Load() >= target })
	if n := s.created.Load(); n > 0 {
		t.Errorf("%d creates succeeded", n)
	}
}

// untilHealed waits until creates succeed, all writers' and with none refused in between, and the service is ready.
func (s *service) untilHealed(t *testing.T, since string) {
	t.Helper()
	start, before := time.Now(), s.created.Load()
	eventually(t, "a create succeeds", func() bool { return s.created.Load() > before })
	t.Logf("%v after %s the first create succeeded", time.Since(start), since)
	eventually(t, "all creates succeed", func() bool {
		created, refused := s.created.Load(), s.refused.Load()
		eventually(t, "more creates are answered", func() bool {
			return s.created.Load() >= created+100 || s.refused.Load() > refused
		})
		return s.refused.Load() == refused
	})
	t.Logf("%v after %s 100 creates in a row had succeeded", time.Since(start), since)
	eventually(t, "the service is ready", func() bool { return s.readiness(t).Status == "ready" })
	t.Logf("%v after %s the service was found ready", time.Since(start), since)
}

type readiness struct {
	Status any
	Checks struct{ Database, Schema string }
}

func (s *service) readiness(t *testing.T) (r readiness) {
	t.Helper()
	response, err := contract.Client(t).Get(s.url + "/health/ready")
	check(t, err)
	defer response.Body.Close()
	check(t, json.NewDecoder(response.Body).Decode(&r))
	return r
}

// wantStandby checks that the service is not ready, and says that its server is a standby.
func (s *service) wantStandby(t *testing.T) {
	t.Helper()
	eventually(t, "the service says that its server is a standby", func() bool {
		r := s.readiness(t)
		if r.Status == "ready" {
			t.Fatal("the service is ready")
		}
		return strings.HasPrefix(r.Checks.Database, "accepts no changes: it is a standby that") && r.Checks.Schema == "ok"
	})
}

func connect(t *testing.T, server *devdb.Server) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), server.URL("postgres"))
	check(t, err)
	return conn // it ends with the server
}

// eventually waits for a condition. The deadline only ends a test that would hang.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(testenv.HangTimeout); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
