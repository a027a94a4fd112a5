package store

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/verify"
)

// RotateSession spends generation spend.Generation of a session: the row moves on to the next, whose tokens live until
// spend.Until and spend.AccessUntil, but no longer than the credential and spend.MaxAge. A session holds one row, whatever
// the number of its refreshes: the token names its generation, so nothing is stored per token. Of any number of callers
// with one generation one wins.
//
// A generation that is spent already is
//   - answered with the row as it is, replayed, if it is the previous one, within the leeway, and under the same
//     idempotency key; that needs all that a first use needs;
//   - [auth.ErrSpent] if it is the previous one and within the leeway;
//   - else [auth.ErrReused], and then, unless spend.OnReuse is [auth.RefuseOnly], the session has ended, with an entry in
//     the change log and in the audit trail, when this returns.
//
// A session that has ended, or whose account or credential is dead, is [auth.ErrEnded]; one that is unknown or expired, or
// a generation that was never made, [auth.ErrBadRefresh]; these change nothing. The scope of the new pair is what the
// session and the credential both have. Errors tell whom they are about.
//
// Within the leeway is what was asked within it, however long it waited for its turn: a disk that stands still for longer must
// not make thieves of those who raced.
func (db *DB) RotateSession(ctx context.Context, id auth.SessionID, spend auth.Spend) (s auth.Session, replayed bool, err error) {
	type outcome struct {
		session  auth.Session
		replayed bool
		refused  error // an outcome: what it did, ending the session, must be committed
	}
	asked := db.Now()
	o, err := update(ctx, db, func(t *tx) (o outcome, err error) {
		now := db.Now()
		if !spend.AddressRefused {
			var spent bool
			if o.session, spent, err = t.spendOutright(id, spend, now); err != nil || spent {
				return o, err
			}
		}
		o.session, o.replayed, o.refused, err = t.spendWithCare(id, spend, asked, now)
		return o, err
	})
	if err == nil {
		err = o.refused
	}
	if err != nil {
		return auth.Session{}, false, wrap(err, "rotate a session")
	}
	return o.session, o.replayed, nil
}

// spendOutright is the common case in one statement: nothing about the session, its account or its credential has changed,
// and nothing shortens the new pair's life. Where it spends nothing, nothing is said yet. It spends nothing that
// spendWithCare would not.
func (t *tx) spendOutright(id auth.SessionID, spend auth.Spend, now time.Time) (s auth.Session, spent bool, err error) {
	last := spend.Until
	if spend.AccessUntil.After(last) {
		last = spend.AccessUntil
	}
	var startedAfter int64 // for MaxAge
	if spend.MaxAge > 0 {
		startedAfter = last.Add(-spend.MaxAge).UnixMilli()
	}
	s = auth.Session{
		ID: id, Generation: spend.Generation + 1, RotatedAt: milli(now),
		AccessExpires: milli(spend.AccessUntil), Expires: milli(spend.Until),
		AccessKey: spend.AccessKey, RefreshKey: spend.RefreshKey, RotatedUnder: bytes.Clone(spend.IdempotencyDigest),
	}
	spent, err = t.whole(whole{spendOutright, spendOutright + ` RETURNING ` + spentColumns, `SELECT ` + spentColumns + ` FROM sessions WHERE id = $1`},
		in{
			now.UnixMilli(), spend.Until.UnixMilli(), spend.AccessUntil.UnixMilli(), string(spend.AccessKey), string(spend.RefreshKey),
			spend.IdempotencyDigest, string(id), spend.Generation, startedAfter, last.UnixMilli(),
		}, string(id),
		out{
			(*int64)(&s.Account), (*string)(&s.Credential), &s.Secret, (*int64)(&s.Position), (*stamp)(&s.StartedAt), &s.Scope,
			(*addr)(&s.Address), &s.UserAgent,
		})
	return s, spent, err
}

const spendOutright = `UPDATE sessions SET generation = generation + 1, rotated_at = $1, expires_at = $2, access_expires_at = $3,
		access_key = $4, refresh_key = $5, rotated_under = $6
	WHERE id = $7 AND generation = $8 AND ended_at IS NULL AND expires_at > $1 AND started_at >= $9
		AND EXISTS (SELECT 1 FROM credentials c JOIN accounts a ON a.id = c.account
			WHERE c.id = sessions.credential AND c.revoked_at IS NULL AND (c.expires_at IS NULL OR c.expires_at >= $10)
				AND c.token_scope = sessions.scope AND sessions.pos >= c.dead_below
				AND a.suspended_at IS NULL AND sessions.pos >= a.b2b_dead_below)`

const spentColumns = `account, credential, secret, pos, started_at, scope, address, user_agent`

// A spending is all that decides about a refresh: the session with what its account and credential add.
type spending struct {
	auth.Session
	suspended        bool
	revoked, expires time.Time     // of the credential
	deadBelow        auth.Position // the higher one, of the account's sessions and of the credential
	scope            string        // of the credential, as far as it goes into tokens
	maxAge           time.Duration
	asked            time.Time // when the refresh was asked for
	now              time.Time // when its turn has come
}

// PeekSession returns the session as a refresh of this generation would find it now, and changes nothing: its scope is that of
// the pair that there would be. What could not be spent is the error that [DB.RotateSession] has for it; a generation that was
// spent is [auth.ErrReused], however lately.
func (db *DB) PeekSession(ctx context.Context, id auth.SessionID, generation int64, maxAge time.Duration) (auth.Session, error) {
	now := db.Now()
	p := spending{maxAge: maxAge, asked: now, now: now}
	err := db.read(ctx, func(q querier) error { return p.read(q.one, id) })
	if err == nil {
		_, why := p.judge(auth.Spend{Generation: generation})
		if why != nil {
			err = why.Of(p.about())
		}
	}
	if err != nil {
		return auth.Session{}, wrap(err, "look at a session")
	}
	p.Scope = verify.Intersect(p.Scope, p.scope)
	return p.Session, nil
}

// read reads everything. A session that does not exist is [auth.ErrBadRefresh].
func (p *spending) read(one func(query string, args in, to out) error, id auth.SessionID) error {
	var accountBelow, credentialBelow auth.Position
	err := one(`SELECT `+sessionColumns+`, a.suspended_at IS NOT NULL, a.b2b_dead_below, c.revoked_at, c.expires_at, c.dead_below, c.token_scope
		FROM sessions s JOIN credentials c ON c.id = s.credential JOIN accounts a ON a.id = s.account WHERE s.id = $1`, in{string(id)},
		append(scanSession(&p.Session), &p.suspended, (*int64)(&accountBelow), (*stamp)(&p.revoked), (*stamp)(&p.expires),
			(*int64)(&credentialBelow), &p.scope))
	if isNoRow(err) {
		return auth.ErrBadRefresh.Because(auth.ReasonUnknown).Of(auth.Subject{Session: id})
	}
	p.deadBelow = max(accountBelow, credentialBelow)
	return err
}

func (p *spending) about() auth.Subject {
	return auth.Subject{Account: p.Account, Credential: p.Credential, Secret: p.Secret, Session: p.ID}
}

// spendWithCare reads everything, decides, and does what was decided.
func (t *tx) spendWithCare(id auth.SessionID, spend auth.Spend, asked, now time.Time) (s auth.Session, replayed bool, refused, err error) {
	p := spending{maxAge: spend.MaxAge, asked: asked, now: now}
	if err := t.hold(`SELECT 1 FROM sessions WHERE id = $1 FOR NO KEY UPDATE`, string(id)); err != nil {
		return s, false, nil, err
	}
	err = p.read(t.one, id)
	if errors.Is(err, auth.ErrBadRefresh) {
		return s, false, err, nil
	}
	if err != nil {
		return s, false, nil, err
	}
	about := p.about()
	verdict, why := p.judge(spend)
	switch {
	case verdict == reuse && spend.OnReuse != auth.RefuseOnly:
		e := why.Of(about)
		e.Position, err = t.endReused(&p, about, spend)
		return s, false, e, err
	case why != nil:
		return s, false, why.Of(about), nil
	case spend.AddressRefused:
		return s, false, auth.ErrAddressNotAllowed.Of(about), nil
	case verdict == replay:
		return p.Session, true, nil, nil
	}
	s, err = t.spendAs(p.next(spend), spend)
	return s, false, nil, err
}

// What presenting a generation is.
type verdict int

const (
	firstUse verdict = iota
	replay
	race
	reuse
)

// judge says what presenting spend.Generation is, and why it is refused, nil if it is not. A session that is over cannot be
// reused: nothing is left to end.
func (p *spending) judge(spend auth.Spend) (verdict, *auth.Error) {
	switch {
	case spend.Generation > p.Generation || spend.Generation < 0:
		return firstUse, auth.ErrBadRefresh.Because(auth.ReasonUnknown) // never made
	case !p.EndedAt.IsZero() || !p.revoked.IsZero() || p.Position < p.deadBelow:
		return firstUse, auth.ErrEnded
	case spend.Generation == p.Generation:
		return firstUse, p.barred()
	case spend.Generation < p.Generation-1 || !p.asked.Before(p.RotatedAt.Add(spend.Leeway)):
		return reuse, auth.ErrReused
	case spend.IdempotencyDigest != nil && bytes.Equal(spend.IdempotencyDigest, p.RotatedUnder):
		return replay, p.barred()
	}
	return race, auth.ErrSpent
}

// barred says why a session that has not ended can get no pair now.
func (p *spending) barred() *auth.Error {
	switch {
	case !p.expires.IsZero() && !p.now.Before(p.expires):
		return auth.ErrEnded.Because(auth.ReasonExpired)
	case p.suspended:
		return auth.ErrEnded.Because(auth.ReasonAccountSuspended)
	case !p.now.Before(p.Expires) || p.maxAge > 0 && !p.now.Before(p.StartedAt.Add(p.maxAge)):
		return auth.ErrBadRefresh.Because(auth.ReasonExpired)
	}
	return nil
}

// next is the session as spending makes it.
func (p *spending) next(spend auth.Spend) auth.Session {
	s := p.Session
	s.Generation++
	s.RotatedAt = milli(p.now)
	s.Expires, s.AccessExpires = spend.Until, spend.AccessUntil
	for _, end := range []*time.Time{&s.Expires, &s.AccessExpires} {
		if !p.expires.IsZero() && end.After(p.expires) {
			*end = p.expires
		}
		if p.maxAge > 0 && end.After(p.StartedAt.Add(p.maxAge)) {
			*end = p.StartedAt.Add(p.maxAge)
		}
		*end = milli(*end)
	}
	s.AccessKey, s.RefreshKey = spend.AccessKey, spend.RefreshKey
	s.RotatedUnder = bytes.Clone(spend.IdempotencyDigest)
	s.Scope = verify.Intersect(s.Scope, p.scope)
	return s
}

// spendAs writes next, if its generation is still the one after that of the row.
func (t *tx) spendAs(next auth.Session, spend auth.Spend) (auth.Session, error) {
	n, err := t.exec(`UPDATE sessions SET generation = $1, rotated_at = $2, expires_at = $3, access_expires_at = $4, access_key = $5,
			refresh_key = $6, rotated_under = $7, scope = $8
		WHERE id = $9 AND generation = $10 AND ended_at IS NULL`,
		next.Generation, next.RotatedAt.UnixMilli(), next.Expires.UnixMilli(), next.AccessExpires.UnixMilli(), string(next.AccessKey),
		string(next.RefreshKey), next.RotatedUnder, next.Scope, string(next.ID), spend.Generation)
	if err == nil && n == 0 {
		err = auth.ErrSpent.Of(auth.Subject{Account: next.Account, Credential: next.Credential, Session: next.ID})
	}
	return next, err
}

// endReused ends a session of which somebody kept a copy.
func (t *tx) endReused(p *spending, about auth.Subject, spend auth.Spend) (auth.Position, error) {
	until := spend.RevokedUntil
	for _, at := range []time.Time{p.AccessExpires, p.Expires} {
		if until.Before(at) {
			until = at
		}
	}
	at, err := t.endSession(p.ID, p.Account, until, "reuse", p.now)
	if err != nil {
		return 0, err
	}
	act := spend.Act
	act.Action = "session.reuse"
	return at, t.audit(act, about, p.now)
}
