package store

import (
	"context"
	"fmt"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// Birth is what a new database begins with.
type Birth struct {
	Incarnation string // random
	SealCheck   []byte // sealed under the master key, so that another one is noticed
	MasterKey   string // the id of the master key
	Keys        []auth.KeyRow
}

// Meta is what the database knows of itself.
type Meta struct {
	Incarnation string
	SealCheck   []byte
	MasterKey   string
	CreatedAt   time.Time
}

// Create gives an empty, migrated database its identity and its first keys, all in one. If it has them already it is
// [auth.ErrConflict] and nothing changes: of two who create at once one wins.
func (db *DB) Create(ctx context.Context, b Birth) error {
	_, err := update(ctx, db, func(t *tx) (none struct{}, err error) {
		n, err := t.exec(`INSERT INTO meta (id, incarnation, seal_check, master_key, created_at, next_account)
			VALUES (1, $1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
			b.Incarnation, b.SealCheck, b.MasterKey, db.Now().UnixMilli(), int64(auth.FirstAccount))
		if err != nil {
			return none, err
		}
		if n == 0 {
			return none, auth.ErrConflict.Saying("The database has been set up already")
		}
		if _, err := t.exec(`INSERT INTO log_head (id, head) VALUES (1, 0)`); err != nil {
			return none, err
		}
		for _, k := range b.Keys {
			if err := t.insertKey(k); err != nil {
				return none, err
			}
		}
		return none, nil
	})
	return wrap(err, "set up the database")
}

// Meta returns what [DB.Create] and [DB.Reseal] wrote; before that it is [auth.ErrNotFound].
func (db *DB) Meta(ctx context.Context) (Meta, error) {
	var m Meta
	err := db.read(ctx, func(q querier) error {
		return q.one(`SELECT incarnation, seal_check, master_key, created_at FROM meta`, nil,
			out{&m.Incarnation, &m.SealCheck, &m.MasterKey, (*stamp)(&m.CreatedAt)})
	})
	if err != nil {
		return Meta{}, wrap(notFound(err, "The database has not been set up"), "read what the database is")
	}
	return m, nil
}

// Reseal replaces the sealed form of every working key by what reseal returns for it, and the seal check and the master
// key's id, all in one; it returns how many keys there were. If the database is not sealed under the master key called
// from, or a key is not, it is [auth.ErrConflict] and nothing changes. An error of reseal undoes everything. reseal must not
// call the store.
func (db *DB) Reseal(ctx context.Context, from, to string, check []byte, reseal func(auth.KeyRow) ([]byte, error), act auth.Act) (int, error) {
	n, err := update(ctx, db, func(t *tx) (int, error) {
		n, err := t.exec(`UPDATE meta SET master_key = $1, seal_check = $2 WHERE master_key = $3`, to, check, from)
		if err != nil {
			return 0, err
		}
		if n == 0 {
			return 0, auth.ErrConflict.Saying("The database is not sealed under the master key " + from)
		}
		rows, err := keys(t.all)
		if err != nil {
			return 0, err
		}
		for _, k := range rows {
			if k.MasterKey != from {
				return 0, auth.ErrConflict.Saying(fmt.Sprintf("Key %s is sealed under the master key %s", k.ID, k.MasterKey))
			}
			sealed, err := reseal(k)
			if err != nil {
				return 0, fmt.Errorf("key %s: %w", k.ID, err)
			}
			if err := t.later(`UPDATE keys SET sealed = $1, master_key = $2 WHERE id = $3`, sealed, to, string(k.ID)); err != nil {
				return 0, err
			}
		}
		return len(rows), t.audit(act, auth.Subject{}, db.Now())
	})
	return n, wrap(err, "seal the keys anew")
}
