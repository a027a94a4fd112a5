package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/gatehouse/gatehouse/internal/server"
)

type backupC struct {
	File string `arg:"" name:"file" help:"Where to write it: a file that is not there yet, or - for standard output."`
	printed
}

func (backupC) Help() string {
	return `One file with what is needed to begin anew, as it is at one moment: accounts, credentials (digests of secrets, never secrets), allowlists, the audit trail, usage. It holds no sessions, no signing keys and no refused requests. Servers go on meanwhile.

The master key is not in it, and without it the file is of no use: keep a copy of the key elsewhere. The file is written under another name, read back, and only then called FILE. It fits either kind of database: it is also the way from the embedded one to PostgreSQL.

    gatehouse backup /var/backups/gatehouse/2026-11-22.backup
    gatehouse backup - | age -r age1… >/mnt/elsewhere/gatehouse.backup.age`
}

type backupJSON struct {
	File        string `json:"file"`
	Bytes       int64  `json:"bytes"`
	Rows        int64  `json:"rows"`
	TakenAt     utc    `json:"taken_at"`
	Engine      string `json:"engine"`
	Schema      int64  `json:"schema"`
	Incarnation string `json:"incarnation"`
	Position    int64  `json:"position"`
	MasterKey   string `json:"master_key"`
}

func (c *backupC) Run(sh *shell) error {
	if c.File == "-" && c.JSON {
		return usage("with - the backup itself goes to standard output: no room for --json")
	}
	if c.File == "-" && terminalOut(sh.out.Writer) {
		return usage("the backup would go to the terminal: send it into a file or a pipe")
	}
	op, err := sh.open()
	if err != nil {
		return err
	}
	defer op.Close()
	sh.note("database: %s", op.DB.Path())
	var b server.BackedUp
	if c.File == "-" {
		b, err = op.BackUp(sh.ctx, sh.out, thisVersion().Version, sh.progress())
	} else {
		b, err = op.BackUpTo(sh.ctx, c.File, thisVersion().Version, sh.progress())
	}
	if err != nil {
		return err
	}
	h := b.Header
	if err := op.NoteBackup(sh.ctx, b); err != nil {
		sh.note("note: the backup is good, but its time could not be written down, so the servers' metric of its age goes on: %s", message(err))
	}
	sh.note("the master key %s is not in the backup: without it the backup cannot be restored, so keep a copy of it elsewhere", h.MasterKey)
	switch {
	case c.JSON:
		return sh.json(backupJSON{c.File, b.Bytes, h.Rows(), utc(h.TakenAt), h.Engine, h.Schema, h.Incarnation, h.Position, h.MasterKey})
	case c.File == "-":
		sh.note("written: %d rows, %d bytes, as of %s", h.Rows(), b.Bytes, stamp(h.TakenAt))
		return nil
	}
	return sh.printf("%s: %d rows, %d bytes, as of %s\n", c.File, h.Rows(), b.Bytes, stamp(h.TakenAt))
}

// terminalOut says whether what is written goes to a terminal.
func terminalOut(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// toldEvery is how often something long says how far it is.
const toldEvery = 2 * time.Second

// progress tells how far something long is, to a person.
func (sh *shell) progress() server.Progress {
	last := time.Now()
	return func(doing string, done, of int64) {
		if now := time.Now(); now.Sub(last) >= toldEvery {
			last = now
			sh.note("%s: %d of %d rows", doing, done, of)
		}
	}
}

type restoreC struct {
	File            string `arg:"" name:"file" help:"The backup, or - for standard input."`
	ReplaceDatabase bool   `help:"Put it in the place of the database that is there, which is kept aside."`
	Old             string `placeholder:"DATABASE" help:"The database that is replaced: \"current\" for the configured one, a file, or a postgres:// URL without a password. What was taken away in it since is taken away."`
	Journal         string `placeholder:"FILE" type:"existingfile" help:"Its audit trail, as \"gatehouse audit export\" prints it, where the database itself is lost."`
	UnderServers    bool   `name:"under-running-servers" help:"With PostgreSQL: put it under the servers that run. They go on with what is restored."`
	AcceptRevived   bool   `name:"accept-revived-credentials" help:"Accept that what was revoked since the backup was taken is good again."`
	printed
}

func (restoreC) Help() string {
	return `The database is made of the backup, wherever the configuration says, and migrated where the backup is of an older release. The file is examined to its last byte before anything is written, the master key that it was made under must be at hand, and no server may run. Interrupted, a restore leaves what was there.

Every token and every session from before is dead then: signing and refresh keys are drawn anew, and everybody presents his credential again. Credentials are as the backup has them, but what was revoked, rotated, narrowed, suspended, deleted or taken off a list since must not come back: --old or --journal takes it away once more. With neither, that has to be accepted.

    gatehouse restore today.backup --replace-database --old current
    gatehouse restore today.backup --journal audit.jsonl
    gatehouse restore /var/backups/gatehouse/2026-11-22.backup --accept-revived-credentials
    age -d -i key.txt /mnt/elsewhere/gatehouse.backup.age | gatehouse restore - --replace-database --accept-revived-credentials`
}

type restoreJSON struct {
	Database    string `json:"database"`
	Replaced    string `json:"replaced,omitempty"`
	TakenAt     utc    `json:"taken_at"`
	Rows        int64  `json:"rows"`
	Schema      int64  `json:"schema"`
	Incarnation string `json:"incarnation"`
	Accounts    int64  `json:"live_accounts"`
	Credentials int64  `json:"live_credentials"`

	TakenAway *takenJSON `json:"taken_away,omitempty"`
}

// takenJSON is what was taken away since the backup, and is so again.
type takenJSON struct {
	Deleted         int64 `json:"accounts_deleted"`
	Suspended       int64 `json:"accounts_suspended"`
	Limited         int64 `json:"accounts_limited"`
	Allowlists      int64 `json:"allowlists_changed"`
	Revoked         int64 `json:"credentials_revoked"`
	Narrowed        int64 `json:"credentials_narrowed"`
	Rotated         int64 `json:"credentials_rotated"`
	SecretsLost     int64 `json:"secrets_lost"`
	People          int64 `json:"people_changed"`
	Tokens          int64 `json:"operator_tokens_revoked"`
	AccountsGone    int64 `json:"accounts_gone"`
	CredentialsGone int64 `json:"credentials_gone"`
}

func (c *restoreC) Run(sh *shell) error {
	cfg, err := sh.config(nil)
	if err != nil {
		return err
	}
	if c.Old != "" && c.Journal != "" {
		return usage("--old and --journal tell the same: give one of them, --old if both can be had")
	}
	from := sh.stdin
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return fmt.Errorf("open the backup: %w", err)
		}
		defer f.Close()
		from = f
	}
	path := server.DatabaseName(cfg)
	sh.note("database: %s", path)
	o := server.Restore{
		From: from, Replace: c.ReplaceDatabase, Old: c.Old, AcceptRevived: c.AcceptRevived, UnderServers: c.UnderServers,
		Actor: actor(), Version: thisVersion().Version, Progress: sh.progress(),
	}
	if c.Journal != "" {
		f, err := os.Open(c.Journal)
		if err != nil {
			return fmt.Errorf("open the journal: %w", err)
		}
		defer f.Close()
		o.Journal = f
	}
	r, err := server.RestoreDatabase(sh.ctx, cfg, o)
	if errors.Is(err, server.ErrInTheWay) || errors.Is(err, server.ErrRevived) || errors.Is(err, server.ErrServersRun) {
		return fmt.Errorf("nothing was changed: %w", err)
	}
	if err != nil {
		return err
	}
	if r.Aside != "" {
		sh.note("the database that was there is kept as %s: remove it once it is not needed any more", r.Aside)
	}
	told := c.Old != "" || c.Journal != ""
	h, t := r.Header, r.Taken
	if t.SecretsLost > 0 {
		sh.note("credentials whose newest secret is in no backup: %d; their holders need new ones (gatehouse credential rotate)", t.SecretsLost)
	}
	if c.JSON {
		j := restoreJSON{
			Database: path, Replaced: r.Aside, TakenAt: utc(h.TakenAt), Rows: h.Rows(), Schema: r.Schema, Incarnation: r.Incarnation,
			Accounts: r.Census.Accounts, Credentials: r.Census.Credentials,
		}
		if told {
			taken := takenJSON(t)
			j.TakenAway = &taken
		}
		return sh.json(j)
	}
	if err := sh.printf("restored as of %s: %d rows, %d live accounts with %d live credentials\n",
		stamp(h.TakenAt), h.Rows(), r.Census.Accounts, r.Census.Credentials); err != nil {
		return err
	}
	if told {
		if err := sh.printf("taken away since, and so again: accounts %d deleted, %d suspended, %d limited, %d allowlists; credentials %d revoked, %d narrowed, %d rotated; %d people changed, %d operator tokens revoked\nmade since, and gone: %d accounts, %d credentials\n",
			t.Deleted, t.Suspended, t.Limited, t.Allowlists, t.Revoked, t.Narrowed, t.Rotated, t.People, t.Tokens, t.AccountsGone, t.CredentialsGone); err != nil {
			return err
		}
	}
	return sh.printf("every token and session from before is dead; everybody presents his credential again\n")
}
