package registry

import (
	"context"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/backup"
)

// Audit returns the acts that fit the query, the newest first. A member sees those of his own account: a query that names none is
// about that.
func (r *Registry) Audit(ctx context.Context, actor auth.Actor, q auth.AuditQuery) ([]auth.AuditEntry, error) {
	if q.Account == 0 {
		q.Account = actor.Account
	}
	if err := r.see(ctx, actor, ReadAudit, auth.Subject{Account: q.Account}); err != nil {
		return nil, err
	}
	return r.store.Audit(ctx, q)
}

// ExportAudit tells the whole audit trail as of one moment, with what proves it. It is of all accounts, and so for operators.
func (r *Registry) ExportAudit(ctx context.Context, actor auth.Actor, to backup.Trail) error {
	if err := r.see(ctx, actor, ReadAudit, auth.Subject{}); err != nil {
		return err
	}
	return r.store.ExportAudit(ctx, to)
}
