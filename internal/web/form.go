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

// forItself says which bytes stand for themselves in a form.
var forItself = func() (is [256]bool) {
	for c := byte('!'); c <= '~'; c++ {
		is[c] = c != '%' && c != '+'
	}
	return is
}()

func formText(s string) (string, bool) {
	i := 0
	for i < len(s) && forItself[s[i]] {
		i++
	}
	if i == len(s) { // as tokens are, and nearly all else that a form holds
		return s, true
	}
	for ; i < len(s); i++ {
		if s[i] <= ' ' || s[i] > '~' {
			return "", false
		}
	}
	text, err := url.QueryUnescape(s)
	return text, err == nil && utf8.ValidString(text) && strings.IndexByte(text, 0) < 0
}
