//go:build unix

// Package crash_test kills the service and PostgreSQL during writes and counts the tasks that are stored then.
package crash_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
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

var kills = flag.Int("kills", 3, "how many times to kill the service, and PostgreSQL (make crash: 20)")

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

const (
	owner   = "crash-test-owner"
	issuer  = "https://issuer.test"
	secret  = "a secret for this test only, of 32 bytes or more"
	writers = 8

	completers = 2
)

// TestAcknowledgedTasksAreStoredExactlyOnce writes without a pause while the service and its database are killed with
// SIGKILL alternately. Half of the writers send an Idempotency-Key and repeat a create until it is acknowledged; the other
// half send each create once. In the end every acknowledged task is stored once, and no task is stored twice. Others complete
// the occurrences of a series each, which has every day once then.
func TestAcknowledgedTasksAreStoredExactlyOnce(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() { s.write(ctx, contract.Client(t), i, i%2 == 0) })
	}
	for i := range completers {
		series := s.createSeries(t, fmt.Sprintf("series %d", i))
		group.Go(func() { s.complete(ctx, contract.Client(t), series) })
	}
	for range *kills {
		s.untilAcknowledged(t, 50)
		s.killService(t)
		s.untilAcknowledged(t, 50)
		s.killDatabase(t)
	}
	s.untilAcknowledged(t, 50)
	stop()
	group.Wait()

	s.checkSeries(t)
	stored := s.stored(t)
	lost, doubled := 0, 0
	s.acknowledged.Range(func(title, _ any) bool {
		if stored[title.(string)] == 0 {
			lost++
		}
		return true
	})
	for _, n := range stored {
		if n > 1 {
			doubled++
		}
	}
	t.Logf("killed the service %d times and PostgreSQL %d times: %d creates acknowledged (%d of them only when repeated), "+
		"%d stored, %d unacknowledged but stored, %d lost, %d doubled; %d occurrences completed",
		*kills, *kills, s.count.Load(), s.repeated.Load(), len(stored), len(stored)-int(s.count.Load()), lost, doubled, s.completed.Load())
	if lost > 0 || doubled > 0 || s.count.Load() == 0 || s.completed.Load() == 0 {
		t.Error("acknowledged writes were lost or doubled")
	}
}

// system is a service and a database. They are killed and started again with the same addresses.
type system struct {
	dir, token   string
	database     *devdb.Server
	databasePort int
	service      *exec.Cmd
	addr         string
	log          bytes.Buffer

	acknowledged    sync.Map // title → true
	count, repeated atomic.Int64
	completed       atomic.Int64 // occurrences
}

func newSystem(t *testing.T) *system {
	t.Helper()
	s := &system{dir: dbtest.Dir(t), addr: freeAddr(t)}
	claims := devauth.Claims(issuer, owner, 24*time.Hour).JSON()
	s.token = devauth.Sign(jwt.SigningMethodHS256, []byte(secret), `{"alg":"HS256"}`, claims)
	_, port, _ := net.SplitHostPort(freeAddr(t))
	s.databasePort, _ = strconv.Atoi(port)
	s.startDatabase(t)
	conn, err := pgx.Connect(t.Context(), s.database.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(t.Context(), devdb.UserFixtureSQL); err != nil {
		t.Fatal(err)
	}
	dbtest.AddUser(t, s.database.URL("postgres"), owner)
	if err := migrations.Up(t.Context(), s.database.URL("postgres"), io.Discard); err != nil {
		t.Fatal(err)
	}
	s.startService(t)
	t.Cleanup(func() {
		_ = s.service.Process.Kill()
		_ = s.service.Wait()
		_ = s.database.Stop()
		if t.Failed() {
			t.Log(s.log.String())
		}
	})
	return s
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (s *system) startDatabase(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(testenv.HangTimeout); ; time.Sleep(100 * time.Millisecond) {
		db, err := devdb.Start(context.WithoutCancel(t.Context()), devdb.Options{Dir: filepath.Join(s.dir, "db"), Port: s.databasePort})
		if err == nil {
			s.database = db
			return
		}
		// The backends of a server that was killed end by themselves. Until then no other server may use the data.
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func (s *system) startService(t *testing.T) {
	t.Helper()
	s.service = exec.CommandContext(context.WithoutCancel(t.Context()), testenv.Binary, "serve")
	s.service.Env = []string{
		"DATABASE_URL=" + s.database.URL("postgres"), "ADDR=" + s.addr, "LOG_LEVEL=error",
		"BETTER_AUTH_SECRET=" + secret, "AUTH_ISSUER=" + issuer, "AUTH_AUDIENCE=" + issuer,
	}
	s.service.Stderr = &s.log
	if err := s.service.Start(); err != nil {
		t.Fatal(err)
	}
}

func (s *system) killService(t *testing.T) {
	t.Helper()
	if err := s.service.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = s.service.Wait() // an error: it was killed
	s.startService(t)
}

func (s *system) killDatabase(t *testing.T) {
	t.Helper()
	matches, err := filepath.Glob(filepath.Join(s.dir, "db", "data-*", "postmaster.pid"))
	if err != nil || len(matches) != 1 {
		t.Fatalf("looking for postmaster.pid: %v, %v", matches, err)
	}
	text, err := os.ReadFile(matches[0])
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(line)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = s.database.Stop() // an error: it was killed
	s.startDatabase(t)
}

// untilAcknowledged waits for n more acknowledged creates.
func (s *system) untilAcknowledged(t *testing.T, n int64) {
	t.Helper()
	deadline := time.Now().Add(testenv.HangTimeout)
	for target := s.count.Load() + n; s.count.Load() < target; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no progress: %d acknowledged\n%s", s.count.Load(), s.log.String())
		}
	}
}

// write creates tasks until ctx ends. It counts those that are acknowledged.
func (s *system) write(ctx context.Context, client *http.Client, writer int, withKey bool) {
	client.Timeout = 12 * time.Second
	for n := 0; ctx.Err() == nil; n++ {
		title := fmt.Sprintf("writer %d task %d", writer, n)
		key := ""
		if withKey {
			key = strings.ReplaceAll(title, " ", "-")
		}
		for attempt := 0; ; attempt++ {
			if s.create(client, title, key) {
				s.acknowledged.Store(title, true)
				s.count.Add(1)
				if attempt > 0 {
					s.repeated.Add(1)
				}
				break
			}
			time.Sleep(10 * time.Millisecond)
			if !withKey || attempt == 1000 {
				break
			}
		}
	}
}

// create reports whether the service acknowledged the task.
func (s *system) create(client *http.Client, title, key string) bool {
	status, made := s.post(client, "", map[string]any{"title": title}, key)
	return status == http.StatusCreated && made.Title == title
}

// task is what this test reads of a task.
type task struct {
	ID, Title  string
	Completed  bool
	NextTaskID string `json:"next_task_id"`
}

// post sends a request to a path of the owner's tasks. The status is 0 if no whole answer arrived.
func (s *system) post(client *http.Client, path string, fields map[string]any, key string) (status int, answer task) {
	body, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	r, err := http.NewRequest(http.MethodPost, "http://"+s.addr+"/api/"+owner+"/tasks"+path, bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.token)
	r.Header.Set("Content-Type", "application/json")
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	response, err := client.Do(r)
	if err != nil {
		return 0, task{}
	}
	defer response.Body.Close()
	if json.NewDecoder(response.Body).Decode(&answer) != nil {
		return 0, task{}
	}
	return response.StatusCode, answer
}

// createSeries creates a task that recurs on every day, and returns its id.
func (s *system) createSeries(t *testing.T, title string) (id string) {
	t.Helper()
	fields := map[string]any{"title": title, "due_date": "2026-01-01", "recurrence_rule": "FREQ=DAILY", "recurrence_mode": "keep_missed"}
	for deadline := time.Now().Add(testenv.HangTimeout); ; time.Sleep(10 * time.Millisecond) {
		if status, made := s.post(contract.Client(t), "", fields, strings.ReplaceAll(title, " ", "-")); status == http.StatusCreated {
			return made.ID
		}
		if time.Now().After(deadline) {
			t.Fatalf("no series can be created\n%s", s.log.String())
		}
	}
}

// complete completes one occurrence of a series after the other until ctx ends, and repeats each until it is acknowledged.
func (s *system) complete(ctx context.Context, client *http.Client, id string) {
	client.Timeout = 12 * time.Second
	for ctx.Err() == nil {
		status, done := s.post(client, "/"+id+"/complete", map[string]any{"completed": true}, "")
		if status != http.StatusOK || !done.Completed || done.NextTaskID == "" {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		id = done.NextTaskID
		s.completed.Add(1)
	}
}

// checkSeries fails unless each series has every day from its first one on, each occurrence names the one that follows, and
// only the last one is open.
func (s *system) checkSeries(t *testing.T) {
	t.Helper()
	const wrongSQL = `
with occurrence as (
  select id, completed, next_task_id, occurrence_date, series_id,
         lead(id) over days as following,
         occurrence_date - lag(occurrence_date) over days as gap,
         count(*) over (partition by series_id) as occurrences
  from task
  where user_id = $1
    and series_id is not null
  window days as (partition by series_id order by occurrence_date)
)
select coalesce(jsonb_agg(occurrence)::text, '')
from occurrence
where next_task_id is distinct from following
   or completed <> (following is not null)
   or gap <> 1`
	if wrong := query[string](t, s, wrongSQL); wrong != "" {
		t.Errorf("these occurrences are wrong: %s", wrong)
	}
}

// query returns the value of a statement about the owner $1.
func query[T any](t *testing.T, s *system, sql string) (v T) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.database.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if err := conn.QueryRow(t.Context(), sql, owner).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// TestAKillWhileAnOccurrenceIsCompleted kills the service when it has read an occurrence and PostgreSQL has begun with what
// follows from it. Whether PostgreSQL then finishes that or not, the repeated request leaves one next occurrence.
func TestAKillWhileAnOccurrenceIsCompleted(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	conn, err := pgx.Connect(t.Context(), s.database.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	exec := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	// An occurrence that follows waits for the test.
	exec(`
create function wait() returns trigger language plpgsql as $$
begin
  perform pg_advisory_xact_lock(19);
  return new;
end;
$$`)
	exec("create trigger waits before insert on task for each row when (new.series_id is not null) execute function wait()")
	const waiting = "select count(*) from pg_locks where locktype = 'advisory' and objid = 19 and not granted and $1 <> ''"
	const occurrences = "select count(*) from task where user_id = $1 and series_id is not null"
	until := func(sql string, want int) {
		t.Helper()
		for deadline := time.Now().Add(testenv.HangTimeout); query[int](t, s, sql) != want; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("never %d: %s", want, sql)
			}
		}
	}
	for i, after := range []struct {
		what string
		sql  string // what becomes of the transaction
		made int
	}{
		{"the transaction is rolled back", "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and objid = 19 and not granted", 0},
		{"the transaction is committed", "select pg_advisory_unlock(19)", 1},
	} {
		id := s.createSeries(t, fmt.Sprintf("series %d", i))
		before := query[int](t, s, occurrences)
		exec("select pg_advisory_lock(19)")
		answered := make(chan int)
		go func() {
			status, _ := s.post(contract.Client(t), "/"+id+"/complete", map[string]any{"completed": true}, "")
			answered <- status
		}()
		until(waiting, 1)
		s.killService(t)
		if status := <-answered; status != 0 {
			t.Errorf("%s: the answer has the status %d", after.what, status)
		}
		exec(after.sql)
		until(waiting, 0)
		until(occurrences, before+after.made)
		exec("select pg_advisory_unlock_all()")
		next := ""
		for deadline := time.Now().Add(testenv.HangTimeout); next == ""; time.Sleep(10 * time.Millisecond) { // until the service has started
			if status, done := s.post(contract.Client(t), "/"+id+"/complete", map[string]any{"completed": true}, ""); status == http.StatusOK {
				next = done.NextTaskID
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: the request is never carried out\n%s", after.what, s.log.String())
			}
		}
		if n := query[int](t, s, occurrences); n != before+1 {
			t.Errorf("%s: %d occurrences follow", after.what, n-before)
		}
		s.checkSeries(t)
	}
}

// stored returns how many tasks there are by title.
func (s *system) stored(t *testing.T) map[string]int {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.database.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	rows, err := conn.Query(t.Context(), `select title from task where user_id = $1 and series_id is null`, owner)
	if err != nil {
		t.Fatal(err)
	}
	titles, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, title := range titles {
		counts[title]++
	}
	return counts
}
