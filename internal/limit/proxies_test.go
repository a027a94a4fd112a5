package limit

import (
	"net/netip"
	"strings"
	"testing"
)

func proxies(t testing.TB, list ...string) Proxies {
	t.Helper()
	p, err := ParseProxies(list)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestResolve(t *testing.T) {
	const lb = "10.0.0.5" // our load balancer; all of 10.0.0.0/8 is trusted below
	const evil = "198.51.100.66"
	for _, c := range []struct {
		story string
		peer  string
		xff   []string
		want  string
	}{
		// A peer that is not trusted is the caller, whatever it says.
		{"direct", evil, nil, evil},
		{"direct, lying", evil, []string{"10.0.0.1"}, evil},
		{"direct, lying at length", evil, []string{"192.0.2.1, 10.0.0.1", "10.0.0.2"}, evil},
		{"direct, over a dual-stack socket", "::ffff:" + evil, nil, evil},
		{"direct, IPv6", "2001:db8::7", nil, "2001:db8::7"},
		{"direct, IPv6, lying", "2001:db8::7", []string{"10.0.0.1"}, "2001:db8::7"},
		{"an address that only looks like ours", "::10.0.0.5", []string{"192.0.2.1"}, "::10.0.0.5"},
		{"ours through NAT64", "64:ff9b::a00:5", []string{"192.0.2.1"}, "64:ff9b::a00:5"},

		// One proxy.
		{"no header", lb, nil, lb},
		{"an empty header", lb, []string{""}, lb},
		{"a blank header", lb, []string{" \t "}, lb},
		{"commas", lb, []string{",, ,"}, lb},
		{"one hop", lb, []string{evil}, evil},
		{"one hop, dual-stack socket", "::ffff:" + lb, []string{evil}, evil},
		{"one hop, IPv6", lb, []string{"2001:db8::7"}, "2001:db8::7"},
		{"one hop, IPv6 in capitals", lb, []string{"2001:DB8::7"}, "2001:db8::7"},
		{"one hop, mapped", lb, []string{"::ffff:198.51.100.66"}, evil},
		{"one hop, mapped in hex", lb, []string{"::ffff:c633:6442"}, evil},
		{"spaces and tabs", lb, []string{" \t" + evil + "\t "}, evil},
		{"the client made up a hop", lb, []string{"192.0.2.1, " + evil}, evil},
		{"the client made up ours", lb, []string{"10.0.0.1, " + evil}, evil},
		{"the client made up localhost", lb, []string{"127.0.0.1, " + evil}, evil},
		{"no space after the comma", lb, []string{"192.0.2.1," + evil}, evil},
		{"the client sent rubbish", lb, []string{"<script>, " + evil}, evil},
		{"the client sent an empty element", lb, []string{", " + evil}, evil},
		{"an empty element behind", lb, []string{evil + ","}, evil},
		{"an empty element between", lb, []string{"192.0.2.1, , " + evil}, evil},

		// Several headers are one list, in their order.
		{"two headers", lb, []string{"192.0.2.1", evil}, evil},
		{"two headers, the last one ours", lb, []string{evil, "10.0.0.9"}, evil},
		{"two headers, the last one empty", lb, []string{evil, ""}, evil},
		{"three headers", lb, []string{"192.0.2.1, 192.0.2.2", evil + ", 10.1.1.1", "10.2.2.2"}, evil},
		{"the client's header first", lb, []string{"10.0.0.1, 10.0.0.2", evil}, evil},

		// Several proxies.
		{"two of ours", lb, []string{evil + ", 10.0.0.6"}, evil},
		{"three of ours", lb, []string{evil + ", 10.0.0.7, 10.0.0.6"}, evil},
		{"two of ours, and made up before", lb, []string{"192.0.2.1, " + evil + ", 10.0.0.6"}, evil},
		{"one of ours mapped", lb, []string{evil + ", ::ffff:10.0.0.6"}, evil},
		{"a single trusted address", lb, []string{evil + ", 203.0.113.80"}, evil},
		{"next to the single trusted address", lb, []string{evil + ", 203.0.113.81"}, "203.0.113.81"},
		{"a trusted IPv6 prefix", "2001:db8:cdc::1", []string{evil + ", 2001:db8:cdc::2"}, evil},

		// All are ours: a caller inside our net.
		{"all trusted", lb, []string{"10.3.3.3, 10.0.0.6"}, "10.3.3.3"},
		{"all trusted, one", lb, []string{"10.3.3.3"}, "10.3.3.3"},
		{"all trusted, the peer itself", lb, []string{lb}, lb},
		{"all trusted, several headers", lb, []string{"10.4.4.4", "10.3.3.3", "10.0.0.6"}, "10.4.4.4"},

		// Ports and brackets.
		{"a port", lb, []string{evil + ":4711"}, evil},
		{"a port on one of ours", lb, []string{evil + ", 10.0.0.6:80"}, evil},
		{"brackets", lb, []string{"[2001:db8::7]"}, "2001:db8::7"},
		{"brackets and a port", lb, []string{"[2001:db8::7]:4711"}, "2001:db8::7"},
		{"brackets, mapped, and a port", lb, []string{"[::ffff:198.51.100.66]:1"}, evil},

		// No address: the last good one before it, from the right.
		{"unknown", lb, []string{"unknown"}, lb},
		{"unknown behind one of ours", lb, []string{"unknown, 10.0.0.6"}, "10.0.0.6"},
		{"unknown stops it", lb, []string{evil + ", unknown, 10.0.0.6"}, "10.0.0.6"},
		{"a name", lb, []string{"localhost"}, lb},
		{"a zone", lb, []string{"fe80::1%eth0"}, lb},
		{"a zone in brackets", lb, []string{"[fe80::1%eth0]:80"}, lb},
		{"leading zeros", lb, []string{"010.0.0.1"}, lb},
		{"three parts", lb, []string{"10.0.1"}, lb},
		{"a number", lb, []string{"167772161"}, lb},
		{"hexadecimal", lb, []string{"0x0a000001"}, lb},
		{"a CIDR", lb, []string{"198.51.100.0/24"}, lb},
		{"quotes", lb, []string{`"` + evil + `"`}, lb},
		{"as Forwarded has it", lb, []string{"for=" + evil}, lb},
		{"an empty port", lb, []string{evil + ":"}, lb},
		{"a port too high", lb, []string{evil + ":65536"}, lb},
		{"a port with a sign", lb, []string{evil + ":+80"}, lb},
		{"a port that is a word", lb, []string{evil + ":http"}, lb},
		{"two ports", lb, []string{evil + ":1:2"}, lb},
		{"brackets not closed", lb, []string{"[2001:db8::7"}, lb},
		{"brackets not opened", lb, []string{"2001:db8::7]"}, lb},
		{"something after the brackets", lb, []string{"[2001:db8::7]x"}, lb},
		{"brackets around IPv4", lb, []string{"[198.51.100.66]:80"}, lb},
		{"empty brackets", lb, []string{"[]"}, lb},
		{"a space inside", lb, []string{"198.51.100 .66"}, lb},
		{"a NUL", lb, []string{evil + "\x00"}, lb},
		{"a newline", lb, []string{evil + "\n10.0.0.1"}, lb},
		{"other digits", lb, []string{"１98.51.100.66"}, lb},
		{"a semicolon for a comma", lb, []string{"192.0.2.1; " + evil}, lb},
		{"very long", lb, []string{strings.Repeat("1", 1<<16)}, lb},
	} {
		p := proxies(t, "10.0.0.0/8", "203.0.113.80", "2001:db8:cdc::/48")
		got, untrusted := p.Resolve(addr(c.peer), c.xff)
		if got != addr(c.want) {
			t.Errorf("%s: from %s, %q: got %s, want %s", c.story, c.peer, c.xff, got, c.want)
		}
		want := !p.Trusts(addr(c.peer)) && len(c.xff) > 0
		if untrusted != want {
			t.Errorf("%s: untrusted header: got %v, want %v", c.story, untrusted, want)
		}
	}
}

func TestNobodyIsTrustedUntilNamed(t *testing.T) {
	var none Proxies
	for _, peer := range []string{"127.0.0.1", "::1", "10.0.0.5"} {
		got, untrusted := none.Resolve(addr(peer), []string{"192.0.2.1"})
		if got != addr(peer) || !untrusted {
			t.Errorf("from %s: got %s, %v, want itself and an untrusted header", peer, got, untrusted)
		}
	}
	got, untrusted := none.Resolve(netip.Addr{}, []string{"192.0.2.1"})
	if got.IsValid() || !untrusted {
		t.Errorf("from no address: got %s, %v", got, untrusted)
	}
}

func TestPrivateProxies(t *testing.T) {
	p := proxies(t, "private", "203.0.113.80")
	for s, want := range map[string]bool{
		"10.1.1.1": true, "172.16.0.1": true, "172.31.255.255": true, "192.168.1.1": true, "127.0.0.1": true, "169.254.1.1": true,
		"::1": true, "fd00::1": true, "fc00::1": true, "fe80::1": true, "::ffff:10.1.1.1": true, "203.0.113.80": true,
		"172.32.0.1": false, "172.15.0.1": false, "192.169.0.1": false, "100.64.0.1": false, "8.8.8.8": false, "0.0.0.0": false,
		"::": false, "2001:db8::1": false, "fec0::1": false, "fe80::1%eth0": false, "::10.1.1.1": false,
	} {
		if got := p.Trusts(addr(s)); got != want {
			t.Errorf("%s: got %v, want %v", s, got, want)
		}
	}
	if p.Everyone() {
		t.Error("private is not everyone")
	}
	if !proxies(t, "10.0.0.0/8", "::/0").Everyone() {
		t.Error("::/0 is everyone")
	}
	for _, bad := range []string{"Private", "public", "10.1.2.3/8", "fe80::1%eth0", ""} {
		if p, err := ParseProxies([]string{"10.0.0.0/8", bad}); err == nil || p.Len() != 0 {
			t.Errorf("%q: got %v, %v, want an error and nobody trusted", bad, p, err)
		}
	}
}

// Whatever comes, the answer is the peer, or an address that stands in the header; and what the first untrusted address
// is told to the left of it changes nothing.
func FuzzResolve(f *testing.F) {
	f.Add("192.0.2.1, 10.0.0.1", "10.0.0.6")
	f.Add("unknown", "[2001:db8::1]:80, ::ffff:10.0.0.1")
	f.Add("", ",")
	f.Fuzz(func(t *testing.T, first, second string) {
		p := proxies(t, "private")
		peer := addr("10.0.0.5")
		got, untrusted := p.Resolve(peer, []string{first, second})
		if untrusted || !got.IsValid() || got.Zone() != "" || got.Is4In6() {
			t.Fatalf("%q, %q: got %v, %v", first, second, got, untrusted)
		}
		joined, _ := p.Resolve(peer, []string{first + "," + second})
		if joined != got {
			t.Fatalf("%q, %q: as one header %v, as two %v", first, second, joined, got)
		}
		const mine = "198.51.100.66"
		if got, _ := p.Resolve(peer, []string{first, second, mine}); got != addr(mine) {
			t.Fatalf("%q, %q: made up, and the caller is %v", first, second, got)
		}
		if got, untrusted := p.Resolve(addr(mine), []string{first, second}); got != addr(mine) || !untrusted {
			t.Fatalf("%q, %q: believed a stranger: %v", first, second, got)
		}
	})
}

func BenchmarkResolve(b *testing.B) {
	p := proxies(b, "private")
	peer, xff := addr("10.0.0.5"), []string{"192.0.2.1, 198.51.100.66, 10.0.0.6"}
	b.ReportAllocs()
	for b.Loop() {
		p.Resolve(peer, xff)
	}
}
