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
)

// TestAcknowledgedTasksAreStoredExactlyOnce writes without a pause while the service and its database are killed with
// SIGKILL alternately. Half of the writers send an Idempotency-Key and repeat a create until it is acknowledged; the other
// half send each create once. In the end every acknowledged task is stored once, and no task is stored twice.
func TestAcknowledgedTasksAreStoredExactlyOnce(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() { s.write(ctx, contract.Client(t), i, i%2 == 0) })
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
		"%d stored, %d unacknowledged but stored, %d lost, %d doubled",
		*kills, *kills, s.count.Load(), s.repeated.Load(), len(stored), len(stored)-int(s.count.Load()), lost, doubled)
	if lost > 0 || doubled > 0 || s.count.Load() == 0 {
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
	body, err := json.Marshal(map[string]string{"title": title})
	if err != nil {
		panic(err)
	}
	r, err := http.NewRequest(http.MethodPost, "http://"+s.addr+"/api/"+owner+"/tasks", bytes.NewReader(body))
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
		return false
	}
	defer response.Body.Close()
	var task struct{ Title string }
	return response.StatusCode == http.StatusCreated && json.NewDecoder(response.Body).Decode(&task) == nil && task.Title == title
}

// stored returns how many tasks there are by title.
func (s *system) stored(t *testing.T) map[string]int {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.database.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	rows, err := conn.Query(t.Context(), `select title from task where user_id = $1`, owner)
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
