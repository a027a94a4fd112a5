package store

import (
	"context"

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
		_, err = t.exec(`INSERT INTO replicas (id, applied, heard_at, started_at, version, listens) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (id) DO UPDATE SET applied = excluded.applied, heard_at = excluded.heard_at, started_at = excluded.started_at,
				version = excluded.version, listens = excluded.listens`,
			r.ID, int64(r.Applied), db.Now().UnixMilli(), r.Started.UnixMilli(), r.Version, r.Listens)
		return none, err
	})
	return wrap(err, "register a replica")
}

// Heard says that a replica is there and has applied the change log up to applied. If it is not registered any more it is
// [auth.ErrNotFound].
func (db *DB) Heard(ctx context.Context, id string, applied auth.Position) error {
	_, err := update(ctx, db, func(t *tx) (none struct{}, err error) {
		n, err := t.exec(`UPDATE replicas SET applied = $1, heard_at = $2 WHERE id = $3`, int64(applied), db.Now().UnixMilli(), id)
		if err == nil && n == 0 {
			err = auth.ErrNotFound.Saying("This replica is not registered")
		}
		return none, err
	})
	return wrap(err, "say how far a replica is")
}

// Unregister forgets a replica that shuts down: from then on nobody waits for it.
func (db *DB) Unregister(ctx context.Context, id string) error {
	_, err := update(ctx, db, func(t *tx) (none struct{}, err error) {
		_, err = t.exec(`DELETE FROM replicas WHERE id = $1`, id)
		return none, err
	})
	return wrap(err, "unregister a replica")
}

// Replicas returns the replicas that did not shut down, by id.
func (db *DB) Replicas(ctx context.Context) ([]auth.Replica, error) {
	var found []auth.Replica
	err := db.read(ctx, func(q querier) error {
		return q.all(`SELECT id, applied, heard_at, started_at, version, listens FROM replicas ORDER BY id`, nil, func(scan func(...any) error) error {
			var r auth.Replica
			err := scan(&r.ID, (*int64)(&r.Applied), (*stamp)(&r.HeardAt), (*stamp)(&r.Started), &r.Version, &r.Listens)
			found = append(found, r)
			return err
		})
	})
	return found, wrap(err, "list the replicas")
}
