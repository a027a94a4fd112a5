package server

import (
	"context"

	"github.com/gatehouse/gatehouse/internal/audit/chain"
	"github.com/gatehouse/gatehouse/internal/backup"
	"github.com/gatehouse/gatehouse/internal/token"
)

// VerifyAudit says whether the audit trail of the database is what was sealed, see [chain.Verifier]. Unless want names keys, the
// last checkpoint must be signed by one that lies in the database under the master key.
func (op *Opened) VerifyAudit(ctx context.Context, want chain.Want) (chain.Report, error) {
	v := chain.NewVerifier(want)
	err := op.DB.ExportAudit(ctx, v)
	found := v.Report()
	if err != nil || len(want.Keys) > 0 || found.Checkpoint == nil {
		return found, err
	}
	ours, err := op.auditKeys(ctx)
	if err != nil {
		return found, err
	}
	return found, found.SignedBy(ours)
}

// auditKeys are the fingerprints of the keys that sign the audit trail.
func (op *Opened) auditKeys(ctx context.Context) ([]string, error) {
	return token.NewAuditKeys(op.DB, op.Masters, op.DB.Now).Fingerprints(ctx)
}

// A journal is an export of an audit trail that is replayed, as long as its chain, if it has one, is whole.
type journal struct {
	*chain.Verifier
	act     func(backup.Entry) error
	chained bool
}

// Begin implements [backup.Trail].
func (j *journal) Begin(c backup.Cut) error {
	j.chained = true
	return j.Verifier.Begin(c)
}

// Entry implements [backup.Trail].
func (j *journal) Entry(e backup.Entry) error {
	if j.chained {
		if err := j.Verifier.Entry(e); err != nil {
			return err
		}
	}
	return j.act(e)
}
