package gateway

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// asksIn says whether a document asks, read in pieces of so many bytes; 0: in one.
func asksIn(doc []byte, size int) bool {
	s := scanner{name: asking, most: 1}
	feed(&s, doc, size)
	return s.complete()
}

func feed(s *scanner, doc []byte, size int) {
	for size > 0 && len(doc) > size {
		s.scan(doc[:size])
		doc = doc[size:]
	}
	s.scan(doc)
}

func TestWhatAsks(t *testing.T) {
	nested := func(levels int) string {
		return `{"a":` + strings.Repeat("[", levels-1) + strings.Repeat("]", levels-1) + `,"refresh":true}`
	}
	for body, want := range map[string]bool{
		`{"refresh":true}`:                                        true,
		" \t\r\n{ \"refresh\" : true } \t\r\n":                    true,
		`{"id":7,"refresh":true,"x":[{"y":null}]}`:                true,
		`{"refresh":true,"id":7,"id":8}`:                          true, // others may be repeated
		`{"\u0072efresh":true}`:                                   true,
		`{"\u0072\u0065\u0066\u0072\u0065\u0073\u0068":true}`:     true,
		`{"refres\u0068":true}`:                                   true,
		`{"a":9007199254740993,"b":1e999999,"refresh":true}`:      true,
		`{"a":` + strings.Repeat("9", 10000) + `,"refresh":true}`: true,
		`{"a":{"refresh":false},"refresh":true}`:                  true,
		`{"a":"\ud800","refresh":true}`:                           true, // half a pair is in the grammar
		`{"Refresh":false,"refresh":true}`:                        true, // another key
		"{\"\u017f\":\"\u00e9\U0001f600\x7f\",\"refresh\":true}":  true,
		nested(512):   true,
		nested(513):   false,
		nested(20000): false,

		`{"Refresh":true}`: false, `{"REFRESH":true}`: false, `{"refre\u017fh":true}`: false, "{\"refre\u017fh\":true}": false,
		`{"refresh ":true}`: false, `{" refresh":true}`: false, `{"refres":true}`: false, `{"refreshh":true}`: false,
		`{"refresh\u0000":true}`: false, `{"refresh\n":true}`: false, `{"":true}`: false, "{\"re\u0301fresh\":true}": false,
		`{"refresh":false}`: false, `{"refresh":"true"}`: false, `{"refresh":1}`: false, `{"refresh":null}`: false,
		`{"refresh":[true]}`: false, `{"refresh":{"refresh":true}}`: false, `{"refresh":True}`: false, `{"refresh":truetrue}`: false,
		`{"refresh":tru}`: false, `{"refresh":true1}`: false, `{"refresh"true}`: false, `{"refresh"::true}`: false,
		`{"refresh":false,"refresh":true}`: false, `{"refresh":true,"refresh":true}`: false, `{"refresh":true,"refresh":false}`: false,
		`{"refresh":true,"\u0072efresh":true}`: false,
		`{"a":{"refresh":true}}`:               false, `{"a":[{"refresh":true}]}`: false, `[{"refresh":true}]`: false, `{"a":"refresh","b":true}`: false,
		`"refresh"`: false, `true`: false, `null`: false, `{}`: false, ``: false, ` `: false, `[]`: false,
		`{"refresh":true}{}`: false, `{"refresh":true} x`: false, `{"refresh":true},`: false, `{"refresh":true}}`: false, "{\"refresh\":true}\x00": false,
		`{"refresh":true`: false, `{"refresh":true,}`: false, `{,"refresh":true}`: false, `{"a":1 "refresh":true}`: false, `{'refresh':true}`: false,
		`{refresh:true}`: false, `{"refresh":true/**/}`: false, "//\n{\"refresh\":true}": false,
		"\xef\xbb\xbf{\"refresh\":true}": false, "\xff\xfe{\x00": false, "\x0b{\"refresh\":true}": false, "\u00a0{\"refresh\":true}": false,
		"{\"a\":\"\xff\",\"refresh\":true}": false, "{\"a\":\"\xc0\x80\",\"refresh\":true}": false, "{\"a\":\"\xed\xa0\x80\",\"refresh\":true}": false,
		"{\"a\":\"\xf4\x90\x80\x80\",\"refresh\":true}": false, "{\"a\":\"\xe0\x80\x80\",\"refresh\":true}": false, "{\"a\":\"\xc3\",\"refresh\":true}": false,
		"{\"a\":\"\n\",\"refresh\":true}": false, "{\"a\":\"\x00\",\"refresh\":true}": false, `{"a":"\x41","refresh":true}`: false,
		`{"a":"\u12","refresh":true}`: false, `{"a":"\u12g4","refresh":true}`: false, `{"a":"\U0041","refresh":true}`: false,
		`{"a":01,"refresh":true}`: false, `{"a":+1,"refresh":true}`: false, `{"a":.5,"refresh":true}`: false, `{"a":5.,"refresh":true}`: false,
		`{"a":1e,"refresh":true}`: false, `{"a":1e+,"refresh":true}`: false, `{"a":-,"refresh":true}`: false, `{"a":0x1,"refresh":true}`: false,
		`{"a":NaN,"refresh":true}`: false, `{"a":-Infinity,"refresh":true}`: false, `{"a":1.2.3,"refresh":true}`: false, `{"a":1e2.5,"refresh":true}`: false,
		`{"a":00,"refresh":true}`: false, `{"a":-01,"refresh":true}`: false, `{"a":[1,],"refresh":true}`: false, `{"a":[,1],"refresh":true}`: false,
		`{"a":[1}],"refresh":true}`: false, `{"a":{"b":1],"refresh":true}`: false, `{"a":[1:2],"refresh":true}`: false, `{"a":{"b"},"refresh":true}`: false,
		`{1:2,"refresh":true}`: false, `{"a":,"refresh":true}`: false, `{"a":nul,"refresh":true}`: false, `{"a":"b` + "\t" + `","refresh":true}`: false,
	} {
		for _, size := range []int{0, 1, 2, 7} {
			if got := asksIn([]byte(body), size); got != want {
				t.Errorf("%.60q in pieces of %d: got %v, want %v", body, size, got, want)
			}
		}
		if refer([]byte(body), asking).asks() != want || standard([]byte(body), asking).asks() != want {
			t.Errorf("%.60q: the others say it is not %v", body, want)
		}
	}
}

// agree fails unless the scanner says of a document what two parsers say that have nothing in common with it.
func agree(t *testing.T, doc []byte, size int) {
	t.Helper()
	f, other := refer(doc, asking), standard(doc, asking)
	if f.asks() != other.asks() || f.object != other.object {
		t.Fatalf("%q: the reference says %+v and encoding/json %+v", doc, f, other)
	}
	if got := asksIn(doc, size); got != f.asks() {
		t.Fatalf("%q in pieces of %d: asks %v, want %v", doc, size, got, f.asks())
	}
	f, other = refer(doc, given), standard(doc, given)
	if f.takes() != other.takes() || f.members != other.members {
		t.Fatalf("%q: the reference says %+v and encoding/json %+v", doc, f, other)
	}
	s := scanner{name: given}
	feed(&s, doc, size)
	if s.complete() != f.takes() {
		t.Fatalf("%q in pieces of %d: takes a member %v, want %v", doc, size, s.complete(), f.takes())
	}
	if f.takes() && s.members != f.members {
		t.Fatalf("%q in pieces of %d: has members %v", doc, size, s.members)
	}
}

func TestParsersAgree(t *testing.T) {
	for seed := range many(100_000) {
		d := documents{rand.New(rand.NewPCG(38, uint64(seed)))}
		agree(t, d.next(), d.IntN(9))
	}
}

func FuzzAsking(f *testing.F) {
	for seed := range uint64(200) {
		f.Add(documents{rand.New(rand.NewPCG(1, seed))}.next(), byte(seed))
	}
	f.Add([]byte("\xef\xbb\xbf{\"refresh\":true}"), byte(1))
	f.Add([]byte("{\"refre\\u017fh\":true,\"\\u0072efresh\":true}"), byte(3))
	f.Fuzz(func(t *testing.T, doc []byte, size byte) { agree(t, doc, int(size)) })
}

// Reading on in a document costs nothing but time.
func TestScanAllocatesNothing(t *testing.T) {
	doc := []byte(`{"a":[1,2.5e7,{"b":"日本\u0041"}],"refresh":true} `)
	s := new(scanner)
	if n := testing.AllocsPerRun(100, func() {
		*s = scanner{name: asking, most: 1}
		s.scan(doc)
		if !s.complete() {
			t.Error("it does not ask")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkScan(b *testing.B) {
	for name, doc := range map[string]string{
		"orders":  `{"orders":[` + strings.Repeat(`{"id":1234567,"status":"shipped","lines":[{"sku":"A-17","count":2,"price":19.95}],"gift":false},`, 300) + `{}]}`,
		"text":    `{"text":"` + strings.Repeat("All the world is a stage. ", 1200) + `"}`,
		"accents": `{"text":"` + strings.Repeat("日本語のテキスト、", 1200) + `"}`,
	} {
		b.Run(name, func(b *testing.B) {
			p := []byte(doc)
			b.SetBytes(int64(len(p)))
			for b.Loop() {
				s := scanner{name: asking, most: 1}
				s.scan(p)
			}
		})
	}
}

// many is n, or a tenth where time is short.
func many(n int) int {
	if raced || testing.Short() {
		return n / 10
	}
	return n
}
