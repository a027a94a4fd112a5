package chain

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse/gatehouse/internal/backup"
)

// A Broken chain is not what was sealed, and this is the first place where that shows.
type Broken struct {
	Row        int64 // the place in the chain, 0 if it is none
	Checkpoint int64 // its number, 0 if it is none
	What       string
}

func (b *Broken) Error() string { return b.What }

func brokenRow(seq int64, format string, args ...any) error {
	return &Broken{Row: seq, What: fmt.Sprintf(format, args...)}
}

func brokenCheckpoint(c backup.Checkpoint, format string, args ...any) error {
	return &Broken{Checkpoint: c.Number, What: fmt.Sprintf(format, args...)}
}

// ErrUnsealed is an export of a release that sealed nothing: it proves nothing.
var ErrUnsealed = errors.New("this is an audit trail without a chain, as releases before the chain exported it: nothing about it can be verified")

// A Point is what a checkpoint said of a row: kept elsewhere, it shows later whether the rows up to there are still the same.
type Point struct {
	Seq  int64
	Hash backup.Hash
}

// String is "57:" and the hash.
func (p Point) String() string { return strconv.FormatInt(p.Seq, 10) + ":" + p.Hash.String() }

// ParsePoint reads what [Point.String] writes.
func ParsePoint(s string) (Point, error) {
	var p Point
	seq, digits, _ := strings.Cut(s, ":")
	var err error
	if p.Seq, err = strconv.ParseInt(seq, 10, 64); err == nil {
		err = p.Hash.UnmarshalText([]byte(digits))
	}
	if err != nil || p.Seq < 1 {
		return Point{}, errors.New("a checkpoint is the number of its row, a colon and 64 hexadecimal digits, as gatehouse audit verify prints it")
	}
	return p, nil
}

// A State is how far an audit trail is sealed, as of one moment.
type State struct {
	Head       Point             // the last row of the chain
	Checkpoint backup.Checkpoint // the last; without a number: there is none
	Unsealed   []backup.Entry    // the oldest rows that are in no chain yet
}

// A Want is what a chain must be beside whole.
type Want struct {
	Keys   []string // fingerprints: one of these keys must have signed the last checkpoint; empty: any
	Points []Point  // which must lie in it
}

// A Report is what was found.
type Report struct {
	Rows        int64 // all of them
	First, Last int64 // places in the chain of the first and last row there; 0: none is
	Since       time.Time
	Cut         int64 // rows up to there were removed for their age
	Checkpoints int64
	Checkpoint  *backup.Checkpoint // the last; nil: there is none
	After       int64              // rows after it, those included that are in no chain yet
	Unchained   int64              // rows that are in no chain yet
}

// A Verifier is a [backup.Trail] that says of a trail whether it is whole. Its first error is the first place where it is not;
// one of its kind is a [Broken].
type Verifier struct {
	want   Want
	began  bool
	cut    backup.Cut
	seq    int64 // of the last row
	hash   backup.Hash
	last   backup.Checkpoint // without a number: none
	found  Report
	points map[int64]backup.Hash
	space  []byte
}

// NewVerifier returns one for one trail.
func NewVerifier(want Want) *Verifier {
	v := &Verifier{want: want, points: make(map[int64]backup.Hash)}
	for _, p := range want.Points {
		v.points[p.Seq] = p.Hash
	}
	return v
}

// Begin takes where the trail begins.
func (v *Verifier) Begin(c backup.Cut) error {
	if c.Seq < 0 || (c.Seq == 0) != c.Hash.IsZero() {
		return brokenRow(c.Seq, "it begins behind row %d, which is no place", c.Seq)
	}
	v.began, v.cut, v.seq, v.hash, v.found.Cut = true, c, c.Seq, c.Hash, c.Seq
	return v.pointed(c.Seq)
}

// pointed says whether the row at seq is the one that is wanted there.
func (v *Verifier) pointed(seq int64) error {
	want, ok := v.points[seq]
	if !ok {
		return nil
	}
	if want != v.hash {
		return brokenRow(seq, "the chain up to row %d is not the one of the checkpoint that was kept: it was written anew since", seq)
	}
	delete(v.points, seq)
	return nil
}

// Entry takes the next row.
func (v *Verifier) Entry(e backup.Entry) error {
	if !v.began {
		return ErrUnsealed
	}
	if v.found.Rows++; v.found.Rows == 1 {
		v.found.Since = e.At
	}
	if e.Seq == 0 {
		if !e.Hash.IsZero() {
			return brokenRow(v.seq+1, "act number %d has a hash and no place in the chain", e.Number)
		}
		v.found.Unchained++
		return nil
	}
	switch want := v.seq + 1; {
	case v.found.Unchained > 0:
		return brokenRow(e.Seq, "row %d stands behind acts that are in no chain yet", e.Seq)
	case e.Seq == want+1:
		return brokenRow(want, "row %d is missing", want)
	case e.Seq > want:
		return brokenRow(want, "rows %d to %d are missing", want, e.Seq-1)
	case e.Seq < want:
		return brokenRow(e.Seq, "row %d stands where row %d belongs: it was moved, or put in", e.Seq, want)
	}
	v.space = v.space[:0]
	if v.hash = next(v.space, v.hash, e.Seq, e); v.hash != e.Hash {
		return brokenRow(e.Seq, "row %d (act number %d, %s) is not what was sealed: it, or its hash, was changed", e.Seq, e.Number, strconv.QuoteToASCII(e.Action))
	}
	if v.seq = e.Seq; v.found.First == 0 {
		v.found.First = e.Seq
	}
	return v.pointed(e.Seq)
}

// Checkpoint takes the next checkpoint.
func (v *Verifier) Checkpoint(c backup.Checkpoint) error {
	if !v.began {
		return ErrUnsealed
	}
	v.found.Checkpoints++
	switch {
	case !genuine(c):
		return brokenCheckpoint(c, "checkpoint %d, of row %d, is not what was signed: it was changed", c.Number, c.Seq)
	case v.last.Number != 0 && c.Number != v.last.Number+1:
		return brokenCheckpoint(c, "checkpoint %d comes after checkpoint %d: one is missing, or was moved", c.Number, v.last.Number)
	case c.Seq > v.seq:
		return brokenRow(v.seq+1, "rows %d to %d are missing: checkpoint %d says that they were there", v.seq+1, c.Seq, c.Number)
	case c.Seq < v.seq:
		return brokenCheckpoint(c, "checkpoint %d is of row %d and stands behind row %d: it was moved, or rows were put in", c.Number, c.Seq, v.seq)
	case c.Hash != v.hash:
		from := max(v.cut.Seq, v.last.Seq) + 1
		return brokenRow(from, "rows %d to %d are not those that checkpoint %d was signed for: that part of the chain was written anew", from, c.Seq, c.Number)
	case c.Cut.Seq < v.last.Cut.Seq || c.Cut.Seq > c.Seq:
		return brokenCheckpoint(c, "checkpoint %d says that rows up to %d were removed, which is no place", c.Number, c.Cut.Seq)
	}
	v.last = c
	return nil
}

// End takes the end. Without an error of any method, what was given is whole.
func (v *Verifier) End(e backup.End) error {
	switch {
	case !v.began:
		return ErrUnsealed
	case e.Sealed > v.seq:
		return brokenRow(v.seq+1, "rows %d to %d are missing at the end", v.seq+1, e.Sealed)
	case e.Sealed < v.seq:
		return brokenRow(e.Sealed+1, "rows %d to %d were put in at the end", e.Sealed+1, v.seq)
	case v.seq > v.cut.Seq && v.last.Number == 0: // what seals the first row signs it too
		return brokenRow(v.cut.Seq+1, "rows %d to %d are sealed and no checkpoint is there: all were removed", v.cut.Seq+1, v.seq)
	case e.Checkpoints != v.found.Checkpoints:
		return brokenRow(0, "there are %d checkpoints and should be %d", v.found.Checkpoints, e.Checkpoints)
	case e.Rows != v.found.Rows:
		return brokenRow(0, "there are %d rows and should be %d", v.found.Rows, e.Rows)
	case v.cut != v.last.Cut:
		from := min(v.cut.Seq, v.last.Cut.Seq) + 1
		return brokenRow(from, "rows %d to %d are missing, and no checkpoint says that they were removed for their age", from, max(v.cut.Seq, v.last.Cut.Seq))
	}
	return v.wanted()
}

// wanted says whether a whole chain is the one that is wanted.
func (v *Verifier) wanted() error {
	for seq := range v.points {
		if seq <= v.cut.Seq {
			return brokenRow(seq, "row %d, of the checkpoint that was kept, was removed for its age: rows up to %d were. Give a younger one", seq, v.cut.Seq)
		}
		return brokenRow(seq, "row %d, of the checkpoint that was kept, is missing: the chain ends at row %d", seq, v.seq)
	}
	if len(v.want.Keys) == 0 {
		return nil
	}
	if v.last.Number == 0 {
		return brokenRow(0, "no checkpoint is signed, by the key that is wanted or any other")
	}
	if signer := Fingerprint(v.last.Public); !slices.Contains(v.want.Keys, signer) {
		return brokenCheckpoint(v.last, "checkpoint %d, the last, is signed by the key %s, which is not the one that is wanted (%s)", v.last.Number, signer, strings.Join(v.want.Keys, ", "))
	}
	return nil
}

// SignedBy is a [Broken] unless the last checkpoint, if there is one, is signed by a key of the database's own, whose fingerprints ours
// are.
func (r Report) SignedBy(ours []string) error {
	c := r.Checkpoint
	if c == nil {
		return nil
	}
	signer := Fingerprint(c.Public)
	if slices.Contains(ours, signer) {
		return nil
	}
	return &Broken{Checkpoint: c.Number, What: fmt.Sprintf("checkpoint %d, the last, is signed by the key %s, which does not lie in this database under its master key. After a restore that is so until a server has run; if you know that key, name it with --key", c.Number, signer)}
}

// VerifyFile verifies an export. An error names its line.
func VerifyFile(from io.Reader, want Want) (Report, error) {
	v := NewVerifier(want)
	err := backup.ReadTrail(from, v)
	if err == nil && !v.began {
		err = ErrUnsealed
	}
	return v.Report(), err
}

// Report is what was found so far.
func (v *Verifier) Report() Report {
	r := v.found
	r.Last = v.seq
	if r.First == 0 {
		r.Last = 0
	}
	r.After = v.seq - v.cut.Seq + r.Unchained
	if v.last.Number != 0 {
		last := v.last
		r.Checkpoint, r.After = &last, v.seq-last.Seq+r.Unchained
	}
	return r
}
