package auth

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Rate is so many events in a time, of which Burst may come at once. The zero Rate is no limit.
type Rate struct {
	Count int64         // events per Per; 0: no limit
	Per   time.Duration // time.Second, time.Minute, time.Hour or 24 hours
	Burst int64         // at least 1; 0 stands for Count
}

// None says whether r is no limit at all.
func (r Rate) None() bool { return r.Count == 0 }

var ratePeriods = []struct {
	unit string
	per  time.Duration
}{{"s", time.Second}, {"min", time.Minute}, {"h", time.Hour}, {"d", 24 * time.Hour}}

// ParseRate reads "600/min", "10/s", "100/h", "5000/d", or "0" for no limit. It leaves Burst zero.
func ParseRate(s string) (Rate, error) {
	if s == "0" {
		return Rate{}, nil
	}
	count, unit, ok := strings.Cut(s, "/")
	n, err := strconv.ParseInt(count, 10, 64)
	if !ok || err != nil || n <= 0 || n > 1_000_000_000 || strconv.FormatInt(n, 10) != count {
		return Rate{}, errBadRate
	}
	for _, p := range ratePeriods {
		if unit == p.unit {
			return Rate{Count: n, Per: p.per}, nil
		}
	}
	return Rate{}, errBadRate
}

var errBadRate = errors.New(`a rate is a whole number above zero and a unit, as 10/s, 600/min, 100/h or 5000/d; 0 for none`)

// String writes r as [ParseRate] reads it, without its burst.
func (r Rate) String() string {
	if r.None() {
		return "0"
	}
	for _, p := range ratePeriods {
		if r.Per == p.per {
			return fmt.Sprintf("%d/%s", r.Count, p.unit)
		}
	}
	return fmt.Sprintf("%d/%s", r.Count, r.Per)
}

// Capacity is how many events can come at once.
func (r Rate) Capacity() int64 {
	if r.Burst > 0 {
		return r.Burst
	}
	return r.Count
}

// A Limit is what the limiter found in one bucket. The zero Limit is none.
type Limit struct {
	Name       string        // of the limit, as it is configured
	Quota      int64         // how many may come at once (q)
	Window     time.Duration // in which an empty bucket fills again (w)
	Remaining  int64         // how many may come now (r)
	Reset      time.Duration // until the bucket is full again (t)
	Refused    bool
	RetryAfter time.Duration // if refused: until the next may come
}

// Tighter returns the one that leaves less: a refusal before anything else, then the smaller share of its quota.
func Tighter(a, b Limit) Limit {
	switch {
	case a.Name == "":
		return b
	case b.Name == "":
		return a
	case a.Refused != b.Refused:
		if b.Refused {
			return b
		}
		return a
	case b.Remaining*a.Quota < a.Remaining*b.Quota:
		return b
	}
	return a
}
