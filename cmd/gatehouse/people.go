package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/registry"
	"github.com/gatehouse/gatehouse/internal/server"
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

// personJSON is a person as it is printed for programs.
type personJSON struct {
	ID         auth.PersonID    `json:"id"`
	Account    auth.AccountID   `json:"account,omitempty"` // of a member
	Email      string           `json:"email"`
	Name       string           `json:"name"`
	Role       auth.Role        `json:"role"`
	State      auth.PersonState `json:"state"`
	SignsIn    []string         `json:"signs_in_with"`
	CreatedAt  utc              `json:"created_at"`
	SignedInAt utc              `json:"signed_in_at,omitzero"`
}

// invitedJSON is a person with the link that lets them in.
type invitedJSON struct {
	personJSON
	Link      string `json:"link"`
	ExpiresAt utc    `json:"link_expires_at"`
}

func personForPrograms(p auth.Person) personJSON {
	return personJSON{
		ID: p.ID, Account: p.Account, Email: p.Email, Name: p.Name, Role: p.Role, State: p.State, SignsIn: signsInWith(p),
		CreatedAt: utc(p.CreatedAt), SignedInAt: utc(p.SignedInAt),
	}
}

// signsInWith are the ways to sign in that a person has set up.
func signsInWith(p auth.Person) []string {
	ways := []string{}
	if p.Password {
		ways = append(ways, "password")
	}
	if p.TOTP {
		ways = append(ways, "codes")
	}
	if p.Passkeys > 0 {
		ways = append(ways, count(p.Passkeys, "passkey", "passkeys"))
	}
	if p.OpenIDs > 0 {
		ways = append(ways, "single sign-on")
	}
	return ways
}

// base is where the dashboard of a person is reached.
func base(op *server.Opened, account auth.AccountID) string {
	if account == 0 {
		return op.Config.Dashboard.AdminURL
	}
	return strings.TrimSuffix(op.Config.PublicURL, "/")
}

// showInvited prints a person with the link.
func (sh *shell) showInvited(op *server.Opened, in registry.Invited, forProgram bool) error {
	link := in.Link(base(op, in.Person.Account))
	if !op.Config.Dashboard.Enabled {
		sh.note("note: dashboard.enabled is false, so the link opens nothing")
	}
	if forProgram {
		return sh.json(invitedJSON{personForPrograms(in.Person), link, utc(in.ExpiresAt)})
	}
	p := in.Person
	account := ""
	if p.Account != 0 {
		account = p.Account.String()
	}
	if err := sh.facts(string(p.Kind()), string(p.ID), "account", account, "e-mail", p.Email, "name", p.Name, "role", string(p.Role),
		"link", link, "good until", stamp(in.ExpiresAt)); err != nil {
		return err
	}
	sh.note("give them the link by a way that nobody else reads: whoever opens it first is let in. It is shown this one time, and works once")
	return nil
}

func (sh *shell) showPeople(all []auth.Person, forProgram bool, none string) error {
	if forProgram {
		list := []personJSON{}
		for _, p := range all {
			list = append(list, personForPrograms(p))
		}
		return sh.json(list)
	}
	if len(all) == 0 {
		sh.note("%s", none)
		return nil
	}
	rows := [][]string{{"ID", "E-MAIL", "NAME", "ROLE", "STATE", "SIGNS IN WITH", "LAST"}}
	for _, p := range all {
		rows = append(rows, []string{
			string(p.ID), p.Email, p.Name, string(p.Role), string(p.State), strings.Join(signsInWith(p), ", "), or(stamp(p.SignedInAt), "never"),
		})
	}
	return sh.table(rows)
}

// people is how the commands about people go: which account they are of, 0 for operators, and then the command itself.
func (sh *shell) people(account accountID, changes bool, do func(*server.Opened, auth.AccountID) error) error {
	open := sh.open
	if changes {
		open = sh.change
	}
	op, err := open()
	if err != nil {
		return err
	}
	defer op.Close()
	if account == "" {
		return do(op, 0)
	}
	a, err := op.Registry.Account(sh.ctx, actor(), string(account))
	if err != nil {
		return err
	}
	return do(op, a.ID)
}

// life is how long a link is to be good.
func (sh *shell) life(op *server.Opened, until moment) (time.Duration, error) {
	if !until.given {
		return 0, nil
	}
	if err := until.notNever("expires"); err != nil {
		return 0, err
	}
	now := op.DB.Now()
	life := until.after(now).Sub(now)
	if life <= 0 {
		return 0, usage("--expires: the link would have expired already")
	}
	return life, nil
}

// invite invites somebody, and prints the link.
func (sh *shell) invite(account accountID, n registry.NewPerson, until moment, forProgram bool) error {
	return sh.people(account, true, func(op *server.Opened, account auth.AccountID) error {
		life, err := sh.life(op, until)
		if err != nil {
			return err
		}
		n.Name = or(n.Name, n.Email)
		in, err := op.Registry.InvitePerson(sh.ctx, actor(), account, n, life)
		if err != nil {
			return err
		}
		return sh.showInvited(op, in, forProgram)
	})
}

// aboutPerson is how the commands about one person go.
func (sh *shell) aboutPerson(account accountID, id string, do func(*server.Opened, auth.Person) error) error {
	return sh.people(account, true, func(op *server.Opened, account auth.AccountID) error {
		p, err := op.Registry.Person(sh.ctx, actor(), account, id)
		if err != nil {
			return err
		}
		return do(op, p)
	})
}

func (sh *shell) resetPerson(account accountID, id string, until moment, forProgram bool) error {
	return sh.aboutPerson(account, id, func(op *server.Opened, p auth.Person) error {
		life, err := sh.life(op, until)
		if err != nil {
			return err
		}
		in, err := op.Registry.ResetPerson(sh.ctx, actor(), p.Account, p.ID, life)
		if err != nil {
			return err
		}
		return sh.showInvited(op, in, forProgram)
	})
}

func (sh *shell) changeRole(account accountID, id, role string, forProgram bool) error {
	return sh.aboutPerson(account, id, func(op *server.Opened, p auth.Person) error {
		p, err := op.Registry.ChangeRole(sh.ctx, actor(), p.Account, p.ID, auth.Role(role))
		if err != nil {
			return err
		}
		if forProgram {
			return sh.json(personForPrograms(p))
		}
		return sh.printf("%s is now %s\n", p.Email, p.Role)
	})
}

func (sh *shell) removePerson(account accountID, id string, forProgram bool) error {
	return sh.aboutPerson(account, id, func(op *server.Opened, p auth.Person) error {
		p, err := op.Registry.RemovePerson(sh.ctx, actor(), p.Account, p.ID)
		if err != nil {
			return err
		}
		p.State = auth.Removed
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
	return sh.invite("", registry.NewPerson{Email: c.Email, Name: c.Name, Role: auth.Role(c.Role)}, c.Expires, c.JSON)
}

type operatorList struct{ printed }

func (operatorList) Help() string { return `    gatehouse operator list` }

func (c *operatorList) Run(sh *shell) error {
	return sh.people("", false, func(op *server.Opened, _ auth.AccountID) error {
		all, err := op.Registry.People(sh.ctx, actor(), auth.PersonQuery{})
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
	return sh.invite(c.Account, registry.NewPerson{Email: c.Email, Name: c.Name, Role: auth.Role(c.Role)}, c.Expires, c.JSON)
}

type memberList struct {
	Account accountID `required:"" placeholder:"ID" help:"The account: its number, or ref:REFERENCE."`
	printed
}

func (memberList) Help() string { return `    gatehouse member list --account 100001` }

func (c *memberList) Run(sh *shell) error {
	return sh.people(c.Account, false, func(op *server.Opened, account auth.AccountID) error {
		all, err := op.Registry.People(sh.ctx, actor(), auth.PersonQuery{Account: account})
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

// operatorTokenJSON is a token as it is printed for programs.
type operatorTokenJSON struct {
	ID        auth.OperatorTokenID `json:"id"`
	Name      string               `json:"name"`
	Role      auth.Role            `json:"role"`
	Scopes    []string             `json:"scopes"`
	Status    string               `json:"status"`
	CreatedAt utc                  `json:"created_at"`
	CreatedBy string               `json:"created_by"`
	ExpiresAt utc                  `json:"expires_at,omitzero"`
	RevokedAt utc                  `json:"revoked_at,omitzero"`
	UsedAt    utc                  `json:"last_used_at,omitzero"`
	UsedFrom  string               `json:"last_used_from,omitempty"`
	Token     string               `json:"token,omitempty"` // once
}

func operatorTokenForPrograms(t auth.OperatorToken, now time.Time) operatorTokenJSON {
	j := operatorTokenJSON{
		ID: t.ID, Name: t.Name, Role: t.Role, Scopes: append([]string{}, t.Scopes...), Status: or(string(t.Dead(now)), "active"), CreatedAt: utc(t.CreatedAt),
		CreatedBy: t.CreatedBy, ExpiresAt: utc(t.ExpiresAt), RevokedAt: utc(t.RevokedAt), UsedAt: utc(t.UsedAt),
	}
	if t.UsedFrom.IsValid() {
		j.UsedFrom = t.UsedFrom.String()
	}
	return j
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
	return sh.people("", true, func(op *server.Opened, _ auth.AccountID) error {
		now := op.DB.Now()
		until := c.Expires.after(now)
		if !c.Expires.given {
			until = now.Add(tokenLife)
		}
		to, err := openFor(c.Out)
		if err != nil {
			return err
		}
		issued, err := op.Registry.CreateToken(sh.ctx, actor(), registry.NewToken{Name: c.Name, Role: auth.Role(c.Role), Scopes: c.Scope, Expires: until})
		if err != nil {
			to.abandon()
			return err
		}
		return sh.showToken(to, issued, now, c.JSON)
	})
}

// showToken writes a token where it is to go, and what is no secret to standard output.
func (sh *shell) showToken(to *destination, issued registry.IssuedToken, now time.Time, forProgram bool) error {
	t, text := issued.Token, issued.Reveal()
	if to.file != nil {
		if err := to.put(text + "\n"); err != nil {
			return fmt.Errorf("token %s could not be written to %s, so nobody knows it: %w; end it with gatehouse operator token revoke %s", t.ID, to.path, err, t.ID)
		}
		text = ""
	}
	if forProgram {
		j := operatorTokenForPrograms(t, now)
		j.Token = text
		return sh.json(j)
	}
	if err := sh.facts("id", string(t.ID), "name", t.Name, "role", string(t.Role), "scopes", strings.Join(t.Scopes, " "), "expires", or(stamp(t.ExpiresAt), "never"), "token", text); err != nil {
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
	return sh.people("", false, func(op *server.Opened, _ auth.AccountID) error {
		all, err := op.Registry.Tokens(sh.ctx, actor())
		if err != nil {
			return err
		}
		now := op.DB.Now()
		if c.JSON {
			list := []operatorTokenJSON{}
			for _, t := range all {
				list = append(list, operatorTokenForPrograms(t, now))
			}
			return sh.json(list)
		}
		if len(all) == 0 {
			sh.note("there are no operator tokens: gatehouse operator token create --name NAME --scope SCOPE")
			return nil
		}
		rows := [][]string{{"ID", "NAME", "ROLE", "STATUS", "SCOPES", "EXPIRES", "LAST USED"}}
		for _, t := range all {
			rows = append(rows, []string{
				string(t.ID), t.Name, string(t.Role), or(string(t.Dead(now)), "active"), strings.Join(t.Scopes, " "), or(stamp(t.ExpiresAt), "never"), or(stamp(t.UsedAt), "never"),
			})
		}
		return sh.table(rows)
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
	return sh.people("", true, func(op *server.Opened, _ auth.AccountID) error {
		t, err := op.Registry.RevokeToken(sh.ctx, actor(), auth.OperatorTokenID(c.ID))
		if err != nil {
			return err
		}
		if c.JSON {
			return sh.json(operatorTokenForPrograms(t, op.DB.Now()))
		}
		return sh.printf("token %s (%s) is revoked\n", t.ID, t.Name)
	})
}
