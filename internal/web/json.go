package web

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxLevels is how deep arrays and objects may lie in one another.
const maxLevels = 32

// readObject reads text as one value of JSON (RFC 8259), more strictly than most: valid UTF-8 without a byte order mark, no
// half of a surrogate pair, no member twice in any object, nothing after the value, at most 32 levels. It says whether text
// passes.
//
// If the value is an object, member is asked for each of its members by its exact name, after escapes are undone, and a
// string goes to where it points. Members that it returns nil for, and those whose value is no string, are read past.
func readObject(text string, member func(name string) *string) bool {
	if !utf8.ValidString(text) {
		return false
	}
	p := jsonReader{rest: text}
	p.space()
	if !p.value(0, member) {
		return false
	}
	p.space()
	return p.rest == ""
}

type jsonReader struct{ rest string }

func (p *jsonReader) space() {
	for p.rest != "" && (p.rest[0] == ' ' || p.rest[0] == '\t' || p.rest[0] == '\n' || p.rest[0] == '\r') {
		p.rest = p.rest[1:]
	}
}

func (p *jsonReader) skip(c byte) bool {
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

func (p *jsonReader) word(w string) bool {
	rest, ok := strings.CutPrefix(p.rest, w)
	if ok {
		p.rest = rest
	}
	return ok
}

// value reads one value that lies inside so many levels.
func (p *jsonReader) value(levels int, member func(string) *string) bool {
	if p.rest == "" {
		return false
	}
	switch p.rest[0] {
	case '{':
		return levels < maxLevels && p.object(levels+1, member)
	case '[':
		return levels < maxLevels && p.array(levels+1)
	case '"':
		_, ok := p.text()
		return ok
	case 't':
		return p.word("true")
	case 'f':
		return p.word("false")
	case 'n':
		return p.word("null")
	}
	return p.number()
}

func (p *jsonReader) object(levels int, member func(string) *string) bool {
	p.skip('{')
	p.space()
	if p.skip('}') {
		return true
	}
	seen := make(map[string]struct{})
	for {
		name, ok := p.text()
		if !ok {
			return false
		}
		if _, twice := seen[name]; twice {
			return false
		}
		seen[name] = struct{}{}
		p.space()
		if !p.skip(':') {
			return false
		}
		p.space()
		var to *string
		if member != nil {
			to = member(name)
		}
		if to != nil && p.rest != "" && p.rest[0] == '"' {
			*to, ok = p.text()
		} else {
			ok = p.value(levels, nil)
		}
		if !ok {
			return false
		}
		p.space()
		if p.skip('}') {
			return true
		}
		if !p.skip(',') {
			return false
		}
		p.space()
	}
}

func (p *jsonReader) array(levels int) bool {
	p.skip('[')
	p.space()
	if p.skip(']') {
		return true
	}
	for {
		if !p.value(levels, nil) {
			return false
		}
		p.space()
		if p.skip(']') {
			return true
		}
		if !p.skip(',') {
			return false
		}
		p.space()
	}
}

// number reads a number of any size.
func (p *jsonReader) number() bool {
	p.skip('-')
	if !p.skip('0') && !p.digits() {
		return false
	}
	if p.skip('.') && !p.digits() {
		return false
	}
	if p.skip('e') || p.skip('E') {
		if !p.skip('+') {
			p.skip('-')
		}
		return p.digits()
	}
	return true
}

func (p *jsonReader) digits() bool {
	n := 0
	for n < len(p.rest) && '0' <= p.rest[n] && p.rest[n] <= '9' {
		n++
	}
	p.rest = p.rest[n:]
	return n > 0
}

// text reads a string and undoes its escapes.
func (p *jsonReader) text() (string, bool) {
	if !p.skip('"') {
		return "", false
	}
	for i := range len(p.rest) {
		switch c := p.rest[i]; {
		case c == '"':
			s := p.rest[:i]
			p.rest = p.rest[i+1:]
			return s, true
		case c < ' ':
			return "", false
		case c == '\\':
			return p.escapedText(i)
		}
	}
	return "", false
}

// escapedText reads on where the first escape stands, n bytes into the string.
func (p *jsonReader) escapedText(n int) (string, bool) {
	b := []byte(p.rest[:n])
	p.rest = p.rest[n:]
	for p.rest != "" {
		c := p.rest[0]
		p.rest = p.rest[1:]
		switch {
		case c == '"':
			return string(b), true
		case c < ' ':
			return "", false
		case c != '\\':
			b = append(b, c)
		default:
			r, ok := p.escape()
			if !ok {
				return "", false
			}
			b = utf8.AppendRune(b, r)
		}
	}
	return "", false
}

// escape reads what follows a backslash.
func (p *jsonReader) escape() (rune, bool) {
	if p.rest == "" {
		return 0, false
	}
	c := p.rest[0]
	p.rest = p.rest[1:]
	switch c {
	case '"', '\\', '/':
		return rune(c), true
	case 'b':
		return '\b', true
	case 'f':
		return '\f', true
	case 'n':
		return '\n', true
	case 'r':
		return '\r', true
	case 't':
		return '\t', true
	case 'u':
		r, ok := p.unit()
		if !ok || !utf16.IsSurrogate(r) {
			return r, ok
		}
		if !p.word(`\u`) {
			return 0, false
		}
		second, ok := p.unit()
		r = utf16.DecodeRune(r, second)
		return r, ok && r != utf8.RuneError
	}
	return 0, false
}

// unit reads the four digits of \u.
func (p *jsonReader) unit() (rune, bool) {
	high, ok1 := unhex(p.rest)
	if !ok1 {
		return 0, false
	}
	low, ok2 := unhex(p.rest[2:])
	if !ok2 {
		return 0, false
	}
	p.rest = p.rest[4:]
	return rune(high)<<8 | rune(low), true
}

// AppendJSON appends s as a string of JSON. What is not UTF-8 becomes U+FFFD.
func AppendJSON(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, c := range s { // invalid bytes arrive as U+FFFD
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', byte(c))
		case c < ' ' || c == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = utf8.AppendRune(b, c)
		}
	}
	return append(b, '"')
}
