// Package people has persons sign in to the dashboards: operators and members, by password and code, by what a passkey or a
// provider of OpenID Connect has shown, or with the link that lets them in the first time. It keeps their sessions, and says who
// a cookie, or a token of the admin API, is. It leaves to registry who is invited, may do what and is removed, to passkey and
// signon their ceremonies, and to the pages what is shown.
//
// The invariants: who cannot sign in learns nothing of why, neither by an answer nor by the time it takes; a password alone is
// never enough; a code, a link and the value of a cookie before a rotation open nothing twice; whatever changes how a person signs
// in wants a fresh proof of who asks, and is in the audit trail; however many passwords are tried, other work goes on.
package people

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/limit"
	"github.com/gatehouse/gatehouse/internal/secret"
)

// Store keeps persons. Every method is one transaction, with the act in the audit trail if it takes one.
type Store interface {
	SigningIn(ctx context.Context, kind auth.PersonKind, email string) (auth.Person, auth.Proofs, error)
	Person(ctx context.Context, id auth.PersonID) (auth.Person, error)
	Proofs(ctx context.Context, id auth.PersonID) (auth.Proofs, error)
	Invited(ctx context.Context, digest []byte) (auth.Person, auth.Invitation, error)
	InviteFirst(ctx context.Context, i auth.Invitation, act auth.Act) (needed bool, err error)
	Join(ctx context.Context, digest []byte, j auth.Joining, s auth.DashboardSession, act auth.Act) (auth.Person, error)

	StartDashboardSession(ctx context.Context, s auth.DashboardSession, spent auth.Spent, act auth.Act) error
	RotateDashboardSession(ctx context.Context, old []byte, s auth.DashboardSession, spent auth.Spent, act auth.Act) error
	DashboardSession(ctx context.Context, digest []byte) (auth.DashboardSession, auth.Person, error)
	SeeDashboardSession(ctx context.Context, digest []byte, seen, idleEnds time.Time) error
	DashboardSessions(ctx context.Context, person auth.PersonID) ([]auth.DashboardSession, error)
	EndDashboardSession(ctx context.Context, person auth.Person, id auth.DashboardSessionID, act auth.Act) error
	EndDashboardSessions(ctx context.Context, person auth.Person, but auth.DashboardSessionID, act auth.Act) (int, error)

	SetPersonPassword(ctx context.Context, person auth.PersonID, hash string, but auth.DashboardSessionID, act auth.Act) error
	RehashPassword(ctx context.Context, person auth.PersonID, from, to string) error
	EnrollTOTP(ctx context.Context, old []byte, s auth.DashboardSession, e auth.Enrolment, act auth.Act) error
	SetRecoveryCodes(ctx context.Context, person auth.PersonID, codes []auth.RecoveryCode, act auth.Act) error
	RecoveryCodes(ctx context.Context, person auth.PersonID) ([]auth.RecoveryCode, error)

	AddPasskey(ctx context.Context, person auth.PersonID, k auth.Passkey, act auth.Act) error
	Passkeys(ctx context.Context, person auth.PersonID) ([]auth.Passkey, error)
	Passkey(ctx context.Context, id []byte) (auth.Passkey, auth.PersonID, error)
	UsePasskey(ctx context.Context, id []byte, counter uint32, backedUp bool) error
	RenamePasskey(ctx context.Context, person auth.PersonID, id []byte, name string, act auth.Act) error
	RemovePasskey(ctx context.Context, person auth.PersonID, id []byte, act auth.Act) error

	AddOpenID(ctx context.Context, person auth.PersonID, o auth.OpenID, act auth.Act) error
	OpenIDs(ctx context.Context, person auth.PersonID) ([]auth.OpenID, error)
	UseOpenID(ctx context.Context, kind auth.PersonKind, issuer, subject string) (auth.PersonID, error)
	RemoveOpenID(ctx context.Context, person auth.PersonID, issuer, subject string, act auth.Act) error

	OperatorToken(ctx context.Context, id auth.OperatorTokenID) (auth.OperatorToken, error)
	UseOperatorToken(ctx context.Context, id auth.OperatorTokenID, at time.Time, from netip.Addr) error
}

// Keys are the working keys, as far as people need them.
type Keys interface {
	Pepper() *secret.MAC
	PepperOf(id auth.KeyID) (*secret.MAC, bool)
	LookupDigest(what, text string) []byte
	Derive(parts ...string) [sha256.Size]byte
}

// Limits count attempts.
type Limits interface {
	Take(rule limit.Rule, key limit.Key) auth.Limit
	Refund(rule limit.Rule, key limit.Key)
}

// Config is what [People] are made of.
type Config struct {
	Store   Store
	Keys    Keys
	Masters secret.Masters
	Limits  Limits
	// Issuer is what an authenticator shows beside its codes: the name of this server.
	Issuer string
	// AtOnce is how many passwords are hashed at the same time, and Waiting how many more may wait for it; 0: 2, and 16.
	AtOnce, Waiting int
	// Idle is when a session ends that nobody uses, and OperatorAge and MemberAge when it ends in any case; 0: 12 h, 12 h, 7 days.
	Idle, OperatorAge, MemberAge time.Duration
	Cost                         Cost             // of a password's hash; zero: [DefaultCost]
	Now                          func() time.Time // nil means time.Now
}

// People are safe for concurrent use.
type People struct {
	config Config
	store  Store
	keys   Keys
	lane   *lane
	dummy  func() string // the hash of a password that nobody has
	now    func() time.Time
}

// New returns People.
func New(c Config) (*People, error) {
	if c.Store == nil || c.Keys == nil || c.Limits == nil || c.Masters.Current == nil || c.Issuer == "" {
		return nil, errors.New("people: a store, keys, the master key, limits and the name of the server are all needed")
	}
	c.Idle, c.OperatorAge = cmp.Or(c.Idle, 12*time.Hour), cmp.Or(c.OperatorAge, 12*time.Hour)
	c.MemberAge = cmp.Or(c.MemberAge, 7*24*time.Hour)
	c.AtOnce, c.Waiting, c.Cost = cmp.Or(c.AtOnce, 2), cmp.Or(c.Waiting, 16), cmp.Or(c.Cost, DefaultCost)
	p := &People{config: c, store: c.Store, keys: c.Keys, lane: newLane(c.AtOnce, c.Waiting), now: c.Now}
	if p.now == nil {
		p.now = time.Now
	}
	p.dummy = sync.OnceValue(func() string { return hashPassword(secret.NewSecret(), c.Cost) })
	return p, nil
}

// The limits of attempts. They are not the contracts': whoever is refused here is let in there.
var (
	perAddress = limit.Rule{Name: "sign_in_per_address", Rate: auth.Rate{Count: 60, Per: time.Hour, Burst: 30}}
	// Passwords for one e-mail address, from one address, and from all.
	perPersonHere = limit.Rule{Name: "sign_in_per_person_and_address", Rate: auth.Rate{Count: 20, Per: time.Hour, Burst: 10}}
	perPerson     = limit.Rule{Name: "sign_in_per_person", Rate: auth.Rate{Count: 100, Per: time.Hour, Burst: 50}}
	// Passwords of a browser that is known to have signed in by that e-mail address. It is counted for itself.
	perDevice = limit.Rule{Name: "sign_in_per_device", Rate: auth.Rate{Count: 20, Per: time.Hour, Burst: 10}}
	// Codes, and the password that is asked for once more: whoever comes so far has shown something.
	perCodes = limit.Rule{Name: "codes_per_person", Rate: auth.Rate{Count: 20, Per: time.Hour, Burst: 10}}
)

// The refusals.
var (
	// ErrSignIn is every failure to sign in: what was wrong is told to nobody but the operator.
	ErrSignIn = &auth.Error{Kind: auth.Unauthenticated, Msg: "This e-mail address and password do not let anybody in"}
	// ErrCode is a code of a second factor that is wrong, over, or was used before.
	ErrCode = &auth.Error{Kind: auth.Unauthenticated, Reason: auth.ReasonWrongSecret, Msg: "This code is wrong, too old, or was used before"}
	// ErrStranger is a passkey or an OpenID that lets nobody in.
	ErrStranger = &auth.Error{Kind: auth.Unauthenticated, Reason: auth.ReasonUnknown, Msg: "This does not let anybody in: nobody here has added it"}
	// ErrNobody is a cookie that opens no session.
	ErrNobody = &auth.Error{Kind: auth.Unauthenticated, Reason: auth.ReasonNoCredential, Msg: "Sign in first"}
)

// attempt charges an attempt before it is looked at, and returns what gives it back: what succeeds does not count.
func (p *People) attempt(charged ...limit.Charge) (refund func(), err error) {
	for _, c := range charged {
		if found := p.config.Limits.Take(c.Rule, c.Key); found.Refused {
			return nil, auth.ErrRateLimited.With(found)
		}
	}
	return func() {
		for _, c := range charged {
			p.config.Limits.Refund(c.Rule, c.Key)
		}
	}, nil
}

func ofAddress(caller auth.Caller) limit.Charge {
	return limit.Charge{Rule: perAddress, Key: limit.AddressKey(caller.Address)}
}

// attemptPassword charges for a password. A known device pays for itself alone: whoever else guesses, from wherever, takes nothing
// of it.
func (p *People) attemptPassword(kind auth.PersonKind, email, device string, caller auth.Caller) (refund func(), err error) {
	if known := p.device(kind, email, device); known != "" {
		return p.attempt(limit.Charge{Rule: perDevice, Key: limit.TextKey(known)})
	}
	who := string(kind) + " " + email
	here := limit.AddressKey(caller.Address).Addr.String()
	return p.attempt(ofAddress(caller), limit.Charge{Rule: perPersonHere, Key: limit.TextKey(here + " " + who)},
		limit.Charge{Rule: perPerson, Key: limit.TextKey(who)})
}

// attemptCode charges for a code of a person's.
func (p *People) attemptCode(person auth.Person, caller auth.Caller) (refund func(), err error) {
	return p.attempt(ofAddress(caller), limit.Charge{Rule: perCodes, Key: limit.TextKey(string(person.ID))})
}

// Attempt charges the address for showing a passkey or a provider's answer, before it is looked at, and returns what gives it back:
// what succeeds does not count. Passwords and codes charge by themselves.
func (p *People) Attempt(caller auth.Caller) (refund func(), err error) {
	return p.attempt(ofAddress(caller))
}

// actorOf names a person for the audit trail.
func actorOf(p auth.Person) string { return string(p.Kind()) + " " + p.Detail() }

func act(p auth.Person, caller auth.Caller, action, how string) auth.Act {
	return auth.Act{
		Actor: actorOf(p), Person: p.ID, Action: action, RequestID: caller.RequestID, Address: caller.Address, Detail: detail(p, how),
	}
}

func detail(p auth.Person, how string) string {
	if how == "" {
		return p.Detail()
	}
	return p.Detail() + " " + how
}

// failed is a refusal that says whose account it is about, for the operator.
func failed(e *auth.Error, reason auth.Reason, p auth.Person) error {
	return e.Because(reason).Of(auth.Subject{Account: p.Account})
}
