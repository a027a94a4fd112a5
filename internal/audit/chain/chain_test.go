package chain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gatehouse/gatehouse/internal/backup"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 5e6, time.UTC)

func key(t testing.TB, seed byte) *Key {
	t.Helper()
	k, err := NewKey("key"+string('a'+rune(seed)), bytes.Repeat([]byte{seed}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// A book is an audit trail that a test writes: it seals, signs and cuts as a server does.
type book struct {
	key  *Key
	cut  backup.Cut
	rows []backup.Entry
	// points are what follows the row with so many rows before it.
	points map[int][]backup.Checkpoint
	signed int64
}

func (b *book) head() (int64, backup.Hash) {
	for _, e := range slices.Backward(b.rows) {
		if e.Seq > 0 {
			return e.Seq, e.Hash
		}
	}
	return b.cut.Seq, b.cut.Hash
}

func (b *book) write(e backup.Entry) {
	b.rows = append(b.rows, e)
}

func (b *book) seal() {
	seq, hash := b.head()
	for i := range b.rows {
		if e := &b.rows[i]; e.Seq == 0 {
			seq++
			hash = Next(hash, seq, *e)
			e.Seq, e.Hash = seq, hash
		}
	}
}

func (b *book) sign() {
	seq, hash := b.head()
	b.signed++
	if b.points == nil {
		b.points = make(map[int][]backup.Checkpoint)
	}
	b.points[len(b.rows)] = append(b.points[len(b.rows)], b.key.Sign(backup.Checkpoint{Number: b.signed, Seq: seq, Hash: hash, Cut: b.cut, At: noon}))
}

// export is the file.
func (b *book) export(t testing.TB) []byte {
	t.Helper()
	var file bytes.Buffer
	if err := b.tell(backup.NewExporter(&file)); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func (b *book) tell(to backup.Trail) error {
	err := to.Begin(b.cut)
	points := int64(0)
	for i := 0; i <= len(b.rows); i++ {
		for _, c := range b.points[i] {
			points++
			err = errors.Join(err, to.Checkpoint(c))
		}
		if i < len(b.rows) {
			err = errors.Join(err, to.Entry(b.rows[i]))
		}
		if err != nil {
			return err
		}
	}
	seq, _ := b.head()
	return to.End(backup.End{Rows: int64(len(b.rows)), Sealed: seq, Checkpoints: points})
}

func verify(file []byte, want Want) (Report, error) { return VerifyFile(bytes.NewReader(file), want) }

func act(n int64) backup.Entry {
	return backup.Entry{
		Number: n, At: noon.Add(time.Duration(n) * time.Second), Actor: "command line (user root)", Action: "account.rename",
		Account: 100000 + n, Detail: fmt.Sprintf("Acme %d", n),
	}
}

// ten is a trail of ten rows, with checkpoints behind the fourth and the eighth, and two acts that are not sealed yet.
func ten(t testing.TB) *book {
	b := &book{key: key(t, 1)}
	for n := int64(1); n <= 12; n++ {
		b.write(act(n))
		if n <= 10 {
			b.seal()
		}
		if n == 4 || n == 8 {
			b.sign()
		}
	}
	return b
}

// The hash of a row is one for good: what was sealed by this release must be whole for every later one.
func TestHashesAreForGood(t *testing.T) {
	e := act(7)
	e.Credential, e.Secret, e.Session, e.RequestID, e.Address = "aB3dE5gH7jK9", 2, "s1", "reqid_1", "2001:db8::1"
	first := Next(backup.Hash{}, 1, e)
	if got, want := first.String(), "49641cb2afd5400354fd0fae92185c15a38d96fa42bca8f81675409050d4f2a2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := Next(first, 2, act(8)).String(), "b2c8a431f634b57972880fda06374132047f3adab3f03e9687864af83bf32365"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := Fingerprint(key(t, 1).public), "SHA256:NHUPmL1Z/PyUbaRaqr6TO+FUpLUJThxKv0KGZQXzyX4"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Whatever can differ between two rows makes another hash, and no two fields can be taken for one another.
func TestEveryFieldCounts(t *testing.T) {
	base := backup.Entry{Number: 1, At: noon, Actor: "a", Action: "b"}
	seen := map[backup.Hash]string{Next(backup.Hash{}, 1, base): "as it is"}
	for name, change := range map[string]func(*backup.Entry){
		"number":     func(e *backup.Entry) { e.Number = 2 },
		"at":         func(e *backup.Entry) { e.At = e.At.Add(time.Millisecond) },
		"actor":      func(e *backup.Entry) { e.Actor = "ab" },
		"action":     func(e *backup.Entry) { e.Action = "a" },
		"account":    func(e *backup.Entry) { e.Account = 1 },
		"credential": func(e *backup.Entry) { e.Credential = "1" },
		"secret":     func(e *backup.Entry) { e.Secret = 1 },
		"session":    func(e *backup.Entry) { e.Session = "1" },
		"request":    func(e *backup.Entry) { e.RequestID = "1" },
		"address":    func(e *backup.Entry) { e.Address = "1" },
		"detail":     func(e *backup.Entry) { e.Detail = "1" },
		"person":     func(e *backup.Entry) { e.Person = "1" },
		"about":      func(e *backup.Entry) { e.About = "1" },
	} {
		e := base
		change(&e)
		h := Next(backup.Hash{}, 1, e)
		if was, twice := seen[h]; twice {
			t.Errorf("another %s hashes like %s", name, was)
		}
		seen[h] = name
	}
	if _, same := seen[Next(backup.Hash{}, 2, base)]; same {
		t.Error("the place in the chain is not hashed")
	}
	if _, same := seen[Next(backup.Hash{1}, 1, base)]; same {
		t.Error("what comes before is not hashed")
	}
	fields, err := json.Marshal(backup.Entry{
		Number: 1, At: noon, Actor: "a", Action: "a", Account: 1, Credential: "a", Secret: 1, Session: "a", RequestID: "a", Address: "a",
		Detail: "a", Person: "a", About: "a",
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(fields, []byte(`":`)); n != 13 { // with seq and hash left out
		t.Errorf("a row has %d fields, and this test knows 13: hash the new one too, unless it is empty", n)
	}
}

func TestWhole(t *testing.T) {
	b := ten(t)
	got, err := verify(b.export(t), Want{Keys: []string{b.key.Fingerprint()}, Points: []Point{{4, b.rows[3].Hash}, {10, b.rows[9].Hash}}})
	if err != nil {
		t.Fatal(err)
	}
	if got.Rows != 12 || got.First != 1 || got.Last != 10 || got.Checkpoints != 2 || got.Checkpoint.Seq != 8 || got.After != 4 || got.Unchained != 2 || !got.Since.Equal(act(1).At) {
		t.Errorf("got %+v", got)
	}

	empty := &book{key: key(t, 1)}
	if got, err := verify(empty.export(t), Want{}); err != nil || got.Rows != 0 || got.Checkpoint != nil {
		t.Errorf("an empty one: got %+v, %v", got, err)
	}

	// Rows up to the sixth grew old: a checkpoint says that they were removed, and what is left stays whole.
	b.seal()
	b.cut = backup.Cut{Seq: 6, Hash: b.rows[5].Hash}
	b.sign()
	aged := &book{key: b.key, cut: b.cut, rows: b.rows[6:], points: map[int][]backup.Checkpoint{2: b.points[8], 6: b.points[12]}}
	got, err = verify(aged.export(t), Want{Points: []Point{{6, b.rows[5].Hash}}})
	if err != nil || got.Cut != 6 || got.First != 7 || got.Rows != 6 || got.After != 0 {
		t.Errorf("got %+v, %v", got, err)
	}
	// All of them.
	b.cut = backup.Cut{Seq: 12, Hash: b.rows[11].Hash}
	b.sign()
	gone := &book{key: b.key, cut: b.cut, points: map[int][]backup.Checkpoint{0: b.points[12][1:]}}
	if got, err := verify(gone.export(t), Want{}); err != nil || got.Rows != 0 || got.Cut != 12 || got.Checkpoint.Seq != 12 {
		t.Errorf("got %+v, %v", got, err)
	}
}

// Somebody with the database, and without the key, does what he can.
func TestPlaces(t *testing.T) {
	anew := func(b *book, from int) { // as who knows how it is hashed
		var hash backup.Hash
		if from > 0 {
			hash = b.rows[from-1].Hash
		}
		for i := from; i < 10; i++ {
			hash = Next(hash, b.rows[i].Seq, b.rows[i])
			b.rows[i].Hash = hash
		}
	}
	for _, c := range []struct {
		name       string
		do         func(*book)
		row, point int64
	}{
		{"a row changed", func(b *book) { b.rows[5].Detail += "x" }, 6, 0},
		{"a row changed, with its hash", func(b *book) {
			b.rows[5].Detail += "x"
			b.rows[5].Hash = Next(b.rows[4].Hash, 6, b.rows[5])
		}, 7, 0},
		{"a row changed, and all hashes since", func(b *book) { b.rows[5].Detail += "x"; anew(b, 5) }, 5, 0},
		{"a row after the last checkpoint changed", func(b *book) { b.rows[8].Actor = "nobody" }, 9, 0},
		{"a row removed", func(b *book) { b.rows = slices.Delete(b.rows, 2, 3); b.shift(3, -1) }, 3, 0},
		{"the first row removed", func(b *book) { b.rows = b.rows[1:]; b.shift(1, -1) }, 1, 0},
		{"three rows removed", func(b *book) { b.rows = slices.Delete(b.rows, 4, 7); b.shift(5, -3) }, 5, 0},
		{"a row of a checkpoint removed", func(b *book) { b.rows = slices.Delete(b.rows, 7, 8); b.shift(8, -1) }, 8, 0},
		{"two rows swapped", func(b *book) { b.rows[5], b.rows[6] = b.rows[6], b.rows[5] }, 6, 0},
		{"two rows swapped, with their places", func(b *book) {
			x, y := b.rows[5], b.rows[6]
			x.Seq, y.Seq, x.Hash, y.Hash = y.Seq, x.Seq, y.Hash, x.Hash
			b.rows[5], b.rows[6] = y, x
		}, 6, 0},
		{"a row put in", func(b *book) { b.rows = slices.Insert(b.rows, 3, b.rows[2]); b.shift(4, 1) }, 3, 0},
		{"a checkpoint changed", func(b *book) { b.points[4][0].At = noon.Add(time.Hour) }, 0, 1},
		{"a checkpoint of somebody else", func(b *book) { b.points[8][0].Public = key(t, 9).public }, 0, 2},
		{"a checkpoint between two removed", func(b *book) { b.sign(); b.points[8] = nil; b.points[10], b.points[12] = b.points[12], nil }, 0, 3},
		{"a checkpoint moved", func(b *book) { b.points[5], b.points[4] = b.points[4], nil }, 0, 1},
	} {
		b := ten(t)
		c.do(b)
		v := NewVerifier(Want{})
		err := b.tell(v)
		var broken *Broken
		if !errors.As(err, &broken) || broken.Row != c.row || broken.Checkpoint != c.point {
			t.Errorf("%s: got %v (%+v), want row %d, checkpoint %d", c.name, err, broken, c.row, c.point)
		}
	}

	b := ten(t)
	end := func(e backup.End) error {
		v := NewVerifier(Want{})
		if err := v.Begin(backup.Cut{}); err != nil {
			return err
		}
		for i, row := range b.rows[:8] {
			if err := v.Entry(row); err != nil {
				return err
			}
			if i == 3 {
				if err := v.Checkpoint(b.points[4][0]); err != nil {
					return err
				}
			}
		}
		return v.End(e)
	}
	if err := end(backup.End{Rows: 8, Sealed: 8, Checkpoints: 1}); err != nil {
		t.Errorf("eight rows: %v", err)
	}
	for name, e := range map[string]backup.End{
		"rows removed at the end": {Rows: 8, Sealed: 10, Checkpoints: 1}, "rows put in at the end": {Rows: 8, Sealed: 7, Checkpoints: 1},
		"a checkpoint removed": {Rows: 8, Sealed: 8, Checkpoints: 2}, "an act removed": {Rows: 9, Sealed: 8, Checkpoints: 1},
	} {
		if err := end(e); err == nil {
			t.Errorf("%s: it is whole", name)
		}
	}
}

// shift moves the checkpoints behind rows from a place on.
func (b *book) shift(from, by int) {
	moved := make(map[int][]backup.Checkpoint)
	for at, c := range b.points {
		if at >= from {
			at += by
		}
		moved[at] = append(moved[at], c...)
	}
	b.points = moved
}

// Who removes the oldest rows by hand has no key to sign that they were removed for their age.
func TestOldestRowsRemovedByHand(t *testing.T) {
	b := ten(t)
	forged := &book{key: b.key, cut: backup.Cut{Seq: 4, Hash: b.rows[3].Hash}, rows: b.rows[4:], points: map[int][]backup.Checkpoint{4: b.points[8]}}
	var broken *Broken
	if _, err := verify(forged.export(t), Want{}); !errors.As(err, &broken) || broken.Row != 1 {
		t.Errorf("got %v, want row 1", err)
	}
	for _, c := range []backup.Cut{{Seq: -1, Hash: backup.Hash{1}}, {Seq: 3}, {Hash: backup.Hash{1}}} {
		if err := NewVerifier(Want{}).Begin(c); err == nil {
			t.Errorf("it begins at %+v", c)
		}
	}
}

// Whoever has the database and the master key can write a new history. What was kept elsewhere shows it.
func TestPins(t *testing.T) {
	b := ten(t)
	kept := Point{8, b.rows[7].Hash}
	mine := b.key.Fingerprint()
	rewritten := &book{key: b.key}
	for n := int64(1); n <= 12; n++ {
		e := act(n)
		if n == 5 {
			e.Actor = "somebody else"
		}
		rewritten.write(e)
	}
	rewritten.seal()
	rewritten.sign()
	stranger := &book{key: key(t, 2), rows: slices.Clone(rewritten.rows)}
	stranger.sign()
	unsigned := &book{key: b.key, rows: rewritten.rows}
	for _, c := range []struct {
		name string
		b    *book
		want Want
		ok   bool
	}{
		{"as it was", b, Want{Keys: []string{mine}, Points: []Point{kept}}, true},
		{"written anew", rewritten, Want{Keys: []string{mine}}, true},
		{"written anew, held against a checkpoint", rewritten, Want{Points: []Point{kept}}, false},
		{"by another key", stranger, Want{}, true},
		{"by another key, held against ours", stranger, Want{Keys: []string{mine}}, false},
		{"by one of two", stranger, Want{Keys: []string{mine, stranger.key.Fingerprint()}}, true},
		{"not signed at all", unsigned, Want{}, false},
		{"empty, held against our key", &book{key: b.key}, Want{Keys: []string{mine}}, false},
		{"a checkpoint of later", b, Want{Points: []Point{{99, kept.Hash}}}, false},
	} {
		if _, err := verify(c.b.export(t), c.want); (err == nil) != c.ok {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
	aged := &book{key: b.key, cut: backup.Cut{Seq: 8, Hash: b.rows[7].Hash}, signed: 2, rows: slices.Clone(b.rows[8:])}
	aged.seal()
	aged.sign()
	if _, err := verify(aged.export(t), Want{Points: []Point{{4, b.rows[3].Hash}}}); err == nil || !strings.Contains(err.Error(), "younger") {
		t.Errorf("a checkpoint of a row that is gone: got %v", err)
	}
}

func TestParse(t *testing.T) {
	p := Point{57, backup.Hash{1, 2, 3}}
	if got, err := ParsePoint(p.String()); err != nil || got != p {
		t.Errorf("got %v, %v", got, err)
	}
	f := key(t, 1).Fingerprint()
	for _, s := range []string{f, strings.TrimPrefix(f, "SHA256:")} {
		if got, err := ParseFingerprint(s); err != nil || got != f {
			t.Errorf("%s: got %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "57", "57:", ":" + p.Hash.String(), "0:" + p.Hash.String(), "x:" + p.Hash.String(), p.String() + "0", p.String()[:20]} {
		if got, err := ParsePoint(s); err == nil {
			t.Errorf("%q is the point %v", s, got)
		}
	}
	for _, s := range []string{"", "SHA256:", f + "=", f[:30], f + "\n", "MD5:" + f} {
		if got, err := ParseFingerprint(s); err == nil {
			t.Errorf("%q is the fingerprint %v", s, got)
		}
	}
	if _, err := NewKey("k", make([]byte, 31)); err == nil {
		t.Error("a key of 31 bytes")
	}
	if got := fmt.Sprintf("%v %+v", key(t, 1), key(t, 1)); got != "keyb keyb" {
		t.Errorf("a key prints as %q", got)
	}
}

// draw draws a trail.
func draw(t *rapid.T, k *Key) *book {
	b := &book{key: k}
	word := rapid.StringMatching(`[a-zäü"<&\\ ]{0,6}`)
	n := int64(0)
	for range rapid.IntRange(1, 25).Draw(t, "steps") {
		switch rapid.SampledFrom([]string{"write", "write", "write", "seal", "sign", "cut"}).Draw(t, "step") {
		case "write":
			n += rapid.Int64Range(1, 3).Draw(t, "numbers")
			b.write(backup.Entry{
				Number: n, At: noon.Add(time.Duration(rapid.IntRange(0, 5000).Draw(t, "ms")) * time.Millisecond), Actor: word.Draw(t, "actor"), Action: "a",
				Account: rapid.Int64Range(0, 3).Draw(t, "account"), Detail: word.Draw(t, "detail"), Person: word.Draw(t, "person"),
			})
		case "seal":
			b.seal()
			if b.signed == 0 && len(b.rows) > 0 { // what seals the first row signs it too
				b.sign()
			}
		case "sign":
			if seq, _ := b.head(); seq > 0 && (len(b.rows) == 0 || b.rows[len(b.rows)-1].Seq > 0) {
				b.sign()
			}
		case "cut":
			if len(b.rows) > 0 && b.rows[len(b.rows)-1].Seq > 0 {
				b.cut.Seq, b.cut.Hash = b.head()
				b.rows, b.points = nil, nil
				b.sign()
			}
		}
	}
	return b
}

// Any byte of an exported file changed, any line removed, any two swapped: none is whole any more. What of it lies before the last
// checkpoint is told with its place.
func TestAnyChangeIsNamed(t *testing.T) {
	k := key(t, 3)
	rapid.Check(t, func(r *rapid.T) {
		b := draw(r, k)
		file := b.export(t)
		if _, err := verify(file, Want{}); err != nil {
			r.Fatalf("it is not whole: %v\n%s", err, file)
		}
		lines := bytes.SplitAfter(file, []byte("\n"))
		lines = lines[:len(lines)-1]
		var changed []byte
		switch rapid.SampledFrom([]string{"byte", "remove", "swap", "repeat", "cut"}).Draw(r, "what") {
		case "byte":
			changed = bytes.Clone(file)
			at := rapid.IntRange(0, len(file)-1).Draw(r, "at")
			changed[at] ^= byte(rapid.IntRange(1, 255).Draw(r, "by"))
		case "remove":
			i := rapid.IntRange(0, len(lines)-1).Draw(r, "line")
			changed = bytes.Join(slices.Delete(slices.Clone(lines), i, i+1), nil)
		case "swap":
			i, j := rapid.IntRange(0, len(lines)-1).Draw(r, "one"), rapid.IntRange(0, len(lines)-1).Draw(r, "other")
			if i == j {
				return
			}
			swapped := slices.Clone(lines)
			swapped[i], swapped[j] = swapped[j], swapped[i]
			changed = bytes.Join(swapped, nil)
		case "repeat":
			i := rapid.IntRange(0, len(lines)-1).Draw(r, "line")
			changed = bytes.Join(slices.Insert(slices.Clone(lines), i, lines[i]), nil)
		case "cut":
			changed = file[:rapid.IntRange(1, len(file)-1).Draw(r, "bytes")]
		}
		if _, err := verify(changed, Want{}); err == nil {
			r.Fatalf("it is whole:\n%s\nand before:\n%s", changed, file)
		} else if !strings.Contains(err.Error(), "line ") {
			r.Fatalf("no line is named: %v", err)
		}
	})
}

// What is forged with all hashes, counts and the checksum written anew is named all the same, up to the last checkpoint.
func TestAForgerWithoutTheKey(t *testing.T) {
	k := key(t, 3)
	rapid.Check(t, func(r *rapid.T) {
		b := draw(r, k)
		last := int64(0)
		for at, points := range b.points {
			if len(points) > 0 && at > 0 {
				last = max(last, points[len(points)-1].Seq)
			}
		}
		reach := int(last - b.cut.Seq) // rows that the last checkpoint is about
		if reach < 1 {
			return
		}
		i := rapid.IntRange(0, reach-1).Draw(r, "row")
		switch rapid.SampledFrom([]string{"change", "remove", "put in", "swap"}).Draw(r, "what") {
		case "change":
			b.rows[i].Detail += "!"
		case "remove":
			b.rows = slices.Delete(b.rows, i, i+1)
			b.shift(i+1, -1)
		case "put in":
			b.rows = slices.Insert(b.rows, i, backup.Entry{Number: 1000, At: noon, Actor: "nobody", Action: "nothing"})
			b.shift(i+1, 1)
		case "swap":
			if i == 0 || b.rows[i] == b.rows[i-1] {
				return
			}
			b.rows[i], b.rows[i-1] = b.rows[i-1], b.rows[i]
		}
		seq, hash := b.cut.Seq, b.cut.Hash
		for i := range b.rows {
			if e := &b.rows[i]; e.Seq > 0 || e.Number == 1000 {
				seq++
				hash = Next(hash, seq, *e)
				e.Seq, e.Hash = seq, hash
			}
		}
		var broken *Broken
		if _, err := verify(b.export(t), Want{}); !errors.As(err, &broken) {
			r.Fatalf("got %v", err)
		}
	})
}

func TestUnsealed(t *testing.T) {
	if _, err := verify(nil, Want{}); !errors.Is(err, ErrUnsealed) {
		t.Errorf("an empty file: got %v", err)
	}
	var old bytes.Buffer
	if err := backup.NewExporter(&old).Entry(act(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := verify(old.Bytes(), Want{}); !errors.Is(err, ErrUnsealed) {
		t.Errorf("got %v", err)
	}
	if err := NewVerifier(Want{}).Checkpoint(backup.Checkpoint{}); !errors.Is(err, ErrUnsealed) {
		t.Errorf("got %v", err)
	}
	if err := NewVerifier(Want{}).End(backup.End{}); !errors.Is(err, ErrUnsealed) {
		t.Errorf("got %v", err)
	}
}

// What is whole counts its rows right.
func FuzzVerify(f *testing.F) {
	f.Add(ten(f).export(f))
	f.Add([]byte(`{"format":"gatehouse audit 1","cut":0,"cut_hash":"` + backup.Hash{}.String() + "\"}\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		if r, err := verify(file, Want{}); err == nil && r.Rows != r.Unchained+r.Last-max(r.First-1, 0) {
			t.Errorf("%+v of %q", r, file)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	k := key(b, 1)
	const rows = 100_000
	trail := &book{key: k}
	random := rand.New(rand.NewPCG(1, 2))
	var hash backup.Hash
	for n := int64(1); n <= rows; n++ {
		e := act(n)
		e.RequestID, e.Address, e.Credential = fmt.Sprintf("reqid_%011d", random.IntN(1e9)), "203.0.113.7", "aB3dE5gH7jK9"
		hash = Next(hash, n, e)
		e.Seq, e.Hash = n, hash
		trail.rows = append(trail.rows, e)
		if n%100 == 0 {
			trail.signed++
			if trail.points == nil {
				trail.points = make(map[int][]backup.Checkpoint)
			}
			trail.points[int(n)] = []backup.Checkpoint{k.Sign(backup.Checkpoint{Number: trail.signed, Seq: n, Hash: hash, At: noon})}
		}
	}
	file := trail.export(b)
	b.Run("file", func(b *testing.B) {
		for b.Loop() {
			if _, err := verify(file, Want{}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Seconds())/float64(b.N)*1e6/rows, "s/million-rows")
	})
	b.Run("rows", func(b *testing.B) {
		for b.Loop() {
			if err := trail.tell(NewVerifier(Want{})); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Seconds())/float64(b.N)*1e6/rows, "s/million-rows")
	})
}
