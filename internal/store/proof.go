package store

import (
	"context"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// change runs fn for a person who may sign in, of whom it knows id and account, and writes down the act. What changes how somebody signs in goes this way.
func (db *DB) change(ctx context.Context, person auth.PersonID, act auth.Act, doing string, fn func(t *tx, p auth.Person, now time.Time) error) error {
	_, err := update(ctx, db, func(t *tx) (none struct{}, err error) {
		now := db.Now()
		p := auth.Person{ID: person}
		// Whoever resets or removes the person at this moment comes before or after, not between.
		err = t.one(`UPDATE people SET name = name WHERE id = $1 AND `+maySignIn+` RETURNING account`, in{string(person)}, out{(*int64)(&p.Account)})
		if isNoRow(err) {
			return none, errNotNow(person)
		}
		if err != nil {
			return none, err
		}
		if err := fn(t, p, now); err != nil {
			return none, err
		}
		return none, t.audit(act, auth.Subject{Account: p.Account, Person: person}, now)
	})
	return wrap(err, doing)
}

// SetPersonPassword gives a person another password, by its hash, and ends all sessions but one.
func (db *DB) SetPersonPassword(ctx context.Context, person auth.PersonID, hash string, but auth.DashboardSessionID, act auth.Act) error {
	return db.change(ctx, person, act, "set a password", func(t *tx, _ auth.Person, now time.Time) error {
		if err := t.later(`UPDATE people SET password = $1 WHERE id = $2`, hash, string(person)); err != nil {
			return err
		}
		_, err := t.endOthers(person, but, now)
		return err
	})
}

// RehashPassword puts one hash of a password in the place of another, if that is still there.
func (db *DB) RehashPassword(ctx context.Context, person auth.PersonID, from, to string) error {
	_, err := update(ctx, db, func(t *tx) (none struct{}, err error) {
		return none, t.later(`UPDATE people SET password = $1 WHERE id = $2 AND password = $3`, to, string(person), from)
	})
	return wrap(err, "hash a password anew")
}

// EnrollTOTP gives a person one-time passwords, or others, and recovery codes in the place of those before. The session, named by
// its digest, makes place for another, and all others end. Of two at once one wins, and the other is [auth.ErrBadCredential].
func (db *DB) EnrollTOTP(ctx context.Context, old []byte, s auth.DashboardSession, e auth.Enrolment, act auth.Act) error {
	return db.change(ctx, s.Person, act, "set up one-time passwords", func(t *tx, _ auth.Person, now time.Time) error {
		if err := t.endForRotation(old, s.Person); err != nil {
			return err
		}
		if err := t.later(`UPDATE people SET totp_sealed = $1, totp_master_key = $2, totp_step = $3, totp_at = $4, signed_in_at = COALESCE(signed_in_at, $4) WHERE id = $5`,
			e.TOTP.Text, e.TOTP.MasterKey, e.Step, now.UnixMilli(), string(s.Person)); err != nil {
			return err
		}
		if err := t.replaceCodes(s.Person, e.Codes); err != nil {
			return err
		}
		if _, err := t.endOthers(s.Person, "", now); err != nil {
			return err
		}
		return t.insertDashboardSession(s)
	})
}

// SetRecoveryCodes puts recovery codes in the place of those before.
func (db *DB) SetRecoveryCodes(ctx context.Context, person auth.PersonID, codes []auth.RecoveryCode, act auth.Act) error {
	return db.change(ctx, person, act, "set recovery codes", func(t *tx, _ auth.Person, _ time.Time) error {
		return t.replaceCodes(person, codes)
	})
}

func (t *tx) replaceCodes(person auth.PersonID, codes []auth.RecoveryCode) error {
	if err := t.later(`DELETE FROM recovery_codes WHERE person = $1`, string(person)); err != nil {
		return err
	}
	for _, c := range codes {
		if err := t.later(`INSERT INTO recovery_codes (person, digest, pepper) VALUES ($1, $2, $3)`, string(person), c.Digest, string(c.Pepper)); err != nil {
			return err
		}
	}
	return nil
}

// RecoveryCodes returns the recovery codes of a person, used ones too.
func (db *DB) RecoveryCodes(ctx context.Context, person auth.PersonID) ([]auth.RecoveryCode, error) {
	var found []auth.RecoveryCode
	err := db.read(ctx, func(q querier) error {
		return q.all(`SELECT digest, pepper, used_at FROM recovery_codes WHERE person = $1`, in{string(person)}, func(scan func(...any) error) error {
			var c auth.RecoveryCode
			err := scan(&c.Digest, (*string)(&c.Pepper), (*stamp)(&c.UsedAt))
			found = append(found, c)
			return err
		})
	})
	return found, wrap(err, "read recovery codes")
}

const passkeyColumns = `id, person, name, public_key, counter, transports, model, synced, backed_up, created_at, used_at`

// scanPasskey calls scan for the columns of a passkey.
func scanPasskey(scan func(...any) error) (k auth.Passkey, person auth.PersonID, err error) {
	var transports string
	var counter, synced, backedUp int64
	err = scan(&k.ID, (*string)(&person), &k.Name, &k.PublicKey, &counter, &transports, &k.Model, &synced, &backedUp,
		(*stamp)(&k.CreatedAt), (*stamp)(&k.UsedAt))
	k.Counter, k.Transports = uint32(counter), strings.Fields(transports)
	k.Synced, k.BackedUp = synced != 0, backedUp != 0
	return k, person, err
}

// mostWays is how many passkeys a person has at most, and how many accounts at OpenID providers.
const mostWays = 20

// roomForMore is [auth.ErrConflict] if a person has as many of something as there can be. count counts them.
func (t *tx) roomForMore(person auth.PersonID, count, what string) error {
	var there int64
	err := t.one(count, in{string(person)}, out{&there})
	if err == nil && there >= mostWays {
		err = auth.ErrConflict.Saying("You have as many " + what + " as there can be: remove one first")
	}
	return err
}

func (t *tx) insertPasskey(person auth.PersonID, k auth.Passkey, now time.Time) error {
	if err := t.roomForMore(person, `SELECT count(*) FROM passkeys WHERE person = $1`, "passkeys"); err != nil {
		return err
	}
	n, err := t.exec(`INSERT INTO passkeys (`+passkeyColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, NULL) ON CONFLICT (id) DO NOTHING`,
		k.ID, string(person), k.Name, k.PublicKey, int64(k.Counter), strings.Join(k.Transports, " "), k.Model, flag(k.Synced),
		flag(k.BackedUp), now.UnixMilli())
	if err == nil && n == 0 {
		err = auth.ErrConflict.Saying("This passkey has been added already")
	}
	return err
}

// AddPasskey adds a passkey to a person. One that somebody has already is [auth.ErrConflict].
func (db *DB) AddPasskey(ctx context.Context, person auth.PersonID, k auth.Passkey, act auth.Act) error {
	return db.change(ctx, person, act, "add a passkey", func(t *tx, _ auth.Person, now time.Time) error {
		return t.insertPasskey(person, k, now)
	})
}

// Passkeys returns the passkeys of a person, the oldest first.
func (db *DB) Passkeys(ctx context.Context, person auth.PersonID) ([]auth.Passkey, error) {
	var found []auth.Passkey
	err := db.read(ctx, func(q querier) error {
		return q.all(`SELECT `+passkeyColumns+` FROM passkeys WHERE person = $1 ORDER BY created_at, id`, in{string(person)}, func(scan func(...any) error) error {
			k, _, err := scanPasskey(scan)
			found = append(found, k)
			return err
		})
	})
	return found, wrap(err, "list passkeys")
}

// Passkey returns a passkey, and whose it is. Without one it is [auth.ErrNotFound].
func (db *DB) Passkey(ctx context.Context, id []byte) (k auth.Passkey, person auth.PersonID, err error) {
	err = db.read(ctx, func(q querier) error {
		k, person, err = scanPasskey(func(to ...any) error {
			return q.one(`SELECT `+passkeyColumns+` FROM passkeys WHERE id = $1`, in{id}, to)
		})
		return err
	})
	return k, person, wrap(notFound(err, "There is no such passkey"), "read a passkey")
}

// UsePasskey notes a use, with the count that came with it. A count that did not grow, unless its device does not count at all,
// is [auth.ErrBadCredential]: somebody has a copy.
func (db *DB) UsePasskey(ctx context.Context, id []byte, counter uint32, backedUp bool) error {
	_, err := update(ctx, db, func(t *tx) (none struct{}, err error) {
		n, err := t.exec(`UPDATE passkeys SET counter = $1, backed_up = $2, used_at = $3 WHERE id = $4 AND ($1 > counter OR $1 = 0 AND counter = 0)`,
			int64(counter), flag(backedUp), db.Now().UnixMilli(), id)
		if err == nil && n == 0 {
			err = auth.ErrBadCredential.Because(auth.ReasonWrongSecret)
		}
		return none, err
	})
	return wrap(err, "note the use of a passkey")
}

// RenamePasskey gives a passkey of a person another name.
func (db *DB) RenamePasskey(ctx context.Context, person auth.PersonID, id []byte, name string, act auth.Act) error {
	return db.change(ctx, person, act, "rename a passkey", func(t *tx, _ auth.Person, _ time.Time) error {
		return t.must("passkey", `UPDATE passkeys SET name = $1 WHERE id = $2 AND person = $3`, name, id, string(person))
	})
}

// RemovePasskey takes a passkey from a person. The last way to sign in stays: [auth.ErrConflict].
func (db *DB) RemovePasskey(ctx context.Context, person auth.PersonID, id []byte, act auth.Act) error {
	return db.change(ctx, person, act, "remove a passkey", func(t *tx, _ auth.Person, _ time.Time) error {
		if err := t.must("passkey", `DELETE FROM passkeys WHERE id = $1 AND person = $2`, id, string(person)); err != nil {
			return err
		}
		return t.oneWayLeft(person)
	})
}

// must runs a change that is [auth.ErrNotFound] if it changes nothing.
func (t *tx) must(what, query string, args ...any) error {
	n, err := t.exec(query, args...)
	if err == nil && n == 0 {
		err = auth.ErrNotFound.Saying("There is no such " + what)
	}
	return err
}

// oneWayLeft is [auth.ErrConflict] if the person has no way to sign in any more.
func (t *tx) oneWayLeft(person auth.PersonID) error {
	var ways int64
	err := t.one(`SELECT (SELECT count(*) FROM people WHERE id = $1 AND password IS NOT NULL) + (SELECT count(*) FROM passkeys WHERE person = $1)
		+ (SELECT count(*) FROM openids WHERE person = $1)`, in{string(person)}, out{&ways})
	if err == nil && ways == 0 {
		err = auth.ErrConflict.Saying("This is your last way to sign in: add another one first")
	}
	return err
}

func (t *tx) insertOpenID(p auth.Person, o auth.OpenID, now time.Time) error {
	if err := t.roomForMore(p.ID, `SELECT count(*) FROM openids WHERE person = $1`, "accounts for single sign-on"); err != nil {
		return err
	}
	n, err := t.exec(`INSERT INTO openids (kind, issuer, subject, person, email, provider, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
		string(p.Kind()), o.Issuer, o.Subject, string(p.ID), o.Email, o.Provider, now.UnixMilli())
	if err == nil && n == 0 {
		err = auth.ErrConflict.Saying("This account for single sign-on belongs to somebody already")
	}
	return err
}

// AddOpenID lets a person sign in by a provider of OpenID Connect. What is somebody's of the same kind already is [auth.ErrConflict].
func (db *DB) AddOpenID(ctx context.Context, person auth.PersonID, o auth.OpenID, act auth.Act) error {
	return db.change(ctx, person, act, "add an OpenID", func(t *tx, p auth.Person, now time.Time) error {
		return t.insertOpenID(p, o, now)
	})
}

// OpenIDs returns who a person is to providers, the oldest first.
func (db *DB) OpenIDs(ctx context.Context, person auth.PersonID) ([]auth.OpenID, error) {
	var found []auth.OpenID
	err := db.read(ctx, func(q querier) error {
		return q.all(`SELECT issuer, subject, email, provider, created_at, used_at FROM openids WHERE person = $1 ORDER BY created_at, issuer, subject`,
			in{string(person)}, func(scan func(...any) error) error {
				var o auth.OpenID
				err := scan(&o.Issuer, &o.Subject, &o.Email, &o.Provider, (*stamp)(&o.CreatedAt), (*stamp)(&o.UsedAt))
				found = append(found, o)
				return err
			})
	})
	return found, wrap(err, "list OpenIDs")
}

// UseOpenID returns who somebody is, among the persons of a kind, and notes the use. Nobody is [auth.ErrNotFound].
func (db *DB) UseOpenID(ctx context.Context, kind auth.PersonKind, issuer, subject string) (auth.PersonID, error) {
	id, err := update(ctx, db, func(t *tx) (id auth.PersonID, err error) {
		err = t.one(`UPDATE openids SET used_at = $1 WHERE kind = $2 AND issuer = $3 AND subject = $4 RETURNING person`,
			in{db.Now().UnixMilli(), string(kind), issuer, subject}, out{(*string)(&id)})
		return id, notFound(err, errNoPerson.Msg)
	})
	return id, wrap(err, "find a person by an OpenID")
}

// RemoveOpenID takes an OpenID from a person. The last way to sign in stays: [auth.ErrConflict].
func (db *DB) RemoveOpenID(ctx context.Context, person auth.PersonID, issuer, subject string, act auth.Act) error {
	return db.change(ctx, person, act, "remove an OpenID", func(t *tx, p auth.Person, _ time.Time) error {
		err := t.must("account for single sign-on", `DELETE FROM openids WHERE kind = $1 AND issuer = $2 AND subject = $3 AND person = $4`,
			string(p.Kind()), issuer, subject, string(person))
		if err != nil {
			return err
		}
		return t.oneWayLeft(person)
	})
}
