package desk

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/proof"
	"github.com/gatehouse/gatehouse/internal/registry"
)

// keepOld is how long an old secret stays good unless somebody says otherwise.
const keepOld = 7 * 24 * time.Hour

// credential is a credential as it is told.
func (d *Desk) credential(c auth.Credential) api.Credential {
	now := d.Now()
	told := api.Credential{
		ID: string(c.ID), Kind: string(c.Kind), Account: int64(c.Account), Name: c.Name, Identifier: d.registry.Identifier(c),
		Status: "active", Scopes: scopes(c.Scope), CreatedAt: at(c.CreatedAt), ExpiresAt: at(c.ExpiresAt), RevokedAt: at(c.RevokedAt),
		Keys: proof.KeyNames(c.Keys), Secrets: []api.Secret{},
	}
	if dead := c.Dead(now); dead != auth.ReasonNone {
		told.Status = string(dead)
	}
	for _, s := range c.Secrets {
		told.Secrets = append(told.Secrets, api.Secret{
			Number: s.Number, Live: s.Live(now), CreatedAt: at(s.CreatedAt), ExpiresAt: at(s.ExpiresAt),
			LastUsed: at(s.LastUse.At), From: address(s.LastUse.Address), UserAgent: s.LastUse.UserAgent, Uses: s.LastUse.Count,
		})
	}
	if advice := auth.Advise(c, now); advice.Word != "" {
		told.Rotation = &api.Rotating{Advice: string(advice.Word), Says: advice.Says}
	}
	return told
}

func scopes(scope string) []string { return append([]string{}, strings.Fields(scope)...) }

// Credentials lists credentials, by account and age.
func (d *Desk) Credentials(ctx context.Context, q api.CredentialQuery) (api.Page[api.Credential], error) {
	var none api.Page[api.Credential]
	most, err := atOnce(q.Range)
	if err != nil {
		return none, err
	}
	after, err := cursor(q.After, auth.ParseCredentialPlace)
	if err != nil {
		return none, err
	}
	all, err := d.registry.Credentials(ctx, d.actor, auth.CredentialQuery{
		Account: auth.AccountID(q.Account), Kind: auth.Kind(q.Kind), Search: q.Search, Live: q.Live, After: after, Most: most + 1,
	})
	if err != nil {
		return none, err
	}
	return page(all, most, func(c *auth.Credential) api.Credential { return d.credential(*c) },
		func(c *auth.Credential) string { return c.Place().String() }), nil
}

// Credential finds a credential by its id, or by the identifier that its holder sends.
func (d *Desk) Credential(ctx context.Context, id string) (api.Credential, error) {
	c, err := d.registry.Credential(ctx, d.actor, id)
	if err != nil {
		return api.Credential{}, err
	}
	return d.credential(c), nil
}

// FindCredential says whose credential a text is: an API key, "identifier:secret", or an identifier alone.
func (d *Desk) FindCredential(ctx context.Context, text string) (api.Found, error) {
	found, err := d.registry.Find(ctx, d.actor, text)
	if err != nil {
		return api.Found{}, err
	}
	var a auth.Account
	if d.may(registry.ReadAccounts, found.Credential.Account) {
		a, err = d.registry.Account(ctx, d.actor, found.Credential.Account.String())
		if err != nil && !errors.Is(err, auth.ErrNotFound) { // a credential outlives its account
			return api.Found{}, err
		}
	}
	return api.Found{
		Credential: d.credential(found.Credential), AccountName: a.Name, Secret: found.Secret,
		Good: found.Wrong == auth.ReasonNone, Reason: string(found.Wrong),
	}, nil
}

// CreateCredential makes a credential, and tells its secret this one time.
func (d *Desk) CreateCredential(ctx context.Context, n api.NewCredential) (api.Issued, error) {
	made := registry.NewCredential{
		Account: auth.AccountID(n.Account), Kind: auth.Kind(n.Kind), Name: n.Name, Scopes: n.Scopes, Expires: n.ExpiresAt,
	}
	if len(n.JWKS) > 0 {
		made.Keys = n.JWKS
	}
	issued, err := making(d, d.issued).CreateCredential(ctx, d.actor, made)
	if err != nil {
		return api.Issued{}, err
	}
	return d.issued(issued), nil
}

// issued is a credential with its secret as it is told.
func (d *Desk) issued(i registry.Issued) api.Issued {
	c := i.Credential
	told := api.Issued{
		ID: string(c.ID), Kind: string(c.Kind), Account: int64(c.Account), CreatedAt: at(c.CreatedAt), OldExpiresAt: at(i.OldExpires),
		Confirmed: &i.Confirmed,
	}
	identifier, secret := i.Reveal()
	switch c.Kind {
	case auth.APIKey:
		told.Key = identifier
	case auth.Basic:
		told.UserID, told.Password = identifier, secret
	case auth.Login:
		told.Username, told.Password = identifier, secret
	case auth.OAuth:
		told.ClientID, told.ClientSecret = identifier, secret
		if secret == "" {
			told.Keys = proof.KeyNames(c.Keys)
		}
	}
	if contract := c.Kind.Contract(); !d.config.Spoken(contract) {
		told.Opens = string(contract)
	}
	return told
}

// UpdateCredential changes a credential's name, scopes, end or keys.
func (d *Desk) UpdateCredential(ctx context.Context, id auth.CredentialID, u api.CredentialUpdate) (api.Credential, error) {
	change := auth.CredentialUpdate{Name: u.Name}
	if u.Scopes != nil {
		scope := strings.Join(*u.Scopes, " ")
		change.Scope = &scope
	}
	if u.ExpiresAt.Given {
		change.ExpiresAt = &u.ExpiresAt.At
	}
	if len(u.JWKS) > 0 {
		keys := string(u.JWKS)
		if keys == "null" {
			keys = ""
		}
		change.Keys = &keys
	}
	if change == (auth.CredentialUpdate{}) {
		return api.Credential{}, auth.ErrInvalid.Saying("there is nothing to change: give name, scopes, expires_at or jwks")
	}
	return d.changeCredential(ctx, id, func() (registry.Done, error) { return d.registry.UpdateCredential(ctx, d.actor, id, change) })
}

// changeCredential changes a credential and tells what it is then.
func (d *Desk) changeCredential(ctx context.Context, id auth.CredentialID, change func() (registry.Done, error)) (api.Credential, error) {
	done, err := change()
	if err != nil {
		return api.Credential{}, err
	}
	told, err := d.Credential(ctx, string(id))
	told.Confirmed = &done.Confirmed
	return told, err
}

// RotateCredential gives a credential a new secret beside the old one, and tells it this one time.
func (d *Desk) RotateCredential(ctx context.Context, id auth.CredentialID, r api.Rotation) (api.Issued, error) {
	old := r.OldExpiresAt
	if old.IsZero() {
		old = d.Now().Add(keepOld)
	}
	issued, err := making(d, d.rotated).RotateCredential(ctx, d.actor, id, old, r.EndSessions)
	if err != nil {
		return api.Issued{}, err
	}
	return d.rotated(issued), nil
}

func (d *Desk) rotated(i registry.Issued) api.Issued {
	told := d.issued(i)
	told.Opens = ""
	return told
}

// FinishRotation ends the old secret of a rotation now.
func (d *Desk) FinishRotation(ctx context.Context, id auth.CredentialID) (api.Credential, error) {
	return d.changeCredential(ctx, id, func() (registry.Done, error) { return d.registry.FinishRotation(ctx, d.actor, id) })
}

// UndoRotation takes the new secret of a rotation back.
func (d *Desk) UndoRotation(ctx context.Context, id auth.CredentialID) (api.Credential, error) {
	return d.changeCredential(ctx, id, func() (registry.Done, error) { return d.registry.UndoRotation(ctx, d.actor, id) })
}

// RevokeCredential ends a credential with its tokens and sessions, for good.
func (d *Desk) RevokeCredential(ctx context.Context, id auth.CredentialID) (api.Credential, error) {
	return d.changeCredential(ctx, id, func() (registry.Done, error) { return d.registry.RevokeCredential(ctx, d.actor, id) })
}
