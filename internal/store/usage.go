package store

import (
	"context"
	"slices"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// WriteUsage adds counts to those of the same credential, hour and deed, and to each secret's uses; of a secret the latest
// use is kept. All or nothing.
func (db *DB) WriteUsage(ctx context.Context, rows []auth.UsageRow, uses []auth.SecretUse) error {
	if len(rows) == 0 && len(uses) == 0 {
		return nil
	}
	// In one order: two replicas that count the same must not wait for one another in a ring.
	rows, uses = slices.Clone(rows), slices.Clone(uses)
	slices.SortFunc(rows, auth.UsageRow.Compare)
	slices.SortFunc(uses, auth.SecretUse.Compare)
	_, err := update(ctx, db, func(t *tx) (none struct{}, err error) {
		for _, r := range rows {
			if err := t.later(`INSERT INTO usage (account, hour, credential, what, count) VALUES ($1, $2, $3, $4, $5)
				ON CONFLICT (account, hour, credential, what) DO UPDATE SET count = usage.count + excluded.count`,
				int64(r.Account), r.Hour.UnixMilli(), string(r.Credential), r.What, r.Count); err != nil {
				return none, err
			}
		}
		for _, u := range uses {
			if err := t.later(`INSERT INTO secret_uses (credential, secret, at, address, user_agent, count) VALUES ($1, $2, $3, $4, $5, $6)
				ON CONFLICT (credential, secret) DO UPDATE SET count = secret_uses.count + excluded.count,
					at = CASE WHEN excluded.at >= secret_uses.at THEN excluded.at ELSE secret_uses.at END,
					address = CASE WHEN excluded.at >= secret_uses.at THEN excluded.address ELSE secret_uses.address END,
					user_agent = CASE WHEN excluded.at >= secret_uses.at THEN excluded.user_agent ELSE secret_uses.user_agent END`,
				string(u.Credential), u.Secret, u.At.UnixMilli(), address(u.Address), u.UserAgent, u.Count); err != nil {
				return none, err
			}
		}
		return none, nil
	})
	return wrap(err, "write usage")
}

// Usage returns what an account's credentials did in the hours that began at q.Since or later and before q.Until, if there is an end, by
// hour; with a step of a day, by day of UTC.
func (db *DB) Usage(ctx context.Context, q auth.UsageQuery) ([]auth.UsageRow, error) {
	p := picking{}
	p.add(`account = $%d AND hour >= $%d`, int64(q.Account), max(0, q.Since.UnixMilli()))
	if !q.Until.IsZero() {
		p.add(`hour < $%d`, q.Until.UnixMilli())
	}
	if q.Credential != "" {
		p.add(`credential = $%d`, string(q.Credential))
	}
	query := `SELECT hour, credential, what, count FROM usage` + p.String() + ` ORDER BY hour, credential, what`
	if q.Step == auth.Daily {
		query = `SELECT hour - hour % 86400000 AS day, credential, what, CAST(SUM(count) AS BIGINT) FROM usage` + p.String() +
			` GROUP BY hour - hour % 86400000, credential, what ORDER BY day, credential, what`
	}
	var rows []auth.UsageRow
	err := db.read(ctx, func(r querier) error {
		rows = nil
		return r.all(query, p.args, func(scan func(...any) error) error {
			r := auth.UsageRow{Account: q.Account}
			err := scan((*stamp)(&r.Hour), (*string)(&r.Credential), &r.What, &r.Count)
			rows = append(rows, r)
			return err
		})
	})
	return rows, wrap(err, "read usage")
}
