package auth_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"docket/internal/auth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	issuer   = "https://app.example"
	audience = "https://app.example"
	owner    = "aB3dE5gH7jK9mN1pQ2rS4tU6vW8xY0zZ" // as Better Auth makes them
)

// Real keys, made once: RSA ones take their time. Those used for fuzzing are the
// same in each of its processes.
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

func b64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

// object is a JSON object.
type object map[string]any

// with returns o with other members; nil takes one away.
func (o object) with(changes object) object {
	changed := object{}
	for _, from := range []object{o, changes} {
		for name, value := range from {
			if value == nil {
				delete(changed, name)
			} else {
				changed[name] = value
			}
		}
	}
	return changed
}

func (o object) json() string { return string(must(json.Marshal(o))) }

// jwk writes a public key as RFC 7517 and 7518 say, without help from the
// library that will read it.
func jwk(kid, alg string, private crypto.Signer) object {
	key := object{"kid": kid}
	if alg != "" {
		key["alg"] = alg
	}
	switch public := private.Public().(type) {
	case ed25519.PublicKey:
		return key.with(object{"kty": "OKP", "crv": "Ed25519", "x": b64(public)})
	case *ecdsa.PublicKey:
		point := must(public.Bytes())[1:]
		half := len(point) / 2
		return key.with(object{"kty": "EC", "crv": public.Params().Name, "x": b64(point[:half]), "y": b64(point[half:])})
	case *rsa.PublicKey:
		return key.with(object{"kty": "RSA", "n": b64(public.N.Bytes()), "e": b64(big.NewInt(int64(public.E)).Bytes())})
	}
	panic("no such key")
}

func jwks(keys ...object) string { return string(must(json.Marshal(map[string]any{"keys": keys}))) }

// host is a JWKS host whose answer can be changed.
type host struct {
	*httptest.Server
	answer  atomic.Pointer[http.HandlerFunc]
	fetches atomic.Int64
}

func newHost(t testing.TB, answer http.HandlerFunc) *host {
	h := new(host)
	h.answer.Store(&answer)
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.fetches.Add(1)
		(*h.answer.Load())(w, r)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *host) now(answer http.HandlerFunc) { h.answer.Store(&answer) }

func serve(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, `{"keys":[]}`, code) }
}

// newVerifier returns a verifier of tokens for issuer and audience.
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

func withSecret(t testing.TB) *auth.Verifier {
	return newVerifier(t, func(c *auth.Config) { c.Secret = sharedSecret })
}

func withHost(t testing.TB, h *host) *auth.Verifier {
	return newVerifier(t, func(c *auth.Config) { c.JWKSURL = h.URL })
}

// withKeys returns a verifier that has loaded keys.
func withKeys(t testing.TB, keys ...object) *auth.Verifier {
	t.Helper()
	v := withHost(t, newHost(t, serve(jwks(keys...))))
	eventually(t, "keys are loaded", func() bool { return v.Ready() == nil })
	return v
}

// eventually waits for what happens in the background. The deadline is only
// there to end a test that would never end.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// goodHeader and goodClaims are those of a token of Better Auth.
func goodHeader() object { return object{"alg": "EdDSA", "kid": "ed"} }

func goodClaims() object {
	now := time.Now().Unix()
	return object{
		"id": owner, "name": "Ada", "email": "ada@app.example", "emailVerified": true,
		"createdAt": "2026-01-02T03:04:05.678Z", "updatedAt": "2026-01-02T03:04:05.678Z",
		"sub": owner, "iss": issuer, "aud": audience, "iat": now, "exp": now + 900,
	}
}

// sign returns the token of that header and those claims, whatever they say.
func sign(method jwt.SigningMethod, key any, header, claims string) string {
	text := b64([]byte(header)) + "." + b64([]byte(claims))
	return text + "." + b64(must(method.Sign(text, key)))
}

func signEd(header, claims object) string {
	return sign(jwt.SigningMethodEdDSA, edKey, header.json(), claims.json())
}

func signShared(claims object) string {
	return sign(jwt.SigningMethodHS256, sharedSecret, `{"alg":"HS256"}`, claims.json())
}

func verify(t testing.TB, v *auth.Verifier, token string) (auth.Identity, error) {
	return v.Verify(t.Context(), []string{"Bearer " + token})
}
