package alerts_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"docket/internal/dbtest"
	"docket/internal/devauth"
)

// binary is the path of docket, which TestMain builds.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "docket-alerts-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "docket")
		if out, err := exec.Command("go", "-C", root, "build", "-race", "-o", binary, "./cmd/docket").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			return 1
		}
		return dbtest.Main(m)
	}())
}

// service is a process of `docket serve` with a database and a token issuer of its own.
type service struct {
	variables map[string]string // its environment
	database  *pgxpool.Pool     // as superuser
	issuer    *devauth.Issuer
	owners    []string

	url, admin string
	stop       func()
}

// start runs a service until the test ends, and returns when it is ready. The further variables are "NAME=value".
func start(t *testing.T, databaseURL string, variables ...string) *service {
	t.Helper()
	issuer, err := devauth.Start(devauth.Options{})
	check(t, err)
	t.Cleanup(issuer.Close)
	database, err := pgxpool.New(t.Context(), databaseURL)
	check(t, err)
	t.Cleanup(database.Close)
	s := &service{issuer: issuer, database: database, variables: map[string]string{
		"DATABASE_URL": databaseURL, "BETTER_AUTH_URL": issuer.URL, "ADDR": "127.0.0.1:0", "METRICS_ADDR": "127.0.0.1:0",
		"SHUTDOWN_DELAY": "0s", "DB_MIN_IDLE_CONNS": "1", "GORACE": "atexit_sleep_ms=0",
	}}
	for i := range 16 {
		s.owners = append(s.owners, fmt.Sprintf("owner-%d", i))
	}
	dbtest.AddUser(t, databaseURL, s.owners...)
	s.restart(t, variables...)
	s.eventually(t, "it is ready", ready)
	return s
}

// untilEOF is a shell script that runs a command and terminates it when standard input ends, as it does with the test's
// process.
const untilEOF = `"$@" & read -r _; kill $!; wait $!`

// restart ends the process, if there is one, and starts another one with further variables. It returns when that listens.
func (s *service) restart(t *testing.T, variables ...string) {
	t.Helper()
	if s.stop != nil {
		s.stop()
	}
	for _, v := range variables {
		name, value, _ := strings.Cut(v, "=")
		s.variables[name] = value
	}
	serve := exec.Command("/bin/sh", "-c", untilEOF, "sh", binary, "serve")
	for name, value := range s.variables {
		serve.Env = append(serve.Env, name+"="+value)
	}
	log := new(buffer)
	serve.Stderr = log
	input, err := serve.StdinPipe()
	check(t, err)
	check(t, serve.Start())
	s.stop = sync.OnceFunc(func() {
		input.Close()
		_ = serve.Wait() // the result of the shell's kill
	})
	t.Cleanup(s.stop)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log: %s", log)
		}
	})
	s.url, s.admin = "", ""
	eventually(t, "it listens", func() bool {
		for line := range strings.Lines(log.String()) {
			var entry struct{ Msg, Addr string }
			if json.Unmarshal([]byte(line), &entry) != nil {
				continue
			}
			switch entry.Msg {
			case "listening":
				s.url = "http://" + entry.Addr
			case "metrics":
				s.admin = "http://" + entry.Addr
			}
		}
		return s.url != "" && s.admin != ""
	})
}

// buffer can be read while it is written.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// scrape reads the metrics once, as Prometheus does.
func (s *service) scrape(t testing.TB) scrape {
	t.Helper()
	response, err := http.Get(s.admin + "/metrics")
	if err != nil {
		return failedScrape()
	}
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	check(t, err)
	if response.StatusCode != http.StatusOK {
		t.Fatalf("a scrape is answered with %d: %s", response.StatusCode, page)
	}
	return parse(t, string(page))
}

// send sends a request of an owner's, and returns the status. It may be called from any goroutine.
func (s *service) send(owner, method, path, body string) (status int, err error) {
	r, err := http.NewRequestWithContext(context.Background(), method, s.url+"/api/"+owner+path, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", "Bearer "+s.issuer.Token(owner))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	response, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

// create creates a task.
func (s *service) create(t testing.TB, owner, title string) (status int) {
	t.Helper()
	status, err := s.send(owner, http.MethodPost, "/tasks", `{"title": "`+title+`"}`)
	check(t, err)
	return status
}

// client opens a connection for each request, so that none counts as a client's after its answer.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// work sends what clients usually send, and returns the number of requests. It does not look at the answers.
func (s *service) work(t testing.TB) (requests int) {
	t.Helper()
	for _, owner := range s.owners[:4] {
		s.create(t, owner, "a task")
		for _, query := range []string{"", "?status=pending"} {
			_, err := s.send(owner, http.MethodGet, "/tasks"+query, "")
			check(t, err)
		}
		requests += 3
	}
	return requests
}

// quiet returns two scrapes between which clients worked and no request was slow, as it can be on a busy machine.
func (s *service) quiet(t testing.TB) (before, now scrape) {
	t.Helper()
	for before == nil || slow(now) > slow(before) {
		before = s.eventually(t, "it is ready", ready)
		n := s.work(t)
		now = s.eventually(t, "the requests are counted", func(now scrape) bool {
			return ready(now) && requests(now, "_count") >= requests(before, "_count")+float64(n)
		})
	}
	return before, now
}

// slow returns how many requests took longer than 0.5 s.
func slow(s scrape) float64 { return requests(s, "_count") - requests(s, `_bucket{le="0.5"}`) }

// requests returns the sum of a series of the histogram of requests, over the routes of the API.
func requests(s scrape, series string) (n float64) {
	name, selector, _ := strings.Cut("docket_http_request_duration_seconds"+series, "{")
	for _, one := range s {
		if one.labels.Get("__name__") == name && strings.Contains(one.labels.Get("route"), " /api/") &&
			(selector == "" || one.labels.Get("le") == "0.5") {
			n += one.value
		}
	}
	return n
}

// flood has each of the first n owners send one request after the other, until stop is called or the test ends.
func (s *service) flood(t testing.TB, n int) (stop func()) {
	t.Helper()
	var all sync.WaitGroup
	ended := make(chan struct{})
	for _, owner := range s.owners[:n] {
		all.Go(func() {
			for {
				select {
				case <-ended:
					return
				default:
					_, _ = s.send(owner, http.MethodGet, "/tasks", "") // the metrics tell what became of it
				}
			}
		})
	}
	stop = sync.OnceFunc(func() { close(ended); all.Wait() })
	t.Cleanup(stop)
	return stop
}

// waitSQL makes every statement that reads a task wait for as long as the test holds the lock 42.
const waitSQL = `
create or replace function wait_for_lock(id text) returns boolean language plpgsql as $$
begin
  perform pg_advisory_xact_lock_shared(42);
  return true;
end;
$$;
drop policy if exists slow on task;
create policy slow on task as restrictive for select to docket_app using (wait_for_lock(id))`

// hold makes all reads of the owners' tasks wait until release is called or the test ends.
func (s *service) hold(t testing.TB) (release func()) {
	t.Helper()
	s.exec(t, waitSQL)
	s.exec(t, "insert into task (id, user_id, title) select gen_random_uuid(), id, 'a task' from unnest($1::text[]) as id", s.owners)
	lock, err := s.database.Acquire(t.Context())
	check(t, err)
	_, err = lock.Exec(t.Context(), "select pg_advisory_lock(42)")
	check(t, err)
	release = sync.OnceFunc(func() {
		_ = lock.Conn().Close(context.Background()) // which releases the lock
		lock.Release()
	})
	t.Cleanup(release)
	return release
}

// refuse makes PostgreSQL refuse new tasks with the title "fail".
func (s *service) refuse(t testing.TB, sqlstate string) {
	t.Helper()
	s.exec(t, `
		create function fail() returns trigger language plpgsql as $$ begin raise 'made up' using errcode = '`+sqlstate+`'; end $$;
		create trigger fail before insert on task for each row when (new.title = 'fail') execute function fail()`)
}

// exec changes the database.
func (s *service) exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	_, err := s.database.Exec(t.Context(), sql, args...)
	check(t, err)
}

// eventually scrapes until the condition holds, and returns that scrape.
func (s *service) eventually(t testing.TB, what string, is func(now scrape) bool) (now scrape) {
	t.Helper()
	eventually(t, what, func() bool { now = s.scrape(t); return is(now) })
	return now
}

// eventually waits for a condition. The deadline only ends a test that would hang.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// has reports whether a series has the value.
func has(s scrape, series string, want float64) bool {
	v, ok := s.value(series)
	return ok && v == want
}

// grown reports whether a counter has grown between two scrapes.
func grown(from, to scrape, series string) bool {
	before, _ := from.value(series)
	after, ok := to.value(series)
	return ok && after > before
}
