package registry

import (
	"context"

	"github.com/gatehouse/gatehouse/internal/auth"
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
