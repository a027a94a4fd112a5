package store

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

const accountColumns = `id, name, ref, created_at, suspended_at, requests_count, requests_per, requests_burst,
	liquid_dead_below, orders_dead_below, b2b_dead_below, oauth_dead_below, restricted_at`

func scanAccount(a *auth.Account) out {
	return out{
		(*int64)(&a.ID), &a.Name, (*text)(&a.Ref), (*stamp)(&a.CreatedAt), (*stamp)(&a.SuspendedAt),
		&a.Requests.Count, (*millis)(&a.Requests.Per), &a.Requests.Burst,
		(*int64)(&a.DeadBelow[0]), (*int64)(&a.DeadBelow[1]), (*int64)(&a.DeadBelow[2]), (*int64)(&a.DeadBelow[3]), (*stamp)(&a.RestrictedAt),
	}
}

var errNoAccount = auth.ErrNotFound.Saying("There is no such account")

// CreateAccount makes an account under the next number, which is never used again. ref may be ""; if another account has
// it, it is [auth.ErrConflict] and no number is used. The change log gets an entry only for a reference, which replicas hold: a
// new account has the defaults otherwise.
func (db *DB) CreateAccount(ctx context.Context, name, ref string, act auth.Act) (auth.Account, error) {
	a, err := update(ctx, db, func(t *tx) (auth.Account, error) {
		now := db.Now()
		a := auth.Account{Name: name, Ref: ref, CreatedAt: milli(now)}
		err := t.one(`UPDATE meta SET next_account = next_account + 1 RETURNING next_account - 1`, nil, out{(*int64)(&a.ID)})
		if err != nil {
			return a, err
		}
		n, err := t.exec(`INSERT INTO accounts (id, name, ref, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (ref) DO NOTHING`,
			int64(a.ID), name, orNull(ref), now.UnixMilli())
		if err != nil {
			return a, err
		}
		if n == 0 {
			return a, t.refTaken(ref)
		}
		if err := t.index(a.ID, name, ref); err != nil {
			return a, err
		}
		if ref != "" {
			if _, err := t.append(auth.Change{Of: auth.ChangedAccount, Account: a.ID, At: now}); err != nil {
				return a, err
			}
		}
		return a, t.audit(act, auth.Subject{Account: a.ID}, now)
	})
	return a, wrap(err, "create an account")
}

func (t *tx) refTaken(ref string) error {
	var id auth.AccountID
	err := t.one(`SELECT id FROM accounts WHERE ref = $1`, in{ref}, out{(*int64)(&id)})
	if isNoRow(err) { // it was given up just now
		return auth.ErrConflict.Saying(fmt.Sprintf("Another account had the reference %q a moment ago", ref))
	}
	if err != nil {
		return err
	}
	return auth.ErrConflict.Saying(fmt.Sprintf("Account %d has the reference %q already", id, ref))
}

// Account returns an account with its allowlist. One that was deleted is [auth.ErrNotFound].
func (db *DB) Account(ctx context.Context, id auth.AccountID) (auth.Account, error) {
	return db.account(ctx, `SELECT `+accountColumns+` FROM accounts WHERE id = $1 AND deleted_at IS NULL`, int64(id))
}

// AccountByRef returns the account with the operator's reference ref, otherwise as [DB.Account].
func (db *DB) AccountByRef(ctx context.Context, ref string) (auth.Account, error) {
	return db.account(ctx, `SELECT `+accountColumns+` FROM accounts WHERE ref = $1 AND deleted_at IS NULL`, ref)
}

func (db *DB) account(ctx context.Context, query string, arg any) (auth.Account, error) {
	var a auth.Account
	err := db.snapshot(ctx, func(q querier) (err error) {
		a, err = accountWithList(q, query, arg)
		return err
	})
	if err != nil {
		return auth.Account{}, wrap(notFound(err, errNoAccount.Msg), "read an account")
	}
	return a, nil
}

func accountWithList(q querier, query string, arg any) (auth.Account, error) {
	var a auth.Account
	if err := q.one(query, in{arg}, scanAccount(&a)); err != nil {
		return a, err
	}
	err := q.all(`SELECT prefix, note, created_at, expires_at FROM allowlist WHERE account = $1 ORDER BY created_at, prefix`,
		in{int64(a.ID)}, func(scan func(...any) error) error {
			e, err := scanEntry(scan)
			a.Allowlist = append(a.Allowlist, e)
			return err
		})
	return a, err
}

func scanEntry(scan func(...any) error, first ...any) (auth.AllowEntry, error) {
	var e auth.AllowEntry
	var prefix string
	err := scan(append(first, &prefix, &e.Note, (*stamp)(&e.CreatedAt), (*stamp)(&e.ExpiresAt))...)
	if err != nil {
		return e, err
	}
	e.Prefix, err = netip.ParsePrefix(prefix)
	return e, err
}

// accountsWithLists reads the accounts of a query that orders them by id, and gives them their allowlists in one pass.
func accountsWithLists(q querier, query string, args ...any) ([]auth.Account, error) {
	var accounts []auth.Account
	err := q.all(query, args, func(scan func(...any) error) error {
		var a auth.Account
		err := scan(scanAccount(&a)...)
		accounts = append(accounts, a)
		return err
	})
	if err != nil {
		return nil, err
	}
	rest := accounts
	err = q.all(`SELECT account, prefix, note, created_at, expires_at FROM allowlist ORDER BY account, created_at, prefix`, nil, takeEntries(&rest))
	return accounts, err
}

// alterAccount runs change, which writes to the account's row and says whether there was anything to do; then it draws a
// number, lets dead, if there is one, write it into the row, appends the entry and writes down the act. With nothing to do
// it is Already, and where the account does not exist, [auth.ErrNotFound]. If the account is not as the act's terms have it, it is
// [auth.ErrChanged].
func (db *DB) alterAccount(ctx context.Context, id auth.AccountID, act auth.Act, doing string,
	change func(t *tx, now time.Time) (changed bool, err error),
	dead func(t *tx, p auth.Position) error,
) (auth.Revoked, error) {
	r, err := update(ctx, db, func(t *tx) (auth.Revoked, error) {
		now := db.Now()
		if err := t.expectAccount(act.Terms, id); err != nil {
			return auth.Revoked{}, err
		}
		changed, err := change(t, now)
		if err != nil {
			return auth.Revoked{}, err
		}
		if !changed {
			r, err := t.nothingToDo(id)
			if err == nil {
				err = t.once(act, auth.Subject{Account: id}, now)
			}
			return r, err
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
		if err := t.record(auth.Change{Number: p, Of: auth.ChangedAccount, Account: id, At: now}); err != nil {
			return auth.Revoked{}, err
		}
		return auth.Revoked{Position: p}, t.audit(act, auth.Subject{Account: id}, now)
	})
	return r, wrap(err, doing)
}

// nothingToDo tells an account that is as it should be from one that is not there.
func (t *tx) nothingToDo(id auth.AccountID) (auth.Revoked, error) {
	if err := t.accountExists(id); err != nil {
		return auth.Revoked{}, err
	}
	head, err := t.head()
	return auth.Revoked{Position: head, Already: true}, err
}

func (t *tx) accountExists(id auth.AccountID) error {
	var n int64
	if err := t.one(`SELECT count(*) FROM accounts WHERE id = $1 AND deleted_at IS NULL`, in{int64(id)}, out{&n}); err != nil {
		return err
	}
	if n == 0 {
		return errNoAccount
	}
	return nil
}

// lockAccount keeps others from changing the account, and what belongs to it, until this transaction ends.
func (t *tx) lockAccount(id auth.AccountID) error {
	n, err := t.exec(`UPDATE accounts SET name = name WHERE id = $1 AND deleted_at IS NULL`, int64(id))
	if err == nil && n == 0 {
		err = errNoAccount
	}
	return err
}

// RenameAccount gives an account another name and, unless ref is nil, another reference ("" for none). A reference that
// another account has is [auth.ErrConflict].
func (db *DB) RenameAccount(ctx context.Context, id auth.AccountID, name string, ref *string, act auth.Act) (auth.Revoked, error) {
	return db.alterAccount(ctx, id, act, "rename an account", func(t *tx, _ time.Time) (bool, error) {
		if ref == nil {
			var had string
			err := t.one(`UPDATE accounts SET name = $1 WHERE id = $2 AND deleted_at IS NULL RETURNING ref`, in{name, int64(id)}, out{(*text)(&had)})
			if isNoRow(err) {
				return false, nil
			}
			if err != nil {
				return false, err
			}
			return true, t.index(id, name, had)
		}
		n, err := t.exec(`UPDATE accounts SET name = $1, ref = $2 WHERE id = $3 AND deleted_at IS NULL
			AND NOT EXISTS (SELECT 1 FROM accounts other WHERE other.ref = $2 AND other.id <> $3)`, name, orNull(*ref), int64(id))
		if err != nil {
			return false, err
		}
		if n > 0 {
			return true, t.index(id, name, *ref)
		}
		if err := t.accountExists(id); err != nil {
			return false, err
		}
		return false, t.refTaken(*ref)
	}, nil)
}

// SuspendAccount suspends an account: its tokens and sessions are refused until it is resumed. With revokeTokens they are
// also dead for good. An account that is suspended already stays as it is, except for the tokens.
func (db *DB) SuspendAccount(ctx context.Context, id auth.AccountID, revokeTokens bool, act auth.Act) (auth.Revoked, error) {
	if !revokeTokens {
		return db.alterAccount(ctx, id, act, "suspend an account", func(t *tx, now time.Time) (bool, error) {
			n, err := t.exec(`UPDATE accounts SET suspended_at = $1 WHERE id = $2 AND suspended_at IS NULL`, now.UnixMilli(), int64(id))
			return n > 0, err
		}, nil)
	}
	return db.alterAccount(ctx, id, act, "suspend an account", func(t *tx, now time.Time) (bool, error) {
		n, err := t.exec(`UPDATE accounts SET suspended_at = COALESCE(suspended_at, $1), restricted_at = $1
			WHERE id = $2 AND deleted_at IS NULL`, now.UnixMilli(), int64(id))
		return n > 0, err
	}, func(t *tx, p auth.Position) error { return t.killAll(id, p) })
}

// killAll makes every token and session of the account below p dead.
func (t *tx) killAll(id auth.AccountID, p auth.Position) error {
	return t.later(`UPDATE accounts SET liquid_dead_below = $1, orders_dead_below = $1, b2b_dead_below = $1, oauth_dead_below = $1
		WHERE id = $2`, int64(p), int64(id))
}

// ResumeAccount ends a suspension. What was revoked stays dead.
func (db *DB) ResumeAccount(ctx context.Context, id auth.AccountID, act auth.Act) (auth.Revoked, error) {
	return db.alterAccount(ctx, id, act, "resume an account", func(t *tx, _ time.Time) (bool, error) {
		n, err := t.exec(`UPDATE accounts SET suspended_at = NULL WHERE id = $1 AND suspended_at IS NOT NULL AND deleted_at IS NULL`, int64(id))
		return n > 0, err
	}, nil)
}

// DeleteAccount makes an account's tokens, sessions and credentials dead for good, removes its members, and forgets its name,
// reference and allowlist. Its number stays taken. The one entry of the account stands for its credentials too.
func (db *DB) DeleteAccount(ctx context.Context, id auth.AccountID, act auth.Act) (auth.Revoked, error) {
	return db.alterAccount(ctx, id, act, "delete an account", func(t *tx, now time.Time) (bool, error) {
		n, err := t.exec(`UPDATE accounts SET deleted_at = $1, suspended_at = COALESCE(suspended_at, $1), name = '', ref = NULL, restricted_at = $1,
			requests_count = 0, requests_per = 0, requests_burst = 0 WHERE id = $2 AND deleted_at IS NULL`, now.UnixMilli(), int64(id))
		if err != nil || n == 0 {
			return false, err
		}
		if err := t.later(`UPDATE credentials SET revoked_at = $1, restricted_at = $1 WHERE account = $2 AND revoked_at IS NULL`,
			now.UnixMilli(), int64(id)); err != nil {
			return false, err
		}
		if err := t.removeMembers(id, now); err != nil {
			return false, err
		}
		if err := t.index(id, "", ""); err != nil {
			return false, err
		}
		if err := t.later(`DELETE FROM seen_addresses WHERE account = $1`, int64(id)); err != nil {
			return false, err
		}
		return true, t.later(`DELETE FROM allowlist WHERE account = $1`, int64(id))
	}, func(t *tx, p auth.Position) error { return t.killAll(id, p) })
}

// LimitAccount gives an account a limit of its own on calls through routes; the zero Rate takes it away.
func (db *DB) LimitAccount(ctx context.Context, id auth.AccountID, limit auth.Rate, act auth.Act) (auth.Revoked, error) {
	return db.alterAccount(ctx, id, act, "limit an account", func(t *tx, _ time.Time) (bool, error) {
		n, err := t.exec(`UPDATE accounts SET requests_count = $1, requests_per = $2, requests_burst = $3 WHERE id = $4 AND deleted_at IS NULL`,
			limit.Count, limit.Per.Milliseconds(), limit.Burst, int64(id))
		return n > 0, err
	}, nil)
}
