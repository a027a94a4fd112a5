package facts

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/verify"
)

var start = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

// A fakeStore keeps accounts and credentials in memory. Each of its reads first calls reading, if there is one.
type fakeStore struct {
	mu          sync.Mutex
	accounts    map[auth.AccountID]auth.Account
	credentials map[auth.CredentialID]auth.Credential
	sessions    []auth.RevokedSession
	reads       int
	reading     func()
	broken      error
	incarnation string // "" is "one"
}

func (s *fakeStore) Exceptions(_ context.Context, since time.Time) (auth.Exceptions, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := auth.Exceptions{Incarnation: cmp.Or(s.incarnation, "one"), Position: 5, Sessions: s.sessions}
	for _, a := range s.accounts {
		e.Accounts = append(e.Accounts, a)
	}
	for _, c := range s.credentials {
		if !c.RestrictedAt.Before(since) {
			e.Credentials = append(e.Credentials, c)
		}
	}
	return e, s.broken
}

func (s *fakeStore) ExceptionsOf(_ context.Context, accounts []auth.AccountID, credentials []auth.CredentialID) (auth.Exceptions, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var e auth.Exceptions
	for _, id := range accounts {
		if a, ok := s.accounts[id]; ok {
			e.Accounts = append(e.Accounts, a)
		}
	}
	for _, id := range credentials {
		if c, ok := s.credentials[id]; ok {
			e.Credentials = append(e.Credentials, c)
		}
	}
	return e, s.broken
}

func (s *fakeStore) Holder(_ context.Context, kind auth.Kind, id auth.CredentialID) (auth.Holder, error) {
	s.mu.Lock()
	s.reads++
	c, ok := s.credentials[id]
	reading, broken := s.reading, s.broken
	s.mu.Unlock()
	if reading != nil {
		reading()
	}
	if broken != nil {
		return auth.Holder{}, broken
	}
	if !ok || c.Kind != kind {
		return auth.Holder{}, auth.ErrNotFound
	}
	return auth.Holder{ID: c.ID, Account: c.Account, Kind: c.Kind, Scope: c.Scope, ExpiresAt: c.ExpiresAt, RevokedAt: c.RevokedAt}, nil
}

func newFacts(t testing.TB, s *fakeStore) *Facts {
	t.Helper()
	f, err := New(Config{Store: s, Cache: 1000, Keep: func() time.Duration { return 24 * time.Hour }, Now: func() time.Time { return start }})
	if err != nil {
		t.Fatal(err)
	}
	if _, at, err := f.Load(t.Context()); err != nil || at != 5 {
		t.Fatalf("Load = %d, %v", at, err)
	}
	return f
}

func newStore() *fakeStore {
	return &fakeStore{
		accounts: map[auth.AccountID]auth.Account{},
		credentials: map[auth.CredentialID]auth.Credential{
			"key1": {ID: "key1", Account: 100001, Kind: auth.APIKey, Scope: "a b", RestrictedAt: start.Add(-48 * time.Hour)},
		},
	}
}

func claims(pos int64) *verify.Claims {
	return &verify.Claims{Account: 100001, Credential: "key1", Session: "sid1", Type: verify.B2BAccess, Position: pos}
}

func (f *Facts) mustStand(t *testing.T, c *verify.Claims) verify.Standing {
	t.Helper()
	s, err := f.Standing(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A standby that took over too soon has forgotten what was revoked last; a replica that knew has not.
func TestWhatWasKnownToBeRevokedStaysSo(t *testing.T) {
	s := newStore()
	f := newFacts(t, s)
	a := auth.Account{ID: 100001, RestrictedAt: start}
	a.DeadBelow[auth.B2B.Index()] = 7
	s.accounts[100001] = a
	s.credentials["key2"] = auth.Credential{ID: "key2", RevokedAt: start, RestrictedAt: start}
	s.credentials["key3"] = auth.Credential{ID: "key3", DeadBelow: 8, RestrictedAt: start}
	s.credentials["key4"] = auth.Credential{ID: "key4", NarrowedAt: start, Scope: "a", RestrictedAt: start}
	s.credentials["key5"] = auth.Credential{ID: "key5", RevokedAt: start, RestrictedAt: start.Add(-23 * time.Hour)}
	if _, _, err := f.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	dead := func(credential string, pos int64) bool {
		c := claims(pos)
		c.Credential = credential
		return f.mustStand(t, c).Revoked
	}
	knows := func(when string, want bool) {
		t.Helper()
		got := []bool{dead("key1", 6), dead("key2", 100), dead("key3", 7), dead("key5", 100)}
		if !slices.Equal(got, []bool{want, want, want, want}) {
			t.Errorf("%s: of account and credentials are dead %v, want all %v", when, got, want)
		}
		if dead("key1", 7) || dead("key3", 8) {
			t.Errorf("%s: what came after lives no more", when)
		}
	}
	knows("when it was revoked", true)

	lost := newStore()
	s.accounts, s.credentials = lost.accounts, lost.credentials
	s.accounts[100001] = auth.Account{ID: 100001, Allowlist: []auth.AllowEntry{{Prefix: netip.MustParsePrefix("192.0.2.0/24")}}}
	s.credentials["key3"] = auth.Credential{ID: "key3", DeadBelow: 5, RestrictedAt: start}
	if _, _, err := f.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	knows("when the database forgot it", true)
	if f.mustStand(t, &verify.Claims{Account: 1, Credential: "key4", Session: "s", Type: verify.B2BAccess}).Narrowed {
		t.Error("what can be taken back is kept against the database")
	}
	if err := f.Apply(t.Context(), []auth.Change{
		{Number: 6, Of: auth.ChangedAccount, Account: 100001}, {Number: 7, Of: auth.ChangedCredential, Credential: "key3"},
	}); err != nil {
		t.Fatal(err)
	}
	knows("when something else of them changed", true)
	if f.Allows(100001, netip.MustParseAddr("198.51.100.1")) || !f.Allows(100001, netip.MustParseAddr("192.0.2.1")) {
		t.Error("the account's list is not the database's")
	}

	now := start
	f.now = func() time.Time { return now }
	now = now.Add(2 * time.Hour)
	if _, _, err := f.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if dead("key5", 100) || !dead("key2", 100) {
		t.Error("a revocation is kept for as long as a token can live, and no longer")
	}
	s.incarnation = "two"
	if _, _, err := f.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if dead("key1", 0) || dead("key2", 0) || dead("key3", 5) {
		t.Error("positions of one incarnation are compared with those of another")
	}
}

func TestPositionsTellBeforeFromAfter(t *testing.T) {
	s := newStore()
	f := newFacts(t, s)
	if f.mustStand(t, claims(0)).Revoked {
		t.Error("nothing was revoked")
	}
	a := auth.Account{ID: 100001, RestrictedAt: start}
	a.DeadBelow[auth.B2B.Index()] = 7
	s.accounts[100001] = a
	if err := f.Apply(t.Context(), []auth.Change{{Number: 7, Of: auth.ChangedAccount, Account: 100001}}); err != nil {
		t.Fatal(err)
	}
	for pos, dead := range map[int64]bool{0: true, 6: true, 7: false, 8: false} {
		if f.mustStand(t, claims(pos)).Revoked != dead {
			t.Errorf("a token of position %d below 7: dead %v, want %v", pos, !dead, dead)
		}
	}
	other := claims(0)
	other.Type = verify.AccessToken
	if f.mustStand(t, other).Revoked {
		t.Error("a logout of contract 3 killed a token of contract 1")
	}
	c := s.credentials["key1"]
	c.DeadBelow, c.RestrictedAt = 9, start
	s.credentials["key1"] = c
	if err := f.Apply(t.Context(), []auth.Change{{Number: 9, Of: auth.ChangedCredential, Credential: "key1"}}); err != nil {
		t.Fatal(err)
	}
	if !f.mustStand(t, claims(8)).Revoked || f.mustStand(t, claims(9)).Revoked {
		t.Error("the credential's own position was not looked at")
	}
}

func TestARevokedSessionStaysSoUntilItsLastTokenIsDead(t *testing.T) {
	s := newStore()
	f := newFacts(t, s)
	change := auth.Change{Number: 6, Of: auth.ChangedSession, Session: "sid1", Until: start.Add(time.Hour)}
	if err := f.Apply(t.Context(), []auth.Change{change}); err != nil {
		t.Fatal(err)
	}
	f.Sweep()
	if !f.mustStand(t, claims(5)).Revoked {
		t.Error("the session lives")
	}
	// A database that was restored has forgotten it; we have not.
	if _, _, err := f.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !f.mustStand(t, claims(5)).Revoked {
		t.Error("the session came back to life")
	}
	f.now = func() time.Time { return start.Add(time.Hour + time.Second) }
	f.Sweep()
	if len(f.sessions) != 0 {
		t.Error("remembered for ever")
	}
}

func TestWhatCannotBeReadIsNotForgotten(t *testing.T) {
	s := newStore()
	s.accounts[100001] = auth.Account{ID: 100001, SuspendedAt: start}
	f := newFacts(t, s)
	s.broken = errors.New("no database")
	if err := f.Apply(t.Context(), []auth.Change{{Of: auth.ChangedAccount, Account: 100001}}); err == nil {
		t.Error("a change that could not be read was called applied")
	}
	if !f.Suspended(100001) {
		t.Error("an error resumed the account")
	}
	if _, _, err := f.Load(t.Context()); err == nil || !f.Suspended(100001) {
		t.Error("an error emptied the facts")
	}
}

func TestListsActBothWays(t *testing.T) {
	s := newStore()
	f := newFacts(t, s)
	home, abroad := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.1")
	if !f.Allows(100001, abroad) {
		t.Error("no list lets everybody in")
	}
	s.accounts[100001] = auth.Account{ID: 100001, Allowlist: []auth.AllowEntry{{Prefix: netip.MustParsePrefix("192.0.2.0/24")}}}
	if err := f.Apply(t.Context(), []auth.Change{{Of: auth.ChangedAccount, Account: 100001}}); err != nil {
		t.Fatal(err)
	}
	if !f.Allows(100001, home) || f.Allows(100001, abroad) {
		t.Error("the list does not hold")
	}
	delete(s.accounts, 100001)
	if err := f.Apply(t.Context(), []auth.Change{{Of: auth.ChangedAccount, Account: 100001}}); err != nil {
		t.Fatal(err)
	}
	if !f.Allows(100001, abroad) {
		t.Error("the list is gone and still holds")
	}
}

func TestARowThatAChangeOvertookIsNotKept(t *testing.T) {
	s := newStore()
	f := newFacts(t, s)
	s.reading = func() { // the row has been read, its change comes, and only then does the reader go on
		if err := f.Apply(context.Background(), []auth.Change{{Of: auth.ChangedCredential, Credential: "key1"}}); err != nil {
			t.Error(err)
		}
	}
	_, keep, err := f.Read(t.Context(), auth.APIKey, "key1")
	if err != nil {
		t.Fatal(err)
	}
	keep()
	if _, ok := f.Cached(auth.APIKey, "key1"); ok {
		t.Error("an outdated row was kept")
	}
	s.reading = nil
	_, keep, _ = f.Read(t.Context(), auth.APIKey, "key1")
	keep()
	if _, ok := f.Cached(auth.APIKey, "key1"); !ok {
		t.Error("a good row was not kept")
	}
	if _, ok := f.Cached(auth.Basic, "key1"); ok {
		t.Error("a row of another kind was found")
	}
	if err := f.Apply(t.Context(), []auth.Change{{Of: auth.ChangedCredential, Credential: "key1"}}); err != nil {
		t.Fatal(err)
	}
	if _, ok := f.Cached(auth.APIKey, "key1"); ok {
		t.Error("the change did not take the row out")
	}
}

// What others do must not take a right secret out of memory: it is what lets it in while wrong ones use up the limits.
func TestOthersChangesLeaveTheCacheAlone(t *testing.T) {
	s := newStore()
	f := newFacts(t, s)
	_, keep, err := f.Read(t.Context(), auth.APIKey, "key1")
	if err != nil {
		t.Fatal(err)
	}
	keep()
	for _, c := range []auth.Change{
		{Of: auth.ChangedAccount, Account: 100001},
		{Of: auth.ChangedSession, Session: "sid1", Until: start.Add(time.Hour)},
		{Of: auth.ChangedCredential, Credential: "key2"},
		{Of: auth.ChangedKeys},
	} {
		if err := f.Apply(t.Context(), []auth.Change{c}); err != nil {
			t.Fatal(err)
		}
		if _, ok := f.Cached(auth.APIKey, "key1"); !ok {
			t.Fatalf("a change of %s took another credential out of the cache", c.Of)
		}
	}
}

func TestUnderAnyChangesTheCacheNeverHoldsAnOldRow(t *testing.T) {
	s := newStore()
	f := newFacts(t, s)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if _, ok := f.Cached(auth.APIKey, "key1"); !ok {
						if _, keep, err := f.Read(context.Background(), auth.APIKey, "key1"); err == nil {
							keep()
						}
					}
				}
			}
		})
	}
	for i := range 2000 {
		s.mu.Lock()
		c := s.credentials["key1"]
		c.Scope = strconv.Itoa(i)
		s.credentials["key1"] = c
		s.mu.Unlock()
		if err := f.Apply(t.Context(), []auth.Change{{Of: auth.ChangedCredential, Credential: "key1"}}); err != nil {
			t.Fatal(err)
		}
		if h, ok := f.Cached(auth.APIKey, "key1"); ok && h.Scope != c.Scope {
			t.Fatalf("change %d was applied, and the cache holds that of %s", i, h.Scope)
		}
	}
	close(stop)
	readers.Wait()
}

// What is presented names its credential by a piece of itself: a cache under that name would keep the secret in memory.
func TestTheCacheKeepsNothingOfWhatWasPresented(t *testing.T) {
	f := newFacts(t, newStore())
	presented := strings.Clone("key1 and its secret")
	id := auth.CredentialID(presented[:4])
	_, keep, err := f.Read(t.Context(), auth.APIKey, id)
	if err != nil {
		t.Fatal(err)
	}
	keep()
	for name := range f.cache.Keys() {
		if unsafe.StringData(string(name)) == unsafe.StringData(presented) {
			t.Errorf("%s is a piece of what was presented", name)
		}
	}
	if _, ok := f.Cached(auth.APIKey, "key1"); !ok {
		t.Error("the credential is not kept")
	}
}

func BenchmarkStanding(b *testing.B) {
	s := newStore()
	for i := range 10_000 {
		s.sessions = append(s.sessions, auth.RevokedSession{ID: auth.SessionID("other" + strconv.Itoa(i)), Until: start.Add(time.Hour)})
	}
	f := newFacts(b, s)
	c := claims(9)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Standing(c); err != nil {
			b.Fatal(err)
		}
	}
}
