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
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"docket/internal/auth"
)

// wantRefused checks that err is a TokenError of that code whose reason holds
// that text, and that it can be shown to anybody.
func wantRefused(t testing.TB, err error, code, text string) {
	t.Helper()
	refused, ok := errors.AsType[*auth.TokenError](err)
	if !ok {
		t.Fatalf("error %v, want a *TokenError", err)
	}
	if refused.Code != code || !strings.Contains(refused.Reason, text) {
		t.Errorf("refused with %q: %s; want %q: …%s…", refused.Code, refused.Reason, code, text)
	}
	start := "Missing or invalid authorization token"
	if code == auth.CodeExpired {
		start = "Authorization token expired"
	}
	if !strings.HasPrefix(refused.Reason, start) {
		t.Errorf("reason %q does not begin with %q", refused.Reason, start)
	}
	if i := strings.IndexFunc(refused.Reason, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }); i >= 0 {
		t.Errorf("reason %q is no error_description", refused.Reason)
	}
}

func wantOwner(t testing.TB, got auth.Identity, err error, want string) {
	t.Helper()
	if err != nil || got.Owner != want {
		t.Fatalf("owner %q, error %v; want %q", got.Owner, err, want)
	}
}

func TestGoodTokenOfEachAlgorithm(t *testing.T) {
	t.Parallel()
	fromHost := withKeys(t, jwk("ed", "EdDSA", edKey), jwk("256", "ES256", p256Key), jwk("521", "ES512", p521Key),
		jwk("rs", "RS256", rsaKey), jwk("ps", "PS256", rsaKey),
		jwk("ed-bare", "", edKey), jwk("256-bare", "", p256Key), jwk("521-bare", "", p521Key), jwk("rsa-bare", "", rsaKey))
	fromSecret := withSecret(t)
	for _, test := range []struct {
		v      *auth.Verifier
		kid    string
		method jwt.SigningMethod
		key    any
	}{
		{fromHost, "ed", jwt.SigningMethodEdDSA, edKey},
		{fromHost, "256", jwt.SigningMethodES256, p256Key},
		{fromHost, "521", jwt.SigningMethodES512, p521Key},
		{fromHost, "rs", jwt.SigningMethodRS256, rsaKey},
		{fromHost, "ps", jwt.SigningMethodPS256, rsaKey},
		{fromHost, "ed-bare", jwt.SigningMethodEdDSA, edKey},
		{fromHost, "256-bare", jwt.SigningMethodES256, p256Key},
		{fromHost, "521-bare", jwt.SigningMethodES512, p521Key},
		{fromHost, "rsa-bare", jwt.SigningMethodRS256, rsaKey},
		{fromHost, "rsa-bare", jwt.SigningMethodPS256, rsaKey},
		{fromSecret, "", jwt.SigningMethodHS256, sharedSecret},
		{fromSecret, "any", jwt.SigningMethodHS256, sharedSecret},
	} {
		header := object{"alg": test.method.Alg()}
		if test.kid != "" {
			header["kid"] = test.kid
		}
		claims := goodClaims()
		got, err := verify(t, test.v, sign(test.method, test.key, header.json(), claims.json()))
		wantOwner(t, got, err, owner)
		if want := claims["exp"].(int64); got.Expires.Unix() != want {
			t.Errorf("%s: expires %d, want %d", test.kid, got.Expires.Unix(), want)
		}
	}
}

func TestHeaderForms(t *testing.T) {
	t.Parallel()
	v := withKeys(t, jwk("ed", "EdDSA", edKey))
	token := signEd(goodHeader(), goodClaims())
	for _, good := range []string{"Bearer " + token, "bearer " + token, "BEARER  " + token} {
		got, err := v.Verify(t.Context(), []string{good})
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
		{[]string{"Bearer " + strings.Repeat(".", 8193)}, auth.CodeInvalid, "8 KiB"},
		{[]string{"Bearer " + strings.Repeat(".", 8192)}, auth.CodeInvalid, "not a signed JWT"},
		{[]string{"Bearer .."}, auth.CodeInvalid, "cannot be read"},
		{[]string{"Bearer kJ4xQzA0mUuV9c2pT7bR1nW6yE3sL8dF"}, auth.CodeInvalid, "GET /api/auth/token"},                         // session token
		{[]string{"Bearer kJ4xQzA0mUuV9c2pT7bR1nW6.dGVzdA%3D%3D"}, auth.CodeInvalid, "not a signed JWT"},                       // the cookie's form
		{[]string{"Bearer " + b64([]byte(`{"alg":"dir","enc":"A256GCM"}`)) + "..a.b.c"}, auth.CodeInvalid, "not a signed JWT"}, // JWE
	} {
		_, err := v.Verify(t.Context(), test.header)
		t.Run(fmt.Sprintf("%.40q", test.header), func(t *testing.T) { wantRefused(t, err, test.code, test.text) })
	}
}

func TestLongestToken(t *testing.T) {
	t.Parallel()
	v := withKeys(t, jwk("ed", "EdDSA", edKey))
	var token string
	for size := 5000; len(token) < 8<<10-2; size++ {
		token = signEd(goodHeader(), goodClaims().with(object{"image": strings.Repeat("x", size)}))
	}
	got, err := verify(t, v, token)
	wantOwner(t, got, err, owner)
	_, err = verify(t, v, signEd(goodHeader(), goodClaims().with(object{"image": strings.Repeat("x", 6100)})))
	wantRefused(t, err, auth.CodeInvalid, "8 KiB")
}

func TestBadJOSEHeader(t *testing.T) {
	t.Parallel()
	h := newHost(t, serve(jwks(jwk("ed", "EdDSA", edKey))))
	v := withHost(t, h)
	eventually(t, "keys are loaded", func() bool { return v.Ready() == nil })
	for _, typ := range []any{"JWT", "jwt"} {
		got, err := verify(t, v, signEd(goodHeader().with(object{"typ": typ}), goodClaims()))
		wantOwner(t, got, err, owner)
	}
	embedded := jwk("evil", "EdDSA", nextKey)
	for name, test := range map[string]struct {
		header string
		text   string
	}{
		"typ at+jwt":      {goodHeader().with(object{"typ": "at+jwt"}).json(), "another kind"},
		"typ JOSE":        {goodHeader().with(object{"typ": "JOSE"}).json(), "another kind"},
		"typ empty":       {goodHeader().with(object{"typ": ""}).json(), "another kind"},
		"typ number":      {goodHeader().with(object{"typ": 1}).json(), "another kind"},
		"typ null":        {`{"alg":"EdDSA","kid":"ed","typ":null}`, "another kind"},
		"typ alike":       {goodHeader().with(object{"typ": "JW\u0422"}).json(), "another kind"},
		"crit":            {goodHeader().with(object{"crit": []string{"b64"}, "b64": false}).json(), "crit"},
		"crit empty":      {goodHeader().with(object{"crit": []string{}}).json(), "crit"},
		"crit null":       {`{"alg":"EdDSA","kid":"ed","crit":null}`, "crit"},
		"no kid":          {`{"alg":"EdDSA"}`, "kid"},
		"kid empty":       {`{"alg":"EdDSA","kid":""}`, "kid"},
		"kid null":        {`{"alg":"EdDSA","kid":null}`, "kid"},
		"kid number":      {`{"alg":"EdDSA","kid":7}`, "kid"},
		"kid list":        {`{"alg":"EdDSA","kid":["ed"]}`, "kid"},
		"kid other case":  {`{"alg":"EdDSA","KID":"ed"}`, "kid"},
		"kid for SQL":     {goodHeader().with(object{"kid": "' or 1=1 --"}).json(), "unknown"},
		"kid for a file":  {goodHeader().with(object{"kid": "../../../../dev/null"}).json(), "unknown"},
		"kid as format":   {goodHeader().with(object{"kid": "%s%n\x00\u2028"}).json(), "unknown"},
		"kid case":        {goodHeader().with(object{"kid": "ED"}).json(), "unknown"},
		"key in token":    {object{"alg": "EdDSA", "kid": "evil", "jwk": embedded}.json(), "unknown"},
		"URL in token":    {object{"alg": "EdDSA", "kid": "evil", "jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/"}.json(), "unknown"},
		"alg none":        {`{"alg":"none","kid":"ed"}`, "alg"},
		"alg None":        {`{"alg":"None","kid":"ed"}`, "alg"},
		"alg missing":     {`{"kid":"ed"}`, "alg"},
		"alg number":      {`{"alg":1,"kid":"ed"}`, "alg"},
		"alg other case":  {`{"alg":"eddsa","kid":"ed"}`, "alg"},
		"alg Ed448":       {`{"alg":"Ed448","kid":"ed"}`, "alg"},
		"alg RS384":       {`{"alg":"RS384","kid":"unknown"}`, "alg"},
		"alg of another":  {`{"alg":"ES256","kid":"ed"}`, "alg"},
		"alg RS256":       {`{"alg":"RS256","kid":"ed"}`, "alg"},
		"alg HS256":       {`{"alg":"HS256","kid":"ed"}`, "alg"},
		"null":            {`null`, "alg"},
		"list":            {`[]`, "cannot be read"},
		"not JSON":        {`{"alg":"EdDSA","kid":"ed"`, "cannot be read"},
		"two JSON values": {`{"alg":"EdDSA","kid":"ed"}{}`, "cannot be read"},
		"empty":           {``, "cannot be read"},
		"deep":            {`{"alg":"EdDSA","kid":"ed","x":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + `,"crit":[]}`, "crit"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Signed by a key that would fit, so that only the header is at fault.
			key := edKey
			if strings.Contains(test.header, "evil") {
				key = nextKey
			}
			_, err := verify(t, v, sign(jwt.SigningMethodEdDSA, key, test.header, goodClaims().json()))
			wantRefused(t, err, auth.CodeInvalid, test.text)
		})
	}
}

func TestBadClaims(t *testing.T) {
	t.Parallel()
	fromHost, fromSecret := withKeys(t, jwk("ed", "EdDSA", edKey)), withSecret(t)
	now := time.Now().Unix()
	change := func(changes object) string { return goodClaims().with(changes).json() }
	// raw puts JSON, as it is, in front of the other claims.
	raw := func(json string, without string) string {
		return "{" + json + "," + goodClaims().with(object{without: nil}).json()[1:]
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
		"nbf later":                             {change(object{"nbf": now + 300}), auth.CodeInvalid, "not valid yet"},
		"nbf text":                              {change(object{"nbf": "1"}), auth.CodeInvalid, "type"},
		"nbf -1e300":                            {raw(`"nbf":-1e300`, "nbf"), auth.CodeInvalid, "cannot be read"},
		"iat in the future":                     {change(object{"iat": now + 300}), auth.CodeInvalid, "future"},
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
		"sub half surrogate":                    {raw(`"sub":"a\ud800"`, "sub"), auth.CodeInvalid, "sub"},
		"sub not UTF-8":                         {raw("\"sub\":\"a\xff\"", "sub"), auth.CodeInvalid, "cannot be read"},
		"name not UTF-8":                        {raw("\"name\":\"a\xc0\x80\"", "name"), auth.CodeInvalid, "cannot be read"},
		"sub twice":                             {raw(`"sub":"somebody"`, ""), auth.CodeInvalid, "cannot be read"},
		"sub twice, escaped":                    {raw(`"\u0073ub":"somebody"`, ""), auth.CodeInvalid, "cannot be read"},
		"exp twice":                             {raw(`"exp":1`, ""), auth.CodeInvalid, "cannot be read"},
		"name twice":                            {raw(`"name":1`, ""), auth.CodeInvalid, "cannot be read"},
		"nested JWT":                            {`"` + signEd(goodHeader(), goodClaims()) + `"`, auth.CodeInvalid, "cannot be read"},
		"bare JWT":                              {signEd(goodHeader(), goodClaims()), auth.CodeInvalid, "cannot be read"},
		"null":                                  {`null`, auth.CodeInvalid, "lacks"},
		"list":                                  {"[" + goodClaims().json() + "]", auth.CodeInvalid, "cannot be read"},
		"empty object":                          {`{}`, auth.CodeInvalid, "lacks"},
		"empty":                                 {``, auth.CodeInvalid, "cannot be read"},
		"a name twice, after quotes and braces": {raw(`"x":"\\\"{[,:","y":{"a":1,"a":[2]},"z":[{"b":"}"}],"name":1`, ""), auth.CodeInvalid, "cannot be read"},
		"two JSON values":                       {goodClaims().json() + goodClaims().json(), auth.CodeInvalid, "cannot be read"},
		"byte order mark":                       {"\ufeff" + goodClaims().json(), auth.CodeInvalid, "cannot be read"},
		"UTF-16":                                {"\xfe\xff\x00{\x00}", auth.CodeInvalid, "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := verify(t, fromHost, sign(jwt.SigningMethodEdDSA, edKey, goodHeader().json(), test.claims))
			wantRefused(t, err, test.code, test.text)
			_, err = verify(t, fromSecret, sign(jwt.SigningMethodHS256, sharedSecret, `{"alg":"HS256"}`, test.claims))
			wantRefused(t, err, test.code, test.text)
		})
	}
}

func TestUnusualButGoodClaims(t *testing.T) {
	t.Parallel()
	v := withKeys(t, jwk("ed", "EdDSA", edKey))
	now := time.Now().Unix()
	for name, changes := range map[string]object{
		"longest sub":       {"sub": strings.Repeat("x", 255)},
		"longest sub, wide": {"sub": strings.Repeat("🦆", 255)},
		"shortest sub":      {"sub": "é"},
		"sub like SQL":      {"sub": "' or 1=1 --"},
		"audience in list":  {"aud": []string{"another", audience}},
		"within leeway":     {"exp": now - 10, "nbf": now + 10, "iat": now + 10},
		"fractions":         {"exp": float64(now) + 900.5, "iat": float64(now) - 0.5},
		"no iat":            {"iat": nil},
		"nested objects":    {"quotes": `\\"{[,:`, "list": []any{object{"a": 1, "b": "}"}, []any{}}, "object": object{"sub": "nobody", "exp": 1}},
		"nbf past":          {"nbf": now - 60},
		"long life":         {"exp": now + 7*24*3600},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			claims := goodClaims().with(changes)
			got, err := verify(t, v, signEd(goodHeader(), claims))
			wantOwner(t, got, err, claims["sub"].(string))
		})
	}
}

func TestTamperedToken(t *testing.T) {
	t.Parallel()
	keys := withKeys(t, jwk("ed", "EdDSA", edKey), jwk("256", "ES256", p256Key), jwk("rs", "RS256", rsaKey), jwk("ps", "PS256", rsaKey))
	for _, test := range []struct {
		v      *auth.Verifier
		kid    string
		method jwt.SigningMethod
		key    any
	}{
		{keys, "ed", jwt.SigningMethodEdDSA, edKey},
		{keys, "256", jwt.SigningMethodES256, p256Key},
		{keys, "rs", jwt.SigningMethodRS256, rsaKey},
		{keys, "ps", jwt.SigningMethodPS256, rsaKey},
		{withSecret(t), "", jwt.SigningMethodHS256, sharedSecret},
	} {
		header := object{"alg": test.method.Alg(), "kid": test.kid}.json()
		parts := strings.Split(sign(test.method, test.key, header, goodClaims().json()), ".")
		other := strings.Split(sign(test.method, test.key, header, goodClaims().with(object{"sub": "mallory"}).json()), ".")
		flipped := []byte(parts[2])
		if flipped[10]++; flipped[10] != 'B' {
			flipped[10] = 'A'
		}
		for name, token := range map[string]string{
			"payload":             parts[0] + "." + other[1] + "." + parts[2],
			"header":              b64([]byte(header+" ")) + "." + parts[1] + "." + parts[2],
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

// The same signature must not be spelt in several ways, or one token could fill
// a cache of verified ones with copies of itself.
func TestSpareBitsOfBase64AreRefused(t *testing.T) {
	t.Parallel()
	v := withKeys(t, jwk("ed", "EdDSA", edKey))
	token := signEd(goodHeader(), goodClaims()) // 64 bytes: the last character has 4 spare bits
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, token[len(token)-1])
	for spare := 1; spare < 16; spare++ {
		_, err := verify(t, v, token[:len(token)-1]+alphabet[last+spare:last+spare+1])
		wantRefused(t, err, auth.CodeInvalid, "cannot be read")
	}
	_, err := verify(t, v, strings.NewReplacer("-", "+", "_", "/").Replace(token)+"==")
	wantRefused(t, err, auth.CodeInvalid, "")
}

// The classic: a public key is no secret, so it must not be usable as one.
func TestPublicKeyIsNoSharedSecret(t *testing.T) {
	t.Parallel()
	v := withKeys(t, jwk("ed", "EdDSA", edKey), jwk("rs", "", rsaKey))
	for kid, key := range map[string]crypto.Signer{"ed": edKey, "rs": rsaKey} {
		der := must(x509.MarshalPKIXPublicKey(key.Public()))
		for form, secret := range map[string][]byte{
			"DER":     der,
			"PEM":     pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
			"raw":     der[len(der)-32:], // all there is of an Ed25519 key
			"modulus": rsaKey.N.Bytes(),
			"JWK":     []byte(jwk(kid, "", key).json()),
			"JWKS":    []byte(jwks(jwk("ed", "EdDSA", edKey), jwk("rs", "", rsaKey))),
			"empty":   {},
		} {
			_, err := verify(t, v, sign(jwt.SigningMethodHS256, secret, object{"alg": "HS256", "kid": kid}.json(), goodClaims().json()))
			t.Run(kid+" "+form, func(t *testing.T) { wantRefused(t, err, auth.CodeInvalid, "alg") })
		}
	}
}

func TestSecretVerifiesNothingElse(t *testing.T) {
	t.Parallel()
	v := withSecret(t)
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
		_, err := verify(t, v, sign(method, key, object{"alg": method.Alg()}.json(), goodClaims().json()))
		wantRefused(t, err, auth.CodeInvalid, "alg")
	}
	_, err := verify(t, v, sign(jwt.SigningMethodHS256, []byte("another secret of 32 characters!"), `{"alg":"HS256"}`, goodClaims().json()))
	wantRefused(t, err, auth.CodeInvalid, "signature")
	for _, header := range []string{`{"alg":"HS256","typ":"at+jwt"}`, `{"alg":"HS256","crit":["exp"]}`} {
		_, err := verify(t, v, sign(jwt.SigningMethodHS256, sharedSecret, header, goodClaims().json()))
		wantRefused(t, err, auth.CodeInvalid, "")
	}
}

func TestSecretIsCopied(t *testing.T) {
	t.Parallel()
	mine := bytes.Clone(sharedSecret)
	v := newVerifier(t, func(c *auth.Config) { c.Secret = mine })
	clear(mine)
	got, err := verify(t, v, signShared(goodClaims()))
	wantOwner(t, got, err, owner)
}

func TestMaxTokenAge(t *testing.T) {
	t.Parallel()
	v := newVerifier(t, func(c *auth.Config) { c.Secret, c.MaxTokenAge = sharedSecret, time.Hour })
	now := time.Now().Unix()
	week := now + 7*24*3600
	token := func(changes object) string {
		return signShared(goodClaims().with(changes))
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

func TestNewRefusesWeakConfiguration(t *testing.T) {
	t.Parallel()
	good := auth.Config{JWKSURL: "https://app.example/api/auth/jwks", Issuer: issuer, Audience: audience}
	for name, test := range map[string]struct {
		change func(*auth.Config)
		wants  []string
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
			config := good
			test.change(&config)
			v, err := auth.New(t.Context(), config)
			if v != nil || err == nil {
				t.Fatal("accepted")
			}
			for _, want := range test.wants {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "0123456789") || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %q holds a secret", err)
			}
		})
	}
}

func TestNothingOfTokensAndSecretsIsShown(t *testing.T) {
	t.Parallel()
	var log syncBuffer
	h := newHost(t, serve(jwks(jwk("ed", "EdDSA", edKey), object{"kty": "oct", "kid": "oct", "k": b64(sharedSecret)})))
	v := newVerifier(t, func(c *auth.Config) {
		c.JWKSURL = strings.Replace(h.URL, "http://", "http://user:hunter2@", 1)
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	eventually(t, "keys are loaded", func() bool { return v.Ready() == nil })
	const mark = "MARKMARKMARK"
	for _, header := range []object{
		goodHeader().with(object{"kid": mark}), goodHeader().with(object{"alg": mark}), goodHeader().with(object{"typ": mark}),
		goodHeader().with(object{"crit": mark}), goodHeader(),
	} {
		for _, changes := range []object{{"sub": mark + "\x00"}, {"iss": mark}, {"aud": mark}, {"exp": mark}, {"exp": 1}} {
			token := signEd(header, goodClaims().with(changes))
			_, err := verify(t, v, token)
			if err == nil || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, errors.Unwrap(err)), mark) {
				t.Errorf("error %v", err)
			}
		}
	}
	h.now(status(500))
	_, _ = verify(t, v, signEd(goodHeader().with(object{"kid": mark + "2"}), goodClaims()))
	for _, secret := range []string{mark, "hunter2", b64(sharedSecret), string(sharedSecret)} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log holds %s:\n%s", secret, log.String())
		}
	}
	if !strings.Contains(log.String(), "signing keys loaded") {
		t.Errorf("the log does not say that keys are loaded:\n%s", log.String())
	}
	shared := withSecret(t)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(verb, shared) + fmt.Sprintf(verb, *shared); strings.Contains(text, "48 49 50") || strings.Contains(text, "0x30, 0x31") || strings.Contains(text, "01234") {
			t.Errorf("printing a Verifier shows its secret: %s", text)
		}
	}
}

func TestCancelledRequestIsNotCalledInvalid(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	h := newHost(t, serve(jwks(jwk("ed", "EdDSA", edKey))))
	v := withHost(t, h)
	eventually(t, "keys are loaded", func() bool { return v.Ready() == nil })
	h.now(func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := v.Verify(ctx, []string{"Bearer " + signEd(goodHeader().with(object{"kid": "next"}), goodClaims())})
	if !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("error %v, want ErrUnavailable", err)
	}
}

// FuzzVerify feeds whole headers: none but a genuine token is ever accepted.
func FuzzVerify(f *testing.F) {
	forever := goodClaims().with(object{"iat": 1, "exp": 9999999999}) // the same in each of fuzzing's processes
	genuine := signEd(goodHeader(), forever)
	shared := signShared(forever)
	for _, seed := range []string{
		"Bearer " + genuine, "bearer " + shared, "Bearer " + genuine + ",", "Basic YTpi", "", "Bearer ..", "Bearer " + genuine[:50],
		"Bearer " + b64([]byte(`{"alg":"none","kid":"ed"}`)) + "." + b64([]byte(forever.json())) + ".",
	} {
		f.Add(seed)
	}
	verifiers := []*auth.Verifier{withKeys(f, jwk("ed", "EdDSA", edKey)), withSecret(f)}
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
			if token := strings.TrimLeft(header[len("Bearer "):], " "); token != genuine && token != shared {
				t.Errorf("accepted %q", header)
			}
		}
	})
}

// FuzzClaims signs whatever it makes up: what is accepted is always an owner
// that the database can hold and a time that has not passed.
func FuzzClaims(f *testing.F) {
	for _, seed := range []object{goodClaims(), goodClaims().with(object{"exp": 1e300}), goodClaims().with(object{"aud": []any{audience, nil}})} {
		f.Add([]byte(seed.json()))
	}
	f.Add([]byte(`{"sub":"\ud800","exp":9999999999,"iss":"` + issuer + `","aud":"` + audience + `"}`))
	f.Add([]byte(`null`))
	v := withSecret(f)
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

// BenchmarkVerify is for a token that comes again: it is remembered.
func BenchmarkVerify(b *testing.B) {
	keys := withKeys(b, jwk("ed", "EdDSA", edKey), jwk("256", "ES256", p256Key), jwk("rs", "RS256", rsaKey))
	for _, test := range []struct {
		v      *auth.Verifier
		kid    string
		method jwt.SigningMethod
		key    any
	}{
		{keys, "ed", jwt.SigningMethodEdDSA, edKey},
		{keys, "256", jwt.SigningMethodES256, p256Key},
		{keys, "rs", jwt.SigningMethodRS256, rsaKey},
		{withSecret(b), "", jwt.SigningMethodHS256, sharedSecret},
	} {
		header := []string{"Bearer " + sign(test.method, test.key, object{"alg": test.method.Alg(), "kid": test.kid}.json(), goodClaims().json())}
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

// BenchmarkVerifyParallel is BenchmarkVerify for many owners at once: run it with -cpu 1,2 to see what the locks cost.
func BenchmarkVerifyParallel(b *testing.B) {
	v := withKeys(b, jwk("ed", "EdDSA", edKey))
	headers := make([][]string, 1000)
	for i := range headers {
		headers[i] = []string{"Bearer " + signEd(goodHeader(), goodClaims().with(object{"number": i}))}
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

// BenchmarkVerifyFirst is BenchmarkVerify for a token that was never seen before.
func BenchmarkVerifyFirst(b *testing.B) {
	v := withKeys(b, jwk("ed", "EdDSA", edKey))
	headers := make([][]string, b.N)
	for i := range headers {
		headers[i] = []string{"Bearer " + signEd(goodHeader(), goodClaims().with(object{"number": i}))}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for _, header := range headers {
		if _, err := v.Verify(b.Context(), header); err != nil {
			b.Fatal(err)
		}
	}
}
