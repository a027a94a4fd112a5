package store

import (
	"context"
	"fmt"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

const keyColumns = `id, ring, algorithm, sealed, master_key, created_at, active_at, expires_at, revoked_at`

func (t *tx) insertKey(k auth.KeyRow) error {
	return t.later(`INSERT INTO keys (`+keyColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		string(k.ID), string(k.Ring), k.Algorithm, k.Sealed, k.MasterKey, k.CreatedAt.UnixMilli(), k.ActiveAt.UnixMilli(),
		ms(k.ExpiresAt), ms(k.RevokedAt))
}

func keys(all func(string, in, func(func(...any) error) error) error) ([]auth.KeyRow, error) {
	var found []auth.KeyRow
	err := all(`SELECT `+keyColumns+` FROM keys ORDER BY seq`, nil, func(scan func(...any) error) error {
		var k auth.KeyRow
		err := scan((*string)(&k.ID), (*string)(&k.Ring), &k.Algorithm, &k.Sealed, &k.MasterKey, (*stamp)(&k.CreatedAt), (*stamp)(&k.ActiveAt),
			(*stamp)(&k.ExpiresAt), (*stamp)(&k.RevokedAt))
		found = append(found, k)
		return err
	})
	return found, err
}

// Keys returns all working keys in the order they were added, revoked and expired ones too.
func (db *DB) Keys(ctx context.Context) ([]auth.KeyRow, error) {
	var found []auth.KeyRow
	err := db.read(ctx, func(q querier) (err error) {
		found, err = keys(q.all)
		return err
	})
	return found, wrap(err, "read the keys")
}

// holdKeys keeps others from adding, revoking and resealing keys until this transaction ends: what may be added is decided by
// those that are there.
func (t *tx) holdKeys() error { return t.hold(`SELECT 1 FROM meta FOR NO KEY UPDATE`) }

// keysChanged appends the entry that makes replicas read the keys anew.
func (t *tx) keysChanged(now time.Time) (auth.Position, error) {
	return t.append(auth.Change{Of: auth.ChangedKeys, At: now})
}

// AddKey adds a key to its ring, if after is still the youngest of that ring that is not revoked, that is the one that
// becomes active last ("": there is none); else it is [auth.ErrConflict]. So of two who rotate at once one wins.
func (db *DB) AddKey(ctx context.Context, k auth.KeyRow, after auth.KeyID, act auth.Act) error {
	_, err := update(ctx, db, func(t *tx) (none struct{}, err error) {
		if err := t.holdKeys(); err != nil {
			return none, err
		}
		n, err := t.exec(`INSERT INTO keys (`+keyColumns+`) SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9
			WHERE COALESCE((SELECT id FROM keys WHERE ring = $2 AND revoked_at IS NULL ORDER BY active_at DESC, seq DESC LIMIT 1), '') = $10`,
			string(k.ID), string(k.Ring), k.Algorithm, k.Sealed, k.MasterKey, k.CreatedAt.UnixMilli(), k.ActiveAt.UnixMilli(),
			ms(k.ExpiresAt), ms(k.RevokedAt), string(after))
		if err != nil {
			return none, err
		}
		if n == 0 {
			return none, auth.ErrConflict.Saying(fmt.Sprintf("The ring %q has been rotated by somebody else", k.Ring))
		}
		now := db.Now()
		if _, err := t.keysChanged(now); err != nil {
			return none, err
		}
		return none, t.audit(act, auth.Subject{}, now)
	})
	return wrap(err, "add a key")
}

// RevokeKey makes a key, and whatever it signed, dead for good, and in the same moment adds its successor, if there is one.
// A key that is revoked already is Already, and then the successor is not added: of two who revoke at once one wins. If it is not as
// the act's terms have it, it is [auth.ErrChanged].
func (db *DB) RevokeKey(ctx context.Context, id auth.KeyID, successor *auth.KeyRow, act auth.Act) (auth.Revoked, error) {
	r, err := update(ctx, db, func(t *tx) (auth.Revoked, error) {
		now := db.Now()
		if err := t.holdKeys(); err != nil {
			return auth.Revoked{}, err
		}
		if err := t.expectKey(act.Terms, id); err != nil {
			return auth.Revoked{}, err
		}
		n, err := t.exec(`UPDATE keys SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL`, now.UnixMilli(), string(id))
		if err != nil {
			return auth.Revoked{}, err
		}
		if n == 0 {
			if err := t.keyExists(id); err != nil {
				return auth.Revoked{}, err
			}
			head, err := t.head()
			return auth.Revoked{Position: head, Already: true}, err
		}
		if successor != nil {
			if err := t.insertKey(*successor); err != nil {
				return auth.Revoked{}, err
			}
		}
		p, err := t.keysChanged(now)
		if err != nil {
			return auth.Revoked{}, err
		}
		return auth.Revoked{Position: p}, t.audit(act, auth.Subject{}, now)
	})
	return r, wrap(err, "revoke a key")
}

func (t *tx) keyExists(id auth.KeyID) error {
	var n int64
	if err := t.one(`SELECT count(*) FROM keys WHERE id = $1`, in{string(id)}, out{&n}); err != nil {
		return err
	}
	if n == 0 {
		return auth.ErrNotFound.Saying("There is no such key")
	}
	return nil
}

// DeleteKeys forgets these keys, as far as they are there.
func (db *DB) DeleteKeys(ctx context.Context, ids []auth.KeyID) error {
	_, err := update(ctx, db, func(t *tx) (none struct{}, err error) {
		deleted := int64(0)
		for _, id := range ids {
			n, err := t.exec(`DELETE FROM keys WHERE id = $1`, string(id))
			if err != nil {
				return none, err
			}
			deleted += n
		}
		if deleted > 0 {
			_, err = t.keysChanged(db.Now())
		}
		return none, err
	})
	return wrap(err, "forget dead keys")
}

// Lifetimes returns, for each type of token, how long tokens of it can live.
func (db *DB) Lifetimes(ctx context.Context) ([]auth.Lifetime, error) {
	var found []auth.Lifetime
	err := db.read(ctx, func(q querier) error {
		return q.all(`SELECT type, longest, lowered_at, lowered_to FROM lifetimes ORDER BY type`, nil, func(scan func(...any) error) error {
			var l auth.Lifetime
			err := scan(&l.Type, (*millis)(&l.Longest), (*stamp)(&l.LoweredAt), (*millis)(&l.LoweredTo))
			found = append(found, l)
			return err
		})
	})
	return found, wrap(err, "read the lifetimes")
}

// SetLifetime writes down how long tokens of one type can live. Shorter than before it becomes only by what was written down as
// lowered: if another has raised it since that is [auth.ErrConflict]. Longer than before it is told to all replicas, under the
// position that is returned, else 0: what they remember of revocations is for as long as tokens live.
func (db *DB) SetLifetime(ctx context.Context, l auth.Lifetime) (auth.Position, error) {
	raised, err := update(ctx, db, func(t *tx) (auth.Position, error) {
		var before int64
		err := t.one(`SELECT longest FROM lifetimes WHERE type = $1`, in{l.Type}, out{&before})
		first := isNoRow(err)
		if err != nil && !first {
			return 0, err
		}
		n, err := t.exec(`INSERT INTO lifetimes (type, longest, lowered_at, lowered_to) VALUES ($1, $2, $3, $4)
			ON CONFLICT (type) DO UPDATE SET longest = excluded.longest, lowered_at = excluded.lowered_at, lowered_to = excluded.lowered_to
			WHERE excluded.longest >= lifetimes.longest OR (lifetimes.lowered_at IS NOT NULL AND excluded.longest >= lifetimes.lowered_to)`,
			l.Type, l.Longest.Milliseconds(), ms(l.LoweredAt), l.LoweredTo.Milliseconds())
		if err == nil && n == 0 {
			err = auth.ErrConflict.Saying("The lifetime of " + l.Type + " has been raised by somebody else")
		}
		if err != nil || first || l.Longest.Milliseconds() <= before {
			return 0, err
		}
		return t.keysChanged(db.Now())
	})
	return raised, wrap(err, "write a lifetime")
}
