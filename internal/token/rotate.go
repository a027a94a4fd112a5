package token

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/verify"
)

// upkeepEvery is how often [Rings.Run] looks whether a ring is due.
const upkeepEvery = time.Minute

// Run rotates the rings and forgets dead keys until ctx ends.
func (r *Rings) Run(ctx context.Context) error {
	tick := time.NewTicker(upkeepEvery)
	defer tick.Stop()
	for {
		if err := r.Upkeep(ctx); err != nil && ctx.Err() == nil {
			r.config.Log.Error("the upkeep of the signing keys failed; it is tried again in a minute", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Upkeep does what is due now: it records lifetimes, adds the next key of a ring that is old enough or of another algorithm
// than configured, and deletes keys whose last token is dead.
func (r *Rings) Upkeep(ctx context.Context) error {
	if err := r.keepLifetimes(ctx); err != nil {
		return err
	}
	for _, ring := range []auth.Ring{auth.SigningRing, auth.RefreshRing} {
		youngest := youngest(r.Rows(), ring)
		if !r.due(youngest) {
			continue
		}
		if _, err := r.rotate(ctx, ring, youngest.ID, auth.Act{Actor: "server", Action: "signing-key.rotate", Detail: string(ring)}); err != nil && !errors.Is(err, auth.ErrConflict) {
			return err // a conflict: another replica was first
		}
	}
	dead := r.dead()
	if len(dead) == 0 {
		return nil
	}
	if err := r.config.Store.DeleteKeys(ctx, dead); err != nil {
		return fmt.Errorf("delete dead keys: %w", err)
	}
	return r.Load(ctx)
}

// Rotate adds a new signing key, published now and used once every cache of the key set can have it.
func (r *Rings) Rotate(ctx context.Context, act auth.Act) (auth.KeyRow, error) {
	if err := r.Load(ctx); err != nil {
		return auth.KeyRow{}, err
	}
	return r.rotate(ctx, auth.SigningRing, youngest(r.Rows(), auth.SigningRing).ID, act)
}

func (r *Rings) rotate(ctx context.Context, ring auth.Ring, after auth.KeyID, act auth.Act) (auth.KeyRow, error) {
	now := r.now()
	row, err := newKey(r.config.Masters, ring, r.config.Algorithm, now, now.Add(r.config.PublishAhead))
	if err != nil {
		return auth.KeyRow{}, err
	}
	act.Makes = func(auth.Subject, time.Time) any { return row }
	if err := r.config.Store.AddKey(ctx, row, after, act); err != nil {
		return auth.KeyRow{}, fmt.Errorf("add a key to the ring %s: %w", ring, err)
	}
	return row, r.Load(ctx)
}

// Successor makes the key that takes over at once from one that is revoked, if that would leave the ring without a key that
// signs now; else nil.
func (r *Rings) Successor(revoked auth.KeyRow) (*auth.KeyRow, error) {
	now := r.now()
	for _, row := range r.Rows() {
		if row.Ring == revoked.Ring && row.ID != revoked.ID && row.RevokedAt.IsZero() && !now.Before(row.ActiveAt) {
			return nil, nil
		}
	}
	row, err := newKey(r.config.Masters, revoked.Ring, r.config.Algorithm, now, now)
	if err != nil {
		return nil, err
	}
	return &row, nil
}

func youngest(rows []auth.KeyRow, ring auth.Ring) auth.KeyRow {
	var last auth.KeyRow
	for _, row := range rows {
		if row.Ring == ring && row.RevokedAt.IsZero() && (last.ID == "" || !row.ActiveAt.Before(last.ActiveAt)) {
			last = row
		}
	}
	return last
}

// due says whether a ring, whose youngest key is given, wants its next one.
func (r *Rings) due(row auth.KeyRow) bool {
	if row.ID == "" {
		return false
	}
	if row.Ring == auth.SigningRing && row.Algorithm != string(r.config.Algorithm) {
		return true
	}
	every := r.config.RotateEvery
	return every > 0 && !r.now().Before(row.ActiveAt.Add(every-r.config.PublishAhead))
}

// NextRotation is when the key that signs access tokens gives way to another; the zero time if it never does by itself.
func (r *Rings) NextRotation() time.Time {
	now := r.now()
	rows := r.Rows()
	signs := signerAt(r.state.Load().signing, now)
	for _, row := range rows {
		if row.Ring == auth.SigningRing && row.RevokedAt.IsZero() && row.ActiveAt.After(now) {
			return row.ActiveAt
		}
	}
	if r.config.RotateEvery == 0 {
		return time.Time{}
	}
	return signs.active.Add(r.config.RotateEvery)
}

// dead lists the keys of both rings whose last token is past its end, and the revoked ones that nobody need know any more.
func (r *Rings) dead() []auth.KeyID {
	now := r.now()
	rows := r.Rows()
	slices.SortFunc(rows, func(a, b auth.KeyRow) int { return a.ActiveAt.Compare(b.ActiveAt) })
	var ids []auth.KeyID
	for i, row := range rows {
		if row.Ring != auth.SigningRing && row.Ring != auth.RefreshRing {
			continue
		}
		end := row.RevokedAt
		for _, next := range rows[i+1:] {
			if end.IsZero() && next.Ring == row.Ring && next.RevokedAt.IsZero() && !now.Before(next.ActiveAt) {
				end = next.ActiveAt
			}
		}
		// Twice the leeway: replicas' clocks may differ by one.
		if !end.IsZero() && now.After(end.Add(r.longestOf(row.Ring)+2*verify.Leeway)) {
			ids = append(ids, row.ID)
		}
	}
	return ids
}

// longestOf is the longest life of what a ring signs.
func (r *Rings) longestOf(ring auth.Ring) time.Duration {
	if ring == auth.RefreshRing {
		return (*r.longest.Load())[RefreshType]
	}
	return r.Longest()
}

// Longest is the longest life that any access token out can have: revocations must be remembered for so long.
func (r *Rings) Longest() time.Duration {
	var longest time.Duration
	for name, l := range *r.longest.Load() {
		if name != RefreshType {
			longest = max(longest, l)
		}
	}
	return longest
}

// keepLifetimes records, for each type of token, the longest lifetime ever in force: raised before a longer one is used,
// lowered only when the tokens of the longer one have run out. Keys and revocations are kept by it, not by today's setting.
func (r *Rings) keepLifetimes(ctx context.Context) error {
	r.keeping.Lock()
	defer r.keeping.Unlock()
	return r.keep(ctx, r.lifetimes)
}

func (r *Rings) keep(ctx context.Context, lifetimes map[string]time.Duration) error {
	stored, err := r.config.Store.Lifetimes(ctx)
	if err != nil {
		return fmt.Errorf("read the lifetimes: %w", err)
	}
	now := r.now()
	longest := maps.Clone(lifetimes)
	for name, configured := range lifetimes {
		was := auth.Lifetime{Type: name}
		if i := slices.IndexFunc(stored, func(l auth.Lifetime) bool { return l.Type == name }); i >= 0 {
			was = stored[i]
		}
		next := keepLifetime(was, configured, now)
		if next != was {
			raised, err := r.config.Store.SetLifetime(ctx, next)
			if errors.Is(err, auth.ErrConflict) {
				return r.keep(ctx, lifetimes) // another replica has raised it since
			}
			if err != nil {
				return fmt.Errorf("record the lifetime of %s: %w", name, err)
			}
			r.raised = max(r.raised, raised)
		}
		longest[name] = next.Longest
	}
	r.longest.Store(&longest)
	return nil
}

func keepLifetime(l auth.Lifetime, configured time.Duration, now time.Time) auth.Lifetime {
	if !l.LoweredAt.IsZero() && now.After(l.LoweredAt.Add(l.Longest+2*verify.Leeway)) {
		l.Longest = l.LoweredTo // its last token is dead
		l.LoweredAt, l.LoweredTo = time.Time{}, 0
	}
	switch {
	case configured >= l.Longest:
		l.Longest, l.LoweredAt, l.LoweredTo = configured, time.Time{}, 0
	case l.LoweredAt.IsZero() || configured > l.LoweredTo:
		l.LoweredAt, l.LoweredTo = now, configured
	}
	return l
}

// Consult reads the keys and the recorded lifetimes, and writes nothing: what a command does that signs nothing, and a server
// whenever another has changed one or the other.
func (r *Rings) Consult(ctx context.Context) error {
	if err := r.Load(ctx); err != nil {
		return err
	}
	r.keeping.Lock()
	defer r.keeping.Unlock()
	stored, err := r.config.Store.Lifetimes(ctx)
	if err != nil {
		return fmt.Errorf("read the lifetimes: %w", err)
	}
	longest := maps.Clone(r.lifetimes)
	for _, l := range stored {
		longest[l.Type] = max(longest[l.Type], l.Longest)
	}
	r.longest.Store(&longest)
	return nil
}

// Raised is the position under which others hear that tokens live longer than they thought, as far as that was said here; 0 if
// it was not. No such token may be minted before they know: what they remember of revocations they would forget too soon.
func (r *Rings) Raised() auth.Position {
	r.keeping.Lock()
	defer r.keeping.Unlock()
	return r.raised
}

// SetLifetimes puts other lifetimes in the place of the configured ones. When it returns nil, and others have applied what
// [Rings.Raised] says, tokens that live so long may be minted; those that live as long as before may be for another few moments.
func (r *Rings) SetLifetimes(ctx context.Context, lifetimes map[string]time.Duration) error {
	r.keeping.Lock()
	defer r.keeping.Unlock()
	if err := r.keep(ctx, lifetimes); err != nil {
		return err
	}
	r.lifetimes = lifetimes
	return nil
}

// Prepare is what a start does before the first token is signed: the keys are read, the lifetimes recorded.
func (r *Rings) Prepare(ctx context.Context) error {
	if err := r.Load(ctx); err != nil {
		return err
	}
	return r.keepLifetimes(ctx)
}
