package desk

import (
	"bufio"
	"context"
	"io"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/audit/chain"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/backup"
	"github.com/gatehouse/gatehouse/internal/registry"
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

// ExportAudit writes the whole audit trail, as [backup.Exporter] does, in pieces of some size.
func (d *Desk) ExportAudit(ctx context.Context, to io.Writer) error {
	out := bufio.NewWriterSize(to, 64<<10)
	if err := d.registry.ExportAudit(ctx, d.actor, backup.NewExporter(out)); err != nil {
		return err
	}
	return out.Flush()
}

// AuditKeys are the fingerprints of the keys that sign the audit trail here.
func (d *Desk) AuditKeys(ctx context.Context) ([]string, error) {
	if err := d.Ask(ctx, registry.ReadAudit, 0); err != nil {
		return nil, err
	}
	return d.config.AuditKeys(ctx)
}

// VerifyAudit says whether the audit trail is what was sealed, see [chain.Verifier]. Unless want names keys, the last checkpoint must be
// signed by one of [Desk.AuditKeys].
func (d *Desk) VerifyAudit(ctx context.Context, want chain.Want) (chain.Report, error) {
	if err := d.Ask(ctx, registry.ReadAudit, 0); err != nil {
		return chain.Report{}, err
	}
	return d.config.VerifyAudit(ctx, want)
}
