package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/gatehouse/gatehouse/internal/audit/chain"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/backup"
)

const (
	actColumns   = `number, at, actor, action, account, credential, secret, session, request_id, address, detail, person, about`
	auditColumns = actColumns + `, seq, hash`

	checkpointColumns = `number, seq, hash, cut, cut_hash, at, key_id, public, signature`
)

// A hash is a column that holds one; NULL is the zero hash.
type hash backup.Hash

func (h *hash) Scan(src any) error {
	b, ok := src.([]byte)
	if !ok && src != nil || ok && len(b) != len(h) {
		return fmt.Errorf("a %T is no hash", src)
	}
	*h = hash{}
	copy(h[:], b)
	return nil
}

func scanEntryOfAudit(e *backup.Entry) out {
	return out{
		&e.Number, (*stamp)(&e.At), &e.Actor, &e.Action, &e.Account, &e.Credential, &e.Secret, &e.Session, &e.RequestID, &e.Address, &e.Detail,
		&e.Person, &e.About, (*number)(&e.Seq), (*hash)(&e.Hash),
	}
}

// acts calls each for every row that a query finds, as it is hashed and exported. What earlier releases wrote may be no text.
func acts(all func(string, in, func(func(...any) error) error) error, query string, args in, each func(backup.Entry) error) error {
	return all(query, args, func(scan func(...any) error) error {
		var e backup.Entry
		if err := scan(scanEntryOfAudit(&e)...); err != nil {
			return err
		}
		for _, s := range []*string{&e.Actor, &e.Action, &e.Credential, &e.Session, &e.RequestID, &e.Address, &e.Detail} {
			*s = portable(*s)
		}
		return each(e)
	})
}

func checkpoints(q querier, query string, args in) ([]backup.Checkpoint, error) {
	var found []backup.Checkpoint
	err := q.all(query, args, func(scan func(...any) error) error {
		var c backup.Checkpoint
		err := scan(&c.Number, &c.Seq, (*hash)(&c.Hash), &c.Cut.Seq, (*hash)(&c.Cut.Hash), (*stamp)(&c.At), &c.Key, &c.Public, &c.Signature)
		found = append(found, c)
		return err
	})
	return found, err
}

// lastCheckpoint is the last checkpoint, the zero one if there is none.
func lastCheckpoint(q querier) (backup.Checkpoint, error) {
	last, err := checkpoints(q, `SELECT `+checkpointColumns+` FROM audit_checkpoints ORDER BY number DESC LIMIT 1`, nil)
	if err != nil || len(last) == 0 {
		return backup.Checkpoint{}, err
	}
	return last[0], nil
}

func auditHead(q querier) (chain.Point, error) {
	var p chain.Point
	err := q.one(`SELECT seq, hash FROM audit_head`, nil, out{&p.Seq, (*hash)(&p.Hash)})
	if isNoRow(err) {
		return chain.Point{}, nil
	}
	return p, err
}

// AuditState returns the state with at most so many rows.
func (db *DB) AuditState(ctx context.Context, most int) (chain.State, error) {
	var s chain.State
	err := db.snapshot(ctx, func(q querier) (err error) {
		s = chain.State{}
		if s.Head, err = auditHead(q); err != nil {
			return err
		}
		if s.Checkpoint, err = lastCheckpoint(q); err != nil {
			return err
		}
		return acts(q.all, `SELECT `+auditColumns+` FROM audit WHERE seq IS NULL ORDER BY number LIMIT $1`, in{most}, func(e backup.Entry) error {
			s.Unsealed = append(s.Unsealed, e)
			return nil
		})
	})
	return s, wrap(err, "look how far the audit trail is sealed")
}

// SealAudit puts rows into the chain behind head, in their order and with the place and hash that they have, and with them the
// checkpoint, unless it is nil; all or nothing. Where the chain does not end at head any more, or another checkpoint has its
// number, nothing changes and it says false: of those who seal at once one wins.
func (db *DB) SealAudit(ctx context.Context, head chain.Point, rows []backup.Entry, c *backup.Checkpoint) (bool, error) {
	end := head
	if len(rows) > 0 {
		last := rows[len(rows)-1]
		end = chain.Point{Seq: last.Seq, Hash: last.Hash}
	}
	won, err := update(ctx, db, func(t *tx) (bool, error) {
		n, err := t.exec(`INSERT INTO audit_head (id, seq, hash) VALUES (1, $1, $2)
			ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, hash = excluded.hash WHERE audit_head.seq = $3 AND audit_head.hash = $4`,
			end.Seq, end.Hash[:], head.Seq, head.Hash[:])
		if err != nil || n == 0 {
			return false, err
		}
		for _, e := range rows {
			if err := t.later(`UPDATE audit SET seq = $1, hash = $2 WHERE number = $3 AND seq IS NULL`, e.Seq, e.Hash[:], e.Number); err != nil {
				return false, err
			}
		}
		var there int64
		if err := t.one(`SELECT count(*) FROM audit WHERE seq > $1 AND seq <= $2`, in{head.Seq, end.Seq}, out{&there}); err != nil {
			return false, err
		}
		if there != int64(len(rows)) {
			return false, fmt.Errorf("rows %d to %d of the chain: only %d of them are there", head.Seq+1, end.Seq, there)
		}
		if c == nil {
			return true, nil
		}
		return true, t.addCheckpoint(*c)
	})
	if errors.Is(err, errOtherCheckpoint) {
		return false, nil
	}
	return won, wrap(err, "seal the audit trail")
}

// errOtherCheckpoint undoes what goes with a checkpoint whose number another has.
var errOtherCheckpoint = errors.New("there is another checkpoint")

func (t *tx) addCheckpoint(c backup.Checkpoint) error {
	n, err := t.exec(`INSERT INTO audit_checkpoints (`+checkpointColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING`,
		c.Number, c.Seq, c.Hash[:], c.Cut.Seq, c.Cut.Hash[:], c.At.UnixMilli(), c.Key, c.Public, c.Signature)
	if err == nil && n == 0 {
		err = errOtherCheckpoint
	}
	return err
}

// cutAtOnce is how many rows a cut moves on by at most: the walk to its end is one statement.
const cutAtOnce = 50_000

// NextCut is where the chain may begin when rows from before need not be kept, at most some ten thousand rows after where it
// begins now. It is not ok if that is where it begins now.
func (db *DB) NextCut(ctx context.Context, before time.Time) (cut backup.Cut, ok bool, err error) {
	err = db.snapshot(ctx, func(q querier) error {
		ok = false
		last, err := lastCheckpoint(q)
		if err != nil {
			return err
		}
		// The first row that stays. Not by the index on the time (+at), which would sort everything younger.
		stays := last.Cut.Seq + cutAtOnce
		err = q.one(`SELECT seq FROM audit WHERE seq > $1 AND seq <= $2 AND +at >= $3 ORDER BY seq LIMIT 1`,
			in{last.Cut.Seq, stays, before.UnixMilli()}, out{&stays})
		if err != nil && !isNoRow(err) {
			return err
		}
		err = q.one(`SELECT seq, hash FROM audit WHERE seq > $1 AND seq < $2 ORDER BY seq DESC LIMIT 1`, in{last.Cut.Seq, stays}, out{&cut.Seq, (*hash)(&cut.Hash)})
		ok = err == nil
		if isNoRow(err) {
			return nil
		}
		return err
	})
	return cut, ok, wrap(err, "look which rows of the audit trail are old")
}

// DropCut deletes, in small batches, the rows and the checkpoints that the last checkpoint says were removed.
func (db *DB) DropCut(ctx context.Context) error {
	var last backup.Checkpoint
	err := db.read(ctx, func(q querier) (err error) {
		last, err = lastCheckpoint(q)
		return err
	})
	for _, old := range []struct {
		query string
		args  in
	}{
		{`DELETE FROM audit WHERE number IN (SELECT number FROM audit WHERE seq <= $1 ORDER BY seq LIMIT $2)`, in{last.Cut.Seq, pruneBatch}},
		{
			`DELETE FROM audit_checkpoints WHERE number IN (SELECT number FROM audit_checkpoints WHERE seq <= $1 AND number < $3 ORDER BY number LIMIT $2)`,
			in{last.Cut.Seq, pruneBatch, last.Number},
		},
	} {
		for n := int64(pruneBatch); err == nil && n == pruneBatch; {
			n, err = update(ctx, db, func(t *tx) (int64, error) { return t.exec(old.query, old.args...) })
		}
	}
	return wrap(err, "prune the audit trail")
}

// exportedAtOnce is how many rows of the chain are read by one statement.
const exportedAtOnce = 1000

// ExportAudit tells the audit trail as of one moment. Servers go on meanwhile.
func (db *DB) ExportAudit(ctx context.Context, to backup.Trail) error {
	err := db.engine.export(func(q querier) error {
		last, err := lastCheckpoint(q)
		if err != nil {
			return err
		}
		head, err := auditHead(q)
		if err != nil {
			return err
		}
		if err := to.Begin(last.Cut); err != nil {
			return err
		}
		end := backup.End{Sealed: head.Seq}
		if err := exportChain(ctx, q, last.Cut.Seq, to, &end); err != nil {
			return err
		}
		n := 0
		err = acts(q.all, `SELECT `+auditColumns+` FROM audit WHERE seq IS NULL ORDER BY number`, nil, func(e backup.Entry) error {
			if n++; n%exportedBetween == 0 && ctx.Err() != nil {
				return context.Cause(ctx)
			}
			end.Rows++
			return to.Entry(e)
		})
		if err != nil {
			return err
		}
		return to.End(end)
	})
	return wrap(err, "read the audit trail")
}

// exportChain tells the rows behind the cut and their checkpoints, and counts them.
func exportChain(ctx context.Context, q querier, cut int64, to backup.Trail, end *backup.End) error {
	row, told := cut, cut-1 // the last row that was told, and up to where the checkpoints were
	page := make([]backup.Entry, 0, exportedAtOnce)
	for upTo := int64(0); upTo < math.MaxInt64; told = upTo {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		page = page[:0]
		err := acts(q.all, `SELECT `+auditColumns+` FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2`, in{row, exportedAtOnce}, func(e backup.Entry) error {
			page = append(page, e)
			return nil
		})
		if err != nil {
			return err
		}
		upTo = math.MaxInt64
		if len(page) == exportedAtOnce {
			upTo = page[len(page)-1].Seq
		}
		points, err := checkpoints(q, `SELECT `+checkpointColumns+` FROM audit_checkpoints WHERE seq > $1 AND seq <= $2 ORDER BY number`, in{told, upTo})
		if err != nil {
			return err
		}
		end.Rows, end.Checkpoints = end.Rows+int64(len(page)), end.Checkpoints+int64(len(points))
		for _, e := range page {
			for len(points) > 0 && points[0].Seq < e.Seq {
				if err := to.Checkpoint(points[0]); err != nil {
					return err
				}
				points = points[1:]
			}
			if err := to.Entry(e); err != nil {
				return err
			}
			row = e.Seq
		}
		for _, c := range points {
			if err := to.Checkpoint(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// AuditKeys returns the keys that sign the audit trail, in the order they were added.
func (db *DB) AuditKeys(ctx context.Context) ([]auth.KeyRow, error) {
	var found []auth.KeyRow
	err := db.read(ctx, func(q querier) (err error) {
		found, err = auditKeys(q.all)
		return err
	})
	return found, wrap(err, "read the keys of the audit trail")
}

func auditKeys(all func(string, in, func(func(...any) error) error) error) ([]auth.KeyRow, error) {
	var found []auth.KeyRow
	err := all(`SELECT id, algorithm, sealed, master_key, created_at FROM audit_keys ORDER BY seq`, nil, func(scan func(...any) error) error {
		k := auth.KeyRow{Ring: auth.AuditRing}
		err := scan((*string)(&k.ID), &k.Algorithm, &k.Sealed, &k.MasterKey, (*stamp)(&k.CreatedAt))
		found = append(found, k)
		return err
	})
	return found, err
}

// AddAuditKey adds a key that signs the audit trail, if after is still the youngest ("": there is none); else it is
// [auth.ErrConflict]. So of two who add one at once one wins.
func (db *DB) AddAuditKey(ctx context.Context, k auth.KeyRow, after auth.KeyID, act auth.Act) error {
	_, err := update(ctx, db, func(t *tx) (none struct{}, err error) {
		if err := t.holdKeys(); err != nil {
			return none, err
		}
		n, err := t.exec(`INSERT INTO audit_keys (id, algorithm, sealed, master_key, created_at) SELECT $1, $2, $3, $4, $5
			WHERE COALESCE((SELECT id FROM audit_keys ORDER BY seq DESC LIMIT 1), '') = $6`,
			string(k.ID), k.Algorithm, k.Sealed, k.MasterKey, k.CreatedAt.UnixMilli(), string(after))
		if err == nil && n == 0 {
			err = auth.ErrConflict.Saying("The audit trail has been given another key by somebody else")
		}
		if err != nil {
			return none, err
		}
		return none, t.audit(act, auth.Subject{}, db.Now())
	})
	return wrap(err, "add a key of the audit trail")
}
