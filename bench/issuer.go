package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// issuer signs tokens as Better Auth does, and publishes its key.
type issuer struct {
	url    string
	key    ed25519.PrivateKey
	server *http.Server
}

const keyID = "the-key-of-the-bench"

func startIssuer(ctx context.Context) (*issuer, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	i := &issuer{url: "http://" + l.Addr().String(), key: key}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/auth/jwks", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []map[string]string{{
			"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": keyID,
			"x": base64.RawURLEncoding.EncodeToString(key.Public().(ed25519.PublicKey)),
		}}})
	})
	i.server = &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	go func() { _ = i.server.Serve(l) }() // ends with stop
	return i, nil
}

func (i *issuer) stop() { _ = i.server.Close() }

// token has the claims of Better Auth's jwt plugin: the whole user. It outlives the run.
func (i *issuer) token(owner string) (string, error) {
	now := time.Now()
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{
		"id": owner, "name": "Ada Lovelace", "email": owner + "@example.com", "emailVerified": true, "image": nil,
		"createdAt": "2026-01-02T03:04:05.678Z", "updatedAt": "2026-01-02T03:04:05.678Z",
		"sub": owner, "iat": now.Unix(), "exp": now.Add(12 * time.Hour).Unix(), "iss": i.url, "aud": i.url,
	})
	t.Header["kid"] = keyID
	delete(t.Header, "typ")
	return t.SignedString(i.key)
}
