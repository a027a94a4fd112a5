package auth

import (
	"fmt"
	"net/netip"
	"reflect"
	"testing"
	"time"
)

func TestDetails(t *testing.T) {
	at := time.Date(2026, 11, 22, 9, 0, 0, 5e6, time.UTC)
	for _, ended := range []bool{false, true} {
		for _, at := range []time.Time{at, {}} {
			detail := RotateDetail(at, ended)
			if until, err := ParseRotateDetail(detail); err != nil || !until.Equal(at) {
				t.Errorf("%q is read as %v, %v", detail, until, err)
			}
		}
	}
	prefixes := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}
	for _, until := range []time.Time{{}, at} {
		detail := AllowDetail(prefixes, until)
		if got, end, err := ParseAllowDetail(detail); err != nil || !reflect.DeepEqual(got, prefixes) || !end.Equal(until) {
			t.Errorf("%q is read as %v, %v, %v", detail, got, end, err)
		}
	}
	for _, rate := range []Rate{{}, {Count: 600, Per: time.Minute}, {Count: 10, Per: time.Second, Burst: 3}} {
		if got, err := ParseLimitDetail(LimitDetail(rate)); err != nil || got != rate {
			t.Errorf("%q is read as %v, %v", LimitDetail(rate), got, err)
		}
	}
	name, scope, none, keys := "Name", "a;b orders:read", "", "{}"
	for _, u := range []CredentialUpdate{
		{Name: &name},
		{Scope: &scope},
		{Scope: &none},
		{ExpiresAt: &at},
		{ExpiresAt: &time.Time{}},
		{Keys: &keys},
		{Name: &name, Scope: &scope, ExpiresAt: &at, Keys: &keys},
	} {
		var names []string
		if u.Keys != nil {
			names = []string{"first", "second"}
		}
		got, err := ParseUpdateDetail(UpdateDetail(u, names))
		want := Updated{Scope: u.Scope, ExpiresAt: u.ExpiresAt, KeysSet: u.Keys != nil, Keys: names}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q is read as %+v, %v", UpdateDetail(u, names), got, err)
		}
	}
	for _, bad := range []string{"", " ", "scopes", `scopes "a`, `scopes "b a"`, `scopes "a"x`, `scopes "a", `, "expires", "expires soon", "expires 2026-11-22T09:00:00+00:00", "name,", "else", `name, scopes "a", scopes "a"`} {
		if u, err := ParseUpdateDetail(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, u)
		}
	}
	for _, bad := range []string{"", "old secret", "old secret until", "old secret until now", "old secret until never", "old secret until 2026-11-22T09:00:00Z, sessions", "until 2026-11-22T09:00:00Z"} {
		if until, err := ParseRotateDetail(bad); err == nil {
			t.Errorf("%q is read as %v", bad, until)
		}
	}
	for _, bad := range []string{"", "192.0.2.1", "192.0.2.0/24 ", "192.0.2.0/024", "192.0.2.0/24 until", "192.0.2.0/24 until never", "192.0.2.0/24,192.0.2.0/24"} {
		if p, until, err := ParseAllowDetail(bad); err == nil {
			t.Errorf("%q is read as %v, %v", bad, p, until)
		}
	}
	for _, bad := range []string{"", "600", "600/min burst", "600/min burst 0", "600/min burst -1", "0 burst 1 "} {
		if r, err := ParseLimitDetail(bad); err == nil {
			t.Errorf("%q is read as %v", bad, r)
		}
	}
}

// Whatever is read as a detail means what it says once written again.
func FuzzDetails(f *testing.F) {
	for _, s := range []string{"old secret until 2026-11-22T09:00:00Z, sessions ended", "192.0.2.0/24 until 2026-11-22T09:00:00Z", "600/min burst 5", `name, scopes "a b", expires never, keys x y`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if until, err := ParseRotateDetail(s); err == nil && RotateDetail(until, false) != s && RotateDetail(until, true) != s {
			t.Errorf("rotation %q is read as %v", s, until)
		}
		if prefixes, until, err := ParseAllowDetail(s); err == nil && AllowDetail(prefixes, until) != s {
			t.Errorf("addition %q is read as %v, %v", s, prefixes, until)
		}
		if rate, err := ParseLimitDetail(s); err == nil && LimitDetail(rate) != s {
			t.Errorf("limit %q is read as %v", s, rate)
		}
		u, err := ParseUpdateDetail(s)
		if err != nil {
			return
		}
		keys := ""
		again := CredentialUpdate{Scope: u.Scope, ExpiresAt: u.ExpiresAt}
		if u.KeysSet {
			again.Keys = &keys
		}
		if got, err := ParseUpdateDetail(UpdateDetail(again, u.Keys)); fmt.Sprint(again) != fmt.Sprint(CredentialUpdate{}) && (err != nil || !reflect.DeepEqual(got, u)) {
			t.Errorf("change %q is read as %+v, and once written again as %+v, %v", s, u, got, err)
		}
	})
}
