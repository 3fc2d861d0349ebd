package middleware_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"docket/internal/middleware"
)

func TestTheConnectionIsClosedIfItMustNotBeReused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		draining bool
		encoding []string
		minor    int
		want     string
	}{
		{false, nil, 1, ""},
		{true, nil, 1, "close"},
		{false, []string{"chunked"}, 1, "close"},
		{false, nil, 0, "close"},
	} {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.TransferEncoding, r.ProtoMajor, r.ProtoMinor = test.encoding, 1, test.minor
		w := httptest.NewRecorder()
		middleware.CloseConnection(func() bool { return test.draining })(write(200, "")).ServeHTTP(w, r)
		if got := w.Header().Get("Connection"); got != test.want {
			t.Errorf("%+v: Connection is %q", test, got)
		}
	}
}
