package token

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/secret"
	"github.com/gatehouse/gatehouse/verify"
)

var start = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

const issuer = "https://auth.example.com"

// fakeStore keeps keys in memory, as the store would.
type fakeStore struct {
	rows      []auth.KeyRow
	lifetimes map[string]auth.Lifetime
	broken    error
	head      auth.Position
}

func (s *fakeStore) Keys(context.Context) ([]auth.KeyRow, error) {
	return slices.Clone(s.rows), s.broken
}

func (s *fakeStore) AddKey(_ context.Context, row auth.KeyRow, after auth.KeyID, _ auth.Act) error {
	if youngest(s.rows, row.Ring).ID != after {
		return auth.ErrConflict
	}
	s.rows = append(s.rows, row)
	return s.broken
}

func (s *fakeStore) DeleteKeys(_ context.Context, ids []auth.KeyID) error {
	s.rows = slices.DeleteFunc(s.rows, func(r auth.KeyRow) bool { return slices.Contains(ids, r.ID) })
	return s.broken
}

func (s *fakeStore) Lifetimes(context.Context) ([]auth.Lifetime, error) {
	var all []auth.Lifetime
	for _, l := range s.lifetimes {
		all = append(all, l)
	}
	return all, s.broken
}

func (s *fakeStore) SetLifetime(_ context.Context, l auth.Lifetime) (raised auth.Position, err error) {
	if before, there := s.lifetimes[l.Type]; there && l.Longest > before.Longest {
		s.head++
		raised = s.head
	}
	s.lifetimes[l.Type] = l
	return raised, s.broken
}

// A world is one server's rings with a clock that the test moves.
type world struct {
	*Rings
	store *fakeStore
	now   time.Time
	t     *testing.T
}

func newWorld(t *testing.T, algorithm verify.Algorithm) *world {
	t.Helper()
	key, err := secret.ParseMasterKey(secret.GenerateMasterKey())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{store: &fakeStore{lifetimes: map[string]auth.Lifetime{}}, now: start, t: t}
	masters := secret.Masters{Current: key}
	if w.store.rows, err = NewKeys(masters, algorithm, start); err != nil {
		t.Fatal(err)
	}
	w.Rings, err = New(Config{
		Store: w.store, Masters: masters, Algorithm: algorithm, Issuer: issuer, Audience: issuer,
		RotateEvery: 30 * 24 * time.Hour, PublishAhead: 24 * time.Hour,
		Lifetimes: map[string]time.Duration{string(verify.AccessToken): 24 * time.Hour, RefreshType: 7 * 24 * time.Hour},
		Now:       func() time.Time { return w.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) upkeep() {
	w.t.Helper()
	if err := w.Upkeep(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// good says whether a token would be let in.
func (w *world) good(token string) error {
	w.t.Helper()
	v, err := verify.New(verify.Config{
		Issuers: []string{issuer}, Audiences: []string{issuer}, Keys: w.Rings, Revocations: nothingRevoked{}, Now: func() time.Time { return w.now },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	_, err = v.Verify(token, verify.Types)
	return err
}

type nothingRevoked struct{}

func (nothingRevoked) Standing(*verify.Claims) (verify.Standing, error) {
	return verify.Standing{}, nil
}

func (w *world) mint() string {
	w.t.Helper()
	token, err := w.Mint(Order{
		Account: 100001, Credential: "abcdefghijkl", Session: "sid1", Type: verify.AccessToken, Position: 3,
		Scope: "a b", AuthTime: w.now, Expires: w.now.Add(24 * time.Hour).Truncate(time.Second),
	}, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

func session(w *world) auth.Session {
	access, refresh := w.Signers(w.now)
	return auth.Session{
		ID: "sid1", Account: 100001, Credential: "abcdefghijkl", Position: 3, Generation: 4, StartedAt: start, RotatedAt: w.now,
		AccessExpires: w.now.Add(time.Hour), Expires: w.now.Add(7 * 24 * time.Hour), AccessKey: access, RefreshKey: refresh, Scope: "a",
	}
}

func TestEveryAlgorithmMintsWhatVerifyTakes(t *testing.T) {
	for _, algorithm := range []verify.Algorithm{verify.EdDSA, verify.ES256, verify.RS256, verify.HS256} {
		t.Run(string(algorithm), func(t *testing.T) {
			w := newWorld(t, algorithm)
			for range 20 { // ES256 would be high in half of them
				if err := w.good(w.mint()); err != nil {
					t.Fatal(err)
				}
			}
			row := session(w)
			one, err := w.MintPair(row, "")
			if err != nil {
				t.Fatal(err)
			}
			two, _ := w.MintPair(row, "")
			if one != two {
				t.Error("the same session's row gave two different pairs")
			}
			if row.Generation++; func() bool { three, _ := w.MintPair(row, ""); return three == one }() {
				t.Error("two generations have the same pair")
			}
			if err := w.good(one.Access); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestATokenSaysWhatThePublishedSamplesSay(t *testing.T) {
	w := newWorld(t, verify.EdDSA)
	parts := strings.Split(w.mint(), ".")
	header, _ := base64.RawURLEncoding.DecodeString(parts[0])
	kid, _ := w.Signers(start)
	if got, want := string(header), `{"alg":"EdDSA","typ":"JWT","kid":"`+string(kid)+`"}`; got != want {
		t.Errorf("header %s, want %s", got, want)
	}
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	var got map[string]any
	if err := json.Unmarshal(payload, &got); err != nil {
		t.Fatal(err)
	}
	delete(got, "jti")
	for name, want := range map[string]any{
		"iss": issuer, "sub": "100001", "aud": issuer, "iat": float64(start.Unix()), "nbf": float64(start.Unix() - 30),
		"exp": float64(start.Unix() + 86400), "auth_time": float64(start.Unix()), "type": "ACCESS_TOKEN",
		"cid": "abcdefghijkl", "sid": "sid1", "pos": float64(3), "scope": "a b",
	} {
		if got[name] != want {
			t.Errorf("%s = %v, want %v", name, got[name], want)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("more claims than published: %v", got)
	}
}

func TestRefreshTokensAreOfAnotherRing(t *testing.T) {
	w := newWorld(t, verify.HS256) // even where both rings are HMAC
	pair, err := w.MintPair(session(w), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.good(pair.Refresh); !errors.Is(err, verify.ErrSignature) {
		t.Errorf("a refresh token as an access token: %v", err)
	}
	if _, err := w.ParseRefresh(pair.Access, []string{issuer}); !errors.Is(err, auth.ErrBadRefresh) || auth.AsError(err).Reason != auth.ReasonTokenWrongType {
		t.Errorf("an access token as a refresh token: %v", err)
	}
	got, err := w.ParseRefresh(pair.Refresh, []string{issuer})
	if err != nil || got.Session != "sid1" || got.Generation != 4 || got.Account != 100001 {
		t.Errorf("ParseRefresh = %+v, %v", got, err)
	}
	if _, err := w.ParseRefresh(pair.Refresh, []string{"https://other.example"}); auth.AsError(err).Reason != auth.ReasonTokenForeign {
		t.Errorf("of another issuer: %v", err)
	}
	for i := range pair.Refresh {
		bent := []byte(pair.Refresh)
		bent[i] ^= 1
		for _, other := range []string{string(bent), pair.Refresh[:i], pair.Refresh[:i] + "\n" + pair.Refresh[i:]} {
			if _, err := w.ParseRefresh(other, []string{issuer}); err == nil {
				t.Fatalf("accepted with a change at %d", i)
			}
		}
	}
}

func TestTheKeySetHasPublicKeysOnly(t *testing.T) {
	for algorithm, keys := range map[verify.Algorithm]int{verify.EdDSA: 1, verify.ES256: 1, verify.RS256: 1, verify.HS256: 0} {
		w := newWorld(t, algorithm)
		var set struct{ Keys []map[string]any }
		if err := json.Unmarshal(w.JWKS(), &set); err != nil || len(set.Keys) != keys {
			t.Errorf("%s: %s has %d keys, want %d (%v)", algorithm, w.JWKS(), len(set.Keys), keys, err)
		}
		for _, k := range set.Keys {
			for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "k"} {
				if _, there := k[private]; there {
					t.Errorf("%s: the key set has the private member %q", algorithm, private)
				}
			}
			if k["use"] != "sig" || k["alg"] != string(algorithm) || k["kid"] == "" {
				t.Errorf("%s: %v", algorithm, k)
			}
		}
	}
}

func TestARingRotatesByItself(t *testing.T) {
	w := newWorld(t, verify.EdDSA)
	first, _ := w.Signers(start)

	w.now = start.Add(29*24*time.Hour - time.Minute)
	w.upkeep()
	if n := len(w.store.rows); n != 4 {
		t.Fatalf("rotated too early: %d keys", n)
	}
	w.now = start.Add(29 * 24 * time.Hour)
	w.upkeep()
	if n := len(w.store.rows); n != 6 { // the refresh ring too
		t.Fatalf("%d keys, want a published successor in both rings", n)
	}
	if !strings.Contains(string(w.JWKS()), string(w.store.rows[4].ID)) {
		t.Error("the next key is not published ahead")
	}
	w.upkeep()
	if got, _ := w.Signers(w.now); got != first || len(w.store.rows) != 6 {
		t.Error("the next key signs before its time, or was added twice")
	}

	w.now = start.Add(30 * 24 * time.Hour)
	last := w.mint()
	if strings.HasPrefix(last, headerOf(w, first)) {
		t.Error("the old key still signs")
	}
	w.now = w.now.Add(-time.Second)
	old := w.mint() // the last that the old one signs
	w.now = start.Add(31 * 24 * time.Hour)
	w.upkeep()
	if err := w.good(old); err != nil {
		t.Errorf("the old key was forgotten while a token of it lived: %v", err)
	}
	w.now = start.Add(31*24*time.Hour + 2*time.Minute)
	w.upkeep()
	if _, ok := w.Key(headerOf(w, first)); ok {
		t.Error("the old key was kept after its last token died")
	}
}

func headerOf(_ *world, id auth.KeyID) string {
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"EdDSA","typ":"JWT","kid":"` + string(id) + `"}`))
}

func TestAnotherAlgorithmIsPublishedBeforeItSigns(t *testing.T) {
	w := newWorld(t, verify.EdDSA)
	w.Rings.config.Algorithm = verify.ES256
	w.upkeep()
	if err := w.good(w.mint()); err != nil || strings.Count(string(w.JWKS()), `"kid"`) != 2 {
		t.Fatalf("%v; key set %s", err, w.JWKS())
	}
	old := w.mint()
	w.now = w.now.Add(24*time.Hour - time.Second)
	if err := w.good(old); err != nil {
		t.Error(err)
	}
	w.now = w.now.Add(time.Second)
	header, _, _ := strings.Cut(w.mint(), ".")
	if h, _ := base64.RawURLEncoding.DecodeString(header); !strings.Contains(string(h), "ES256") {
		t.Errorf("after the day of notice %s signs", h)
	}
}

func TestARevokedKeySignsNothingAndHasASuccessorAtOnce(t *testing.T) {
	w := newWorld(t, verify.EdDSA)
	dead := w.mint()
	row := w.store.rows[0]
	successor, err := w.Successor(row)
	if err != nil || successor == nil {
		t.Fatalf("Successor = %v, %v", successor, err)
	}
	w.store.rows[0].RevokedAt = w.now
	w.store.rows = append(w.store.rows, *successor)
	if err := w.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.good(dead); !errors.Is(err, verify.ErrSignature) {
		t.Errorf("a token of the leaked key: %v", err)
	}
	if err := w.good(w.mint()); err != nil {
		t.Error(err)
	}
	if got := w.Revoked(); !slices.Equal(got, []auth.KeyID{row.ID}) {
		t.Errorf("revoked are %v, want %s", got, row.ID)
	}
}

func TestWhatIsSignedForOthersIsNoToken(t *testing.T) {
	for _, algorithm := range []verify.Algorithm{verify.EdDSA, verify.ES256, verify.RS256} {
		w := newWorld(t, algorithm)
		_, payload, _ := strings.Cut(w.mint(), ".")
		payload, _, _ = strings.Cut(payload, ".")
		claims, err := strict.DecodeString(payload)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := w.Sign(verify.RevocationsType, claims, w.now) // a token in all but the header
		if err != nil {
			t.Fatal(err)
		}
		if err := w.good(string(signed)); !errors.Is(err, verify.ErrSignature) {
			t.Errorf("%s: taken for a token: %v", algorithm, err)
		}
		for _, s := range w.state.Load().signing {
			end := strings.LastIndexByte(string(signed), '.')
			signature, err := strict.DecodeString(string(signed[end+1:]))
			if err != nil || !s.key.Verify(string(signed[:end]), signature) {
				t.Errorf("%s: the key does not know its own signature (%v)", algorithm, err)
			}
		}
	}
}

func TestWhereEveryKeyIsASharedSecretNothingIsSignedForOthers(t *testing.T) {
	w := newWorld(t, verify.HS256)
	if _, err := w.Sign("other", nil, w.now); !errors.Is(err, ErrNoPublicKey) {
		t.Errorf("got %v, want %v", err, ErrNoPublicKey)
	}
	w = newWorld(t, verify.EdDSA)
	w.Rings.config.Algorithm = verify.HS256
	w.upkeep()
	w.now = w.now.Add(24 * time.Hour)
	if header, _, _ := strings.Cut(w.mint(), "."); header == headerOf(w, w.store.rows[0].ID) {
		t.Fatal("the test is about a ring that went over to HS256")
	}
	if _, err := w.Sign("other", nil, w.now); err != nil {
		t.Errorf("the former key is still in the key set: %v", err)
	}
}

func TestAWrongMasterKeyOrAMovedRowStopsTheLoad(t *testing.T) {
	w := newWorld(t, verify.EdDSA)
	good := w.mint()
	w.store.rows[0].Sealed, w.store.rows[1].Sealed = w.store.rows[1].Sealed, w.store.rows[0].Sealed
	if err := w.Load(t.Context()); err == nil {
		t.Error("two rows were swapped, and nobody noticed")
	}
	if err := w.good(good); err != nil {
		t.Errorf("a failed load took the keys away: %v", err)
	}
}

func TestTheLongestLifetimeEverInForceIsRemembered(t *testing.T) {
	day := 24 * time.Hour
	l := auth.Lifetime{Type: "x"}
	for i, step := range []struct {
		configured time.Duration
		at         time.Duration
		longest    time.Duration
	}{
		{day, 0, day},
		{time.Hour, day, day},                         // lowered: tokens of a day are out
		{time.Hour, 2 * day, day},                     // the last of them could just be alive
		{time.Hour, 2*day + 2*time.Minute, time.Hour}, // now none is
		{2 * day, 3 * day, 2 * day},                   // raised: at once
		{time.Hour, 3 * day, 2 * day},
		{day, 4 * day, 2 * day}, // less lowered than before
		{day, 6*day + 2*time.Minute, day},
	} {
		l = keepLifetime(l, step.configured, start.Add(step.at))
		if l.Longest != step.longest {
			t.Errorf("step %d: longest %v, want %v", i, l.Longest, step.longest)
		}
	}
}

// Two servers, one of which lets tokens live longer: the other knows before it mints any.
func TestALongerLifetimeIsHeardOfElsewhere(t *testing.T) {
	here := newWorld(t, verify.EdDSA)
	elsewhere, err := New(here.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := elsewhere.Prepare(t.Context()); err != nil || here.Raised() != 0 || elsewhere.Raised() != 0 {
		t.Fatalf("two of the same mind tell each other of lifetimes: %d, %d, %v", here.Raised(), elsewhere.Raised(), err)
	}
	longer := map[string]time.Duration{string(verify.AccessToken): 72 * time.Hour, RefreshType: 7 * 24 * time.Hour}
	if err := here.SetLifetimes(t.Context(), longer); err != nil {
		t.Fatal(err)
	}
	if here.Raised() != 1 || elsewhere.Longest() != 24*time.Hour {
		t.Errorf("raised under %d; elsewhere tokens live %v", here.Raised(), elsewhere.Longest())
	}
	if err := elsewhere.Consult(t.Context()); err != nil || elsewhere.Longest() != 72*time.Hour {
		t.Errorf("when it has heard tokens live %v elsewhere, %v", elsewhere.Longest(), err)
	}
	if err := elsewhere.Upkeep(t.Context()); err != nil || elsewhere.Longest() != 72*time.Hour || elsewhere.Raised() != 0 {
		t.Errorf("after its upkeep %v, raised under %d, %v", elsewhere.Longest(), elsewhere.Raised(), err)
	}
	if here.upkeep(); here.Raised() != 1 {
		t.Errorf("it is told again, under %d", here.Raised())
	}
}

func FuzzParseRefresh(f *testing.F) {
	key, _ := secret.ParseMasterKey(secret.GenerateMasterKey())
	masters := secret.Masters{Current: key}
	rows, err := NewKeys(masters, verify.EdDSA, start)
	if err != nil {
		f.Fatal(err)
	}
	r, err := New(Config{Store: &fakeStore{rows: rows}, Masters: masters, Algorithm: verify.EdDSA, Issuer: issuer, Audience: issuer, Now: func() time.Time { return start }})
	if err != nil {
		f.Fatal(err)
	}
	if err := r.Load(f.Context()); err != nil {
		f.Fatal(err)
	}
	access, refresh := r.Signers(start)
	pair, err := r.MintPair(auth.Session{ID: "s", Account: 1, AccessKey: access, RefreshKey: refresh, RotatedAt: start, StartedAt: start}, "")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(pair.Refresh)
	f.Add(pair.Access)
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := r.ParseRefresh(s, []string{issuer}); err == nil && s != pair.Refresh {
			t.Fatalf("forged: %q", s)
		}
	})
}

func FuzzDecodeRefresh(f *testing.F) {
	c := refreshClaims{Issuer: issuer, Subject: "100001", Audience: issuer + refreshPath, IssuedAt: 1, Expires: 2, ID: "j", Credential: "c", Session: "s", Generation: 3}
	f.Add(string(c.append(nil)))
	f.Fuzz(func(t *testing.T, s string) {
		c, ok := decodeRefresh(s)
		if !ok {
			return
		}
		var std struct {
			Sub, Sid string
			Gen      int64
		}
		if err := json.Unmarshal([]byte(s), &std); err == nil && (std.Sub != c.Subject || std.Sid != string(c.Session) || std.Gen != c.Generation) {
			t.Fatalf("%q: we read %+v, encoding/json %+v", s, c, std)
		}
	})
}

func BenchmarkMint(b *testing.B) {
	key, _ := secret.ParseMasterKey(secret.GenerateMasterKey())
	masters := secret.Masters{Current: key}
	rows, _ := NewKeys(masters, verify.EdDSA, start)
	r, _ := New(Config{Store: &fakeStore{rows: rows}, Masters: masters, Algorithm: verify.EdDSA, Issuer: issuer, Audience: issuer})
	if err := r.Load(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Mint(Order{Account: 100001, Credential: "abcdefghijkl", Session: "sid", Type: verify.AccessToken, Expires: start}, start); err != nil {
			b.Fatal(err)
		}
	}
}
