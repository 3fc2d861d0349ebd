package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// issuer stands in for Better Auth during development: it signs tokens of the same form with a key of its own, made
// anew on every start, and publishes it. Only dev makes one; serve has no way to it.
type issuer struct {
	url    string
	kid    string
	key    ed25519.PrivateKey
	server *http.Server
}

// startIssuer listens on loopback, on issuerPort or any free port.
func startIssuer(ctx context.Context) (*issuer, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	l, err := listenNear(fmt.Sprintf("127.0.0.1:%d", issuerPort))
	if err != nil {
		return nil, err
	}
	i := &issuer{url: "http://" + l.Addr().String(), kid: rand.Text(), key: key}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/auth/jwks", i.serveKeys)
	mux.HandleFunc("GET /api/auth/token", i.serveToken)
	i.server = &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	go func() { _ = i.server.Serve(l) }() // ends with stop
	return i, nil
}

func (i *issuer) stop() { _ = i.server.Close() }

// token signs a token for the owner, with the claims that Better Auth's jwt plugin puts in.
func (i *issuer) token(owner string, life time.Duration) (string, error) {
	now := time.Now()
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{
		"sub": owner, "id": owner, "name": "Demo", "email": "demo@example.com", "emailVerified": true,
		"iat": now.Unix(), "exp": now.Add(life).Unix(), "iss": i.url, "aud": i.url,
	})
	t.Header["kid"] = i.kid
	delete(t.Header, "typ")
	return t.SignedString(i.key)
}

func (i *issuer) serveKeys(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string]any{"keys": []map[string]string{{
		"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": i.kid,
		"x": base64.RawURLEncoding.EncodeToString(i.key.Public().(ed25519.PublicKey)),
	}}})
}

func (i *issuer) serveToken(w http.ResponseWriter, _ *http.Request) {
	token, err := i.token(demoOwner, 12*time.Hour)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writeJSON(w, map[string]string{"token": token})
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a failure means that the client is gone
}
