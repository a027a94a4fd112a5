package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/proof"
	"github.com/gatehouse/gatehouse/internal/registry"
	"github.com/gatehouse/gatehouse/internal/server"
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

// credentialJSON is a credential as it is printed for programs.
type credentialJSON struct {
	ID         auth.CredentialID `json:"id"`
	Kind       auth.Kind         `json:"kind"`
	Account    auth.AccountID    `json:"account"`
	Name       string            `json:"name"`
	Identifier string            `json:"identifier"`
	Status     string            `json:"status"`
	Scopes     []string          `json:"scopes"`
	CreatedAt  utc               `json:"created_at"`
	ExpiresAt  utc               `json:"expires_at,omitzero"`
	RevokedAt  utc               `json:"revoked_at,omitzero"`
	Keys       []string          `json:"keys,omitempty"` // of a client that signs: kid, or thumbprint
	Secrets    []secretJSON      `json:"secrets"`
}

type secretJSON struct {
	Number    int    `json:"number"`
	Live      bool   `json:"live"`
	CreatedAt utc    `json:"created_at"`
	ExpiresAt utc    `json:"expires_at,omitzero"`
	LastUsed  utc    `json:"last_used_at,omitzero"`
	From      string `json:"last_used_from,omitempty"`
	UserAgent string `json:"last_used_by,omitempty"`
	Uses      int64  `json:"uses"`
}

func credentialForPrograms(op *server.Opened, c auth.Credential) credentialJSON {
	now := op.DB.Now()
	j := credentialJSON{
		ID: c.ID, Kind: c.Kind, Account: c.Account, Name: c.Name, Identifier: op.Registry.Identifier(c), Status: status(c, now),
		Scopes: append([]string{}, strings.Fields(c.Scope)...), CreatedAt: utc(c.CreatedAt), ExpiresAt: utc(c.ExpiresAt),
		RevokedAt: utc(c.RevokedAt), Keys: proof.KeyNames(c.Keys), Secrets: []secretJSON{},
	}
	for _, s := range c.Secrets {
		one := secretJSON{
			Number: s.Number, Live: s.Live(now), CreatedAt: utc(s.CreatedAt), ExpiresAt: utc(s.ExpiresAt),
			LastUsed: utc(s.LastUse.At), UserAgent: s.LastUse.UserAgent, Uses: s.LastUse.Count,
		}
		if s.LastUse.Address.IsValid() {
			one.From = s.LastUse.Address.String()
		}
		j.Secrets = append(j.Secrets, one)
	}
	return j
}

func status(c auth.Credential, now time.Time) string { return or(string(c.Dead(now)), "active") }

func (sh *shell) showCredential(op *server.Opened, c auth.Credential, forProgram bool) error {
	if forProgram {
		return sh.json(credentialForPrograms(op, c))
	}
	now := op.DB.Now()
	if err := sh.facts("credential", string(c.ID), "kind", string(c.Kind), "account", c.Account.String(), "name", c.Name,
		"identifier", op.Registry.Identifier(c), "status", status(c, now), "scopes", c.Scope, "keys", strings.Join(proof.KeyNames(c.Keys), " "), "created", stamp(c.CreatedAt),
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
		if c.Dead(now) != auth.ReasonNone || !s.Live(now) {
			until = "dead"
		}
		from := ""
		if s.LastUse.Address.IsValid() {
			from = s.LastUse.Address.String()
		}
		rows = append(rows, []string{
			strconv.Itoa(s.Number), stamp(s.CreatedAt), until, or(stamp(s.LastUse.At), "never"), from, s.LastUse.UserAgent,
			strconv.FormatInt(s.LastUse.Count, 10),
		})
	}
	return sh.table(rows)
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
	op, err := sh.change()
	if err != nil {
		return err
	}
	defer op.Close()
	a, err := sh.account(op, c.Account)
	if err != nil {
		return err
	}
	to, err := openFor(c.Out)
	if err != nil {
		return err
	}
	issued, err := op.Registry.CreateCredential(sh.ctx, actor(), registry.NewCredential{
		Account: a.ID, Kind: auth.Kind(c.Kind), Name: c.Name, Scopes: c.Scope, Expires: c.Expires.after(op.DB.Now()), Keys: keys,
	})
	if err != nil {
		to.abandon()
		return err
	}
	if contract := auth.Kind(c.Kind).Contract(); !op.Config.Contracts.Enabled(contract) {
		sh.note("note: contracts.%s is disabled, so this credential opens nothing", contract)
	}
	made := issued.Credential
	return sh.writeSecret(to, issuedJSON{ID: made.ID, Kind: made.Kind, Account: made.Account, CreatedAt: utc(made.CreatedAt)}, issued, c.JSON)
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
	op, err := sh.open()
	if err != nil {
		return err
	}
	defer op.Close()
	var of []auth.Account
	if c.Account != "" {
		a, err := sh.account(op, c.Account)
		if err != nil {
			return err
		}
		of = append(of, a)
	} else if of, err = op.Registry.Accounts(sh.ctx, actor()); err != nil {
		return err
	}
	var all []auth.Credential
	for _, a := range of {
		some, err := op.Registry.Credentials(sh.ctx, actor(), a.ID)
		if err != nil {
			return err
		}
		all = append(all, some...)
	}
	if c.JSON {
		list := []credentialJSON{}
		for _, one := range all {
			list = append(list, credentialForPrograms(op, one))
		}
		return sh.json(list)
	}
	if len(all) == 0 {
		sh.note("there are none: gatehouse credential create --account ID --kind KIND")
		return nil
	}
	now := op.DB.Now()
	rows := [][]string{{"CREDENTIAL", "ACCOUNT", "KIND", "NAME", "STATUS", "EXPIRES", "SECRETS", "LAST USED"}}
	for _, one := range all {
		live, last := 0, time.Time{}
		for _, s := range one.Secrets {
			if s.Live(now) && one.Dead(now) == auth.ReasonNone {
				live++
			}
			if s.LastUse.At.After(last) {
				last = s.LastUse.At
			}
		}
		rows = append(rows, []string{
			string(one.ID), one.Account.String(), string(one.Kind), one.Name, status(one, now), or(stamp(one.ExpiresAt), "never"),
			strconv.Itoa(live) + " live", or(stamp(last), "never"),
		})
	}
	return sh.table(rows)
}

type credentialShow struct {
	ID string `arg:"" help:"The credential's id, or the user ID, username or client id that its holder sends."`
	printed
}

func (credentialShow) Help() string {
	return `    gatehouse credential show u_3YpE7Kq0aBcD`
}

func (c *credentialShow) Run(sh *shell) error {
	op, err := sh.open()
	if err != nil {
		return err
	}
	defer op.Close()
	found, err := op.Registry.Credential(sh.ctx, actor(), c.ID)
	if err != nil {
		return err
	}
	return sh.showCredential(op, found, c.JSON)
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
	op, err := sh.open()
	if err != nil {
		return err
	}
	defer op.Close()
	text, err := sh.read("an API key, user:password, or a user name")
	if err != nil {
		return err
	}
	found, err := op.Registry.Find(sh.ctx, actor(), text)
	if err != nil {
		return errors.New(message(err)) // nothing is wrong with the command
	}
	a, err := sh.account(op, accountID(found.Credential.Account.String()))
	if err != nil && !errors.Is(err, auth.ErrNotFound) {
		return err
	}
	if c.JSON {
		return sh.json(struct {
			Credential credentialJSON `json:"credential"`
			Secret     int            `json:"secret,omitempty"` // which of its secrets
			Good       bool           `json:"good"`
			Reason     auth.Reason    `json:"reason,omitempty"`
		}{credentialForPrograms(op, found.Credential), found.Secret, found.Wrong == auth.ReasonNone, found.Wrong})
	}
	which, good := "", "yes"
	if found.Secret > 0 {
		which = "number " + strconv.Itoa(found.Secret)
	}
	if found.Wrong != auth.ReasonNone {
		good = "no: " + string(found.Wrong)
	}
	id := string(found.Credential.ID)
	if err := sh.facts("credential", id, "kind", string(found.Credential.Kind), "account", strings.TrimSpace(found.Credential.Account.String()+" "+a.Name),
		"name", found.Credential.Name, "secret", which, "good", good); err != nil {
		return err
	}
	if found.Secret > 0 && found.Wrong == auth.ReasonNone {
		sh.note("if it leaked: gatehouse credential rotate %s --old-expires now --end-sessions, or credential revoke %s", id, id)
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
	var u auth.CredentialUpdate
	u.Name = c.Name
	if c.Scope != nil {
		scope := strings.Join(c.Scope, " ")
		u.Scope = &scope
	}
	if c.JWKS != nil {
		keys := ""
		if *c.JWKS != "" {
			file, err := readKeys(*c.JWKS)
			if err != nil {
				return err
			}
			keys = string(file)
		}
		u.Keys = &keys
	}
	if u == (auth.CredentialUpdate{}) && !c.Expires.given {
		return usage("nothing to change: give --name, --scope, --expires or --jwks")
	}
	op, err := sh.change()
	if err != nil {
		return err
	}
	defer op.Close()
	if c.Expires.given {
		at := c.Expires.after(op.DB.Now())
		u.ExpiresAt = &at
	}
	found, err := op.Registry.Credential(sh.ctx, actor(), c.ID)
	if err != nil {
		return err
	}
	d, err := op.Registry.UpdateCredential(sh.ctx, actor(), found.ID, u)
	if err != nil {
		return err
	}
	sh.done(op, d)
	if found, err = op.Registry.Credential(sh.ctx, actor(), string(found.ID)); err != nil {
		return err
	}
	return sh.showCredential(op, found, c.JSON)
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
	op, err := sh.change()
	if err != nil {
		return err
	}
	defer op.Close()
	found, err := op.Registry.Credential(sh.ctx, actor(), c.ID)
	if err != nil {
		return err
	}
	d, err := op.Registry.RevokeCredential(sh.ctx, actor(), found.ID)
	if err != nil {
		return err
	}
	sh.done(op, d)
	if found, err = op.Registry.Credential(sh.ctx, actor(), string(found.ID)); err != nil {
		return err
	}
	return sh.showCredential(op, found, c.JSON)
}
