package server

import (
	"context"
	"fmt"
	"slices"

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
	ours, err := token.NewAuditKeys(op.DB, op.Masters, op.DB.Now).Fingerprints(ctx)
	if err != nil {
		return found, err
	}
	c := found.Checkpoint
	if signer := chain.Fingerprint(c.Public); !slices.Contains(ours, signer) {
		return found, &chain.Broken{Checkpoint: c.Number, What: fmt.Sprintf("checkpoint %d, the last, is signed by the key %s, which does not lie in this database under its master key. After a restore that is so until a server has run; if you know that key, name it with --key", c.Number, signer)}
	}
	return found, nil
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
