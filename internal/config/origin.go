package config

import (
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// hostProfile converts host names as browsers do (UTS 46, nontransitional): https://url.spec.whatwg.org/#idna.
var hostProfile = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false), idna.CheckHyphens(false))

var defaultPorts = map[string]uint64{"http": 80, "https": 443}

// noOrigins are schemes whose pages have the origin null, or that no page has.
var noOrigins = []string{"about", "blob", "data", "file", "ftp", "javascript", "ws", "wss"}

// originOf returns the origin of u in the form that browsers and Better Auth use: in lower case, an internationalized
// domain name in Punycode, and without the default port.
func originOf(u *url.URL) (string, error) {
	host, err := hostOf(u)
	if err != nil {
		return "", err
	}
	origin := u.Scheme + "://" + host // url.Parse has put the scheme in lower case
	if u.Port() == "" {
		return origin, nil
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil {
		return "", errors.New("has a port that is not a number up to 65535")
	}
	if port == defaultPorts[u.Scheme] {
		return origin, nil
	}
	return origin + ":" + strconv.FormatUint(port, 10), nil
}

func hostOf(u *url.URL) (string, error) {
	name := u.Hostname()
	if strings.HasPrefix(u.Host, "[") {
		ip, err := netip.ParseAddr(name)
		if err != nil || ip.Zone() != "" {
			return "", errors.New("has an IPv6 address that browsers do not accept")
		}
		return "[" + ip.String() + "]", nil
	}
	host, err := hostProfile.ToASCII(name)
	if err != nil || host == "" || strings.ContainsAny(host, " %<>^|`{}\"'*,;()!$&+=~") {
		return "", errors.New("has a host name that browsers do not accept")
	}
	last := host[strings.LastIndex(strings.TrimSuffix(host, "."), ".")+1:]
	if _, err := netip.ParseAddr(host); err != nil && defaultPorts[u.Scheme] != 0 && last != "" && last[0] >= '0' && last[0] <= '9' &&
		!strings.ContainsFunc(last, func(r rune) bool { return !strings.ContainsRune("0123456789abcdefx.", r) }) {
		return "", errors.New("has a host that browsers read as an IPv4 address: write that address with its four numbers")
	}
	return host, nil
}

// origins returns the origins in a list, as browsers send them. Apps have schemes of their own, such as
// capacitor://localhost.
func origins(v string) ([]string, error) {
	var list []string
	for part := range strings.SplitSeq(v, ",") {
		u, err := url.Parse(strings.TrimSpace(part))
		if err != nil || u.Scheme == "" || u.Host == "" || u.User != nil || strings.Contains(part, "*") ||
			strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || slices.Contains(noOrigins, u.Scheme) {
			return nil, errors.New("must be origins such as https://app.example.com or capacitor://localhost, separated by commas, without path and without *")
		}
		origin, err := originOf(u)
		if err != nil {
			return nil, err
		}
		list = append(list, origin)
	}
	return list, nil
}
