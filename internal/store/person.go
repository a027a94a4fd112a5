package store

import (
	"context"
	"fmt"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// personColumns are of people p, with accounts a beside it where it is a member's.
const personColumns = `p.id, p.account, p.email, p.name, p.role, p.state, p.created_at, p.removed_at, p.signed_in_at,
	p.account <> 0 AND (a.id IS NULL OR a.suspended_at IS NOT NULL),
	p.password IS NOT NULL, p.totp_sealed IS NOT NULL,
	(SELECT count(*) FROM passkeys k WHERE k.person = p.id), (SELECT count(*) FROM openids i WHERE i.person = p.id),
	(SELECT count(*) FROM recovery_codes c WHERE c.person = p.id AND c.used_at IS NULL)`

const fromPeople = ` FROM people p LEFT JOIN accounts a ON a.id = p.account `

func scanPerson(p *auth.Person) out {
	return out{
		(*string)(&p.ID), (*int64)(&p.Account), &p.Email, &p.Name, (*string)(&p.Role), (*string)(&p.State), (*stamp)(&p.CreatedAt),
		(*stamp)(&p.RemovedAt), (*stamp)(&p.SignedInAt), &p.AccountSuspended, &p.Password, &p.TOTP, &p.Passkeys, &p.OpenIDs, &p.RecoveryCodes,
	}
}

const proofColumns = `COALESCE(p.password, ''), p.totp_sealed, p.totp_master_key, p.totp_step, p.totp_at`

func scanProofs(p *auth.Proofs) out {
	return out{&p.Password, &p.TOTP.Text, (*text)(&p.TOTP.MasterKey), (*number)(&p.TOTPStep), (*stamp)(&p.TOTPAt)}
}

var errNoPerson = auth.ErrNotFound.Saying("There is no such person")

// InvitePerson writes down a person, with the link that lets them in. The e-mail address of another one of the same kind is
// [auth.ErrConflict], and an account that does not exist [auth.ErrNotFound].
func (db *DB) InvitePerson(ctx context.Context, p auth.Person, i auth.Invitation, act auth.Act) error {
	_, err := update(ctx, db, func(t *tx) (none struct{}, err error) {
		if p.Account != 0 {
			if err := t.lockAccount(p.Account); err != nil {
				return none, err
			}
		}
		now := db.Now()
		if err := t.insertPerson(p, now); err != nil {
			return none, err
		}
		if err := t.invite(i, now); err != nil {
			return none, err
		}
		return none, t.audit(act, auth.Subject{Account: p.Account, Person: p.ID}, now)
	})
	return wrap(err, "invite a person")
}

func (t *tx) insertPerson(p auth.Person, now time.Time) error {
	n, err := t.exec(`INSERT INTO people (id, account, email, name, role, state, created_at) VALUES ($1, $2, $3, $4, $5, 'invited', $6)
		ON CONFLICT DO NOTHING`, string(p.ID), int64(p.Account), p.Email, p.Name, string(p.Role), now.UnixMilli())
	if err == nil && n == 0 {
		err = auth.ErrConflict.Saying("There is " + aKind(p.Kind()) + " with the e-mail address " + p.Email + " already")
	}
	return err
}

func aKind(k auth.PersonKind) string {
	if k == auth.Operator {
		return "an operator"
	}
	return "a member"
}

// invite writes down a link in the place of the one there was.
func (t *tx) invite(i auth.Invitation, now time.Time) error {
	return t.later(`INSERT INTO invitations (person, digest, created_at, expires_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (person) DO UPDATE SET digest = excluded.digest, created_at = excluded.created_at, expires_at = excluded.expires_at`,
		string(i.Person), i.Digest, now.UnixMilli(), i.ExpiresAt.UnixMilli())
}

// InviteFirst writes down the link for the first operator, in the place of the one before. If there is an operator it does
// nothing and says so.
func (db *DB) InviteFirst(ctx context.Context, i auth.Invitation, act auth.Act) (needed bool, err error) {
	i.Person = ""
	needed, err = update(ctx, db, func(t *tx) (bool, error) {
		if there, err := t.hasOperators(); err != nil || there {
			return false, err
		}
		now := db.Now()
		if err := t.invite(i, now); err != nil {
			return false, err
		}
		return true, t.audit(act, auth.Subject{}, now)
	})
	return needed, wrap(err, "invite the first operator")
}

// HasOperators says whether there is any operator who was not removed.
func (db *DB) HasOperators(ctx context.Context) (there bool, err error) {
	err = db.read(ctx, func(q querier) error {
		there, err = hasOperators(q)
		return err
	})
	return there, wrap(err, "look for operators")
}

func (t *tx) hasOperators() (bool, error) { return hasOperators(t) }

func hasOperators(q querier) (bool, error) {
	var n int64
	err := q.one(`SELECT count(*) FROM people WHERE account = 0 AND state <> 'removed'`, nil, out{&n})
	return n > 0, err
}

// Invited returns who a link is for, and until when; for the first operator the person is the zero one. A link that is none,
// was used or has expired, or whose person may not come in, is [auth.ErrBadLink].
func (db *DB) Invited(ctx context.Context, digest []byte) (auth.Person, auth.Invitation, error) {
	var p auth.Person
	i := auth.Invitation{Digest: digest}
	err := db.read(ctx, func(q querier) error {
		err := q.one(`SELECT person, expires_at FROM invitations WHERE digest = $1 AND expires_at > $2`, in{digest, db.Now().UnixMilli()},
			out{(*string)(&i.Person), (*stamp)(&i.ExpiresAt)})
		if err != nil || i.Person == "" {
			return err
		}
		return q.one(`SELECT `+personColumns+fromPeople+`WHERE p.id = $1`, in{string(i.Person)}, scanPerson(&p))
	})
	if isNoRow(err) || err == nil && i.Person != "" && (p.State == auth.Removed || p.AccountSuspended) {
		return auth.Person{}, auth.Invitation{}, auth.ErrBadLink
	}
	return p, i, wrap(err, "look at a link")
}

// Join spends a link: in one step the person becomes active, has this way to sign in, and is at the dashboard with this session.
// A link works once, however many use it at once; the others, and links that are over, are [auth.ErrBadLink]. The first
// operator, who comes with the link, is [auth.ErrConflict] if there is one by now.
func (db *DB) Join(ctx context.Context, digest []byte, j auth.Joining, s auth.DashboardSession, act auth.Act) (auth.Person, error) {
	p, err := update(ctx, db, func(t *tx) (p auth.Person, err error) {
		now := db.Now()
		var id auth.PersonID
		err = t.one(`DELETE FROM invitations WHERE digest = $1 AND expires_at > $2 RETURNING person`, in{digest, now.UnixMilli()}, out{(*string)(&id)})
		if isNoRow(err) || err == nil && (id == "") != (j.First != nil) {
			return p, auth.ErrBadLink
		}
		if err != nil {
			return p, err
		}
		if j.First != nil {
			if there, err := t.hasOperators(); err != nil || there {
				return p, or(err, error(auth.ErrConflict.Saying("There is an operator already")))
			}
			if err := t.insertPerson(*j.First, now); err != nil {
				return p, err
			}
			id = j.First.ID
		}
		n, err := t.exec(`UPDATE people SET state = 'active', password = $1, signed_in_at = $2 WHERE id = $3 AND state <> 'removed'
			AND (account = 0 OR EXISTS (SELECT 1 FROM accounts a WHERE a.id = people.account AND a.suspended_at IS NULL))`,
			orNull(j.Password), now.UnixMilli(), string(id))
		if err != nil {
			return p, err
		}
		if n == 0 {
			return p, auth.ErrBadLink
		}
		if j.Passkey != nil {
			if err := t.insertPasskey(id, *j.Passkey, now); err != nil {
				return p, err
			}
		}
		if p, err = t.person(id); err != nil {
			return p, err
		}
		if j.OpenID != nil {
			if err := t.insertOpenID(p, *j.OpenID, now); err != nil {
				return p, err
			}
			p.OpenIDs++
		}
		s.Person = id
		if err := t.insertDashboardSession(s); err != nil {
			return p, err
		}
		return p, t.audit(named(act, p), auth.Subject{Account: p.Account, Person: p.ID}, now)
	})
	return p, wrap(err, "join")
}

// named is an act whose actor is the person, who was not known before.
func named(act auth.Act, p auth.Person) auth.Act {
	if act.Actor == "" {
		act.Actor = string(p.Kind()) + " " + p.Detail()
	}
	act.Person = p.ID
	return act
}

func or(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

func (t *tx) person(id auth.PersonID) (p auth.Person, err error) {
	err = t.one(`SELECT `+personColumns+fromPeople+`WHERE p.id = $1`, in{string(id)}, scanPerson(&p))
	return p, notFound(err, errNoPerson.Msg)
}

// Person returns a person, a removed one too; without one it is [auth.ErrNotFound].
func (db *DB) Person(ctx context.Context, id auth.PersonID) (p auth.Person, err error) {
	err = db.read(ctx, func(q querier) error {
		return q.one(`SELECT `+personColumns+fromPeople+`WHERE p.id = $1`, in{string(id)}, scanPerson(&p))
	})
	return p, wrap(notFound(err, errNoPerson.Msg), "read a person")
}

// Proofs returns what a person's password and codes are compared with.
func (db *DB) Proofs(ctx context.Context, id auth.PersonID) (p auth.Proofs, err error) {
	p.TOTP = auth.SealedTOTP(id)
	err = db.read(ctx, func(q querier) error {
		return q.one(`SELECT `+proofColumns+` FROM people p WHERE p.id = $1`, in{string(id)}, scanProofs(&p))
	})
	return p, wrap(notFound(err, errNoPerson.Msg), "read what a person proves themselves with")
}

// SigningIn returns the person of a kind with this e-mail address who was not removed, and the proofs. Without one it is
// [auth.ErrNotFound].
func (db *DB) SigningIn(ctx context.Context, kind auth.PersonKind, email string) (p auth.Person, proofs auth.Proofs, err error) {
	is := `p.account <> 0`
	if kind == auth.Operator {
		is = `p.account = 0`
	}
	err = db.read(ctx, func(q querier) error {
		return q.one(`SELECT `+personColumns+`, `+proofColumns+fromPeople+`WHERE p.email = $1 AND p.state <> 'removed' AND `+is,
			in{email}, append(scanPerson(&p), scanProofs(&proofs)...))
	})
	sealed := auth.SealedTOTP(p.ID)
	sealed.MasterKey, sealed.Text = proofs.TOTP.MasterKey, proofs.TOTP.Text
	proofs.TOTP = sealed
	return p, proofs, wrap(notFound(err, errNoPerson.Msg), "find a person")
}

// People returns persons by e-mail address, without those who were removed.
func (db *DB) People(ctx context.Context, which auth.PersonQuery) ([]auth.Person, error) {
	most := which.Most
	if most == 0 {
		most = 1 << 30
	}
	var found []auth.Person
	err := db.read(ctx, func(q querier) error {
		found = nil
		return q.all(`SELECT `+personColumns+fromPeople+`WHERE p.account = $1 AND p.email > $2 AND p.state <> 'removed' ORDER BY p.email LIMIT $3`,
			in{int64(which.Account), which.After, most}, func(scan func(...any) error) error {
				var p auth.Person
				err := scan(scanPerson(&p)...)
				found = append(found, p)
				return err
			})
	})
	return found, wrap(err, "list persons")
}

// ChangePersonRole gives a person of the account (0: an operator) another role. Unless lastToo, somebody who is active is an owner
// afterwards, or it is [auth.ErrConflict].
func (db *DB) ChangePersonRole(ctx context.Context, account auth.AccountID, id auth.PersonID, role auth.Role, lastToo bool, act auth.Act) error {
	return db.alterPerson(ctx, account, id, act, "change a role", func(t *tx, _ time.Time) (int64, error) {
		return t.exec(`UPDATE people SET role = $1 WHERE id = $2 AND account = $3 AND state <> 'removed' AND ($1 = 'owner' OR `+
			notLastOwner+`)`, string(role), string(id), int64(account), flag(lastToo))
	})
}

// RemovePerson removes a person of the account (0: an operator) for good: sessions, links and ways to sign in are gone. Unless
// lastToo, somebody who is active is an owner afterwards, or it is [auth.ErrConflict].
func (db *DB) RemovePerson(ctx context.Context, account auth.AccountID, id auth.PersonID, lastToo bool, act auth.Act) error {
	return db.alterPerson(ctx, account, id, act, "remove a person", func(t *tx, now time.Time) (int64, error) {
		n, err := t.exec(`UPDATE people SET state = 'removed', removed_at = $1, `+noProofs+` WHERE id = $2 AND account = $3
			AND state <> 'removed' AND `+notLastOwner, now.UnixMilli(), string(id), int64(account), flag(lastToo))
		if err != nil || n == 0 {
			return n, err
		}
		return n, t.forgetProofs(id)
	})
}

// notLastOwner is true unless the person is the only one of the account who is an owner and active. Where several can write at
// once the owners are held meanwhile, or two who go at the same time would each take the other for the one who stays.
const notLastOwner = `($4 = 1 OR role <> 'owner' OR state <> 'active' OR EXISTS (SELECT 1 FROM people o
	WHERE o.account = $3 AND o.role = 'owner' AND o.state = 'active' AND o.id <> $2))`

const noProofs = `password = NULL, totp_sealed = NULL, totp_master_key = NULL, totp_step = NULL, totp_at = NULL`

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

// forgetProofs takes from a person what lies in other tables: ways to sign in, sessions, and the link.
func (t *tx) forgetProofs(id auth.PersonID) error {
	for _, query := range []string{
		`DELETE FROM dashboard_sessions WHERE person = $1`, `DELETE FROM recovery_codes WHERE person = $1`,
		`DELETE FROM passkeys WHERE person = $1`, `DELETE FROM openids WHERE person = $1`, `DELETE FROM invitations WHERE person = $1`,
	} {
		if err := t.later(query, string(id)); err != nil {
			return err
		}
	}
	return nil
}

// alterPerson runs change, which writes to the row of a person of the account and says whether it did. If the person is not as the
// act's terms have it, it is [auth.ErrChanged].
func (db *DB) alterPerson(ctx context.Context, account auth.AccountID, id auth.PersonID, act auth.Act, doing string,
	change func(*tx, time.Time) (int64, error),
) error {
	_, err := update(ctx, db, func(t *tx) (none struct{}, err error) {
		if err := t.hold(`SELECT 1 FROM people WHERE account = $1 AND role = 'owner' AND state = 'active' ORDER BY id FOR NO KEY UPDATE`, int64(account)); err != nil {
			return none, err
		}
		if err := t.expectPerson(act.Terms, account, id); err != nil {
			return none, err
		}
		now := db.Now()
		n, err := change(t, now)
		if err != nil {
			return none, err
		}
		if n == 0 {
			p, err := t.person(id)
			switch {
			case err != nil:
				return none, err
			case p.Account != account || p.State == auth.Removed:
				return none, errNoPerson
			}
			return none, auth.ErrConflict.Saying(p.Email + " is the last owner: make somebody else an owner first")
		}
		return none, t.audit(act, auth.Subject{Account: account, Person: id}, now)
	})
	return wrap(err, doing)
}

// ResetPerson takes from a person of the account (0: an operator) every way to sign in and every session, and writes down a new
// link, in the place of the one there was.
func (db *DB) ResetPerson(ctx context.Context, account auth.AccountID, id auth.PersonID, i auth.Invitation, act auth.Act) error {
	i.Person = id
	return db.alterPerson(ctx, account, id, act, "reset a person", func(t *tx, now time.Time) (int64, error) {
		n, err := t.exec(`UPDATE people SET state = 'invited', `+noProofs+` WHERE id = $1 AND account = $2 AND state <> 'removed'`,
			string(id), int64(account))
		if err != nil || n == 0 {
			return n, err
		}
		if err := t.forgetProofs(id); err != nil {
			return n, err
		}
		return n, t.invite(i, now)
	})
}

// removeMembers removes all members of an account that is deleted.
func (t *tx) removeMembers(account auth.AccountID, now time.Time) error {
	var ids []auth.PersonID
	err := t.all(`SELECT id FROM people WHERE account = $1 AND state <> 'removed'`, in{int64(account)}, func(scan func(...any) error) error {
		var id auth.PersonID
		err := scan((*string)(&id))
		ids = append(ids, id)
		return err
	})
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := t.forgetProofs(id); err != nil {
			return err
		}
	}
	return t.later(`UPDATE people SET state = 'removed', removed_at = $1, `+noProofs+` WHERE account = $2 AND state <> 'removed'`,
		now.UnixMilli(), int64(account))
}

// forgetPeople deletes the rows of persons who were removed before a time.
const forgetPeople = `DELETE FROM people WHERE id IN (SELECT id FROM people WHERE removed_at < $1 ORDER BY removed_at LIMIT $2)`

// errNotNow is a person who was removed or reset, or whose account was suspended, while something was being done.
func errNotNow(id auth.PersonID) error {
	return auth.ErrBadCredential.Because(auth.ReasonRevoked).From(fmt.Errorf("%s may not sign in any more", id))
}
