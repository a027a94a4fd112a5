package auth

import "testing"

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
