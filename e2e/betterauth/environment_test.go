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
	"docket/e2e/internal/testenv"
	"docket/internal/api"
)

func TestMain(m *testing.M) { os.Exit(testenv.Main(m)) }

// environment is a Docket and a Better Auth on one database.
type environment struct {
	*testenv.Environment
	auth betterAuth
}

// options are Better Auth's own, see server.mjs.
type options = testenv.Options

// betterAuth is a running Better Auth.
type betterAuth struct{ url string }

func newEnvironment(t *testing.T, o options) *environment {
	t.Helper()
	e := testenv.New(t, o)
	return &environment{e, betterAuth{e.Auth}}
}

// startBetterAuth starts a Better Auth. A second one on the same database has the same users, sessions and signing keys.
func (e *environment) startBetterAuth(t *testing.T, o options) betterAuth {
	t.Helper()
	return betterAuth{e.StartBetterAuth(t, o)}
}

// call sends a request to Better Auth, with a session's token or an empty one, and returns the response's header. The line
// is a method and a path. call decodes the response's body into what into points to.
func (b betterAuth) call(t *testing.T, session, line, body string, into any) http.Header {
	t.Helper()
	method, path, _ := strings.Cut(line, " ")
	r := newRequest(t, method+" "+b.url+path, body)
	if session != "" {
		r.Header.Set("Authorization", "Bearer "+session)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("Better Auth answers %s with %d, %v: %s", line, response.StatusCode, err, testenv.HideTokens(string(text)))
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
	return response.Header
}

// user is a user of Better Auth and its requests to the API.
type user struct {
	*environment
	id          string
	session     string // token of the session, for Better Auth
	token       string // for the API, from GET /api/auth/token
	contentType string // of request bodies; empty: JSON
}

const password = "correct horse battery staple"

// signUp creates a user, with a token for the API.
func (e *environment) signUp(t *testing.T, name string) user {
	t.Helper()
	var response struct {
		Token string
		User  struct{ ID string }
	}
	body := fmt.Sprintf(`{"name":%q,"email":"%s@example.com","password":%q}`, name, rand.Text(), password)
	e.auth.call(t, "", "POST /api/auth/sign-up/email", body, &response)
	testenv.AddToken(response.Token)
	u := user{environment: e, id: response.User.ID, session: response.Token}
	u.token = e.auth.token(t, u)
	return u
}

// token returns a new token for the API.
func (b betterAuth) token(t *testing.T, u user) string {
	t.Helper()
	var response struct{ Token string }
	b.call(t, u.session, "GET /api/auth/token", "", &response)
	testenv.AddToken(response.Token)
	return response.Token
}

// with returns the same user with another token.
func (u user) with(token string) user {
	u.token = token
	return u
}

// request returns a request of the user to the API. The line is a method and a path below /api/{user_id}.
func (u user) request(t *testing.T, line, body string) *http.Request {
	t.Helper()
	method, path, _ := strings.Cut(line, " ")
	r := newRequest(t, method+" "+u.URL+"/api/"+u.id+path, body)
	if u.token != "" {
		r.Header.Set("Authorization", "Bearer "+u.token)
	}
	if u.contentType != "" {
		r.Header.Set("Content-Type", u.contentType)
	}
	return r
}

// send sends a request to the API and fails the test when the response has another status. It decodes the response's body
// into what into points to and returns the header.
func (u user) send(t *testing.T, line, body string, status int, into any) http.Header {
	t.Helper()
	got, header, response := do(t, u.request(t, line, body))
	if got != status {
		t.Fatalf("%s: status %d, want %d: %s", line, got, status, response)
	}
	if len(response) == 0 && into == nil {
		return header
	}
	decoder := json.NewDecoder(bytes.NewReader(response))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		t.Fatalf("%s: %v: %s", line, err, response)
	}
	return header
}

// call is like send, but returns the body: call[api.Task](t, ada, "POST /tasks", `{"title":"Buy oat milk"}`, 201).
func call[T any](t *testing.T, u user, line, body string, status int) (response T) {
	t.Helper()
	u.send(t, line, body, status, &response)
	return response
}

// refused is like call, for a problem whose detail must contain some words.
func refused(t *testing.T, u user, line, body string, status int, words string) (response api.Problem) {
	t.Helper()
	header := u.send(t, line, body, status, &response)
	if !strings.Contains(response.Detail, words) {
		t.Errorf("%s: detail %q lacks %q", line, response.Detail, words)
	}
	if int(response.Status) != status || response.RequestID != header.Get("X-Request-Id") {
		t.Errorf("%s: the problem %+v has another status than %d or another request id than X-Request-Id %s", line, response, status, header.Get("X-Request-Id"))
	}
	if challenge := header.Get("WWW-Authenticate"); (status == http.StatusUnauthorized) != strings.HasPrefix(challenge, "Bearer ") {
		t.Errorf("%s: status %d with WWW-Authenticate %q", line, status, challenge)
	}
	return response
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

// eventually repeats a GET until its status is 200.
func eventually(t *testing.T, r *http.Request) {
	t.Helper()
	for deadline := time.Now().Add(testenv.HangTimeout); ; time.Sleep(10 * time.Millisecond) {
		status, _, response := do(t, r)
		if status == http.StatusOK {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s still answers %d: %s", r.URL.Path, status, response)
		}
	}
}

// do sends a request to Docket. The test fails when the response is not as documented or contains a token.
func do(t *testing.T, r *http.Request) (status int, header http.Header, body []byte) {
	t.Helper()
	response, err := contract.Client(t).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err = io.ReadAll(response.Body); err != nil {
		t.Fatal(err)
	}
	if testenv.HideTokens(string(body)) != string(body) {
		t.Fatalf("%s %s has a token in the response's body", r.Method, r.URL.Path)
	}
	return response.StatusCode, response.Header, body
}
