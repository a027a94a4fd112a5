package main

import (
	"errors"
	"strings"

	"github.com/gatehouse/gatehouse/api"
)

type tokens struct {
	Inspect tokenInspect `cmd:"" help:"Say whose a token is, and whether it would be accepted."`
	Revoke  tokenRevoke  `cmd:"" help:"End a token, and everything that came of the same login or exchange."`
}

type tokenInspect struct {
	From    piped   `arg:"" name:"-" help:"Standard input."`
	Address address `placeholder:"IP" help:"Look at the account's allowlist for somebody from there."`
	printed
}

func (tokenInspect) Help() string {
	return `Every check that the server makes, and how it comes out in the present state of this database. An access token or a refresh token; nothing is spent or changed.

    gatehouse token inspect - < token.txt
    pbpaste | gatehouse token inspect - --address 203.0.113.7`
}

func (c *tokenInspect) Run(sh *shell) error {
	o, err := sh.enter()
	if err != nil {
		return err
	}
	defer o.close()
	raw, err := sh.token(o)
	if err != nil {
		return err
	}
	asked := api.Token{Token: raw}
	if c.Address.IsValid() {
		asked.Address = c.Address.String()
	}
	found, err := o.InspectToken(sh.ctx, asked)
	if err != nil {
		return err
	}
	if c.JSON {
		return sh.json(found)
	}
	return sh.showInspection(found)
}

func (sh *shell) showInspection(found api.Inspection) error {
	if !found.Authentic && !found.Unreadable {
		if err := sh.printf("It says of itself, and anybody can write that:\n"); err != nil {
			return err
		}
	}
	credential := found.Credential
	if found.CredentialKind != "" {
		credential += " (" + strings.TrimSpace(found.CredentialKind+" "+found.CredentialName) + ")"
	}
	if err := sh.facts("type", found.Type, "account", strings.TrimSpace(found.Account+" "+found.AccountName), "credential", credential,
		"session", found.Session, "scopes", strings.Join(found.Scopes, " "), "issuer", found.Issuer, "audience", found.Audience,
		"key", strings.TrimSpace(found.Key+" "+found.Algorithm),
		"issued", stamp(found.IssuedAt), "presented", stamp(found.PresentedAt), "expires", stamp(found.ExpiresAt)); err != nil {
		return err
	}
	if !found.Unreadable {
		if err := sh.printf("\n"); err != nil {
			return err
		}
	}
	var rows [][]string
	for _, check := range found.Checks {
		rows = append(rows, []string{check.Outcome, check.Check, check.Detail})
	}
	if err := sh.table(rows); err != nil {
		return err
	}
	use := "at a route for its type"
	if found.Refresh {
		use = "for a refresh"
	}
	if found.Good {
		return sh.printf("\nIt would be accepted now, %s.\n", use)
	}
	return sh.printf("\nIt would be refused: %s.\n", found.Reason)
}

// token reads a token from standard input.
func (sh *shell) token(o *visit) (string, error) {
	raw, err := sh.read("a token")
	if err != nil {
		return "", err
	}
	if scheme, rest, ok := strings.Cut(raw, " "); ok && strings.EqualFold(scheme, "Bearer") { // copied with the header
		raw = strings.TrimSpace(rest)
	}
	if o.config != nil && strings.HasPrefix(raw, o.config.KeyPrefix+"_") || strings.Count(raw, ".") != 2 && strings.Contains(raw, "_live_") {
		return "", errors.New("this is no token but an API key: gatehouse credential find - says whose")
	}
	return raw, nil
}

type tokenRevoke struct {
	From piped `arg:"" name:"-" help:"Standard input."`
	printed
}

func (tokenRevoke) Help() string {
	return `It ends the token's session: the token itself, whatever it was renewed or refreshed from, and whatever was renewed or refreshed from it. The credential stays good.

    gatehouse token revoke - < token.txt`
}

func (c *tokenRevoke) Run(sh *shell) error {
	o, err := sh.enterToChange()
	if err != nil {
		return err
	}
	defer o.close()
	raw, err := sh.token(o)
	if err != nil {
		return err
	}
	ended, err := o.RevokeToken(sh.ctx, raw)
	if err != nil {
		return err
	}
	if ended.Expired {
		sh.note("note: the token itself has expired; what came of the same login or exchange ends now")
	}
	return sh.showRevoked(o, ended, c.JSON)
}
