package auth

import (
	"fmt"
	"time"
)

// Quiet is how long an old secret must not have been used before it is said to be safe to end it.
const Quiet = 3 * 24 * time.Hour

// OldSecretEnds is how long before its end an old secret that is still used is a reason to hurry.
const OldSecretEnds = 48 * time.Hour

// Advice says what to do about a credential's old secret: one word, and a sentence.
type Advice struct {
	Word AdviceWord
	Says string
}

// An AdviceWord is "" where there is nothing to do.
type AdviceWord string

// The words.
const (
	Finish AdviceWord = "finish" // the rotation: nobody misses the old secret
	Wait   AdviceWord = "wait"   // somebody still uses it, or nobody the new one
	Hurry  AdviceWord = "hurry"  // somebody still uses it, and it ends soon
)

// Advise says what to do about the old secret of a credential that has two. It goes by their last uses, which are all that is known: who
// holds tokens and sessions that live for weeks need not have shown a secret in that time.
func Advise(c Credential, now time.Time) Advice {
	if len(c.Secrets) < 2 || c.Dead(now) != ReasonNone || !c.Secrets[1].Live(now) {
		return Advice{}
	}
	newest, old := c.Secrets[0], c.Secrets[1]
	last := old.LastUse.At
	if last.Before(newest.CreatedAt) {
		last = newest.CreatedAt // before that there was no other
	}
	unused := now.Sub(last)
	switch {
	case unused < Quiet && !old.LastUse.At.Before(newest.CreatedAt) && old.ExpiresAt.Sub(now) <= OldSecretEnds:
		return Advice{Hurry, fmt.Sprintf("Hurry: the old secret was used %s ago and ends in %s", roughly(unused), roughly(old.ExpiresAt.Sub(now)))}
	case newest.LastUse.At.IsZero():
		return Advice{Wait, "Wait: the new secret was not used yet"}
	case unused < Quiet && old.LastUse.At.Before(newest.CreatedAt):
		return Advice{Wait, fmt.Sprintf("Wait: there has been a new secret for %s only", roughly(unused))}
	case unused < Quiet:
		return Advice{Wait, fmt.Sprintf("Wait: the old secret was used %s ago", roughly(unused))}
	}
	return Advice{Finish, fmt.Sprintf("Safe to finish: the old secret was not used for %s", roughly(unused))}
}

// roughly is a duration as people say it: in days, hours or minutes.
func roughly(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d d", d/(24*time.Hour))
	case d >= time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d min", max(0, d/time.Minute))
}
