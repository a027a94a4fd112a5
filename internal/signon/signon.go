// Package signon has persons signed in by somebody else: a provider of OpenID Connect, by the authorization code flow with PKCE.
// It is the one room that knows the library for it, and no type of that library leaves it. It leaves to people who somebody is
// here, and whether he may come in, and to the pages what is said to him.
//
// The invariants: who somebody is to a provider is issuer and subject, and an e-mail address counts only when the two are linked,
// and only if the provider has verified it; an answer counts once, in the browser that asked, for the purpose, provider and person
// it was asked for; nothing is fetched before somebody wants to sign in, nothing in clear text from elsewhere than this machine,
// and nothing from another host because a host said so; no secret, code or token is in an error.
package signon

import (
	"cmp"
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/ceremony"
)

// A Provider is who may say who somebody is.
type Provider struct {
	Name         string // in addresses: small letters, digits and dashes
	Title        string // on the button
	Issuer       string
	ClientID     string
	ClientSecret func() string // nil: the client has none, and PKCE alone binds the code
	Scopes       []string      // besides openid
	// EmailDomains are those that a link can be made for. Empty: any.
	EmailDomains []string
}

// Config is what a [Signon] is made of.
type Config struct {
	// BaseURL is where the pages are: providers send people back there, whatever a request says of itself.
	BaseURL    string
	Path       string // of the page that they come back to; the provider's name is put behind it
	Providers  []Provider
	Ceremonies *ceremony.Ceremonies
	Now        func() time.Time  // nil means time.Now
	Transport  http.RoundTripper // nil: one of its own
	Log        *slog.Logger      // nil: none
}

// A Signon is the providers of one dashboard. It is safe for concurrent use.
type Signon struct {
	config    Config
	providers []*provider
	client    *http.Client
}

// New returns a Signon. It asks nobody anything.
func New(c Config) (*Signon, error) {
	base, err := url.Parse(c.BaseURL)
	if err != nil || base.Host == "" || c.Ceremonies == nil || !strings.HasPrefix(c.Path, "/") {
		return nil, errors.New("signon: a base URL, a path and ceremonies are all needed")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &Signon{config: c, client: newClient(c.Transport)}
	for _, p := range c.Providers {
		if p.Name == "" || p.ClientID == "" || s.provider(p.Name) != nil {
			return nil, errors.New("signon: a provider has a name of its own, an issuer and a client id")
		}
		if err := safe(p.Issuer); err != nil {
			return nil, fmt.Errorf("signon: the issuer of %s: %w", p.Name, err)
		}
		p.Title = cmp.Or(p.Title, p.Name)
		s.providers = append(s.providers, &provider{
			Provider: p, client: s.client, now: c.Now,
			redirect: base.Scheme + "://" + base.Host + strings.TrimSuffix(c.Path, "/") + "/" + p.Name,
		})
	}
	return s, nil
}

func (s *Signon) provider(name string) *provider {
	for _, p := range s.providers {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// A Choice is a provider as people choose it.
type Choice struct{ Name, Title string }

// Choices are the providers, in the order of the configuration.
func (s *Signon) Choices() []Choice {
	var all []Choice
	for _, p := range s.providers {
		all = append(all, Choice{p.Name, p.Title})
	}
	return all
}

// A Purpose is what somebody is asked at his provider for.
type Purpose string

// The purposes.
const (
	SignIn  Purpose = "sign-in"
	Join    Purpose = "join"    // with an invitation
	Link    Purpose = "link"    // to a person who is signed in
	Confirm Purpose = "confirm" // once more, who is signed in
)

// An Ask is a question for a provider.
type Ask struct {
	Provider string
	Purpose  Purpose
	Browser  string        // as [ceremony.Question] has it
	Person   auth.PersonID // who is signed in; "" for [SignIn] and [Join]
	Detail   string        // comes back with the answer as it is. The provider sees it
}

// question is what the state of an answer must have been made for.
func (a Ask) question() ceremony.Question {
	return ceremony.Question{Purpose: "openid " + string(a.Purpose), Browser: a.Browser, About: []string{a.Provider, string(a.Person), a.Detail}}
}

// An Answer is who somebody is, as a provider says.
type Answer struct {
	Purpose Purpose
	Detail  string
	// OpenID has an Email only where two are to be linked ([Join], [Link]), and then one that the provider has verified, of the
	// domains that may be.
	OpenID auth.OpenID
}

// The refusals. Why, the reason and the cause say to the operator.
var (
	// ErrUnknown is a provider that is none of ours.
	ErrUnknown = &auth.Error{Kind: auth.NotFound, Reason: auth.ReasonUnknown, Msg: "There is no such provider"}
	// ErrAway is a provider that does not answer, or not as one does.
	ErrAway = &auth.Error{Kind: auth.Unavailable, Reason: auth.ReasonUpstream, Msg: "The provider does not answer as it should. Please try again in a minute, or sign in another way."}
	// ErrRefused is an answer that shows nothing.
	ErrRefused = &auth.Error{Kind: auth.Unauthenticated, Msg: "The provider's answer was not accepted. Please begin again."}
	// ErrDenied is a provider, or whoever sat before it, that said no.
	ErrDenied = &auth.Error{Kind: auth.Unauthenticated, Reason: auth.ReasonNoCredential, Msg: "The provider did not sign you in"}
	// ErrEmail is somebody who cannot be linked.
	ErrEmail = &auth.Error{Kind: auth.Forbidden, Reason: auth.ReasonInsufficientScope, Msg: "The provider has not verified your e-mail address, or does not tell it: so it cannot be linked"}
	// ErrDomain is somebody whose e-mail address is of none of the domains.
	ErrDomain = &auth.Error{Kind: auth.Forbidden, Reason: auth.ReasonInsufficientScope, Msg: "E-mail addresses of this domain cannot be linked"}
	// ErrStale is somebody who was to show once more that it is he, and whose provider did not ask him.
	ErrStale = &auth.Error{Kind: auth.Unauthenticated, Reason: auth.ReasonTokenExpired, Msg: "The provider did not ask you again who you are, or does not say so. Confirm another way."}
)

// Fresh is how long ago somebody may have shown his provider who he is, where he was to do it anew.
const Fresh = 5 * time.Minute

// leeway is how far the clock of a provider may be off.
const leeway = 30 * time.Second

// Begin returns the address at the provider that somebody is sent to.
func (s *Signon) Begin(ctx context.Context, a Ask) (address string, err error) {
	p := s.provider(a.Provider)
	if p == nil {
		return "", ErrUnknown
	}
	d, err := p.discover(ctx)
	if err != nil {
		return "", s.away(p, err)
	}
	challenge := s.config.Ceremonies.Begin(a.question())
	options := []oauth2.AuthCodeOption{
		oidc.Nonce(s.config.Ceremonies.Derived(challenge, "nonce")),
		oauth2.S256ChallengeOption(s.config.Ceremonies.Derived(challenge, "verifier")),
	}
	if a.Purpose == Confirm {
		options = append(options, oauth2.SetAuthURLParam("prompt", "login"), oauth2.SetAuthURLParam("max_age", "0"))
	}
	return d.oauth.AuthCodeURL(state(a.Purpose, challenge, a.Detail), options...), nil
}

// state is what a provider brings back: the purpose and the detail are there to be read, and part of what the challenge is for.
func state(p Purpose, challenge, detail string) string {
	return string(p) + "." + challenge + "." + base64.RawURLEncoding.EncodeToString([]byte(detail))
}

// parseState reads what state writes.
func parseState(s string) (p Purpose, challenge, detail string, ok bool) {
	parts := strings.Split(s, ".")
	if len(parts) != 3 || len(s) > 4<<10 {
		return "", "", "", false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(parts[2])
	if err != nil || strings.ContainsAny(parts[2], "\r\n") {
		return "", "", "", false
	}
	return Purpose(parts[0]), parts[1], string(b), true
}

// Asked is what an answer says that it is for, and the detail of the question. [Signon.End] finds out whether that is so.
func Asked(query url.Values) (p Purpose, detail string) {
	p, _, detail, _ = parseState(query.Get("state"))
	return p, detail
}

// End takes what a provider sent a browser back with. The person is who is signed in there, "" if nobody is.
func (s *Signon) End(ctx context.Context, name, browser string, person auth.PersonID, query url.Values) (Answer, error) {
	p := s.provider(name)
	if p == nil {
		return Answer{}, ErrUnknown
	}
	for _, param := range []string{"state", "code", "iss", "error"} { // RFC 6749, section 3.1
		if len(query[param]) > 1 {
			return Answer{}, ErrRefused.Because(auth.ReasonMalformed)
		}
	}
	purpose, challenge, detail, ok := parseState(query.Get("state"))
	if !ok {
		return Answer{}, ErrRefused.Because(auth.ReasonMalformed)
	}
	if purpose == SignIn || purpose == Join { // whoever else is signed in: he is about to be somebody new
		person = ""
	}
	ask := Ask{Provider: name, Purpose: purpose, Browser: browser, Person: person, Detail: detail}
	if err := s.config.Ceremonies.End(ctx, ask.question(), challenge); err != nil {
		return Answer{}, err
	}
	d, err := p.discover(ctx)
	if err != nil {
		return Answer{}, s.away(p, err)
	}
	// RFC 9207: before anything of the answer is used, so that a code is never taken to another provider than its own.
	if iss, there := query["iss"]; there && iss[0] != p.Issuer || !there && d.saysIssuer {
		return Answer{}, ErrRefused.Because(auth.ReasonTokenForeign).From(errors.New("the answer is of another issuer, or of none"))
	}
	if code := query.Get("error"); code != "" {
		return Answer{}, ErrDenied.From(fmt.Errorf("%s answered %s", p.Name, brief(code)))
	}
	if query.Get("code") == "" {
		return Answer{}, ErrRefused.Because(auth.ReasonMalformed)
	}
	a, err := s.exchange(ctx, p, d, ask, challenge, query.Get("code"))
	if e := (*auth.Error)(nil); err != nil && !errors.As(err, &e) {
		return Answer{}, s.away(p, err)
	}
	return a, err
}

// exchange takes the code to the provider, and reads what it says of who somebody is. An error that is none of ours is that the
// provider could not be asked.
func (s *Signon) exchange(ctx context.Context, p *provider, d *discovered, ask Ask, challenge, code string) (Answer, error) {
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, s.client), patience)
	defer cancel()
	token, err := d.oauth.Exchange(ctx, code, oauth2.VerifierOption(s.config.Ceremonies.Derived(challenge, "verifier")))
	if said := (*oauth2.RetrieveError)(nil); errors.As(err, &said) {
		if said.Response.StatusCode/100 == 5 {
			return Answer{}, fmt.Errorf("the token endpoint answered %d", said.Response.StatusCode)
		}
		return Answer{}, ErrRefused.Because(auth.ReasonWrongSecret).From(fmt.Errorf("the token endpoint answered %d %s", said.Response.StatusCode, brief(said.ErrorCode)))
	}
	if err != nil {
		return Answer{}, fmt.Errorf("ask the token endpoint: %w", err)
	}
	raw, _ := token.Extra("id_token").(string)
	verified, err := d.verifier.Verify(ctx, raw)
	if err != nil {
		reason := auth.ReasonSignature
		if e := (*oidc.TokenExpiredError)(nil); errors.As(err, &e) {
			reason = auth.ReasonTokenExpired
		}
		return Answer{}, ErrRefused.Because(reason).From(errors.New(brief(err.Error())))
	}
	c, err := s.claims(p, verified, ask, challenge)
	if err != nil {
		return Answer{}, err
	}
	if verified.AccessTokenHash != "" && verified.VerifyAccessToken(token.AccessToken) != nil {
		return Answer{}, ErrRefused.Because(auth.ReasonTokenForeign).From(errors.New("at_hash is of another access token"))
	}
	a := Answer{Purpose: ask.Purpose, Detail: ask.Detail, OpenID: auth.OpenID{Issuer: p.Issuer, Subject: c.Subject, Provider: p.Name, CreatedAt: s.config.Now()}}
	if ask.Purpose == Link || ask.Purpose == Join {
		if c.Email == "" && d.provider.UserInfoEndpoint() != "" { // where most say it (OpenID Connect Core, section 5.4)
			info, err := d.provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
			if err != nil {
				return Answer{}, fmt.Errorf("ask the userinfo endpoint: %s", brief(err.Error()))
			}
			if info.Subject != c.Subject {
				return Answer{}, ErrRefused.Because(auth.ReasonTokenForeign).From(errors.New("userinfo is about another subject"))
			}
			c.Email, c.Verified = info.Email, flexible(info.EmailVerified)
		}
		if a.OpenID.Email, err = p.email(c); err != nil {
			return Answer{}, err
		}
	}
	return a, nil
}

// claims are what we read of an ID token besides what the library checks.
type claims struct {
	Subject  string      `json:"sub"`
	Party    string      `json:"azp"`
	Email    string      `json:"email"`
	Verified flexible    `json:"email_verified"`
	AuthTime json.Number `json:"auth_time"`
}

// A flexible is a truth that some providers write as a string.
type flexible bool

func (f *flexible) UnmarshalJSON(b []byte) error {
	*f = string(b) == "true" || string(b) == `"true"`
	return nil
}

// mostSubject is the longest subject there is (OpenID Connect Core, section 2).
const mostSubject = 255

// claims checks what is our own to check (OpenID Connect Core, section 3.1.3.7).
func (s *Signon) claims(p *provider, t *oidc.IDToken, ask Ask, challenge string) (claims, error) {
	foreign := func(why string) (claims, error) {
		return claims{}, ErrRefused.Because(auth.ReasonTokenForeign).From(errors.New(why))
	}
	var c claims
	if err := t.Claims(&c); err != nil {
		return claims{}, ErrRefused.Because(auth.ReasonMalformed).From(errors.New("the claims of the ID token cannot be read"))
	}
	nonce := s.config.Ceremonies.Derived(challenge, "nonce")
	now := s.config.Now()
	switch {
	case subtle.ConstantTimeCompare([]byte(t.Nonce), []byte(nonce)) != 1:
		return foreign("the nonce is another")
	case c.Subject == "" || len(c.Subject) > mostSubject || strings.ContainsFunc(c.Subject, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return foreign("there is no subject that can be")
	case c.Party != "" && c.Party != p.ClientID, c.Party == "" && len(t.Audience) > 1:
		return foreign("the ID token was issued to another client")
	case t.IssuedAt.After(now.Add(leeway)), t.IssuedAt.Before(now.Add(-ceremony.Life)):
		return claims{}, ErrRefused.Because(auth.ReasonTokenNotYetValid).From(errors.New("the ID token was not issued just now: compare the clocks"))
	}
	if ask.Purpose == Confirm {
		seconds, err := c.AuthTime.Int64()
		if at := time.Unix(seconds, 0); err != nil || at.Before(now.Add(-Fresh)) || at.After(now.Add(leeway)) {
			return claims{}, ErrStale
		}
	}
	return c, nil
}

// email is the address that somebody can be linked by.
func (p *provider) email(c claims) (string, error) {
	if c.Email == "" || !c.Verified || len(c.Email) > 254 {
		return "", ErrEmail
	}
	_, domain, ok := strings.Cut(c.Email, "@")
	if !ok {
		return "", ErrEmail
	}
	if len(p.EmailDomains) > 0 && !slices.ContainsFunc(p.EmailDomains, func(d string) bool { return strings.EqualFold(d, domain) }) {
		return "", ErrDomain
	}
	return c.Email, nil
}

// away logs why a provider could not be asked: whoever runs the server is to hear of it, and whoever waits is not.
func (s *Signon) away(p *provider, err error) error {
	s.config.Log.Warn("a provider of OpenID Connect does not answer as it should", "provider", p.Name, "error", brief(err.Error()))
	return ErrAway.From(fmt.Errorf("%s: %s", p.Name, brief(err.Error())))
}

// brief is a text of somebody else's, on one line and not all of a long one.
func brief(s string) string {
	const most = 200
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
