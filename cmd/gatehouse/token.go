package main

import (
	"errors"
	"strings"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/server"
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

// inspectionJSON is an inspection as it is printed for programs.
type inspectionJSON struct {
	Good       bool        `json:"good"`
	Reason     auth.Reason `json:"reason,omitempty"`
	Authentic  bool        `json:"authentic"`
	Refresh    bool        `json:"refresh"`
	Type       string      `json:"type,omitempty"`
	Account    string      `json:"account,omitempty"`
	Name       string      `json:"account_name,omitempty"`
	Credential string      `json:"credential,omitempty"`
	Session    string      `json:"session,omitempty"`
	Scopes     []string    `json:"scopes"`
	Issuer     string      `json:"issuer,omitempty"`
	Audience   string      `json:"audience,omitempty"`
	Key        string      `json:"key,omitempty"`
	IssuedAt   utc         `json:"issued_at,omitzero"`
	ExpiresAt  utc         `json:"expires_at,omitzero"`
	Checks     []checkJSON `json:"checks"`
}

type checkJSON struct {
	Check   string         `json:"check"`
	Outcome server.Outcome `json:"outcome"`
	Detail  string         `json:"detail,omitempty"`
}

func (c *tokenInspect) Run(sh *shell) error {
	op, err := sh.open()
	if err != nil {
		return err
	}
	defer op.Close()
	raw, err := sh.token(op)
	if err != nil {
		return err
	}
	found, err := op.Inspect(sh.ctx, raw, c.Address.Addr)
	if err != nil {
		return err
	}
	said := found.Said
	if c.JSON {
		j := inspectionJSON{
			Good: found.Good, Reason: found.Reason, Authentic: found.Authentic, Refresh: found.Refresh, Type: said.Type, Account: said.Account,
			Name: found.Name, Credential: said.Credential, Session: said.Session, Scopes: append([]string{}, strings.Fields(found.Scope)...),
			Issuer: said.Issuer, Audience: said.Audience, Key: said.KeyID, IssuedAt: utc(said.IssuedAt), ExpiresAt: utc(said.Expires),
		}
		for _, check := range found.Checks {
			j.Checks = append(j.Checks, checkJSON{check.Name, check.Outcome, check.Detail})
		}
		return sh.json(j)
	}
	return sh.showInspection(found)
}

func (sh *shell) showInspection(found server.Inspection) error {
	said := found.Said
	if !found.Authentic && !said.NotSpelledLikeOneOfThese {
		if err := sh.printf("It says of itself, and anybody can write that:\n"); err != nil {
			return err
		}
	}
	credential := said.Credential
	if found.Credential.Kind != "" {
		credential += " (" + strings.TrimSpace(string(found.Credential.Kind)+" "+found.Credential.Name) + ")"
	}
	if err := sh.facts("type", said.Type, "account", strings.TrimSpace(said.Account+" "+found.Name), "credential", credential,
		"session", said.Session, "scopes", found.Scope, "issuer", said.Issuer, "audience", said.Audience, "key", strings.TrimSpace(said.KeyID+" "+said.Algorithm),
		"issued", stamp(said.IssuedAt), "presented", stamp(said.AuthTime), "expires", stamp(said.Expires)); err != nil {
		return err
	}
	if !said.NotSpelledLikeOneOfThese {
		if err := sh.printf("\n"); err != nil {
			return err
		}
	}
	var rows [][]string
	for _, check := range found.Checks {
		rows = append(rows, []string{string(check.Outcome), check.Name, check.Detail})
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
func (sh *shell) token(op *server.Opened) (string, error) {
	raw, err := sh.read("a token")
	if err != nil {
		return "", err
	}
	if scheme, rest, ok := strings.Cut(raw, " "); ok && strings.EqualFold(scheme, "Bearer") { // copied with the header
		raw = strings.TrimSpace(rest)
	}
	if strings.HasPrefix(raw, op.Config.KeyPrefix+"_") {
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
	op, err := sh.change()
	if err != nil {
		return err
	}
	defer op.Close()
	raw, err := sh.token(op)
	if err != nil {
		return err
	}
	found, err := op.Inspect(sh.ctx, raw, address{}.Addr)
	if err != nil {
		return err
	}
	if !found.Authentic || found.Subject.Session == "" {
		return errors.New("this token is none of this database's, so there is nothing to end: gatehouse token inspect - says what is wrong with it")
	}
	if !found.Refresh && op.DB.Now().After(found.Said.Expires) {
		sh.note("note: the token itself has expired; what came of the same login or exchange ends now")
	}
	d, err := op.Registry.RevokeSession(sh.ctx, actor(), found.Subject.Session, found.Subject.Account)
	if err != nil {
		return err
	}
	sh.done(op, d)
	return sh.revoked(c.JSON, found.Subject.Session, found.Subject.Account)
}
