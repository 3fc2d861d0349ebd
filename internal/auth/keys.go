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
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"
)

const (
	refreshInterval    = 10 * time.Minute
	minRetryDelay      = 100 * time.Millisecond // after a failed fetch; doubles with every further failure
	maxRetryDelay      = 5 * time.Second
	unknownKeyInterval = 5 * time.Second        // between fetches that unknown keys cause
	maxFetchWait       = 200 * time.Millisecond // of a request for such a fetch
	keepKeys           = 10 * time.Minute       // that a key set without a usable key does not withdraw the last ones
	reportInterval     = time.Minute            // between lines of the log about a failure that lasts
	maxJWKS            = 256 << 10              // bytes
	minRSA             = 2048                   // bits; RFC 7518, section 3.3
)

// fetchTimeout is a variable so that tests on a busy machine can increase it.
var fetchTimeout = 3 * time.Second

// errUnknownKey is returned when no loaded key has the kid of the token.
var errUnknownKey = jwkset.ErrKeyNotFound

// keySet holds the public keys of a JWKS (RFC 7517) and refreshes them in the background.
//
// keyfunc looks up the key of a token through jwkset.Storage and compares the algorithms. keySet does not use jwkset's
// HTTP client, which blocks until the first response, retries a failed fetch only at the next refresh, discards all
// keys if one is malformed, does not limit the size of a response, and cancels a fetch with the request that caused it.
type keySet struct {
	*jwkset.MemoryJWKSet // the current keys

	ctx             context.Context // ends the refreshes
	url             string
	client          *http.Client
	log             *slog.Logger
	tracer          trace.Tracer // nil: there are no spans
	keyfunc         keyfunc.Keyfunc
	keep            time.Duration // see keepKeys
	unknownKeyLimit *rate.Limiter // limits the fetches that unknown keys cause
	version         atomic.Uint64 // incremented when the keys change

	mu         sync.Mutex
	fetching   chan struct{} // closed when the running fetch ends; nil if none is running
	timer      *time.Timer   // starts the next fetch
	retryDelay time.Duration // until the next fetch if the running one fails
	fetched    time.Time     // end of the last fetch of a key set with a usable key
	failed     error         // of the last fetch; nil: none
	failures   int64         // fetches without one

	// Used only by the running fetch.
	lastReport string    // the last result that was logged
	reported   time.Time // when it was
	lastBody   []byte    // the last JWKS with a usable key, or without one if that withdrew the keys
	emptySince time.Time // when the JWKS began to have no usable key; zero: it has one
}

func newKeySet(ctx context.Context, address string, keep time.Duration, log *slog.Logger, tracer trace.Tracer) (*keySet, error) {
	s := &keySet{
		MemoryJWKSet: jwkset.NewMemoryStorage(),
		ctx:          ctx,
		url:          address,
		client: &http.Client{
			Timeout: fetchTimeout,
			// Redirects are not followed, so that they are refused like any status other than 200: a redirect must
			// not determine which keys are trusted.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport: &http.Transport{
				Proxy:                  http.ProxyFromEnvironment,
				DisableKeepAlives:      true, // the next fetch is minutes away
				MaxResponseHeaderBytes: 64 << 10,
			},
		},
		log:             log,
		tracer:          tracer,
		keep:            keep,
		unknownKeyLimit: rate.NewLimiter(rate.Every(unknownKeyInterval), 1),
		retryDelay:      minRetryDelay,
	}
	var err error
	if s.keyfunc, err = keyfunc.New(keyfunc.Options{Ctx: ctx, Storage: s}); err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	s.mu.Lock() // the first fetch must not end before s.timer is set
	defer s.mu.Unlock()
	s.timer = time.AfterFunc(0, func() { s.startFetch(func() bool { return true }) })
	return s, nil
}

func (s *keySet) generation() uint64 { return s.version.Load() }

func (s *keySet) algorithms() []string { return []string{"EdDSA", "ES256", "ES512", "PS256", "RS256"} }

// key returns the public key that token names.
func (s *keySet) key(ctx context.Context, token *jwt.Token) (any, error) {
	// keyfunc would try every key for a token without kid.
	if kid, _ := token.Header["kid"].(string); kid == "" {
		return nil, invalid("no_key_id", "it does not name its signing key (kid)")
	}
	return s.keyfunc.KeyfuncCtx(ctx)(token)
}

func (s *keySet) ready() error {
	if keys, err := s.KeyReadAll(s.ctx); err == nil && len(keys) > 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil {
		return ErrUnavailable // they are being loaded
	}
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, s.address(), s.failed)
}

func (s *keySet) stats() Stats {
	keys, _ := s.KeyReadAll(s.ctx) // from memory: cannot fail
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{Keys: len(keys), Fetched: s.fetched, Failures: s.failures}
}

// KeyRead implements jwkset.Storage, through which keyfunc looks up keys. It returns the key with that kid. If there is
// none, it starts a fetch and waits for it for at most maxFetchWait. If the rate limit forbids a fetch and none is
// running, it returns at once: tokens with invented kids must neither overload Better Auth nor hold up requests here.
// Its error is ErrUnavailable or wraps errUnknownKey.
func (s *keySet) KeyRead(ctx context.Context, kid string) (jwkset.JWK, error) {
	if key, err := s.MemoryJWKSet.KeyRead(ctx, kid); err == nil {
		return key, nil
	}
	timeout := time.NewTimer(maxFetchWait)
	defer timeout.Stop()
	for {
		// The key is read after startFetch, so that a fetch that ends in between is not missed.
		done := s.startFetch(s.unknownKeyLimit.Allow)
		key, err := s.MemoryJWKSet.KeyRead(ctx, kid)
		if err == nil {
			return key, nil
		}
		if done == nil {
			return jwkset.JWK{}, errors.Join(err, s.ready())
		}
		trace.SpanFromContext(ctx).AddEvent("waiting for keys")
		select {
		case <-done:
		case <-timeout.C:
			return jwkset.JWK{}, errors.Join(err, s.ready())
		case <-ctx.Done():
			return jwkset.JWK{}, ErrUnavailable
		}
	}
}

// startFetch starts loading the keys in the background, unless a fetch is running already or allowed returns false. It
// returns a channel that is closed when the running fetch ends, and nil if there is none.
func (s *keySet) startFetch(allowed func() bool) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fetching == nil && allowed() {
		s.fetching = make(chan struct{})
		go func() { s.endFetch(s.load()) }()
	}
	return s.fetching
}

// endFetch ends the running fetch and schedules the next one: after refreshInterval, or after the retry delay if err is
// not nil.
func (s *keySet) endFetch(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.fetching)
	s.fetching = nil
	delay := refreshInterval
	s.failed = err
	if err != nil {
		delay, s.retryDelay = s.retryDelay, min(2*s.retryDelay, maxRetryDelay)
		s.failures++
	} else {
		s.retryDelay, s.fetched = minRetryDelay, time.Now()
	}
	if s.ctx.Err() == nil {
		s.timer.Reset(delay)
	}
}

// errNoKeys is the result of a load of a JWKS without a usable key.
var errNoKeys = errors.New("the JWKS has no usable key")

// load replaces the keys with those of the JWKS. It returns an error if the JWKS cannot be read, in which case the keys
// stay as they are, or if it has no usable key. Such a JWKS withdraws the keys only when it has been so for s.keep: it
// is more often a fault of its host, for a moment, than the wish to refuse everybody.
func (s *keySet) load() error {
	body, keys, unusable, err := s.download()
	if err == nil {
		err = s.replace(body, keys, time.Now())
	} else {
		s.emptySince = time.Time{}
	}
	s.report(len(keys), unusable, err, time.Now())
	return err
}

// replace replaces the keys with those of a JWKS that was read. See load.
func (s *keySet) replace(body []byte, keys []jwkset.JWK, now time.Time) error {
	if len(keys) > 0 {
		s.emptySince = time.Time{}
	} else {
		if s.emptySince.IsZero() {
			s.emptySince = now
		}
		if now.Sub(s.emptySince) < s.keep {
			return errNoKeys
		}
	}
	if err := s.KeyReplaceAll(s.ctx, keys); err != nil {
		return err
	}
	if !bytes.Equal(body, s.lastBody) {
		s.lastBody = body
		// Incremented after the old keys are gone, so that no token verified with them is cached as verified with the
		// new ones.
		s.version.Add(1)
	}
	if len(keys) == 0 {
		return errNoKeys
	}
	return nil
}

// report logs the result of a load if it differs from the last one. A failure that lasts is logged every reportInterval.
func (s *keySet) report(keys int, unusable, err error, now time.Time) {
	cause := err
	if network, ok := errors.AsType[*net.OpError](err); ok {
		cause = network.Err // without the local port, which changes
	}
	report := fmt.Sprint(keys, unusable, cause)
	lasting := err != nil && now.Sub(s.reported) >= reportInterval
	if report == s.lastReport && !lasting || s.ctx.Err() != nil {
		return
	}
	s.lastReport, s.reported = report, now
	switch {
	case err != nil:
		s.log.WarnContext(s.ctx, "signing keys not loaded", "address", s.address(), "error", errors.Join(err, unusable))
	case unusable != nil:
		s.log.WarnContext(s.ctx, "signing keys loaded, but not all", "keys", keys, "error", unusable)
	default:
		s.log.InfoContext(s.ctx, "signing keys loaded", "keys", keys)
	}
}

// address returns the URL of the key set for the log: without user, password and query, which may be secret.
func (s *keySet) address() string {
	u, err := url.Parse(s.url)
	if err != nil {
		return "" // New has parsed it
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// download fetches the JWKS. It returns the response body, the usable keys, and an error that says why the other keys
// are unusable. err is not nil if the response is not a JWKS.
func (s *keySet) download() (body []byte, keys []jwkset.JWK, unusable, err error) {
	body, err = s.get()
	if err != nil {
		return nil, nil, nil, withoutURL(err)
	}
	// Each key is decoded separately, so that a malformed one does not affect the others.
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
			unusable = errors.Join(unusable, fmt.Errorf("key %d: %w", i, err))
			continue
		}
		keys = append(keys, key)
	}
	return body, keys, unusable, nil
}

// get returns the body of a response with status 200 from the JWKS host.
func (s *keySet) get() (_ []byte, err error) {
	request, err := http.NewRequestWithContext(s.ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, err
	}
	var span trace.Span
	if s.tracer != nil {
		_, span = s.tracer.Start(s.ctx, http.MethodGet, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
			semconv.HTTPRequestMethodGet, semconv.ServerAddress(request.URL.Hostname()), attribute.String("docket.purpose", "signing keys")))
		defer func() {
			if err != nil {
				span.SetStatus(codes.Error, withoutURL(err).Error())
			}
			span.End()
		}()
	}
	request.Header.Set("Accept", "application/json")
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if span != nil {
		span.SetAttributes(semconv.HTTPResponseStatusCode(response.StatusCode))
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the JWKS host returned status %d", response.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxJWKS+1))
	if err == nil && len(body) > maxJWKS {
		err = fmt.Errorf("JWKS is larger than %d bytes", maxJWKS)
	}
	return body, err
}

// withoutURL returns an error of an http.Client without the request's URL, whose query may be a secret.
func withoutURL(err error) error {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		return failed.Err
	}
	return err
}

// parseKey returns the public key in a JWK, with its algorithm where its type permits only one. It returns an error if
// the key must not be used to verify tokens.
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
		// keyfunc compares it with the alg of the token. golang-jwt would verify ES512 with a P-256 key.
		jwk.ALG = algorithms[0]
	}
	// The zero options refuse private and symmetric keys and validate everything.
	key, err := jwkset.NewJWKFromMarshal(jwk, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	if err != nil {
		return jwkset.JWK{}, err
	}
	if public, ok := key.Key().(*rsa.PublicKey); ok && public.N.BitLen() < minRSA {
		return jwkset.JWK{}, fmt.Errorf("RSA key shorter than %d bits", minRSA)
	}
	return key, nil
}

// keyAlgorithms returns the algorithms that a key of that type and curve may verify (RFC 7518, section 3.1; RFC 8037,
// section 3.1). It returns none for symmetric keys.
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
