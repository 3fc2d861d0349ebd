package middleware

import (
	"net/http"
	"net/netip"
	"strings"
)

const (
	maxForwarded     = 32 // addresses of X-Forwarded-For that are looked at
	maxForwardedSize = 64 // bytes of one of them; the longest address with a port has less
)

// ClientAddress returns a function that returns the address of a request's client, and the empty text if it is not known.
//
// That is the address that the connection comes from. If that is a trusted proxy's, it is what the proxy has appended to
// X-Forwarded-For, and so on: the rightmost address there that is not a trusted proxy's. What is left of it anybody may
// have written. Other headers, such as Forwarded, are not read.
func ClientAddress(trusted []netip.Prefix) func(*http.Request) string {
	return func(r *http.Request) string {
		if client := clientOf(r, trusted); client.IsValid() {
			return client.String()
		}
		return ""
	}
}

// clientOf returns the zero address if that of the connection is not known. An entry of X-Forwarded-For that is no
// address ends the search, so that the result is the proxy that wrote it.
func clientOf(r *http.Request, trusted []netip.Prefix) netip.Addr {
	client := parseAddress(r.RemoteAddr)
	lines := r.Header.Values("X-Forwarded-For")
	rest := ""
	for range maxForwarded {
		if !isTrusted(client, trusted) {
			break
		}
		for strings.TrimSpace(rest) == "" && len(lines) > 0 {
			rest, lines = lines[len(lines)-1], lines[:len(lines)-1]
		}
		comma := strings.LastIndexByte(rest, ',')
		entry := parseAddress(strings.TrimSpace(rest[comma+1:]))
		if !entry.IsValid() {
			break
		}
		client, rest = entry, rest[:max(comma, 0)]
	}
	return client
}

func isTrusted(address netip.Addr, trusted []netip.Prefix) bool {
	for _, prefix := range trusted {
		if prefix.Contains(address) {
			return true
		}
	}
	return false
}

// parseAddress parses an address, with a port or without. It removes the zone, which means nothing on another host, and
// returns an IPv4 address that is written as an IPv6 one as IPv4.
func parseAddress(text string) netip.Addr {
	if len(text) > maxForwardedSize {
		return netip.Addr{}
	}
	address, err := netip.ParseAddr(text)
	if err != nil {
		if withPort, portErr := netip.ParseAddrPort(text); portErr == nil {
			address = withPort.Addr()
		} else if inner, ok := strings.CutPrefix(text, "["); ok {
			address, _ = netip.ParseAddr(strings.TrimSuffix(inner, "]")) // the zero address if it is none
		}
	}
	return address.WithZone("").Unmap()
}
