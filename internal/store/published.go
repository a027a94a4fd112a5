package store

import (
	"context"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// HasPublished says whether there is a credential that is [auth.CredentialID.Published].
func (db *DB) HasPublished(ctx context.Context) (bool, error) {
	from, before := auth.PublishedIDs()
	var n int64
	err := db.read(ctx, func(q querier) error {
		return q.one(`SELECT count(*) FROM credentials WHERE id >= $1 AND id < $2`, in{string(from), string(before)}, out{&n})
	})
	return n > 0, wrap(err, "look for published credentials")
}
