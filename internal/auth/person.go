package auth

import (
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"
)

// A PersonKind tells operators from members. Each kind has a dashboard, e-mail addresses and cookies of its own: somebody who is
// both is two persons.
type PersonKind string

// The kinds of persons.
const (
	Operator PersonKind = "operator" // runs the server
	Member   PersonKind = "member"   // belongs to one account, and sees nothing else
)

// Roles lists the roles that persons of this kind can have, the mightiest first.
func (k PersonKind) Roles() []Role {
	if k == Operator {
		return OperatorRoles
	}
	return MemberRoles
}

// A PersonState is how far a person has come.
type PersonState string

// The states.
const (
	Invited PersonState = "invited" // has a one-time link, or had one that expired, and no way to sign in
	Active  PersonState = "active"
	Removed PersonState = "removed" // for good; kept for the audit trail
)

// A Person is an operator, or a member of one account.
type Person struct {
	ID         PersonID
	Account    AccountID // of a member; 0: an operator
	Email      string    // as [ParseEmail] writes it; among those who are not removed, unique in each kind
	Name       string
	Role       Role
	State      PersonState
	CreatedAt  time.Time
	RemovedAt  time.Time // zero: not removed
	SignedInAt time.Time // last; zero: never
	// AccountSuspended keeps a member out, until the account is resumed.
	AccountSuspended bool

	// The ways to sign in that the person has set up.
	Password      bool
	TOTP          bool
	Passkeys      int
	OpenIDs       int
	RecoveryCodes int // that are not used yet
}

// Kind says whether the person is an operator or a member.
func (p Person) Kind() PersonKind {
	if p.Account == 0 {
		return Operator
	}
	return Member
}

// MaySignIn says whether the person may have a session at all.
func (p Person) MaySignIn() bool { return p.State == Active && !p.AccountSuspended }

// Detail is how acts about the person name it in the audit trail: "p_… jane@example.com".
func (p Person) Detail() string { return string(p.ID) + " " + p.Email }

// PersonPrefix begins the id of every person, TokenIDPrefix that of every operator token.
const (
	PersonPrefix  = "p_"
	TokenIDPrefix = "ot_"
)

// A PersonQuery picks persons of one kind: the operators, or the members of one account. Those who were removed are in none.
type PersonQuery struct {
	Account AccountID // 0: operators
	After   string    // begin behind this e-mail address
	Most    int       // 0: all
}

// mostEmail is the longest e-mail address (RFC 5321, section 4.5.3.1.3).
const mostEmail = 254

// ParseEmail writes an e-mail address in the one spelling that we keep: without spaces around it, in lower case. It takes what
// can be one and leaves finer rules to the mail servers; which is a person's is shown by the link that was sent there.
func ParseEmail(s string) (string, error) {
	s = strings.ToLower(strings.TrimSpace(s))
	local, domain, _ := strings.Cut(s, "@")
	if local == "" || domain == "" || len(s) > mostEmail || !utf8.ValidString(s) || strings.ContainsFunc(s, notInEmail) ||
		strings.Contains(domain, "@") || strings.HasPrefix(domain, ".") || strings.HasSuffix(domain, ".") {
		return "", ErrInvalid.Saying("an e-mail address is written as jane@example.com")
	}
	return s, nil
}

// notInEmail are the letters that end an address, or hide what it is, where it is shown.
func notInEmail(r rune) bool {
	return r <= ' ' || r == 0x7f || r == utf8.RuneError || strings.ContainsRune(`"'<>(),:;\`, r) ||
		r >= 0x80 && r <= 0xa0 || r == 0xad || r >= 0x2000 && r <= 0x206f || r == 0xfeff
}

// Proofs are what a person's password and codes are compared with.
type Proofs struct {
	Password string // its hash; "": there is none
	TOTP     Sealed // the secret; without a Text there is none
	TOTPStep int64  // the last one used: a code counts once
	TOTPAt   time.Time
}

// A Sealed is what lies sealed in a row. It opens under the label of the place where it lies, and no other.
type Sealed struct {
	Table, Row, Purpose, Algorithm string
	MasterKey                      string // the id of the key that sealed it
	Text                           []byte
}

// SealedTOTP is where the sealed secret of a person's one-time passwords lies, without the text.
func SealedTOTP(id PersonID) Sealed {
	return Sealed{Table: "people", Row: string(id), Purpose: "totp", Algorithm: "HMAC-SHA1"}
}

// What a row is found by of which it keeps a keyed digest alone.
const (
	LookupLink   = "link"   // the code of an invitation
	LookupCookie = "cookie" // the value that opens a session of a dashboard
)

// A RecoveryCode is one of the codes that stand in for a lost second factor, each once.
type RecoveryCode struct {
	Digest []byte // keyed
	Pepper KeyID  // the key of the digest
	UsedAt time.Time
}

// An Enrolment is a second factor that was shown to work: one-time passwords, and what stands in for them.
type Enrolment struct {
	TOTP  Sealed
	Step  int64 // of the code that showed it
	Codes []RecoveryCode
}

// An Invitation is a link that lets somebody in once: a new person, one whose ways to sign in were taken away, or the first operator.
type Invitation struct {
	Digest    []byte   // keyed, of the code in the link
	Person    PersonID // "": the first operator, who has no row yet
	ExpiresAt time.Time
}

// A Stage is how far somebody has come in signing in.
type Stage string

// The stages.
const (
	StageSecond Stage = "second" // the password was right, a code is wanted
	StageEnroll Stage = "enroll" // the password was right, and a second factor must be set up
	StageFull   Stage = "full"   // signed in
)

// A DashboardSessionID names a session of a dashboard in lists; what opens it is another text.
type DashboardSessionID string

// A DashboardSession is somebody at a dashboard.
type DashboardSession struct {
	ID        DashboardSessionID
	Digest    []byte // keyed, of the cookie's value
	Person    PersonID
	Stage     Stage
	Method    string // "password", "passkey", "openid"
	CreatedAt time.Time
	SeenAt    time.Time // to the minute or so
	IdleEnds  time.Time // unless it is seen before
	EndsAt    time.Time // in any case
	ProvedAt  time.Time // when the person last proved who it is
	Address   netip.Addr
	UserAgent string
}

// Live says whether the session is within its time.
func (s DashboardSession) Live(now time.Time) bool {
	return now.Before(s.IdleEnds) && now.Before(s.EndsAt)
}

// A Joining is what a person who was invited brings along: one way to sign in.
type Joining struct {
	First    *Person // who the first operator is; nil: the person is in the invitation
	Password string  // its hash; "": none
	Passkey  *Passkey
	OpenID   *OpenID
}

// A Spent is what a proof uses up: a code of a second factor counts once.
type Spent struct {
	Step         int64  // of the one-time password; 0: none
	RecoveryCode []byte // the digest; nil: none
}

// An OperatorToken opens the admin API to a program.
type OperatorToken struct {
	ID        OperatorTokenID
	Name      string
	Role      Role
	Scopes    []string
	Digest    []byte // keyed
	Pepper    KeyID  // the key of the digest
	CreatedAt time.Time
	CreatedBy string    // the actor, as in the audit trail
	ExpiresAt time.Time // zero: never
	RevokedAt time.Time // zero: not revoked
	UsedAt    time.Time // last, to the minute or so; zero: never
	UsedFrom  netip.Addr
}

// Dead returns why the token opens nothing at now, [ReasonNone] if it does.
func (t OperatorToken) Dead(now time.Time) Reason {
	c := Credential{RevokedAt: t.RevokedAt, ExpiresAt: t.ExpiresAt}
	return c.Dead(now)
}

// Detail is how acts about the token name it in the audit trail: "ot_… ci".
func (t OperatorToken) Detail() string { return strings.TrimSpace(string(t.ID) + " " + t.Name) }

// operatorTokenPrefix begins every operator token as it is presented, so that scanners can recognise one.
const operatorTokenPrefix = "gko_"

// FormatOperatorToken writes a token as its holder presents it: "gko_<id><secret>_<checksum>".
func FormatOperatorToken(id OperatorTokenID, secret string) string {
	body := operatorTokenPrefix + strings.TrimPrefix(string(id), TokenIDPrefix) + secret
	return body + "_" + checksum(body)
}

// ParseOperatorToken reads what [FormatOperatorToken] writes, which has one spelling. Whatever is wrong with s, the error is
// [ErrBadToken], has a reason for the operator, and does not repeat s.
func ParseOperatorToken(s string) (OperatorTokenID, Presented, error) {
	rest, ok := strings.CutPrefix(s, operatorTokenPrefix)
	const body = IDLength + SecretLength
	if !ok || len(rest) != body+1+checksumLength || rest[body] != '_' || !Alphanumeric(rest[:body]) {
		return "", Presented{}, ErrBadToken.Because(ReasonMalformed)
	}
	if rest[body+1:] != checksum(s[:len(s)-1-checksumLength]) {
		return "", Presented{}, ErrBadToken.Because(ReasonChecksum)
	}
	id := TokenIDPrefix + rest[:IDLength]
	return OperatorTokenID(id), NewPresented("operator-token", CredentialID(id), id, rest[IDLength:body]), nil
}

// FormatCode writes the code of a one-time link: a secret and its checksum, so that one that was cut off on its way is told from
// one that is over.
func FormatCode(secret string) string { return secret + checksum(secret) }

// ParseCode reads what [FormatCode] writes and returns it without spaces around it. Anything else is [ErrBadLink].
func ParseCode(s string) (string, error) {
	s = strings.TrimSpace(s)
	if len(s) != SecretLength+checksumLength || !Alphanumeric(s) || checksum(s[:SecretLength]) != s[SecretLength:] {
		return "", ErrBadLink.Because(ReasonMalformed)
	}
	return s, nil
}

// JoinLink is what opens a code: base is where the dashboard is reached, without a slash at its end. What is behind the # no
// browser sends, so it is in no log.
func JoinLink(base, code string) string { return base + "/dashboard/join#" + code }

// ErrBadLink is a one-time link that opens nothing.
var ErrBadLink = &Error{Kind: Unauthenticated, Reason: ReasonUnknown, Msg: "This link is not good: it was used, it expired, or it was not copied whole"}
