package registry

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/secret"
)

// peopleStore keeps persons, and the tokens of the admin API.
type peopleStore interface {
	InvitePerson(ctx context.Context, p auth.Person, i auth.Invitation, act auth.Act) error
	Person(ctx context.Context, id auth.PersonID) (auth.Person, error)
	People(ctx context.Context, q auth.PersonQuery) ([]auth.Person, error)
	ChangePersonRole(ctx context.Context, account auth.AccountID, id auth.PersonID, role auth.Role, lastToo bool, act auth.Act) error
	RemovePerson(ctx context.Context, account auth.AccountID, id auth.PersonID, lastToo bool, act auth.Act) error
	ResetPerson(ctx context.Context, account auth.AccountID, id auth.PersonID, i auth.Invitation, act auth.Act) error

	CreateOperatorToken(ctx context.Context, o auth.OperatorToken, act auth.Act) error
	OperatorTokens(ctx context.Context, q auth.OperatorTokenQuery) ([]auth.OperatorToken, error)
	OperatorToken(ctx context.Context, id auth.OperatorTokenID) (auth.OperatorToken, error)
	RevokeOperatorToken(ctx context.Context, id auth.OperatorTokenID, act auth.Act) error
}

// A NewPerson is somebody to be invited.
type NewPerson struct {
	Email, Name string
	Role        auth.Role
}

// The lives of a link: without one that is given, and at most.
const (
	LinkLife     = 24 * time.Hour
	mostLinkLife = 30 * 24 * time.Hour
)

// Invited is a person with the code of the link that lets them in, once. It can be read this one time, and prints as the
// person's id.
type Invited struct {
	Person    auth.Person
	ExpiresAt time.Time
	code      func() string
}

// Link is what the person opens, as [auth.JoinLink] has it.
func (i Invited) Link(base string) string { return auth.JoinLink(base, i.code()) }

// String is the person's id.
func (i Invited) String() string { return string(i.Person.ID) }

// GoString is the person's id, for %#v.
func (i Invited) GoString() string { return i.String() }

// actions are what can be done to persons of a kind.
type actions struct{ read, invite, role, remove, reset Action }

func actionsOn(account auth.AccountID) actions {
	if account == 0 {
		return actions{ReadOperators, InviteOperator, OperatorRole, RemoveOperator, ResetOperator}
	}
	return actions{ReadMembers, InviteMember, MemberRole, RemoveMember, ResetMember}
}

// InvitePerson writes down a member of the account, or an operator if it is 0, who comes in by the link that is returned. life is
// how long the link is good; 0: for [LinkLife].
func (r *Registry) InvitePerson(ctx context.Context, actor auth.Actor, account auth.AccountID, n NewPerson, life time.Duration) (Invited, error) {
	about := auth.Subject{Account: account}
	act, err := r.permit(ctx, actor, actionsOn(account).invite, about, "")
	if err != nil {
		return Invited{}, err
	}
	p := auth.Person{ID: secret.NewPersonID(), Account: account, Name: strings.TrimSpace(n.Name), Role: n.Role, State: auth.Invited, CreatedAt: r.now()}
	if p.Email, err = auth.ParseEmail(n.Email); err != nil {
		return Invited{}, err
	}
	if err := checkName(p.Name); err != nil {
		return Invited{}, err
	}
	if err := checkRole(p.Kind(), p.Role); err != nil {
		return Invited{}, err
	}
	invited, i, err := r.link(p, life)
	if err != nil {
		return Invited{}, err
	}
	act.Detail, act.Makes = p.Detail()+" "+string(p.Role), making(invited)
	if err := r.store.InvitePerson(ctx, p, i, act); err != nil {
		return Invited{}, named(err, "there is no account "+account.String())
	}
	return invited, nil
}

func checkRole(kind auth.PersonKind, role auth.Role) error {
	if slices.Contains(kind.Roles(), role) {
		return nil
	}
	var all []string
	for _, one := range kind.Roles() {
		all = append(all, string(one))
	}
	return auth.ErrInvalid.Saying("the role of " + string(kind) + "s is one of " + strings.Join(all, ", ") + "; not " + strconv.QuoteToASCII(string(role)))
}

// link draws a code for a person.
func (r *Registry) link(p auth.Person, life time.Duration) (Invited, auth.Invitation, error) {
	if life == 0 {
		life = LinkLife
	}
	if life < 0 || life > mostLinkLife {
		return Invited{}, auth.Invitation{}, auth.ErrInvalid.Saying("a link is good for at most 30 days")
	}
	code, until := auth.FormatCode(secret.NewSecret()), r.now().Add(life)
	return Invited{Person: p, ExpiresAt: until, code: func() string { return code }},
		auth.Invitation{Person: p.ID, Digest: r.config.Rings.LookupDigest(auth.LookupLink, code), ExpiresAt: until}, nil
}

// People lists operators, or the members of an account, by e-mail address.
func (r *Registry) People(ctx context.Context, actor auth.Actor, q auth.PersonQuery) ([]auth.Person, error) {
	if err := r.see(ctx, actor, actionsOn(q.Account).read, auth.Subject{Account: q.Account}); err != nil {
		return nil, err
	}
	return r.store.People(ctx, q)
}

// Person finds an operator, or a member of the account, by the id or the e-mail address.
func (r *Registry) Person(ctx context.Context, actor auth.Actor, account auth.AccountID, id string) (auth.Person, error) {
	if err := r.see(ctx, actor, actionsOn(account).read, auth.Subject{Account: account}); err != nil {
		return auth.Person{}, err
	}
	if !strings.Contains(id, "@") {
		return r.person(ctx, actor, actionsOn(account).read, account, auth.PersonID(id))
	}
	email, err := auth.ParseEmail(id)
	if err != nil {
		return auth.Person{}, err
	}
	all, err := r.store.People(ctx, auth.PersonQuery{Account: account})
	if err != nil {
		return auth.Person{}, err
	}
	for _, p := range all {
		if p.Email == email {
			return p, nil
		}
	}
	return auth.Person{}, nobody(account, id)
}

// person reads a person of the account who was not removed. To a member one of another account is nobody, and the attempt is
// written down.
func (r *Registry) person(ctx context.Context, actor auth.Actor, action Action, account auth.AccountID, id auth.PersonID) (auth.Person, error) {
	p, err := r.store.Person(ctx, id)
	unknown := nobody(account, string(id))
	switch {
	case errors.Is(err, auth.ErrNotFound) || err == nil && p.State == auth.Removed:
		return auth.Person{}, unknown
	case err != nil:
		return auth.Person{}, err
	case p.Account == account:
		return p, nil
	case actor.Operator():
		return auth.Person{}, unknown
	}
	return auth.Person{}, r.refuse(ctx, actor, action, auth.Subject{Account: p.Account}, unknown)
}

func nobody(account auth.AccountID, id string) error {
	if account == 0 {
		return auth.ErrNotFound.Saying("there is no operator " + strconv.QuoteToASCII(id) + ": gatehouse operator list shows them")
	}
	return auth.ErrNotFound.Saying("account " + account.String() + " has no member " + strconv.QuoteToASCII(id) + ": gatehouse member list --account " + account.String() + " shows them")
}

// ChangeRole gives a person another role, which acts on what they ask next. Of operators, and where members do it, the last owner
// stays one.
func (r *Registry) ChangeRole(ctx context.Context, actor auth.Actor, account auth.AccountID, id auth.PersonID, role auth.Role) (auth.Person, error) {
	act, p, err := r.about(ctx, actor, actionsOn(account).role, account, id)
	if err != nil {
		return auth.Person{}, err
	}
	if err := checkRole(p.Kind(), role); err != nil {
		return auth.Person{}, err
	}
	act.Detail += " " + string(p.Role) + " to " + string(role)
	if err := r.store.ChangePersonRole(ctx, account, id, role, lastToo(actor, account), act); err != nil {
		return auth.Person{}, err
	}
	return r.store.Person(ctx, id)
}

// lastToo says whether the last owner may go: an account's, if an operator says so, who can invite another. Without an operator
// nobody could.
func lastToo(actor auth.Actor, account auth.AccountID) bool { return actor.Operator() && account != 0 }

// about is the permission for an act about a person, and the person, who must be there.
func (r *Registry) about(ctx context.Context, actor auth.Actor, action Action, account auth.AccountID, id auth.PersonID) (auth.Act, auth.Person, error) {
	act, err := r.permit(ctx, actor, action, auth.Subject{Account: account}, string(id))
	if err != nil {
		return auth.Act{}, auth.Person{}, err
	}
	p, err := r.person(ctx, actor, action, account, id)
	act.Detail = p.Detail()
	return act, p, err
}

// RemovePerson removes an operator, or a member of the account, for good: their sessions end with it. Of operators, and where
// members do it, the last owner stays.
func (r *Registry) RemovePerson(ctx context.Context, actor auth.Actor, account auth.AccountID, id auth.PersonID) (auth.Person, error) {
	act, p, err := r.about(ctx, actor, actionsOn(account).remove, account, id)
	if err != nil {
		return auth.Person{}, err
	}
	return p, r.store.RemovePerson(ctx, account, id, lastToo(actor, account), act)
}

// ResetPerson takes from a person every way to sign in and every session, and gives a link to begin anew: for who has lost what
// they sign in with, and for whom somebody else may have it.
func (r *Registry) ResetPerson(ctx context.Context, actor auth.Actor, account auth.AccountID, id auth.PersonID, life time.Duration) (Invited, error) {
	act, p, err := r.about(ctx, actor, actionsOn(account).reset, account, id)
	if err != nil {
		return Invited{}, err
	}
	p.State, p.Password, p.TOTP, p.Passkeys, p.OpenIDs, p.RecoveryCodes = auth.Invited, false, false, 0, 0, 0
	invited, i, err := r.link(p, life)
	if err != nil {
		return Invited{}, err
	}
	act.Makes = making(invited)
	if err := r.store.ResetPerson(ctx, account, id, i, act); err != nil {
		return Invited{}, err
	}
	return invited, nil
}

// A NewToken is a token of the admin API to be made.
type NewToken struct {
	Name    string
	Role    auth.Role
	Scopes  []string  // at least one of [Scopes]
	Expires time.Time // zero: never
}

// IssuedToken is a token with its secret, which can be read this one time. It prints as its id.
type IssuedToken struct {
	Token  auth.OperatorToken
	secret func() string
}

// Reveal returns the token as its holder presents it.
func (i IssuedToken) Reveal() string { return i.secret() }

// String is the token's id.
func (i IssuedToken) String() string { return string(i.Token.ID) }

// GoString is the token's id, for %#v.
func (i IssuedToken) GoString() string { return i.String() }

// CreateToken makes a token of the admin API. A token makes none that may more than it may.
func (r *Registry) CreateToken(ctx context.Context, actor auth.Actor, n NewToken) (IssuedToken, error) {
	act, err := r.permit(ctx, actor, CreateToken, auth.Subject{}, n.Name)
	if err != nil {
		return IssuedToken{}, err
	}
	if err := checkName(n.Name); err != nil {
		return IssuedToken{}, err
	}
	if err := checkRole(auth.Operator, n.Role); err != nil {
		return IssuedToken{}, err
	}
	now, scopes := r.now(), slices.Compact(slices.Sorted(slices.Values(n.Scopes)))
	if len(scopes) == 0 {
		return IssuedToken{}, auth.ErrInvalid.Saying("a token has at least one scope, of " + strings.Join(Scopes(), ", "))
	}
	for _, s := range scopes {
		if !slices.Contains(Scopes(), s) {
			return IssuedToken{}, auth.ErrInvalid.Saying("the scopes of a token are " + strings.Join(Scopes(), ", ") + "; not " + strconv.QuoteToASCII(s))
		}
		if actor.Token != "" && !slices.Contains(actor.Scopes, s) {
			return IssuedToken{}, r.refuse(ctx, actor, CreateToken, auth.Subject{}, forbidden("The token does not have the scope "+s+" itself"))
		}
	}
	if !n.Expires.IsZero() && !n.Expires.After(now) {
		return IssuedToken{}, auth.ErrInvalid.Saying("the token would have expired already")
	}
	text, pepper := secret.NewSecret(), r.config.Rings.Pepper()
	t := auth.OperatorToken{
		ID: secret.NewOperatorTokenID(), Name: n.Name, Role: n.Role, Scopes: scopes, Pepper: pepper.ID, CreatedAt: now, CreatedBy: actor.Name, ExpiresAt: n.Expires,
	}
	digest := pepper.TokenDigest(t.ID, text)
	t.Digest = digest[:]
	issued := IssuedToken{Token: t, secret: func() string { return auth.FormatOperatorToken(t.ID, text) }}
	act.Detail, act.Makes = t.Detail()+" "+string(t.Role)+" "+strings.Join(scopes, " "), making(issued)
	if err := r.store.CreateOperatorToken(ctx, t, act); err != nil {
		return IssuedToken{}, err
	}
	return issued, nil
}

// Tokens lists the tokens of the admin API, the oldest first, dead ones too.
func (r *Registry) Tokens(ctx context.Context, actor auth.Actor, q auth.OperatorTokenQuery) ([]auth.OperatorToken, error) {
	if err := r.see(ctx, actor, ReadTokens, auth.Subject{}); err != nil {
		return nil, err
	}
	return r.store.OperatorTokens(ctx, q)
}

// Token finds a token of the admin API, dead or alive.
func (r *Registry) Token(ctx context.Context, actor auth.Actor, id auth.OperatorTokenID) (auth.OperatorToken, error) {
	if err := r.see(ctx, actor, ReadTokens, auth.Subject{}); err != nil {
		return auth.OperatorToken{}, err
	}
	return r.token(ctx, id)
}

func (r *Registry) token(ctx context.Context, id auth.OperatorTokenID) (auth.OperatorToken, error) {
	t, err := r.store.OperatorToken(ctx, id)
	return t, named(err, "there is no operator token "+strconv.QuoteToASCII(string(id))+": gatehouse operator token list shows them")
}

// RevokeToken ends a token of the admin API for good: its next request is refused.
func (r *Registry) RevokeToken(ctx context.Context, actor auth.Actor, id auth.OperatorTokenID) (auth.OperatorToken, error) {
	act, err := r.permit(ctx, actor, RevokeToken, auth.Subject{}, string(id))
	if err != nil {
		return auth.OperatorToken{}, err
	}
	t, err := r.token(ctx, id)
	if err != nil {
		return auth.OperatorToken{}, err
	}
	act.Detail = t.Detail()
	if err := r.store.RevokeOperatorToken(ctx, id, act); err != nil {
		return auth.OperatorToken{}, err
	}
	return r.store.OperatorToken(ctx, id)
}
