package audit

import (
	"slices"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// look is how many rows are looked at before requests that want to be noted get their turn.
const look = 256

// Find returns the refusal of one request, if it is of the last hour and still in memory. Its Count is of all that were
// equal in that second; the id is among its RequestIDs.
func (r *Refusals) Find(requestID string) (auth.Refusal, bool) {
	if requestID == "" {
		return auth.Refusal{}, false
	}
	var found auth.Refusal
	ok := false
	r.each(func(row *auth.Refusal) bool {
		if ok = slices.Contains(row.RequestIDs, requestID); ok {
			found = copied(row)
		}
		return !ok
	})
	if !ok {
		found, ok = r.findLate(requestID)
	}
	if ok && r.now().Sub(found.At) > remembered {
		return auth.Refusal{}, false
	}
	return found, ok
}

// findLate looks among those that came after a row had its ids.
func (r *Refusals) findLate(requestID string) (auth.Refusal, bool) {
	size := uint64(r.size)
	for upper := r.lateCount(); upper > 0; {
		lower := upper - min(upper, look)
		found, ok, end := func() (auth.Refusal, bool, bool) {
			r.mu.Lock()
			defer r.mu.Unlock()
			oldest := r.lates - min(r.lates, size)
			for n := upper; n > max(lower, oldest); n-- {
				late := &r.late[(n-1)%size]
				if late.id != requestID {
					continue
				}
				if late.number < r.first {
					return auth.Refusal{}, false, true // its row was forgotten
				}
				row := copied(&r.rows[late.number%uint64(r.size)].Refusal)
				row.RequestIDs = append(row.RequestIDs, requestID)
				return row, true, true
			}
			return auth.Refusal{}, false, lower <= oldest
		}()
		if ok || end {
			return found, ok
		}
		upper = lower
	}
	return auth.Refusal{}, false
}

func (r *Refusals) lateCount() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lates
}

// Recent returns the refusals of the last hour that f picks, in the order of their places.
func (r *Refusals) Recent(f auth.RefusalFilter) []auth.Refusal {
	most := f.Most
	if most <= 0 {
		most = auth.UsualRows
	}
	if f.RequestID != "" {
		one, ok := r.Find(f.RequestID)
		f.RequestID = ""
		if !ok || !picks(f, &one) {
			return nil
		}
		return []auth.Refusal{one}
	}
	if hour := r.now().Add(-remembered); f.Since.Before(hour) {
		f.Since = hour
	}
	var recent []auth.Refusal
	r.each(func(row *auth.Refusal) bool {
		if picks(f, row) {
			recent = append(recent, copied(row))
		}
		if len(recent) == 2*most { // rows come nearly in their order, so that hardly any is copied in vain from here on
			recent = auth.SortRefusals(recent, f.After, most)
			if len(recent) == most {
				f.Since = recent[most-1].At.Truncate(time.Millisecond)
			}
		}
		return true
	})
	return auth.SortRefusals(recent, f.After, most)
}

// Merge puts what a server remembers and what is stored together, in the order of their places, at most so many. What is in both is
// told by its request ids, and the one that counts more of equal requests is the one that is kept.
func Merge(memory, stored []auth.Refusal, f auth.RefusalFilter) []auth.Refusal {
	var all []auth.Refusal
	at := map[string]int{} // where in all the refusal of a request is
	for _, r := range append(slices.Clone(stored), memory...) {
		i, known := 0, false
		for _, id := range r.RequestIDs {
			if i, known = at[id]; known {
				break
			}
		}
		if !known {
			all = append(all, r)
			i = len(all) - 1
		} else if r.Count > all[i].Count {
			all[i] = r
		}
		for _, id := range r.RequestIDs {
			at[id] = i
		}
	}
	most := f.Most
	if most <= 0 {
		most = auth.UsualRows
	}
	return auth.SortRefusals(all, f.After, most)
}

func picks(f auth.RefusalFilter, row *auth.Refusal) bool {
	return (f.Account == 0 || f.Account == row.Subject.Account) &&
		(f.Credential == "" || f.Credential == row.Subject.Credential) &&
		(!f.Address.IsValid() || f.Address == row.Address) &&
		!row.At.Before(f.Since) &&
		(f.After == auth.RefusalPlace{} || row.At.Before(f.After.At.Add(time.Millisecond)))
}

// each shows every row, the latest first, until show says that it has seen enough. Rows are shown under the lock, but only
// so many at a time: nobody's question may hold up requests.
func (r *Refusals) each(show func(*auth.Refusal) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	size := uint64(r.size)
	shown := 0
	for n := r.next; n > r.first; n-- {
		if !show(&r.rows[(n-1)%size].Refusal) {
			return
		}
		if shown++; shown%look == 0 {
			r.mu.Unlock()
			r.mu.Lock() // requests that wait are noted here, and what is forgotten meanwhile ends the loop
		}
	}
}

// copied is a row that does not change any more.
func copied(row *auth.Refusal) auth.Refusal {
	one := *row
	one.RequestIDs = slices.Clip(one.RequestIDs)
	return one
}
