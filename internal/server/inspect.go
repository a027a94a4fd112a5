package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/facts"
	"github.com/gatehouse/gatehouse/internal/gate"
	"github.com/gatehouse/gatehouse/internal/token"
	"github.com/gatehouse/gatehouse/verify"
)

// An Outcome is what a check came to.
type Outcome string

// The outcomes.
const (
	Held    Outcome = "ok"
	Failed  Outcome = "fail"
	Skipped Outcome = "skipped" // it has no answer, because of an earlier one or because nothing was given to check by
)

// A Check is one thing that decides whether a token is good.
type Check struct {
	Name    string // "signature"
	Outcome Outcome
	Detail  string
}

// An Inspection is what there is to know of a token, in the present state of the database. It holds nothing that would let
// anybody make the token.
type Inspection struct {
	Authentic bool // one of our keys signed it; without that Said is all there is, and anybody can write that
	Refresh   bool // it is a refresh token
	Good      bool // it would be accepted now, at a route for its type and by somebody at the address given
	Reason    auth.Reason
	Checks    []Check
	Said      Said
	Subject   auth.Subject
	Scope     string // what it may do now
	Name      string // of the account
	// Credential and Row are the rows behind it, as far as there are any: an exchange has no row of a session.
	Credential auth.Credential
	Row        auth.Session
}

// Said is what a token says of itself.
type Said struct {
	Algorithm, KeyID         string
	Issuer, Audience, Type   string
	IssuedAt, Expires        time.Time
	AuthTime                 time.Time
	ID, Account, Credential  string
	Session, Scope           string
	Position, Generation     int64
	NotSpelledLikeOneOfThese bool // it cannot be read at all
}

// Inspect looks at an access or refresh token as the server would, and spends nothing. from is where somebody would present
// it; the zero address leaves the allowlist open.
func (op *Opened) Inspect(ctx context.Context, raw string, from netip.Addr) (Inspection, error) {
	known, err := facts.New(facts.Config{
		Store: op.DB, Now: op.DB.Now,
		Keep: op.remembered,
	})
	if err != nil {
		return Inspection{}, err
	}
	if _, _, err := known.Load(ctx); err != nil {
		return Inspection{}, err
	}
	i := inspector{opened: op, facts: known, now: op.DB.Now(), from: from}
	i.found.Said = read(raw)
	refresh, err := op.Rings.ParseRefresh(raw, issuers(op.Config))
	reason := auth.ReasonNone
	if err != nil {
		reason = auth.AsError(err).Reason
	}
	switch {
	case err == nil:
		err = i.refresh(ctx, refresh)
	case i.found.Said.Type == token.RefreshType:
		i.found.Reason = reason
		i.brokenRefresh(reason)
		err = nil
	default:
		err = i.access(ctx, raw)
	}
	return i.found, err
}

// inspector gathers an Inspection.
type inspector struct {
	opened *Opened
	facts  *facts.Facts
	now    time.Time
	from   netip.Addr
	found  Inspection

	account auth.Account // as far as there is one
	gone    bool         // there is none
}

func (i *inspector) check(name string, outcome Outcome, format string, args ...any) {
	i.found.Checks = append(i.found.Checks, Check{Name: name, Outcome: outcome, Detail: fmt.Sprintf(format, args...)})
}

func outcome(held bool) Outcome {
	if held {
		return Held
	}
	return Failed
}

// The names of the checks, in their order.
const (
	checkSpelling   = "spelling"
	checkSignature  = "signature"
	checkIssuer     = "issuer"
	checkTime       = "time"
	checkRevocation = "revocation"
	checkGeneration = "generation" // of refresh tokens alone
	checkKey        = "key"        // of tokens that are bound to one
	checkAddress    = "address"
)

// access judges by verify alone; what else is said explains it.
func (i *inspector) access(ctx context.Context, raw string) error {
	v, err := verify.New(verify.Config{
		Issuers: issuers(i.opened.Config), Audiences: audiences(i.opened.Config), Keys: i.opened.Rings, Revocations: i.facts,
		Now: func() time.Time { return i.now },
	})
	if err != nil {
		return err
	}
	principal, wrong := v.Verify(raw, verify.Types)
	if bound := new(verify.Error); errors.Is(wrong, verify.ErrBound) && errors.As(wrong, &bound) {
		principal, wrong = v.VerifyBound(raw, bound.Claims.Bound, verify.Types)
	}
	claims, refused := principal.Claims, new(verify.Error)
	if errors.As(wrong, &refused) {
		claims = refused.Claims
	}
	i.found.Reason = gate.Reason(wrong)
	if claims == nil {
		i.unproven(wrong)
		return nil
	}
	i.found.Authentic = true
	i.found.Subject = auth.Subject{
		Account: auth.AccountID(claims.Account), Credential: auth.CredentialID(claims.Credential), Session: auth.SessionID(claims.Session),
	}
	i.check(checkSpelling, Held, "the one spelling that it has")
	i.check(checkSignature, Held, "of our key %s (%s)", i.found.Said.KeyID, i.found.Said.Algorithm)
	i.checkIssuer(claims.Issuer, claims.Audience)
	i.checkTime(claims)
	dead, err := i.revocation(ctx, auth.ContractOf(claims.Type), auth.Position(claims.Position))
	if err != nil {
		return err
	}
	standing, err := i.facts.Standing(claims)
	if err != nil {
		return err
	}
	if standing.Revoked && dead == "" {
		dead = "its session was revoked"
	}
	i.checkRevocation(standing.Revoked, dead)
	i.found.Scope = claims.Granted
	if standing.Narrowed {
		i.found.Scope = verify.Intersect(claims.Granted, standing.Scope)
	}
	if claims.Bound != "" {
		i.check(checkKey, Held, "it is bound to the key %s, and opens nothing without a proof of that (DPoP)", claims.Bound)
	}
	allowed := i.checkAddress()
	i.found.Good = wrong == nil && allowed
	if i.found.Reason == auth.ReasonTokenRevoked && i.facts.Suspended(i.found.Subject.Account) {
		i.found.Reason = auth.ReasonAccountSuspended
	}
	if wrong == nil && !allowed {
		i.found.Reason = auth.ReasonAddressNotAllowed
	}
	return nil
}

// unproven is for a token that none of our keys signed.
func (i *inspector) unproven(wrong error) {
	if errors.Is(wrong, verify.ErrMalformed) {
		i.check(checkSpelling, Failed, "it is not spelled as our tokens are: was it cut off, or did it get spaces or quotes?")
		i.check(checkSignature, Skipped, "")
	} else {
		i.check(checkSpelling, Held, "the one spelling that it has")
		i.check(checkSignature, Failed, "%s", i.whoseKey())
	}
	for _, name := range []string{checkIssuer, checkTime, checkRevocation, checkAddress} {
		i.check(name, Skipped, "")
	}
}

// whoseKey says why no key of ours made a signature.
func (i *inspector) whoseKey() string {
	for _, row := range i.opened.Rings.Rows() {
		if string(row.ID) != i.found.Said.KeyID || row.ID == "" {
			continue
		}
		if !row.RevokedAt.IsZero() {
			return fmt.Sprintf("key %s, which it names, was revoked at %s", row.ID, row.RevokedAt.UTC().Format(time.RFC3339))
		}
		return fmt.Sprintf("key %s, which it names, did not make it: the token was changed", row.ID)
	}
	return "it names a key that is none of this database's: another deployment made it, or the key is long gone"
}

func (i *inspector) checkIssuer(issuer, audience string) {
	c := i.opened.Config
	switch {
	case !slices.Contains(issuers(c), issuer):
		i.check(checkIssuer, Failed, "%q is neither issuer nor among accept_issuers", issuer)
	case !slices.Contains(audiences(c), audience):
		i.check(checkIssuer, Failed, "it is for the audience %q", audience)
	default:
		i.check(checkIssuer, Held, "%s", issuer)
	}
}

func (i *inspector) checkTime(c *verify.Claims) {
	expires, notBefore := time.Unix(c.Expires, 0), time.Unix(max(c.NotBefore, c.IssuedAt), 0)
	switch {
	case !i.now.Before(expires.Add(verify.Leeway)):
		i.check(checkTime, Failed, "it expired %s ago", ago(i.now.Sub(expires)))
	case i.now.Add(verify.Leeway).Before(notBefore):
		i.check(checkTime, Failed, "it is valid in %s only: is this machine's clock right?", ago(notBefore.Sub(i.now)))
	default:
		i.check(checkTime, Held, "until %s, %s from now", expires.UTC().Format(time.RFC3339), ago(expires.Sub(i.now)))
	}
}

func ago(d time.Duration) string { return d.Round(time.Second).String() }

func (i *inspector) checkRevocation(revoked bool, why string) {
	if !revoked {
		why = "neither account, credential nor session has ended"
	}
	i.check(checkRevocation, outcome(!revoked), "%s", why)
}

// checkAddress says whether the token's account lets somebody in.
func (i *inspector) checkAddress() bool {
	if !i.from.IsValid() {
		i.check(checkAddress, Skipped, "no address given to look at the allowlist for")
		return true
	}
	allowed := i.facts.Allows(i.found.Subject.Account, i.from)
	word := "may come in"
	if !allowed {
		word = "is not on the account's allowlist"
	}
	i.check(checkAddress, outcome(allowed), "%s %s", i.from, word)
	return allowed
}

// revocation reads the rows behind a token, and says what in them makes it dead: "" for nothing.
func (i *inspector) revocation(ctx context.Context, contract auth.Contract, pos auth.Position) (string, error) {
	var dead []string
	at := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	account, err := i.opened.DB.Account(ctx, i.found.Subject.Account)
	i.account, i.gone = account, errors.Is(err, auth.ErrNotFound)
	switch {
	case i.gone:
		dead = append(dead, "its account was deleted")
	case err != nil:
		return "", err
	case account.Suspended():
		dead = append(dead, "its account has been suspended since "+at(account.SuspendedAt))
	case contract.Index() >= 0 && pos < account.DeadBelow[contract.Index()]:
		dead = append(dead, "everything that contract "+string(contract)+" had given to its account was revoked (logout, or suspend --revoke-tokens)")
	}
	i.found.Name = account.Name
	if i.found.Credential, err = i.opened.DB.Credential(ctx, i.found.Subject.Credential); err != nil && !errors.Is(err, auth.ErrNotFound) {
		return "", err
	}
	c := i.found.Credential
	switch {
	case err != nil:
		dead = append(dead, "its credential is not here any more")
	case !c.RevokedAt.IsZero():
		dead = append(dead, "its credential was revoked at "+at(c.RevokedAt))
	case c.Dead(i.now) == auth.ReasonExpired:
		dead = append(dead, "its credential expired at "+at(c.ExpiresAt))
	case pos < c.DeadBelow:
		dead = append(dead, "everything that came of its credential was ended (rotate --end-sessions)")
	}
	i.found.Row, err = i.opened.DB.Session(ctx, i.found.Subject.Session)
	if err != nil && !errors.Is(err, auth.ErrNotFound) {
		return "", err
	}
	if err == nil && !i.found.Row.EndedAt.IsZero() {
		dead = append(dead, fmt.Sprintf("its session ended at %s (%s)", at(i.found.Row.EndedAt), i.found.Row.EndedBecause))
	}
	return strings.Join(dead, "; "), nil
}

// brokenRefresh is for a refresh token by its own words that the rings do not take.
func (i *inspector) brokenRefresh(reason auth.Reason) {
	i.found.Refresh = true
	names := []string{checkSpelling, checkSignature, checkIssuer, checkTime, checkRevocation, checkAddress}
	failed := map[auth.Reason]int{auth.ReasonMalformed: 0, auth.ReasonSignature: 1, auth.ReasonTokenForeign: 2}[reason]
	detail := []string{
		"it is not spelled as our tokens are: was it cut off?", i.whoseKey(),
		fmt.Sprintf("%q is neither issuer nor among accept_issuers", i.found.Said.Issuer),
	}
	i.found.Authentic = failed > 1
	for n, name := range names {
		switch {
		case n < failed:
			i.check(name, Held, "")
		case n == failed:
			i.check(name, Failed, "%s", detail[n])
		default:
			i.check(name, Skipped, "")
		}
	}
}

// refresh says what a refresh with this token would come to, and does not do it. The order is that of the store, whose
// conditional update has the last word.
func (i *inspector) refresh(ctx context.Context, t token.Refresh) error {
	i.found.Refresh, i.found.Authentic = true, true
	i.found.Subject = auth.Subject{Account: t.Account, Credential: t.Credential, Session: t.Session}
	i.check(checkSpelling, Held, "the one spelling that it has")
	i.check(checkSignature, Held, "of our key %s (%s)", i.found.Said.KeyID, i.found.Said.Algorithm)
	i.check(checkIssuer, Held, "%s", i.found.Said.Issuer)
	// The row of a session carries the position that all its tokens have.
	row, err := i.opened.DB.Session(ctx, t.Session)
	unknown := errors.Is(err, auth.ErrNotFound)
	if err != nil && !unknown {
		return err
	}
	dead, err := i.revocation(ctx, auth.B2B, row.Position)
	if err != nil {
		return err
	}
	if unknown {
		dead = strings.TrimPrefix(dead+"; its session is not here any more", "; ")
	}
	i.found.Scope = row.Scope
	expired := i.checkSession(row, t.Expires, unknown)
	i.checkRevocation(dead != "", dead)
	spent := auth.ReasonNone
	if !unknown {
		spent = i.checkGeneration(row, t.Generation)
	}
	allowed := i.checkAddress()
	i.found.Reason = i.refusal(row, unknown, spent, expired, allowed)
	i.found.Good = i.found.Reason == auth.ReasonNone
	return nil
}

// refusal is why a refresh is refused.
func (i *inspector) refusal(row auth.Session, unknown bool, spent auth.Reason, expired, allowed bool) auth.Reason {
	c := i.found.Credential
	ended := !row.EndedAt.IsZero() || !c.RevokedAt.IsZero() || row.Position < c.DeadBelow || row.Position < i.account.DeadBelow[auth.B2B.Index()]
	switch {
	case unknown || spent == auth.ReasonUnknown:
		return auth.ReasonUnknown
	case ended || i.gone:
		return auth.ReasonRevoked
	case spent != auth.ReasonNone:
		return spent
	case c.Dead(i.now) == auth.ReasonExpired:
		return auth.ReasonExpired
	case i.account.Suspended():
		return auth.ReasonAccountSuspended
	case expired:
		return auth.ReasonExpired
	case !allowed:
		return auth.ReasonAddressNotAllowed
	}
	return auth.ReasonNone
}

// checkSession says whether a session, and with it its refresh token, is past its time.
func (i *inspector) checkSession(row auth.Session, expires time.Time, unknown bool) (expired bool) {
	if !unknown {
		expires = row.Expires
	}
	if most := i.opened.Config.Tokens.B2B.MaxSessionAge; most > 0 && !unknown {
		if end := row.StartedAt.Add(most); end.Before(expires) {
			expires = end
		}
	}
	if i.now.Before(expires) {
		i.check(checkTime, Held, "until %s, %s from now", expires.UTC().Format(time.RFC3339), ago(expires.Sub(i.now)))
		return false
	}
	i.check(checkTime, Failed, "it expired %s ago", ago(i.now.Sub(expires)))
	return true
}

// checkGeneration says whether a refresh token of a session is its current one.
func (i *inspector) checkGeneration(row auth.Session, generation int64) auth.Reason {
	switch {
	case generation > row.Generation || generation < 0:
		i.check(checkGeneration, Failed, "%d, which the session never came to: it is at %d", generation, row.Generation)
		return auth.ReasonUnknown
	case generation == row.Generation:
		i.check(checkGeneration, Held, "%d, the session's current one: it can be used once", generation)
		return auth.ReasonNone
	case generation == row.Generation-1 && i.now.Before(row.RotatedAt.Add(i.opened.Config.Tokens.B2B.ReuseLeeway)):
		i.check(checkGeneration, Failed, "%d, used a moment ago: again within the leeway it is refused and the session lives on", generation)
		return auth.ReasonRefreshRaced
	}
	i.check(checkGeneration, Failed, "%d, used at the latest when the session came to %d: presented again it counts as stolen", generation, row.Generation)
	return auth.ReasonRefreshReused
}

// read takes from a token what it says of itself, as far as it can be read. Nothing of it is proven.
func read(raw string) Said {
	parts := strings.Split(raw, ".")
	if len(parts) != 3 || len(raw) > verify.MaxLength {
		return Said{NotSpelledLikeOneOfThese: true}
	}
	var header struct{ Alg, Kid string }
	var claims struct {
		Iss, Sub, Aud, Jti, Type, Cid, Sid, Scope string
		Iat, Exp, Pos, Gen                        int64
		AuthTime                                  int64 `json:"auth_time"`
	}
	for part, into := range map[string]any{parts[0]: &header, parts[1]: &claims} {
		text, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil || json.Unmarshal(text, into) != nil {
			return Said{NotSpelledLikeOneOfThese: true}
		}
	}
	at := func(seconds int64) time.Time {
		if seconds <= 0 || seconds > 1<<40 {
			return time.Time{}
		}
		return time.Unix(seconds, 0)
	}
	return Said{
		Algorithm: header.Alg, KeyID: header.Kid, Issuer: claims.Iss, Audience: claims.Aud, Type: claims.Type,
		IssuedAt: at(claims.Iat), Expires: at(claims.Exp), AuthTime: at(claims.AuthTime), ID: claims.Jti, Account: claims.Sub,
		Credential: claims.Cid, Session: claims.Sid, Scope: claims.Scope, Position: claims.Pos, Generation: claims.Gen,
	}
}
