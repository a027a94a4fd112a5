package gateway

import "strings"

// maxDepth is how deep a document may be nested. One bit a level is kept.
const maxDepth = 512

// A scanner reads a JSON document in whatever pieces it comes, keeps none of it, and says two things: whether the whole of
// it is one object, and how often that object has a top-level member of one name, however its key is escaped. A member of
// that name must be literally true.
//
// It is stricter than most parsers and laxer than none that matters: the grammar of RFC 8259 in valid UTF-8, without a byte
// order mark. Half a surrogate pair, escaped, is in the grammar; members may be repeated; numbers are not valued at all.
type scanner struct {
	name string // of the member that is looked for: ASCII, not empty
	most int    // how often it may be there

	step    step
	depth   int
	objects [maxDepth / 64]uint64 // of each level, whether it is an object; if not, it is an array
	object  bool                  // of the innermost one
	members bool                  // the top-level object has some
	found   int                   // members of that name so far

	key     bool   // the string under way is a key
	matched int    // how many bytes of name it has been so far; noMatch: it is another
	wanted  bool   // the next value is that of the member
	word    string // what is to come of true, false or null
	digits  int    // what is to come of \uXXXX
	unit    uint16 // what has come
	more    int    // bytes that are to come of one character
	low     byte   // and the bounds of the next one
	high    byte
}

const noMatch = -1

// A step is what may come next.
type step uint8

const (
	atDocument step = iota
	atFirstKey      // or the end of an empty object
	atKey
	atColon
	atFirstElement // or the end of an empty array
	atValue
	afterValue
	atEnd // the object is closed
	// Before here white space may stand, from here on it may not.
	inString
	inEscape
	inUnit
	inCharacter
	inWord
	inMinus
	inZero
	inInteger
	atFraction
	inFraction
	atExponent
	atExponentDigits
	inExponent
	failed // this is not what we look for, whatever comes
)

// scan reads on and returns how many bytes of p, from its beginning, lie before the brace that closes the object.
func (s *scanner) scan(p []byte) int {
	open := len(p)
	if s.step == atEnd {
		open = 0
	}
	for i := 0; i < len(p); i++ {
		c := p[i]
		if s.step < inString && (c == ' ' || c == '\n' || c == '\r' || c == '\t') {
			continue
		}
		switch s.step {
		case inString:
			if s.matched == noMatch { // most of most documents is this, hence its own loop
				for plain[c] {
					if i++; i == len(p) {
						return open
					}
					c = p[i]
				}
			}
			if c != '"' {
				s.inString(c)
				break
			}
			if s.step = afterValue; s.key {
				s.endKey()
			}
			continue
		case inInteger, inFraction:
			for '0' <= c && c <= '9' {
				if i++; i == len(p) {
					return open
				}
				c = p[i]
			}
			s.inNumber(c)
		case afterValue:
			if c == ',' {
				s.step = atValue
				if s.object {
					s.step = atKey
				}
				continue
			}
			s.afterValue(c)
		case atFirstKey, atKey:
			switch {
			case c == '"':
				s.step, s.key, s.matched = inString, true, noMatch
				if s.depth == 1 {
					s.members, s.matched = true, 0
				}
				continue
			case c == '}' && s.step == atFirstKey:
				s.close()
			default:
				s.step = failed
			}
		case atColon:
			if s.step = failed; c == ':' {
				s.step = atValue
			}
			continue
		case atFirstElement:
			if c == ']' {
				s.close()
				continue
			}
			s.value(c)
		case atValue:
			if c == '"' && !s.wanted {
				s.step, s.key, s.matched = inString, false, noMatch
				continue
			}
			s.value(c)
		case atDocument:
			if c != '{' {
				s.step = failed
				return open
			}
			s.value(c)
		case inWord:
			if n := len(s.word); len(p)-i >= n && string(p[i:i+n]) == s.word {
				s.step = afterValue
				i += n - 1
				continue
			}
			s.inWord(c)
		case inEscape:
			s.inEscape(c)
		case inUnit:
			s.inUnit(c)
		case inCharacter:
			s.inCharacter(c)
		case atEnd:
			s.step = failed
			return open
		case failed:
			return open
		default:
			s.inNumber(c)
		}
		if s.step == atEnd {
			open = i
		}
	}
	return open
}

// complete says whether what was read is one whole object with the member looked for as often as it may be there.
func (s *scanner) complete() bool { return s.step == atEnd && s.found == s.most }

// hopeless says whether nothing that can still come makes it complete.
func (s *scanner) hopeless() bool { return s.step == failed }

// plain are the bytes that stand for themselves in a string, but for those of more than one byte.
var plain = func() (is [256]bool) {
	for c := 0x20; c < 0x80; c++ {
		is[c] = c != '"' && c != '\\'
	}
	return is
}()

func when(ok bool, then step) step {
	if ok {
		return then
	}
	return failed
}

// value takes the first byte of a value.
func (s *scanner) value(c byte) {
	if s.wanted {
		s.wanted = false
		if c != 't' {
			s.step = failed
			return
		}
	}
	switch {
	case c == '{':
		s.open(1, atFirstKey)
	case c == '[':
		s.open(0, atFirstElement)
	case c == '"':
		s.step, s.key, s.matched = inString, false, noMatch
	case c == 't':
		s.step, s.word = inWord, "rue"
	case c == 'f':
		s.step, s.word = inWord, "alse"
	case c == 'n':
		s.step, s.word = inWord, "ull"
	case c == '-':
		s.step = inMinus
	case c == '0':
		s.step = inZero
	default:
		s.step = when('1' <= c && c <= '9', inInteger)
	}
}

func (s *scanner) open(object uint64, then step) {
	if s.depth == maxDepth {
		s.step = failed
		return
	}
	word, bit := &s.objects[s.depth/64], s.depth%64
	*word = *word&^(1<<bit) | object<<bit
	s.object = object == 1
	s.depth++
	s.step = then
}

// close leaves the innermost level.
func (s *scanner) close() {
	s.depth--
	if s.depth == 0 {
		s.step = atEnd
		return
	}
	s.step = afterValue
	s.object = s.objects[(s.depth-1)/64]>>((s.depth-1)%64)&1 == 1
}

func (s *scanner) afterValue(c byte) {
	switch {
	case c == ',' && s.object:
		s.step = atKey
	case c == ',':
		s.step = atValue
	case c == '}' && s.object, c == ']' && !s.object:
		s.close()
	default:
		s.step = failed
	}
}

// inString takes one byte within a string, which does not end it. Which bytes may follow the first of a character is table 3-7 of the Unicode
// Standard, as in unicode/utf8: nothing overlong, no surrogates, nothing above U+10FFFF.
func (s *scanner) inString(c byte) {
	s.low, s.high = 0x80, 0xbf
	switch {
	case c == '\\':
		s.step = inEscape
		return
	case c < 0x20:
		s.step = failed
		return
	case c < 0x80:
		s.match(uint16(c))
		return
	case 0xc2 <= c && c <= 0xdf:
		s.more = 1
	case 0xe0 <= c && c <= 0xef:
		s.more = 2
		switch c {
		case 0xe0:
			s.low = 0xa0
		case 0xed:
			s.high = 0x9f
		}
	case 0xf0 <= c && c <= 0xf4:
		s.more = 3
		switch c {
		case 0xf0:
			s.low = 0x90
		case 0xf4:
			s.high = 0x8f
		}
	default:
		s.step = failed
		return
	}
	s.step, s.matched = inCharacter, noMatch
}

func (s *scanner) inCharacter(c byte) {
	if c < s.low || c > s.high {
		s.step = failed
		return
	}
	s.low, s.high = 0x80, 0xbf
	if s.more--; s.more == 0 {
		s.step = inString
	}
}

func (s *scanner) inEscape(c byte) {
	if c == 'u' {
		s.step, s.digits, s.unit = inUnit, 4, 0
		return
	}
	s.matched = noMatch // no name that we look for has a sign that can be written so
	s.step = when(strings.IndexByte(`"\/bfnrt`, c) >= 0, inString)
}

func (s *scanner) inUnit(c byte) {
	switch {
	case '0' <= c && c <= '9':
		c -= '0'
	case 'a' <= c && c <= 'f':
		c -= 'a' - 10
	case 'A' <= c && c <= 'F':
		c -= 'A' - 10
	default:
		s.step = failed
		return
	}
	s.unit = s.unit<<4 | uint16(c)
	if s.digits--; s.digits == 0 {
		s.step = inString
		s.match(s.unit)
	}
}

// match compares one more character of a key with the name.
func (s *scanner) match(c uint16) {
	if s.matched != noMatch && s.matched < len(s.name) && uint16(s.name[s.matched]) == c {
		s.matched++
		return
	}
	s.matched = noMatch
}

func (s *scanner) endKey() {
	s.step = atColon
	if s.matched == len(s.name) {
		s.found++
		s.wanted = true
		if s.found > s.most {
			s.step = failed
		}
	}
}

func (s *scanner) inWord(c byte) {
	if c != s.word[0] {
		s.step = failed
		return
	}
	if s.word = s.word[1:]; s.word == "" {
		s.step = afterValue
	}
}

// inNumber takes one byte of a number, or the first one after it.
func (s *scanner) inNumber(c byte) {
	digit := '0' <= c && c <= '9'
	switch s.step {
	case inMinus:
		switch {
		case c == '0':
			s.step = inZero
		default:
			s.step = when(digit, inInteger)
		}
		return
	case atFraction:
		s.step = when(digit, inFraction)
		return
	case atExponent:
		if c == '+' || c == '-' {
			s.step = atExponentDigits
			return
		}
		s.step = when(digit, inExponent)
		return
	case atExponentDigits:
		s.step = when(digit, inExponent)
		return
	}
	switch {
	case digit && s.step != inZero:
	case c == '.' && (s.step == inZero || s.step == inInteger):
		s.step = atFraction
	case (c == 'e' || c == 'E') && s.step != inExponent:
		s.step = atExponent
	case c == ' ' || c == '\n' || c == '\r' || c == '\t':
		s.step = afterValue
	default:
		s.afterValue(c)
	}
}
