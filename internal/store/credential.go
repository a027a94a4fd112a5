package store

import (
	"context"
	"fmt"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/verify"
)

var errNoCredential = auth.ErrNotFound.Saying("There is no such credential")

const credentialColumns = `c.id, c.account, c.kind, c.name, c.scope, c.created_at, c.expires_at, c.revoked_at, c.dead_below,
	c.narrowed_at, c.restricted_at, c.jwks, c.secret_number, c.secret_digest, c.secret_pepper, c.secret_created_at,
	c.old_number, c.old_digest, c.old_pepper, c.old_created_at, c.old_expires_at`

// scanCredential is where credentialColumns go; of two secrets, the older one into old.
func scanCredential(c *auth.Credential, newest, old *auth.Secret) out {
	return out{
		(*text)(&c.ID), (*number)(&c.Account), (*text)(&c.Kind), (*text)(&c.Name), (*text)(&c.Scope), (*stamp)(&c.CreatedAt),
		(*stamp)(&c.ExpiresAt), (*stamp)(&c.RevokedAt), (*number)(&c.DeadBelow), (*stamp)(&c.NarrowedAt), (*stamp)(&c.RestrictedAt),
		(*text)(&c.Keys), (*count)(&newest.Number), &newest.Digest, (*text)(&newest.Pepper), (*stamp)(&newest.CreatedAt),
		(*count)(&old.Number), &old.Digest, (*text)(&old.Pepper), (*stamp)(&old.CreatedAt), (*stamp)(&old.ExpiresAt),
	}
}

func secrets(newest, old auth.Secret) []auth.Secret {
	switch {
	case newest.Number == 0:
		return nil
	case old.Number == 0:
		return []auth.Secret{newest}
	}
	return []auth.Secret{newest, old}
}

// CreateCredential stores a new credential with its one secret, or two, the newest first; only the older one has an end. One
// with keys may have none.
// Its account must exist, [auth.ErrNotFound], and its id be new, [auth.ErrConflict]. Nothing is appended to the change log:
// nobody can have it in memory.
func (db *DB) CreateCredential(ctx context.Context, c auth.Credential, act auth.Act) error {
	var newest, old auth.Secret
	switch {
	case len(c.Secrets) == 0 && c.Keys != "":
	case len(c.Secrets) == 1:
		newest = c.Secrets[0]
	case len(c.Secrets) == 2 && !c.Secrets[1].ExpiresAt.IsZero() && c.Secrets[1].Number < c.Secrets[0].Number:
		newest, old = c.Secrets[0], c.Secrets[1]
	default:
		return wrap(fmt.Errorf("%d secrets, or an older one without an end", len(c.Secrets)), "create a credential")
	}
	if newest.Number < min(1, len(c.Secrets)) || !newest.ExpiresAt.IsZero() {
		return wrap(fmt.Errorf("the newest secret has number %d and an end %v", newest.Number, newest.ExpiresAt), "create a credential")
	}
	_, err := update(ctx, db, func(t *tx) (none struct{}, err error) {
		if err := t.lockAccount(c.Account); err != nil {
			return none, err
		}
		n, err := t.exec(`INSERT INTO credentials (id, account, kind, name, scope, token_scope, created_at, expires_at, jwks, secrets_made,
			secret_number, secret_digest, secret_pepper, secret_created_at, old_number, old_digest, old_pepper, old_created_at, old_expires_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19) ON CONFLICT (id) DO NOTHING`,
			string(c.ID), int64(c.Account), string(c.Kind), c.Name, c.Scope, auth.TokenScope(c.Scope), c.CreatedAt.UnixMilli(), ms(c.ExpiresAt),
			orNull(c.Keys), newest.Number, positive(newest.Number), newest.Digest, orNull(string(newest.Pepper)), ms(newest.CreatedAt),
			positive(old.Number), old.Digest, orNull(string(old.Pepper)), ms(old.CreatedAt), ms(old.ExpiresAt))
		if err != nil {
			return none, err
		}
		if n == 0 {
			return none, auth.ErrConflict.Saying("There is a credential with this id already")
		}
		return none, t.audit(act, auth.Subject{Account: c.Account, Credential: c.ID, Secret: newest.Number}, db.Now())
	})
	return wrap(err, "create a credential")
}

// Credential returns a credential, dead or alive, with the last use of its secrets. One of a deleted account is there,
// revoked.
func (db *DB) Credential(ctx context.Context, id auth.CredentialID) (auth.Credential, error) {
	found, err := db.credentials(ctx, `WHERE c.id = $1`, string(id))
	if err == nil && len(found) == 0 {
		err = errNoCredential
	}
	if err != nil {
		return auth.Credential{}, wrap(err, "read a credential")
	}
	return found[0], nil
}

func (db *DB) credentials(ctx context.Context, where string, args ...any) ([]auth.Credential, error) {
	var found []auth.Credential
	err := db.read(ctx, func(q querier) error {
		found = nil
		return q.all(`SELECT `+credentialColumns+`, u.at, u.address, u.user_agent, u.count, v.at, v.address, v.user_agent, v.count
			FROM credentials c
			LEFT JOIN secret_uses u ON u.credential = c.id AND u.secret = c.secret_number
			LEFT JOIN secret_uses v ON v.credential = c.id AND v.secret = c.old_number `+where, args, func(scan func(...any) error) error {
			var c auth.Credential
			var newest, old auth.Secret
			columns := scanCredential(&c, &newest, &old)
			for _, use := range []*auth.Use{&newest.LastUse, &old.LastUse} {
				columns = append(columns, (*stamp)(&use.At), (*addr)(&use.Address), (*text)(&use.UserAgent), (*number)(&use.Count))
			}
			err := scan(columns...)
			c.Secrets = secrets(newest, old)
			found = append(found, c)
			return err
		})
	})
	return found, err
}

// Holder reads the one row that an exchange decides on. Without a credential of this kind and id, or with its account
// deleted, it is [auth.ErrNotFound], and that costs what finding one costs: the statement is the same, it has a row in any
// case, and each table is looked into.
func (db *DB) Holder(ctx context.Context, kind auth.Kind, id auth.CredentialID) (auth.Holder, error) {
	h := auth.Holder{Kind: kind}
	var newest, old auth.Lock
	err := db.read(ctx, func(q querier) error {
		return q.one(`SELECT c.id, a.id, c.scope, c.expires_at, c.revoked_at, c.jwks, c.secret_number, c.secret_digest,
				c.secret_pepper, c.old_number, c.old_digest, c.old_pepper, c.old_expires_at, a.suspended_at IS NOT NULL
			FROM log_head LEFT JOIN credentials c ON c.id = $1 AND c.kind = $2 LEFT JOIN accounts a ON a.id = COALESCE(c.account, 0) AND a.deleted_at IS NULL`,
			in{string(id), string(kind)},
			out{
				(*text)(&h.ID), (*number)(&h.Account), (*text)(&h.Scope), (*stamp)(&h.ExpiresAt), (*stamp)(&h.RevokedAt),
				(*text)(&h.Keys), (*count)(&newest.Number), &newest.Digest, (*text)(&newest.Pepper),
				(*count)(&old.Number), &old.Digest, (*text)(&old.Pepper), (*stamp)(&old.ExpiresAt), &h.AccountSuspended,
			})
	})
	switch {
	case err != nil:
		return auth.Holder{}, wrap(err, "read a credential")
	case h.ID != id || h.Account == 0: // also what a mix-up of answers would give
		return auth.Holder{}, errNoCredential
	}
	for _, l := range []auth.Lock{newest, old} {
		if l.Number != 0 {
			h.Locks = append(h.Locks, l)
		}
	}
	return h, nil
}

// alterCredential does for a credential what alterAccount does for an account. change returns the credential's account; it
// says by [auth.ErrNotFound] or another error why nothing can be done.
func (db *DB) alterCredential(ctx context.Context, id auth.CredentialID, act auth.Act, doing string,
	change func(t *tx, now time.Time) (about auth.Subject, changed bool, err error),
	dead func(t *tx, p auth.Position) error,
) (auth.Revoked, error) {
	r, err := update(ctx, db, func(t *tx) (auth.Revoked, error) {
		return t.alterCredential(id, act, db.Now(), change, dead)
	})
	return r, wrap(err, doing)
}

func (t *tx) alterCredential(id auth.CredentialID, act auth.Act, now time.Time,
	change func(t *tx, now time.Time) (about auth.Subject, changed bool, err error),
	dead func(t *tx, p auth.Position) error,
) (auth.Revoked, error) {
	if err := t.expectCredential(act.Terms, id); err != nil {
		return auth.Revoked{}, err
	}
	about, changed, err := change(t, now)
	if err != nil {
		return auth.Revoked{}, err
	}
	if !changed {
		head, err := t.head()
		return auth.Revoked{Position: head, Already: true}, err
	}
	p, err := t.draw(1)
	if err != nil {
		return auth.Revoked{}, err
	}
	if dead != nil {
		if err := dead(t, p); err != nil {
			return auth.Revoked{}, err
		}
	}
	if err := t.record(auth.Change{Number: p, Of: auth.ChangedCredential, Account: about.Account, Credential: id, At: now}); err != nil {
		return auth.Revoked{}, err
	}
	about.Credential = id
	return auth.Revoked{Position: p}, t.audit(act, about, now)
}

func (t *tx) killCredential(id auth.CredentialID, p auth.Position) error {
	return t.later(`UPDATE credentials SET dead_below = $1 WHERE id = $2`, int64(p), string(id))
}

// state reads, in a transaction, what tells why a change to a credential found nothing to change.
func (t *tx) state(id auth.CredentialID) (auth.Credential, error) {
	var c auth.Credential
	var newest, old auth.Secret
	err := t.one(`SELECT `+credentialColumns+` FROM credentials c WHERE c.id = $1`, in{string(id)}, scanCredential(&c, &newest, &old))
	c.Secrets = secrets(newest, old)
	return c, notFound(err, errNoCredential.Msg)
}

// RevokeCredential makes a credential, its tokens and its sessions dead for good.
func (db *DB) RevokeCredential(ctx context.Context, id auth.CredentialID, act auth.Act) (auth.Revoked, error) {
	return db.alterCredential(ctx, id, act, "revoke a credential", func(t *tx, now time.Time) (auth.Subject, bool, error) {
		var about auth.Subject
		err := t.one(`UPDATE credentials SET revoked_at = $1, restricted_at = $1 WHERE id = $2 AND revoked_at IS NULL RETURNING account`,
			in{now.UnixMilli(), string(id)}, out{(*int64)(&about.Account)})
		if isNoRow(err) {
			_, err = t.state(id)
			return about, false, err
		}
		return about, true, err
	}, func(t *tx, p auth.Position) error { return t.killCredential(id, p) })
}

// UpdateCredential changes a credential that is not revoked; one that is is [auth.ErrConflict]. Taking scopes away and
// bringing the expiry forward act on tokens that are out: from now on it counts as narrowed. Keys are for OAuth clients, and
// can be taken from one that has a secret; else it is [auth.ErrInvalid].
func (db *DB) UpdateCredential(ctx context.Context, id auth.CredentialID, to auth.CredentialUpdate, act auth.Act) (auth.Revoked, error) {
	return db.alterCredential(ctx, id, act, "change a credential", func(t *tx, now time.Time) (auth.Subject, bool, error) {
		// Written to before it is read: so nobody else changes it in between.
		if err := t.later(`UPDATE credentials SET name = name WHERE id = $1`, string(id)); err != nil {
			return auth.Subject{}, false, err
		}
		c, err := t.state(id)
		if err != nil {
			return auth.Subject{}, false, err
		}
		if !c.RevokedAt.IsZero() {
			return auth.Subject{}, false, errRevoked(id)
		}
		was := c
		if to.Name != nil {
			c.Name = *to.Name
		}
		if to.Scope != nil {
			c.Scope = *to.Scope
		}
		if to.ExpiresAt != nil {
			c.ExpiresAt = *to.ExpiresAt
		}
		if to.Keys != nil {
			c.Keys = *to.Keys
			switch {
			case c.Kind != auth.OAuth:
				return auth.Subject{}, false, auth.ErrInvalid.Saying("Only OAuth clients have keys")
			case c.Keys == "" && len(c.Secrets) == 0:
				return auth.Subject{}, false, auth.ErrInvalid.Saying(fmt.Sprintf("Credential %s has no secret: without its keys it would open nothing", id))
			}
		}
		sooner := !c.ExpiresAt.IsZero() && (was.ExpiresAt.IsZero() || c.ExpiresAt.Before(was.ExpiresAt))
		if sooner || verify.Intersect(was.Scope, c.Scope) != was.Scope {
			c.NarrowedAt, c.RestrictedAt = now, now
		}
		err = t.later(`UPDATE credentials SET name = $1, scope = $2, token_scope = $3, expires_at = $4, narrowed_at = $5, restricted_at = $6, jwks = $7
			WHERE id = $8`, c.Name, c.Scope, auth.TokenScope(c.Scope), ms(c.ExpiresAt), ms(c.NarrowedAt), ms(c.RestrictedAt), orNull(c.Keys), string(id))
		return auth.Subject{Account: c.Account}, true, err
	}, nil)
}

func errRevoked(id auth.CredentialID) error {
	return auth.ErrConflict.Saying(fmt.Sprintf("Credential %s is revoked, which is final", id))
}
