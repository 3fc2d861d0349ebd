package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"docket/contract"
	"docket/internal/dbtest"
)

// gate is an address that a test opens and shuts: what listens behind it comes and goes.
type gate struct {
	addr   string
	behind string

	mu   sync.Mutex
	mode mode
}

type mode int

const (
	shut mode = iota // hangs up on everybody
	hang             // takes everybody in and says nothing
	open
)

func newGate(t testing.TB, behind string) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	g := &gate{addr: l.Addr().String(), behind: behind}
	var guests sync.WaitGroup
	done := make(chan struct{})
	guests.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			guests.Go(func() { g.admit(c, done) })
		}
	})
	t.Cleanup(func() { l.Close(); close(done); guests.Wait() })
	return g
}

func (g *gate) now(m mode) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mode = m
}

func (g *gate) admit(c net.Conn, done <-chan struct{}) {
	defer c.Close()
	g.mu.Lock()
	m := g.mode
	g.mu.Unlock()
	switch m {
	case hang:
		<-done
	case open:
		inner, err := net.Dial("tcp", g.behind)
		if err != nil {
			return
		}
		defer inner.Close()
		go func() {
			_, _ = io.Copy(inner, c)
			inner.Close()
		}()
		go func() { <-done; inner.Close() }()
		_, _ = io.Copy(c, inner)
	}
}

// running is a serve or dev that runs inside the test.
type running struct {
	url            string
	stdout, stderr buffer
	stop           context.CancelFunc
	ended          chan error
}

// background runs a command until the test ends, and waits until it listens.
func background(t testing.TB, e environment, args ...string) *running {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	r := &running{stop: stop, ended: make(chan error, 1)}
	go func() { r.ended <- run(ctx, args, e.get, &r.stdout, &r.stderr) }()
	t.Cleanup(func() { stop(); r.wait(t) })
	eventually(t, "it listens", func() bool {
		select {
		case err := <-r.ended:
			t.Fatalf("ended with %v\n%s", err, &r.stderr)
		default:
		}
		for line := range strings.Lines(r.stderr.String()) {
			var entry struct{ Msg, Addr string }
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "listening" {
				r.url = "http://" + entry.Addr
			} else if _, addr, found := strings.Cut(line, "msg=listening addr="); found { // the text format
				r.url = "http://" + strings.Fields(addr)[0]
			}
		}
		return r.url != ""
	})
	return r
}

// wait waits for the end, which must be a good one.
func (r *running) wait(t testing.TB) {
	t.Helper()
	err := <-r.ended
	r.ended <- err
	if err != nil {
		t.Errorf("ended with %v\n%s", err, &r.stderr)
	}
}

func get(t testing.TB, address string, headers ...string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), "GET", address, nil)
	check(t, err)
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := contract.Client(t).Do(request)
	check(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	check(t, err)
	return response.StatusCode, string(text)
}

// served is the environment of a serve whose database and key host are behind gates.
func served(t testing.TB) (e environment, database, keys *gate, i *issuer) {
	t.Helper()
	u, err := url.Parse(dbtest.New(t))
	check(t, err)
	i, err = startIssuer(t.Context())
	check(t, err)
	t.Cleanup(i.stop)
	database, keys = newGate(t, u.Host), newGate(t, strings.TrimPrefix(i.url, "http://"))
	u.Host = database.addr
	return environment{
		"DATABASE_URL": u.String(), "ADDR": "127.0.0.1:0", "SHUTDOWN_DELAY": "0s", "DB_MIN_IDLE_CONNS": "1",
		"AUTH_JWKS_URL": "http://" + keys.addr + "/api/auth/jwks", "AUTH_ISSUER": i.url, "AUTH_AUDIENCE": i.url,
	}, database, keys, i
}

func TestServeWaitsForNobody(t *testing.T) {
	t.Parallel()
	for _, away := range []mode{shut, hang} {
		e, database, keys, i := served(t)
		database.now(away)
		keys.now(away)
		s := background(t, e, "serve")
		if status, _ := get(t, s.url+"/health"); status != http.StatusOK {
			t.Errorf("/health answers %d", status)
		}
		if status, body := get(t, s.url+"/health/ready"); status != http.StatusServiceUnavailable || !strings.Contains(body, "database") || !strings.Contains(body, "keys") {
			t.Errorf("/health/ready answers %d %s", status, body)
		}
		if away == hang {
			continue // what hangs is given up in time, which a test need not wait for
		}
		keys.now(open)
		eventually(t, "the keys are loaded", func() bool {
			_, body := get(t, s.url+"/health/ready")
			return strings.Contains(body, `"keys":"ok"`)
		})
		if status, _ := get(t, s.url+"/health/ready"); status != http.StatusServiceUnavailable {
			t.Errorf("ready without a database: %d", status)
		}
		database.now(open)
		eventually(t, "it is ready by itself", func() bool {
			status, _ := get(t, s.url+"/health/ready")
			return status == http.StatusOK
		})
		dbtest.AddUser(t, strings.Replace(e["DATABASE_URL"], database.addr, database.behind, 1), "ada")
		token, err := i.token("ada", 1e12)
		check(t, err)
		if status, body := get(t, s.url+"/api/ada/tasks", "Authorization", "Bearer "+token); status != http.StatusOK {
			t.Errorf("the list answers %d %s", status, body)
		}
	}
}

// With one connection there are two places for one owner.
func TestServeBoundsWhatIsInFlightByItsConnections(t *testing.T) {
	t.Parallel()
	e, database, keys, i := served(t)
	e["DB_MAX_CONNS"], e["DB_STATEMENT_TIMEOUT"] = "1", "9s"
	database.now(open)
	keys.now(open)
	s := background(t, e, "serve")
	eventually(t, "it is ready", func() bool {
		status, _ := get(t, s.url+"/health/ready")
		return status == http.StatusOK
	})
	behind := strings.Replace(e["DATABASE_URL"], database.addr, database.behind, 1)
	dbtest.AddUser(t, behind, "ada")
	token, err := i.token("ada", 1e12)
	check(t, err)
	conn, err := pgx.Connect(t.Context(), behind)
	check(t, err)
	defer conn.Close(context.Background()) // t.Context may have ended
	_, err = conn.Exec(t.Context(), "begin; lock table task in access exclusive mode")
	check(t, err)
	const many, share = 10, 2
	answers := make(chan string, many)
	for range many {
		go func() {
			_, body := get(t, s.url+"/api/ada/tasks", "Authorization", "Bearer "+token)
			answers <- body
		}()
	}
	for range many - share {
		if body := <-answers; !strings.Contains(body, "overloaded") {
			t.Errorf("the answer is %s", body)
		}
	}
	_, err = conn.Exec(t.Context(), "rollback")
	check(t, err)
	for range share {
		if body := <-answers; !strings.Contains(body, `"total":0`) {
			t.Errorf("the answer is %s", body)
		}
	}
}

func TestServeStopsWithItsContext(t *testing.T) {
	t.Parallel()
	e, database, keys, _ := served(t)
	database.now(open)
	keys.now(open)
	s := background(t, e, "serve")
	eventually(t, "it is ready", func() bool {
		status, _ := get(t, s.url+"/health/ready")
		return status == http.StatusOK
	})
	s.stop()
	s.wait(t)
	if c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://")); err == nil {
		c.Close()
		t.Error("somebody still listens")
	}
	var stopping bool
	for line := range strings.Lines(s.stderr.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("the log has the line %s", line)
		}
		stopping = stopping || strings.Contains(line, `"msg":"stopping"`)
	}
	if !stopping || s.stdout.String() != "" {
		t.Errorf("printed\n%s\n%s", &s.stdout, &s.stderr)
	}
}

func TestServeFailsOnATakenPort(t *testing.T) {
	t.Parallel()
	e, _, keys, _ := served(t)
	e["ADDR"] = keys.addr
	invoke(t, e, "serve").want(t, 1, "address already in use")
}

func TestServeLogsNoSecret(t *testing.T) {
	t.Parallel()
	e, _, keys, _ := served(t)
	u, err := url.Parse(e["DATABASE_URL"])
	check(t, err)
	u.User = url.UserPassword("docket", "hunter2-hunter2")
	e["DATABASE_URL"], e["LOG_LEVEL"] = u.String(), "debug"
	keys.now(open)
	s := background(t, e, "serve")
	get(t, s.url+"/health/ready")
	eventually(t, "it says that the database is away", func() bool {
		return strings.Contains(s.stderr.String(), "the database cannot be reached yet")
	})
	if strings.Contains(s.stderr.String(), "hunter2") {
		t.Errorf("logged\n%s", &s.stderr)
	}
}
