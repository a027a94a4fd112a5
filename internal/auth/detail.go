package auth

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// The details of acts that take something away. A restore reads them again, to take away what was taken since the backup, so
// each is written here and parsed here; a parser takes nothing that is written otherwise.

var errDetail = errors.New("the detail of the act is not as this program writes it")

// never stands for the time that there is none.
const never = "never"

func untilText(t time.Time) string {
	if t.IsZero() {
		return never
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func parseUntil(s string) (time.Time, error) {
	if s == never {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || untilText(t) != s {
		return time.Time{}, errDetail
	}
	return t.UTC(), nil
}

// RotateDetail is the detail of a rotation: until when the old secret is good, the zero time for not any more, and whether
// sessions ended.
func RotateDetail(until time.Time, ended bool) string {
	detail := "old secret ended"
	if !until.IsZero() {
		detail = oldUntil + untilText(until)
	}
	if ended {
		detail += sessionsEnded
	}
	return detail
}

const (
	oldUntil      = "old secret until "
	sessionsEnded = ", sessions ended"
)

// ParseRotateDetail reads what [RotateDetail] writes. Whether sessions ended it leaves out.
func ParseRotateDetail(s string) (until time.Time, err error) {
	s = strings.TrimSuffix(s, sessionsEnded)
	if s == "old secret ended" {
		return time.Time{}, nil
	}
	end, ok := strings.CutPrefix(s, oldUntil)
	if until, err = parseUntil(end); !ok || err != nil || until.IsZero() {
		return time.Time{}, errDetail
	}
	return until, nil
}

// AllowDetail is the detail of an addition to an allowlist.
func AllowDetail(prefixes []netip.Prefix, until time.Time) string {
	if until.IsZero() {
		return RemoveDetail(prefixes)
	}
	return RemoveDetail(prefixes) + " until " + untilText(until)
}

// ParseAllowDetail reads what [AllowDetail] writes.
func ParseAllowDetail(s string) (prefixes []netip.Prefix, until time.Time, err error) {
	list, end, ends := strings.Cut(s, " until ")
	if ends {
		if until, err = parseUntil(end); err != nil || until.IsZero() {
			return nil, time.Time{}, errDetail
		}
	}
	prefixes, err = ParseRemoveDetail(list)
	return prefixes, until, err
}

// RemoveDetail is the detail of a removal from an allowlist.
func RemoveDetail(prefixes []netip.Prefix) string {
	var all []string
	for _, p := range prefixes {
		all = append(all, p.String())
	}
	return strings.Join(all, " ")
}

// ParseRemoveDetail reads what [RemoveDetail] writes.
func ParseRemoveDetail(s string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for part := range strings.SplitSeq(s, " ") {
		p, err := netip.ParsePrefix(part)
		if err != nil || p.String() != part {
			return nil, errDetail
		}
		all = append(all, p)
	}
	return all, nil
}

// LimitDetail is the detail of an account's limit.
func LimitDetail(r Rate) string {
	if r.Burst == 0 {
		return r.String()
	}
	return r.String() + " burst " + strconv.FormatInt(r.Burst, 10)
}

// ParseLimitDetail reads what [LimitDetail] writes.
func ParseLimitDetail(s string) (Rate, error) {
	rate, burst, bursts := strings.Cut(s, " burst ")
	r, err := ParseRate(rate)
	if err == nil && bursts {
		r.Burst, err = strconv.ParseInt(burst, 10, 64)
	}
	if err != nil || r.Burst < 0 || LimitDetail(r) != s {
		return Rate{}, errDetail
	}
	return r, nil
}

// UpdateDetail is the detail of a change to a credential. keys names the keys that it has then, where u changes them.
func UpdateDetail(u CredentialUpdate, keys []string) string {
	var parts []string
	if u.Name != nil {
		parts = append(parts, "name")
	}
	if u.Scope != nil {
		parts = append(parts, `scopes "`+*u.Scope+`"`) // no scope has quotes
	}
	if u.ExpiresAt != nil {
		parts = append(parts, "expires "+untilText(*u.ExpiresAt))
	}
	if u.Keys != nil {
		parts = append(parts, strings.TrimSpace("keys "+strings.Join(keys, " ")))
	}
	return strings.Join(parts, ", ")
}

// An Updated is what is told of a change to a credential.
type Updated struct {
	Scope     *string    // nil: as they were
	ExpiresAt *time.Time // zero: never; nil: as it was
	KeysSet   bool       // the keys were changed, to
	Keys      []string   // those of these names
}

// ParseUpdateDetail reads what [UpdateDetail] writes.
func ParseUpdateDetail(s string) (Updated, error) {
	var u Updated
	for rest, more := s, true; more; {
		switch {
		case rest == "name" || strings.HasPrefix(rest, "name, "):
			_, rest, more = strings.Cut(rest, ", ")
		case u.Scope == nil && strings.HasPrefix(rest, `scopes "`):
			scope, after, ok := strings.Cut(strings.TrimPrefix(rest, `scopes "`), `"`)
			clean, err := ParseScope([]string{scope})
			if !ok || err != nil || clean != scope {
				return Updated{}, errDetail
			}
			u.Scope = &scope
			if rest, more = strings.CutPrefix(after, ", "); !more && after != "" {
				return Updated{}, errDetail
			}
		case u.ExpiresAt == nil && strings.HasPrefix(rest, "expires "):
			var end string
			end, rest, more = strings.Cut(strings.TrimPrefix(rest, "expires "), ", ")
			until, err := parseUntil(end)
			if err != nil {
				return Updated{}, errDetail
			}
			u.ExpiresAt = &until
		case rest == "keys" || strings.HasPrefix(rest, "keys "): // the last part: names may be anything
			u.KeysSet, u.Keys, more = true, strings.Fields(strings.TrimPrefix(rest, "keys")), false
		default:
			return Updated{}, errDetail
		}
	}
	return u, nil
}
