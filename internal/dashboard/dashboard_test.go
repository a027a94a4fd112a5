package dashboard_test

import (
	"bytes"
	"compress/gzip"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/dashboard"
	"github.com/gatehouse/gatehouse/internal/limit"
	"github.com/gatehouse/gatehouse/internal/people"
	"github.com/gatehouse/gatehouse/internal/registry"
	"github.com/gatehouse/gatehouse/internal/secret"
	"github.com/gatehouse/gatehouse/internal/server"
	"github.com/gatehouse/gatehouse/internal/web"
	"github.com/gatehouse/gatehouse/internal/web/webtest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// begin is when every test does.
var begin = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

// A house is both dashboards over one database, and people who have signed in.
type house struct {
	t         testing.TB
	opened    *server.Opened
	now       time.Time
	people    *people.People
	tokens    map[string]string // by whose they are
	persons   int
	passkey   string // in an address, of who joined last
	link      string // likewise
	operators *webtest.Server
	members   *webtest.Server
	pages     map[*webtest.Server]*dashboard.Dashboard

	account, other      auth.AccountID
	max                 map[auth.AccountID]auth.PersonID // who was invited to account and other, and as an operator
	credential, foreign auth.CredentialID                // of account, of other
}

var machine = auth.Actor{Name: "test", Role: auth.RoleOwner, Machine: true}

func newHouse(t testing.TB) *house {
	t.Helper()
	c := config.Default()
	c.DataDir = filepath.Join(t.TempDir(), "data")
	c.Issuer, c.Audience = "https://api.example.org", "https://api.example.org"
	h := &house{t: t, max: map[auth.AccountID]auth.PersonID{}, now: begin, tokens: map[string]string{}, pages: map[*webtest.Server]*dashboard.Dashboard{}}
	now := func() time.Time { return h.now }
	var err error
	if h.opened, err = server.Open(t.Context(), c, server.OpenOptions{Create: true, Now: now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.opened.Close() })
	h.people, err = people.New(people.Config{
		Store: h.opened.DB, Keys: h.opened.Rings, Masters: h.opened.Masters, Limits: limit.New(limit.Config{Now: now}), Issuer: "Gatehouse", Now: now,
		Cost: people.Cost{Memory: 8, Time: 1, Threads: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	base, err := url.Parse("http://api.example.org")
	if err != nil {
		t.Fatal(err)
	}
	keys, providers := offer(t, base, h, &company{away: true})
	pages := dashboard.Config{Base: base, Passkeys: keys, Providers: providers}
	h.operators, h.members = h.serve(dashboard.Operators, pages), h.serve(dashboard.Members, pages)
	h.furnish()
	return h
}

// serve serves the pages of one side.
func (h *house) serve(side dashboard.Side, c dashboard.Config) *webtest.Server {
	h.t.Helper()
	now := func() time.Time { return h.now }
	c.Repeats = h.opened.DB
	c.Side, c.Registry, c.People, c.Digest, c.Now = side, h.opened.Registry, h.people, h.opened.Rings.HandedOut, now
	c.Programs, c.Call, c.Docs = programs, "curl $API_PATH\n", "/docs"
	d, err := dashboard.New(c)
	if err != nil {
		h.t.Fatal(err)
	}
	s := webtest.Serve(h.t, web.Config{Own: d.Addresses(), Now: now, Fallbacks: []web.Fallback{{Refuse: func(w http.ResponseWriter, r *web.Request, err error) {
		w.WriteHeader(web.Fail(w.Header(), r, err).Status)
	}}}})
	h.pages[s] = d
	return s
}

// furnish makes two accounts with a credential each.
func (h *house) furnish() {
	h.t.Helper()
	for _, one := range []struct {
		name       string
		account    *auth.AccountID
		credential *auth.CredentialID
	}{{"Acme", &h.account, &h.credential}, {"Other", &h.other, &h.foreign}} {
		a, err := h.opened.Registry.CreateAccount(h.t.Context(), machine, one.name, "")
		if err != nil {
			h.t.Fatal(err)
		}
		made, err := h.opened.Registry.CreateCredential(h.t.Context(), machine, registry.NewCredential{Account: a.ID, Kind: auth.Login, Name: "Shop"})
		if err != nil {
			h.t.Fatal(err)
		}
		*one.account, *one.credential = a.ID, made.Credential.ID
	}
	h.invite(h.account)
	h.invite(h.other)
	h.refuse(h.refusal(refused, h.account, h.credential, auth.ReasonWrongSecret))
}

// invite has somebody invited to an account, or as an operator, who does not come.
func (h *house) invite(account auth.AccountID) {
	h.t.Helper()
	made, err := h.opened.Registry.InvitePerson(h.t.Context(), machine, account, registry.NewPerson{Email: "max-" + account.String() + "@example.com", Name: "Max", Role: auth.RoleViewer}, 0)
	if err != nil {
		h.t.Fatal(err)
	}
	h.max[account] = made.Person.ID
}

// signedIn is the token of an operator, or of a member of an account, who has signed in just now.
func (h *house) signedIn(role auth.Role, account auth.AccountID) string {
	h.t.Helper()
	who := fmt.Sprintf("%s-of-%d", role, account)
	if h.tokens[who] != "" {
		return h.tokens[who]
	}
	id := fmt.Append(nil, who, h.persons)
	entry, err := h.people.Join(h.t.Context(), h.invited(role, account), people.Joining{
		Passkey: &auth.Passkey{ID: id, Name: "telephone", PublicKey: []byte(who), Model: make([]byte, 16), CreatedAt: h.now},
	}, auth.Caller{Address: webtest.Address, UserAgent: "Firefox on Linux", RequestID: "reqid_00000000000"})
	if err != nil {
		h.t.Fatal(err)
	}
	err = h.opened.DB.AddOpenID(h.t.Context(), entry.Person.ID, auth.OpenID{Issuer: issuer, Subject: string(id), Provider: "company"}, auth.Act{Actor: "test", Action: "person.openid-add"})
	if err != nil {
		h.t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(issuer + "\x00" + string(id)))
	h.passkey, h.link = base64.RawURLEncoding.EncodeToString(id), base64.RawURLEncoding.EncodeToString(sum[:12])
	h.tokens[who] = entry.Reveal()
	return h.tokens[who]
}

// invited is the code of a link for somebody new.
func (h *house) invited(role auth.Role, account auth.AccountID) string {
	h.t.Helper()
	id := secret.NewPersonID()
	h.persons++
	p := auth.Person{ID: id, Account: account, Email: fmt.Sprintf("%s-%d-%d@example.com", role, account, h.persons), Name: "Jane Doe", Role: role, State: auth.Invited, CreatedAt: h.now}
	code := auth.FormatCode(secret.NewSecret())
	err := h.opened.DB.InvitePerson(h.t.Context(), p, auth.Invitation{
		Digest: h.opened.Rings.LookupDigest(auth.LookupLink, code), Person: id, ExpiresAt: h.now.Add(time.Hour),
	}, auth.Act{Actor: "test", Action: "person.invite"})
	if err != nil {
		h.t.Fatal(err)
	}
	return code
}

// cookie is the line of a request's head that a token comes in.
func (h *house) cookie(s *webtest.Server, token string) string {
	if token == "" {
		return ""
	}
	if s == h.operators {
		return "\nCookie: gatehouse-operator=" + token
	}
	return "\nCookie: gatehouse-member=" + token
}

// get asks for a page.
func (h *house) get(s *webtest.Server, token, path string) webtest.Answer {
	h.t.Helper()
	return s.Send(h.t, "GET "+path+h.cookie(s, token))
}

// post sends a form from a page of ours. One that makes a secret is asked for first, as browsers do.
func (h *house) post(s *webtest.Server, token, path string, form url.Values) webtest.Answer {
	h.t.Helper()
	if makesASecret.MatchString(path) && form.Get("once") == "" {
		form = h.asked(s, token, path, form)
	}
	return h.postFrom(s, token, path, form, "http://api.example.org")
}

var (
	makesASecret = regexp.MustCompile(`/(credentials|people|operators|tokens)/(new|[^/]+/(rotate|reset))$`)
	onceField    = regexp.MustCompile(`<input type="hidden" name="once" value="([^"]+)">`)
)

// asked is a form with what its page has it taken once for.
func (h *house) asked(s *webtest.Server, token, path string, form url.Values) url.Values {
	h.t.Helper()
	full := url.Values{}
	for name, values := range form {
		full[name] = values
	}
	if found := onceField.FindStringSubmatch(h.get(s, token, path).Body); found != nil {
		full.Set("once", found[1])
	}
	return full
}

func (h *house) postFrom(s *webtest.Server, token, path string, form url.Values, origin string) webtest.Answer {
	h.t.Helper()
	body := form.Encode()
	return s.Send(h.t, fmt.Sprintf("POST %s%s\nOrigin: %s\nContent-Type: application/x-www-form-urlencoded\nContent-Length: %d\n\n%s", path, h.cookie(s, token), origin, len(body), body))
}

// filled is a line's path with what there is in place of its wildcards.
func (h *house) filled(path string) string {
	max := h.max[h.account]
	if strings.Contains(path, "/operators/") {
		if h.max[0] == "" { // who is first finds nobody there
			h.invite(0)
		}
		max = h.max[0]
	}
	return strings.NewReplacer("{person}", string(max), "{account}", h.account.String(), "{credential}", string(h.credential), "{session}", "none", "{key}", "none", "{token}", "ot_none", "{passkey}", h.passkey, "{link}", h.link, "{provider}", "company", "{request}", refused, "{$}", "").Replace(path)
}

// sides are both dashboards with the roles that their people can have.
func (h *house) sides() []struct {
	name  string
	of    *webtest.Server
	roles []auth.Role
	at    auth.AccountID
} {
	return []struct {
		name  string
		of    *webtest.Server
		roles []auth.Role
		at    auth.AccountID
	}{{"operators", h.operators, auth.OperatorRoles, 0}, {"members", h.members, auth.MemberRoles, h.account}}
}

// golden compares what was made with a file, or writes it there.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; if it is meant so: go test ./internal/dashboard -update):\n%s", name, diff)
	}
}

// The whole table, page by page: who gets which status. Whoever adds a page sees here to whom it is open.
func TestWhoSeesWhat(t *testing.T) {
	h := newHouse(t)
	var b strings.Builder
	for _, side := range h.sides() {
		for _, line := range h.pages[side.of].Lines() {
			fmt.Fprintf(&b, "%-9s %-4s %-50s", side.name, line.Method, line.Path)
			for _, role := range append(slices.Clone(side.roles), "nobody") {
				token := ""
				if role != "nobody" {
					token = h.signedIn(role, side.at)
				}
				if line.Method == "POST" { // one of them signs out
					clear(h.tokens)
				}
				var a webtest.Answer
				if line.Method == "GET" {
					a = h.get(side.of, token, h.filled(line.Path))
				} else {
					// What is asked here is whether the form may be sent at all; there is nothing in it.
					path := h.filled(strings.NewReplacer("{credential}", "unknown", "{person}", "unknown").Replace(line.Path))
					a = h.post(side.of, token, path, nil)
				}
				if to := a.Header.Get("Location"); role == "nobody" && !line.Open && !strings.HasPrefix(to, "/dashboard/sign-in") {
					t.Errorf("%s %s leads nobody to %q", line.Method, line.Path, to)
				}
				fmt.Fprintf(&b, " %s %d", role, a.Status)
			}
			b.WriteString("\n")
		}
	}
	golden(t, "pages.txt", b.String())
}

// wears is what every answer of the dashboards wears.
var wears = map[string]string{
	"Content-Security-Policy":      "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
	"Referrer-Policy":              "no-referrer",
	"X-Content-Type-Options":       "nosniff",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Permissions-Policy":           "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
	"Cache-Control":                "no-store",
}

var (
	formTag  = regexp.MustCompile(`<form method="post" action="([^"]*)"`)
	linkTo   = regexp.MustCompile(`(?:href|hx-get)="(/[^"#?]*)[^"]*"`)
	inline   = regexp.MustCompile(`<script>|<style|\sstyle=|\son[a-z]+="|javascript:|hx-on`)
	idOf     = regexp.MustCompile(`\sid="([^"]*)"`)
	heading  = regexp.MustCompile(`<h([1-6])`)
	labelFor = regexp.MustCompile(`<label for="([^"]*)"`)
	control  = regexp.MustCompile(`<(?:input type="(?:text|email|password|date|number|checkbox|radio|search)"|textarea|select)[^>]*\sid="([^"]*)"`)
)

// Every page that an owner sees wears the headers; its forms and links lead to pages that there are; nothing in it is inline;
// ids are there once, headings in order, and every question has a label.
func TestEveryPage(t *testing.T) {
	h := newHouse(t)
	for _, side := range h.sides() {
		token := h.signedIn(auth.RoleOwner, side.at)
		mux := http.NewServeMux()
		shown := map[string]bool{}
		for _, line := range h.pages[side.of].Lines() {
			mux.Handle(line.Method+" "+line.Path, http.NotFoundHandler())
		}
		known := func(method, path string) bool {
			r, err := http.NewRequestWithContext(t.Context(), method, path, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, pattern := mux.Handler(r)
			return pattern != ""
		}
		for _, line := range h.pages[side.of].Lines() {
			if line.Method != "GET" {
				if !known("GET", h.filled(line.Path)) && !strings.HasSuffix(line.Path, "/sign-out") {
					t.Errorf("%s: the form of %s is on no page of that address", side.name, line.Path)
				}
				continue
			}
			name := side.name + " " + line.Path
			a := h.get(side.of, token, h.filled(line.Path))
			if a.Status != http.StatusOK && a.Status != http.StatusSeeOther && !strings.Contains(line.Path, "{key}") {
				t.Errorf("%s: %d %s", name, a.Status, a.Body)
			}
			for header, want := range wears {
				if got := a.Header.Get(header); got != want {
					t.Errorf("%s: %s is %q, want %q", name, header, got, want)
				}
			}
			if a.Status == http.StatusSeeOther || strings.HasPrefix(a.Header.Get("Content-Type"), "text/csv") {
				continue
			}
			if found := inline.FindString(a.Body); found != "" {
				t.Errorf("%s has %q, which the policy stops", name, found)
			}
			for _, to := range formTag.FindAllStringSubmatch(a.Body, -1) {
				if shown[to[1]] = true; !known("POST", to[1]) {
					t.Errorf("%s: a form for %s, which takes none", name, to[1])
				}
			}
			for _, to := range linkTo.FindAllStringSubmatch(a.Body, -1) {
				if !known("GET", to[1]) && !strings.HasPrefix(to[1], dashboard.Root+"/static/") && !strings.HasPrefix(to[1], "/docs") {
					t.Errorf("%s leads to %s, which is nowhere", name, to[1])
				}
			}
			checkMarkup(t, name, a.Body)
		}
	}
}

func checkMarkup(t *testing.T, name, body string) {
	t.Helper()
	ids := map[string]bool{}
	for _, id := range idOf.FindAllStringSubmatch(body, -1) {
		if ids[id[1]] {
			t.Errorf("%s has the id %q twice", name, id[1])
		}
		ids[id[1]] = true
	}
	level := 0
	for _, at := range heading.FindAllStringSubmatch(body[:strings.Index(body, "<dialog")], -1) {
		if now := int(at[1][0] - '0'); now > level+1 {
			t.Errorf("%s: a heading of level %d follows one of level %d", name, now, level)
		} else {
			level = now
		}
	}
	if n := strings.Count(body, "<h1"); n != 1 {
		t.Errorf("%s has %d headings of the first level", name, n)
	}
	labelled := map[string]bool{}
	for _, l := range labelFor.FindAllStringSubmatch(body, -1) {
		labelled[l[1]] = true
	}
	for _, c := range control.FindAllStringSubmatch(body, -1) {
		if !labelled[c[1]] {
			t.Errorf("%s: the question %q has no label", name, c[1])
		}
	}
	if strings.Count(body, "<table") != strings.Count(body, "<caption") {
		t.Errorf("%s has a table without a caption", name)
	}
}

// A form that a page of another site sends changes nothing, whoever's browser it comes from, and is noted.
func TestFormsOfOtherSites(t *testing.T) {
	h := newHouse(t)
	for _, side := range h.sides() {
		token := h.signedIn(auth.RoleOwner, side.at)
		for _, line := range h.pages[side.of].Lines() {
			if line.Method != "POST" {
				continue
			}
			for _, from := range []string{"https://evil.example", "null", "http://api.example.org:8000", "http://api.example.org.evil.example", "https://api.example.org\nSec-Fetch-Site: same-site", "http://api.example.org\nSec-Fetch-Site: cross-site"} {
				if strings.HasSuffix(from, "cross-site") {
					continue // with an origin that is ours, that is a proxy's doing
				}
				a := h.postFrom(side.of, token, h.filled(line.Path), nil, from)
				if a.Status != http.StatusForbidden || !strings.Contains(a.Body, "another site") {
					t.Errorf("%s %s from %s: %d", side.name, line.Path, from, a.Status)
				}
			}
		}
	}
	if c, err := h.opened.Registry.Credential(t.Context(), machine, string(h.credential)); err != nil || !c.RevokedAt.IsZero() {
		t.Errorf("the credential was revoked at %v (%v)", c.RevokedAt, err)
	}
}

// What is another account's is answered as what does not exist is, by every page that has an id in its address.
func TestAnotherAccountsIDs(t *testing.T) {
	h := newHouse(t)
	for _, side := range h.sides() {
		token := h.signedIn(auth.RoleOwner, side.at)
		asked := 0
		for _, line := range h.pages[side.of].Lines() {
			own, foreign, none := string(h.credential), string(h.foreign), "0123456789ab"
			if strings.Contains(line.Path, "{person}") {
				own, foreign, none = string(h.max[h.account]), string(h.max[h.other]), "p_0123456789ab"
				if h.filled(line.Path); strings.Contains(line.Path, "/operators/") {
					own = string(h.max[0])
				}
			} else if !strings.Contains(line.Path, "{credential}") {
				continue
			}
			asked++
			at := func(id string) string {
				path := strings.ReplaceAll(h.filled(line.Path), own, id)
				var a webtest.Answer
				if line.Method == "GET" {
					a = h.get(side.of, token, path)
				} else {
					a = h.post(side.of, token, path, url.Values{"overlap": {"24h"}, "name": {"taken"}, "role": {"owner"}})
				}
				return fmt.Sprint(a.Status, " ", strings.ReplaceAll(strings.ReplaceAll(a.Body, a.RequestID, "ID"), id, "ITS ID"))
			}
			if foreign, unknown := at(foreign), at(none); foreign != unknown || !strings.HasPrefix(foreign, "404 ") {
				t.Errorf("%s %s %s: another account's is answered with\n%s\nand an unknown one with\n%s", side.name, line.Method, line.Path, foreign, unknown)
			}
		}
		if asked < 10 {
			t.Errorf("%s: only %d pages of a credential", side.name, asked)
		}
	}
	if c, err := h.opened.Registry.Credential(t.Context(), machine, string(h.foreign)); err != nil || c.Name != "Shop" || !c.RevokedAt.IsZero() || len(c.Secrets) != 1 {
		t.Errorf("it was changed: %+v (%v)", c, err)
	}
	if p, err := h.opened.Registry.Person(t.Context(), machine, h.other, string(h.max[h.other])); err != nil || p.Role != auth.RoleViewer {
		t.Errorf("its member was changed: %+v (%v)", p, err)
	}
}

const password = "four words that rhyme"

// enrolled joins by the pages as somebody new does, with a password and an authenticator, and returns the token of the session
// and the authenticator's secret.
func (h *house) enrolled(account auth.AccountID) (token string, key []byte) {
	h.t.Helper()
	side := h.operators
	if account != 0 {
		side = h.members
	}
	joined := h.post(side, "", "/dashboard/join", url.Values{"code": {h.invited(auth.RoleOwner, account)}, "looked": {"yes"}, "password": {password}})
	if joined.Status != http.StatusSeeOther || joined.Header.Get("Location") != "/dashboard/second-factor" {
		h.t.Fatalf("joined: %d %v %s", joined.Status, joined.Header, joined.Body)
	}
	token = sessionIn(joined)
	page := h.get(side, token, "/dashboard/second-factor")
	text := regexp.MustCompile(`Secret: <code>([A-Z2-7 ]+)</code>`).FindStringSubmatch(page.Body)
	if text == nil {
		h.t.Fatalf("no secret: %d %s", page.Status, page.Body)
	}
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ReplaceAll(text[1], " ", ""))
	if err != nil {
		h.t.Fatal(err)
	}
	if again := h.post(side, token, "/dashboard/second-factor", url.Values{"code": {"000000"}}); again.Status != http.StatusUnauthorized || !strings.Contains(again.Body, text[1]) {
		h.t.Errorf("a wrong code: %d, and another secret", again.Status)
	}
	done := h.post(side, token, "/dashboard/second-factor", url.Values{"code": {totp(key, h.now)}})
	if done.Status != http.StatusOK || strings.Count(done.Body, "<li><code>") != 10 {
		h.t.Fatalf("enrolled: %d %s", done.Status, done.Body)
	}
	return sessionIn(done), key
}

// sessionIn is the token of the session that an answer sets, "" if it sets none.
func sessionIn(a webtest.Answer) string {
	for _, line := range a.Header["Set-Cookie"] {
		if c, err := http.ParseSetCookie(line); err == nil {
			switch strings.TrimPrefix(c.Name, "__Host-") {
			case "gatehouse-operator", "gatehouse-member":
				return c.Value
			}
		}
	}
	return ""
}

// totp is the code of an authenticator (RFC 6238).
func totp(key []byte, at time.Time) string {
	mac := hmac.New(sha1.New, key)
	_ = binary.Write(mac, binary.BigEndian, at.Unix()/30)
	sum := mac.Sum(nil)
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[sum[19]&15:])&0x7fffffff%1_000_000)
}

var hidden = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)

// Whoever has to prove once more who they are types nothing again: a page is come back to, and a form that was sent is kept and
// taken once they have.
func TestConfirming(t *testing.T) {
	h := newHouse(t)
	token, key := h.enrolled(0)
	path := fmt.Sprintf("/dashboard/accounts/%d/credentials/new", h.account)
	form := h.asked(h.operators, token, path, url.Values{"kind": {"login"}, "name": {"A <new> one"}})
	h.now = h.now.Add(auth.StepUpWithin + time.Second)
	if a := h.get(h.operators, token, path); a.Status != http.StatusSeeOther || a.Header.Get("Location") != "/dashboard/confirm?next="+url.QueryEscape(path) {
		t.Errorf("the page: %d %v", a.Status, a.Header)
	}
	asked := h.post(h.operators, token, path, form)
	if asked.Status != http.StatusForbidden || !strings.Contains(asked.Body, "Confirm that it is you") {
		t.Fatalf("the form: %d %s", asked.Status, asked.Body)
	}
	answer := url.Values{"confirm-code": {"000000"}, "confirm-password": {password}}
	for _, field := range hidden.FindAllStringSubmatch(asked.Body, -1) {
		answer.Set(field[1], field[2])
	}
	wrong := h.post(h.operators, token, "/dashboard/confirm", answer)
	if wrong.Status != http.StatusUnauthorized || !strings.Contains(wrong.Body, answer.Get("confirm-kept")) {
		t.Errorf("a wrong code: %d, and what was typed is lost", wrong.Status)
	}
	answer.Set("confirm-code", totp(key, h.now))
	// What was kept is taken where it was sent, and nowhere else.
	elsewhere := url.Values{}
	for name := range answer {
		elsewhere.Set(name, answer.Get(name))
	}
	elsewhere.Set("confirm-next", fmt.Sprintf("/dashboard/accounts/%d/credentials/new", h.other))
	misled := h.post(h.operators, token, "/dashboard/confirm", elsewhere)
	if misled.Status != http.StatusBadRequest {
		t.Errorf("at another address: %d", misled.Status)
	}
	token = sessionIn(misled)
	h.now = h.now.Add(time.Minute)
	answer.Set("confirm-code", totp(key, h.now))
	done := h.post(h.operators, token, "/dashboard/confirm", answer)
	if done.Status != http.StatusOK || !strings.Contains(done.Body, "shown once") || sessionIn(done) == "" || sessionIn(done) == token {
		t.Errorf("a good code: %d %v\n%s", done.Status, done.Header, done.Body)
	}
	// Reloaded, it proves once more, and makes nothing.
	token = sessionIn(done)
	h.now = h.now.Add(time.Minute)
	answer.Set("confirm-code", totp(key, h.now))
	if again := h.post(h.operators, token, "/dashboard/confirm", answer); again.Status != http.StatusConflict || !strings.Contains(again.Body, "Nothing more was made") {
		t.Errorf("sent again: %d\n%s", again.Status, again.Body)
	}
	found, err := h.opened.Registry.Credentials(t.Context(), machine, auth.CredentialQuery{Account: h.account})
	if err != nil || len(found) != 2 || !slices.ContainsFunc(found, func(c auth.Credential) bool { return c.Name == "A <new> one" }) {
		t.Errorf("%+v %v", found, err)
	}
}

// A secret is on one page, once: the answer to the form, which nobody keeps, and on no page after it.
func TestASecretIsShownOnce(t *testing.T) {
	h := newHouse(t)
	for _, side := range h.sides() {
		token := h.signedIn(auth.RoleOwner, side.at)
		for _, kind := range auth.Kinds {
			path := strings.ReplaceAll(h.filled("/dashboard/accounts/{account}/credentials/new"), "/accounts/"+h.account.String(), map[string]string{"members": "", "operators": "/accounts/" + h.account.String()}[side.name])
			a := h.post(side.of, token, path, url.Values{"kind": {string(kind)}, "name": {"n"}})
			if a.Status != http.StatusOK || a.Header.Get("Cache-Control") != "no-store" {
				t.Fatalf("%s: %d %s", kind, a.Status, a.Body)
			}
			secret := regexp.MustCompile(`id="value-(?:secret|identifier)"[^>]*>([^<]*)</code>`).FindAllStringSubmatch(a.Body, -1)
			shown := secret[len(secret)-1][1]
			if len(shown) < auth.SecretLength {
				t.Fatalf("%s: %q is no secret", kind, shown)
			}
			after := regexp.MustCompile(`href="([^"]*)">I have it`).FindStringSubmatch(a.Body)[1]
			if page := h.get(side.of, token, after); page.Status != http.StatusOK || strings.Contains(page.Body, shown) {
				t.Errorf("%s: %d, and the secret is shown again", kind, page.Status)
			}
		}
	}
}

// A list goes on by a cursor, through all there is and no further; one of another list, or of somebody else, leads nowhere.
func TestListsGoOn(t *testing.T) {
	h := newHouse(t)
	for i := range 120 {
		if _, err := h.opened.Registry.CreateAccount(t.Context(), machine, fmt.Sprintf("Customer %03d", i), ""); err != nil {
			t.Fatal(err)
		}
	}
	token := h.signedIn(auth.RoleOwner, 0)
	next := regexp.MustCompile(`<a href="([^"]*)"[^>]*>Next page</a>`)
	seen, at, pages := map[string]bool{}, "/dashboard/accounts?q=customer", 0
	first := ""
	for at != "" {
		a := h.get(h.operators, token, at)
		if a.Status != http.StatusOK || pages > 3 {
			t.Fatalf("%s: %d, page %d", at, a.Status, pages)
		}
		for _, name := range regexp.MustCompile(`>(Customer \d+)</a>`).FindAllStringSubmatch(a.Body, -1) {
			if seen[name[1]] {
				t.Errorf("%s is there twice", name[1])
			}
			seen[name[1]] = true
		}
		pages++
		at = ""
		if to := next.FindStringSubmatch(a.Body); to != nil {
			at = html.UnescapeString(to[1])
		}
		if first == "" {
			first = at
		}
	}
	if len(seen) != 120 || pages != 3 {
		t.Errorf("%d accounts on %d pages", len(seen), pages)
	}
	cursor, err := url.Parse(first)
	if err != nil {
		t.Fatal(err)
	}
	after := "?after=" + cursor.Query().Get("after")
	viewer := h.signedIn(auth.RoleViewer, 0)
	for name, a := range map[string]webtest.Answer{
		"another list":     h.get(h.operators, token, h.filled("/dashboard/accounts/{account}/credentials")+after),
		"somebody else":    h.get(h.operators, viewer, "/dashboard/accounts"+after),
		"one made up":      h.get(h.operators, token, "/dashboard/accounts?after=MTAwMDAx"),
		"one with a quote": h.get(h.operators, token, "/dashboard/accounts?after='%20OR%201=1--"),
	} {
		if a.Status != http.StatusBadRequest || !strings.Contains(a.Body, "Start at its beginning") {
			t.Errorf("%s: %d", name, a.Status)
		}
	}
}

// A whole first visit, with everything that its pages ask for, is under 150 kB.
func TestFirstVisitIsSmall(t *testing.T) {
	h := newHouse(t)
	for _, side := range h.sides() {
		page := h.get(side.of, h.signedIn(auth.RoleOwner, side.at), dashboard.Root+"/")
		size, asked := len(page.Body), 0
		assets, err := h.pages[side.of].AssetPaths()
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range assets {
			a := side.of.Send(t, "GET "+path+"\nAccept-Encoding: gzip")
			if a.Status != http.StatusOK || a.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" || a.Header.Get("Content-Encoding") != "gzip" {
				t.Errorf("%s: %d %v", path, a.Status, a.Header)
			}
			if plain := side.of.Send(t, "GET "+path); plain.Status != http.StatusOK || plain.Body == "" || plain.Header.Get("Content-Encoding") != "" {
				t.Errorf("%s, not compressed: %d %v", path, plain.Status, plain.Header)
			}
			size += len(a.Body)
			asked++
		}
		if t.Logf("%s: %d bytes with %d files", side.name, size, asked); size > 150_000 || asked < 6 {
			t.Errorf("%s: a first visit has %d bytes with %d files", side.name, size, asked)
		}
	}
}

// What comes from npm is byte for byte what was published under the version that is named beside it.
func TestVendoredFiles(t *testing.T) {
	const dir = "static/vendor/"
	source, err := os.ReadFile(dir + "SOURCE")
	if err != nil {
		t.Fatal(err)
	}
	sums := regexp.MustCompile(`(?m)^([0-9a-f]{64})  (\S+)$`).FindAllStringSubmatch(string(source), -1)
	files, err := filepath.Glob(dir + "*.gz")
	if err != nil || len(files) != len(sums) || len(sums) == 0 {
		t.Fatalf("%d sums for %d files (%v)", len(sums), len(files), err)
	}
	for _, s := range sums {
		compressed, err := os.ReadFile(dir + s[2] + ".gz")
		if err != nil {
			t.Fatal(err)
		}
		r, err := gzip.NewReader(bytes.NewReader(compressed))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if got := sha256.Sum256(b); hex.EncodeToString(got[:]) != s[1] {
			t.Errorf("%s has the sum %x, want %s", s[2], got, s[1])
		}
	}
}

// Nobody is led away from here, however the address is spelled.
func TestOnlyOurOwnAddressesAreFollowed(t *testing.T) {
	for next, want := range map[string]string{
		"/dashboard/accounts":           "/dashboard/accounts",
		"/dashboard/accounts?q=a%20b":   "/dashboard/accounts?q=a%20b",
		"/dashboard/":                   "/dashboard/",
		"/dashboard":                    "",
		"/docs":                         "",
		"/":                             "",
		"":                              "",
		"https://evil.example/":         "",
		"//evil.example/dashboard/":     "",
		"/\\evil.example":               "",
		"/dashboard/../auth/login":      "",
		"/dashboard/%2e%2e/x":           "",
		"/dashboard//evil.example":      "",
		"/dashboard/\r\nSet-Cookie: a":  "",
		"javascript:alert(1)":           "",
		"/dashboard/x\x00":              "",
		" /dashboard/":                  "",
		"/dashboard/@evil.example/#a":   "",
		"http:/dashboard/":              "",
		"/dashboard/a?next=//evil.test": "/dashboard/a?next=//evil.test",
	} {
		if got, ok := dashboard.Own(next); got != want || ok != (want != "") {
			t.Errorf("%q: %q %v, want %q", next, got, ok, want)
		}
	}
}

// What a list hands out comes back only where it was handed out, and as it was.
func FuzzUnseal(f *testing.F) {
	d := &dashboard.Dashboard{Config: dashboard.Config{Side: dashboard.Operators, Digest: func(parts ...string) [sha256.Size]byte {
		return sha256.Sum256([]byte(fmt.Sprintf("key %q", parts)))
	}}}
	f.Add("cursor accounts", "100001", "")
	f.Add("cursor", "", "AAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, purpose, text, forged string) {
		sealed := d.Seal(purpose, text)
		if got, ok := d.Unseal(purpose, sealed); !ok || got != text {
			t.Errorf("%q came back as %q (%v)", text, got, ok)
		}
		if _, ok := d.Unseal(purpose+"x", sealed); ok {
			t.Error("it is taken for another purpose")
		}
		if _, ok := d.Unseal(purpose, forged); ok && forged != sealed {
			t.Errorf("%q was not handed out", forged)
		}
	})
}
