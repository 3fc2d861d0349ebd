package config_test

import (
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"docket/internal/config"
	"docket/internal/dbtest"
)

func TestMain(m *testing.M) { os.Exit(dbtest.Main(m)) }

// faults returns the text of the error with which an environment is refused.
func faults(t testing.TB, load func(func(string) string) (config.Config, error), e environment) string {
	t.Helper()
	_, err := load(e.get)
	if !errors.As(err, new(config.Faults)) {
		t.Fatalf("%v: got the error %v, want Faults", e, err)
	}
	return err.Error()
}

// fault F1
func TestWhiteSpaceAtBothEndsOfEveryValueIsRemoved(t *testing.T) {
	t.Parallel()
	tried := 0
	for _, v := range config.Variables {
		test := cases[v.Name]
		e, get := minimal, test.get
		if v.Name == "BETTER_AUTH_SECRET" {
			e = minimal.with("BETTER_AUTH_URL", "", "AUTH_ISSUER", "a", "AUTH_AUDIENCE", "b")
			get, test.valid, test.want = func(c config.Config) any { return c.Auth.Secret.Reveal() }, []string{secret}, secret
		}
		value := test.valid[len(test.valid)-1]
		for _, form := range []string{"%\n", "%\r\n", "%\r", "% ", "%\t", " %", "\n%\n\n", "\ufeff%\r\n", "%\u00a0"} {
			tried++
			if got := get(load(t, e.with(v.Name, strings.ReplaceAll(form, "%", value)))); got != test.want {
				t.Errorf("%s with %q results in %v, want %v", v.Name, form, got, test.want)
			}
		}
	}
	if tried != 9*len(config.Variables) {
		t.Errorf("tried %d", tried)
	}
	// White space alone is no value.
	for _, v := range config.Variables {
		if v.Name == "DATABASE_URL" || v.Name == "BETTER_AUTH_URL" {
			continue
		}
		if got, want := load(t, minimal.with(v.Name, " \r\n")), load(t, minimal); !equal(got, want) {
			t.Errorf("a blank %s results in %+v", v.Name, got)
		}
	}
	c, err := config.LoadMigrate(environment{"MIGRATE_DATABASE_URL": "postgres://owner@localhost/docket\r\n"}.get)
	if err != nil || c.MigrateDatabaseURL != "postgres://owner@localhost/docket" {
		t.Errorf("migrate: %s, %v", c.MigrateDatabaseURL.Reveal(), err)
	}
}

// fault F1
func TestValuesWithQuotationMarksOrLineBreaksAreRefused(t *testing.T) {
	t.Parallel()
	for _, v := range config.Variables {
		e, valid := minimal, cases[v.Name].valid
		if v.Name == "BETTER_AUTH_SECRET" {
			e, valid = minimal.with("BETTER_AUTH_URL", "", "AUTH_ISSUER", "a", "AUTH_AUDIENCE", "b"), []string{secret}
		}
		value := valid[len(valid)-1]
		for _, form := range []string{`"%"`, `'%'`, "%\nPORT=1", "%\x00x", "%\r\n%", `"%"` + "\n"} {
			if got := faultyVariables(t, e.with(v.Name, strings.ReplaceAll(form, "%", value))); !slices.Equal(got, []string{v.Name}) {
				t.Errorf("%s with %q: faults of %v", v.Name, form, got)
			}
		}
	}
}

// fault F2
func TestOriginsAreComparedAsBrowsersSendThem(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"capacitor://localhost":                  "capacitor://localhost",
		"tauri://localhost":                      "tauri://localhost",
		"ionic://localhost/":                     "ionic://localhost",
		"Capacitor://LocalHost":                  "capacitor://localhost",
		"http://tauri.localhost":                 "http://tauri.localhost",
		"app://obsidian.md":                      "app://obsidian.md",
		"chrome-extension://aabbccddeeffgghh":    "chrome-extension://aabbccddeeffgghh",
		"https://bücher.example":                 "https://xn--bcher-kva.example",
		"https://BÜCHER.example:443":             "https://xn--bcher-kva.example",
		"https://bu\u0308cher.example":           "https://xn--bcher-kva.example", // decomposed
		"https://b%C3%BCcher.example":            "https://xn--bcher-kva.example",
		"https://XN--BCHER-KVA.example":          "https://xn--bcher-kva.example",
		"https://faß.example":                    "https://xn--fa-hia.example",
		"https://例え.テスト:8443":                    "https://xn--r8jz45g.xn--zckzah:8443",
		"https://例え。テスト":                         "https://xn--r8jz45g.xn--zckzah",
		"https://my_app.example":                 "https://my_app.example",
		"https://r3---sn.example":                "https://r3---sn.example",
		"http://localhost:80":                    "http://localhost",
		"http://localhost:0080":                  "http://localhost",
		"https://app.example:0443":               "https://app.example",
		"https://app.example:":                   "https://app.example",
		"http://localhost:443":                   "http://localhost:443",
		"https://app.example:80":                 "https://app.example:80",
		"http://localhost:03000":                 "http://localhost:3000",
		"http://[::1]:3000":                      "http://[::1]:3000",
		"http://[0:0:0:0:0:0:0:1]:3000":          "http://[::1]:3000",
		"http://[2001:DB8::A]":                   "http://[2001:db8::a]",
		"http://192.0.2.1:3000":                  "http://192.0.2.1:3000",
		"https://app.example, tauri://localhost": "https://app.example tauri://localhost",
	} {
		c, err := config.Load(minimal.with("FRONTEND_URL", value).get)
		if got := strings.Join(c.FrontendURLs, " "); err != nil || got != want {
			t.Errorf("%s becomes %q, want %q (%v)", value, got, want, err)
		}
	}
	for _, value := range []string{
		"https://app .example", "http://127.1", "http://2130706433", "http://1.2.3.4.5", "http://0x7f.1", "http://[::1%25eth0]", "http://[::g]",
		"https://app.example:65536", "https://xn--a.example", "https://a%20b.example", "https://%00.example", "file://localhost", "null",
	} {
		if got := faultyVariables(t, minimal.with("FRONTEND_URL", value)); !slices.Equal(got, []string{"FRONTEND_URL"}) {
			t.Errorf("%s: faults of %v", value, got)
		}
	}
	// Better Auth writes its origin, the issuer of its tokens, in the same way.
	for value, want := range map[string]string{
		"https://BÜCHER.example:443": "https://xn--bcher-kva.example", "http://[0:0::1]:03000/": "http://[::1]:3000", "http://localhost:0080": "http://localhost",
	} {
		c := load(t, minimal.with("BETTER_AUTH_URL", value))
		if c.Auth.Issuer != want || c.Auth.Audience != want || c.Auth.JWKSURL != want+"/api/auth/jwks" {
			t.Errorf("%s: %+v", value, c.Auth)
		}
	}
	if got := faultyVariables(t, minimal.with("BETTER_AUTH_URL", "https://xn--a.example")); !slices.Equal(got, []string{"BETTER_AUTH_URL"}) {
		t.Errorf("faults of %v", got)
	}
}

// fault F4
func TestPortIsUsedUnlessAddrIsSet(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]environment{
		":10000":         minimal.with("PORT", "10000"),
		":8000":          minimal.with("PORT", " \n"),
		"127.0.0.1:9000": minimal.with("PORT", "10000", "ADDR", "127.0.0.1:9000"),
		":8080":          minimal.with("PORT", "8080\r\n", "ADDR", " "),
	} {
		if c := load(t, e); c.Addr != want {
			t.Errorf("%v listens on %s, want %s", e, c.Addr, want)
		}
	}
}

// fault F5
func TestParametersThatPostgreSQLDoesNotKnowAreNamed(t *testing.T) {
	t.Parallel()
	const password = "hunter2-hunter2"
	const address = "postgres://docket:" + password + "@db.example/docket"
	loaders := map[string]func(func(string) string) (config.Config, error){"serve": config.Load, "migrate": config.LoadMigrate}
	for query, names := range map[string]string{
		"schema=public":  "schema",
		"pgbouncer=true": "pgbouncer",
		"sslmode=require&pgbouncer=true&connection_limit=1&pool_timeout=20": "connection_limit, pgbouncer, pool_timeout",
		"pool_max_conns=10":                          "pool_max_conns",
		"pool_min_conns=1&pool_max_conn_lifetime=1h": "pool_max_conn_lifetime, pool_min_conns",
		"statement_cache_size=0":                     "statement_cache_size",
		"statement_cache_capacity=0":                 "statement_cache_capacity",
		"default_query_exec_mode=simple_protocol":    "default_query_exec_mode",
		"currentSchema=public&prepareThreshold=0":    "currentSchema, prepareThreshold",
		"max_connections=5":                          "max_connections",
		"gssencmode=disable":                         "gssencmode",
		"replication=database":                       "replication",
		"application_name=x&supa=base-pooler.x":      "supa",
	} {
		for name, load := range loaders {
			for _, variable := range []string{"DATABASE_URL", "MIGRATE_DATABASE_URL"} {
				text := faults(t, load, minimal.with(variable, address+"?"+query))
				if !strings.Contains(text, "\n  "+variable+": has parameters that PostgreSQL does not know: "+names+". ") {
					t.Errorf("%s of %s with %s: %s", name, variable, query, text)
				}
				if strings.Contains(text, "hunter2") || strings.Contains(text, "db.example") {
					t.Errorf("%s: the error contains the URL: %s", name, text)
				}
			}
		}
	}
	for value, want := range map[string]string{
		"postgresql+asyncpg://docket:" + password + "@db.example/docket":                 "must begin with postgres://",
		"postgresql+asyncpg://docket:" + password + "@db.example/docket?sslmode=require": "must begin with postgres://",
		"postgresql+psycopg2://docket:" + password + "@db.example/docket":                "must begin with postgres://",
		"jdbc:postgresql://db.example/docket?user=docket&password=" + password:           "must begin with postgres://",
		"prisma+postgres://db.example/?api_key=" + password:                              "must begin with postgres://",
		"postgres://db.example/docket?password=a&" + password + "=b@c":                   "percent-encode",
		"postgres://db.example/docket?password=a&" + password + "=b":                     "percent-encode",
		"postgres://db.example/docket?sslpassword=a&" + password + "=b":                  "percent-encode",
		"host=db.example user=docket password=a " + password + "=b":                      "percent-encode",
		"postgres://docket:" + password + "/x@db.example/docket":                         "is not a PostgreSQL URL",
	} {
		for name, load := range loaders {
			text := faults(t, load, minimal.with("DATABASE_URL", value))
			if !strings.Contains(text, "\n  DATABASE_URL: ") || !strings.Contains(text, want) || strings.Contains(text, "hunter2") {
				t.Errorf("%s of %s: %s", name, value, text)
			}
		}
	}
	for _, query := range []string{
		"application_name=docket", "TimeZone=UTC", "options=-c%20work_mem%3D8MB", "search_path=app", "sslmode=verify-full&sslrootcert=system&channel_binding=require",
		"connect_timeout=3", "target_session_attrs=read-write", "statement_timeout=3000", "app.tenant=x", "role=docket", "idle_in_transaction_session_timeout=1000",
	} {
		load(t, minimal.with("DATABASE_URL", address+"?"+query))
	}
}

var codeSpan = regexp.MustCompile("`([^`]+)`")

// fault F5
func TestTheTableOfParametersInOperationsIsTrue(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "| In the address | In Docket |\n| --- | --- |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := strings.Split(table, "\n")
	if len(rows) < 6 {
		t.Fatalf("the table has %d rows", len(rows))
	}
	for _, row := range rows {
		columns := strings.Split(row, " | ")
		for i, column := range columns {
			for _, span := range codeSpan.FindAllStringSubmatch(column, -1) {
				e := minimal
				switch name, value, assigned := strings.Cut(strings.ReplaceAll(span[1], "…", "exec"), "="); {
				case strings.HasSuffix(name, "://"):
					e = e.with("DATABASE_URL", name+"docket@localhost/docket")
				case strings.HasPrefix(name, "%"):
					e = e.with("DATABASE_URL", "postgres://docket:a"+name+"b@localhost/docket")
				case strings.HasPrefix(name, "DB_") && assigned:
					e = e.with(name, value)
				case assigned:
					e = e.with("DATABASE_URL", "postgres://docket@localhost/docket?"+name+"="+value)
				default:
					continue // a word
				}
				if _, err := config.Load(e.get); (err != nil) != (i == 0) {
					t.Errorf("%s in %s: %v", span[1], row, err)
				}
			}
		}
	}
}

// fault F5
func TestExactlyTheSettingsOfPostgreSQLAreAccepted(t *testing.T) {
	t.Parallel()
	conn, err := pgx.Connect(t.Context(), dbtest.Empty(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	rows, _ := conn.Query(t.Context(), "select name, context in ('user', 'superuser', 'backend', 'superuser-backend') or name like '%.%' from pg_settings where name <> 'port'")
	var name string
	var settable bool
	tried := 0
	if _, err := pgx.ForEachRow(rows, []any{&name, &settable}, func() error {
		tried++
		if _, err := config.Load(minimal.with("DATABASE_URL", "postgres://localhost/docket?"+name+"=1").get); (err == nil) != settable {
			t.Errorf("%s, which a connection may set: %v; %v", name, settable, err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if tried < 300 {
		t.Errorf("tried %d settings", tried)
	}
}
