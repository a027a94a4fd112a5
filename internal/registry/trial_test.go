package registry

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// A trialStore has one account, and where it came from.
type trialStore struct {
	*fakeStore
	account     auth.Account
	seen        []auth.Sighting
	sessions    []auth.Session
	credentials []auth.Credential
	replaced    []auth.AllowEntry
	acts        []auth.Act
}

func (s *trialStore) Account(context.Context, auth.AccountID) (auth.Account, error) {
	return s.account, nil
}

func (s *trialStore) Seen(context.Context, auth.AccountID, time.Time) ([]auth.Sighting, error) {
	return s.seen, nil
}

func (s *trialStore) Sessions(context.Context, auth.SessionQuery) ([]auth.Session, error) {
	return s.sessions, nil
}

func (s *trialStore) Credentials(context.Context, auth.CredentialQuery) ([]auth.Credential, error) {
	return s.credentials, nil
}

func (s *trialStore) ReplaceAllowlist(_ context.Context, _ auth.AccountID, entries []auth.AllowEntry, _ string, _ auth.Terms, acts []auth.Act) (auth.Revoked, error) {
	s.replaced, s.acts = entries, acts
	return auth.Revoked{Position: 1}, nil
}

func newTrial(t *testing.T) (*Registry, *trialStore) {
	t.Helper()
	r, fake := newRegistry(t)
	s := &trialStore{fakeStore: fake, account: auth.Account{ID: own}}
	r.store = s
	return r, s
}

func entry(cidr string) auth.AllowEntry { return auth.AllowEntry{Prefix: netip.MustParsePrefix(cidr)} }

func TestTryAllowlist(t *testing.T) {
	r, s := newTrial(t)
	saw := func(from string, ago time.Duration, count int64) auth.Sighting {
		return auth.Sighting{Account: own, Credential: "c1", From: netip.MustParsePrefix(from), At: start.Add(-ago), Count: count}
	}
	s.credentials = []auth.Credential{{ID: "c1", Kind: auth.Login, Secrets: []auth.Secret{{LastUse: auth.Use{
		At: start.Add(-time.Minute), Address: netip.MustParseAddr("203.0.113.7"),
	}}}}}
	s.sessions = []auth.Session{{ID: "s1", Credential: "c1", Address: netip.MustParseAddr("2001:db8::9"), StartedAt: start.Add(-time.Hour)}}
	s.seen = []auth.Sighting{
		saw("203.0.113.7/32", 2*time.Hour, 9), saw("198.51.100.1/32", 3*time.Hour, 1), saw("198.51.100.2/32", 4*time.Hour, 2), saw("198.51.100.3/32", 5*time.Hour, 3),
		saw("192.0.2.1/32", 6*time.Hour, 100), saw("192.0.2.2/32", 7*time.Hour, 1),
	}
	asks := member
	asks.Address = netip.MustParseAddr("::ffff:203.0.113.99")
	trial, err := r.TryAllowlist(t.Context(), asks, own, []auth.AllowEntry{entry("203.0.113.0/24"), entry("2001:db8::1/128")})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range trial.Seen {
		got = append(got, fmt.Sprintf("%s %s %s %s %d %v %v", s.From, s.Kind, s.Session, start.Sub(s.At), s.Count, s.Allowed, s.Partly))
	}
	want := []string{
		"203.0.113.7/32 login  1m0s 9 true false", "2001:db8::/64 login s1 1h0m0s 1 false true",
		"198.51.100.1/32 login  3h0m0s 1 false false", "198.51.100.2/32 login  4h0m0s 2 false false", "198.51.100.3/32 login  5h0m0s 3 false false",
		"192.0.2.1/32 login  6h0m0s 100 false false", "192.0.2.2/32 login  7h0m0s 1 false false",
	}
	if !slices.Equal(got, want) || trial.ShutOut != 5 || !trial.CallerAllowed {
		t.Errorf("%d of these are shut out, the caller comes in: %v\n%s", trial.ShutOut, trial.CallerAllowed, strings.Join(got, "\n"))
	}
	got = nil
	for _, s := range trial.Suggestions {
		got = append(got, fmt.Sprintf("%s %d %d", s.Prefix, s.Addresses, s.Count))
	}
	if want := []string{"192.0.2.1/32 1 100", "198.51.100.0/24 3 6", "192.0.2.2/32 1 1"}; !slices.Equal(got, want) {
		t.Errorf("suggested %q, want %q", got, want)
	}
	asks.Address = netip.MustParseAddr("192.0.2.1")
	if trial, err = r.TryAllowlist(t.Context(), asks, own, nil); err != nil || trial.ShutOut > 0 || !trial.CallerAllowed {
		t.Errorf("a list without entries lets in everybody: %+v, %v", trial, err)
	}
	ended := entry("192.0.2.0/24")
	ended.ExpiresAt = start
	s.account.Allowlist = []auth.AllowEntry{ended}
	if trial, err = r.TryAllowlist(t.Context(), asks, own, []auth.AllowEntry{ended}); err != nil || trial.ShutOut != 7 || trial.CallerAllowed {
		t.Errorf("an entry that has ended lets in nobody: %+v, %v", trial, err)
	}
	for name, bad := range map[string][]auth.AllowEntry{
		"twice":         {entry("192.0.2.0/24"), entry("192.0.2.0/24")},
		"host bits":     {{Prefix: netip.PrefixFrom(netip.MustParseAddr("192.0.2.7"), 24)}},
		"ended already": {{Prefix: netip.MustParsePrefix("10.0.0.0/8"), ExpiresAt: start}},
		"no prefix":     {{}},
	} {
		if _, err := r.TryAllowlist(t.Context(), asks, own, bad); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReplaceAllowlist(t *testing.T) {
	r, s := newTrial(t)
	made := start.Add(-time.Hour)
	s.account.Allowlist = []auth.AllowEntry{
		{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Note: "office", CreatedAt: made}, {Prefix: netip.MustParsePrefix("10.0.0.0/8"), CreatedAt: made},
	}
	tag := auth.AllowlistTag(s.account.Allowlist)
	stays, later := s.account.Allowlist[0], entry("198.51.100.0/24")
	later.ExpiresAt = start.Add(time.Hour)
	owner, developer := member, member
	owner.Role, developer.Role = auth.RoleOwner, auth.RoleDeveloper
	replace := func(who auth.Actor, tag string, everyone bool, entries ...auth.AllowEntry) error {
		s.acts, s.replaced = nil, nil
		_, err := r.ReplaceAllowlist(t.Context(), who, own, entries, everyone, tag)
		return err
	}
	if err := replace(owner, tag, false, stays, later, entry("203.0.113.0/24")); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range s.acts {
		got = append(got, a.Action+" "+a.Detail)
	}
	want := []string{
		"account.allow-ip " + auth.AllowDetail([]netip.Prefix{later.Prefix}, later.ExpiresAt), "account.allow-ip 203.0.113.0/24", "account.remove-ip 10.0.0.0/8",
	}
	if !slices.Equal(got, want) || len(s.replaced) != 3 || !s.replaced[0].CreatedAt.Equal(made) {
		t.Errorf("replaced by %v with %q, want %q", s.replaced, got, want)
	}
	if err := replace(developer, tag, false, append([]auth.AllowEntry{later}, s.account.Allowlist...)...); err != nil || len(s.acts) != 1 {
		t.Errorf("a developer adds: %v, %v", s.acts, err)
	}
	var refused *auth.Error
	if err := replace(developer, tag, false, stays); !errors.As(err, &refused) || refused.Kind != auth.Forbidden || s.replaced != nil {
		t.Errorf("a developer takes away: %v", err)
	}
	if err := replace(owner, "another", false, stays); !errors.Is(err, auth.ErrChanged) {
		t.Errorf("with the tag of another list: %v", err)
	}
	if err := replace(owner, "", false); !errors.Is(err, auth.ErrConflict) {
		t.Errorf("without an entry: %v", err)
	}
	if err := replace(owner, "", true); err != nil || len(s.acts) != 1 || s.acts[0].Detail != "192.0.2.0/24 10.0.0.0/8" {
		t.Errorf("for everyone: %v, %v", s.acts, err)
	}
}
