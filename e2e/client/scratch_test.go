//go:build scratch

package client_test

import (
	"os"
	"testing"
	"time"

	"docket/e2e/internal/stage"
)

func TestScratch(t *testing.T) {
	s := stage.New(t, stage.Options{})
	failAsTitled(t, s.Database)
	expired := s.StartBetterAuth(t, stage.Options{"baseURL": s.Auth, "jwt": stage.Options{"jwt": stage.Options{"expirationTime": "-1 minute"}}})
	os.WriteFile("/tmp/docket.env", []byte("export DOCKET_URL="+s.URL+" BETTER_AUTH_URL="+s.Auth+" EXPIRED_AUTH_URL="+expired+"\n"), 0o644)
	for {
		if _, err := os.Stat("/tmp/docket.stop"); err == nil {
			return
		}
		time.Sleep(time.Second)
	}
}
