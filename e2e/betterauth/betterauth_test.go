//go:build unix

// Package betterauth_test tests the docket binary with a PostgreSQL and a Better Auth, through whole uses of the API by
// users who sign up and delete themselves. It uses Docket's commands and openapi.yaml and no other code of Docket.
package betterauth_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"docket/e2e/internal/testenv"
	"docket/internal/api"
)

func TestMigrationNeedsBetterAuthsMigration(t *testing.T) {
	t.Parallel()
	out, err := testenv.MigrateUp(t, testenv.NewDatabase(t).Database)
	if err == nil || !strings.Contains(out, `table "user" is missing`) || !strings.Contains(out, "npx auth@latest migrate") {
		t.Errorf("docket migrate up in an empty database: %v\n%s", err, out)
	}
}

// fault F6
func TestUsersMayHaveATableOfAnotherName(t *testing.T) {
	t.Parallel()
	e := &environment{Environment: testenv.NewDatabase(t)}
	e.auth = e.startBetterAuth(t, options{"user": options{"modelName": "users", "deleteUser": options{"enabled": true}}})
	e.Auth = e.auth.url
	if out, err := testenv.MigrateUp(t, e.Database); err == nil || !strings.Contains(out, "AUTH_USER_TABLE") || !strings.Contains(out, "public.users") {
		t.Fatalf("docket migrate up: %v\n%s", err, out)
	}
	if out, err := testenv.MigrateUp(t, e.Database, "AUTH_USER_TABLE=users"); err != nil {
		t.Fatalf("docket migrate up: %v\n%s", err, out)
	}
	e.StartDocket(t)
	testTask(t, e)
	testOtherUser(t, e)
	testDeletedUser(t, e)
}

// fault F8
func TestATokenWithAnImageNamesTheOptionThatLeavesItOut(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t, options{})
	for size, status := range map[int]int{6 << 10: 401, 12 << 10: 431} { // base64 adds a third
		u := e.signUp(t, "Ada")
		image := "data:image/png;base64," + strings.Repeat("A", size)
		var changed struct{ Status bool }
		e.auth.call(t, u.session, "POST /api/auth/update-user", `{"image":"`+image+`"}`, &changed)
		refused(t, u.with(e.auth.token(t, u)), "GET /tasks", "", status, "jwt.definePayload")
	}
}

func TestUsersWorkWithTheirTasks(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t, options{})
	for name, test := range map[string]func(*testing.T, *environment){
		"a task is created, read, changed, completed and deleted":        testTask,
		"a list is filtered, searched, sorted and paged":                 testList,
		"a problem says what is wrong and where":                         testProblems,
		"another user sees and changes nothing":                          testOtherUser,
		"a missing token and a session token are refused with a hint":    testMissingToken,
		"an expired token and tokens for something else are refused":     testOtherTokens,
		"a deleted user has no tasks and creates none, others keep them": testDeletedUser,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, e)
		})
	}
}

func testTask(t *testing.T, e *environment) {
	ada := e.signUp(t, "Ada")
	var task api.Task
	header := ada.send(t, "POST /tasks", `{"title":"  Buy oat milk ","description":"Two litres"}`, 201, &task)
	here := "/tasks/" + task.ID
	equal(t, header.Get("Location"), "/api/"+ada.id+here)
	equal(t, task.UserID, ada.id)
	equal(t, describe(task), "Buy oat milk (Two litres), medium, pending")
	if read := call[api.Task](t, ada, "GET "+here, "", 200); !reflect.DeepEqual(read, task) {
		t.Errorf("read %+v, created %+v", read, task)
	}

	merging := ada
	merging.contentType = "application/merge-patch+json"
	for _, change := range []struct {
		by         user
		line, body string
		want       string
	}{
		{ada, "PUT " + here, `{"priority":"high"}`, "Buy oat milk (Two litres), high, pending"},
		{ada, "PATCH " + here, `{"title":"Buy rice milk"}`, "Buy rice milk (Two litres), high, pending"},
		{merging, "PATCH " + here, `{"description":null}`, "Buy rice milk, high, pending"},
		{ada, "PATCH " + here + "/complete", ``, "Buy rice milk, high, completed"},
		{ada, "PATCH " + here + "/complete", `{}`, "Buy rice milk, high, pending"},
		{ada, "PATCH " + here + "/complete", `{"completed":true}`, "Buy rice milk, high, completed"},
		{ada, "PATCH " + here + "/complete", `{"completed":true}`, "Buy rice milk, high, completed"},
	} {
		changed := call[api.Task](t, change.by, change.line, change.body, 200)
		equal(t, describe(changed), change.want)
		if !time.Time(changed.UpdatedAt).After(time.Time(task.UpdatedAt)) || changed.CreatedAt != task.CreatedAt {
			t.Errorf("%s %s: from %+v to %+v", change.line, change.body, task, changed)
		}
		task = changed
	}

	ada.send(t, "DELETE "+here, "", 204, nil)
	refused(t, ada, "GET "+here, "", 404, "Task not found")
	refused(t, ada, "DELETE "+here, "", 404, "Task not found")
	equal(t, call[api.TaskList](t, ada, "GET /tasks", "", 200).Total, 0)
}

func testList(t *testing.T, e *environment) {
	ada := e.signUp(t, "Ada")
	for _, body := range []string{
		`{"title":"Report","priority":"high"}`,
		`{"title":"Milk"}`,
		`{"title":"Call Élodie","priority":"low","completed":true}`,
		`{"title":"50%_off","completed":true}`,
		`{"title":"Read","priority":"low","description":"about milk"}`,
	} {
		call[api.Task](t, ada, "POST /tasks", body, 201)
	}
	for query, want := range map[string]string{
		"":                                  "Read, 50%_off, Call Élodie, Milk, Report of 5",
		"sort_by=created_at&order=asc":      "Report, Milk, Call Élodie, 50%_off, Read of 5",
		"sort_by=title&order=asc":           "50%_off, Call Élodie, Milk, Read, Report of 5",
		"status=pending&sort_by=priority":   "Report, Milk, Read of 3",
		"completed=true":                    "50%_off, Call Élodie of 2",
		"priority=high&priority=low":        "Read, Call Élodie, Report of 3",
		"search=MILK":                       "Read, Milk of 2",
		"search=%C3%A9LODIE":                "Call Élodie of 1",
		"search=%25_":                       "50%_off of 1",
		"search=k&status=pending&limit=1":   "Read of 2",
		"sort=title&limit=2&offset=1":       "Read, Milk of 5",
		"priority=high&status=completed":    " of 0",
		"sort=updated&order=asc&offset=100": " of 5",
	} {
		list := call[api.TaskList](t, ada, "GET /tasks?"+query, "", 200)
		if got := fmt.Sprintf("%s of %d", titles(list.Tasks), list.Total); got != want {
			t.Errorf("list %q: got %s, want %s", query, got, want)
		}
	}

	for _, query := range []string{"sort_by=created_at", "sort_by=updated_at&order=asc", "sort_by=title", "sort_by=priority&order=asc"} {
		whole := call[api.TaskList](t, ada, "GET /tasks?"+query, "", 200)
		paged, cursor := []api.Task{}, ""
		for {
			page := call[api.TaskList](t, ada, "GET /tasks?limit=2&"+query+cursor, "", 200)
			paged = append(paged, page.Tasks...)
			if page.NextCursor == nil {
				break
			}
			cursor = "&cursor=" + *page.NextCursor
		}
		equal(t, titles(paged), titles(whole.Tasks))
		refused(t, ada, "GET /tasks?search=k&"+query+cursor, "", 400, "cursor")
		refused(t, ada, "GET /tasks?offset=2&"+query+cursor, "", 400, "cursor")
	}
}

func testProblems(t *testing.T, e *environment) {
	ada := e.signUp(t, "Ada")
	texting := ada
	texting.contentType = "text/plain"
	for _, c := range []struct {
		by         user
		line, body string
		status     int
		code       string
		words      string
	}{
		{ada, "GET /tasks?statu=pending", "", 400, "invalid_parameter", "statu"},
		{ada, "GET /tasks?limit=0", "", 400, "invalid_parameter", "limit"},
		{ada, "GET /tasks?status=pending&completed=true", "", 400, "invalid_parameter", "contradicts"},
		{ada, "GET /tasks?sort=title&sort_by=priority", "", 400, "invalid_parameter", "sort_by"},
		{ada, "POST /tasks", `{"title":`, 400, "malformed_json", "JSON"},
		{ada, "POST /tasks", `{"title":"one","title":"two"}`, 400, "malformed_json", "title"},
		{ada, "PUT /tasks/any", `{}`, 400, "no_changes", "at least one"},
		{ada, "GET /tasks/not-a-uuid", "", 404, "task_not_found", "Task not found or does not belong to this user"},
		{texting, "POST /tasks", `{"title":"Milk"}`, 415, "unsupported_media_type", "application/json"},
		{ada, "POST /tasks", `{"title":"\u0000"}`, 422, "validation_failed", "U+0000"},
	} {
		equal(t, refused(t, c.by, c.line, c.body, c.status, c.words).Code, c.code)
	}

	problem := refused(t, ada, "POST /tasks", `{"title":" ","priority":"urgent","colour":"red"}`, 422, "title")
	var at []string
	for _, fault := range problem.Errors {
		at = append(at, *fault.Pointer)
	}
	slices.Sort(at)
	equal(t, strings.Join(at, " "), "#/colour #/priority #/title")
}

func testOtherUser(t *testing.T, e *environment) {
	ada, bob := e.signUp(t, "Ada"), e.signUp(t, "Bob")
	task := call[api.Task](t, ada, "POST /tasks", `{"title":"Secret"}`, 201)
	here := "/tasks/" + task.ID
	for line, body := range map[string]string{
		"GET /tasks":                  "",
		"POST /tasks":                 `{"title":"Mine"}`,
		"GET " + here:                 "",
		"PUT " + here:                 `{"title":"Mine"}`,
		"PATCH " + here:               `{"title":"Mine"}`,
		"PATCH " + here + "/complete": "",
		"DELETE " + here:              "",
	} {
		problem := refused(t, ada.with(bob.token), line, body, 403, "User ID mismatch") // Ada's id in the path, Bob's token
		if strings.Contains(problem.Detail, ada.id) || strings.Contains(problem.Detail, bob.id) {
			t.Errorf("%s: the detail repeats an id: %s", line, problem.Detail)
		}
		if strings.Contains(line, here) { // Bob's id in the path, Ada's task
			refused(t, bob, line, body, 404, "Task not found or does not belong to this user")
		}
	}
	equal(t, call[api.TaskList](t, bob, "GET /tasks", "", 200).Total, 0)
	if left := call[api.Task](t, ada, "GET "+here, "", 200); !reflect.DeepEqual(left, task) {
		t.Errorf("the task was %+v and is %+v", task, left)
	}
}

func testMissingToken(t *testing.T, e *environment) {
	ada := e.signUp(t, "Ada")
	refused(t, ada.with(""), "GET /tasks", "", 401, "Missing or invalid authorization token")
	refused(t, ada.with(""), "GET /tasks", "", 401, "GET /api/auth/token")
	refused(t, ada.with(ada.session), "GET /tasks", "", 401, "session token")
	refused(t, ada.with(ada.session), "GET /tasks", "", 401, "GET /api/auth/token")
}

// testOtherTokens uses tokens with valid signatures: each is from another Better Auth with the same users, sessions and
// keys but other options.
func testOtherTokens(t *testing.T, e *environment) {
	ada := e.signUp(t, "Ada")
	same := e.auth.url
	for words, o := range map[string]options{
		"expired": {"baseURL": same, "jwt": options{"jwt": options{"expirationTime": "-1 minute"}}},
		"(iss)":   {}, // its own address
		"(aud)":   {"baseURL": same, "jwt": options{"jwt": options{"audience": "https://other.example"}}},
	} {
		t.Run(words, func(t *testing.T) {
			t.Parallel()
			token := e.startBetterAuth(t, o).token(t, ada)
			equal(t, tokenHeader(t, token), tokenHeader(t, ada.token))
			refused(t, ada.with(token), "GET /tasks", "", 401, words)
		})
	}
	t.Run("(typ)", func(t *testing.T) { // a JWT that Better Auth can store in the session's cookie
		t.Parallel()
		header := e.startBetterAuth(t, options{
			"baseURL": same, "jwt": options{"sessionCookieCache": true},
			"session": options{"cookieCache": options{"enabled": true, "strategy": "jwt"}},
		}).call(t, ada.session, "GET /api/auth/get-session", "", new(any))
		cookies := (&http.Response{Header: header}).Cookies()
		i := slices.IndexFunc(cookies, func(c *http.Cookie) bool { return c.Name == "better-auth.session_data" })
		if i < 0 {
			t.Fatal("Better Auth sets no cookie with session data")
		}
		testenv.AddToken(cookies[i].Value)
		equal(t, tokenHeader(t, cookies[i].Value), tokenHeader(t, ada.token))
		refused(t, ada.with(cookies[i].Value), "GET /tasks", "", 401, "(typ)")
	})
}

func testDeletedUser(t *testing.T, e *environment) {
	ada, bob := e.signUp(t, "Ada"), e.signUp(t, "Bob")
	adas := call[api.Task](t, ada, "POST /tasks", `{"title":"Ada's"}`, 201)
	bobs := call[api.Task](t, bob, "POST /tasks", `{"title":"Bob's"}`, 201)

	e.auth.call(t, ada.session, "POST /api/auth/delete-user", fmt.Sprintf(`{"password":%q}`, password), new(any))

	equal(t, call[api.TaskList](t, ada, "GET /tasks", "", 200).Total, 0)
	refused(t, ada, "GET /tasks/"+adas.ID, "", 404, "Task not found")
	refused(t, ada, "POST /tasks", `{"title":"Once more"}`, 401, "no longer exists")
	equal(t, e.exec(t, "select from task where id = $1", adas.ID), 0)
	equal(t, titles(call[api.TaskList](t, bob, "GET /tasks", "", 200).Tasks), bobs.Title)
}

func TestTokensOfEveryAlgorithmAreAccepted(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"ES256", "ES512", "PS256", "RS256"} { // all other tests use the default, EdDSA
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			e := newEnvironment(t, options{"jwt": options{"jwks": options{"keyPairConfig": options{"alg": alg}}}})
			ada := e.signUp(t, "Ada")
			equal(t, tokenHeader(t, ada.token).Alg, alg)
			call[api.Task](t, ada, "POST /tasks", `{"title":"Buy oat milk"}`, 201)
		})
	}
}

// rotating makes Better Auth sign every token with a new key, which is in its key set only from then on.
var rotating = options{"jwt": options{"jwks": options{"rotationInterval": 0.001}}}

func TestNewKeyIsAcceptedBesideTheOldOneWithoutARestart(t *testing.T) {
	t.Parallel()
	e := &environment{Environment: testenv.NewDatabase(t)}
	e.auth = e.startBetterAuth(t, rotating)
	e.Auth = e.auth.url
	e.Migrate(t)
	ada := e.signUp(t, "Ada")
	e.StartDocket(t) // loads the key of her token
	renewed := ada.with(e.auth.token(t, ada))
	if tokenHeader(t, renewed.token) == tokenHeader(t, ada.token) {
		t.Fatal("Better Auth did not rotate its key")
	}
	eventually(t, renewed.request(t, "GET /tasks", ""))
	call[api.TaskList](t, ada, "GET /tasks", "", 200)
}

func TestDeletedKeyIsRefused(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t, options{})
	ada := e.signUp(t, "Ada")
	call[api.TaskList](t, ada, "GET /tasks", "", 200)
	e.exec(t, "delete from jwks")
	eventually(t, ada.with(e.auth.token(t, ada)).request(t, "GET /tasks", "")) // its key is new, so that Docket fetches the keys
	refused(t, ada, "GET /tasks", "", 401, "key is unknown")
}

// exec executes SQL on the database itself and returns the number of rows.
func (e *environment) exec(t *testing.T, sql string, args ...any) int64 {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), e.Database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	tag, err := conn.Exec(t.Context(), sql, args...)
	if err != nil {
		t.Fatal(err)
	}
	return tag.RowsAffected()
}

// header is the part of a token's header that the signature depends on.
type header struct{ Alg, Kid string }

func tokenHeader(t *testing.T, token string) (h header) {
	t.Helper()
	encoded, _, _ := strings.Cut(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(encoded)
	if err == nil {
		err = json.Unmarshal(text, &h)
	}
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func describe(task api.Task) string {
	text := task.Title
	if task.Description != nil {
		text += " (" + *task.Description + ")"
	}
	state := "pending"
	if task.Completed {
		state = "completed"
	}
	return fmt.Sprintf("%s, %s, %s", text, task.Priority, state)
}

func titles(tasks []api.Task) string {
	var all []string
	for _, task := range tasks {
		all = append(all, task.Title)
	}
	return strings.Join(all, ", ")
}

func equal[T comparable](t *testing.T, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}
