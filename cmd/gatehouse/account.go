package main

import (
	"fmt"
	"strconv"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/auth"
)

type accounts struct {
	Create   accountCreate   `cmd:"" help:"Make an account."`
	List     accountList     `cmd:"" help:"List all accounts."`
	Show     accountShow     `cmd:"" help:"Show an account with its allowlist."`
	Rename   accountRename   `cmd:"" help:"Give an account another name, or another reference."`
	Suspend  accountSuspend  `cmd:"" help:"Refuse everything of an account, at once."`
	Resume   accountResume   `cmd:"" help:"End a suspension."`
	Delete   accountDelete   `cmd:"" help:"End everything of an account, for good."`
	Limit    accountLimit    `cmd:"" help:"Give an account a rate limit of its own."`
	AllowIP  accountAllowIP  `cmd:"" name:"allow-ip" help:"Add addresses to an account's allowlist."`
	RemoveIP accountRemoveIP `cmd:"" name:"remove-ip" help:"Take addresses off an account's allowlist."`
}

// showAccount prints an account.
func (sh *shell) showAccount(a api.Account, forProgram bool) error {
	if forProgram {
		return sh.json(a)
	}
	limit := a.Requests
	if a.Burst > 0 {
		limit += ", " + strconv.FormatInt(a.Burst, 10) + " at once"
	}
	status := a.Status
	if !a.SuspendedAt.IsZero() {
		status += " since " + stamp(a.SuspendedAt)
	}
	from := "every address"
	if len(a.Allowlist) > 0 {
		from = "the allowlist below, and nowhere else"
	}
	if err := sh.facts("account", strconv.FormatInt(a.ID, 10), "name", a.Name, "ref", a.Ref, "status", status, "created", stamp(a.CreatedAt),
		"limit", limit, "comes from", from); err != nil || len(a.Allowlist) == 0 {
		return err
	}
	if err := sh.printf("\n"); err != nil {
		return err
	}
	return sh.showEntries(a.Allowlist)
}

func (sh *shell) showEntries(entries []api.AllowEntry) error {
	rows := [][]string{{"ALLOWED", "UNTIL", "NOTE"}}
	for _, e := range entries {
		rows = append(rows, []string{e.CIDR, or(stamp(e.ExpiresAt), "always"), e.Note})
	}
	return sh.table(rows)
}

type accountCreate struct {
	Name string `required:"" placeholder:"NAME" help:"The customer's name."`
	Ref  string `placeholder:"REF" help:"Your own reference for it, as C-4711. Commands take it as ref:C-4711, and your API gets it with every call."`
	printed
}

func (accountCreate) Help() string {
	return `It gets the next number, from 100001 upwards; no number is ever used twice. Customers see it as client_id.

    gatehouse account create --name "Acme Ltd" --ref C-4711`
}

func (c *accountCreate) Run(sh *shell) error {
	o, err := sh.enterToChange()
	if err != nil {
		return err
	}
	defer o.close()
	a, err := o.CreateAccount(sh.ctx, api.NewAccount{Name: c.Name, Ref: c.Ref})
	if err != nil {
		return err
	}
	sh.settle(o, &a.Confirmed)
	if !c.JSON {
		sh.note("next: gatehouse credential create --account %d --kind api-key", a.ID)
	}
	return sh.showAccount(a, c.JSON)
}

type accountList struct{ printed }

func (accountList) Help() string {
	return `    gatehouse account list
    gatehouse account list --json | jq -r '.[] | select(.status == "suspended") | .id'`
}

func (c *accountList) Run(sh *shell) error {
	o, err := sh.enter()
	if err != nil {
		return err
	}
	defer o.close()
	all, err := whole(func(r api.Range) (api.Page[api.Account], error) {
		return o.Accounts(sh.ctx, api.AccountQuery{Range: r})
	})
	if err != nil {
		return err
	}
	heading := []string{"ACCOUNT", "NAME", "REF", "STATUS", "ALLOWLIST", "CREATED"}
	return showList(sh, all, c.JSON, "there are no accounts yet: gatehouse account create --name NAME", heading, func(a api.Account) []string {
		from := "everyone"
		if n := len(a.Allowlist); n > 0 {
			from = count(n, "entry", "entries")
		}
		return []string{strconv.FormatInt(a.ID, 10), a.Name, a.Ref, a.Status, from, stamp(a.CreatedAt)}
	})
}

type accountShow struct {
	ID accountID `arg:"" help:"The account's number, or ref:REFERENCE."`
	printed
}

func (accountShow) Help() string {
	return `    gatehouse account show 100001
    gatehouse account show ref:C-4711 --json`
}

func (c *accountShow) Run(sh *shell) error {
	o, err := sh.enter()
	if err != nil {
		return err
	}
	defer o.close()
	a, err := o.Account(sh.ctx, string(c.ID))
	if err != nil {
		return err
	}
	return sh.showAccount(a, c.JSON)
}

// alter is how the commands that change an account go: find it, change it, say how far the change has come, show it.
func (sh *shell) alter(id accountID, forProgram bool, change func(*visit, auth.AccountID) (api.Account, error)) error {
	o, err := sh.enterToChange()
	if err != nil {
		return err
	}
	defer o.close()
	found, err := sh.account(o, id)
	if err != nil {
		return err
	}
	a, err := change(o, found)
	if err != nil {
		return err
	}
	sh.settle(o, &a.Confirmed)
	return sh.showAccount(a, forProgram)
}

type accountRename struct {
	ID   accountID `arg:"" help:"The account's number, or ref:REFERENCE."`
	Name string    `placeholder:"NAME" help:"The new name."`
	Ref  *string   `placeholder:"REF" help:"The new reference; an empty one takes it away."`
	printed
}

func (accountRename) Help() string {
	return `    gatehouse account rename 100001 --name "Acme International"
    gatehouse account rename 100001 --ref C-4712`
}

func (c *accountRename) Run(sh *shell) error {
	if c.Name == "" && c.Ref == nil {
		return usage("nothing to change: give --name or --ref")
	}
	return sh.alter(c.ID, c.JSON, func(o *visit, id auth.AccountID) (api.Account, error) {
		u := api.AccountUpdate{Ref: c.Ref}
		if c.Name != "" {
			u.Name = &c.Name
		}
		return o.UpdateAccount(sh.ctx, id, u)
	})
}

type accountSuspend struct {
	ID           accountID `arg:"" help:"The account's number, or ref:REFERENCE."`
	RevokeTokens bool      `help:"End its tokens and sessions for good, so that resume does not bring them back."`
	printed
}

func (accountSuspend) Help() string {
	return `Its credentials open nothing, its tokens are refused, its sessions cannot be refreshed. "account resume" gives back what has not expired in the meantime.

    gatehouse account suspend 100001
    gatehouse account suspend ref:C-4711 --revoke-tokens`
}

func (c *accountSuspend) Run(sh *shell) error {
	return sh.alter(c.ID, c.JSON, func(o *visit, id auth.AccountID) (api.Account, error) {
		return o.SuspendAccount(sh.ctx, id, api.Suspension{RevokeTokens: c.RevokeTokens})
	})
}

type accountResume struct {
	ID accountID `arg:"" help:"The account's number, or ref:REFERENCE."`
	printed
}

func (accountResume) Help() string {
	return `Tokens and sessions that have not expired are good again, unless "account suspend --revoke-tokens" ended them.

    gatehouse account resume 100001`
}

func (c *accountResume) Run(sh *shell) error {
	return sh.alter(c.ID, c.JSON, func(o *visit, id auth.AccountID) (api.Account, error) {
		return o.ResumeAccount(sh.ctx, id)
	})
}

type accountDelete struct {
	ID  accountID `arg:"" help:"The account's number, or ref:REFERENCE."`
	Yes bool      `short:"y" help:"Do not ask."`
	printed
}

func (accountDelete) Help() string {
	return `Its credentials, tokens and sessions are dead, its name and reference are forgotten, its number is never used again. There is no way back; "account suspend" has one.

    gatehouse account delete 100001
    gatehouse account delete ref:C-4711 --yes`
}

func (c *accountDelete) Run(sh *shell) error {
	o, err := sh.enterToChange()
	if err != nil {
		return err
	}
	defer o.close()
	a, err := o.Account(sh.ctx, string(c.ID))
	if err != nil {
		return err
	}
	if !c.Yes {
		credentials, err := whole(func(r api.Range) (api.Page[api.Credential], error) {
			return o.Credentials(sh.ctx, api.CredentialQuery{Account: a.ID, Range: r})
		})
		if err != nil {
			return err
		}
		question := fmt.Sprintf("Account %d (%s) will be gone for good, with its %s and every token.", a.ID, a.Name, count(len(credentials), "credential", "credentials"))
		if err := sh.confirm(question, "--yes"); err != nil {
			return err
		}
	}
	gone, err := o.DeleteAccount(sh.ctx, auth.AccountID(a.ID))
	if err != nil {
		return err
	}
	sh.settle(o, &gone.Confirmed)
	if c.JSON {
		return sh.json(gone)
	}
	return sh.printf("account %d is deleted\n", a.ID)
}

type accountLimit struct {
	ID       accountID `arg:"" help:"The account's number, or ref:REFERENCE."`
	Requests rate      `required:"" placeholder:"RATE" help:"How often it may call your API, as 10/s, 600/min, 100/h or 5000/d. 0 takes its own limit away, and limits.requests_per_account holds again."`
	Burst    int64     `placeholder:"N" help:"How many calls may come at once. Without it: as many as the number in the rate."`
	printed
}

func (accountLimit) Help() string {
	return `    gatehouse account limit 100001 --requests 600/min --burst 100
    gatehouse account limit 100001 --requests 0`
}

func (c *accountLimit) Run(sh *shell) error {
	limit := c.Requests.Rate
	if c.Burst < 0 || c.Burst > 0 && limit.None() {
		return usage("--burst %d: a burst is a number above 0, beside a rate", c.Burst)
	}
	return sh.alter(c.ID, c.JSON, func(o *visit, id auth.AccountID) (api.Account, error) {
		return o.LimitAccount(sh.ctx, id, api.RateLimit{Requests: limit.String(), Burst: c.Burst})
	})
}
