package store

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/gatehouse/gatehouse/internal/auth"
)

const refusalColumns = `r.id, r.at, r.count, r.method, r.host, r.path, r.route, r.contract, r.status, r.reason, r.account, r.credential,
	r.secret, r.session, r.type, r.address, r.peer, r.forwarded, r.user_agent, r.limit_name, r.issued_at, r.detail`

// WriteRefusals stores refusals, each under a new id, all or none.
func (db *DB) WriteRefusals(ctx context.Context, refusals []auth.Refusal) error {
	if len(refusals) == 0 {
		return nil
	}
	_, err := update(ctx, db, func(t *tx) (none struct{}, err error) {
		for _, r := range refusals {
			var id int64
			err := t.one(`INSERT INTO refusals (at, count, method, host, path, route, contract, status, reason, account, credential, secret,
					session, type, address, peer, forwarded, user_agent, limit_name, issued_at, detail)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21) RETURNING id`,
				in{
					r.At.UnixMilli(), r.Count, r.Method, r.Host, r.Path, r.Route, string(r.Contract), r.Status, string(r.Reason),
					int64(r.Subject.Account), string(r.Subject.Credential), r.Subject.Secret, string(r.Subject.Session), string(r.Type),
					address(r.Address), address(r.Peer), r.Forwarded, r.UserAgent, r.Limit, ms(r.IssuedAt), r.Detail,
				}, out{&id})
			if err != nil {
				return none, err
			}
			for _, request := range r.RequestIDs {
				if err := t.later(`INSERT INTO refusal_requests (request_id, refusal) VALUES ($1, $2) ON CONFLICT DO NOTHING`, request, id); err != nil {
					return none, err
				}
			}
		}
		return none, nil
	})
	return wrap(err, "write refusals")
}

// Refusals returns the refusals that fit every field of f that is set, the newest first.
func (db *DB) Refusals(ctx context.Context, f auth.RefusalFilter) ([]auth.Refusal, error) {
	// Out of fixed parts, for the sake of the indexes; what is asked for is always a parameter.
	var where []string
	var args in
	fits := func(condition string, value any) {
		args = append(args, value)
		where = append(where, fmt.Sprintf(condition, len(args)))
	}
	if f.Account != 0 {
		fits(`r.account = $%d`, int64(f.Account))
	}
	if f.Credential != "" {
		fits(`r.credential = $%d`, string(f.Credential))
	}
	if f.Address.IsValid() {
		fits(`r.address = $%d`, address(f.Address))
	}
	if !f.Since.IsZero() {
		fits(`r.at >= $%d`, f.Since.UnixMilli())
	}
	if f.RequestID != "" {
		fits(`r.id IN (SELECT refusal FROM refusal_requests WHERE request_id = $%d)`, f.RequestID)
	}
	query := `SELECT ` + refusalColumns + ` FROM refusals r`
	if len(where) > 0 {
		query += ` WHERE ` + strings.Join(where, ` AND `)
	}
	args = append(args, cmp.Or(f.Most, 100))
	query += fmt.Sprintf(` ORDER BY r.at DESC, r.id DESC LIMIT $%d`, len(args))

	var found []auth.Refusal
	err := db.snapshot(ctx, func(q querier) error {
		found = nil
		err := q.all(query, args, func(scan func(...any) error) error {
			var r auth.Refusal
			err := scan(&r.ID, (*stamp)(&r.At), &r.Count, &r.Method, &r.Host, &r.Path, &r.Route, (*string)(&r.Contract), &r.Status,
				(*string)(&r.Reason), (*int64)(&r.Subject.Account), (*string)(&r.Subject.Credential), &r.Subject.Secret,
				(*string)(&r.Subject.Session), (*string)(&r.Type), (*addr)(&r.Address), (*addr)(&r.Peer), &r.Forwarded, &r.UserAgent,
				&r.Limit, (*stamp)(&r.IssuedAt), &r.Detail)
			found = append(found, r)
			return err
		})
		if err != nil {
			return err
		}
		for i := range found {
			r := &found[i]
			err := q.all(`SELECT request_id FROM refusal_requests WHERE refusal = $1`, in{r.ID}, func(scan func(...any) error) error {
				var id string
				err := scan(&id)
				r.RequestIDs = append(r.RequestIDs, id)
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, wrap(err, "read refusals")
	}
	return found, nil
}
