package main

import (
	"strconv"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/auth"
)

type accountAllowIP struct {
	ID      accountID `arg:"" help:"The account's number, or ref:REFERENCE."`
	CIDR    []prefix  `arg:"" name:"cidr" help:"Addresses and CIDRs, as 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32."`
	Note    string    `placeholder:"TEXT" help:"What they are."`
	Expires moment    `placeholder:"WHEN" help:"How long they are allowed: 30d, 2027-01-31. Without it: always."`
	DryRun  bool      `help:"Change nothing; say what the list would be, and which addresses that the account came from lately would be shut out."`
	printed
}

func (accountAllowIP) Help() string {
	return `With the first entry every other address is shut out, at once, tokens already out included. An entry that is there already gets the new note and end.

    gatehouse account allow-ip 100001 203.0.113.0/24 --note "their office" --dry-run
    gatehouse account allow-ip 100001 203.0.113.0/24 2001:db8::/32 --note "their office"
    gatehouse account allow-ip 100001 198.51.100.7 --expires 7d`
}

func (c *accountAllowIP) Run(sh *shell) error {
	enter := sh.enterToChange
	if c.DryRun {
		enter = sh.enter
	}
	o, err := enter()
	if err != nil {
		return err
	}
	defer o.close()
	a, err := o.Account(sh.ctx, string(c.ID))
	if err != nil {
		return err
	}
	expires := c.Expires.after(o.Now())
	if c.DryRun && !expires.IsZero() && !expires.After(o.Now()) {
		return usage("--expires: the entry would have expired already")
	}
	id := auth.AccountID(a.ID)
	list, err := o.Allow(sh.ctx, id, api.Allowing{CIDRs: texts(c.CIDR), Note: c.Note, ExpiresAt: expires, DryRun: c.DryRun})
	if err != nil {
		return err
	}
	if c.DryRun {
		return sh.showDryRun(list, len(a.Allowlist) == 0, c.JSON)
	}
	sh.settle(o, &list.Confirmed)
	for _, seen := range list.Addresses {
		if !seen.Allowed && !seen.Partly {
			sh.note("note: %s is shut out now: %s came from there at %s", seen.Address, seen.Who, stamp(seen.At))
		}
	}
	return sh.showAccountAgain(o, id, c.JSON)
}

func (sh *shell) showAccountAgain(o *visit, id auth.AccountID, forProgram bool) error {
	a, err := o.Account(sh.ctx, id.String())
	if err != nil {
		return err
	}
	return sh.showAccount(a, forProgram)
}

func texts(all []prefix) []string {
	var texts []string
	for _, p := range all {
		texts = append(texts, p.String())
	}
	return texts
}

// showDryRun says what would be.
func (sh *shell) showDryRun(list api.Allowlist, first, forProgram bool) error {
	if forProgram {
		return sh.json(list)
	}
	if err := sh.printf("This would be the allowlist of account %d; nothing was changed.\n\n", list.Account); err != nil {
		return err
	}
	if err := sh.showEntries(list.Allowlist); err != nil {
		return err
	}
	if first {
		if err := sh.printf("\nIts first entry shuts out every other address.\n"); err != nil {
			return err
		}
	}
	if len(list.Addresses) == 0 {
		return sh.printf("\nNo address is known that the account came from: it has no live session, and nobody came in within 30 days.\n")
	}
	rows := [][]string{{"CAME FROM", "AT", "WHO", "THEN"}}
	for _, seen := range list.Addresses {
		then := "comes in"
		switch {
		case seen.Partly:
			then = "comes in from a part of it"
		case !seen.Allowed:
			then = "is SHUT OUT"
		}
		rows = append(rows, []string{seen.Address, stamp(seen.At), seen.Who, then})
	}
	if err := sh.printf("\n"); err != nil {
		return err
	}
	if err := sh.table(rows); err != nil {
		return err
	}
	return sh.printf("\n%s of %d would be shut out.\n", strconv.Itoa(list.ShutOut), len(list.Addresses))
}

type accountRemoveIP struct {
	ID            accountID `arg:"" help:"The account's number, or ref:REFERENCE."`
	CIDR          []prefix  `arg:"" name:"cidr" help:"Entries of the list, as \"account show\" prints them."`
	AllowEveryone bool      `help:"Take the last entry off too, and open the account to every address."`
	printed
}

func (accountRemoveIP) Help() string {
	return `Whoever came from there is shut out at once, tokens already out included. An entry that has expired lets nobody in, but while it is there the account is not open to everyone.

    gatehouse account remove-ip 100001 198.51.100.7
    gatehouse account remove-ip 100001 203.0.113.0/24 --allow-everyone`
}

func (c *accountRemoveIP) Run(sh *shell) error {
	o, err := sh.enterToChange()
	if err != nil {
		return err
	}
	defer o.close()
	id, err := sh.account(o, c.ID)
	if err != nil {
		return err
	}
	list, err := o.Disallow(sh.ctx, id, api.Disallowing{CIDRs: texts(c.CIDR), AllowEveryone: c.AllowEveryone})
	if err != nil {
		return err
	}
	sh.settle(o, &list.Confirmed)
	return sh.showAccountAgain(o, id, c.JSON)
}
