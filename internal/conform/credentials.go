package conform

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
)

// Credentials are what the rows are judged with. Everything may be missing; rows that need it are skipped then.
type Credentials struct {
	Liquid Key    `json:"liquid"`
	Orders User   `json:"orders"`
	B2B    Login  `json:"b2b"`
	OAuth  Client `json:"oauth"`
	// Routes are addresses behind the gateway, by the contract whose tokens they take and no others' but, for b2b and oauth,
	// each other's: "GET /path", or "/path", which is GET, and POST for liquid. A good call there is answered with 2xx.
	Routes Routes `json:"routes"`
}

// A Key is what contract 1 is judged with.
type Key struct {
	Key     string `json:"key"`
	Revoked string `json:"revoked_key"`
	Blocked string `json:"blocked_key"` // whose account does not allow the address that this comes from
	Header  string `json:"header"`      // that keys come in; "": X-LIQUID-API-KEY
}

// A User is what contract 2 is judged with.
type User struct {
	ID       string `json:"user_id"`
	Password string `json:"password"`
	Revoked  *User  `json:"revoked"`
	Blocked  *User  `json:"blocked"`
}

// A Login is what contract 3 is judged with.
type Login struct {
	Username string `json:"username"`
	Password string `json:"password"`
	Revoked  *Login `json:"revoked"`
	Blocked  *Login `json:"blocked"`
}

// A Client is what contract 4 is judged with.
type Client struct {
	ID      string  `json:"client_id"`
	Secret  string  `json:"client_secret"`
	Revoked *Client `json:"revoked"`
	Blocked *Client `json:"blocked"`
	Other   *Client `json:"other"`  // a client of another account, without scopes of operators
	Signer  *Signer `json:"signer"` // a client of the same account that signs in place of a secret
}

// A Signer is a client that is known by private_key_jwt.
type Signer struct {
	ID  string          `json:"client_id"`
	Key json.RawMessage `json:"key"` // a private JWK: Ed25519, P-256 or RSA
}

// Routes are addresses behind the gateway.
type Routes struct {
	Liquid string `json:"liquid"`
	Orders string `json:"orders"`
	B2B    string `json:"b2b"`
	OAuth  string `json:"oauth"`
}

// mostFile is how large a file of credentials may be.
const mostFile = 64 << 10

// ReadCredentials reads a file of them, which nobody but its owner may be able to read. Errors repeat nothing of it.
func ReadCredentials(path string) (Credentials, error) {
	f, err := os.Open(path)
	if err != nil {
		return Credentials{}, fmt.Errorf("read the credentials: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return Credentials{}, fmt.Errorf("read the credentials: %w", err)
	case !info.Mode().IsRegular():
		return Credentials{}, fmt.Errorf("%s is no file", path)
	case info.Mode().Perm()&0o077 != 0:
		return Credentials{}, fmt.Errorf("others can read %s (mode %#o): chmod 600 %[1]s", path, info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(f, mostFile+1))
	if err != nil {
		return Credentials{}, fmt.Errorf("read the credentials: %w", err)
	}
	if len(text) > mostFile {
		return Credentials{}, fmt.Errorf("%s holds more than %d bytes", path, mostFile)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var c Credentials
	if err = d.Decode(&c); err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("there is something after the object")
		}
	}
	if err != nil {
		// What encoding/json says names members, offsets and types, and a value at most by one letter.
		return Credentials{}, fmt.Errorf("%s is not as docs/conform.md has it: %w", path, err)
	}
	return c, nil
}

// secrets are all that must not be shown, in every spelling that they are sent in.
func (c *Credentials) secrets() []string {
	var all []string
	add := func(id, secret string) {
		if secret == "" {
			return
		}
		quoted, _ := json.Marshal(secret) // a string can be marshaled
		all = append(all, secret, url.QueryEscape(secret), strings.Trim(string(quoted), `"`), base64.StdEncoding.EncodeToString([]byte(id+":"+secret)))
	}
	for _, key := range []string{c.Liquid.Key, c.Liquid.Revoked, c.Liquid.Blocked} {
		add("", key)
	}
	for _, u := range []*User{&c.Orders, c.Orders.Revoked, c.Orders.Blocked} {
		if u != nil {
			add(u.ID, u.Password)
		}
	}
	for _, l := range []*Login{&c.B2B, c.B2B.Revoked, c.B2B.Blocked} {
		if l != nil {
			add(l.Username, l.Password)
		}
	}
	for _, o := range []*Client{&c.OAuth, c.OAuth.Revoked, c.OAuth.Blocked, c.OAuth.Other} {
		if o != nil {
			add(o.ID, o.Secret)
		}
	}
	return all
}

// A need is a member of the file that is not there.
func need(member string) error { return skip("the credentials do not have " + member) }

func (c *Credentials) key() (string, error) {
	if c.Liquid.Key == "" {
		return "", need("liquid.key")
	}
	return c.Liquid.Key, nil
}

func (c *Credentials) user() (User, error) {
	if c.Orders.ID == "" {
		return User{}, need("orders.user_id")
	}
	return c.Orders, nil
}

func (c *Credentials) login() (Login, error) {
	if c.B2B.Username == "" {
		return Login{}, need("b2b.username")
	}
	return c.B2B, nil
}

func (c *Credentials) client() (Client, error) {
	if c.OAuth.ID == "" {
		return Client{}, need("oauth.client_id")
	}
	return c.OAuth, nil
}

func (c *Credentials) other() (Client, error) {
	if c.OAuth.Other == nil || c.OAuth.Other.ID == "" {
		return Client{}, need("oauth.other")
	}
	return *c.OAuth.Other, nil
}

func (c *Credentials) signer() (Signer, error) {
	if c.OAuth.Signer == nil || c.OAuth.Signer.ID == "" {
		return Signer{}, need("oauth.signer")
	}
	return *c.OAuth.Signer, nil
}
