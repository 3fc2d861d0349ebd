package auth_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"docket/internal/auth"
)

// wantRefused checks that err is a TokenError with that code and a reason that contains text, and that the reason is a
// valid error_description.
func wantRefused(t testing.TB, err error, code, text string) {
	t.Helper()
	refused, ok := errors.AsType[*auth.TokenError](err)
	if !ok {
		t.Fatalf("error %v, want a *TokenError", err)
	}
	if refused.Code != code || !strings.Contains(refused.Reason, text) {
		t.Errorf("got code %q and reason %q, want %q and a reason with %q", refused.Code, refused.Reason, code, text)
	}
	if book, err := os.ReadFile("../../docs/operations.md"); err != nil || !strings.Contains(string(book), "| `"+refused.Short+"` |") {
		t.Errorf("docs/operations.md does not list %q, %v", refused.Short, err)
	}
	start := "Missing or invalid authorization token"
	if code == auth.CodeExpired {
		start = "Authorization token expired"
	}
	if !strings.HasPrefix(refused.Reason, start) {
		t.Errorf("reason %q does not begin with %q", refused.Reason, start)
	}
	if i := strings.IndexFunc(refused.Reason, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }); i >= 0 {
		t.Errorf("reason %q is not a valid error_description", refused.Reason)
	}
}

func wantOwner(t testing.TB, got auth.Identity, err error, want string) {
	t.Helper()
	if err != nil || got.Owner != want {
		t.Fatalf("owner %q, error %v; want %q", got.Owner, err, want)
	}
}

// signer signs tokens that v accepts.
type signer struct {
	v      *auth.Verifier
	kid    string // none if empty
	method jwt.SigningMethod
	key    any
}

func (s signer) header() object {
	header := object{"alg": s.method.Alg()}
	if s.kid != "" {
		header["kid"] = s.kid
	}
	return header
}

func (s signer) sign(claims object) string {
	return sign(s.method, s.key, s.header().JSON(), claims.JSON())
}

func TestValidTokensOfEachAlgorithmAreAccepted(t *testing.T) {
	t.Parallel()
	keys := newLoadedVerifier(t, jwk("ed", "EdDSA", edKey), jwk("256", "ES256", p256Key), jwk("521", "ES512", p521Key),
		jwk("rs", "RS256", rsaKey), jwk("ps", "PS256", rsaKey),
		jwk("ed-no-alg", "", edKey), jwk("256-no-alg", "", p256Key), jwk("521-no-alg", "", p521Key), jwk("rsa-no-alg", "", rsaKey))
	secret := newSecretVerifier(t)
	for _, test := range []signer{
		{keys, "ed", jwt.SigningMethodEdDSA, edKey},
		{keys, "256", jwt.SigningMethodES256, p256Key},
		{keys, "521", jwt.SigningMethodES512, p521Key},
		{keys, "rs", jwt.SigningMethodRS256, rsaKey},
		{keys, "ps", jwt.SigningMethodPS256, rsaKey},
		{keys, "ed-no-alg", jwt.SigningMethodEdDSA, edKey},
		{keys, "256-no-alg", jwt.SigningMethodES256, p256Key},
		{keys, "521-no-alg", jwt.SigningMethodES512, p521Key},
		{keys, "rsa-no-alg", jwt.SigningMethodRS256, rsaKey},
		{keys, "rsa-no-alg", jwt.SigningMethodPS256, rsaKey},
		{secret, "", jwt.SigningMethodHS256, sharedSecret},
		{secret, "any", jwt.SigningMethodHS256, sharedSecret},
	} {
		claims := validClaims()
		got, err := verify(t, test.v, test.sign(claims))
		wantOwner(t, got, err, owner)
		if want := claims["exp"].(int64); got.Expires.Unix() != want {
			t.Errorf("%s: expires %d, want %d", test.kid, got.Expires.Unix(), want)
		}
	}
}

func TestAuthorizationHeaderMustContainOneBearerToken(t *testing.T) {
	t.Parallel()
	v := newLoadedVerifier(t, jwk("ed", "EdDSA", edKey))
	token := signEdDSA(validHeader(), validClaims())
	for _, header := range []string{"Bearer " + token, "bearer " + token, "BEARER  " + token} {
		got, err := v.Verify(t.Context(), []string{header})
		wantOwner(t, got, err, owner)
	}
	for _, test := range []struct {
		header []string
		code   string
		text   string
	}{
		{nil, auth.CodeMissing, "send the header"},
		{[]string{}, auth.CodeMissing, "send the header"},
		{[]string{""}, auth.CodeMissing, "send the header"},
		{[]string{"Bearer"}, auth.CodeMissing, "send the header"},
		{[]string{"Bearer "}, auth.CodeMissing, "send the header"},
		{[]string{"Bearer " + token, "Bearer " + token}, auth.CodeInvalid, "one Authorization header"},
		{[]string{"", "Bearer " + token}, auth.CodeInvalid, "one Authorization header"},
		{[]string{"Bearer " + token + ", Bearer " + token}, auth.CodeInvalid, "one token"},
		{[]string{"Bearer " + token + "," + token}, auth.CodeInvalid, "one token"},
		{[]string{"Bearer " + token + " " + token}, auth.CodeInvalid, "one token"},
		{[]string{"Bearer " + token + "\n"}, auth.CodeInvalid, "one token"},
		{[]string{"Bearer " + token[:9] + "\r\n" + token[9:]}, auth.CodeInvalid, "one token"},
		{[]string{"Bearer \t" + token}, auth.CodeInvalid, "one token"},
		{[]string{"Bearer\t" + token}, auth.CodeInvalid, "must be Bearer"},
		{[]string{" Bearer " + token}, auth.CodeInvalid, "must be Bearer"},
		{[]string{token}, auth.CodeInvalid, "must be Bearer"},
		{[]string{"Basic " + token}, auth.CodeInvalid, "must be Bearer"},
		{[]string{"DPoP " + token}, auth.CodeInvalid, "must be Bearer"},
		{[]string{"Bearer: " + token}, auth.CodeInvalid, "must be Bearer"},
		{[]string{"Bearer\u00a0" + token}, auth.CodeInvalid, "must be Bearer"},
		{[]string{"Веarer " + token}, auth.CodeInvalid, "must be Bearer"}, // Cyrillic
		{[]string{"B\u0435arer " + token}, auth.CodeInvalid, "must be Bearer"},
		{[]string{"Bearer" + "\x00 " + token}, auth.CodeInvalid, "must be Bearer"},
		{[]string{"Bearer \u200b" + token}, auth.CodeInvalid, "cannot be read"},
		{[]string{"Bearer " + token + "\x00"}, auth.CodeInvalid, "cannot be read"},
		{[]string{"Bearer " + token + "="}, auth.CodeInvalid, "cannot be read"},
		{[]string{"Bearer " + strings.Repeat("a", 8193)}, auth.CodeInvalid, "8 KiB"},
		// fault F8
		{[]string{"Bearer " + strings.Repeat("a", 8193)}, auth.CodeInvalid, "jwt.definePayload"},
		{[]string{"Bearer " + strings.Repeat(".", 8193)}, auth.CodeInvalid, "8 KiB"},
		{[]string{"Bearer " + strings.Repeat(".", 8192)}, auth.CodeInvalid, "not a signed JWT"},
		{[]string{"Bearer .."}, auth.CodeInvalid, "cannot be read"},
		{[]string{"Bearer kJ4xQzA0mUuV9c2pT7bR1nW6yE3sL8dF"}, auth.CodeInvalid, "GET /api/auth/token"},                         // session token
		{[]string{"Bearer kJ4xQzA0mUuV9c2pT7bR1nW6.dGVzdA%3D%3D"}, auth.CodeInvalid, "not a signed JWT"},                       // format of the cookie
		{[]string{"Bearer " + b64([]byte(`{"alg":"dir","enc":"A256GCM"}`)) + "..a.b.c"}, auth.CodeInvalid, "not a signed JWT"}, // JWE
	} {
		_, err := v.Verify(t.Context(), test.header)
		t.Run(fmt.Sprintf("%.40q", test.header), func(t *testing.T) { wantRefused(t, err, test.code, test.text) })
	}
}

func TestTokensOfUpTo8KiBAreAccepted(t *testing.T) {
	t.Parallel()
	v := newLoadedVerifier(t, jwk("ed", "EdDSA", edKey))
	var token string
	for size := 5000; len(token) < 8<<10-2; size++ {
		token = signEdDSA(validHeader(), validClaims().With(object{"image": strings.Repeat("x", size)}))
	}
	got, err := verify(t, v, token)
	wantOwner(t, got, err, owner)
	_, err = verify(t, v, signEdDSA(validHeader(), validClaims().With(object{"image": strings.Repeat("x", 6100)})))
	wantRefused(t, err, auth.CodeInvalid, "8 KiB")
}

func TestInvalidJOSEHeadersAreRefused(t *testing.T) {
	t.Parallel()
	h := newHost(t, serve(jwks(jwk("ed", "EdDSA", edKey))))
	v := newKeySetVerifier(t, h)
	waitForKeys(t, v)
	for _, typ := range []any{"JWT", "jwt"} {
		got, err := verify(t, v, signEdDSA(validHeader().With(object{"typ": typ}), validClaims()))
		wantOwner(t, got, err, owner)
	}
	embedded := jwk("evil", "EdDSA", nextKey)
	for name, test := range map[string]struct {
		header string
		text   string
	}{
		"typ at+jwt":                 {validHeader().With(object{"typ": "at+jwt"}).JSON(), "another kind"},
		"typ JOSE":                   {validHeader().With(object{"typ": "JOSE"}).JSON(), "another kind"},
		"typ empty":                  {validHeader().With(object{"typ": ""}).JSON(), "another kind"},
		"typ number":                 {validHeader().With(object{"typ": 1}).JSON(), "another kind"},
		"typ null":                   {`{"alg":"EdDSA","kid":"ed","typ":null}`, "another kind"},
		"typ with a Cyrillic letter": {validHeader().With(object{"typ": "JW\u0422"}).JSON(), "another kind"},
		"crit":                       {validHeader().With(object{"crit": []string{"b64"}, "b64": false}).JSON(), "crit"},
		"crit empty":                 {validHeader().With(object{"crit": []string{}}).JSON(), "crit"},
		"crit null":                  {`{"alg":"EdDSA","kid":"ed","crit":null}`, "crit"},
		"no kid":                     {`{"alg":"EdDSA"}`, "kid"},
		"kid empty":                  {`{"alg":"EdDSA","kid":""}`, "kid"},
		"kid null":                   {`{"alg":"EdDSA","kid":null}`, "kid"},
		"kid number":                 {`{"alg":"EdDSA","kid":7}`, "kid"},
		"kid list":                   {`{"alg":"EdDSA","kid":["ed"]}`, "kid"},
		"KID instead of kid":         {`{"alg":"EdDSA","KID":"ed"}`, "kid"},
		"kid for SQL":                {validHeader().With(object{"kid": "' or 1=1 --"}).JSON(), "unknown"},
		"kid for a file":             {validHeader().With(object{"kid": "../../../../dev/null"}).JSON(), "unknown"},
		"kid as a format string":     {validHeader().With(object{"kid": "%s%n\x00\u2028"}).JSON(), "unknown"},
		"kid in upper case":          {validHeader().With(object{"kid": "ED"}).JSON(), "unknown"},
		"key in token":               {object{"alg": "EdDSA", "kid": "evil", "jwk": embedded}.JSON(), "unknown"},
		"URL in token":               {object{"alg": "EdDSA", "kid": "evil", "jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/"}.JSON(), "unknown"},
		"alg none":                   {`{"alg":"none","kid":"ed"}`, "alg"},
		"alg None":                   {`{"alg":"None","kid":"ed"}`, "alg"},
		"alg missing":                {`{"kid":"ed"}`, "alg"},
		"alg number":                 {`{"alg":1,"kid":"ed"}`, "alg"},
		"alg in lower case":          {`{"alg":"eddsa","kid":"ed"}`, "alg"},
		"alg Ed448":                  {`{"alg":"Ed448","kid":"ed"}`, "alg"},
		"alg RS384":                  {`{"alg":"RS384","kid":"unknown"}`, "alg"},
		"alg of another key":         {`{"alg":"ES256","kid":"ed"}`, "alg"},
		"alg RS256":                  {`{"alg":"RS256","kid":"ed"}`, "alg"},
		"alg HS256":                  {`{"alg":"HS256","kid":"ed"}`, "alg"},
		"null":                       {`null`, "alg"},
		"list":                       {`[]`, "cannot be read"},
		"not JSON":                   {`{"alg":"EdDSA","kid":"ed"`, "cannot be read"},
		"two JSON values":            {`{"alg":"EdDSA","kid":"ed"}{}`, "cannot be read"},
		"empty":                      {``, "cannot be read"},
		// fault D7
		"kid twice":              {`{"alg":"EdDSA","kid":"other","kid":"ed"}`, "twice"},
		"kid twice, the same":    {`{"alg":"EdDSA","kid":"ed","kid":"ed"}`, "twice"},
		"kid twice, one escaped": {`{"alg":"EdDSA","kid":"other","k\u0069d":"ed"}`, "twice"},
		"alg twice":              {`{"alg":"none","kid":"ed","alg":"EdDSA"}`, "twice"},
		"typ twice":              {`{"alg":"EdDSA","kid":"ed","typ":"at+jwt","typ":"JWT"}`, "twice"},
		"any name twice":         {`{"alg":"EdDSA","kid":"ed","x":1,"x":1}`, "twice"},
		"a name twice, nested":   {`{"alg":"EdDSA","kid":"ed","x":{"y":1,"y":2}}`, "twice"},
		"not UTF-8":              {"{\"alg\":\"EdDSA\",\"kid\":\"ed\",\"x\":\"\xff\"}", "cannot be read"},
		"half a surrogate pair":  {`{"alg":"EdDSA","kid":"ed","x":"\ud83d"}`, "cannot be read"},
		"deep":                   {`{"alg":"EdDSA","kid":"ed","x":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + `,"crit":[]}`, "crit"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// The signature is valid, so that only the header can be the reason.
			key := edKey
			if strings.Contains(test.header, "evil") {
				key = nextKey
			}
			_, err := verify(t, v, sign(jwt.SigningMethodEdDSA, key, test.header, validClaims().JSON()))
			wantRefused(t, err, auth.CodeInvalid, test.text)
		})
	}
}

func TestInvalidClaimsAreRefused(t *testing.T) {
	t.Parallel()
	keys, secret := newLoadedVerifier(t, jwk("ed", "EdDSA", edKey)), newSecretVerifier(t)
	now := time.Now().Unix()
	change := func(changes object) string { return validClaims().With(changes).JSON() }
	// raw returns the claims with a member prepended as raw JSON, and another one removed.
	raw := func(member, removed string) string {
		return "{" + member + "," + validClaims().With(object{removed: nil}).JSON()[1:]
	}
	for name, test := range map[string]struct {
		claims string
		code   string
		text   string
	}{
		"expired":                               {change(object{"exp": now - 60}), auth.CodeExpired, "expired"},
		"expired in 1970":                       {change(object{"exp": 1}), auth.CodeExpired, "expired"},
		"expired before 1970":                   {change(object{"exp": -1}), auth.CodeExpired, "expired"},
		"expired, other aud":                    {change(object{"exp": now - 60, "aud": "x"}), auth.CodeInvalid, "aud"},
		"no exp":                                {change(object{"exp": nil}), auth.CodeInvalid, "exp"},
		"exp zero":                              {change(object{"exp": 0}), auth.CodeInvalid, "exp"},
		"exp null":                              {raw(`"exp":null`, "exp"), auth.CodeInvalid, "type"},
		"exp text":                              {change(object{"exp": fmt.Sprint(now + 900)}), auth.CodeInvalid, "type"},
		"exp true":                              {change(object{"exp": true}), auth.CodeInvalid, "type"},
		"exp list":                              {change(object{"exp": []int64{now + 900}}), auth.CodeInvalid, "type"},
		"exp 1e400":                             {raw(`"exp":1e400`, "exp"), auth.CodeInvalid, "cannot be read"},
		"exp 1e300":                             {raw(`"exp":1e300`, "exp"), auth.CodeInvalid, "cannot be read"},
		"exp 2^63":                              {raw(`"exp":9223372036854775808`, "exp"), auth.CodeInvalid, "cannot be read"},
		"exp 2^64":                              {raw(`"exp":18446744073709551616`, "exp"), auth.CodeInvalid, "cannot be read"},
		"exp of 60 digits":                      {raw(`"exp":`+strings.Repeat("9", 60), "exp"), auth.CodeInvalid, "cannot be read"},
		"exp milliseconds":                      {change(object{"exp": (now + 900) * 1000}), auth.CodeInvalid, "cannot be read"},
		"exp other case":                        {raw(fmt.Sprintf(`"EXP":%d`, now+900), "exp"), auth.CodeInvalid, "exp"},
		"nbf later":                             {change(object{"nbf": now + 3600}), auth.CodeInvalid, "not valid yet"},
		"nbf text":                              {change(object{"nbf": "1"}), auth.CodeInvalid, "type"},
		"nbf -1e300":                            {raw(`"nbf":-1e300`, "nbf"), auth.CodeInvalid, "cannot be read"},
		"iat in the future":                     {change(object{"iat": now + 3600}), auth.CodeInvalid, "future"},
		"iat text":                              {change(object{"iat": "1"}), auth.CodeInvalid, "type"},
		"other issuer":                          {change(object{"iss": "https://evil.example"}), auth.CodeInvalid, "issuer"},
		"issuer with a slash":                   {change(object{"iss": issuer + "/"}), auth.CodeInvalid, "issuer"},
		"no issuer":                             {change(object{"iss": nil}), auth.CodeInvalid, "iss"},
		"issuer list":                           {change(object{"iss": []string{issuer}}), auth.CodeInvalid, "type"},
		"other audience":                        {change(object{"aud": "https://evil.example"}), auth.CodeInvalid, "audience"},
		"other audiences":                       {change(object{"aud": []string{"a", "b"}}), auth.CodeInvalid, "audience"},
		"audience case":                         {change(object{"aud": strings.ToUpper(audience)}), auth.CodeInvalid, "audience"},
		"no audience":                           {change(object{"aud": nil}), auth.CodeInvalid, "aud"},
		"audience empty":                        {change(object{"aud": ""}), auth.CodeInvalid, "aud"},
		"audience empty list":                   {change(object{"aud": []string{}}), auth.CodeInvalid, "aud"},
		"audience null":                         {raw(`"aud":null`, "aud"), auth.CodeInvalid, "aud"},
		"audience number":                       {change(object{"aud": 1}), auth.CodeInvalid, "aud"},
		"audience object":                       {change(object{"aud": object{audience: true}}), auth.CodeInvalid, "aud"},
		"audience mixed list":                   {change(object{"aud": []any{audience, 1}}), auth.CodeInvalid, "type"},
		"no sub":                                {change(object{"sub": nil}), auth.CodeInvalid, "sub"},
		"sub empty":                             {change(object{"sub": ""}), auth.CodeInvalid, "sub"},
		"sub null":                              {raw(`"sub":null`, "sub"), auth.CodeInvalid, "sub"},
		"sub number":                            {change(object{"sub": 42}), auth.CodeInvalid, "sub"},
		"sub list":                              {change(object{"sub": []string{owner}}), auth.CodeInvalid, "sub"},
		"sub other case":                        {raw(`"Sub":"`+owner+`"`, "sub"), auth.CodeInvalid, "sub"},
		"sub too long":                          {change(object{"sub": strings.Repeat("x", 256)}), auth.CodeInvalid, "sub"},
		"sub too long, wide":                    {change(object{"sub": strings.Repeat("🦆", 256)}), auth.CodeInvalid, "sub"},
		"sub with NUL":                          {change(object{"sub": "a\x00b"}), auth.CodeInvalid, "sub"},
		"sub half surrogate":                    {raw(`"sub":"a\ud800"`, "sub"), auth.CodeInvalid, "cannot be read"},
		"sub not UTF-8":                         {raw("\"sub\":\"a\xff\"", "sub"), auth.CodeInvalid, "cannot be read"},
		"name not UTF-8":                        {raw("\"name\":\"a\xc0\x80\"", "name"), auth.CodeInvalid, "cannot be read"},
		"sub twice":                             {raw(`"sub":"somebody"`, ""), auth.CodeInvalid, "cannot be read"},
		"sub twice, escaped":                    {raw(`"\u0073ub":"somebody"`, ""), auth.CodeInvalid, "cannot be read"},
		"exp twice":                             {raw(`"exp":1`, ""), auth.CodeInvalid, "cannot be read"},
		"name twice":                            {raw(`"name":1`, ""), auth.CodeInvalid, "cannot be read"},
		"nested JWT":                            {`"` + signEdDSA(validHeader(), validClaims()) + `"`, auth.CodeInvalid, "cannot be read"},
		"bare JWT":                              {signEdDSA(validHeader(), validClaims()), auth.CodeInvalid, "cannot be read"},
		"null":                                  {`null`, auth.CodeInvalid, "lacks"},
		"list":                                  {"[" + validClaims().JSON() + "]", auth.CodeInvalid, "cannot be read"},
		"empty object":                          {`{}`, auth.CodeInvalid, "lacks"},
		"empty":                                 {``, auth.CodeInvalid, "cannot be read"},
		"a name twice, after quotes and braces": {raw(`"x":"\\\"{[,:","y":{"a":1,"a":[2]},"z":[{"b":"}"}],"name":1`, ""), auth.CodeInvalid, "cannot be read"},
		"a nested name twice":                   {raw(`"x":{"a":1,"a":2}`, ""), auth.CodeInvalid, "cannot be read"},
		"two JSON values":                       {validClaims().JSON() + validClaims().JSON(), auth.CodeInvalid, "cannot be read"},
		"byte order mark":                       {"\ufeff" + validClaims().JSON(), auth.CodeInvalid, "cannot be read"},
		"UTF-16":                                {"\xfe\xff\x00{\x00}", auth.CodeInvalid, "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := verify(t, keys, sign(jwt.SigningMethodEdDSA, edKey, validHeader().JSON(), test.claims))
			wantRefused(t, err, test.code, test.text)
			_, err = verify(t, secret, sign(jwt.SigningMethodHS256, sharedSecret, `{"alg":"HS256"}`, test.claims))
			wantRefused(t, err, test.code, test.text)
		})
	}
}

func TestUnusualValidClaimsAreAccepted(t *testing.T) {
	t.Parallel()
	v := newLoadedVerifier(t, jwk("ed", "EdDSA", edKey))
	now := time.Now().Unix()
	for name, changes := range map[string]object{
		"longest sub":       {"sub": strings.Repeat("x", 255)},
		"longest sub, wide": {"sub": strings.Repeat("🦆", 255)},
		"shortest sub":      {"sub": "é"},
		"sub like SQL":      {"sub": "' or 1=1 --"},
		"audience in list":  {"aud": []string{"another", audience}},
		"fractions":         {"exp": float64(now) + 900.5, "iat": float64(now) - 0.5},
		"no iat":            {"iat": nil},
		"nested objects":    {"quotes": `\\"{[,:`, "list": []any{object{"a": 1, "b": "}"}, []any{}}, "object": object{"sub": "nobody", "exp": 1}},
		"nbf past":          {"nbf": now - 60},
		"long life":         {"exp": now + 7*24*3600},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			claims := validClaims().With(changes)
			got, err := verify(t, v, signEdDSA(validHeader(), claims))
			wantOwner(t, got, err, claims["sub"].(string))
		})
	}
}

func TestClockDifferencesOfTenSecondsAreAccepted(t *testing.T) {
	t.Parallel()
	v := newSecretVerifier(t)
	// A token may expire before a busy machine verifies it, so the test tries again.
	eventually(t, "a token within the leeway is accepted", func() bool {
		now := time.Now().Unix()
		_, err := verify(t, v, signHS256(validClaims().With(object{"exp": now - 10, "nbf": now + 10, "iat": now + 10})))
		return err == nil
	})
}

func TestTamperedTokensAreRefused(t *testing.T) {
	t.Parallel()
	keys := newLoadedVerifier(t, jwk("ed", "EdDSA", edKey), jwk("256", "ES256", p256Key), jwk("rs", "RS256", rsaKey), jwk("ps", "PS256", rsaKey))
	for _, test := range []signer{
		{keys, "ed", jwt.SigningMethodEdDSA, edKey},
		{keys, "256", jwt.SigningMethodES256, p256Key},
		{keys, "rs", jwt.SigningMethodRS256, rsaKey},
		{keys, "ps", jwt.SigningMethodPS256, rsaKey},
		{newSecretVerifier(t), "", jwt.SigningMethodHS256, sharedSecret},
	} {
		parts := strings.Split(test.sign(validClaims()), ".")
		other := strings.Split(test.sign(validClaims().With(object{"sub": "mallory"})), ".")
		flipped := []byte(parts[2])
		if flipped[10]++; flipped[10] != 'B' {
			flipped[10] = 'A'
		}
		for name, token := range map[string]string{
			"payload":             parts[0] + "." + other[1] + "." + parts[2],
			"header":              b64([]byte(test.header().JSON()+" ")) + "." + parts[1] + "." + parts[2],
			"signature":           parts[0] + "." + parts[1] + "." + string(flipped),
			"signature of other":  parts[0] + "." + parts[1] + "." + other[2],
			"signature shortened": parts[0] + "." + parts[1] + "." + parts[2][:len(parts[2])-4],
			"signature longer":    parts[0] + "." + parts[1] + "." + parts[2][:len(parts[2])-4] + "AAAAAAAA",
			"signature missing":   parts[0] + "." + parts[1] + ".",
			"signature zero":      parts[0] + "." + parts[1] + "." + strings.Repeat("A", 86),
		} {
			t.Run(test.method.Alg()+" "+name, func(t *testing.T) {
				t.Parallel()
				_, err := verify(t, test.v, token)
				wantRefused(t, err, auth.CodeInvalid, "")
			})
		}
	}
}

// If a signature had several encodings, variants of one token could fill the cache.
func TestNonCanonicalBase64IsRefused(t *testing.T) {
	t.Parallel()
	v := newLoadedVerifier(t, jwk("ed", "EdDSA", edKey))
	token := signEdDSA(validHeader(), validClaims()) // the last character of a signature of 64 bytes has 4 unused bits
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, token[len(token)-1])
	for unused := 1; unused < 16; unused++ {
		_, err := verify(t, v, token[:len(token)-1]+alphabet[last+unused:last+unused+1])
		wantRefused(t, err, auth.CodeInvalid, "cannot be read")
	}
	_, err := verify(t, v, strings.NewReplacer("-", "+", "_", "/").Replace(token)+"==")
	wantRefused(t, err, auth.CodeInvalid, "")
}

func TestPublicKeyIsNotAcceptedAsSharedSecret(t *testing.T) {
	t.Parallel()
	v := newLoadedVerifier(t, jwk("ed", "EdDSA", edKey), jwk("rs", "", rsaKey))
	for kid, key := range map[string]crypto.Signer{"ed": edKey, "rs": rsaKey} {
		der := must(x509.MarshalPKIXPublicKey(key.Public()))
		for form, secret := range map[string][]byte{
			"DER":     der,
			"PEM":     pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
			"raw":     der[len(der)-32:], // the whole of an Ed25519 key
			"modulus": rsaKey.N.Bytes(),
			"JWK":     []byte(jwk(kid, "", key).JSON()),
			"JWKS":    []byte(jwks(jwk("ed", "EdDSA", edKey), jwk("rs", "", rsaKey))),
			"empty":   {},
		} {
			_, err := verify(t, v, sign(jwt.SigningMethodHS256, secret, object{"alg": "HS256", "kid": kid}.JSON(), validClaims().JSON()))
			t.Run(kid+" "+form, func(t *testing.T) { wantRefused(t, err, auth.CodeInvalid, "alg") })
		}
	}
}

func TestSecretVerifiesOnlyHS256(t *testing.T) {
	t.Parallel()
	v := newSecretVerifier(t)
	if err := v.Ready(); err != nil {
		t.Error(err)
	}
	for method, key := range map[jwt.SigningMethod]any{
		jwt.SigningMethodHS384: sharedSecret,
		jwt.SigningMethodHS512: sharedSecret,
		jwt.SigningMethodEdDSA: edKey,
		jwt.SigningMethodRS256: rsaKey,
		jwt.SigningMethodNone:  jwt.UnsafeAllowNoneSignatureType,
	} {
		_, err := verify(t, v, sign(method, key, object{"alg": method.Alg()}.JSON(), validClaims().JSON()))
		wantRefused(t, err, auth.CodeInvalid, "alg")
	}
	_, err := verify(t, v, sign(jwt.SigningMethodHS256, []byte("another secret of 32 characters!"), `{"alg":"HS256"}`, validClaims().JSON()))
	wantRefused(t, err, auth.CodeInvalid, "signature")
	for _, header := range []string{`{"alg":"HS256","typ":"at+jwt"}`, `{"alg":"HS256","crit":["exp"]}`} {
		_, err := verify(t, v, sign(jwt.SigningMethodHS256, sharedSecret, header, validClaims().JSON()))
		wantRefused(t, err, auth.CodeInvalid, "")
	}
}

func TestSecretIsCopied(t *testing.T) {
	t.Parallel()
	secret := bytes.Clone(sharedSecret)
	v := newVerifier(t, func(c *auth.Config) { c.Secret = secret })
	clear(secret)
	got, err := verify(t, v, signHS256(validClaims()))
	wantOwner(t, got, err, owner)
}

func TestMaxTokenAgeLimitsTheLifetimeOfTokens(t *testing.T) {
	t.Parallel()
	v := newVerifier(t, func(c *auth.Config) { c.Secret, c.MaxTokenAge = sharedSecret, time.Hour })
	now := time.Now().Unix()
	week := now + 7*24*3600
	token := func(changes object) string {
		return signHS256(validClaims().With(changes))
	}
	got, err := verify(t, v, token(object{"iat": now - 1800, "exp": week}))
	wantOwner(t, got, err, owner)
	if got.Expires.Unix() != now+1800 {
		t.Errorf("expires %d s from now, want 1800", got.Expires.Unix()-now)
	}
	got, err = verify(t, v, token(object{"iat": now - 1800, "exp": now + 60}))
	wantOwner(t, got, err, owner)
	if got.Expires.Unix() != now+60 {
		t.Errorf("expires %d s from now, want 60", got.Expires.Unix()-now)
	}
	_, err = verify(t, v, token(object{"iat": now - 3700, "exp": week}))
	wantRefused(t, err, auth.CodeExpired, "expired")
	_, err = verify(t, v, token(object{"iat": nil, "exp": week}))
	wantRefused(t, err, auth.CodeInvalid, "iat")
}

func TestNewRefusesInvalidConfigurations(t *testing.T) {
	t.Parallel()
	valid := auth.Config{JWKSURL: "https://app.example/api/auth/jwks", Issuer: issuer, Audience: audience}
	for name, test := range map[string]struct {
		change func(*auth.Config)
		want   []string
	}{
		"both keys":         {func(c *auth.Config) { c.Secret = sharedSecret }, []string{"exactly one"}},
		"no key":            {func(c *auth.Config) { c.JWKSURL = "" }, []string{"exactly one"}},
		"empty secret":      {func(c *auth.Config) { c.JWKSURL, c.Secret = "", []byte{} }, []string{"exactly one"}},
		"short secret":      {func(c *auth.Config) { c.JWKSURL, c.Secret = "", sharedSecret[:31] }, []string{"32 bytes"}},
		"no issuer":         {func(c *auth.Config) { c.Issuer = "" }, []string{"Issuer"}},
		"no audience":       {func(c *auth.Config) { c.Audience = " " }, []string{"Audience"}},
		"negative age":      {func(c *auth.Config) { c.MaxTokenAge = -1 }, []string{"MaxTokenAge"}},
		"relative URL":      {func(c *auth.Config) { c.JWKSURL = "/api/auth/jwks" }, []string{"JWKSURL"}},
		"file URL":          {func(c *auth.Config) { c.JWKSURL = "file:///etc/keys" }, []string{"JWKSURL"}},
		"no URL":            {func(c *auth.Config) { c.JWKSURL = "http://hunter2:hunter2@a b" }, []string{"JWKSURL"}},
		"everything absent": {func(c *auth.Config) { *c = auth.Config{} }, []string{"exactly one", "Issuer", "Audience"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := valid
			test.change(&config)
			v, err := auth.New(t.Context(), config)
			if v != nil || err == nil {
				t.Fatal("the configuration was accepted")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not contain %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "0123456789") || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %q contains a secret", err)
			}
		})
	}
}

func TestTokensAndSecretsAppearNeitherInErrorsNorInLogs(t *testing.T) {
	t.Parallel()
	var log syncBuffer
	h := newHost(t, serve(jwks(jwk("ed", "EdDSA", edKey), object{"kty": "oct", "kid": "oct", "k": b64(sharedSecret)})))
	config := func(c *auth.Config) {
		c.JWKSURL = strings.Replace(h.KeysURL(), "http://", "http://user:hunter2@", 1) + "?key=hunter2"
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	v := newVerifier(t, config)
	waitForKeys(t, v)
	const marker = "MARKMARKMARK"
	for _, header := range []object{
		validHeader().With(object{"kid": marker}), validHeader().With(object{"alg": marker}), validHeader().With(object{"typ": marker}),
		validHeader().With(object{"crit": marker}), validHeader(),
	} {
		for _, changes := range []object{{"sub": marker + "\x00"}, {"iss": marker}, {"aud": marker}, {"exp": marker}, {"exp": 1}} {
			token := signEdDSA(header, validClaims().With(changes))
			_, err := verify(t, v, token)
			if err == nil || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, errors.Unwrap(err)), marker) {
				t.Errorf("error %v", err)
			}
		}
	}
	for _, response := range []http.HandlerFunc{respondStatus(500), func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }} {
		h.AnswerKeys(response)
		before, address := strings.Count(log.String(), "not loaded"), `msg="signing keys not loaded" address=`+h.KeysURL()+" error="
		fails := newVerifier(t, config)
		eventually(t, "the address is in the log", func() bool { return strings.Count(log.String(), address) > before })
		wantUnavailable(t, fails, signEdDSA(validHeader().With(object{"kid": marker + "2"}), validClaims()))
		eventually(t, "it is not ready", func() bool { return strings.Contains(fmt.Sprint(fails.Ready()), h.KeysURL()+": ") })
		if err := fails.Ready(); !errors.Is(err, auth.ErrUnavailable) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("error %v", err)
		}
	}
	for _, secret := range []string{marker, "hunter2", b64(sharedSecret), string(sharedSecret)} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log contains %s:\n%s", secret, log.String())
		}
	}
	if !strings.Contains(log.String(), "signing keys loaded") {
		t.Errorf("the log does not contain a message about loaded keys:\n%s", log.String())
	}
	shared := newSecretVerifier(t)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(verb, shared) + fmt.Sprintf(verb, *shared); strings.Contains(text, "48 49 50") || strings.Contains(text, "0x30, 0x31") || strings.Contains(text, "01234") {
			t.Errorf("printing a Verifier shows its secret: %s", text)
		}
	}
}

func TestCanceledRequestReturnsErrUnavailable(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	h := newHost(t, serve(jwks(jwk("ed", "EdDSA", edKey))))
	v := newKeySetVerifier(t, h)
	waitForKeys(t, v)
	h.AnswerKeys(func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := v.Verify(ctx, []string{"Bearer " + signEdDSA(validHeader().With(object{"kid": "next"}), validClaims())})
	if !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("error %v, want ErrUnavailable", err)
	}
}

func TestInvalidTokensAreNotCached(t *testing.T) {
	t.Parallel()
	v := newLoadedVerifier(t, jwk("ed", "EdDSA", edKey))
	valid := tokenWithKID("ed")
	for range 3 {
		got, err := verify(t, v, valid)
		wantOwner(t, got, err, owner)
		_, err = verify(t, v, valid+"A")
		wantRefused(t, err, auth.CodeInvalid, "")
	}
	if n := v.CachedTokens(); n != 1 {
		t.Errorf("%d tokens are cached, want only the valid one", n)
	}
	if s := v.Stats(); s.CacheHits != 2 || s.CacheMisses != 4 || s.CacheEntries != 1 {
		t.Errorf("%d hits, %d misses and %d entries, want 2, 4 and 1", s.CacheHits, s.CacheMisses, s.CacheEntries)
	}
}

// FuzzVerify tests that no header without one of the two valid tokens is accepted.
func FuzzVerify(f *testing.F) {
	forever := validClaims().With(object{"iat": 1, "exp": 9999999999}) // constant, because fuzzing runs several processes
	eddsa := signEdDSA(validHeader(), forever)
	hs256 := signHS256(forever)
	for _, seed := range []string{
		"Bearer " + eddsa, "bearer " + hs256, "Bearer " + eddsa + ",", "Basic YTpi", "", "Bearer ..", "Bearer " + eddsa[:50],
		"Bearer " + b64([]byte(`{"alg":"none","kid":"ed"}`)) + "." + b64([]byte(forever.JSON())) + ".",
	} {
		f.Add(seed)
	}
	verifiers := []*auth.Verifier{newLoadedVerifier(f, jwk("ed", "EdDSA", edKey)), newSecretVerifier(f)}
	f.Fuzz(func(t *testing.T, header string) {
		for _, v := range verifiers {
			_, err := v.Verify(t.Context(), []string{header})
			if err != nil {
				refused, ok := errors.AsType[*auth.TokenError](err)
				if !ok || refused.Reason == "" {
					t.Errorf("error %v", err)
				}
				continue
			}
			if token := strings.TrimLeft(header[len("Bearer "):], " "); token != eddsa && token != hs256 {
				t.Errorf("accepted %q", header)
			}
		}
	})
}

// FuzzClaims tests that accepted claims contain an owner that the database can store and a time that has not passed.
func FuzzClaims(f *testing.F) {
	for _, seed := range []object{validClaims(), validClaims().With(object{"exp": 1e300}), validClaims().With(object{"aud": []any{audience, nil}})} {
		f.Add([]byte(seed.JSON()))
	}
	f.Add([]byte(`{"sub":"\ud800","exp":9999999999,"iss":"` + issuer + `","aud":"` + audience + `"}`))
	f.Add([]byte(`null`))
	v := newSecretVerifier(f)
	f.Fuzz(func(t *testing.T, claims []byte) {
		got, err := verify(t, v, sign(jwt.SigningMethodHS256, sharedSecret, `{"alg":"HS256"}`, string(claims)))
		if err != nil {
			if _, ok := errors.AsType[*auth.TokenError](err); !ok {
				t.Errorf("error %v", err)
			}
			return
		}
		if n := utf8.RuneCountInString(got.Owner); n < 1 || n > 255 || !utf8.ValidString(got.Owner) || strings.Contains(got.Owner, "\x00") {
			t.Errorf("owner %q", got.Owner)
		}
		if got.Expires.Before(time.Now().Add(-time.Minute)) || got.Expires.Year() > 9999 {
			t.Errorf("expires %v", got.Expires)
		}
	})
}

// BenchmarkVerify verifies a token that is in the cache.
func BenchmarkVerify(b *testing.B) {
	keys := newLoadedVerifier(b, jwk("ed", "EdDSA", edKey), jwk("256", "ES256", p256Key), jwk("rs", "RS256", rsaKey))
	for _, test := range []signer{
		{keys, "ed", jwt.SigningMethodEdDSA, edKey},
		{keys, "256", jwt.SigningMethodES256, p256Key},
		{keys, "rs", jwt.SigningMethodRS256, rsaKey},
		{newSecretVerifier(b), "", jwt.SigningMethodHS256, sharedSecret},
	} {
		header := []string{"Bearer " + test.sign(validClaims())}
		b.Run(test.method.Alg(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := test.v.Verify(b.Context(), header); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkVerifyParallel verifies cached tokens of many owners concurrently. With -cpu 1,2 it shows the cost of locks.
func BenchmarkVerifyParallel(b *testing.B) {
	v := newLoadedVerifier(b, jwk("ed", "EdDSA", edKey))
	headers := make([][]string, 1000)
	for i := range headers {
		headers[i] = []string{"Bearer " + signEdDSA(validHeader(), validClaims().With(object{"number": i}))}
		if _, err := v.Verify(b.Context(), headers[i]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := rand.IntN(len(headers)); pb.Next(); i++ {
			if _, err := v.Verify(b.Context(), headers[i%len(headers)]); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkVerifyFirst verifies tokens that are not in the cache.
func BenchmarkVerifyFirst(b *testing.B) {
	v := newLoadedVerifier(b, jwk("ed", "EdDSA", edKey))
	headers := make([][]string, b.N)
	for i := range headers {
		headers[i] = []string{"Bearer " + signEdDSA(validHeader(), validClaims().With(object{"number": i}))}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for _, header := range headers {
		if _, err := v.Verify(b.Context(), header); err != nil {
			b.Fatal(err)
		}
	}
}
