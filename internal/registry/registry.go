// Package registry does what operators do, and members for their own account: accounts, allowlists, credentials, sessions,
// working keys, other people and tokens. Each method is permission, change and audit in one step, for the command line and every other way in alike. It leaves to gate what
// callers of the contracts do, to people how somebody signs in, and to the store what must be atomic.
//
// The invariants: nothing is read or changed by who may not, and nothing changed without an entry in the audit trail; a change that takes
// something away has been applied by every server that can reach the database before it is called done.
package registry

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/backup"
	"github.com/gatehouse/gatehouse/internal/token"
	"github.com/gatehouse/gatehouse/verify"
)

// Store keeps what operators look after. Every method is one transaction, with the act in the audit trail.
type Store interface {
	CreateAccount(ctx context.Context, name, ref string, act auth.Act) (auth.Account, error)
	Account(ctx context.Context, id auth.AccountID) (auth.Account, error)
	AccountByRef(ctx context.Context, ref string) (auth.Account, error)
	Accounts(ctx context.Context, q auth.AccountQuery) ([]auth.Account, error)
	RenameAccount(ctx context.Context, id auth.AccountID, name string, ref *string, act auth.Act) (auth.Revoked, error)
	SuspendAccount(ctx context.Context, id auth.AccountID, revokeTokens bool, act auth.Act) (auth.Revoked, error)
	ResumeAccount(ctx context.Context, id auth.AccountID, act auth.Act) (auth.Revoked, error)
	DeleteAccount(ctx context.Context, id auth.AccountID, act auth.Act) (auth.Revoked, error)
	LimitAccount(ctx context.Context, id auth.AccountID, rate auth.Rate, act auth.Act) (auth.Revoked, error)
	AllowIP(ctx context.Context, id auth.AccountID, entries []auth.AllowEntry, act auth.Act) (auth.Revoked, error)
	ReplaceAllowlist(ctx context.Context, id auth.AccountID, entries []auth.AllowEntry, was string, terms auth.Terms, acts []auth.Act) (auth.Revoked, error)
	Seen(ctx context.Context, account auth.AccountID, since time.Time) ([]auth.Sighting, error)
	RemoveIP(ctx context.Context, id auth.AccountID, prefixes []netip.Prefix, allowEveryone bool, act auth.Act) (auth.Revoked, error)

	CreateCredential(ctx context.Context, c auth.Credential, act auth.Act) error
	Credential(ctx context.Context, id auth.CredentialID) (auth.Credential, error)
	Credentials(ctx context.Context, q auth.CredentialQuery) ([]auth.Credential, error)
	Ending(ctx context.Context, q auth.EndingQuery) ([]auth.Credential, error)
	UpdateCredential(ctx context.Context, id auth.CredentialID, u auth.CredentialUpdate, act auth.Act) (auth.Revoked, error)
	RevokeCredential(ctx context.Context, id auth.CredentialID, act auth.Act) (auth.Revoked, error)
	RotateSecret(ctx context.Context, id auth.CredentialID, digest []byte, pepper auth.KeyID, oldExpires time.Time, endSessions bool, act auth.Act) (auth.Secret, auth.Revoked, error)
	FinishRotation(ctx context.Context, id auth.CredentialID, act auth.Act) (auth.Revoked, error)
	UndoRotation(ctx context.Context, id auth.CredentialID, act auth.Act) (auth.Revoked, error)

	Session(ctx context.Context, id auth.SessionID) (auth.Session, error)
	Sessions(ctx context.Context, q auth.SessionQuery) ([]auth.Session, error)
	RevokeSession(ctx context.Context, id auth.SessionID, account auth.AccountID, until time.Time, because string, act auth.Act) (auth.Revoked, error)

	// Audit returns the acts that fit, the newest first.
	Audit(ctx context.Context, q auth.AuditQuery) ([]auth.AuditEntry, error)
	// ExportAudit tells the whole trail as of one moment.
	ExportAudit(ctx context.Context, to backup.Trail) error

	RevokeKey(ctx context.Context, id auth.KeyID, successor *auth.KeyRow, act auth.Act) (auth.Revoked, error)

	Refusals(ctx context.Context, f auth.RefusalFilter) ([]auth.Refusal, error)
	RefusalReasons(ctx context.Context, account auth.AccountID, since time.Time, most int) (found map[auth.Reason]int64, all bool, err error)
	Usage(ctx context.Context, q auth.UsageQuery) ([]auth.UsageRow, error)

	peopleStore

	// Note writes down an act that changed nothing.
	Note(ctx context.Context, act auth.Act, about auth.Subject) error
}

// Config says what the registry works on.
type Config struct {
	Store       Store
	Rings       *token.Rings
	Environment auth.Environment
	KeyPrefix   string // "gk"
	// Acknowledge waits until every server has applied the position, and says whether all did.
	Acknowledge func(ctx context.Context, to auth.Position) bool
	// Recent returns the refusals of the last hour that a running server has in memory; nil: there are none.
	Recent func(ctx context.Context, f auth.RefusalFilter) []auth.Refusal
	Now    func() time.Time // nil means time.Now
}

// Registry is safe for concurrent use.
type Registry struct {
	config Config
	store  Store
	now    func() time.Time
	terms  auth.Terms
}

// New returns a Registry.
func New(c Config) (*Registry, error) {
	if c.Store == nil || c.Rings == nil || c.Acknowledge == nil || c.KeyPrefix == "" {
		return nil, errors.New("registry: store, rings, acknowledge and the prefix of keys are all needed")
	}
	r := &Registry{config: c, store: c.Store, now: c.Now}
	if r.now == nil {
		r.now = time.Now
	}
	return r, nil
}

// On returns a registry whose acts are done on these terms, and which is the same otherwise.
func (r *Registry) On(terms auth.Terms) *Registry {
	on := *r
	on.terms = terms
	return &on
}

// Done says how far a change has come.
type Done struct {
	Position  auth.Position
	Confirmed bool // every server that can reach the database has applied it
}

// done waits until a change is known everywhere.
func (r *Registry) done(ctx context.Context, what auth.Revoked, err error) (Done, error) {
	if err != nil {
		return Done{}, err
	}
	return Done{Position: what.Position, Confirmed: r.config.Acknowledge(ctx, what.Position)}, nil
}

// CreateAccount makes an active account. The reference is the operator's own and unique; "" for none.
func (r *Registry) CreateAccount(ctx context.Context, actor auth.Actor, name, ref string) (auth.Account, error) {
	if err := checkName(name); err != nil {
		return auth.Account{}, err
	}
	if err := checkRef(ref); err != nil {
		return auth.Account{}, err
	}
	act, err := r.permit(ctx, actor, CreateAccount, auth.Subject{}, name)
	if err != nil {
		return auth.Account{}, err
	}
	act.Makes = func(about auth.Subject, at time.Time) any {
		return auth.Account{ID: about.Account, Name: name, Ref: ref, CreatedAt: at}
	}
	return r.store.CreateAccount(ctx, name, ref, act)
}

// checkName accepts 1 to 200 bytes of text without control characters.
func checkName(name string) error {
	if name == "" || len(name) > 200 || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return auth.ErrInvalid.Saying("a name is 1 to 200 bytes of text without control characters")
	}
	return nil
}

// checkNote accepts no note, or what a name could be.
func checkNote(note string) error {
	if note != "" && checkName(note) != nil {
		return auth.ErrInvalid.Saying("a note is up to 200 bytes of text without control characters")
	}
	return nil
}

// checkRef accepts what can travel in a header: up to 128 bytes of visible ASCII.
func checkRef(ref string) error {
	for i := range len(ref) {
		if ref[i] <= ' ' || ref[i] > '~' {
			return auth.ErrInvalid.Saying("a reference is up to 128 visible ASCII characters without spaces")
		}
	}
	if len(ref) > 128 {
		return auth.ErrInvalid.Saying("a reference is up to 128 visible ASCII characters without spaces")
	}
	return nil
}

// Account finds an account by its number or, as "ref:…", by the operator's reference.
func (r *Registry) Account(ctx context.Context, actor auth.Actor, id string) (auth.Account, error) {
	found, unknown, err := r.account(ctx, id)
	if err == nil {
		err = r.see(ctx, actor, ReadAccounts, auth.Subject{Account: found.ID})
	} else if not := May(actor, ReadAccounts, actor.Account, r.now()); not != nil {
		err = not
	}
	if err != nil {
		return auth.Account{}, named(err, unknown)
	}
	return found, nil
}

// account finds an account, or says what to tell of one that is not there.
func (r *Registry) account(ctx context.Context, id string) (found auth.Account, unknown string, err error) {
	if ref, ok := strings.CutPrefix(id, "ref:"); ok {
		found, err = r.store.AccountByRef(ctx, ref)
		return found, "there is no account with the reference " + strconv.QuoteToASCII(ref), err
	}
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil || n <= 0 {
		return auth.Account{}, "", auth.ErrInvalid.Saying("an account is named by its number, as 100001, or by your reference, as ref:C-4711; not " + strconv.QuoteToASCII(id))
	}
	found, err = r.store.Account(ctx, auth.AccountID(n))
	return found, "there is no account " + strconv.FormatInt(n, 10) + ": gatehouse account list shows them all", err
}

// named says what was not found.
func named(err error, msg string) error {
	if errors.Is(err, auth.ErrNotFound) {
		return auth.ErrNotFound.Saying(msg)
	}
	return err
}

// RenameAccount changes the name and, unless ref is nil, the operator's reference.
func (r *Registry) RenameAccount(ctx context.Context, actor auth.Actor, id auth.AccountID, name string, ref *string) (Done, error) {
	if err := checkName(name); err != nil {
		return Done{}, err
	}
	if ref != nil {
		if err := checkRef(*ref); err != nil {
			return Done{}, err
		}
	}
	act, err := r.permit(ctx, actor, RenameAccount, auth.Subject{Account: id}, name)
	if err != nil {
		return Done{}, err
	}
	what, err := r.store.RenameAccount(ctx, id, name, ref, act)
	return r.done(ctx, what, err)
}

// SuspendAccount refuses everything of the account at once: credentials, tokens out, sessions. [Registry.ResumeAccount] gives
// back what has not expired, unless revokeTokens kills it for good.
func (r *Registry) SuspendAccount(ctx context.Context, actor auth.Actor, id auth.AccountID, revokeTokens bool) (Done, error) {
	detail := ""
	if revokeTokens {
		detail = "tokens and sessions revoked"
	}
	act, err := r.permit(ctx, actor, Suspend, auth.Subject{Account: id}, detail)
	if err != nil {
		return Done{}, err
	}
	what, err := r.store.SuspendAccount(ctx, id, revokeTokens, act)
	return r.done(ctx, what, err)
}

// ResumeAccount ends a suspension.
func (r *Registry) ResumeAccount(ctx context.Context, actor auth.Actor, id auth.AccountID) (Done, error) {
	act, err := r.permit(ctx, actor, Resume, auth.Subject{Account: id}, "")
	if err != nil {
		return Done{}, err
	}
	what, err := r.store.ResumeAccount(ctx, id, act)
	return r.done(ctx, what, err)
}

// DeleteAccount ends everything of the account for good. Its number is never used again.
func (r *Registry) DeleteAccount(ctx context.Context, actor auth.Actor, id auth.AccountID) (Done, error) {
	act, err := r.permit(ctx, actor, DeleteAccount, auth.Subject{Account: id}, "")
	if err != nil {
		return Done{}, err
	}
	what, err := r.store.DeleteAccount(ctx, id, act)
	return r.done(ctx, what, err)
}

// LimitAccount gives the account its own limit on calls through routes; the zero rate takes it back to the configured one.
func (r *Registry) LimitAccount(ctx context.Context, actor auth.Actor, id auth.AccountID, rate auth.Rate) (Done, error) {
	act, err := r.permit(ctx, actor, LimitAccount, auth.Subject{Account: id}, auth.LimitDetail(rate))
	if err != nil {
		return Done{}, err
	}
	what, err := r.store.LimitAccount(ctx, id, rate, act)
	return r.done(ctx, what, err)
}

// AllowIP adds entries to the account's allowlist; one that is there already gets the new note and expiry. With the first
// entry every other address is shut out, tokens already out included.
func (r *Registry) AllowIP(ctx context.Context, actor auth.Actor, id auth.AccountID, prefixes []netip.Prefix, note string, expires time.Time) (Done, error) {
	if err := checkNote(note); err != nil {
		return Done{}, err
	}
	if !expires.IsZero() && !expires.After(r.now()) {
		return Done{}, auth.ErrInvalid.Saying("the entry would have expired already")
	}
	act, err := r.permit(ctx, actor, AllowIP, auth.Subject{Account: id}, auth.AllowDetail(prefixes, expires))
	if err != nil {
		return Done{}, err
	}
	var entries []auth.AllowEntry
	for _, p := range prefixes {
		entries = append(entries, auth.AllowEntry{Prefix: p, Note: note, CreatedAt: r.now(), ExpiresAt: expires})
	}
	what, err := r.store.AllowIP(ctx, id, entries, act)
	return r.done(ctx, what, err)
}

// RemoveIP takes entries off the account's allowlist. Without the last one every address may come in, so that wants
// allowEveryone.
func (r *Registry) RemoveIP(ctx context.Context, actor auth.Actor, id auth.AccountID, prefixes []netip.Prefix, allowEveryone bool) (Done, error) {
	act, err := r.permit(ctx, actor, RemoveIP, auth.Subject{Account: id}, auth.RemoveDetail(prefixes))
	if err != nil {
		return Done{}, err
	}
	what, err := r.store.RemoveIP(ctx, id, prefixes, allowEveryone, act)
	return r.done(ctx, what, err)
}

// RevokeSession ends a session and every token that came of it. For the session of an exchange, which has no row, the account
// must be known; 0 looks the session up. A member ends those that have a row: which account another one is of, nobody can say.
func (r *Registry) RevokeSession(ctx context.Context, actor auth.Actor, id auth.SessionID, account auth.AccountID) (Done, error) {
	if actor.Role == "" {
		return Done{}, May(actor, RevokeSession, account, r.now())
	}
	if account == 0 || !actor.Operator() {
		s, err := r.store.Session(ctx, id)
		if err != nil {
			return Done{}, named(err, noSession(id))
		}
		account = s.Account
	}
	act, err := r.permit(ctx, actor, RevokeSession, auth.Subject{Account: account, Session: id}, "")
	if err != nil {
		return Done{}, named(err, noSession(id))
	}
	end := r.now().Add(r.config.Rings.Longest() + 2*verify.Leeway)
	what, err := r.store.RevokeSession(ctx, id, account, end, act.Action, act)
	return r.done(ctx, what, err)
}

func noSession(id auth.SessionID) string {
	return "there is no session " + strconv.QuoteToASCII(string(id)) + ": gatehouse session list --account ID shows an account's; gatehouse token revoke - revokes by a token"
}
