package people

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// seenEvery is how much later a session must have been used to be noted as used again: a click costs no write.
const seenEvery = time.Minute

// A Visitor is somebody who has signed in, as of this request: a role that was changed and a removal act on the next one.
type Visitor struct {
	Actor   auth.Actor
	Person  auth.Person
	Session auth.DashboardSession
}

// open finds the session that a token opens, of a person who may have one. Anything else is [ErrNobody].
func (p *People) open(ctx context.Context, token string) (auth.DashboardSession, auth.Person, error) {
	if len(token) != auth.SecretLength || !auth.Alphanumeric(token) {
		return auth.DashboardSession{}, auth.Person{}, ErrNobody
	}
	s, person, err := p.store.DashboardSession(ctx, p.keys.LookupDigest(auth.LookupCookie, token))
	if errors.Is(err, auth.ErrNotFound) || err == nil && (!person.MaySignIn() || p.over(s, person)) {
		return auth.DashboardSession{}, auth.Person{}, ErrNobody
	}
	return s, person, err
}

// over says whether a session has ended by what is in force now, which can be less than when it began.
func (p *People) over(s auth.DashboardSession, person auth.Person) bool {
	now := p.now()
	return s.Stage == auth.StageFull && (!now.Before(s.CreatedAt.Add(p.age(person))) || !now.Before(s.SeenAt.Add(p.config.Idle)))
}

// Visitor says who a cookie of a kind's dashboard is. Without a whole session it is [ErrNobody].
func (p *People) Visitor(ctx context.Context, kind auth.PersonKind, token string, caller auth.Caller) (Visitor, error) {
	s, person, err := p.open(ctx, token)
	if err != nil {
		return Visitor{}, err
	}
	if s.Stage != auth.StageFull || person.Kind() != kind {
		return Visitor{}, ErrNobody
	}
	if now := p.now(); now.Sub(s.SeenAt) >= seenEvery {
		// A database that takes no writes shows its pages nevertheless.
		_ = p.store.SeeDashboardSession(ctx, s.Digest, now, now.Add(p.config.Idle))
	}
	return Visitor{Person: person, Session: s, Actor: auth.Actor{
		Name: actorOf(person), Role: person.Role, Account: person.Account, Person: person.ID, ProvedAt: s.ProvedAt,
		Address: caller.Address, RequestID: caller.RequestID,
	}}, nil
}

// act is something that a visitor does to how they sign in.
func (v Visitor) act(action, how string) auth.Act { return v.Actor.Act(action, detail(v.Person, how)) }

// SignOut ends the session that a token opens, whole or half. Without one there is nothing to do.
func (p *People) SignOut(ctx context.Context, token string, caller auth.Caller) error {
	s, person, err := p.open(ctx, token)
	if err == nil {
		err = p.store.EndDashboardSession(ctx, person, s.ID, act(person, caller, "person.sign-out", ""))
	}
	if errors.Is(err, ErrNobody) || errors.Is(err, auth.ErrNotFound) {
		return nil
	}
	return err
}

// Sessions lists the visitor's sessions, the youngest first.
func (p *People) Sessions(ctx context.Context, v Visitor) ([]auth.DashboardSession, error) {
	return p.store.DashboardSessions(ctx, v.Person.ID)
}

// EndSession ends one of the visitor's sessions.
func (p *People) EndSession(ctx context.Context, v Visitor, id auth.DashboardSessionID) error {
	return p.store.EndDashboardSession(ctx, v.Person, id, v.act("person.session-end", string(id)))
}

// EndOthers ends all sessions of the visitor but this one, and says how many.
func (p *People) EndOthers(ctx context.Context, v Visitor) (int, error) {
	return p.store.EndDashboardSessions(ctx, v.Person, v.Session.ID, v.act("person.session-end", "all others"))
}

// Confirm takes password and code once more: the step-up. The session goes on under another token, with its end as it was.
func (p *People) Confirm(ctx context.Context, v Visitor, password, code string, caller auth.Caller) (Entry, error) {
	if len(password) > mostPassword {
		return Entry{}, errLongPassword
	}
	refund, err := p.attemptCode(v.Person, caller)
	if err != nil {
		return Entry{}, err
	}
	proofs, err := p.store.Proofs(ctx, v.Person.ID)
	if err != nil {
		return Entry{}, err
	}
	right, err := p.compare(ctx, proofs.Password, password)
	if err != nil {
		refund()
		return Entry{}, err
	}
	spent, how, err := p.checkCode(ctx, v.Person, code)
	if err != nil && !errors.Is(err, ErrCode) {
		return Entry{}, err
	}
	if !right || err != nil { // which of the two was wrong is not told
		return Entry{}, failed(errConfirm, auth.ReasonWrongSecret, v.Person)
	}
	entry, err := p.confirm(ctx, v, spent, "by password and "+how, caller)
	if err == nil {
		refund()
	}
	return entry, err
}

var errConfirm = &auth.Error{Kind: auth.Unauthenticated, Msg: "Password or code are wrong, or the code was used before"}

// ConfirmPasskey is [People.Confirm] by a passkey of the visitor's, as it came out of the ceremony.
func (p *People) ConfirmPasskey(ctx context.Context, v Visitor, used auth.Passkey, caller auth.Caller) (Entry, error) {
	if err := p.usePasskey(ctx, v.Person, used); err != nil {
		return Entry{}, err
	}
	return p.confirm(ctx, v, auth.Spent{}, "by passkey", caller)
}

// ConfirmOpenID is [People.Confirm] by an OpenID of the visitor's, as a provider said lately.
func (p *People) ConfirmOpenID(ctx context.Context, v Visitor, o auth.OpenID, caller auth.Caller) (Entry, error) {
	id, err := p.store.UseOpenID(ctx, v.Person.Kind(), o.Issuer, o.Subject)
	if errors.Is(err, auth.ErrNotFound) || err == nil && id != v.Person.ID {
		return Entry{}, failed(ErrStranger, auth.ReasonUnknown, v.Person)
	}
	if err != nil {
		return Entry{}, err
	}
	return p.confirm(ctx, v, auth.Spent{}, "by openid", caller)
}

// confirm rotates the session of a visitor who has proved who they are.
func (p *People) confirm(ctx context.Context, v Visitor, spent auth.Spent, how string, caller auth.Caller) (Entry, error) {
	s, entry := p.session(v.Person, auth.StageFull, v.Session.Method, caller)
	s.CreatedAt, s.EndsAt = v.Session.CreatedAt, v.Session.EndsAt
	entry.EndsAt = s.EndsAt
	if err := p.store.RotateDashboardSession(ctx, v.Session.Digest, s, spent, v.act("person.confirm", how)); err != nil {
		if errors.Is(err, auth.ErrBadCredential) {
			err = failed(errConfirm, auth.AsError(err).Reason, v.Person)
		}
		return Entry{}, err
	}
	return entry, nil
}
