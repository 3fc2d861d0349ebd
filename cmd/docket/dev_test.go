//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"docket/contract"
	"docket/internal/dbtest"
)

// home is the folder that a docket dev is run in, empty at first.
type home struct {
	dir  string
	user *syscall.Credential // nil: who runs the test
}

func newHome(t testing.TB) home {
	t.Helper()
	dir, err := publicDir()
	check(t, err)
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return home{dir: dir}
}

// process is a docket dev in a process of its own.
type process struct {
	*exec.Cmd
	stdout, stderr buffer
	ended          chan struct{}

	base        string // of the API
	token       string
	databaseURL string
	curl        string
}

var saysPattern = regexp.MustCompile(`(?m)^  API +(\S+)\n(?s:.*)  DATABASE_URL +(\S+)\n(?s:.*)\n(eyJ\S+)\n(?s:.*)\n(curl .*)\n(?s:.*)Ctrl-C stops everything`)

// dev runs docket dev in the folder and waits until it says that it is up.
func (h home) dev(t testing.TB, args ...string) *process {
	t.Helper()
	path, err := binary()
	check(t, err)
	p := &process{Cmd: exec.Command(path, append([]string{"dev"}, args...)...), ended: make(chan struct{})}
	p.Dir = h.dir
	p.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + h.dir, "TMPDIR=" + os.TempDir()} // nothing that configures docket
	p.SysProcAttr = &syscall.SysProcAttr{Credential: h.user, Setpgid: true}
	p.Stdout, p.Stderr = &p.stdout, &p.stderr
	check(t, p.Start())
	go func() { _ = p.Wait(); close(p.ended) }() // how it ended is in ProcessState
	t.Cleanup(func() {
		_ = p.Process.Signal(os.Interrupt)
		<-p.ended
		if strings.Contains(p.stderr.String(), "DATA RACE") {
			t.Errorf("a data race:\n%s", &p.stderr)
		}
	})
	eventually(t, "docket dev is up", func() bool {
		select {
		case <-p.ended:
			t.Fatalf("%v\n%s\n%s", p.ProcessState, &p.stdout, &p.stderr)
		default:
		}
		says := saysPattern.FindStringSubmatch(p.stdout.String())
		if says != nil {
			p.base, p.databaseURL, p.token, p.curl = says[1], says[2], says[3], says[4]
		}
		return says != nil
	})
	return p
}

// end sends a signal and waits.
func (p *process) end(t testing.TB, signal syscall.Signal) {
	t.Helper()
	check(t, p.Process.Signal(signal))
	<-p.ended
	if signal != syscall.SIGKILL && p.ProcessState.ExitCode() != 0 {
		t.Errorf("%v\n%s", p.ProcessState, &p.stderr)
	}
}

// nothingLeft fails the test when the process left a PostgreSQL behind.
func (p *process) nothingLeft(t testing.TB) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(p.Dir, devDir, "data-*", "postmaster.pid"))
	check(t, err)
	if len(left) > 0 {
		t.Errorf("left is %s", left)
	}
	// Another test's may listen on that port by now, but with another password.
	if conn, err := pgx.Connect(t.Context(), p.databaseURL); err == nil {
		conn.Close(t.Context())
		t.Error("PostgreSQL still answers")
	}
}

// titles lists the demo's tasks.
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
	sample  = "Buy oat milk, Call the plumber, Prepare the quarterly report, Read the Docket README"
	andMine = "Buy oat milk, Call the plumber, My first task, Prepare the quarterly report, Read the Docket README"
)

func (p *process) wantTitles(t testing.TB, want string) {
	t.Helper()
	if got := strings.Join(p.titles(t), ", "); got != want {
		t.Errorf("the tasks are %s, want %s", got, want)
	}
}

// create runs the curl line that docket dev prints, as a person would.
func (p *process) create(t testing.TB) {
	t.Helper()
	out, err := exec.Command("sh", "-c", strings.ReplaceAll(p.curl, p.base, contract.Proxy(t, p.base))).Output()
	if err != nil || !bytes.HasPrefix(out, []byte("HTTP/1.1 201 Created\r\n")) {
		t.Fatalf("%s\nprints %s, %v", p.curl, out, err)
	}
}

// A first day with docket, from an empty folder on.
func TestDevIsEverythingInOneCommand(t *testing.T) {
	t.Parallel()
	h := newHome(t)

	first := h.dev(t, "--addr", "127.0.0.1:0")
	first.wantTitles(t, sample)
	first.create(t)
	first.wantTitles(t, andMine)
	_, script := get(t, first.base+"/docs/init.js")
	authorised := regexp.MustCompile(`^const demoToken = "(eyJ[^"]+)";\n`).FindStringSubmatch(script)
	if authorised == nil {
		t.Fatalf("Swagger UI starts with %.200s", script)
	}
	if status, body := get(t, first.base+"/api/"+demoOwner+"/tasks", "Authorization", "Bearer "+authorised[1]); status != http.StatusOK {
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
	// A second one in the same folder would share the data: it is refused, and does no harm.
	path, err := binary()
	check(t, err)
	second := exec.Command(path, "dev", "--addr", "127.0.0.1:0")
	second.Dir, second.Env = h.dir, first.Env
	if out, err := second.CombinedOutput(); second.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "another process") {
		t.Errorf("a second one: %v\n%s", err, out)
	}
	first.wantTitles(t, andMine)
	first.end(t, syscall.SIGINT)
	first.nothingLeft(t)

	// What was done is still there.
	again := h.dev(t, "--addr", "127.0.0.1:0")
	again.wantTitles(t, andMine)
	// Nor is anything lost by kill -9.
	again.end(t, syscall.SIGKILL)
	killed := h.dev(t, "--addr", "127.0.0.1:0")
	killed.wantTitles(t, andMine)
	killed.end(t, syscall.SIGTERM)
	killed.nothingLeft(t)

	fresh := h.dev(t, "--addr", "127.0.0.1:0", "--fresh")
	fresh.wantTitles(t, sample)
	fresh.end(t, syscall.SIGINT)
	fresh.nothingLeft(t)
}

// Several run side by side, and none minds a port that is taken.
func TestDevFallsBackFromATakenPort(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer taken.Close()
	one := newHome(t).dev(t, "--addr", taken.Addr().String())
	other := newHome(t).dev(t, "--addr", taken.Addr().String())
	one.create(t)
	one.wantTitles(t, andMine)
	other.wantTitles(t, sample)
	for _, p := range []*process{one, other} {
		if strings.HasSuffix(p.base, taken.Addr().String()) || !strings.HasPrefix(p.base, "http://127.0.0.1:") {
			t.Errorf("it listens on %s", p.base)
		}
	}
}

// Where the tests run as root, docket dev has run as root above. It must for everybody.
func TestDevRunsForAnOrdinaryUser(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	if os.Geteuid() == 0 {
		nobody, err := user.Lookup("nobody")
		check(t, err)
		uid, err := strconv.ParseUint(nobody.Uid, 10, 32)
		check(t, err)
		h.user = &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid), NoSetGroups: true}
		check(t, os.Chown(h.dir, int(uid), int(uid)))
	}
	p := h.dev(t, "--addr", "127.0.0.1:0")
	p.create(t)
	p.wantTitles(t, andMine)
	p.end(t, syscall.SIGINT)
	p.nothingLeft(t)
	check(t, filepath.WalkDir(h.dir, func(path string, _ fs.DirEntry, err error) error { return err })) // nothing that its owner cannot enter
}

// With a database and an issuer of one's own, nothing is started beside the service.
func TestDevUsesWhatIsThere(t *testing.T) {
	t.Parallel()
	address := dbtest.New(t)
	p := background(t, environment{"DATABASE_URL": address}, "dev", "--addr", "127.0.0.1:0")
	eventually(t, "it is up", func() bool { return strings.Contains(p.stdout.String(), "Ctrl-C") })
	if !strings.Contains(p.stdout.String(), "  DATABASE_URL  "+address+"\n") {
		t.Errorf("it prints %s", &p.stdout)
	}
	if got := query(t, address, "select string_agg(title, ', ' order by title) from task"); got != sample {
		t.Errorf("the tasks are %s", got)
	}
	p.stop()
	p.wait(t)

	i, err := startIssuer(context.Background())
	check(t, err)
	defer i.stop()
	own := dbtest.New(t)
	p = background(t, environment{"DATABASE_URL": own, "BETTER_AUTH_URL": i.url}, "dev", "--addr", "127.0.0.1:0")
	eventually(t, "it is up", func() bool { return strings.Contains(p.stdout.String(), "Ctrl-C") })
	if strings.Contains(p.stdout.String(), "eyJ") || !strings.Contains(p.stdout.String(), i.url) {
		t.Errorf("it prints %s", &p.stdout)
	}
	if got := query(t, own, "select count(*)::text from task"); got != "0" {
		t.Errorf("there are %s tasks", got)
	}
	if _, err := os.Stat(devDir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a folder %s: %v", devDir, err)
	}
}

func TestDevTouchesNoOtherMachine(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"postgres://docket@db.example/docket", "postgres://docket@192.0.2.1/docket", "postgres://docket@localhost,db.example/docket"} {
		invoke(t, environment{"DATABASE_URL": address}, "dev").want(t, 1, "not on loopback")
	}
}
