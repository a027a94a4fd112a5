package secret

import (
	"context"
	"time"
)

// Grain is what the time of a refusal is rounded up to. It is more than a refusal takes, a read over a network within it, so that
// nearly all take one: what is left of the differences is in those few that take two.
const Grain = 5 * time.Millisecond

// A Pace hides how long it took to find out what is wrong. To read a row takes longer than to find that there is none, and longer
// still from a disk: some microseconds, which is enough for who may ask often.
type Pace struct{ began time.Time }

// NewPace begins one, before anything is looked at.
func NewPace() Pace { return Pace{time.Now()} }

// Even waits until a whole number of grains has passed since the pace began, or ctx has ended.
func (p Pace) Even(ctx context.Context) {
	rest := time.NewTimer(Grain - time.Since(p.began)%Grain)
	defer rest.Stop()
	select {
	case <-rest.C:
	case <-ctx.Done():
	}
}
