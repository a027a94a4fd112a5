package dashboard

import (
	"context"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// People lets people in, and knows what they prove themselves with.
type People interface {
	// Session finds who holds the session of this token, a cookie's value. The error is [auth.Unauthenticated] if nobody does.
	Session(ctx context.Context, kind auth.PersonKind, token string, caller auth.Caller) (Visitor, error)
	// SignIn takes a password, and Second the code that a session waits for after it: of an authenticator, or a recovery code.
	SignIn(ctx context.Context, kind auth.PersonKind, email, password string, caller auth.Caller) (SignedIn, error)
	Second(ctx context.Context, who Visitor, code string, caller auth.Caller) (SignedIn, error)
	SignOut(ctx context.Context, who Visitor, caller auth.Caller) error
	// Invited says whom the code of a one-time link lets in; the first operator is nobody yet. Join takes it.
	Invited(ctx context.Context, kind auth.PersonKind, code string, caller auth.Caller) (auth.Person, error)
	Join(ctx context.Context, kind auth.PersonKind, code string, j NewPerson, caller auth.Caller) (SignedIn, error)
	// OfferTOTP makes a secret for an authenticator, or offers one again, and Enroll takes it with a code that shows that it
	// works; it returns recovery codes.
	OfferTOTP(who Visitor, secret string) (TOTP, error)
	Enroll(ctx context.Context, who Visitor, secret, code string, caller auth.Caller) (SignedIn, []string, error)
	// Prove takes a proof of who holds a session that is whole.
	Prove(ctx context.Context, who Visitor, password, code string, caller auth.Caller) (SignedIn, error)

	SetPassword(ctx context.Context, who Visitor, current, password string) error
	NewRecoveryCodes(ctx context.Context, who Visitor) ([]string, error)
	Sessions(ctx context.Context, who Visitor) ([]auth.DashboardSession, error)
	EndSession(ctx context.Context, who Visitor, id auth.DashboardSessionID) error
	EndOtherSessions(ctx context.Context, who Visitor) (int, error)
}

// A Visitor is somebody who comes with a session.
type Visitor struct {
	Session auth.DashboardSession
	Person  auth.Person
	Actor   auth.Actor // zero before the session is whole
}

// A SignedIn is what came of a step of signing in: the session from now on.
type SignedIn struct {
	Token string // for the cookie
	Stage auth.Stage
}

// A NewPerson is what somebody says who joins.
type NewPerson struct {
	Email, Name string // of the first operator; the others were invited by theirs
	Password    string
}

// A TOTP is a secret for an authenticator.
type TOTP struct {
	Secret string // in base 32
	URI    string // otpauth://…
}
