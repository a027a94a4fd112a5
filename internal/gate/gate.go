// Package gate is the core: the five acts that everything else calls. Exchange turns a credential into a token, Refresh and
// Renew turn a token into the next, Verify lets a call in, Revoke ends what was handed out. It leaves to the contracts how
// things are said, to verify whether a token is good, to the store what must be atomic, and what operators do to registry.
//
// The invariants: nothing is handed out that was not decided on facts of the position it carries, or of a later one; what
// cannot be checked is refused as unavailable, never passed; whatever fails for want of a right secret costs the same and
// says the same.
package gate

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/facts"
	"github.com/gatehouse/gatehouse/internal/limit"
	"github.com/gatehouse/gatehouse/internal/token"
	"github.com/gatehouse/gatehouse/verify"
)

// Store keeps sessions and revocations.
type Store interface {
	StartSession(ctx context.Context, s auth.NewSession) (auth.Session, error)
	PeekSession(ctx context.Context, id auth.SessionID, generation int64, maxAge time.Duration) (auth.Session, error)
	RotateSession(ctx context.Context, id auth.SessionID, spend auth.Spend) (row auth.Session, replayed bool, err error)
	RevokeSession(ctx context.Context, id auth.SessionID, account auth.AccountID, until time.Time, because string, act auth.Act) (auth.Revoked, error)
	RevokeContract(ctx context.Context, account auth.AccountID, contract auth.Contract, act auth.Act) (auth.Revoked, error)
}

// Log says how far this replica is.
type Log interface {
	Applied() auth.Position
	Fresh() error
}

// Used remembers what may count once.
type Used interface {
	// First says whether name comes for the first time, of all that came in the time until then. An error is that nobody can
	// know now.
	First(ctx context.Context, name string, until time.Time) (bool, error)
}

// Limits are the configured rates. A zero rate is no limit.
type Limits struct {
	ExchangePerAddress    auth.Rate
	ExchangePerCredential auth.Rate
	FailuresPerAddress    auth.Rate
	FailuresPerIdentifier auth.Rate
	RequestsPerAccount    auth.Rate
}

// Config says what the gate decides by.
type Config struct {
	Store   Store
	Facts   *facts.Facts
	Rings   *token.Rings
	Log     Log
	Limiter *limit.Limiter
	// Acknowledge returns when every replica has applied the position, or says no more about it than its log does.
	Acknowledge func(ctx context.Context, to auth.Position)

	Issuers   []string // accepted iss; the first is the one that is minted
	Audiences []string // accepted aud
	// Former is the Gate that this one comes after, of the same Rings and Facts: what it has verified need not be verified
	// again, unless issuers or audiences have changed. nil: there is none.
	Former *Gate

	Lifetimes     [4]time.Duration // of access tokens, by [auth.Contract.Index]
	Refresh       time.Duration    // lifetime of refresh tokens
	MaxRenewal    time.Duration    // how long after the exchange an ACCESS_TOKEN is renewed
	ReuseLeeway   time.Duration
	MaxSessionAge time.Duration // 0: none
	OnReuse       auth.OnReuse

	// Used remembers the assertions that counted, and Proofs the DPoP proofs; nil: none can be believed.
	Used, Proofs Used

	// Quirks are for a sandbox; nil everywhere else.
	Quirks map[auth.CredentialID]Quirk

	Limits Limits
	Seen   int              // how many verified tokens to remember
	Now    func() time.Time // nil means time.Now
}

// Gate is the core. It is safe for concurrent use.
type Gate struct {
	config   Config
	store    Store
	facts    *facts.Facts
	rings    *token.Rings
	log      Log
	limiter  *limit.Limiter
	verifier *verify.Verifier
	now      func() time.Time

	attempts, credentials, failures, identifiers limit.Rule
}

// New returns a Gate.
func New(c Config) (*Gate, error) {
	if c.Store == nil || c.Facts == nil || c.Rings == nil || c.Log == nil || c.Limiter == nil || c.Acknowledge == nil {
		return nil, errors.New("gate: store, facts, rings, log, limiter and acknowledge are all needed")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Used == nil {
		c.Used = forgetful{}
	}
	if c.Proofs == nil {
		c.Proofs = forgetful{}
	}
	verifier, err := newVerifier(c)
	if err != nil {
		return nil, err
	}
	c.Former = nil // or every Gate there ever was would be kept
	return &Gate{
		config: c, store: c.Store, facts: c.Facts, rings: c.Rings, log: c.Log, limiter: c.Limiter, verifier: verifier, now: c.Now,
		attempts:    limit.Rule{Name: "exchange_per_address", Rate: c.Limits.ExchangePerAddress},
		credentials: limit.Rule{Name: "exchange_per_credential", Rate: c.Limits.ExchangePerCredential},
		failures:    limit.Rule{Name: "failures_per_address", Rate: c.Limits.FailuresPerAddress},
		identifiers: limit.Rule{Name: "failures_per_identifier", Rate: c.Limits.FailuresPerIdentifier},
	}, nil
}

func newVerifier(c Config) (*verify.Verifier, error) {
	if f := c.Former; f != nil && slices.Equal(f.config.Issuers, c.Issuers) && slices.Equal(f.config.Audiences, c.Audiences) {
		return f.verifier, nil
	}
	return verify.New(verify.Config{
		Issuers: c.Issuers, Audiences: c.Audiences, Keys: c.Rings, Revocations: c.Facts, Now: c.Now, Seen: c.Seen,
	})
}

// forgetful knows of nothing whether it came before.
type forgetful struct{}

func (forgetful) First(context.Context, string, time.Time) (bool, error) {
	return false, auth.ErrOverloaded.From(errors.New("nobody remembers which signatures were used"))
}

// Attempt charges the limit of attempts by address, which every request at a contract's own address pays first.
func (g *Gate) Attempt(from *auth.Caller) error {
	from.Limit = g.limiter.Take(g.attempts, limit.AddressKey(from.Address))
	if from.Limit.Refused {
		return auth.ErrRateLimited.With(from.Limit)
	}
	return nil
}

// Look finds the limit of attempts by address and charges nothing.
func (g *Gate) Look(from *auth.Caller) {
	from.Limit = g.limiter.Peek(g.attempts, limit.AddressKey(from.Address))
	from.Limit.Refused, from.Limit.RetryAfter = false, 0
}

// Failed is what becomes of a request whose credential or token was refused with err before any act was asked, for what the
// caller could know by himself: malformed, a wrong checksum, none at all. The failure is charged; where the limit of
// failures is used up, it is that.
func (g *Gate) Failed(from auth.Caller, err error) error {
	return g.failed(from, auth.AsError(err), g.charge(from, ""))
}

// charge takes one from the failure buckets of a request about to fail, as it must before anything is read.
func (g *Gate) charge(from auth.Caller, identifier string) auth.Limit {
	return g.limiter.TakeAll(g.failureBuckets(from, identifier)...)
}

// uncharge gives back what charge took: the secret was right.
func (g *Gate) uncharge(from auth.Caller, identifier string) {
	g.limiter.RefundAll(g.failureBuckets(from, identifier)...)
}

// failureBuckets are those of an address and, unless it is "", of an identifier.
func (g *Gate) failureBuckets(from auth.Caller, identifier string) []limit.Charge {
	buckets := []limit.Charge{{Rule: g.failures, Key: limit.AddressKey(from.Address)}, {Rule: g.identifiers, Key: limit.TextKey(identifier)}}
	if identifier == "" {
		return buckets[:1]
	}
	return buckets
}

// failed turns a refusal whose failure was charged into what the caller gets. The attempt is given back: it is counted as a
// failure now, and one who keeps trying wrong secrets must not use up what the right ones at his address live on.
func (g *Gate) failed(from auth.Caller, refusal *auth.Error, charged auth.Limit) error {
	g.limiter.Refund(g.attempts, limit.AddressKey(from.Address))
	if charged.Refused {
		limited := auth.ErrRateLimited.With(charged)
		limited.About = refusal.About
		return limited
	}
	return refusal.With(from.Limit).With(charged)
}

// Verify lets a call in, or not. It touches memory only; where limits are shared, a caller who has one is charged in Redis too.
func (g *Gate) Verify(ctx context.Context, raw string, from auth.Caller, want auth.Want) (verify.Principal, auth.Limit, error) {
	return g.VerifyBound(ctx, raw, auth.Possession{}, from, want)
}

// VerifyBound is Verify for a token that came with a proof, for this very call, that its sender holds a key; the zero
// Possession: without one. A proof that counted before is [auth.ErrBadProof].
func (g *Gate) VerifyBound(ctx context.Context, raw string, shown auth.Possession, from auth.Caller, want auth.Want) (verify.Principal, auth.Limit, error) {
	p, err := g.verify(raw, shown.Key, from, want)
	if err == nil {
		err = g.show(ctx, shown, subject(p.Claims), from)
	}
	if err != nil {
		return p, auth.Limit{}, err
	}
	account := auth.AccountID(p.Account)
	rate, own := g.facts.Requests(account)
	if !own {
		rate = g.config.Limits.RequestsPerAccount
	}
	if rate.None() && len(want.Limits) == 0 {
		return p, auth.Limit{}, nil
	}
	key := limit.Key{Text: p.Subject}
	charges := make([]limit.Charge, 0, 1+len(want.Limits))
	charges = append(charges, limit.Charge{Rule: limit.Rule{Name: "requests_per_account", Rate: rate}, Key: key})
	for _, l := range want.Limits {
		charges = append(charges, limit.Charge{Rule: limit.Rule{Name: l.Name, Rate: l.Rate}, Key: key})
	}
	found := g.limiter.TakeAll(charges...)
	if found.Refused {
		return p, found, auth.ErrRateLimited.Of(subject(p.Claims)).With(found)
	}
	return p, found, nil
}

// verify is all of [Gate.Verify] but the limits, for a token that came with a key of this thumbprint, "" with none.
func (g *Gate) verify(raw, thumbprint string, from auth.Caller, want auth.Want) (verify.Principal, error) {
	p, err := g.judge(raw, thumbprint, want.Types)
	if err == nil && want.Bound && thumbprint == "" {
		err = &verify.Error{Err: verify.ErrWrongType, Claims: p.Claims}
	}
	if err != nil {
		e := g.tokenError(err)
		e.Proof = want.Bound || thumbprint != "" || errors.Is(err, verify.ErrBound)
		return p, e
	}
	return p, g.admits(p, from, want)
}

// Still says whether a caller whom Verify let in would be let in now: nil, or why not. It charges nothing and touches memory
// only, so it can be asked over and over for as long as something lasts that Verify let begin.
func (g *Gate) Still(_ context.Context, who verify.Principal, from auth.Caller, want auth.Want) error {
	p, err := g.verifier.Again(who, want.Types)
	if err != nil {
		return g.tokenError(err)
	}
	return g.admits(p, from, want)
}

// admits says whether a holder of a good token may come from there and do what is wanted.
func (g *Gate) admits(p verify.Principal, from auth.Caller, want auth.Want) error {
	if !g.facts.Allows(auth.AccountID(p.Account), from.Address) {
		return auth.ErrAddressNotAllowed.Of(subject(p.Claims))
	}
	if !p.HasScopes(want.Scopes) {
		return auth.ErrInsufficientScope.Of(subject(p.Claims))
	}
	return nil
}

// judge says whether a token is good as such that came with a key of this thumbprint, "" with none. Its errors are of verify.
func (g *Gate) judge(raw, thumbprint string, types []verify.Type) (verify.Principal, error) {
	var p verify.Principal
	var err error
	if thumbprint == "" {
		p, err = g.verifier.Verify(raw, types)
	} else {
		p, err = g.verifier.VerifyBound(raw, thumbprint, types)
	}
	if err == nil && g.config.Quirks != nil && g.expired(p.Claims) {
		err = &verify.Error{Err: verify.ErrExpired, Claims: p.Claims}
	}
	return p, err
}

func subject(c *verify.Claims) auth.Subject {
	return auth.Subject{
		Account: auth.AccountID(c.Account), Credential: auth.CredentialID(c.Credential), Session: auth.SessionID(c.Session),
	}
}

// tokenReasons are verify's errors in our words.
var tokenReasons = []struct {
	err    error
	reason auth.Reason
}{
	{verify.ErrMalformed, auth.ReasonMalformed},
	{verify.ErrSignature, auth.ReasonSignature},
	{verify.ErrForeign, auth.ReasonTokenForeign},
	{verify.ErrExpired, auth.ReasonTokenExpired},
	{verify.ErrNotYetValid, auth.ReasonTokenNotYetValid},
	{verify.ErrRevoked, auth.ReasonTokenRevoked},
	{verify.ErrWrongType, auth.ReasonTokenWrongType},
	{verify.ErrBound, auth.ReasonTokenForeign}, // it is somebody else's
}

// Reason is a refusal of verify in the words of logs. What is not known to be a refusal is [auth.ReasonOverloaded]: nobody can
// say now; nil is no refusal.
func Reason(err error) auth.Reason {
	for _, known := range tokenReasons {
		if errors.Is(err, known.err) {
			return known.reason
		}
	}
	if err == nil {
		return auth.ReasonNone
	}
	return auth.ReasonOverloaded
}

// tokenError is the refusal of a token that was sent.
func (g *Gate) tokenError(err error) *auth.Error {
	e := auth.ErrOverloaded.From(err)
	if reason := Reason(err); reason != auth.ReasonOverloaded {
		e = auth.ErrBadToken.Because(reason)
	}
	e.TokenSent = true
	var v *verify.Error
	if errors.As(err, &v) && v.Claims != nil {
		e.About, e.IssuedAt = subject(v.Claims), time.Unix(v.Claims.IssuedAt, 0)
		if e.Reason == auth.ReasonTokenRevoked && g.facts.Suspended(e.About.Account) {
			e.Reason = auth.ReasonAccountSuspended
		}
	}
	return e
}
