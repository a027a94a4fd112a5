package facts

import (
	"iter"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// Restrictions are what kills the tokens of some accounts, credentials and sessions, or takes scopes from them: of the
// exceptions, what a verifier without addresses and limits must know.
type Restrictions struct {
	Accounts    []RestrictedAccount
	Credentials []RestrictedCredential
	Sessions    []auth.RevokedSession
}

// A RestrictedAccount is an account as [Facts.Standing] sees it. One that is not suspended and has no DeadBelow restricts
// nothing any more.
type RestrictedAccount struct {
	ID        auth.AccountID
	Suspended bool
	DeadBelow [4]auth.Position // by [auth.Contract.Index]
	Until     time.Time        // when DeadBelow need not be known any more; a suspension has no end of its own
}

// A RestrictedCredential is a credential as [Facts.Standing] sees it. The zero value but for its ID restricts nothing.
type RestrictedCredential struct {
	ID        auth.CredentialID
	Revoked   bool
	Expires   time.Time // zero: never
	DeadBelow auth.Position
	Narrowed  bool
	Scope     string // if Narrowed, what is left
	Until     time.Time
}

// At is the position that the facts are of, and its incarnation; "" before the first [Facts.Load].
func (f *Facts) At() (incarnation string, at auth.Position) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.incarnation, f.at
}

// Restrictions goes through all there are, in portions that come of looking at size facts each, and which are the caller's
// to use until the next one. They are those of the position at, each as it was then or, if it changed since, later: who
// goes on from at misses nothing. Nobody waits for the caller: between portions nothing is locked. A [Facts.Load] that comes
// between is not noticed.
func (f *Facts) Restrictions(size int) (incarnation string, at auth.Position, all iter.Seq[*Restrictions]) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	incarnation, at = f.incarnation, f.at
	accounts, credentials, sessions := f.accounts, f.credentials, f.sessions
	return incarnation, at, func(yield func(*Restrictions) bool) {
		var portion Restrictions
		seen := 0
		hand := func() bool {
			f.mu.RUnlock()
			defer f.mu.RLock() // after a panic too: below it is given back once more
			more := yield(&portion)
			seen = 0
			portion.Accounts, portion.Credentials, portion.Sessions = portion.Accounts[:0], portion.Credentials[:0], portion.Sessions[:0]
			return more
		}
		looked := func() bool {
			seen++
			return seen < size || hand()
		}
		now := f.now()
		// Every step of the ranges is under the lock that the maps are written to under. An iteration that meets changes is as
		// the language has it: what stays comes once.
		f.mu.RLock()
		defer f.mu.RUnlock()
		for id, a := range accounts {
			if r := a.restricted(id, now); r.Suspended || r.DeadBelow != [4]auth.Position{} {
				portion.Accounts = append(portion.Accounts, r)
			}
			if !looked() {
				return
			}
		}
		for id, c := range credentials {
			if c.until.After(now) {
				portion.Credentials = append(portion.Credentials, c.restricted(id, now))
			}
			if !looked() {
				return
			}
		}
		for id, until := range sessions {
			if until.After(now) {
				portion.Sessions = append(portion.Sessions, auth.RevokedSession{ID: id, Until: until})
			}
			if !looked() {
				return
			}
		}
		if seen > 0 {
			hand()
		}
	}
}

// RestrictionsOf tells how the accounts, credentials and sessions stand now that these changes are about, restricted or not,
// each once.
func (f *Facts) RestrictionsOf(changes []auth.Change) (incarnation string, of Restrictions) {
	now := f.now()
	accounts, credentials := make(map[auth.AccountID]bool), make(map[auth.CredentialID]bool)
	f.mu.RLock()
	defer f.mu.RUnlock()
	for _, c := range changes {
		switch c.Of {
		case auth.ChangedAccount:
			if !accounts[c.Account] {
				accounts[c.Account] = true
				of.Accounts = append(of.Accounts, f.accounts[c.Account].restricted(c.Account, now))
			}
		case auth.ChangedCredential:
			if !credentials[c.Credential] {
				credentials[c.Credential] = true
				of.Credentials = append(of.Credentials, f.credentials[c.Credential].restricted(c.Credential, now))
			}
		case auth.ChangedSession:
			of.Sessions = append(of.Sessions, auth.RevokedSession{ID: c.Session, Until: c.Until})
		case auth.ChangedKeys: // the rings' affair
		}
	}
	return f.incarnation, of
}

func (a *account) restricted(id auth.AccountID, now time.Time) RestrictedAccount {
	r := RestrictedAccount{ID: id}
	if a == nil {
		return r
	}
	r.Suspended = a.suspended
	if a.until.After(now) {
		r.DeadBelow, r.Until = a.deadBelow, a.until
	}
	return r
}

func (c *credential) restricted(id auth.CredentialID, now time.Time) RestrictedCredential {
	if c == nil || !c.until.After(now) {
		return RestrictedCredential{ID: id}
	}
	return RestrictedCredential{
		ID: id, Revoked: c.revoked, Expires: c.expires, DeadBelow: c.deadBelow, Narrowed: c.narrowed, Scope: c.scope, Until: c.until,
	}
}
