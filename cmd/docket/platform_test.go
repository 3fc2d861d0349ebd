package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5"

	"docket/contract"
	"docket/internal/dbtest"
	"docket/internal/devauth"
	"docket/internal/devdb"
)

// fault F1
func TestServeWorksWithValuesThatEndWithALineBreak(t *testing.T) {
	t.Parallel()
	d, e := newDependencies(t)
	e["LOG_FORMAT"], e["LOG_LEVEL"], e["DB_MAX_CONNS"], e["FRONTEND_URL"] = "json", "info", "4", contract.Frontend
	for name, value := range e {
		e[name] = value + "\r\n"
	}
	dbtest.AddUser(t, d.databaseURL, "ada")
	r := background(t, e, "serve")
	r.untilReady(t)
	if status, body := get(t, r.url+"/api/ada/tasks", "Authorization", "Bearer "+d.issuer.Token("ada"), "Origin", contract.Frontend); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
	const shared = "0123456789abcdef0123456789abcdef"
	e = environment{"DATABASE_URL": e["DATABASE_URL"], "ADDR": "127.0.0.1:0\n", "SHUTDOWN_DELAY": "0s\n", "BETTER_AUTH_SECRET": shared + "\n", "AUTH_ISSUER": "i\n", "AUTH_AUDIENCE": "a\r\n"}
	r = background(t, e, "serve")
	r.untilReady(t)
	token := devauth.Sign(jwt.SigningMethodHS256, []byte(shared), `{"alg":"HS256"}`, `{"sub":"ada","iss":"i","aud":"a","exp":4102444800}`)
	if status, body := get(t, r.url+"/api/ada/tasks", "Authorization", "Bearer "+token); status != http.StatusOK {
		t.Errorf("with a secret: %d %s", status, body)
	}
}

// preflight returns the header of the response to a preflight.
func preflight(t testing.TB, url, origin, headers string) http.Header {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, url, nil)
	check(t, err)
	r.Header.Set("Origin", origin)
	r.Header.Set("Access-Control-Request-Method", http.MethodPatch)
	r.Header.Set("Access-Control-Request-Headers", headers)
	response, err := contract.Client(t).Do(r)
	check(t, err)
	response.Body.Close()
	return response.Header
}

func TestServeUsesTheVariablesOfThePlatform(t *testing.T) {
	t.Parallel()
	_, e := newDependencies(t)
	e["FRONTEND_URL"] = "capacitor://LocalHost, https://Bücher.example:443" // fault F2
	e["CORS_ALLOW_HEADERS"], e["BASE_PATH"] = "X-Client-Version", "/docket/"
	r := background(t, e, "serve")
	for _, origin := range []string{"capacitor://localhost", "https://xn--bcher-kva.example"} {
		h := preflight(t, r.url+"/health", origin, "authorization,traceparent,x-client-version") // fault F3
		if h.Get("Access-Control-Allow-Origin") != origin || h.Get("Access-Control-Allow-Headers") == "" {
			t.Errorf("%s: %v", origin, h)
		}
	}
	for range 3 {
		preflight(t, r.url+"/health", "https://app.example", "authorization")
		preflight(t, r.url+"/health", "capacitor://localhost", "x-other")
	}
	lines := map[string]int{} // fault F3
	for line := range strings.Lines(r.stderr.String()) {
		var entry struct{ Level, Origin, Header string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Level == "WARN" {
			lines[entry.Origin+entry.Header]++
		}
	}
	if lines["https://app.example"] != 1 || lines["x-other"] != 1 {
		t.Errorf("logged %v:\n%s", lines, &r.stderr)
	}
	if status, body := get(t, r.url+"/docket/health"); status != http.StatusOK { // fault F7
		t.Errorf("below BASE_PATH: %d %s", status, body)
	}
}

// fault F5
func TestParametersOfORMsAreNamedAtTheStart(t *testing.T) {
	t.Parallel()
	const password = "hunter2-hunter2"
	for value, want := range map[string]string{
		"postgresql://docket:" + password + "@127.0.0.1:1/docket?schema=public":                 "DATABASE_URL: has parameters that PostgreSQL does not know: schema. ",
		"postgres://docket:" + password + "@127.0.0.1:1/docket?pgbouncer=true&pool_max_conns=3": "does not know: pgbouncer, pool_max_conns. ",
		"postgresql+asyncpg://docket:" + password + "@127.0.0.1:1/docket":                       "must begin with postgres://",
	} {
		e := environment{"DATABASE_URL": value, "BETTER_AUTH_URL": "http://localhost:3000"}
		for _, args := range []string{"serve", "migrate up", "migrate down", "migrate status", "migrate reset --yes"} {
			if o := invoke(t, e, strings.Fields(args)...).want(t, 2, want); strings.Contains(o.stdout+o.stderr, "hunter2") {
				t.Errorf("%s shows the password: %+v", args, o)
			}
		}
	}
}

// fault F6
func TestMigrateAndDevReferToTheTableOfUsersThatIsNamed(t *testing.T) {
	t.Parallel()
	address := dbtest.Empty(t)
	conn, err := pgx.Connect(t.Context(), address)
	check(t, err)
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), strings.Replace(devdb.UserFixtureSQL, `"user"`, "users", 1))
	check(t, err)
	invoke(t, environment{"DATABASE_URL": address}, "migrate", "up").want(t, 1, "AUTH_USER_TABLE", "public.users")
	invoke(t, environment{"DATABASE_URL": address, "AUTH_USER_TABLE": "users"}, "migrate", "up").want(t, 0, "now at version")
	invoke(t, environment{"DATABASE_URL": address}, "migrate", "up").want(t, 0, "nothing to do")
	const referredSQL = "select confrelid::regclass::text from pg_constraint where conname = 'fk_user'"
	if table := query(t, address, referredSQL); table != "users" {
		t.Errorf("tasks refer to %s", table)
	}
	invoke(t, environment{"DATABASE_URL": address}, "migrate", "reset", "--yes").want(t, 0, "now at version")
	if table := query(t, address, referredSQL); table != "users" {
		t.Errorf("after a reset tasks refer to %s", table)
	}

	fresh := dbtest.Empty(t)
	background(t, environment{"DATABASE_URL": fresh, "AUTH_USER_TABLE": "auth.user"}, "dev", "--addr", "127.0.0.1:0")
	if table := query(t, fresh, referredSQL); table != `auth."user"` {
		t.Errorf("in dev tasks refer to %s", table)
	}
	if tasks := query(t, fresh, `select count(*)::text from task join auth."user" u on u.id = user_id`); tasks != "7" {
		t.Errorf("%s demo tasks", tasks)
	}
}
