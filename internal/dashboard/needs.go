package dashboard

import (
	"cmp"
	"slices"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/registry"
)

// A need is something that somebody should do.
type need struct {
	Says, To, Button string
	Soon             bool // something stops working by itself, or has
}

// What is soon: a credential that expires, an old secret or an entry of the allowlist that ends.
const soon = 14 * 24 * time.Hour

// pressing puts what is soon first, and leaves the rest as it stands.
func pressing(all []need) {
	slices.SortStableFunc(all, func(a, b need) int {
		return cmp.Compare(soonness(a), soonness(b))
	})
}

func soonness(n need) int {
	if n.Soon {
		return 0
	}
	return 1
}

// A subject is a credential that somebody may need to look at: what it is called there, and where its page is.
type subject struct {
	auth.Credential
	name, to string
}

// expires says that a credential ends by itself, and leads to where that is put off.
func (v *visit) expires(c subject) need {
	n := need{c.name + " expires " + distance(v.d.now().Sub(c.ExpiresAt)) + ". Whoever uses it is refused from then on.", c.to, "Look at it", true}
	if v.Can(string(registry.UpdateCredential)) {
		n.To, n.Button = c.to+"/edit", "Change its end"
	}
	return n
}

// oldSecretEnds says what to do about the old one of two secrets that are live, and who still uses it.
func (v *visit) oldSecretEnds(c subject) need {
	now := v.d.now()
	newest, old := c.Secrets[0], c.Secrets[1]
	advice := auth.Advise(c.Credential, now)
	if advice.Word == auth.Finish {
		n := need{c.name + " has two secrets. " + advice.Says + ".", c.to, "Look at it", false}
		if v.Can(string(registry.FinishRotation)) {
			n.To, n.Button = c.to+"/finish", "Finish the rotation"
		}
		return n
	}
	n := need{"The old secret of " + c.name + " ends " + distance(now.Sub(old.ExpiresAt)), c.to, "See who uses which", old.ExpiresAt.Sub(now) <= auth.OldSecretEnds}
	switch used := old.LastUse; {
	case !used.At.Before(newest.CreatedAt):
		n.Says += " and is in use: last " + distance(now.Sub(used.At)) + usedBy(used) + ". Whoever uses it is refused from then on."
	case newest.LastUse.At.IsZero():
		n.Says += ", and nobody has used the new one yet."
	default:
		n.Says += "; it was not used since there is a new one."
	}
	return n
}

// usedBy says from where a secret was used, and by what program, as far as that is known.
func usedBy(u auth.Use) string {
	said := ""
	if u.Address.IsValid() {
		said = " from " + u.Address.String()
	}
	if u.UserAgent != "" {
		said += " by " + u.UserAgent
	}
	return said
}
