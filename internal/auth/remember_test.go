package auth_test

import "testing"

func TestBadTokensAreNotRemembered(t *testing.T) {
	t.Parallel()
	v := withKeys(t, jwk("ed", "EdDSA", edKey))
	good := edToken("ed")
	for range 3 {
		if _, err := v.Verify(t.Context(), []string{"Bearer " + good}); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(t.Context(), []string{"Bearer " + good + "A"}); err == nil {
			t.Fatal("a token with one more character was accepted")
		}
	}
	if total := v.Remembered(); total != 1 {
		t.Errorf("%d tokens are remembered, want the good one alone", total)
	}
}
