package gate

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/secret"
	"github.com/gatehouse/gatehouse/internal/token"
	"github.com/gatehouse/gatehouse/verify"
)

// Exchange turns a credential into a token, for the kind login into a pair. Whatever is wrong with the credential, the error
// is [auth.ErrBadCredential], or [auth.ErrRateLimited] where the limit of failures is used up.
func (g *Gate) Exchange(ctx context.Context, p auth.Presented, from auth.Caller) (auth.Grant, error) {
	return g.ExchangeFor(ctx, p, auth.Ask{}, from)
}

// ExchangeFor is [Gate.Exchange] for a token that is asked to be of some sort. What its credential does not have is
// [auth.ErrBadScope].
func (g *Gate) ExchangeFor(ctx context.Context, p auth.Presented, ask auth.Ask, from auth.Caller) (auth.Grant, error) {
	c, err := g.admit(ctx, p, from)
	if err != nil {
		return auth.Grant{}, err
	}
	scope, ok := auth.PickScope(auth.TokenScope(c.Scope), ask.Scope)
	if !ok {
		return auth.Grant{}, auth.ErrBadScope.Of(c.about).With(from.Limit)
	}
	if err := g.show(ctx, ask.Bound, c.about, from); err != nil {
		return auth.Grant{}, err
	}
	found, err := g.chargeClient(c, from)
	if err != nil {
		return auth.Grant{}, err
	}
	grant := auth.Grant{
		Account: c.Account, Credential: c.ID, Secret: c.used.Number,
		Type: p.Kind.Contract().Type(), Limit: found,
	}
	if p.Kind == auth.Login {
		return g.login(ctx, grant, c.Holder, c.used, from, c.now)
	}
	var id string
	grant.Session, id = secret.NewIDs(c.now)
	grant.Scope, grant.Bound = scope, ask.Bound.Key != ""
	grant.Expires = until(c.now, g.lifetime(p.Kind.Contract(), c.ID), c.ExpiresAt)
	grant.Token, err = g.rings.Mint(token.Order{
		Account: grant.Account, Credential: grant.Credential, Session: grant.Session, Type: grant.Type,
		Position: c.at, Scope: grant.Scope, AuthTime: c.now, Expires: grant.Expires, ID: id, Bound: ask.Bound.Key,
	}, c.now)
	return grant, err
}

// until is when a token ends: after its lifetime, and no later than its credential. Whole seconds, as tokens carry them.
func until(now time.Time, lifetime time.Duration, credential time.Time) time.Time {
	end := now.Add(lifetime)
	if !credential.IsZero() && credential.Before(end) {
		end = credential
	}
	return end.Truncate(time.Second)
}

// offList is the refusal of an address. It counts as a failure, but the credential was good: 403 says so to nobody else.
func (g *Gate) offList(from auth.Caller, about auth.Subject) error {
	charged := g.charge(from, "")
	charged.Refused, charged.RetryAfter = false, 0
	return auth.ErrAddressNotAllowed.Of(about).With(from.Limit).With(charged)
}

// login writes the session of a login: one committed write, which takes the position it starts at in the same statement.
func (g *Gate) login(ctx context.Context, grant auth.Grant, holder *auth.Holder, used *auth.Lock, from auth.Caller, now time.Time) (auth.Grant, error) {
	access, refresh := g.rings.Signers(now)
	row, err := g.store.StartSession(ctx, auth.NewSession{
		ID: secret.NewSessionID(now), Credential: holder.ID, SecretDigest: used.Digest,
		Expires:       until(now, g.config.Refresh, holder.ExpiresAt),
		AccessExpires: until(now, g.lifetime(auth.B2B, holder.ID), holder.ExpiresAt),
		AccessKey:     access, RefreshKey: refresh, Address: from.Address, UserAgent: from.UserAgent,
	})
	if err != nil {
		e := auth.AsError(err) // died since it was read
		if errors.Is(err, auth.ErrBadCredential) {
			e = e.Of(auth.Subject{Account: holder.Account, Credential: holder.ID})
			return auth.Grant{}, g.failed(from, e, g.charge(from, ""))
		}
		return auth.Grant{}, err
	}
	return g.pair(grant, row, "")
}

// pair fills a grant with the pair of a session's row, its access token bound to a key; "": to none.
func (g *Gate) pair(grant auth.Grant, row auth.Session, bound string) (auth.Grant, error) {
	pair, err := g.rings.MintPair(row, bound)
	if err != nil {
		return auth.Grant{}, err
	}
	grant.Session, grant.Scope, grant.Bound = row.ID, row.Scope, bound != ""
	grant.Token, grant.Expires = pair.Access, row.AccessExpires
	grant.Refresh, grant.RefreshExpires = pair.Refresh, row.Expires
	return grant, nil
}

// prove finds the credential whose secret was presented, and which of its secrets it was. Only success is answered from
// memory. Everything else is charged as a failure, then costs one read by the same statement and one comparison, and is
// refused at an even pace: so unknown, wrong, revoked, expired and suspended look alike, time included, and a secret made
// elsewhere a moment ago works. With a signature in place of the secret it is the same.
func (g *Gate) prove(ctx context.Context, p auth.Presented, from auth.Caller, now time.Time) (*auth.Holder, *auth.Lock, error) {
	pace := secret.NewPace()
	cached, ok := g.facts.Cached(p.Kind, p.ID)
	if !ok {
		cached = nobody // or who is in memory could be told by the time that a second signature takes
	}
	if used, wrong := g.match(cached, p, now); ok && wrong == auth.ReasonNone && !g.facts.Suspended(cached.Account) {
		return cached, used, nil
	}
	identifier := ""
	if p.Kind == auth.Basic || p.Kind == auth.Login {
		identifier = p.Identifier
	}
	charged := g.charge(from, identifier)
	if charged.Refused {
		return nil, nil, g.failed(from, auth.ErrBadCredential, charged)
	}
	h, keep, err := g.facts.Read(ctx, p.Kind, p.ID)
	if err != nil && !errors.Is(err, auth.ErrNotFound) {
		g.uncharge(from, identifier) // nobody knows whether it was wrong
		return nil, nil, err
	}
	used, refusal := g.examine(h, p, now)
	if refusal != nil {
		pace.Even(ctx)
		return nil, nil, g.failed(from, refusal, charged)
	}
	g.uncharge(from, identifier)
	keep()
	return h, used, nil
}

// examine says why what was presented is refused, nil if it is not, and which secret of h it was; nil is a holder that does not
// exist, for whom the same work is done as for one that does.
func (g *Gate) examine(h *auth.Holder, p auth.Presented, now time.Time) (*auth.Lock, *auth.Error) {
	if h == nil {
		g.match(nobody, p, now)
		return nil, auth.ErrBadCredential.Because(auth.ReasonUnknown)
	}
	used, wrong := g.match(h, p, now)
	if wrong == auth.ReasonNone && h.AccountSuspended {
		wrong = auth.ReasonAccountSuspended
	}
	if wrong == auth.ReasonNone {
		return used, nil
	}
	refusal := auth.ErrBadCredential.Because(wrong).Of(auth.Subject{Account: h.Account, Credential: h.ID})
	if used != nil {
		refusal.About.Secret = used.Number
	}
	return used, refusal
}

// nobody has one secret that nothing matches, and no keys.
var nobody = &auth.Holder{Locks: []auth.Lock{{Digest: make([]byte, 32)}}}

// bySignature stands for the secret of whoever signed instead.
var bySignature = new(auth.Lock)

// match says which secret of h was presented, and what is wrong: that none was, or that it or the credential is dead. Every
// secret is compared, in constant time, whatever the others gave.
func (g *Gate) match(h *auth.Holder, p auth.Presented, now time.Time) (*auth.Lock, auth.Reason) {
	if s := p.Signature(); s != nil {
		if !s.SignedBy(h.Keys) {
			return nil, auth.ReasonSignature
		}
		return bySignature, h.Dead(now)
	}
	locks := h.Locks
	if len(locks) == 0 {
		locks = nobody.Locks // it has keys alone
	}
	var used *auth.Lock
	var pepper auth.KeyID
	var digest [32]byte
	for i := range locks {
		l := &locks[i]
		if i == 0 || l.Pepper != pepper {
			pepper = l.Pepper
			mac, ok := g.rings.PepperOf(pepper)
			if !ok {
				mac = g.rings.Pepper() // matches nothing that another pepper made
			}
			digest = mac.Digest(p.Kind, p.ID, p.Reveal())
		}
		if secret.Equal(digest[:], l.Digest) {
			used = l
		}
	}
	switch {
	case used == nil:
		return nil, auth.ReasonWrongSecret
	case !used.Live(now):
		return used, auth.ReasonExpired
	}
	return used, h.Dead(now)
}

// Renew is the in-band refresh: a new ACCESS_TOKEN for the holder of a verified one, decided anew. It keeps the old one's
// account, credential, session, position, audience, auth_time and key, and the scopes that both it and the credential still
// have; so whatever kills the old one kills the new. Refusals are [auth.ErrBadToken]; what cannot be known now is
// [auth.ErrOverloaded].
func (g *Gate) Renew(ctx context.Context, p verify.Principal) (auth.Grant, error) {
	now := g.now()
	about := subject(p.Claims)
	authTime := time.Unix(p.AuthTime, 0)
	if p.Type != verify.AccessToken {
		return auth.Grant{}, auth.ErrBadToken.Because(auth.ReasonTokenWrongType).Of(about)
	}
	if !now.Before(authTime.Add(g.config.MaxRenewal)) {
		return auth.Grant{}, auth.ErrBadToken.Because(auth.ReasonExpired).Of(about)
	}
	h, ok := g.facts.Cached(auth.APIKey, about.Credential)
	if !ok {
		var keep func()
		var err error
		h, keep, err = g.facts.Read(ctx, auth.APIKey, about.Credential)
		if errors.Is(err, auth.ErrNotFound) {
			return auth.Grant{}, auth.ErrBadToken.Because(auth.ReasonRevoked).Of(about)
		}
		if err != nil {
			return auth.Grant{}, err
		}
		keep()
	}
	if dead := h.Dead(now); dead != auth.ReasonNone || h.AccountSuspended {
		return auth.Grant{}, auth.ErrBadToken.Because(auth.ReasonRevoked).Of(about)
	}
	grant := auth.Grant{
		Account: about.Account, Credential: about.Credential, Session: about.Session, Type: verify.AccessToken,
		Scope:   verify.Intersect(p.Scope, auth.TokenScope(h.Scope)),
		Expires: until(now, g.lifetime(auth.Liquid, h.ID), h.ExpiresAt),
	}
	// The revocations once more, and last: nothing that died since the call was let in is carried on.
	standing, err := g.facts.Standing(p.Claims)
	if err != nil {
		return auth.Grant{}, err
	}
	if standing.Revoked {
		return auth.Grant{}, auth.ErrBadToken.Because(auth.ReasonTokenRevoked).Of(about)
	}
	if standing.Narrowed {
		grant.Scope = verify.Intersect(grant.Scope, standing.Scope)
	}
	grant.Token, err = g.rings.Mint(token.Order{
		Account: grant.Account, Credential: grant.Credential, Session: grant.Session, Type: grant.Type,
		Position: auth.Position(p.Position), Scope: grant.Scope, AuthTime: authTime, Expires: grant.Expires, Audience: p.Audience,
		Bound: p.Bound,
	}, now)
	return grant, err
}
