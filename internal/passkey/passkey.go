// Package passkey makes and checks the ceremonies of WebAuthn: a person registers a passkey, signs in with one, or confirms with
// one who he is. It is the one room that knows the library for it, and no type of that library leaves it. It leaves to people
// where passkeys are kept and what somebody may do who has shown one, and to the pages how a browser is asked.
//
// The invariants: a passkey is bound to the host of the base URL and answers to nothing that a page elsewhere asked; its device
// has checked who holds it (user verification), every time; an answer counts once, in the browser that was asked, for the purpose
// and the person it was asked of; a passkey whose count goes backwards is refused.
package passkey

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/ceremony"
)

// Most is how many passkeys a person may have.
const Most = 20

// mostAnswer is the longest answer that is looked at, in bytes. Those of browsers have two or three thousand.
const mostAnswer = 64 << 10

// Config is what [Passkeys] are made of.
type Config struct {
	// BaseURL is where the pages are: its host is what passkeys are bound to, whatever a request says of itself.
	BaseURL    string
	Name       string // what browsers show that a passkey is for
	Ceremonies *ceremony.Ceremonies
	Now        func() time.Time // nil means time.Now
}

// Passkeys make and check ceremonies. They keep nothing, and are safe for concurrent use.
type Passkeys struct {
	library    *webauthn.WebAuthn // nil where none are offered
	why        string
	ceremonies *ceremony.Ceremonies
	now        func() time.Time
}

// New returns Passkeys. A base URL for which browsers know none is no error: see [Passkeys.Offered].
func New(c Config) (*Passkeys, error) {
	base, err := url.Parse(c.BaseURL)
	if err != nil || base.Host == "" || c.Ceremonies == nil || c.Name == "" {
		return nil, errors.New("passkey: a base URL, a name and ceremonies are all needed")
	}
	p := &Passkeys{ceremonies: c.Ceremonies, now: c.Now}
	if p.now == nil {
		p.now = time.Now
	}
	if p.why = whyNot(base); p.why != "" {
		return p, nil
	}
	yes := true
	p.library, err = webauthn.New(&webauthn.Config{
		RPID:                  strings.ToLower(base.Hostname()),
		RPDisplayName:         c.Name,
		RPOrigins:             []string{base.Scheme + "://" + base.Host},
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			RequireResidentKey: &yes, ResidentKey: protocol.ResidentKeyRequirementRequired, UserVerification: protocol.VerificationRequired,
		},
		// Some password managers say of themselves what nobody asked. It is not looked at.
		ExtensionsUnsolicitedOutputPolicy: protocol.UnsolicitedOutputPolicyIgnore,
	})
	if err == nil {
		err = protocol.ValidateRPID(p.library.Config.RPID)
	}
	if err != nil { // a host that can be reached, and that a passkey cannot be bound to
		p.library, p.why = nil, fmt.Sprintf("Passkeys need a host with its full name, as auth.example.com, and this one is %s.", base.Hostname())
	}
	return p, nil
}

// whyNot says why browsers have no passkeys for pages at this URL, "" if they have.
func whyNot(base *url.URL) string {
	host := strings.ToLower(base.Hostname())
	if _, err := netip.ParseAddr(host); err == nil {
		hint := "a name"
		if ip, _ := netip.ParseAddr(host); ip.IsLoopback() {
			hint = "localhost in place of " + host
		}
		return "Passkeys are bound to the name of a host, and " + host + " is an address: open these pages by " + hint + "."
	}
	if base.Scheme != "https" && host != "localhost" && !strings.HasSuffix(host, ".localhost") {
		return "Browsers have passkeys for https:// only, and these pages are at " + base.Scheme + "://" + base.Host + "."
	}
	return ""
}

// Offered says whether there are passkeys here, and if not, why, in a sentence for people.
func (p *Passkeys) Offered() (offered bool, why string) { return p.library != nil, p.why }

// An Owner is whose passkeys they are.
type Owner struct {
	Person   auth.PersonID
	Email    string // what browsers show of a passkey
	Passkeys []auth.Passkey
}

// The refusals that are not the fault of a ceremony.
var (
	// ErrNotOffered is asking for passkeys where there are none.
	ErrNotOffered = &auth.Error{Kind: auth.Invalid, Msg: "Passkeys are not offered here"}
	// ErrTooMany is one passkey more than [Most].
	ErrTooMany = &auth.Error{Kind: auth.Conflict, Msg: fmt.Sprintf("You have %d passkeys, which is as many as there can be. Remove one first.", Most)}
	// ErrKnown is a passkey that its owner has already.
	ErrKnown = &auth.Error{Kind: auth.Conflict, Msg: "This passkey is registered already"}
	// ErrRefused is a passkey that shows nothing: unknown, of another host, not confirmed by its owner, signed by another. Why, its
	// reason and its cause say to the operator.
	ErrRefused = &auth.Error{Kind: auth.Unauthenticated, Msg: "This passkey was not accepted"}
	// ErrCopied is a passkey whose device has counted further before: there are two of it.
	ErrCopied = &auth.Error{Kind: auth.Unauthenticated, Reason: auth.ReasonWrongSecret, Msg: "This passkey was not accepted: its count has gone backwards, as if it had been copied. Sign in another way and remove it."}
)

// The purposes of challenges.
const (
	toRegister = "passkey register"
	toSignIn   = "passkey sign in"
	toConfirm  = "passkey confirm"
)

// Register begins to add a passkey to its owner's: the options are what navigator.credentials.create takes as publicKey, as
// JSON. The browser is bound by a cookie's value (see [ceremony.Question]).
func (p *Passkeys) Register(browser string, o Owner) (options json.RawMessage, err error) {
	if p.library == nil {
		return nil, ErrNotOffered
	}
	if len(o.Passkeys) >= Most {
		return nil, ErrTooMany
	}
	creation, _, err := p.library.BeginRegistration(user(o),
		webauthn.WithCredentialParameters(webauthn.CredentialParametersRecommendedL3()),
		webauthn.WithExclusions(webauthn.Credentials(credentials(o)).CredentialDescriptors()),
		func(c *protocol.PublicKeyCredentialCreationOptions) (err error) {
			c.Challenge, err = p.challenge(ceremony.Question{Purpose: toRegister, Browser: browser, About: about(o)})
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("begin to register a passkey: %w", err)
	}
	return encode(creation.Response)
}

// Registered takes the answer to [Passkeys.Register]: the credential as JSON. The passkey has no name yet, and is its owner's
// once he keeps it; that nobody else has one of this id is for whoever keeps them to see to.
func (p *Passkeys) Registered(ctx context.Context, browser string, o Owner, answer []byte) (auth.Passkey, error) {
	if p.library == nil {
		return auth.Passkey{}, ErrNotOffered
	}
	parsed, err := parseRegistration(answer)
	if err != nil {
		return auth.Passkey{}, err
	}
	challenge := parsed.Response.CollectedClientData.Challenge
	if err := p.ceremonies.End(ctx, ceremony.Question{Purpose: toRegister, Browser: browser, About: about(o)}, challenge); err != nil {
		return auth.Passkey{}, err
	}
	c, err := p.library.CreateCredential(user(o), webauthn.SessionData{
		Challenge: challenge, UserID: []byte(o.Person), UserVerification: protocol.VerificationRequired,
		CredParams: webauthn.CredentialParametersRecommendedL3(),
	}, parsed)
	if err != nil {
		return auth.Passkey{}, refused(err)
	}
	for _, known := range o.Passkeys {
		if bytes.Equal(known.ID, c.ID) {
			return auth.Passkey{}, ErrKnown
		}
	}
	if len(o.Passkeys) >= Most {
		return auth.Passkey{}, ErrTooMany
	}
	key := auth.Passkey{
		ID: c.ID, PublicKey: c.PublicKey, Counter: c.Authenticator.SignCount, Model: c.Authenticator.AAGUID,
		Synced: c.Flags.BackupEligible, BackedUp: c.Flags.BackupState, CreatedAt: p.now(),
	}
	for _, t := range c.Transport {
		if known(t) {
			key.Transports = append(key.Transports, string(t))
		}
	}
	return key, nil
}

// known says whether a way to reach a device is one of the standard's: a browser says of it what it likes.
func known(t protocol.AuthenticatorTransport) bool {
	switch t {
	case protocol.USB, protocol.NFC, protocol.BLE, protocol.SmartCard, protocol.Hybrid, protocol.Internal:
		return true
	}
	return false
}

// SignIn begins to sign somebody in: whoever he is, the passkey says. The options are what navigator.credentials.get takes as
// publicKey, as JSON.
func (p *Passkeys) SignIn(browser string) (options json.RawMessage, err error) {
	if p.library == nil {
		return nil, ErrNotOffered
	}
	assertion, _, err := p.library.BeginDiscoverableLogin(p.asking(ceremony.Question{Purpose: toSignIn, Browser: browser}))
	if err != nil {
		return nil, fmt.Errorf("begin to sign in with a passkey: %w", err)
	}
	return encode(assertion.Response)
}

// SignedIn takes the answer to [Passkeys.SignIn]. The owner of a passkey is found by its id, among those who may sign in here: one
// host may be two dashboards. It returns the passkey as it is to be kept from now on. Where its count is not above the one that is
// kept by then, somebody was quicker, and it must not be kept.
func (p *Passkeys) SignedIn(ctx context.Context, browser string, answer []byte, find func(ctx context.Context, id []byte) (Owner, error)) (auth.PersonID, auth.Passkey, error) {
	if p.library == nil {
		return "", auth.Passkey{}, ErrNotOffered
	}
	parsed, err := parseAssertion(answer)
	if err != nil {
		return "", auth.Passkey{}, err
	}
	challenge := parsed.Response.CollectedClientData.Challenge
	if err := p.ceremonies.End(ctx, ceremony.Question{Purpose: toSignIn, Browser: browser}, challenge); err != nil {
		return "", auth.Passkey{}, err
	}
	o, err := find(ctx, parsed.RawID)
	if errors.Is(err, auth.ErrNotFound) {
		return "", auth.Passkey{}, ErrRefused.Because(auth.ReasonUnknown)
	}
	if err != nil {
		return "", auth.Passkey{}, fmt.Errorf("find whose passkey it is: %w", err)
	}
	c, err := p.library.ValidateDiscoverableLogin(func(_, _ []byte) (webauthn.User, error) { return user(o), nil },
		webauthn.SessionData{Challenge: challenge, UserVerification: protocol.VerificationRequired}, parsed)
	if err != nil {
		return "", auth.Passkey{}, refused(err)
	}
	key, err := p.used(o, c)
	return o.Person, key, err
}

// Confirm begins to have somebody who is signed in show once more that it is he.
func (p *Passkeys) Confirm(browser string, o Owner) (options json.RawMessage, err error) {
	if p.library == nil || len(o.Passkeys) == 0 {
		return nil, ErrNotOffered
	}
	assertion, _, err := p.library.BeginLogin(user(o), p.asking(ceremony.Question{Purpose: toConfirm, Browser: browser, About: about(o)}))
	if err != nil {
		return nil, fmt.Errorf("begin to confirm with a passkey: %w", err)
	}
	return encode(assertion.Response)
}

// Confirmed takes the answer to [Passkeys.Confirm], and returns the passkey as [Passkeys.SignedIn] does.
func (p *Passkeys) Confirmed(ctx context.Context, browser string, o Owner, answer []byte) (auth.Passkey, error) {
	if p.library == nil {
		return auth.Passkey{}, ErrNotOffered
	}
	parsed, err := parseAssertion(answer)
	if err != nil {
		return auth.Passkey{}, err
	}
	challenge := parsed.Response.CollectedClientData.Challenge
	if err := p.ceremonies.End(ctx, ceremony.Question{Purpose: toConfirm, Browser: browser, About: about(o)}, challenge); err != nil {
		return auth.Passkey{}, err
	}
	c, err := p.library.ValidateLogin(user(o), webauthn.SessionData{
		Challenge: challenge, UserID: []byte(o.Person), UserVerification: protocol.VerificationRequired,
	}, parsed)
	if err != nil {
		return auth.Passkey{}, refused(err)
	}
	return p.used(o, c)
}

// used is the passkey of o that the library found good, as it is from now on.
func (p *Passkeys) used(o Owner, c *webauthn.Credential) (auth.Passkey, error) {
	for _, key := range o.Passkeys {
		if !bytes.Equal(key.ID, c.ID) {
			continue
		}
		if c.Authenticator.CloneWarning {
			return auth.Passkey{}, ErrCopied
		}
		key.Counter, key.BackedUp, key.UsedAt = c.Authenticator.SignCount, c.Flags.BackupState, p.now()
		return key, nil
	}
	return auth.Passkey{}, ErrRefused.Because(auth.ReasonUnknown)
}

func (p *Passkeys) asking(q ceremony.Question) webauthn.LoginOption {
	return func(o *protocol.PublicKeyCredentialRequestOptions) (err error) {
		o.Challenge, err = p.challenge(q)
		return err
	}
}

// challenge is one for q in bytes, which browsers give back as we wrote it.
func (p *Passkeys) challenge(q ceremony.Question) (protocol.URLEncodedBase64, error) {
	return base64.RawURLEncoding.DecodeString(p.ceremonies.Begin(q))
}

// about is what an answer must be of the same person as.
func about(o Owner) []string { return []string{string(o.Person)} }

func encode(options any) (json.RawMessage, error) {
	b, err := json.Marshal(options)
	if err != nil {
		return nil, fmt.Errorf("write the options of a ceremony: %w", err)
	}
	return b, nil
}

// parseRegistration reads what a browser made of a new passkey. Nothing of it is known to be true.
func parseRegistration(answer []byte) (*protocol.ParsedCredentialCreationData, error) {
	if len(answer) > mostAnswer {
		return nil, ErrRefused.Because(auth.ReasonMalformed)
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(answer)
	if err != nil {
		return nil, ErrRefused.Because(auth.ReasonMalformed).From(said(err))
	}
	return parsed, nil
}

// parseAssertion reads what a passkey signed. Nothing of it is known to be true.
func parseAssertion(answer []byte) (*protocol.ParsedCredentialAssertionData, error) {
	if len(answer) > mostAnswer {
		return nil, ErrRefused.Because(auth.ReasonMalformed)
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(answer)
	if err != nil {
		return nil, ErrRefused.Because(auth.ReasonMalformed).From(said(err))
	}
	return parsed, nil
}

// refused says why the library found an answer wrong.
func refused(err error) error {
	reason := auth.ReasonTokenForeign // made for somebody, somewhere or something else
	var e *protocol.Error
	if errors.As(err, &e) && (e.Type == protocol.ErrAssertionSignature.Type || e.Type == protocol.ErrInvalidAttestation.Type) {
		reason = auth.ReasonSignature
	}
	return ErrRefused.Because(reason).From(said(err))
}

// said is the library's own sentence. What it tells developers besides holds challenges.
func said(err error) error {
	var e *protocol.Error
	if errors.As(err, &e) {
		return errors.New(e.Details)
	}
	return errors.New("not what a browser writes")
}

// An owner is an Owner as the library asks for one.
type owner struct {
	Owner
}

func user(o Owner) webauthn.User { return owner{o} }

func (o owner) WebAuthnID() []byte                         { return []byte(o.Person) }
func (o owner) WebAuthnName() string                       { return o.Email }
func (o owner) WebAuthnDisplayName() string                { return o.Email }
func (o owner) WebAuthnCredentials() []webauthn.Credential { return credentials(o.Owner) }

// credentials are the passkeys of o in the library's words.
func credentials(o Owner) []webauthn.Credential {
	var all []webauthn.Credential
	for _, key := range o.Passkeys {
		c := webauthn.Credential{
			ID: key.ID, PublicKey: key.PublicKey,
			Flags:         webauthn.CredentialFlags{UserPresent: true, UserVerified: true, BackupEligible: key.Synced, BackupState: key.BackedUp},
			Authenticator: webauthn.Authenticator{AAGUID: key.Model, SignCount: key.Counter},
		}
		for _, t := range key.Transports {
			c.Transport = append(c.Transport, protocol.AuthenticatorTransport(t))
		}
		all = append(all, c)
	}
	return all
}
