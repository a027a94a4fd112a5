package desk

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/audit"
	"github.com/gatehouse/gatehouse/internal/auth"
)

// Explain says why a request was refused, and what would mend it.
func (d *Desk) Explain(ctx context.Context, requestID string) (audit.Explained, error) {
	x, err := d.registry.Explain(ctx, d.actor, requestID)
	if errors.Is(err, auth.ErrNotFound) {
		err = auth.ErrNotFound.Saying(auth.AsError(err).Msg + ": only those that were refused are kept, for " + d.config.Retention +
			" (refusals.retention); gatehouse refusal list shows them")
	}
	return x, err
}

// Refusals lists who was refused, the newest first.
func (d *Desk) Refusals(ctx context.Context, q api.RefusalQuery) (api.Page[api.Refusal], error) {
	var none api.Page[api.Refusal]
	most, err := atOnce(q.Range)
	if err != nil {
		return none, err
	}
	after, err := auth.ParseRefusalPlace(q.After)
	if err != nil {
		return none, err
	}
	found, err := d.registry.Refusals(ctx, d.actor, auth.RefusalFilter{
		Account: auth.AccountID(q.Account), Credential: auth.CredentialID(q.Credential), Address: q.Address, Since: q.Since,
		After: after, Most: most + 1,
	})
	if err != nil {
		return none, err
	}
	return page(found, most, refusal, func(r *auth.Refusal) string { return r.Place().String() }), nil
}

// refusal is a refusal as it is told.
func refusal(r *auth.Refusal) api.Refusal {
	return api.Refusal{
		At: at(r.At), RequestIDs: append([]string{}, r.RequestIDs...), Count: r.Count, Method: r.Method, Path: r.Path, Host: r.Host,
		Route: r.Route, Contract: string(r.Contract), Status: r.Status, Reason: string(r.Reason), Account: int64(r.Subject.Account),
		Credential: string(r.Subject.Credential), Secret: r.Subject.Secret, Session: string(r.Subject.Session), Type: string(r.Type),
		Address: address(r.Address), UserAgent: r.UserAgent, Limit: r.Limit,
	}
}

// Usage lists what an account's credentials were used for, by the hour. The hour that holds the moment belongs to it.
func (d *Desk) Usage(ctx context.Context, id auth.AccountID, since time.Time) (api.Page[api.UsageRow], error) {
	var none api.Page[api.UsageRow]
	rows, err := d.registry.Usage(ctx, d.actor, auth.UsageQuery{Account: id, Since: since.UTC().Truncate(time.Hour)})
	if err != nil {
		return none, err
	}
	told := []api.UsageRow{}
	for _, r := range rows {
		told = append(told, api.UsageRow{Hour: at(r.Hour), Credential: string(r.Credential), What: r.What, Count: r.Count})
	}
	return api.Page[api.UsageRow]{Items: told}, nil
}
