package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/audit/chain"
)

type audits struct {
	List   auditList   `cmd:"" help:"List who changed what, the newest first."`
	Verify auditVerify `cmd:"" help:"Say whether the audit trail is what was written, or where it is not."`
	Export auditExport `cmd:"" help:"Write the whole audit trail, one act a line."`
}

type auditList struct {
	Account    accountID `placeholder:"ID" help:"Only acts about this account: its number, or ref:REFERENCE."`
	Credential string    `placeholder:"ID" help:"Only acts about this credential."`
	Person     string    `placeholder:"ID" help:"Only acts of this operator or member, or done to one."`
	Action     string    `placeholder:"ACTION" help:"Only these acts, as account.suspend."`
	Since      moment    `placeholder:"WHEN" help:"Only those since then: 2h, 7d, 2027-01-31."`
	Until      moment    `placeholder:"WHEN" help:"Only those before then."`
	Limit      int       `default:"100" placeholder:"N" help:"How many at most."`
	printed
}

func (auditList) Help() string {
	return `Who did what to whom, when, from which address, by which request. Acts are kept for audit.retention.

    gatehouse audit list --account 100001 --since 7d
    gatehouse audit list --action session.reuse --json`
}

func (c *auditList) Run(sh *shell) error {
	if err := errors.Join(c.Since.notNever("since"), c.Until.notNever("until")); err != nil {
		return err
	}
	if c.Limit < 1 || c.Limit > 100_000 {
		return usage("--limit %d: write 1 to 100000", c.Limit)
	}
	o, err := sh.enter()
	if err != nil {
		return err
	}
	defer o.close()
	account, err := sh.accountIfAny(o, c.Account)
	if err != nil {
		return err
	}
	q := api.AuditQuery{
		Account: int64(account), Credential: c.Credential, Person: c.Person, Action: c.Action,
		Since: c.Since.before(o.Now()), Until: c.Until.before(o.Now()),
	}
	found, err := some(c.Limit, func(r api.Range) (api.Page[api.AuditEntry], error) {
		q.Range = r
		return o.Audit(sh.ctx, q)
	})
	if err != nil {
		return err
	}
	heading := []string{"AT", "ACTION", "ACTOR", "ACCOUNT", "ABOUT", "FROM", "REQUEST", "DETAIL"}
	return showList(sh, found, c.JSON, "there is no such act, as far as they are kept", heading, func(e api.AuditEntry) []string {
		account := ""
		if e.Account != 0 {
			account = strconv.FormatInt(e.Account, 10)
		}
		about := cmp.Or(e.Credential, e.Session, e.About)
		if e.Credential != "" && e.Secret != 0 {
			about += ", secret " + strconv.Itoa(e.Secret)
		}
		return []string{stamp(e.At), e.Action, e.Actor, account, about, e.Address, e.RequestID, e.Detail}
	})
}

type auditVerify struct {
	File       string   `arg:"" optional:"" help:"An export, or - for standard input. Without one the database, or the server's, is verified."`
	Key        []string `placeholder:"FINGERPRINT" help:"The key that must have signed the last checkpoint, as you keep it elsewhere. More than once: one of them."`
	Checkpoint []string `placeholder:"ROW:HASH" help:"A checkpoint that you keep elsewhere: the chain must go through it."`
	printed
}

func (auditVerify) Help() string {
	return `Every act is chained to the one before it, within a second of being written by a running server, and the chain's end is signed every few seconds. This reads all of it and names the first row that was changed, removed, put in or moved. What lies after the last checkpoint is counted: its rows are compared with their hashes, but nothing is signed yet.

Who holds the database and the master key can write another history and sign it. Against that keep the fingerprint of the key, and a checkpoint now and then, where neither of them lies: --key and --checkpoint hold the trail against them.

    gatehouse audit verify
    gatehouse audit verify audit.jsonl --key SHA256:… --checkpoint 1234:9f86d0…`
}

// verifiedJSON is what was found, whole or not.
type verifiedJSON struct {
	Whole       bool            `json:"whole"`
	What        string          `json:"what,omitempty"` // is wrong
	BrokenRow   int64           `json:"broken_row,omitempty"`
	BrokenPoint int64           `json:"broken_checkpoint,omitempty"`
	Rows        int64           `json:"rows"`
	First       int64           `json:"first,omitempty"`
	Last        int64           `json:"last,omitempty"`
	Removed     int64           `json:"removed"` // for their age
	Checkpoints int64           `json:"checkpoints"`
	Checkpoint  *checkpointJSON `json:"checkpoint,omitempty"`
	After       int64           `json:"after"` // the last checkpoint
}

type checkpointJSON struct {
	Number int64  `json:"number"`
	Point  string `json:"point"`
	At     utc    `json:"at"`
	Key    string `json:"key"`
}

func (c *auditVerify) Run(sh *shell) error {
	var want chain.Want
	for _, s := range c.Key {
		k, err := chain.ParseFingerprint(s)
		if err != nil {
			return usage("--key: %v", err)
		}
		want.Keys = append(want.Keys, k)
	}
	for _, s := range c.Checkpoint {
		p, err := chain.ParsePoint(s)
		if err != nil {
			return usage("--checkpoint: %v", err)
		}
		want.Points = append(want.Points, p)
	}
	found, err := c.verify(sh, want)
	var broken *chain.Broken
	if unread := !errors.As(err, &broken) && (c.File == "" || found.Rows == 0); err != nil && unread {
		return err // which says nothing about what is written there
	}
	if c.JSON {
		return errors.Join(sh.json(verifiedForPrograms(found, err)), err)
	}
	if err != nil {
		return fmt.Errorf("the audit trail is not what was sealed: %w", err)
	}
	return sh.tellVerified(found)
}

func (c *auditVerify) verify(sh *shell, want chain.Want) (chain.Report, error) {
	if c.File == "" {
		o, err := sh.enter()
		if err != nil {
			return chain.Report{}, err
		}
		defer o.close()
		return o.VerifyAudit(sh.ctx, want)
	}
	from := sh.stdin
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return chain.Report{}, fmt.Errorf("open the export: %w", err)
		}
		defer f.Close()
		from = f
	}
	return chain.VerifyFile(from, want)
}

func verifiedForPrograms(r chain.Report, err error) verifiedJSON {
	j := verifiedJSON{
		Whole: err == nil, Rows: r.Rows, First: r.First, Last: r.Last, Removed: r.Cut, Checkpoints: r.Checkpoints, After: r.After,
	}
	if r.Checkpoint != nil {
		j.Checkpoint = &checkpointJSON{
			r.Checkpoint.Number, chain.Point{Seq: r.Checkpoint.Seq, Hash: r.Checkpoint.Hash}.String(), utc(r.Checkpoint.At), chain.Fingerprint(r.Checkpoint.Public),
		}
	}
	if err != nil {
		j.What = err.Error()
		var broken *chain.Broken
		if errors.As(err, &broken) {
			j.BrokenRow, j.BrokenPoint = broken.Row, broken.Checkpoint
		}
	}
	return j
}

func (sh *shell) tellVerified(r chain.Report) error {
	removed := ""
	if r.Cut > 0 {
		removed = fmt.Sprintf(", %d older ones removed for their age", r.Cut)
	}
	if r.Checkpoint == nil {
		return sh.printf("whole: %d rows%s; no checkpoint yet, nothing is signed (a running server signs)\n", r.Rows, removed)
	}
	p := chain.Point{Seq: r.Checkpoint.Seq, Hash: r.Checkpoint.Hash}
	return sh.printf("whole: %d rows%s; last checkpoint %s, %d rows after it\ncheckpoint %s\nkey        %s\n",
		r.Rows, removed, stamp(r.Checkpoint.At), r.After, p, chain.Fingerprint(r.Checkpoint.Public))
}

type auditExport struct {
	File string `arg:"" optional:"" help:"Where to write it: a file that is not there yet. Without one, or with -, to standard output."`
}

func (auditExport) Help() string {
	return `One JSON object a line, the oldest act first, with its place in the chain and its hash; between them the checkpoints. "audit verify FILE" says later whether it is still what was written, wherever it lies, and "restore --journal FILE" takes away once more what was taken away since a backup. Keep one beside the backups, younger than they are.

    gatehouse audit export /var/backups/gatehouse/audit-2026-11-22.jsonl
    gatehouse audit export | gzip >/mnt/elsewhere/audit.jsonl.gz`
}

func (c *auditExport) Run(sh *shell) error {
	o, err := sh.enter()
	if err != nil {
		return err
	}
	defer o.close()
	export := func(to io.Writer) error { return o.ExportAudit(sh.ctx, to) }
	if c.File == "" || c.File == "-" {
		return export(sh.out)
	}
	return writeNew(c.File, export)
}

// writeNew writes a file that only its owner can read, under another name until it is whole. One that is there is left alone.
func writeNew(path string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // with mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := write(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Link(f.Name(), path); errors.Is(err, fs.ErrExist) { // unlike a rename it never replaces
		return fmt.Errorf("%s is there already: an export is never written over another file", path)
	} else if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
