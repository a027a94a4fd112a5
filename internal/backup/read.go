package backup

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A Reader reads one backup. Rows come before it is known whether the file is whole: whoever writes them somewhere must be
// able to take them back until [Reader.Finish] has returned nil.
type Reader struct {
	Header Header

	in     *summing
	packed *gzip.Reader
	lines  *bufio.Reader
	line   []byte
	place
}

// summing is a reader that keeps the checksum of what was taken from it. It takes single bytes too, so that gzip takes none
// that is not its own.
type summing struct {
	from *bufio.Reader
	sum  hash.Hash
	late []byte // taken, and not summed yet: one byte at a time would cost much
}

func (s *summing) Read(p []byte) (int, error) {
	n, err := s.from.Read(p)
	s.note(p[:n])
	return n, err
}

func (s *summing) ReadByte() (byte, error) {
	b, err := s.from.ReadByte()
	if err == nil {
		if s.late = append(s.late, b); len(s.late) == cap(s.late) {
			s.flush()
		}
	}
	return b, err
}

func (s *summing) note(p []byte) {
	s.flush()
	s.sum.Write(p)
}

func (s *summing) flush() {
	s.sum.Write(s.late)
	s.late = s.late[:0]
}

// NewReader reads the header. What is no backup is [ErrDamaged]; a format of a later version is an error that says so.
func NewReader(from io.Reader) (*Reader, error) {
	r := &Reader{in: &summing{from: bufio.NewReaderSize(from, 1<<16), sum: sha256.New(), late: make([]byte, 0, 4<<10)}}
	first, err := readLine(r.in.from, nil, 64)
	if err != nil || !strings.HasPrefix(string(first), magic) {
		return nil, damaged("it does not begin as one")
	}
	r.in.note(append(first, '\n'))
	format, err := strconv.Atoi(strings.TrimPrefix(string(first), magic))
	if err != nil || format < 1 {
		return nil, damaged("it does not begin as one")
	}
	if format > Format {
		return nil, fmt.Errorf("this backup has format %d, and this program reads formats up to %d: restore it with the gatehouse that wrote it, or a later one", format, Format)
	}
	line, err := readLine(r.in.from, nil, mostHeader)
	if err != nil {
		return nil, damaged("its header: %v", err)
	}
	if err := decodeStrictly(line, &r.Header); err != nil {
		return nil, damaged("its header: %v", err)
	}
	if err := r.Header.check(); err != nil {
		return nil, err
	}
	r.in.note(append(line, '\n'))
	if r.packed, err = gzip.NewReader(r.in); err != nil {
		return nil, damaged("its rows: %v", err)
	}
	r.packed.Multistream(false)
	r.lines = bufio.NewReaderSize(r.packed, 1<<16)
	r.skip(&r.Header)
	return r, nil
}

// Next reads the next row and the table that it belongs to; after the last one it is [io.EOF]. The values are those that
// [Writer.Row] was given. The slice is not used again.
func (r *Reader) Next() (*Table, []any, error) {
	if r.table == len(r.Header.Tables) {
		return nil, nil, io.EOF
	}
	t := &r.Header.Tables[r.table]
	line, err := readLine(r.lines, r.line, mostRow)
	if err != nil {
		return nil, nil, damaged("row %d of %s: %v", r.done+1, t.Name, err)
	}
	r.line = line
	row, err := parseRow(line, t.Columns)
	if err != nil {
		return nil, nil, damaged("row %d of %s: %v", r.done+1, t.Name, err)
	}
	r.done++
	r.skip(&r.Header)
	return t, row, nil
}

// Finish reads the end, once all rows have been read, and says whether the file is whole: as long as it should be, its
// checksum right, nothing behind it, and opened says of the checksum and its sealed form that they fit.
func (r *Reader) Finish(opened func(sum, sealed []byte) error) error {
	if r.table < len(r.Header.Tables) {
		return errors.New("finish reading a backup: there are rows left")
	}
	if b, err := r.lines.ReadByte(); err == nil {
		return damaged("after its last row comes %q", b)
	} else if err != io.EOF {
		return damaged("the end of its rows: %v", err)
	}
	r.in.flush()
	sum := r.in.sum.Sum(nil)
	line, err := readLine(r.in.from, nil, mostTrailer)
	if err != nil {
		return damaged("its last line: %v", err)
	}
	var end trailer
	if err := decodeStrictly(line, &end); err != nil {
		return damaged("its last line: %v", err)
	}
	if !bytes.Equal(end.SHA256, sum) {
		return damaged("its checksum is wrong")
	}
	if _, err := r.in.from.ReadByte(); err != io.EOF {
		return damaged("something follows its last line")
	}
	return opened(sum, end.Sealed)
}

// readLine reads a line of at most so many bytes into buf, without its end, which must be there.
func readLine(from *bufio.Reader, buf []byte, most int) ([]byte, error) {
	buf = buf[:0]
	for {
		part, err := from.ReadSlice('\n')
		buf = append(buf, part...)
		switch {
		case len(buf) > most:
			return nil, fmt.Errorf("a line has more than %d bytes", most)
		case err == nil:
			return buf[:len(buf)-1], nil
		case err == io.EOF:
			return nil, io.ErrUnexpectedEOF
		case err != bufio.ErrBufferFull:
			return nil, err
		}
	}
}

// parseRow reads one row's line.
func parseRow(line []byte, columns []Column) ([]any, error) {
	if !utf8.Valid(line) {
		return nil, errors.New("it is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	row := make([]any, 0, len(columns))
	if err := d.Decode(&row); err != nil {
		return nil, err
	}
	if d.InputOffset() != int64(len(line)) {
		return nil, errors.New("something follows it")
	}
	if len(row) != len(columns) {
		return nil, fmt.Errorf("%d values for %d columns", len(row), len(columns))
	}
	for i, c := range columns {
		v, err := parseValue(row[i], c.Type)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", c.Name, err)
		}
		row[i] = v
	}
	return row, nil
}

func parseValue(v any, as Type) (any, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case json.Number:
		if as == Int {
			return strconv.ParseInt(v.String(), 10, 64)
		}
	case string:
		switch as {
		case Text:
			return v, nil
		case Bytes:
			return base64.StdEncoding.Strict().DecodeString(v)
		}
	}
	return nil, fmt.Errorf("this is no %s", as)
}
