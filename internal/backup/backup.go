// Package backup is the file that a backup is: how it is written and how it is read, whatever database its rows come from
// and go to. It leaves to the store which rows there are, and to server what a restore makes of them.
//
// A file is four parts, the first two and the last of them one line each:
//
//	gatehouse backup 1        what it is, and the version of this format
//	{…}                       the [Header], JSON: what was copied, when, and which tables follow
//	gzip                      the rows, one JSON array a line, table by table in the header's order
//	{"sha256":…,"sealed":…}   the checksum of every byte before this line, and the same sealed by whoever wrote it
//
// The invariants: neither side ever holds more than one row; what [Reader.Finish] returns nil for is, byte for byte, what
// one [Writer] wrote; the file is of no use without the master key, and does not contain it.
package backup

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Format is the version of the format that is written, and the latest that is read.
const Format = 1

const (
	magic = "gatehouse backup "

	mostHeader  = 1 << 20  // bytes of the header's line
	mostRow     = 16 << 20 // of a row's
	mostTrailer = 4 << 10  // of the last one
)

// ErrDamaged is what is wrong with a file that was cut, altered, or never was a backup.
var ErrDamaged = errors.New("this is no whole backup")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// A Header says what a backup holds.
type Header struct {
	Schema      int64     `json:"schema"`      // version of the database's schema
	Incarnation string    `json:"incarnation"` // of the database, and
	Position    int64     `json:"position"`    // how far its change log was
	TakenAt     time.Time `json:"taken_at"`
	MasterKey   string    `json:"master_key"` // the id of the key that is needed to restore it
	SealCheck   []byte    `json:"seal_check"` // sealed under that key, so that another is noticed
	Gatehouse   string    `json:"gatehouse"`  // version of the program
	Engine      string    `json:"engine"`     // of the database: "SQLite" or "PostgreSQL"
	Tables      []Table   `json:"tables"`
}

// A Table is one table as it is copied.
type Table struct {
	Name    string   `json:"name"`
	Columns []Column `json:"columns"`
	Rows    int64    `json:"rows"`
}

// A Column has a name and a type. Any value may be NULL.
type Column struct {
	Name string `json:"name"`
	Type Type   `json:"type"`
}

// A Type is what a column holds; in Go int64, string and []byte.
type Type string

// The types.
const (
	Int   Type = "int"
	Text  Type = "text"
	Bytes Type = "bytes" // base64 in the file
)

// Rows is how many rows the tables have together.
func (h *Header) Rows() int64 {
	var n int64
	for _, t := range h.Tables {
		n += t.Rows
	}
	return n
}

// RowsOf is how many rows one table has.
func (h *Header) RowsOf(table string) int64 {
	if i := slices.IndexFunc(h.Tables, func(t Table) bool { return t.Name == table }); i >= 0 {
		return h.Tables[i].Rows
	}
	return 0
}

// mostTables and mostColumns are far above what any schema of ours has.
const (
	mostTables  = 256
	mostColumns = 256
)

// check refuses a header that no program of ours has written.
func (h *Header) check() error {
	if h.Schema < 1 || h.Position < 0 || h.Incarnation == "" || h.MasterKey == "" || len(h.SealCheck) == 0 || h.TakenAt.IsZero() {
		return damaged("its header lacks schema, position, incarnation, master key or time")
	}
	if len(h.Tables) == 0 || len(h.Tables) > mostTables {
		return damaged("it has %d tables", len(h.Tables))
	}
	seen := make(map[string]bool)
	for _, t := range h.Tables {
		if !identifier(t.Name) || seen[t.Name] || t.Rows < 0 || len(t.Columns) == 0 || len(t.Columns) > mostColumns {
			return damaged("table %q is no table of ours", t.Name)
		}
		seen[t.Name] = true
		columns := make(map[string]bool)
		for _, c := range t.Columns {
			if !identifier(c.Name) || columns[c.Name] || c.Type != Int && c.Type != Text && c.Type != Bytes {
				return damaged("column %q of %s is no column of ours", c.Name, t.Name)
			}
			columns[c.Name] = true
		}
	}
	return nil
}

// identifier says whether s can stand in SQL as it is.
func identifier(s string) bool {
	if s == "" || len(s) > 63 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c != '_' && (c < 'a' || c > 'z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// A trailer is the last line.
type trailer struct {
	SHA256 []byte `json:"sha256"`
	Sealed []byte `json:"sealed"`
}

// decodeStrictly reads one line of JSON that is written in the one way in which we write it.
func decodeStrictly(line []byte, to any) error {
	if err := json.Unmarshal(line, to); err != nil {
		return err
	}
	again, err := json.Marshal(to)
	if err != nil {
		return err
	}
	if bytes.Equal(again, line) {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(line)) // which is slower, and tells more
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return err
	}
	return errors.New("it is spelled otherwise than we spell it")
}
