//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/jackc/pgx/v5"

	"docket"
	"docket/contract"
	"docket/internal/dbtest"
)

// project is a folder that docket dev runs in.
type project struct {
	dir  string
	user *syscall.Credential // that it runs as; nil: the user of the test
}

// newProject returns an empty project.
func newProject(t testing.TB) project {
	t.Helper()
	return project{dir: dbtest.Dir(t)}
}

// process is a docket dev in a process of its own, with what it has printed.
type process struct {
	*exec.Cmd
	stdout, stderr buffer
	ended          chan struct{}

	base        string // of the API
	token       string
	databaseURL string
	curl        string
}

// outputPattern matches what docket dev prints when everything runs.
var outputPattern = regexp.MustCompile(`(?m)^  API +(\S+)\n(?s:.*)  DATABASE_URL +(\S+)\n(?s:.*)\n(eyJ\S+)\n(?s:.*)\n(curl .*)\n(?s:.*)Ctrl-C stops everything`)

// dev runs docket dev and returns when everything runs.
func (p project) dev(t testing.TB, args ...string) *process {
	t.Helper()
	path, err := binary()
	check(t, err)
	d := &process{Cmd: exec.Command(path, append([]string{"dev"}, args...)...), ended: make(chan struct{})}
	d.Dir = p.dir
	d.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir, "TMPDIR=" + os.TempDir()} // nothing that configures docket
	d.SysProcAttr = &syscall.SysProcAttr{Credential: p.user, Setpgid: true}
	d.Stdout, d.Stderr = &d.stdout, &d.stderr
	check(t, d.Start())
	go func() { _ = d.Wait(); close(d.ended) }() // ProcessState has the result
	t.Cleanup(func() {
		_ = d.Process.Signal(os.Interrupt)
		<-d.ended
		if strings.Contains(d.stderr.String(), "DATA RACE") {
			t.Errorf("a data race:\n%s", &d.stderr)
		}
	})
	eventually(t, "docket dev runs", func() bool {
		select {
		case <-d.ended:
			t.Fatalf("%v\n%s\n%s", d.ProcessState, &d.stdout, &d.stderr)
		default:
		}
		printed := outputPattern.FindStringSubmatch(d.stdout.String())
		if printed != nil {
			d.base, d.databaseURL, d.token, d.curl = printed[1], printed[2], printed[3], printed[4]
		}
		return printed != nil
	})
	return d
}

// end sends a signal and waits for the end of the process.
func (p *process) end(t testing.TB, signal syscall.Signal) {
	t.Helper()
	check(t, p.Process.Signal(signal))
	<-p.ended
	if signal != syscall.SIGKILL && p.ProcessState.ExitCode() != 0 {
		t.Errorf("%v\n%s", p.ProcessState, &p.stderr)
	}
}

// checkPostgreSQLStopped fails the test when the process has left a PostgreSQL behind.
func (p *process) checkPostgreSQLStopped(t testing.TB) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(p.Dir, devDir, "data-*", "postmaster.pid"))
	check(t, err)
	if len(left) > 0 {
		t.Errorf("it left %s", left)
	}
	// Another test's PostgreSQL may have that port by now, but it has another password.
	if conn, err := pgx.Connect(t.Context(), p.databaseURL); err == nil {
		conn.Close(t.Context())
		t.Error("PostgreSQL still answers")
	}
}

// titles returns the titles of the demo owner's tasks.
func (p *process) titles(t testing.TB) (all []string) {
	t.Helper()
	status, body := get(t, p.base+"/api/"+demoOwner+"/tasks?sort=title&order=asc", "Authorization", "Bearer "+p.token)
	var list struct{ Tasks []struct{ Title string } }
	if err := json.Unmarshal([]byte(body), &list); err != nil || status != http.StatusOK {
		t.Fatalf("the list answers %d %s", status, body)
	}
	for _, task := range list.Tasks {
		all = append(all, task.Title)
	}
	return all
}

const (
	demoTitles         = "Buy oat milk, Call the plumber, Pay the rent, " + demoTitlesAfterP
	demoAndFirstTitles = "Buy oat milk, Call the plumber, My first task, Pay the rent, " + demoTitlesAfterP
	demoTitlesAfterP   = "Prepare the quarterly report, Read the Docket README, Renew the passport, Water the plants"
)

func (p *process) wantTitles(t testing.TB, want string) {
	t.Helper()
	if got := strings.Join(p.titles(t), ", "); got != want {
		t.Errorf("the tasks are %s, want %s", got, want)
	}
}

// create runs the curl command that docket dev prints.
func (p *process) create(t testing.TB) {
	t.Helper()
	out, err := exec.Command("sh", "-c", strings.ReplaceAll(p.curl, p.base, contract.Proxy(t, p.base))).Output()
	if err != nil || !bytes.HasPrefix(out, []byte("HTTP/1.1 201 Created\r\n")) {
		t.Fatalf("%s\nprints %s, %v", p.curl, out, err)
	}
}

func TestDevRunsEverythingAndKeepsItsData(t *testing.T) {
	t.Parallel()
	folder := newProject(t)

	first := folder.dev(t, "--addr", "127.0.0.1:0")
	first.wantTitles(t, demoTitles)
	first.create(t)
	first.wantTitles(t, demoAndFirstTitles)
	_, script := get(t, first.base+"/docs/init.js")
	prefilled := regexp.MustCompile(`^const demoToken = "(eyJ[^"]+)";\n`).FindStringSubmatch(script)
	if prefilled == nil {
		t.Fatalf("Swagger UI starts with %.200s", script)
	}
	if status, body := get(t, first.base+"/api/"+demoOwner+"/tasks", "Authorization", "Bearer "+prefilled[1]); status != http.StatusOK {
		t.Errorf("Swagger UI's token gets %d %s", status, body)
	}
	if status, _ := get(t, first.base+"/docs"); status != http.StatusOK {
		t.Errorf("/docs answers %d", status)
	}
	if status, body := get(t, first.base+"/api/"+demoOwner+"/tasks/"+demoTask, "Authorization", "Bearer "+first.token); status != http.StatusOK {
		t.Errorf("the document's example answers %d %s", status, body)
	}
	if status, body := get(t, first.base+"/health/ready"); status != http.StatusOK {
		t.Errorf("/health/ready answers %d %s", status, body)
	}
	// A second one would share the data of the first.
	path, err := binary()
	check(t, err)
	second := exec.Command(path, "dev", "--addr", "127.0.0.1:0")
	second.Dir, second.Env = folder.dir, first.Env
	if out, err := second.CombinedOutput(); second.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "another process") {
		t.Errorf("a second one: %v\n%s", err, out)
	}
	first.wantTitles(t, demoAndFirstTitles)
	first.end(t, syscall.SIGINT)
	first.checkPostgreSQLStopped(t)

	again := folder.dev(t, "--addr", "127.0.0.1:0")
	again.wantTitles(t, demoAndFirstTitles)
	again.end(t, syscall.SIGKILL)
	killed := folder.dev(t, "--addr", "127.0.0.1:0")
	killed.wantTitles(t, demoAndFirstTitles)
	killed.end(t, syscall.SIGTERM)
	killed.checkPostgreSQLStopped(t)

	fresh := folder.dev(t, "--addr", "127.0.0.1:0", "--fresh")
	fresh.wantTitles(t, demoTitles)
	fresh.end(t, syscall.SIGINT)
	fresh.checkPostgreSQLStopped(t)
}

// The demo's tasks are written with SQL. They are those that the service makes of the same members.
func TestDemoTasksAreThoseThatTheServiceMakes(t *testing.T) {
	t.Parallel()
	p := newProject(t).dev(t, "--addr", "127.0.0.1:0")
	tasks := p.base + "/api/" + demoOwner + "/tasks"
	status, body := get(t, tasks, "Authorization", "Bearer "+p.token)
	var list struct{ Tasks []map[string]any }
	if err := json.Unmarshal([]byte(body), &list); err != nil || status != http.StatusOK {
		t.Fatalf("the list answers %d %s", status, body)
	}
	shown := map[string]bool{} // what the demo shows
	for _, task := range list.Tasks {
		sent := map[string]any{}
		for _, name := range []string{
			"title", "description", "priority", "completed", "tags", "due_date", "due_time", "time_zone", "recurrence_rule", "recurrence_mode",
		} {
			sent[name] = task[name]
			shown[name] = shown[name] || task[name] != nil
		}
		shown["a whole day"] = shown["a whole day"] || task["due_date"] != nil && task["due_time"] == nil
		shown["no due date"] = shown["no due date"] || task["due_date"] == nil
		text, err := json.Marshal(sent)
		check(t, err)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, tasks, bytes.NewReader(text))
		check(t, err)
		r.Header.Set("Authorization", "Bearer "+p.token)
		r.Header.Set("Content-Type", "application/json")
		a, err := contract.Client(t).Do(r)
		check(t, err)
		var made map[string]any
		err = json.NewDecoder(a.Body).Decode(&made)
		a.Body.Close()
		if err != nil || a.StatusCode != http.StatusCreated {
			t.Fatalf("%s answers %d %v", text, a.StatusCode, made)
		}
		for _, name := range append(slices.Collect(maps.Keys(sent)), "due_at", "occurrence_date", "next_task_id") {
			if !reflect.DeepEqual(made[name], task[name]) {
				t.Errorf("%s: %s is %v, and the service makes it %v", task["title"], name, task[name], made[name])
			}
		}
		if (task["series_id"] == nil) != (made["series_id"] == nil) || (task["completed_at"] == nil) != (made["completed_at"] == nil) {
			t.Errorf("the demo has %v, and the service makes %v", task, made)
		}
	}
	for what, ok := range shown {
		if !ok {
			t.Errorf("the demo has no task with %s", what)
		}
	}

	// Swagger UI fills in the document's example of a skip, which moves the demo's task.
	doc, err := openapi3.NewLoader().LoadFromData(docket.OpenAPI)
	check(t, err)
	skip := doc.Paths.Find("/api/{user_id}/tasks/{task_id}/skip").Post.RequestBody.Value.Content["application/json"].Examples["skip"]
	text, err := json.Marshal(skip.Value.Value)
	check(t, err)
	for _, step := range []struct{ example, method, path, body string }{
		{"Task", http.MethodGet, "", ""}, {"SkippedTask", http.MethodPost, "/skip", string(text)},
	} {
		r, err := http.NewRequestWithContext(t.Context(), step.method, tasks+"/"+demoTask+step.path, strings.NewReader(step.body))
		check(t, err)
		r.Header.Set("Authorization", "Bearer "+p.token)
		if step.body != "" {
			r.Header.Set("Content-Type", "application/json")
		}
		a, err := contract.Client(t).Do(r)
		check(t, err)
		got, err := io.ReadAll(a.Body)
		a.Body.Close()
		check(t, err)
		if !contract.MatchesExample(string(got), doc.Components.Examples[step.example].Value.Value) {
			t.Errorf("the demo's task is %s, unlike the example %s", got, step.example)
		}
	}
}

func TestDevListensOnAnotherPortWhenItsOwnIsTaken(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer taken.Close()
	one := newProject(t).dev(t, "--addr", taken.Addr().String())
	other := newProject(t).dev(t, "--addr", taken.Addr().String())
	one.create(t)
	one.wantTitles(t, demoAndFirstTitles)
	other.wantTitles(t, demoTitles)
	for _, p := range []*process{one, other} {
		if strings.HasSuffix(p.base, taken.Addr().String()) || !strings.HasPrefix(p.base, "http://127.0.0.1:") {
			t.Errorf("it listens on %s", p.base)
		}
	}
}

// The other tests run as root when these tests do.
func TestDevRunsForAnOrdinaryUser(t *testing.T) {
	t.Parallel()
	folder := newProject(t)
	if os.Geteuid() == 0 {
		nobody, err := user.Lookup("nobody")
		check(t, err)
		uid, err := strconv.ParseUint(nobody.Uid, 10, 32)
		check(t, err)
		folder.user = &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid), NoSetGroups: true}
		check(t, os.Chown(folder.dir, int(uid), int(uid)))
	}
	p := folder.dev(t, "--addr", "127.0.0.1:0")
	p.create(t)
	p.wantTitles(t, demoAndFirstTitles)
	p.end(t, syscall.SIGINT)
	p.checkPostgreSQLStopped(t)
	check(t, filepath.WalkDir(folder.dir, func(_ string, _ fs.DirEntry, err error) error { return err })) // its owner can enter every folder
}

func TestDevUsesTheDatabaseAndIssuerOfTheEnvironment(t *testing.T) {
	t.Parallel()
	address := dbtest.New(t)
	p := background(t, environment{"DATABASE_URL": address}, "dev", "--addr", "127.0.0.1:0")
	eventually(t, "everything runs", func() bool { return strings.Contains(p.stdout.String(), "Ctrl-C") })
	if !strings.Contains(p.stdout.String(), "  DATABASE_URL  "+address+"\n") {
		t.Errorf("it prints %s", &p.stdout)
	}
	if got := query(t, address, "select string_agg(title, ', ' order by title) from task"); got != demoTitles {
		t.Errorf("the tasks are %s", got)
	}
	p.stop()
	p.wait(t)

	i := newIssuer(t)
	own := dbtest.New(t)
	p = background(t, environment{"DATABASE_URL": own, "BETTER_AUTH_URL": i.URL}, "dev", "--addr", "127.0.0.1:0")
	eventually(t, "everything runs", func() bool { return strings.Contains(p.stdout.String(), "Ctrl-C") })
	if strings.Contains(p.stdout.String(), "eyJ") || !strings.Contains(p.stdout.String(), i.URL) {
		t.Errorf("it prints %s", &p.stdout)
	}
	if got := query(t, own, "select count(*)::text from task"); got != "0" {
		t.Errorf("there are %s tasks", got)
	}
	if _, err := os.Stat(devDir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a folder %s: %v", devDir, err)
	}
}

func TestDevRefusesDatabasesOfOtherMachines(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"postgres://docket@db.example/docket", "postgres://docket@192.0.2.1/docket", "postgres://docket@localhost,db.example/docket"} {
		invoke(t, environment{"DATABASE_URL": address}, "dev").want(t, 1, "not on loopback")
	}
}
