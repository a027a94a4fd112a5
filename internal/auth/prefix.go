package auth

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// mappedBits is how long the prefix is under which IPv4 lies in IPv6, ::ffff:0:0/96.
const mappedBits = 96

// ParsePrefix reads one entry of a list of addresses: a CIDR ("203.0.113.0/24", "2001:db8::/32") or a single address, of
// either family. What it returns has one spelling: IPv4 that came mapped into IPv6 is IPv4 (::ffff:10.0.0.0/104 is
// 10.0.0.0/8), and no bits are set beyond the mask. Zones are refused. 0.0.0.0/0 is all of IPv4 and ::/0 all of IPv6;
// neither is both.
func ParsePrefix(s string) (netip.Prefix, error) {
	if strings.Contains(s, "%") {
		return netip.Prefix{}, fmt.Errorf("%s has a zone, which means something on one machine only: leave out %s", quote(s), quote(s[strings.Index(s, "%"):]))
	}
	var p netip.Prefix
	if !strings.Contains(s, "/") {
		addr, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Prefix{}, notAPrefix(s)
		}
		p = netip.PrefixFrom(addr, addr.BitLen())
	} else {
		var err error
		if p, err = netip.ParsePrefix(s); err != nil {
			return netip.Prefix{}, notAPrefix(s)
		}
	}
	plain, err := UnmapPrefix(p)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%s %w", quote(s), err)
	}
	if masked := plain.Masked(); masked != plain {
		return netip.Prefix{}, fmt.Errorf("%s has bits beyond its mask: write %s", quote(s), masked)
	}
	return plain, nil
}

var errMapped = errors.New("is shorter than ::ffff:0:0/96, so it is IPv4 and IPv6 mixed: write the IPv4 prefix itself")

// UnmapPrefix takes an IPv4 prefix out of its IPv6 mapping, for netip holds ::ffff:10.0.0.0/104 for a prefix that contains
// no IPv4 address at all. One so short that it holds other addresses too is an error.
func UnmapPrefix(p netip.Prefix) (netip.Prefix, error) {
	if !p.Addr().Is4In6() {
		return p, nil
	}
	if p.Bits() < mappedBits {
		return netip.Prefix{}, errMapped
	}
	return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mappedBits), nil
}

func notAPrefix(s string) error {
	return fmt.Errorf("%s is neither an IP address nor a CIDR such as 203.0.113.0/24 or 2001:db8::/32", quote(s))
}

// quote shows what somebody wrote, on one line and not all of a long one.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		return fmt.Sprintf("%q…", s[:most])
	}
	return fmt.Sprintf("%q", s)
}
