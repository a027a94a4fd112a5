package web

import (
	"errors"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"
)

var errPath = errors.New("the path is not one that everybody reads alike")

// CheckPath takes a request's target apart and returns the one canonical spelling of its path, still escaped, and its query.
// What is routed and authorised is this spelling, and nothing else is forwarded.
//
// Canonical means: letters, digits and -._~!$&'()*+,=:@ stand for themselves, everything else is escaped, in upper-case
// digits. A semicolon and %3B alone both stay as they are: where an upstream gives the first one a meaning (parameters of a
// segment), it is because the second one has none.
//
// Refused, with a [StatusError] of 400, is what two readers could take for two different paths: what does not begin with a
// slash; dot segments, however spelled and whatever parameters they have; empty segments but the last; slashes and
// backslashes that are escaped, and backslashes that are not; control characters; '#'; escapes that are none, and a percent
// sign that makes an escape once it is decoded; text that is not UTF-8. The query is left alone, except that it holds no
// control character, no space and no '#'.
func CheckPath(requestURI string) (path, rawQuery string, err error) {
	path, rawQuery, _ = strings.Cut(requestURI, "?")
	if path == "" || path[0] != '/' || !queryPasses(rawQuery) {
		return "", "", &StatusError{Status: http.StatusBadRequest, Err: errPath}
	}
	ok := true
	if !plain(path) {
		path, ok = canonical(path)
	}
	if !ok || !segmentsPass(path) {
		return "", "", &StatusError{Status: http.StatusBadRequest, Err: errPath}
	}
	return path, rawQuery, nil
}

// Sorts of bytes in a path. The zero value is what always stands escaped.
const (
	itself = iota + 1 // stands for itself; its escape is another spelling of it
	semicolon
	slash
	never // refused as it is
)

var pathBytes = func() (sort [256]byte) {
	for c := range 0x21 {
		sort[c] = never
	}
	sort[0x7f], sort['\\'], sort['#'], sort['?'] = never, never, never, never
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,=:@") {
		sort[c] = itself
	}
	sort[';'], sort['/'] = semicolon, slash
	return sort
}()

// plain says whether nothing in path is to be decoded, escaped or refused for what it is.
func plain(path string) bool {
	for i := range len(path) {
		switch pathBytes[path[i]] {
		case itself, semicolon, slash:
		default:
			return false
		}
	}
	return true
}

// canonical returns the one spelling of path.
func canonical(path string) (string, bool) {
	const upper = "0123456789ABCDEF"
	out := make([]byte, 0, len(path)+16)
	decoded := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		c, escaped := path[i], false
		if c == '%' {
			var ok bool
			if c, ok = unhex(path[i+1:]); !ok {
				return "", false
			}
			escaped = true
			i += 2
			if c == '%' {
				if _, twice := unhex(path[i+1:]); twice {
					return "", false
				}
			}
		}
		decoded = append(decoded, c)
		switch sort := pathBytes[c]; {
		case sort == itself, !escaped && (sort == semicolon || sort == slash):
			out = append(out, c)
		case !escaped && sort == never, sort == slash, c == '\\', c < ' ', c == 0x7f:
			return "", false
		default:
			out = append(out, '%', upper[c>>4], upper[c&15])
		}
	}
	if !utf8.Valid(decoded) {
		return "", false
	}
	for _, c := range string(decoded) {
		if unicode.IsControl(c) {
			return "", false
		}
	}
	return string(out), true
}

func unhex(s string) (byte, bool) {
	if len(s) < 2 {
		return 0, false
	}
	high, ok1 := hexDigit(s[0])
	low, ok2 := hexDigit(s[1])
	return high<<4 | low, ok1 && ok2
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// segmentsPass looks at the segments of a canonical path.
func segmentsPass(path string) bool {
	for rest := path[1:]; rest != ""; {
		segment, after, more := strings.Cut(rest, "/")
		// Servers that know parameters take "..;x" for "..", and ";x" for an empty segment.
		name := segment
		if i := strings.IndexByte(name, ';'); i >= 0 {
			name = name[:i]
		}
		if i := strings.Index(name, "%3B"); i >= 0 {
			name = name[:i]
		}
		if name == "" || name == "." || name == ".." {
			return false
		}
		if !more {
			break
		}
		rest = after
	}
	return true
}

func queryPasses(query string) bool {
	for i := range len(query) {
		if c := query[i]; c <= ' ' || c == 0x7f || c == '#' {
			return false
		}
	}
	return true
}
