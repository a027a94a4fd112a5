package feed

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/facts"
	"github.com/gatehouse/gatehouse/verify"
)

// version is that of what pages say. A verifier refuses one that it does not know, so it rises only when ignoring what is
// new would let in what must be refused.
const version = 1

// pageBytes is how much of entries a page holds before it is sent. With the last of them, its head and in base64 it is well
// below the megabyte that docs/revocation-feed.md promises.
const pageBytes = 256 << 10

// A head is what every page of an answer says.
type head struct {
	Issuer      string   `json:"iss"`
	IssuedAt    int64    `json:"iat"` // seconds
	Version     int      `json:"version"`
	Answer      string   `json:"answer"` // the same in all pages of an answer, and in no others
	Page        int      `json:"page"`   // from 1
	Last        bool     `json:"last"`
	Full        bool     `json:"full"`
	Incarnation string   `json:"incarnation"`
	Position    int64    `json:"position"`
	Age         int64    `json:"age_ms"`
	RevokedKeys []string `json:"revoked_keys"`
	// and then "entries"
}

// The entries: each is one account, credential or session as it stands now. What it does not say is as it usually is; one
// that says nothing restricts nothing any more.
type (
	accountEntry struct {
		Account   int64            `json:"account"`
		Suspended bool             `json:"suspended,omitempty"`
		DeadBelow map[string]int64 `json:"dead_below_of,omitempty"` // by token type
		Until     int64            `json:"until,omitempty"`
	}
	credentialEntry struct {
		Credential string  `json:"credential"`
		Revoked    bool    `json:"revoked,omitempty"`
		Expires    int64   `json:"expires,omitempty"`
		DeadBelow  int64   `json:"dead_below,omitempty"`
		Scope      *string `json:"scope,omitempty"` // nil: all it ever had
		Until      int64   `json:"until,omitempty"`
	}
	sessionEntry struct {
		Session string `json:"session"`
		Until   int64  `json:"until"`
	}
)

// A pages gathers entries and hands out page after page, signed.
type pages struct {
	head head
	sign func(payload []byte) ([]byte, error)
	send func(page []byte) error

	entries bytes.Buffer // of the page that is being filled
	encoder *json.Encoder
}

func newPages(h head, sign func([]byte) ([]byte, error), send func([]byte) error) *pages {
	p := &pages{head: h, sign: sign, send: send}
	p.encoder = json.NewEncoder(&p.entries)
	p.encoder.SetEscapeHTML(false) // or it could make six letters of each
	return p
}

// add takes the entries of a portion.
func (p *pages) add(r *facts.Restrictions) error {
	for i := range r.Accounts {
		if err := p.entry(newAccount(&r.Accounts[i])); err != nil {
			return err
		}
	}
	for i := range r.Credentials {
		if err := p.entry(newCredential(&r.Credentials[i])); err != nil {
			return err
		}
	}
	for _, s := range r.Sessions {
		if err := p.entry(sessionEntry{Session: string(s.ID), Until: seconds(s.Until)}); err != nil {
			return err
		}
	}
	return nil
}

func newAccount(a *facts.RestrictedAccount) accountEntry {
	entry := accountEntry{Account: int64(a.ID), Suspended: a.Suspended, Until: seconds(a.Until)}
	for i, below := range a.DeadBelow {
		if below != 0 {
			if entry.DeadBelow == nil {
				entry.DeadBelow = make(map[string]int64)
			}
			entry.DeadBelow[string(verify.Types[i])] = int64(below)
		}
	}
	return entry
}

func newCredential(c *facts.RestrictedCredential) credentialEntry {
	entry := credentialEntry{Credential: string(c.ID), Revoked: c.Revoked, DeadBelow: int64(c.DeadBelow), Until: seconds(c.Until)}
	if !c.Expires.IsZero() {
		entry.Expires = c.Expires.Unix()
	}
	if c.Narrowed {
		entry.Scope = &c.Scope
	}
	return entry
}

// entry adds one, and sends the page when it is full.
func (p *pages) entry(e any) error {
	if p.entries.Len() > 0 {
		p.entries.WriteByte(',')
	}
	if err := p.encoder.Encode(e); err != nil {
		return fmt.Errorf("write an entry of the revocation feed: %w", err)
	}
	p.entries.Truncate(p.entries.Len() - 1) // the line break that Encode adds
	if p.entries.Len() < pageBytes {
		return nil
	}
	return p.close(false)
}

// close sends the page as it is.
func (p *pages) close(last bool) error {
	p.head.Page++
	p.head.Last = last
	payload, err := json.Marshal(&p.head)
	if err != nil {
		return fmt.Errorf("write a page of the revocation feed: %w", err)
	}
	payload = append(payload[:len(payload)-1], `,"entries":[`...)
	payload = append(append(payload, p.entries.Bytes()...), "]}"...)
	p.entries.Reset()
	signed, err := p.sign(payload)
	if err != nil {
		return err
	}
	return p.send(append(signed, '\n'))
}

// seconds rounds up: what must be known until then is known for long enough. The zero time is 0.
func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return (t.UnixMilli() + 999) / 1000
}

func names(ids []auth.KeyID) []string {
	all := make([]string, len(ids))
	for i, id := range ids {
		all[i] = string(id)
	}
	return all
}
