package gate

import (
	"context"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/verify"
)

// Scoped says which OAuth client presents p, if an operator gave it the scope; otherwise the error is
// [auth.ErrInsufficientScope]. The limit by credential is not charged: whoever has such a scope asks as often as he needs to.
func (g *Gate) Scoped(ctx context.Context, p auth.Presented, scope string, from auth.Caller) (auth.Subject, error) {
	c, err := g.admit(ctx, p, from)
	if err != nil {
		return auth.Subject{}, err
	}
	if !verify.HasScope(c.Scope, scope) {
		return auth.Subject{}, auth.ErrInsufficientScope.Of(c.about)
	}
	return c.about, nil
}
