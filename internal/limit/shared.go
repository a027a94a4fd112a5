package limit

import (
	"context"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// A Charge is one event to one bucket: that of this key under this rule.
type Charge struct {
	Rule Rule
	Key  Key
}

// Take charges one to the bucket of rule and key and says what is left. If nothing was left, it charges nothing and the
// answer is Refused. A rule without a rate charges nothing and answers the zero Limit.
func (l *Limiter) Take(rule Rule, key Key) auth.Limit {
	if l.redis == nil || rule.Rate.None() {
		return l.take(rule, key)
	}
	return l.TakeAll(Charge{rule, key})
}

// TakeAll charges one to each of several buckets, or to none of them: where one refuses, what the others were charged is given
// back. The answer is the tightest of all. Buckets in Redis are asked in one round trip.
//
// A bucket here is charged first, and what it refuses nobody else is asked. It holds what this replica let in and has the whole
// limit, so where buckets are shared it refuses nothing that the shared one allows. It is there for when Redis is away, was
// flushed or knows nothing any more: in any time, whatever becomes of Redis, a replica lets in no more than the limit.
func (l *Limiter) TakeAll(charges ...Charge) auth.Limit {
	found := auth.Limit{}
	for i, c := range charges {
		found = auth.Tighter(found, l.take(c.Rule, c.Key))
		if found.Refused {
			l.refundHere(charges[:i])
			return found
		}
	}
	if l.redis == nil {
		return found
	}
	elsewhere, answered := l.redis.ask(charge, charges)
	if !answered {
		return found
	}
	var taken []Charge
	for i, one := range elsewhere {
		if !one.Refused {
			taken = append(taken, charges[i])
		}
		found = auth.Tighter(found, one)
	}
	if found.Refused {
		l.refundHere(charges)
		l.redis.ask(giveBack, taken)
	}
	return found
}

// Peek says what [Limiter.Take] would find before it charged: Refused if it would refuse. It charges nothing.
func (l *Limiter) Peek(rule Rule, key Key) auth.Limit {
	found := l.peek(rule, key)
	if l.redis == nil || found.Refused {
		return found
	}
	if elsewhere, answered := l.redis.ask(look, []Charge{{rule, key}}); answered {
		found = auth.Tighter(found, elsewhere[0])
	}
	return found
}

// Refund gives back one that Take charged. A bucket is never more than full.
func (l *Limiter) Refund(rule Rule, key Key) { l.RefundAll(Charge{rule, key}) }

// RefundAll gives back one to each of several buckets.
func (l *Limiter) RefundAll(charges ...Charge) {
	l.refundHere(charges)
	if l.redis != nil {
		l.redis.ask(giveBack, charges)
	}
}

func (l *Limiter) refundHere(charges []Charge) {
	for _, c := range charges {
		l.refund(c.Rule, c.Key)
	}
}

// Start looks whether Redis is there, for a second at most, and says so in the log. Without it Redis is asked nothing before
// [Limiter.Run] has found it.
func (l *Limiter) Start(ctx context.Context) {
	if l.redis != nil {
		l.redis.start(ctx)
	}
}

// Close closes the connections to Redis, after Run has ended.
func (l *Limiter) Close() error {
	if l.redis == nil {
		return nil
	}
	return l.redis.Close()
}

// Run forgets buckets that are full again, and looks after Redis, until ctx ends. It returns nil.
func (l *Limiter) Run(ctx context.Context) error {
	if l.redis == nil {
		return l.run(ctx)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.redis.run(ctx)
	}()
	err := l.run(ctx)
	<-done
	return err
}
