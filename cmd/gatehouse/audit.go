package main

import (
	"bufio"

	"github.com/gatehouse/gatehouse/internal/backup"
)

type audits struct {
	Export auditExport `cmd:"" help:"Print the whole audit trail, one act a line."`
}

type auditExport struct{}

func (auditExport) Help() string {
	return `One JSON object a line, the oldest act first: what "gatehouse restore --journal FILE" reads, to take away once more what was taken away since a backup. Keep one beside the backups, younger than they are.

    gatehouse audit export >/var/backups/gatehouse/audit.jsonl`
}

func (c *auditExport) Run(sh *shell) error {
	op, err := sh.open()
	if err != nil {
		return err
	}
	defer op.Close()
	out := bufio.NewWriter(sh.out)
	if err := op.DB.ExportAudit(sh.ctx, func(e backup.Entry) error { return backup.WriteEntry(out, e) }); err != nil {
		return err
	}
	return out.Flush()
}
