package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/auth"
)

type operators struct {
	Create operatorCreate `cmd:"" help:"Make an operator, and print the link that lets them in once."`
	List   operatorList   `cmd:"" help:"List the operators."`
	Role   operatorRole   `cmd:"" help:"Give an operator another role."`
	Reset  operatorReset  `cmd:"" help:"Take an operator's ways to sign in away, and print a link to begin anew."`
	Remove operatorRemove `cmd:"" help:"Remove an operator, for good."`
	Token  operatorTokens `cmd:"" help:"Tokens of the admin API."`
}

type membersC struct {
	Invite memberInvite `cmd:"" help:"Invite somebody into an account, and print the link that lets them in once."`
	List   memberList   `cmd:"" help:"List the members of an account."`
	Role   memberRole   `cmd:"" help:"Give a member another role."`
	Reset  memberReset  `cmd:"" help:"Take a member's ways to sign in away, and print a link to begin anew."`
	Remove memberRemove `cmd:"" help:"Remove a member, for good."`
}

// showInvited prints a person with the link.
func (sh *shell) showInvited(in api.Invited, forProgram bool) error {
	if in.Closed {
		sh.note("note: dashboard.enabled is false, so the link opens nothing")
		in.Closed = false
	}
	if forProgram {
		return sh.json(in)
	}
	kind, account := "operator", ""
	if in.Account != 0 {
		kind, account = "member", strconv.FormatInt(in.Account, 10)
	}
	if err := sh.facts(kind, in.ID, "account", account, "e-mail", in.Email, "name", in.Name, "role", in.Role,
		"link", in.Link, "good until", stamp(in.LinkExpiresAt)); err != nil {
		return err
	}
	sh.note("give them the link by a way that nobody else reads: whoever opens it first is let in. It is shown this one time, and works once")
	return nil
}

func (sh *shell) showPeople(all []api.Person, forProgram bool, none string) error {
	heading := []string{"ID", "E-MAIL", "NAME", "ROLE", "STATE", "SIGNS IN WITH", "LAST"}
	return showList(sh, all, forProgram, none, heading, func(p api.Person) []string {
		return []string{p.ID, p.Email, p.Name, p.Role, p.State, strings.Join(p.SignsIn, ", "), or(stamp(p.SignedInAt), "never")}
	})
}

// people is how the commands about people go: which account they are of, 0 for operators, and then the command itself.
func (sh *shell) people(account accountID, changes bool, do func(*visit, auth.AccountID) error) error {
	enter := sh.enter
	if changes {
		enter = sh.enterToChange
	}
	o, err := enter()
	if err != nil {
		return err
	}
	defer o.close()
	id, err := sh.accountIfAny(o, account)
	if err != nil {
		return err
	}
	return do(o, id)
}

// linkEnd is until when a link is to be good, zero for the usual time.
func (sh *shell) linkEnd(o *visit, until moment) (time.Time, error) {
	if !until.given {
		return time.Time{}, nil
	}
	if err := until.notNever("expires"); err != nil {
		return time.Time{}, err
	}
	now := o.Now()
	end := until.after(now)
	if !end.After(now) {
		return time.Time{}, usage("--expires: the link would have expired already")
	}
	return end, nil
}

// invite invites somebody, and prints the link.
func (sh *shell) invite(account accountID, n api.NewPerson, until moment, forProgram bool) error {
	return sh.people(account, true, func(o *visit, account auth.AccountID) error {
		var err error
		if n.LinkExpiresAt, err = sh.linkEnd(o, until); err != nil {
			return err
		}
		n.Name = or(n.Name, n.Email)
		in, err := o.InvitePerson(sh.ctx, account, n)
		if err != nil {
			return err
		}
		return sh.showInvited(in, forProgram)
	})
}

// aboutPerson is how the commands about one person go.
func (sh *shell) aboutPerson(account accountID, id string, do func(*visit, auth.AccountID, auth.PersonID) error) error {
	return sh.people(account, true, func(o *visit, account auth.AccountID) error {
		p, err := o.Person(sh.ctx, account, id)
		if err != nil {
			return err
		}
		return do(o, account, auth.PersonID(p.ID))
	})
}

func (sh *shell) resetPerson(account accountID, id string, until moment, forProgram bool) error {
	return sh.aboutPerson(account, id, func(o *visit, account auth.AccountID, id auth.PersonID) error {
		end, err := sh.linkEnd(o, until)
		if err != nil {
			return err
		}
		in, err := o.ResetPerson(sh.ctx, account, id, api.NewLink{LinkExpiresAt: end})
		if err != nil {
			return err
		}
		return sh.showInvited(in, forProgram)
	})
}

func (sh *shell) changeRole(account accountID, id, role string, forProgram bool) error {
	return sh.aboutPerson(account, id, func(o *visit, account auth.AccountID, id auth.PersonID) error {
		p, err := o.ChangeRole(sh.ctx, account, id, api.NewRole{Role: role})
		if err != nil {
			return err
		}
		if forProgram {
			return sh.json(p)
		}
		return sh.printf("%s is now %s\n", p.Email, p.Role)
	})
}

func (sh *shell) removePerson(account accountID, id string, forProgram bool) error {
	return sh.aboutPerson(account, id, func(o *visit, account auth.AccountID, id auth.PersonID) error {
		p, err := o.RemovePerson(sh.ctx, account, id)
		if err != nil {
			return err
		}
		if forProgram {
			return sh.json(map[string]any{"id": p.ID, "email": p.Email, "state": p.State})
		}
		return sh.printf("%s is removed, and signed out everywhere\n", p.Email)
	})
}

type operatorCreate struct {
	Email   string `required:"" placeholder:"E-MAIL" help:"By which they sign in."`
	Name    string `required:"" placeholder:"NAME" help:"What they are called."`
	Role    string `default:"owner" enum:"owner,admin,viewer" placeholder:"ROLE" help:"owner (everything), admin (everything but operators, their tokens and keys) or viewer (reads)."`
	Expires moment `placeholder:"WHEN" help:"Until when the link is good: 1h, 7d. Without it: a day."`
	printed
}

func (operatorCreate) Help() string {
	return `Whoever opens the link first chooses how to sign in, and is in. The part behind the # is the secret: no server and no proxy sees it.

    gatehouse operator create --email jane@example.com --name "Jane Doe"
    gatehouse operator create --email joe@example.com --name "Joe" --role viewer --expires 7d`
}

func (c *operatorCreate) Run(sh *shell) error {
	return sh.invite("", api.NewPerson{Email: c.Email, Name: c.Name, Role: c.Role}, c.Expires, c.JSON)
}

type operatorList struct{ printed }

func (operatorList) Help() string { return `    gatehouse operator list` }

func (c *operatorList) Run(sh *shell) error {
	return sh.people("", false, func(o *visit, _ auth.AccountID) error {
		all, err := whole(func(part api.Range) (api.Page[api.Person], error) { return o.People(sh.ctx, 0, part) })
		if err != nil {
			return err
		}
		return sh.showPeople(all, c.JSON, "there are no operators yet: gatehouse operator create --email E-MAIL --name NAME")
	})
}

type operatorRole struct {
	ID   string `arg:"" help:"The operator's id, or e-mail address."`
	Role string `arg:"" enum:"owner,admin,viewer" help:"owner, admin or viewer."`
	printed
}

func (operatorRole) Help() string {
	return `It acts on what they ask next. The last owner stays one.

    gatehouse operator role jane@example.com admin`
}

func (c *operatorRole) Run(sh *shell) error { return sh.changeRole("", c.ID, c.Role, c.JSON) }

type operatorReset struct {
	ID      string `arg:"" help:"The operator's id, or e-mail address."`
	Expires moment `placeholder:"WHEN" help:"Until when the link is good: 1h, 7d. Without it: a day."`
	printed
}

func (operatorReset) Help() string {
	return `For who has lost their passkey or authenticator, and for whom somebody else may have got hold of it: password, codes, passkeys and single sign-on are forgotten, every session ends.

    gatehouse operator reset jane@example.com`
}

func (c *operatorReset) Run(sh *shell) error { return sh.resetPerson("", c.ID, c.Expires, c.JSON) }

type operatorRemove struct {
	ID string `arg:"" help:"The operator's id, or e-mail address."`
	printed
}

func (operatorRemove) Help() string {
	return `Every session of theirs ends at once. The last owner stays.

    gatehouse operator remove joe@example.com`
}

func (c *operatorRemove) Run(sh *shell) error { return sh.removePerson("", c.ID, c.JSON) }

type memberInvite struct {
	Account accountID `required:"" placeholder:"ID" help:"The account: its number, or ref:REFERENCE."`
	Email   string    `required:"" placeholder:"E-MAIL" help:"By which they sign in."`
	Name    string    `placeholder:"NAME" help:"What they are called. Without it: the e-mail address."`
	Role    string    `default:"owner" enum:"owner,developer,viewer" placeholder:"ROLE" help:"owner (everything of the account), developer (credentials, sessions) or viewer (reads)."`
	Expires moment    `placeholder:"WHEN" help:"Until when the link is good: 1h, 7d. Without it: a day."`
	printed
}

func (memberInvite) Help() string {
	return `Members see and change their own account at public_url/dashboard/. Whoever opens the link first chooses how to sign in, and is in.

    gatehouse member invite --account 100001 --email jane@example.com
    gatehouse member invite --account ref:C-4711 --email joe@example.com --name "Joe" --role developer --expires 7d`
}

func (c *memberInvite) Run(sh *shell) error {
	return sh.invite(c.Account, api.NewPerson{Email: c.Email, Name: c.Name, Role: c.Role}, c.Expires, c.JSON)
}

type memberList struct {
	Account accountID `required:"" placeholder:"ID" help:"The account: its number, or ref:REFERENCE."`
	printed
}

func (memberList) Help() string { return `    gatehouse member list --account 100001` }

func (c *memberList) Run(sh *shell) error {
	return sh.people(c.Account, false, func(o *visit, account auth.AccountID) error {
		all, err := whole(func(part api.Range) (api.Page[api.Person], error) { return o.People(sh.ctx, account, part) })
		if err != nil {
			return err
		}
		return sh.showPeople(all, c.JSON, "account "+account.String()+" has no members yet: gatehouse member invite --account "+account.String()+" --email E-MAIL")
	})
}

type memberRole struct {
	Account accountID `required:"" placeholder:"ID" help:"The account: its number, or ref:REFERENCE."`
	ID      string    `arg:"" help:"The member's id, or e-mail address."`
	Role    string    `arg:"" enum:"owner,developer,viewer" help:"owner, developer or viewer."`
	printed
}

func (memberRole) Help() string {
	return `It acts on what they ask next.

    gatehouse member role --account 100001 joe@example.com viewer`
}

func (c *memberRole) Run(sh *shell) error { return sh.changeRole(c.Account, c.ID, c.Role, c.JSON) }

type memberReset struct {
	Account accountID `required:"" placeholder:"ID" help:"The account: its number, or ref:REFERENCE."`
	ID      string    `arg:"" help:"The member's id, or e-mail address."`
	Expires moment    `placeholder:"WHEN" help:"Until when the link is good: 1h, 7d. Without it: a day."`
	printed
}

func (memberReset) Help() string {
	return `For who has lost their passkey or authenticator, and for whom somebody else may have got hold of it: password, codes, passkeys and single sign-on are forgotten, every session ends.

    gatehouse member reset --account 100001 joe@example.com`
}

func (c *memberReset) Run(sh *shell) error {
	return sh.resetPerson(c.Account, c.ID, c.Expires, c.JSON)
}

type memberRemove struct {
	Account accountID `required:"" placeholder:"ID" help:"The account: its number, or ref:REFERENCE."`
	ID      string    `arg:"" help:"The member's id, or e-mail address."`
	printed
}

func (memberRemove) Help() string {
	return `Every session of theirs ends at once; the account's credentials live on.

    gatehouse member remove --account 100001 joe@example.com`
}

func (c *memberRemove) Run(sh *shell) error { return sh.removePerson(c.Account, c.ID, c.JSON) }

type operatorTokens struct {
	Create operatorTokenCreate `cmd:"" help:"Make a token of the admin API, and show it this one time."`
	List   operatorTokenList   `cmd:"" help:"List the tokens of the admin API."`
	Revoke operatorTokenRevoke `cmd:"" help:"End a token of the admin API, for good."`
}

type operatorTokenCreate struct {
	Name    string   `required:"" placeholder:"NAME" help:"What it is for."`
	Role    string   `default:"admin" enum:"owner,admin,viewer" placeholder:"ROLE" help:"What it may do at most, as an operator of this role may."`
	Scope   []string `required:"" sep:"none" placeholder:"SCOPE" help:"What of that it may: accounts:read, credentials:write; once for each. An unknown one is refused with a list of all."`
	Expires moment   `placeholder:"WHEN" help:"When it ends: 90d, 2027-01-31, or never. Without it: in 90 days."`
	Out     string   `placeholder:"FILE" help:"Write the token to this new file, which only you can read, and not to the screen."`
	printed
}

func (operatorTokenCreate) Help() string {
	return `The token is shown once; what is kept is a digest.

    gatehouse operator token create --name ci --scope accounts:read --scope credentials:write --out ci.token
    gatehouse operator token create --name reports --role viewer --scope usage:read --expires 365d`
}

// tokenLife is how long a token is good that nobody said more of.
const tokenLife = 90 * 24 * time.Hour

func (c *operatorTokenCreate) Run(sh *shell) error {
	return sh.people("", true, func(o *visit, _ auth.AccountID) error {
		now := o.Now()
		until := c.Expires.after(now)
		if !c.Expires.given {
			until = now.Add(tokenLife)
		}
		to, err := openFor(c.Out)
		if err != nil {
			return err
		}
		issued, err := o.CreateOperatorToken(sh.ctx, api.NewOperatorToken{Name: c.Name, Role: c.Role, Scopes: c.Scope, ExpiresAt: until})
		if err != nil {
			to.abandon()
			return err
		}
		return sh.showToken(to, issued, c.JSON)
	})
}

// showToken writes a token where it is to go, and what is no secret to standard output.
func (sh *shell) showToken(to *destination, t api.OperatorToken, forProgram bool) error {
	if to.file != nil {
		if err := to.put(t.Token + "\n"); err != nil {
			return fmt.Errorf("token %s could not be written to %s, so nobody knows it: %w; end it with gatehouse operator token revoke %s", t.ID, to.path, err, t.ID)
		}
		t.Token = ""
	}
	if forProgram {
		return sh.json(t)
	}
	if err := sh.facts("id", t.ID, "name", t.Name, "role", t.Role, "scopes", strings.Join(t.Scopes, " "), "expires", or(stamp(t.ExpiresAt), "never"), "token", t.Token); err != nil {
		return err
	}
	if to.file != nil {
		sh.note("the token is in %s, and nowhere else", to.path)
	} else {
		sh.note("the token is shown this one time: only a digest of it is kept")
	}
	return nil
}

type operatorTokenList struct{ printed }

func (operatorTokenList) Help() string { return `    gatehouse operator token list` }

func (c *operatorTokenList) Run(sh *shell) error {
	return sh.people("", false, func(o *visit, _ auth.AccountID) error {
		all, err := whole(func(part api.Range) (api.Page[api.OperatorToken], error) { return o.OperatorTokens(sh.ctx, part) })
		if err != nil {
			return err
		}
		none := "there are no operator tokens: gatehouse operator token create --name NAME --scope SCOPE"
		heading := []string{"ID", "NAME", "ROLE", "STATUS", "SCOPES", "EXPIRES", "LAST USED"}
		return showList(sh, all, c.JSON, none, heading, func(t api.OperatorToken) []string {
			return []string{t.ID, t.Name, t.Role, t.Status, strings.Join(t.Scopes, " "), or(stamp(t.ExpiresAt), "never"), or(stamp(t.UsedAt), "never")}
		})
	})
}

type operatorTokenRevoke struct {
	ID string `arg:"" help:"The token's id, ot_…"`
	printed
}

func (operatorTokenRevoke) Help() string {
	return `    gatehouse operator token revoke ot_3YpE7Kq0aBcD`
}

func (c *operatorTokenRevoke) Run(sh *shell) error {
	return sh.people("", true, func(o *visit, _ auth.AccountID) error {
		t, err := o.RevokeOperatorToken(sh.ctx, auth.OperatorTokenID(c.ID))
		if err != nil {
			return err
		}
		if c.JSON {
			return sh.json(t)
		}
		return sh.printf("token %s (%s) is revoked\n", t.ID, t.Name)
	})
}
