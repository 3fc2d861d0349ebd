package auth_test

import (
	"context"
	"errors"
	"fmt"

	"docket/internal/auth"
)

func ExampleVerifier_Verify() {
	v, err := auth.New(context.Background(), auth.Config{
		Secret:   sharedSecret, // or JWKSURL: "https://app.example/api/auth/jwks"
		Issuer:   issuer,
		Audience: audience,
	})
	if err != nil {
		panic(err)
	}
	for _, authorization := range [][]string{
		{"Bearer " + signHS256(validClaims())}, // r.Header.Values("Authorization")
		{"Bearer " + signHS256(validClaims().With(object{"exp": 1}))},
		{"Bearer kJ4xQzA0mUuV9c2pT7bR1nW6yE3sL8dF"},
	} {
		identity, err := v.Verify(context.Background(), authorization)
		var refused *auth.TokenError
		switch {
		case errors.Is(err, auth.ErrUnavailable):
			fmt.Println("503")
		case errors.As(err, &refused):
			fmt.Println("401", refused.Code, "-", refused.Reason)
		default:
			fmt.Println(identity.Owner)
		}
	}
	// Output:
	// aB3dE5gH7jK9mN1pQ2rS4tU6vW8xY0zZ
	// 401 expired - Authorization token expired; ask Better Auth for a new one (GET /api/auth/token)
	// 401 invalid - Missing or invalid authorization token: this is not a signed JWT but perhaps a session token; an API token comes from Better Auth (GET /api/auth/token)
}
