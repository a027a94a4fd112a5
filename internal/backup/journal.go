package backup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"
	"unicode/utf8"
)

// A Hash is the SHA-256 of a row of the audit trail and of all before it; in text it is 64 hexadecimal digits.
type Hash [sha256.Size]byte

// IsZero says whether there is none: it stands before the first row.
func (h Hash) IsZero() bool { return h == Hash{} }

// String is its text.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText writes its text.
func (h Hash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText reads its text, of either case.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(h)) {
		return fmt.Errorf("a hash is %d hexadecimal digits", hex.EncodedLen(len(h)))
	}
	_, err := hex.Decode(h[:], text)
	return err
}

// An Entry is one act of the audit trail, as an export of it has it: one line of JSON.
type Entry struct {
	Number     int64     `json:"number"` // in the order in which they were begun, which need not be that of the chain
	At         time.Time `json:"at"`     // whole milliseconds
	Actor      string    `json:"actor"`
	Action     string    `json:"action"`
	Account    int64     `json:"account,omitempty"`
	Credential string    `json:"credential,omitempty"`
	Secret     int64     `json:"secret,omitempty"`
	Session    string    `json:"session,omitempty"`
	RequestID  string    `json:"request_id,omitempty"`
	Address    string    `json:"address,omitempty"`
	Detail     string    `json:"detail,omitempty"`
	Person     string    `json:"person,omitempty"` // who acted, if it was a person that we know
	About      string    `json:"about,omitempty"`  // the person that it was done to
	Seq        int64     `json:"seq,omitempty"`    // its place in the chain, from 1; 0: it is in none yet
	Hash       Hash      `json:"hash,omitzero"`
}

// Act is the entry without its place in the chain.
func (e Entry) Act() Entry {
	e.Seq, e.Hash = 0, Hash{}
	return e
}

// A Cut says where a chain begins: up to there its rows were removed, because they were older than they need be.
type Cut struct {
	Seq  int64 `json:"cut"` // of the last row that was removed; 0: none was
	Hash Hash  `json:"cut_hash"`
}

// A Checkpoint is a signature under the chain as it was at one moment.
type Checkpoint struct {
	Number    int64     `json:"checkpoint"` // from 1, without gaps
	Seq       int64     `json:"seq"`        // of the last row
	Hash      Hash      `json:"hash"`       // of that
	Cut                 // of the chain at that moment
	At        time.Time `json:"at"`  // whole milliseconds
	Key       string    `json:"key"` // its id
	Public    []byte    `json:"public"`
	Signature []byte    `json:"signature"`
}

// An End is what comes last.
type End struct {
	Rows        int64 `json:"rows"`
	Sealed      int64 `json:"sealed"` // the place in the chain of the last row that has one
	Checkpoints int64 `json:"checkpoints"`
}

// A Trail takes an audit trail in its order: the chain's rows, each checkpoint behind the row that it is about, and then the rows
// that are in no chain yet. An error of any method ends it.
type Trail interface {
	Begin(Cut) error
	Entry(Entry) error
	Checkpoint(Checkpoint) error
	End(End) error
}

// exportFormat is what the first line of an export says.
const exportFormat = "gatehouse audit 1"

type (
	exportHead struct {
		Format string `json:"format"`
		Cut
	}
	exportEnd struct {
		End
		SHA256 Hash `json:"sha256"` // of every byte before this line
	}
)

// An Exporter is a [Trail] that writes what it is given, one line of JSON each. Its last line holds a checksum of all others.
type Exporter struct {
	to  io.Writer
	sum hash.Hash
}

// NewExporter writes to to, in many small pieces.
func NewExporter(to io.Writer) *Exporter { return &Exporter{to: to, sum: sha256.New()} }

// Begin writes the first line.
func (x *Exporter) Begin(c Cut) error { return x.line(exportHead{exportFormat, c}) }

// Entry writes the line of an act.
func (x *Exporter) Entry(e Entry) error {
	e.At = e.At.UTC()
	return x.line(e)
}

// Checkpoint writes the line of a checkpoint.
func (x *Exporter) Checkpoint(c Checkpoint) error {
	c.At = c.At.UTC()
	return x.line(c)
}

// End writes the last line.
func (x *Exporter) End(e End) error {
	return x.line(exportEnd{e, Hash(x.sum.Sum(nil))})
}

func (x *Exporter) line(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	x.sum.Write(line)
	_, err = x.to.Write(line)
	return err
}

// ErrCut is what is wrong with an export whose last line is missing.
var ErrCut = errors.New("it ends before its last line: something was cut off")

// ReadTrail reads an export, which must be whole lines as an [Exporter] writes them, to its checksum. Exports of releases that
// sealed nothing have acts alone, their numbers rising: of those neither Begin nor End is called. An error names its line.
func ReadTrail(from io.Reader, to Trail) error {
	r := trailReader{lines: bufio.NewReaderSize(from, 1<<16), sum: sha256.New(), to: to}
	for n := 1; ; n++ {
		if _, err := r.lines.Peek(1); err == io.EOF {
			if r.began && !r.ended {
				return fmt.Errorf("line %d: %w", n, ErrCut)
			}
			return nil
		}
		if err := r.next(n); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
}

type trailReader struct {
	lines        *bufio.Reader
	sum          hash.Hash
	to           Trail
	line         []byte
	began, ended bool
	last         int64 // number of the last act
}

// next reads one line. What it is its first field tells.
func (r *trailReader) next(n int) error {
	var err error
	if r.line, err = readLine(r.lines, r.line, mostRow); err != nil {
		return err
	}
	line := r.line
	switch {
	case !utf8.Valid(line):
		return errors.New("it is not UTF-8")
	case r.ended:
		return errors.New("something follows the last line")
	case bytes.HasPrefix(line, []byte(`{"format":`)):
		return r.begin(line, n)
	case bytes.HasPrefix(line, []byte(`{"checkpoint":`)) && r.began:
		var c Checkpoint
		if err := r.decode(line, &c); err != nil {
			return err
		}
		if !plainTime(c.At) {
			return errors.New("it is no checkpoint of ours")
		}
		return r.to.Checkpoint(c)
	case bytes.HasPrefix(line, []byte(`{"rows":`)) && r.began:
		return r.end(line)
	}
	var e Entry
	if err := r.decode(line, &e); err != nil {
		return err
	}
	if e.Number <= 0 || e.Action == "" || !plainTime(e.At) || !r.began && e.Number <= r.last {
		return errors.New("it is no act, or not in order")
	}
	r.last = e.Number
	return r.to.Entry(e)
}

// plainTime says whether t is a time as we write them: one moment has one spelling.
func plainTime(t time.Time) bool {
	return !t.IsZero() && t.Location() == time.UTC && t.Equal(t.Truncate(time.Millisecond))
}

func (r *trailReader) begin(line []byte, n int) error {
	var h exportHead
	if err := r.decode(line, &h); err != nil {
		return err
	}
	if h.Format != exportFormat {
		return fmt.Errorf("this export is %q, and this program reads %q", h.Format, exportFormat)
	}
	if n != 1 {
		return errors.New("another export begins here")
	}
	r.began = true
	return r.to.Begin(h.Cut)
}

func (r *trailReader) end(line []byte) error {
	sum := r.sum.Sum(nil)
	var e exportEnd
	if err := r.decode(line, &e); err != nil {
		return err
	}
	if err := r.to.End(e.End); err != nil { // which may name a place
		return err
	}
	if !bytes.Equal(sum, e.SHA256[:]) {
		return errors.New("the checksum of all lines before it is another: something was changed")
	}
	r.ended = true
	return nil
}

func (r *trailReader) decode(line []byte, to any) error {
	r.sum.Write(line)
	r.sum.Write([]byte{'\n'})
	return decodeStrictly(line, to)
}

// Acts is a [Trail] that takes the acts alone.
type Acts func(Entry) error

func (a Acts) Begin(Cut) error             { return nil }
func (a Acts) Entry(e Entry) error         { return a(e) }
func (a Acts) Checkpoint(Checkpoint) error { return nil }
func (a Acts) End(End) error               { return nil }
