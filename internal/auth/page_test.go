package auth

import (
	"testing"
	"time"
)

func TestPlaces(t *testing.T) {
	at := time.Date(2026, 11, 22, 9, 0, 0, 7_000_000, time.UTC)
	c := Credential{ID: "c1", Account: 100001, CreatedAt: at}
	if got, err := ParseCredentialPlace(c.Place().String()); err != nil || got != c.Place() {
		t.Errorf("a credential's: got %v, %v", got, err)
	}
	s := Session{ID: "s.1", StartedAt: at}
	if got, err := ParseSessionPlace(s.Place().String()); err != nil || got != s.Place() {
		t.Errorf("a session's: got %v, %v", got, err)
	}
	r := Refusal{At: at.Add(999 * time.Microsecond), RequestIDs: []string{"b", "a.x", "c"}}
	if got, err := ParseRefusalPlace(r.Place().String()); err != nil || got != r.Place() || got.ID != "a.x" || !got.At.Equal(at) {
		t.Errorf("a refusal's: got %v, %v", got, err)
	}
	e := AuditEntry{Number: 7, At: at}
	if got, err := ParseAuditPlace(e.Place().String()); err != nil || got != e.Place() {
		t.Errorf("an act's: got %v, %v", got, err)
	}
	for _, bad := range []string{"x", "1", "1.", ".1", "1.2.\x00", "01.2.c", "-1.2.c", "0.1.c", "1.-2.c", "1.2", "1.2.\xff"} {
		if got, err := ParseCredentialPlace(bad); err == nil && bad != "1.2." {
			t.Errorf("%q is %v", bad, got)
		}
	}
}

func FuzzPlaces(f *testing.F) {
	f.Add("100001.1795401802367.abcdefghijkl")
	f.Add("1795401802367.reqid_1")
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := ParseCredentialPlace(s); err == nil && p.String() != s {
			t.Errorf("a credential's place %q is also spelled %q", p, s)
		}
		if p, err := ParseSessionPlace(s); err == nil && p.String() != s {
			t.Errorf("a session's place %q is also spelled %q", p, s)
		}
		if p, err := ParseRefusalPlace(s); err == nil && p.String() != s {
			t.Errorf("a refusal's place %q is also spelled %q", p, s)
		}
		if p, err := ParseAuditPlace(s); err == nil && p.String() != s {
			t.Errorf("an act's place %q is also spelled %q", p, s)
		}
	})
}
