package manual

import (
	"html"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/web"
	"github.com/gatehouse/gatehouse/internal/web/webtest"
)

// config is that of a server which speaks these contracts.
func config(spoken ...auth.Contract) Config {
	return Config{
		PublicURL: "https://api.example.com", Issuer: "https://api.example.com", Header: "X-LIQUID-API-KEY", KeyPrefix: "gk",
		Spoken:         func(c auth.Contract) bool { return slices.Contains(spoken, c) },
		AccessLifetime: 24 * time.Hour, Renewal: 720 * time.Hour, OrderLifetime: 10 * time.Minute, LoginLifetime: time.Hour,
		OpenAPI: "/openapi.yaml", RefreshLifetime: 168 * time.Hour, ReuseLeeway: 10 * time.Second, OAuthLifetime: time.Hour,
	}
}

func newManual(t *testing.T, c Config) *Manual {
	t.Helper()
	m, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *Manual) text(t *testing.T, path string) string {
	t.Helper()
	d, ok := m.documents[path]
	if !ok {
		t.Fatalf("there is no %s", path)
	}
	is, err := d.written()
	if err != nil {
		t.Fatal(err)
	}
	return string(is.body)
}

var (
	href    = regexp.MustCompile(`(?:href|src)="([^"]*)"`)
	heading = regexp.MustCompile(`<h[1-6] id="([^"]*)"`)
	mdLink  = regexp.MustCompile(`\]\((/[^)]*)\)`)
)

// Whatever a server speaks, every link leads somewhere, nothing is left unfilled, and no page has anything that a content
// security policy without scripts and inline styles would stop.
func TestEveryPageOfEveryServer(t *testing.T) {
	for set := range 1 << len(auth.Contracts) {
		var spoken []auth.Contract
		for i, c := range auth.Contracts {
			if set>>i&1 == 1 {
				spoken = append(spoken, c)
			}
		}
		c := config(spoken...)
		if set%2 == 0 { // every second one has a reference
			c.OpenAPI = ""
		}
		m := newManual(t, c)
		anchors := map[string]bool{}
		if m.assets != nil {
			at, err := m.assets.Paths()
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range at {
				anchors[path] = true
			}
		}
		for path := range m.documents {
			anchors[path] = true
			for _, id := range heading.FindAllStringSubmatch(m.text(t, path), -1) {
				anchors[path+"#"+id[1]] = true
			}
		}
		for path, d := range m.documents {
			text := m.text(t, path)
			links := href
			if strings.HasSuffix(path, ".md") {
				links = mdLink
			} else if strings.Contains(d.mediaType, "html") && path != Root+"/reference" && (strings.Contains(text, "<script") || strings.Contains(text, "style=") || strings.Contains(text, "SNIPPET")) {
				t.Errorf("%v: %s has a script, an inline style, or a snippet that was not put in", spoken, path)
			}
			for _, link := range links.FindAllStringSubmatch(text, -1) {
				to := link[1]
				if to != "#page" && to != m.config.OpenAPI && !anchors[to] {
					t.Errorf("%v: %s leads to %s, which is nowhere", spoken, path, to)
				}
			}
			if strings.Contains(text, "<no value>") || strings.Contains(text, "{{") {
				t.Errorf("%v: %s has something unfilled", spoken, path)
			}
		}
		for contract, telling := range map[auth.Contract]string{
			auth.Liquid: "GET /authentication", auth.Orders: "ORDER_API", auth.B2B: "/auth/", auth.OAuth2: "/oauth/",
		} {
			if slices.Contains(spoken, contract) {
				continue
			}
			for path := range m.documents {
				if text := m.text(t, path); strings.Contains(text, telling) {
					t.Errorf("%v: %s speaks of %s", spoken, path, telling)
				}
			}
		}
	}
}

func TestAPageIsServed(t *testing.T) {
	m := newManual(t, config(auth.Contracts...))
	s := webtest.Serve(t, web.Config{Own: m.Addresses(), Fallbacks: []web.Fallback{{Refuse: func(w http.ResponseWriter, r *web.Request, err error) {
		w.WriteHeader(web.Fail(w.Header(), r, err).Status)
	}}}})
	a := s.Send(t, "GET /docs/errors")
	for name, want := range map[string]string{
		"Content-Type":            "text/html; charset=utf-8",
		"Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		"X-Content-Type-Options":  "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache",
	} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if again := s.Send(t, "GET /docs/errors\nIf-None-Match: "+a.Header.Get("ETag")); again.Status != http.StatusNotModified || again.Body != "" {
		t.Errorf("asked for again: %d", again.Status)
	}
	for _, path := range []string{"/docs", "/docs/"} {
		if home := s.Send(t, "GET "+path); home.Status != http.StatusSeeOther || home.Header.Get("Location") != "/docs/authentication" {
			t.Errorf("%s: %d %s", path, home.Status, home.Header.Get("Location"))
		}
	}
	for path, mediaType := range map[string]string{
		"/docs/login.md": "text/markdown; charset=utf-8", "/docs/llms.txt": "text/plain; charset=utf-8", "/docs/style.css": "text/css; charset=utf-8",
	} {
		if a := s.Send(t, "GET "+path); a.Status != http.StatusOK || a.Header.Get("Content-Type") != mediaType {
			t.Errorf("%s: %d %s", path, a.Status, a.Header.Get("Content-Type"))
		}
	}
	if a := s.Send(t, "GET /docs/nothing"); a.Status != http.StatusNotFound {
		t.Errorf("a page that is not there: %d", a.Status)
	}
}

// Every snippet is there in every language that its page promises, for every environment, and this server comes first.
func TestEnvironments(t *testing.T) {
	c := config(auth.Contracts...)
	c.Environments = []Environment{{"Staging", "https://staging.example.com"}, {"Production", c.PublicURL}, {`<b>"Third"`, "https://third.example.com"}}
	m := newManual(t, c)
	page := m.text(t, "/docs/login")
	for _, e := range c.Environments {
		for _, l := range languages {
			if !strings.Contains(page, e.URL) {
				t.Errorf("no snippet in %s for %s", l.shown, e.Name)
			}
		}
		if !strings.Contains(page, "<span>"+html.EscapeString(e.Name)+"</span>") {
			t.Errorf("%s is not to be chosen", e.Name)
		}
	}
	if first, second := strings.Index(page, "<span>Production"), strings.Index(page, "<span>Staging"); first < 0 || first > second {
		t.Error("this server does not come first")
	}
	if md := m.text(t, "/docs/login.md"); strings.Contains(md, "staging.example.com") || !strings.Contains(md, "https://api.example.com/auth/login") {
		t.Error("the page for machines has another address than this server's")
	}
	if n := strings.Count(m.text(t, "/docs/style.css"), "{ display: block; }"); n < len(languages)*len(c.Environments) {
		t.Errorf("the style sheet shows %d choices", n)
	}
}

func TestSplit(t *testing.T) {
	source := "a\n\n```curl\n1\n```\n\n```php\n2\n```\n\nb\n\n```json\n{}\n```\n\n```curl\n3\n```\n```curl\n4\n```\n"
	prose, all := split(source)
	want := []snippet{{"curl": "1\n", "php": "2\n"}, {"curl": "3\n"}, {"curl": "4\n"}}
	if !slices.EqualFunc(all, want, maps.Equal) {
		t.Errorf("got %q", all)
	}
	if !strings.Contains(prose, "```json\n{}\n```") || strings.Count(prose, "STANDSHERE") != 3 || strings.Contains(prose, "```curl") {
		t.Errorf("got %s", prose)
	}
}

func TestTooManyEnvironments(t *testing.T) {
	c := config()
	c.Environments = make([]Environment, mostEnvironments+1)
	if _, err := New(c); err == nil {
		t.Error("they are taken")
	}
}
