//go:build unix

// Package rolling_test restarts replicas of the service behind the proxies of deploy, while clients read and write.
package rolling_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"docket/contract"
	"docket/e2e/internal/testenv"
	"docket/internal/dbtest"
	"docket/internal/devauth"
)

var restarts = flag.Int("restarts", 2, "how many times to restart a replica behind each proxy (make rolling: 50)")

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

const (
	clients       = 8
	shutdownDelay = "5s" // as docs/operations.md and the files say
)

// TestRollingRestartsFailNoRequest restarts two replicas in turns behind a proxy, with SIGTERM, while clients send requests
// over connections that they keep open. No request fails or is sent twice, and in the end every change is stored once.
func TestRollingRestartsFailNoRequest(t *testing.T) {
	t.Parallel()
	for _, p := range proxies {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t)
			url := p.start(t, s.replicas)
			ctx, stop := context.WithCancel(t.Context())
			workers := make([]*worker, clients)
			var group sync.WaitGroup
			for i := range workers {
				workers[i] = s.newWorker(t, url, i)
				group.Go(func() { workers[i].work(ctx) })
			}
			for i := range *restarts {
				s.untilServed(t, 20*clients)
				r := s.replicas[i%len(s.replicas)]
				r.stop(t)
				s.startReplica(t, r)
				p.untilInUse(t, r)
			}
			s.untilServed(t, 20*clients)
			stop()
			group.Wait()

			stored, lost, doubled := s.stored(t), 0, 0
			for _, w := range workers {
				for title, want := range w.tasks {
					switch got := stored[w.owner+" "+title]; {
					case len(got) > 1:
						doubled++
					case len(got) == 0 || got[0] != want:
						lost++
					}
					delete(stored, w.owner+" "+title)
				}
			}
			t.Logf("%s: %d restarts of two replicas, %d requests of %d clients (%s), %d failed; the slowest took %v; of the writes %d lost, %d doubled, %d not asked for",
				p.name, *restarts, s.served.Load(), clients, s.byStatus(), s.failed.Load(), time.Duration(s.slowest.Load()).Round(time.Millisecond),
				lost, doubled, len(stored))
			if s.failed.Load() > 0 || lost > 0 || doubled > 0 || len(stored) > 0 {
				t.Error("requests failed, or writes were lost, doubled or not asked for")
			}
		})
	}
}

// system is a database, an issuer of tokens and two replicas, with what happened to the requests.
type system struct {
	database  string
	issuer    *devauth.Issuer
	variables []string // of the replicas, in addition
	replicas  []*replica

	served, failed, slowest atomic.Int64
	statuses                sync.Map // method and status → *atomic.Int64
}

// replica is a service that is restarted with the same addresses.
type replica struct {
	name        string
	addr, admin string
	socket      string // of HAProxy, for commands
	process     *exec.Cmd
	terminate   func() error // sends it SIGTERM
	log         bytes.Buffer
}

func newSystem(t *testing.T, variables ...string) *system {
	t.Helper()
	issuer, err := devauth.Start(devauth.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(issuer.Close)
	s := &system{database: dbtest.New(t), issuer: issuer, variables: variables}
	for i := range 2 {
		r := &replica{name: fmt.Sprintf("docket%d", i+1), addr: freeAddr(t), admin: freeAddr(t)}
		s.replicas = append(s.replicas, r)
		s.startReplica(t, r)
		t.Cleanup(func() {
			_ = r.terminate() // an error: it has ended
			_ = r.process.Wait()
			if t.Failed() {
				t.Logf("%s printed:\n%s", r.name, &r.log)
			}
		})
	}
	return s
}

// freeAddr returns an address whose port is below those that outgoing connections get: while a replica is not running, one of
// them could take its port.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 1000 {
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(10_000+rand.IntN(20_000)))
		if err == nil {
			l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}

// startReplica starts a replica and returns when it is ready.
func (s *system) startReplica(t *testing.T, r *replica) {
	t.Helper()
	r.process = exec.CommandContext(context.WithoutCancel(t.Context()), "/bin/sh", "-c", testenv.UntilEOF, "sh", testenv.Binary, "serve")
	r.process.Env = []string{
		"DATABASE_URL=" + s.database, "BETTER_AUTH_URL=" + s.issuer.URL, "ADDR=" + r.addr, "METRICS_ADDR=" + r.admin,
		"SHUTDOWN_DELAY=" + shutdownDelay, "DB_MAX_CONNS=10", "DB_MIN_IDLE_CONNS=2", "LOG_LEVEL=warn", "GORACE=atexit_sleep_ms=0",
	}
	r.process.Env = append(r.process.Env, s.variables...)
	r.process.Stderr = &r.log
	stdin, err := r.process.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r.terminate = stdin.Close
	if err := r.process.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, r.name+" is ready", func() bool { return r.ready(t) })
}

func (r *replica) ready(t *testing.T) bool {
	response, err := contract.Client(t).Get("http://" + r.admin + "/health/ready")
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// stop ends a replica as an orchestrator does.
func (r *replica) stop(t *testing.T) {
	t.Helper()
	if err := r.terminate(); err != nil {
		t.Fatal(err)
	}
	if err := r.process.Wait(); err != nil {
		t.Errorf("%s ended with %v\n%s", r.name, err, &r.log)
	}
}

// untilServed waits for n more requests.
func (s *system) untilServed(t *testing.T, n int64) {
	t.Helper()
	target := s.served.Load() + n
	eventually(t, fmt.Sprintf("%d more requests are served", n), func() bool { return s.served.Load() >= target })
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(testenv.HangTimeout); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not happen that %s", what)
		}
	}
}

// worker is a client with a user of its own, who nobody else is.
type worker struct {
	*system
	t     *testing.T
	url   string
	owner string
	token string
	http  *http.Client
	tasks map[string]string // description by title, of the tasks that must be stored
}

func (s *system) newWorker(t *testing.T, url string, i int) *worker {
	t.Helper()
	w := &worker{system: s, t: t, url: url, owner: fmt.Sprintf("worker-%d", i), http: contract.ClientBehindProxy(t), tasks: map[string]string{}}
	w.token = s.issuer.Token(w.owner)
	dbtest.AddUser(t, s.database, w.owner)
	return w
}

// work sends requests until ctx ends, with pauses in which connections are idle.
func (w *worker) work(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		once, keyed := fmt.Sprintf("task %d", n), fmt.Sprintf("task %d with a key", n)
		var made, other, read struct{ ID, Title, Description string }
		tag := w.send("POST", "", map[string]string{"title": once, "description": "new"}, nil, http.StatusCreated, &made)
		w.tasks[once] = "new"
		w.send("POST", "", map[string]string{"title": keyed, "description": "new"}, http.Header{"Idempotency-Key": {strings.ReplaceAll(keyed, " ", "-")}},
			http.StatusCreated, &other)
		w.tasks[keyed] = "new"
		if made.ID != "" {
			tag = w.send("PATCH", "/"+made.ID, map[string]string{"description": "changed"}, http.Header{"If-Match": {tag}}, http.StatusOK, nil)
			w.send("PUT", "/"+made.ID, map[string]string{"description": "changed again"}, http.Header{"If-Match": {tag}}, http.StatusOK, nil)
			w.tasks[once] = "changed again"
			w.send("GET", "/"+made.ID, nil, nil, http.StatusOK, &read)
			if read.Description != "changed again" {
				w.fail("%s is read as %+v", once, read)
			}
		}
		if other.ID != "" && n%2 == 0 {
			w.send("DELETE", "/"+other.ID, nil, nil, http.StatusNoContent, nil)
			delete(w.tasks, keyed)
		}
		w.send("GET", "", nil, nil, http.StatusOK, nil)
	}
}

// send sends a request and returns the ETag of its response. Any other status than the wanted one is a failed request, and so
// is one that was sent again, by Go's client, because its connection broke.
func (w *worker) send(method, path string, body any, header http.Header, want int, into any) (tag string) {
	time.Sleep(rand.N(30 * time.Millisecond))
	var text io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			panic(err)
		}
		text = bytes.NewReader(encoded)
	}
	sent := 0
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent++ }})
	r, err := http.NewRequestWithContext(ctx, method, w.url+"/api/"+w.owner+"/tasks"+path, text)
	if err != nil {
		panic(err)
	}
	if header != nil {
		r.Header = header
	}
	r.Header.Set("Authorization", "Bearer "+w.token)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	start := time.Now()
	response, err := w.http.Do(r)
	took := int64(time.Since(start))
	for slowest := w.slowest.Load(); took > slowest && !w.slowest.CompareAndSwap(slowest, took); slowest = w.slowest.Load() {
	}
	w.served.Add(1)
	if err != nil {
		w.fail("%s %s: %v", method, path, err)
		return ""
	}
	defer response.Body.Close()
	answer, _ := io.ReadAll(response.Body) // it was read already
	count, _ := w.statuses.LoadOrStore(fmt.Sprint(method, " ", response.StatusCode), new(atomic.Int64))
	count.(*atomic.Int64).Add(1)
	if response.StatusCode != want || sent != 1 {
		w.fail("%s %s: %d, sent %d times: %s", method, path, response.StatusCode, sent, answer)
	}
	if into != nil && response.StatusCode == want {
		if err := json.Unmarshal(answer, into); err != nil {
			w.fail("%s %s: %v: %s", method, path, err, answer)
		}
	}
	return response.Header.Get("ETag")
}

// fail counts a failed request, and logs the first ones.
func (w *worker) fail(format string, args ...any) {
	if w.failed.Add(1) <= 10 {
		w.t.Logf(w.owner+": "+format, args...)
	}
}

// byStatus lists the requests by method and status.
func (s *system) byStatus() string {
	counts := map[string]int64{}
	s.statuses.Range(func(key, count any) bool {
		counts[key.(string)] = count.(*atomic.Int64).Load()
		return true
	})
	var list []string
	for _, key := range slices.Sorted(maps.Keys(counts)) {
		list = append(list, fmt.Sprintf("%s: %d", key, counts[key]))
	}
	return strings.Join(list, ", ")
}

// stored returns the descriptions of all tasks by owner and title.
func (s *system) stored(t *testing.T) map[string][]string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	rows, err := conn.Query(t.Context(), `select user_id, title, description from task`)
	if err != nil {
		t.Fatal(err)
	}
	tasks := map[string][]string{}
	var owner, title, description string
	_, err = pgx.ForEachRow(rows, []any{&owner, &title, &description}, func() error {
		tasks[owner+" "+title] = append(tasks[owner+" "+title], description)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tasks
}
