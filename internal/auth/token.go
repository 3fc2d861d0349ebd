package auth

import (
	"encoding/base64"
	"errors"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/golang-jwt/jwt/v5"
)

const (
	maxToken = 8 << 10      // bytes
	maxOwner = 255          // characters, as in the column user_id
	maxDate  = 253402300799 // Unix time of the last second of the year 9999
)

// Codes of a TokenError. They are stable, so programs may rely on them.
const (
	CodeMissing = "missing" // no token was sent
	CodeExpired = "expired" // the token is valid except that it has expired
	CodeInvalid = "invalid" // the token is not valid for any other reason
)

// TokenError is returned for a token that is missing or not valid. The response is 401.
type TokenError struct {
	// Code is CodeMissing, CodeExpired or CodeInvalid.
	Code string
	// Short is Reason in short, for logs and traces: one of those that docs/operations.md lists.
	Short string
	// Reason is a sentence for the user. It contains no part of the token, and only characters that RFC 6750,
	// section 3, permits in error_description.
	Reason string
}

// Error implements error.
func (e *TokenError) Error() string { return "auth: " + e.Reason }

const getNewToken = "ask Better Auth for a new one (GET /api/auth/token)" //nolint:gosec // a sentence, and no credential

func missing() error {
	return &TokenError{CodeMissing, "missing", "Missing or invalid authorization token: send the header Authorization with Bearer, a space and a token from Better Auth (GET /api/auth/token)"}
}

func invalid(short, reason string) error {
	return &TokenError{CodeInvalid, short, "Missing or invalid authorization token: " + reason}
}

func expired() error {
	return &TokenError{CodeExpired, "expired", "Authorization token expired; " + getNewToken}
}

// bearer returns the token in the values of the Authorization header (RFC 6750, section 2.1). Its error is a
// *TokenError.
func bearer(authorization []string) (string, error) {
	if len(authorization) > 1 {
		// A proxy may have checked a different one than we would.
		return "", invalid("several_headers", "send one Authorization header, not several")
	}
	if len(authorization) == 0 || authorization[0] == "" {
		return "", missing()
	}
	scheme, token, _ := strings.Cut(authorization[0], " ")
	token = strings.TrimLeft(token, " ")
	switch {
	case !strings.EqualFold(scheme, "Bearer"):
		return "", invalid("not_bearer", "the Authorization header must be Bearer, a space and the token")
	case token == "":
		return "", missing()
	case len(token) > maxToken:
		return "", invalid("too_long", "it is longer than 8 KiB. Better Auth puts the whole user into it, also an image that is a data: URL; "+
			"name the claims it needs with jwt.definePayload in the options of the jwt plugin")
	case strings.ContainsAny(token, " \t\r\n,"):
		// Line breaks are included because base64 decoding ignores them.
		return "", invalid("several_tokens", "send one token, without white space or commas")
	case strings.Count(token, ".") != 2:
		return "", invalid("not_a_jwt", "this is not a signed JWT but perhaps a session token; an API token comes from Better Auth (GET /api/auth/token)")
	}
	return token, nil
}

// checkHeader refuses headers with a duplicate name (RFC 7515, section 4) or invalid UTF-8, which parsers do not treat
// alike, tokens issued for another purpose (RFC 8725, section 3.11), and tokens with critical extensions, none of which
// is supported (RFC 7515, section 4.1.11). Its error is a *TokenError.
func checkHeader(token *jwt.Token) error {
	raw, _, _ := strings.Cut(token.Raw, ".")
	decoded, err := base64.RawURLEncoding.DecodeString(raw)
	if err != nil {
		return invalid("malformed", "it cannot be read as a JWT")
	}
	header := map[string]any{}
	if err := json.Unmarshal(decoded, &header); err != nil {
		return invalid("malformed", "a name occurs twice in its header, or the header cannot be read")
	}
	if typ, ok := header["typ"]; ok {
		if text, _ := typ.(string); !strings.EqualFold(text, "JWT") {
			return invalid("wrong_type", "it is a token of another kind (typ); "+getNewToken)
		}
	}
	if _, ok := header["crit"]; ok {
		return invalid("critical_extension", "it needs an extension that is not supported (crit)")
	}
	return nil
}

// claims are the claims of a token. Their names are case-sensitive.
type claims struct{ jwt.MapClaims }

// UnmarshalJSON decodes the claims more strictly than encoding/json: it returns an error for duplicate names (RFC 7519,
// section 4) and for invalid UTF-8, which parsers do not treat alike. It also returns an error for dates after the year
// 9999, which are in milliseconds by mistake or overflow time.Time.
func (c *claims) UnmarshalJSON(data []byte) error {
	if err := json.Unmarshal(data, &c.MapClaims); err != nil {
		return err
	}
	for _, name := range []string{"exp", "nbf", "iat"} {
		if date, _ := c.MapClaims[name].(float64); math.Abs(date) > maxDate {
			return errors.New("a date is out of range")
		}
	}
	return nil
}

// identity returns the identity in claims that the parser has validated. Its error is a *TokenError.
func (c *claims) identity(maxAge time.Duration) (Identity, error) {
	owner, err := c.GetSubject()
	length := utf8.RuneCountInString(owner)
	// PostgreSQL cannot store U+0000.
	if err != nil || length < 1 || length > maxOwner || strings.Contains(owner, "\x00") {
		return Identity{}, invalid("bad_subject", "its subject (sub) is not a text of 1 to 255 characters")
	}
	exp, err := c.GetExpirationTime()
	if err != nil || exp == nil {
		return Identity{}, invalid("claim_missing", "it has no expiry (exp)")
	}
	expires := exp.Time
	if maxAge > 0 {
		iat, err := c.GetIssuedAt()
		if err != nil || iat == nil {
			return Identity{}, invalid("claim_missing", "it does not say when it was issued (iat)")
		}
		if limit := iat.Add(maxAge); limit.Before(expires) {
			expires = limit
		}
		if !time.Now().Before(expires.Add(leeway)) {
			return Identity{}, expired()
		}
	}
	return Identity{Owner: owner, Expires: expires}, nil
}

// parseErrors lists the errors of golang-jwt in the order in which they are tested. jwt.ErrTokenExpired is tested last,
// so that a token is reported as expired only if it is otherwise valid.
var parseErrors = []struct {
	err           error
	short, reason string
}{
	{errUnknownKey, "unknown_key", "its signing key is unknown; " + getNewToken},
	{jwt.ErrTokenMalformed, "malformed", "it cannot be read as a JWT"},
	{jwt.ErrTokenUnverifiable, "wrong_algorithm", "its algorithm (alg) does not fit its key, or is not accepted at all"},
	{jwt.ErrTokenSignatureInvalid, "bad_signature", "its signature does not fit its key, or its algorithm (alg) is not accepted"},
	{jwt.ErrInvalidType, "claim_type", "one of its claims has the wrong type"},
	{jwt.ErrTokenRequiredClaimMissing, "claim_missing", "it lacks its issuer (iss), audience (aud) or expiry (exp)"},
	{jwt.ErrTokenInvalidIssuer, "wrong_issuer", "it comes from another issuer (iss)"},
	{jwt.ErrTokenInvalidAudience, "wrong_audience", "it is meant for another audience (aud)"},
	{jwt.ErrTokenNotValidYet, "not_valid_yet", "it is not valid yet (nbf)"},
	{jwt.ErrTokenUsedBeforeIssued, "issued_in_the_future", "it was issued in the future (iat); are the clocks right?"},
}

// parseError converts an error of the parser into ErrUnavailable or a *TokenError. It does not wrap err, which may
// quote the token.
func parseError(err error) error {
	if errors.Is(err, ErrUnavailable) {
		return ErrUnavailable
	}
	if refused, ok := errors.AsType[*TokenError](err); ok {
		return refused
	}
	for _, known := range parseErrors {
		if errors.Is(err, known.err) {
			return invalid(known.short, known.reason)
		}
	}
	if errors.Is(err, jwt.ErrTokenExpired) {
		return expired()
	}
	return invalid("not_verifiable", "it cannot be verified")
}
