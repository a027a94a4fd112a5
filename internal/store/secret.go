package store

import (
	"context"
	"fmt"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// RotateSecret gives a credential a new secret, numbered one above the last it ever had, and the one before an end (the
// zero time, or one that has passed: now). With endSessions all tokens and sessions of the credential are dead as well.
//
// At most two secrets are live: while the older one still is, it is [auth.ErrConflict], which names it. So is a revoked
// credential, and one that has keys and no secret. Of rotations at the same time one wins.
func (db *DB) RotateSecret(ctx context.Context, id auth.CredentialID, digest []byte, pepper auth.KeyID, oldExpires time.Time,
	endSessions bool, act auth.Act,
) (auth.Secret, auth.Revoked, error) {
	type rotated struct {
		secret auth.Secret
		auth.Revoked
	}
	r, err := update(ctx, db, func(t *tx) (r rotated, err error) {
		now := db.Now()
		ends := oldExpires
		if ends.Before(now) {
			ends = now
		}
		var dead func(*tx, auth.Position) error
		if endSessions {
			dead = func(t *tx, p auth.Position) error {
				return t.later(`UPDATE credentials SET dead_below = $1, restricted_at = $2 WHERE id = $3`, int64(p), now.UnixMilli(), string(id))
			}
		}
		r.Revoked, err = t.alterCredential(id, act, now, func(t *tx, now time.Time) (auth.Subject, bool, error) {
			about, err := t.rotateSecret(id, digest, pepper, ends, now)
			r.secret = auth.Secret{Number: about.Secret, Digest: digest, Pepper: pepper, CreatedAt: milli(now)}
			return about, true, err
		}, dead)
		return r, err
	})
	return r.secret, r.Revoked, wrap(err, "rotate a secret")
}

func (t *tx) rotateSecret(id auth.CredentialID, digest []byte, pepper auth.KeyID, oldExpires, now time.Time) (auth.Subject, error) {
	var about auth.Subject
	err := t.one(`UPDATE credentials SET
			old_number = secret_number, old_digest = secret_digest, old_pepper = secret_pepper, old_created_at = secret_created_at,
			old_expires_at = $1, secrets_made = secrets_made + 1, secret_number = secrets_made + 1,
			secret_digest = $2, secret_pepper = $3, secret_created_at = $4
		WHERE id = $5 AND revoked_at IS NULL AND secret_number IS NOT NULL AND (old_number IS NULL OR old_expires_at <= $4)
		RETURNING account, secret_number`,
		in{oldExpires.UnixMilli(), digest, string(pepper), now.UnixMilli(), string(id)}, out{(*int64)(&about.Account), &about.Secret})
	if !isNoRow(err) {
		return about, err
	}
	c, err := t.state(id)
	switch {
	case err != nil:
		return about, err
	case !c.RevokedAt.IsZero():
		return about, errRevoked(id)
	case len(c.Secrets) == 0:
		return about, errKeysAlone(id)
	}
	old := c.Secrets[1]
	return about, auth.ErrConflict.Saying(fmt.Sprintf(
		"Credential %s has two live secrets; number %d ends on %s. To end it now: gatehouse credential rotate %s --finish",
		id, old.Number, old.ExpiresAt.Format(time.RFC3339), id))
}

// FinishRotation ends the older of two live secrets now. Without one it is [auth.ErrConflict].
func (db *DB) FinishRotation(ctx context.Context, id auth.CredentialID, act auth.Act) (auth.Revoked, error) {
	return db.alterCredential(ctx, id, act, "finish a rotation", func(t *tx, now time.Time) (auth.Subject, bool, error) {
		return t.ofRotation(id, `UPDATE credentials SET old_expires_at = $1
			WHERE id = $2 AND revoked_at IS NULL AND old_number IS NOT NULL AND old_expires_at > $1 RETURNING account, old_number`, now)
	}, nil)
}

// UndoRotation takes the newest secret away and leaves the one before without an end, as if it had never been rotated.
// What came from the newest lives on. Once the older one has ended it is too late, [auth.ErrConflict]: a dead secret stays
// dead.
func (db *DB) UndoRotation(ctx context.Context, id auth.CredentialID, act auth.Act) (auth.Revoked, error) {
	return db.alterCredential(ctx, id, act, "undo a rotation", func(t *tx, now time.Time) (auth.Subject, bool, error) {
		return t.ofRotation(id, `UPDATE credentials SET
				secret_number = old_number, secret_digest = old_digest, secret_pepper = old_pepper, secret_created_at = old_created_at,
				old_number = NULL, old_digest = NULL, old_pepper = NULL, old_created_at = NULL, old_expires_at = NULL
			WHERE id = $2 AND revoked_at IS NULL AND old_number IS NOT NULL AND old_expires_at > $1 RETURNING account, secret_number`, now)
	}, nil)
}

func (t *tx) ofRotation(id auth.CredentialID, query string, now time.Time) (auth.Subject, bool, error) {
	var about auth.Subject
	err := t.one(query, in{now.UnixMilli(), string(id)}, out{(*int64)(&about.Account), &about.Secret})
	if !isNoRow(err) {
		return about, true, err
	}
	c, err := t.state(id)
	switch {
	case err != nil:
		return about, false, err
	case !c.RevokedAt.IsZero():
		return about, false, errRevoked(id)
	case len(c.Secrets) == 0:
		return about, false, errKeysAlone(id)
	}
	return about, false, auth.ErrConflict.Saying(fmt.Sprintf("Credential %s has one live secret, number %d: no rotation is under way",
		id, c.Secrets[0].Number))
}

func errKeysAlone(id auth.CredentialID) error {
	return auth.ErrConflict.Saying(fmt.Sprintf("Credential %s has keys and no secret; to change them: gatehouse credential update %s --jwks FILE", id, id))
}
