package auth

import "strings"

// Masked returns s with whatever in it looks like one of our keys or tokens cut short, to "gk_live_<id>***" and "***". It
// is for what a caller wrote where no secret belongs, a path or a user agent, and we log all the same. It cannot know a
// password. Without anything to mask it returns s itself.
func Masked(s string) string {
	if strings.Contains(s, "eyJ") {
		s = masked(s, "eyJ", 0, 40)
	}
	if strings.IndexByte(s, '_') < 0 {
		return s
	}
	if strings.Contains(s, "_live_") {
		s = masked(s, "_live_", IDLength, 8)
	}
	if strings.Contains(s, "_test_") {
		s = masked(s, "_test_", IDLength, 8)
	}
	if strings.Contains(s, operatorTokenPrefix) {
		s = masked(s, operatorTokenPrefix, IDLength, 8)
	}
	return s
}

// masked looks for runs of the letters of tokens that follow mark, and shows only their first letters. A run of no more
// than most letters beyond those is no secret.
func masked(s, mark string, show, most int) string {
	var out strings.Builder
	for {
		at := strings.Index(s, mark)
		if at < 0 {
			break
		}
		start := at + len(mark)
		end := start
		for end < len(s) && ofToken(s[end]) {
			end++
		}
		if end-start <= show+most {
			out.WriteString(s[:start])
			s = s[start:]
			continue
		}
		if show > 0 {
			out.WriteString(s[:start+show])
		} else {
			out.WriteString(s[:at])
		}
		out.WriteString("***")
		s = s[end:]
	}
	out.WriteString(s)
	return out.String()
}

func ofToken(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || c == '_' || c == '-' || c == '.'
}

// LoggedPath is p as it may be logged: without a query or fragment, without the user and password of a URL in absolute
// form, and [Masked]. A path that was refused is logged as it came, so it can hold all of these.
func LoggedPath(p string) string {
	if end := strings.IndexByte(p, '?'); end >= 0 {
		p = p[:end]
	}
	if end := strings.IndexByte(p, '#'); end >= 0 {
		p = p[:end]
	}
	if p != "" && p[0] != '/' {
		if at := strings.LastIndexByte(p, '@'); at >= 0 {
			p = p[at+1:]
		}
	}
	return Masked(p)
}
