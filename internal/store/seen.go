package store

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

const (
	// mostSeen is how many addresses are remembered of an account, by credential: more find no place until others have been forgotten.
	mostSeen = 2000
	// roomFor is how long it is believed how much room an account has: other servers use it up too, and what is old is forgotten.
	roomFor = time.Minute
	// mostRooms is of how many accounts it is known.
	mostRooms = 10_000
	// countAtOnce is how many accounts are counted by one statement.
	countAtOnce = 50
)

// A rooms knows how many addresses may still be remembered of an account, at least: counting them for each that is written
// would cost many times what writing it does.
type rooms struct {
	mu    sync.Mutex
	since time.Time
	left  map[auth.AccountID]int
}

// of is what is known at now about accounts.
func (r *rooms) of(accounts []auth.AccountID, now time.Time) map[auth.AccountID]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.left) > mostRooms || now.Sub(r.since) >= roomFor || now.Before(r.since) {
		r.since, r.left = now, make(map[auth.AccountID]int)
	}
	known := make(map[auth.AccountID]int, len(accounts))
	for _, id := range accounts {
		if left, ok := r.left[id]; ok {
			known[id] = left
		}
		delete(r.left, id) // until it is written what will be
	}
	return known
}

func (r *rooms) know(left map[auth.AccountID]int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.Copy(r.left, left)
}

// countSeen says how many more addresses may be remembered of each account.
func (t *tx) countSeen(accounts []auth.AccountID, left map[auth.AccountID]int) error {
	numbers := make([]string, countAtOnce)
	for i := range numbers {
		numbers[i] = fmt.Sprintf("$%d", i+1)
	}
	query := `SELECT account, count(*) FROM seen_addresses WHERE account IN (` + strings.Join(numbers, `, `) + `) GROUP BY account`
	for some := range slices.Chunk(accounts, countAtOnce) {
		args := make(in, countAtOnce)
		for i := range args {
			args[i] = int64(some[min(i, len(some)-1)]) // always as many: one statement, compiled once
		}
		for _, id := range some {
			left[id] = mostSeen
		}
		if err := t.all(query, args, func(scan func(...any) error) error {
			var id auth.AccountID
			var n int
			err := scan((*int64)(&id), &n)
			left[id] = max(0, mostSeen-n)
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

const (
	setSeen = `count = seen_addresses.count + excluded.count, at = CASE WHEN excluded.at >= seen_addresses.at THEN excluded.at ELSE seen_addresses.at END`
	addSeen = `INSERT INTO seen_addresses (account, prefix, credential, at, count) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (account, prefix, credential) DO UPDATE SET ` + setSeen
	// addSeenIfRoom looks for itself.
	addSeenIfRoom = `INSERT INTO seen_addresses (account, prefix, credential, at, count)
		SELECT CAST($1 AS BIGINT), CAST($2 AS TEXT), CAST($3 AS TEXT), CAST($4 AS BIGINT), CAST($5 AS BIGINT)
		WHERE EXISTS (SELECT 1 FROM seen_addresses WHERE account = $1 AND prefix = $2 AND credential = $3)
			OR (SELECT count(*) FROM seen_addresses WHERE account = $1) < $6
		ON CONFLICT (account, prefix, credential) DO UPDATE SET ` + setSeen
	updateSeen = `UPDATE seen_addresses SET count = count + $5, at = CASE WHEN $4 >= at THEN $4 ELSE at END
		WHERE account = $1 AND prefix = $2 AND credential = $3`
)

// WriteSightings remembers where credentials came from, as far as their accounts have room. All or nothing.
func (db *DB) WriteSightings(ctx context.Context, seen []auth.Sighting) error {
	if len(seen) == 0 {
		return nil
	}
	type sighting struct {
		auth.Sighting
		prefix string
	}
	rows := make([]sighting, len(seen))
	more := make(map[auth.AccountID]int)
	for i, s := range seen {
		rows[i] = sighting{s, s.From.String()}
		more[s.Account]++
	}
	slices.SortFunc(rows, func(a, b sighting) int { // in one order, as usage
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.prefix, b.prefix), cmp.Compare(a.Credential, b.Credential))
	})
	accounts := slices.Sorted(maps.Keys(more))
	known := db.rooms.of(accounts, db.Now())
	left, err := update(ctx, db, func(t *tx) (map[auth.AccountID]int, error) {
		left := maps.Clone(known)
		var unknown []auth.AccountID
		for _, id := range accounts {
			if n, ok := left[id]; !ok || n > 0 && n < more[id] {
				unknown = append(unknown, id)
			}
		}
		if err := t.countSeen(unknown, left); err != nil {
			return nil, err
		}
		for _, s := range rows {
			args := in{int64(s.Account), s.prefix, string(s.Credential), s.At.UnixMilli(), s.Count}
			query := addSeen
			switch n := left[s.Account]; {
			case n == 0:
				query = updateSeen
			case n < more[s.Account]:
				query, args = addSeenIfRoom, append(args, mostSeen)
			}
			if err := t.later(query, args...); err != nil {
				return nil, err
			}
		}
		for id, n := range more {
			if left[id] > n {
				left[id] -= n
			} else if left[id] > 0 {
				delete(left, id) // it may have more: what was there already took no place
			}
		}
		return left, nil
	})
	if err == nil {
		db.rooms.know(left)
	}
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
