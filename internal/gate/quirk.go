package gate

import (
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/verify"
)

// A Quirk is how a credential of a sandbox misbehaves on purpose, so that a customer can see his client deal with it.
type Quirk struct {
	Lifetime    time.Duration // of its access tokens, to the second: the leeway does not hold for them; 0: as configured
	Limited     bool          // it has always come too often
	Unavailable bool          // nothing can ever be decided about it
}

// quirkRetry is when one may come again who has come too often for a [Quirk].
const quirkRetry = 2 * time.Second

// lifetime is how long access tokens of a contract live that a credential is given.
func (g *Gate) lifetime(of auth.Contract, id auth.CredentialID) time.Duration {
	if q := g.config.Quirks[id]; q.Lifetime > 0 {
		return q.Lifetime
	}
	return g.config.Lifetimes[of.Index()]
}

// misbehaves is what becomes of an exchange that would succeed, if its credential has a quirk.
func (g *Gate) misbehaves(about auth.Subject, from auth.Caller) error {
	switch q := g.config.Quirks[about.Credential]; {
	case q.Limited:
		return auth.ErrRateLimited.Of(about).With(from.Limit).With(auth.Limit{
			Name: g.credentials.Name, Quota: 1, Window: quirkRetry, Reset: quirkRetry, Refused: true, RetryAfter: quirkRetry,
		})
	case q.Unavailable:
		return auth.ErrOverloaded.Of(about)
	}
	return nil
}

// expired says whether a token has a quirk and is past its time.
func (g *Gate) expired(c *verify.Claims) bool {
	q := g.config.Quirks[auth.CredentialID(c.Credential)]
	return q.Lifetime > 0 && !g.now().Before(time.Unix(c.Expires, 0))
}
