package gate

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/facts"
	"github.com/gatehouse/gatehouse/internal/limit"
	"github.com/gatehouse/gatehouse/internal/secret"
	"github.com/gatehouse/gatehouse/internal/token"
	"github.com/gatehouse/gatehouse/verify"
)

var start = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

// A fakeStore has one credential of each state and counts what it is asked.
type fakeStore struct {
	Store // sessions are for the tests of the whole server
	keys  []auth.KeyRow
	held  map[auth.CredentialID]auth.Holder
	reads int
	fails error
}

func (s *fakeStore) Exceptions(context.Context, time.Time) (auth.Exceptions, error) {
	return auth.Exceptions{}, nil
}

func (s *fakeStore) ExceptionsOf(context.Context, []auth.AccountID, []auth.CredentialID) (auth.Exceptions, error) {
	return auth.Exceptions{}, nil
}

func (s *fakeStore) Holder(_ context.Context, _ auth.Kind, id auth.CredentialID) (auth.Holder, error) {
	s.reads++
	if s.fails != nil {
		return auth.Holder{}, s.fails
	}
	h, ok := s.held[id]
	if !ok {
		return auth.Holder{}, auth.ErrNotFound
	}
	return h, nil
}

func (s *fakeStore) Keys(context.Context) ([]auth.KeyRow, error) { return s.keys, nil }

func (s *fakeStore) AddKey(context.Context, auth.KeyRow, auth.KeyID, auth.Act) error { return nil }

func (s *fakeStore) DeleteKeys(context.Context, []auth.KeyID) error { return nil }

func (s *fakeStore) Lifetimes(context.Context) ([]auth.Lifetime, error) { return nil, nil }

func (s *fakeStore) SetLifetime(context.Context, auth.Lifetime) (auth.Position, error) { return 0, nil }

// A fakeLog is always up to date, or never.
type fakeLog struct{ stale error }

func (l *fakeLog) Applied() auth.Position { return 3 }
func (l *fakeLog) Fresh() error           { return l.stale }

type world struct {
	*Gate
	store *fakeStore
	log   *fakeLog
	now   time.Time
}

const right, wrong = "0123456789abcdefghijABCDEFGHIJxy", "XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX"

func newWorld(t *testing.T, limits Limits) *world {
	t.Helper()
	master, err := secret.ParseMasterKey(secret.GenerateMasterKey())
	if err != nil {
		t.Fatal(err)
	}
	masters := secret.Masters{Current: master}
	w := &world{store: &fakeStore{held: map[auth.CredentialID]auth.Holder{}}, log: &fakeLog{}, now: start}
	if w.store.keys, err = token.NewKeys(masters, verify.EdDSA, start); err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return w.now }
	const issuer = "https://auth.example.com"
	rings, err := token.New(token.Config{Store: w.store, Masters: masters, Algorithm: verify.EdDSA, Issuer: issuer, Audience: issuer, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if err := rings.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	known, err := facts.New(facts.Config{Store: w.store, Cache: 100, Keep: func() time.Duration { return time.Hour }, Fresh: w.log.Fresh, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := known.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.Gate, err = New(Config{
		Store: w.store, Facts: known, Rings: rings, Log: w.log, Limiter: limit.New(limit.Config{Now: now}), Limits: limits,
		Acknowledge: func(context.Context, auth.Position) {}, Issuers: []string{issuer}, Audiences: []string{issuer},
		Lifetimes: [4]time.Duration{time.Hour, time.Hour, time.Hour, time.Hour}, Now: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	digest := func(id auth.CredentialID) []byte {
		d := rings.Pepper().Digest(auth.APIKey, id, right)
		return d[:]
	}
	for id, bend := range map[auth.CredentialID]func(*auth.Holder){
		"good":      func(*auth.Holder) {},
		"revoked":   func(h *auth.Holder) { h.RevokedAt = start.Add(-time.Hour) },
		"expired":   func(h *auth.Holder) { h.ExpiresAt = start.Add(-time.Hour) },
		"suspended": func(h *auth.Holder) { h.AccountSuspended = true },
		"old":       func(h *auth.Holder) { h.Locks[0].ExpiresAt = start.Add(-time.Hour) },
	} {
		h := auth.Holder{
			ID: id, Account: 100001, Kind: auth.APIKey,
			Locks: []auth.Lock{{Number: 1, Digest: digest(id), Pepper: rings.Pepper().ID}},
		}
		bend(&h)
		w.store.held[id] = h
	}
	return w
}

func (w *world) present(id auth.CredentialID, text string) error {
	from := auth.Caller{Address: netip.MustParseAddr("192.0.2.1")}
	if err := w.Attempt(&from); err != nil {
		return err
	}
	_, err := w.Exchange(context.Background(), auth.NewPresented(auth.APIKey, id, string(id), text), from)
	return err
}

// Whatever is wrong, the answer is the same and so is what it costs: one read, whether there is such a credential or not.
func TestAllFailuresLookAndCostTheSame(t *testing.T) {
	w := newWorld(t, Limits{})
	for range 2 { // the second time some would be in a cache
		for _, c := range []struct {
			id     auth.CredentialID
			secret string
			reason auth.Reason
		}{
			{"nobody", right, auth.ReasonUnknown},
			{"", right, auth.ReasonUnknown},
			{"good", wrong, auth.ReasonWrongSecret},
			{"revoked", right, auth.ReasonRevoked},
			{"revoked", wrong, auth.ReasonWrongSecret},
			{"expired", right, auth.ReasonExpired},
			{"old", right, auth.ReasonExpired},
			{"suspended", right, auth.ReasonAccountSuspended},
		} {
			before := w.store.reads
			err := w.present(c.id, c.secret)
			e := auth.AsError(err)
			if !errors.Is(err, auth.ErrBadCredential) || e.Msg != auth.ErrBadCredential.Msg || e.Kind != auth.Unauthenticated {
				t.Errorf("%q: %v, want what everybody gets", c.id, err)
			}
			if e.Reason != c.reason {
				t.Errorf("%q: the operator reads %q, want %q", c.id, e.Reason, c.reason)
			}
			if got := w.store.reads - before; got != 1 {
				t.Errorf("%q: %d reads, want 1", c.id, got)
			}
		}
	}
}

func TestOnlySuccessIsAnsweredFromMemory(t *testing.T) {
	w := newWorld(t, Limits{})
	for range 5 {
		if err := w.present("good", right); err != nil {
			t.Fatal(err)
		}
	}
	if w.store.reads != 1 {
		t.Errorf("five exchanges cost %d reads, want 1", w.store.reads)
	}
	if err := w.present("good", wrong); err == nil || w.store.reads != 2 {
		t.Errorf("a wrong secret of a credential in memory: %v after %d reads", err, w.store.reads)
	}
	if err := w.present("good", right); err != nil || w.store.reads != 2 {
		t.Error("a wrong secret took the right one out of memory")
	}
}

func TestASecretMadeElsewhereAMomentAgoWorks(t *testing.T) {
	w := newWorld(t, Limits{})
	if err := w.present("good", right); err != nil {
		t.Fatal(err)
	}
	h := w.store.held["good"]
	pepper := w.rings.Pepper()
	digest := pepper.Digest(auth.APIKey, "good", wrong) // which is right now
	h.Locks = append([]auth.Lock{{Number: 2, Digest: digest[:], Pepper: pepper.ID}}, h.Locks...)
	w.store.held["good"] = h
	if err := w.present("good", wrong); err != nil {
		t.Errorf("the new secret, before its change was heard of: %v", err)
	}
	if err := w.present("good", right); err != nil {
		t.Errorf("the old one: %v", err)
	}
}

func TestTheLimitOfFailuresStopsGuessingWithoutARead(t *testing.T) {
	w := newWorld(t, Limits{FailuresPerAddress: auth.Rate{Count: 60, Per: time.Minute, Burst: 5}})
	if err := w.present("good", right); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if err := w.present("nobody", wrong); !errors.Is(err, auth.ErrBadCredential) {
			t.Fatal(err)
		}
	}
	reads := w.store.reads
	for range 100 {
		err := w.present("good", wrong)
		if !errors.Is(err, auth.ErrRateLimited) || auth.AsError(err).Limit.RetryAfter <= 0 {
			t.Fatalf("a guess too many: %v", err)
		}
	}
	if w.store.reads != reads {
		t.Errorf("guesses past the limit cost %d reads", w.store.reads-reads)
	}
	if err := w.present("good", right); err != nil {
		t.Errorf("a right secret in memory was refused because of wrong ones: %v", err)
	}
	w.now = w.now.Add(2 * time.Second)
	if err := w.present("nobody", wrong); !errors.Is(err, auth.ErrBadCredential) {
		t.Errorf("after two seconds: %v", err)
	}
}

func TestWrongSecretsDoNotUseUpTheAttempts(t *testing.T) {
	w := newWorld(t, Limits{ExchangePerAddress: auth.Rate{Count: 60, Per: time.Minute, Burst: 5}})
	for range 50 {
		if err := w.present("nobody", wrong); !errors.Is(err, auth.ErrBadCredential) {
			t.Fatal(err)
		}
	}
	for range 5 {
		if err := w.present("good", right); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.present("good", right); !errors.Is(err, auth.ErrRateLimited) {
		t.Errorf("the sixth right one at once: %v", err)
	}
}

func TestWhatCannotBeCheckedIsUnavailable(t *testing.T) {
	w := newWorld(t, Limits{FailuresPerAddress: auth.Rate{Count: 1, Per: time.Minute, Burst: 1}})
	w.store.fails = auth.ErrOverloaded.From(errors.New("no database"))
	for range 3 { // and is no failure of the caller's
		if err := w.present("good", right); !errors.Is(err, auth.ErrOverloaded) {
			t.Errorf("without a database: %v", err)
		}
	}
	w.store.fails = nil
	if err := w.present("good", right); err != nil {
		t.Fatal(err)
	}
	w.log.stale = auth.ErrOverloaded.From(errors.New("nothing heard"))
	if err := w.present("good", right); !errors.Is(err, auth.ErrOverloaded) {
		t.Errorf("on old knowledge, from memory: %v", err)
	}
	if _, _, err := w.Verify(t.Context(), "x", auth.Caller{}, auth.Want{}); !errors.Is(err, auth.ErrBadToken) {
		t.Errorf("what is no token at all can be refused without knowledge: %v", err)
	}
	w.log.stale = nil
	grant, err := w.Exchange(t.Context(), auth.NewPresented(auth.APIKey, "good", "good", right), auth.Caller{})
	if err != nil {
		t.Fatal(err)
	}
	w.log.stale = auth.ErrOverloaded
	if _, _, err := w.Verify(t.Context(), grant.Token, auth.Caller{}, auth.Want{Types: verify.Types}); !errors.Is(err, auth.ErrOverloaded) {
		t.Errorf("a good token on old knowledge: %v", err)
	}
}

func TestAnAnswerOfAnotherRowIsNoAnswer(t *testing.T) {
	w := newWorld(t, Limits{})
	w.store.held["victim"] = w.store.held["good"] // the store confuses its callers
	if err := w.present("victim", right); err == nil || auth.AsError(err).Kind != auth.Internal {
		t.Errorf("another's row let somebody in: %v", err)
	}
}

// What Verify let in is judged once more by the same rules, and as often as one likes: nothing is charged.
func TestStill(t *testing.T) {
	w := newWorld(t, Limits{RequestsPerAccount: auth.Rate{Count: 1, Per: time.Hour, Burst: 1}})
	grant, err := w.Exchange(t.Context(), auth.NewPresented(auth.APIKey, "good", "good", right), auth.Caller{})
	if err != nil {
		t.Fatal(err)
	}
	want := auth.Want{Types: verify.Types, Limits: []auth.RouteLimit{{Name: "route", Rate: auth.Rate{Count: 1, Per: time.Hour, Burst: 1}}}}
	who, _, err := w.Verify(t.Context(), grant.Token, auth.Caller{}, want)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if err := w.Still(t.Context(), who, auth.Caller{}, want); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Still(t.Context(), who, auth.Caller{}, auth.Want{Types: verify.Types, Scopes: []string{"more"}}); !errors.Is(err, auth.ErrInsufficientScope) {
		t.Errorf("for a scope that it never had: %v", err)
	}
	w.log.stale = auth.ErrOverloaded
	if err := w.Still(t.Context(), who, auth.Caller{}, want); !errors.Is(err, auth.ErrOverloaded) {
		t.Errorf("on old knowledge: %v", err)
	}
	w.log.stale = nil
	w.now = start.Add(time.Hour + verify.Leeway)
	if err := w.Still(t.Context(), who, auth.Caller{}, want); auth.AsError(err).Reason != auth.ReasonTokenExpired {
		t.Errorf("when its time is over: %v", err)
	}
}

// A signature is one that a test says who made.
type signature struct {
	by     string
	once   string
	checks int
}

func (s *signature) SignedBy(keys string) bool {
	s.checks++
	return keys != "" && keys == s.by
}

func (s *signature) Once() (string, time.Time) { return s.once, start.Add(time.Minute) }

// A memory of what was used, and whether it can be asked.
type memory struct {
	names map[string]bool
	fails error
}

func (m *memory) First(_ context.Context, name string, _ time.Time) (bool, error) {
	first := !m.names[name]
	if m.fails == nil {
		m.names[name] = true
	}
	return first, m.fails
}

func TestASignatureInPlaceOfASecret(t *testing.T) {
	w := newWorld(t, Limits{FailuresPerAddress: auth.Rate{Count: 1, Per: time.Hour, Burst: 100}})
	remembered := &memory{names: map[string]bool{}}
	w.config.Used = remembered
	for id, h := range w.store.held {
		h.Kind, h.Keys = auth.OAuth, "keys of "+string(id)
		if id == "old" { // it has a secret alone
			h.Keys = ""
		}
		w.store.held[id] = h
	}
	present := func(id auth.CredentialID, s *signature) error {
		p, err := auth.ParseSigned(auth.OAuth, auth.Live, "u_"+string(id), s)
		if err != nil {
			return err
		}
		p.ID = id // the ids of this world are shorter
		_, err = w.Exchange(t.Context(), p, auth.Caller{Address: netip.MustParseAddr("192.0.2.1")})
		return err
	}
	for round := range 2 { // the second time some would be in a cache
		for id, want := range map[auth.CredentialID]auth.Reason{
			"nobody": auth.ReasonUnknown, "": auth.ReasonUnknown, "revoked": auth.ReasonRevoked, "expired": auth.ReasonExpired,
			"suspended": auth.ReasonAccountSuspended, "old": auth.ReasonSignature, "good": auth.ReasonSignature,
		} {
			s := &signature{by: "keys of " + string(id), once: "x"}
			if id == "good" {
				s.by = "keys of another"
			}
			before := w.store.reads
			err := present(id, s)
			if !errors.Is(err, auth.ErrBadCredential) || auth.AsError(err).Reason != want || auth.AsError(err).Msg != auth.ErrBadCredential.Msg {
				t.Errorf("%q: %v, want reason %s", id, err, want)
			}
			if reads := w.store.reads - before; reads != 1 || s.checks != 2 {
				t.Errorf("%q: %d reads and %d signatures, want 1 and 2", id, reads, s.checks)
			}
		}
		if round == 0 {
			if err := present("good", &signature{by: "keys of good", once: "1"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(remembered.names) != 1 {
		t.Errorf("what failed is remembered as used: %v", remembered.names)
	}

	before := w.store.reads
	if err := present("good", &signature{by: "keys of good", once: "2"}); err != nil || w.store.reads != before {
		t.Errorf("a second one, from memory: %v", err)
	}
	err := present("good", &signature{by: "keys of good", once: "2"})
	if !errors.Is(err, auth.ErrBadCredential) || auth.AsError(err).Reason != auth.ReasonExpired || auth.AsError(err).About.Credential != "good" {
		t.Errorf("the same once more: %v", err)
	}
	remembered.fails = auth.ErrOverloaded
	if err := present("good", &signature{by: "keys of good", once: "3"}); !errors.Is(err, auth.ErrOverloaded) {
		t.Errorf("when nobody can know whether it was used: %v", err)
	}

	// A secret does not open what has keys alone, and that costs what it costs elsewhere.
	h := w.store.held["good"]
	h.Locks = nil
	h.ID = "keys"
	w.store.held["keys"] = h
	before = w.store.reads
	_, err = w.Exchange(t.Context(), auth.NewPresented(auth.OAuth, "keys", "keys", right), auth.Caller{Address: netip.MustParseAddr("192.0.2.1")})
	if !errors.Is(err, auth.ErrBadCredential) || auth.AsError(err).Reason != auth.ReasonWrongSecret || w.store.reads-before != 1 {
		t.Errorf("a secret for one with keys alone: %v", err)
	}
}

// A token that is bound to a key opens what a bearer token opens, with a proof that comes for the first time, and nothing
// without one.
func TestBoundTokens(t *testing.T) {
	w := newWorld(t, Limits{})
	shown := &memory{names: map[string]bool{}}
	w.config.Proofs = shown
	const key, another = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
	serial := 0
	proof := func(key string) auth.Possession {
		serial++
		return auth.Possession{Key: key, Name: strconv.Itoa(serial), Until: w.now.Add(time.Minute)}
	}
	client := auth.NewPresented(auth.APIKey, "good", "good", right)
	bearer, err := w.ExchangeFor(t.Context(), client, auth.Ask{}, auth.Caller{})
	if err != nil || bearer.Bound {
		t.Fatal(err)
	}
	first := proof(key)
	bound, err := w.ExchangeFor(t.Context(), client, auth.Ask{Bound: first}, auth.Caller{})
	if err != nil || !bound.Bound {
		t.Fatal(err)
	}
	if _, err := w.ExchangeFor(t.Context(), client, auth.Ask{Bound: first}, auth.Caller{}); !errors.Is(err, auth.ErrBadProof) || auth.AsError(err).Reason != auth.ReasonExpired {
		t.Errorf("the same proof for another token: %v", err)
	}
	if _, err := w.ExchangeFor(t.Context(), auth.NewPresented(auth.APIKey, "good", "good", wrong), auth.Ask{Bound: proof(key)}, auth.Caller{}); !errors.Is(err, auth.ErrBadCredential) || len(shown.names) != 1 {
		t.Errorf("whoever cannot come in fills the memory: %v, %v", err, shown.names)
	}

	open, closed := auth.Want{Types: verify.Types}, auth.Want{Types: verify.Types, Bound: true}
	used := proof(key)
	for _, step := range []struct {
		name   string
		token  string
		shown  auth.Possession
		want   auth.Want
		reason auth.Reason // ReasonNone: let in
		proof  bool        // the refusal asks for a proof
	}{
		{"a bearer token", bearer.Token, auth.Possession{}, open, auth.ReasonNone, false},
		{"a bearer token, where a proof is asked for", bearer.Token, auth.Possession{}, closed, auth.ReasonTokenWrongType, true},
		{"a bearer token with a proof", bearer.Token, proof(key), open, auth.ReasonTokenForeign, true},
		{"a bearer token with a proof, where one is asked for", bearer.Token, proof(key), closed, auth.ReasonTokenForeign, true},
		{"a bound token alone", bound.Token, auth.Possession{}, open, auth.ReasonTokenForeign, true},
		{"a bound token alone, where a proof is asked for", bound.Token, auth.Possession{}, closed, auth.ReasonTokenForeign, true},
		{"a bound token with another's proof", bound.Token, proof(another), open, auth.ReasonTokenForeign, true},
		{"a bound token", bound.Token, used, open, auth.ReasonNone, false},
		{"the same proof again", bound.Token, used, open, auth.ReasonExpired, true},
		{"the same name with another key", bound.Token, auth.Possession{Key: another, Name: used.Name, Until: used.Until}, open, auth.ReasonTokenForeign, true},
		{"the next proof", bound.Token, proof(key), closed, auth.ReasonNone, false},
		{"no token of ours", "a.b.c", proof(key), closed, auth.ReasonSignature, true},
	} {
		before := len(shown.names)
		who, _, err := w.VerifyBound(t.Context(), step.token, step.shown, auth.Caller{}, step.want)
		if e := auth.AsError(err); (err == nil) != (step.reason == auth.ReasonNone) || err != nil && (e.Reason != step.reason || e.Kind != auth.Unauthenticated || e.Proof != step.proof || !e.TokenSent) {
			t.Errorf("%s: %v, %+v", step.name, err, e)
		}
		if n := len(shown.names) - before; n != 0 && err != nil {
			t.Errorf("%s: its proof is remembered", step.name)
		}
		if err == nil && step.shown.Key != "" {
			if err := w.Still(t.Context(), who, auth.Caller{}, step.want); err != nil {
				t.Errorf("%s, still: %v", step.name, err)
			}
		}
	}
	shown.fails = auth.ErrOverloaded
	if _, _, err := w.VerifyBound(t.Context(), bound.Token, proof(key), auth.Caller{}, open); !errors.Is(err, auth.ErrOverloaded) {
		t.Errorf("when nobody can know whether the proof came before: %v", err)
	}
	shown.fails = nil

	// What comes of a bound token is bound.
	who, _, err := w.VerifyBound(t.Context(), bound.Token, proof(key), auth.Caller{}, open)
	if err != nil {
		t.Fatal(err)
	}
	w.config.MaxRenewal = time.Hour
	renewed, err := w.Renew(t.Context(), who)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.Verify(t.Context(), renewed.Token, auth.Caller{}, open); auth.AsError(err).Reason != auth.ReasonTokenForeign {
		t.Errorf("renewed, and alone: %v", err)
	}
	if _, _, err := w.VerifyBound(t.Context(), renewed.Token, proof(key), auth.Caller{}, open); err != nil {
		t.Errorf("renewed, with a proof: %v", err)
	}
}
