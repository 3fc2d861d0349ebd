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

func edToken(kid string) string { return signEd(goodHeader().with(object{"kid": kid}), goodClaims()) }

func nextToken() string {
	return sign(jwt.SigningMethodEdDSA, nextKey, `{"alg":"EdDSA","kid":"next"}`, goodClaims().json())
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

// Nothing here is measured: if New or Verify waited for the host, the test
// would never end, since the host waits for them.
func TestSlowHostHoldsUpNobody(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	h := newHost(t, func(w http.ResponseWriter, r *http.Request) {
		<-release
		serve(jwks(jwk("ed", "EdDSA", edKey)))(w, r)
	})
	v := withHost(t, h)
	wantUnavailable(t, v, edToken("ed"))
	// What needs no key to be refused is refused.
	_, err := verify(t, v, "session")
	wantRefused(t, err, auth.CodeInvalid, "not a signed JWT")
	_, err = verify(t, v, sign(jwt.SigningMethodHS256, sharedSecret, `{"alg":"HS256","kid":"ed"}`, goodClaims().json()))
	wantRefused(t, err, auth.CodeInvalid, "alg")
	close(release)
	eventually(t, "keys are loaded", func() bool { return v.Ready() == nil })
	got, err := verify(t, v, edToken("ed"))
	wantOwner(t, got, err, owner)
}

// goodKeys is what the host should answer with; brokenAnswers are no key sets.
var goodKeys = jwks(jwk("ed", "EdDSA", edKey))

var brokenAnswers = map[string]http.HandlerFunc{
	"500":          status(500),
	"404":          status(404),
	"201":          status(201),
	"no answer":    func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	"HTML":         serve("<!doctype html>"),
	"empty":        serve(""),
	"null":         serve("null"),
	"no keys":      serve("{}"),
	"null keys":    serve(`{"keys":null}`),
	"keys no list": serve(`{"keys":{}}`),
	"trailing":     serve(goodKeys + "x"),
	"cut": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "9999")
		_, _ = w.Write([]byte(goodKeys))
	},
	"huge": serve(goodKeys + strings.Repeat(" ", 300<<10)),
	"huge zipped": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		zip := gzip.NewWriter(w)
		_, _ = zip.Write([]byte(goodKeys + strings.Repeat(" ", 300<<10)))
		_ = zip.Close()
	},
	"huge header": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Huge", strings.Repeat("x", 100<<10))
		serve(goodKeys)(w, r)
	},
	"redirect": func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			serve(goodKeys)(w, r)
			return
		}
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	},
}

func TestHostThatRecovers(t *testing.T) {
	t.Parallel()
	answers := maps.Clone(brokenAnswers)
	answers["no key"] = serve(`{"keys":[]}`)
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, answer)
			v := withHost(t, h)
			eventually(t, "a second fetch", func() bool { return h.fetches.Load() >= 2 })
			wantUnavailable(t, v, edToken("ed"))
			h.now(serve(goodKeys))
			eventually(t, "keys are loaded", func() bool { return v.Ready() == nil })
			got, err := verify(t, v, edToken("ed"))
			wantOwner(t, got, err, owner)
		})
	}
}

func TestBrokenAnswerKeepsTheKeys(t *testing.T) {
	t.Parallel()
	for name, answer := range brokenAnswers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, serve(goodKeys))
			v := withHost(t, h)
			eventually(t, "keys are loaded", func() bool { return v.Ready() == nil })
			h.now(answer)
			_, err := verify(t, v, nextToken())
			wantRefused(t, err, auth.CodeInvalid, "unknown")
			eventually(t, "it was tried again", func() bool { return h.fetches.Load() >= 3 })
			got, err := verify(t, v, edToken("ed"))
			wantOwner(t, got, err, owner)
		})
	}
}

func TestRotatedKeyIsFetchedWhenFirstSeen(t *testing.T) {
	t.Parallel()
	h := newHost(t, serve(jwks(jwk("ed", "EdDSA", edKey))))
	v := withHost(t, h)
	eventually(t, "keys are loaded", func() bool { return v.Ready() == nil })
	h.now(serve(jwks(jwk("next", "EdDSA", nextKey), jwk("ed", "EdDSA", edKey))))
	// The first request may give up waiting on a slow machine, not the fetch.
	eventually(t, "the new key is known", func() bool { _, err := verify(t, v, nextToken()); return err == nil })
	got, err := verify(t, v, edToken("ed"))
	wantOwner(t, got, err, owner)
	if n := h.fetches.Load(); n != 2 {
		t.Errorf("%d fetches, want 2", n)
	}
}

// A fetch goes on when the request that asked for it does not wait any longer.
func TestSlowFetchOfRotatedKeySucceeds(t *testing.T) {
	t.Parallel()
	h := newHost(t, serve(jwks(jwk("ed", "EdDSA", edKey))))
	v := withHost(t, h)
	eventually(t, "keys are loaded", func() bool { return v.Ready() == nil })
	release := make(chan struct{})
	h.now(func(w http.ResponseWriter, r *http.Request) {
		<-release
		serve(jwks(jwk("next", "EdDSA", nextKey)))(w, r)
	})
	_, err := verify(t, v, nextToken())
	wantRefused(t, err, auth.CodeInvalid, "unknown")
	close(release)
	eventually(t, "the new key is known", func() bool { _, err := verify(t, v, nextToken()); return err == nil })
	if n := h.fetches.Load(); n != 2 {
		t.Errorf("%d fetches, want 2", n)
	}
}

func TestJunkNeitherHammersTheHostNorLocksOutANewKey(t *testing.T) {
	t.Parallel()
	h := newHost(t, serve(jwks(jwk("ed", "EdDSA", edKey))))
	v := withHost(t, h)
	eventually(t, "keys are loaded", func() bool { return v.Ready() == nil })
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	begin := time.Now()
	var flood sync.WaitGroup
	for worker := range 4 {
		flood.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				_, err := verify(t, v, edToken(fmt.Sprintf("junk-%d-%d", worker, i)))
				if refused, ok := errors.AsType[*auth.TokenError](err); !ok || refused.Code != auth.CodeInvalid {
					t.Errorf("junk: %v", err)
					return
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	eventually(t, "junk has caused a fetch", func() bool { return h.fetches.Load() >= 2 })
	h.now(serve(jwks(jwk("next", "EdDSA", nextKey), jwk("ed", "EdDSA", edKey))))
	eventually(t, "the new key is known", func() bool { _, err := verify(t, v, nextToken()); return err == nil })
	stop()
	flood.Wait()
	if n, most := h.fetches.Load(), 2+int64(time.Since(begin)/(5*time.Second)); n > most {
		t.Errorf("%d fetches in %v, want at most %d", n, time.Since(begin), most)
	}
}

// Header, algorithm and form are looked at before a key is looked for.
func TestRefusedTokensCauseNoFetch(t *testing.T) {
	t.Parallel()
	h := newHost(t, serve(jwks(jwk("ed", "EdDSA", edKey))))
	v := withHost(t, h)
	eventually(t, "keys are loaded", func() bool { return v.Ready() == nil })
	claims := goodClaims().json()
	for _, token := range []string{
		"session",
		edToken(""),
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
	if n := h.fetches.Load(); n != 1 {
		t.Errorf("%d fetches, want 1", n)
	}
}

func TestWithdrawnKeys(t *testing.T) {
	t.Parallel()
	h := newHost(t, serve(jwks(jwk("ed", "EdDSA", edKey), jwk("next", "EdDSA", nextKey))))
	v := withHost(t, h)
	eventually(t, "keys are loaded", func() bool { return v.Ready() == nil })
	remembered := nextToken()
	got, err := verify(t, v, remembered)
	wantOwner(t, got, err, owner)
	refresh := func() { _, _ = verify(t, v, edToken("made up")) }

	h.now(serve(jwks(jwk("ed", "EdDSA", edKey))))
	eventually(t, "one key is withdrawn", func() bool { refresh(); _, err := verify(t, v, remembered); return err != nil })
	_, err = verify(t, v, remembered)
	wantRefused(t, err, auth.CodeInvalid, "unknown")
	got, err = verify(t, v, edToken("ed"))
	wantOwner(t, got, err, owner)

	h.now(serve(`{"keys":[]}`))
	eventually(t, "all keys are withdrawn", func() bool { refresh(); return v.Ready() != nil })
	wantUnavailable(t, v, edToken("ed"))
	h.now(serve(jwks(jwk("next", "EdDSA", nextKey))))
	eventually(t, "a new key is loaded", func() bool { return v.Ready() == nil })
	got, err = verify(t, v, nextToken())
	wantOwner(t, got, err, owner)
}

func TestUnusableKeysDoNotCostTheGoodOnes(t *testing.T) {
	t.Parallel()
	ed := func(changes object) object { return jwk("bad", "EdDSA", edKey).with(changes) }
	type signer struct {
		method jwt.SigningMethod
		key    any
	}
	eddsa := signer{jwt.SigningMethodEdDSA, edKey}
	for name, test := range map[string]struct {
		key string
		signer
	}{
		"oct":                  {object{"kty": "oct", "kid": "bad", "k": b64(sharedSecret)}.json(), signer{jwt.SigningMethodHS256, sharedSecret}},
		"oct as EdDSA":         {object{"kty": "oct", "kid": "bad", "alg": "EdDSA", "k": b64(edKey[32:])}.json(), eddsa},
		"weak RSA":             {jwk("bad", "RS256", weakKey).json(), signer{jwt.SigningMethodRS256, weakKey}},
		"weak RSA for PSS":     {jwk("bad", "PS256", weakKey).json(), signer{jwt.SigningMethodPS256, weakKey}},
		"RS256 token, PS256":   {jwk("bad", "PS256", rsaKey).json(), signer{jwt.SigningMethodRS256, rsaKey}},
		"PS256 token, RS256":   {jwk("bad", "RS256", rsaKey).json(), signer{jwt.SigningMethodPS256, rsaKey}},
		"RS512":                {jwk("bad", "RS512", rsaKey).json(), signer{jwt.SigningMethodRS512, rsaKey}},
		"P-384":                {jwk("bad", "ES384", p384Key).json(), signer{jwt.SigningMethodES384, p384Key}},
		"P-384 as ES256":       {jwk("bad", "ES256", p384Key).json(), eddsa},
		"P-521, ES256 token":   {jwk("bad", "", p521Key).json(), eddsa},
		"alg of another type":  {ed(object{"alg": "RS256"}).json(), eddsa},
		"alg HS256":            {ed(object{"alg": "HS256"}).json(), eddsa},
		"alg number":           {ed(object{"alg": 1}).json(), eddsa},
		"for encryption":       {ed(object{"use": "enc"}).json(), eddsa},
		"for unknown use":      {ed(object{"use": "fun"}).json(), eddsa},
		"for signing only":     {ed(object{"key_ops": []string{"sign"}}).json(), eddsa},
		"private":              {ed(object{"d": b64(edKey[:32])}).json(), eddsa},
		"curve X25519":         {ed(object{"crv": "X25519"}).json(), eddsa},
		"curve Ed448":          {ed(object{"crv": "Ed448"}).json(), eddsa},
		"curve missing":        {ed(object{"crv": nil}).json(), eddsa},
		"x short":              {ed(object{"x": "AAAA"}).json(), eddsa},
		"x not base64":         {ed(object{"x": "***"}).json(), eddsa},
		"x missing":            {ed(object{"x": nil}).json(), eddsa},
		"x number":             {ed(object{"x": 5}).json(), eddsa},
		"kty missing":          {ed(object{"kty": nil}).json(), eddsa},
		"point off the curve":  {jwk("bad", "ES256", p256Key).with(object{"y": b64(make([]byte, 32))}).json(), signer{jwt.SigningMethodES256, p256Key}},
		"RSA exponent 1":       {jwk("bad", "RS256", rsaKey).with(object{"e": "AQ"}).json(), signer{jwt.SigningMethodRS256, rsaKey}},
		"RSA exponent of 2^64": {jwk("bad", "RS256", rsaKey).with(object{"e": b64(append([]byte{1}, make([]byte, 5)...)) + "EAAQ"}).json(), signer{jwt.SigningMethodRS256, rsaKey}},
		"kid missing":          {ed(object{"kid": nil}).json(), eddsa},
		"kid number":           {ed(object{"kid": 1}).json(), eddsa},
		"null":                 {`null`, eddsa},
		"text":                 {`"key"`, eddsa},
		"number":               {`1e999`, eddsa},
		"list":                 {`[]`, eddsa},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := withHost(t, newHost(t, serve(`{"keys":[`+test.key+`,`+jwk("ed", "EdDSA", edKey).json()+`]}`)))
			eventually(t, "keys are loaded", func() bool { return v.Ready() == nil })
			got, err := verify(t, v, edToken("ed"))
			wantOwner(t, got, err, owner)
			for _, kid := range []string{"bad", "1"} {
				_, err = verify(t, v, sign(test.method, test.signer.key, object{"alg": test.method.Alg(), "kid": kid}.json(), goodClaims().json()))
				wantRefused(t, err, auth.CodeInvalid, "")
			}
		})
	}
}

func TestAlgorithmIsBoundToTheKey(t *testing.T) {
	t.Parallel()
	// Without alg in the JWKS, the key's own type decides.
	signers := map[string]any{"ed": edKey, "256": p256Key, "521": p521Key, "rsa": rsaKey}
	v := withKeys(t, jwk("ed", "", edKey), jwk("256", "", p256Key), jwk("521", "", p521Key), jwk("rsa", "", rsaKey))
	fits := map[string]string{"EdDSA": "ed", "ES256": "256", "ES512": "521", "RS256": "rsa", "PS256": "rsa"}
	for alg, kid := range fits {
		token := sign(jwt.GetSigningMethod(alg), signers[kid], object{"alg": alg, "kid": kid}.json(), goodClaims().json())
		got, err := verify(t, v, token)
		wantOwner(t, got, err, owner)
		for other := range signers {
			if other != kid {
				_, err := verify(t, v, sign(jwt.GetSigningMethod(alg), signers[kid], object{"alg": alg, "kid": other}.json(), goodClaims().json()))
				wantRefused(t, err, auth.CodeInvalid, "alg")
			}
		}
	}
}

func TestOnlyUnusableKeysAreNoKeys(t *testing.T) {
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
			v := withHost(t, h)
			eventually(t, "a second fetch", func() bool { return h.fetches.Load() >= 2 })
			wantUnavailable(t, v, edToken("ed"))
		})
	}
}

// golang-jwt does not compare a key's curve with the algorithm.
func TestAlgorithmIsBoundToTheCurve(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"", "ES256"} {
		v := withKeys(t, jwk("256", alg, p256Key))
		text := b64([]byte(`{"alg":"ES512","kid":"256"}`)) + "." + b64([]byte(goodClaims().json()))
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

func TestEndOfContextEndsRefreshing(t *testing.T) {
	t.Parallel()
	h := newHost(t, status(500))
	ctx, cancel := context.WithCancel(t.Context())
	v, err := auth.New(ctx, auth.Config{JWKSURL: h.URL, Issuer: issuer, Audience: audience})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "a fetch", func() bool { return h.fetches.Load() > 0 })
	cancel()
	wantUnavailable(t, v, edToken("ed"))
	// That nothing runs on is goleak's to say, in TestMain.
}
