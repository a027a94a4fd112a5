package auth

import (
	"cmp"
	"net/netip"
	"time"

	"github.com/gatehouse/gatehouse/verify"
)

// What a request did, for logs, metrics, usage and refusals.
const (
	DidExchange   = "exchange" // API key, Basic or client credentials to a token
	DidLogin      = "login"    // username and password to a pair
	DidRefresh    = "refresh"
	DidLogout     = "logout"
	DidVerify     = "verify" // a call through a route, or one that another proxy asked about
	DidRenew      = "renew"
	DidIntrospect = "introspect"
	DidRevoke     = "revoke"
	DidOther      = "other" // anything else: key sets, health, what was not found
)

// An Observation is one request as it went, told once when it is over. It holds no secret.
type Observation struct {
	Caller   Caller
	At       time.Time // when it began
	Duration time.Duration
	Upstream time.Duration // of it, waiting for the API behind the gateway; 0: it was not asked
	Did      string        // one of the Did constants
	Contract Contract      // whose words the answer was in
	Route    string        // the path of the route, or our own address; "" where none matched
	Status   int
	Bytes    int64
	Subject  Subject     // as far as it is known
	Type     verify.Type // of the token handed out or presented, if it is known
	Reason   Reason      // ReasonNone: let in
	// Observed is what the request would have been refused for, had its route not been one that is only observed.
	Observed Reason
	Limit    Limit
	Replayed bool
	IssuedAt time.Time // iat of a refused token whose signature held: shows the caller's clock
	Err      error     // what went wrong on our side, for the log
}

// A Refusal is a request that was refused, as it is kept for explain. Equal ones of one second are one row that counts.
type Refusal struct {
	ID         int64 // of the row; 0 while it is not stored
	At         time.Time
	RequestIDs []string // the first few of those counted
	Count      int64
	Method     string
	Host       string
	Path       string
	Route      string
	Contract   Contract
	Status     int
	Reason     Reason
	Subject    Subject
	Type       verify.Type
	Address    netip.Addr
	Peer       netip.Addr
	Forwarded  string
	UserAgent  string
	Limit      string    // the name of the limit that was reached
	IssuedAt   time.Time // zero unless a token showed it
	Detail     string    // what else helps the operator
}

// A RefusalFilter picks refusals; its zero fields pick all.
type RefusalFilter struct {
	Account    AccountID
	Credential CredentialID
	Address    netip.Addr
	Since      time.Time
	RequestID  string
	After      RefusalPlace // the last of the page before
	Most       int          // rows; 0 stands for 100
}

// A UsageRow counts what one credential did in one hour.
type UsageRow struct {
	Account    AccountID
	Credential CredentialID
	Hour       time.Time // its beginning, UTC
	What       string    // a Did constant, or "refused:" and the reason
	Count      int64
}

// Compare orders rows as the store has them.
func (r UsageRow) Compare(other UsageRow) int {
	return cmp.Or(cmp.Compare(r.Account, other.Account), r.Hour.Compare(other.Hour), cmp.Compare(r.Credential, other.Credential), cmp.Compare(r.What, other.What))
}

// A SecretUse says that a secret was used, and when and from where last.
type SecretUse struct {
	Credential CredentialID
	Secret     int
	Use
}

// Compare orders uses as the store has them.
func (u SecretUse) Compare(other SecretUse) int {
	return cmp.Or(cmp.Compare(u.Credential, other.Credential), cmp.Compare(u.Secret, other.Secret))
}

// A Replica is a server that holds facts in memory, as its row in the database tells.
type Replica struct {
	ID      string
	Applied Position
	HeardAt time.Time // by the database's time
	Started time.Time
	Version string
	Listens string
	// MaxStaleness is how long it goes on deciding without being heard; 0: its row does not say.
	MaxStaleness time.Duration
}

// A NewSession is a login about to be written.
type NewSession struct {
	ID            SessionID
	Credential    CredentialID
	SecretDigest  []byte // of the secret presented: it must still be one of the credential's, and live
	Expires       time.Time
	AccessExpires time.Time
	AccessKey     KeyID
	RefreshKey    KeyID
	Address       netip.Addr
	UserAgent     string
}

// Lifetime is how long tokens of one type live at most, as far as keys and revocations must reach.
type Lifetime struct {
	Type      string        // a token's type
	Longest   time.Duration // in force, or still running out
	LoweredAt time.Time     // when a shorter one came into force; zero: none did
	LoweredTo time.Duration
}
