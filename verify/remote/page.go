package remote

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/gatehouse/gatehouse/verify"
)

const (
	// version is what pages say that this package understands. Of another it cannot know what it would overlook.
	version = 1

	maxPage   = 1 << 20   // the longest line of an answer
	maxAnswer = 512 << 20 // and all lines together: some five million revocations

	maxNumber = 1<<53 - 1 // the largest whole number that every reader of JSON keeps exactly
)

// A page is one line of an answer of the feed, found authentic.
type page struct {
	Issuer      string   `json:"iss"`
	IssuedAt    int64    `json:"iat"`
	Version     int      `json:"version"`
	Answer      string   `json:"answer"`
	Page        int      `json:"page"`
	Last        bool     `json:"last"`
	Full        bool     `json:"full"`
	Incarnation string   `json:"incarnation"`
	Position    int64    `json:"position"`
	Age         int64    `json:"age_ms"`
	RevokedKeys []string `json:"revoked_keys"`
	Entries     []entry  `json:"entries"`
}

// An entry says how one account, credential or session stands.
type entry struct {
	Account    *int64  `json:"account"`
	Credential *string `json:"credential"`
	Session    *string `json:"session"`

	Suspended   bool             `json:"suspended"`
	DeadBelowOf map[string]int64 `json:"dead_below_of"`
	Revoked     bool             `json:"revoked"`
	Expires     int64            `json:"expires"`
	DeadBelow   int64            `json:"dead_below"`
	Scope       *string          `json:"scope"`
	Until       int64            `json:"until"`
}

var strict = base64.RawURLEncoding.Strict()

// openPage returns what a line says if find knows the key that signed it. The header is looked up as it stands, as that of a
// token is.
func openPage(line string, find func(header string) (*verify.Key, error)) (*page, error) {
	header, rest, _ := strings.Cut(line, ".")
	payload, signature, ok := strings.Cut(rest, ".")
	if !ok || strings.Contains(signature, ".") {
		return nil, errors.New("a line of the answer is no signed page")
	}
	key, err := find(header)
	if err != nil {
		return nil, err
	}
	sig, err := strict.DecodeString(signature)
	if err != nil || !key.Verify(line[:len(header)+1+len(payload)], sig) {
		return nil, fmt.Errorf("the signature of a page is not of the key %s", key.ID)
	}
	text, err := strict.DecodeString(payload)
	if err != nil {
		return nil, fmt.Errorf("a page is not in base64url: %w", err)
	}
	return readPage(text)
}

// readPage reads what a page says, all that can be checked of a page by itself.
func readPage(text []byte) (*page, error) {
	p := new(page)
	err := json.Unmarshal(text, p) // of another version it may fail, and say which version that was all the same
	if p.Version != version && (err == nil || p.Version != 0) {
		return nil, fmt.Errorf("the feed is of version %d, and this verifier understands %d", p.Version, version)
	}
	if err != nil {
		return nil, fmt.Errorf("a page is not as it should be: %w", err)
	}
	if p.Incarnation == "" || p.Answer == "" || p.Position < 0 || p.Position > maxNumber || p.Age < 0 || p.Age > maxNumber {
		return nil, errors.New("a page lacks incarnation, answer, position or age")
	}
	for i := range p.Entries {
		if !p.Entries[i].good() {
			return nil, fmt.Errorf("entry %d of a page is not about one account, credential or session", i)
		}
	}
	return p, nil
}

func (e *entry) good() bool {
	about := 0
	for _, there := range []bool{e.Account != nil, e.Credential != nil, e.Session != nil} {
		if there {
			about++
		}
	}
	return about == 1 && e.Until >= 0 && e.Expires >= 0 && e.DeadBelow >= 0
}

// An answer is all pages of one, put together.
type answer struct {
	page // the last one; its entries are in told
	told revocations
}

// readAnswer reads pages to the last one. They must be of one answer, in order, each of an issuer that is accepted. arrived is
// called for each page.
func readAnswer(body io.Reader, issuers []string, find func(string) (*verify.Key, error), arrived func()) (*answer, error) {
	lines := bufio.NewScanner(io.LimitReader(body, maxAnswer))
	lines.Buffer(make([]byte, 0, 64<<10), maxPage)
	a := &answer{told: newRevocations()}
	for !a.Last {
		if !lines.Scan() {
			if err := lines.Err(); err != nil {
				return nil, fmt.Errorf("read the feed: %w", err)
			}
			return nil, errors.New("the answer ended before its last page")
		}
		arrived()
		p, err := openPage(lines.Text(), find)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(issuers, p.Issuer) {
			return nil, fmt.Errorf("the feed is of the issuer %q", p.Issuer)
		}
		if p.Page != a.Page+1 || a.Page > 0 && (p.Answer != a.Answer || p.Full != a.Full || p.Incarnation != a.Incarnation || p.Position != a.Position) {
			return nil, errors.New("the pages are not those of one answer")
		}
		for i := range p.Entries {
			a.told.take(&p.Entries[i])
		}
		p.Entries = nil
		a.page = *p
	}
	return a, nil
}
