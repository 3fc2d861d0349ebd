package auth

import (
	"bytes"
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"
)

const (
	refreshEvery = 10 * time.Minute
	retryMin     = 100 * time.Millisecond // after a failed fetch, doubling to
	retryMax     = 5 * time.Second
	askEvery     = 5 * time.Second        // fetches for the sake of unknown keys
	waitMax      = 200 * time.Millisecond // of one request for such a fetch
	fetchTimeout = 3 * time.Second
	maxJWKS      = 256 << 10 // bytes
	minRSA       = 2048      // bits; RFC 7518, section 3.3
)

// errUnknownKey says that no loaded key has the token's kid.
var errUnknownKey = jwkset.ErrKeyNotFound

// keySet holds the public keys of a JWKS (RFC 7517) and keeps them fresh.
//
// keyfunc finds a token's key in it, and compares the algorithms, through
// jwkset.Storage. The fetching is our own because jwkset's blocks until its
// first answer, retries a failed one only at the next refresh, gives up all
// keys for a malformed one, reads answers of any size, and ends a fetch
// together with the request that asked for it.
type keySet struct {
	*jwkset.MemoryJWKSet // the keys in use

	ctx     context.Context // ends the refreshing
	url     string
	client  *http.Client
	log     *slog.Logger
	keyfunc keyfunc.Keyfunc
	asks    *rate.Limiter
	changes atomic.Uint64 // of the keys

	mu      sync.Mutex
	current chan struct{} // closed when the fetch under way ends; nil: there is none
	next    *time.Timer   // begins the next fetch
	retry   time.Duration // until then, if the one under way fails
	news    string        // what was logged last; only the fetch under way uses it
	body    []byte        // what the JWKS host answered last; only the fetch under way uses it
}

func newKeySet(ctx context.Context, url string, log *slog.Logger) (*keySet, error) {
	s := &keySet{
		MemoryJWKSet: jwkset.NewMemoryStorage(),
		ctx:          ctx,
		url:          url,
		client: &http.Client{
			Timeout: fetchTimeout,
			// A redirect is an answer other than 200: whoever can make one must
			// not choose our keys.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport: &http.Transport{
				Proxy:                  http.ProxyFromEnvironment,
				DisableKeepAlives:      true, // the next fetch is minutes away
				MaxResponseHeaderBytes: 64 << 10,
			},
		},
		log:   log,
		asks:  rate.NewLimiter(rate.Every(askEvery), 1),
		retry: retryMin,
	}
	var err error
	if s.keyfunc, err = keyfunc.New(keyfunc.Options{Ctx: ctx, Storage: s}); err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	s.mu.Lock() // s.next must be there when the first fetch ends
	defer s.mu.Unlock()
	s.next = time.AfterFunc(0, func() { s.fetch(func() bool { return true }) })
	return s, nil
}

func (s *keySet) generation() uint64 { return s.changes.Load() }

func (s *keySet) algorithms() []string { return []string{"EdDSA", "ES256", "ES512", "PS256", "RS256"} }

// key returns the public key that token names.
func (s *keySet) key(ctx context.Context, token *jwt.Token) (any, error) {
	// Without a kid, keyfunc would try every key.
	if kid, _ := token.Header["kid"].(string); kid == "" {
		return nil, invalid("it does not name its signing key (kid)")
	}
	return s.keyfunc.KeyfuncCtx(ctx)(token)
}

func (s *keySet) ready() error {
	if all, err := s.KeyReadAll(s.ctx); err != nil || len(all) == 0 {
		return ErrUnavailable
	}
	return nil
}

// KeyRead returns the key of that kid for keyfunc. If there is none it asks for
// a fetch and waits for it, but not for long, and not at all if none may be
// made yet: tokens with made-up kids must neither hammer Better Auth nor pile
// up here. Its error is ErrUnavailable or wraps errUnknownKey.
func (s *keySet) KeyRead(ctx context.Context, kid string) (jwkset.JWK, error) {
	if key, err := s.MemoryJWKSet.KeyRead(ctx, kid); err == nil {
		return key, nil
	}
	timeout := time.NewTimer(waitMax)
	defer timeout.Stop()
	for {
		// In this order, so that a fetch that ends in between is not missed.
		fetched := s.fetch(s.asks.Allow)
		key, err := s.MemoryJWKSet.KeyRead(ctx, kid)
		if err == nil {
			return key, nil
		}
		if fetched == nil {
			return jwkset.JWK{}, errors.Join(err, s.ready())
		}
		select {
		case <-fetched:
		case <-timeout.C:
			return jwkset.JWK{}, errors.Join(err, s.ready())
		case <-ctx.Done():
			return jwkset.JWK{}, ErrUnavailable
		}
	}
}

// fetch loads the keys in the background, unless that is being done already or
// is not allowed. It returns what closes when the fetch under way ends, nil if
// there is none.
func (s *keySet) fetch(allowed func() bool) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil && allowed() {
		s.current = make(chan struct{})
		go func() { s.fetched(s.load()) }()
	}
	return s.current
}

// fetched ends a fetch and plans the next one: in ten minutes, or soon if this
// one failed or brought no key.
func (s *keySet) fetched(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.current)
	s.current = nil
	wait := refreshEvery
	if err != nil {
		wait, s.retry = s.retry, min(2*s.retry, retryMax)
	} else {
		s.retry = retryMin
	}
	if s.ctx.Err() == nil {
		s.next.Reset(wait)
	}
}

// load replaces the keys by those that the JWKS has now. An answer without a
// key set leaves them as they are; one with no usable key leaves none. Both are
// errors.
func (s *keySet) load() error {
	body, keys, unused, err := s.download()
	if err == nil {
		err = errors.Join(s.KeyReplaceAll(s.ctx, keys), s.ready())
		if !bytes.Equal(body, s.body) {
			s.body = body
			s.changes.Add(1) // after the old keys are gone: nothing they verify from here on is remembered
		}
	}
	s.report(len(keys), unused, err)
	return err
}

// report logs how a load went, once for as long as they all go the same way.
func (s *keySet) report(keys int, unused, err error) {
	news := fmt.Sprint(keys, unused, err)
	if news == s.news || s.ctx.Err() != nil {
		return
	}
	s.news = news
	switch {
	case err != nil:
		s.log.WarnContext(s.ctx, "signing keys not loaded", "error", errors.Join(err, unused))
	case unused != nil:
		s.log.WarnContext(s.ctx, "signing keys loaded, but not all", "keys", keys, "error", unused)
	default:
		s.log.InfoContext(s.ctx, "signing keys loaded", "keys", keys)
	}
}

// download returns the JWKS, its usable keys, and why others are not. It fails
// if there is no key set.
func (s *keySet) download() (body []byte, keys []jwkset.JWK, unused, err error) {
	body, err = s.get()
	if err != nil {
		return nil, nil, nil, err
	}
	// Each key is kept raw at first: one that is malformed must not cost the others.
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, nil, nil, fmt.Errorf("JWKS: %w", err)
	}
	if set.Keys == nil {
		return nil, nil, nil, errors.New("JWKS has no member keys")
	}
	for i, raw := range set.Keys {
		key, err := parseKey(raw)
		if err != nil {
			unused = errors.Join(unused, fmt.Errorf("key %d: %w", i, err))
			continue
		}
		keys = append(keys, key)
	}
	return body, keys, unused, nil
}

// get returns the body that the JWKS host answers with.
func (s *keySet) get() ([]byte, error) {
	request, err := http.NewRequestWithContext(s.ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("JWKS host answered %d", response.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxJWKS+1))
	if err == nil && len(body) > maxJWKS {
		err = fmt.Errorf("JWKS is larger than %d bytes", maxJWKS)
	}
	return body, err
}

// parseKey returns the public key in a JWK, bound to its algorithm, or says why
// the key is not to be used.
func parseKey(raw json.RawMessage) (jwkset.JWK, error) {
	var jwk jwkset.JWKMarshal
	if err := json.Unmarshal(raw, &jwk); err != nil {
		return jwkset.JWK{}, err
	}
	algorithms := keyAlgorithms(jwk)
	switch {
	case jwk.KID == "":
		return jwkset.JWK{}, errors.New("no kid")
	case jwk.USE == jwkset.UseEnc, len(jwk.KEYOPS) > 0 && !slices.Contains(jwk.KEYOPS, jwkset.KeyOpsVerify):
		return jwkset.JWK{}, errors.New("not for verifying (use, key_ops)")
	case jwk.D != "":
		return jwkset.JWK{}, errors.New("a private key, published")
	case len(algorithms) == 0:
		return jwkset.JWK{}, errors.New("type or curve not supported (kty, crv)")
	case jwk.ALG != "" && !slices.Contains(algorithms, jwk.ALG):
		return jwkset.JWK{}, errors.New("alg does not fit the key's type")
	case jwk.ALG == "" && len(algorithms) == 1:
		// keyfunc compares it with the token's; golang-jwt alone would let a
		// P-256 key verify ES512.
		jwk.ALG = algorithms[0]
	}
	// Zero options: no private or symmetric key, all checks.
	key, err := jwkset.NewJWKFromMarshal(jwk, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	if err != nil {
		return jwkset.JWK{}, err
	}
	if public, ok := key.Key().(*rsa.PublicKey); ok && public.N.BitLen() < minRSA {
		return jwkset.JWK{}, fmt.Errorf("RSA key shorter than %d bits", minRSA)
	}
	return key, nil
}

// keyAlgorithms lists what a key of that type and curve may verify (RFC 7518,
// section 3.1; RFC 8037, section 3.1): nothing for a symmetric one.
func keyAlgorithms(jwk jwkset.JWKMarshal) []jwkset.ALG {
	switch {
	case jwk.KTY == jwkset.KtyOKP && jwk.CRV == jwkset.CrvEd25519:
		return []jwkset.ALG{jwkset.AlgEdDSA}
	case jwk.KTY == jwkset.KtyEC && jwk.CRV == jwkset.CrvP256:
		return []jwkset.ALG{jwkset.AlgES256}
	case jwk.KTY == jwkset.KtyEC && jwk.CRV == jwkset.CrvP521:
		return []jwkset.ALG{jwkset.AlgES512}
	case jwk.KTY == jwkset.KtyRSA:
		return []jwkset.ALG{jwkset.AlgRS256, jwkset.AlgPS256}
	}
	return nil
}
