package backup

import (
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"strconv"
	"unicode/utf8"
)

// A Writer writes one backup: the header at once, then the rows, in the header's order and number.
type Writer struct {
	header Header
	out    *summed
	packed *gzip.Writer
	line   []byte
	place
}

// A place is how far the rows have come.
type place struct {
	table int   // index into the tables
	done  int64 // rows of it
}

// skip steps over tables that have no more rows.
func (p *place) skip(h *Header) {
	for p.table < len(h.Tables) && p.done == h.Tables[p.table].Rows {
		p.table, p.done = p.table+1, 0
	}
}

// summed is a writer that keeps the checksum and the count of what went through.
type summed struct {
	to  *bufio.Writer
	sum hash.Hash
	n   int64
}

func (s *summed) Write(p []byte) (int, error) {
	n, err := s.to.Write(p)
	s.sum.Write(p[:n])
	s.n += int64(n)
	return n, err
}

// NewWriter writes the beginning of a backup.
func NewWriter(to io.Writer, h Header) (*Writer, error) {
	h.TakenAt = h.TakenAt.UTC()
	if err := h.check(); err != nil {
		return nil, fmt.Errorf("begin the backup: %w", err)
	}
	line, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("begin the backup: %w", err)
	}
	w := &Writer{header: h, out: &summed{to: bufio.NewWriterSize(to, 1<<16), sum: sha256.New()}}
	if _, err := fmt.Fprintf(w.out, "%s%d\n%s\n", magic, Format, line); err != nil {
		return nil, fmt.Errorf("begin the backup: %w", err)
	}
	if w.packed, err = gzip.NewWriterLevel(w.out, gzip.BestSpeed); err != nil {
		return nil, err
	}
	w.skip(&w.header)
	return w, nil
}

// Row writes the next row of the table that is due. Its values are int64, string, []byte or nil, as the columns say.
func (w *Writer) Row(values []any) error {
	if w.table == len(w.header.Tables) {
		return fmt.Errorf("write a row: all %d of them are written", w.header.Rows())
	}
	t := &w.header.Tables[w.table]
	line, err := appendRow(w.line[:0], t.Columns, values)
	if err != nil {
		return fmt.Errorf("write row %d of %s: %w", w.done+1, t.Name, err)
	}
	w.line = line
	if _, err := w.packed.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write row %d of %s: %w", w.done+1, t.Name, err)
	}
	w.done++
	w.skip(&w.header)
	return nil
}

// Written is how many bytes have been written so far.
func (w *Writer) Written() int64 { return w.out.n }

// Close writes the end, with what seal makes of the checksum. It does not close what is written to.
func (w *Writer) Close(seal func(sum []byte) []byte) error {
	if w.table < len(w.header.Tables) {
		t := w.header.Tables[w.table]
		return fmt.Errorf("end the backup: %s has %d rows, and %d were written", t.Name, t.Rows, w.done)
	}
	if err := w.packed.Close(); err != nil {
		return fmt.Errorf("end the backup: %w", err)
	}
	sum := w.out.sum.Sum(nil)
	line, err := json.Marshal(trailer{SHA256: sum, Sealed: seal(sum)})
	if err != nil {
		return fmt.Errorf("end the backup: %w", err)
	}
	if _, err := w.out.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("end the backup: %w", err)
	}
	if err := w.out.to.Flush(); err != nil {
		return fmt.Errorf("end the backup: %w", err)
	}
	return nil
}

// appendRow appends a row's line, without its end.
func appendRow(b []byte, columns []Column, values []any) ([]byte, error) {
	if len(values) != len(columns) {
		return nil, fmt.Errorf("%d values for %d columns", len(values), len(columns))
	}
	b = append(b, '[')
	for i, c := range columns {
		if i > 0 {
			b = append(b, ',')
		}
		ok := false
		switch v := values[i].(type) {
		case nil:
			b, ok = append(b, "null"...), true
		case int64:
			b, ok = strconv.AppendInt(b, v, 10), c.Type == Int
		case string:
			if ok = c.Type == Text && utf8.ValidString(v); ok {
				quoted, err := json.Marshal(v)
				if err != nil {
					return nil, err
				}
				b = append(b, quoted...)
			}
		case []byte:
			b = append(b, '"')
			b = base64.StdEncoding.AppendEncode(b, v)
			b, ok = append(b, '"'), c.Type == Bytes
		}
		if !ok {
			return nil, fmt.Errorf("a %T does not fit column %s, which is %s", values[i], c.Name, c.Type)
		}
	}
	return append(b, ']'), nil
}
