package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

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

// Refusals returns the refusals that fit every field of f that is set, in the order of their places.
func (db *DB) Refusals(ctx context.Context, f auth.RefusalFilter) ([]auth.Refusal, error) {
	fits := picking{}
	if f.Account != 0 {
		fits.add(`r.account = $%d`, int64(f.Account))
	}
	if f.Credential != "" {
		fits.add(`r.credential = $%d`, string(f.Credential))
	}
	if f.Address.IsValid() {
		fits.add(`r.address = $%d`, address(f.Address))
	}
	if !f.Since.IsZero() {
		fits.add(`r.at >= $%d`, f.Since.UnixMilli())
	}
	if f.RequestID != "" {
		fits.add(`r.id IN (SELECT refusal FROM refusal_requests WHERE request_id = $%d)`, f.RequestID)
	}
	most := cmp.Or(f.Most, auth.UsualRows)
	var found []auth.Refusal
	err := db.snapshot(ctx, func(q querier) error {
		older, err := refusalsAbout(q, fits, `r.at < $%d`, f.After.At, most)
		if err != nil {
			return err
		}
		found = older
		if !f.After.At.IsZero() { // the rest of the millisecond in which the page before ended
			same, err := refusalsAbout(q, fits, `r.at = $%d`, f.After.At, sameMoment)
			if err != nil {
				return err
			}
			found = append(same, found...)
		}
		if len(older) == most { // and all of the one in which this page may
			last := older[most-1].At
			found = slices.DeleteFunc(found, func(r auth.Refusal) bool { return r.At.Equal(last) })
			same, err := refusalsAbout(q, fits, `r.at = $%d`, last, sameMoment)
			if err != nil {
				return err
			}
			found = append(found, same...)
		}
		return addRequests(q, found)
	})
	if err != nil {
		return nil, wrap(err, "read refusals")
	}
	return auth.SortRefusals(found, f.After, most), nil
}

// RefusalReasons counts the requests that were refused since a moment, by reason, of an account or (0) of all. It looks at the newest
// rows only, so many, and says whether those were all.
func (db *DB) RefusalReasons(ctx context.Context, account auth.AccountID, since time.Time, most int) (found map[auth.Reason]int64, all bool, err error) {
	p := picking{}
	p.add(`at >= $%d`, since.UnixMilli())
	if account != 0 {
		p.add(`account = $%d`, int64(account))
	}
	limit := p.parameter(most + 1)
	err = db.read(ctx, func(q querier) error {
		rows := int64(0)
		found = make(map[auth.Reason]int64)
		err := q.all(`SELECT reason, CAST(SUM(count) AS BIGINT), COUNT(*) FROM (SELECT reason, count FROM refusals`+p.String()+
			fmt.Sprintf(` ORDER BY at DESC LIMIT $%d) AS newest GROUP BY reason`, limit), p.args,
			func(scan func(...any) error) error {
				var reason auth.Reason
				var count, of int64
				err := scan((*string)(&reason), &count, &of)
				found[reason] = count
				rows += of
				return err
			})
		all = rows <= int64(most)
		return err
	})
	return found, all, wrap(err, "count refusals")
}

// sameMoment is how many rows of one millisecond are read: more are not written in a minute.
const sameMoment = 1000

// refusalsAbout reads refusals of before or at a moment, a zero one is none, the newest first.
func refusalsAbout(q querier, fits picking, condition string, moment time.Time, most int) ([]auth.Refusal, error) {
	p := fits.clone()
	if !moment.IsZero() {
		p.add(condition, moment.UnixMilli())
	}
	limit := p.parameter(most)
	var found []auth.Refusal
	err := q.all(`SELECT `+refusalColumns+` FROM refusals r`+p.String()+fmt.Sprintf(` ORDER BY r.at DESC, r.id DESC LIMIT $%d`, limit), p.args,
		func(scan func(...any) error) error {
			var r auth.Refusal
			err := scan(&r.ID, (*stamp)(&r.At), &r.Count, &r.Method, &r.Host, &r.Path, &r.Route, (*string)(&r.Contract), &r.Status,
				(*string)(&r.Reason), (*int64)(&r.Subject.Account), (*string)(&r.Subject.Credential), &r.Subject.Secret,
				(*string)(&r.Subject.Session), (*string)(&r.Type), (*addr)(&r.Address), (*addr)(&r.Peer), &r.Forwarded, &r.UserAgent,
				&r.Limit, (*stamp)(&r.IssuedAt), &r.Detail)
			found = append(found, r)
			return err
		})
	return found, err
}

// addRequests gives refusals the ids of their requests.
func addRequests(q querier, found []auth.Refusal) error {
	at := make(map[int64]int, len(found))
	for i, r := range found {
		at[r.ID] = i
	}
	for rest := found; len(rest) > 0; {
		some := rest[:min(len(rest), requestsAtOnce)]
		rest = rest[len(some):]
		p := picking{}
		var numbers []string
		for _, r := range some {
			numbers = append(numbers, fmt.Sprintf("$%d", p.parameter(r.ID)))
		}
		err := q.all(`SELECT refusal, request_id FROM refusal_requests WHERE refusal IN (`+strings.Join(numbers, `, `)+`) ORDER BY refusal, request_id`,
			p.args, func(scan func(...any) error) error {
				var refusal int64
				var id string
				err := scan(&refusal, &id)
				r := &found[at[refusal]]
				r.RequestIDs = append(r.RequestIDs, id)
				return err
			})
		if err != nil {
			return err
		}
	}
	return nil
}

// requestsAtOnce is for how many refusals the ids of their requests are read by one statement.
const requestsAtOnce = 200
