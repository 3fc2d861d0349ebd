package server_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"docket/contract"
	"docket/internal/auth"
	"docket/internal/dbtest"
	"docket/internal/devauth"
	"docket/internal/server"
	"docket/internal/store"
)

func TestMain(m *testing.M) { os.Exit(dbtest.Main(m)) }

// frontend is the origin that may call from a browser.
const frontend = contract.Frontend

// service is a running Docket with a database, an issuer and a log of its own, and two owners to begin with.
type service struct {
	url      string
	database *pgxpool.Pool // as superuser, to see what is really stored
	issuer   *devauth.Issuer
	log      *logBuffer
	client   *http.Client
	ada, bob *owner
	config   server.Config
	docket   *server.Server
	stop     context.CancelFunc // begins the shutdown, as SIGTERM does
	stopped  chan struct{}
}

// options contains what a test may change before its service starts.
type options struct {
	server.Config
	databaseURL string
	keysURL     string
	drain       time.Duration
	listener    func(net.Listener) net.Listener
}

// start runs a service until the test ends. Listener, HTTP, tokens and PostgreSQL are all real.
func start(t testing.TB, changes ...func(*options)) *service {
	t.Helper()
	databaseURL := dbtest.New(t)
	s := &service{issuer: newIssuer(t), log: new(logBuffer), stopped: make(chan struct{})}
	s.ada, s.bob = s.newOwner(), s.newOwner()
	dbtest.AddUser(t, databaseURL, s.ada.id, s.bob.id)
	s.database = must(pgxpool.New(context.Background(), databaseURL))
	t.Cleanup(s.database.Close)

	o := options{databaseURL: databaseURL, keysURL: s.issuer.KeysURL()}
	o.Version, o.Origins = "test", []string{frontend}
	o.Log = slog.New(slog.NewJSONHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	for _, change := range changes {
		change(&o)
	}
	work, end := context.WithCancel(context.Background())
	t.Cleanup(end)
	o.Store = must(store.Open(work, store.Config{URL: o.databaseURL, MaxConns: 6, MinIdleConns: 1, Tracer: o.Tracing.Tracer()}))
	t.Cleanup(o.Store.Close)
	o.Verifier = must(auth.New(work, auth.Config{
		JWKSURL: o.keysURL, Issuer: s.issuer.URL, Audience: s.issuer.URL, Logger: o.Log, Tracer: o.Tracing.Tracer(),
	}))
	if o.keysURL != nowhere {
		eventually(t, "the keys are loaded", func() bool { return o.Verifier.Ready() == nil })
	}
	s.config = o.Config
	s.docket = must(server.New(o.Config))
	l := must(server.Listen(context.Background(), "127.0.0.1:0"))
	s.url = "http://" + l.Addr().String()
	if o.listener != nil {
		l = o.listener(l)
	}
	s.client = &http.Client{
		Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 32},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	go func() {
		defer close(s.stopped)
		if err := s.docket.Serve(ctx, l, o.drain); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		stop()
		s.client.CloseIdleConnections()
		<-s.stopped
		for _, secret := range []string{"eyJ", s.ada.id, s.bob.id} { // eyJ: every token begins with it
			if strings.Contains(s.log.String(), secret) {
				t.Errorf("the log holds %q:\n%s", secret, s.log)
			}
		}
	})
	return s
}

// nowhere is an address on which nothing listens.
const nowhere = "http://127.0.0.1:1/"

// withoutDatabase configures a service whose database is unreachable.
func withoutDatabase(o *options) { o.databaseURL = "postgres://docket@127.0.0.1:1/docket" }

// owner is a user with a token. Its requests use the path of its own tasks.
type owner struct {
	*service
	id    string
	token string
}

// newOwner returns an owner with a token of Better Auth who is not in the database.
func (s *service) newOwner() *owner { return s.named(rand.Text() + "a1B2c3") } // 32 characters, as Better Auth's

func (s *service) named(id string) *owner {
	return &owner{service: s, id: id, token: s.issuer.Token(id)}
}

// tasks returns the path of the owner's tasks.
func (o *owner) path() string  { return "/api/" + url.PathEscape(o.id) }
func (o *owner) tasks() string { return o.path() + "/tasks" }

// send sends a request to the owner's tasks, with its token.
func (o *owner) send(t testing.TB, method, path, body string, headers ...string) *answer {
	t.Helper()
	return o.service.send(t, method, o.tasks()+path, body, append([]string{"Authorization: Bearer " + o.token}, headers...)...)
}

// create creates a task with the given JSON.
func (o *owner) create(t testing.TB, body string) task {
	t.Helper()
	return o.send(t, "POST", "", body).want(http.StatusCreated).task()
}

// send sends a request. A header is "Name: value" and replaces the one of that name before it; "Name:" removes it.
// A body is JSON unless a header says otherwise.
func (s *service) send(t testing.TB, method, target, body string, headers ...string) *answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.url+target, strings.NewReader(body))
	check(t, err)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ":")
		if value = strings.TrimPrefix(value, " "); value != "" {
			r.Header.Set(name, value)
		} else {
			r.Header.Del(name)
		}
	}
	return s.do(t, r)
}

// do sends a request.
func (s *service) do(t testing.TB, r *http.Request) *answer {
	t.Helper()
	response, err := s.client.Do(r)
	check(t, err)
	return received(t, r, response)
}

// conn is a connection for requests that no HTTP client would send.
type conn struct {
	net.Conn
	answers *bufio.Reader
}

// dial opens a connection and writes text to it.
func (s *service) dial(t testing.TB, text string) *conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	check(t, err)
	t.Cleanup(func() { c.Close() })
	_, err = io.WriteString(c, text)
	check(t, err)
	return &conn{c, bufio.NewReader(c)}
}

// closeWrite closes the connection for writing. It ignores an error, which means that the service closed the connection
// first.
func (c *conn) closeWrite() { _ = c.Conn.(*net.TCPConn).CloseWrite() }

// answer reads an answer to the request that begins with head.
func (c *conn) answer(t testing.TB, head string) *answer {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head)))
	if err != nil {
		r = nil // not HTTP: net/http answers it
	}
	response, err := http.ReadResponse(c.answers, r)
	check(t, err)
	return received(t, r, response)
}

// raw sends bytes as they are and reads one answer. Each line of the head ends in CRLF instead of LF.
func (s *service) raw(t testing.TB, head, body string) *answer {
	t.Helper()
	head = crlf(head)
	return s.dial(t, head+body).answer(t, head)
}

// crlf returns the head of a request with the line ends of HTTP.
func crlf(head string) string { return strings.ReplaceAll(head, "\n", "\r\n") + "\r\n\r\n" }

// received reads a response. Every response in every test is read here and compared with openapi.yaml.
func received(t testing.TB, r *http.Request, response *http.Response) *answer {
	t.Helper()
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	check(t, err)
	a := &answer{t: t, status: response.StatusCode, header: response.Header, body: string(body), last: response.Close}
	for _, fault := range contract.Current().Faults(r, a.plain()) {
		t.Errorf("%s: %s\n%.3000s", contract.Describe(r), fault, a)
	}
	check(t, contract.Current().Record(r, a.plain()))
	return a
}

// answer is a response that was read to its end.
type answer struct {
	t      testing.TB
	status int
	header http.Header
	body   string
	last   bool // the service closes the connection after it
}

func (a *answer) plain() contract.Response {
	return contract.Response{Status: a.status, Header: a.header, Body: a.body}
}

// String returns the answer as it was sent.
func (a *answer) String() string {
	var b bytes.Buffer
	_ = a.header.Write(&b) // to memory: cannot fail
	return fmt.Sprintf("%d %s\n%s\n%s", a.status, http.StatusText(a.status), &b, a.body)
}

// want ends the test if the status differs.
func (a *answer) want(status int) *answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("status %d, want %d\n%s", a.status, status, a)
	}
	return a
}

func (a *answer) task() (v task)               { a.t.Helper(); a.read(&v); return v }
func (a *answer) list() (v list)               { a.t.Helper(); a.want(http.StatusOK).read(&v); return v }
func (a *answer) problem() (v problemDocument) { a.t.Helper(); a.read(&v); return v }
func (a *answer) read(v any)                   { a.t.Helper(); check(a.t, json.Unmarshal([]byte(a.body), v)) }
func (a *answer) get(header string) string     { return a.header.Get(header) }

// The types that clients read. They are not the server's own, so that the tests detect a change in those.
type (
	task struct {
		ID          string  `json:"id"`
		UserID      string  `json:"user_id"`
		Title       string  `json:"title"`
		Description *string `json:"description"`
		Priority    string  `json:"priority"`
		Completed   bool    `json:"completed"`
		DueDate     string  `json:"due_date"` // null is empty
		DueTime     string  `json:"due_time"`
		Tags        rawTags `json:"tags"`
		CreatedAt   string  `json:"created_at"`
		UpdatedAt   string  `json:"updated_at"`
		Revision    int64   `json:"revision"`
		Etag        string  `json:"etag"`
	}
	list struct {
		Tasks      []task  `json:"tasks"`
		Total      int     `json:"total"`
		Limit      int     `json:"limit"`
		Offset     int     `json:"offset"`
		NextCursor *string `json:"next_cursor"`
	}
	problemDocument struct {
		Type      string  `json:"type"`
		Title     string  `json:"title"`
		Status    int     `json:"status"`
		Detail    string  `json:"detail"`
		Code      string  `json:"code"`
		Instance  string  `json:"instance"`
		RequestID string  `json:"request_id"`
		TraceID   string  `json:"trace_id"`
		Errors    []fault `json:"errors"`
	}
	fault struct {
		Pointer   string `json:"pointer"`
		Parameter string `json:"parameter"`
		Header    string `json:"header"`
		Code      string `json:"code"`
		Detail    string `json:"detail"`
	}
)

// rawTags are a task's tags as JSON, so that tasks can be compared.
type rawTags string

func (r *rawTags) UnmarshalJSON(text []byte) error {
	*r = rawTags(text)
	return nil
}

// tagsOf returns tags as an answer has them.
func tagsOf(names ...string) rawTags {
	return rawTags(must(json.Marshal(append([]string{}, names...))))
}

// names returns the tags.
func (r rawTags) names() (names []string) {
	if err := json.Unmarshal([]byte(r), &names); err != nil {
		panic(err)
	}
	return names
}

// changedTo returns the task with the members of a later state that every change sets.
func (v task) changedTo(later task) task {
	v.UpdatedAt, v.Revision, v.Etag = later.UpdatedAt, later.Revision, later.Etag
	return v
}

func newIssuer(t testing.TB) *devauth.Issuer {
	i := must(devauth.Start(devauth.Options{}))
	t.Cleanup(i.Close)
	return i
}

// logBuffer is a log that can be read while it is written.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *logBuffer) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *logBuffer) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// stored returns every row of the table task, as PostgreSQL has it.
func (s *service) stored(t testing.TB) string {
	t.Helper()
	var rows string
	check(t, s.database.QueryRow(t.Context(),
		"select coalesce(jsonb_agg(to_jsonb(task) order by id)::text, '') from task").Scan(&rows))
	return rows
}

// exec changes the database directly.
func (s *service) exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	_, err := s.database.Exec(t.Context(), sql, args...)
	check(t, err)
}

// eventually waits for a condition that changes in the background. The deadline only ends a test that would hang.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// quoted returns text as a JSON string with only the required escapes.
func quoted(text string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(text) // a string: cannot fail
	return strings.TrimSuffix(b.String(), "\n")
}

// stalled configures a service that receives nothing after the header of a request and what is sent together with it.
// Its reads then fail as if the deadline had passed.
//
//go:fix inline
func stalled(o *options) {
	o.listener = func(l net.Listener) net.Listener { return stalledListener{l} }
}

type stalledListener struct{ net.Listener }

func (l stalledListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &stalledConn{TCPConn: c.(*net.TCPConn)}, nil
}

type stalledConn struct {
	*net.TCPConn
	read []byte
}

func (c *stalledConn) Read(b []byte) (int, error) {
	if bytes.Contains(c.read, []byte("\r\n\r\n")) {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := c.TCPConn.Read(b)
	c.read = append(c.read, b[:n]...)
	return n, err
}
