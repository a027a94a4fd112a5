package remote

import (
	"maps"
	"slices"

	"github.com/gatehouse/gatehouse/verify"
)

// Revocations are what is known of accounts, credentials and sessions. Times are in seconds of Unix time.
type revocations struct {
	accounts    map[int64]account
	credentials map[string]credential
	sessions    map[string]int64 // until when to remember
}

type account struct {
	suspended bool
	deadBelow [4]int64 // by the place in verify.Types
	until     int64    // when deadBelow need not be known any more
}

type credential struct {
	revoked   bool
	expires   int64 // 0: never
	deadBelow int64
	narrowed  bool
	scope     string
	until     int64
}

func newRevocations() revocations {
	return revocations{accounts: make(map[int64]account), credentials: make(map[string]credential), sessions: make(map[string]int64)}
}

// take notes what an entry says, instead of what was noted about the same before.
func (r *revocations) take(e *entry) {
	switch {
	case e.Account != nil:
		a := account{suspended: e.Suspended, until: e.Until}
		for name, below := range e.DeadBelowOf {
			// Of a type that this version does not know no token is good here.
			if i := slices.Index(verify.Types, verify.Type(name)); i >= 0 {
				a.deadBelow[i] = below
			}
		}
		r.accounts[*e.Account] = a
	case e.Credential != nil:
		c := credential{revoked: e.Revoked, expires: e.Expires, deadBelow: e.DeadBelow, until: e.Until}
		if e.Scope != nil {
			c.narrowed, c.scope = true, *e.Scope
		}
		r.credentials[*e.Credential] = c
	case e.Session != nil:
		r.sessions[*e.Session] = e.Until
	}
}

// merge takes over what others says about the same.
func (r *revocations) merge(others revocations) {
	maps.Copy(r.accounts, others.accounts)
	maps.Copy(r.credentials, others.credentials)
	maps.Copy(r.sessions, others.sessions)
}

// forget drops what restricts nothing any more.
func (r *revocations) forget(now int64) {
	for id, a := range r.accounts {
		if !a.suspended && a.until < now {
			delete(r.accounts, id)
		}
	}
	for id, c := range r.credentials {
		if c.until < now {
			delete(r.credentials, id)
		}
	}
	for id, until := range r.sessions {
		if until < now {
			delete(r.sessions, id)
		}
	}
}

// standing decides as the server does.
func (r *revocations) standing(c *verify.Claims, now int64) verify.Standing {
	if a, known := r.accounts[c.Account]; known {
		of := slices.Index(verify.Types, c.Type)
		if a.suspended || of < 0 || c.Position < a.deadBelow[of] {
			return verify.Standing{Revoked: true}
		}
	}
	if _, revoked := r.sessions[c.Session]; revoked {
		return verify.Standing{Revoked: true}
	}
	if k, known := r.credentials[c.Credential]; known {
		if k.revoked || c.Position < k.deadBelow || k.expires != 0 && now >= k.expires {
			return verify.Standing{Revoked: true}
		}
		return verify.Standing{Narrowed: k.narrowed, Scope: k.scope}
	}
	return verify.Standing{}
}
