package limit

import (
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// A meter is a rate as the arithmetic wants it, in nanoseconds. The rule is GCRA (ITU-T I.371, as a limit it is a leaky
// bucket): a bucket is one number, the time at which it is full again if nobody comes. Each event moves that time on by
// interval, from now at the earliest, and may come only if it then lies no further ahead than span.
type meter struct {
	interval int64 // between two events that come evenly
	span     int64 // in which an empty bucket fills: interval times its capacity
	capacity int64
}

// longestSpan keeps sums of times within an int64; it is 36 years.
const longestSpan = 1 << 60

// meterOf rounds the interval up to a whole nanosecond: never more than the rate says, and at a million a second less than
// a thousandth fewer.
func meterOf(r auth.Rate) meter {
	count := max(r.Count, 1)
	interval := min(max((int64(r.Per)-1)/count+1, 1), longestSpan)
	capacity := min(max(r.Capacity(), 1), longestSpan/interval)
	return meter{interval: interval, span: interval * capacity, capacity: capacity}
}

// take is the whole decision, and pure: given when a bucket is full again and what time it is, it says whether one more
// may come and when the bucket is then full again. If none may, that time stays.
func (m meter) take(full, now int64) (int64, bool) {
	full = m.within(full, now)
	if full-now > m.span-m.interval {
		return full, false
	}
	return full + m.interval, true
}

// within brings a time to where this meter can have left it: not before now, for a bucket does not become more than full;
// and not further ahead than an empty bucket's, which happens where the rate was changed or a clock was put back.
func (m meter) within(full, now int64) int64 { return min(max(full, now), now+m.span) }

// limit tells a bucket as callers read it.
func (m meter) limit(name string, full, now int64, refused bool) auth.Limit {
	owed := full - now
	l := auth.Limit{
		Name:      name,
		Quota:     m.capacity,
		Window:    time.Duration(m.span),
		Remaining: (m.span - owed) / m.interval,
		Reset:     time.Duration(owed),
		Refused:   refused,
	}
	if refused {
		l.RetryAfter = time.Duration(owed - (m.span - m.interval))
	}
	return l
}
