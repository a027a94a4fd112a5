// Package facts is what a replica knows by heart: the exceptions in full, and a bounded cache of credentials. It is the only
// room that caches rows. What changed it hears from changes; what it decides on, gate asks it for.
//
// The invariants: the exceptions are complete, as of the position they were read at or a later one, and never evicted; what
// is not among them has the defaults. The cache holds rows, never decisions, and no row that was read before a change it
// names and stored after it.
package facts

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/limit"
	"github.com/gatehouse/gatehouse/verify"
	"github.com/maypok86/otter/v2"
)

// Store is where facts are read.
type Store interface {
	// Exceptions reads all of them in one transaction; of what was restricted or revoked, what is younger than since.
	Exceptions(ctx context.Context, since time.Time) (auth.Exceptions, error)
	// ExceptionsOf reads these accounts and credentials as they are now, exceptions or not.
	ExceptionsOf(ctx context.Context, accounts []auth.AccountID, credentials []auth.CredentialID) (auth.Exceptions, error)
	// Holder is the one read of an exchange. What does not exist is [auth.ErrNotFound].
	Holder(ctx context.Context, kind auth.Kind, id auth.CredentialID) (auth.Holder, error)
}

// Config says what the facts are kept in.
type Config struct {
	Store Store
	Cache int                  // how many credentials to keep; 0: none
	Keep  func() time.Duration // how long a revocation must be remembered
	Fresh func() error         // an error when what is known may be too old to decide on; nil means always fresh
	Now   func() time.Time     // nil means time.Now
}

// Facts answers from memory and is safe for concurrent use.
type Facts struct {
	config Config
	now    func() time.Time

	mu          sync.RWMutex
	incarnation string
	at          auth.Position // what follows is of this position
	accounts    map[auth.AccountID]*account
	credentials map[auth.CredentialID]*credential
	sessions    map[auth.SessionID]time.Time // revoked, until when to remember

	cacheMu sync.Mutex    // held by whoever stores into the cache and by whoever invalidates
	changed atomic.Uint64 // counts invalidations
	cache   *otter.Cache[auth.CredentialID, *auth.Holder]

	hits, misses atomic.Uint64
}

// account is what is not as usual about an account.
type account struct {
	suspended bool
	deadBelow [4]auth.Position
	allowlist limit.Allowlist
	requests  auth.Rate
	ref       string
	until     time.Time // when deadBelow need not be known any more
}

// credential is what was taken from a credential lately.
type credential struct {
	revoked   bool
	expires   time.Time
	deadBelow auth.Position
	narrowed  bool
	scope     string
	until     time.Time // when no token from before can live any more
}

// New returns Facts that know nothing yet: [Facts.Load] fills them.
func New(c Config) (*Facts, error) {
	if c.Store == nil || c.Keep == nil {
		return nil, errors.New("facts: a store and how long to keep revocations are both needed")
	}
	f := &Facts{config: c, now: c.Now}
	if f.now == nil {
		f.now = time.Now
	}
	if c.Cache > 0 {
		cache, err := otter.New(&otter.Options[auth.CredentialID, *auth.Holder]{MaximumSize: c.Cache})
		if err != nil {
			return nil, fmt.Errorf("make the cache of credentials: %w", err)
		}
		f.cache = cache
	}
	return f, nil
}

// Load reads everything anew and returns the position that the facts are of. Revocations known before are kept until they run
// out: a database that was restored, or whose standby took over too soon, may have forgotten them. Those by position are not
// carried into another incarnation, which counts anew: no key of before signs there.
func (f *Facts) Load(ctx context.Context) (incarnation string, at auth.Position, err error) {
	now := f.now()
	all, err := f.config.Store.Exceptions(ctx, now.Add(-f.config.Keep()))
	if err != nil {
		return "", 0, fmt.Errorf("read the exceptions: %w", err)
	}
	accounts := make(map[auth.AccountID]*account, len(all.Accounts))
	for _, a := range all.Accounts {
		accounts[a.ID] = f.newAccount(a)
	}
	credentials := make(map[auth.CredentialID]*credential, len(all.Credentials))
	for _, c := range all.Credentials {
		credentials[c.ID] = f.newCredential(c)
	}
	sessions := make(map[auth.SessionID]time.Time, len(all.Sessions))
	for _, s := range all.Sessions {
		sessions[s.ID] = s.Until
	}
	f.mu.Lock()
	for id, until := range f.sessions {
		if until.After(now) {
			sessions[id] = until
		}
	}
	if f.incarnation == all.Incarnation {
		for id, known := range f.accounts {
			if a := accounts[id].keep(known, now); a != nil {
				accounts[id] = a
			}
		}
		for id, known := range f.credentials {
			if c := credentials[id].keep(known, now); c != nil {
				credentials[id] = c
			}
		}
	}
	f.incarnation, f.at = all.Incarnation, all.Position
	f.accounts, f.credentials, f.sessions = accounts, credentials, sessions
	f.mu.Unlock()
	f.forget(func() { f.cache.InvalidateAll() })
	return all.Incarnation, all.Position, nil
}

// keep adds to an account as it was read, nil if it was not, the deaths that were known before: nothing takes one back. A
// database whose standby took over too soon may have forgotten them.
func (a *account) keep(known *account, now time.Time) *account {
	if known == nil || known.deadBelow == [4]auth.Position{} || !known.until.After(now) {
		return a
	}
	if a == nil {
		a = new(account)
	}
	for i, below := range known.deadBelow {
		if below > a.deadBelow[i] {
			a.deadBelow[i], a.until = below, later(a.until, known.until)
		}
	}
	return a
}

// keep is that of a credential.
func (c *credential) keep(known *credential, now time.Time) *credential {
	if known == nil || !known.revoked && known.deadBelow == 0 || !known.until.After(now) {
		return c
	}
	if c == nil {
		c = new(credential)
	}
	if known.revoked && !c.revoked || known.deadBelow > c.deadBelow {
		c.revoked, c.deadBelow = c.revoked || known.revoked, max(c.deadBelow, known.deadBelow)
		c.until = later(c.until, known.until)
	}
	return c
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Apply takes over what changed. When it returns nil, whatever is decided from then on is decided on the new facts.
func (f *Facts) Apply(ctx context.Context, changes []auth.Change) error {
	var accounts []auth.AccountID
	var credentials []auth.CredentialID
	for _, c := range changes {
		switch c.Of {
		case auth.ChangedAccount:
			accounts = append(accounts, c.Account)
		case auth.ChangedCredential:
			credentials = append(credentials, c.Credential)
		case auth.ChangedSession, auth.ChangedKeys: // the first is in the change itself, the second the rings' affair
		}
	}
	var now auth.Exceptions
	if len(accounts)+len(credentials) > 0 {
		var err error
		if now, err = f.config.Store.ExceptionsOf(ctx, accounts, credentials); err != nil {
			return fmt.Errorf("read what changed: %w", err)
		}
	}
	at := f.now()
	f.mu.Lock()
	read := make(map[auth.AccountID]*account, len(now.Accounts))
	for _, a := range now.Accounts {
		read[a.ID] = f.newAccount(a)
	}
	for _, id := range accounts {
		if a := read[id].keep(f.accounts[id], at); a != nil {
			f.accounts[id] = a
		} else {
			delete(f.accounts, id)
		}
	}
	for _, c := range now.Credentials {
		f.credentials[c.ID] = f.newCredential(c).keep(f.credentials[c.ID], at)
	}
	for _, c := range changes {
		if c.Of == auth.ChangedSession {
			f.sessions[c.Session] = c.Until
		}
		f.at = c.Number
	}
	f.mu.Unlock()
	if len(credentials) > 0 {
		f.forget(func() {
			for _, id := range credentials {
				f.cache.Invalidate(id)
			}
		})
	}
	return nil
}

func (f *Facts) newAccount(a auth.Account) *account {
	return &account{
		suspended: a.Suspended(), deadBelow: a.DeadBelow, allowlist: limit.NewAllowlist(a.Allowlist),
		requests: a.Requests, ref: a.Ref, until: a.RestrictedAt.Add(f.config.Keep()),
	}
}

func (f *Facts) newCredential(c auth.Credential) *credential {
	return &credential{
		revoked: !c.RevokedAt.IsZero(), expires: c.ExpiresAt, deadBelow: c.DeadBelow,
		narrowed: !c.NarrowedAt.IsZero(), scope: auth.TokenScope(c.Scope), until: c.RestrictedAt.Add(f.config.Keep()),
	}
}

// forget takes rows out of the cache. Whoever read a row before this cannot store it after.
func (f *Facts) forget(invalidate func()) {
	if f.cache == nil {
		return
	}
	f.cacheMu.Lock()
	defer f.cacheMu.Unlock()
	f.changed.Add(1)
	invalidate()
}

// Cached returns the credential if it is in memory. The row is as it was stored; what changed since is told by the other
// methods.
func (f *Facts) Cached(kind auth.Kind, id auth.CredentialID) (*auth.Holder, bool) {
	if f.cache == nil {
		return nil, false
	}
	h, ok := f.cache.GetIfPresent(id)
	if !ok || h.Kind != kind {
		f.misses.Add(1)
		return nil, false
	}
	f.hits.Add(1)
	return h, true
}

// Read reads the credential from the store: always by the one statement, found or not, so that every failure costs the same.
// The keep that comes with it stores the row, for whoever found it good; it does nothing once a change overtook the read.
func (f *Facts) Read(ctx context.Context, kind auth.Kind, id auth.CredentialID) (h *auth.Holder, keep func(), err error) {
	before := f.changed.Load()
	row, err := f.config.Store.Holder(ctx, kind, id)
	if err != nil {
		return nil, nil, err
	}
	if row.ID != id || row.Kind != kind { // another's answer must never pass for this one's
		return nil, nil, fmt.Errorf("asked for %s %s, the store answered %s %s", kind, id, row.Kind, row.ID)
	}
	return &row, func() {
		if f.cache == nil {
			return
		}
		f.cacheMu.Lock()
		defer f.cacheMu.Unlock()
		if f.changed.Load() == before {
			f.cache.Set(row.ID, &row) // not id: it may be cut from a key, which would stay in memory with it
		}
	}, nil
}

// CacheStats tells how often [Facts.Cached] found its row, how often not, and how many rows there are.
func (f *Facts) CacheStats() (hits, misses uint64, size int) {
	if f.cache != nil {
		size = f.cache.EstimatedSize()
	}
	return f.hits.Load(), f.misses.Load(), size
}

// Fresh is an error when what is known may be too old to decide on.
func (f *Facts) Fresh() error {
	if f.config.Fresh == nil {
		return nil
	}
	return f.config.Fresh()
}

// Standing implements [verify.Revocations].
func (f *Facts) Standing(c *verify.Claims) (verify.Standing, error) {
	s := f.standing(c)
	// Last: a process that stood still between the two, for an hour maybe, would else answer as of before.
	if err := f.Fresh(); err != nil {
		return verify.Standing{}, err
	}
	return s, nil
}

func (f *Facts) standing(c *verify.Claims) verify.Standing {
	pos := auth.Position(c.Position)
	contract := auth.ContractOf(c.Type).Index()
	f.mu.RLock()
	defer f.mu.RUnlock()
	if a := f.accounts[auth.AccountID(c.Account)]; a != nil && (a.suspended || pos < a.deadBelow[contract]) {
		return verify.Standing{Revoked: true}
	}
	if len(f.sessions) > 0 {
		if _, revoked := f.sessions[auth.SessionID(c.Session)]; revoked {
			return verify.Standing{Revoked: true}
		}
	}
	if len(f.credentials) > 0 {
		if k := f.credentials[auth.CredentialID(c.Credential)]; k != nil {
			if k.revoked || pos < k.deadBelow || !k.expires.IsZero() && !f.now().Before(k.expires) {
				return verify.Standing{Revoked: true}
			}
			return verify.Standing{Narrowed: k.narrowed, Scope: k.scope}
		}
	}
	return verify.Standing{}
}

// Suspended says whether the account is suspended.
func (f *Facts) Suspended(id auth.AccountID) bool {
	a := f.account(id)
	return a != nil && a.suspended
}

// Allows says whether the account lets the address in now.
func (f *Facts) Allows(id auth.AccountID, address netip.Addr) bool {
	a := f.account(id)
	return a == nil || a.allowlist.Allows(address, f.now())
}

// Requests is the account's own limit on calls through routes, if it has one.
func (f *Facts) Requests(id auth.AccountID) (auth.Rate, bool) {
	a := f.account(id)
	if a == nil || a.requests.None() {
		return auth.Rate{}, false
	}
	return a.requests, true
}

func (f *Facts) account(id auth.AccountID) *account {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.accounts[id]
}

// sweepEvery is how often [Facts.Run] looks for what nobody need remember any more.
const sweepEvery = time.Minute

// Run forgets what is over until ctx ends.
func (f *Facts) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			f.Sweep()
		}
	}
}

// Sweep forgets the revocations whose last token is dead.
func (f *Facts) Sweep() {
	now := f.now()
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, until := range f.sessions {
		if now.After(until) {
			delete(f.sessions, id)
		}
	}
	for id, c := range f.credentials {
		if now.After(c.until) {
			delete(f.credentials, id)
		}
	}
}

// Ref is the operator's own reference of the account, "" if it has none.
func (f *Facts) Ref(id auth.AccountID) string {
	if a := f.account(id); a != nil {
		return a.ref
	}
	return ""
}
