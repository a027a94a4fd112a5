package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/gatehouse/gatehouse/api"
)

// pairs are the secret's parts with their names.
func pairs(i api.Issued) []string {
	return []string{
		"key", i.Key, "user_id", i.UserID, "username", i.Username, "password", i.Password,
		"client_id", i.ClientID, "client_secret", i.ClientSecret,
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
func (sh *shell) writeSecret(d *destination, j api.Issued, forProgram bool) error {
	keys := j.Keys
	j.Keys = nil
	public := j
	if d.file != nil {
		public = j.Public()
		if err := d.write(j, forProgram); err != nil {
			return fmt.Errorf("credential %s has a secret that could not be written to %s, so nobody knows it: %w; end it with gatehouse credential revoke %s, or rotate --undo if it was rotated", j.ID, d.path, err, j.ID)
		}
	}
	if forProgram {
		return sh.json(public)
	}
	if err := sh.facts(append([]string{"credential", j.ID, "kind", j.Kind, "account", strconv.FormatInt(j.Account, 10)}, pairs(public)...)...); err != nil {
		return err
	}
	switch {
	case j.ClientID != "" && j.ClientSecret == "":
		sh.note("there is no secret: the client signs with its own keys (%s)", strings.Join(keys, " "))
	case d.file != nil:
		sh.note("the secret is in %s, and nowhere else", d.path)
	default:
		sh.note("the secret is shown this one time: only a digest of it is kept")
	}
	return nil
}

// write writes an API key alone on a line, of the others name=value; or JSON.
func (d *destination) write(j api.Issued, forProgram bool) error {
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
		for rest := pairs(j); len(rest) > 0; rest = rest[2:] {
			if rest[1] != "" {
				text.WriteString(rest[0] + "=" + rest[1] + "\n")
			}
		}
	}
	return d.put(text.String())
}

// put writes the file.
func (d *destination) put(text string) error {
	_, err := io.WriteString(d.file, text)
	return errors.Join(err, d.file.Sync(), d.file.Close())
}
