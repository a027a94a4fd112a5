// Package auth is our vocabulary: accounts, credentials, sessions, grants, errors and their reasons, and the rules about
// them that need no I/O. It leaves storage to store, decisions to gate and registry, and the judging of tokens to verify.
//
// The invariant: a value of one of its types that came through a parser of this package is well-formed, and no value that
// holds a secret prints it.
package auth

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/verify"
)

// An AccountID is an account's number, from 100001 upwards and never used twice. On the wire it is "client_id" and "sub".
type AccountID int64

func (id AccountID) String() string { return strconv.FormatInt(int64(id), 10) }

// FirstAccount is the number of the first account of a database.
const FirstAccount AccountID = 100001

// A CredentialID names a credential for good. Those we make are [IDLength] letters and digits.
type CredentialID string

// A SessionID names what one exchange or login started: it is the claim "sid" of every token that came of it.
type SessionID string

// A KeyID names a working key: the header "kid" of a token, the pepper beside a digest.
type KeyID string

// A Position is a number in the change log. Numbers have no gaps and come in commit order.
type Position int64

// A Kind is what sort of credential it is, and so which contract it opens: its own and no other.
type Kind string

// The kinds of credentials.
const (
	APIKey Kind = "api-key" // contract 1
	Basic  Kind = "basic"   // contract 2: a user ID and a password
	Login  Kind = "login"   // contract 3: a username and a password
	OAuth  Kind = "oauth"   // contract 4: a client id and a client secret
)

// Kinds lists them in the order of their contracts.
var Kinds = []Kind{APIKey, Basic, Login, OAuth}

// A Contract is one of the ways we speak over the wire.
type Contract string

// The contracts.
const (
	Liquid Contract = "liquid" // 1: API key to access token
	Orders Contract = "orders" // 2: Basic to order token
	B2B    Contract = "b2b"    // 3: username and password to a pair
	OAuth2 Contract = "oauth"  // 4
)

// Contracts lists them in their order, which is that of [Kinds] and of [verify.Types].
var Contracts = []Contract{Liquid, Orders, B2B, OAuth2}

// Index is the contract's place in [Contracts]; -1 for what is none.
func (c Contract) Index() int {
	for i, known := range Contracts {
		if c == known {
			return i
		}
	}
	return -1
}

// Type is the type of the access tokens that the contract issues.
func (c Contract) Type() verify.Type { return verify.Types[c.Index()] }

// Contract is the one contract that a credential of this kind opens.
func (k Kind) Contract() Contract {
	for i, known := range Kinds {
		if k == known {
			return Contracts[i]
		}
	}
	return ""
}

// ContractOf returns the contract that issues access tokens of type t, "" if there is none.
func ContractOf(t verify.Type) Contract {
	for i, known := range verify.Types {
		if t == known {
			return Contracts[i]
		}
	}
	return ""
}

// An Environment keeps staging and production apart: it stands in every credential we make.
type Environment string

// The environments.
const (
	Live Environment = "live"
	Test Environment = "test"
)

// An Account is a customer.
type Account struct {
	ID          AccountID
	Name        string
	Ref         string // the operator's own reference, unique; "" for none
	CreatedAt   time.Time
	SuspendedAt time.Time   // zero: active
	Requests    Rate        // limit on calls through routes; the zero Rate: the configured default
	DeadBelow   [4]Position // by [Contract.Index]: tokens and sessions with a pos below it are dead
	// RestrictedAt is when a DeadBelow was last raised; zero: never.
	RestrictedAt time.Time
	Allowlist    []AllowEntry
}

// Suspended says whether the account may do nothing at all.
func (a Account) Suspended() bool { return !a.SuspendedAt.IsZero() }

// Status is "active" or "suspended".
func (a Account) Status() string {
	if a.Suspended() {
		return "suspended"
	}
	return "active"
}

// An AllowEntry is one line of an account's allowlist.
type AllowEntry struct {
	Prefix    netip.Prefix // unmapped, without zone, no bits set beyond its length
	Note      string
	CreatedAt time.Time
	ExpiresAt time.Time // zero: never
}

// A Credential is one way for an account to prove itself, as it is stored: digests and no secret.
type Credential struct {
	ID         CredentialID
	Account    AccountID
	Kind       Kind
	Name       string
	Scope      string // space-separated, sorted; may hold operator-given gatehouse: scopes, which go into no token
	CreatedAt  time.Time
	ExpiresAt  time.Time // zero: never
	RevokedAt  time.Time // zero: not revoked
	DeadBelow  Position  // tokens and sessions with a pos below it are dead
	NarrowedAt time.Time // when scopes were last taken away or its expiry brought forward; zero: never
	// RestrictedAt is the latest of RevokedAt, NarrowedAt and the time DeadBelow was raised; zero: never.
	RestrictedAt time.Time
	// Keys are the public keys that an OAuth client signs with, a JWK set as the package proof writes it; "": none.
	Keys string
	// Secrets are the one or two that can be live, the newest first. A credential with keys may have none.
	Secrets []Secret
}

// A Secret is one of a credential's secrets.
type Secret struct {
	Number    int    // 1 for the first that the credential had, 2 for the next, and so on
	Digest    []byte // keyed, see the package secret
	Pepper    KeyID  // the key of the digest
	CreatedAt time.Time
	ExpiresAt time.Time // zero: never
	LastUse   Use       // filled only where it is asked for
}

// Live says whether the secret opens anything at now.
func (s Secret) Live(now time.Time) bool { return live(s.ExpiresAt, now) }

func live(expires, now time.Time) bool { return expires.IsZero() || now.Before(expires) }

// A Use is how a secret was last used, and how often it ever was.
type Use struct {
	At        time.Time
	Address   netip.Addr
	UserAgent string
	Count     int64
}

// Dead returns why the credential is good for nothing at now, [ReasonNone] if it is good.
func (c *Credential) Dead(now time.Time) Reason { return dead(c.RevokedAt, c.ExpiresAt, now) }

func dead(revoked, expires, now time.Time) Reason {
	switch {
	case !revoked.IsZero():
		return ReasonRevoked
	case !expires.IsZero() && !now.Before(expires):
		return ReasonExpired
	}
	return ReasonNone
}

// A Holder is what an exchange decides on, one row: of a credential no more than that, for very many are kept in memory, together
// with what its account adds to whether it is good.
type Holder struct {
	ID               CredentialID
	Account          AccountID
	Kind             Kind
	Scope            string
	ExpiresAt        time.Time // zero: never
	RevokedAt        time.Time // zero: not revoked
	Keys             string
	Locks            []Lock // one for each of its secrets, the newest first
	AccountSuspended bool
}

// Dead is that of the credential.
func (h *Holder) Dead(now time.Time) Reason { return dead(h.RevokedAt, h.ExpiresAt, now) }

// A Lock is what a secret has to fit: what an exchange looks at of a [Secret].
type Lock struct {
	Number    int
	Digest    []byte
	Pepper    KeyID
	ExpiresAt time.Time // zero: never
}

// Live says whether the secret opens anything at now.
func (l Lock) Live(now time.Time) bool { return live(l.ExpiresAt, now) }

// A Session is what a login started and refreshes carry on. Its token names its generation, so nothing is stored per token.
type Session struct {
	ID            SessionID
	Account       AccountID
	Credential    CredentialID
	Secret        int       // the number of the secret that started it
	Position      Position  // pos of every token of the session
	Generation    int64     // of the refresh token that is good now; 0 for the login's
	StartedAt     time.Time // the login, auth_time of every token
	RotatedAt     time.Time // when Generation was made
	AccessExpires time.Time // of the pair of Generation
	Expires       time.Time // of the pair of Generation: when its refresh token dies
	AccessKey     KeyID     // that signed the pair of Generation
	RefreshKey    KeyID
	Scope         string    // of the pair of Generation
	RotatedUnder  []byte    // keyed digest of the idempotency key that made Generation; nil: none
	EndedAt       time.Time // zero: lives
	EndedBecause  string    // why, for the audit: "reuse", "logout", …
	Address       netip.Addr
	UserAgent     string
}

// A Spend is what a refresh asks of a session's row.
type Spend struct {
	Generation        int64
	Until             time.Time     // when the new refresh token dies, at the latest
	AccessUntil       time.Time     // when the new access token dies, at the latest
	IdempotencyDigest []byte        // nil: none
	Leeway            time.Duration // how long the previous generation is taken for a race, not a theft
	OnReuse           OnReuse
	MaxAge            time.Duration // of the session since its login; 0: no end
	AccessKey         KeyID
	RefreshKey        KeyID
	// AddressRefused asks only what would happen: where the refresh would succeed it is [ErrAddressNotAllowed] and
	// nothing is spent. A reuse is a reuse from any address.
	AddressRefused bool
	// RevokedUntil is how long a reuse is to be remembered: when no token of the session can be within its time any more.
	RevokedUntil time.Time
	Act          Act // who asks, for the audit
}

// OnReuse says what a refresh token presented again, past the leeway, does to its session.
type OnReuse string

// What reuse does.
const (
	RevokeSession OnReuse = "revoke_session"
	RefuseOnly    OnReuse = "refuse"
)

// An Ask is what somebody wants of a token, beyond what his credential has anyway.
type Ask struct {
	Scope string     // no more than these scopes; "": all that go into tokens
	Bound Possession // to this key; zero: to none
}

// A Possession is what a DPoP proof shows: its sender holds a key. It counts once.
type Possession struct {
	Key   string    // the thumbprint of the key (RFC 7638)
	Name  string    // what its sender gives to no other proof of this key until then
	Until time.Time // when it is too old to be taken
}

// SigningAlgorithms are the algorithms (RFC 7518, RFC 8037, RFC 9864) that clients may sign with.
var SigningAlgorithms = []string{"EdDSA", "Ed25519", "ES256", "RS256", "PS256"}

// A Grant is what an exchange, a renewal or a refresh hands out: one token, or a pair.
type Grant struct {
	Account        AccountID
	Credential     CredentialID // that was presented, or that the token came from
	Secret         int          // the number of the secret that was presented; 0: none was
	Session        SessionID
	Type           verify.Type
	Token          string
	Expires        time.Time // whole seconds, the token's exp
	Bound          bool      // the token is bound to a key
	Refresh        string    // "" unless it is a pair
	RefreshExpires time.Time
	Scope          string
	Replayed       bool  // the same pair once more, under an idempotency key
	Limit          Limit // what the limiter found
}

// Revoked is what a revocation leaves behind: where in the change log it stands.
type Revoked struct {
	Position Position
	Already  bool // nothing was left to revoke
}

// A Caller is who asks: an argument, never a value in a context.
type Caller struct {
	Address   netip.Addr // as resolved through trusted proxies, unmapped; what lists and limits look at
	Peer      netip.Addr // the other end of the connection
	Forwarded string     // X-Forwarded-For as it came, shortened; for explain
	UserAgent string     // shortened
	RequestID string
	Method    string
	Host      string
	Path      string
	Limit     Limit // what the limit of attempts by address found
}

// An Act is one thing somebody did that changed something. It is written to the audit trail in the transaction of the
// change.
type Act struct {
	Actor     string   // "command line (user root)", "credential u_…", "server"
	Action    string   // "account.create", "session.reuse", …
	Person    PersonID // who acts, if it is a person that we know
	RequestID string
	Address   netip.Addr
	Detail    string // free text without secrets
	// Terms are what the act is done on, and Makes what it makes, for them: it is called once it is known what the act is about,
	// and when. Neither is in the trail.
	Terms Terms
	Makes func(about Subject, at time.Time) any
}

// A Subject is what an act or an error is about, as far as it is known.
type Subject struct {
	Account    AccountID
	Credential CredentialID
	Secret     int
	Session    SessionID
	Person     PersonID // the operator or member that it was done to
}

// A Change is one entry of the change log: which fact changed, for whoever holds it in memory.
type Change struct {
	Number     Position
	Of         ChangeOf
	Account    AccountID    // for ChangedAccount; of the rest, whose it is
	Credential CredentialID // for ChangedCredential
	Session    SessionID    // for ChangedSession: it is revoked,
	Until      time.Time    // and this is when nobody need know any more
	At         time.Time
}

// ChangeOf says what sort of fact changed.
type ChangeOf string

// The facts that replicas hold.
const (
	ChangedAccount    ChangeOf = "account"
	ChangedCredential ChangeOf = "credential"
	ChangedSession    ChangeOf = "session"
	ChangedKeys       ChangeOf = "keys"
)

// A RevokedSession is a session whose tokens are dead, for as long as one of them could still be within its time.
type RevokedSession struct {
	ID    SessionID
	Until time.Time
}

// Exceptions are all facts that a replica must hold to judge tokens: whatever is not among them has the defaults.
type Exceptions struct {
	Incarnation string
	Position    Position     // the facts are those of this position of the change log
	Accounts    []Account    // suspended, with an allowlist, with limits of their own, or restricted lately
	Credentials []Credential // restricted lately; without their secrets
	Sessions    []RevokedSession
}

// A Ring is what a working key is for.
type Ring string

// The rings of working keys. Each is random, has an id, and lies sealed in the database.
const (
	SigningRing Ring = "signing" // signs access tokens
	RefreshRing Ring = "refresh" // signs refresh tokens (HMAC); in no key set
	PepperRing  Ring = "pepper"  // keys the digests of secrets
	DerivedRing Ring = "derived" // keys what is derived: jti of pairs, digests of idempotency keys
	AuditRing   Ring = "audit"   // signs checkpoints of the audit trail; it lies in a table of its own
)

// A KeyRow is a working key as it is stored.
type KeyRow struct {
	ID        KeyID
	Ring      Ring
	Algorithm string
	Sealed    []byte
	MasterKey string // the id of the master key that sealed it
	CreatedAt time.Time
	ActiveAt  time.Time // from then on it is used, until a younger key of its ring becomes active
	ExpiresAt time.Time // when it can be forgotten; zero: not known yet
	RevokedAt time.Time // zero: not revoked
}

// Seal is the sealed key, with the place where it lies.
func (k KeyRow) Seal() Sealed {
	table := "keys"
	if k.Ring == AuditRing {
		table = "audit_keys"
	}
	return Sealed{Table: table, Row: string(k.ID), Purpose: string(k.Ring), Algorithm: k.Algorithm, MasterKey: k.MasterKey, Text: k.Sealed}
}

// Want is what a route asks of a token.
type Want struct {
	Types  []verify.Type // at least one; the token must be of one of them
	Scopes []string      // all of them
	Limits []RouteLimit  // by account
	Bound  bool          // it must be bound to a key, and come with a proof
}

// A RouteLimit is a limit of a route, counted for each account.
type RouteLimit struct {
	Name string
	Rate Rate
}

// Served is what an act that hands out nothing leaves for the answer: who asked for it, and what the limiter found.
type Served struct {
	Client Subject
	Limit  Limit
}

// OperatorScopes begin so: they are given by operators only, are put into no token and open no route.
const OperatorScopes = "gatehouse:"

// What an OAuth client may do with what is not its own account's.
const (
	ScopeIntrospect  = OperatorScopes + "introspect"  // tokens
	ScopeRevoke      = OperatorScopes + "revoke"      // tokens
	ScopeRevocations = OperatorScopes + "revocations" // read the revocation feed
)

// TokenScope is the part of a credential's scope that goes into tokens.
func TokenScope(scope string) string {
	if !strings.Contains(scope, OperatorScopes) {
		return scope
	}
	var kept []string
	for part := range strings.SplitSeq(scope, " ") {
		if !strings.HasPrefix(part, OperatorScopes) {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, " ")
}

// PickScope returns those of the scopes have that asked names, in have's order; without any asked for, all. It is not ok if
// asked names one that is not among them, or nothing at all. What is no scope is among no scopes.
func PickScope(have, asked string) (picked string, ok bool) {
	if asked == "" {
		return have, true
	}
	if len(asked) > MaxScope { // or somebody asks for one thing ten thousand times
		return "", false
	}
	for one := range strings.SplitSeq(asked, " ") {
		if one != "" && !verify.HasScope(have, one) {
			return "", false
		}
	}
	picked = verify.Intersect(have, asked)
	return picked, picked != ""
}

// ParseScope puts scopes in order, each once, as they are stored: space-separated. A scope is printable ASCII without space,
// quote and backslash (RFC 6749, section 3.3).
func ParseScope(scopes []string) (string, error) {
	var all []string
	for _, s := range scopes {
		all = append(all, strings.Fields(s)...)
	}
	for _, s := range all {
		for i := range len(s) {
			if c := s[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
				return "", ErrInvalid.Saying("a scope is printable ASCII without spaces, quotes and backslashes: " + strconv.QuoteToASCII(s))
			}
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	scope := strings.Join(all, " ")
	if len(scope) > MaxScope {
		return "", ErrInvalid.Saying("the scopes of a credential are at most " + strconv.Itoa(MaxScope) + " bytes together, for every token carries them")
	}
	return scope, nil
}

// MaxScope is how long the scopes of a credential may be together, in bytes.
const MaxScope = 1024

// A CredentialUpdate says what to change of a credential; what is nil stays.
type CredentialUpdate struct {
	Name      *string
	Scope     *string
	ExpiresAt *time.Time // zero: never
	Keys      *string    // as [Credential.Keys]
}
