package main

import (
	"strings"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/secret"
)

type signingKeys struct {
	List   signingKeyList   `cmd:"" help:"List the keys that sign tokens."`
	Rotate signingKeyRotate `cmd:"" help:"Make the next signing key before its time."`
	Revoke signingKeyRevoke `cmd:"" help:"End a leaked key, and every token that it signed."`
}

// showKeys prints all keys with what they are doing.
func (sh *shell) showKeys(o *visit, forProgram bool) error {
	keys, err := o.SigningKeys(sh.ctx)
	if err != nil {
		return err
	}
	if forProgram {
		return sh.json(keys.Items)
	}
	what := map[string]string{
		"next": "next: published, signs later", "signing": "signing", "kept": "kept until the last token that it signed is dead", "revoked": "revoked",
	}
	table := [][]string{{"KEY", "SIGNS", "ALGORITHM", "CREATED", "SIGNS FROM", "STATE"}}
	for _, k := range keys.Items {
		signs := "access tokens"
		if k.Ring == string(auth.RefreshRing) {
			signs = "refresh tokens"
		}
		state := what[k.State]
		if k.State == "revoked" {
			state += " " + stamp(k.RevokedAt)
		}
		table = append(table, []string{k.ID, signs, k.Algorithm, stamp(k.CreatedAt), stamp(k.ActiveAt), state})
	}
	return sh.table(table)
}

type signingKeyList struct{ printed }

func (signingKeyList) Help() string {
	return `They rotate by themselves (signing_keys in the configuration). A key is published before it signs, and kept after it.

    gatehouse signing-key list`
}

func (c *signingKeyList) Run(sh *shell) error {
	o, err := sh.enter()
	if err != nil {
		return err
	}
	defer o.close()
	return sh.showKeys(o, c.JSON)
}

type signingKeyRotate struct{ printed }

func (signingKeyRotate) Help() string {
	return `It is published now and signs once whoever keeps the key set can know it (signing_keys.publish_ahead). Tokens that are out stay good. For a key that leaked, see "signing-key revoke".

    gatehouse signing-key rotate`
}

func (c *signingKeyRotate) Run(sh *shell) error {
	o, err := sh.enterToChange()
	if err != nil {
		return err
	}
	defer o.close()
	made, err := o.RotateSigningKey(sh.ctx)
	if err != nil {
		return err
	}
	sh.settle(o, &made.Confirmed)
	if !c.JSON {
		sh.note("key %s signs from %s on", made.ID, stamp(made.ActiveAt))
	}
	return sh.showKeys(o, c.JSON)
}

type signingKeyRevoke struct {
	ID string `arg:"" help:"The key's id, as \"signing-key list\" shows it; it is the kid of every token that it signed."`
	printed
}

func (signingKeyRevoke) Help() string {
	return `Every token that it signed is dead at once, and every client has to exchange or log in anew. If it was the key that signs, another takes over at the same moment.

    gatehouse signing-key revoke k7Hq2LmN9pRs`
}

func (c *signingKeyRevoke) Run(sh *shell) error {
	o, err := sh.enterToChange()
	if err != nil {
		return err
	}
	defer o.close()
	revoked, err := o.RevokeSigningKey(sh.ctx, auth.KeyID(c.ID))
	if err != nil {
		return err
	}
	sh.settle(o, &revoked.Confirmed)
	return sh.showKeys(o, c.JSON)
}

type masterKeys struct {
	Generate masterKeyGenerate `cmd:"" help:"Print a new master key."`
	Check    masterKeyCheck    `cmd:"" help:"Say whether the master key at hand fits the database."`
	Rotate   masterKeyRotate   `cmd:"" help:"Seal everything anew under another master key."`
}

type masterKeyGenerate struct{}

func (masterKeyGenerate) Help() string {
	return `32 random bytes in base64url, alone on a line of standard output: the form that GATEHOUSE_MASTER_KEY and the file of master_key_file take. It is kept nowhere.

    (umask 077 && gatehouse master-key generate > master.key)`
}

func (masterKeyGenerate) Run(sh *shell) error { return sh.printf("%s\n", secret.GenerateMasterKey()) }

type masterKeyCheck struct{ printed }

func (masterKeyCheck) Help() string {
	return `It opens everything that is sealed. A key's id, as mk_0123456789ab, tells keys apart and tells nothing of them.

    gatehouse master-key check`
}

func (c *masterKeyCheck) Run(sh *shell) error {
	op, err := sh.open() // which fails where it does not fit
	if err != nil {
		return err
	}
	defer op.Close()
	under, current := op.Meta.MasterKey, op.Masters.Current.ID
	if c.JSON {
		return sh.json(map[string]any{"fits": true, "sealed_under": under, "current": current, "rotation_pending": under != current})
	}
	if under != current {
		sh.note("the key that is current now, %s, is not in use yet: gatehouse master-key rotate seals everything under it", current)
	}
	return sh.printf("the master key %s fits the database %s\n", under, op.DB.Path())
}

type masterKeyRotate struct{ printed }

func (masterKeyRotate) Help() string {
	return strings.TrimSpace(`
No credential and no token is lost. Both keys must be at hand meanwhile:

1. Make a new key: gatehouse master-key generate.

2. Give it as the master key (GATEHOUSE_MASTER_KEY, its …_FILE, master_key_file, or the file master.key in the data directory), and the old one as GATEHOUSE_MASTER_KEY_PREVIOUS or GATEHOUSE_MASTER_KEY_PREVIOUS_FILE. Restart the server with both.

3. Run this command with both. Afterwards the old key opens nothing but older backups: keep it with those, and take it out of the server's surroundings.

    GATEHOUSE_MASTER_KEY_FILE=new.key GATEHOUSE_MASTER_KEY_PREVIOUS_FILE=old.key gatehouse master-key rotate`)
}

func (c *masterKeyRotate) Run(sh *shell) error {
	op, err := sh.change()
	if err != nil {
		return err
	}
	defer op.Close()
	from, to := op.Meta.MasterKey, op.Masters.Current.ID
	n, err := op.RotateMasterKey(sh.ctx, actor())
	if err != nil {
		return err
	}
	if c.JSON {
		return sh.json(map[string]any{"from": from, "to": to, "keys": n})
	}
	return sh.printf("%s, sealed under %s, are now sealed under %s\n", count(n, "working key", "working keys"), from, to)
}
