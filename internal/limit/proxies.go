package limit

import (
	"net/netip"
	"strconv"
	"strings"
)

// Private is the entry of a list of proxies that stands for all private ranges.
const Private = "private"

// privateRanges are RFC 1918, RFC 4193, loopback and link-local. Not the shared space of RFC 6598 (100.64.0.0/10), in
// which a provider's other customers may sit.
var privateRanges = []string{
	"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16",
	"fc00::/7", "::1/128", "fe80::/10",
}

// Proxies are the peers whose X-Forwarded-For we believe. The zero value is none.
type Proxies struct {
	prefixes []netip.Prefix
}

// ParseProxies reads a list of CIDRs, single addresses and [Private].
func ParseProxies(list []string) (Proxies, error) {
	var p Proxies
	for _, s := range list {
		spelled := []string{s}
		if s == Private {
			spelled = privateRanges
		}
		for _, s := range spelled {
			prefix, err := ParsePrefix(s)
			if err != nil {
				return Proxies{}, err
			}
			p.prefixes = append(p.prefixes, prefix)
		}
	}
	return p, nil
}

// Len is how many prefixes are trusted; 0: nobody is.
func (p Proxies) Len() int { return len(p.prefixes) }

// Everyone says whether a whole family of addresses is trusted, so that any caller may say where he comes from. It is for
// a warning.
func (p Proxies) Everyone() bool {
	for _, prefix := range p.prefixes {
		if prefix.Bits() == 0 {
			return true
		}
	}
	return false
}

// Trusts says whether addr is one of the proxies. An address with a zone is none.
func (p Proxies) Trusts(addr netip.Addr) bool {
	addr = addr.Unmap()
	for _, prefix := range p.prefixes {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// Resolve returns the caller's address, unmapped, given the other end of the connection and all values of X-Forwarded-For
// in their order. Of a peer that is not trusted it is the peer itself, and untrusted says whether it sent the header all
// the same. Of a trusted one it is the first address from the right that is not trusted; if all are, the leftmost.
//
// Each proxy appends the address that it saw, so what stands to the right of the first untrusted address was written by
// our own, and everything to the left of it may be made up: it is not looked at. Where an element is no address, the proxy
// that wrote it is the last one known, and its address it is.
//
// An address may have a port (192.0.2.1:4711, [2001:db8::1]:4711) and brackets, as some load balancers write them. One
// with a zone, in quotes, or anything else is none. Empty elements do not count (RFC 9110, section 5.6.1.2).
func (p Proxies) Resolve(peer netip.Addr, forwarded []string) (addr netip.Addr, untrusted bool) {
	addr = peer.Unmap()
	if !p.Trusts(addr) {
		return addr, len(forwarded) > 0
	}
	for i := len(forwarded) - 1; i >= 0; i-- {
		rest, more := forwarded[i], true
		for more {
			var hop string
			rest, hop, more = cutLast(rest)
			if hop = strings.Trim(hop, " \t"); hop == "" {
				continue
			}
			next, ok := parseHop(hop)
			if !ok {
				return addr, false
			}
			addr = next
			if !p.Trusts(addr) {
				return addr, false
			}
		}
	}
	return addr, false
}

// cutLast cuts the last element off a list with commas; more says whether there was a comma before it.
func cutLast(s string) (before, last string, more bool) {
	if i := strings.LastIndexByte(s, ','); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return "", s, false
}

// parseHop reads one element of X-Forwarded-For.
func parseHop(s string) (netip.Addr, bool) {
	if len(s) > len("[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535") {
		return netip.Addr{}, false
	}
	if inner, ok := strings.CutPrefix(s, "["); ok {
		host, after, ok := strings.Cut(inner, "]")
		if !ok || after != "" && !isPort(after) || !strings.Contains(host, ":") {
			return netip.Addr{}, false
		}
		s = host
	} else if i := strings.IndexByte(s, ':'); i >= 0 && strings.LastIndexByte(s, ':') == i {
		if !isPort(s[i:]) { // one colon: no IPv6 address has so few
			return netip.Addr{}, false
		}
		s = s[:i]
	}
	addr, err := netip.ParseAddr(s)
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, false
	}
	return addr.Unmap(), true
}

// isPort says whether s is a colon and a port.
func isPort(s string) bool {
	digits, ok := strings.CutPrefix(s, ":")
	_, err := strconv.ParseUint(digits, 10, 16)
	return ok && err == nil
}
