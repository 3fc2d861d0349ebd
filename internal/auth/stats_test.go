package auth_test

import (
	"net/http"
	"testing"
	"time"
)

func TestStatsOfKeys(t *testing.T) {
	t.Parallel()
	if s := newSecretVerifier(t).Stats(); s.Keys != 1 || !s.Fetched.IsZero() || s.Failures != 0 {
		t.Errorf("with a secret: %+v", s)
	}

	h := newHost(t, respondStatus(http.StatusInternalServerError))
	v := newKeySetVerifier(t, h)
	eventually(t, "failures are counted", func() bool { return v.Stats().Failures >= 2 })
	if s := v.Stats(); s.Keys != 0 || !s.Fetched.IsZero() {
		t.Errorf("without keys: %+v", s)
	}

	before := time.Now()
	h.AnswerKeys(serve(jwks(jwk("ed", "EdDSA", edKey), jwk("next", "EdDSA", nextKey))))
	eventually(t, "the key set is fetched", func() bool { return !v.Stats().Fetched.IsZero() })
	loaded := v.Stats()
	if loaded.Keys != 2 || loaded.Fetched.Before(before) {
		t.Errorf("with keys: %+v", loaded)
	}

	// A key set without a usable key is no key set that was fetched.
	h.AnswerKeys(serve(jwks()))
	_, _ = verify(t, v, tokenWithKID("unknown"))
	eventually(t, "the failure is counted", func() bool { return v.Stats().Failures > loaded.Failures })
	if s := v.Stats(); s.Keys != 2 || !s.Fetched.Equal(loaded.Fetched) {
		t.Errorf("with an empty key set: %+v, before %+v", s, loaded)
	}
}
