package audit

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

const (
	every      = time.Second
	patience   = 10 * time.Second // that one write may take
	lastChance = 5 * time.Second  // for the write at the end
	complain   = time.Minute      // between two lines about the same trouble
)

// A writer is what belongs to writing.
type writer struct {
	mu         sync.Mutex
	waiting    []auth.Refusal // that could not be written yet
	complained time.Time      // about the store
	told       time.Time      // of refusals that were not written,
	toldOf     int64          // and of how many
}

// A minuteOf is how many rows were written in one minute.
type minuteOf struct {
	minute      int64 // since 1970
	rows, alien int
}

// Run writes once a second until ctx ends, and once more then. That last write is its error if it fails.
func (r *Refusals) Run(ctx context.Context) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastChance)
			defer cancel()
			return r.write(last, true)
		case <-tick.C:
			once, cancel := context.WithTimeout(ctx, patience)
			r.tell(r.write(once, false))
			cancel()
		}
	}
}

// write writes the rows whose second is over, or all. What could not be written is written the next time.
func (r *Refusals) write(ctx context.Context, all bool) error {
	r.writing.mu.Lock()
	defer r.writing.mu.Unlock()
	waiting := append(r.writing.waiting, r.take(all)...)
	for len(waiting) > 0 {
		some := waiting[:min(len(waiting), atOnce)]
		if err := r.store.WriteRefusals(ctx, some); err != nil {
			if len(waiting) > unsaved {
				r.drop(waiting[unsaved:])
				waiting = waiting[:unsaved]
			}
			r.writing.waiting = waiting
			return fmt.Errorf("write refusals: %w", err)
		}
		waiting = waiting[len(some):]
	}
	r.writing.waiting = nil
	return nil
}

// take closes the rows whose second is over and returns those of them that may be written: they never change again.
func (r *Refusals) take(all bool) []auth.Refusal {
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(now)
	if minute := now.Unix() / 60; minute != r.wrote.minute {
		r.wrote = minuteOf{minute: minute}
	}
	var ripe []auth.Refusal
	still := r.due[:0]
	for _, row := range r.due {
		if !all && row.key.second >= now.Unix() {
			still = append(still, row)
			continue
		}
		delete(r.open, row.key)
		row.key = key{}
		if !r.wrote.take(&row.Refusal) {
			r.over += row.Count
			continue
		}
		ripe = append(ripe, row.Refusal)
	}
	clear(r.due[len(still):])
	r.due = still
	return ripe
}

// take says whether one more row may be written this minute.
func (m *minuteOf) take(row *auth.Refusal) bool {
	alien := row.Subject.Account == 0
	if m.rows >= perMinute || alien && m.alien >= strangers {
		return false
	}
	m.rows++
	if alien {
		m.alien++
	}
	return true
}

// forget lets go of what is older than an hour.
func (r *Refusals) forget(now time.Time) {
	size := uint64(r.size)
	for r.first < r.next && now.Sub(r.rows[r.first%size].At) > remembered {
		r.rows[r.first%size] = nil
		r.first++
	}
}

func (r *Refusals) drop(rows []auth.Refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range rows {
		r.over += rows[i].Count
	}
}

// tell says once a minute what goes wrong.
func (r *Refusals) tell(err error) {
	over, now, w := r.Unwritten(), r.now(), &r.writing
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil && now.Sub(w.complained) >= complain {
		w.complained = now
		r.log.Warn("refusals could not be written; they are kept and will be", "error", err, "rows", len(w.waiting))
	}
	if over > w.toldOf && now.Sub(w.told) >= complain {
		r.log.Warn("so many requests are refused that not all are written down; metrics count them all", "refusals", over-w.toldOf)
		w.told, w.toldOf = now, over
	}
}
