package store

import (
	"context"
	"fmt"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

const sessionColumns = `s.id, s.account, s.credential, s.secret, s.pos, s.generation, s.started_at, s.rotated_at,
	s.access_expires_at, s.expires_at, s.access_key, s.refresh_key, s.scope, s.rotated_under, s.ended_at, s.ended_because,
	s.address, s.user_agent`

func scanSession(s *auth.Session) out {
	return out{
		(*string)(&s.ID), (*int64)(&s.Account), (*string)(&s.Credential), &s.Secret, (*int64)(&s.Position), &s.Generation,
		(*stamp)(&s.StartedAt), (*stamp)(&s.RotatedAt), (*stamp)(&s.AccessExpires), (*stamp)(&s.Expires),
		(*string)(&s.AccessKey), (*string)(&s.RefreshKey), &s.Scope, &s.RotatedUnder, (*stamp)(&s.EndedAt), (*text)(&s.EndedBecause),
		(*addr)(&s.Address), &s.UserAgent,
	}
}

// StartSession writes down a login, by one statement: the session is there only if its account, its credential and the
// secret that was presented are alive at that moment, and its position is the head of the change log at that moment. So
// facts that were older can give no session a position that outlives a revocation.
//
// The scope is the credential's, without what begins with "gatehouse:". The tokens end no later than the credential. If
// something is not alive it is [auth.ErrBadCredential] with the reason.
func (db *DB) StartSession(ctx context.Context, login auth.NewSession) (auth.Session, error) {
	s, err := update(ctx, db, func(t *tx) (auth.Session, error) {
		now := db.Now()
		s := auth.Session{
			ID: login.ID, Credential: login.Credential, StartedAt: milli(now), RotatedAt: milli(now),
			AccessKey: login.AccessKey, RefreshKey: login.RefreshKey, Address: login.Address, UserAgent: login.UserAgent,
		}
		started, err := t.whole(whole{startSession, startSession + ` RETURNING ` + startedColumns, `SELECT ` + startedColumns + ` FROM sessions WHERE id = $1`},
			in{
				string(login.ID), string(login.Credential), login.SecretDigest, now.UnixMilli(), login.AccessExpires.UnixMilli(),
				login.Expires.UnixMilli(), string(login.AccessKey), string(login.RefreshKey), address(login.Address), login.UserAgent,
			}, string(login.ID),
			out{(*int64)(&s.Account), &s.Secret, (*int64)(&s.Position), (*stamp)(&s.AccessExpires), (*stamp)(&s.Expires), &s.Scope})
		if err == nil && !started {
			err = t.whyNoSession(login.Credential, now)
		}
		return s, err
	})
	return s, wrap(err, "start a session")
}

const startSession = `INSERT INTO sessions (id, account, credential, secret, pos, generation, started_at, rotated_at,
		access_expires_at, expires_at, access_key, refresh_key, scope, address, user_agent)
	SELECT $1, c.account, c.id, CASE WHEN c.secret_digest = $3 THEN c.secret_number ELSE c.old_number END, h.head, 0, $4, $4,
		CASE WHEN c.expires_at < $5 THEN c.expires_at ELSE $5 END, CASE WHEN c.expires_at < $6 THEN c.expires_at ELSE $6 END,
		$7, $8, c.token_scope, $9, $10
	FROM credentials c JOIN accounts a ON a.id = c.account CROSS JOIN log_head h
	WHERE c.id = $2 AND c.kind = 'login' AND c.revoked_at IS NULL AND (c.expires_at IS NULL OR c.expires_at > $4)
		AND (c.secret_digest = $3 OR c.old_digest = $3 AND c.old_expires_at > $4) AND a.suspended_at IS NULL`

const startedColumns = `account, secret, pos, access_expires_at, expires_at, scope`

// whyNoSession tells, for the operator, what died between the check and the insert.
func (t *tx) whyNoSession(id auth.CredentialID, now time.Time) error {
	var account auth.AccountID
	var suspended, revoked, expires time.Time
	err := t.one(`SELECT c.account, a.suspended_at, c.revoked_at, c.expires_at FROM credentials c JOIN accounts a ON a.id = c.account
		WHERE c.id = $1 AND c.kind = 'login'`, in{string(id)},
		out{(*int64)(&account), (*stamp)(&suspended), (*stamp)(&revoked), (*stamp)(&expires)})
	if isNoRow(err) {
		return auth.ErrBadCredential.Because(auth.ReasonUnknown)
	}
	if err != nil {
		return err
	}
	about := auth.Subject{Account: account, Credential: id}
	c := auth.Credential{RevokedAt: revoked, ExpiresAt: expires}
	why := c.Dead(now)
	switch {
	case why != auth.ReasonNone:
	case !suspended.IsZero():
		why = auth.ReasonAccountSuspended
	default:
		why = auth.ReasonWrongSecret
	}
	return auth.ErrBadCredential.Because(why).Of(about)
}

// Session returns a session, alive or not; without one it is [auth.ErrNotFound].
func (db *DB) Session(ctx context.Context, id auth.SessionID) (auth.Session, error) {
	var s auth.Session
	err := db.read(ctx, func(q querier) error {
		return q.one(`SELECT `+sessionColumns+` FROM sessions s WHERE s.id = $1`, in{string(id)}, scanSession(&s))
	})
	if err != nil {
		return auth.Session{}, wrap(notFound(err, "There is no such session"), "read a session")
	}
	return s, nil
}

// RevokeSession makes every token of a session dead, of whichever contract: most have no row, only their tokens name them.
// If it has a row that row ends, because of because. The revocation is remembered until until, when none of its tokens can
// be within its time any more; one that is remembered as long already is Already. A session of another account is
// [auth.ErrNotFound].
func (db *DB) RevokeSession(ctx context.Context, id auth.SessionID, account auth.AccountID, until time.Time, because string,
	act auth.Act,
) (auth.Revoked, error) {
	r, err := update(ctx, db, func(t *tx) (auth.Revoked, error) {
		now := db.Now()
		var others int64
		if err := t.one(`SELECT count(*) FROM sessions WHERE id = $1 AND account <> $2`, in{string(id), int64(account)}, out{&others}); err != nil {
			return auth.Revoked{}, err
		}
		if others > 0 {
			return auth.Revoked{}, auth.ErrNotFound.Saying("There is no such session")
		}
		p, err := t.endSession(id, account, until, because, now)
		if err != nil || p == 0 {
			head, e := t.head()
			if err == nil {
				err = e
			}
			return auth.Revoked{Position: head, Already: true}, err
		}
		return auth.Revoked{Position: p}, t.audit(act, auth.Subject{Account: account, Session: id}, now)
	})
	return r, wrap(err, "revoke a session")
}

// endSession ends the session's row, if there is one, remembers the revocation and appends its entry. With nothing new in
// that the position is 0.
func (t *tx) endSession(id auth.SessionID, account auth.AccountID, until time.Time, because string, now time.Time) (auth.Position, error) {
	ended, err := t.exec(`UPDATE sessions SET ended_at = $1, ended_because = $2 WHERE id = $3 AND ended_at IS NULL`,
		now.UnixMilli(), because, string(id))
	if err != nil {
		return 0, err
	}
	longer, err := t.exec(`INSERT INTO revoked_sessions (sid, until, at) VALUES ($1, $2, $3)
		ON CONFLICT (sid) DO UPDATE SET until = excluded.until WHERE excluded.until > revoked_sessions.until`,
		string(id), until.UnixMilli(), now.UnixMilli())
	if err != nil || ended+longer == 0 {
		return 0, err
	}
	return t.append(auth.Change{Of: auth.ChangedSession, Account: account, Session: id, Until: until, At: now})
}

// RevokeContract makes every token and session of an account that one contract issued dead. It writes one number, however
// many they are; a login afterwards lives.
func (db *DB) RevokeContract(ctx context.Context, account auth.AccountID, contract auth.Contract, act auth.Act) (auth.Revoked, error) {
	var query string
	switch contract {
	case auth.Liquid:
		query = `UPDATE accounts SET liquid_dead_below = $1 WHERE id = $2`
	case auth.Orders:
		query = `UPDATE accounts SET orders_dead_below = $1 WHERE id = $2`
	case auth.B2B:
		query = `UPDATE accounts SET b2b_dead_below = $1 WHERE id = $2`
	case auth.OAuth2:
		query = `UPDATE accounts SET oauth_dead_below = $1 WHERE id = $2`
	default:
		return auth.Revoked{}, fmt.Errorf("revoke the tokens of a contract: there is no contract %q", contract)
	}
	return db.alterAccount(ctx, account, act, "revoke the tokens of a contract", func(t *tx, now time.Time) (bool, error) {
		n, err := t.exec(`UPDATE accounts SET restricted_at = $1 WHERE id = $2 AND deleted_at IS NULL`, now.UnixMilli(), int64(account))
		return n > 0, err
	}, func(t *tx, p auth.Position) error {
		return t.later(query, int64(p), int64(account))
	})
}
