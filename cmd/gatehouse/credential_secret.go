package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/proof"
	"github.com/gatehouse/gatehouse/internal/registry"
)

// issuedJSON is a credential just made, or with a new secret. Only one kind's fields are there.
type issuedJSON struct {
	ID           auth.CredentialID `json:"id"`
	Kind         auth.Kind         `json:"kind"`
	Account      auth.AccountID    `json:"account"`
	CreatedAt    utc               `json:"created_at"`
	Key          string            `json:"key,omitempty"`
	UserID       string            `json:"user_id,omitempty"`
	Username     string            `json:"username,omitempty"`
	Password     string            `json:"password,omitempty"`
	ClientID     string            `json:"client_id,omitempty"`
	ClientSecret string            `json:"client_secret,omitempty"`
	OldExpiresAt utc               `json:"old_expires_at,omitzero"` // of the secret before, when it was rotated
}

// reveal fills in what the credential's holder needs.
func (j *issuedJSON) reveal(i registry.Issued) {
	identifier, secret := i.Reveal()
	switch j.Kind {
	case auth.APIKey:
		j.Key = identifier
	case auth.Basic:
		j.UserID, j.Password = identifier, secret
	case auth.Login:
		j.Username, j.Password = identifier, secret
	case auth.OAuth:
		j.ClientID, j.ClientSecret = identifier, secret
	}
}

// pairs are the secret's parts with their names.
func (j issuedJSON) pairs() []string {
	return []string{
		"key", j.Key, "user_id", j.UserID, "username", j.Username, "password", j.Password,
		"client_id", j.ClientID, "client_secret", j.ClientSecret,
	}
}

// A destination is where a secret goes: a new file, or standard output.
type destination struct {
	path string
	file *os.File // nil: standard output
}

// openFor makes the file before there is a secret, so that none is made that cannot be kept.
func openFor(path string) (*destination, error) {
	if path == "" {
		return &destination{}, nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("--out %s: the file is there already, and a secret is never written over something: name a new one", path)
	}
	if err != nil {
		return nil, fmt.Errorf("--out: %w", err)
	}
	return &destination{path: path, file: f}, nil
}

// abandon takes the empty file away again.
func (d *destination) abandon() {
	if d.file != nil {
		d.file.Close()
		os.Remove(d.path)
	}
}

// writeSecret writes the secret where it is to go, and what is no secret to standard output.
func (sh *shell) writeSecret(d *destination, j issuedJSON, i registry.Issued, forProgram bool) error {
	public := j
	j.reveal(i)
	if d.file == nil {
		public = j
	} else if err := d.write(j, forProgram); err != nil {
		return fmt.Errorf("credential %s has a secret that could not be written to %s, so nobody knows it: %w; end it with gatehouse credential revoke %s, or rotate --undo if it was rotated", j.ID, d.path, err, j.ID)
	}
	if forProgram {
		return sh.json(public)
	}
	if err := sh.facts(append([]string{"credential", string(j.ID), "kind", string(j.Kind), "account", j.Account.String()}, public.pairs()...)...); err != nil {
		return err
	}
	switch {
	case j.ClientID != "" && j.ClientSecret == "":
		sh.note("there is no secret: the client signs with its own keys (%s)", strings.Join(proof.KeyNames(i.Credential.Keys), " "))
	case d.file != nil:
		sh.note("the secret is in %s, and nowhere else", d.path)
	default:
		sh.note("the secret is shown this one time: only a digest of it is kept")
	}
	return nil
}

// write writes an API key alone on a line, of the others name=value; or JSON.
func (d *destination) write(j issuedJSON, forProgram bool) error {
	var text strings.Builder
	switch {
	case forProgram:
		e := json.NewEncoder(&text)
		e.SetEscapeHTML(false)
		if err := e.Encode(j); err != nil {
			return err
		}
	case j.Key != "":
		text.WriteString(j.Key + "\n")
	default:
		for pairs := j.pairs(); len(pairs) > 0; pairs = pairs[2:] {
			if pairs[1] != "" {
				text.WriteString(pairs[0] + "=" + pairs[1] + "\n")
			}
		}
	}
	_, err := io.WriteString(d.file, text.String())
	return errors.Join(err, d.file.Sync(), d.file.Close())
}
