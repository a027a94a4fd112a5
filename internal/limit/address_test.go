package limit

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gatehouse/gatehouse/internal/auth"
)

func TestParsePrefix(t *testing.T) {
	for _, c := range []struct{ in, want, wrong string }{
		{"10.0.0.0/8", "10.0.0.0/8", ""},
		{"203.0.113.7", "203.0.113.7/32", ""},
		{"203.0.113.7/32", "203.0.113.7/32", ""},
		{"2001:db8::/32", "2001:db8::/32", ""},
		{"2001:DB8:0::1", "2001:db8::1/128", ""},
		{"0.0.0.0/0", "0.0.0.0/0", ""},
		{"::/0", "::/0", ""},
		{"::ffff:10.0.0.0/104", "10.0.0.0/8", ""},
		{"::ffff:10.1.2.3", "10.1.2.3/32", ""},
		{"::ffff:a01:203/128", "10.1.2.3/32", ""},
		{"::ffff:0:0/96", "0.0.0.0/0", ""},
		{"::10.0.0.0/104", "::a00:0/104", ""},
		{"64:ff9b::/96", "64:ff9b::/96", ""},

		{"10.1.2.3/8", "", `"10.1.2.3/8" has bits beyond its mask: write 10.0.0.0/8`},
		{"10.0.0.1/0", "", `"10.0.0.1/0" has bits beyond its mask: write 0.0.0.0/0`},
		{"2001:db8::1/64", "", `"2001:db8::1/64" has bits beyond its mask: write 2001:db8::/64`},
		{"::ffff:10.1.2.3/104", "", `"::ffff:10.1.2.3/104" has bits beyond its mask: write 10.0.0.0/8`},
		{"::ffff:0:0/95", "", `"::ffff:0:0/95" is shorter than ::ffff:0:0/96, so it is IPv4 and IPv6 mixed: write the IPv4 prefix itself`},
		{"fe80::1%eth0", "", `"fe80::1%eth0" has a zone, which means something on one machine only: leave out "%eth0"`},
		{"fe80::%1/64", "", `"fe80::%1/64" has a zone, which means something on one machine only: leave out "%1/64"`},
		{"", "", `"" is neither an IP address nor a CIDR such as 203.0.113.0/24 or 2001:db8::/32`},
		{"010.0.0.1", "", `"010.0.0.1" is neither`},
		{"10.0.0", "", `"10.0.0" is neither`},
		{"10.0.0.0/33", "", `"10.0.0.0/33" is neither`},
		{"10.0.0.0/08", "", `"10.0.0.0/08" is neither`},
		{"10.0.0.0/", "", `"10.0.0.0/" is neither`},
		{"10.0.0.0/255.0.0.0", "", `"10.0.0.0/255.0.0.0" is neither`},
		{" 10.0.0.1", "", `" 10.0.0.1" is neither`},
		{"10.0.0.1:80", "", `"10.0.0.1:80" is neither`},
		{"[::1]", "", `"[::1]" is neither`},
		{"0x0a000001", "", `"0x0a000001" is neither`},
		{"example.com", "", `"example.com" is neither`},
		{"10.0.0.1\n", "", `"10.0.0.1\n" is neither`},
	} {
		got, err := ParsePrefix(c.in)
		switch {
		case c.wrong != "":
			if err == nil || len(err.Error()) < len(c.wrong) || err.Error()[:len(c.wrong)] != c.wrong {
				t.Errorf("%q: got %v, %v\nwant the error %s", c.in, got, err, c.wrong)
			}
		case err != nil:
			t.Errorf("%q: %v", c.in, err)
		case got.String() != c.want:
			t.Errorf("%q: got %s, want %s", c.in, got, c.want)
		}
	}
}

func FuzzParsePrefix(f *testing.F) {
	for _, s := range []string{"10.0.0.0/8", "::ffff:10.0.0.0/104", "::1", "fe80::1%a/64", "10.1.2.3/8", "::ffff:1.2.3.4/97"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePrefix(s)
		if err != nil {
			return
		}
		again, err := ParsePrefix(p.String())
		if err != nil || again != p {
			t.Fatalf("%q is %v, and that is %v, %v", s, p, again, err)
		}
		if p.Addr().Is4In6() || p.Addr().Zone() != "" || p.Masked() != p {
			t.Fatalf("%q: %v is not in its one form", s, p)
		}
		if !p.Contains(p.Addr()) {
			t.Fatalf("%q: %v does not contain itself", s, p)
		}
	})
}

func entry(s string, expires time.Time) auth.AllowEntry {
	return auth.AllowEntry{Prefix: netip.MustParsePrefix(s), ExpiresAt: expires}
}

func TestAllowlist(t *testing.T) {
	never := time.Time{}
	office := []auth.AllowEntry{entry("203.0.113.0/24", never), entry("2001:db8:5::/48", never)}
	for _, c := range []struct {
		story   string
		entries []auth.AllowEntry
		from    string
		want    bool
	}{
		{"no entries: everyone", nil, "198.51.100.1", true},
		{"no entries: everyone", []auth.AllowEntry{}, "2001:db8::1", true},
		{"of the office", office, "203.0.113.9", true},
		{"of the office, over a dual-stack socket", office, "::ffff:203.0.113.9", true},
		{"of the office, IPv6", office, "2001:db8:5:1::9", true},
		{"next door", office, "203.0.114.9", false},
		{"next door, IPv6", office, "2001:db8:6::9", false},
		{"IPv4 in an IPv6 that is not the mapping", office, "::203.0.113.9", false},
		{"IPv4 through NAT64", office, "64:ff9b::cb00:7109", false},
		{"a zone", []auth.AllowEntry{entry("fe80::/10", never)}, "fe80::1%eth0", false},
		{"without the zone", []auth.AllowEntry{entry("fe80::/10", never)}, "fe80::1", true},
		{"all of IPv4", []auth.AllowEntry{entry("0.0.0.0/0", never)}, "::ffff:198.51.100.1", true},
		{"all of IPv4 is not IPv6", []auth.AllowEntry{entry("0.0.0.0/0", never)}, "2001:db8::1", false},
		{"all of IPv6 is not IPv4", []auth.AllowEntry{entry("::/0", never)}, "198.51.100.1", false},
		{"all of IPv6 is not mapped IPv4", []auth.AllowEntry{entry("::/0", never)}, "::ffff:198.51.100.1", false},
		{"stored mapped by another hand", []auth.AllowEntry{entry("::ffff:10.0.0.0/104", never)}, "10.1.2.3", true},
		{"stored mapped, and too short", []auth.AllowEntry{entry("::ffff:0:0/95", never)}, "10.1.2.3", false},
		{"an entry that is none", []auth.AllowEntry{{}}, "10.1.2.3", false},
		{"expires in a moment", []auth.AllowEntry{entry("10.0.0.0/8", morning.Add(1))}, "10.1.2.3", true},
		{"expires now", []auth.AllowEntry{entry("10.0.0.0/8", morning)}, "10.1.2.3", false},
		{"all have expired: nobody", []auth.AllowEntry{entry("10.0.0.0/8", morning.Add(-1))}, "192.0.2.1", false},
		{"twice, one expired", []auth.AllowEntry{entry("10.0.0.0/8", morning.Add(-1)), entry("10.1.0.0/16", never)}, "10.1.2.3", true},
	} {
		l := NewAllowlist(c.entries)
		if got := l.Allows(addr(c.from), morning); got != c.want {
			t.Errorf("%s: %s: got %v, want %v", c.story, c.from, got, c.want)
		}
		if l.Len() != len(c.entries) {
			t.Errorf("%s: %d entries, want %d", c.story, l.Len(), len(c.entries))
		}
	}
	if NewAllowlist(office).Allows(netip.Addr{}, morning) {
		t.Error("no address at all is on a list")
	}
	mine := []auth.AllowEntry{entry("10.0.0.0/8", never)}
	l := NewAllowlist(mine)
	mine[0] = entry("0.0.0.0/0", never)
	if l.Allows(addr("192.0.2.1"), morning) {
		t.Error("a list changed after it was made")
	}
}

// What a list allows is what the bits say, and the mapping into IPv6 changes nothing on either side.
func TestAllowlistModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Few bits, so that they meet.
		draw4 := func(name string) netip.Addr {
			return netip.AddrFrom4([4]byte{10, rapid.ByteRange(0, 3).Draw(t, name), 0, rapid.Byte().Draw(t, name)})
		}
		from := draw4("from")
		var entries []auth.AllowEntry
		want := false
		for range rapid.IntRange(1, 5).Draw(t, "entries") {
			at, bits := draw4("at"), rapid.IntRange(0, 32).Draw(t, "bits")
			expired := rapid.Bool().Draw(t, "expired")
			p := netip.PrefixFrom(at, bits).Masked()
			e := auth.AllowEntry{Prefix: p}
			if rapid.Bool().Draw(t, "mapped") {
				e.Prefix = netip.PrefixFrom(netip.AddrFrom16(p.Addr().As16()), bits+96)
			}
			if expired {
				e.ExpiresAt = morning
			}
			entries = append(entries, e)
			a, f := at.As4(), from.As4()
			same := true
			for bit := range bits {
				if (a[bit/8]^f[bit/8])&(0x80>>(bit%8)) != 0 {
					same = false
				}
			}
			want = want || same && !expired
		}
		l := NewAllowlist(entries)
		if got := l.Allows(from, morning); got != want {
			t.Fatalf("%v in %v: got %v, want %v", from, entries, got, want)
		}
		if got := l.Allows(netip.AddrFrom16(from.As16()), morning); got != want {
			t.Fatalf("%v mapped in %v: got %v, want %v", from, entries, got, want)
		}
	})
}

func BenchmarkAllows(b *testing.B) {
	for _, n := range []int{1, 10, 300} {
		var entries []auth.AllowEntry
		for i := range n {
			entries = append(entries, auth.AllowEntry{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)})
		}
		l := NewAllowlist(entries)
		from := addr("192.0.2.1")
		b.Run(fmt.Sprint(n, " entries"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if l.Allows(from, morning) {
					b.Fatal("allowed")
				}
			}
		})
	}
}
