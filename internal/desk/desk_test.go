package desk

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/google/go-cmp/cmp"
)

// The server's memory and the database know of the same refusals, the one a little earlier than the other.
func TestEachRefusalIsToldOnce(t *testing.T) {
	at := func(second int) time.Time { return time.Date(2026, 11, 22, 9, 0, second, 0, time.UTC) }
	stored := []auth.Refusal{
		{ID: 2, At: at(2), RequestIDs: []string{"c", "d"}, Count: 7},
		{ID: 1, At: at(1), RequestIDs: []string{"a"}, Count: 1},
	}
	memory := []auth.Refusal{
		{At: at(3), RequestIDs: []string{"e"}, Count: 1},         // not written yet
		{At: at(2), RequestIDs: []string{"d"}, Count: 1},         // one of those counted
		{At: at(1), RequestIDs: []string{"a", "b"}, Count: 2000}, // counted on since
	}
	var got []string
	for _, r := range merge(memory, stored, 0) {
		got = append(got, fmt.Sprintf("%s ×%d", strings.Join(r.RequestIDs, ","), r.Count))
	}
	if diff := cmp.Diff([]string{"e ×1", "c,d ×7", "a,b ×2000"}, got); diff != "" {
		t.Error(diff)
	}
	if got := merge(memory, stored, 2); len(got) != 2 || got[0].RequestIDs[0] != "e" {
		t.Errorf("the newest two: got %v", got)
	}
}

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

func TestWhoWouldBeShutOut(t *testing.T) {
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	office, home := netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("198.51.100.7/32")
	before := []auth.AllowEntry{{Prefix: office, Note: "old", CreatedAt: now.AddDate(0, -1, 0)}}
	would := withEntries(before, []netip.Prefix{office, home}, "new", now.Add(time.Hour), now)
	if len(would) != 2 || would[0].Note != "new" || !would[0].CreatedAt.Equal(before[0].CreatedAt) || before[0].Note != "old" {
		t.Errorf("got %v, from %v", would, before)
	}
	for at, want := range map[time.Time][]bool{now: {true, false}, now.Add(time.Hour): {false, false}} { // an entry that has ended lets nobody in
		told := api.Allowlist{Addresses: []api.SeenAddress{
			{Address: netip.MustParseAddr("203.0.113.9")}, {}, {Address: netip.MustParseAddr("192.0.2.1")},
		}}
		judge(&told, would, at)
		var allowed []bool
		for _, s := range told.Addresses {
			allowed = append(allowed, s.Allowed)
		}
		if diff := cmp.Diff(want, allowed); diff != "" {
			t.Errorf("at %s: %s", at, diff)
		}
	}
}
