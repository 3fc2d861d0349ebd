package devauth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"docket/internal/devauth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTokenHasTheClaimsOfBetterAuth(t *testing.T) {
	t.Parallel()
	i := start(t, devauth.Options{})
	header, claims := decode(t, i, i.Token("ada"))
	if header["alg"] != "EdDSA" || header["kid"] != i.JWK()["kid"] || len(header) != 2 {
		t.Errorf("the header is %v", header)
	}
	want := []string{"aud", "createdAt", "email", "emailVerified", "exp", "iat", "id", "image", "iss", "name", "sub", "updatedAt"}
	if got := slices.Sorted(maps.Keys(claims)); !slices.Equal(got, want) {
		t.Errorf("the claims are %v, want %v", got, want)
	}
	if claims["sub"] != "ada" || claims["id"] != "ada" || claims["iss"] != i.URL || claims["aud"] != i.URL {
		t.Errorf("the claims are %v", claims)
	}
	if life := claims["exp"].(float64) - claims["iat"].(float64); life != 15*60 {
		t.Errorf("the token lives for %v seconds", life)
	}
}

func TestTokenChangesClaims(t *testing.T) {
	t.Parallel()
	i := start(t, devauth.Options{Lifetime: time.Hour})
	_, claims := decode(t, i, i.Token("ada", devauth.Object{"aud": "another", "email": nil}, devauth.Object{"extra": 1}))
	if _, there := claims["email"]; there || claims["aud"] != "another" || claims["extra"] != 1. {
		t.Errorf("the claims are %v", claims)
	}
	if life := claims["exp"].(float64) - claims["iat"].(float64); life != 60*60 {
		t.Errorf("the token lives for %v seconds", life)
	}
}

func TestTokenEndpointSignsForTheOwner(t *testing.T) {
	t.Parallel()
	i := start(t, devauth.Options{Owner: "ada"})
	status, body := get(t, i.URL+devauth.TokenPath)
	var answer struct{ Token string }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK {
		t.Fatalf("status %d, %v: %s", status, err, body)
	}
	if _, claims := decode(t, i, answer.Token); claims["sub"] != "ada" {
		t.Errorf("the claims are %v", claims)
	}
	if status, _ := get(t, start(t, devauth.Options{}).URL+devauth.TokenPath); status != http.StatusUnauthorized {
		t.Errorf("without an owner the status is %d, want 401", status)
	}
}

func TestPublishReplacesTheKeySet(t *testing.T) {
	t.Parallel()
	i := start(t, devauth.Options{})
	i.Publish()
	if _, body := get(t, i.KeysURL()); body != `{"keys":[]}` {
		t.Errorf("the key set is %s", body)
	}
	i.Publish(devauth.Object{"kid": "other"}, i.JWK())
	if _, body := get(t, i.KeysURL()); !strings.HasPrefix(body, `{"keys":[{"kid":"other"},{`) {
		t.Errorf("the key set is %s", body)
	}
	i.AnswerKeys(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	if status, _ := get(t, i.KeysURL()); status != http.StatusTeapot {
		t.Errorf("the status is %d", status)
	}
	if n := i.Fetches(); n != 3 {
		t.Errorf("%d fetches, want 3", n)
	}
}

// A library that reads JWKs must find the same key.
func TestJWKIsThePublicKey(t *testing.T) {
	t.Parallel()
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	check(t, err)
	keys := map[string]crypto.Signer{"EdDSA": ed, "RS256": rs, "": rs}
	for alg, curve := range map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()} {
		keys[alg], err = ecdsa.GenerateKey(curve, rand.Reader)
		check(t, err)
	}
	for alg, key := range keys {
		text := devauth.JWK("id", alg, key).JSON()
		jwk, err := jwkset.NewJWKFromRawJSON(json.RawMessage(text), jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
		check(t, err)
		public := key.Public().(interface{ Equal(crypto.PublicKey) bool })
		if !public.Equal(jwk.Key()) || jwk.Marshal().KID != "id" || string(jwk.Marshal().ALG) != alg {
			t.Errorf("%q is read from %s as %v", alg, text, jwk.Marshal())
		}
	}
}

func start(t *testing.T, o devauth.Options) *devauth.Issuer {
	t.Helper()
	i, err := devauth.Start(o)
	check(t, err)
	t.Cleanup(i.Close)
	return i
}

// decode verifies a token with the published key and returns its header and claims.
func decode(t *testing.T, i *devauth.Issuer, token string) (header, claims map[string]any) {
	t.Helper()
	_, body := get(t, i.KeysURL())
	var set struct{ Keys []struct{ X string } }
	check(t, json.Unmarshal([]byte(body), &set))
	key, err := base64.RawURLEncoding.DecodeString(set.Keys[0].X)
	check(t, err)
	parsed, err := jwt.Parse(token, func(*jwt.Token) (any, error) { return ed25519.PublicKey(key), nil }, jwt.WithoutClaimsValidation())
	check(t, err)
	return parsed.Header, parsed.Claims.(jwt.MapClaims)
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	response, err := http.Get(url)
	check(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	check(t, err)
	return response.StatusCode, string(text)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
