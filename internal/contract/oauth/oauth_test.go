package oauth_test

import (
	standard "cmp"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/contract/oauth"
	"github.com/gatehouse/gatehouse/internal/web"
	"github.com/gatehouse/gatehouse/internal/web/webtest"
	"github.com/gatehouse/gatehouse/verify"
)

// The time of every answer, in the middle of a second.
var now = time.UnixMilli(1731590739955)

// gate is a core that answers what it is told to.
type gate struct {
	issuer    string
	grant     auth.Grant
	alone     bool             // contract 3 is not spoken
	err       error            // of every act
	failed    error            // of Failed; nil: what it is given
	who       verify.Principal // of Introspect
	presented []auth.Presented
	asks      []auth.Ask
	tokens    []string // that were refreshed (and the idempotency key), looked at or revoked
	failures  []error
}

var client = auth.Subject{Account: 100001, Credential: "aB3dE5gH7jK9", Secret: 2}

func (g *gate) RefreshFor(_ context.Context, p auth.Presented, token, key string, ask auth.Ask, _ auth.Caller) (auth.Grant, error) {
	g.presented, g.asks, g.tokens = append(g.presented, p), append(g.asks, ask), append(g.tokens, token, key)
	return g.grant, g.err
}

func (g *gate) Introspect(_ context.Context, p auth.Presented, token string, _ auth.Caller) (verify.Principal, auth.Served, error) {
	g.presented, g.tokens = append(g.presented, p), append(g.tokens, token)
	return g.who, auth.Served{Client: client, Limit: attempts}, g.err
}

func (g *gate) RevokeFor(_ context.Context, p auth.Presented, token string, _ auth.Caller) (auth.Served, error) {
	g.presented, g.tokens = append(g.presented, p), append(g.tokens, token)
	return auth.Served{Client: client, Limit: attempts}, g.err
}

func (g *gate) ExchangeFor(_ context.Context, p auth.Presented, ask auth.Ask, from auth.Caller) (auth.Grant, error) {
	g.presented, g.asks = append(g.presented, p), append(g.asks, ask)
	if from.Address != webtest.Address || from.RequestID == "" {
		return auth.Grant{}, fmt.Errorf("the caller is %v", from)
	}
	return g.grant, g.err
}

func (g *gate) Scoped(_ context.Context, p auth.Presented, scope string, _ auth.Caller) (auth.Subject, error) {
	g.presented = append(g.presented, p)
	if scope != "gatehouse:sometimes" {
		return auth.Subject{}, auth.ErrInsufficientScope
	}
	return auth.Subject{Account: 100001, Credential: p.ID, Secret: 1}, g.err
}

func (g *gate) Failed(_ auth.Caller, err error) error {
	g.failures = append(g.failures, err)
	if g.failed != nil {
		return g.failed
	}
	return err
}

func newContract(t *testing.T, g *gate) *oauth.Contract {
	t.Helper()
	c, err := oauth.New(oauth.Config{
		Issuer: standard.Or(g.issuer, "https://auth.example.com"), PublicURL: "https://auth.example.com",
		Gate: g, Environment: auth.Live, Realm: "gatehouse", Pairs: !g.alone, Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

type setup struct {
	gate    *gate
	attempt func(*auth.Caller) error
	next    web.Handler
}

func serve(t *testing.T, s setup) *webtest.Server {
	t.Helper()
	c := newContract(t, s.gate)
	return webtest.Serve(t, web.Config{
		Own: c.Addresses(), Next: s.next, Attempt: s.attempt,
		Fallbacks: []web.Fallback{{Contract: auth.OAuth2, Refuse: c.Refuse}},
	})
}

const formType = "application/x-www-form-urlencoded"

// post is a request with a form.
func post(path, form string, headers ...string) string {
	return webtest.Post(formType, path, form, headers...)
}

func chunked(path, body string) string {
	return fmt.Sprintf("POST %s\nContent-Type: %s\nTransfer-Encoding: chunked\n\n%x\r\n%s\r\n0\r\n\r\n", path, formType, len(body), body)
}

func basic(id, secret string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
}

func failure(code, description string) string {
	return fmt.Sprintf(`{"error":"%s","error_description":"%s"}`, code, description)
}

const (
	clientID  = "u_aB3dE5gH7jK9"
	asPost    = "client_id=" + clientID + "&client_secret=secret"
	wantToken = "grant_type=client_credentials"
	wantPair  = "grant_type=refresh_token&refresh_token=r.r.r"
	ofToken   = "token=a.b.c"
	jwtBearer = "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
	challenge = `Basic realm="gatehouse", charset="UTF-8"`
)

var (
	asBasic  = basic(clientID, "secret")
	attempts = auth.Limit{Name: "exchange_per_address", Quota: 100, Window: 10 * time.Second, Remaining: 99, Reset: 100 * time.Millisecond}
)

// granted are the headers of every token.
func granted() http.Header {
	return webtest.JSON("Pragma", "no-cache", "RateLimit-Policy", `"exchange_per_address";q=100;w=10`, "RateLimit", `"exchange_per_address";r=99;t=1`)
}

func newGrant() auth.Grant {
	return auth.Grant{
		Account: 100001, Credential: "aB3dE5gH7jK9", Secret: 2, Session: "s1", Type: verify.OAuthAccess, Token: "a.b.c",
		Expires: now.Add(time.Hour).Truncate(time.Second), Scope: "orders:read orders:write", Limit: attempts,
	}
}

func TestClientCredentials(t *testing.T) {
	g := &gate{grant: newGrant()}
	s := serve(t, setup{gate: g})
	const want = `{"access_token":"a.b.c","token_type":"Bearer","expires_in":3600,"scope":"orders:read orders:write"}`
	for _, request := range []string{
		post("/oauth/token", wantToken, asBasic),
		post("/oauth/token", wantToken, strings.Replace(asBasic, "Basic", "bAsIc", 1)),
		post("/oauth/token", wantToken, basic("u%5FaB3dE5gH7j%4b9", "s%65cret")), // RFC 6749, section 2.3.1: each part is form-urlencoded
		post("/oauth/token", wantToken+"&client_id="+clientID, asBasic),
		post("/oauth/token", wantToken+"&client_secret=", asBasic), // without a value it was not sent
		post("/oauth/token", wantToken+"&"+asPost),
		post("/oauth/token", "client_secret=s%65cret&grant_typ%65=client%5fcredentials&client_id=u%5faB3dE5gH7jK9&what=ever"),
		post("/oauth/token?grant_type=password&client_id=x&client_secret=y", wantToken, asBasic), // nobody reads that
		chunked("/oauth/token", wantToken+"&"+asPost),
		webtest.Post(formType+"; charset=UTF-8", "/oauth/token", wantToken, asBasic),
		webtest.Post("Application/X-WWW-Form-Urlencoded", "/oauth/token", wantToken, asBasic),
	} {
		a := s.Send(t, request)
		a.Is(t, request, 200, want, granted())
		if a.Seen.Did != auth.DidExchange || a.Seen.Contract != auth.OAuth2 || a.Seen.Route != "/oauth/token" || a.Seen.Type != verify.OAuthAccess ||
			a.Seen.Subject != (auth.Subject{Account: 100001, Credential: "aB3dE5gH7jK9", Secret: 2, Session: "s1"}) {
			t.Errorf("observed %+v", a.Seen)
		}
	}
	for i, p := range g.presented {
		if p.Kind != auth.OAuth || p.ID != "aB3dE5gH7jK9" || p.Identifier != clientID || p.Reveal() != "secret" || g.asks[i] != (auth.Ask{}) {
			t.Errorf("presented %v, asked for %+v", p, g.asks[i])
		}
	}
	var answer api.OAuthToken
	if err := json.Unmarshal([]byte(want), &answer); err != nil || answer != (api.OAuthToken{
		AccessToken: "a.b.c", TokenType: "Bearer", ExpiresIn: 3600, Scope: "orders:read orders:write",
	}) {
		t.Errorf("the wire type: %+v, %v", answer, err)
	}
}

func TestATokenWithoutScope(t *testing.T) {
	grant := newGrant()
	grant.Scope, grant.Expires = "", now.Add(45*time.Millisecond)
	g := &gate{grant: grant}
	a := serve(t, setup{gate: g}).Send(t, post("/oauth/token", wantToken+"&scope=orders%3Aread+x", asBasic))
	if want := `{"access_token":"a.b.c","token_type":"Bearer","expires_in":1}`; a.Status != 200 || a.Body != want {
		t.Errorf("%d %s\nwant 200 %s", a.Status, a.Body, want)
	}
	if want := (auth.Ask{Scope: "orders:read x"}); len(g.asks) != 1 || g.asks[0] != want {
		t.Errorf("the gate was asked for %+v, want %+v", g.asks, want)
	}
}

func TestRefresh(t *testing.T) {
	grant := newGrant()
	grant.Type, grant.Session, grant.Refresh, grant.Replayed = verify.B2BAccess, "s7", "r2.r2.r2", true
	g := &gate{grant: grant}
	s := serve(t, setup{gate: g})
	const key = "Idempotency-Key: 0123456789abcdef"
	const want = `{"access_token":"a.b.c","token_type":"Bearer","expires_in":3600,"scope":"orders:read orders:write","refresh_token":"r2.r2.r2"}`
	for _, request := range []string{
		post("/oauth/token", wantPair, asBasic),
		post("/oauth/token", wantPair+"&scope=orders:read", asBasic, key),
		chunked("/oauth/token", wantPair+"&"+asPost),
	} {
		a := s.Send(t, request)
		a.Is(t, request, 200, want, granted())
		if a.Seen.Did != auth.DidRefresh || a.Seen.Contract != auth.OAuth2 || !a.Seen.Replayed || a.Seen.Type != verify.B2BAccess ||
			a.Seen.Subject != (auth.Subject{Account: 100001, Credential: "aB3dE5gH7jK9", Secret: 2, Session: "s7"}) {
			t.Errorf("observed %+v", a.Seen)
		}
	}
	if diff := cmp.Diff([]string{"r.r.r", "", "r.r.r", "0123456789abcdef", "r.r.r", ""}, g.tokens); diff != "" {
		t.Errorf("the gate got (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]auth.Ask{{}, {Scope: "orders:read"}, {}}, g.asks); diff != "" {
		t.Errorf("the gate was asked for (-want +got)\n%s", diff)
	}
}

func TestIntrospect(t *testing.T) {
	headers := webtest.JSON("RateLimit-Policy", `"exchange_per_address";q=100;w=10`, "RateLimit", `"exchange_per_address";r=99;t=1`)
	claims := verify.Claims{
		Issuer: "https://auth.example.com", Subject: "100001", Audience: "https://api.example.com", IssuedAt: 1731590739, NotBefore: 1731590709,
		Expires: 1731594339, AuthTime: 1731590739, ID: "j1", Type: verify.B2BAccess, Credential: "c", Session: "s", Position: 7,
		Granted: "orders:read orders:write", Account: 100001,
	}
	bound := claims
	bound.Bound = thumbprint
	refresh := claims
	refresh.Type, refresh.Audience = "B2B_REFRESH", "https://auth.example.com/auth/refresh"
	for _, c := range []struct {
		who  verify.Principal
		want string
	}{
		{verify.Principal{}, `{"active":false}`},
		{
			verify.Principal{Claims: &claims, Scope: "orders:read"},
			`{"active":true,"iss":"https://auth.example.com","sub":"100001","aud":"https://api.example.com","scope":"orders:read","iat":1731590739,` +
				`"nbf":1731590709,"exp":1731594339,"jti":"j1","token_type":"Bearer"}`,
		},
		{
			verify.Principal{Claims: &bound},
			`{"active":true,"iss":"https://auth.example.com","sub":"100001","aud":"https://api.example.com","iat":1731590739,"nbf":1731590709,` +
				`"exp":1731594339,"jti":"j1","token_type":"DPoP","cnf":{"jkt":"` + thumbprint + `"}}`,
		},
		{
			verify.Principal{Claims: &refresh},
			`{"active":true,"iss":"https://auth.example.com","sub":"100001","aud":"https://auth.example.com/auth/refresh","iat":1731590739,` +
				`"nbf":1731590709,"exp":1731594339,"jti":"j1","token_type":"N_A"}`,
		},
	} {
		g := &gate{who: c.who}
		s := serve(t, setup{gate: g})
		for _, request := range []string{
			post("/oauth/introspect", ofToken, asBasic),
			post("/oauth/introspect", ofToken+"&token_type_hint=refresh_token&"+asPost),
			chunked("/oauth/introspect", "token_type_hint=nothing&"+ofToken+"&"+asPost),
		} {
			a := s.Send(t, request)
			a.Is(t, request, 200, c.want, headers)
			if a.Seen.Did != auth.DidIntrospect || a.Seen.Subject != client || a.Seen.Reason != auth.ReasonNone {
				t.Errorf("observed %+v", a.Seen)
			}
			var answer api.OAuthIntrospection
			if err := json.Unmarshal([]byte(a.Body), &answer); err != nil || answer.Active != (c.who.Claims != nil) {
				t.Errorf("the wire type: %+v, %v", answer, err)
			}
			if again, err := json.Marshal(answer); err != nil || string(again) != a.Body {
				t.Errorf("the wire type is written as %s, %v\nand the answer is          %s", again, err, a.Body)
			}
		}
		if diff := cmp.Diff([]string{"a.b.c", "a.b.c", "a.b.c"}, g.tokens); diff != "" {
			t.Errorf("the gate got (-want +got)\n%s", diff)
		}
	}
}

func TestRevoke(t *testing.T) {
	g := &gate{}
	s := serve(t, setup{gate: g})
	for _, request := range []string{
		post("/oauth/revoke", ofToken, asBasic),
		post("/oauth/revoke", ofToken+"&token_type_hint=refresh_token&"+asPost),
		chunked("/oauth/revoke", "token_type_hint=nothing&"+ofToken+"&"+asPost),
	} {
		a := s.Send(t, request)
		a.Is(t, request, 200, "", http.Header{
			"Cache-Control": {"no-store"}, "Ratelimit-Policy": {`"exchange_per_address";q=100;w=10`}, "Ratelimit": {`"exchange_per_address";r=99;t=1`},
		})
		if a.Seen.Did != auth.DidRevoke || a.Seen.Subject != client || a.Seen.Reason != auth.ReasonNone {
			t.Errorf("observed %+v", a.Seen)
		}
	}
	if diff := cmp.Diff([]string{"a.b.c", "a.b.c", "a.b.c"}, g.tokens); diff != "" {
		t.Errorf("the gate got (-want +got)\n%s", diff)
	}
}

// dpop is a proof for POST /oauth/token, now, with some claims changed.
func dpop(t *testing.T, key ed25519.PrivateKey, change map[string]any) string {
	t.Helper()
	claims := map[string]any{"jti": "j1", "htm": "POST", "htu": "https://auth.example.com/oauth/token", "iat": now.Unix()}
	maps.Copy(claims, change)
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	input := b64([]byte(`{"typ":"dpop+jwt","alg":"EdDSA","jwk":{"kty":"OKP","crv":"Ed25519","x":"`+b64(key.Public().(ed25519.PublicKey))+`"}}`)) + "." + b64(payload)
	return "DPoP: " + input + "." + b64(ed25519.Sign(key, []byte(input)))
}

// The key of RFC 8037, appendix A, and its thumbprint.
var proofKey = func() ed25519.PrivateKey {
	seed, _ := base64.RawURLEncoding.DecodeString("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
	return ed25519.NewKeyFromSeed(seed)
}()

const thumbprint = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"

func TestATokenBoundToAKey(t *testing.T) {
	grant := newGrant()
	grant.Bound = true
	for form, want := range map[string]string{
		wantToken: `{"access_token":"a.b.c","token_type":"DPoP","expires_in":3600,"scope":"orders:read orders:write"}`,
		wantPair:  `{"access_token":"a.b.c","token_type":"DPoP","expires_in":3600,"scope":"orders:read orders:write","refresh_token":"r2.r2.r2"}`,
	} {
		if grant.Refresh = ""; form == wantPair {
			grant.Refresh = "r2.r2.r2"
		}
		g := &gate{grant: grant}
		a := serve(t, setup{gate: g}).Send(t, post("/oauth/token", form, asBasic, dpop(t, proofKey, nil)))
		if a.Status != 200 || a.Body != want {
			t.Errorf("%d %s\nwant 200 %s", a.Status, a.Body, want)
		}
		if len(g.asks) != 1 || g.asks[0].Bound.Key != thumbprint || g.asks[0].Bound.Name != "j1" || g.asks[0].Bound.Until.Before(now) {
			t.Errorf("the gate was asked for %+v", g.asks)
		}

		bad := failure("invalid_dpop_proof", "The DPoP proof is not valid")
		proof := dpop(t, proofKey, nil)
		for name, headers := range map[string][]string{
			"none":               {"DPoP:"},
			"two":                {proof, proof},
			"of another address": {dpop(t, proofKey, map[string]any{"htu": "https://auth.example.com/oauth/introspect"})},
			"of another server":  {dpop(t, proofKey, map[string]any{"htu": "https://evil.example.com/oauth/token"}), "X-Forwarded-Host: evil.example.com"},
			"of another method":  {dpop(t, proofKey, map[string]any{"htm": "GET"})},
			"of an hour ago":     {dpop(t, proofKey, map[string]any{"iat": now.Unix() - 3600})},
			"changed":            {proof[:len(proof)-4] + "AAAA"},
		} {
			g := &gate{grant: grant}
			row{"a proof, " + name, post("/oauth/token", form, append(headers, asBasic)...), nil, false, 400, bad, webtest.JSON()}.check(t, setup{gate: g})
			if len(g.presented) > 0 {
				t.Errorf("%s: the gate was asked", name)
			}
		}
		g = &gate{err: auth.ErrBadProof.Because(auth.ReasonExpired)}
		row{"a proof that counted", post("/oauth/token", form, asBasic, proof), nil, true, 400, bad, webtest.JSON()}.check(t, setup{gate: g})
	}
}

// A row of the contract's table: what is sent, what the gate says, and what comes back.
type row struct {
	name    string
	request string
	err     error
	asked   bool // the gate is asked
	status  int
	body    string
	headers http.Header
}

func (row row) check(t *testing.T, s setup) webtest.Answer {
	t.Helper()
	a := serve(t, s).Send(t, row.request)
	a.Is(t, row.name, row.status, row.body, row.headers)
	return a
}

var (
	noForm        = failure("invalid_request", "The body is not a form, or names a parameter twice")
	noGrantType   = failure("invalid_request", "The parameter grant_type is missing")
	noRefresh     = failure("invalid_request", "The parameter refresh_token is missing")
	noToken       = failure("invalid_request", "The parameter token is missing")
	badKey        = failure("invalid_request", "Invalid Idempotency-Key")
	mediaType     = failure("invalid_request", "Content-Type must be application/x-www-form-urlencoded")
	tooLarge      = failure("invalid_request", "Request body too large")
	badRequest    = failure("invalid_request", "Bad request")
	methods       = failure("invalid_request", "The client is to be authenticated in one way, and once")
	assertionType = failure("invalid_request", "The client_assertion_type is not supported")
	grantType     = failure("unsupported_grant_type", "This grant type is not supported")
	badClient     = failure("invalid_client", "Client authentication failed")
	badGrant      = failure("invalid_grant", "The refresh token is not valid")
	badScope      = failure("invalid_scope", "The client does not have this scope")
	address       = failure("access_denied", "IP address not authorized")
	tooMany       = failure("temporarily_unavailable", "Too many requests")
	unavailable   = failure("temporarily_unavailable", "Service temporarily unavailable")
	internal      = failure("server_error", "Internal server error")
)

// Bodies that cannot be read, or do not say what they must.
func TestBodies(t *testing.T) {
	const badChunks = "bad chunks" // where a request ends nobody knows then
	for path, lacking := range map[string]string{"/oauth/token": noGrantType, "/oauth/introspect": noToken, "/oauth/revoke": noToken} {
		var rows []row
		for _, body := range []string{
			"&", "=", "=x", "a=1&", "&a=1", "a=1&&b=2", "a=1&a=1", "a=1&%61=2", "a=&a=1", "a&a", "a=%", "a=%2", "a=%zz", "%=1", "a=%00", "%00=1",
			"a=%ff", "a=%ed%a0%80", "a=\xff", "a=é", "a=b c", "a=b\tc", "a=1\r\n", "a=\x00", `{"grant_type": "client_credentials"}`,
			"grant_type=client_credentials&scope=a&scope=b", strings.Repeat("a&", 100) + "b", numbered(101),
		} {
			rows = append(rows, row{fmt.Sprintf("%.40q", body), post(path, body, asBasic), nil, false, 400, noForm, webtest.JSON()})
		}
		for _, body := range []string{"a=1", "a", "Grant_Type=client_credentials&TOKEN=x", "grant_type=&token=", "grant_type&token", "a=%26grant_type=x", numbered(100)} {
			rows = append(rows, row{fmt.Sprintf("%.40q", body), post(path, body, asBasic), nil, false, 400, lacking, webtest.JSON()})
		}
		for _, media := range []string{"text/plain", "application/json", "application/x-www-form-urlencodedx", "*/*", formType + "; charset=utf-16", formType + ", " + formType, ""} {
			rows = append(rows, row{media, webtest.Post(media, path, "a=1", asBasic), nil, false, 415, mediaType, webtest.JSON()})
		}
		long := "a=" + strings.Repeat("x", 64<<10)
		rows = append(
			rows,
			row{"no Content-Type", fmt.Sprintf("POST %s\nContent-Length: 3\n\na=1", path), nil, false, 415, mediaType, webtest.JSON()},
			row{"Content-Type twice", post(path, "a=1", "Content-Type: "+formType), nil, false, 415, mediaType, webtest.JSON()},
			row{"encoded", post(path, "a=1", "Content-Encoding: gzip"), nil, false, 415, mediaType, webtest.JSON()},
			row{"empty", fmt.Sprintf("POST %s\nContent-Type: %s\nContent-Length: 0", path, formType), nil, false, 400, lacking, webtest.JSON()},
			row{"too large", post(path, long), nil, false, 413, tooLarge, webtest.JSON()},
			row{"too large in chunks", chunked(path, long), nil, false, 413, tooLarge, webtest.JSON()},
			row{"as large as can be", post(path, long[:64<<10]), nil, false, 400, lacking, webtest.JSON()},
			row{"size before type", webtest.Post("text/plain", path, long), nil, false, 413, tooLarge, webtest.JSON()},
			row{badChunks, "POST " + path + "\nContent-Type: " + formType + "\nTransfer-Encoding: chunked\n\nzz\r\n", nil, false, 400, badRequest, webtest.JSON()},
			row{"by GET", "GET " + path, nil, false, 405, failure("invalid_request", "Method not allowed"), webtest.JSON("Allow", "POST")},
		)
		for _, r := range rows {
			g := &gate{}
			a := r.check(t, setup{gate: g})
			if len(g.presented)+len(g.failures) > 0 {
				t.Errorf("%s: the gate was asked", r.name)
			}
			if a.Seen.Reason != auth.ReasonMalformed {
				t.Errorf("%s: observed %q", r.name, a.Seen.Reason)
			}
			if r.name == badChunks && !a.Closed {
				t.Errorf("%s: the connection lives on", r.name)
			}
		}
	}
}

// numbered is a form of n parameters.
func numbered(n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("p%d=1", i)
	}
	return strings.Join(all, "&")
}

// Clients that are known in no way, in two, or not well enough to be asked about.
func TestClientAuthentication(t *testing.T) {
	none := webtest.JSON("WWW-Authenticate", challenge)
	for _, of := range [][2]string{{"/oauth/token", wantToken}, {"/oauth/token", wantPair}, {"/oauth/introspect", ofToken}, {"/oauth/revoke", ofToken}} {
		path, form := of[0], of[1]
		for _, r := range []row{
			{"both ways", post(path, form+"&"+asPost, asBasic), nil, false, 400, methods, webtest.JSON()},
			{"the same secret in both", post(path, form+"&client_secret=secret", asBasic), nil, false, 400, methods, webtest.JSON()},
			{"Basic twice", post(path, form, asBasic, asBasic), nil, false, 400, methods, webtest.JSON()},
			{"Basic and something else", post(path, form, asBasic, "Authorization: Bearer x"), nil, false, 400, methods, webtest.JSON()},
			{"two clients", post(path, form+"&client_id=u_AAAAAAAAAAAA", asBasic), nil, false, 400, methods, webtest.JSON()},
			{"a secret alone", post(path, form+"&client_secret=secret"), nil, false, 400, failure("invalid_request", "The parameter client_id is missing"), webtest.JSON()},

			{"an assertion and Basic", post(path, form+"&client_assertion=x", asBasic), nil, false, 400, methods, webtest.JSON()},
			{"an assertion and a secret", post(path, form+"&client_assertion=x&"+asPost), nil, false, 400, methods, webtest.JSON()},
			{"an assertion of no type", post(path, form+"&client_assertion=x"), nil, false, 400, assertionType, webtest.JSON()},
			{"an assertion of another type", post(path, form+"&client_assertion=x&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Asaml2-bearer"), nil, false, 400, assertionType, webtest.JSON()},
			{"a type alone", post(path, form+"&"+jwtBearer), nil, false, 400, failure("invalid_request", "The parameter client_assertion is missing"), webtest.JSON()},

			{"none", post(path, form), nil, false, 401, badClient, none},
			{"an assertion that is none", post(path, form+"&client_assertion=x&"+jwtBearer), nil, false, 401, badClient, none},
			{"a name alone", post(path, form+"&client_id="+clientID), nil, false, 401, badClient, none},
			{"in the query", post(path+"?"+asPost, form), nil, false, 401, badClient, none},
			{"empty", post(path, form, "Authorization:"), nil, false, 401, badClient, none},
			{"another scheme", post(path, form, "Authorization: Bearer x"), nil, false, 401, badClient, none},
			{"the scheme alone", post(path, form, "Authorization: Basic"), nil, false, 401, badClient, none},
			{"no base64", post(path, form, "Authorization: Basic !!!!"), nil, false, 401, badClient, none},
			{"no colon", post(path, form, "Authorization: Basic dXNlcg=="), nil, false, 401, badClient, none},
			{"no secret", post(path, form, basic(clientID, "")), nil, false, 401, badClient, none},
			{"half an escape", post(path, form, basic(clientID, "secret%")), nil, false, 401, badClient, none},
			{"an escaped NUL", post(path, form, basic(clientID, "secret%00")), nil, false, 401, badClient, none},
			{"not UTF-8", post(path, form, basic(clientID, "secret%ff")), nil, false, 401, badClient, none},
			{"long", post(path, form, basic(clientID, strings.Repeat("s", 1025))), nil, false, 401, badClient, none},
			{"another environment", post(path, form, basic("test_"+clientID, "secret")), nil, false, 401, badClient, none},
		} {
			g := &gate{}
			a := r.check(t, setup{gate: g})
			if failed := len(g.failures) > 0; len(g.presented) > 0 || failed != (r.status == 401) {
				t.Errorf("%s: the gate was asked: %v, and told of a failure: %v", r.name, len(g.presented) > 0, failed)
			}
			if r.status == 400 && a.Seen.Reason != auth.ReasonMalformed {
				t.Errorf("%s: observed %q", r.name, a.Seen.Reason)
			}
		}
		used := auth.ErrRateLimited.With(auth.Limit{Name: "failures_per_address", Quota: 30, Window: 30 * time.Second, Reset: 30 * time.Second, Refused: true, RetryAfter: time.Second})
		row{
			"too many failures", post(path, form), nil, false, 429, tooMany,
			webtest.JSON("Retry-After", "1", "RateLimit-Policy", `"failures_per_address";q=30;w=30`, "RateLimit", `"failures_per_address";r=0;t=30`),
		}.check(t, setup{gate: &gate{failed: used}})
		g := &gate{}
		row{"too many attempts, before the body is looked at", webtest.Post("text/plain", path, "x"), nil, false, 429, tooMany, webtest.JSON("Retry-After", "1")}.
			check(t, setup{gate: g, attempt: func(*auth.Caller) error { return auth.ErrRateLimited }})
	}
}

func TestRefusals(t *testing.T) {
	none := webtest.JSON("WWW-Authenticate", challenge)
	limit := auth.Limit{Name: "exchange_per_credential", Quota: 100, Window: 10 * time.Second, Reset: 10 * time.Second, Refused: true, RetryAfter: 3 * time.Second}
	found := webtest.JSON("Retry-After", "3", "RateLimit-Policy", `"exchange_per_credential";q=100;w=10`, "RateLimit", `"exchange_per_credential";r=0;t=10`)
	token, pair := post("/oauth/token", wantToken, asBasic), post("/oauth/token", wantPair, asBasic)
	noPair := post("/oauth/token", "grant_type=refresh_token&refresh_token=", asBasic)
	const header = "Idempotency-Key: "
	rows := []row{
		{"token: another grant", post("/oauth/token", "grant_type=password&username=u&password=p", asBasic), nil, false, 400, grantType, webtest.JSON()},
		{"token: another grant, whoever asks", post("/oauth/token", "grant_type=Client_Credentials"), nil, false, 400, grantType, webtest.JSON()},
		{"token: scope", token, auth.ErrBadScope, true, 400, badScope, webtest.JSON()},

		{"refresh: no token", noPair, nil, false, 400, noRefresh, webtest.JSON()},
		{"refresh: a short key", post("/oauth/token", wantPair, asBasic, header+"short"), nil, false, 400, badKey, webtest.JSON()},
		{"refresh: two keys", post("/oauth/token", wantPair, asBasic, header+"0123456789abcdef", header+"0123456789abcdef"), nil, false, 400, badKey, webtest.JSON()},
		{"refresh: none of ours", pair, auth.ErrBadRefresh, true, 400, badGrant, webtest.JSON()},
		{"refresh: another account's", pair, auth.ErrBadRefresh.Because(auth.ReasonTokenForeign), true, 400, badGrant, webtest.JSON()},
		{"refresh: an access token", pair, auth.ErrBadRefresh.Because(auth.ReasonTokenWrongType), true, 400, badGrant, webtest.JSON()},
		{"refresh: spent", pair, auth.ErrSpent, true, 400, badGrant, webtest.JSON()},
		{"refresh: reused", pair, auth.ErrReused, true, 400, badGrant, webtest.JSON()},
		{"refresh: ended", pair, auth.ErrEnded, true, 400, badGrant, webtest.JSON()},
		{"refresh: scope", pair, auth.ErrBadScope, true, 400, badScope, webtest.JSON()},
	}
	for name, request := range map[string]string{
		"token": token, "refresh": pair,
		"introspect": post("/oauth/introspect", ofToken, asBasic), "revoke": post("/oauth/revoke", ofToken, asBasic),
	} {
		for _, reason := range []auth.Reason{
			auth.ReasonUnknown, auth.ReasonWrongSecret, auth.ReasonRevoked, auth.ReasonExpired, auth.ReasonAccountSuspended,
		} {
			rows = append(rows, row{name + ": " + string(reason), request, auth.ErrBadCredential.Because(reason), true, 401, badClient, none})
		}
		rows = append(
			rows,
			row{name + ": address", request, auth.ErrAddressNotAllowed, true, 403, address, webtest.JSON()},
			row{name + ": too many", request, auth.ErrRateLimited.With(limit), true, 429, tooMany, found},
			row{name + ": not classified", request, errors.New("no"), true, 500, internal, webtest.JSON()},
			row{name + ": cannot be checked", request, auth.ErrOverloaded, true, 503, unavailable, webtest.JSON("Retry-After", "1")},
		)
	}
	for _, r := range rows {
		g := &gate{err: r.err}
		a := r.check(t, setup{gate: g})
		if asked := len(g.presented) > 0; asked != r.asked || len(g.failures) > 0 {
			t.Errorf("%s: the gate was asked: %v; failures %v", r.name, asked, g.failures)
		}
		if (a.Seen.Err != nil) != (r.status >= 500) {
			t.Errorf("%s: observed %v", r.name, a.Seen.Err)
		}
	}
	g := &gate{alone: true}
	row{"refresh: without contract 3", pair, nil, false, 400, grantType, webtest.JSON()}.check(t, setup{gate: g})
	if len(g.presented) > 0 {
		t.Error("the gate was asked for a pair where there are none")
	}
}

// At routes, and where nothing is found.
func TestRefusalsElsewhere(t *testing.T) {
	const realm = `Bearer realm="gatehouse"`
	revoked := auth.ErrBadToken.Because(auth.ReasonTokenRevoked)
	revoked.TokenSent = true
	for _, c := range []struct {
		err    error
		status int
		body   string
		header string // and its value
		value  string
	}{
		{&web.StatusError{Status: 400}, 400, `{"error":"invalid_request","error_description":"Bad request"}`, "", ""},
		{auth.ErrBadToken, 401, `{"error":"invalid_token","error_description":"The access token is missing or not valid"}`, "Www-Authenticate", realm},
		{
			revoked, 401, `{"error":"invalid_token","error_description":"The access token is missing or not valid"}`, "Www-Authenticate",
			realm + `, error="invalid_token", error_description="The access token was revoked"`,
		},
		{
			auth.ErrBadProof, 401, `{"error":"invalid_dpop_proof","error_description":"The DPoP proof is not valid"}`, "Www-Authenticate",
			`DPoP realm="gatehouse", error="invalid_dpop_proof", error_description="The DPoP proof is not valid", algs="EdDSA Ed25519 ES256 RS256 PS256"`,
		},
		{auth.ErrAddressNotAllowed, 403, `{"error":"access_denied","error_description":"IP address not authorized"}`, "", ""},
		{auth.ErrInsufficientScope, 403, `{"error":"insufficient_scope","error_description":"Insufficient scope"}`, "", ""},
		{auth.ErrRateLimited, 429, `{"error":"temporarily_unavailable","error_description":"Too many requests"}`, "Retry-After", "1"},
		{&web.StatusError{Status: 404}, 404, `{"error":"invalid_request","error_description":"Not found"}`, "", ""},
		{&web.StatusError{Status: 405, Allow: "POST"}, 405, `{"error":"invalid_request","error_description":"Method not allowed"}`, "Allow", "POST"},
		{&web.StatusError{Status: 413}, 413, `{"error":"invalid_request","error_description":"Request body too large"}`, "", ""},
		{&web.StatusError{Status: 415}, 415, `{"error":"invalid_request","error_description":"Unsupported media type"}`, "", ""},
		{errors.New("no"), 500, `{"error":"server_error","error_description":"Internal server error"}`, "", ""},
		{&web.StatusError{Status: 502}, 502, `{"error":"server_error","error_description":"Bad gateway"}`, "", ""},
		{auth.ErrOverloaded, 503, `{"error":"temporarily_unavailable","error_description":"Service temporarily unavailable"}`, "Retry-After", "1"},
		{&web.StatusError{Status: 504}, 504, `{"error":"server_error","error_description":"Gateway timeout"}`, "", ""},
	} {
		s := setup{gate: &gate{}, next: func(http.ResponseWriter, *web.Request) error { return c.err }}
		a := serve(t, s).Send(t, "POST /oauth/elsewhere")
		want := http.Header{
			"Content-Type": {"application/json; charset=utf-8"}, "X-Content-Type-Options": {"nosniff"}, "Cache-Control": {"no-store"},
		}
		if c.header != "" {
			want[c.header] = []string{c.value}
		}
		a.Is(t, fmt.Sprint(c.err), c.status, c.body, want)
		var answer api.OAuthError
		if err := json.Unmarshal([]byte(a.Body), &answer); err != nil || answer.Error == "" || answer.Description == "" {
			t.Errorf("%v: the wire type: %+v, %v", c.err, answer, err)
		}
	}
}
