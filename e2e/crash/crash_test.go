//go:build unix

// Package crash_test kills the service and PostgreSQL under a write load, and counts what is left.
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
	"docket/internal/devdb"
	"docket/migrations"
)

var kills = flag.Int("kills", 3, "how often to kill the service, and how often PostgreSQL (make crash: 20)")

const (
	owner    = "crash-test-owner"
	issuer   = "https://issuer.test"
	audience = "https://audience.test"
	secret   = "a secret for this test alone, 32 bytes and more"
	writers  = 8
)

// TestNothingAcknowledgedIsLostOrDoubled writes without a pause while the service and its database are killed with
// SIGKILL in turn. Half of the writers send an Idempotency-Key and repeat a create until it is acknowledged; the other
// half send each create once. In the end every acknowledged task is there exactly once, and nothing is there twice.
func TestNothingAcknowledgedIsLostOrDoubled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() { w.write(ctx, contract.Client(t), i, i%2 == 0) })
	}
	for range *kills {
		w.untilAcknowledged(t, 50)
		w.killService(t)
		w.untilAcknowledged(t, 50)
		w.killDatabase(t)
	}
	w.untilAcknowledged(t, 50)
	stop()
	group.Wait()

	stored := w.stored(t)
	lost, doubled := 0, 0
	w.acknowledged.Range(func(title, _ any) bool {
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
		*kills, *kills, w.count.Load(), w.repeated.Load(), len(stored), len(stored)-int(w.count.Load()), lost, doubled)
	if lost > 0 || doubled > 0 || w.count.Load() == 0 {
		t.Error("acknowledged writes were lost or doubled")
	}
}

// world is a service and a database that are killed and come back under the same addresses.
type world struct {
	dir, binary, token string
	database           *devdb.Server
	databasePort       int
	service            *exec.Cmd
	addr               string
	log                bytes.Buffer

	acknowledged    sync.Map // title → true
	count, repeated atomic.Int64
}

func newWorld(t *testing.T) *world {
	t.Helper()
	// Not t.TempDir: as root, PostgreSQL runs as another user, who may not pass through that.
	dir, err := os.MkdirTemp("", "docket-crash-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	w := &world{dir: dir, addr: freeAddr(t)}
	w.binary = filepath.Join(w.dir, "docket")
	build := exec.CommandContext(t.Context(), "go", "build", "-race", "-o", w.binary, "docket/cmd/docket")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build docket: %v\n%s", err, out)
	}
	_, port, _ := net.SplitHostPort(freeAddr(t))
	w.databasePort, _ = strconv.Atoi(port)
	w.startDatabase(t)
	conn, err := pgx.Connect(t.Context(), w.database.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(t.Context(), devdb.UserFixtureSQL); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), `insert into "user" (id, name, email, "emailVerified") values ($1, 'Crash', 'crash@example.com', true)`, owner); err != nil {
		t.Fatal(err)
	}
	if err := migrations.Up(t.Context(), w.database.URL("postgres"), io.Discard); err != nil {
		t.Fatal(err)
	}
	claims := jwt.MapClaims{"sub": owner, "iss": issuer, "aud": audience, "exp": time.Now().Add(time.Hour).Unix()}
	if w.token, err = jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret)); err != nil {
		t.Fatal(err)
	}
	w.startService(t)
	t.Cleanup(func() {
		_ = w.service.Process.Kill()
		_ = w.service.Wait()
		_ = w.database.Stop()
		if t.Failed() {
			t.Log(w.log.String())
		}
	})
	return w
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

func (w *world) startDatabase(t *testing.T) {
	t.Helper()
	for attempt := 1; ; attempt++ {
		db, err := devdb.Start(context.WithoutCancel(t.Context()), devdb.Options{Dir: filepath.Join(w.dir, "db"), Port: w.databasePort})
		if err == nil {
			w.database = db
			return
		}
		// The backends of a server that was killed end by themselves, and until then no other may have its data.
		if attempt == 100 {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (w *world) startService(t *testing.T) {
	t.Helper()
	w.service = exec.CommandContext(context.WithoutCancel(t.Context()), w.binary, "serve")
	w.service.Env = []string{
		"DATABASE_URL=" + w.database.URL("postgres"), "ADDR=" + w.addr, "LOG_LEVEL=error",
		"BETTER_AUTH_SECRET=" + secret, "AUTH_ISSUER=" + issuer, "AUTH_AUDIENCE=" + audience,
	}
	w.service.Stderr = &w.log
	if err := w.service.Start(); err != nil {
		t.Fatal(err)
	}
}

func (w *world) killService(t *testing.T) {
	t.Helper()
	if err := w.service.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = w.service.Wait() // says that it was killed
	w.startService(t)
}

func (w *world) killDatabase(t *testing.T) {
	t.Helper()
	matches, err := filepath.Glob(filepath.Join(w.dir, "db", "data-*", "postmaster.pid"))
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
	_ = w.database.Stop() // says that it was killed
	w.startDatabase(t)
}

// untilAcknowledged waits for that many further acknowledgements: the load is on.
func (w *world) untilAcknowledged(t *testing.T, n int64) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for target := w.count.Load() + n; w.count.Load() < target; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no progress: %d acknowledged\n%s", w.count.Load(), w.log.String())
		}
	}
}

func (w *world) write(ctx context.Context, client *http.Client, writer int, withKey bool) {
	client.Timeout = 12 * time.Second
	for n := 0; ctx.Err() == nil; n++ {
		title := fmt.Sprintf("writer %d task %d", writer, n)
		key := ""
		if withKey {
			key = strings.ReplaceAll(title, " ", "-")
		}
		for attempt := 0; ; attempt++ {
			if w.create(client, title, key) {
				w.acknowledged.Store(title, true)
				w.count.Add(1)
				if attempt > 0 {
					w.repeated.Add(1)
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
func (w *world) create(client *http.Client, title, key string) bool {
	body, err := json.Marshal(map[string]string{"title": title})
	if err != nil {
		panic(err)
	}
	r, err := http.NewRequest(http.MethodPost, "http://"+w.addr+"/api/"+owner+"/tasks", bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	r.Header.Set("Authorization", "Bearer "+w.token)
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

// stored counts the tasks by title.
func (w *world) stored(t *testing.T) map[string]int {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), w.database.URL("postgres"))
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
