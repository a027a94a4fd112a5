// Package admin speaks the admin API: what operators do, for machines, below /admin/v1/ of the admin listener. It only
// translates: what is asked is asked of a desk, which asks the registry, as the one actor whom the bearer token names.
//
// The invariants: without a good operator token nothing is read but the document; a cookie counts for nothing; every address is
// in one table; a secret goes out in the answer to the request that made it, and is kept in no other form than a digest; a list
// goes on only where this server has said, for the same actor and the same question.
package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/desk"
	"github.com/gatehouse/gatehouse/internal/secret"
	"github.com/gatehouse/gatehouse/internal/web"
)

// Path is what every address of the API begins with.
const Path = "/admin/v1"

// Tokens know the operator tokens.
type Tokens interface {
	// Machine returns who presents the token, from where. One that is none, or no good any more, is an error of kind
	// [auth.Unauthenticated]; where one was wrong too often from there, of kind [auth.Limited], and nothing was looked at.
	Machine(ctx context.Context, token string, from auth.Caller) (auth.Actor, error)
}

// Config says how the API is spoken.
type Config struct {
	Desks   *desk.Desks
	Tokens  Tokens
	Repeats Repeats
	// Digest is keyed with a key of the installation's that nobody else has.
	Digest secret.Sum
	Realm  string // in WWW-Authenticate
	Log    *slog.Logger
	Now    func() time.Time // nil means time.Now
}

// A Contract speaks the admin API.
type Contract struct {
	Config
	bearer   *web.Bearer
	document []byte
	routes   []*route
}

// New returns a Contract.
func New(c Config) (*Contract, error) {
	if c.Desks == nil || c.Tokens == nil || c.Repeats == nil || c.Digest == nil {
		return nil, errors.New("admin: there is nobody to ask")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Contract{Config: c, bearer: web.NewBearer(c.Realm), document: api.Admin(), routes: routes()}, nil
}

// Addresses are those of the API.
func (c *Contract) Addresses() []web.Address {
	return []web.Address{
		{Path: Path, Prefix: true, Any: c.serve, Refuse: c.Refuse},
		{Path: Path + "/openapi.yaml", Methods: map[string]web.Handler{http.MethodGet: c.openAPI}, Refuse: c.Refuse},
	}
}

// openAPI serves the document, which anybody may read who comes to this listener.
func (c *Contract) openAPI(w http.ResponseWriter, r *web.Request) error {
	if err := unconditional(r, false); err != nil {
		return err
	}
	w.Header()["Cache-Control"] = []string{"no-cache"}
	if web.NotModified(w, r, web.Tag(c.document)) {
		return nil
	}
	reply(w, http.StatusOK, "application/yaml", c.document)
	return nil
}

// A call is one request to one route, by somebody who is known.
type call struct {
	*web.Request
	c      *Contract
	route  *route
	desk   *desk.Desk
	actor  auth.Actor
	named  string // what stands in the path in place of the first name in braces,
	second string // and of the second
	body   string // JSON; "" for none
}

// An answer is what a route answers with.
type answer struct {
	status int // 0: 200
	value  any
	// location is the path, below [Path], of what was made; "" for what is read nowhere.
	location string
	// settled says that more is known than what was kept, with the act, for a repetition under the same Idempotency-Key.
	settled bool
}

// serve serves every address of the API.
func (c *Contract) serve(w http.ResponseWriter, r *web.Request) error {
	one := &call{Request: r, c: c}
	if err := one.find(); err != nil {
		return err
	}
	r.Seen.Route = Path + one.route.path
	var err error
	if one.actor, err = c.who(r); err != nil {
		return err
	}
	one.desk = c.Desks.For(one.actor)
	if err = one.desk.Ask(r.Context(), one.route.asks, 0); err != nil {
		return err
	}
	if !one.route.lists {
		if err = one.query().err; err != nil {
			return err
		}
	}
	if err = unconditional(r, one.route.expects != nil); err != nil {
		return err
	}
	if one.route.anew && r.Header["Idempotency-Key"] != nil {
		return errAnew
	}
	if one.route.takes {
		one.body, err = web.ReadJSON(r)
	} else {
		err = web.Discard(r)
	}
	if err != nil {
		return err
	}
	if one.route.streams != nil {
		return one.route.streams(one, w)
	}
	said, err := one.answer(w)
	if err != nil {
		return err
	}
	body, err := encode(said.value)
	if err != nil {
		return err
	}
	if tag := tagOf(said.value); tag != "" {
		w.Header()["Etag"] = []string{tag}
	}
	if said.location != "" {
		w.Header()["Location"] = []string{Path + said.location}
	}
	if said.status == 0 {
		said.status = http.StatusOK
	}
	reply(w, said.status, "application/json; charset=utf-8", body)
	return nil
}

// unconditional refuses a condition that nothing would be compared with: whoever states one must not believe that it held (RFC 9110,
// section 13.1.1). If-None-Match of a reader is none such: it only saves who has a copy another one.
func unconditional(r *web.Request, taken bool) error {
	if !taken && r.Header["If-Match"] != nil || r.Method != http.MethodGet && r.Header["If-None-Match"] != nil {
		return errCondition
	}
	return nil
}

// answer does what the call asks for, on the terms that it states.
func (c *call) answer(w http.ResponseWriter) (answer, error) {
	terms := c.expected()
	if c.route.repeats {
		return c.once(w, terms)
	}
	return c.do(terms)
}

// do does what the call asks for.
func (c *call) do(terms desk.Terms) (answer, error) {
	c.desk = c.c.Desks.For(c.actor).On(terms)
	said, err := c.route.serve(c.Context(), c)
	if errors.Is(err, auth.ErrChanged) {
		err = errChanged
	}
	return said, err
}

// expected is what If-Match says of what is to be changed. It is compared in the transaction of the change.
func (c *call) expected() desk.Terms {
	tags := c.Header["If-Match"]
	if c.route.expects == nil || len(tags) == 0 {
		return desk.Terms{}
	}
	return c.route.expects(func(now any) bool { return matches(tags, tagOf(now)) })
}

// who is whoever has the token.
func (c *Contract) who(r *web.Request) (auth.Actor, error) {
	token, err := bearer(r.Header["Authorization"])
	if err != nil {
		return auth.Actor{}, err
	}
	actor, err := c.Tokens.Machine(r.Context(), token, r.Caller)
	if e := auth.AsError(err); err != nil && e.Kind == auth.Unauthenticated {
		wrong := *e
		wrong.TokenSent = true
		return auth.Actor{}, &wrong
	}
	return actor, err
}

// errNoToken is a call by nobody.
var errNoToken = auth.ErrBadToken.Because(auth.ReasonNoCredential).Saying("An operator token is needed: Authorization: Bearer gko_…")

// bearer reads the one token that a call has (RFC 6750, section 2.1).
func bearer(values []string) (string, error) {
	if len(values) == 0 {
		return "", errNoToken
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	if !ok || len(values) > 1 || !strings.EqualFold(scheme, "Bearer") {
		wrong := *auth.ErrBadToken.Because(auth.ReasonMalformed)
		wrong.TokenSent = true
		return "", &wrong
	}
	return token, nil
}

// encode writes a value as JSON, without a line feed.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// reply answers. Nothing of it is to be stored but what says so.
func reply(w http.ResponseWriter, status int, media string, body []byte) {
	h := w.Header()
	h["Content-Type"] = []string{media}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	if h["Cache-Control"] == nil {
		h["Cache-Control"] = []string{"no-store"}
	}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// tagOf is the entity tag of what has one: of what can be changed of it. How a secret was last used, and when a person signed in,
// is not part of it, or nobody could change what is busy.
func tagOf(v any) string {
	switch v := v.(type) {
	case api.Account:
		v.Confirmed = nil
		return tag(v)
	case api.Credential:
		v.Confirmed, v.Rotation, v.Secrets = nil, nil, append([]api.Secret(nil), v.Secrets...)
		for i := range v.Secrets {
			s := &v.Secrets[i]
			s.LastUsed, s.From, s.UserAgent, s.Uses = time.Time{}, "", "", 0
		}
		return tag(v)
	case api.Allowlist:
		if v.DryRun {
			return ""
		}
		return tag(v.Allowlist)
	case api.Person:
		if v.State == string(auth.Removed) {
			return ""
		}
		v.SignedInAt = time.Time{}
		return tag(v)
	case api.OperatorToken:
		v.UsedAt, v.UsedFrom, v.Token, v.Replayed = time.Time{}, "", "", false
		return tag(v)
	case api.SigningKey:
		v.Confirmed = nil
		return tag(v)
	}
	return ""
}

func tag(v any) string {
	text, err := encode(v)
	if err != nil {
		return ""
	}
	return web.Tag(text)
}

// matches says whether one of the tags is that of now (RFC 9110, section 13.1.1: strong comparison).
func matches(values []string, now string) bool {
	for _, value := range values {
		for one := range strings.SplitSeq(value, ",") {
			if one = strings.TrimSpace(one); one == "*" || one == now {
				return true
			}
		}
	}
	return false
}
