package listen

import (
	"bytes"
	"net/http"
)

// A Refusal says why a request was not let through, and with which status it is answered.
type Refusal struct {
	Status int
	Why    string
}

func (r *Refusal) Error() string { return r.Why }

func bad(why string) *Refusal { return &Refusal{http.StatusBadRequest, why} }

var (
	errBareLF     = bad("a line of the head ends in LF without CR")
	errLine       = bad("the request line is malformed")
	errTarget     = bad("the target is no path")
	errVersion    = bad("the version is neither HTTP/1.1 nor HTTP/1.0")
	errConnect    = bad("CONNECT")
	errField      = bad("a header line is malformed")
	errFold       = bad("a header line begins with white space")
	errHost       = bad("there is not exactly one good Host")
	errLength     = bad("there is not one good Content-Length")
	errEncoding   = bad("the Transfer-Encoding is not one chunked of HTTP/1.1")
	errBoth       = bad("both Content-Length and Transfer-Encoding")
	errExpect     = bad("an Expect other than 100-continue")
	errTrailer    = bad("the Trailer names a header that a trailer cannot be")
	errTooLarge   = &Refusal{http.StatusRequestHeaderFieldsTooLarge, "the head is larger than 64 KiB"}
	errTooMany    = &Refusal{http.StatusRequestHeaderFieldsTooLarge, "the head has more than 200 lines"}
	errHeadTime   = &Refusal{http.StatusRequestTimeout, "the head took too long to arrive"}
	errClearText  = bad("clear text where TLS is spoken")
	errChunk      = bad("a chunk is malformed")
	errChunkLimit = bad("a chunk has too long an extension, or the trailer is too long")
)

const (
	maxHead   = 64 << 10 // bytes of a head; net/http's own bound must not be below it
	maxFields = 200
	maxDigits = 18 // of a Content-Length: always an int64
)

// refusedMethod is what net/http is handed in place of a request that is refused. It never comes from a client: a head
// with it is refused like any other that is malformed.
const refusedMethod = "GATEHOUSE-REFUSED"

// Sorts of bytes.
const (
	inToken  = 1 << iota
	inValue  // of a header: no control character but the tab
	inTarget // neither control character nor space
	inHost
	isHex
)

var sorts = func() (s [256]uint8) {
	for c := range 256 {
		if c >= ' ' && c != 0x7f || c == '\t' {
			s[c] |= inValue
		}
		if c > ' ' && c != 0x7f {
			s[c] |= inTarget
		}
	}
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	for _, c := range []byte(letters + "!#$%&'*+-.^_`|~") {
		s[c] |= inToken
	}
	for _, c := range []byte(letters + "!$%&()*+,-.:;=[]'_~") { // those that net/http takes
		s[c] |= inHost
	}
	for _, c := range []byte("0123456789abcdefABCDEF") {
		s[c] |= isHex
	}
	return s
}()

// all says whether every byte of b is of the sort.
func all(b []byte, sort uint8) bool {
	for _, c := range b {
		if sorts[c]&sort == 0 {
			return false
		}
	}
	return true
}

// A head judges the head of one request while it arrives. It takes only what everybody reads alike, and nothing that
// net/http would answer by itself.
type head struct {
	line, seen            int // where the line under way begins, and up to where there is no LF
	fields                int
	begun, old            bool // the request line was read; it said HTTP/1.0
	hosts, lengths, codes uint8
	upgrade               bool // it asks for another protocol
	methodEnd, targetEnd  int  // both 0 where the request line is malformed
	length                int64
}

// feed goes on with b, which is all of the head that has arrived, and perhaps more behind it. It returns where the head
// ends, or 0 if it has not ended.
func (h *head) feed(b []byte) (end int, why *Refusal) {
	if !h.begun && len(b) > 0 && sorts[b[0]]&inToken == 0 {
		return 0, errLine // TLS, a PROXY header, an empty line: nothing to wait for
	}
	for {
		i := bytes.IndexByte(b[h.seen:], '\n')
		if i < 0 {
			h.seen = len(b)
			if len(b) >= maxHead {
				return 0, errTooLarge
			}
			return 0, nil
		}
		at := h.seen + i
		if at >= maxHead {
			return 0, errTooLarge
		}
		if at == h.line || b[at-1] != '\r' {
			if !h.begun {
				_ = h.request(b[:at]) // for the answer: whose words it is in
			}
			return 0, errBareLF
		}
		line := b[h.line : at-1]
		h.line, h.seen = at+1, at+1
		switch {
		case !h.begun:
			h.begun = true
			why = h.request(line)
		case len(line) == 0:
			return at + 1, h.finish()
		default:
			why = h.field(line)
		}
		if why != nil {
			return 0, why
		}
	}
}

// request judges the request line.
func (h *head) request(line []byte) *Refusal {
	m := bytes.IndexByte(line, ' ')
	if m <= 0 || !all(line[:m], inToken) {
		return errLine
	}
	t := bytes.IndexByte(line[m+1:], ' ')
	if t <= 0 {
		return errLine
	}
	method, target, version := line[:m], line[m+1:m+1+t], line[m+t+2:]
	if !all(target, inTarget) {
		return errLine
	}
	if string(version) != "HTTP/1.1" {
		if string(version) != "HTTP/1.0" {
			return errVersion
		}
		h.old = true
	}
	h.methodEnd, h.targetEnd = m, m+1+t
	switch string(method) {
	case "CONNECT":
		return errConnect
	case refusedMethod:
		return errLine
	}
	if target[0] != '/' {
		return errTarget // "*", a whole URL: the floor has no use for either
	}
	if q := bytes.IndexByte(target, '?'); q >= 0 {
		target = target[:q]
	}
	for {
		i := bytes.IndexByte(target, '%')
		if i < 0 {
			return nil
		}
		if len(target) < i+3 || !all(target[i+1:i+3], isHex) {
			return errTarget
		}
		target = target[i+3:]
	}
}

// field judges a header line.
func (h *head) field(line []byte) *Refusal {
	if h.fields++; h.fields > maxFields {
		return errTooMany
	}
	if line[0] == ' ' || line[0] == '\t' {
		return errFold
	}
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 || !all(line[:colon], inToken) || !all(line[colon+1:], inValue) {
		return errField
	}
	name, value := line[:colon], bytes.Trim(line[colon+1:], " \t")
	switch len(name) {
	case len("host"):
		if is(name, "host") {
			if h.hosts++; h.hosts > 1 || len(value) == 0 || !all(value, inHost) {
				return errHost
			}
		}
	case len("expect"):
		if is(name, "expect") && !is(value, "100-continue") {
			return errExpect
		}
	case len("trailer"): // and of upgrade
		if is(name, "trailer") && !trailers(value) {
			return errTrailer
		}
		h.upgrade = h.upgrade || is(name, "upgrade")
	case len("content-length"):
		if is(name, "content-length") {
			h.lengths++
			n, ok := decimal(value)
			if h.lengths > 1 || !ok {
				return errLength
			}
			h.length = n
		}
	case len("transfer-encoding"):
		if is(name, "transfer-encoding") {
			if h.codes++; h.codes > 1 || !is(value, "chunked") {
				return errEncoding
			}
		}
	}
	return nil
}

// finish judges the head as a whole.
func (h *head) finish() *Refusal {
	switch {
	case h.hosts == 0 && !h.old:
		return errHost
	case h.codes > 0 && h.lengths > 0:
		return errBoth
	case h.codes > 0 && h.old:
		return errEncoding
	}
	return nil
}

// is compares b with lower-case text, without regard to the case of ASCII letters.
func is(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

func decimal(b []byte) (n int64, ok bool) {
	if len(b) == 0 || len(b) > maxDigits {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// trailers says whether the value of a Trailer names nothing that frames a message.
func trailers(value []byte) bool {
	for len(value) > 0 {
		name := value
		if i := bytes.IndexByte(value, ','); i >= 0 {
			name, value = value[:i], value[i+1:]
		} else {
			value = nil
		}
		name = bytes.Trim(name, " \t")
		if is(name, "content-length") || is(name, "transfer-encoding") || is(name, "trailer") {
			return false
		}
	}
	return true
}
