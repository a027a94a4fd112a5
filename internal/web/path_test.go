package web

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

// spellings are targets and the one path each of them is; "" is refused.
var spellings = []struct{ target, want string }{
	// As they are.
	{"/", "/"},
	{"/a", "/a"},
	{"/a/", "/a/"},
	{"/api/orders", "/api/orders"},
	{"/api/orders/", "/api/orders/"},
	{"/api/orders/7", "/api/orders/7"},
	{"/authentication", "/authentication"},
	{"/.well-known/jwks.json", "/.well-known/jwks.json"},
	{"/a.b/c..d/e...", "/a.b/c..d/e..."},
	{"/.../a", "/.../a"},
	{"/.a", "/.a"},
	{"/..a", "/..a"},
	{"/a..", "/a.."},
	{"/a.", "/a."},
	{"/-._~", "/-._~"},
	{"/!$&'()*+,=:@", "/!$&'()*+,=:@"},
	{"/users:batchDelete", "/users:batchDelete"},
	{"/c++/", "/c++/"},
	{"/a;b=c", "/a;b=c"},
	{"/a;b/c;d", "/a;b/c;d"},
	{"/a;", "/a;"},
	{"/*", "/*"},
	{"/http://a", ""}, // a double slash, wherever it comes from
	{"/A/b", "/A/b"},

	// One spelling of what stands for itself.
	{"/%61", "/a"},
	{"/%41", "/A"},
	{"/%7a", "/z"},
	{"/%7A", "/z"},
	{"/%30", "/0"},
	{"/%2d", "/-"},
	{"/%2D%2e%5F%7e", "/-._~"},
	{"/%5f", "/_"},
	{"/%7E", "/~"},
	{"/%61pi/%6frders", "/api/orders"},
	{"/%61uthentication", "/authentication"},
	{"/users%3AbatchDelete", "/users:batchDelete"},
	{"/users%3abatchDelete", "/users:batchDelete"},
	{"/me%40example.org", "/me@example.org"},
	{"/a%2Bb", "/a+b"},
	{"/a%2bb", "/a+b"},
	{"/a%2Cb", "/a,b"},
	{"/a%3Db", "/a=b"},
	{"/a%26b", "/a&b"},
	{"/a%24b", "/a$b"},
	{"/a%21b", "/a!b"},
	{"/a%27b", "/a'b"},
	{"/a%28b%29", "/a(b)"},
	{"/a%2Ab", "/a*b"},
	{"/a%2e", "/a."},
	{"/%2ea", "/.a"},
	{"/a%2eb", "/a.b"},

	// One spelling of what does not.
	{"/a%20b", "/a%20b"},
	{"/%22", "/%22"},
	{"/\"", "/%22"},
	{"/%3c%3e", "/%3C%3E"},
	{"/<>", "/%3C%3E"},
	{"/[1]", "/%5B1%5D"},
	{"/%5b1%5d", "/%5B1%5D"},
	{"/{id}", "/%7Bid%7D"},
	{"/%7bid%7d", "/%7Bid%7D"},
	{"/a|b", "/a%7Cb"},
	{"/a^b", "/a%5Eb"},
	{"/a`b", "/a%60b"},
	{"/a%60b", "/a%60b"},
	{"/a%23b", "/a%23b"},
	{"/a%3Fb", "/a%3Fb"},
	{"/a%3fb", "/a%3Fb"},
	{"/a%3Bb", "/a%3Bb"},
	{"/a%3bb", "/a%3Bb"},
	{"/caf%C3%A9", "/caf%C3%A9"},
	{"/caf%c3%a9", "/caf%C3%A9"},
	{"/café", "/caf%C3%A9"},
	{"/%e2%82%ac", "/%E2%82%AC"},
	{"/€", "/%E2%82%AC"},
	{"/%F0%9F%94%91", "/%F0%9F%94%91"},
	{"/%ef%bf%bd", "/%EF%BF%BD"}, // U+FFFD itself is good text
	{"/100%25", "/100%25"},
	{"/100%25x", "/100%25x"},
	{"/100%25/a", "/100%25/a"},
	{"/%25zz", "/%25zz"},
	{"/%25%20", "/%25%20"},

	// Queries are not part of it.
	{"/a?", "/a"},
	{"/a?b=c", "/a"},
	{"/a?b=/../c", "/a"},
	{"/a?//", "/a"},
	{"/a?b?c", "/a"},
	{"/a?%zz", "/a"},
	{"/a?b=%2e%2e", "/a"},
	{"/?", "/"},
	{"/a?b#c", ""},
	{"/a?b c", ""},
	{"/a?b\tc", ""},
	{"/a?b\r\nX: y", ""},
	{"/a?\x00", ""},
	{"/a?\x7f", ""},

	// No path.
	{"", ""},
	{"?", ""},
	{"?a", ""},
	{"*", ""},
	{"a", ""},
	{"a/b", ""},
	{"example.org:443", ""},
	{"http://example.org", ""},
	{"http://example.org/a", ""},
	{"https://example.org/", ""},
	{"HTTP://example.org/a", ""},
	{"ftp://example.org/a", ""},
	{"file:///etc/passwd", ""},
	{"%2Fa", ""},
	{"%2fa", ""},
	{"\\a", ""},
	{".", ""},
	{"..", ""},
	{"./a", ""},
	{"../a", ""},
	{" /a", ""},
	{"\t/a", ""},
	{"#", ""},

	// Dot segments.
	{"/.", ""},
	{"/..", ""},
	{"/./", ""},
	{"/../", ""},
	{"/./a", ""},
	{"/../a", ""},
	{"/a/.", ""},
	{"/a/..", ""},
	{"/a/./b", ""},
	{"/a/../b", ""},
	{"/a/b/../../c", ""},
	{"/public/../admin", ""},
	{"/public/%2e%2e/admin", ""},
	{"/public/%2E%2E/admin", ""},
	{"/public/.%2e/admin", ""},
	{"/public/%2e./admin", ""},
	{"/public/%2E./admin", ""},
	{"/public/%2e/admin", ""},
	{"/%2e", ""},
	{"/%2e%2e", ""},
	{"/%2e%2e/", ""},
	{"/a/%2e", ""},
	{"/a/%2E%2e", ""},
	{"/..;", ""},
	{"/..;/a", ""},
	{"/..;a=b/c", ""},
	{"/a/..;/b", ""},
	{"/a/.;/b", ""},
	{"/a/.;x", ""},
	{"/a/%2e%2e;/b", ""},
	{"/a/%2e%2e;x=y/b", ""},
	{"/a/..%3B/b", ""},
	{"/a/..%3bx/b", ""},
	{"/a/.%3B/b", ""},
	{"/a/%2e%2e%3b/b", ""},
	{"/..;;/a", ""},
	{"/..%3B;/a", ""},
	{"/..;%3B/a", ""},

	// Empty segments, and those that some take for empty.
	{"//", ""},
	{"//a", ""},
	{"/a//", ""},
	{"/a//b", ""},
	{"/a///b", ""},
	{"///", ""},
	{"//example.org/a", ""},
	{"/;", ""},
	{"/;/a", ""},
	{"/;x/a", ""},
	{"/a/;/b", ""},
	{"/a/;x", ""},
	{"/a/%3B/b", ""},
	{"/%3bx/a", ""},

	// Escaped slashes; backslashes.
	{"/a%2Fb", ""},
	{"/a%2fb", ""},
	{"/%2f", ""},
	{"/%2F%2e%2e", ""},
	{"/a%2f..%2fb", ""},
	{"/a/..%2fb", ""},
	{"/a/..%5cb", ""},
	{"/a%5Cb", ""},
	{"/a%5cb", ""},
	{"/%5c", ""},
	{"/a\\b", ""},
	{"/\\", ""},
	{"/\\example.org", ""},
	{"/..\\a", ""},
	{"/a\\..\\b", ""},

	// Escaped twice.
	{"/%252e%252e/a", ""},
	{"/%252E%252E/a", ""},
	{"/a%252fb", ""},
	{"/a%252Fb", ""},
	{"/a%255cb", ""},
	{"/%2500", ""},
	{"/%25252e", ""},
	{"/%2561", ""},
	{"/100%2525", ""},

	// Control characters.
	{"/\x00", ""},
	{"/\x01", ""},
	{"/a\tb", ""},
	{"/a\nb", ""},
	{"/a\rb", ""},
	{"/a\r\nX-Auth-Account: 1", ""},
	{"/a b", ""},
	{"/ ", ""},
	{"/\x1f", ""},
	{"/\x7f", ""},
	{"/%00", ""},
	{"/a%00.json", ""},
	{"/%01", ""},
	{"/%09", ""},
	{"/%0a", ""},
	{"/%0A", ""},
	{"/%0d%0a", ""},
	{"/%0D%0AX:y", ""},
	{"/%1F", ""},
	{"/%7f", ""},
	{"/%7F", ""},
	{"/%c2%80", ""}, // C1
	{"/%C2%85", ""}, // NEL
	{"/%C2%9F", ""},

	// Fragments.
	{"/#", ""},
	{"/a#b", ""},
	{"/a#/../b", ""},

	// Escapes that are none.
	{"/%", ""},
	{"/%2", ""},
	{"/%2/", ""},
	{"/a%", ""},
	{"/a%g0", ""},
	{"/a%0g", ""},
	{"/%zz", ""},
	{"/%u002e", ""},
	{"/%%", ""},
	{"/%%32e", ""},
	{"/% 20", ""},
	{"/%+2", ""},
	{"/%-1", ""},

	// Text that is none.
	{"/\x80", ""},
	{"/\xff", ""},
	{"/%80", ""},
	{"/%ff", ""},
	{"/%c3", ""},
	{"/%c3%28", ""},
	{"/%c0%ae%c0%ae/a", ""},        // dots, overlong
	{"/%c0%af", ""},                // a slash, overlong
	{"/%e0%80%af", ""},             // longer
	{"/%f0%80%80%af", ""},          // and longer
	{"/%c1%9c", ""},                // a backslash, overlong
	{"/%ed%a0%80", ""},             // half of a surrogate pair
	{"/%f4%90%80%80", ""},          // beyond Unicode
	{"/%fe%ff%00%2e", ""},          // UTF-16
	{"/\xc3%a9", "/%C3%A9"},        // half raw, half escaped: it is good text all the same
	{"/%c3\xa9", "/%C3%A9"},        //
	{"/%ef%bc%8f", "/%EF%BC%8F"},   // a full-width slash is a letter like any other
	{"/%e2%80%ae", "/%E2%80%AE"},   // not a control character, though it turns text round
	{"/%EF%BB%BFa", "/%EF%BB%BFa"}, // a byte order mark
}

func TestAPathHasOneSpelling(t *testing.T) {
	if len(spellings) < 200 {
		t.Errorf("only %d spellings", len(spellings))
	}
	for _, s := range spellings {
		got, _, err := CheckPath(s.target)
		if got != s.want {
			t.Errorf("CheckPath(%q) = %q, want %q", s.target, got, s.want)
		}
		if (err != nil) != (s.want == "") {
			t.Errorf("CheckPath(%q): error %v", s.target, err)
		}
		var status *StatusError
		if err != nil && (!errors.As(err, &status) || status.Status != http.StatusBadRequest) {
			t.Errorf("CheckPath(%q): error %v is not a 400", s.target, err)
		}
		holds(t, s.target)
	}
}

func TestAQueryIsHandedOnAsItCame(t *testing.T) {
	for target, want := range map[string]string{
		"/a": "", "/a?": "", "/a?b=c&b=d": "b=c&b=d", "/a?x=%2e%2e/": "x=%2e%2e/", "/a?b?c": "b?c", "/%61?%61": "%61",
	} {
		if _, got, err := CheckPath(target); got != want || err != nil {
			t.Errorf("query of %q = %q, %v, want %q", target, got, err, want)
		}
	}
}

// holds checks what must be true of every target.
func holds(t *testing.T, target string) {
	t.Helper()
	path, query, err := CheckPath(target)
	if err != nil {
		if path != "" || query != "" {
			t.Errorf("%q was refused and yet gave %q and %q", target, path, query)
		}
		return
	}
	again, _, err := CheckPath(path)
	if err != nil || again != path {
		t.Errorf("%q gave %q, which gives %q, %v", target, path, again, err)
	}
	u, err := url.ParseRequestURI(path)
	if err != nil {
		t.Fatalf("%q gave %q: %v", target, path, err)
	}
	if got := u.EscapedPath(); got != path || u.RawQuery != "" || u.Host != "" || u.Fragment != "" {
		t.Errorf("%q gave %q, which net/url reads as %q", target, path, u)
	}
	if !utf8.ValidString(u.Path) || strings.Contains(u.Path, "//") || strings.ContainsAny(u.Path, "\\\x00\r\n") {
		t.Errorf("%q gave %q, which is %q", target, path, u.Path)
	}
	for segment := range strings.SplitSeq(u.Path, "/") {
		if name, _, _ := strings.Cut(segment, ";"); name == "." || name == ".." {
			t.Errorf("%q gave %q with a dot segment", target, path)
		}
	}
	if cleaned, err := url.JoinPath("http://h", path); err != nil || cleaned != "http://h"+path {
		t.Errorf("%q gave %q, which resolves to %q", target, path, cleaned)
	}
	// What the target meant before is what the path means.
	raw, _, _ := strings.Cut(target, "?")
	if meant, err := url.PathUnescape(raw); err != nil || meant != u.Path {
		t.Errorf("%q meant %q and became %q (%v)", target, meant, u.Path, err)
	}
}

func FuzzCheckPath(f *testing.F) {
	for _, s := range spellings {
		f.Add(s.target)
	}
	f.Fuzz(holds)
}

func TestAPlainPathCostsNothing(t *testing.T) {
	n := testing.AllocsPerRun(100, func() { _, _, _ = CheckPath("/api/orders/17/lines?from=1") })
	if n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}
