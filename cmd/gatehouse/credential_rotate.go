package main

import (
	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/auth"
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
	o, err := sh.enterToChange()
	if err != nil {
		return err
	}
	defer o.close()
	if ending {
		return sh.alterCredential(o, c.ID, c.JSON, func(id auth.CredentialID) (api.Credential, error) {
			if c.Undo {
				return o.UndoRotation(sh.ctx, id)
			}
			return o.FinishRotation(sh.ctx, id)
		})
	}
	found, err := o.Credential(sh.ctx, c.ID)
	if err != nil {
		return err
	}
	asked := api.Rotation{EndSessions: c.EndSessions}
	if c.OldExpires.given {
		asked.OldExpiresAt = c.OldExpires.after(o.Now())
	}
	to, err := openFor(c.Out)
	if err != nil {
		return err
	}
	issued, err := o.RotateCredential(sh.ctx, auth.CredentialID(found.ID), asked)
	if err != nil {
		to.abandon()
		return err
	}
	sh.settle(o, &issued.Confirmed)
	if issued.OldExpiresAt.After(o.Now()) {
		sh.note("the old secret is good until %s; gatehouse credential rotate %s --finish ends it sooner", stamp(issued.OldExpiresAt), found.ID)
	} else {
		sh.note("the old secret has ended")
	}
	return sh.writeSecret(to, issued, c.JSON)
}
