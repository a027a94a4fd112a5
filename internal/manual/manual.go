// Package manual is the pages that a customer's developer reads at /docs: how to get a token, keep it, renew it, and what an
// error means, with this server's own address and settings in every line. It leaves to the contracts what is true, and to
// docs/ in the repository what operators read.
//
// The invariants: nothing comes from elsewhere, and no page but the reference needs a script; a page says nothing of a contract that is not spoken
// here; every snippet is run by a test, as it stands on the page.
package manual

import (
	"bytes"
	"cmp"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	texttemplate "text/template"
	"time"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/web"
)

//go:embed pages style.css icon.svg
var files embed.FS

// Root is where the pages are.
const Root = "/docs"

// An Environment is a deployment that customers may call, as a snippet shows it.
type Environment struct {
	Name string
	URL  string // without a slash at its end
}

// Config is what the pages say of this server.
type Config struct {
	Title     string // "": "API access"
	Support   string // how to reach whoever runs it: an address, a URL, a sentence; "": not said
	PublicURL string // without a slash at its end
	// Environments are the choices of every snippet; none: this server alone.
	Environments []Environment
	Issuer       string
	Header       string // that API keys come in
	KeyPrefix    string // that they begin with
	Spoken       func(auth.Contract) bool

	AccessLifetime, Renewal, OrderLifetime, LoginLifetime, RefreshLifetime, ReuseLeeway, OAuthLifetime time.Duration

	// Origins says whether browsers of other origins may call.
	Origins bool
	// OpenAPI is where on this server the OpenAPI document is, which the reference shows; "": there is neither.
	OpenAPI string
}

// A page is one of the manual.
type page struct {
	Name     string // in its URL
	Title    string
	Says     string // in one line, for the index
	contract []auth.Contract
}

// pages lists them as they are read. One that belongs to contracts is there if one of them is spoken.
var pages = []page{
	{"authentication", "Authentication", "How it works: a credential buys a token, the token opens the API", nil},
	{"access-token", "Get an access token", "With an API key", []auth.Contract{auth.Liquid}},
	{"orders", "Orders authentication", "With a user ID and a password, for order tokens", []auth.Contract{auth.Orders}},
	{"login", "Login", "With a username and a password: an access token and a refresh token", []auth.Contract{auth.B2B}},
	{"oauth", "OAuth 2", "With a client id and a client secret", []auth.Contract{auth.OAuth2}},
	{"refresh", "Refresh", "The next token without the credential", []auth.Contract{auth.Liquid, auth.B2B}},
	{"revoke", "Revoke", "Logging out, and what else ends a token", []auth.Contract{auth.B2B, auth.OAuth2}},
	{"tokens", "Token management", "Where to keep tokens, several workers and one session, answers that were lost", nil},
	{"security", "Security considerations", "HTTPS, browsers, rotation, the allowlist", nil},
	{"errors", "Errors", "Every status and code: why, what to do, whether to try again", nil},
	{referencePage, "Reference", "Every address, what it takes and what it answers (OpenAPI 3.1)", nil},
	{"rate-limits", "Rate limits", "How often you may come, and how you are told", nil},
	{"environments", "Environments", "Staging and production, and a sandbox for tests", nil},
	{"support", "Support", "Whom to ask, and what to have at hand", nil},
}

// A document is one answer. It is written when somebody first asks for it, and kept: an idle server holds none.
type document struct {
	mediaType string
	policy    []string
	written   func() (written, error)
}

type written struct {
	body []byte
	tag  string
}

// A Manual serves the pages.
type Manual struct {
	config    Config
	pages     []page
	shell     func() (*template.Template, error)
	documents map[string]document // by path
	assets    *web.Assets         // nil: there is no reference, which they are for
}

// New makes the pages of a server; what they say is put into each when somebody first asks for it.
func New(c Config) (*Manual, error) {
	if c.PublicURL == "" || c.Spoken == nil {
		return nil, errors.New("manual: where the server is and what it speaks are both needed")
	}
	if c.Title == "" {
		c.Title = "API access"
	}
	if len(c.Environments) == 0 {
		c.Environments = []Environment{{"This server", c.PublicURL}}
	}
	// This one comes first, and is what a page says where nothing is chosen.
	c.Environments = slices.Clone(c.Environments)
	slices.SortStableFunc(c.Environments, func(a, b Environment) int {
		return cmp.Compare(notHere(a, c.PublicURL), notHere(b, c.PublicURL))
	})
	if len(c.Environments) > mostEnvironments {
		return nil, fmt.Errorf("manual: more than %d environments", mostEnvironments)
	}
	m := &Manual{config: c, documents: make(map[string]document), shell: sync.OnceValues(func() (*template.Template, error) {
		return template.ParseFS(files, "pages/shell.html")
	})}
	for _, p := range pages {
		if !p.spoken(c.Spoken) || p.Name == referencePage && c.OpenAPI == "" {
			continue
		}
		m.pages = append(m.pages, p)
		if p.Name == referencePage {
			m.assets = newAssets()
			m.put(p.Name, "text/html; charset=utf-8", referencePolicy, func() ([]byte, error) { return m.reference(p) })
			continue
		}
		m.put(p.Name, "text/html; charset=utf-8", policy, func() ([]byte, error) { return m.html(p) })
		m.put(p.Name+".md", "text/markdown; charset=utf-8", policy, func() ([]byte, error) { return m.markdown(p) })
	}
	m.put("llms.txt", "text/plain; charset=utf-8", policy, m.index)
	m.put("style.css", "text/css; charset=utf-8", policy, m.style)
	m.put("icon.svg", "image/svg+xml", policy, func() ([]byte, error) { return files.ReadFile("icon.svg") })
	return m, nil
}

// notHere is 0 for the environment at url, else 1.
func notHere(e Environment, url string) int {
	if e.URL == url {
		return 0
	}
	return 1
}

func (p page) spoken(spoken func(auth.Contract) bool) bool {
	for _, c := range p.contract {
		if spoken(c) {
			return true
		}
	}
	return len(p.contract) == 0
}

// put has a document served at a path below [Root].
func (m *Manual) put(path, mediaType string, policy []string, write func() ([]byte, error)) {
	m.documents[Root+"/"+path] = document{mediaType, policy, sync.OnceValues(func() (written, error) {
		body, err := write()
		if err != nil {
			return written{}, fmt.Errorf("manual: %s: %w", path, err)
		}
		return written{body, web.Tag(body)}, nil
	})}
}

// Addresses are those of all pages.
func (m *Manual) Addresses() []web.Address {
	home := func(w http.ResponseWriter, _ *web.Request) error {
		w.Header()["Location"] = []string{Root + "/" + m.pages[0].Name}
		w.WriteHeader(http.StatusSeeOther)
		return nil
	}
	all := []web.Address{
		{Path: Root, Methods: map[string]web.Handler{http.MethodGet: home}},
		{Path: Root + "/", Methods: map[string]web.Handler{http.MethodGet: home}},
	}
	for path, d := range m.documents {
		all = append(all, web.Address{Path: path, Methods: map[string]web.Handler{http.MethodGet: d.serve}})
	}
	if m.assets != nil {
		all = append(all, m.assets.Address())
	}
	return all
}

// policy allows the style sheet and the icon, and nothing else.
var policy = []string{"default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"}

func (d document) serve(w http.ResponseWriter, r *web.Request) error {
	is, err := d.written()
	if err != nil {
		return err
	}
	h := w.Header()
	h["Content-Security-Policy"] = d.policy
	h["X-Content-Type-Options"] = []string{"nosniff"}
	h["Referrer-Policy"] = []string{"no-referrer"}
	h["Cache-Control"] = []string{"no-cache"} // kept, and asked for again: a setting may have changed
	if web.NotModified(w, r, is.tag) {
		return nil
	}
	h["Content-Type"] = []string{d.mediaType}
	h["Content-Length"] = []string{strconv.Itoa(len(is.body))}
	_, _ = w.Write(is.body)
	return nil
}

// index is the index for machines.
func (m *Manual) index() ([]byte, error) {
	var index bytes.Buffer
	fmt.Fprintf(&index, "# %s\n\n> How programs get access to this API: credentials, tokens, errors, limits. The pages are Markdown.\n\n", m.config.Title)
	for _, p := range m.pages {
		at := Root + "/" + p.Name + ".md"
		if p.Name == referencePage {
			at = m.config.OpenAPI
		}
		fmt.Fprintf(&index, "- [%s](%s%s): %s\n", p.Title, m.config.PublicURL, at, p.Says)
	}
	return index.Bytes(), nil
}

// style is the style sheet.
func (m *Manual) style() ([]byte, error) {
	style, err := files.ReadFile("style.css")
	return append(style, choices(len(m.config.Environments))...), err
}

// source is a page's text as it is embedded.
func (p page) source() (string, error) {
	b, err := files.ReadFile("pages/" + p.Name + ".md")
	return string(b), err
}

// markdown makes a page as it was written.
func (m *Manual) markdown(p page) ([]byte, error) {
	source, err := p.source()
	if err != nil {
		return nil, err
	}
	text, err := m.fill(p, source, m.config.Environments[0])
	return []byte(text), err
}

// fill puts what is so here into a page's text.
func (m *Manual) fill(p page, source string, in Environment) (string, error) {
	t, err := texttemplate.New(p.Name).Option("missingkey=error").Parse(source)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, values{Config: m.config, Base: in.URL, Page: p})
	return b.String(), err
}

// values are what a page's text may say.
type values struct {
	Config
	Base string
	Page page
}

// Liquid, Orders, B2B and OAuth say which contracts are spoken.
func (v values) Liquid() bool { return v.Spoken(auth.Liquid) }
func (v values) Orders() bool { return v.Spoken(auth.Orders) }
func (v values) B2B() bool    { return v.Spoken(auth.B2B) }
func (v values) OAuth() bool  { return v.Spoken(auth.OAuth2) }

// Host is the name in the server's own URL.
func (v values) Host() string {
	u, err := url.Parse(v.PublicURL)
	if err != nil {
		return v.PublicURL
	}
	return u.Host
}

// Secure says whether the server is reached over HTTPS.
func (v values) Secure() bool { return strings.HasPrefix(v.PublicURL, "https://") }

// In says a duration in words.
func (v values) In(d time.Duration) string { return words(d) }

// words says a duration as people do: "24 hours", "10 minutes".
func words(d time.Duration) string {
	for _, u := range []struct {
		is   time.Duration
		name string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}} {
		if d >= u.is && d%u.is == 0 {
			n := d / u.is
			if n == 1 {
				return "1 " + u.name
			}
			return fmt.Sprintf("%d %ss", n, u.name)
		}
	}
	return d.String()
}

// html makes the page that browsers get. Snippets are taken out before the Markdown is read, and put in after it.
func (m *Manual) html(p page) ([]byte, error) {
	source, err := p.source()
	if err != nil {
		return nil, err
	}
	prose, snippets := split(source)
	text, err := m.fill(p, prose, m.config.Environments[0])
	if err != nil {
		return nil, err
	}
	md := goldmark.New(goldmark.WithExtensions(extension.Table), goldmark.WithParserOptions(parser.WithAutoHeadingID()))
	var body bytes.Buffer
	if err := md.Convert([]byte(text), &body); err != nil {
		return nil, err
	}
	whole := body.String()
	for i, s := range snippets {
		made, err := m.snippet(p, i, s)
		if err != nil {
			return nil, err
		}
		mark := "<p>" + markOf(i) + "</p>"
		if strings.Count(text, markOf(i)) != strings.Count(whole, mark) { // none, where nobody speaks of it here
			return nil, fmt.Errorf("snippet %d does not stand by itself", i+1)
		}
		whole = strings.Replace(whole, mark, made, 1)
	}
	whole = strings.NewReplacer("<table>", `<div class="wide"><table>`, "</table>", "</table></div>").Replace(whole)
	return m.framed(p, template.HTML(whole), nil) //nolint:gosec // ours
}

// framed puts a page's text into what stands around all of them, or, where there is one, the place that a drawing goes to.
func (m *Manual) framed(p page, body template.HTML, d *drawing) ([]byte, error) {
	shell, err := m.shell()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = shell.ExecuteTemplate(&out, "shell.html", map[string]any{
		"Manual": m.config, "Page": p, "Pages": m.pages, "Root": Root, "Body": body, "Drawing": d,
	})
	return out.Bytes(), err
}
