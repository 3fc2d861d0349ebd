package server_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"docket/internal/dbtest"
)

// fault E1
func TestReadinessSaysHowStatementsAreSent(t *testing.T) {
	t.Parallel()
	for want, through := range map[string]func(testing.TB, string) string{
		"cache_statement, a direct connection": func(_ testing.TB, direct string) string { return direct },
		"cache_statement, a pooler that supports prepared statements": func(t testing.TB, direct string) string {
			t.Helper()
			return dbtest.PreparingPooler(t, direct).URL
		},
		"exec, a transaction pooler that does not support prepared statements": dbtest.Pooler,
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			s := start(t, func(o *options) { o.databaseURL = through(t, o.databaseURL) })
			ready := s.send(t, "GET", "/health/ready", "").want(http.StatusOK)
			var body struct {
				QueryMode string `json:"query_mode"`
			}
			if err := json.Unmarshal([]byte(ready.body), &body); err != nil || body.QueryMode != want {
				t.Errorf("%s, %v, want %s", ready.body, err, want)
			}
		})
	}
}
