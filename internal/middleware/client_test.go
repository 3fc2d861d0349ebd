package middleware_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"docket/internal/middleware"
)

func prefixes(text ...string) (list []netip.Prefix) {
	for _, p := range text {
		list = append(list, netip.MustParsePrefix(p))
	}
	return list
}

var trusted = prefixes("10.0.0.0/8", "127.0.0.1/32", "fd00::/8", "fe80::/10")

func client(peer string, trusted []netip.Prefix, forwarded ...string) string {
	return middleware.ClientAddress(trusted)(&http.Request{RemoteAddr: peer, Header: http.Header{"X-Forwarded-For": forwarded}})
}

func TestTheClientIsTheRightmostAddressThatIsNotAProxys(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		peer      string
		forwarded []string
		want      string
	}{
		{"192.0.2.1:5000", nil, "192.0.2.1"},
		{"10.0.0.1:5000", nil, "10.0.0.1"},
		{"10.0.0.1:5000", []string{"192.0.2.1"}, "192.0.2.1"},
		{"10.0.0.1:5000", []string{"192.0.2.1, 10.1.1.1,10.2.2.2"}, "192.0.2.1"},
		{"10.0.0.1:5000", []string{"192.0.2.1", "10.1.1.1", "10.2.2.2"}, "192.0.2.1"},
		{"10.0.0.1:5000", []string{"10.9.9.9", "10.1.1.1"}, "10.9.9.9"}, // all of them are proxies

		// What a client has sent itself does not count.
		{"192.0.2.1:5000", []string{"198.51.100.7"}, "192.0.2.1"},
		{"10.0.0.1:5000", []string{"198.51.100.7, 192.0.2.1"}, "192.0.2.1"},
		{"10.0.0.1:5000", []string{"198.51.100.7", "192.0.2.1, 10.1.1.1"}, "192.0.2.1"},
		{"10.0.0.1:5000", []string{"10.7.7.7, 192.0.2.1"}, "192.0.2.1"},

		// The ways to write an address.
		{"[2001:db8::1]:5000", nil, "2001:db8::1"},
		{"[fd00::1]:5000", []string{"2001:DB8::1"}, "2001:db8::1"},
		{"[fe80::1%eth0]:5000", []string{"192.0.2.1"}, "192.0.2.1"},
		{"[fe80::1%eth0]:5000", nil, "fe80::1"},
		{"[::ffff:10.0.0.1]:5000", []string{"::ffff:192.0.2.1"}, "192.0.2.1"},
		{"10.0.0.1:5000", []string{"192.0.2.1:443"}, "192.0.2.1"},
		{"10.0.0.1:5000", []string{"[2001:db8::1]:443"}, "2001:db8::1"},
		{"10.0.0.1:5000", []string{"[2001:db8::1]"}, "2001:db8::1"},
		{"10.0.0.1:5000", []string{"2001:db8::1%any, fe80::2%eth0"}, "2001:db8::1"},
		{"10.0.0.1:5000", []string{"192.0.2.1", "", "  "}, "192.0.2.1"},

		// What is no address ends the search at the proxy that wrote it.
		{"10.0.0.1:5000", []string{"192.0.2.1, unknown"}, "10.0.0.1"},
		{"10.0.0.1:5000", []string{"192.0.2.1, unknown, 10.1.1.1"}, "10.1.1.1"},
		{"10.0.0.1:5000", []string{"192.0.2.1,"}, "10.0.0.1"},
		{"10.0.0.1:5000", []string{"192.0.2.1\n"}, "192.0.2.1"},
		{"10.0.0.1:5000", []string{"192.0.2.1.5"}, "10.0.0.1"},
		{"10.0.0.1:5000", []string{"010.0.0.7"}, "10.0.0.1"},
		{"10.0.0.1:5000", []string{"2001:db8::1%" + strings.Repeat("x", 1<<14)}, "10.0.0.1"},
		{"10.0.0.1:5000", []string{"for=192.0.2.1"}, "10.0.0.1"},
		{"10.0.0.1:5000", []string{",,,", ","}, "10.0.0.1"},
		{"10.0.0.1:5000", []string{"[", "]", "[]", "%", "\x00"}, "10.0.0.1"},
		{"@", []string{"192.0.2.1"}, ""}, // the connection has no address
		{"", nil, ""},
	} {
		if got := client(test.peer, trusted, test.forwarded...); got != test.want {
			t.Errorf("%s, %.100q: %s, want %s", test.peer, test.forwarded, got, test.want)
		}
	}
	if got := client("10.0.0.1:5000", nil, "192.0.2.1"); got != "10.0.0.1" {
		t.Errorf("without trusted proxies it is %s", got)
	}
}

// Hundreds of addresses, all of trusted proxies: the number of those that are looked at is bounded, in one line or in many.
func TestTheSearchForTheClientIsBounded(t *testing.T) {
	t.Parallel()
	lines := make([]string, 0, 1000)
	for range cap(lines) {
		lines = append(lines, "10.1.1.1")
	}
	for name, forwarded := range map[string][]string{
		"one line":   {"192.0.2.1," + strings.Join(lines, ",")},
		"many lines": append([]string{"192.0.2.1"}, lines...),
	} {
		if got := client("10.0.0.1:5000", trusted, forwarded...); got != "10.1.1.1" {
			t.Errorf("%s: %s", name, got)
		}
	}
	few := append([]string{"192.0.2.1"}, lines[:31]...)
	if got := client("10.0.0.1:5000", trusted, few...); got != "192.0.2.1" {
		t.Errorf("31 proxies: %s", got)
	}
}

func FuzzClientAddress(f *testing.F) {
	f.Add("10.0.0.1:5000", "192.0.2.1, 10.0.0.1")
	f.Add("[fe80::1%eth0]:1", "[::1]:1\n::ffff:1.2.3.4%x,unknown")
	f.Fuzz(func(t *testing.T, peer, forwarded string) {
		got := client(peer, trusted, strings.Split(forwarded, "\n")...)
		if got == "" {
			return
		}
		if address, err := netip.ParseAddr(got); err != nil || address.Zone() != "" || address.Is4In6() || address.String() != got {
			t.Errorf("%q, %q: %q", peer, forwarded, got)
		}
	})
}

func TestTheClientIsInTheLogOnRequestOnly(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		client func(*http.Request) string
		want   string
	}{
		{nil, ""},
		{middleware.ClientAddress(nil), "client=192.0.2.1"},
		{middleware.ClientAddress(prefixes("192.0.2.0/24")), "client=198.51.100.7"},
	} {
		var text bytes.Buffer
		h := middleware.RequestID(middleware.Log(slog.New(slog.NewTextHandler(&text, nil)), func(string, int, time.Duration) {}, test.client)(write(200, "")))
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil) // its peer is 192.0.2.1
		r.Header.Set("X-Forwarded-For", "198.51.100.7")
		h.ServeHTTP(httptest.NewRecorder(), r)
		if line := text.String(); !strings.Contains(line, test.want) || test.want == "" && (strings.Contains(line, "192.0.2.1") || strings.Contains(line, "198.51")) {
			t.Errorf("logged %s, want %q", line, test.want)
		}
	}
}
