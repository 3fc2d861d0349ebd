package middleware

import (
	"net/http"

	"github.com/rs/cors"
)

// CORS allows pages of the given origins to call the service from a browser and to read every response. An empty list
// allows none.
func CORS(origins []string) func(http.Handler) http.Handler {
	o := cors.Options{
		AllowedOrigins:   origins,
		AllowCredentials: true,
		AllowedMethods:   []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"},
		AllowedHeaders: []string{
			"Authorization", "Content-Type", "Accept", "If-Match", "If-None-Match", "Idempotency-Key", "X-Requested-With",
		},
		ExposedHeaders: []string{
			"ETag", "Location", "Link", "Retry-After", "RateLimit", "RateLimit-Policy", "Idempotent-Replayed", "X-Request-Id",
		},
		MaxAge: 600,
	}
	if len(origins) == 0 {
		o.AllowOriginFunc = func(string) bool { return false } // to the library, an empty list means all origins
	}
	return cors.New(o).Handler
}
