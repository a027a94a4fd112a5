package desk

import (
	"net/netip"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/google/go-cmp/cmp"
)

func TestKeyStates(t *testing.T) {
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	rows := []auth.KeyRow{
		{ID: "old", Ring: auth.SigningRing, ActiveAt: now.Add(-48 * time.Hour)},
		{ID: "leaked", Ring: auth.SigningRing, ActiveAt: now.Add(-24 * time.Hour), RevokedAt: now},
		{ID: "now", Ring: auth.SigningRing, ActiveAt: now},
		{ID: "refresh", Ring: auth.RefreshRing, ActiveAt: now.Add(-time.Hour)},
		{ID: "tomorrow", Ring: auth.SigningRing, ActiveAt: now.Add(24 * time.Hour)},
	}
	if diff := cmp.Diff([]string{"kept", "revoked", "signing", "signing", "next"}, KeyStates(rows, now)); diff != "" {
		t.Error(diff)
	}
}

func TestEntriesAreAddedToAList(t *testing.T) {
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	office, home := netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("198.51.100.7/32")
	before := []auth.AllowEntry{{Prefix: office, Note: "old", CreatedAt: now.AddDate(0, -1, 0)}}
	would := withEntries(before, []netip.Prefix{office, home}, "new", now.Add(time.Hour))
	if len(would) != 2 || would[0].Note != "new" || !would[0].CreatedAt.Equal(before[0].CreatedAt) || before[0].Note != "old" {
		t.Errorf("got %v, from %v", would, before)
	}
}
