package store

import (
	"context"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// Exceptions returns all that a replica must hold to judge tokens, as of one moment: the accounts that are suspended, have
// an allowlist, a limit or a reference, or were restricted at since or later; the credentials restricted at since or later, without
// their secrets; the sessions whose revocation is to be remembered. An account that was deleted is among the suspended
// only while it counts as restricted: after that nobody has a token of it, or a credential.
func (db *DB) Exceptions(ctx context.Context, since time.Time) (auth.Exceptions, error) {
	var e auth.Exceptions
	err := db.snapshot(ctx, func(q querier) (err error) {
		e = auth.Exceptions{}
		if err := headOf(q, &e.Incarnation, &e.Position); err != nil {
			return err
		}
		e.Accounts, err = accountsWithLists(q, `SELECT `+accountColumns+` FROM accounts WHERE id IN (
				SELECT id FROM accounts WHERE suspended_at IS NOT NULL AND deleted_at IS NULL
				UNION ALL SELECT id FROM accounts WHERE restricted_at IS NOT NULL AND restricted_at >= $1
				UNION ALL SELECT id FROM accounts WHERE requests_count > 0
				UNION ALL SELECT id FROM accounts WHERE ref IS NOT NULL
				UNION ALL SELECT account FROM allowlist) ORDER BY id`, since.UnixMilli())
		if err != nil {
			return err
		}
		err = q.all(`SELECT `+restrictionColumns+` FROM credentials WHERE restricted_at IS NOT NULL AND restricted_at >= $1`,
			in{since.UnixMilli()}, func(scan func(...any) error) error {
				var k auth.Credential
				err := scan(scanRestriction(&k)...)
				e.Credentials = append(e.Credentials, k)
				return err
			})
		if err != nil {
			return err
		}
		return q.all(`SELECT sid, until FROM revoked_sessions WHERE until > $1`, in{db.Now().UnixMilli()}, func(scan func(...any) error) error {
			var s auth.RevokedSession
			err := scan((*string)(&s.ID), (*stamp)(&s.Until))
			e.Sessions = append(e.Sessions, s)
			return err
		})
	})
	if err != nil {
		return auth.Exceptions{}, wrap(err, "read the exceptions")
	}
	return e, nil
}

const restrictionColumns = `id, account, kind, name, scope, created_at, expires_at, revoked_at, dead_below, narrowed_at, restricted_at`

func scanRestriction(c *auth.Credential) out {
	return out{
		(*string)(&c.ID), (*int64)(&c.Account), (*string)(&c.Kind), &c.Name, &c.Scope, (*stamp)(&c.CreatedAt), (*stamp)(&c.ExpiresAt),
		(*stamp)(&c.RevokedAt), (*int64)(&c.DeadBelow), (*stamp)(&c.NarrowedAt), (*stamp)(&c.RestrictedAt),
	}
}

// ExceptionsOf returns the accounts and credentials that are asked for as they are at one moment, exceptions or not; what
// does not exist is left out. A deleted account is there, suspended. Sessions are not among it.
func (db *DB) ExceptionsOf(ctx context.Context, accounts []auth.AccountID, credentials []auth.CredentialID) (auth.Exceptions, error) {
	var e auth.Exceptions
	err := db.snapshot(ctx, func(q querier) error {
		e = auth.Exceptions{}
		if err := headOf(q, &e.Incarnation, &e.Position); err != nil {
			return err
		}
		for _, id := range accounts {
			a, err := accountWithList(q, `SELECT `+accountColumns+` FROM accounts WHERE id = $1`, int64(id))
			if isNoRow(err) {
				continue
			}
			if err != nil {
				return err
			}
			e.Accounts = append(e.Accounts, a)
		}
		for _, id := range credentials {
			var k auth.Credential
			err := q.one(`SELECT `+restrictionColumns+` FROM credentials WHERE id = $1`, in{string(id)}, scanRestriction(&k))
			if isNoRow(err) {
				continue
			}
			if err != nil {
				return err
			}
			e.Credentials = append(e.Credentials, k)
		}
		return nil
	})
	if err != nil {
		return auth.Exceptions{}, wrap(err, "read what changed")
	}
	return e, nil
}
