package auth

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Sighting says that a credential came in from somewhere.
type Sighting struct {
	Account    AccountID
	Credential CredentialID
	From       netip.Prefix // one address; of IPv6 a /64, which is one household's or one machine's
	At         time.Time    // the last time
	Count      int64
}

// SeenAs is how an address that somebody came from is remembered; not valid for none.
func SeenAs(a netip.Addr) netip.Prefix {
	bits := 32
	if a = a.Unmap().WithZone(""); a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

// An AllowlistTrial is what an account's allowlist would do.
type AllowlistTrial struct {
	Entries []AllowEntry // as the list would be
	// Tag names the list as it is now: a replacement that gives it is made only if the list is still that one.
	Tag  string
	Seen []SeenFrom // where the account came from in the last 30 days, the latest first
	// ShutOut is how many of those would not come in any more.
	ShutOut int
	// Caller is the address of who asks, and CallerAllowed whether it would come in.
	Caller        netip.Addr
	CallerAllowed bool
	Suggestions   []AllowSuggestion // for what was seen and would not come in, the most used first
}

// A SeenFrom is where somebody of an account came from.
type SeenFrom struct {
	Sighting
	Kind    Kind      // of the credential; "": it is not live
	Session SessionID // a live session that was begun there; "": none
	Allowed bool      // all of it would come in
	Partly  bool      // some of a /64 would
}

// An AllowSuggestion is an entry that would let in who came in lately.
type AllowSuggestion struct {
	Prefix    netip.Prefix
	Addresses int // that were seen in it
	Count     int64
	At        time.Time // when it was last seen
}

// A Cover says how much of a prefix an allowlist lets in.
type Cover int

// The covers.
const (
	None Cover = iota
	Part
	Whole
)

// Covered says how much of p entries let in at now. Without entries everything is.
func Covered(entries []AllowEntry, p netip.Prefix, now time.Time) Cover {
	if len(entries) == 0 {
		return Whole
	}
	cover := None
	for _, e := range entries {
		switch {
		case !e.ExpiresAt.IsZero() && !now.Before(e.ExpiresAt) || !e.Prefix.Overlaps(p):
		case e.Prefix.Bits() <= p.Bits():
			return Whole
		default:
			cover = Part
		}
	}
	return cover
}

// AllowlistTag names a list by all that is in it, in whatever order.
func AllowlistTag(entries []AllowEntry) string {
	var lines []string
	for _, e := range entries {
		lines = append(lines, strconv.Quote(e.Note)+" "+AllowDetail([]netip.Prefix{e.Prefix}, e.ExpiresAt))
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(sum[:12])
}
