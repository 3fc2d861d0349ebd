// Package auth turns a bearer token into the owner it speaks for.
//
// A token is a signed JWT (RFC 7519) that Better Auth, or a frontend sharing a
// secret with this service, gave to a signed-in person. Its way through here:
//
//	bearer       one Authorization header, one token, of a bounded size   token.go
//	cache        the same token within the last minute: done              cache.go
//	checkHeader  typ and crit, before any key is looked for               token.go
//	key          the public key that the token names, or the secret       keys.go, secret.go
//	golang-jwt   signature, then exp, nbf, iat, iss and aud               explain in token.go
//	identity     sub becomes the owner                                    token.go
package auth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	leeway    = 30 * time.Second // what clocks may differ by
	minSecret = 32               // bytes; RFC 7518, section 3.2: as long as the hash
)

// ErrUnavailable says that there is no key to verify with, so that nothing is
// known about the token. It passes: answer 503 with Retry-After, not 401.
var ErrUnavailable = errors.New("auth: no signing keys loaded")

// Config says which tokens are good. Exactly one of JWKSURL and Secret is set:
// one key never serves two kinds of algorithm (RFC 8725, section 3.1).
type Config struct {
	JWKSURL     string        // Better Auth's public keys: its base URL and /api/auth/jwks
	Secret      []byte        // shared with the frontend for HS256; at least 32 bytes
	Issuer      string        // what iss must be, to the letter; required
	Audience    string        // what aud must be or hold, to the letter; required
	MaxTokenAge time.Duration // since iat, whatever exp says; 0: exp alone decides
	Logger      *slog.Logger  // of key refreshes; nil: none
}

// Identity is who a good token speaks for.
type Identity struct {
	Owner   string    // the token's sub: 1 to 255 characters, without U+0000
	Expires time.Time // exp, or iat and MaxTokenAge if that is sooner; leeway not counted
}

// Verifier verifies tokens. It may be used by many goroutines at once.
type Verifier struct {
	parser *jwt.Parser
	keys   keySource
	maxAge time.Duration
	cache  *cache
}

// keySource is where the key for a token comes from: a *keySet or a secret.
type keySource interface {
	// algorithms lists what a token may be signed with.
	algorithms() []string
	// key returns the key that token's signature must match. What its error
	// means is for explain to say.
	key(ctx context.Context, token *jwt.Token) (any, error)
	ready() error
	// generation changes whenever the keys do.
	generation() uint64
}

// New returns a Verifier. It fails for a configuration that would check less
// than signature, algorithm, expiry, issuer and audience, and then names every
// fault. It neither waits for Better Auth nor fails without it: the keys are
// loaded, and kept fresh, in the background until ctx ends.
func New(ctx context.Context, c Config) (*Verifier, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	v := &Verifier{maxAge: c.MaxTokenAge, cache: new(cache)}
	if c.JWKSURL != "" {
		set, err := newKeySet(ctx, c.JWKSURL, c.Logger)
		if err != nil {
			return nil, err
		}
		v.keys = set
	} else {
		shared := bytes.Clone(c.Secret)
		v.keys = secret(func() []byte { return shared })
	}
	v.parser = jwt.NewParser(
		jwt.WithValidMethods(v.keys.algorithms()),
		jwt.WithIssuer(c.Issuer),
		jwt.WithAudience(c.Audience),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
		jwt.WithLeeway(leeway),
		jwt.WithStrictDecoding(),
	)
	return v, nil
}

// check returns every fault of c. It repeats no value: a URL may hold a
// password, and a secret is one.
func (c Config) check() error {
	var faults []error
	fault := func(is bool, text string) {
		if is {
			faults = append(faults, errors.New("auth: "+text))
		}
	}
	fault((c.JWKSURL == "") == (len(c.Secret) == 0), "exactly one of JWKSURL and Secret must be set")
	fault(c.JWKSURL != "" && !isHTTP(c.JWKSURL), "JWKSURL must be an absolute http or https URL")
	fault(len(c.Secret) > 0 && len(c.Secret) < minSecret, fmt.Sprintf("Secret must have at least %d bytes", minSecret))
	// To golang-jwt an empty issuer or audience means: do not look.
	fault(strings.TrimSpace(c.Issuer) == "", "Issuer must be set")
	fault(strings.TrimSpace(c.Audience) == "", "Audience must be set")
	fault(c.MaxTokenAge < 0, "MaxTokenAge must not be negative")
	return errors.Join(faults...)
}

func isHTTP(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// Verify returns who the token in a request's Authorization header speaks for,
// given all values of that header: r.Header.Values("Authorization").
//
// The error is a *TokenError if the token is not good, and ErrUnavailable if
// that cannot be known yet. Neither holds a byte of the token. A token that
// names an unknown key waits for at most 200 ms while the keys are fetched.
func (v *Verifier) Verify(ctx context.Context, authorization []string) (Identity, error) {
	raw, err := bearer(authorization)
	if err != nil {
		return Identity{}, err
	}
	// The generation is read before the token is verified: when the keys change
	// in between, what is stored is of the past at once.
	var room [1 << 10]byte // for a copy that does not live longer than this call
	key, generation, now := sha256.Sum256(append(room[:0], raw...)), v.keys.generation(), time.Now()
	if identity, known := v.cache.get(key, generation, now); known {
		return identity, nil
	}
	identity, err := v.verifyToken(ctx, raw)
	if err == nil {
		v.cache.put(key, identity, generation, now)
	}
	return identity, err
}

// verifyToken is Verify for a token already taken out of its header.
func (v *Verifier) verifyToken(ctx context.Context, raw string) (Identity, error) {
	var c claims
	_, err := v.parser.ParseWithClaims(raw, &c, func(token *jwt.Token) (any, error) {
		// golang-jwt has compared alg with the allowed ones before it asks for a key.
		if err := checkHeader(token.Header); err != nil {
			return nil, err
		}
		return v.keys.key(ctx, token)
	})
	if err != nil {
		return Identity{}, explain(err)
	}
	return c.identity(v.maxAge)
}

// Ready returns nil if there is a key to verify with, else ErrUnavailable.
func (v *Verifier) Ready() error { return v.keys.ready() }
