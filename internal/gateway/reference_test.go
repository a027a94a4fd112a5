package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"unicode/utf8"
)

// A finding is what can be asked of a document: is it one well-formed object, does it have members, and of those that have
// the name in question, which are true.
type finding struct {
	object  bool
	members bool
	values  []bool
}

// asks is the contract's rule.
func (f finding) asks() bool { return f.object && len(f.values) == 1 && f.values[0] }

// takes says whether a member of the name can be added.
func (f finding) takes() bool { return f.object && len(f.values) == 0 }

// refer reads a document in the plainest way there is: the grammar of RFC 8259, rule by rule, over the whole of it.
func refer(doc []byte, name string) (f finding) {
	defer func() {
		if recover() != nil {
			f = finding{}
		}
	}()
	r := &reference{rest: string(doc), name: name}
	r.space()
	if r.peek() != '{' {
		return finding{}
	}
	r.value(1, &f)
	r.space()
	f.object = r.rest == ""
	if !f.object {
		return finding{}
	}
	return f
}

type reference struct{ rest, name string }

func (r *reference) space() { r.rest = strings.TrimLeft(r.rest, " \t\r\n") }
func (r *reference) peek() byte {
	return r.rest[0] // panics at the end: malformed
}

func (r *reference) expect(s string) {
	if !strings.HasPrefix(r.rest, s) {
		panic("malformed")
	}
	r.rest = r.rest[len(s):]
}

// value reads one value of the level; f is told of members unless it is nil.
func (r *reference) value(level int, f *finding) {
	switch c := r.peek(); c {
	case '{', '[':
		if level > 512 {
			panic("too deep")
		}
		r.expect(string(c))
		r.elements(level, c == '{', f)
	case '"':
		r.text()
	case 't':
		r.expect("true")
	case 'f':
		r.expect("false")
	case 'n':
		r.expect("null")
	default:
		r.number()
	}
}

func (r *reference) elements(level int, object bool, f *finding) {
	end := "]"
	if object {
		end = "}"
	}
	if r.space(); strings.HasPrefix(r.rest, end) {
		r.expect(end)
		return
	}
	for {
		r.space()
		key := ""
		if object {
			key = r.text()
			r.space()
			r.expect(":")
			r.space()
		}
		before := r.rest
		r.value(level+1, nil)
		if object && f != nil {
			f.members = true
			if key == r.name {
				f.values = append(f.values, strings.TrimSuffix(before, r.rest) == "true")
			}
		}
		r.space()
		if strings.HasPrefix(r.rest, end) {
			r.expect(end)
			return
		}
		r.expect(",")
	}
}

func (r *reference) text() string {
	var b strings.Builder
	r.expect(`"`)
	for r.peek() != '"' {
		switch c, size := utf8.DecodeRuneInString(r.rest); {
		case c == utf8.RuneError && size == 1, c < 0x20:
			panic("malformed")
		case c != '\\':
			b.WriteRune(c)
			r.rest = r.rest[size:]
		case r.rest[1] == 'u':
			var unit rune
			for _, d := range r.rest[2:6] {
				at := strings.IndexRune("0123456789abcdef", d|0x20)
				if d < '0' || at < 0 {
					panic("malformed")
				}
				unit = unit<<4 + rune(at)
			}
			b.WriteRune(unit)
			r.rest = r.rest[6:]
		default:
			b.WriteByte("\"\\/\b\f\n\r\t"[strings.IndexByte(`"\/bfnrt`, r.rest[1])])
			r.rest = r.rest[2:]
		}
	}
	r.expect(`"`)
	return b.String()
}

func (r *reference) number() {
	r.rest = strings.TrimPrefix(r.rest, "-")
	if r.peek() == '0' {
		r.expect("0")
	} else {
		r.number1()
	}
	if strings.HasPrefix(r.rest, ".") {
		r.expect(".")
		r.number1()
	}
	if r.rest != "" && r.rest[0]|0x20 == 'e' {
		r.rest = r.rest[1:]
		if c := r.peek(); c == '+' || c == '-' {
			r.rest = r.rest[1:]
		}
		r.number1()
	}
}

// number1 reads at least one digit.
func (r *reference) number1() {
	rest := strings.TrimLeft(r.rest, "0123456789")
	if rest == r.rest {
		panic("malformed")
	}
	r.rest = rest
}

// standard asks encoding/json the same. It takes invalid UTF-8 and goes down to 10,000 levels: both are asked of others.
func standard(doc []byte, name string) (f finding) {
	if !utf8.Valid(doc) || !json.Valid(doc) || deepest(doc) > 512 || bytes.TrimLeft(doc, " \t\r\n")[0] != '{' {
		return finding{}
	}
	f.object = true
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	mustNot(token(d))
	for d.More() {
		key, err := d.Token()
		mustNot(err)
		var value json.RawMessage
		mustNot(d.Decode(&value))
		f.members = true
		if key == name {
			f.values = append(f.values, string(value) == "true")
		}
	}
	return f
}

func token(d *json.Decoder) error {
	_, err := d.Token()
	return err
}

func mustNot(err error) {
	if err != nil {
		panic(fmt.Sprintf("encoding/json takes back that it is valid: %v", err))
	}
}

// deepest is how deep a valid document is nested.
func deepest(doc []byte) (deepest int) {
	level, text := 0, false
	for i := 0; i < len(doc); i++ {
		switch c := doc[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '{' || c == '[':
			level++
			deepest = max(deepest, level)
		case c == '}' || c == ']':
			level--
		}
	}
	return deepest
}

// A writer of documents, most of them objects, some of them broken.
type documents struct{ *rand.Rand }

func (d documents) next() []byte {
	b := d.space(nil)
	if d.IntN(20) == 0 {
		b = d.value(b, 0)
	} else {
		b = d.object(b, 0)
	}
	b = d.space(b)
	if d.IntN(3) == 0 {
		b = d.spoil(b)
	}
	return b
}

// spoil changes a byte or two, which may leave the document whole.
func (d documents) spoil(b []byte) []byte {
	const signs = "{}[]:,\"\\ \n0123456789.eE+-truefalsn\x00\x1f\x7f\x80\xbf\xc0\xe0\xed\xa0\xf4\xff"
	at := d.IntN(len(b) + 1)
	sign := signs[d.IntN(len(signs))]
	switch d.IntN(4) {
	case 0:
		return b[:at]
	case 1:
		return append(b[:at:at], append([]byte{sign}, b[at:]...)...)
	case 2:
		return append(b, sign)
	}
	if at < len(b) {
		b[at] = sign
	}
	return b
}

func (d documents) space(b []byte) []byte {
	for d.IntN(4) == 0 {
		b = append(b, " \t\r\n"[d.IntN(4)])
	}
	return b
}

func (d documents) pick(b []byte, from ...string) []byte {
	return append(b, from[d.IntN(len(from))]...)
}

func (d documents) value(b []byte, level int) []byte {
	kind := d.IntN(8)
	if level > 5 {
		kind %= 6
	}
	switch kind {
	case 6:
		return d.object(b, level)
	case 7:
		b = d.space(append(b, '['))
		for i := range d.IntN(4) {
			if i > 0 {
				b = append(b, ',')
			}
			b = d.space(d.value(d.space(b), level+1))
		}
		return append(b, ']')
	case 0, 1:
		return d.pick(b, "0", "-0", "1", "10", "-12.50", "1e400", "2E+07", "9007199254740993", "0.1e-9", "123456789012345678901234567890")
	case 2, 3:
		return d.pick(b, "true", "true", "true", "false", "null")
	}
	return d.pick(b, `""`, `"true"`, `"a"`, `"}"`, `"\""`, `"{\"auth\":1}"`, `"\\"`, `"café"`, `"日本"`, `"😀"`, `"\ud83d\ude00"`, `"\udead"`, `"\u0000"`, "\"\x7f\"", `"\/\b\f\n\r\t"`)
}

func (d documents) object(b []byte, level int) []byte {
	b = d.space(append(b, '{'))
	for i := range d.IntN(4) {
		if i > 0 {
			b = append(b, ',')
		}
		b = d.space(d.pick(d.space(b),
			`"refresh"`, `"refresh"`, `"refresh"`, `"\u0072efresh"`, `"refre\u0073\u0068"`, `"Refresh"`, `"refreſh"`, `"refresh "`, `"refres"`, `"refreshh"`,
			`"auth"`, `"\u0061uth"`, `"AUTH"`, `"aut"`, `"auth\u0000"`, `""`, `"id"`, `"a\"b"`, `"日"`))
		b = d.space(d.value(d.space(append(b, ':')), level+1))
	}
	return append(b, '}')
}
