package web_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gatehouse/gatehouse/internal/web"
	"github.com/gatehouse/gatehouse/internal/web/webtest"
)

func TestAPathHasOneSpelling(t *testing.T) {
	if len(webtest.Spellings) < 200 {
		t.Errorf("only %d spellings", len(webtest.Spellings))
	}
	for _, s := range webtest.Spellings {
		got, _, err := web.CheckPath(s.Target)
		if got != s.Want {
			t.Errorf("CheckPath(%q) = %q, want %q", s.Target, got, s.Want)
		}
		if (err != nil) != (s.Want == "") {
			t.Errorf("CheckPath(%q): error %v", s.Target, err)
		}
		var status *web.StatusError
		if err != nil && (!errors.As(err, &status) || status.Status != http.StatusBadRequest) {
			t.Errorf("CheckPath(%q): error %v is not a 400", s.Target, err)
		}
		holds(t, s.Target)
	}
}

func TestAQueryIsHandedOnAsItCame(t *testing.T) {
	for target, want := range map[string]string{
		"/a": "", "/a?": "", "/a?b=c&b=d": "b=c&b=d", "/a?x=%2e%2e/": "x=%2e%2e/", "/a?b?c": "b?c", "/%61?%61": "%61",
	} {
		if _, got, err := web.CheckPath(target); got != want || err != nil {
			t.Errorf("query of %q = %q, %v, want %q", target, got, err, want)
		}
	}
}

// holds checks what must be true of every target.
func holds(t *testing.T, target string) {
	t.Helper()
	path, query, err := web.CheckPath(target)
	if err != nil {
		if path != "" || query != "" {
			t.Errorf("%q was refused and yet gave %q and %q", target, path, query)
		}
		return
	}
	again, _, err := web.CheckPath(path)
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
	for _, s := range webtest.Spellings {
		f.Add(s.Target)
	}
	f.Fuzz(holds)
}

func TestAPlainPathCostsNothing(t *testing.T) {
	n := testing.AllocsPerRun(100, func() { _, _, _ = web.CheckPath("/api/orders/17/lines?from=1") })
	if n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}
