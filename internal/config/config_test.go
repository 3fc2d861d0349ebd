package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"text/template"
	"time"

	"docket/internal/config"
)

// environment holds environment variables. Its method get behaves like os.Getenv.
type environment map[string]string

func (e environment) get(name string) string { return e[name] }

// with returns a copy of e with the given names and values. An empty value is the same as an unset variable.
func (e environment) with(pairs ...string) environment {
	changed := maps.Clone(e)
	for i := 0; i < len(pairs); i += 2 {
		changed[pairs[i]] = pairs[i+1]
	}
	return changed
}

// minimal contains only the variables that serve requires.
var minimal = environment{"DATABASE_URL": "postgres://docket@localhost/docket", "BETTER_AUTH_URL": "http://localhost:3000"}

const secret = "0123456789abcdef0123456789abcdef" // 32 bytes

func load(t testing.TB, e environment) config.Config {
	t.Helper()
	c, err := config.Load(e.get)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// faultyVariables loads an environment that has faults and returns the names of the faulty variables, in order.
func faultyVariables(t testing.TB, e environment) (names []string) {
	t.Helper()
	c, err := config.Load(e.get)
	var all config.Faults
	if !errors.As(err, &all) {
		t.Fatalf("%v: got the error %v, want Faults", e, err)
	}
	if !reflect.DeepEqual(c, config.Config{}) {
		t.Error("Load returned both a configuration and faults")
	}
	for _, fault := range all {
		name, text, _ := strings.Cut(fault, ": ")
		if text == "" || strings.Contains(fault, "\n") {
			t.Errorf("malformed fault %q", fault)
		}
		names = append(names, name)
	}
	return names
}

func TestLoadUsesDefaultsForUnsetVariables(t *testing.T) {
	t.Parallel()
	c := load(t, minimal)
	want := config.Config{
		DatabaseURL:  "postgres://docket@localhost/docket",
		Addr:         ":8000",
		FrontendURLs: []string{"http://localhost:3000"},
		LogLevel:     slog.LevelInfo, LogFormat: "json",
		ShutdownDelay: time.Second, MaxConnections: 4096, MaxTasksPerOwner: 100_000,
		Auth: config.Auth{JWKSURL: "http://localhost:3000/api/auth/jwks", Issuer: "http://localhost:3000", Audience: "http://localhost:3000"},
		Pool: config.Pool{
			MaxConns: 30, MinIdleConns: 10, MaxConnLifetime: time.Hour, MaxConnLifetimeJitter: 6 * time.Minute, MaxConnIdleTime: 5 * time.Minute,
			PingTimeout: 2 * time.Second, StatementTimeout: 5 * time.Second, QueryMode: "auto",
		},
	}
	if !equal(c, want) {
		t.Errorf("%+v, want %+v", c, want)
	}
}

// equal compares the exported fields, including secrets.
func equal(a, b config.Config) bool {
	va, vb := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range va.NumField() {
		if va.Type().Field(i).IsExported() && !reflect.DeepEqual(va.Field(i).Interface(), vb.Field(i).Interface()) {
			return false
		}
	}
	return true
}

// cases contains valid and invalid values of each variable.
var cases = map[string]struct {
	valid   []string
	get     func(config.Config) any
	want    any // result of get for the last valid value
	invalid []string
}{
	"DATABASE_URL": {
		[]string{
			"postgres://u:p@localhost:5432/db", "postgresql://u@[::1]/db?sslmode=disable", "host=localhost dbname=db user=u", "postgres://u:p@a,b/db",
			"postgres://u:p@ep-cool-1-pooler.eu-central-1.aws.neon.tech/db?sslmode=require&channel_binding=require",
			"postgres://u:p@ep-cool-1.eu-central-1.aws.neon.tech/db?sslmode=verify-full&sslrootcert=system",
		},
		func(c config.Config) any { return c.DatabaseURL.Reveal() },
		"postgres://u:p@ep-cool-1.eu-central-1.aws.neon.tech/db?sslmode=verify-full&sslrootcert=system",
		[]string{
			"mysql://u:p@localhost/db", "nonsense", "http://localhost", "postgres://u:p@localhost:99999/db", "postgres://u:p@localhost/db?sslmode=maybe", "postgres://u:%zz@localhost/db",
		},
	},
	"MIGRATE_DATABASE_URL": {
		[]string{"postgres://owner:p@localhost/db"},
		func(c config.Config) any { return c.MigrateDatabaseURL.Reveal() }, "postgres://owner:p@localhost/db",
		[]string{"nonsense", "postgres://u:p@localhost:x/db"},
	},
	"AUTH_USER_TABLE": {
		[]string{"users", "User", "auth.user", "Auth.Users", "benutzer_ä"},
		func(c config.Config) any { return c.UserTable }, "benutzer_ä",
		[]string{`"users"`, "a.b.c", ".users", "auth.", "two words", "x; drop table task", strings.Repeat("x", 64)},
	},
	"PORT": {
		[]string{"1", "65535", "10000"},
		func(c config.Config) any { return c.Addr }, ":10000",
		[]string{"-1", "65536", "http", ":8000", "8000/tcp", "127.0.0.1:8000", "tcp://10.0.0.1:8000", "1.5"},
	},
	"BASE_PATH": {
		[]string{"/", "/docket", "/docket/", "/a.b/c_d/~e-1", "/tools/docket/"},
		func(c config.Config) any { return c.BasePath }, "/tools/docket",
		[]string{
			"docket", "/a//b", "/a/../b", "/.", "/a/.", "/a b", "/%61", "/a?b", "/a#b", "//docket", "https://app.example/docket", "/é", `/a\b`,
			"/api", "/api/docket", "/docs", "/health", "/problems/x", "/openapi.json",
		},
	},
	"CORS_ALLOW_HEADERS": {
		[]string{"X-Client-Version", "x-client-version, X-Trace , baggage2"},
		func(c config.Config) any { return strings.Join(c.CORSHeaders, " ") }, "x-client-version X-Trace baggage2",
		[]string{"*", "a,*", "a b", "a:b", "a,", ",", "é", "a/b"},
	},
	"ADDR": {
		[]string{"127.0.0.1:8000", "[::1]:8000", "0.0.0.0:80", "localhost:0", ":9000"},
		func(c config.Config) any { return c.Addr }, ":9000",
		[]string{"8000", "localhost", "localhost:", ":x", ":65536", ":-1", "a:b:1", "http://localhost:8000", ":8000/"},
	},
	"METRICS_ADDR": {
		[]string{"127.0.0.1:9100", ":9100"},
		func(c config.Config) any { return c.MetricsAddr }, ":9100",
		[]string{"9100", ":x"},
	},
	"FRONTEND_URL": {
		[]string{"https://app.example", "https://app.example/", "HTTPS://App.Example:443, http://localhost:80,http://localhost:3000"},
		func(c config.Config) any { return strings.Join(c.FrontendURLs, " ") }, "https://app.example http://localhost http://localhost:3000",
		[]string{
			"*", "https://*", "about:blank", "data:,x", "ws://localhost", "https://app.example?", "capacitor:localhost", "capacitor://", "capacitor://localhost/path", "https://*.example", "null", "app.example", "app.example:3000", "https://app.example/path", "https://app.example?x", "https://app.example#x", "ftp://app.example",
			"https://u:p@app.example", "https://app.example,", ",", "https://app.example,*", "https://app.example https://other.example", "https://", "file:///",
		},
	},
	"BETTER_AUTH_URL": {
		[]string{"https://app.example", "http://localhost:3000/", "https://app.example/auth", "https://App.Example:443"},
		func(c config.Config) any { return c.Auth.Issuer + " " + c.Auth.Audience + " " + c.Auth.JWKSURL }, "https://app.example https://app.example https://app.example/api/auth/jwks",
		[]string{"app.example", "localhost:3000", "ftp://app.example", "https://", "https://u:p@app.example", "//app.example", "/api/auth", "https://a b"},
	},
	"AUTH_JWKS_URL": {
		[]string{"http://auth.internal:3000/api/auth/jwks"},
		func(c config.Config) any { return c.Auth.JWKSURL }, "http://auth.internal:3000/api/auth/jwks",
		[]string{"auth.internal/jwks", "file:///jwks.json", "https://u:p@auth.internal/jwks", "data:,{}"},
	},
	"AUTH_ISSUER":   {[]string{"anything", "https://issuer.example/"}, func(c config.Config) any { return c.Auth.Issuer }, "https://issuer.example/", []string{`"quoted"`, "a\nb"}},
	"AUTH_AUDIENCE": {[]string{"anything", "docket"}, func(c config.Config) any { return c.Auth.Audience }, "docket", []string{`"quoted"`, "a\nb"}},
	"AUTH_MAX_TOKEN_AGE": {
		[]string{"0s", "0", "15m", "1h30m"},
		func(c config.Config) any { return c.Auth.MaxTokenAge }, 90 * time.Minute,
		[]string{"15", "-1s", "1d", "soon", "15 m"},
	},
	"LOG_LEVEL":      {[]string{"debug", "INFO", "warn", "error"}, func(c config.Config) any { return c.LogLevel }, slog.LevelError, []string{"all", "trace", "1", "fatal"}},
	"LOG_FORMAT":     {[]string{"json", "text"}, func(c config.Config) any { return c.LogFormat }, "text", []string{"JSON", "xml", "logfmt"}},
	"SHUTDOWN_DELAY": {[]string{"0s", "5s"}, func(c config.Config) any { return c.ShutdownDelay }, 5 * time.Second, []string{"5", "-5s", "later"}},
	"LOG_CLIENT_ADDRESS": {
		[]string{"false", "true"},
		func(c config.Config) any { return c.LogClientAddress }, true,
		[]string{"1", "yes", "TRUE", "on"},
	},
	"TRUSTED_PROXIES": {
		[]string{"10.0.0.7", "::1", "0.0.0.0/0,::/0", "10.0.0.0/8, fd00::/8 ,192.0.2.1,2001:db8::1,::ffff:192.0.2.2"},
		func(c config.Config) any { return fmt.Sprint(c.TrustedProxies) }, "[10.0.0.0/8 fd00::/8 192.0.2.1/32 2001:db8::1/128 192.0.2.2/32]",
		[]string{
			"proxy", "*", "10.0.0.7,", ",", "10.0.0.7/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0", "010.0.0.1", "10.0.0.7:80", "[::1]", "fe80::1%eth0",
			"fe80::%eth0/64", "::ffff:10.0.0.0/104", "10.0.0.7 10.0.0.8", "private",
		},
	},
	"MAX_CONNECTIONS": {
		[]string{"0", "1", "1000000", "512"},
		func(c config.Config) any { return c.MaxConnections }, int32(512),
		[]string{"-1", "1000001", "many", "1.5"},
	},
	"MAX_TASKS_PER_OWNER": {
		[]string{"0", "1", "1000000000", "5000"},
		func(c config.Config) any { return c.MaxTasksPerOwner }, int32(5000),
		[]string{"-1", "1000000001", "all", "1e3"},
	},
	"RATE_LIMIT_PER_MINUTE": {
		[]string{"0", "1", "1000000", "600"},
		func(c config.Config) any { return c.RateLimitPerMinute }, int32(600),
		[]string{"-1", "1000001", "10/s", "1.5"},
	},
	"DB_MAX_CONNS": {[]string{"1", "10000", "20"}, func(c config.Config) any { return c.Pool.MaxConns }, int32(20), []string{"0", "-1", "10001", "many", "1.5", "99999999999"}},
	"DB_MIN_IDLE_CONNS": {
		[]string{"1", "30", "2"},
		func(c config.Config) any { return c.Pool.MinIdleConns }, int32(2),
		[]string{"-1", "31", "few", "2.0"},
	},
	"DB_MAX_CONN_LIFETIME":        {[]string{"1s", "30m"}, func(c config.Config) any { return c.Pool.MaxConnLifetime }, 30 * time.Minute, []string{"0s", "999ms", "1", "-1h"}},
	"DB_MAX_CONN_LIFETIME_JITTER": {[]string{"1s", "3m"}, func(c config.Config) any { return c.Pool.MaxConnLifetimeJitter }, 3 * time.Minute, []string{"1", "-1m"}},
	"DB_MAX_CONN_IDLE_TIME":       {[]string{"1s", "10m"}, func(c config.Config) any { return c.Pool.MaxConnIdleTime }, 10 * time.Minute, []string{"0s", "1", "-1m"}},
	"DB_PING_TIMEOUT":             {[]string{"1ms", "500ms"}, func(c config.Config) any { return c.Pool.PingTimeout }, 500 * time.Millisecond, []string{"0s", "1", "-1s"}},
	"DB_STATEMENT_TIMEOUT":        {[]string{"1s", "3s"}, func(c config.Config) any { return c.Pool.StatementTimeout }, 3 * time.Second, []string{"0s", "1", "-1s", "10s"}},
	"DB_QUERY_MODE": {
		[]string{"auto", "cache_statement", "cache_describe", "exec"},
		func(c config.Config) any { return c.Pool.QueryMode }, "exec",
		[]string{"describe_exec", "simple_protocol", "AUTO", "fast"},
	},
}

func TestEveryVariableIsRead(t *testing.T) {
	t.Parallel()
	for _, v := range config.Variables {
		if v.Name == "BETTER_AUTH_SECRET" {
			continue // requires other variables: see TestSecretSelectsHS256
		}
		test, ok := cases[v.Name]
		if !ok {
			t.Errorf("%s has no case", v.Name)
			continue
		}
		var c config.Config
		for _, value := range test.valid {
			c = load(t, minimal.with(v.Name, value))
		}
		if got := test.get(c); got != test.want {
			t.Errorf("%s=%s results in %v, want %v", v.Name, test.valid[len(test.valid)-1], got, test.want)
		}
		for _, value := range test.invalid {
			if got := faultyVariables(t, minimal.with(v.Name, value)); !slices.Equal(got, []string{v.Name}) {
				t.Errorf("%s=%s: faults of %v", v.Name, value, got)
			}
		}
	}
	if len(cases) != len(config.Variables)-1 {
		t.Errorf("%d cases for %d variables", len(cases), len(config.Variables))
	}
}

func TestLoadReportsAllFaultsTogether(t *testing.T) {
	t.Parallel()
	e := environment{}
	for _, v := range config.Variables {
		e[v.Name] = "short"
		if test := cases[v.Name]; len(test.invalid) > 0 {
			e[v.Name] = test.invalid[0]
		}
	}
	got := faultyVariables(t, e)
	for _, v := range config.Variables {
		if !slices.Contains(got, v.Name) {
			t.Errorf("%s is missing in %v", v.Name, got)
		}
	}
	if got := faultyVariables(t, environment{}); !slices.Equal(got, []string{"DATABASE_URL", "BETTER_AUTH_URL"}) {
		t.Errorf("an empty environment has faults of %v", got)
	}
	_, err := config.Load(environment{}.get)
	if text := err.Error(); !strings.Contains(text, "\n  DATABASE_URL: is required\n") || !strings.Contains(text, "docket help") {
		t.Errorf("the error is %s", text)
	}
}

// Signature, algorithm, expiry, issuer and audience must all be verified.
func TestIncompleteAuthConfigurationIsRefused(t *testing.T) {
	t.Parallel()
	base := minimal.with("BETTER_AUTH_URL", "")
	for _, test := range []struct {
		name string
		e    environment
		want []string
	}{
		{"no variables", base, []string{"BETTER_AUTH_URL"}},
		{"no key", base.with("AUTH_ISSUER", "a", "AUTH_AUDIENCE", "b"), []string{"BETTER_AUTH_URL"}},
		{"a key set alone", base.with("AUTH_JWKS_URL", "https://a/jwks"), []string{"AUTH_ISSUER", "AUTH_AUDIENCE"}},
		{"a key set without audience", base.with("AUTH_JWKS_URL", "https://a/jwks", "AUTH_ISSUER", "a"), []string{"AUTH_AUDIENCE"}},
		{"a key set without issuer", base.with("AUTH_JWKS_URL", "https://a/jwks", "AUTH_AUDIENCE", "a"), []string{"AUTH_ISSUER"}},
		{"a secret alone", base.with("BETTER_AUTH_SECRET", secret), []string{"AUTH_ISSUER", "AUTH_AUDIENCE"}},
		{"a secret without audience", base.with("BETTER_AUTH_SECRET", secret, "AUTH_ISSUER", "a"), []string{"AUTH_AUDIENCE"}},
		{"a secret without issuer", base.with("BETTER_AUTH_SECRET", secret, "AUTH_AUDIENCE", "a"), []string{"AUTH_ISSUER"}},
		{"a short secret", base.with("BETTER_AUTH_SECRET", secret[1:], "AUTH_ISSUER", "a", "AUTH_AUDIENCE", "b"), []string{"BETTER_AUTH_SECRET"}},
		{"blank values", base.with("BETTER_AUTH_SECRET", secret, "AUTH_ISSUER", " ", "AUTH_AUDIENCE", "\t"), []string{"AUTH_ISSUER", "AUTH_AUDIENCE"}},
		{"a key set and a secret", minimal.with("BETTER_AUTH_SECRET", secret), []string{"BETTER_AUTH_SECRET"}},
		{"a key set and a secret, without BETTER_AUTH_URL", base.with("BETTER_AUTH_SECRET", secret, "AUTH_JWKS_URL", "https://a/jwks", "AUTH_ISSUER", "a", "AUTH_AUDIENCE", "b"), []string{"BETTER_AUTH_SECRET"}},
	} {
		if got := faultyVariables(t, test.e); !slices.Equal(got, test.want) {
			t.Errorf("%s: faults of %v, want %v", test.name, got, test.want)
		}
	}
}

func TestSecretSelectsHS256(t *testing.T) {
	t.Parallel()
	c := load(t, minimal.with("BETTER_AUTH_URL", "", "BETTER_AUTH_SECRET", secret, "AUTH_ISSUER", "https://app.example", "AUTH_AUDIENCE", "docket"))
	if c.Auth != (config.Auth{Secret: secret, Issuer: "https://app.example", Audience: "docket"}) {
		t.Errorf("%#v", c.Auth)
	}
}

func TestUnsetAuthVariablesAreDerivedFromBetterAuthURL(t *testing.T) {
	t.Parallel()
	const base = "https://app.example"
	for _, test := range []struct {
		e    environment
		want config.Auth
	}{
		{minimal.with("BETTER_AUTH_URL", base), config.Auth{JWKSURL: base + "/api/auth/jwks", Issuer: base, Audience: base}},
		{minimal.with("BETTER_AUTH_URL", base+"/"), config.Auth{JWKSURL: base + "/api/auth/jwks", Issuer: base, Audience: base}},
		{minimal.with("BETTER_AUTH_URL", base+"/api/auth"), config.Auth{JWKSURL: base + "/api/auth/jwks", Issuer: base, Audience: base}},
		{minimal.with("BETTER_AUTH_URL", base+"/login/"), config.Auth{JWKSURL: base + "/login/jwks", Issuer: base, Audience: base}},
		{minimal.with("BETTER_AUTH_URL", "HTTPS://APP.example:443"), config.Auth{JWKSURL: base + "/api/auth/jwks", Issuer: base, Audience: base}},
		{minimal.with("BETTER_AUTH_URL", base, "AUTH_JWKS_URL", "http://auth:3000/jwks"), config.Auth{JWKSURL: "http://auth:3000/jwks", Issuer: base, Audience: base}},
		{minimal.with("BETTER_AUTH_URL", base, "AUTH_ISSUER", "i"), config.Auth{JWKSURL: base + "/api/auth/jwks", Issuer: "i", Audience: base}},
		{minimal.with("BETTER_AUTH_URL", base, "AUTH_AUDIENCE", "a"), config.Auth{JWKSURL: base + "/api/auth/jwks", Issuer: base, Audience: "a"}},
		{minimal.with("BETTER_AUTH_URL", "", "AUTH_JWKS_URL", base+"/k", "AUTH_ISSUER", "i", "AUTH_AUDIENCE", "a"), config.Auth{JWKSURL: base + "/k", Issuer: "i", Audience: "a"}},
	} {
		if got := load(t, test.e).Auth; got != test.want {
			t.Errorf("%v: got %+v, want %+v", test.e, got, test.want)
		}
	}
}

func TestDefaultOfMinIdleConnsDoesNotExceedMaxConns(t *testing.T) {
	t.Parallel()
	if c := load(t, minimal.with("DB_MAX_CONNS", "4")); c.Pool.MaxConns != 4 || c.Pool.MinIdleConns != 4 {
		t.Errorf("%+v", c.Pool)
	}
	if got := faultyVariables(t, minimal.with("DB_MAX_CONNS", "4", "DB_MIN_IDLE_CONNS", "5")); !slices.Equal(got, []string{"DB_MIN_IDLE_CONNS"}) {
		t.Errorf("faults of %v", got)
	}
	if got := faultyVariables(t, minimal.with("DB_MAX_CONNS", "none", "DB_MIN_IDLE_CONNS", "5")); !slices.Equal(got, []string{"DB_MAX_CONNS"}) {
		t.Errorf("faults of %v", got)
	}
}

func TestMigrateRequiresOnlyADatabase(t *testing.T) {
	t.Parallel()
	const serving, owning = "postgres://app@localhost/docket", "postgres://owner@localhost/docket"
	for _, test := range []struct {
		e    environment
		want config.Secret
	}{
		{environment{"DATABASE_URL": serving}, serving},
		{environment{"MIGRATE_DATABASE_URL": owning}, owning},
		{environment{"DATABASE_URL": serving, "MIGRATE_DATABASE_URL": owning}, owning},
	} {
		if c, err := config.LoadMigrate(test.e.get); err != nil || c.MigrateDatabaseURL != test.want {
			t.Errorf("%v: got %s, %v", test.e, c.MigrateDatabaseURL.Reveal(), err)
		}
	}
	for _, e := range []environment{{}, {"DATABASE_URL": "nonsense"}, {"DATABASE_URL": serving, "LOG_LEVEL": "loud"}} {
		if _, err := config.LoadMigrate(e.get); !errors.As(err, new(config.Faults)) {
			t.Errorf("%v: got the error %v", e, err)
		}
	}
}

func TestSecretsAppearNeitherInPrintedConfigurationsNorInErrors(t *testing.T) {
	t.Parallel()
	const password = "hunter2-hunter2-hunter2-hunter2-hunter2"
	e := environment{
		"DATABASE_URL": "postgres://docket:" + password + "@localhost/docket", "MIGRATE_DATABASE_URL": "postgres://owner:" + password + "@localhost/docket",
		"BETTER_AUTH_SECRET": password, "AUTH_ISSUER": "i", "AUTH_AUDIENCE": "a",
	}
	c := load(t, e)
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%10.5v", "%T"} {
		for _, v := range []any{c, &c, c.Auth, c.Auth.Secret, &c.Auth.Secret, []config.Secret{c.DatabaseURL}, map[string]config.Secret{"a": c.MigrateDatabaseURL}} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
	}
	fmt.Fprintln(&out, c, c.Auth.Secret, c.Auth.Secret.String())
	for _, v := range []any{c, c.Auth.Secret, map[string]config.Secret{"a": c.DatabaseURL}} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		out.Write(text)
	}
	for _, handler := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
		slog.New(handler).Info("loaded", "config", c, "secret", c.Auth.Secret, "address", &c)
	}
	if err := template.Must(template.New("").Parse("{{.}} {{.Auth.Secret}}")).Execute(&out, c); err != nil {
		t.Error(err)
	}
	if !strings.Contains(out.String(), "[secret]") {
		t.Fatal("the placeholder was not printed")
	}
	// Secrets may also be printed in hexadecimal or as lists of numbers.
	for _, form := range []string{password, password[8:20], fmt.Sprintf("%x", password), fmt.Sprintf("%X", password), strings.Trim(fmt.Sprint(string([]byte(password))), "[]")} {
		if i := strings.Index(out.String(), form); i >= 0 {
			t.Errorf("printed: …%s…", out.String()[max(0, i-200):i+len(form)])
		}
	}
	if c.Auth.Secret.Reveal() != password {
		t.Error("Reveal does not return the secret")
	}

	for _, invalid := range []environment{
		e.with("DATABASE_URL", "postgres://docket:"+password+"@localhost:port/docket"),
		e.with("DATABASE_URL", "postgres://docket:"+password+"%zz@localhost/docket"),
		e.with("DATABASE_URL", "host=localhost password="+password+" port=none"),
		e.with("MIGRATE_DATABASE_URL", "mysql://docket:"+password+"@localhost/docket"),
		e.with("BETTER_AUTH_SECRET", password[:31]),
		e.with("BETTER_AUTH_URL", "https://docket:"+password+"@app.example"),
		e.with("AUTH_JWKS_URL", "https://docket:"+password+"@app.example/jwks"),
		e.with("FRONTEND_URL", "https://docket:"+password+"@app.example"),
		e.with("ADDR", password), e.with("METRICS_ADDR", password), e.with("LOG_LEVEL", password), e.with("LOG_FORMAT", password), e.with("DB_MAX_CONNS", password), e.with("DB_QUERY_MODE", password),
		e.with("SHUTDOWN_DELAY", password), e.with("AUTH_ISSUER", ""),
	} {
		_, err := config.Load(invalid.get)
		_, migrateErr := config.LoadMigrate(invalid.get)
		if err == nil {
			t.Errorf("%v is accepted", invalid)
		}
		if text := fmt.Sprintf("%v %+v %#v %v", err, err, err, migrateErr); strings.Contains(text, password[:31]) {
			t.Errorf("the error is %s", text)
		}
	}
}

var update = flag.Bool("update", false, "write the table of variables in docs/operations.md")

// TestOperationsDocumentListsEveryVariable compares the table in docs/operations.md with Variables. To renew the table,
// run `go test ./internal/config -update`.
func TestOperationsDocumentListsEveryVariable(t *testing.T) {
	t.Parallel()
	const file, header = "../../docs/operations.md", "| Variable | Default | Meaning |\n| --- | --- | --- |\n"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, after, found := strings.Cut(string(text), header)
	if !found {
		t.Fatalf("docs/operations.md has no table with the header %q", header)
	}
	table, after, found := strings.Cut(after, "\n\n")
	if !found {
		t.Fatal("docs/operations.md has no text after the table")
	}
	var want strings.Builder
	for _, v := range config.Variables {
		value := v.Default
		if value != "" {
			value = "`" + value + "`"
		}
		fmt.Fprintf(&want, "\n| `%s` | %s | %s |", v.Name, value, v.Help)
	}
	wantTable := want.String()[1:]
	if *update {
		if err := os.WriteFile(file, []byte(before+header+wantTable+"\n\n"+after), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if table != wantTable {
		t.Errorf("the table in docs/operations.md is stale: run go test ./internal/config -update\ngot\n%s\nwant\n%s", table, wantTable)
	}
}
