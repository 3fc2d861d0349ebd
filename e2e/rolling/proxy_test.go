//go:build unix

package rolling_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"docket/e2e/internal/testenv"
	"docket/internal/dbtest"
)

// proxy is a program that runs with its file of deploy.
type proxy struct {
	name string
	// start runs the proxy in front of the replicas until the test ends, and returns its URL. The pairs are further texts of
	// its file and what replaces them.
	start func(t *testing.T, replicas []*replica, pairs ...string) string
	// untilInUse returns when the proxy sends requests to a replica that is ready again.
	untilInUse func(t *testing.T, r *replica)
	// timeout is the text of its file that says how long it waits for a replica.
	timeout string
}

var proxies = []proxy{
	// nginx has no state to wait for: fail_timeout is below SHUTDOWN_DELAY.
	{"nginx", startNginx, func(*testing.T, *replica) {}, "proxy_read_timeout 40s"},
	{"HAProxy", startHAProxy, untilHAProxyUses, "timeout server 40s"},
}

// TestTheProxiesAcceptTheirFiles runs `nginx -t` and `haproxy -c` on the files with paths, users and ports of this machine.
func TestTheProxiesAcceptTheirFiles(t *testing.T) {
	t.Parallel()
	dir := dbtest.Dir(t)
	if out, err := exec.Command(find(t, "nginx"), append(nginxArguments(t, dir, freeAddr(t), nil, nil), "-t")...).CombinedOutput(); err != nil || strings.Contains(string(out), "[warn]") {
		t.Errorf("nginx -t: %v\n%s", err, out)
	}
	config := haproxyFile(t, dir, freeAddr(t), nil, nil)
	if out, err := exec.Command(find(t, "haproxy"), "-c", "-f", config).CombinedOutput(); err != nil || strings.Contains(string(out), "WARNING") {
		t.Errorf("haproxy -c: %v\n%s", err, out)
	}
}

// Docket's own limits apply behind a proxy, and its answers arrive as they are.
func TestTheProxiesLeaveLimitsTagsAndErrorsToTheService(t *testing.T) {
	t.Parallel()
	for _, p := range proxies {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, "LOG_LEVEL=info", "LOG_CLIENT_ADDRESS=true", "TRUSTED_PROXIES=127.0.0.1", "SHUTDOWN_DELAY=0s")
			w := s.newWorker(t, p.start(t, s.replicas), 0)
			tasks := w.url + "/api/" + w.owner + "/tasks"
			title := `{"title": "` + strings.Repeat("x", 100) + `"}`
			for _, test := range []struct {
				name, method, body string
				header             []string
				status             int
				contains           string
			}{
				{"a request", "POST", title, nil, 201, `"etag":`},
				{"12 KiB of header", "GET", "", []string{"X-A", strings.Repeat("x", 7<<10), "X-B", strings.Repeat("x", 5<<10)}, 200, `"tasks":`},
				{"a long line", "GET", "", []string{"X-A", strings.Repeat("x", 14<<10)}, 200, `"tasks":`},
				{"18 KiB of header", "GET", "", []string{"X-A", strings.Repeat("x", 9<<10), "X-B", strings.Repeat("x", 9<<10)}, 431, "header_fields_too_large"},
				{"60 KiB of body", "POST", title + strings.Repeat(" ", 60<<10), nil, 201, `"etag":`},
				{"100 KiB of body", "POST", title + strings.Repeat(" ", 100<<10), nil, 413, "payload_too_large"},
				{"a forged client", "GET", "", []string{"X-Forwarded-For", "192.0.2.1", "Forwarded", "for=192.0.2.1"}, 200, ""},
				{"an id", "GET", "", []string{"X-Request-Id", "mine.1_a-B"}, 200, ""},
				{"a bad id", "GET", "", []string{"X-Request-Id", "my id"}, 200, ""},
				{"compressed", "GET", "", []string{"Accept-Encoding", "gzip"}, 200, ""},
			} {
				r, err := http.NewRequestWithContext(t.Context(), test.method, tasks, strings.NewReader(test.body))
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Authorization", "Bearer "+w.token)
				if test.body != "" {
					r.Header.Set("Content-Type", "application/json")
				}
				for i := 0; i < len(test.header); i += 2 {
					r.Header.Set(test.header[i], test.header[i+1])
				}
				response, err := w.http.Do(r)
				if err != nil {
					t.Errorf("%s: %v", test.name, err)
					continue
				}
				body, _ := io.ReadAll(response.Body) // it was read already
				response.Body.Close()
				if response.StatusCode != test.status || !strings.Contains(string(body), test.contains) {
					t.Errorf("%s: %d %.300s", test.name, response.StatusCode, body)
				}
				if tag := response.Header.Get("ETag"); response.StatusCode < 400 && !strings.HasPrefix(tag, `"`) {
					t.Errorf("%s: the ETag is %s", test.name, tag)
				}
				asked, got := r.Header.Get("X-Request-Id"), response.Header.Get("X-Request-Id")
				if got == "" || (got == asked) != (asked == "mine.1_a-B") {
					t.Errorf("%s: X-Request-Id is %q, and was %q", test.name, got, asked)
				}
			}
			lines := 0
			for _, r := range s.replicas {
				r.stop(t)
				for line := range strings.Lines(r.log.String()) {
					if strings.Contains(line, `"msg":"request"`) {
						lines++
						if !strings.Contains(line, `"client":"127.0.0.1"`) {
							t.Errorf("the client is not the proxy's: %s", line)
						}
					}
				}
			}
			if lines == 0 {
				t.Error("no request is in the log")
			}
		})
	}
}

// broken is a replica that reads each request and does not answer: it ends the connection, or waits if the path says so.
type broken struct {
	seen *sync.Map // method and path → *atomic.Int64
}

func (b broken) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	count, _ := b.seen.LoadOrStore(r.Method+" "+r.URL.Path, new(atomic.Int64))
	count.(*atomic.Int64).Add(1)
	if strings.HasPrefix(r.URL.Path, "/wait") {
		<-r.Context().Done()
	}
	panic(http.ErrAbortHandler)
}

// What a replica may have done is not repeated, whatever the method and however the request ended.
func TestTheProxiesRepeatNothingThatWasSent(t *testing.T) {
	t.Parallel()
	for _, p := range proxies {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			seen := new(sync.Map)
			replicas := []*replica{listen(t, "docket1", broken{seen}), listen(t, "docket2", broken{seen})}
			url := p.start(t, replicas, p.timeout, strings.Replace(p.timeout, "40s", "1s", 1))
			for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
				for _, end := range []string{"/wait", "/break"} {
					n := 0 // a proxy may find that no replica works: then it sends nothing
					eventually(t, "a replica gets the "+method, func() bool {
						n++
						path := fmt.Sprintf("%s/%d", end, n)
						if status := answer(t, method, url+path); status != 502 && status != 503 && status != 504 {
							t.Errorf("%s %s: %d", method, end, status)
						}
						count, sent := seen.Load(method + " " + path)
						if sent && count.(*atomic.Int64).Load() != 1 {
							t.Errorf("%s %s was sent %d times", method, end, count.(*atomic.Int64).Load())
						}
						return sent
					})
				}
			}
		})
	}
}

// What could not be sent goes to another replica, whatever the method.
func TestTheProxiesSendToAnotherReplicaWhatCouldNotBeSent(t *testing.T) {
	t.Parallel()
	for _, p := range proxies {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			var served atomic.Int64
			works := listen(t, "docket1", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served.Add(1) }))
			refuses := listen(t, "docket2", http.NotFoundHandler())
			refuses.addr = freeAddr(t)
			const perMethod = 4
			var sent int64
			for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
				url := p.start(t, []*replica{works, refuses}) // another one for each method: it remembers who refused
				for range perMethod {
					sent++
					if status := answer(t, method, url); status != http.StatusOK {
						t.Errorf("%s: %d", method, status)
					}
				}
			}
			if served.Load() != sent {
				t.Errorf("%d requests were served, want %d", served.Load(), sent)
			}
		})
	}
}

// listen returns a replica of that name with this handler, and with another address at which it is ready.
func listen(t *testing.T, name string, h http.Handler) *replica {
	t.Helper()
	s := httptest.NewServer(h)
	ready := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(ready.Close)
	t.Cleanup(s.Close)
	return &replica{name: name, addr: s.Listener.Addr().String(), admin: ready.Listener.Addr().String()}
}

// answer sends a request with a body and returns the status.
func answer(t *testing.T, method, url string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultTransport.RoundTrip(r) //nolint:forbidigo // the answers are the proxy's own
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

// find returns the path of a program. Debian's packages install it in a folder that is not in an ordinary user's PATH.
func find(t *testing.T, program string) string {
	t.Helper()
	for _, name := range []string{program, "/usr/sbin/" + program} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatalf("this test needs %s, which is not installed (Debian, Ubuntu: apt-get install %s; macOS: brew install %[1]s)", program, program)
	return ""
}

// adapt reads a file of deploy and replaces text of it, all of which it must contain.
func adapt(t *testing.T, file string, pairs ...string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("../../deploy", file))
	if err != nil {
		t.Fatal(err)
	}
	text := string(content)
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("deploy/%s has no %q", file, pairs[i])
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return text
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// nginxArguments writes nginx's files into a folder and returns the arguments that it needs. Without replicas, their
// addresses stay as they are.
func nginxArguments(t *testing.T, dir, front string, replicas []*replica, more []string) []string {
	t.Helper()
	pairs := []string{"/var/log/nginx/docket.log", filepath.Join(dir, "access.log"), "\n    listen 80;", "\n    listen " + front + ";"}
	for i, r := range replicas {
		pairs = append(pairs, fmt.Sprintf("server 10.0.0.1%d:8000 ", i+1), "server "+r.addr+" ")
	}
	writeFile(t, filepath.Join(dir, "docket.conf"), adapt(t, "nginx/docket.conf", append(pairs, more...)...))
	// What nginx.conf of a distribution has around it.
	text := "daemon off;\nworker_processes 2;\npid nginx.pid;\nerror_log stderr notice;\nevents { worker_connections 512; }\nhttp {\n"
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		text += fmt.Sprintf("  %s_temp_path %s;\n", kind, filepath.Join(dir, kind))
	}
	file := filepath.Join(dir, "nginx.conf")
	writeFile(t, file, text+"  include docket.conf;\n}\n")
	return []string{"-e", "stderr", "-p", dir, "-c", file}
}

func startNginx(t *testing.T, replicas []*replica, pairs ...string) (url string) {
	t.Helper()
	dir, front := dbtest.Dir(t), freeAddr(t)
	cmd := exec.Command(find(t, "nginx"), nginxArguments(t, dir, front, replicas, pairs)...)
	testenv.StartUntilEOF(t, "nginx", cmd, func(line string) bool { return strings.Contains(line, "start worker process ") })
	return "http://" + front
}

// haproxyFile writes HAProxy's file into a folder and returns its path. Without replicas, their addresses stay as they are.
func haproxyFile(t *testing.T, dir, front string, replicas []*replica, more []string) string {
	t.Helper()
	pairs := []string{
		"    user haproxy\n    group haproxy\n    chroot /var/lib/haproxy\n", "", "/run/haproxy/admin.sock", haproxySocket(dir), "bind :80\n", "bind " + front + "\n",
	}
	for i, r := range replicas {
		_, port, _ := net.SplitHostPort(r.admin)
		pairs = append(pairs, fmt.Sprintf("10.0.0.1%d:8000", i+1), r.addr+" port "+port)
	}
	file := filepath.Join(dir, "haproxy.cfg")
	writeFile(t, file, adapt(t, "haproxy/haproxy.cfg", append(pairs, more...)...))
	return file
}

func haproxySocket(dir string) string { return filepath.Join(dir, "admin.sock") }

func startHAProxy(t *testing.T, replicas []*replica, pairs ...string) (url string) {
	t.Helper()
	dir, front := dbtest.Dir(t), freeAddr(t)
	for _, r := range replicas {
		r.socket = haproxySocket(dir)
	}
	// It prints nothing when it has started.
	cmd := exec.Command("/bin/sh", "-c", `echo starting; exec "$@"`, "sh", find(t, "haproxy"), "-db", "-f", haproxyFile(t, dir, front, replicas, pairs))
	testenv.StartUntilEOF(t, "HAProxy", cmd, func(line string) bool { return line == "starting" })
	for _, r := range replicas {
		untilHAProxyUses(t, r)
	}
	return "http://" + front
}

// untilHAProxyUses waits until a check of the replica has succeeded.
func untilHAProxyUses(t *testing.T, r *replica) {
	t.Helper()
	eventually(t, "HAProxy uses "+r.name, func() bool {
		c, err := net.Dial("unix", r.socket)
		if err != nil {
			return false // it has not started yet
		}
		defer c.Close()
		if _, err := io.WriteString(c, "show stat\n"); err != nil {
			return false
		}
		table, err := io.ReadAll(c)
		if err != nil {
			return false
		}
		for line := range strings.Lines(string(table)) {
			fields := strings.Split(line, ",")
			if len(fields) > 36 && fields[0] == "docket" && fields[1] == r.name {
				return fields[17] == "UP" && fields[36] == "L7OK"
			}
		}
		return false
	})
}
