package desk

import (
	"context"
	"fmt"
	"time"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/registry"
)

// person is a person as it is told.
func person(p auth.Person) api.Person {
	return api.Person{
		ID: string(p.ID), Account: int64(p.Account), Email: p.Email, Name: p.Name, Role: string(p.Role), State: string(p.State),
		SignsIn: signsInWith(p), CreatedAt: at(p.CreatedAt), SignedInAt: at(p.SignedInAt),
	}
}

// signsInWith are the ways to sign in that a person has set up.
func signsInWith(p auth.Person) []string {
	ways := []string{}
	if p.Password {
		ways = append(ways, "password")
	}
	if p.TOTP {
		ways = append(ways, "codes")
	}
	switch {
	case p.Passkeys == 1:
		ways = append(ways, "1 passkey")
	case p.Passkeys > 1:
		ways = append(ways, fmt.Sprintf("%d passkeys", p.Passkeys))
	}
	if p.OpenIDs > 0 {
		ways = append(ways, "single sign-on")
	}
	return ways
}

// People lists the members of an account, or the operators if it is 0, by e-mail address.
func (d *Desk) People(ctx context.Context, account auth.AccountID, part api.Range) (api.Page[api.Person], error) {
	most, err := atOnce(part)
	if err != nil {
		return api.Page[api.Person]{}, err
	}
	all, err := d.registry.People(ctx, d.actor, auth.PersonQuery{Account: account, After: part.After, Most: most + 1})
	if err != nil {
		return api.Page[api.Person]{}, err
	}
	return page(all, most, func(p *auth.Person) api.Person { return person(*p) }, func(p *auth.Person) string { return p.Email }), nil
}

// Person finds a member of an account, or an operator if it is 0, by the id or the e-mail address.
func (d *Desk) Person(ctx context.Context, account auth.AccountID, id string) (api.Person, error) {
	p, err := d.registry.Person(ctx, d.actor, account, id)
	if err != nil {
		return api.Person{}, err
	}
	return person(p), nil
}

// life is how long a link is to be good; 0: as long as usual.
func (d *Desk) life(until time.Time) (time.Duration, error) {
	if until.IsZero() {
		return 0, nil
	}
	if life := until.Sub(d.Now()); life > 0 {
		return life, nil
	}
	return 0, auth.ErrInvalid.Saying("the link would have expired already")
}

// invited is a person with the link that lets them in, as it is told.
func (d *Desk) invited(in registry.Invited) api.Invited {
	base, open := d.config.Dashboard(in.Person.Kind())
	return api.Invited{Person: person(in.Person), Link: in.Link(base), LinkExpiresAt: at(in.ExpiresAt), Closed: !open}
}

// InvitePerson invites a member of an account, or an operator if it is 0. The link that lets them in is told this one time.
func (d *Desk) InvitePerson(ctx context.Context, account auth.AccountID, n api.NewPerson) (api.Invited, error) {
	life, err := d.life(n.LinkExpiresAt)
	if err != nil {
		return api.Invited{}, err
	}
	in, err := making(d, d.invited).InvitePerson(ctx, d.actor, account, registry.NewPerson{Email: n.Email, Name: n.Name, Role: auth.Role(n.Role)}, life)
	if err != nil {
		return api.Invited{}, err
	}
	return d.invited(in), nil
}

// ResetPerson takes a person's ways to sign in away. The link by which they begin anew is told this one time.
func (d *Desk) ResetPerson(ctx context.Context, account auth.AccountID, id auth.PersonID, l api.NewLink) (api.Invited, error) {
	life, err := d.life(l.LinkExpiresAt)
	if err != nil {
		return api.Invited{}, err
	}
	in, err := making(d, d.invited).ResetPerson(ctx, d.actor, account, id, life)
	if err != nil {
		return api.Invited{}, err
	}
	return d.invited(in), nil
}

// ChangeRole gives a person another role.
func (d *Desk) ChangeRole(ctx context.Context, account auth.AccountID, id auth.PersonID, r api.NewRole) (api.Person, error) {
	p, err := d.registry.ChangeRole(ctx, d.actor, account, id, auth.Role(r.Role))
	if err != nil {
		return api.Person{}, err
	}
	return person(p), nil
}

// RemovePerson removes a person, for good.
func (d *Desk) RemovePerson(ctx context.Context, account auth.AccountID, id auth.PersonID) (api.Person, error) {
	p, err := d.registry.RemovePerson(ctx, d.actor, account, id)
	if err != nil {
		return api.Person{}, err
	}
	p.State = auth.Removed
	return person(p), nil
}

// operatorToken is a token of the admin API as it is told.
func (d *Desk) operatorToken(t auth.OperatorToken) api.OperatorToken {
	told := api.OperatorToken{
		ID: string(t.ID), Name: t.Name, Role: string(t.Role), Scopes: append([]string{}, t.Scopes...), Status: "active", CreatedAt: at(t.CreatedAt),
		CreatedBy: t.CreatedBy, ExpiresAt: at(t.ExpiresAt), RevokedAt: at(t.RevokedAt), UsedAt: at(t.UsedAt), UsedFrom: address(t.UsedFrom),
	}
	if dead := t.Dead(d.Now()); dead != auth.ReasonNone {
		told.Status = string(dead)
	}
	return told
}

// OperatorTokens lists the tokens of the admin API, the oldest first, dead ones too.
func (d *Desk) OperatorTokens(ctx context.Context, part api.Range) (api.Page[api.OperatorToken], error) {
	var none api.Page[api.OperatorToken]
	most, err := atOnce(part)
	if err != nil {
		return none, err
	}
	after, err := cursor(part.After, auth.ParseOperatorTokenPlace)
	if err != nil {
		return none, err
	}
	all, err := d.registry.Tokens(ctx, d.actor, auth.OperatorTokenQuery{After: after, Most: most + 1})
	if err != nil {
		return none, err
	}
	return page(all, most, func(t *auth.OperatorToken) api.OperatorToken { return d.operatorToken(*t) },
		func(t *auth.OperatorToken) string { return t.Place().String() }), nil
}

// OperatorToken finds a token of the admin API, dead or alive.
func (d *Desk) OperatorToken(ctx context.Context, id auth.OperatorTokenID) (api.OperatorToken, error) {
	t, err := d.registry.Token(ctx, d.actor, id)
	if err != nil {
		return api.OperatorToken{}, err
	}
	return d.operatorToken(t), nil
}

// CreateOperatorToken makes a token of the admin API, and tells it this one time.
func (d *Desk) CreateOperatorToken(ctx context.Context, n api.NewOperatorToken) (api.OperatorToken, error) {
	issued, err := making(d, d.issuedToken).CreateToken(ctx, d.actor, registry.NewToken{Name: n.Name, Role: auth.Role(n.Role), Scopes: n.Scopes, Expires: n.ExpiresAt})
	if err != nil {
		return api.OperatorToken{}, err
	}
	return d.issuedToken(issued), nil
}

func (d *Desk) issuedToken(i registry.IssuedToken) api.OperatorToken {
	told := d.operatorToken(i.Token)
	told.Token = i.Reveal()
	return told
}

// RevokeOperatorToken ends a token of the admin API, for good.
func (d *Desk) RevokeOperatorToken(ctx context.Context, id auth.OperatorTokenID) (api.OperatorToken, error) {
	t, err := d.registry.RevokeToken(ctx, d.actor, id)
	if err != nil {
		return api.OperatorToken{}, err
	}
	return d.operatorToken(t), nil
}
