package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse/gatehouse/internal/audit/chain"
	"github.com/gatehouse/gatehouse/internal/backup"
)

const (
	sealEvery = 500 * time.Millisecond // so that an act is in the chain within a second
	signEvery = 5 * time.Second        // at most, and only what is new
	sealMost  = 100                    // rows in one transaction: few enough that a login waiting for the same commit does not notice
	tellEvery = time.Minute            // at most, of checkpoints
)

// A SealStore keeps the chain.
type SealStore interface {
	// AuditState returns the state with at most so many rows.
	AuditState(ctx context.Context, most int) (chain.State, error)
	// SealAudit puts rows and a checkpoint, unless it is nil, behind head, all or nothing, and says false if somebody else was first.
	SealAudit(ctx context.Context, head chain.Point, rows []backup.Entry, c *backup.Checkpoint) (bool, error)
	// NextCut is where the chain may begin when rows from before need not be kept; not ok: where it begins now.
	NextCut(ctx context.Context, before time.Time) (cut backup.Cut, ok bool, err error)
	// DropCut deletes what the last checkpoint says was removed.
	DropCut(ctx context.Context) error
}

// SealerConfig says what a sealer works on.
type SealerConfig struct {
	Store SealStore
	Key   func(context.Context) (*chain.Key, error) // that signs checkpoints
	Now   func() time.Time                          // nil means time.Now
	Log   *slog.Logger                              // nil: none
}

// A Sealer puts the rows of the audit trail into its chain and signs checkpoints. Any number of them may run on one database: of
// those that try at once one wins, and the others find it done. The chain's order is theirs, not that of the rows' numbers: a row
// that is committed later comes later. Where nothing is new nothing is written.
type Sealer struct {
	config SealerConfig
	now    func() time.Time
	log    *slog.Logger

	mu         sync.Mutex   // held while it seals: whoever stops seals once more
	key        *chain.Key   // nil: it was not asked for yet
	whole      atomic.Int64 // when everything was known to be sealed, Unix milliseconds
	complained time.Time
	told       time.Time // of a checkpoint
}

// NewSealer returns a sealer. It does nothing before [Sealer.Run].
func NewSealer(c SealerConfig) (*Sealer, error) {
	if c.Store == nil || c.Key == nil {
		return nil, errors.New("audit: a sealer needs a store and a key")
	}
	s := &Sealer{config: c, now: c.Now, log: c.Log}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.whole.Store(s.now().UnixMilli())
	return s, nil
}

// Run seals until ctx ends, and once more then.
func (s *Sealer) Run(ctx context.Context) error {
	tick := time.NewTicker(sealEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastChance)
			defer cancel()
			if err := s.Seal(last); err != nil {
				s.log.Warn("the last acts could not be sealed; the server that runs next does it", "error", err)
			}
			return nil
		case <-tick.C:
			once, cancel := context.WithTimeout(ctx, patience)
			if err := s.seal(once, signEvery); err != nil && ctx.Err() == nil {
				s.complain(err)
			}
			cancel()
		}
	}
}

// Seal seals and signs everything that is there.
func (s *Sealer) Seal(ctx context.Context) error { return s.seal(ctx, 0) }

// Lag is how long ago everything was last known to be sealed.
func (s *Sealer) Lag() time.Duration {
	return max(0, s.now().Sub(time.UnixMilli(s.whole.Load())))
}

// seal puts what is there into the chain, and signs unless the last checkpoint is younger than every.
func (s *Sealer) seal(ctx context.Context, every time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		began := s.now()
		state, err := s.config.Store.AuditState(ctx, sealMost)
		if err != nil {
			return err
		}
		more, err := s.sealSome(ctx, state, every)
		if err != nil {
			return err
		}
		if !more {
			s.whole.Store(began.UnixMilli())
			return nil
		}
	}
}

// sealSome does one transaction's worth, if there is anything to do, and says whether there may be more.
func (s *Sealer) sealSome(ctx context.Context, state chain.State, every time.Duration) (more bool, err error) {
	head := state.Head
	for i := range state.Unsealed {
		e := &state.Unsealed[i]
		head = chain.Point{Seq: head.Seq + 1, Hash: chain.Next(head.Hash, head.Seq+1, *e)}
		e.Seq, e.Hash = head.Seq, head.Hash
	}
	last, first := state.Checkpoint, s.key == nil
	due := head.Seq > last.Seq || last.Number > 0 && s.key == nil
	var c *backup.Checkpoint
	if age := s.now().Sub(last.At); due && (age >= every || age < 0) {
		key, err := s.signer(ctx)
		if err != nil {
			return false, err
		}
		if head.Seq > last.Seq || last.Key != key.ID { // what another key signed, before a restore, this one signs too
			signed := key.Sign(backup.Checkpoint{Number: last.Number + 1, Seq: head.Seq, Hash: head.Hash, Cut: last.Cut, At: s.now().UTC().Truncate(time.Millisecond)})
			c = &signed
		}
	}
	if len(state.Unsealed) == 0 && c == nil {
		return false, nil
	}
	won, err := s.config.Store.SealAudit(ctx, state.Head, state.Unsealed, c)
	if err != nil {
		return false, err
	}
	if won && c != nil {
		s.tell(*c)
	}
	made := first && s.key != nil // the key, perhaps, which is an act
	return len(state.Unsealed) == sealMost || !won || made, nil
}

// signer is the key.
func (s *Sealer) signer(ctx context.Context) (*chain.Key, error) {
	key, err := s.config.Key(ctx)
	if err == nil {
		s.key = key
	}
	return key, err
}

// Prune removes rows from before, the oldest of the chain: first a checkpoint says so, then they go, in small batches. What is left
// can be verified at any time.
func (s *Sealer) Prune(ctx context.Context, before time.Time) error {
	for {
		moved, err := s.cut(ctx, before)
		if err != nil {
			return fmt.Errorf("cut the audit trail: %w", err)
		}
		if err := s.config.Store.DropCut(ctx); err != nil || !moved {
			return err
		}
	}
}

// cut has a checkpoint say that the chain begins later, if it may, and says whether it did.
func (s *Sealer) cut(ctx context.Context, before time.Time) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	cut, ok, err := s.config.Store.NextCut(ctx, before)
	if err != nil || !ok {
		return false, err
	}
	state, err := s.config.Store.AuditState(ctx, 0)
	if err != nil || state.Checkpoint.Cut.Seq >= cut.Seq {
		return false, err
	}
	key, err := s.signer(ctx)
	if err != nil {
		return false, err
	}
	c := key.Sign(backup.Checkpoint{
		Number: state.Checkpoint.Number + 1, Seq: state.Head.Seq, Hash: state.Head.Hash, Cut: cut, At: s.now().UTC().Truncate(time.Millisecond),
	})
	return s.config.Store.SealAudit(ctx, state.Head, nil, &c)
}

// tell says in the log how far the chain is: a log that is kept elsewhere holds later what the chain was.
func (s *Sealer) tell(c backup.Checkpoint) {
	now := s.now()
	if !s.told.IsZero() && now.Sub(s.told) < tellEvery && now.After(s.told) {
		return
	}
	s.told = now
	s.log.Info("the audit trail was sealed", "checkpoint", chain.Point{Seq: c.Seq, Hash: c.Hash}.String(), "key", chain.Fingerprint(c.Public))
}

// complain says once a minute what goes wrong.
func (s *Sealer) complain(err error) {
	if now := s.now(); s.complained.IsZero() || now.Sub(s.complained) >= complain {
		s.complained = now
		s.log.Error("the audit trail could not be sealed; it is tried again", "error", err)
	}
}
