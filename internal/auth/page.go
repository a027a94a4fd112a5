package auth

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MostRows is how many rows one page can have at most, and UsualRows how many it has if nobody says.
const (
	MostRows  = 1001 // a thousand, and one more to see whether there is another page
	UsualRows = 100
)

// Rows is how many rows a page has that wants so many.
func Rows(most int) int {
	if most <= 0 {
		return UsualRows
	}
	return min(most, MostRows)
}

// An AccountQuery asks for a page of accounts, by number. Its zero fields pick all.
type AccountQuery struct {
	// Search finds words: each must be the beginning of a word of the name or the reference, or of the number, in any case.
	// "ref:" and the beginning of a reference, as it is spelled, finds by that alone.
	Search string
	Status string    // "active" or "suspended"
	After  AccountID // the last of the page before
	Most   int       // see [Rows]
}

// A CredentialQuery asks for a page of credentials: those of an account, or of all accounts by their numbers, in the order they
// were made. Its zero fields pick all but those of deleted accounts.
type CredentialQuery struct {
	Account AccountID
	Kind    Kind
	// Search finds the beginning of an id, of an identifier or of a key; in one account, also the beginning of a word of the name.
	Search string
	Live   bool // neither revoked nor expired
	After  CredentialPlace
	Most   int // see [Rows]
}

// A CredentialPlace is where a credential stands in a list. The zero place is before the first.
type CredentialPlace struct {
	Account   AccountID
	CreatedAt time.Time
	ID        CredentialID
}

// Place is where c stands in a list.
func (c *Credential) Place() CredentialPlace {
	return CredentialPlace{Account: c.Account, CreatedAt: c.CreatedAt, ID: c.ID}
}

// String is the place as [ParseCredentialPlace] reads it; "" for the zero place.
func (p CredentialPlace) String() string {
	if p == (CredentialPlace{}) {
		return ""
	}
	return p.Account.String() + "." + strconv.FormatInt(p.CreatedAt.UnixMilli(), 10) + "." + string(p.ID)
}

// ParseCredentialPlace reads a place; anything else is [ErrInvalid].
func ParseCredentialPlace(s string) (CredentialPlace, error) {
	if s == "" {
		return CredentialPlace{}, nil
	}
	account, rest, _ := strings.Cut(s, ".")
	at, id, err := parsePlace(rest)
	n, wrong := strconv.ParseInt(account, 10, 64)
	p := CredentialPlace{Account: AccountID(n), CreatedAt: at, ID: CredentialID(id)}
	if err != nil || wrong != nil || n <= 0 || p.String() != s {
		return CredentialPlace{}, errPlace()
	}
	return p, nil
}

// An EndingQuery asks for credentials that end by themselves within a time, the first to end first; with OldSecrets, for those that
// live on and whose old secret does.
type EndingQuery struct {
	Account    AccountID // 0: of all
	OldSecrets bool
	Within     time.Duration
	Most       int // see [Rows]
}

// A SessionQuery asks for a page of sessions of an account or of a credential, the youngest login first. Its zero fields pick all.
type SessionQuery struct {
	Account    AccountID
	Credential CredentialID
	LiveOnly   bool // those that could be refreshed now
	After      SessionPlace
	Most       int // see [Rows]
}

// A SessionPlace is where a session stands in a list. The zero place is before the first.
type SessionPlace struct {
	StartedAt time.Time
	ID        SessionID
}

// Place is where s stands in a list.
func (s *Session) Place() SessionPlace { return SessionPlace{StartedAt: s.StartedAt, ID: s.ID} }

// String is the place as [ParseSessionPlace] reads it; "" for the zero place.
func (p SessionPlace) String() string {
	if p == (SessionPlace{}) {
		return ""
	}
	return strconv.FormatInt(p.StartedAt.UnixMilli(), 10) + "." + string(p.ID)
}

// ParseSessionPlace reads a place; anything else is [ErrInvalid].
func ParseSessionPlace(s string) (SessionPlace, error) {
	if s == "" {
		return SessionPlace{}, nil
	}
	at, id, err := parsePlace(s)
	p := SessionPlace{StartedAt: at, ID: SessionID(id)}
	if err != nil || p.String() != s {
		return SessionPlace{}, errPlace()
	}
	return p, nil
}

// An OperatorTokenQuery asks for a page of the tokens of the admin API, the oldest first, dead ones too.
type OperatorTokenQuery struct {
	After OperatorTokenPlace
	Most  int // 0: all
}

// An OperatorTokenPlace is where a token stands in a list. The zero place is before the first.
type OperatorTokenPlace struct {
	CreatedAt time.Time
	ID        OperatorTokenID
}

// Place is where t stands in a list.
func (t *OperatorToken) Place() OperatorTokenPlace {
	return OperatorTokenPlace{CreatedAt: t.CreatedAt, ID: t.ID}
}

// String is the place as [ParseOperatorTokenPlace] reads it; "" for the zero place.
func (p OperatorTokenPlace) String() string {
	if p == (OperatorTokenPlace{}) {
		return ""
	}
	return strconv.FormatInt(p.CreatedAt.UnixMilli(), 10) + "." + string(p.ID)
}

// ParseOperatorTokenPlace reads a place; anything else is [ErrInvalid].
func ParseOperatorTokenPlace(s string) (OperatorTokenPlace, error) {
	if s == "" {
		return OperatorTokenPlace{}, nil
	}
	at, id, err := parsePlace(s)
	p := OperatorTokenPlace{CreatedAt: at, ID: OperatorTokenID(id)}
	if err != nil || p.String() != s {
		return OperatorTokenPlace{}, errPlace()
	}
	return p, nil
}

// A RefusalPlace is where a refusal stands in a list, the newest first. The zero place is before the newest. Whether a refusal was
// read from memory or from the store, its place is the same.
type RefusalPlace struct {
	At time.Time // whole milliseconds
	ID string    // of a request that was counted in it
}

// Place is where r stands in a list.
func (r *Refusal) Place() RefusalPlace {
	p := RefusalPlace{At: r.At.UTC().Truncate(time.Millisecond)}
	for i, id := range r.RequestIDs {
		if i == 0 || id < p.ID {
			p.ID = id
		}
	}
	return p
}

// After says whether p comes behind o in the list.
func (p RefusalPlace) After(o RefusalPlace) bool {
	if o == (RefusalPlace{}) {
		return true
	}
	if c := p.At.Compare(o.At); c != 0 {
		return c < 0
	}
	return p.ID > o.ID
}

// SortRefusals puts refusals in the order of their places, the newest first, and returns those behind a place, at most so many.
func SortRefusals(all []Refusal, after RefusalPlace, most int) []Refusal {
	type placed struct {
		RefusalPlace
		at int
	}
	var places []placed
	for i := range all {
		if p := all[i].Place(); p.After(after) {
			places = append(places, placed{p, i})
		}
	}
	slices.SortStableFunc(places, func(a, b placed) int {
		return cmp.Or(b.At.Compare(a.At), strings.Compare(a.ID, b.ID))
	})
	var sorted []Refusal
	for _, p := range places[:min(len(places), most)] {
		sorted = append(sorted, all[p.at])
	}
	return sorted
}

// String is the place as [ParseRefusalPlace] reads it; "" for the zero place.
func (p RefusalPlace) String() string {
	if p == (RefusalPlace{}) {
		return ""
	}
	return strconv.FormatInt(p.At.UnixMilli(), 10) + "." + p.ID
}

// ParseRefusalPlace reads a place; anything else is [ErrInvalid].
func ParseRefusalPlace(s string) (RefusalPlace, error) {
	if s == "" {
		return RefusalPlace{}, nil
	}
	at, id, err := parsePlace(s)
	p := RefusalPlace{At: at, ID: id}
	if err != nil || p.String() != s {
		return RefusalPlace{}, errPlace()
	}
	return p, nil
}

// parsePlace reads a time and a name. The name holds nothing that a database refuses.
func parsePlace(s string) (time.Time, string, error) {
	number, name, ok := strings.Cut(s, ".")
	ms, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil || ms < 0 || !presentable(name) {
		return time.Time{}, "", errPlace()
	}
	return time.UnixMilli(ms).UTC(), name, nil
}

func errPlace() error { return ErrInvalid.Saying("This is no place in a list") }

// A UsageQuery asks what was done with an account's credentials, in whole hours or days of UTC.
type UsageQuery struct {
	Account    AccountID
	Credential CredentialID // "": all
	Since      time.Time
	Until      time.Time     // zero: now
	Step       time.Duration // what is summed up: [Hourly], or [Daily]
}

// The steps of a [UsageQuery].
const (
	Hourly = time.Hour
	Daily  = 24 * time.Hour
)

// An AuditEntry is one act as it is kept.
type AuditEntry struct {
	Number int64
	At     time.Time
	Act    Act
	About  Subject
	Seq    int64 // its place in the chain that proves the trail; 0: it has none yet
}

// Place is where e stands in a list.
func (e *AuditEntry) Place() AuditPlace { return AuditPlace{e.At, e.Number} }

// An AuditPlace is where an act stands in a list, the newest first. The zero place is before the newest.
type AuditPlace struct {
	At     time.Time
	Number int64
}

// String is the place as [ParseAuditPlace] reads it; "" for the zero place.
func (p AuditPlace) String() string {
	if p == (AuditPlace{}) {
		return ""
	}
	return strconv.FormatInt(p.At.UnixMilli(), 10) + "." + strconv.FormatInt(p.Number, 10)
}

// ParseAuditPlace reads a place; anything else is [ErrInvalid].
func ParseAuditPlace(s string) (AuditPlace, error) {
	if s == "" {
		return AuditPlace{}, nil
	}
	at, number, err := parsePlace(s)
	p := AuditPlace{At: at}
	if err == nil {
		p.Number, err = strconv.ParseInt(number, 10, 64)
	}
	if err != nil || p.String() != s {
		return AuditPlace{}, errPlace()
	}
	return p, nil
}

// An AuditQuery picks acts; its zero fields pick all.
type AuditQuery struct {
	Account    AccountID
	Credential CredentialID
	Person     PersonID // who acted, or to whom it was done
	Action     string
	Since      time.Time  // from then on,
	Until      time.Time  // and before this
	Before     AuditPlace // older than what stands there
	Most       int        // 0 stands for 100
}
