package store

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// mostSeen is how many addresses are remembered of an account, by credential: more find no place until others have been forgotten.
const mostSeen = 2000

// WriteSightings remembers where credentials came from. All or nothing.
func (db *DB) WriteSightings(ctx context.Context, seen []auth.Sighting) error {
	if len(seen) == 0 {
		return nil
	}
	seen = slices.Clone(seen) // in one order, as usage
	slices.SortFunc(seen, func(a, b auth.Sighting) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.From.String(), b.From.String()), cmp.Compare(a.Credential, b.Credential))
	})
	_, err := update(ctx, db, func(t *tx) (none struct{}, err error) {
		for _, s := range seen {
			if err := t.later(`INSERT INTO seen_addresses (account, prefix, credential, at, count)
				SELECT CAST($1 AS BIGINT), CAST($2 AS TEXT), CAST($3 AS TEXT), CAST($4 AS BIGINT), CAST($5 AS BIGINT)
				WHERE (SELECT count(*) FROM seen_addresses WHERE account = $1) < $6
					OR EXISTS (SELECT 1 FROM seen_addresses WHERE account = $1 AND prefix = $2 AND credential = $3)
				ON CONFLICT (account, prefix, credential) DO UPDATE SET count = seen_addresses.count + excluded.count,
					at = CASE WHEN excluded.at >= seen_addresses.at THEN excluded.at ELSE seen_addresses.at END`,
				int64(s.Account), s.From.String(), string(s.Credential), s.At.UnixMilli(), s.Count, mostSeen); err != nil {
				return none, err
			}
		}
		return none, nil
	})
	return wrap(err, "write where credentials came from")
}

// Seen returns where an account's credentials came from since then, the latest first.
func (db *DB) Seen(ctx context.Context, account auth.AccountID, since time.Time) ([]auth.Sighting, error) {
	var seen []auth.Sighting
	err := db.read(ctx, func(q querier) error {
		seen = nil
		return q.all(`SELECT prefix, credential, at, count FROM seen_addresses WHERE account = $1 AND at >= $2 ORDER BY at DESC, prefix, credential`,
			in{int64(account), since.UnixMilli()}, func(scan func(...any) error) error {
				s := auth.Sighting{Account: account}
				var prefix string
				err := scan(&prefix, (*string)(&s.Credential), (*stamp)(&s.At), &s.Count)
				if err == nil {
					s.From, err = netip.ParsePrefix(prefix)
				}
				seen = append(seen, s)
				return err
			})
	})
	return seen, wrap(err, "read where an account's credentials came from")
}
