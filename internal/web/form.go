package web

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxParameters is how many parameters a form may have. No grant has a dozen.
const maxParameters = 100

// A Form is a body of application/x-www-form-urlencoded.
type Form struct{ parameters []parameter }

type parameter struct{ name, value string }

// Get returns the value of the parameter of this name. One without a value counts as one that was not sent (RFC 6749,
// section 3.2): both are "".
func (f Form) Get(name string) string {
	for _, p := range f.parameters {
		if p.name == name {
			return p.value
		}
	}
	return ""
}

// All are the parameters by their names, those without a value too.
func (f Form) All() map[string]string {
	all := make(map[string]string, len(f.parameters))
	for _, p := range f.parameters {
		all[p.name] = p.value
	}
	return all
}

func (f Form) has(name string) bool {
	return slices.ContainsFunc(f.parameters, func(p parameter) bool { return p.name == name })
}

// DecodeForm reads the request's body, and nothing else: what stands behind a question mark is no parameter of ours.
//
// The errors, in the order of looking: a [StatusError] of 413 for a body over [MaxBody], of 400 for one that does not
// arrive, of 415 for one that is not application/x-www-form-urlencoded; [ErrSyntax].
func DecodeForm(r *Request) (Form, error) {
	body, err := readBody(r)
	if err != nil {
		return Form{}, err
	}
	if !isMedia(r.Header, "application/x-www-form-urlencoded") {
		return Form{}, &StatusError{Status: http.StatusUnsupportedMediaType}
	}
	form, ok := parseForm(body)
	if !ok {
		return Form{}, ErrSyntax
	}
	return form, nil
}

// parseForm takes only what the encoding itself writes, printable ASCII with whole escapes of valid UTF-8 without NUL, and
// no parameter twice, known or not (RFC 6749, section 3.2): of two readers neither can see another value than the other.
func parseForm(body string) (Form, bool) {
	if body == "" {
		return Form{}, true
	}
	n := strings.Count(body, "&") + 1
	if n > maxParameters {
		return Form{}, false
	}
	form := Form{make([]parameter, 0, n)}
	for one := range strings.SplitSeq(body, "&") {
		escapedName, escapedValue, _ := strings.Cut(one, "=")
		name, ok1 := formText(escapedName)
		value, ok2 := formText(escapedValue)
		if !ok1 || !ok2 || name == "" || form.has(name) {
			return Form{}, false
		}
		form.parameters = append(form.parameters, parameter{name, value})
	}
	return form, true
}

// standsForItself may say no of a text that does. It looks at eight bytes at once, for a token has hundreds: what is below '!', a
// zero once it is compared with what has a meaning of its own, above '~' or beyond ASCII sets the highest bit of its byte, and
// perhaps, by a carry, that of another.
func standsForItself(s string) bool {
	const every, highest = 0x0101010101010101, 0x8080808080808080
	var set uint64
	for ; len(s) >= 8; s = s[8:] {
		b := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		set |= b | (b - every*'!') | (b + every*(0x7f-'~')) | ((b ^ every*'%') - every) | ((b ^ every*'+') - every)
	}
	if set&highest != 0 {
		return false
	}
	for i := range len(s) {
		if !forItself[s[i]] {
			return false
		}
	}
	return true
}

// forItself says which bytes stand for themselves in a form.
var forItself = func() (is [256]bool) {
	for c := byte('!'); c <= '~'; c++ {
		is[c] = c != '%' && c != '+'
	}
	return is
}()

func formText(s string) (string, bool) {
	if standsForItself(s) { // as tokens do, and nearly all else that a form holds
		return s, true
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return "", false
		}
	}
	text, err := url.QueryUnescape(s)
	return text, err == nil && utf8.ValidString(text) && strings.IndexByte(text, 0) < 0
}
