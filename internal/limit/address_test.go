package limit

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gatehouse/gatehouse/internal/auth"
)

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
