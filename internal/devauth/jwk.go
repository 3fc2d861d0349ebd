package devauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"math/big"
)

// KeySet returns the JSON encoding of a JWK set (RFC 7517, section 5).
func KeySet(keys ...Object) string {
	if keys == nil {
		keys = []Object{}
	}
	return Object{"keys": keys}.JSON()
}

// JWK returns the public key of a private one in the format of RFC 7517, 7518 and 8037: Ed25519, ECDSA or RSA. It does
// not use the verifier's library, so that tests of the verifier are independent of it. Without an algorithm the key has
// no alg member. It panics for other types of keys.
func JWK(id, algorithm string, private crypto.Signer) Object {
	key := Object{"kid": id}
	if algorithm != "" {
		key["alg"] = algorithm
	}
	switch public := private.Public().(type) {
	case ed25519.PublicKey:
		return key.With(Object{"kty": "OKP", "crv": "Ed25519", "x": encode(public)})
	case *ecdsa.PublicKey:
		uncompressed, err := public.Bytes() // 4, x, y (SEC 1, section 2.3.3)
		if err != nil {
			panic(fmt.Sprintf("devauth: %v", err))
		}
		size := (len(uncompressed) - 1) / 2
		x, y := uncompressed[1:1+size], uncompressed[1+size:]
		return key.With(Object{"kty": "EC", "crv": public.Params().Name, "x": encode(x), "y": encode(y)})
	case *rsa.PublicKey:
		return key.With(Object{"kty": "RSA", "n": encode(public.N.Bytes()), "e": encode(big.NewInt(int64(public.E)).Bytes())})
	}
	panic(fmt.Sprintf("devauth: no JWK for %T", private))
}

func encode(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }
