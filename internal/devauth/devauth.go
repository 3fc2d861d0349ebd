// Package devauth issues access tokens as Better Auth's jwt plugin does: for docket dev, for tests and for benchmarks.
// It signs a token for anybody who asks, so it must listen on loopback only.
package devauth

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Paths of the issuer's endpoints, as Better Auth has them.
const (
	KeysPath  = "/api/auth/jwks"
	TokenPath = "/api/auth/token"
)

// Options configures an Issuer. The zero value is usable.
type Options struct {
	Listener net.Listener  // default: a free port of 127.0.0.1
	Owner    string        // the owner in tokens of the token endpoint; default: the endpoint responds with 401
	Lifetime time.Duration // of a token; default 15 minutes, as Better Auth's
}

// Issuer is an HTTP server that publishes a key set and signs tokens with an Ed25519 key of its own, which Start
// generates. Its methods may be called from several goroutines.
type Issuer struct {
	URL string // the issuer's origin, which is its tokens' issuer and audience

	owner    string
	lifetime time.Duration
	id       string
	key      ed25519.PrivateKey
	keys     atomic.Pointer[http.HandlerFunc]
	fetches  atomic.Int64

	server  *http.Server
	running sync.WaitGroup // Serve and the connections
}

// Start starts an issuer, which runs until Close is called.
func Start(o Options) (*Issuer, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	l := o.Listener
	if l == nil {
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, err
		}
	}
	if o.Lifetime == 0 {
		o.Lifetime = 15 * time.Minute
	}
	i := &Issuer{URL: "http://" + l.Addr().String(), owner: o.Owner, lifetime: o.Lifetime, id: rand.Text(), key: key}
	i.Publish(i.JWK())
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+KeysPath, func(w http.ResponseWriter, r *http.Request) {
		i.fetches.Add(1)
		(*i.keys.Load())(w, r)
	})
	mux.HandleFunc("GET "+TokenPath, i.serveToken)
	i.server = &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second,
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew: // before Serve can return
				i.running.Add(1)
			case http.StateClosed: // after the handler has returned
				i.running.Done()
			}
		},
	}
	i.running.Go(func() { _ = i.server.Serve(l) }) // returns when the server is closed
	return i, nil
}

// Close stops the issuer and waits until its handlers have returned.
func (i *Issuer) Close() {
	_ = i.server.Close()
	i.running.Wait()
}

// KeysURL returns the address of the key set.
func (i *Issuer) KeysURL() string { return i.URL + KeysPath }

// JWK returns the public half of the key that signs the issuer's tokens.
func (i *Issuer) JWK() Object { return JWK(i.id, jwt.SigningMethodEdDSA.Alg(), i.key) }

// Publish replaces the key set. The key that signs the issuer's tokens stays the same.
func (i *Issuer) Publish(keys ...Object) { i.AnswerKeys(JSON(KeySet(keys...))) }

// AnswerKeys replaces the handler of requests for the key set, so that a test can make it fail.
func (i *Issuer) AnswerKeys(handler http.HandlerFunc) { i.keys.Store(&handler) }

// Fetches returns the number of requests for the key set.
func (i *Issuer) Fetches() int { return int(i.fetches.Load()) }

// Token returns a token for the owner with the claims of Better Auth's jwt plugin, changed as by Object.With. It panics
// if a changed claim cannot be encoded as JSON.
func (i *Issuer) Token(owner string, changes ...Object) string {
	claims := Claims(i.URL, owner, i.lifetime)
	for _, c := range changes {
		claims = claims.With(c)
	}
	header := Object{"alg": jwt.SigningMethodEdDSA.Alg(), "kid": i.id} // no typ, as with Better Auth
	return Sign(jwt.SigningMethodEdDSA, i.key, header.JSON(), claims.JSON())
}

func (i *Issuer) serveToken(w http.ResponseWriter, r *http.Request) {
	if i.owner == "" {
		http.Error(w, http.StatusText(http.StatusUnauthorized), http.StatusUnauthorized)
		return
	}
	JSON(Object{"token": i.Token(i.owner)}.JSON())(w, r)
}

// JSON returns a handler that responds to every request with a JSON text.
func JSON(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(text)) // fails only when the client has disconnected
	}
}

// Claims returns the claims that Better Auth at origin puts into a token for the owner, issued now.
func Claims(origin, owner string, lifetime time.Duration) Object {
	now := time.Now()
	return Object{
		"id": owner, "name": "Demo", "email": "demo@example.com", "emailVerified": true, "image": nil,
		"createdAt": "2026-01-02T03:04:05.678Z", "updatedAt": "2026-01-02T03:04:05.678Z",
		"sub": owner, "iss": origin, "aud": origin, "iat": now.Unix(), "exp": now.Add(lifetime).Unix(),
	}
}

// Sign returns a token with the given header and claims, which need not be valid. It panics if the key does not fit the
// method.
func Sign(method jwt.SigningMethod, key any, header, claims string) string {
	text := encode([]byte(header)) + "." + encode([]byte(claims))
	signature, err := method.Sign(text, key)
	if err != nil {
		panic(fmt.Sprintf("devauth: sign with %s: %v", method.Alg(), err))
	}
	return text + "." + encode(signature)
}

// Object is a JSON object.
type Object map[string]any

// With returns a copy of o with changed members. Members that are nil in changes are removed.
func (o Object) With(changes Object) Object {
	changed := make(Object, len(o)+len(changes))
	maps.Copy(changed, o)
	maps.Copy(changed, changes)
	maps.DeleteFunc(changed, func(name string, value any) bool {
		_, isChange := changes[name]
		return isChange && value == nil
	})
	return changed
}

// JSON returns the JSON encoding of o. It panics if there is none.
func (o Object) JSON() string {
	text, err := json.Marshal(o)
	if err != nil {
		panic(fmt.Sprintf("devauth: %v", err))
	}
	return string(text)
}
