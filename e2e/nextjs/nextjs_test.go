//go:build unix

// Package nextjs_test builds the app of examples/nextjs with the commands of README.md and uses it in a browser.
package nextjs_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"docket/contract"
	"docket/e2e/internal/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// commands matches the blocks of README.md that a newcomer runs in a second terminal, in the repository.
var commands = regexp.MustCompile("(?ms)^```sh frontend\n(.*?)^```$")

// fault G4
// fault G5
// fault G7
// fault G8
// fault G9
func TestCommandsOfTheReadmeBuildAnAppThatWorksInABrowser(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, block := range commands.FindAllStringSubmatch(string(readme), -1) {
		all.WriteString(block[1])
	}
	script, found := strings.CutSuffix(all.String(), "npm start\n")
	if !found {
		t.Fatal("the commands of README.md do not end with npm start")
	}

	app, docket := newProxy(t), newProxy(t)
	// The browser takes the app's origin for that of another computer, on which less is allowed.
	origin := strings.Replace(app.URL, "127.0.0.1", "tasks.example", 1)
	settings := []string{"BETTER_AUTH_URL=" + origin, "AUTH_JWKS_URL=" + app.URL + "/api/auth/jwks"}
	dev := testenv.StartDev(t, append(settings, "FRONTEND_URL="+origin)...)
	docket.to(t, contract.Proxy(t, dev.URL))

	repository := copyRepository(t)
	for from, to := range map[string]string{
		"http://localhost:3000": origin, "http://127.0.0.1:8000": docket.URL, "postgres://…": dev.Database,
	} {
		if !strings.Contains(script, from) {
			t.Errorf("README.md has no %s", from)
		}
		script = strings.ReplaceAll(script, from, to)
	}
	newcomer := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
	newcomer.Dir = repository
	newcomer.Env = append(os.Environ(), "NEXT_TELEMETRY_DISABLED=1", "BETTER_AUTH_TELEMETRY=0", "npm_config_prefer_offline=true")
	if out, err := newcomer.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	app.to(t, startNext(t, filepath.Join(repository, "examples/nextjs")))
	testenv.Browse(t, "nextjs.mjs", origin, "Ada")

	blocking := testenv.StartDev(t, append(settings, "DATABASE_URL="+dev.Database, "FRONTEND_URL=https://elsewhere.example")...)
	docket.to(t, contract.Proxy(t, blocking.URL))
	testenv.Browse(t, "nextjs.mjs", origin, "Carol", "blocked")
}

var localPattern = regexp.MustCompile(`Local: +(http://\S+)`)

// startNext starts the app that has been built in a folder and returns its URL.
func startNext(t *testing.T, folder string) (address string) {
	t.Helper()
	next := exec.Command("node", "node_modules/next/dist/bin/next", "start", "--hostname", "127.0.0.1", "--port", "0")
	next.Dir, next.Env = folder, append(os.Environ(), "NEXT_TELEMETRY_DISABLED=1", "BETTER_AUTH_TELEMETRY=0")
	testenv.StartUntilEOF(t, "Next.js", next, func(line string) bool {
		if m := localPattern.FindStringSubmatch(line); m != nil {
			address = m[1]
		}
		return address != ""
	})
	return address
}

// copyRepository copies the files of the client and the example that git tracks or would add, as a clone has them.
func copyRepository(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	list := exec.CommandContext(t.Context(), "git", "ls-files", "-coz", "--exclude-standard", "clients/typescript", "examples/nextjs")
	list.Dir = "../.."
	names, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		content, err := os.ReadFile(filepath.Join("../..", name))
		if err == nil {
			err = os.MkdirAll(filepath.Join(root, filepath.Dir(name)), 0o750)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(root, name), content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// proxy is a reverse proxy whose address is known before that of the server behind it.
type proxy struct {
	*httptest.Server
	target atomic.Pointer[url.URL]
}

func newProxy(t *testing.T) *proxy {
	t.Helper()
	p := &proxy{}
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(p.target.Load())
			r.Out.Host = r.In.Host
		},
	}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.target.Load() == nil {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = io.WriteString(w, "not started yet")
			return
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

// to sets the server behind the proxy.
func (p *proxy) to(t *testing.T, address string) {
	t.Helper()
	target, err := url.Parse(address)
	if err != nil {
		t.Fatal(fmt.Errorf("%q: %w", address, err))
	}
	p.target.Store(target)
}
