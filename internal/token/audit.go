package token

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gatehouse/gatehouse/internal/audit/chain"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/secret"
	"github.com/gatehouse/gatehouse/verify"
)

// AuditStore keeps the sealed keys that sign the audit trail.
type AuditStore interface {
	AuditKeys(ctx context.Context) ([]auth.KeyRow, error)
	// AddAuditKey adds a key, unless another than after is the youngest by now: then it is [auth.ErrConflict].
	AddAuditKey(ctx context.Context, row auth.KeyRow, after auth.KeyID, act auth.Act) error
}

// AuditKeys are the keys that sign the audit trail. The youngest is in use. They are no ring of [Rings]: nothing that anybody
// presents is signed with them, and a database does without one until a server runs on it.
type AuditKeys struct {
	store   AuditStore
	masters secret.Masters
	now     func() time.Time

	mu   sync.Mutex
	last *chain.Key // that was in use
}

// NewAuditKeys returns the keys in the store. It reads nothing yet.
func NewAuditKeys(store AuditStore, masters secret.Masters, now func() time.Time) *AuditKeys {
	return &AuditKeys{store: store, masters: masters, now: now}
}

// Key is the key that signs. Where there is none, or one that no master key at hand opens, it makes one and writes that down in the
// trail itself.
func (a *AuditKeys) Key(ctx context.Context) (*chain.Key, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	k, err := a.key(ctx)
	if errors.Is(err, auth.ErrConflict) { // another server has made one at this moment
		k, err = a.key(ctx)
	}
	return k, err
}

func (a *AuditKeys) key(ctx context.Context) (*chain.Key, error) {
	rows, err := a.store.AuditKeys(ctx)
	if err != nil {
		return nil, err
	}
	var youngest auth.KeyRow
	if len(rows) > 0 {
		youngest = rows[len(rows)-1]
		if a.last != nil && a.last.ID == string(youngest.ID) {
			return a.last, nil
		}
		if k, err := a.open(youngest); err == nil {
			a.last = k
			return k, nil
		}
	}
	row, k, err := newAuditKey(a.masters, a.now())
	if err != nil {
		return nil, err
	}
	act := auth.Act{Actor: "server", Action: "audit-key.create", Detail: string(row.ID) + " " + k.Fingerprint()}
	if err := a.store.AddAuditKey(ctx, row, youngest.ID, act); err != nil {
		return nil, fmt.Errorf("make a key for the audit trail: %w", err)
	}
	a.last = k
	return k, nil
}

// Fingerprints are those of the keys that a master key at hand opens, the youngest last. Whoever has only the database can put none
// among them.
func (a *AuditKeys) Fingerprints(ctx context.Context) ([]string, error) {
	rows, err := a.store.AuditKeys(ctx)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, row := range rows {
		if k, err := a.open(row); err == nil {
			all = append(all, k.Fingerprint())
		}
	}
	return all, nil
}

func (a *AuditKeys) open(row auth.KeyRow) (*chain.Key, error) {
	seed, err := a.masters.OpenSealed(row.Seal())
	if err != nil {
		return nil, err
	}
	return chain.NewKey(string(row.ID), seed)
}

// newAuditKey draws a key and seals it.
func newAuditKey(m secret.Masters, now time.Time) (auth.KeyRow, *chain.Key, error) {
	row := auth.KeyRow{
		ID: secret.NewKeyID(), Ring: auth.AuditRing, Algorithm: string(verify.EdDSA), MasterKey: m.Current.ID, CreatedAt: now, ActiveAt: now,
	}
	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed)
	row.Sealed = m.Current.Seal(secret.Labelled(row.Seal()), seed)
	k, err := chain.NewKey(string(row.ID), seed)
	return row, k, err
}
