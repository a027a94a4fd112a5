package gate

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/limit"
	"github.com/gatehouse/gatehouse/verify"
)

// A client is a credential that has proved itself, from an address where it may.
type client struct {
	*auth.Holder
	used  *auth.Lock
	about auth.Subject
	at    auth.Position // applied before the facts were read: what is decided on older ones must not get a newer position
	now   time.Time
}

// admit says who presents p: its secret is right, and its account allows the address.
func (g *Gate) admit(ctx context.Context, p auth.Presented, from auth.Caller) (client, error) {
	if err := g.log.Fresh(); err != nil {
		return client{}, err
	}
	c := client{at: g.log.Applied(), now: g.now()}
	var err error
	if c.Holder, c.used, err = g.prove(ctx, p, from, c.now); err != nil {
		return client{}, err
	}
	c.about = auth.Subject{Account: c.Account, Credential: c.ID, Secret: c.used.Number}
	if err := g.once(ctx, c, p.Signature(), from); err != nil {
		return client{}, err
	}
	if !g.facts.Allows(c.Account, from.Address) {
		return client{}, g.offList(from, c.about)
	}
	if err := g.misbehaves(c.about, from); err != nil {
		return client{}, err
	}
	return c, nil
}

// once refuses a signature that counted before; nil is none.
func (g *Gate) once(ctx context.Context, c client, s auth.Signature, from auth.Caller) error {
	if s == nil {
		return nil
	}
	name, until := s.Once()
	first, err := g.config.Used.First(ctx, "assertion "+string(c.ID)+" "+name, until)
	if err != nil {
		return auth.AsError(err).Of(c.about)
	}
	if !first {
		return g.failed(from, auth.ErrBadCredential.Because(auth.ReasonExpired).Of(c.about), g.charge(from, ""))
	}
	return nil
}

// show refuses a DPoP proof that counted before; the zero Possession is none. It is asked once everything else is known to be
// good, so that nobody fills the memory of proofs who could not come in anyway.
func (g *Gate) show(ctx context.Context, p auth.Possession, about auth.Subject, from auth.Caller) error {
	if p.Key == "" {
		return nil
	}
	first, err := g.config.Proofs.First(ctx, p.Key+" "+p.Name, p.Until)
	if err != nil {
		return auth.AsError(err).Of(about)
	}
	if !first {
		return auth.ErrBadProof.Because(auth.ReasonExpired).Of(about).With(from.Limit)
	}
	return nil
}

// chargeClient takes one from the limit by credential, and returns what the caller is told of limits.
func (g *Gate) chargeClient(c client, from auth.Caller) (auth.Limit, error) {
	found := g.limiter.Take(g.credentials, limit.Key{Text: string(c.ID)})
	if found.Refused {
		return auth.Limit{}, auth.ErrRateLimited.Of(c.about).With(from.Limit).With(found)
	}
	return auth.Tighter(from.Limit, found), nil
}

// reaches says whether the client may be told of, or end, tokens of an account: of its own, or with the operator's scope.
func (c client) reaches(account auth.AccountID, scope string) bool {
	return account == c.Account || verify.HasScope(c.Scope, scope)
}

// Introspect tells an OAuth client what a token is, access or refresh token, whichever contract issued it. Claims is nil if it
// is not alive, or not for this client to know. Nothing of the token or its account is spent, extended or charged.
func (g *Gate) Introspect(ctx context.Context, p auth.Presented, raw string, from auth.Caller) (verify.Principal, auth.Served, error) {
	c, served, err := g.serve(ctx, p, from)
	if err != nil {
		return verify.Principal{}, auth.Served{}, err
	}
	who, err := g.look(raw)
	if err == nil && c.reaches(auth.AccountID(who.Account), auth.ScopeIntrospect) {
		return who, served, nil
	}
	if errors.Is(err, verify.ErrUnknown) {
		return verify.Principal{}, auth.Served{}, auth.ErrOverloaded.From(err).Of(c.about).With(served.Limit)
	}
	parsed, err := g.rings.ParseRefresh(raw, g.config.Issuers)
	if err != nil || !c.reaches(parsed.Account, auth.ScopeIntrospect) {
		return verify.Principal{}, served, nil
	}
	row, err := g.store.PeekSession(ctx, parsed.Session, parsed.Generation, g.config.MaxSessionAge)
	switch {
	case err == nil && row.Account == parsed.Account:
		return verify.Principal{Claims: parsed.Claims(), Scope: row.Scope}, served, nil
	case err != nil && auth.AsError(err).Kind != auth.Unauthenticated:
		return verify.Principal{}, auth.Served{}, err
	}
	return verify.Principal{}, served, nil
}

// RevokeFor ends, at the hand of an OAuth client, the session that a token came from: the token, what it came from, and what
// came of it. Like every revocation it is committed before it is acknowledged. A token that is none, or not for this client
// to end, is passed over.
func (g *Gate) RevokeFor(ctx context.Context, p auth.Presented, raw string, from auth.Caller) (auth.Served, error) {
	c, served, err := g.serve(ctx, p, from)
	if err != nil {
		return auth.Served{}, err
	}
	of := g.session(raw)
	if of.Session == "" || !c.reaches(of.Account, auth.ScopeRevoke) {
		return served, nil
	}
	return served, g.Revoke(ctx, Target{Account: of.Account, Session: of.Session}, auth.Act{
		Actor: "credential " + string(c.ID), Action: "session.revoke", RequestID: from.RequestID, Address: from.Address,
	})
}

// look judges a token that nobody presents: one that is bound to a key comes without it.
func (g *Gate) look(raw string) (verify.Principal, error) {
	who, err := g.judge(raw, "", verify.Types)
	var bound *verify.Error
	if errors.Is(err, verify.ErrBound) && errors.As(err, &bound) {
		return g.judge(raw, bound.Claims.Bound, verify.Types)
	}
	return who, err
}

// serve is [Gate.admit] and the limit by credential.
func (g *Gate) serve(ctx context.Context, p auth.Presented, from auth.Caller) (client, auth.Served, error) {
	c, err := g.admit(ctx, p, from)
	if err != nil {
		return client{}, auth.Served{}, err
	}
	found, err := g.chargeClient(c, from)
	return c, auth.Served{Client: c.about, Limit: found}, err
}

// session is whose session made a token, if a key of ours signed it for one of our issuers. That the token is dead itself
// matters not: what came of the same session may live.
func (g *Gate) session(raw string) auth.Subject {
	who, err := g.look(raw)
	var refused *verify.Error
	switch {
	case err == nil:
		return subject(who.Claims)
	case errors.As(err, &refused) && refused.Claims != nil && !errors.Is(err, verify.ErrForeign):
		return subject(refused.Claims)
	}
	parsed, err := g.rings.ParseRefresh(raw, g.config.Issuers)
	if err != nil {
		return auth.Subject{}
	}
	return auth.Subject{Account: parsed.Account, Credential: parsed.Credential, Session: parsed.Session}
}
