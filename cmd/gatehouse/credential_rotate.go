package main

import (
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/server"
)

type credentialRotate struct {
	ID          string `arg:"" help:"The credential's id."`
	OldExpires  moment `placeholder:"WHEN" help:"How long the old secret stays good: 7d unless you say otherwise; a date; or now."`
	EndSessions bool   `help:"End the tokens and sessions that came of it, at once."`
	Finish      bool   `help:"End the old secret of an earlier rotation now."`
	Undo        bool   `help:"Take the new secret of an earlier rotation back, and keep the old one."`
	Out         string `placeholder:"FILE" help:"Write the new secret to this new file, which only you can read, and not to the screen."`
	printed
}

func (credentialRotate) Help() string {
	return `Both secrets are good until the old one ends, so that the customer can change over when it suits him; "credential show" tells when each was last used. Tokens and sessions live on. While two secrets are live there can be no third.

    gatehouse credential rotate 3YpE7Kq0aBcD --old-expires 30d
    gatehouse credential rotate 3YpE7Kq0aBcD --finish
    gatehouse credential rotate 3YpE7Kq0aBcD --old-expires now --end-sessions   # it leaked`
}

// keepOld is how long an old secret stays good.
const keepOld = 7 * 24 * time.Hour

func (c *credentialRotate) Run(sh *shell) error {
	ending := c.Finish || c.Undo
	switch {
	case c.Finish && c.Undo:
		return usage("--finish and --undo are the two ways out of a rotation: choose one")
	case ending && (c.OldExpires.given || c.EndSessions || c.Out != ""):
		return usage("--finish and --undo make no secret: leave out --old-expires, --end-sessions and --out")
	}
	if err := c.OldExpires.notNever("old-expires"); err != nil {
		return err
	}
	op, err := sh.change()
	if err != nil {
		return err
	}
	defer op.Close()
	found, err := op.Registry.Credential(sh.ctx, actor(), c.ID)
	if err != nil {
		return err
	}
	if ending {
		return c.end(sh, op, found)
	}
	old := op.DB.Now().Add(keepOld)
	if c.OldExpires.given {
		old = c.OldExpires.after(op.DB.Now())
	}
	to, err := openFor(c.Out)
	if err != nil {
		return err
	}
	issued, err := op.Registry.RotateCredential(sh.ctx, actor(), found.ID, old, c.EndSessions)
	if err != nil {
		to.abandon()
		return err
	}
	sh.confirmed(op, issued.Confirmed)
	if old.After(op.DB.Now()) {
		sh.note("the old secret is good until %s; gatehouse credential rotate %s --finish ends it sooner", stamp(old), found.ID)
	} else {
		sh.note("the old secret has ended")
	}
	return sh.writeSecret(to, issuedJSON{
		ID: found.ID, Kind: found.Kind, Account: found.Account, CreatedAt: utc(found.CreatedAt), OldExpiresAt: utc(old),
	}, issued, c.JSON)
}

// end ends a rotation, the one way or the other.
func (c *credentialRotate) end(sh *shell, op *server.Opened, found auth.Credential) error {
	act := op.Registry.FinishRotation
	if c.Undo {
		act = op.Registry.UndoRotation
	}
	d, err := act(sh.ctx, actor(), found.ID)
	if err != nil {
		return err
	}
	sh.done(op, d)
	if found, err = op.Registry.Credential(sh.ctx, actor(), string(found.ID)); err != nil {
		return err
	}
	return sh.showCredential(op, found, c.JSON)
}
