package signon

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/ceremony"
)

const (
	us      = "https://auth.example.com"
	browser = "the cookie of a browser"
	secret  = "the client's secret, which is in no log"
)

var start = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// A fake is a provider that says what it is told to say. It checks what a good provider would: client, secret, redirect URI, PKCE,
// and that a code counts once.
type fake struct {
	*httptest.Server
	key crypto.Signer

	mu       sync.Mutex
	asked    []string // method and path
	codes    map[string]url.Values
	describe func(d map[string]any)
	claim    func(c map[string]any)        // of ID tokens
	sign     func(c map[string]any) string // in place of its own key
	info     map[string]any                // of userinfo
	instead  map[string]http.HandlerFunc   // by path
	token    func(answer map[string]any)   // of the token endpoint
	basic    bool                          // the secret came in a header
}

func newFake(t testing.TB) *fake {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{key: key, codes: map[string]url.Values{}, instead: map[string]http.HandlerFunc{}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, r.Method+" "+r.URL.Path)
	if serve := f.instead[r.URL.Path]; serve != nil {
		serve(w, r)
		return
	}
	answer := map[string]any{}
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		answer = map[string]any{
			"issuer": f.URL, "authorization_endpoint": f.URL + "/authorize", "token_endpoint": f.URL + "/token", "jwks_uri": f.URL + "/keys",
			"userinfo_endpoint": f.URL + "/userinfo", "id_token_signing_alg_values_supported": []string{"ES256"}, "authorization_response_iss_parameter_supported": true,
		}
		if f.describe != nil {
			f.describe(answer)
		}
	case "/keys":
		answer["keys"] = []any{jose.JSONWebKey{Key: f.key.Public(), KeyID: "k", Use: "sig", Algorithm: "ES256"}}
	case "/token":
		if why := f.wrong(r); why != "" {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			_ = json.NewEncoder(w).Encode(map[string]string{"error": "invalid_grant", "error_description": why + secret})
			return
		}
		ask := f.codes[r.PostFormValue("code")]
		delete(f.codes, r.PostFormValue("code"))
		access := "an access token"
		sum := sha256.Sum256([]byte(access))
		c := map[string]any{
			"iss": f.URL, "sub": "jane-at-home", "aud": ask.Get("client_id"), "nonce": ask.Get("nonce"), "iat": start.Unix(), "exp": start.Unix() + 300,
			"at_hash": base64.RawURLEncoding.EncodeToString(sum[:16]),
		}
		if f.claim != nil {
			f.claim(c)
			maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
		}
		sign := f.sign
		if sign == nil {
			sign = func(c map[string]any) string { return signed(f.key, jose.ES256, "k", c) }
		}
		answer = map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": 60, "id_token": sign(c)}
		if f.token != nil {
			f.token(answer)
		}
	case "/userinfo":
		if r.Header.Get("Authorization") != "Bearer an access token" || f.info == nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		answer = f.info
	default:
		w.WriteHeader(http.StatusNotFound)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

// wrong is what is wrong with a request to the token endpoint.
func (f *fake) wrong(r *http.Request) string {
	id, password, basic := r.BasicAuth()
	if f.basic = basic; !basic {
		id, password = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	} else {
		password, _ = url.QueryUnescape(password) // RFC 6749, section 2.3.1
	}
	ask, ok := f.codes[r.PostFormValue("code")]
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	switch {
	case !ok:
		return "the code is unknown"
	case id != ask.Get("client_id") || password != secret:
		return "the client is another"
	case r.PostFormValue("redirect_uri") != ask.Get("redirect_uri"):
		return "the redirect URI is another"
	case ask.Get("code_challenge_method") != "S256" || base64.RawURLEncoding.EncodeToString(sum[:]) != ask.Get("code_challenge"):
		return "the verifier is another"
	}
	return ""
}

func signed(key any, alg jose.SignatureAlgorithm, kid string, c map[string]any) string {
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", kid))
	if err != nil {
		panic(err)
	}
	b, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	jws, err := s.Sign(b)
	if err != nil {
		panic(err)
	}
	compact, err := jws.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return compact
}

// login is somebody who goes where Begin says, signs in there, and comes back with an answer.
func (f *fake) login(t testing.TB, address string) url.Values {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil || !strings.HasPrefix(address, f.URL+"/authorize?") {
		t.Fatalf("sent to %s: %v", address, err)
	}
	code := rand.Text()
	f.mu.Lock()
	f.codes[code] = u.Query()
	f.mu.Unlock()
	return url.Values{"state": {u.Query().Get("state")}, "code": {code}, "iss": {f.URL}}
}

func (f *fake) saw(what string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, a := range f.asked {
		if a == what {
			n++
		}
	}
	return n
}

type memory map[string]bool

func (m memory) First(_ context.Context, name string, _ time.Time) (bool, error) {
	first := !m[name]
	m[name] = true
	return first, nil
}

// A world is a Signon with a clock, and what it logged.
type world struct {
	*Signon
	now time.Time
	log *bytes.Buffer
}

func newWorld(t testing.TB, providers ...Provider) *world {
	t.Helper()
	w := &world{now: start, log: new(bytes.Buffer)}
	clock := func() time.Time { return w.now }
	c, err := ceremony.New(ceremony.Config{Once: memory{}, Now: clock, MAC: func(parts ...string) [sha256.Size]byte {
		m := hmac.New(sha256.New, []byte("key"))
		for _, p := range parts {
			fmt.Fprintf(m, "%d:%s", len(p), p)
		}
		return [sha256.Size]byte(m.Sum(nil))
	}})
	if err != nil {
		t.Fatal(err)
	}
	w.Signon, err = New(Config{
		BaseURL: us, Path: "/dashboard/openid/callback", Providers: providers, Ceremonies: c, Now: clock,
		Log: slog.New(slog.NewTextHandler(w.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// as is a provider of the configuration.
func (f *fake) as(name string) Provider {
	return Provider{Name: name, Issuer: f.URL, ClientID: "gatehouse", ClientSecret: func() string { return secret }, Scopes: []string{"email"}}
}

func (w *world) begin(t testing.TB, a Ask) string {
	t.Helper()
	address, err := w.Begin(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return address
}

var signIn = Ask{Provider: "home", Purpose: SignIn, Browser: browser, Detail: "/dashboard/keys"}

func TestSomebodyIsSignedIn(t *testing.T) {
	f := newFake(t)
	w := newWorld(t, f.as("home"))
	if len(f.asked) != 0 || !slices.Equal(w.Choices(), []Choice{{"home", "home"}}) {
		t.Errorf("asked before anybody came: %v; to choose from: %v", f.asked, w.Choices())
	}
	address := w.begin(t, signIn)
	u, _ := url.Parse(address)
	q := u.Query()
	if q.Get("redirect_uri") != us+"/dashboard/openid/callback/home" || q.Get("response_type") != "code" || q.Get("scope") != "openid email" ||
		q.Get("code_challenge_method") != "S256" || len(q.Get("nonce")) != 43 || q.Has("prompt") || strings.Contains(address, url.QueryEscape(browser)) {
		t.Errorf("sent to %s", address)
	}
	answer := f.login(t, address)
	if p, detail := Asked(answer); p != SignIn || detail != signIn.Detail {
		t.Errorf("it is for %q and says %q", p, detail)
	}
	got, err := w.End(t.Context(), "home", browser, "", answer)
	want := Answer{Purpose: SignIn, Detail: "/dashboard/keys", OpenID: auth.OpenID{Issuer: f.URL, Subject: "jane-at-home", Provider: "home", CreatedAt: start}}
	if err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	if !f.basic || f.saw("GET /userinfo") != 0 {
		t.Errorf("the secret came in a header: %v; %v", f.basic, f.asked)
	}

	// The next one finds all that is needed in memory, keys included; an hour later the provider is asked once more.
	for range 2 {
		if _, err := w.End(t.Context(), "home", browser, "", f.login(t, w.begin(t, signIn))); err != nil {
			t.Fatal(err)
		}
	}
	const description = "GET /.well-known/openid-configuration"
	if f.saw(description) != 1 || f.saw("GET /keys") != 1 {
		t.Errorf("asked %v", f.asked)
	}
	w.now = w.now.Add(keepFor)
	w.begin(t, signIn)
	if f.saw(description) != 2 {
		t.Errorf("asked %v", f.asked)
	}
	if strings.Contains(w.log.String(), secret) || w.log.Len() > 0 {
		t.Errorf("logged %s", w.log)
	}
}

func TestTheSecretIsSentAsTheProviderHasIt(t *testing.T) {
	f := newFake(t)
	f.describe = func(d map[string]any) { d["token_endpoint_auth_methods_supported"] = []string{"client_secret_post"} }
	w := newWorld(t, f.as("home"))
	if _, err := w.End(t.Context(), "home", browser, "", f.login(t, w.begin(t, signIn))); err != nil || f.basic || f.saw("POST /token") != 1 {
		t.Errorf("basic %v, %v, %v", f.basic, f.asked, err)
	}
}

func TestAnAnswerIsForOneBrowserPurposeProviderAndPerson(t *testing.T) {
	f, g := newFake(t), newFake(t)
	w := newWorld(t, f.as("home"), g.as("work"))
	ctx := t.Context()
	answer := f.login(t, w.begin(t, signIn))
	for name, end := range map[string]func() (Answer, error){
		"in another browser":    func() (Answer, error) { return w.End(ctx, "home", "another", "", answer) },
		"in none":               func() (Answer, error) { return w.End(ctx, "home", "", "", answer) },
		"as another provider's": func() (Answer, error) { return w.End(ctx, "work", browser, "", answer) },
		"for another purpose": func() (Answer, error) {
			return w.End(ctx, "home", browser, "p_jane", changed(answer, "state", func(s string) string { return "link" + s[strings.Index(s, "."):] }))
		},
		"leading elsewhere": func() (Answer, error) {
			return w.End(ctx, "home", browser, "", changed(answer, "state", func(s string) string { return s[:strings.LastIndex(s, ".")] + ".Ly9ldmls" }))
		},
		"with a state of its own": func() (Answer, error) {
			return w.End(ctx, "home", browser, "", changed(answer, "state", func(string) string { return "sign-in." + strings.Repeat("A", 75) + "." }))
		},
	} {
		if _, err := end(); !errors.Is(err, ceremony.ErrForeign) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if f.saw("POST /token")+g.saw("POST /token") != 0 {
		t.Error("a code was taken to a provider")
	}
	// Mixed up: an answer of one provider, and what it says of itself (RFC 9207, section 2.4).
	for name, change := range map[string]func(url.Values){
		"of another issuer": func(q url.Values) { q.Set("iss", g.URL) },
		"of no issuer":      func(q url.Values) { q.Del("iss") },
		"of an empty one":   func(q url.Values) { q.Set("iss", "") },
	} {
		mixed := f.login(t, w.begin(t, signIn))
		change(mixed)
		if _, err := w.End(ctx, "home", browser, "", mixed); !errors.Is(err, ErrRefused) || f.saw("POST /token") != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.End(ctx, "home", browser, "", answer); err != nil {
		t.Errorf("as it was meant: %v", err)
	}
	if _, err := w.End(ctx, "home", browser, "", answer); !errors.Is(err, ceremony.ErrOver) {
		t.Errorf("once more: %v", err)
	}
	fresh := f.login(t, w.begin(t, signIn))
	fresh.Set("code", answer.Get("code")) // a code that was spent, under a state that was not
	if _, err := w.End(ctx, "home", browser, "", fresh); !errors.Is(err, ErrRefused) {
		t.Errorf("the code once more: %v", err)
	}
	injected := f.login(t, w.begin(t, signIn)) // a code that was given to somebody else's browser
	mine := f.login(t, w.begin(t, signIn))
	mine.Set("code", injected.Get("code"))
	if _, err := w.End(ctx, "home", browser, "", mine); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "invalid_grant") || strings.Contains(err.Error(), secret) {
		t.Errorf("the code of another: %v", err)
	}

	ask := Ask{Provider: "home", Purpose: Confirm, Browser: browser, Person: "p_jane"}
	answer = f.login(t, w.begin(t, ask))
	if _, err := w.End(ctx, "home", browser, "p_joe", answer); !errors.Is(err, ceremony.ErrForeign) {
		t.Errorf("of another person: %v", err)
	}
	if _, err := w.End(ctx, "home", browser, "", answer); !errors.Is(err, ceremony.ErrForeign) {
		t.Errorf("of nobody: %v", err)
	}
	answer = f.login(t, w.begin(t, signIn))
	w.now = w.now.Add(ceremony.Life)
	if _, err := w.End(ctx, "home", browser, "", answer); !errors.Is(err, ceremony.ErrOver) {
		t.Errorf("too late: %v", err)
	}
	for name, change := range map[string]func(url.Values){
		"two states":     func(q url.Values) { q.Add("state", q.Get("state")) },
		"two codes":      func(q url.Values) { q.Add("code", "x") },
		"two issuers":    func(q url.Values) { q.Add("iss", f.URL) },
		"no state":       func(q url.Values) { q.Del("state") },
		"no code":        func(q url.Values) { q.Del("code") },
		"a state in two": func(q url.Values) { q.Set("state", "sign-in.x") },
		"spare bits":     func(q url.Values) { q.Set("state", q.Get("state")[:len(q.Get("state"))-1]+"_") },
		"an endless one": func(q url.Values) { q.Set("state", "sign-in.x."+strings.Repeat("A", 8<<10)) },
	} {
		q := f.login(t, w.begin(t, signIn))
		change(q)
		if _, err := w.End(ctx, "home", browser, "", q); auth.AsError(err).Kind != auth.Unauthenticated {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.End(ctx, "elsewhere", browser, "", answer); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	if _, err := w.Begin(ctx, Ask{Provider: "elsewhere"}); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
}

func changed(q url.Values, name string, change func(string) string) url.Values {
	c := maps.Clone(q)
	c[name] = []string{change(q.Get(name))}
	return c
}

func TestWhatAProviderSaysWrongly(t *testing.T) {
	f := newFake(t)
	w := newWorld(t, f.as("home"))
	other := newFake(t)
	set := func(name string, value any) func(*fake) {
		return func(f *fake) { f.claim = func(c map[string]any) { c[name] = value } }
	}
	by := func(sign func(map[string]any) string) func(*fake) { return func(f *fake) { f.sign = sign } }
	raw := func(header string) func(*fake) {
		return by(func(c map[string]any) string {
			b, _ := json.Marshal(c)
			return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString(b) + "."
		})
	}
	for name, lie := range map[string]func(*fake){
		"another nonce":   set("nonce", "another"),
		"no nonce":        set("nonce", nil),
		"another client":  set("aud", "another"),
		"no client":       set("aud", nil),
		"us among others": set("aud", []string{"gatehouse", "another"}),
		"issued to another": func(f *fake) {
			f.claim = func(c map[string]any) { c["aud"], c["azp"] = []string{"gatehouse", "another"}, "another" }
		},
		"another issuer":         set("iss", other.URL),
		"no issuer":              set("iss", nil),
		"over":                   set("exp", start.Unix()-1),
		"without an end":         set("exp", nil),
		"of long ago":            set("iat", start.Add(-time.Hour).Unix()),
		"of tomorrow":            set("iat", start.Add(time.Hour).Unix()),
		"not yet":                set("nbf", start.Add(time.Hour).Unix()),
		"no subject":             set("sub", nil),
		"an empty subject":       set("sub", ""),
		"an endless subject":     set("sub", strings.Repeat("s", 256)),
		"a subject of two lines": set("sub", "a\nb"),
		"a number as subject":    set("sub", 7),
		"another access token":   set("at_hash", "AAAAAAAAAAAAAAAAAAAAAA"),
		"alg none":               raw(`{"alg":"none"}`),
		"alg None":               raw(`{"alg":"None"}`),
		"no signature":           raw(`{"alg":"ES256","kid":"k"}`),
		"another's key":          by(func(c map[string]any) string { return signed(other.key, jose.ES256, "k", c) }),
		"another's, by name":     by(func(c map[string]any) string { return signed(other.key, jose.ES256, "other", c) }),
		"the secret as key":      by(func(c map[string]any) string { return signed([]byte(strings.Repeat(secret, 2)), jose.HS256, "k", c) }),
		"no ID token":            by(func(map[string]any) string { return "" }),
		"no JWT":                 by(func(map[string]any) string { return "a.b.c" }),
		"claims that are none":   by(func(map[string]any) string { return signed(f.key, jose.ES256, "k", map[string]any{"iss": 7}) }),
		"its own key inside": by(func(c map[string]any) string {
			s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: other.key, KeyID: "k"}}, &jose.SignerOptions{EmbedJWK: true})
			if err != nil {
				t.Fatal(err)
			}
			b, _ := json.Marshal(c)
			jws, _ := s.Sign(b)
			compact, _ := jws.CompactSerialize()
			return compact
		}),
	} {
		f.claim, f.sign = nil, nil
		lie(f)
		got, err := w.End(t.Context(), "home", browser, "", f.login(t, w.begin(t, signIn)))
		if !errors.Is(err, ErrRefused) || got != (Answer{}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	f.claim, f.sign = func(c map[string]any) { c["aud"], c["azp"] = []string{"gatehouse", "another"}, "gatehouse" }, nil
	if _, err := w.End(t.Context(), "home", browser, "", f.login(t, w.begin(t, signIn))); err != nil {
		t.Errorf("among others, and issued to us: %v", err)
	}
	denied := f.login(t, w.begin(t, signIn))
	denied.Del("code")
	denied.Set("error", "access_denied")
	denied.Set("error_description", "<script>")
	if _, err := w.End(t.Context(), "home", browser, "", denied); !errors.Is(err, ErrDenied) || strings.Contains(err.Error(), "script") {
		t.Errorf("denied: %v", err)
	}
	denied = url.Values{"state": {"x"}, "error": {"access_denied"}}
	if _, err := w.End(t.Context(), "home", browser, "", denied); !errors.Is(err, ErrRefused) {
		t.Errorf("denied, to nobody: %v", err)
	}
}

func TestLinksAreMadeByVerifiedAddresses(t *testing.T) {
	f := newFake(t)
	p := f.as("home")
	p.EmailDomains = []string{"example.com", "Example.ORG"}
	w := newWorld(t, p)
	claims := func(email, verified any) func(map[string]any) {
		return func(c map[string]any) { c["email"], c["email_verified"] = email, verified }
	}
	for name, one := range map[string]struct {
		claim func(map[string]any)
		info  map[string]any
		email string
		want  error
	}{
		"verified":                 {claims("jane@example.com", true), nil, "jane@example.com", nil},
		"verified, in words":       {claims("Jane@EXAMPLE.org", "true"), nil, "Jane@EXAMPLE.org", nil},
		"not verified":             {claims("jane@example.com", false), nil, "", ErrEmail},
		"not said to be":           {claims("jane@example.com", nil), nil, "", ErrEmail},
		"verified, they say":       {claims("jane@example.com", "yes"), nil, "", ErrEmail},
		"of another domain":        {claims("jane@evil.example", true), nil, "", ErrDomain},
		"of a domain below":        {claims("jane@a.example.com", true), nil, "", ErrDomain},
		"of two":                   {claims("jane@evil.example@example.com", true), nil, "", ErrDomain},
		"none":                     {nil, map[string]any{"sub": "jane-at-home"}, "", ErrEmail},
		"said elsewhere":           {nil, map[string]any{"sub": "jane-at-home", "email": "jane@example.com", "email_verified": true}, "jane@example.com", nil},
		"said elsewhere, in words": {nil, map[string]any{"sub": "jane-at-home", "email": "jane@example.com", "email_verified": "true"}, "jane@example.com", nil},
		"not verified elsewhere":   {nil, map[string]any{"sub": "jane-at-home", "email": "jane@example.com"}, "", ErrEmail},
		"said of somebody else":    {nil, map[string]any{"sub": "joe", "email": "jane@example.com", "email_verified": true}, "", ErrRefused},
		"not said":                 {nil, nil, "", ErrAway},
	} {
		f.claim, f.info = one.claim, one.info
		for _, a := range []Ask{{Provider: "home", Purpose: Join, Browser: browser}, {Provider: "home", Purpose: Link, Browser: browser, Person: "p_jane"}} {
			got, err := w.End(t.Context(), "home", browser, "p_jane", f.login(t, w.begin(t, a)))
			if !errors.Is(err, one.want) || got.OpenID.Email != one.email || (err == nil) != (got.OpenID.Subject == "jane-at-home") {
				t.Errorf("%s, to %s: %+v, %v", name, a.Purpose, got, err)
			}
		}
		// Once linked, the address no longer matters, and is not asked for.
		if got, err := w.End(t.Context(), "home", browser, "", f.login(t, w.begin(t, signIn))); err != nil || got.OpenID.Email != "" {
			t.Errorf("%s, signing in: %+v, %v", name, got, err)
		}
	}
}

func TestConfirmingWantsAFreshProof(t *testing.T) {
	f := newFake(t)
	w := newWorld(t, f.as("home"))
	ask := Ask{Provider: "home", Purpose: Confirm, Browser: browser, Person: "p_jane"}
	address := w.begin(t, ask)
	if u, _ := url.Parse(address); u.Query().Get("prompt") != "login" || u.Query().Get("max_age") != "0" {
		t.Errorf("sent to %s", address)
	}
	for name, one := range map[string]struct {
		at   any
		want error
	}{
		"just now":         {start.Unix(), nil},
		"a fast clock":     {start.Add(leeway).Unix(), nil},
		"a while ago":      {start.Add(-Fresh).Unix(), nil},
		"too long ago":     {start.Add(-Fresh - time.Second).Unix(), ErrStale},
		"tomorrow":         {start.Add(24 * time.Hour).Unix(), ErrStale},
		"nobody says when": {nil, ErrStale},
	} {
		f.claim = func(c map[string]any) { c["auth_time"] = one.at }
		if _, err := w.End(t.Context(), "home", browser, "p_jane", f.login(t, w.begin(t, ask))); !errors.Is(err, one.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestProvidersThatCannotBeAsked(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { t.Errorf("it was followed to %s", r.URL) }))
	defer elsewhere.Close()
	const description = "/.well-known/openid-configuration"
	reply := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	lead := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, status) }
	}
	describe := func(name, value string) func(*fake) {
		return func(f *fake) { f.describe = func(d map[string]any) { d[name] = value } }
	}
	instead := func(path string, serve http.HandlerFunc) func(*fake) {
		return func(f *fake) { f.instead[path] = serve }
	}
	for name, one := range map[string]struct {
		fail  func(*fake)
		later bool // it fails only when somebody comes back
	}{
		"down":                       {func(f *fake) { f.Close() }, false},
		"an error":                   {instead(description, reply(500, secret)), false},
		"no JSON":                    {instead(description, reply(200, "<html>")), false},
		"another issuer":             {describe("issuer", "https://evil.example"), false},
		"an endless description":     {instead(description, reply(200, `{"x":"`+strings.Repeat("a", mostBody)+`"}`)), false},
		"led elsewhere":              {instead(description, lead(http.StatusFound)), false},
		"sends people in clear text": {describe("authorization_endpoint", "http://evil.example/authorize"), false},
		"sends people nowhere":       {describe("authorization_endpoint", "javascript:alert(1)"), false},
		"tokens in clear text":       {describe("token_endpoint", "http://evil.example/token"), false},
		"keys in clear text":         {describe("jwks_uri", "http://evil.example/keys"), false},
		"tokens led elsewhere":       {instead("/token", lead(http.StatusTemporaryRedirect)), true},
		"tokens led elsewhere, 302":  {instead("/token", lead(http.StatusFound)), true},
		"keys led elsewhere":         {instead("/keys", lead(http.StatusMovedPermanently)), true},
		"tokens down":                {instead("/token", reply(503, secret)), true},
		"tokens that are none":       {instead("/token", reply(200, secret)), true},
		"endless tokens":             {instead("/token", reply(200, `{"x":"`+strings.Repeat("a", mostBody)+`"}`)), true},
	} {
		f := newFake(t)
		w := newWorld(t, f.as("home"))
		one.fail(f)
		address, err := w.Begin(t.Context(), signIn)
		if one.later {
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			var got Answer
			if got, err = w.End(t.Context(), "home", browser, "", f.login(t, address)); got != (Answer{}) {
				t.Errorf("%s: %+v", name, got)
			}
		}
		if e := auth.AsError(err); e.Kind != auth.Unavailable && !errors.Is(err, ErrRefused) || !one.later && !errors.Is(err, ErrAway) {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(fmt.Sprint(err, w.log), "Basic ") || len(fmt.Sprint(err)) > 600 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAProviderThatComesBack(t *testing.T) {
	f := newFake(t)
	w := newWorld(t, f.as("home"))
	f.instead["/.well-known/openid-configuration"] = http.NotFound
	for range 3 { // whoever tries again at once waits for nobody
		if _, err := w.Begin(t.Context(), signIn); !errors.Is(err, ErrAway) {
			t.Error(err)
		}
	}
	if n := len(f.asked); n != 1 {
		t.Errorf("asked %d times", n)
	}
	if !strings.Contains(w.log.String(), "provider=home") {
		t.Errorf("logged %s", w.log)
	}
	clear(f.instead)
	w.now = w.now.Add(keepFailed)
	w.begin(t, signIn)
	// Known once, it is known while it is away.
	f.instead["/.well-known/openid-configuration"] = http.NotFound
	w.now = w.now.Add(keepFor)
	w.begin(t, signIn)

	gone, cancel := context.WithCancel(t.Context())
	cancel()
	w = newWorld(t, f.as("home"))
	clear(f.instead)
	if _, err := w.Begin(gone, signIn); !errors.Is(err, ErrAway) {
		t.Error(err)
	}
	w.begin(t, signIn) // who went away said nothing of the provider
}

func TestProvidersThatCannotBe(t *testing.T) {
	f := newFake(t)
	good := f.as("home")
	for name, change := range map[string]func(*Provider){
		"no name":     func(p *Provider) { p.Name = "" },
		"no client":   func(p *Provider) { p.ClientID = "" },
		"no issuer":   func(p *Provider) { p.Issuer = "" },
		"clear text":  func(p *Provider) { p.Issuer = "http://accounts.example.com" },
		"with a user": func(p *Provider) { p.Issuer = "https://me@accounts.example.com" },
	} {
		p := good
		change(&p)
		c := Config{BaseURL: us, Path: "/x", Ceremonies: newWorld(t).config.Ceremonies, Providers: []Provider{p}}
		if _, err := New(c); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	c := Config{BaseURL: us, Path: "/x", Ceremonies: newWorld(t).config.Ceremonies, Providers: []Provider{good, good}}
	if _, err := New(c); err == nil {
		t.Error("two of one name")
	}
	if _, err := New(Config{}); err == nil {
		t.Error("nothing at all")
	}
}

func FuzzEnd(f *testing.F) {
	p := newFake(f)
	w := newWorld(f, p.as("home"))
	f.Add(p.login(f, w.begin(f, signIn)).Encode())
	f.Add("state=sign-in.x.y&code=1&code=2")
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		if p, c, d, ok := parseState(q.Get("state")); ok && state(p, c, d) != q.Get("state") {
			t.Fatalf("%q has another spelling", q.Get("state"))
		}
		if _, err := w.End(t.Context(), "home", "another browser", "p_jane", q); auth.AsError(err).Kind != auth.Unauthenticated {
			t.Fatalf("%q: %v", raw, err)
		}
	})
}
