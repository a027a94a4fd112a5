// Package token keeps the rings of working keys and mints our tokens: it signs access tokens with one ring and refresh
// tokens with another, digests secrets with the peppers, rotates the rings by themselves, and publishes the key set. It
// leaves the judging of access tokens to verify and every decision to gate.
//
// The invariants: at any time at most one key of a ring signs; no token is signed by a key that was not published before,
// but for the first of a ring and the successor of one that leaked; a key is kept until the last token that it signed is
// dead; what parses refresh tokens sees no other ring.
package token

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/secret"
	"github.com/gatehouse/gatehouse/verify"
)

// Store keeps the sealed working keys and the lifetimes.
type Store interface {
	Keys(ctx context.Context) ([]auth.KeyRow, error)
	// AddKey adds a key, unless another than after is the youngest unrevoked one of its ring by now: then it is
	// [auth.ErrConflict].
	AddKey(ctx context.Context, row auth.KeyRow, after auth.KeyID, act auth.Act) error
	DeleteKeys(ctx context.Context, ids []auth.KeyID) error
	Lifetimes(ctx context.Context) ([]auth.Lifetime, error)
	// SetLifetime returns the position under which replicas hear of a longer one, 0 if there was nothing for them to hear.
	SetLifetime(ctx context.Context, l auth.Lifetime) (auth.Position, error)
}

// Config says how the rings work.
type Config struct {
	Store        Store
	Masters      secret.Masters
	Algorithm    verify.Algorithm         // of new signing keys
	Issuer       string                   // iss of what is minted
	Audience     string                   // aud of access tokens
	RotateEvery  time.Duration            // 0: never
	PublishAhead time.Duration            // how long a key is published before it signs
	Lifetimes    map[string]time.Duration // by token type, as configured now; with [RefreshType]
	Now          func() time.Time
	Log          *slog.Logger // nil: none
}

// Rings are the working keys, unsealed. They answer from memory and are safe for concurrent use; [Rings.Load] reads them
// anew whenever the change log says so.
type Rings struct {
	config  Config
	now     func() time.Time
	state   atomic.Pointer[state]
	loading sync.Mutex
	longest atomic.Pointer[map[string]time.Duration]

	keeping   sync.Mutex               // held while lifetimes are recorded; for what follows
	lifetimes map[string]time.Duration // those of config, or what SetLifetimes put in their place
	raised    auth.Position            // the last that replicas hear of a longer one under
}

// A state is what one reading of the store gave. It never changes.
type state struct {
	rows    []auth.KeyRow
	signing []*signer // unrevoked, youngest first
	refresh []*signer
	byHead  map[string]*verify.Key // the signing ring alone
	refHead map[string]*verify.Key // the refresh ring alone
	peppers map[auth.KeyID]*secret.MAC
	pepper  *secret.MAC
	derived *secret.MAC
	jwks    []byte
}

// New returns empty rings: [Rings.Load] fills them.
func New(c Config) (*Rings, error) {
	if c.Store == nil || c.Issuer == "" || c.Audience == "" || c.Masters.Current == nil {
		return nil, errors.New("token: store, master key, issuer and audience are all needed")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	r := &Rings{config: c, now: c.Now, lifetimes: c.Lifetimes}
	if r.now == nil {
		r.now = time.Now
	}
	r.longest.Store(&map[string]time.Duration{})
	return r, nil
}

// NewKeys makes the first keys of a database, one of each ring, sealed and active at once.
func NewKeys(m secret.Masters, algorithm verify.Algorithm, now time.Time) ([]auth.KeyRow, error) {
	var rows []auth.KeyRow
	for _, ring := range []auth.Ring{auth.SigningRing, auth.RefreshRing, auth.PepperRing, auth.DerivedRing} {
		row, err := newKey(m, ring, algorithm, now, now)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// newKey draws and seals a key.
func newKey(m secret.Masters, ring auth.Ring, algorithm verify.Algorithm, now, active time.Time) (auth.KeyRow, error) {
	if ring != auth.SigningRing {
		algorithm = verify.HS256
	}
	row := auth.KeyRow{
		ID: secret.NewKeyID(), Ring: ring, Algorithm: string(algorithm), MasterKey: m.Current.ID,
		CreatedAt: now, ActiveAt: active,
	}
	material, err := generate(algorithm)
	if err != nil {
		return auth.KeyRow{}, err
	}
	row.Sealed = m.Current.Seal(secret.Labelled(row.Seal()), material)
	return row, nil
}

// Load reads all keys and unseals them. Every key must open: one that does not is an error, and the rings stay as they were.
func (r *Rings) Load(ctx context.Context) error {
	r.loading.Lock() // or an older reading could replace a younger one
	defer r.loading.Unlock()
	rows, err := r.config.Store.Keys(ctx)
	if err != nil {
		return fmt.Errorf("read the working keys: %w", err)
	}
	next := &state{
		rows:   rows,
		byHead: make(map[string]*verify.Key), refHead: make(map[string]*verify.Key),
		peppers: make(map[auth.KeyID]*secret.MAC),
	}
	old := r.state.Load()
	for _, row := range rows {
		if !row.RevokedAt.IsZero() {
			continue
		}
		if err := next.add(r.config.Masters, row, old); err != nil {
			return err
		}
	}
	for _, ring := range [][]*signer{next.signing, next.refresh} {
		slices.SortFunc(ring, func(a, b *signer) int {
			return cmp.Or(b.active.Compare(a.active), cmp.Compare(b.id, a.id))
		})
	}
	if len(next.signing) == 0 || len(next.refresh) == 0 || next.pepper == nil || next.derived == nil {
		return errors.New("the database lacks working keys: gatehouse doctor tells which")
	}
	if next.jwks, err = keySet(next.signing); err != nil {
		return err
	}
	r.state.Store(next)
	return nil
}

// add unseals one key into its ring. A key that was there before is taken over as it was, so that whoever remembers the
// pointer still finds it.
func (s *state) add(m secret.Masters, row auth.KeyRow, old *state) error {
	material, err := m.OpenSealed(row.Seal())
	if err != nil {
		return err
	}
	if old != nil {
		for _, before := range append(slices.Clone(old.signing), old.refresh...) {
			if before.id == row.ID {
				s.put(row, before)
				return nil
			}
		}
	}
	switch row.Ring {
	case auth.PepperRing, auth.DerivedRing:
		mac := secret.NewMAC(row.ID, material)
		if row.Ring == auth.DerivedRing {
			s.derived = mac
		} else {
			s.peppers[row.ID] = mac
			s.pepper = mac // rows come oldest first
		}
	case auth.SigningRing, auth.RefreshRing:
		sig, err := newSigner(row, material)
		if err != nil {
			return err
		}
		s.put(row, sig)
	default:
		return fmt.Errorf("key %s is of the ring %q, which this version does not know", row.ID, row.Ring)
	}
	return nil
}

func (s *state) put(row auth.KeyRow, sig *signer) {
	if sig.active != row.ActiveAt {
		moved := *sig
		moved.active = row.ActiveAt
		sig = &moved
	}
	if row.Ring == auth.SigningRing {
		s.signing = append(s.signing, sig)
		s.byHead[sig.key.Header()] = sig.key
	} else {
		s.refresh = append(s.refresh, sig)
		s.refHead[sig.key.Header()] = sig.key
	}
}

// Key implements [verify.Keys] for access tokens.
func (r *Rings) Key(header string) (*verify.Key, bool) {
	k, ok := r.state.Load().byHead[header]
	return k, ok
}

// JWKS is the key set (RFC 7517): the public keys that sign or will sign or have signed what may still be alive. Keys of
// HS256 are in no key set, nor is anything of the refresh ring.
func (r *Rings) JWKS() []byte { return r.state.Load().jwks }

// Pepper is the key that new secrets are digested with.
func (r *Rings) Pepper() *secret.MAC { return r.state.Load().pepper }

// PepperOf finds the key that a stored digest was made with.
func (r *Rings) PepperOf(id auth.KeyID) (*secret.MAC, bool) {
	m, ok := r.state.Load().peppers[id]
	return m, ok
}

// IdempotencyDigest is what a session's row keeps of an idempotency key.
func (r *Rings) IdempotencyDigest(session auth.SessionID, key string) []byte {
	sum := r.state.Load().derived.Sum("idempotency", string(session), key)
	return sum[:]
}

// signerAt is the youngest key that is active at now. A ring whose keys all lie in the future has its oldest sign: a clock
// that was wrong when the key was made must not stop the server.
func signerAt(ring []*signer, now time.Time) *signer {
	for _, s := range ring {
		if !now.Before(s.active) {
			return s
		}
	}
	return ring[len(ring)-1]
}

// BucketDigest names buckets of limits where others may see the name. All replicas make the same one.
func (r *Rings) BucketDigest(incarnation string, parts ...string) [sha256.Size]byte {
	return r.state.Load().derived.Sum(append([]string{"bucket", incarnation}, parts...)...)
}

// HandedOut is the digest of what is handed out to come back, as a list's next page does. All replicas make the same one.
func (r *Rings) HandedOut(parts ...string) [sha256.Size]byte {
	return r.state.Load().derived.Sum(append([]string{"handed out"}, parts...)...)
}

// Challenge is the digest in a challenge, by which we know our own again. All replicas make the same one.
func (r *Rings) Challenge(parts ...string) [sha256.Size]byte {
	return r.state.Load().derived.Sum(append([]string{"ceremony"}, parts...)...)
}

// LookupDigest is what is kept of a random text by which a row is found: the code of a link, the value of a cookie. what says
// which. It is good for one database: a restore draws the key anew.
func (r *Rings) LookupDigest(what, text string) []byte {
	sum := r.state.Load().derived.Sum("lookup", what, text)
	return sum[:]
}

// Derive makes a secret that needs not be kept, for it can be made again from the same parts.
func (r *Rings) Derive(parts ...string) [sha256.Size]byte {
	return r.state.Load().derived.Sum(append([]string{"derived"}, parts...)...)
}

// Signers names the keys that sign a pair at now: of the access and of the refresh token.
func (r *Rings) Signers(now time.Time) (access, refresh auth.KeyID) {
	s := r.state.Load()
	return signerAt(s.signing, now).id, signerAt(s.refresh, now).id
}

// Rows are the keys as they are stored, oldest first, for lists.
func (r *Rings) Rows() []auth.KeyRow { return slices.Clone(r.state.Load().rows) }
