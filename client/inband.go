package client

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatehouse/gatehouse/api"
)

const (
	// The longest body that is read to ask in, or to find an answer in.
	mostRead = 1 << 20

	asking = "refresh"
	given  = "auth"
)

// AddRefresh returns a JSON object with one member more, "refresh":true, directly before the brace that closes it. Every
// other byte is as it was. A call with such a body asks the gateway for a new token (contract 1), which its answer then has
// in the member "auth". It returns body itself and false if that is no object in valid JSON, or has such a member already.
func AddRefresh(body []byte) ([]byte, bool) {
	members, ok := object(body)
	if _, has := members[asking]; !ok || has {
		return body, false
	}
	brace := bytes.LastIndexByte(body, '}')
	with := make([]byte, 0, len(body)+len(`,"refresh":true`))
	with = append(with, body[:brace]...)
	if len(members) > 0 {
		with = append(with, ',')
	}
	with = append(with, `"refresh":true`...)
	return append(with, body[brace:]...), true
}

// object returns the members of a document that is one object, by their names as they are meant.
func object(doc []byte) (map[string]json.RawMessage, bool) {
	var members map[string]json.RawMessage
	ok := utf8.Valid(doc) && json.Unmarshal(doc, &members) == nil && members != nil
	return members, ok
}

// An ask is what a call does about the next token: nothing, or it asks for one in its body.
type ask struct {
	c         *Client
	old       *held // nil: nothing
	rewritten bool  // the body has been set
}

// ask makes a call ask for the token after t, if it is time and no other call does, and if its body can.
func (c *Client) ask(out *http.Request, t *held) (ask, error) {
	if !c.inBand || c.theirs().Before(t.asks) || !asks(out) {
		return ask{}, nil
	}
	c.mu.Lock()
	busy := c.asking == t
	if !busy {
		c.asking = t
	}
	c.mu.Unlock()
	if busy {
		return ask{}, nil
	}
	a := ask{c: c, old: t}
	body, err := out.GetBody()
	if err != nil {
		a.over(nil)
		return ask{}, fmt.Errorf("read the body: %w", err)
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, mostRead+1))
	if err != nil || int64(len(text)) != out.ContentLength { // whoever sends it finds out what is wrong with it
		a.over(nil)
		return ask{}, nil
	}
	with, ok := AddRefresh(text)
	if !ok {
		if members, _ := object(text); string(members[asking]) != "true" {
			a.over(nil)
			return ask{}, nil
		}
		return a, nil // it asks by itself
	}
	a.rewritten = true
	out.ContentLength = int64(len(with))
	out.Header.Del("Content-Length")
	out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(with)), nil }
	out.Body, _ = out.GetBody()
	return a, nil
}

// ofWholeBody are headers that would be wrong of a body with a member more.
var ofWholeBody = []string{"Content-Digest", "Content-Encoding", "Content-Md5", "Digest", "Repr-Digest", "Signature", "Signature-Input"}

// asks says whether a call can ask, by all but its body.
func asks(req *http.Request) bool {
	for _, name := range ofWholeBody {
		if len(req.Header[name]) > 0 {
			return false
		}
	}
	return req.Method != http.MethodHead && req.GetBody != nil && req.ContentLength > 0 && req.ContentLength <= mostRead && isJSON(req.Header)
}

// isJSON says whether a body with these headers is JSON.
func isJSON(h http.Header) bool {
	media, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	media = strings.ToLower(strings.TrimSpace(media))
	return media == "application/json" || strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json")
}

// answered looks for what was asked for, as the answer is read.
func (a ask) answered(res *http.Response) {
	switch {
	case a.old == nil:
		return
	case res.Header.Get("X-Auth-Refresh") == "refused":
		a.c.dueNow(a.old)
	case res.Header.Get("X-Auth-Refresh") == "" && isJSON(res.Header) && res.StatusCode != http.StatusSwitchingProtocols:
		res.Body = &watched{ReadCloser: res.Body, ask: a}
		return
	}
	a.over(nil)
}

// over ends asking, with the answer's body, nil if there is none.
func (a ask) over(body []byte) {
	if a.old == nil {
		return
	}
	next := a.c.given(a.old, body)
	a.c.mu.Lock()
	defer a.c.mu.Unlock()
	if a.c.asking == a.old {
		a.c.asking = nil
	}
	if next != nil && (a.c.current == nil || a.c.current.expires.Before(next.expires)) {
		a.c.current = next
	}
}

// dueNow has the key presented with the next call: this token cannot be renewed in band any more.
func (c *Client) dueNow(t *held) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == t {
		due := *t
		due.due = c.theirs()
		c.current = &due
	}
}

// A watched body is remembered while it is read.
type watched struct {
	io.ReadCloser
	ask  ask
	body []byte
	done bool
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if !w.done {
		w.body = append(w.body, p[:n]...)
		switch {
		case len(w.body) > mostRead:
			w.end(nil)
		case errors.Is(err, io.EOF):
			w.end(w.body)
		}
	}
	return n, err
}

// Close takes what was read for all: who decodes an object stops at its end.
func (w *watched) Close() error {
	if !w.done {
		w.end(w.body)
	}
	return w.ReadCloser.Close()
}

func (w *watched) end(body []byte) {
	w.done, w.body = true, nil
	w.ask.over(body)
}

// given returns the token that an answer's body gives in place of old, nil if it gives none. APIs write those bodies, and not
// all that is called auth in them comes from the gateway: it has to be of the same account and session, and live longer.
func (c *Client) given(old *held, body []byte) *held {
	if body == nil {
		return nil
	}
	members, ok := object(body)
	var t api.LiquidToken
	if !ok || json.Unmarshal(members[given], &t) != nil || t.Type != "ACCESS_TOKEN" || len(t.Token) > 4096 || !visible(t.Token) {
		return nil
	}
	now, expires := c.theirs(), time.UnixMilli(t.Exp)
	was, is := claimsOf(old.value), claimsOf(t.Token)
	if was == nil || is == nil || is.Type != "ACCESS_TOKEN" || is.Expires != expires.Unix() || t.Exp%1000 != 0 ||
		is.owner != was.owner || !expires.After(old.expires) || !expires.After(now) {
		return nil
	}
	return newHeld(t.Token, t.Type, "", now, expires)
}

// claims are what a token says of itself. Nobody here can check that it is true.
type claims struct {
	owner
	Type    string `json:"type"`
	Expires int64  `json:"exp"`
}

// owner is what a renewed token has in common with the one before it.
type owner struct {
	Issuer     string `json:"iss"`
	Subject    string `json:"sub"`
	Credential string `json:"cid"`
	Session    string `json:"sid"`
}

func claimsOf(token string) *claims {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	var c claims
	if err != nil || json.Unmarshal(text, &c) != nil {
		return nil
	}
	return &c
}
