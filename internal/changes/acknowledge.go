package changes

import (
	"context"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// Replicas lists the servers that follow the log of a database.
type Replicas interface {
	Replicas(ctx context.Context) ([]auth.Replica, error)
}

// acknowledgeEvery is how often the rows of the replicas are looked at.
const acknowledgeEvery = 10 * time.Millisecond

// Acknowledge waits until every replica in the list has applied the position, at most for wait, and says whether all did.
// Whoever does not is cut off and stops deciding by itself: the change is committed in any case.
func Acknowledge(ctx context.Context, replicas Replicas, to auth.Position, wait time.Duration) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	tick := time.NewTicker(acknowledgeEvery)
	defer tick.Stop()
	for {
		rows, err := replicas.Replicas(ctx)
		if ctx.Err() != nil {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if allApplied(rows, to) {
			return true, nil
		}
		select {
		case <-ctx.Done():
			return false, nil
		case <-tick.C:
		}
	}
}

func allApplied(rows []auth.Replica, to auth.Position) bool {
	for _, r := range rows {
		if r.Applied < to {
			return false
		}
	}
	return true
}
