package store

import (
	"context"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// An AuditEntry is one act as it is kept.
type AuditEntry struct {
	Number int64
	At     time.Time
	Act    auth.Act
	About  auth.Subject
}

// audit writes down an act, in the transaction of what it changed.
func (t *tx) audit(act auth.Act, about auth.Subject, now time.Time) error {
	return t.later(`INSERT INTO audit (at, actor, action, account, credential, secret, session, request_id, address, detail)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		now.UnixMilli(), act.Actor, act.Action, int64(about.Account), string(about.Credential), about.Secret, string(about.Session),
		act.RequestID, address(act.Address), act.Detail)
}

// Note writes down an act that changed nothing, such as one that was refused.
func (db *DB) Note(ctx context.Context, act auth.Act, about auth.Subject) error {
	_, err := update(ctx, db, func(t *tx) (struct{}, error) { return struct{}{}, t.audit(act, about, db.Now()) })
	return wrap(err, "write down an act")
}

// AuditTrail returns the last acts, the newest first, at most so many.
func (db *DB) AuditTrail(ctx context.Context, most int) ([]AuditEntry, error) {
	var entries []AuditEntry
	err := db.read(ctx, func(q querier) error {
		return q.all(`SELECT number, at, actor, action, account, credential, secret, session, request_id, address, detail
			FROM audit ORDER BY number DESC LIMIT $1`, in{most}, func(scan func(...any) error) error {
			var e AuditEntry
			err := scan(&e.Number, (*stamp)(&e.At), &e.Act.Actor, &e.Act.Action, (*int64)(&e.About.Account), (*string)(&e.About.Credential),
				&e.About.Secret, (*string)(&e.About.Session), &e.Act.RequestID, (*addr)(&e.Act.Address), &e.Act.Detail)
			entries = append(entries, e)
			return err
		})
	})
	return entries, wrap(err, "read the audit trail")
}
