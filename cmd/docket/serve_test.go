package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"docket/contract"
	"docket/internal/dbtest"
	"docket/internal/dbtest/pgproxy"
	"docket/internal/devauth"
)

// running is a serve or dev that runs in the test's process.
type running struct {
	url            string
	stdout, stderr buffer
	stop           context.CancelFunc
	ended          chan error
}

// background runs a command until the test ends, and returns when it listens.
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

// wait waits for the end of the command, which must be without an error.
func (r *running) wait(t testing.TB) {
	t.Helper()
	err := <-r.ended
	r.ended <- err
	if err != nil {
		t.Errorf("ended with %v\n%s", err, &r.stderr)
	}
}

func (r *running) untilReady(t testing.TB) {
	t.Helper()
	eventually(t, "it is ready", func() bool {
		status, _ := get(t, r.url+"/health/ready")
		return status == http.StatusOK
	})
}

func get(t testing.TB, address string, headers ...string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
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

// dependencies are the database and the token issuer of a serve. A test can make either fail.
type dependencies struct {
	databaseURL string // of the database itself
	database    *pgproxy.Proxy
	issuer      *devauth.Issuer
}

// newDependencies returns dependencies that work, and the environment of a serve that uses them.
func newDependencies(t testing.TB) (dependencies, environment) {
	t.Helper()
	d := dependencies{databaseURL: dbtest.New(t)}
	d.database = dbtest.Proxy(t, d.databaseURL)
	d.issuer = newIssuer(t)
	return d, environment{
		"DATABASE_URL": d.database.URL, "ADDR": "127.0.0.1:0", "SHUTDOWN_DELAY": "0s", "DB_MIN_IDLE_CONNS": "1",
		"BETTER_AUTH_URL": d.issuer.URL,
	}
}

func newIssuer(t testing.TB) *devauth.Issuer {
	t.Helper()
	i, err := devauth.Start(devauth.Options{})
	check(t, err)
	t.Cleanup(i.Close)
	return i
}

// bearer returns the header of a request by the owner.
func (d dependencies) bearer(owner string) (name, value string) {
	return "Authorization", "Bearer " + d.issuer.Token(owner)
}

func TestServeStartsWithoutDatabaseAndKeys(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(dependencies){
		"connections are closed": func(d dependencies) {
			d.database.Refuse()
			d.issuer.AnswerKeys(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		},
		"connections are never answered": func(d dependencies) {
			d.database.Hang()
			d.issuer.AnswerKeys(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, e := newDependencies(t)
			fail(d)
			s := background(t, e, "serve")
			if status, _ := get(t, s.url+"/health"); status != http.StatusOK {
				t.Errorf("/health answers %d", status)
			}
			if status, body := get(t, s.url+"/health/ready"); status != http.StatusServiceUnavailable || !strings.Contains(body, "database") || !strings.Contains(body, "keys") {
				t.Errorf("/health/ready answers %d %s", status, body)
			}
			d.issuer.Publish(d.issuer.JWK())
			eventually(t, "the keys are loaded", func() bool {
				_, body := get(t, s.url+"/health/ready")
				return strings.Contains(body, `"keys":"ok"`)
			})
			if status, _ := get(t, s.url+"/health/ready"); status != http.StatusServiceUnavailable {
				t.Errorf("ready without a database: %d", status)
			}
			check(t, d.database.Forward(d.databaseURL))
			s.untilReady(t)
			dbtest.AddUser(t, d.databaseURL, "ada")
			name, value := d.bearer("ada")
			if status, body := get(t, s.url+"/api/ada/tasks", name, value); status != http.StatusOK {
				t.Errorf("the list answers %d %s", status, body)
			}
		})
	}
}

// The limit of requests in flight follows from DB_MAX_CONNS: with one connection, ten requests of an owner are too many.
func TestServeLimitsRequestsInFlightByItsConnections(t *testing.T) {
	t.Parallel()
	d, e := newDependencies(t)
	e["DB_MAX_CONNS"] = "1"
	s := background(t, e, "serve")
	s.untilReady(t)
	dbtest.AddUser(t, d.databaseURL, "ada")
	name, value := d.bearer("ada")
	conn, err := pgx.Connect(t.Context(), d.databaseURL)
	check(t, err)
	defer conn.Close(context.Background()) // t.Context may have ended
	_, err = conn.Exec(t.Context(), "begin; lock table task in access exclusive mode")
	check(t, err)
	const requests = 10
	answers := make(chan string, requests)
	for range requests {
		go func() {
			_, body := get(t, s.url+"/api/ada/tasks", name, value)
			answers <- body
		}()
	}
	received, overloaded := 0, false
	for ; received < requests && !overloaded; received++ {
		overloaded = strings.Contains(<-answers, "overloaded")
	}
	if !overloaded {
		t.Error("no request was refused")
	}
	_, err = conn.Exec(t.Context(), "rollback")
	check(t, err)
	for ; received < requests; received++ {
		<-answers
	}
	if status, body := get(t, s.url+"/api/ada/tasks", name, value); status != http.StatusOK {
		t.Errorf("afterwards the list answers %d %s", status, body)
	}
}

func TestServeStopsWithItsContext(t *testing.T) {
	t.Parallel()
	_, e := newDependencies(t)
	s := background(t, e, "serve")
	s.untilReady(t)
	s.stop()
	s.wait(t)
	if c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://")); err == nil {
		c.Close()
		t.Error("it still listens")
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

func TestServeFailsIfThePortIsInUse(t *testing.T) {
	t.Parallel()
	d, e := newDependencies(t)
	e["ADDR"] = strings.TrimPrefix(d.issuer.URL, "http://")
	invoke(t, e, "serve").want(t, 1, "address already in use")
}

func TestServeLogsNoSecret(t *testing.T) {
	t.Parallel()
	d, e := newDependencies(t)
	d.database.Refuse()
	u, err := url.Parse(e["DATABASE_URL"])
	check(t, err)
	u.User = url.UserPassword("docket", "hunter2-hunter2")
	e["DATABASE_URL"], e["LOG_LEVEL"] = u.String(), "debug"
	s := background(t, e, "serve")
	get(t, s.url+"/health/ready")
	eventually(t, "the failure is logged", func() bool {
		return strings.Contains(s.stderr.String(), "the database cannot be reached yet")
	})
	if strings.Contains(s.stderr.String(), "hunter2") {
		t.Errorf("logged\n%s", &s.stderr)
	}
}
