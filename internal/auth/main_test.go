package auth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"net/http"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"docket/internal/auth"
	"docket/internal/devauth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	issuer   = "https://app.example"
	audience = issuer                             // as in tokens of Better Auth
	owner    = "aB3dE5gH7jK9mN1pQ2rS4tU6vW8xY0zZ" // in the format of Better Auth
)

// Generating keys takes time, so all tests share them. The Ed25519 keys are constant because fuzzing runs several
// processes.
var (
	edKey        = ed25519.NewKeyFromSeed([]byte("a seed of thirty-two characters."))
	nextKey      = ed25519.NewKeyFromSeed([]byte("another seed of thirty-two chars"))
	p256Key      = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	p384Key      = must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	p521Key      = must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))
	rsaKey       = must(rsa.GenerateKey(rand.Reader, 2048))
	weakKey      = must(rsa.GenerateKey(rand.Reader, 1024))
	sharedSecret = []byte("0123456789abcdef0123456789abcdef")
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Short names for functions that most tests use.
var (
	jwk   = devauth.JWK
	jwks  = devauth.KeySet
	sign  = devauth.Sign
	serve = devauth.JSON
)

type object = devauth.Object

func b64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

// newHost starts a JWKS host that responds with handler. Its method AnswerKeys changes the handler.
func newHost(t testing.TB, handler http.HandlerFunc) *devauth.Issuer {
	t.Helper()
	h := must(devauth.Start(devauth.Options{}))
	t.Cleanup(h.Close)
	h.AnswerKeys(handler)
	return h
}

func respondStatus(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, `{"keys":[]}`, code) }
}

// newVerifier returns a verifier of tokens for issuer and audience, with the configuration that change completes.
func newVerifier(t testing.TB, change func(*auth.Config)) *auth.Verifier {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	config := auth.Config{Issuer: issuer, Audience: audience}
	change(&config)
	v, err := auth.New(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func newSecretVerifier(t testing.TB) *auth.Verifier {
	return newVerifier(t, func(c *auth.Config) { c.Secret = sharedSecret })
}

func newKeySetVerifier(t testing.TB, h *devauth.Issuer) *auth.Verifier {
	return newVerifier(t, func(c *auth.Config) { c.JWKSURL = h.KeysURL() })
}

// newLoadedVerifier returns a verifier that has loaded these keys.
func newLoadedVerifier(t testing.TB, keys ...object) *auth.Verifier {
	t.Helper()
	v := newKeySetVerifier(t, newHost(t, serve(jwks(keys...))))
	waitForKeys(t, v)
	return v
}

func waitForKeys(t testing.TB, v *auth.Verifier) {
	t.Helper()
	eventually(t, "keys are loaded", func() bool { return v.Ready() == nil })
}

// eventually waits until a condition holds. The deadline only ends a test that hangs.
func eventually(t testing.TB, condition string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting until %s", condition)
		}
	}
}

// validHeader returns the header of a token of Better Auth.
func validHeader() object { return object{"alg": "EdDSA", "kid": "ed"} }

// validClaims returns the claims of a token of Better Auth.
func validClaims() object { return devauth.Claims(issuer, owner, 15*time.Minute) }

func signEdDSA(header, claims object) string {
	return sign(jwt.SigningMethodEdDSA, edKey, header.JSON(), claims.JSON())
}

func signHS256(claims object) string {
	return sign(jwt.SigningMethodHS256, sharedSecret, `{"alg":"HS256"}`, claims.JSON())
}

func verify(t testing.TB, v *auth.Verifier, token string) (auth.Identity, error) {
	return v.Verify(t.Context(), []string{"Bearer " + token})
}
