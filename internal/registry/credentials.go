package registry

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/proof"
	"github.com/gatehouse/gatehouse/internal/secret"
)

// A NewCredential is what an operator says of a credential to be made.
type NewCredential struct {
	Account auth.AccountID
	Kind    auth.Kind
	Name    string // "" for none
	Scopes  []string
	Expires time.Time // zero: never
	Keys    []byte    // of an OAuth client that signs in place of a secret, as [proof.ParseKeys] reads them; nil: it gets a secret
	Given   *Given    // nil: id and secret are drawn
}

// Given are the id and the secret of a credential of a sandbox, which everybody may know.
type Given struct {
	ID     auth.CredentialID // a published one
	Secret string            // of the usual length
}

// Issued is a credential with its secret, which can be read this one time. It prints as its id.
type Issued struct {
	Credential auth.Credential
	OldExpires time.Time // of a rotation: when the secret before ends
	Confirmed  bool
	secret     func() (identifier, secret string)
}

// Reveal returns what its holder needs: for an API key the key and "", for the others the identifier and the secret, which is
// "" if it has keys instead.
func (i Issued) Reveal() (identifier, secret string) { return i.secret() }

// String is the credential's id.
func (i Issued) String() string { return string(i.Credential.ID) }

// GoString is the credential's id, for %#v.
func (i Issued) GoString() string { return i.String() }

// CreateCredential makes a credential with a first secret, or with keys.
func (r *Registry) CreateCredential(ctx context.Context, actor auth.Actor, n NewCredential) (Issued, error) {
	if n.Kind.Contract() == "" {
		return Issued{}, errKind(n.Kind)
	}
	scope, err := auth.ParseScope(n.Scopes)
	if err != nil {
		return Issued{}, err
	}
	if n.Name != "" {
		if err := checkName(n.Name); err != nil {
			return Issued{}, err
		}
	}
	keys, err := keysOf(n)
	if err != nil {
		return Issued{}, err
	}
	now := r.now()
	if !n.Expires.IsZero() && !n.Expires.After(now) {
		return Issued{}, auth.ErrInvalid.Saying("the credential would have expired already")
	}
	act, err := r.permit(ctx, actor, CreateCredential, auth.Subject{Account: n.Account}, string(n.Kind)+" "+n.Name)
	if err != nil {
		return Issued{}, named(err, "there is no account "+n.Account.String())
	}
	if err := mayGive(actor, "", scope); err != nil {
		return Issued{}, err
	}
	if g := n.Given; g != nil && (!g.ID.Published() || len(g.ID) != auth.IDLength || len(g.Secret) != auth.SecretLength || !auth.Alphanumeric(string(g.ID)+g.Secret)) {
		return Issued{}, auth.ErrInvalid.Saying("only credentials of a sandbox have an id and a secret that were given")
	}
	id, text := secret.NewCredentialID(), secret.NewSecret()
	if n.Given != nil {
		id, text = n.Given.ID, n.Given.Secret
	}
	c := auth.Credential{
		ID: id, Account: n.Account, Kind: n.Kind, Name: n.Name, Scope: scope,
		CreatedAt: now, ExpiresAt: n.Expires, Keys: keys,
	}
	if keys != "" {
		text = "" // a secret beside the keys would be one thing more to steal
	} else {
		pepper := r.config.Rings.Pepper()
		digest := pepper.Digest(c.Kind, c.ID, text)
		c.Secrets = []auth.Secret{{Number: 1, Digest: digest[:], Pepper: pepper.ID, CreatedAt: now}}
	}
	issued := r.issued(c, text)
	act.Makes = making(issued)
	if err := r.store.CreateCredential(ctx, c, act); err != nil {
		return Issued{}, named(err, "there is no account "+c.Account.String())
	}
	return issued, nil
}

// making is for an act whose outcome is known before it.
func making(made any) func(auth.Subject, time.Time) any {
	return func(auth.Subject, time.Time) any { return made }
}

func errKind(k auth.Kind) error {
	return auth.ErrInvalid.Saying("the kind of a credential is one of api-key, basic, login, oauth; not " + strconv.QuoteToASCII(string(k)))
}

// mayGive says whether the actor may give a credential these scopes: those that say what a client may do with everybody's tokens
// are the operators' to give. One that has them already may keep them.
func mayGive(actor auth.Actor, before, scope string) error {
	if actor.Operator() {
		return nil
	}
	had := strings.Fields(before)
	for _, s := range strings.Fields(scope) {
		if strings.HasPrefix(s, auth.OperatorScopes) && !slices.Contains(had, s) {
			return forbidden("The scope " + s + " is for whoever runs this server to give")
		}
	}
	return nil
}

// keysOf reads the keys of a credential to be made, "" if it has none.
func keysOf(n NewCredential) (string, error) {
	if n.Keys == nil {
		return "", nil
	}
	if n.Kind != auth.OAuth {
		return "", auth.ErrInvalid.Saying("only OAuth clients have keys")
	}
	return proof.ParseKeys(n.Keys)
}

func (r *Registry) issued(c auth.Credential, text string) Issued {
	return Issued{Credential: c, Confirmed: true, secret: func() (string, string) {
		if c.Kind == auth.APIKey {
			return auth.FormatKey(r.config.KeyPrefix, r.config.Environment, c.ID, text), ""
		}
		return auth.FormatUser(r.config.Environment, c.ID), text
	}}
}

// Identifier is the part of a credential that is no secret: of an API key its beginning, of the others what its holder
// sends beside the secret.
func (r *Registry) Identifier(c auth.Credential) string {
	if c.Kind == auth.APIKey {
		return r.config.KeyPrefix + "_" + string(r.config.Environment) + "_" + string(c.ID) + "…"
	}
	return auth.FormatUser(r.config.Environment, c.ID)
}

// Credential finds a credential by its id, or by the identifier that its holder sends.
func (r *Registry) Credential(ctx context.Context, actor auth.Actor, id string) (auth.Credential, error) {
	return r.credential(ctx, actor, bare(id), noCredential(id))
}

// bare is the id in an identifier that somebody sends.
func bare(identifier string) auth.CredentialID {
	return auth.CredentialID(strings.TrimPrefix(strings.TrimPrefix(identifier, "test_"), "u_"))
}

func noCredential(id string) string {
	return "there is no credential " + strconv.QuoteToASCII(id) + ": gatehouse credential list --account ID shows an account's"
}

// credential reads a credential that the actor may see.
func (r *Registry) credential(ctx context.Context, actor auth.Actor, id auth.CredentialID, unknown string) (auth.Credential, error) {
	c, err := r.store.Credential(ctx, id)
	if err == nil {
		err = r.see(ctx, actor, ReadCredentials, auth.Subject{Account: c.Account, Credential: id})
	} else if not := May(actor, ReadCredentials, actor.Account, r.now()); not != nil {
		err = not
	}
	if err != nil {
		return auth.Credential{}, named(err, unknown)
	}
	return c, nil
}

// permitOn is the permission to change a credential, with what it was before.
func (r *Registry) permitOn(ctx context.Context, actor auth.Actor, action Action, id auth.CredentialID, detail string) (auth.Credential, auth.Act, error) {
	c, err := r.store.Credential(ctx, id)
	about := auth.Subject{Account: c.Account, Credential: id}
	if err != nil {
		about.Account = actor.Account // who may not do it learns no more than that
	}
	act, not := r.permit(ctx, actor, action, about, detail)
	if err = cmp.Or(not, err); err != nil {
		return auth.Credential{}, auth.Act{}, named(err, noCredential(string(id)))
	}
	return c, act, nil
}

// Found is what [Registry.Find] tells of a credential as somebody presents it.
type Found struct {
	Credential auth.Credential
	Secret     int         // the number of the secret that it is; 0: of none
	Wrong      auth.Reason // why it would be refused now; ReasonNone: it is good
}

// Find tells whose credential a text is: an API key, "identifier:secret", or an identifier alone. It is for leaked ones and
// for customers' questions, and does not repeat what it was given.
func (r *Registry) Find(ctx context.Context, actor auth.Actor, text string) (Found, error) {
	id, given := strings.TrimSpace(text), ""
	if p, err := auth.ParseKey(r.config.KeyPrefix, r.config.Environment, id); err == nil {
		id, given = string(p.ID), p.Reveal()
	} else if reason := auth.AsError(err).Reason; strings.HasPrefix(id, r.config.KeyPrefix+"_") {
		return Found{Wrong: reason}, auth.ErrInvalid.Saying("this looks like an API key and is none of this server: " + string(reason))
	} else if before, after, ok := strings.Cut(id, ":"); ok {
		id, given = before, after
	}
	c, err := r.credential(ctx, actor, bare(id), "no credential here is this one")
	if err != nil {
		return Found{}, err
	}
	found := Found{Credential: c, Wrong: c.Dead(r.now())}
	if given == "" {
		return found, nil
	}
	for _, s := range c.Secrets {
		pepper, ok := r.config.Rings.PepperOf(s.Pepper)
		if !ok {
			continue
		}
		if digest := pepper.Digest(c.Kind, c.ID, given); secret.Equal(digest[:], s.Digest) {
			found.Secret = s.Number
			if found.Wrong == auth.ReasonNone && !s.Live(r.now()) {
				found.Wrong = auth.ReasonExpired
			}
		}
	}
	if found.Secret == 0 {
		found.Wrong = auth.ReasonWrongSecret
	}
	return found, nil
}

// UpdateCredential changes name, scopes or expiry. Narrowed scopes and an earlier expiry act on tokens out at once; wider ones
// go into new tokens only. Keys are as [proof.ParseKeys] reads them, "" to take them away; what they bought lives on.
func (r *Registry) UpdateCredential(ctx context.Context, actor auth.Actor, id auth.CredentialID, u auth.CredentialUpdate) (Done, error) {
	if u.Name != nil && *u.Name != "" {
		if err := checkName(*u.Name); err != nil {
			return Done{}, err
		}
	}
	if u.Scope != nil {
		scope, err := auth.ParseScope([]string{*u.Scope})
		if err != nil {
			return Done{}, err
		}
		u.Scope = &scope
	}
	var names []string
	if u.Keys != nil {
		keys := ""
		if *u.Keys != "" {
			var err error
			if keys, err = proof.ParseKeys([]byte(*u.Keys)); err != nil {
				return Done{}, err
			}
		}
		u.Keys, names = &keys, proof.KeyNames(keys)
	}
	before, act, err := r.permitOn(ctx, actor, UpdateCredential, id, auth.UpdateDetail(u, names))
	if err != nil {
		return Done{}, err
	}
	if u.Scope != nil {
		if err := mayGive(actor, before.Scope, *u.Scope); err != nil {
			return Done{}, err
		}
	}
	what, err := r.store.UpdateCredential(ctx, id, u, act)
	return r.done(ctx, what, err)
}

// RevokeCredential ends a credential, its tokens and sessions, for good.
func (r *Registry) RevokeCredential(ctx context.Context, actor auth.Actor, id auth.CredentialID) (Done, error) {
	_, act, err := r.permitOn(ctx, actor, RevokeCredential, id, "")
	if err != nil {
		return Done{}, err
	}
	what, err := r.store.RevokeCredential(ctx, id, act)
	return r.done(ctx, what, err)
}

// RotateCredential gives a credential a new secret. The old one is good until oldExpires; tokens and sessions live on, unless
// endSessions. While two secrets are live there can be no third.
func (r *Registry) RotateCredential(ctx context.Context, actor auth.Actor, id auth.CredentialID, oldExpires time.Time, endSessions bool) (Issued, error) {
	c, act, err := r.permitOn(ctx, actor, Rotate, id, auth.RotateDetail(oldExpires, endSessions))
	if err != nil {
		return Issued{}, err
	}
	if dead := c.Dead(r.now()); dead != auth.ReasonNone {
		return Issued{}, auth.ErrConflict.Saying("the credential is " + string(dead) + ": a new secret would open nothing; create a new credential")
	}
	text := secret.NewSecret()
	pepper := r.config.Rings.Pepper()
	digest := pepper.Digest(c.Kind, c.ID, text)
	issued := r.issued(c, text)
	issued.OldExpires, issued.Confirmed = oldExpires, false
	act.Makes = making(issued)
	made, what, err := r.store.RotateSecret(ctx, id, digest[:], pepper.ID, oldExpires, endSessions, act)
	if err != nil {
		return Issued{}, err
	}
	issued.Credential.Secrets = append([]auth.Secret{made}, c.Secrets...)
	issued.Confirmed = r.config.Acknowledge(ctx, what.Position)
	return issued, nil
}

// FinishRotation ends the old secret now.
func (r *Registry) FinishRotation(ctx context.Context, actor auth.Actor, id auth.CredentialID) (Done, error) {
	_, act, err := r.permitOn(ctx, actor, FinishRotation, id, "")
	if err != nil {
		return Done{}, err
	}
	what, err := r.store.FinishRotation(ctx, id, act)
	return r.done(ctx, what, err)
}

// UndoRotation takes the new secret back and keeps the old one.
func (r *Registry) UndoRotation(ctx context.Context, actor auth.Actor, id auth.CredentialID) (Done, error) {
	_, act, err := r.permitOn(ctx, actor, UndoRotation, id, "")
	if err != nil {
		return Done{}, err
	}
	what, err := r.store.UndoRotation(ctx, id, act)
	return r.done(ctx, what, err)
}

// SigningKeys lists the keys of the ring that signs access tokens, and of the one that signs refresh tokens, oldest first.
func (r *Registry) SigningKeys(ctx context.Context, actor auth.Actor) ([]auth.KeyRow, error) {
	if err := r.see(ctx, actor, ReadKeys, auth.Subject{}); err != nil {
		return nil, err
	}
	return r.signingKeys(), nil
}

func (r *Registry) signingKeys() []auth.KeyRow {
	var rows []auth.KeyRow
	for _, row := range r.config.Rings.Rows() {
		if row.Ring == auth.SigningRing || row.Ring == auth.RefreshRing {
			rows = append(rows, row)
		}
	}
	return rows
}

// RotateSigningKey adds a signing key: published now, used once every cache of the key set can have it.
func (r *Registry) RotateSigningKey(ctx context.Context, actor auth.Actor) (auth.KeyRow, error) {
	act, err := r.permit(ctx, actor, RotateKey, auth.Subject{}, "")
	if err != nil {
		return auth.KeyRow{}, err
	}
	return r.config.Rings.Rotate(ctx, act)
}

// RevokeSigningKey ends a leaked key at once: every token that it signed is dead. If it was the one that signs, another takes
// over at the same moment.
func (r *Registry) RevokeSigningKey(ctx context.Context, actor auth.Actor, id auth.KeyID) (Done, error) {
	act, err := r.permit(ctx, actor, RevokeKey, auth.Subject{}, string(id))
	if err != nil {
		return Done{}, err
	}
	all := r.signingKeys()
	for _, row := range all {
		if row.ID != id {
			continue
		}
		if same := r.terms.Key; same != nil && !same(all, id) {
			return Done{}, auth.ErrChanged // which comes before what could be said of the key as it is now
		}
		if !row.RevokedAt.IsZero() {
			return Done{}, auth.ErrConflict.Saying("key " + string(id) + " is revoked already")
		}
		successor, err := r.config.Rings.Successor(row)
		if err != nil {
			return Done{}, err
		}
		what, err := r.store.RevokeKey(ctx, id, successor, act)
		return r.done(ctx, what, err)
	}
	return Done{}, NoSigningKey(id)
}

// NoSigningKey is the failure to find one.
func NoSigningKey(id auth.KeyID) error {
	return auth.ErrNotFound.Saying("there is no signing key " + strconv.QuoteToASCII(string(id)) + ": gatehouse signing-key list shows them")
}
