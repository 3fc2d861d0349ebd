package server_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"docket/internal/server"
)

func TestARequestInFlightIsFinishedOnShutdown(t *testing.T) {
	t.Parallel()
	s := start(t)
	made := s.ada.create(t, `{"title": "A"}`)
	release := s.block(t)
	head := crlf("GET " + s.ada.tasks() + "/" + made.ID + " HTTP/1.1\nHost: docket\nAuthorization: Bearer " + s.ada.token)
	waiting := s.dial(t, head)
	s.blocked(t)
	s.stop()
	eventually(t, "the listener is closed", func() bool {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	select {
	case <-s.stopped:
		t.Fatal("stopped with a request in flight")
	default:
	}
	release()
	if a := waiting.answer(t, head).want(http.StatusOK); a.task() != made || !a.last {
		t.Errorf("the answer is %s", a)
	}
	<-s.stopped
}

func TestARequestWhoseBodyIsInFlightIsFinishedOnShutdown(t *testing.T) {
	t.Parallel()
	s := start(t)
	const body = `{"title": "Just in time"}`
	head := crlf("POST " + s.ada.tasks() + " HTTP/1.1\nHost: docket\nContent-Type: application/json\nContent-Length: 25\nExpect: 100-continue\n" +
		"Authorization: Bearer " + s.ada.token)
	c := s.dial(t, head)
	// The service sends 100 Continue when it reads the body.
	const interim = "HTTP/1.1 100 Continue\r\n\r\n"
	if got := must(io.ReadAll(io.LimitReader(c.answers, int64(len(interim))))); string(got) != interim {
		t.Fatalf("got %q", got)
	}
	s.stop()
	_ = must(io.WriteString(c, body))
	if made := c.answer(t, head).want(http.StatusCreated).task(); made.Title != "Just in time" {
		t.Errorf("made %+v", made)
	}
	<-s.stopped
}

// While it drains, the service answers everything but readiness, and ends connections so that clients find another one.
func TestDrainingServiceAnswersButIsNotReady(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.send(t, "GET", "/health/ready", "").want(http.StatusOK)
	draining := *s
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	draining.url = "http://" + l.Addr().String()
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error)
	go func() { stopped <- must(server.New(s.config)).Serve(ctx, l, time.Hour) }()
	stop()
	var a *answer
	eventually(t, "it is not ready", func() bool {
		a = draining.send(t, "GET", "/health/ready", "")
		return a.status == http.StatusServiceUnavailable
	})
	if d := a.problem().Detail; d != "Not ready for traffic: stopping." {
		t.Errorf("detail %q", d)
	}
	ada := &owner{&draining, s.ada.id, s.ada.token}
	ada.create(t, `{"title": "Sent here all the same"}`)
	if !draining.send(t, "GET", "/health", "").want(http.StatusOK).last {
		t.Error("the connection is kept")
	}
	l.Close() // otherwise it would drain for an hour
	if err := <-stopped; err == nil {
		t.Error("Serve returned no error although its listener was closed")
	}
}

// The deadline ends the read of a body that does not arrive. On a slow machine even the header may be late; then the test
// sends the request again.
func TestABodyThatDoesNotArriveInTimeIsRefused(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *options) { o.ReadTimeout = 100 * time.Millisecond })
	head := crlf("POST " + s.ada.tasks() + " HTTP/1.1\nHost: docket\nAuthorization: Bearer " + s.ada.token +
		"\nContent-Type: application/json\nContent-Length: 20")
	var first string
	eventually(t, "an answer", func() bool {
		first, _ = s.dial(t, head+`{"title":`).answers.ReadString('\n') // an error is an empty answer
		return first != ""
	})
	if first != "HTTP/1.1 408 Request Timeout\r\n" {
		t.Errorf("the answer is %q", first)
	}
}

// A body that arrives completely, but takes the whole time limit of its operation, leaves no time for the work.
func TestABodyThatTakesTheWholeTimeLimitIsRefused(t *testing.T) {
	t.Parallel()
	const limit = 50 * time.Millisecond
	s := start(t, func(o *options) { o.RequestTimeout = limit })
	c := s.dial(t, crlf("POST "+s.ada.tasks()+" HTTP/1.1\nHost: docket\nAuthorization: Bearer "+s.ada.token+
		"\nContent-Type: application/json\nContent-Length: 14\nExpect: 100-continue"))
	// The time limit has begun when the service asks for the body.
	if line, err := c.answers.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("the answer to the head is %q, %v", line, err)
	}
	time.Sleep(2 * limit)
	if _, err := c.Write([]byte(`{"title": "A"}`)); err != nil {
		t.Fatal(err)
	}
	_, _ = c.answers.ReadString('\n') // the empty line after 100
	if line, err := c.answers.ReadString('\n'); line != "HTTP/1.1 408 Request Timeout\r\n" {
		t.Errorf("the answer is %q, %v", line, err)
	}
	if got := s.storedOf(t, s.ada); got != "" {
		t.Errorf("there are tasks: %s", got)
	}
}

func TestReadinessNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name      string
		change    func(*options)
		sql       string
		detail    string
		check     string
		mustBegin string
	}{
		{"database", withoutDatabase, "", "database, schema.", "database", "cannot be reached"},
		{"keys", func(o *options) { o.keysURL = nowhere }, "", "keys.", "keys", "the key set could not be loaded"},
		{"old schema", nil, "update docket_schema_version set version = version - 1", "schema.", "schema", "version"},
		{"no schema", nil, "drop table docket_schema_version", "schema.", "schema", "not there: run docket migrate up"},
		// fault B5
		{
			"truncated", nil, `truncate task, tombstone, task_summary, idempotency_key, docket_epoch, docket_schema_version, "user"`,
			"schema.", "schema", "its version is missing, as if every table had been truncated: docket migrate status says what to do",
		},
		{"a column missing", nil, "alter table task drop column description cascade", "schema.", "schema", "a table, a column"},
		{"a right missing", nil, "revoke insert on task from docket_app", "schema.", "schema", "a right is missing"},
		{"no row-level security", nil, "alter table task disable row level security", "schema.", "schema", "row-level security does not hold"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, func(o *options) {
				if test.change != nil {
					test.change(o)
				}
			})
			if test.sql != "" {
				s.send(t, "GET", "/health/ready", "").want(http.StatusOK)
				s.exec(t, test.sql)
			}
			a := s.send(t, "GET", "/health/ready", "").want(http.StatusServiceUnavailable)
			var body struct {
				Detail string
				Checks map[string]string
			}
			a.read(&body)
			if body.Detail != "Not ready for traffic: "+test.detail || !strings.HasPrefix(body.Checks[test.check], test.mustBegin) {
				t.Errorf("the answer is %s", a)
			}
			for name, state := range body.Checks {
				if state != "ok" && !strings.Contains(test.detail, name) {
					t.Errorf("%s is %s", name, state)
				}
			}
			s.send(t, "GET", "/health", "").want(http.StatusOK) // alive all the same
		})
	}
}

func TestServiceWithoutKeysIsUnavailable(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *options) { o.keysURL = nowhere })
	p := s.ada.send(t, "GET", "", "").want(http.StatusServiceUnavailable).problem()
	if p.Code != "unavailable" || !strings.Contains(p.Detail, "keys") {
		t.Errorf("%+v", p)
	}
	s.ada.send(t, "GET", "", "", "Authorization:").want(http.StatusUnauthorized)
}

func TestANewerSchemaIsReady(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.exec(t, "update docket_schema_version set version = version + 1")
	s.send(t, "GET", "/health/ready", "").want(http.StatusOK)
	s.ada.create(t, `{"title": "A"}`)
}

func TestWorkOnARequestIsBounded(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *options) { o.RequestTimeout = 200 * time.Millisecond })
	release := s.block(t)
	for _, request := range [][2]string{{"GET", ""}, {"POST", `{"title": "A"}`}} {
		s.ada.send(t, request[0], "", request[1]).want(http.StatusServiceUnavailable)
	}
	release()
}

func TestBrokenConnectionsAreReplaced(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.ada.create(t, `{"title": "A"}`)
	s.exec(t, "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
	eventually(t, "it answers again", func() bool { return s.ada.send(t, "GET", "", "").status == http.StatusOK })
}

func TestAPanicIsAnInternalError(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *options) { o.DemoToken = func() (string, error) { panic("secret of the panic") } })
	a := s.send(t, "GET", "/docs/init.js", "", "Origin: "+frontend).want(http.StatusInternalServerError)
	if p := a.problem(); p.Code != "internal_error" || strings.Contains(a.String(), "secret of the panic") {
		t.Errorf("the answer is %s", a)
	}
	eventually(t, "the panic is in the log", func() bool {
		for text := range strings.Lines(s.log.String()) {
			if strings.Contains(text, "secret of the panic") && strings.Contains(text, a.get("X-Request-Id")) && strings.Contains(text, "server_test.go") {
				return true
			}
		}
		return false
	})
	s.send(t, "GET", "/health", "").want(http.StatusOK)
}
