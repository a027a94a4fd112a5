package gate

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/limit"
	"github.com/gatehouse/gatehouse/internal/token"
	"github.com/gatehouse/gatehouse/verify"
)

// Refresh spends a refresh token and hands out the session's next pair; under an idempotency key ("" for none) it hands the
// same pair out again. Errors are [auth.ErrBadRefresh], [auth.ErrSpent], [auth.ErrReused] and [auth.ErrEnded], which no
// caller can tell apart, [auth.ErrAddressNotAllowed], with the token unspent, and those of limits.
func (g *Gate) Refresh(ctx context.Context, raw, idempotencyKey string, from auth.Caller) (auth.Grant, error) {
	if err := g.log.Fresh(); err != nil {
		return auth.Grant{}, err
	}
	parsed, err := g.rings.ParseRefresh(raw, g.config.Issuers)
	if err != nil {
		return auth.Grant{}, g.Failed(from, err)
	}
	return g.refresh(ctx, refresh{Refresh: parsed, by: parsed.Credential, repeat: idempotencyKey}, from)
}

// RefreshFor is [Gate.Refresh] at the hand of an OAuth client, which proves itself first. It takes tokens of the client's own
// account only; those of others are [auth.ErrBadRefresh], unspent. The scope that is asked for narrows the access token, and
// no later one; asking for more than the session has is [auth.ErrBadScope], and spends nothing either. So does the key that
// it is to be bound to hold for the one access token.
func (g *Gate) RefreshFor(ctx context.Context, p auth.Presented, raw, idempotencyKey string, ask auth.Ask, from auth.Caller) (auth.Grant, error) {
	c, err := g.admit(ctx, p, from)
	if err != nil {
		return auth.Grant{}, err
	}
	parsed, err := g.rings.ParseRefresh(raw, g.config.Issuers)
	if err == nil && parsed.Account != c.Account {
		err = auth.ErrBadRefresh.Because(auth.ReasonTokenForeign)
	}
	if err != nil { // charged alike, or the limits would tell another's token from one that never was
		return auth.Grant{}, g.Failed(from, auth.AsError(err).Of(c.about))
	}
	if ask.Scope != "" {
		// What cannot be spent is for the spending to say: it may be a replay, or theft.
		row, err := g.store.PeekSession(ctx, parsed.Session, parsed.Generation, g.config.MaxSessionAge)
		if err == nil {
			if _, ok := auth.PickScope(row.Scope, ask.Scope); !ok {
				return auth.Grant{}, auth.ErrBadScope.Of(c.about).With(from.Limit)
			}
		} else if auth.AsError(err).Kind != auth.Unauthenticated {
			return auth.Grant{}, err
		}
	}
	if err := g.show(ctx, ask.Bound, c.about, from); err != nil {
		return auth.Grant{}, err
	}
	grant, err := g.refresh(ctx, refresh{Refresh: parsed, by: c.ID, repeat: idempotencyKey, scope: ask.Scope, bound: ask.Bound.Key}, from)
	if err == nil {
		grant.Credential, grant.Secret = c.ID, c.used.Number
	}
	return grant, err
}

// A refresh is a refresh token about to be spent.
type refresh struct {
	token.Refresh
	by     auth.CredentialID // who spends it
	repeat string            // the key under which that can be repeated; "": it cannot
	scope  string            // that the access token is narrowed to; "": not at all
	bound  string            // the thumbprint of the key that the access token is bound to; "": to none
}

func (g *Gate) refresh(ctx context.Context, r refresh, from auth.Caller) (auth.Grant, error) {
	about := auth.Subject{Account: r.Account, Credential: r.Credential, Session: r.Session}
	// Looked at before, charged after: racers of one token, all but one of which are refused, must not use up the limit.
	key := limit.Key{Text: string(r.Credential)}
	found := g.limiter.Peek(g.credentials, key)
	if found.Refused {
		return auth.Grant{}, auth.ErrRateLimited.Of(about).With(from.Limit).With(found)
	}
	now := g.now()
	access, refresh := g.rings.Signers(now)
	spend := auth.Spend{
		Generation: r.Generation, Leeway: g.config.ReuseLeeway, OnReuse: g.config.OnReuse, MaxAge: g.config.MaxSessionAge,
		Until: until(now, g.config.Refresh, time.Time{}), AccessUntil: until(now, g.lifetime(auth.B2B, r.Credential), time.Time{}),
		AccessKey: access, RefreshKey: refresh, RevokedUntil: g.deadUntil(),
		AddressRefused: !g.facts.Allows(r.Account, from.Address),
		Act: auth.Act{
			Actor: "credential " + string(r.by), Action: "session.refresh",
			RequestID: from.RequestID, Address: from.Address,
		},
	}
	if r.repeat != "" {
		same := r.repeat
		if r.scope != "" || r.bound != "" {
			same += " " + r.scope + " " + r.bound // neither key has a space: only the same request is a repetition
		}
		spend.IdempotencyDigest = g.rings.IdempotencyDigest(r.Session, same)
	}
	row, replayed, err := g.store.RotateSession(ctx, r.Session, spend)
	switch {
	case errors.Is(err, auth.ErrAddressNotAllowed):
		return auth.Grant{}, g.offList(from, about)
	case err != nil:
		// No guess: the token is authentic, and its holder learns nothing. So it is no failure for the limits.
		e := auth.AsError(err)
		if e.Kind == auth.Internal {
			return auth.Grant{}, err
		}
		if e.Position > 0 { // a session was ended: as with any revocation, not answered before it holds
			g.config.Acknowledge(ctx, e.Position)
		}
		return auth.Grant{}, e.Of(about).With(from.Limit)
	case row.ID != r.Session || row.Account != r.Account:
		return auth.Grant{}, errors.New("the store answered with another session than was asked for")
	}
	if !replayed {
		found = g.limiter.Take(g.credentials, key)
		found.Refused = false
	}
	if r.scope != "" {
		row.Scope = verify.Intersect(row.Scope, r.scope)
	}
	grant := auth.Grant{
		Account: row.Account, Credential: row.Credential, Type: verify.B2BAccess,
		Replayed: replayed, Limit: auth.Tighter(from.Limit, found),
	}
	return g.pair(grant, row, r.bound)
}

// Logout ends every token and session that contract 3 gave to the account of this access token, and returns when all
// replicas have applied it.
func (g *Gate) Logout(ctx context.Context, raw string, from auth.Caller) (verify.Principal, error) {
	p, err := g.verify(raw, "", from, auth.Want{Types: []verify.Type{verify.B2BAccess}})
	if err != nil {
		e := auth.AsError(err)
		e.Proof = false // no proof would help here
		switch e.Reason {
		case auth.ReasonMalformed, auth.ReasonSignature, auth.ReasonTokenForeign: // a guess
			return p, g.Failed(from, e)
		case auth.ReasonAddressNotAllowed:
			return p, g.offList(from, e.About)
		}
		return p, e.With(from.Limit)
	}
	account := auth.AccountID(p.Account)
	return p, g.Revoke(ctx, Target{Account: account, Contract: auth.B2B}, auth.Act{
		Actor: "credential " + p.Credential, Action: "session.logout", RequestID: from.RequestID, Address: from.Address,
	})
}

// A Target is what [Gate.Revoke] ends: one session with every token that came of it, or all that a contract gave to an account.
type Target struct {
	Account  auth.AccountID
	Session  auth.SessionID // "": all of Contract
	Contract auth.Contract
}

// Revoke ends the target. It is committed before it is acknowledged: on success every replica that can reach the database
// refuses what was revoked; on an error nothing may be taken for revoked.
func (g *Gate) Revoke(ctx context.Context, t Target, act auth.Act) error {
	var done auth.Revoked
	var err error
	if t.Session != "" {
		done, err = g.store.RevokeSession(ctx, t.Session, t.Account, g.deadUntil(), act.Action, act)
	} else {
		done, err = g.store.RevokeContract(ctx, t.Account, t.Contract, act)
	}
	if err != nil {
		return err
	}
	g.config.Acknowledge(ctx, done.Position)
	return nil
}

// deadUntil is how long a session that is revoked now must be remembered: as long as the youngest token that came of it can
// live, which may have been handed out just now.
func (g *Gate) deadUntil() time.Time { return g.now().Add(g.rings.Longest() + 2*verify.Leeway) }
