package store

import (
	"context"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// mostChanges is how many entries [DB.Changes] returns at once.
const mostChanges = 10_000

// draw takes the next n numbers of the change log and returns the first. It is called last: after the rows that the change
// is about are locked, by writing to them, and just before whatever holds the number is written.
func (t *tx) draw(n int) (auth.Position, error) {
	var head auth.Position
	if err := t.one(t.on.draw(), in{n}, out{(*int64)(&head)}); err != nil {
		return 0, err
	}
	t.appended = true
	return head - auth.Position(n) + 1, nil
}

// record appends c, whose number has been drawn.
func (t *tx) record(c auth.Change) error {
	return t.later(`INSERT INTO changes (number, of, account, credential, session, until, at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		int64(c.Number), string(c.Of), int64(c.Account), string(c.Credential), string(c.Session), ms(c.Until), c.At.UnixMilli())
}

// append draws a number for c and appends it.
func (t *tx) append(c auth.Change) (auth.Position, error) {
	number, err := t.draw(1)
	if err != nil {
		return 0, err
	}
	c.Number = number
	return number, t.record(c)
}

// head returns the last number, which is also a position that has been reached once everything so far has been applied.
func (t *tx) head() (auth.Position, error) {
	var head auth.Position
	err := t.one(`SELECT head FROM log_head`, nil, out{(*int64)(&head)})
	return head, err
}

// Changes returns the entries after a position, in their order, the incarnation, and the head, all of one moment. At most
// 10,000 at once: if there are more, head is the last of those returned, and [DB.Wakes] is sent to again.
//
// Old entries are pruned. If the first one returned is not after + 1, or there is none and head is not after, some are
// missing, and whoever follows must load everything anew; likewise if the incarnation is another one.
func (db *DB) Changes(ctx context.Context, after auth.Position) (incarnation string, head auth.Position, changes []auth.Change, err error) {
	var l logged
	err = db.snapshot(ctx, func(q querier) (err error) {
		l, err = changesAfter(q, after)
		return err
	})
	if err != nil {
		return "", 0, nil, wrap(err, "read the change log")
	}
	if l.more {
		db.wake.kick()
	}
	return l.incarnation, l.head, l.changes, nil
}

// logged is a piece of the change log, up to head.
type logged struct {
	incarnation string
	head        auth.Position
	changes     []auth.Change
	more        bool // and it goes on
}

// changesAfter reads the change log. Its statements need not see the same moment: what was appended between them is left for
// the next time.
func changesAfter(q querier, after auth.Position) (l logged, err error) {
	if err := headOf(q, &l.incarnation, &l.head); err != nil || l.head == after {
		return l, err
	}
	err = q.all(`SELECT number, of, account, credential, session, until, at FROM changes WHERE number > $1 AND number <= $2
		ORDER BY number LIMIT $3`, in{int64(after), int64(l.head), mostChanges}, func(scan func(...any) error) error {
		var e auth.Change
		err := scan((*int64)(&e.Number), (*string)(&e.Of), (*int64)(&e.Account), (*string)(&e.Credential), (*string)(&e.Session),
			(*stamp)(&e.Until), (*stamp)(&e.At))
		l.changes = append(l.changes, e)
		return err
	})
	if len(l.changes) == mostChanges && l.changes[mostChanges-1].Number < l.head {
		l.head, l.more = l.changes[mostChanges-1].Number, true
	}
	return l, err
}

func headOf(q querier, incarnation *string, head *auth.Position) error {
	return q.one(`SELECT m.incarnation, h.head FROM meta m CROSS JOIN log_head h`, nil, out{incarnation, (*int64)(head)})
}
