package auth

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
)

const (
	maxToken = 8 << 10      // bytes
	maxOwner = 255          // characters, as in the column user_id
	maxDate  = 253402300799 // the last second of the year 9999
)

// The codes of a TokenError. They are stable: programs may rely on them.
const (
	CodeMissing = "missing" // no token was sent
	CodeExpired = "expired" // the token was good; a new one will be
	CodeInvalid = "invalid" // any other fault: asking again with it is no use
)

// TokenError says that a token is not good, or not there: the answer is 401.
type TokenError struct {
	// Code is one of the constants Code….
	Code string
	// Reason is a sentence that a person can act on. It holds nothing of the
	// token, and only characters that RFC 6750, section 3, allows in an
	// error_description.
	Reason string
}

// Error implements error.
func (e *TokenError) Error() string { return "auth: " + e.Reason }

const askForOne = "ask Better Auth for a new one (GET /api/auth/token)"

func missing() error {
	return &TokenError{CodeMissing, "Missing or invalid authorization token: send the header Authorization with Bearer, a space and a token from Better Auth (GET /api/auth/token)"}
}

func invalid(why string) error {
	return &TokenError{CodeInvalid, "Missing or invalid authorization token: " + why}
}

func expired() error {
	return &TokenError{CodeExpired, "Authorization token expired; " + askForOne}
}

// bearer takes the token out of the values of the Authorization header
// (RFC 6750, section 2.1). Its error is a *TokenError.
func bearer(authorization []string) (string, error) {
	if len(authorization) > 1 {
		// A proxy on the way may have looked at the other one.
		return "", invalid("send one Authorization header, not several")
	}
	if len(authorization) == 0 || authorization[0] == "" {
		return "", missing()
	}
	scheme, token, _ := strings.Cut(authorization[0], " ")
	token = strings.TrimLeft(token, " ")
	switch {
	case !strings.EqualFold(scheme, "Bearer"):
		return "", invalid("the Authorization header must be Bearer, a space and the token")
	case token == "":
		return "", missing()
	case len(token) > maxToken:
		return "", invalid("it is longer than 8 KiB")
	case strings.ContainsAny(token, " \t\r\n,"):
		// Line breaks too, because base64 decoding would skip them.
		return "", invalid("send one token, without white space or commas")
	case strings.Count(token, ".") != 2:
		return "", invalid("this is not a signed JWT but perhaps a session token; an API token comes from Better Auth (GET /api/auth/token)")
	}
	return token, nil
}

// checkHeader refuses tokens made for something else (RFC 8725, section 3.11)
// and extensions that would have to be understood (RFC 7515, section 4.1.11).
// Its error is a *TokenError.
func checkHeader(header map[string]any) error {
	if typ, given := header["typ"]; given {
		if text, _ := typ.(string); !strings.EqualFold(text, "JWT") {
			return invalid("it is a token of another kind (typ); " + askForOne)
		}
	}
	if _, given := header["crit"]; given {
		return invalid("it needs an extension that is not supported (crit)")
	}
	return nil
}

// claims are a token's claims, their names compared to the letter.
type claims struct{ jwt.MapClaims }

// UnmarshalJSON refuses what encoding/json would let pass though other parsers
// read it in another way: a claim given twice (RFC 7519, section 4), and bytes
// that are not UTF-8. It also refuses dates beyond the year 9999: they are
// milliseconds by mistake, or too large for time.Time.
func (c *claims) UnmarshalJSON(data []byte) error {
	if !utf8.Valid(data) {
		return errors.New("claims are not UTF-8")
	}
	if err := json.Unmarshal(data, &c.MapClaims); err != nil {
		return err
	}
	if members(data) != len(c.MapClaims) {
		return errors.New("a claim is given twice")
	}
	for _, name := range []string{"exp", "nbf", "iat"} {
		if date, _ := c.MapClaims[name].(float64); math.Abs(date) > maxDate {
			return errors.New("a date is out of range")
		}
	}
	return nil
}

// members counts the members of a JSON object that is known to be valid.
func members(object []byte) int {
	count, depth, inText := 0, 0, false
	for i := 0; i < len(object); i++ {
		switch c := object[i]; {
		case inText && c == '\\':
			i++
		case c == '"':
			inText = !inText
		case inText:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		case c == ':' && depth == 1:
			count++
		}
	}
	return count
}

// identity returns whom claims speak for once the parser has found them good.
// Its error is a *TokenError.
func (c *claims) identity(maxAge time.Duration) (Identity, error) {
	owner, err := c.GetSubject()
	length := utf8.RuneCountInString(owner)
	// encoding/json reads half a surrogate pair (\ud800) as U+FFFD: two subjects
	// would become one owner. PostgreSQL cannot store U+0000.
	if err != nil || length < 1 || length > maxOwner || strings.ContainsAny(owner, "\x00\uFFFD") {
		return Identity{}, invalid("its subject (sub) is not a text of 1 to 255 characters")
	}
	exp, err := c.GetExpirationTime()
	if err != nil || exp == nil {
		return Identity{}, invalid("it has no expiry (exp)")
	}
	expires := exp.Time
	if maxAge > 0 {
		iat, err := c.GetIssuedAt()
		if err != nil || iat == nil {
			return Identity{}, invalid("it does not say when it was issued (iat)")
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

// faults are golang-jwt's errors in the order in which they are looked for: a
// token is called expired only if nothing else is wrong with it.
var faults = []struct {
	is  error
	why string
}{
	{errUnknownKey, "its signing key is unknown; " + askForOne},
	{jwt.ErrTokenMalformed, "it cannot be read as a JWT"},
	{jwt.ErrTokenUnverifiable, "its algorithm (alg) does not fit its key, or is not accepted at all"},
	{jwt.ErrTokenSignatureInvalid, "its signature does not fit its key, or its algorithm (alg) is not accepted"},
	{jwt.ErrInvalidType, "one of its claims has the wrong type"},
	{jwt.ErrTokenRequiredClaimMissing, "it lacks its issuer (iss), audience (aud) or expiry (exp)"},
	{jwt.ErrTokenInvalidIssuer, "it comes from another issuer (iss)"},
	{jwt.ErrTokenInvalidAudience, "it is meant for another audience (aud)"},
	{jwt.ErrTokenNotValidYet, "it is not valid yet (nbf)"},
	{jwt.ErrTokenUsedBeforeIssued, "it was issued in the future (iat); are the clocks right?"},
}

// explain turns what the parser says into ErrUnavailable or a *TokenError. It
// wraps nothing: those errors quote the token.
func explain(err error) error {
	if errors.Is(err, ErrUnavailable) {
		return ErrUnavailable
	}
	if refused, ok := errors.AsType[*TokenError](err); ok {
		return refused
	}
	for _, fault := range faults {
		if errors.Is(err, fault.is) {
			return invalid(fault.why)
		}
	}
	if errors.Is(err, jwt.ErrTokenExpired) {
		return expired()
	}
	return invalid("it cannot be verified")
}
