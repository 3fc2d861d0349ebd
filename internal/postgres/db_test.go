package postgres

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"docket/internal/dbtest"
)

func TestOpenRefusesInvalidConfigurations(t *testing.T) {
	t.Parallel()
	const valid = "postgres://docket:hunter2@127.0.0.1:1/docket"
	for _, c := range []Config{
		{URL: "postgres://docket:hunter2@127.0.0.1:port/docket"},
		{URL: valid + "?sslmode=sometimes"},
		{URL: valid + "?pool_max_conns=many"},
		{URL: valid, QueryMode: "describe_exec"},
		{URL: valid, QueryMode: "simple_protocol"},
		{URL: valid, QueryMode: "Exec"},
	} {
		db, err := Open(t.Context(), c)
		if err == nil {
			db.Close()
			t.Errorf("%+v was accepted", c)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error repeats the password: %v", err)
		}
	}
}

// figures are the settings of a pool.
type figures struct {
	MaxConns, MinIdleConns                  int32
	Lifetime, Jitter, IdleTime, PingTimeout time.Duration
	Connect                                 time.Duration
	Mode                                    QueryMode
}

func TestThePoolHasTheConfiguredSettings(t *testing.T) {
	t.Parallel()
	const address = "postgres://docket@127.0.0.1:1/docket"
	defaults := figures{30, 10, time.Hour, 6 * time.Minute, 5 * time.Minute, 2 * time.Second, 5 * time.Second, QueryModeAuto}
	with := func(change func(*figures)) figures {
		f := defaults
		change(&f)
		return f
	}
	for name, c := range map[string]struct {
		config Config
		want   figures
	}{
		"defaults": {Config{URL: address}, defaults},
		"everything": {
			Config{
				URL: address, MaxConns: 7, MinIdleConns: 3, MaxConnLifetime: 20 * time.Minute, MaxConnLifetimeJitter: time.Second,
				MaxConnIdleTime: time.Minute, PingTimeout: time.Millisecond, QueryMode: QueryModeDescribe,
			},
			figures{7, 3, 20 * time.Minute, time.Second, time.Minute, time.Millisecond, 5 * time.Second, QueryModeDescribe},
		},
		"fewer than stay idle":    {Config{URL: address, MaxConns: 4}, with(func(f *figures) { f.MaxConns, f.MinIdleConns = 4, 4 })},
		"jitter follows lifetime": {Config{URL: address, MaxConnLifetime: 10 * time.Minute}, with(func(f *figures) { f.Lifetime, f.Jitter = 10*time.Minute, time.Minute })},
		"none idle, no jitter":    {Config{URL: address, MinIdleConns: -1, MaxConnLifetimeJitter: -1}, with(func(f *figures) { f.MinIdleConns, f.Jitter = 0, 0 })},
		"another connect timeout": {Config{URL: address + "?connect_timeout=7"}, with(func(f *figures) { f.Connect = 7 * time.Second })},
		"auto":                    {Config{URL: address, QueryMode: QueryModeAuto}, defaults},
		"exec":                    {Config{URL: address, QueryMode: QueryModeExec}, with(func(f *figures) { f.Mode = QueryModeExec })},
	} {
		db, err := Open(t.Context(), c.config)
		if err != nil {
			t.Fatal(err)
		}
		pool := db.pool.Config()
		db.Close()
		got := figures{
			pool.MaxConns, pool.MinIdleConns, pool.MaxConnLifetime, pool.MaxConnLifetimeJitter, pool.MaxConnIdleTime,
			pool.PingTimeout, pool.ConnConfig.ConnectTimeout, db.mode,
		}
		if got != c.want {
			t.Errorf("%s:\ngot  %+v\nwant %+v", name, got, c.want)
		}
	}
}

func TestThePoolOpensNoMoreConnectionsThanItMay(t *testing.T) {
	t.Parallel()
	address := withTasks(t)
	db := open(t, Config{URL: address, MaxConns: 3, StatementTimeout: time.Hour})
	conn := connect(t, address)
	execute(t, conn, "begin; lock table task")
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if _, err := send(t.Context(), db, ReadOnly, "ada", ownTasksSQL); err != nil {
				t.Error(err)
			}
		})
	}
	until(t, func() bool { return db.pool.Stat().EmptyAcquireCount() > 0 && value[int](t, conn, waitingSQL) == 3 })
	if got := value[int](t, conn, "select count(*) "+clientsSQL); got != 3 {
		t.Errorf("%d connections for 10 calls, want 3", got)
	}
	execute(t, conn, "commit")
	wg.Wait()
}

func TestProbeWorksWhileAllConnectionsAreInUse(t *testing.T) {
	t.Parallel()
	db := open(t, Config{URL: withTasks(t), MaxConns: 1})
	conn, err := db.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	var user string
	if err := db.Probe(t.Context(), OperatorStatement{"select current_user::text"}, func(rows Rows) error {
		rows.Next()
		return rows.Scan(&user)
	}, nil); err != nil || user != "docket_app" {
		t.Errorf("it runs as %q, %v", user, err)
	}
}

// The test uses a change because a read would be retried.
func TestAConnectionThatEndedWhileIdleIsReplacedBeforeItIsUsed(t *testing.T) {
	t.Parallel()
	for _, mode := range queryModes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			address := withTasks(t)
			db := open(t, Config{URL: address, QueryMode: mode, MaxConns: 2})
			const changeSQL = "update task set completed = true where user_id = $1 returning title"
			if _, err := send(t.Context(), db, NotIdempotent, "bob", changeSQL); err != nil {
				t.Fatal(err)
			}
			conn := connect(t, address)
			execute(t, conn, "select pg_terminate_backend(pid) "+clientsSQL)
			until(t, func() bool { return value[int](t, conn, "select count(*) "+clientsSQL) == 0 })
			time.Sleep(1100 * time.Millisecond) // idle for over a second: the pool checks it before it is used
			if got, err := send(t.Context(), db, NotIdempotent, "bob", changeSQL); err != nil || got != "bob bob" {
				t.Errorf("%s, %v", got, err)
			}
		})
	}
}

func TestCloseEndsEveryConnection(t *testing.T) {
	t.Parallel()
	address := withTasks(t)
	db, err := Open(context.WithoutCancel(t.Context()), Config{URL: address})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	db.Close()
	conn := connect(t, address)
	until(t, func() bool { return value[int](t, conn, "select count(*) "+clientsSQL) == 0 })
	if err := db.Ping(t.Context()); err == nil {
		t.Error("a closed database answered a call")
	}
}

// When a call returns because its context was canceled, its statement has ended too, and its connection can serve other
// calls.
func TestACanceledCallEndsItsStatement(t *testing.T) {
	t.Parallel()
	for _, mode := range queryModes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			address := withTasks(t)
			conn := connect(t, address)
			db := open(t, Config{URL: address, QueryMode: mode, StatementTimeout: time.Hour})
			execute(t, conn, "begin; lock table task in access exclusive mode", pgx.QueryExecModeSimpleProtocol)
			for n := range 10 {
				ctx, cancel := context.WithCancel(t.Context())
				returned := make(chan error)
				go func() {
					var err error
					if n%2 == 0 {
						_, err = share(ctx, db, "ada", ownTasksSQL)
					} else {
						_, err = send(ctx, db, ReadOnly, "ada", ownTasksSQL)
					}
					returned <- err
				}()
				until(t, func() bool { return value[int](t, conn, waitingSQL) == 1 })
				cancel()
				if err := <-returned; !errors.Is(err, context.Canceled) {
					t.Errorf("error %v", err)
				}
				if n := value[int](t, conn, waitingSQL); n != 0 {
					t.Fatalf("%d statements still run", n)
				}
			}
		})
	}
}

// endless is a context whose deadline passes when passed is closed.
type endless struct {
	context.Context
	passed chan struct{}
}

func (e endless) Done() <-chan struct{} { return e.passed }

func (e endless) Err() error {
	select {
	case <-e.passed:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// A scan ends once, when PostgreSQL has finished with it, whatever its outcome.
func TestAScanEndsWhenPostgreSQLHasFinished(t *testing.T) {
	t.Parallel()
	address := withTasks(t)
	conn := connect(t, address)
	db := open(t, Config{URL: address, StatementTimeout: time.Hour})
	scan := func(ctx context.Context, sql string, read func(Rows) error) (ended chan struct{}, returned chan error) {
		ended, returned = make(chan struct{}, 2), make(chan error, 1)
		go func() {
			defer func() {
				if v := recover(); v != nil {
					returned <- fmt.Errorf("panic: %v", v)
				}
			}()
			returned <- db.Scan(ctx, "ada", func(tx *Tx) { tx.Queue(Statement{sql}, read) }, func() { ended <- struct{}{} })
		}()
		return ended, returned
	}
	var titles []string
	for name, c := range map[string]struct {
		sql  string
		read func(Rows) error
		want string
	}{
		"answered": {ownTasksSQL, texts(&titles), "<nil>"},
		"failed":   {"select 1 / 0 from task where user_id = $1", nil, "division by zero"},
		"panicked": {ownTasksSQL, func(Rows) error { panic("a bug") }, "panic: a bug"},
	} {
		ended, returned := scan(t.Context(), c.sql, c.read)
		if err := <-returned; !strings.Contains(fmt.Sprint(err), c.want) || len(ended) != 1 {
			t.Errorf("%s: %v, ended %d times", name, err, len(ended))
		}
	}
	closed, cancel := context.WithCancel(t.Context())
	cancel()
	if ended, returned := scan(closed, ownTasksSQL, nil); <-returned == nil || len(ended) != 1 {
		t.Errorf("canceled before it was sent: ended %d times", len(ended))
	}

	execute(t, conn, "begin; lock table task in access exclusive mode", pgx.QueryExecModeSimpleProtocol)
	for range 10 {
		canceled, cancel := context.WithCancel(t.Context())
		late := endless{t.Context(), make(chan struct{})}
		for want, c := range map[error]struct {
			ctx context.Context
			end func()
		}{context.Canceled: {canceled, cancel}, context.DeadlineExceeded: {late, func() { close(late.passed) }}} {
			ended, returned := scan(c.ctx, ownTasksSQL, nil)
			until(t, func() bool { return value[int](t, conn, waitingSQL) == 1 })
			c.end()
			<-ended
			if n := value[int](t, conn, waitingSQL); n != 0 {
				t.Errorf("%v: it ended, and %d statements still run", want, n)
			}
			if err := <-returned; !errors.Is(err, want) && !errors.Is(err, ErrUnavailable) {
				t.Errorf("error %v, want %v", err, want)
			}
			if len(ended) != 0 {
				t.Errorf("%v: it ended twice", want)
			}
		}
	}
}

// Neon's connection strings have this form.
func TestAnAddressThatRequiresTLSAndChannelBinding(t *testing.T) {
	t.Parallel()
	plain := dbtest.Server(t).URL("postgres")
	authority := serveTLS(t, plain)
	with := func(parameters string) string { return strings.Replace(plain, "sslmode=disable", parameters, 1) }

	// The server loads its certificate a moment after the reload was requested.
	until(t, func() bool {
		db := open(t, Config{URL: with("sslmode=require")})
		defer db.Close()
		return db.Ping(t.Context()) == nil
	})
	for _, parameters := range []string{
		"sslmode=require&channel_binding=require",
		"sslmode=verify-full&channel_binding=require&sslrootcert=" + authority,
		"channel_binding=require&sslmode=verify-ca&sslrootcert=" + authority,
	} {
		db := open(t, Config{URL: with(parameters)})
		var encrypted bool
		const sql = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
		if err := db.pool.QueryRow(t.Context(), sql).Scan(&encrypted); err != nil || !encrypted {
			t.Errorf("%s: encrypted %t, %v", parameters, encrypted, err)
		}
	}
	for _, parameters := range []string{
		"sslmode=disable&channel_binding=require",      // nothing to bind to
		"sslmode=verify-full&channel_binding=require",  // the system does not trust the authority
		"sslmode=verify-full&sslrootcert=/nonexistent", // refused by Open
	} {
		db, err := Open(t.Context(), Config{URL: with(parameters)})
		if err == nil {
			err = db.Ping(t.Context())
			db.Close()
		}
		if err == nil {
			t.Errorf("%s: connected", parameters)
		}
	}
}

// serveTLS makes a server use TLS with a new self-signed certificate, and returns the file of that certificate.
func serveTLS(t *testing.T, address string) string {
	t.Helper()
	conn := connect(t, address)
	data := value[string](t, conn, "show data_directory")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "docket test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, typ string, content []byte) string {
		t.Helper()
		path := filepath.Join(data, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: content}), 0o600); err != nil {
			t.Fatal(err)
		}
		if os.Geteuid() == 0 { // the server then runs as another user
			if err := os.Chown(path, 65534, 65534); err != nil {
				t.Fatal(err)
			}
		}
		return path
	}
	write("server.key", "PRIVATE KEY", secret)
	authority := write("server.crt", "CERTIFICATE", certificate)
	execute(t, conn, "alter system set ssl = on")
	execute(t, conn, "select pg_reload_conf()")
	return authority
}
