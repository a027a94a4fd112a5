package people

import (
	"context"
	"errors"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/secret"
)

// Machine says who a token of the admin API is, as of now. Whatever is wrong with it, the error is [auth.ErrBadToken], after one
// read and one comparison, at an even pace, unless the spelling shows it; failures are charged to the address first.
func (p *People) Machine(ctx context.Context, token string, caller auth.Caller) (auth.Actor, error) {
	id, presented, err := auth.ParseOperatorToken(token)
	if err != nil {
		return auth.Actor{}, err
	}
	refund, err := p.attempt(ofAddress(caller))
	if err != nil {
		return auth.Actor{}, err
	}
	pace := secret.NewPace()
	t, err := p.store.OperatorToken(ctx, id)
	unknown := errors.Is(err, auth.ErrNotFound)
	if err != nil && !unknown {
		return auth.Actor{}, err
	}
	pepper, ok := p.keys.PepperOf(t.Pepper)
	if !ok {
		pepper = p.keys.Pepper()
	}
	digest := pepper.TokenDigest(id, presented.Reveal())
	now := p.now()
	wrong := t.Dead(now)
	switch same := secret.Equal(digest[:], t.Digest); {
	case unknown:
		wrong = auth.ReasonUnknown
	case !same:
		wrong = auth.ReasonWrongSecret
	}
	if wrong != auth.ReasonNone {
		pace.Even(ctx)
		return auth.Actor{}, auth.ErrBadToken.Because(wrong)
	}
	refund()
	if now.Sub(t.UsedAt) >= seenEvery {
		_ = p.store.UseOperatorToken(ctx, id, now, caller.Address) // a database that takes no writes can be read nevertheless
	}
	return auth.Actor{
		Name: "token " + t.Detail(), Role: t.Role, Machine: true, Token: t.ID, Scopes: append([]string{}, t.Scopes...),
		Address: caller.Address, RequestID: caller.RequestID,
	}, nil
}
