package store_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"docket/internal/dbtest"
	"docket/internal/store"
)

// The form in which Neon gives out its addresses.
func TestAnAddressThatRequiresTLSAndChannelBindingWorks(t *testing.T) {
	t.Parallel()
	plain := dbtest.Server(t).URL("postgres")
	authority := certify(t, plain)
	with := func(parameters string) string { return strings.Replace(plain, "sslmode=disable", parameters, 1) }

	// The server takes its certificate up a moment after it is told to.
	for start := time.Now(); ; {
		s := open(t, store.Config{URL: with("sslmode=require")})
		err := s.Ping(t.Context())
		s.Close()
		if err == nil {
			break
		}
		if time.Since(start) > 30*time.Second {
			t.Fatal(err)
		}
	}
	for _, parameters := range []string{
		"sslmode=require&channel_binding=require",
		"sslmode=verify-full&channel_binding=require&sslrootcert=" + authority,
		"channel_binding=require&sslmode=verify-ca&sslrootcert=" + authority,
	} {
		s := open(t, store.Config{URL: with(parameters)})
		var encrypted bool
		const sql = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
		if err := s.Pool().QueryRow(t.Context(), sql).Scan(&encrypted); err != nil || !encrypted {
			t.Errorf("%s: encrypted %t, %v", parameters, encrypted, err)
		}
	}
	for _, parameters := range []string{
		"sslmode=disable&channel_binding=require",      // nothing to bind to
		"sslmode=verify-full&channel_binding=require",  // an authority that the system does not know
		"sslmode=verify-full&sslrootcert=/nonexistent", // refused by Open
	} {
		s, err := store.Open(t.Context(), store.Config{URL: with(parameters)})
		if err == nil {
			err = s.Ping(t.Context())
			s.Close()
		}
		if err == nil {
			t.Errorf("%s: connected", parameters)
		}
	}
	// On this server nothing was migrated: not even the role is there.
	if _, err := open(t, store.Config{URL: plain}).Check(t.Context()); !errors.Is(err, store.ErrNoSchema) {
		t.Errorf("Check of a new server: %v, want ErrNoSchema", err)
	}
}

// certify has a server serve TLS with a certificate of our own making, and returns the file of its authority.
func certify(t *testing.T, address string) string {
	t.Helper()
	conn := direct(t, address)
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
		if os.Geteuid() == 0 { // the server is somebody else then
			if err := os.Chown(path, 65534, 65534); err != nil {
				t.Fatal(err)
			}
		}
		return path
	}
	write("server.key", "PRIVATE KEY", secret)
	authority := write("server.crt", "CERTIFICATE", certificate)
	exec(t, conn, "alter system set ssl = on")
	exec(t, conn, "select pg_reload_conf()")
	return authority
}
