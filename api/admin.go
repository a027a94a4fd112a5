package api

import (
	"encoding/json"
	"net/netip"
	"time"
)

// What follows goes over the wire of the admin API, below /admin/v1/, and is what the commands print with --json. Times are RFC
// 3339 in UTC, whole seconds; those that there are not are left out. Whatever changes something says with Confirmed whether
// every server that can reach the database has applied it; elsewhere it is left out.

// A Page is a part of a list. Next is what the following part is asked for with, "" at the end of the list.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"`
}

// A Range says which part of a list is asked for: what follows After, which a [Page] gave as Next, at most Limit. Zero: the
// beginning, as many as the server likes.
type Range struct {
	After string
	Limit int
}

// An Account is a customer.
type Account struct {
	ID          int64        `json:"id"`
	Name        string       `json:"name"`
	Ref         string       `json:"ref"`
	Status      string       `json:"status"` // active, suspended
	Allowlist   []AllowEntry `json:"allowlist"`
	CreatedAt   time.Time    `json:"created_at"`
	SuspendedAt time.Time    `json:"suspended_at,omitzero"`
	Requests    string       `json:"requests,omitempty"` // its own limit, as 600/min
	Burst       int64        `json:"burst,omitempty"`
	Confirmed   *bool        `json:"confirmed,omitempty"`
}

// An AllowEntry is one line of an allowlist.
type AllowEntry struct {
	CIDR      string    `json:"cidr"`
	Note      string    `json:"note"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// An AccountQuery picks accounts.
type AccountQuery struct {
	Search string // in name and reference, or the number
	Ref    string // exactly this reference
	Status string // active, suspended
	Range
}

// A NewAccount is the body of POST /admin/v1/accounts.
type NewAccount struct {
	Name string `json:"name"`
	Ref  string `json:"ref,omitempty"`
}

// An AccountUpdate is the body of PATCH /admin/v1/accounts/{account}. What is nil stays; an empty reference is taken away.
type AccountUpdate struct {
	Name *string `json:"name,omitempty"`
	Ref  *string `json:"ref,omitempty"`
}

// A Suspension is the body of POST /admin/v1/accounts/{account}/suspend.
type Suspension struct {
	RevokeTokens bool `json:"revoke_tokens,omitempty"` // for good
}

// A RateLimit is the body of PUT /admin/v1/accounts/{account}/limit.
type RateLimit struct {
	Requests string `json:"requests"` // as 600/min; 0 takes the account's own limit away
	Burst    int64  `json:"burst,omitempty"`
}

// Deleted is the answer to the deletion of an account.
type Deleted struct {
	ID        int64  `json:"id"`
	Status    string `json:"status"` // deleted
	Confirmed *bool  `json:"confirmed,omitempty"`
}

// An Allowlist is an account's allowlist, as it is or, with DryRun, as it would be, and whom it lets in.
type Allowlist struct {
	Account   int64         `json:"account"`
	DryRun    bool          `json:"dry_run,omitempty"`
	Allowlist []AllowEntry  `json:"allowlist"`
	Addresses []SeenAddress `json:"addresses"` // where the account came from lately
	ShutOut   int           `json:"shut_out"`  // how many of them are not let in
	// Suggestions are entries that would let those in, the most used first; of a dry run.
	Suggestions []AllowSuggestion `json:"suggestions,omitempty"`
	Confirmed   *bool             `json:"confirmed,omitempty"`
}

// An AllowSuggestion is an entry that would let in somebody whom the list shuts out.
type AllowSuggestion struct {
	CIDR      string    `json:"cidr"`
	Addresses int       `json:"addresses"` // how many of those seen it would let in
	Count     int64     `json:"count"`     // how often they came, as far as it is known
	At        time.Time `json:"at"`        // when one of them came last
}

// A SeenAddress is where somebody of an account came from.
type SeenAddress struct {
	Address string    `json:"address"` // or, of IPv6, the /64
	Who     string    `json:"who"`
	At      time.Time `json:"at"`
	Count   int64     `json:"count"` // how often, as far as it is known
	Allowed bool      `json:"allowed"`
	Partly  bool      `json:"partly,omitempty"` // some of the /64 is allowed
}

// An Allowing is the body of POST /admin/v1/accounts/{account}/allowlist/add.
type Allowing struct {
	CIDRs     []string  `json:"cidrs"`
	Note      string    `json:"note,omitempty"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	DryRun    bool      `json:"dry_run,omitempty"`
}

// A Replacing is the body of PUT /admin/v1/accounts/{account}/allowlist: all entries that there are to be. When one was made is not
// theirs to say: it may be sent as it was read, and counts for nothing.
type Replacing struct {
	Allowlist     *[]AllowEntry `json:"allowlist"`
	AllowEveryone bool          `json:"allow_everyone,omitempty"` // by leaving none
	DryRun        bool          `json:"dry_run,omitempty"`
}

// A Disallowing is the body of POST /admin/v1/accounts/{account}/allowlist/remove.
type Disallowing struct {
	CIDRs         []string `json:"cidrs"`
	AllowEveryone bool     `json:"allow_everyone,omitempty"` // by taking the last one off
}

// A Credential is one way for an account to prove itself. Nothing in it is secret.
type Credential struct {
	ID         string    `json:"id"`
	Kind       string    `json:"kind"` // api-key, basic, login, oauth
	Account    int64     `json:"account"`
	Name       string    `json:"name"`
	Identifier string    `json:"identifier"` // what its holder sends beside the secret
	Status     string    `json:"status"`     // active, revoked, expired
	Scopes     []string  `json:"scopes"`
	CreatedAt  time.Time `json:"created_at"`
	ExpiresAt  time.Time `json:"expires_at,omitzero"`
	RevokedAt  time.Time `json:"revoked_at,omitzero"`
	Keys       []string  `json:"keys,omitempty"` // of a client that signs: kid, or thumbprint
	Secrets    []Secret  `json:"secrets"`
	Rotation   *Rotating `json:"rotation,omitempty"` // while two secrets are live
	Confirmed  *bool     `json:"confirmed,omitempty"`
}

// Rotating says what to do about the old secret of two.
type Rotating struct {
	Advice string `json:"advice"` // finish, wait, hurry
	Says   string `json:"says"`
}

// A Secret is what is known of one of a credential's secrets.
type Secret struct {
	Number    int       `json:"number"`
	Live      bool      `json:"live"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	LastUsed  time.Time `json:"last_used_at,omitzero"`
	From      string    `json:"last_used_from,omitempty"`
	UserAgent string    `json:"last_used_by,omitempty"`
	Uses      int64     `json:"uses"`
}

// A CredentialQuery picks credentials.
type CredentialQuery struct {
	Account int64
	Kind    string
	Search  string // in name and id
	Live    bool   // neither revoked nor expired
	Range
}

// A NewCredential is the body of POST /admin/v1/credentials.
type NewCredential struct {
	Account   int64           `json:"account"`
	Kind      string          `json:"kind"`
	Name      string          `json:"name,omitempty"`
	Scopes    []string        `json:"scopes,omitempty"`
	ExpiresAt time.Time       `json:"expires_at,omitzero"`
	JWKS      json.RawMessage `json:"jwks,omitempty"` // of an OAuth client that signs in place of a secret
}

// A CredentialUpdate is the body of PATCH /admin/v1/credentials/{credential}. What is not given stays.
type CredentialUpdate struct {
	Name      *string         `json:"name,omitempty"`
	Scopes    *[]string       `json:"scopes,omitempty"`
	ExpiresAt Moment          `json:"expires_at,omitzero"` // null: never
	JWKS      json.RawMessage `json:"jwks,omitempty"`      // null takes the keys away
}

// A Moment is a time that may be left out, or be null, which stands for never.
type Moment struct {
	Given bool
	At    time.Time // zero: never
}

// IsZero is for omitzero.
func (m Moment) IsZero() bool { return !m.Given }

// MarshalJSON implements json.Marshaler.
func (m Moment) MarshalJSON() ([]byte, error) {
	if m.At.IsZero() {
		return []byte("null"), nil
	}
	return json.Marshal(m.At)
}

// UnmarshalJSON implements json.Unmarshaler.
func (m *Moment) UnmarshalJSON(text []byte) error {
	*m = Moment{Given: true}
	return json.Unmarshal(text, &m.At) // null leaves it zero
}

// A Rotation is the body of POST /admin/v1/credentials/{credential}/rotate.
type Rotation struct {
	OldExpiresAt time.Time `json:"old_expires_at,omitzero"` // when the old secret ends; left out: in seven days
	EndSessions  bool      `json:"end_sessions,omitempty"`
}

// Issued is a credential just made, or with a new secret. Only one kind's fields are there, and they are told this one time; it
// prints as its id.
type Issued struct {
	ID           string    `json:"id"`
	Kind         string    `json:"kind"`
	Account      int64     `json:"account"`
	CreatedAt    time.Time `json:"created_at"`
	Key          string    `json:"key,omitempty"`
	UserID       string    `json:"user_id,omitempty"`
	Username     string    `json:"username,omitempty"`
	Password     string    `json:"password,omitempty"`
	ClientID     string    `json:"client_id,omitempty"`
	ClientSecret string    `json:"client_secret,omitempty"`
	OldExpiresAt time.Time `json:"old_expires_at,omitzero"` // of the secret before, when it was rotated
	Keys         []string  `json:"keys,omitempty"`          // of a client that signs, which has no secret
	Opens        string    `json:"opens_nothing,omitempty"` // the contract that it is for, where that is disabled
	Replayed     bool      `json:"replayed,omitempty"`      // it was made before under this Idempotency-Key: no secret is told again
	Confirmed    *bool     `json:"confirmed,omitempty"`
}

// String is its id.
func (i Issued) String() string { return i.ID }

// GoString is its id, for %#v.
func (i Issued) GoString() string { return i.ID }

// Public is i without what is told one time.
func (i Issued) Public() Issued {
	i.Key, i.UserID, i.Username, i.Password, i.ClientID, i.ClientSecret = "", "", "", "", "", ""
	return i
}

// A Text is the body of POST /admin/v1/credentials/find: an API key, user:password, or a user name.
type Text struct {
	Text string `json:"text"`
}

// Found says whose credential a text is.
type Found struct {
	Credential  Credential `json:"credential"`
	AccountName string     `json:"account_name,omitempty"`
	Secret      int        `json:"secret,omitempty"` // which of its secrets
	Good        bool       `json:"good"`
	Reason      string     `json:"reason,omitempty"`
}

// A Session is what a login started and refreshes carry on.
type Session struct {
	ID           string    `json:"id"`
	Account      int64     `json:"account"`
	Credential   string    `json:"credential"`
	Secret       int       `json:"secret"`
	Status       string    `json:"status"` // live, ended, expired, dead
	Refreshes    int64     `json:"refreshes"`
	Scopes       []string  `json:"scopes"`
	StartedAt    time.Time `json:"started_at"`
	RefreshedAt  time.Time `json:"refreshed_at"`
	ExpiresAt    time.Time `json:"expires_at"`
	EndedAt      time.Time `json:"ended_at,omitzero"`
	EndedBecause string    `json:"ended_because,omitempty"`
	Address      string    `json:"address,omitempty"`
	UserAgent    string    `json:"user_agent,omitempty"`
}

// A SessionQuery picks an account's sessions.
type SessionQuery struct {
	Account int64
	All     bool // those that are over too
	Range
}

// SessionRevoked is the answer to the end of a session.
type SessionRevoked struct {
	Session   string `json:"session"`
	Account   int64  `json:"account,omitempty"`
	Revoked   bool   `json:"revoked"`
	Expired   bool   `json:"expired,omitempty"` // the token by which it was ended had expired itself
	Confirmed *bool  `json:"confirmed,omitempty"`
}

// A SigningKey signs access or refresh tokens.
type SigningKey struct {
	ID        string    `json:"id"`
	Ring      string    `json:"ring"` // signing: access tokens; refresh
	Algorithm string    `json:"algorithm"`
	State     string    `json:"state"` // next, signing, kept, revoked
	CreatedAt time.Time `json:"created_at"`
	ActiveAt  time.Time `json:"active_at"`
	RevokedAt time.Time `json:"revoked_at,omitzero"`
	Confirmed *bool     `json:"confirmed,omitempty"`
}

// A Token is the body of POST /admin/v1/tokens/revoke and, with an address, of POST /admin/v1/tokens/inspect.
type Token struct {
	Token   string `json:"token"`
	Address string `json:"address,omitempty"` // of whom would present it; left out: allowlists are not looked at
}

// String hides the token.
func (Token) String() string { return "***" }

// GoString hides the token, for %#v.
func (Token) GoString() string { return "***" }

// An Inspection is what there is to know of a token. What is not authentic it says of itself, and anybody can write that.
type Inspection struct {
	Good           bool      `json:"good"`
	Reason         string    `json:"reason,omitempty"`
	Authentic      bool      `json:"authentic"`
	Unreadable     bool      `json:"unreadable,omitempty"`
	Refresh        bool      `json:"refresh"`
	Type           string    `json:"type,omitempty"`
	Account        string    `json:"account,omitempty"`
	AccountName    string    `json:"account_name,omitempty"`
	Credential     string    `json:"credential,omitempty"`
	CredentialKind string    `json:"credential_kind,omitempty"`
	CredentialName string    `json:"credential_name,omitempty"`
	Session        string    `json:"session,omitempty"`
	Scopes         []string  `json:"scopes"`
	Issuer         string    `json:"issuer,omitempty"`
	Audience       string    `json:"audience,omitempty"`
	Key            string    `json:"key,omitempty"`
	Algorithm      string    `json:"algorithm,omitempty"`
	IssuedAt       time.Time `json:"issued_at,omitzero"`
	PresentedAt    time.Time `json:"presented_at,omitzero"` // the credential, at the exchange or login
	ExpiresAt      time.Time `json:"expires_at,omitzero"`
	Checks         []Check   `json:"checks"`
}

// A Check is one thing that decides whether a token is good.
type Check struct {
	Check   string `json:"check"`
	Outcome string `json:"outcome"` // ok, fail, skipped
	Detail  string `json:"detail,omitempty"`
}

// A Refusal is a refused request, or equal ones of one second.
type Refusal struct {
	At         time.Time `json:"at"`
	RequestIDs []string  `json:"request_ids"`
	Count      int64     `json:"count"`
	Method     string    `json:"method"`
	Path       string    `json:"path"`
	Host       string    `json:"host,omitempty"`
	Route      string    `json:"route,omitempty"`
	Contract   string    `json:"contract,omitempty"`
	Status     int       `json:"status"`
	Reason     string    `json:"reason"`
	Account    int64     `json:"account,omitempty"`
	Credential string    `json:"credential,omitempty"`
	Secret     int       `json:"secret,omitempty"`
	Session    string    `json:"session,omitempty"`
	Type       string    `json:"type,omitempty"`
	Address    string    `json:"address,omitempty"`
	UserAgent  string    `json:"user_agent,omitempty"`
	Limit      string    `json:"limit,omitempty"`
}

// A RefusalQuery picks refusals.
type RefusalQuery struct {
	Account    int64
	Credential string
	Address    netip.Addr
	Since      time.Time
	Range
}

// An AuditEntry is one act of the audit trail.
type AuditEntry struct {
	Number     int64     `json:"number"`
	Seq        int64     `json:"seq,omitempty"` // its place in the chain that proves the trail; 0: none yet
	At         time.Time `json:"at"`
	Actor      string    `json:"actor"`
	Person     string    `json:"person,omitempty"` // the actor, if that is an operator or a member
	Action     string    `json:"action"`
	Account    int64     `json:"account,omitempty"`
	Credential string    `json:"credential,omitempty"`
	Secret     int       `json:"secret,omitempty"`
	Session    string    `json:"session,omitempty"`
	About      string    `json:"about,omitempty"` // the operator or member to whom it was done
	RequestID  string    `json:"request_id,omitempty"`
	Address    string    `json:"address,omitempty"`
	Detail     string    `json:"detail,omitempty"`
}

// An AuditQuery picks acts; what is zero picks all.
type AuditQuery struct {
	Account    int64
	Credential string
	Person     string // who acted, or to whom it was done
	Action     string
	Since      time.Time
	Until      time.Time
	Range
}

// A UsageRow counts what one credential did in one hour.
type UsageRow struct {
	Hour       time.Time `json:"hour"`
	Credential string    `json:"credential"`
	What       string    `json:"what"` // exchange, login, refresh, verify, …; refused: and a reason
	Count      int64     `json:"count"`
}

// A Person is an operator, or a member of an account.
type Person struct {
	ID         string    `json:"id"`
	Account    int64     `json:"account,omitempty"` // of a member
	Email      string    `json:"email"`
	Name       string    `json:"name"`
	Role       string    `json:"role"`  // owner, admin, viewer; of members owner, developer, viewer
	State      string    `json:"state"` // invited, active, removed
	SignsIn    []string  `json:"signs_in_with"`
	CreatedAt  time.Time `json:"created_at"`
	SignedInAt time.Time `json:"signed_in_at,omitzero"`
}

// A NewPerson is the body of POST /admin/v1/operators and of POST /admin/v1/accounts/{account}/members.
type NewPerson struct {
	Email string `json:"email"`
	Name  string `json:"name"`
	Role  string `json:"role"`
	// LinkExpiresAt is until when the link is good; left out: for a day.
	LinkExpiresAt time.Time `json:"link_expires_at,omitzero"`
}

// A NewLink is the body that asks for another link. It says until when that is good; left out: for a day.
type NewLink struct {
	LinkExpiresAt time.Time `json:"link_expires_at,omitzero"`
}

// An Invited person has a link that lets them in, which is told this one time; it prints as the person's id.
type Invited struct {
	Person
	Link          string    `json:"link,omitempty"`
	LinkExpiresAt time.Time `json:"link_expires_at"`
	Closed        bool      `json:"dashboard_disabled,omitempty"` // the link opens nothing
	Replayed      bool      `json:"replayed,omitempty"`           // they were invited before under this Idempotency-Key: the link is not told again
}

// String is the person's id.
func (i Invited) String() string { return i.ID }

// GoString is the person's id, for %#v.
func (i Invited) GoString() string { return i.ID }

// A NewRole is the body that gives a person another role.
type NewRole struct {
	Role string `json:"role"`
}

// An OperatorToken opens the admin API to a program. It prints as its id.
type OperatorToken struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Role      string    `json:"role"`
	Scopes    []string  `json:"scopes"`
	Status    string    `json:"status"` // active, revoked, expired
	CreatedAt time.Time `json:"created_at"`
	CreatedBy string    `json:"created_by"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	RevokedAt time.Time `json:"revoked_at,omitzero"`
	UsedAt    time.Time `json:"last_used_at,omitzero"`
	UsedFrom  string    `json:"last_used_from,omitempty"`
	Token     string    `json:"token,omitempty"`    // in the answer to the request that made it
	Replayed  bool      `json:"replayed,omitempty"` // it was made before under this Idempotency-Key: it is not told again
}

// String is the token's id.
func (t OperatorToken) String() string { return t.ID }

// GoString is the token's id, for %#v.
func (t OperatorToken) GoString() string { return t.ID }

// A NewOperatorToken is the body of POST /admin/v1/operator-tokens.
type NewOperatorToken struct {
	Name      string    `json:"name"`
	Role      string    `json:"role"`
	Scopes    []string  `json:"scopes"`
	ExpiresAt time.Time `json:"expires_at,omitzero"` // left out: never
}

// A Problem is every failure of the admin API (RFC 9457).
type Problem struct {
	Type     string `json:"type"`
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Detail   string `json:"detail"`
	Instance string `json:"instance"` // the request's id
	Code     string `json:"code"`
}

// A Webhook is who is told what happens, as the server's configuration has it. Of its URL the host is told: the rest may be all that
// protects it.
type Webhook struct {
	ID            string   `json:"id"`
	Host          string   `json:"host"`
	Events        []string `json:"events"` // none: all
	AllowInternal bool     `json:"allow_internal"`
}

// A WebhookTest is what came of a test message to a webhook.
type WebhookTest struct {
	Webhook      string `json:"webhook"` // its id
	Host         string `json:"host"`
	Message      string `json:"message"`   // the header webhook-id of the message
	Delivered    bool   `json:"delivered"` // it was answered with 200 to 299
	Status       int    `json:"status,omitempty"`
	Milliseconds int64  `json:"milliseconds"`
	Error        string `json:"error,omitempty"` // why it was not delivered
}
