package store

import (
	"context"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

const dashboardColumns = `s.id, s.digest, s.person, s.stage, s.method, s.created_at, s.seen_at, s.idle_ends_at, s.ends_at, s.proved_at, s.address, s.user_agent`

func scanDashboardSession(s *auth.DashboardSession) out {
	return out{
		(*string)(&s.ID), &s.Digest, (*string)(&s.Person), (*string)(&s.Stage), &s.Method, (*stamp)(&s.CreatedAt), (*stamp)(&s.SeenAt),
		(*stamp)(&s.IdleEnds), (*stamp)(&s.EndsAt), (*stamp)(&s.ProvedAt), (*addr)(&s.Address), &s.UserAgent,
	}
}

func (t *tx) insertDashboardSession(s auth.DashboardSession) error {
	if s.SeenAt.IsZero() {
		s.SeenAt = s.CreatedAt
	}
	return t.later(`INSERT INTO dashboard_sessions (digest, id, person, stage, method, created_at, seen_at, idle_ends_at, ends_at, proved_at, address, user_agent)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		s.Digest, string(s.ID), string(s.Person), string(s.Stage), s.Method, s.CreatedAt.UnixMilli(), s.SeenAt.UnixMilli(), s.IdleEnds.UnixMilli(),
		s.EndsAt.UnixMilli(), ms(s.ProvedAt), address(s.Address), s.UserAgent)
}

// maySignIn is true of people who may have a session.
const maySignIn = `people.state = 'active' AND (people.account = 0 OR
	EXISTS (SELECT 1 FROM accounts a WHERE a.id = people.account AND a.suspended_at IS NULL))`

// StartDashboardSession writes down that somebody came to a dashboard, and spends what they showed for it. A person who may not
// sign in, and a code that was used before, also at this moment, is [auth.ErrBadCredential]. Only a session that is whole is a
// sign-in, which the row of the person and the audit trail tell; of one that waits for more neither knows.
func (db *DB) StartDashboardSession(ctx context.Context, s auth.DashboardSession, spent auth.Spent, act auth.Act) error {
	_, err := update(ctx, db, func(t *tx) (none struct{}, err error) {
		return none, t.signIn(s, spent, act, db.Now())
	})
	return wrap(err, "start a session of a dashboard")
}

// RotateDashboardSession is [DB.StartDashboardSession] in the place of a session, named by its digest. Of two who rotate one session
// one wins; for the other, and where the session is gone, it is [auth.ErrBadCredential].
func (db *DB) RotateDashboardSession(ctx context.Context, old []byte, s auth.DashboardSession, spent auth.Spent, act auth.Act) error {
	_, err := update(ctx, db, func(t *tx) (none struct{}, err error) {
		if err := t.endForRotation(old, s.Person); err != nil {
			return none, err
		}
		return none, t.signIn(s, spent, act, db.Now())
	})
	return wrap(err, "rotate a session of a dashboard")
}

func (t *tx) endForRotation(old []byte, person auth.PersonID) error {
	n, err := t.exec(`DELETE FROM dashboard_sessions WHERE digest = $1 AND person = $2`, old, string(person))
	if err == nil && n == 0 {
		err = auth.ErrBadCredential.Because(auth.ReasonRevoked)
	}
	return err
}

func (t *tx) signIn(s auth.DashboardSession, spent auth.Spent, act auth.Act, now time.Time) error {
	signedIn := now
	if s.Stage != auth.StageFull {
		signedIn = time.Time{}
	}
	var account auth.AccountID
	err := t.one(`UPDATE people SET signed_in_at = COALESCE($1, signed_in_at) WHERE id = $2 AND `+maySignIn+` RETURNING account`,
		in{ms(signedIn), string(s.Person)}, out{(*int64)(&account)})
	if isNoRow(err) {
		return errNotNow(s.Person)
	}
	if err != nil {
		return err
	}
	if err := t.spend(s.Person, spent, now); err != nil {
		return err
	}
	if err := t.insertDashboardSession(s); err != nil || s.Stage != auth.StageFull {
		return err
	}
	return t.audit(act, auth.Subject{Account: account, Person: s.Person}, now)
}

// spend uses up a code. A one-time password counts only if its step lies after the last one used.
func (t *tx) spend(person auth.PersonID, s auth.Spent, now time.Time) error {
	n := int64(1)
	var err error
	switch {
	case s.RecoveryCode != nil:
		n, err = t.exec(`UPDATE recovery_codes SET used_at = $1 WHERE person = $2 AND digest = $3 AND used_at IS NULL`,
			now.UnixMilli(), string(person), s.RecoveryCode)
	case s.Step != 0:
		n, err = t.exec(`UPDATE people SET totp_step = $1 WHERE id = $2 AND totp_step < $1`, s.Step, string(person))
	}
	if err == nil && n == 0 {
		err = auth.ErrBadCredential.Because(auth.ReasonRevoked)
	}
	return err
}

// DashboardSession returns a session that is within its time, with the person as it is now. Without one it is [auth.ErrNotFound].
func (db *DB) DashboardSession(ctx context.Context, digest []byte) (s auth.DashboardSession, p auth.Person, err error) {
	err = db.read(ctx, func(q querier) error {
		return q.one(`SELECT `+dashboardColumns+`, `+personColumns+` FROM dashboard_sessions s JOIN people p ON p.id = s.person
			LEFT JOIN accounts a ON a.id = p.account WHERE s.digest = $1 AND s.idle_ends_at > $2 AND s.ends_at > $2`,
			in{digest, db.Now().UnixMilli()}, append(scanDashboardSession(&s), scanPerson(&p)...))
	})
	return s, p, wrap(notFound(err, "There is no such session"), "read a session of a dashboard")
}

// SeeDashboardSession notes that a session is in use.
func (db *DB) SeeDashboardSession(ctx context.Context, digest []byte, seen, idleEnds time.Time) error {
	_, err := update(ctx, db, func(t *tx) (none struct{}, err error) {
		return none, t.later(`UPDATE dashboard_sessions SET seen_at = $1, idle_ends_at = $2 WHERE digest = $3 AND seen_at < $1`,
			seen.UnixMilli(), idleEnds.UnixMilli(), digest)
	})
	return wrap(err, "note the use of a session")
}

// DashboardSessions returns the sessions of a person that are within their time, the youngest first.
func (db *DB) DashboardSessions(ctx context.Context, person auth.PersonID) ([]auth.DashboardSession, error) {
	var found []auth.DashboardSession
	err := db.read(ctx, func(q querier) error {
		return q.all(`SELECT `+dashboardColumns+` FROM dashboard_sessions s WHERE s.person = $1 AND s.idle_ends_at > $2 AND s.ends_at > $2
			ORDER BY s.created_at DESC, s.id`, in{string(person), db.Now().UnixMilli()}, func(scan func(...any) error) error {
			var s auth.DashboardSession
			err := scan(scanDashboardSession(&s)...)
			found = append(found, s)
			return err
		})
	})
	return found, wrap(err, "list the sessions of a dashboard")
}

// EndDashboardSession ends one session of a person. Without it, it is [auth.ErrNotFound].
func (db *DB) EndDashboardSession(ctx context.Context, person auth.Person, id auth.DashboardSessionID, act auth.Act) error {
	_, err := update(ctx, db, func(t *tx) (none struct{}, err error) {
		n, err := t.exec(`DELETE FROM dashboard_sessions WHERE id = $1 AND person = $2`, string(id), string(person.ID))
		if err != nil {
			return none, err
		}
		if n == 0 {
			return none, auth.ErrNotFound.Saying("There is no such session")
		}
		return none, t.audit(act, auth.Subject{Account: person.Account, Person: person.ID}, db.Now())
	})
	return wrap(err, "end a session of a dashboard")
}

// EndDashboardSessions ends all sessions of a person but one ("": all), and returns how many there were. The act is written down
// if there were any.
func (db *DB) EndDashboardSessions(ctx context.Context, person auth.Person, but auth.DashboardSessionID, act auth.Act) (int, error) {
	n, err := update(ctx, db, func(t *tx) (int64, error) {
		now := db.Now()
		n, err := t.endOthers(person.ID, but, now)
		if err != nil || n == 0 {
			return 0, err
		}
		return n, t.audit(act, auth.Subject{Account: person.Account, Person: person.ID}, now)
	})
	return int(n), wrap(err, "end the sessions of a dashboard")
}

func (t *tx) endOthers(person auth.PersonID, but auth.DashboardSessionID, now time.Time) (int64, error) {
	return t.exec(`DELETE FROM dashboard_sessions WHERE person = $1 AND id <> $2 AND idle_ends_at > $3 AND ends_at > $3`,
		string(person), string(but), now.UnixMilli())
}
