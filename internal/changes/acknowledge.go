package changes

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// Replicas lists the servers that follow the log of a database, as their rows have it, with the database's own time of that
// moment.
type Replicas interface {
	Replicas(ctx context.Context) (rows []auth.Replica, now time.Time, err error)
}

const (
	// lookEvery is how often the rows are looked at while somebody waits, whoever and however many do.
	lookEvery = 10 * time.Millisecond

	// margin is how much longer a replica is waited for than it may decide by itself. It covers what the clocks of the
	// database and of a replica can differ by in the rate they run at.
	margin = time.Second
)

// AcknowledgeConfig says whom to wait for.
type AcknowledgeConfig struct {
	Replicas Replicas
	// Alone says that a row there is belongs to a server that runs, whatever heard_at says, see [Config].
	Alone bool
	// MaxStaleness is that of replicas whose rows do not say theirs.
	MaxStaleness time.Duration
	Clock        func() time.Duration // as that of [Config]
}

// An Acknowledger waits until every replica has applied a change. Those who wait at the same time share its looks at the
// rows. It is safe for concurrent use.
type Acknowledger struct {
	config AcknowledgeConfig
	begun  atomic.Int64  // looks
	turn   chan struct{} // full while somebody looks; what follows is his
	last   roster        // the last that succeeded
	at     time.Duration // on Clock, when the last look began
}

// A roster is what one look at the rows gave.
type roster struct {
	number int64
	rows   []auth.Replica
	now    time.Time // by the database
}

// NewAcknowledger returns an Acknowledger.
func NewAcknowledger(c AcknowledgeConfig) (*Acknowledger, error) {
	if c.Replicas == nil || c.MaxStaleness <= 0 {
		return nil, errors.New("changes: the rows of the replicas and how long one of them may decide are both needed")
	}
	if c.Clock == nil {
		c.Clock = new(bootClock).now
	}
	return &Acknowledger{config: c, turn: make(chan struct{}, 1), at: never / 2}, nil
}

// Acknowledge waits until every replica that may decide has applied the position, or for as long as is given, and returns
// the ids of those that have not. If who they are cannot be known, it is an error. It is called once the change is committed.
// own is the replica that waits, which needs no row to know how far it is; nil: it is none.
//
// A replica need not be waited for once it cannot be fresh without the change: when its row was not renewed for its
// max_staleness, and a margin; or when that long has passed since the commit, whatever its row says, for it stays fresh only
// by a heartbeat whose changes it has applied.
func (a *Acknowledger) Acknowledge(ctx context.Context, to auth.Position, wait time.Duration, own *Follower) (missing []string, err error) {
	began := a.config.Clock()
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var known roster
	for first := true; first || ctx.Err() == nil && (known.number == 0 || len(missing) > 0); first = false {
		if r, failed := a.look(ctx, first); failed == nil {
			known, err = r, nil
		} else if known.number == 0 && (err == nil || ctx.Err() == nil) { // that the time is over says less than what was before
			err = failed
		}
		missing = a.behind(known, to, a.config.Clock()-began, own)
	}
	if own != nil && own.Wait(ctx, to) != nil && a.config.Clock()-began < own.config.MaxStaleness+margin {
		missing = append(missing, own.ID())
	}
	return missing, err
}

// behind are those of the roster who may decide and have not applied the position, so long after its commit.
func (a *Acknowledger) behind(r roster, to auth.Position, passed time.Duration, own *Follower) (ids []string) {
	for _, row := range r.rows {
		decides := row.MaxStaleness
		if decides == 0 {
			decides = a.config.MaxStaleness
		}
		decides += margin
		gone := !a.config.Alone && r.now.Sub(row.HeardAt) >= decides
		if row.Applied < to && !gone && passed < decides && (own == nil || row.ID != own.ID()) {
			ids = append(ids, row.ID)
		}
	}
	return ids
}

// look returns what a look at the rows gave that began after this call. The first of a caller is taken at once, unless
// another is about to be; the next ones keep their distance.
func (a *Acknowledger) look(ctx context.Context, first bool) (roster, error) {
	asked := a.begun.Load()
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return roster{}, context.Cause(ctx)
	}
	if a.last.number > asked {
		return a.last, nil // somebody else's
	}
	if pause := a.at + lookEvery - a.config.Clock(); !first && pause > 0 {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return roster{}, context.Cause(ctx)
		}
	}
	r := roster{number: a.begun.Add(1)}
	a.at = a.config.Clock()
	var err error
	if r.rows, r.now, err = a.config.Replicas.Replicas(ctx); err != nil {
		return roster{}, err
	}
	a.last = r
	return r, nil
}
