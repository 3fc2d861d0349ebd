// Package config reads the configuration from environment variables and reports all faults together.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Secret is a string that must not be printed. The packages fmt, log/slog and encoding/json print a placeholder instead.
type Secret string

const redacted = "[secret]"

// Format implements fmt.Formatter. It prints the placeholder for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String implements fmt.Stringer.
func (Secret) String() string { return redacted }

// MarshalText implements encoding.TextMarshaler.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// Config is the configuration of `docket serve` and `docket migrate`.
type Config struct {
	DatabaseURL        Secret
	MigrateDatabaseURL Secret // DatabaseURL when not set
	UserTable          string // of Better Auth, as table or schema.table; empty: "user"
	Addr               string
	MetricsAddr        string   // empty if metrics are not served
	BasePath           string   // begins with a slash and ends with none; empty if the service has its origin for itself
	FrontendURLs       []string // origins, as browsers send them
	CORSHeaders        []string // that frontends may send, in addition to the usual ones
	LogLevel           slog.Level
	LogFormat          string // text or json
	LogClientAddress   bool
	TrustedProxies     []netip.Prefix // that write X-Forwarded-For
	ShutdownDelay      time.Duration
	MaxConnections     int32 // 0 means no limit
	MaxTasksPerOwner   int32 // 0 means no limit
	RateLimitPerMinute int32 // of each owner; 0 means no limit

	Auth   Auth
	Pool   Pool
	Traces Traces

	betterAuthURL *url.URL
	port          string
}

// Auth defines which tokens are valid. Either JWKSURL or Secret is set.
type Auth struct {
	JWKSURL     string
	Secret      Secret
	Issuer      string
	Audience    string
	MaxTokenAge time.Duration // 0 means no limit
}

// Pool configures the pool of database connections.
type Pool struct {
	MaxConns              int32
	MinIdleConns          int32
	MaxConnLifetime       time.Duration
	MaxConnLifetimeJitter time.Duration
	MaxConnIdleTime       time.Duration
	PingTimeout           time.Duration
	StatementTimeout      time.Duration
	QueryMode             string
}

// Variable describes an environment variable.
type Variable struct {
	Name    string
	Default string
	Help    string
	set     func(*Config, string) error
}

// Variables lists the variables in the order in which `docket help` and docs/operations.md show them.
var Variables = []Variable{
	{"DATABASE_URL", "", "PostgreSQL URL, postgres://… (required)", func(c *Config, v string) error {
		c.DatabaseURL = Secret(v)
		return databaseURL(v)
	}},
	{"MIGRATE_DATABASE_URL", "", "PostgreSQL URL for migrations, connecting directly and not through a pooler; default: DATABASE_URL", func(c *Config, v string) error {
		c.MigrateDatabaseURL = Secret(v)
		return databaseURL(v)
	}},
	{"AUTH_USER_TABLE", "", "Better Auth's table of users, if it is not \"user\", such as users or auth.user; for the first migration", func(c *Config, v string) error {
		c.UserTable = v
		return tableName(v)
	}},
	{"ADDR", ":8000", "address to listen on", func(c *Config, v string) error {
		c.Addr = v
		return address(v)
	}},
	{"PORT", "", "port to listen on, on all interfaces, as container platforms set it; ignored if ADDR is set", func(c *Config, v string) error {
		c.port = v
		return address(":" + v)
	}},
	{"BASE_PATH", "", "path at which a proxy serves Docket, such as /docket, if it is not the root of the origin", func(c *Config, v string) (err error) {
		c.BasePath, err = basePath(v)
		return err
	}},
	{"METRICS_ADDR", "", "address to serve Prometheus metrics on, at /metrics, the probes again, and profiles; must not be public; not served if unset", func(c *Config, v string) error {
		c.MetricsAddr = v
		return address(v)
	}},
	{"FRONTEND_URL", "http://localhost:3000", "allowed CORS origins, separated by commas", func(c *Config, v string) (err error) {
		c.FrontendURLs, err = origins(v)
		return err
	}},
	{"CORS_ALLOW_HEADERS", "", "request headers that frontends may send in addition to the usual ones, separated by commas", func(c *Config, v string) (err error) {
		c.CORSHeaders, err = headerNames(v)
		return err
	}},
	{"BETTER_AUTH_URL", "", "base URL of Better Auth; determines the key set URL, the issuer and the audience", func(c *Config, v string) error {
		c.betterAuthURL = &url.URL{Scheme: "https", Host: "invalid"} // so that it is not reported as missing as well
		u, err := webURL(v)
		if err == nil {
			_, err = originOf(u)
		}
		if err == nil {
			c.betterAuthURL = u
		}
		return err
	}},
	{"AUTH_JWKS_URL", "", "key set URL, if it is not BETTER_AUTH_URL/api/auth/jwks", func(c *Config, v string) error {
		_, err := webURL(v)
		c.Auth.JWKSURL = v
		return err
	}},
	{"AUTH_ISSUER", "", "required iss of tokens, if it is not the origin of BETTER_AUTH_URL", func(c *Config, v string) error {
		c.Auth.Issuer = v
		return nil
	}},
	{"AUTH_AUDIENCE", "", "required aud of tokens, if it is not the origin of BETTER_AUTH_URL", func(c *Config, v string) error {
		c.Auth.Audience = v
		return nil
	}},
	{"BETTER_AUTH_SECRET", "", "secret of HS256 tokens, at least 32 bytes, used instead of a key set; requires AUTH_ISSUER and AUTH_AUDIENCE", func(c *Config, v string) error {
		c.Auth.Secret = Secret(v)
		if len(v) < 32 {
			return errors.New("must have at least 32 bytes")
		}
		return nil
	}},
	{"AUTH_MAX_TOKEN_AGE", "0s", "maximum age of a token since it was issued, even if it expires later; 0s means no limit", func(c *Config, v string) (err error) {
		c.Auth.MaxTokenAge, err = duration(v, 0)
		return err
	}},
	{"LOG_LEVEL", "info", "debug, info, warn or error", func(c *Config, v string) error {
		if c.LogLevel.UnmarshalText([]byte(v)) != nil {
			return errors.New("must be debug, info, warn or error")
		}
		return nil
	}},
	{"LOG_FORMAT", "json", "json or text", func(c *Config, v string) error {
		c.LogFormat = v
		return oneOf(v, "json", "text")
	}},
	{"LOG_CLIENT_ADDRESS", "false", "true: the log line of a request has the client's address, which is personal data", func(c *Config, v string) error {
		c.LogClientAddress = v == "true"
		return oneOf(v, "true", "false")
	}},
	{"TRUSTED_PROXIES", "", "addresses and networks of the proxies whose X-Forwarded-For names the client, separated by commas", func(c *Config, v string) (err error) {
		c.TrustedProxies, err = networks(v)
		return err
	}},
	{"SHUTDOWN_DELAY", "1s", "time after SIGTERM during which requests are still served while /health/ready reports 503, so that load balancers can react", func(c *Config, v string) (err error) {
		c.ShutdownDelay, err = duration(v, 0)
		return err
	}},
	{"MAX_CONNECTIONS", "4096", "maximum number of connections of clients, not counting METRICS_ADDR; more wait until one ends; 0 means no limit", func(c *Config, v string) (err error) {
		c.MaxConnections, err = number(v, 0, 1_000_000)
		return err
	}},
	{"MAX_TASKS_PER_OWNER", "100000", "maximum number of tasks of one owner; 0 means no limit", func(c *Config, v string) (err error) {
		c.MaxTasksPerOwner, err = number(v, 0, 1_000_000_000)
		return err
	}},
	{"RATE_LIMIT_PER_MINUTE", "0", "maximum number of requests of one owner in a minute, in each process; 0 means no limit", func(c *Config, v string) (err error) {
		c.RateLimitPerMinute, err = number(v, 0, 1_000_000)
		return err
	}},
	{"DB_MAX_CONNS", "30", "maximum number of database connections", func(c *Config, v string) (err error) {
		c.Pool.MaxConns, err = count(v, 1)
		return err
	}},
	{"DB_MIN_IDLE_CONNS", "10", "minimum number of idle database connections", func(c *Config, v string) (err error) {
		c.Pool.MinIdleConns, err = count(v, 0)
		return err
	}},
	{"DB_MAX_CONN_LIFETIME", "1h", "age at which a connection is replaced", func(c *Config, v string) (err error) {
		c.Pool.MaxConnLifetime, err = duration(v, time.Second)
		return err
	}},
	{"DB_MAX_CONN_LIFETIME_JITTER", "6m", "maximum random addition to that age, so that connections are not replaced at the same time", func(c *Config, v string) (err error) {
		c.Pool.MaxConnLifetimeJitter, err = duration(v, 0)
		return err
	}},
	{"DB_MAX_CONN_IDLE_TIME", "5m", "idle time after which a surplus connection is closed", func(c *Config, v string) (err error) {
		c.Pool.MaxConnIdleTime, err = duration(v, time.Second)
		return err
	}},
	{"DB_PING_TIMEOUT", "2s", "time limit for checking that an idle connection still works", func(c *Config, v string) (err error) {
		c.Pool.PingTimeout, err = duration(v, time.Millisecond)
		return err
	}},
	{"DB_STATEMENT_TIMEOUT", "5s", "time after which PostgreSQL cancels a statement; must be below 10s, the time limit of a request", func(c *Config, v string) (err error) {
		if c.Pool.StatementTimeout, err = duration(v, time.Millisecond); err == nil && c.Pool.StatementTimeout >= 10*time.Second {
			err = errors.New("must be below 10s, the time limit of a request")
		}
		return err
	}},
	{"DB_QUERY_MODE", "auto", "auto finds out; cache_statement (direct, or a pooler with prepared statements), exec or cache_describe (any pooler)", func(c *Config, v string) error {
		c.Pool.QueryMode = v
		return oneOf(v, "auto", "cache_statement", "exec", "cache_describe")
	}},
}

// Faults lists all faults of a configuration, one line each: the name of the variable and what is wrong. It contains no
// values.
type Faults []string

// Error implements error.
func (f Faults) Error() string {
	return "the configuration has faults:\n  " + strings.Join(f, "\n  ") + "\n`docket help` explains every variable."
}

// Load reads the configuration of `docket serve`. Its error is of type Faults.
func Load(getenv func(string) string) (Config, error) {
	getenv = Trim(getenv)
	c, faults := read(getenv)
	if c.DatabaseURL == "" {
		faults = append(faults, "DATABASE_URL: is required")
	}
	faults = append(faults, c.resolveAuth()...)
	faults = append(faults, c.traces(getenv)...)
	if getenv("DB_MIN_IDLE_CONNS") == "" {
		c.Pool.MinIdleConns = min(c.Pool.MinIdleConns, c.Pool.MaxConns)
	} else if c.Pool.MinIdleConns > c.Pool.MaxConns && c.Pool.MaxConns > 0 {
		faults = append(faults, "DB_MIN_IDLE_CONNS: must not be more than DB_MAX_CONNS")
	}
	if len(faults) > 0 {
		return Config{}, faults
	}
	return c, nil
}

// LoadMigrate reads the configuration of `docket migrate`, which needs no authentication. Its error is of type Faults.
func LoadMigrate(getenv func(string) string) (Config, error) {
	c, faults := read(Trim(getenv))
	c.MigrateDatabaseURL = cmp.Or(c.MigrateDatabaseURL, c.DatabaseURL)
	if c.MigrateDatabaseURL == "" {
		faults = append(faults, "DATABASE_URL: is required (or MIGRATE_DATABASE_URL)")
	}
	if len(faults) > 0 {
		return Config{}, faults
	}
	return c, nil
}

// LoadHealth reads the configuration of `docket health`, which needs only the addresses to listen on. Its error is of type
// Faults.
func LoadHealth(getenv func(string) string) (Config, error) {
	c, faults := read(Trim(getenv))
	if len(faults) > 0 {
		return Config{}, faults
	}
	return c, nil
}

// Trim returns a getenv without the white space and the byte order mark at both ends of every value. Files that hold a
// value end with a line break, and those of Windows with CR and LF. A value of white space alone is an unset variable.
func Trim(getenv func(string) string) func(string) string {
	return func(name string) string { return strings.TrimSpace(strings.Trim(getenv(name), "\ufeff")) }
}

func read(getenv func(string) string) (c Config, faults Faults) {
	faults = c.set(Variables, getenv)
	if c.port != "" && getenv("ADDR") == "" {
		c.Addr = ":" + c.port
	}
	return c, faults
}

// set reads variables into c.
func (c *Config) set(variables []Variable, getenv func(string) string) (faults Faults) {
	for _, v := range variables {
		value := cmp.Or(getenv(v.Name), v.Default)
		if value == "" {
			continue
		}
		err := plain(value)
		if setErr := v.set(c, value); err == nil { // even so, or the variable would be reported as missing as well
			err = setErr
		}
		if err != nil {
			faults = append(faults, v.Name+": "+err.Error())
		}
	}
	return faults
}

// resolveAuth derives the fields of c.Auth that are not set from BETTER_AUTH_URL. It returns faults unless exactly one
// way to verify tokens is configured, with issuer and audience.
func (c *Config) resolveAuth() (faults Faults) {
	a := &c.Auth
	if base := c.betterAuthURL; base != nil {
		origin, _ := originOf(base) // its error is reported with the variable
		a.Issuer, a.Audience = cmp.Or(a.Issuer, origin), cmp.Or(a.Audience, origin)
		path := cmp.Or(strings.TrimRight(base.Path, "/"), "/api/auth")
		a.JWKSURL = cmp.Or(a.JWKSURL, origin+path+"/jwks")
	}
	switch {
	case a.JWKSURL == "" && a.Secret == "":
		faults = append(faults, "BETTER_AUTH_URL: is required (or AUTH_JWKS_URL or BETTER_AUTH_SECRET, each with AUTH_ISSUER and AUTH_AUDIENCE)")
	case a.JWKSURL != "" && a.Secret != "":
		faults = append(faults, "BETTER_AUTH_SECRET: must not be set together with BETTER_AUTH_URL or AUTH_JWKS_URL: tokens are verified one way or the other")
	default:
		if a.Issuer == "" {
			faults = append(faults, "AUTH_ISSUER: is required without BETTER_AUTH_URL")
		}
		if a.Audience == "" {
			faults = append(faults, "AUTH_AUDIENCE: is required without BETTER_AUTH_URL")
		}
	}
	return faults
}

// plain refuses what is never part of a value but of the file that it came from.
func plain(v string) error {
	if quote := v[:1]; (quote == `"` || quote == "'") && strings.HasSuffix(v, quote) {
		return errors.New("begins and ends with a quotation mark, which is part of the value here: leave both out")
	}
	if strings.ContainsFunc(v, unicode.IsControl) {
		return errors.New("contains a line break or another control character")
	}
	return nil
}

func webURL(v string) (*url.URL, error) {
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, errors.New("must be an http or https URL without credentials")
	}
	return u, nil
}

var tableNamePattern = regexp.MustCompile(`^(?:[^".\s]{1,63}\.)?[^".\s]{1,63}$`)

func tableName(v string) error {
	if !tableNamePattern.MatchString(v) {
		return errors.New("must be the name of a table, or schema.table, as it is spelt in the database and without quotation marks")
	}
	return nil
}

var basePathPattern = regexp.MustCompile(`^(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+$`)

// basePath returns the path without a slash at its end; the root is the empty path. It refuses the service's own paths:
// requests arrive with the base path or without it, and must mean the same.
func basePath(v string) (string, error) {
	path := strings.TrimRight(v, "/")
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	switch {
	case path == "":
		return "", nil
	case !basePathPattern.MatchString(path):
		return "", errors.New("must be a path such as /docket, of letters, digits and -._~")
	case slices.Contains([]string{"api", "docs", "health", "problems", "openapi.json", "openapi.yaml"}, first):
		return "", errors.New("must not begin with /" + first + ", which is a path of Docket's own")
	}
	return path, nil
}

var headerNamePattern = regexp.MustCompile("^[A-Za-z0-9!#$%&'+.^_`|~-]+$") // RFC 9110, section 5.1, without the asterisk

func headerNames(v string) (names []string, err error) {
	for part := range strings.SplitSeq(v, ",") {
		name := strings.TrimSpace(part)
		if !headerNamePattern.MatchString(name) {
			return nil, errors.New("must be names of headers, separated by commas, without *")
		}
		names = append(names, name)
	}
	return names, nil
}

func oneOf(v string, values ...string) error {
	if !slices.Contains(values, v) {
		return errors.New("must be one of " + strings.Join(values, ", "))
	}
	return nil
}

func address(v string) error {
	_, port, err := net.SplitHostPort(v)
	if _, portErr := strconv.ParseUint(port, 10, 16); err != nil || portErr != nil {
		return errors.New("must be host:port or :port")
	}
	return nil
}

func networks(v string) (list []netip.Prefix, err error) {
	for part := range strings.SplitSeq(v, ",") {
		part = strings.TrimSpace(part)
		network, err := netip.ParsePrefix(part)
		if address, addressErr := netip.ParseAddr(part); addressErr == nil && address.Zone() == "" {
			network, err = address.Unmap().Prefix(address.Unmap().BitLen())
		}
		if err != nil || network != network.Masked() || network.Addr().Is4In6() {
			return nil, errors.New("must be addresses such as 10.0.0.7 and networks such as 10.0.0.0/8 or fd00::/8, separated by commas")
		}
		list = append(list, network)
	}
	return list, nil
}

func duration(v string, minimum time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(v)
	if err != nil || d < minimum {
		return 0, fmt.Errorf("must be a duration such as 30s, 5m or 1h, at least %v", minimum)
	}
	return d, nil
}

func count(v string, minimum int32) (int32, error) { return number(v, minimum, 10_000) }

func number(v string, minimum, maximum int32) (int32, error) {
	n, err := strconv.ParseInt(v, 10, 32)
	if err != nil || int32(n) < minimum || int32(n) > maximum {
		return 0, fmt.Errorf("must be a whole number from %d to %d", minimum, maximum)
	}
	return int32(n), nil
}
