package backup

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

var testTables = []Table{
	{Name: "accounts", Columns: []Column{{"id", Int}, {"name", Text}, {"sealed", Bytes}}, Rows: 3},
	{Name: "empty", Columns: []Column{{"id", Int}}, Rows: 0},
	{Name: "notes", Columns: []Column{{"note", Text}}, Rows: 1},
	{Name: "empty_too", Columns: []Column{{"id", Int}}, Rows: 0},
}

var testRows = [][]any{
	{int64(100001), "Acme <&> \"quoted\" \\ \n ü \u2028", []byte{0, 1, 0xff}},
	{int64(math.MinInt64), nil, []byte{}},
	{nil, "", nil},
	{strings.Repeat("long ", 1000)},
}

func testHeader() Header {
	return Header{
		Schema: 1, Incarnation: "abc", Position: 42, TakenAt: time.Date(2026, 11, 22, 9, 0, 0, 123e6, time.UTC), MasterKey: "mk_1",
		SealCheck: []byte("check"), Gatehouse: "v1", Engine: "SQLite", Tables: testTables,
	}
}

func seal(sum []byte) []byte { return append([]byte("sealed "), sum...) }

func opens(sum, sealed []byte) error {
	if !bytes.Equal(seal(sum), sealed) {
		return errors.New("it does not open")
	}
	return nil
}

func written(t testing.TB, h Header, rows [][]any, seal func([]byte) []byte) []byte {
	t.Helper()
	var file bytes.Buffer
	w, err := NewWriter(&file, h)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if err := w.Row(row); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(seal); err != nil {
		t.Fatal(err)
	}
	if int64(file.Len()) != w.Written() {
		t.Errorf("%d bytes were written, and it says %d", file.Len(), w.Written())
	}
	return file.Bytes()
}

// read reads a whole file.
func read(from io.Reader) (h Header, rows [][]any, err error) {
	r, err := NewReader(from)
	if err != nil {
		return h, nil, err
	}
	for {
		_, row, err := r.Next()
		if err == io.EOF {
			return r.Header, rows, r.Finish(opens)
		}
		if err != nil {
			return r.Header, rows, err
		}
		rows = append(rows, row)
	}
}

func TestRoundTrip(t *testing.T) {
	file := written(t, testHeader(), testRows, seal)
	for name, from := range map[string]io.Reader{"at once": bytes.NewReader(file), "byte by byte": iotest.OneByteReader(bytes.NewReader(file))} {
		h, rows, err := read(from)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if want := testHeader(); !reflect.DeepEqual(h, want) {
			t.Errorf("%s: got %+v, want %+v", name, h, want)
		}
		if !reflect.DeepEqual(rows, testRows) {
			t.Errorf("%s: got %v, want %v", name, rows, testRows)
		}
	}
	if lines := strings.SplitN(string(file), "\n", 3); lines[0] != "gatehouse backup 1" || !strings.HasPrefix(lines[1], `{"schema":1,"incarnation":"abc","position":42,"taken_at":"2026-11-22T09:00:00.123Z","master_key":"mk_1"`) {
		t.Errorf("a person who looks at the file reads %q, %q", lines[0], lines[1])
	}
}

// Not one byte can be missing, added or another.
func TestDamage(t *testing.T) {
	file := written(t, testHeader(), testRows, seal)
	for n := range len(file) {
		if _, _, err := read(bytes.NewReader(file[:n])); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut after %d bytes: %v", n, err)
		}
	}
	for i := range file {
		for _, bit := range []byte{1, 0x20, 0x80} {
			altered := bytes.Clone(file)
			altered[i] ^= bit
			if _, _, err := read(bytes.NewReader(altered)); err == nil {
				t.Fatalf("byte %d of %d altered from %q to %q is not noticed", i, len(file), file[i], altered[i])
			}
		}
	}
	if _, _, err := read(bytes.NewReader(append(bytes.Clone(file), '\n'))); !errors.Is(err, ErrDamaged) {
		t.Errorf("with something behind it: %v", err)
	}
	if _, _, err := read(bytes.NewReader(append(bytes.Clone(file), file...))); !errors.Is(err, ErrDamaged) {
		t.Errorf("twice: %v", err)
	}
}

// Whoever alters a file can compute its checksum anew; what is sealed he cannot.
func TestForgery(t *testing.T) {
	file := written(t, testHeader(), testRows, func([]byte) []byte { return []byte("taken from another file") })
	if _, _, err := read(bytes.NewReader(file)); err == nil || err.Error() != "it does not open" {
		t.Errorf("got %v", err)
	}
}

func TestWriterKeepsItsWord(t *testing.T) {
	begin := func() *Writer {
		w, err := NewWriter(io.Discard, testHeader())
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	for _, row := range [][]any{
		{int64(1), "too few"},
		{int64(1), "too many", []byte{}, nil},
		{"1", "a text for a number", []byte{}},
		{int64(1), []byte("bytes for a text"), []byte{}},
		{int64(1), "not UTF-8 \xff", []byte{}},
		{1, "an int", []byte{}},
	} {
		if err := begin().Row(row); err == nil {
			t.Errorf("%v was written", row)
		}
	}
	w := begin()
	if err := w.Close(seal); err == nil {
		t.Error("a backup was ended that lacks all rows")
	}
	for _, row := range testRows {
		if err := w.Row(row); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Row(testRows[0]); err == nil {
		t.Error("a row more than the header says was written")
	}
}

func TestHeaders(t *testing.T) {
	for name, spoil := range map[string]func(*Header){
		"no tables":         func(h *Header) { h.Tables = nil },
		"no master key":     func(h *Header) { h.MasterKey = "" },
		"no schema":         func(h *Header) { h.Schema = 0 },
		"SQL in a name":     func(h *Header) { h.Tables = []Table{{Name: `a"; DROP TABLE b`, Columns: testTables[0].Columns}} },
		"a name twice":      func(h *Header) { h.Tables = []Table{testTables[0], testTables[0]} },
		"a column twice":    func(h *Header) { h.Tables = []Table{{Name: "a", Columns: []Column{{"id", Int}, {"id", Int}}}} },
		"SQL in a column":   func(h *Header) { h.Tables = []Table{{Name: "a", Columns: []Column{{"id) --", Int}}}} },
		"an unknown type":   func(h *Header) { h.Tables = []Table{{Name: "a", Columns: []Column{{"id", "json"}}}} },
		"less than no rows": func(h *Header) { h.Tables = []Table{{Name: "a", Columns: []Column{{"id", Int}}, Rows: -1}} },
	} {
		h := testHeader()
		spoil(&h)
		if _, err := NewWriter(io.Discard, h); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	later := fmt.Sprintf("gatehouse backup %d\n{}\n", Format+1)
	if _, err := NewReader(strings.NewReader(later)); err == nil || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "format 2") {
		t.Errorf("a later format: %v", err)
	}
	for _, text := range []string{"", "\n", "SQLite format 3\x00", "gatehouse backup one\n", "gatehouse backup 1\n{}\n", "gatehouse backup 1\n" + strings.Repeat("x", mostHeader+1) + "\n"} {
		if _, err := NewReader(strings.NewReader(text)); !errors.Is(err, ErrDamaged) {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}

// Whatever is read as a row is written as one that is read as the same.
func FuzzRow(f *testing.F) {
	for _, row := range testRows[:3] {
		line, err := appendRow(nil, testTables[0].Columns, row)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(line)
	}
	f.Add([]byte(`[1e3,"\ud800","AA=="]`))
	f.Fuzz(func(t *testing.T, line []byte) {
		row, err := parseRow(line, testTables[0].Columns)
		if err != nil {
			return
		}
		again, err := appendRow(nil, testTables[0].Columns, row)
		if err != nil {
			t.Fatalf("%q was read as %v, which cannot be written: %v", line, row, err)
		}
		if got, err := parseRow(again, testTables[0].Columns); err != nil || !reflect.DeepEqual(got, row) {
			t.Fatalf("%q was read as %v, written as %q and read as %v, %v", line, row, again, got, err)
		}
	})
}

// Whatever a file holds, reading it ends, and what was read from a whole one makes one that holds the same.
func FuzzReader(f *testing.F) {
	whole := written(f, testHeader(), testRows, seal)
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte("gatehouse backup 1\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		h, rows, err := read(bytes.NewReader(file))
		if err != nil {
			return
		}
		again, got, err := read(bytes.NewReader(written(t, h, rows, seal)))
		if err != nil || !reflect.DeepEqual(again, h) || !reflect.DeepEqual(got, rows) {
			t.Fatalf("%+v %v became %+v %v, %v", h, rows, again, got, err)
		}
	})
}
