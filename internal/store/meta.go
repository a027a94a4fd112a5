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

// Reseal replaces every sealed text by what reseal returns for it, and the seal check and the master key's id, all in one; it
// returns how many texts there were. If the database is not sealed under the master key called from, or a text is not, it is
// [auth.ErrConflict] and nothing changes. An error of reseal undoes everything. reseal must not call the store.
func (db *DB) Reseal(ctx context.Context, from, to string, check []byte, reseal func(auth.Sealed) ([]byte, error), act auth.Act) (int, error) {
	n, err := update(ctx, db, func(t *tx) (int, error) {
		n, err := t.exec(`UPDATE meta SET master_key = $1, seal_check = $2 WHERE master_key = $3`, to, check, from)
		if err != nil {
			return 0, err
		}
		if n == 0 {
			return 0, auth.ErrConflict.Saying("The database is not sealed under the master key " + from)
		}
		n, err = t.resealAll(from, to, reseal)
		if err != nil {
			return 0, err
		}
		return int(n), t.audit(act, auth.Subject{}, db.Now())
	})
	return n, wrap(err, "seal the keys anew")
}

// A sealedText is a text that is sealed, and the statement that replaces it: by $1, under the master key $2, in the row $3.
type sealedText struct {
	auth.Sealed
	replace string
}

// sealedTexts is everything that is sealed under the master key.
func (t *tx) sealedTexts() ([]sealedText, error) {
	var all []sealedText
	rows, err := keys(t.all)
	if err != nil {
		return nil, err
	}
	for _, k := range rows {
		all = append(all, sealedText{k.Seal(), `UPDATE keys SET sealed = $1, master_key = $2 WHERE id = $3`})
	}
	err = t.all(`SELECT id, totp_sealed, totp_master_key FROM people WHERE totp_sealed IS NOT NULL ORDER BY id`, nil, func(scan func(...any) error) error {
		var id auth.PersonID
		var sealed []byte
		var masterKey string
		err := scan((*string)(&id), &sealed, &masterKey)
		s := auth.SealedTOTP(id)
		s.Text, s.MasterKey = sealed, masterKey
		all = append(all, sealedText{s, `UPDATE people SET totp_sealed = $1, totp_master_key = $2 WHERE id = $3`})
		return err
	})
	return all, err
}

// auditTexts are the keys of the audit trail that are sealed under the master key called under. One that is not, because a release
// that knew nothing of it has replaced the master key, is lost, and stays as it is.
func (t *tx) auditTexts(under string) ([]sealedText, error) {
	rows, err := auditKeys(t.all)
	var all []sealedText
	for _, k := range rows {
		if k.MasterKey == under {
			all = append(all, sealedText{k.Seal(), `UPDATE audit_keys SET sealed = $1, master_key = $2 WHERE id = $3`})
		}
	}
	return all, err
}

// resealAll replaces every text that is not sealed under to yet, as one is that was sealed since both keys are at hand, and returns
// how many there were. One that is sealed under neither is [auth.ErrConflict], unless from is "".
func (t *tx) resealAll(from, to string, reseal func(auth.Sealed) ([]byte, error)) (int64, error) {
	all, err := t.sealedTexts()
	if err != nil {
		return 0, err
	}
	signing, err := t.auditTexts(from)
	if err != nil {
		return 0, err
	}
	all = append(all, signing...)
	n := int64(0)
	for _, s := range all {
		if s.MasterKey == to && from != "" {
			continue
		}
		if from != "" && s.MasterKey != from {
			return 0, auth.ErrConflict.Saying(fmt.Sprintf("What is sealed of %s in %s is sealed under the master key %s", s.Row, s.Table, s.MasterKey))
		}
		sealed, err := reseal(s.Sealed)
		if err != nil {
			return 0, fmt.Errorf("%s of %s: %w", s.Row, s.Table, err)
		}
		if err := t.later(s.replace, sealed, to, s.Row); err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}
