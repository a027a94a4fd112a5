package proof

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// Used remembers what may count once, for as long as it could be presented again, in the memory of this process. It is safe
// for concurrent use.
type Used struct {
	most int
	now  func() time.Time

	mu    sync.Mutex
	names map[[16]byte]struct{}
	due   map[int64][][16]byte // the same, by the slot of time at whose end they may be forgotten
	next  int64                // no slot before this one is left
}

// slot is how exactly the time is kept when a name may be forgotten.
const slot = 10 * time.Second

// NewUsed returns a Used that holds most names; now nil means time.Now.
func NewUsed(most int, now func() time.Time) *Used {
	if now == nil {
		now = time.Now
	}
	return &Used{most: most, now: now, names: make(map[[16]byte]struct{}), due: make(map[int64][][16]byte)}
}

var errFull = errors.New("too many signed texts to remember")

// First says whether name is presented for the first time, and remembers it until the time given. If there is no room it is
// [auth.ErrOverloaded]: what cannot be checked does not count.
func (u *Used) First(_ context.Context, name string, until time.Time) (bool, error) {
	sum := sha256.Sum256([]byte(name))
	key := [16]byte(sum[:16])
	u.mu.Lock()
	defer u.mu.Unlock()
	u.forget(u.now())
	if _, again := u.names[key]; again {
		return false, nil
	}
	if len(u.names) >= u.most {
		return false, auth.ErrOverloaded.From(errFull)
	}
	u.names[key] = struct{}{}
	at := max(slotOf(until)+1, u.next)
	u.due[at] = append(u.due[at], key)
	return true, nil
}

func slotOf(t time.Time) int64 { return t.UnixMilli() / slot.Milliseconds() }

// forget removes what is over. Names of one slot go together, so that none of them costs a look.
func (u *Used) forget(now time.Time) {
	current := slotOf(now)
	if current < u.next {
		return
	}
	for at, keys := range u.due {
		if at <= current {
			for _, key := range keys {
				delete(u.names, key)
			}
			delete(u.due, at)
		}
	}
	u.next = current + 1
}
