//go:build unix

package betterauth_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"docket/contract"
	"docket/e2e/internal/stage"
	"docket/internal/api"
)

func TestMain(m *testing.M) { os.Exit(stage.Main(m)) }

// world is a stage and the people on it.
type world struct {
	*stage.Stage
	auth betterAuth
}

// options are Better Auth's own, see server.mjs.
type options = stage.Options

// betterAuth is a running Better Auth.
type betterAuth struct{ url string }

func newWorld(t *testing.T, o options) *world {
	t.Helper()
	s := stage.New(t, o)
	return &world{s, betterAuth{s.Auth}}
}

// startBetterAuth may be called again: one more Better Auth on the same database has the same people, sessions and
// signing keys.
func (w *world) startBetterAuth(t *testing.T, o options) betterAuth {
	t.Helper()
	return betterAuth{w.StartBetterAuth(t, o)}
}

// call asks Better Auth for something, with a session's token or none, and gives the answer's header.
func (b betterAuth) call(t *testing.T, session, line, body string, into any) http.Header {
	t.Helper()
	method, path, _ := strings.Cut(line, " ")
	r := newRequest(t, method+" "+b.url+path, body)
	if session != "" {
		r.Header.Set("Authorization", "Bearer "+session)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("Better Auth answers %s with %d, %v: %s", line, answer.StatusCode, err, stage.Hide(string(text)))
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
	return answer.Header
}

// person is somebody who signed up.
type person struct {
	*world
	id          string
	session     string // token of the session, for Better Auth
	token       string // for the API, from GET /api/auth/token
	contentType string // of what is sent; JSON when empty
}

const password = "correct horse battery staple"

// signUp makes a new person, with a token for the API.
func (w *world) signUp(t *testing.T, name string) person {
	t.Helper()
	var answer struct {
		Token string
		User  struct{ ID string }
	}
	body := fmt.Sprintf(`{"name":%q,"email":"%s@example.com","password":%q}`, name, rand.Text(), password)
	w.auth.call(t, "", "POST /api/auth/sign-up/email", body, &answer)
	stage.Issue(answer.Token)
	p := person{world: w, id: answer.User.ID, session: answer.Token}
	p.token = w.auth.token(t, p)
	return p
}

// token gives a new token for the API.
func (b betterAuth) token(t *testing.T, p person) string {
	t.Helper()
	var answer struct{ Token string }
	b.call(t, p.session, "GET /api/auth/token", "", &answer)
	stage.Issue(answer.Token)
	return answer.Token
}

// with is the same person with another token.
func (p person) with(token string) person {
	p.token = token
	return p
}

// request is one of the person's to the API. The line is a method and a path below /api/{user_id}.
func (p person) request(t *testing.T, line, body string) *http.Request {
	t.Helper()
	method, path, _ := strings.Cut(line, " ")
	r := newRequest(t, method+" "+p.URL+"/api/"+p.id+path, body)
	if p.token != "" {
		r.Header.Set("Authorization", "Bearer "+p.token)
	}
	if p.contentType != "" {
		r.Header.Set("Content-Type", p.contentType)
	}
	return r
}

// send sends such a request and wants the answer to have that status. It decodes the answer's body into what into points
// to, and gives its header.
func (p person) send(t *testing.T, line, body string, status int, into any) http.Header {
	t.Helper()
	got, header, answer := exchange(t, p.request(t, line, body))
	if got != status {
		t.Fatalf("%s: status %d, want %d: %s", line, got, status, answer)
	}
	if len(answer) == 0 && into == nil {
		return header
	}
	decoder := json.NewDecoder(bytes.NewReader(answer))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		t.Fatalf("%s: %v: %s", line, err, answer)
	}
	return header
}

// call is send for those who want the body: call[api.Task](t, ada, "POST /tasks", `{"title":"Buy oat milk"}`, 201).
func call[T any](t *testing.T, p person, line, body string, status int) (answer T) {
	t.Helper()
	p.send(t, line, body, status, &answer)
	return answer
}

// refused is call for a problem whose detail must hold some words.
func refused(t *testing.T, p person, line, body string, status int, words string) (answer api.Problem) {
	t.Helper()
	header := p.send(t, line, body, status, &answer)
	if !strings.Contains(answer.Detail, words) {
		t.Errorf("%s: detail %q lacks %q", line, answer.Detail, words)
	}
	if int(answer.Status) != status || answer.RequestID != header.Get("X-Request-Id") {
		t.Errorf("%s: the problem %+v does not fit its status %d and X-Request-Id %s", line, answer, status, header.Get("X-Request-Id"))
	}
	if challenge := header.Get("WWW-Authenticate"); (status == http.StatusUnauthorized) != strings.HasPrefix(challenge, "Bearer ") {
		t.Errorf("%s: status %d with WWW-Authenticate %q", line, status, challenge)
	}
	return answer
}

func newRequest(t *testing.T, line, body string) *http.Request {
	t.Helper()
	method, url, _ := strings.Cut(line, " ")
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

// eventually repeats a GET until docket answers 200.
func eventually(t *testing.T, r *http.Request) {
	t.Helper()
	for deadline := time.Now().Add(stage.Patience); ; time.Sleep(10 * time.Millisecond) {
		status, _, answer := exchange(t, r)
		if status == http.StatusOK {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s still answers %d: %s", r.URL.Path, status, answer)
		}
	}
}

// exchange sends a request to docket. The answer must be a documented one and repeat no token.
func exchange(t *testing.T, r *http.Request) (status int, header http.Header, body []byte) {
	t.Helper()
	answer, err := contract.Client(t).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, err = io.ReadAll(answer.Body); err != nil {
		t.Fatal(err)
	}
	if stage.Hide(string(body)) != string(body) {
		t.Fatalf("%s %s is answered with a token in the body", r.Method, r.URL.Path)
	}
	return answer.StatusCode, answer.Header, body
}
