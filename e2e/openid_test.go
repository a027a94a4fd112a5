package e2e

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/beside"
	"github.com/gatehouse/gatehouse/internal/ceremony"
	"github.com/gatehouse/gatehouse/internal/signon"
)

// The rest of the house against oidc-provider as it is published, which is strict: it wants PKCE, tells the e-mail address at its
// userinfo endpoint alone, names itself in every answer, and takes a code once.
func TestOpenIDProvider(t *testing.T) {
	const base, browser = "http://localhost:1", "the cookie of a browser"
	secret := rand.Text()
	p := startProvider(t,
		map[string]any{"client_id": "basic", "client_secret": secret, "redirect_uris": []string{base + "/callback/basic"}},
		map[string]any{"client_id": "public", "redirect_uris": []string{base + "/callback/public"}, "token_endpoint_auth_method": "none"},
		map[string]any{"client_id": "wrong", "client_secret": rand.Text(), "redirect_uris": []string{base + "/callback/wrong"}},
	)
	key := rand.Text()
	newSignon := func(key string) *signon.Signon {
		var providers []signon.Provider
		for _, name := range []string{"basic", "public", "wrong"} {
			one := signon.Provider{Name: name, Issuer: p.issuer, ClientID: name, Scopes: []string{"email"}}
			if name != "public" {
				one.ClientSecret = func() string { return secret }
			}
			providers = append(providers, one)
		}
		c, err := ceremony.New(ceremony.Config{Once: counted{}, MAC: func(parts ...string) [sha256.Size]byte {
			m := hmac.New(sha256.New, []byte(key))
			fmt.Fprintf(m, "%q", parts)
			return [sha256.Size]byte(m.Sum(nil))
		}})
		if err != nil {
			t.Fatal(err)
		}
		s, err := signon.New(signon.Config{BaseURL: base, Path: "/callback", Providers: providers, Ceremonies: c})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := newSignon(key)
	begin := func(a signon.Ask) string {
		t.Helper()
		a.Browser = browser
		address, err := s.Begin(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		return address
	}
	for _, name := range []string{"basic", "public"} {
		visitor := p.visitor(t)
		answer := visitor.signIn(begin(signon.Ask{Provider: name, Purpose: signon.Join}), base+"/callback/"+name, "jane")
		got, err := s.End(t.Context(), name, browser, "", answer)
		if err != nil || got.OpenID.Subject != "jane" || got.OpenID.Issuer != p.issuer || got.OpenID.Email != "jane@example.com" {
			t.Errorf("%s: join: %+v, %v", name, got, err)
		}
		if _, err := s.End(t.Context(), name, browser, "", answer); !errors.Is(err, ceremony.ErrOver) {
			t.Errorf("%s: once more: %v", name, err)
		}
		// She is signed in there, and is not asked again, unless she is to confirm.
		answer = visitor.signIn(begin(signon.Ask{Provider: name, Purpose: signon.SignIn}), base+"/callback/"+name, "")
		if got, err = s.End(t.Context(), name, browser, "", answer); err != nil || got.OpenID.Subject != "jane" || got.OpenID.Email != "" {
			t.Errorf("%s: sign in: %+v, %v", name, got, err)
		}
		confirm := signon.Ask{Provider: name, Purpose: signon.Confirm, Person: "p_jane"}
		answer = visitor.signIn(begin(confirm), base+"/callback/"+name, "jane")
		if got, err = s.End(t.Context(), name, browser, "p_jane", answer); err != nil || got.Purpose != signon.Confirm {
			t.Errorf("%s: confirm: %+v, %v", name, got, err)
		}
		answer = p.visitor(t).signIn(begin(signon.Ask{Provider: name, Purpose: signon.Link, Person: "p_jane"}), base+"/callback/"+name, "unverified")
		if _, err = s.End(t.Context(), name, browser, "p_jane", answer); !errors.Is(err, signon.ErrEmail) {
			t.Errorf("%s: an address that nobody verified: %v", name, err)
		}
	}
	// A code is worth nothing without what it was asked for with.
	ask := signon.Ask{Provider: "basic", Purpose: signon.SignIn}
	hers := p.visitor(t).signIn(begin(ask), base+"/callback/basic", "jane")
	mine := p.visitor(t).signIn(begin(ask), base+"/callback/basic", "joe")
	mine.Set("code", hers.Get("code"))
	if _, err := s.End(t.Context(), "basic", browser, "", mine); !errors.Is(err, signon.ErrRefused) {
		t.Errorf("the code of another: %v", err)
	}
	mine = p.visitor(t).signIn(begin(ask), base+"/callback/basic", "joe")
	mine.Set("iss", "https://accounts.example.com")
	if _, err := s.End(t.Context(), "basic", browser, "", mine); !errors.Is(err, signon.ErrRefused) {
		t.Errorf("of another issuer: %v", err)
	}
	mine = p.visitor(t).signIn(begin(ask), base+"/callback/basic", "joe")
	if _, err := newSignon("another").End(t.Context(), "basic", browser, "", mine); !errors.Is(err, ceremony.ErrForeign) {
		t.Errorf("of another server: %v", err)
	}
	wrong := signon.Ask{Provider: "wrong", Purpose: signon.SignIn}
	mine = p.visitor(t).signIn(begin(wrong), base+"/callback/wrong", "joe")
	if _, err := s.End(t.Context(), "wrong", browser, "", mine); !errors.Is(err, signon.ErrRefused) || strings.Contains(err.Error(), secret) {
		t.Errorf("with another secret: %v", err)
	}
}

// counted remembers what counted.
type counted map[string]bool

func (c counted) First(_ context.Context, name string, _ time.Time) (bool, error) {
	first := !c[name]
	c[name] = true
	return first, nil
}

// A provider is oidc-provider on a port of its own.
type provider struct {
	issuer string
}

// startProvider starts one with these clients.
func startProvider(t *testing.T, clients ...map[string]any) *provider {
	t.Helper()
	needNode(t)
	npmCI(t, "openid")
	settings, err := json.Marshal(map[string]any{"clients": clients})
	if err != nil {
		t.Fatal(err)
	}
	said := new(beside.Said)
	cmd := exec.Command("node", "provider.mjs", string(settings))
	cmd.Dir, cmd.Stderr = "openid", said
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	line := bufio.NewScanner(out)
	if !line.Scan() {
		t.Fatalf("the provider does not say where it is: %v\n%s", line.Err(), said.Tail())
	}
	return &provider{issuer: line.Text()}
}

// A visitor is somebody at the provider, with a browser of his own.
type visitor struct {
	t      *testing.T
	client *http.Client
}

func (p *provider) visitor(t *testing.T) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{t, &http.Client{Jar: jar, Timeout: time.Minute}}
}

var loginForm = regexp.MustCompile(`action="([^"]+)"`)

// signIn goes to address, signs in as somebody ("": he is signed in), and returns what the provider sends him back to callback with.
func (v *visitor) signIn(address, callback, as string) url.Values {
	v.t.Helper()
	var back url.Values
	v.client.CheckRedirect = func(next *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(next.URL.String(), callback+"?") {
			back = next.URL.Query()
			return http.ErrUseLastResponse
		}
		return nil
	}
	read := func(resp *http.Response, err error) string {
		v.t.Helper()
		if err != nil {
			v.t.Fatal(err)
		}
		defer resp.Body.Close()
		page, err := io.ReadAll(resp.Body)
		if err != nil {
			v.t.Fatal(err)
		}
		return string(page)
	}
	page := read(v.client.Get(address))
	if as != "" {
		form := loginForm.FindStringSubmatch(page)
		if form == nil || !strings.Contains(page, `name="login"`) {
			v.t.Fatalf("no form to sign in with:\n%s", page)
		}
		page = read(v.client.PostForm(form[1], url.Values{"prompt": {"login"}, "login": {as}, "password": {"any"}}))
	}
	if back == nil {
		v.t.Fatalf("not sent back:\n%s", page)
	}
	return back
}
