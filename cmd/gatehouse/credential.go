package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/auth"
)

type credentials struct {
	Create credentialCreate `cmd:"" help:"Make a credential, and show its secret this one time."`
	List   credentialList   `cmd:"" help:"List credentials."`
	Show   credentialShow   `cmd:"" help:"Show a credential, and how its secrets were last used."`
	Find   credentialFind   `cmd:"" help:"Say whose a key or password is."`
	Update credentialUpdate `cmd:"" help:"Change a credential's name, scopes or end."`
	Rotate credentialRotate `cmd:"" help:"Give a credential a new secret beside the old one."`
	Revoke credentialRevoke `cmd:"" help:"End a credential with its tokens and sessions, for good."`
}

func (sh *shell) showCredential(c api.Credential, forProgram bool) error {
	if forProgram {
		return sh.json(c)
	}
	if err := sh.facts("credential", c.ID, "kind", c.Kind, "account", strconv.FormatInt(c.Account, 10), "name", c.Name,
		"identifier", c.Identifier, "status", c.Status, "scopes", strings.Join(c.Scopes, " "), "keys", strings.Join(c.Keys, " "), "created", stamp(c.CreatedAt),
		"expires", stamp(c.ExpiresAt), "revoked", stamp(c.RevokedAt)); err != nil {
		return err
	}
	if len(c.Secrets) == 0 {
		return nil
	}
	if err := sh.printf("\n"); err != nil {
		return err
	}
	rows := [][]string{{"SECRET", "CREATED", "GOOD UNTIL", "LAST USED", "FROM", "BY", "USES"}}
	for _, s := range c.Secrets {
		until := or(stamp(s.ExpiresAt), "always")
		if c.Status != "active" || !s.Live {
			until = "dead"
		}
		rows = append(rows, []string{
			strconv.Itoa(s.Number), stamp(s.CreatedAt), until, or(stamp(s.LastUsed), "never"), s.From, s.UserAgent, strconv.FormatInt(s.Uses, 10),
		})
	}
	if err := sh.table(rows); err != nil || c.Rotation == nil {
		return err
	}
	return sh.printf("\n%s.\n", c.Rotation.Says)
}

type credentialCreate struct {
	Account accountID `required:"" placeholder:"ID" help:"Whose it is: the account's number, or ref:REFERENCE."`
	Kind    string    `required:"" enum:"api-key,basic,login,oauth" placeholder:"KIND" help:"api-key (contract 1), basic (2: user ID and password), login (3: username and password) or oauth (4: client id and secret)."`
	Name    string    `placeholder:"NAME" help:"What it is for."`
	Scope   []string  `sep:"none" placeholder:"SCOPE" help:"What its tokens may do; once for each scope. Those that begin with gatehouse: go into no token."`
	Expires moment    `placeholder:"WHEN" help:"When it ends: 90d, 2027-01-31. Without it: never. Its tokens end no later."`
	JWKS    string    `name:"jwks" placeholder:"FILE" help:"For oauth: the client signs (private_key_jwt), with the keys whose public halves are in this file, a JWK set. It gets no secret."`
	Out     string    `placeholder:"FILE" help:"Write the secret to this new file, which only you can read, and not to the screen."`
	printed
}

func (credentialCreate) Help() string {
	return `The server makes the secret. It is shown once; what is kept is a digest. A client with --jwks has none: it makes its keys itself, and you get the public halves.

    gatehouse credential create --account 100001 --kind api-key --name "their shop"
    gatehouse credential create --account ref:C-4711 --kind login --scope orders:read --scope orders:write --expires 365d
    gatehouse credential create --account 100001 --kind basic --out acme.secret
    gatehouse credential create --account 100001 --kind oauth --jwks their-public-keys.json`
}

func (c *credentialCreate) Run(sh *shell) error {
	var keys []byte
	if c.JWKS != "" {
		var err error
		if c.Kind != string(auth.OAuth) || c.Out != "" {
			return usage("--jwks is for --kind oauth, and there is no secret for --out to write")
		}
		if keys, err = readKeys(c.JWKS); err != nil {
			return err
		}
	}
	o, err := sh.enterToChange()
	if err != nil {
		return err
	}
	defer o.close()
	account, err := sh.account(o, c.Account)
	if err != nil {
		return err
	}
	to, err := openFor(c.Out)
	if err != nil {
		return err
	}
	issued, err := o.CreateCredential(sh.ctx, api.NewCredential{
		Account: int64(account), Kind: c.Kind, Name: c.Name, Scopes: c.Scope, ExpiresAt: c.Expires.after(o.Now()), JWKS: keys,
	})
	if err != nil {
		to.abandon()
		return err
	}
	sh.settle(o, &issued.Confirmed)
	if issued.Opens != "" {
		sh.note("note: contracts.%s is disabled, so this credential opens nothing", issued.Opens)
		issued.Opens = ""
	}
	return sh.writeSecret(to, issued, c.JSON)
}

// readKeys reads a file of public keys, as much of it as there can be.
func readKeys(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--jwks: %w", err)
	}
	defer f.Close()
	keys, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err == nil && len(keys) == 0 {
		err = errors.New(path + " is empty")
	}
	if err != nil {
		return nil, fmt.Errorf("--jwks: %w", err)
	}
	return keys, nil
}

type credentialList struct {
	Account accountID `placeholder:"ID" help:"Only those of this account: its number, or ref:REFERENCE."`
	printed
}

func (credentialList) Help() string {
	return `    gatehouse credential list --account 100001
    gatehouse credential list --json | jq -r '.[] | select(.expires_at) | [.expires_at, .id] | @tsv'`
}

func (c *credentialList) Run(sh *shell) error {
	o, err := sh.enter()
	if err != nil {
		return err
	}
	defer o.close()
	account, err := sh.accountIfAny(o, c.Account)
	if err != nil {
		return err
	}
	all, err := whole(func(r api.Range) (api.Page[api.Credential], error) {
		return o.Credentials(sh.ctx, api.CredentialQuery{Account: int64(account), Range: r})
	})
	if err != nil {
		return err
	}
	heading := []string{"CREDENTIAL", "ACCOUNT", "KIND", "NAME", "STATUS", "EXPIRES", "SECRETS", "LAST USED"}
	return showList(sh, all, c.JSON, "there are none: gatehouse credential create --account ID --kind KIND", heading, func(one api.Credential) []string {
		live, last := 0, time.Time{}
		for _, s := range one.Secrets {
			if s.Live && one.Status == "active" {
				live++
			}
			if s.LastUsed.After(last) {
				last = s.LastUsed
			}
		}
		return []string{
			one.ID, strconv.FormatInt(one.Account, 10), one.Kind, one.Name, one.Status, or(stamp(one.ExpiresAt), "never"),
			strconv.Itoa(live) + " live", or(stamp(last), "never"),
		}
	})
}

type credentialShow struct {
	ID string `arg:"" help:"The credential's id, or the user ID, username or client id that its holder sends."`
	printed
}

func (credentialShow) Help() string {
	return `    gatehouse credential show u_3YpE7Kq0aBcD`
}

func (c *credentialShow) Run(sh *shell) error {
	o, err := sh.enter()
	if err != nil {
		return err
	}
	defer o.close()
	found, err := o.Credential(sh.ctx, c.ID)
	if err != nil {
		return err
	}
	return sh.showCredential(found, c.JSON)
}

type credentialFind struct {
	From piped `arg:"" name:"-" help:"Standard input."`
	printed
}

func (credentialFind) Help() string {
	return `On standard input: an API key, "user:password", or a user name alone. For a key that turned up where it should not be, and for customers' questions. It says whose it is, which of its secrets, and whether it is good; it writes nothing of it anywhere.

    gatehouse credential find - < leaked.txt
    pbpaste | gatehouse credential find - --json`
}

func (c *credentialFind) Run(sh *shell) error {
	o, err := sh.enter()
	if err != nil {
		return err
	}
	defer o.close()
	text, err := sh.read("an API key, user:password, or a user name")
	if err != nil {
		return err
	}
	found, err := o.FindCredential(sh.ctx, text)
	if err != nil {
		return errors.New(message(err)) // nothing is wrong with the command
	}
	if c.JSON {
		return sh.json(found)
	}
	which, good := "", "yes"
	if found.Secret > 0 {
		which = "number " + strconv.Itoa(found.Secret)
	}
	if !found.Good {
		good = "no: " + found.Reason
	}
	is := found.Credential
	if err := sh.facts("credential", is.ID, "kind", is.Kind, "account", strings.TrimSpace(strconv.FormatInt(is.Account, 10)+" "+found.AccountName),
		"name", is.Name, "secret", which, "good", good); err != nil {
		return err
	}
	if found.Secret > 0 && found.Good {
		sh.note("if it leaked: gatehouse credential rotate %s --old-expires now --end-sessions, or credential revoke %[1]s", is.ID)
	}
	return nil
}

type credentialUpdate struct {
	ID      string   `arg:"" help:"The credential's id."`
	Name    *string  `placeholder:"NAME" help:"What it is for; an empty one takes it away."`
	Scope   []string `sep:"none" placeholder:"SCOPE" help:"What its tokens may do from now on, in place of what it could; once for each scope; an empty one for none."`
	Expires moment   `placeholder:"WHEN" help:"When it ends: 90d, 2027-01-31, never."`
	JWKS    *string  `name:"jwks" placeholder:"FILE" help:"The public keys of an OAuth client from now on, in place of those it had; an empty one takes them away."`
	printed
}

func (credentialUpdate) Help() string {
	return `Scopes taken away are gone from the tokens that are out, at once; scopes given go into new tokens. An end that has come ends the tokens too. Tokens that were bought with keys live on when the keys change.

    gatehouse credential update 3YpE7Kq0aBcD --scope orders:read --expires 90d`
}

func (c *credentialUpdate) Run(sh *shell) error {
	u := api.CredentialUpdate{Name: c.Name}
	if c.Scope != nil {
		u.Scopes = &c.Scope
	}
	if c.JWKS != nil {
		u.JWKS = json.RawMessage("null")
		if *c.JWKS != "" {
			var err error
			if u.JWKS, err = readKeys(*c.JWKS); err != nil {
				return err
			}
		}
	}
	if u.Name == nil && u.Scopes == nil && u.JWKS == nil && !c.Expires.given {
		return usage("nothing to change: give --name, --scope, --expires or --jwks")
	}
	o, err := sh.enterToChange()
	if err != nil {
		return err
	}
	defer o.close()
	if c.Expires.given {
		u.ExpiresAt = api.Moment{Given: true, At: c.Expires.after(o.Now())}
	}
	return sh.alterCredential(o, c.ID, c.JSON, func(id auth.CredentialID) (api.Credential, error) { return o.UpdateCredential(sh.ctx, id, u) })
}

// alterCredential is how the commands that change a credential go, once they are where it is: find it, change it, say how far the
// change has come, show it.
func (sh *shell) alterCredential(o *visit, id string, forProgram bool, change func(auth.CredentialID) (api.Credential, error)) error {
	found, err := o.Credential(sh.ctx, id)
	if err != nil {
		return err
	}
	if found, err = change(auth.CredentialID(found.ID)); err != nil {
		return err
	}
	sh.settle(o, &found.Confirmed)
	return sh.showCredential(found, forProgram)
}

type credentialRevoke struct {
	ID string `arg:"" help:"The credential's id."`
	printed
}

func (credentialRevoke) Help() string {
	return `There is no way back: make the customer a new one. To change a secret without a gap, see "credential rotate".

    gatehouse credential revoke 3YpE7Kq0aBcD`
}

func (c *credentialRevoke) Run(sh *shell) error {
	o, err := sh.enterToChange()
	if err != nil {
		return err
	}
	defer o.close()
	return sh.alterCredential(o, c.ID, c.JSON, func(id auth.CredentialID) (api.Credential, error) { return o.RevokeCredential(sh.ctx, id) })
}
