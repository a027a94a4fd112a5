package people

import (
	"context"
	"errors"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// proved is [auth.ErrStepUp] unless the visitor has proved lately who they are: what changes how somebody signs in wants that.
func (p *People) proved(v Visitor) error {
	if !v.Actor.Proved(p.now()) {
		return auth.ErrStepUp
	}
	return nil
}

// ChangePassword gives the visitor another password, or a first one, and ends all other sessions.
func (p *People) ChangePassword(ctx context.Context, v Visitor, password string) error {
	if err := p.proved(v); err != nil {
		return err
	}
	if err := CheckPassword(password); err != nil {
		return err
	}
	hash, err := p.hash(ctx, password)
	if err != nil {
		return err
	}
	return p.store.SetPersonPassword(ctx, v.Person.ID, hash, v.Session.ID, v.act("person.password", ""))
}

// Offer is what the authenticator of somebody is told who has to set one up to go on.
func (p *People) Offer(ctx context.Context, token string) (Setup, error) {
	half, err := p.enrolling(ctx, token)
	if err != nil {
		return Setup{}, err
	}
	return p.offer(ctx, half.Person, half.session)
}

// OfferAnother is [People.Offer] for who is signed in: another authenticator in the place of the one there is, or a first one.
func (p *People) OfferAnother(ctx context.Context, v Visitor) (Setup, error) {
	if err := p.proved(v); err != nil {
		return Setup{}, err
	}
	return p.offer(ctx, v.Person, v.Session)
}

func (p *People) enrolling(ctx context.Context, token string) (Half, error) {
	half, err := p.Half(ctx, token)
	if err == nil && half.Stage != auth.StageEnroll {
		err = ErrNobody
	}
	return half, err
}

func (p *People) offer(ctx context.Context, person auth.Person, s auth.DashboardSession) (Setup, error) {
	proofs, err := p.store.Proofs(ctx, person.ID)
	if err != nil {
		return Setup{}, err
	}
	return p.setup(person, p.newTOTP(s, proofs)), nil
}

// Enroll takes a code of the authenticator that was told what [People.Offer] gave, and lets its holder in: with a session that is
// whole, and recovery codes, which can be read this one time. All other sessions end. A wrong code is [ErrCode].
func (p *People) Enroll(ctx context.Context, token, code string, caller auth.Caller) (Entry, []string, error) {
	half, err := p.enrolling(ctx, token)
	if err != nil {
		return Entry{}, nil, err
	}
	a := act(half.Person, caller, "person.second-factor", "at sign-in")
	return p.enroll(ctx, half.Person, half.session, code, a, caller)
}

// EnrollAnother is [People.Enroll] after [People.OfferAnother].
func (p *People) EnrollAnother(ctx context.Context, v Visitor, code string, caller auth.Caller) (Entry, []string, error) {
	if err := p.proved(v); err != nil {
		return Entry{}, nil, err
	}
	return p.enroll(ctx, v.Person, v.Session, code, v.act("person.second-factor", ""), caller)
}

func (p *People) enroll(ctx context.Context, person auth.Person, old auth.DashboardSession, typed string, a auth.Act, caller auth.Caller) (Entry, []string, error) {
	refund, err := p.attemptCode(person, caller)
	if err != nil {
		return Entry{}, nil, err
	}
	proofs, err := p.store.Proofs(ctx, person.ID)
	if err != nil {
		return Entry{}, nil, err
	}
	key := p.newTOTP(old, proofs)
	e := auth.Enrolment{TOTP: auth.SealedTOTP(person.ID)}
	if code := digits(typed); code != "" {
		e.Step = matchTOTP(key, code, p.now(), 0)
	}
	if e.Step == 0 {
		return Entry{}, nil, failed(ErrCode, auth.ReasonWrongSecret, person)
	}
	e.TOTP = p.config.Masters.Seal(e.TOTP, key)
	var shown []string
	shown, e.Codes = p.newRecoveryCodes(person.ID)
	s, entry := p.session(person, auth.StageFull, old.Method, caller)
	if err := p.store.EnrollTOTP(ctx, old.Digest, s, e, a); err != nil {
		return Entry{}, nil, codeFailed(err, person)
	}
	refund()
	return entry, shown, nil
}

// NewRecoveryCodes gives the visitor new recovery codes in the place of those before. They can be read this one time.
func (p *People) NewRecoveryCodes(ctx context.Context, v Visitor) ([]string, error) {
	if err := p.proved(v); err != nil {
		return nil, err
	}
	if !v.Person.TOTP {
		return nil, auth.ErrConflict.Saying("Recovery codes stand in for an authenticator: set one up first")
	}
	shown, kept := p.newRecoveryCodes(v.Person.ID)
	if err := p.store.SetRecoveryCodes(ctx, v.Person.ID, kept, v.act("person.recovery-codes", "")); err != nil {
		return nil, err
	}
	return shown, nil
}

// Passkeys lists the visitor's passkeys, the oldest first.
func (p *People) Passkeys(ctx context.Context, v Visitor) ([]auth.Passkey, error) {
	return p.store.Passkeys(ctx, v.Person.ID)
}

// AddPasskey keeps a passkey that came out of a ceremony of the visitor's.
func (p *People) AddPasskey(ctx context.Context, v Visitor, k auth.Passkey) error {
	if err := p.proved(v); err != nil {
		return err
	}
	if !goodName(k.Name) {
		return auth.ErrInvalid.Saying("Give the passkey a name by which you know it again, of 1 to 200 bytes")
	}
	return p.store.AddPasskey(ctx, v.Person.ID, k, v.act("person.passkey-add", k.Name))
}

// RenamePasskey gives a passkey of the visitor's another name.
func (p *People) RenamePasskey(ctx context.Context, v Visitor, id []byte, name string) error {
	if !goodName(name) {
		return auth.ErrInvalid.Saying("Give the passkey a name by which you know it again, of 1 to 200 bytes")
	}
	return p.store.RenamePasskey(ctx, v.Person.ID, id, name, v.act("person.passkey-rename", name))
}

// RemovePasskey takes a passkey of the visitor's away. The last way to sign in stays.
func (p *People) RemovePasskey(ctx context.Context, v Visitor, id []byte) error {
	if err := p.proved(v); err != nil {
		return err
	}
	k, owner, err := p.store.Passkey(ctx, id)
	if err == nil && owner != v.Person.ID {
		err = auth.ErrNotFound.Saying("There is no such passkey")
	}
	if err != nil {
		return err
	}
	return p.store.RemovePasskey(ctx, v.Person.ID, id, v.act("person.passkey-remove", k.Name))
}

// OpenIDs lists who the visitor is to providers, the oldest first.
func (p *People) OpenIDs(ctx context.Context, v Visitor) ([]auth.OpenID, error) {
	return p.store.OpenIDs(ctx, v.Person.ID)
}

// AddOpenID lets the visitor sign in as who a provider says they are.
func (p *People) AddOpenID(ctx context.Context, v Visitor, o auth.OpenID) error {
	if err := p.proved(v); err != nil {
		return err
	}
	if o.Issuer == "" || o.Subject == "" {
		return errors.New("people: an OpenID without issuer or subject")
	}
	return p.store.AddOpenID(ctx, v.Person.ID, o, v.act("person.openid-add", o.Issuer))
}

// RemoveOpenID takes an OpenID of the visitor's away. The last way to sign in stays.
func (p *People) RemoveOpenID(ctx context.Context, v Visitor, issuer, subject string) error {
	if err := p.proved(v); err != nil {
		return err
	}
	return p.store.RemoveOpenID(ctx, v.Person.ID, issuer, subject, v.act("person.openid-remove", issuer))
}
