package store

import (
	"context"
	"fmt"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// pruneBatch is how many rows go in one transaction: few enough that a login waiting for the same commit does not notice.
const pruneBatch = 500

// usedMargin is how much longer than needed it is remembered that something was used: clocks differ.
const usedMargin = time.Minute

// PruneBefore says what may go: whatever is older. A zero time keeps everything.
type PruneBefore struct {
	Audit    time.Time // whom only older acts are about; of those acts themselves see [DB.NextCut]
	Refusals time.Time
	Usage    time.Time
	Sessions time.Time // whose refresh and access tokens both expired before
	Changes  time.Time
	Replicas time.Time // that were not heard since
	Seen     time.Time // addresses that credentials came from
}

// Prune deletes what is old, in small batches, each a transaction. Revocations of sessions go when they need not be
// remembered any more. An entry of an allowlist never goes by itself: without its last one the account would be open.
func (db *DB) Prune(ctx context.Context, before PruneBefore) error {
	for _, p := range []struct {
		what, query string
		before      time.Time
	}{
		{"refusals", `DELETE FROM refusals WHERE id IN (SELECT id FROM refusals WHERE at < $1 ORDER BY at LIMIT $2)`, before.Refusals},
		{"revoked sessions", `DELETE FROM revoked_sessions WHERE sid IN
			(SELECT sid FROM revoked_sessions WHERE until < $1 ORDER BY until LIMIT $2)`, db.Now()},
		// By number, up to the first that stays: what is left has no gaps, even if the clocks of those who wrote it differ.
		{"change log", `DELETE FROM changes WHERE number IN (SELECT number FROM changes ORDER BY number LIMIT $2) AND number <
			COALESCE((SELECT MIN(f.number) FROM (SELECT number, at FROM changes ORDER BY number LIMIT $2) f WHERE f.at >= $1), 9223372036854775807)`, before.Changes},
		{
			"addresses", `DELETE FROM seen_addresses WHERE (account, prefix, credential) IN
				(SELECT account, prefix, credential FROM seen_addresses WHERE at < $1 ORDER BY at LIMIT $2)`, before.Seen,
		},
		// Looked at twice: one that comes back at this moment keeps its row.
		{"replicas", `DELETE FROM replicas WHERE heard_at < $1 AND id IN (SELECT id FROM replicas WHERE heard_at < $1 ORDER BY heard_at LIMIT $2)`, before.Replicas},
		{
			"assertions", `DELETE FROM used_once WHERE digest IN (SELECT digest FROM used_once WHERE until < $1 ORDER BY until LIMIT $2)`,
			db.Now().Add(-usedMargin),
		},
		{"links", `DELETE FROM invitations WHERE person IN (SELECT person FROM invitations WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)`, db.Now()},
		{
			"sessions of dashboards", `DELETE FROM dashboard_sessions WHERE digest IN
			(SELECT digest FROM dashboard_sessions WHERE idle_ends_at < $1 ORDER BY idle_ends_at LIMIT $2)`, db.Now(),
		},
		// Once no act is about them any more.
		{"persons", forgetPeople, before.Audit},
		{"operator tokens", `DELETE FROM operator_tokens WHERE id IN (SELECT id FROM operator_tokens WHERE revoked_at < $1 OR expires_at < $1 LIMIT $2)`, before.Audit},
		{"idempotency keys", `DELETE FROM repeats WHERE digest IN (SELECT digest FROM repeats WHERE until < $1 ORDER BY until LIMIT $2)`, db.Now()},
	} {
		if p.before.IsZero() {
			continue
		}
		if err := db.prune(ctx, p.query, p.before); err != nil {
			return wrap(err, "prune the "+p.what)
		}
	}
	if err := db.pruneUsage(ctx, before.Usage); err != nil {
		return wrap(err, "prune the usage")
	}
	return wrap(db.pruneSessions(ctx, before.Sessions), "prune the sessions")
}

// pruneUsage goes from account to account: an index on the hour alone would cost every row that is written more than this
// costs once in a while.
func (db *DB) pruneUsage(ctx context.Context, before time.Time) error {
	if before.IsZero() {
		return nil
	}
	for account := int64(-1); ; {
		err := db.read(ctx, func(q querier) error {
			return q.one(`SELECT account FROM usage WHERE account > $1 ORDER BY account LIMIT 1`, in{account}, out{&account})
		})
		if isNoRow(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := db.prune(ctx, `DELETE FROM usage WHERE account = $3 AND (hour, credential, what) IN
			(SELECT hour, credential, what FROM usage WHERE account = $3 AND hour < $1 ORDER BY hour LIMIT $2)`, before, account); err != nil {
			return err
		}
	}
}

// prune runs a query that deletes at most $2 rows from before $1, until there are none.
func (db *DB) prune(ctx context.Context, query string, before time.Time, more ...any) error {
	args := append(in{before.UnixMilli(), pruneBatch}, more...)
	for {
		n, err := update(ctx, db, func(t *tx) (int64, error) { return t.exec(query, args...) })
		if err != nil || n < pruneBatch {
			return err
		}
	}
}

// pruneSessions walks through the sessions by id: an index on their expiry would cost every refresh more than this walk
// costs once in a while. The walk reads; only what it found is deleted, if it is still as old.
func (db *DB) pruneSessions(ctx context.Context, before time.Time) error {
	if before.IsZero() {
		return nil
	}
	for from, more := "", true; more; {
		var old []string
		err := db.read(ctx, func(q querier) error {
			seen := 0
			err := q.all(`SELECT id, expires_at < $2 AND access_expires_at < $2 FROM sessions WHERE id > $1 ORDER BY id LIMIT $3`,
				in{from, before.UnixMilli(), 4 * pruneBatch}, func(scan func(...any) error) error {
					var isOld bool
					seen++
					err := scan(&from, &isOld)
					if isOld {
						old = append(old, from)
					}
					return err
				})
			more = seen == 4*pruneBatch
			return err
		})
		if err != nil {
			return err
		}
		for len(old) > 0 {
			batch := old[:min(len(old), pruneBatch)]
			old = old[len(batch):]
			_, err := update(ctx, db, func(t *tx) (none struct{}, err error) {
				for _, id := range batch {
					if err := t.later(`DELETE FROM sessions WHERE id = $1 AND expires_at < $2 AND access_expires_at < $2`, id, before.UnixMilli()); err != nil {
						return none, fmt.Errorf("session %s: %w", auth.SessionID(id), err)
					}
				}
				return none, nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
