package auth_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha512"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"docket/internal/auth"
)

type syncBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

func tokenWithKID(kid string) string {
	return signEdDSA(validHeader().With(object{"kid": kid}), validClaims())
}

func tokenOfNextKey() string {
	return sign(jwt.SigningMethodEdDSA, nextKey, `{"alg":"EdDSA","kid":"next"}`, validClaims().JSON())
}

func wantUnavailable(t testing.TB, v *auth.Verifier, token string) {
	t.Helper()
	if _, err := verify(t, v, token); !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("error %v, want ErrUnavailable", err)
	}
	if err := v.Ready(); !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("ready: error %v, want ErrUnavailable", err)
	}
}

// The host responds only after New and Verify have returned. The test would hang if they waited for it.
func TestNewAndVerifyDoNotWaitForASlowHost(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	h := newHost(t, func(w http.ResponseWriter, r *http.Request) {
		<-release
		serve(jwks(jwk("ed", "EdDSA", edKey)))(w, r)
	})
	v := newKeySetVerifier(t, h)
	wantUnavailable(t, v, tokenWithKID("ed"))
	// Tokens that can be refused without a key are refused.
	_, err := verify(t, v, "session")
	wantRefused(t, err, auth.CodeInvalid, "not a signed JWT")
	_, err = verify(t, v, sign(jwt.SigningMethodHS256, sharedSecret, `{"alg":"HS256","kid":"ed"}`, validClaims().JSON()))
	wantRefused(t, err, auth.CodeInvalid, "alg")
	close(release)
	waitForKeys(t, v)
	got, err := verify(t, v, tokenWithKID("ed"))
	wantOwner(t, got, err, owner)
}

var validJWKS = jwks(jwk("ed", "EdDSA", edKey))

var invalidResponses = map[string]http.HandlerFunc{
	"500":             respondStatus(500),
	"404":             respondStatus(404),
	"201":             respondStatus(201),
	"no response":     func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	"HTML":            serve("<!doctype html>"),
	"empty":           serve(""),
	"null":            serve("null"),
	"no keys":         serve("{}"),
	"null keys":       serve(`{"keys":null}`),
	"keys not a list": serve(`{"keys":{}}`),
	"trailing":        serve(validJWKS + "x"),
	"incomplete": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "9999")
		_, _ = w.Write([]byte(validJWKS))
	},
	"too large": serve(validJWKS + strings.Repeat(" ", 300<<10)),
	"too large when decompressed": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		zip := gzip.NewWriter(w)
		_, _ = zip.Write([]byte(validJWKS + strings.Repeat(" ", 300<<10)))
		_ = zip.Close()
	},
	"too large a header": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Large", strings.Repeat("x", 100<<10))
		serve(validJWKS)(w, r)
	},
	"redirect": func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "elsewhere" {
			serve(validJWKS)(w, r)
			return
		}
		http.Redirect(w, r, r.URL.Path+"?elsewhere", http.StatusFound)
	},
}

func TestKeysAreLoadedWhenTheHostRecovers(t *testing.T) {
	t.Parallel()
	responses := maps.Clone(invalidResponses)
	responses["no key"] = serve(`{"keys":[]}`)
	for name, response := range responses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, response)
			v := newKeySetVerifier(t, h)
			eventually(t, "there is a second fetch", func() bool { return h.Fetches() >= 2 })
			wantUnavailable(t, v, tokenWithKID("ed"))
			h.AnswerKeys(serve(validJWKS))
			waitForKeys(t, v)
			got, err := verify(t, v, tokenWithKID("ed"))
			wantOwner(t, got, err, owner)
		})
	}
}

func TestInvalidResponseKeepsTheKeys(t *testing.T) {
	t.Parallel()
	for name, response := range invalidResponses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, serve(validJWKS))
			v := newKeySetVerifier(t, h)
			waitForKeys(t, v)
			h.AnswerKeys(response)
			_, err := verify(t, v, tokenOfNextKey())
			wantRefused(t, err, auth.CodeInvalid, "unknown")
			eventually(t, "there is a retry", func() bool { return h.Fetches() >= 3 })
			got, err := verify(t, v, tokenWithKID("ed"))
			wantOwner(t, got, err, owner)
		})
	}
}

func TestUnknownKeyIsFetchedImmediately(t *testing.T) {
	t.Parallel()
	h := newHost(t, serve(jwks(jwk("ed", "EdDSA", edKey))))
	v := newKeySetVerifier(t, h)
	waitForKeys(t, v)
	h.AnswerKeys(serve(jwks(jwk("next", "EdDSA", nextKey), jwk("ed", "EdDSA", edKey))))
	// On a slow machine, the first request may time out before the fetch ends.
	eventually(t, "the new key is known", func() bool { _, err := verify(t, v, tokenOfNextKey()); return err == nil })
	got, err := verify(t, v, tokenWithKID("ed"))
	wantOwner(t, got, err, owner)
	if n := h.Fetches(); n != 2 {
		t.Errorf("%d fetches, want 2", n)
	}
}

func TestFetchContinuesAfterItsRequestHasTimedOut(t *testing.T) {
	t.Parallel()
	h := newHost(t, serve(jwks(jwk("ed", "EdDSA", edKey))))
	v := newKeySetVerifier(t, h)
	waitForKeys(t, v)
	release := make(chan struct{})
	h.AnswerKeys(func(w http.ResponseWriter, r *http.Request) {
		<-release
		serve(jwks(jwk("next", "EdDSA", nextKey)))(w, r)
	})
	_, err := verify(t, v, tokenOfNextKey())
	wantRefused(t, err, auth.CodeInvalid, "unknown")
	close(release)
	eventually(t, "the new key is known", func() bool { _, err := verify(t, v, tokenOfNextKey()); return err == nil })
	if n := h.Fetches(); n != 2 {
		t.Errorf("%d fetches, want 2", n)
	}
}

func TestInventedKeysNeitherOverloadTheHostNorBlockANewKey(t *testing.T) {
	t.Parallel()
	h := newHost(t, serve(jwks(jwk("ed", "EdDSA", edKey))))
	v := newKeySetVerifier(t, h)
	waitForKeys(t, v)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	begin := time.Now()
	var flood sync.WaitGroup
	for worker := range 4 {
		flood.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				_, err := verify(t, v, tokenWithKID(fmt.Sprintf("invented-%d-%d", worker, i)))
				if refused, ok := errors.AsType[*auth.TokenError](err); !ok || refused.Code != auth.CodeInvalid {
					t.Errorf("invented key: %v", err)
					return
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	eventually(t, "an invented key has caused a fetch", func() bool { return h.Fetches() >= 2 })
	h.AnswerKeys(serve(jwks(jwk("next", "EdDSA", nextKey), jwk("ed", "EdDSA", edKey))))
	eventually(t, "the new key is known", func() bool { _, err := verify(t, v, tokenOfNextKey()); return err == nil })
	stop()
	flood.Wait()
	if n, limit := h.Fetches(), 2+int(time.Since(begin)/(5*time.Second)); n > limit {
		t.Errorf("%d fetches in %v, want at most %d", n, time.Since(begin), limit)
	}
}

// Everything else is checked before an unknown key is fetched.
func TestRefusedTokensCauseNoFetch(t *testing.T) {
	t.Parallel()
	h := newHost(t, serve(jwks(jwk("ed", "EdDSA", edKey))))
	v := newKeySetVerifier(t, h)
	waitForKeys(t, v)
	claims := validClaims().JSON()
	for _, token := range []string{
		"session",
		tokenWithKID(""),
		sign(jwt.SigningMethodHS256, sharedSecret, `{"alg":"HS256","kid":"other"}`, claims),
		sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, `{"alg":"none","kid":"other"}`, claims),
		sign(jwt.SigningMethodRS512, rsaKey, `{"alg":"RS512","kid":"other"}`, claims),
		sign(jwt.SigningMethodEdDSA, edKey, `{"alg":"EdDSA","kid":"other","typ":"at+jwt"}`, claims),
		sign(jwt.SigningMethodEdDSA, edKey, `{"alg":"EdDSA","kid":"other","crit":["x"]}`, claims),
		sign(jwt.SigningMethodEdDSA, edKey, `{"alg":"EdDSA","kid":"other"}`, `[]`),
		sign(jwt.SigningMethodEdDSA, edKey, `{"alg":"ES256","kid":"ed"}`, claims),
		sign(jwt.SigningMethodEdDSA, nextKey, `{"alg":"EdDSA","kid":"ed"}`, claims),
	} {
		_, err := verify(t, v, token)
		wantRefused(t, err, auth.CodeInvalid, "")
	}
	if n := h.Fetches(); n != 1 {
		t.Errorf("%d fetches, want 1", n)
	}
}

func TestTokensOfWithdrawnKeysAreRefused(t *testing.T) {
	t.Parallel()
	h := newHost(t, serve(jwks(jwk("ed", "EdDSA", edKey), jwk("next", "EdDSA", nextKey))))
	v := newVerifier(t, func(c *auth.Config) {
		c.JWKSURL = h.KeysURL()
		c.KeepKeys(time.Nanosecond)
	})
	waitForKeys(t, v)
	cached := tokenOfNextKey()
	got, err := verify(t, v, cached)
	wantOwner(t, got, err, owner)
	refresh := func() { _, _ = verify(t, v, tokenWithKID("invented")) }

	h.AnswerKeys(serve(jwks(jwk("ed", "EdDSA", edKey))))
	eventually(t, "one key is withdrawn", func() bool { refresh(); _, err := verify(t, v, cached); return err != nil })
	_, err = verify(t, v, cached)
	wantRefused(t, err, auth.CodeInvalid, "unknown")
	got, err = verify(t, v, tokenWithKID("ed"))
	wantOwner(t, got, err, owner)

	h.AnswerKeys(serve(`{"keys":[]}`))
	eventually(t, "all keys are withdrawn", func() bool { refresh(); return v.Ready() != nil })
	wantUnavailable(t, v, tokenWithKID("ed"))
	h.AnswerKeys(serve(jwks(jwk("next", "EdDSA", nextKey))))
	eventually(t, "a new key is loaded", func() bool { return v.Ready() == nil })
	got, err = verify(t, v, tokenOfNextKey())
	wantOwner(t, got, err, owner)
}

// fault D8
func TestAKeySetWithoutUsableKeysKeepsTheLastOnesForATime(t *testing.T) {
	t.Parallel()
	for name, response := range map[string]http.HandlerFunc{
		"empty":         serve(`{"keys":[]}`),
		"malformed":     serve(`{"keys":[{},null,7]}`),
		"weak RSA":      serve(jwks(jwk("ed", "RS256", weakKey))),
		"private":       serve(jwks(jwk("ed", "EdDSA", edKey).With(object{"d": b64(edKey[:32])}))),
		"symmetric":     serve(jwks(object{"kty": "oct", "kid": "ed", "k": b64(sharedSecret)})),
		"without a kid": serve(jwks(jwk("", "EdDSA", edKey))),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, serve(validJWKS))
			v := newKeySetVerifier(t, h)
			waitForKeys(t, v)
			h.AnswerKeys(response)
			_, err := verify(t, v, tokenOfNextKey()) // causes a fetch
			wantRefused(t, err, auth.CodeInvalid, "unknown")
			eventually(t, "there is a retry", func() bool { return h.Fetches() >= 4 })
			if err := v.Ready(); err != nil {
				t.Errorf("not ready: %v", err)
			}
			got, err := verify(t, v, tokenWithKID("ed"))
			wantOwner(t, got, err, owner)

			h.AnswerKeys(serve(jwks(jwk("next", "EdDSA", nextKey))))
			eventually(t, "the new key is loaded", func() bool { _, err := verify(t, v, tokenOfNextKey()); return err == nil })
			_, err = verify(t, v, tokenWithKID("ed"))
			wantRefused(t, err, auth.CodeInvalid, "unknown")
		})
	}
}

func TestUnusableKeysDoNotAffectUsableOnes(t *testing.T) {
	t.Parallel()
	ed := func(changes object) object { return jwk("unusable", "EdDSA", edKey).With(changes) }
	type signature struct {
		method jwt.SigningMethod
		key    any
	}
	eddsa := signature{jwt.SigningMethodEdDSA, edKey}
	for name, test := range map[string]struct {
		key string
		signature
	}{
		"oct":                  {object{"kty": "oct", "kid": "unusable", "k": b64(sharedSecret)}.JSON(), signature{jwt.SigningMethodHS256, sharedSecret}},
		"oct as EdDSA":         {object{"kty": "oct", "kid": "unusable", "alg": "EdDSA", "k": b64(edKey[32:])}.JSON(), eddsa},
		"weak RSA":             {jwk("unusable", "RS256", weakKey).JSON(), signature{jwt.SigningMethodRS256, weakKey}},
		"weak RSA for PSS":     {jwk("unusable", "PS256", weakKey).JSON(), signature{jwt.SigningMethodPS256, weakKey}},
		"RS256 token, PS256":   {jwk("unusable", "PS256", rsaKey).JSON(), signature{jwt.SigningMethodRS256, rsaKey}},
		"PS256 token, RS256":   {jwk("unusable", "RS256", rsaKey).JSON(), signature{jwt.SigningMethodPS256, rsaKey}},
		"RS512":                {jwk("unusable", "RS512", rsaKey).JSON(), signature{jwt.SigningMethodRS512, rsaKey}},
		"P-384":                {jwk("unusable", "ES384", p384Key).JSON(), signature{jwt.SigningMethodES384, p384Key}},
		"P-384 as ES256":       {jwk("unusable", "ES256", p384Key).JSON(), eddsa},
		"P-521, ES256 token":   {jwk("unusable", "", p521Key).JSON(), eddsa},
		"alg of another type":  {ed(object{"alg": "RS256"}).JSON(), eddsa},
		"alg HS256":            {ed(object{"alg": "HS256"}).JSON(), eddsa},
		"alg number":           {ed(object{"alg": 1}).JSON(), eddsa},
		"for encryption":       {ed(object{"use": "enc"}).JSON(), eddsa},
		"for unknown use":      {ed(object{"use": "fun"}).JSON(), eddsa},
		"for signing only":     {ed(object{"key_ops": []string{"sign"}}).JSON(), eddsa},
		"private":              {ed(object{"d": b64(edKey[:32])}).JSON(), eddsa},
		"curve X25519":         {ed(object{"crv": "X25519"}).JSON(), eddsa},
		"curve Ed448":          {ed(object{"crv": "Ed448"}).JSON(), eddsa},
		"curve missing":        {ed(object{"crv": nil}).JSON(), eddsa},
		"x short":              {ed(object{"x": "AAAA"}).JSON(), eddsa},
		"x not base64":         {ed(object{"x": "***"}).JSON(), eddsa},
		"x missing":            {ed(object{"x": nil}).JSON(), eddsa},
		"x number":             {ed(object{"x": 5}).JSON(), eddsa},
		"kty missing":          {ed(object{"kty": nil}).JSON(), eddsa},
		"point off the curve":  {jwk("unusable", "ES256", p256Key).With(object{"y": b64(make([]byte, 32))}).JSON(), signature{jwt.SigningMethodES256, p256Key}},
		"RSA exponent 1":       {jwk("unusable", "RS256", rsaKey).With(object{"e": "AQ"}).JSON(), signature{jwt.SigningMethodRS256, rsaKey}},
		"RSA exponent of 2^64": {jwk("unusable", "RS256", rsaKey).With(object{"e": b64(append([]byte{1}, make([]byte, 5)...)) + "EAAQ"}).JSON(), signature{jwt.SigningMethodRS256, rsaKey}},
		"kid missing":          {ed(object{"kid": nil}).JSON(), eddsa},
		"kid number":           {ed(object{"kid": 1}).JSON(), eddsa},
		"null":                 {`null`, eddsa},
		"text":                 {`"key"`, eddsa},
		"number":               {`1e999`, eddsa},
		"list":                 {`[]`, eddsa},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newKeySetVerifier(t, newHost(t, serve(`{"keys":[`+test.key+`,`+jwk("ed", "EdDSA", edKey).JSON()+`]}`)))
			waitForKeys(t, v)
			got, err := verify(t, v, tokenWithKID("ed"))
			wantOwner(t, got, err, owner)
			for _, kid := range []string{"unusable", "1"} {
				_, err = verify(t, v, sign(test.method, test.signature.key, object{"alg": test.method.Alg(), "kid": kid}.JSON(), validClaims().JSON()))
				wantRefused(t, err, auth.CodeInvalid, "")
			}
		})
	}
}

func TestKeyVerifiesOnlyAlgorithmsOfItsType(t *testing.T) {
	t.Parallel()
	signers := map[string]any{"ed": edKey, "256": p256Key, "521": p521Key, "rsa": rsaKey}
	v := newLoadedVerifier(t, jwk("ed", "", edKey), jwk("256", "", p256Key), jwk("521", "", p521Key), jwk("rsa", "", rsaKey))
	algorithms := map[string]string{"EdDSA": "ed", "ES256": "256", "ES512": "521", "RS256": "rsa", "PS256": "rsa"}
	for alg, kid := range algorithms {
		token := sign(jwt.GetSigningMethod(alg), signers[kid], object{"alg": alg, "kid": kid}.JSON(), validClaims().JSON())
		got, err := verify(t, v, token)
		wantOwner(t, got, err, owner)
		for other := range signers {
			if other != kid {
				_, err := verify(t, v, sign(jwt.GetSigningMethod(alg), signers[kid], object{"alg": alg, "kid": other}.JSON(), validClaims().JSON()))
				wantRefused(t, err, auth.CodeInvalid, "alg")
			}
		}
	}
}

func TestVerifierWithUnusableKeysOnlyIsNotReady(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]object{
		"oct":      {"kty": "oct", "kid": "ed", "k": b64(sharedSecret)},
		"weak RSA": jwk("ed", "RS256", weakKey),
		"alg":      jwk("ed", "RS256", edKey),
		"P-384":    jwk("ed", "ES384", p384Key),
		"no kid":   jwk("", "EdDSA", edKey),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, serve(jwks(key)))
			v := newKeySetVerifier(t, h)
			eventually(t, "there is a second fetch", func() bool { return h.Fetches() >= 2 })
			wantUnavailable(t, v, tokenWithKID("ed"))
		})
	}
}

// golang-jwt does not compare the curve of a key with the algorithm.
func TestKeyVerifiesOnlyTheAlgorithmOfItsCurve(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"", "ES256"} {
		v := newLoadedVerifier(t, jwk("256", alg, p256Key))
		text := b64([]byte(`{"alg":"ES512","kid":"256"}`)) + "." + b64([]byte(validClaims().JSON()))
		digest := sha512.Sum512([]byte(text))
		r, s, err := ecdsa.Sign(rand.Reader, p256Key, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		signature := make([]byte, 2*66)
		r.FillBytes(signature[:66])
		s.FillBytes(signature[66:])
		_, err = verify(t, v, text+"."+b64(signature))
		wantRefused(t, err, auth.CodeInvalid, "alg")
	}
}

func TestRefreshesEndWithTheContext(t *testing.T) {
	t.Parallel()
	h := newHost(t, respondStatus(500))
	ctx, cancel := context.WithCancel(t.Context())
	v, err := auth.New(ctx, auth.Config{JWKSURL: h.KeysURL(), Issuer: issuer, Audience: audience})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "there is a fetch", func() bool { return h.Fetches() > 0 })
	cancel()
	wantUnavailable(t, v, tokenWithKID("ed"))
	// goleak reports in TestMain if a refresh is still running.
}
