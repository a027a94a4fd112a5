package people

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/secret"
)

// How somebody signed in, in the session's row and the audit trail.
const (
	byPassword = "password"
	byPasskey  = "passkey"
	byOpenID   = "openid"
)

// halfLife is how long somebody who has shown a password may look for the second factor.
const halfLife = 10 * time.Minute

// An Entry is a session that was just begun, or rotated. Its token is a new one, and what opened the session before does not any
// more. It prints without the token.
type Entry struct {
	Person  auth.Person
	Stage   auth.Stage // what is wanted next, or [auth.StageFull]
	Session auth.DashboardSessionID
	EndsAt  time.Time // at the latest
	token   func() string
}

// Reveal returns the value for the cookie.
func (e Entry) Reveal() string { return e.token() }

// String is the session's name, which opens nothing.
func (e Entry) String() string { return string(e.Session) }

// GoString is [Entry.String], for %#v.
func (e Entry) GoString() string { return e.String() }

// session makes a session of a person, with a token of its own.
func (p *People) session(person auth.Person, stage auth.Stage, method string, caller auth.Caller) (auth.DashboardSession, Entry) {
	now, token := p.now(), secret.NewSecret()
	s := auth.DashboardSession{
		ID: secret.NewDashboardSessionID(), Digest: p.keys.LookupDigest(auth.LookupCookie, token), Person: person.ID, Stage: stage, Method: method,
		CreatedAt: now, SeenAt: now, IdleEnds: now.Add(p.config.Idle), EndsAt: now.Add(p.age(person)), Address: caller.Address, UserAgent: caller.UserAgent,
	}
	if stage == auth.StageFull {
		s.ProvedAt = now
	} else {
		s.IdleEnds, s.EndsAt = now.Add(halfLife), now.Add(halfLife)
	}
	return s, Entry{Person: person, Stage: stage, Session: s.ID, EndsAt: s.EndsAt, token: func() string { return token }}
}

func (p *People) age(person auth.Person) time.Duration {
	if person.Kind() == auth.Operator {
		return p.config.OperatorAge
	}
	return p.config.MemberAge
}

// SignIn takes a password. Where it is the right one, the entry says what is wanted next: a code ([People.Second]), or, of who has
// no second factor yet, one to be set up ([People.Offer], [People.Enroll]). A password alone never opens more.
//
// Whatever is wrong, and whether there is such a person at all, it is [ErrSignIn], after the same work and the same time: one read, one
// hash, and what the read took does not show.
// Attempts are charged before, by address and by e-mail address, and given back to who succeeds; those of a device that has signed in
// before ([People.Device], "" if none is known) are charged to it alone.
func (p *People) SignIn(ctx context.Context, kind auth.PersonKind, email, password, device string, caller auth.Caller) (Entry, error) {
	if len(password) > mostPassword {
		return Entry{}, errLongPassword
	}
	email, malformed := auth.ParseEmail(email)
	refund, err := p.attemptPassword(kind, email, device, caller)
	if err != nil {
		return Entry{}, err
	}
	pace := secret.NewPace()
	person, proofs, err := p.store.SigningIn(ctx, kind, email)
	if err != nil && !errors.Is(err, auth.ErrNotFound) {
		return Entry{}, err
	}
	pace.Even(ctx) // whoever is right waits too, or the hash would begin earlier for them
	right, err := p.compare(ctx, proofs.Password, password)
	if err != nil {
		refund()
		return Entry{}, err
	}
	switch {
	case malformed != nil || person.ID == "" || proofs.Password == "":
		return Entry{}, failed(ErrSignIn, auth.ReasonUnknown, person)
	case !right:
		return Entry{}, failed(ErrSignIn, auth.ReasonWrongSecret, person)
	case person.AccountSuspended:
		return Entry{}, failed(ErrSignIn, auth.ReasonAccountSuspended, person)
	case !person.MaySignIn():
		return Entry{}, failed(ErrSignIn, auth.ReasonRevoked, person)
	}
	p.rehash(ctx, person.ID, proofs.Password, password)
	stage := auth.StageSecond
	if proofs.TOTP.Text == nil {
		stage = auth.StageEnroll
	}
	s, entry := p.session(person, stage, byPassword, caller)
	if err := p.store.StartDashboardSession(ctx, s, auth.Spent{}, auth.Act{}); err != nil {
		return Entry{}, signInFailed(err, person)
	}
	refund()
	return entry, nil
}

// signInFailed turns the refusal of a guard of the store into ours: somebody was faster.
func signInFailed(err error, person auth.Person) error {
	if errors.Is(err, auth.ErrBadCredential) {
		return failed(ErrSignIn, auth.AsError(err).Reason, person)
	}
	return err
}

// A Half is a sign-in that waits for more.
type Half struct {
	Person  auth.Person
	Stage   auth.Stage
	session auth.DashboardSession
}

// Half says what a sign-in waits for. A token that opens none is [ErrNobody].
func (p *People) Half(ctx context.Context, token string) (Half, error) {
	s, person, err := p.open(ctx, token)
	if err != nil {
		return Half{}, err
	}
	if s.Stage == auth.StageFull {
		return Half{}, ErrNobody
	}
	return Half{Person: person, Stage: s.Stage, session: s}, nil
}

// Second takes a code after the password: of the authenticator, or a recovery code. Each opens once. A wrong one is [ErrCode].
func (p *People) Second(ctx context.Context, token, code string, caller auth.Caller) (Entry, error) {
	half, err := p.Half(ctx, token)
	if err != nil {
		return Entry{}, err
	}
	if half.Stage != auth.StageSecond {
		return Entry{}, ErrNobody
	}
	refund, err := p.attemptCode(half.Person, caller)
	if err != nil {
		return Entry{}, err
	}
	spent, how, err := p.checkCode(ctx, half.Person, code)
	if err != nil {
		return Entry{}, err
	}
	s, entry := p.session(half.Person, auth.StageFull, byPassword, caller)
	err = p.store.RotateDashboardSession(ctx, half.session.Digest, s, spent, act(half.Person, caller, "person.sign-in", "by password and "+how))
	if err != nil {
		return Entry{}, codeFailed(err, half.Person)
	}
	refund()
	return entry, nil
}

func codeFailed(err error, person auth.Person) error {
	if errors.Is(err, auth.ErrBadCredential) {
		return failed(ErrCode, auth.ReasonWrongSecret, person)
	}
	return err
}

// checkCode says what a code would use up, and what it is.
func (p *People) checkCode(ctx context.Context, person auth.Person, typed string) (spent auth.Spent, how string, err error) {
	if code := asRecoveryCode(typed); code != "" {
		codes, err := p.store.RecoveryCodes(ctx, person.ID)
		if err != nil {
			return spent, "", err
		}
		if spent.RecoveryCode = p.matchRecovery(person.ID, code, codes); spent.RecoveryCode == nil {
			return spent, "", failed(ErrCode, auth.ReasonWrongSecret, person)
		}
		return spent, "a recovery code", nil
	}
	proofs, err := p.store.Proofs(ctx, person.ID)
	if err != nil {
		return spent, "", err
	}
	code := digits(typed)
	if code == "" || proofs.TOTP.Text == nil {
		return spent, "", failed(ErrCode, auth.ReasonMalformed, person)
	}
	key, err := p.config.Masters.OpenSealed(proofs.TOTP)
	if err != nil {
		return spent, "", err
	}
	if spent.Step = matchTOTP(key, code, p.now(), proofs.TOTPStep); spent.Step == 0 {
		return spent, "", failed(ErrCode, auth.ReasonWrongSecret, person)
	}
	return spent, "code", nil
}

// PasskeyOwner finds whose passkey it is, among the persons of a kind who may sign in, with all passkeys of theirs: what the
// ceremony asks. Nobody's is [ErrStranger].
func (p *People) PasskeyOwner(ctx context.Context, kind auth.PersonKind, id []byte) (auth.Person, []auth.Passkey, error) {
	_, owner, err := p.store.Passkey(ctx, id)
	if errors.Is(err, auth.ErrNotFound) {
		return auth.Person{}, nil, ErrStranger
	}
	if err != nil {
		return auth.Person{}, nil, err
	}
	person, err := p.ofKind(ctx, kind, owner)
	if err != nil {
		return auth.Person{}, nil, err
	}
	keys, err := p.store.Passkeys(ctx, owner)
	return person, keys, err
}

// ofKind returns a person of a kind who may sign in. Anybody else is [ErrStranger].
func (p *People) ofKind(ctx context.Context, kind auth.PersonKind, id auth.PersonID) (auth.Person, error) {
	person, err := p.store.Person(ctx, id)
	if err != nil && !errors.Is(err, auth.ErrNotFound) {
		return auth.Person{}, err
	}
	switch {
	case err != nil || person.Kind() != kind:
		return auth.Person{}, ErrStranger
	case person.AccountSuspended:
		return auth.Person{}, failed(ErrStranger, auth.ReasonAccountSuspended, person)
	case !person.MaySignIn():
		return auth.Person{}, failed(ErrStranger, auth.ReasonRevoked, person)
	}
	return person, nil
}

// SignInPasskey signs in who has shown a passkey: the ceremony is over, and used is the passkey as it came out of it.
func (p *People) SignInPasskey(ctx context.Context, kind auth.PersonKind, owner auth.PersonID, used auth.Passkey, caller auth.Caller) (Entry, error) {
	person, err := p.ofKind(ctx, kind, owner)
	if err != nil {
		return Entry{}, err
	}
	if err := p.usePasskey(ctx, person, used); err != nil {
		return Entry{}, err
	}
	return p.signIn(ctx, person, byPasskey, caller)
}

// usePasskey notes the use of a passkey, which must be the person's.
func (p *People) usePasskey(ctx context.Context, person auth.Person, used auth.Passkey) error {
	_, owner, err := p.store.Passkey(ctx, used.ID)
	if errors.Is(err, auth.ErrNotFound) || err == nil && owner != person.ID {
		return failed(ErrStranger, auth.ReasonUnknown, person)
	}
	if err != nil {
		return err
	}
	err = p.store.UsePasskey(ctx, used.ID, used.Counter, used.BackedUp)
	if errors.Is(err, auth.ErrBadCredential) {
		return failed(ErrStranger, auth.ReasonWrongSecret, person)
	}
	return err
}

// SignInOpenID signs in who a provider says somebody is. An OpenID that no person of the kind has is [ErrStranger].
func (p *People) SignInOpenID(ctx context.Context, kind auth.PersonKind, o auth.OpenID, caller auth.Caller) (Entry, error) {
	id, err := p.store.UseOpenID(ctx, kind, o.Issuer, o.Subject)
	if errors.Is(err, auth.ErrNotFound) {
		return Entry{}, ErrStranger
	}
	if err != nil {
		return Entry{}, err
	}
	person, err := p.ofKind(ctx, kind, id)
	if err != nil {
		return Entry{}, err
	}
	return p.signIn(ctx, person, byOpenID, caller)
}

// signIn begins a whole session.
func (p *People) signIn(ctx context.Context, person auth.Person, method string, caller auth.Caller) (Entry, error) {
	s, entry := p.session(person, auth.StageFull, method, caller)
	err := p.store.StartDashboardSession(ctx, s, auth.Spent{}, act(person, caller, "person.sign-in", "by "+method))
	if errors.Is(err, auth.ErrBadCredential) {
		return Entry{}, failed(ErrStranger, auth.AsError(err).Reason, person)
	}
	if err != nil {
		return Entry{}, err
	}
	return entry, nil
}
