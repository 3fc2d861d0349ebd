// Package auth verifies bearer tokens and returns the owner that each identifies.
//
// A token is a signed JWT (RFC 7519), issued to a signed-in user by Better Auth or by a frontend that shares a secret
// with this service. Verify checks a token in this order:
//
//	bearer       one Authorization header with one token of limited size   token.go
//	cache        a token verified within the last minute is accepted       cache.go
//	checkHeader  names, typ and crit, before any key is looked up          token.go
//	key          the public key that the token names, or the secret        keys.go, secret.go
//	golang-jwt   the signature, then exp, nbf, iat, iss and aud            token.go (parseError)
//	identity     sub becomes the owner                                     token.go
package auth

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

const (
	leeway    = 30 * time.Second // allowed difference between the issuer's clock and ours
	minSecret = 32               // bytes: the size of the hash (RFC 7518, section 3.2)
)

// ErrUnavailable is returned when no signing key is loaded, so that a token can be neither accepted nor refused. The
// condition is temporary: respond with 503 and Retry-After, not with 401.
var ErrUnavailable = errors.New("auth: no signing keys loaded")

// Config defines which tokens are valid. Exactly one of JWKSURL and Secret must be set, so that no key is used with
// both a symmetric and an asymmetric algorithm (RFC 8725, section 3.1).
type Config struct {
	JWKSURL     string        // address of Better Auth's public keys: its base URL followed by /api/auth/jwks
	Secret      []byte        // HS256 secret shared with the frontend; at least 32 bytes
	Issuer      string        // required value of iss, compared exactly; must be set
	Audience    string        // required value or element of aud, compared exactly; must be set
	MaxTokenAge time.Duration // maximum age since iat, even if exp is later; 0 means that only exp counts
	Logger      *slog.Logger  // logs key refreshes; nil disables logging
	Tracer      trace.Tracer  // for spans of fetched keys and of verifications; nil: there are none

	keepKeys time.Duration // replaces the constant keepKeys, for tests; zero means that constant
}

// Identity is the result of verifying a token.
type Identity struct {
	Owner   string    // the token's sub: 1 to 255 characters, without U+0000
	Expires time.Time // exp, or iat plus MaxTokenAge if that is earlier; without leeway
}

// Verifier verifies tokens. It is safe for concurrent use.
type Verifier struct {
	parser *jwt.Parser
	keys   keySource
	maxAge time.Duration
	cache  *cache
	tracer trace.Tracer // nil: there are no spans
}

// keySource provides the keys that verify tokens. It is implemented by *keySet and secret.
type keySource interface {
	// algorithms returns the permitted values of a token's alg.
	algorithms() []string
	// key returns the key that verifies token. Its error is ErrUnavailable, a *TokenError, or an error that parseError
	// recognizes.
	key(ctx context.Context, token *jwt.Token) (any, error)
	// ready returns ErrUnavailable, wrapped, if there is no key.
	ready() error
	// generation returns a number that changes whenever the keys change.
	generation() uint64
	// stats returns the part of Stats that is about keys.
	stats() Stats
}

// New returns a Verifier. It returns an error that lists every fault of c if the signature, algorithm, expiry, issuer
// or audience of a token would not be checked. It does not wait for Better Auth: the keys are loaded and refreshed in
// the background until ctx ends.
func New(ctx context.Context, c Config) (*Verifier, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	v := &Verifier{maxAge: c.MaxTokenAge, cache: new(cache), tracer: c.Tracer}
	if c.JWKSURL != "" {
		set, err := newKeySet(ctx, c.JWKSURL, cmp.Or(c.keepKeys, keepKeys), c.Logger, c.Tracer)
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

// validate returns an error that lists every fault of c. The error contains no values, since a URL may contain a
// password.
func (c Config) validate() error {
	var faults []error
	require := func(valid bool, text string) {
		if !valid {
			faults = append(faults, errors.New("auth: "+text))
		}
	}
	require((c.JWKSURL == "") != (len(c.Secret) == 0), "exactly one of JWKSURL and Secret must be set")
	require(c.JWKSURL == "" || isHTTPURL(c.JWKSURL), "JWKSURL must be an absolute http or https URL")
	require(len(c.Secret) == 0 || len(c.Secret) >= minSecret, fmt.Sprintf("Secret must have at least %d bytes", minSecret))
	// golang-jwt does not check the issuer or audience if the expected value is empty.
	require(strings.TrimSpace(c.Issuer) != "", "Issuer must be set")
	require(strings.TrimSpace(c.Audience) != "", "Audience must be set")
	require(c.MaxTokenAge >= 0, "MaxTokenAge must not be negative")
	return errors.Join(faults...)
}

func isHTTPURL(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// Verify returns the identity in the token of an Authorization header. The argument holds all values of the header, as
// returned by r.Header.Values("Authorization").
//
// It returns a *TokenError if the token is missing or not valid, and ErrUnavailable if no key is loaded or ctx ends
// while the keys are being fetched. Errors contain no part of the token. If the token names an unknown key, Verify
// waits for a fetch of the keys for at most 200 ms.
func (v *Verifier) Verify(ctx context.Context, authorization []string) (Identity, error) {
	raw, err := bearer(authorization)
	if err != nil {
		return Identity{}, err
	}
	// The generation is read before the token is verified, so that the cached entry is obsolete if the keys change in
	// between.
	generation, now := v.keys.generation(), time.Now()
	var buffer [1 << 10]byte // keeps the copy of raw on the stack
	key := sha256.Sum256(append(buffer[:0], raw...))
	if identity, ok := v.cache.get(key, generation, now); ok {
		return identity, nil
	}
	identity, err := v.verifyUncached(ctx, raw)
	if err == nil {
		v.cache.put(key, identity, generation, now)
	}
	return identity, err
}

// verifyUncached calls verifyToken. A trace shows it, as it may fetch keys.
func (v *Verifier) verifyUncached(ctx context.Context, raw string) (Identity, error) {
	if v.tracer == nil || !trace.SpanFromContext(ctx).IsRecording() {
		return v.verifyToken(ctx, raw)
	}
	ctx, span := v.tracer.Start(ctx, "verify token")
	defer span.End()
	identity, err := v.verifyToken(ctx, raw)
	if errors.Is(err, ErrUnavailable) {
		span.SetStatus(codes.Error, ErrUnavailable.Error())
	}
	return identity, err
}

// verifyToken is like Verify, for a token that has been extracted from its header. It does not use the cache.
func (v *Verifier) verifyToken(ctx context.Context, raw string) (Identity, error) {
	var c claims
	_, err := v.parser.ParseWithClaims(raw, &c, func(token *jwt.Token) (any, error) {
		// golang-jwt has already checked that alg is one of the permitted algorithms.
		if err := checkHeader(token); err != nil {
			return nil, err
		}
		return v.keys.key(ctx, token)
	})
	if err != nil {
		return Identity{}, parseError(err)
	}
	return c.identity(v.maxAge)
}

// Stats is the state of a Verifier, with counts since it was made.
type Stats struct {
	Keys         int       // usable ones
	Fetched      time.Time // when the key set was last fetched; zero: never, or there is none
	Failures     int64     // how often it could not be fetched, or had no usable key
	CacheHits    int64     // how often a token was found in the cache
	CacheMisses  int64     // how often it was not
	CacheEntries int       // tokens in the cache
}

// Stats returns the state of the verifier.
func (v *Verifier) Stats() Stats {
	s := v.keys.stats()
	s.CacheHits, s.CacheMisses, s.CacheEntries = v.cache.stats()
	return s
}

// Ready returns ErrUnavailable, wrapped with the reason for the log, if there is no key to verify tokens with, and nil
// otherwise.
func (v *Verifier) Ready() error { return v.keys.ready() }
