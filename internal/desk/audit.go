package desk

import (
	"context"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/auth"
)

// Audit lists acts, the newest first.
func (d *Desk) Audit(ctx context.Context, q api.AuditQuery) (api.Page[api.AuditEntry], error) {
	var none api.Page[api.AuditEntry]
	most, err := atOnce(q.Range)
	if err != nil {
		return none, err
	}
	before, err := cursor(q.After, auth.ParseAuditPlace)
	if err != nil {
		return none, err
	}
	found, err := d.registry.Audit(ctx, d.actor, auth.AuditQuery{
		Account: auth.AccountID(q.Account), Credential: auth.CredentialID(q.Credential), Person: auth.PersonID(q.Person), Action: q.Action,
		Since: q.Since, Until: q.Until, Before: before, Most: most + 1,
	})
	if err != nil {
		return none, err
	}
	return page(found, most, act, func(e *auth.AuditEntry) string { return e.Place().String() }), nil
}

// act is an act as it is told.
func act(e *auth.AuditEntry) api.AuditEntry {
	return api.AuditEntry{
		Number: e.Number, Seq: e.Seq, At: at(e.At), Actor: e.Act.Actor, Person: string(e.Act.Person), Action: e.Act.Action,
		Account: int64(e.About.Account), Credential: string(e.About.Credential), Secret: e.About.Secret, Session: string(e.About.Session),
		About: string(e.About.Person), RequestID: e.Act.RequestID, Address: address(e.Act.Address), Detail: e.Act.Detail,
	}
}
