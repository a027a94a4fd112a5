package store

import (
	"context"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// ClaimRepeat claims an Idempotency-Key, by its digest, for a request, by its digest, until a time. If it is claimed already, it
// says for which request, and what was answered. Of two who claim it at once one has it.
func (db *DB) ClaimRepeat(ctx context.Context, key, request []byte, until time.Time) (auth.Repeat, error) {
	repeat, err := update(ctx, db, func(t *tx) (r auth.Repeat, err error) {
		n, err := t.exec(`INSERT INTO repeats (digest, request, answer, until) VALUES ($1, $2, NULL, $3)
			ON CONFLICT (digest) DO UPDATE SET request = excluded.request, answer = NULL, until = excluded.until WHERE repeats.until <= $4`,
			key, request, until.UnixMilli(), db.Now().UnixMilli())
		if err != nil || n == 1 {
			r.Claimed = n == 1
			return r, err
		}
		return r, t.one(`SELECT request, COALESCE(answer, '') FROM repeats WHERE digest = $1`, in{key}, out{&r.Request, &r.Answer})
	})
	return repeat, wrap(err, "claim an idempotency key")
}

// FinishRepeat keeps the answer to the request that a key is claimed for.
func (db *DB) FinishRepeat(ctx context.Context, key []byte, answer string) error {
	_, err := update(ctx, db, func(t *tx) (int64, error) {
		return t.exec(`UPDATE repeats SET answer = $1 WHERE digest = $2`, answer, key)
	})
	return wrap(err, "keep the answer under an idempotency key")
}

// ReleaseRepeat forgets the claim of a key whose request was refused.
func (db *DB) ReleaseRepeat(ctx context.Context, key []byte) error {
	_, err := update(ctx, db, func(t *tx) (int64, error) {
		return t.exec(`DELETE FROM repeats WHERE digest = $1 AND answer IS NULL`, key)
	})
	return wrap(err, "release an idempotency key")
}
