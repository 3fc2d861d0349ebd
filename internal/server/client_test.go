package server_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
)

// Every line about a request has the client's address if the operator wants it, also that of a request that net/http
// refuses, and no line has it otherwise.
func TestTheLogHasTheClientsAddressOnRequest(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name          string
		log           bool
		proxies       []netip.Prefix
		want, refused any // of a request, and of one whose header was not read
	}{
		{"by default", false, nil, nil, nil},
		{"without proxies", true, nil, "127.0.0.1", "127.0.0.1"},
		{"behind a proxy", true, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, "192.0.2.7", "127.0.0.1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, func(o *options) { o.LogClients, o.TrustedProxies = test.log, test.proxies })
			for id, want := range map[string]any{
				s.ada.send(t, "GET", "", "", "X-Forwarded-For: 192.0.2.7").get("X-Request-Id"):                             test.want,
				s.send(t, "GET", s.ada.tasks(), "", "X-Forwarded-For: 198.51.100.1, 192.0.2.7").get("X-Request-Id"):        test.want,
				s.send(t, "OPTIONS", "/", "", "X-Forwarded-For: 192.0.2.7").get("X-Request-Id"):                            test.want,
				s.raw(t, "GET /%zz HTTP/1.1\nHost: docket\nX-Forwarded-For: 192.0.2.7", "").get("X-Request-Id"):            test.refused,
				s.raw(t, "GET / HTTP/1.1\nHost: docket"+strings.Repeat("\nX-A: b", 120), "").want(431).get("X-Request-Id"): test.refused,
			} {
				s.logged(t, id)
				for text := range strings.Lines(s.log.String()) {
					var fields map[string]any
					check(t, json.Unmarshal([]byte(text), &fields))
					if fields["request_id"] == id && fields["client"] != want {
						t.Errorf("the client is %v, want %v: %s", fields["client"], want, text)
					}
				}
			}
		})
	}
}
