package store

import (
	"context"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// ClearReplicas forgets all replicas: the one server of this database does so when it starts, holding the data directory.
func (db *DB) ClearReplicas(ctx context.Context) error {
	_, err := update(ctx, db, func(t *tx) (none struct{}, err error) {
		_, err = t.exec(`DELETE FROM replicas`)
		return none, err
	})
	return wrap(err, "forget earlier replicas")
}

// Register writes down a replica, heard of now; HeardAt is not looked at.
func (db *DB) Register(ctx context.Context, r auth.Replica) error {
	_, err := update(ctx, db, func(t *tx) (none struct{}, err error) {
		_, err = t.exec(`INSERT INTO replicas (id, applied, heard_at, started_at, version, listens, max_staleness) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (id) DO UPDATE SET applied = excluded.applied, heard_at = excluded.heard_at, started_at = excluded.started_at,
				version = excluded.version, listens = excluded.listens, max_staleness = excluded.max_staleness`,
			r.ID, int64(r.Applied), db.Now().UnixMilli(), r.Started.UnixMilli(), r.Version, r.Listens, r.MaxStaleness.Milliseconds())
		return none, err
	})
	return wrap(err, "register a replica")
}

// Follow is the heartbeat of a replica, in one transaction: its row says that it was heard now and has applied the change log
// up to applied, and then the log is read as [DB.Changes] does. A position of another incarnation, or beyond the head, is
// written as 0: nobody shall take it for one that he waits for. If the replica is not registered any more it is
// [auth.ErrNotFound].
func (db *DB) Follow(ctx context.Context, id, incarnation string, applied auth.Position) (now string, head auth.Position, changes []auth.Change, err error) {
	l, err := update(ctx, db, func(t *tx) (l logged, err error) {
		n, err := t.exec(`UPDATE replicas SET heard_at = $1, applied = CASE
				WHEN $2 = (SELECT incarnation FROM meta) AND $3 <= (SELECT head FROM log_head) THEN $3 ELSE 0 END
			WHERE id = $4`, db.Now().UnixMilli(), incarnation, int64(applied), id)
		if err == nil && n == 0 {
			err = auth.ErrNotFound.Saying("This replica is not registered")
		}
		if err == nil {
			err = t.clock()
		}
		if err != nil {
			return logged{}, err
		}
		return changesAfter(t, applied)
	})
	if err != nil {
		return "", 0, nil, wrap(err, "follow the change log")
	}
	if l.more {
		db.wake.kick()
	}
	return l.incarnation, l.head, l.changes, nil
}

// Unregister forgets a replica that shuts down: from then on nobody waits for it.
func (db *DB) Unregister(ctx context.Context, id string) error {
	_, err := update(ctx, db, func(t *tx) (none struct{}, err error) {
		_, err = t.exec(`DELETE FROM replicas WHERE id = $1`, id)
		return none, err
	})
	return wrap(err, "unregister a replica")
}

// Replicas returns the replicas that did not shut down, by id, and what time it is for those who were heard.
func (db *DB) Replicas(ctx context.Context) (found []auth.Replica, now time.Time, err error) {
	err = db.read(ctx, func(q querier) error {
		found, now = nil, db.Now()
		return q.all(`SELECT id, applied, heard_at, started_at, version, listens, max_staleness FROM replicas ORDER BY id`, nil, func(scan func(...any) error) error {
			var r auth.Replica
			err := scan(&r.ID, (*int64)(&r.Applied), (*stamp)(&r.HeardAt), (*stamp)(&r.Started), &r.Version, &r.Listens, (*millis)(&r.MaxStaleness))
			found = append(found, r)
			return err
		})
	})
	return found, now, wrap(err, "list the replicas")
}
