package web

import (
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// maxParameters is how many parameters a form may have. No grant has a dozen.
const maxParameters = 100

// A Form is a body of application/x-www-form-urlencoded, by the names of its parameters. One without a value is not in it:
// it counts as one that was not sent (RFC 6749, section 3.2).
type Form map[string]string

// DecodeForm reads the request's body, and nothing else: what stands behind a question mark is no parameter of ours.
//
// The errors, in the order of looking: a [StatusError] of 413 for a body over [MaxBody], of 400 for one that does not
// arrive, of 415 for one that is not application/x-www-form-urlencoded; [ErrSyntax].
func DecodeForm(r *Request) (Form, error) {
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	if !isMedia(r.Header, "application/x-www-form-urlencoded") {
		return nil, &StatusError{Status: http.StatusUnsupportedMediaType}
	}
	form, ok := parseForm(string(body))
	if !ok {
		return nil, ErrSyntax
	}
	return form, nil
}

// parseForm takes only what the encoding itself writes, printable ASCII with whole escapes of valid UTF-8 without NUL, and
// no parameter twice, known or not (RFC 6749, section 3.2): of two readers neither can see another value than the other.
func parseForm(body string) (Form, bool) {
	form := Form{}
	if body == "" {
		return form, true
	}
	seen := make(map[string]struct{})
	for parameter := range strings.SplitSeq(body, "&") {
		escapedName, escapedValue, _ := strings.Cut(parameter, "=")
		name, ok := formText(escapedName)
		if !ok || name == "" {
			return nil, false
		}
		value, ok := formText(escapedValue)
		if _, twice := seen[name]; !ok || twice || len(seen) == maxParameters {
			return nil, false
		}
		seen[name] = struct{}{}
		if value != "" {
			form[name] = value
		}
	}
	return form, true
}

func formText(s string) (string, bool) {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return "", false
		}
	}
	text, err := url.QueryUnescape(s)
	return text, err == nil && utf8.ValidString(text) && strings.IndexByte(text, 0) < 0
}
