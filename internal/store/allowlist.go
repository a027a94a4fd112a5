package store

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// AllowIP adds entries to an account's allowlist, all or none. One that is there already gets the new note and expiry.
func (db *DB) AllowIP(ctx context.Context, id auth.AccountID, entries []auth.AllowEntry, act auth.Act) (auth.Revoked, error) {
	return db.alterAccount(ctx, id, act, "allow addresses", func(t *tx, now time.Time) (bool, error) {
		if err := t.lockAccount(id); err != nil {
			return false, err
		}
		return len(entries) > 0, t.allow(id, entries, now)
	}, nil)
}

// RemoveIP removes entries from an account's allowlist, all or none. One that is not there is [auth.ErrNotFound]. Without
// an entry the account is open to every address: so unless allowEveryone the last cannot go, [auth.ErrConflict]. Entries
// that have expired count: they let nobody in, but they keep the list from being empty.
func (db *DB) RemoveIP(ctx context.Context, id auth.AccountID, prefixes []netip.Prefix, allowEveryone bool, act auth.Act) (auth.Revoked, error) {
	return db.alterAccount(ctx, id, act, "remove addresses", func(t *tx, _ time.Time) (bool, error) {
		if err := t.lockAccount(id); err != nil {
			return false, err
		}
		for _, p := range prefixes {
			n, err := t.exec(`DELETE FROM allowlist WHERE account = $1 AND prefix = $2`, int64(id), p.String())
			if err != nil {
				return false, err
			}
			if n == 0 {
				return false, auth.ErrNotFound.Saying(fmt.Sprintf("%s is not on the allowlist of account %d", p, id))
			}
		}
		var left int64
		if err := t.one(`SELECT count(*) FROM allowlist WHERE account = $1`, in{int64(id)}, out{&left}); err != nil {
			return false, err
		}
		if left == 0 && len(prefixes) > 0 && !allowEveryone {
			return false, auth.ErrConflict.Saying(fmt.Sprintf(
				"This would remove the last entry, and open account %d to every address; to do that, say --allow-everyone", id))
		}
		return len(prefixes) > 0, nil
	}, nil)
}

// ReplaceAllowlist gives an account these entries in place of those that it has, if the list has the tag was still; else it is
// [auth.ErrChanged]. Entries that stay keep the time when they were made. Each of the acts is written down; without one there is
// nothing to do. The terms are those of all of them together.
func (db *DB) ReplaceAllowlist(ctx context.Context, id auth.AccountID, entries []auth.AllowEntry, was string, terms auth.Terms, acts []auth.Act) (auth.Revoked, error) {
	var last auth.Act
	if len(acts) > 0 {
		last = acts[len(acts)-1]
	}
	last.Terms = terms
	return db.alterAccount(ctx, id, last, "replace an allowlist", func(t *tx, now time.Time) (bool, error) {
		if err := t.lockAccount(id); err != nil {
			return false, err
		}
		a, err := accountWithList(t, `SELECT `+accountColumns+` FROM accounts WHERE id = $1`, int64(id))
		if err != nil {
			return false, err
		}
		if auth.AllowlistTag(a.Allowlist) != was {
			return false, auth.ErrChanged.Saying("The allowlist was changed meanwhile by somebody else")
		}
		if len(acts) == 0 {
			return false, nil
		}
		for _, e := range a.Allowlist {
			if !slices.ContainsFunc(entries, func(to auth.AllowEntry) bool { return to.Prefix == e.Prefix }) {
				if err := t.later(`DELETE FROM allowlist WHERE account = $1 AND prefix = $2`, int64(id), e.Prefix.String()); err != nil {
					return false, err
				}
			}
		}
		if err := t.allow(id, entries, now); err != nil {
			return false, err
		}
		for _, act := range acts[:len(acts)-1] {
			act.Terms = auth.Terms{}
			if err := t.audit(act, auth.Subject{Account: id}, now); err != nil {
				return false, err
			}
		}
		return true, nil
	}, nil)
}

// allow writes entries into the allowlist. One that is there already gets the new note and expiry.
func (t *tx) allow(id auth.AccountID, entries []auth.AllowEntry, now time.Time) error {
	for _, e := range entries {
		if err := t.later(`INSERT INTO allowlist (account, prefix, note, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (account, prefix) DO UPDATE SET note = excluded.note, expires_at = excluded.expires_at`,
			int64(id), e.Prefix.String(), e.Note, now.UnixMilli(), ms(e.ExpiresAt)); err != nil {
			return err
		}
	}
	return nil
}
