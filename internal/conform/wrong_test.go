package conform_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/internal/conform"
)

// A wrong server is ours but for one thing: change is what becomes of an answer. What the kit sends goes through untouched.
type wrong struct {
	change func(request, answer string) string
	open   func(request string) bool // the connection stays open behind the answer
}

// serve puts it in front of the server at address, and returns its URL.
func (w wrong) serve(t *testing.T, address string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { w.speak(c.(*net.TCPConn), address) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	return "http://" + l.Addr().String()
}

func (w wrong) speak(c *net.TCPConn, address string) {
	defer c.Close()
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer server.Close()
	var mu sync.Mutex
	var sent bytes.Buffer
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(writer(func(p []byte) (int, error) {
			mu.Lock()
			sent.Write(p)
			mu.Unlock()
			_, _ = server.Write(p) // it may have answered already
			return len(p), nil
		}), c)
		_ = server.(*net.TCPConn).CloseWrite() // nothing more comes
	}()
	answer, _ := io.ReadAll(server)
	mu.Lock()
	request := sent.String()
	mu.Unlock()
	_, _ = io.WriteString(c, w.change(request, string(answer)))
	if w.open == nil || !w.open(request) {
		_ = c.CloseWrite()
	}
	<-drained
}

type writer func(p []byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// replace changes text in answers to requests that begin so.
func replace(request, old, text string) func(request, answer string) string {
	return func(got, answer string) string {
		if !strings.HasPrefix(got, request) {
			return answer
		}
		return sized(strings.ReplaceAll(answer, old, text))
	}
}

var length = regexp.MustCompile(`Content-Length: \d+`)

// sized is an answer whose length is that of its body.
func sized(answer string) string {
	head, body, whole := strings.Cut(answer, "\r\n\r\n")
	if !whole || strings.Contains(head, "Transfer-Encoding") {
		return answer
	}
	return length.ReplaceAllString(head, fmt.Sprintf("Content-Length: %d", len(body))) + "\r\n\r\n" + body
}

// The kit can fail: a server that is wrong in one thing fails the rows about it, and no others.
func TestWrongServers(t *testing.T) {
	s, c := ours(t, unlimited)
	address := strings.TrimPrefix(s.URL, "http://")
	seconds := regexp.MustCompile(`"exp":(\d+)000\}`)
	var mu sync.Mutex
	var last string
	good := []string{
		"liquid: GET /authentication, a good key → 201", "liquid: GET /api/authentication, a good key → 201",
		"liquid: GET /api/authentication, the header in lower case → 201",
	}
	logins := []string{"b2b: POST /auth/login, good credentials → 200", "b2b: POST /auth/login, with a charset and unknown members → 200"}
	for _, w := range []struct {
		name     string
		wrong    wrong
		contract string
		fails    []string
	}{
		{"200 for 201", wrong{change: replace("GET ", "HTTP/1.1 201 Created", "HTTP/1.1 200 OK")}, conform.Liquid, good},
		{"exp in seconds", wrong{change: func(request, answer string) string {
			if !strings.HasPrefix(request, "GET ") {
				return answer
			}
			return sized(seconds.ReplaceAllString(answer, `"exp":$1}`))
		}}, conform.Liquid, good},
		{"a member more", wrong{change: replace("GET ", `"type":"ACCESS_TOKEN"`, `"type":"ACCESS_TOKEN","ttl":1`)}, conform.Liquid, good},
		{"an id of its own in the header", wrong{change: func(request, answer string) string {
			if strings.HasPrefix(request, "GET /authentication") && strings.HasPrefix(answer, "HTTP/1.1 201") {
				return strings.Replace(answer, "X-Request-Id: reqid_", "X-Request-Id: req-", 1)
			}
			return answer
		}}, conform.Liquid, []string{"liquid: GET /authentication, a good key → 201"}},
		{"space in the new token's member", wrong{change: replace("POST /api/cart", `"auth":{`, `"auth": {`)}, conform.Liquid, []string{
			`liquid: refresh in band: {"refresh":true} → a new token of the same session, last in the answer`,
			"liquid: refresh in band: the old token lives on", "liquid: refresh in band: the new token is as good as the old one",
			`liquid: refresh in band: the key escaped, {"\u0072efresh":true} → a new token`,
			"liquid: refresh in band: among other members, and white space → a new token",
			"liquid: refresh in band: as application/vnd.conform+json → a new token",
		}},
		{"no challenge where nothing was sent", wrong{change: func(request, answer string) string {
			if strings.Contains(request, "Authorization") || !strings.HasPrefix(request, "GET /order-authentication ") {
				return answer
			}
			return strings.Replace(answer, "Www-Authenticate", "X-Other", 1)
		}}, conform.Orders, []string{"orders: GET /order-authentication, header missing → 401"}},
		{"another key in the key set", wrong{change: replace("GET /.well-known/jwks.json", `"kid":"`, `"kid":"x`)}, conform.Orders, []string{
			"orders: the token: header, claims, its life of 600 s, signed by a key of the key set",
		}},
		{"HEAD is GET", wrong{change: replace("HEAD /order-authentication", "405 Method Not Allowed", "200 OK")}, conform.Orders, []string{
			"orders: HEAD /order-authentication → 405 with Allow, and no body",
		}},
		{"a header dropped", wrong{change: func(request, answer string) string {
			if strings.HasPrefix(request, "POST /auth/login") && strings.HasPrefix(answer, "HTTP/1.1 413") {
				return strings.Replace(answer, "X-Content-Type-Options: nosniff\r\n", "", 1)
			}
			return answer
		}}, conform.B2B, []string{
			"b2b: POST /auth/login, body over 64 KiB → 413", "b2b: POST /auth/login, body over 64 KiB and of another type → 413",
		}},
		{"a media type of its own", wrong{change: func(request, answer string) string {
			if strings.HasPrefix(request, "POST /auth/login") && strings.HasPrefix(answer, "HTTP/1.1 200") {
				return strings.Replace(answer, "Content-Type: application/json; charset=utf-8", "Content-Type: application/json", 1)
			}
			return answer
		}}, conform.B2B, logins},
		{"another message", wrong{change: replace("POST /auth/login", "Invalid credentials", "Invalid username or password")}, conform.B2B, []string{
			"b2b: POST /auth/login, unknown user → 401 UNAUTHORIZED", "b2b: POST /auth/login, wrong password → 401 UNAUTHORIZED",
			"b2b: POST /auth/login, user of another environment → 401 UNAUTHORIZED", "b2b: POST /auth/login, user revoked → 401 UNAUTHORIZED",
		}},
		{"a used refresh token is good", wrong{change: func(request, answer string) string {
			mu.Lock()
			defer mu.Unlock()
			if strings.HasPrefix(request, "POST /auth/refresh") {
				if strings.HasPrefix(answer, "HTTP/1.1 200") {
					last = answer
				} else if strings.HasPrefix(answer, "HTTP/1.1 401") && strings.Contains(request, "eyJ") && last != "" {
					return last
				}
			}
			return answer
		}}, conform.B2B, []string{
			"b2b: 50 refreshes of one token at once → exactly one 200, the rest 401",
			"b2b: POST /auth/logout → 200, and every token of the client is dead",
			"b2b: POST /auth/refresh, a token with another signature → 401 UNAUTHORIZED",
			"b2b: POST /auth/refresh, an access token → 401 UNAUTHORIZED",
			"b2b: a refresh token older than the previous one → 401, and the session is over",
			"b2b: a refresh token works once: the previous one, at once → 401, and the session lives on",
			"b2b: a repeat with another Idempotency-Key → 401",
		}},
		{"a connection that lives on", wrong{
			change: func(_, answer string) string { return answer },
			open:   func(request string) bool { return strings.Count(request, "Host: ") == 3 },
		}, conform.OAuth, []string{"http: framing, two Hosts → 400, and the connection ends"}},
		{"a token that may be kept", wrong{change: func(request, answer string) string {
			if strings.HasPrefix(request, "POST /oauth/token") && strings.Contains(answer, `"token_type":"Bearer"`) && !strings.Contains(answer, "refresh_token") {
				return strings.Replace(answer, "Cache-Control: no-store", "Cache-Control: private", 1)
			}
			return answer
		}}, conform.OAuth, []string{
			"oauth: POST /oauth/token, client_credentials, client_secret_basic → 200", "oauth: POST /oauth/token, client_credentials, client_secret_post → 200",
			"oauth: POST /oauth/token, private_key_jwt: → 200, and the same assertion again → 401 invalid_client",
		}},
		{"a bound token that is called a bearer's", wrong{change: replace("POST /oauth/token", `"token_type":"DPoP"`, `"token_type":"Bearer"`)}, conform.OAuth, []string{
			"oauth: POST /oauth/token, DPoP: → 200, a token bound to the key, and the same proof again → 400 invalid_dpop_proof",
		}},
		{"another thumbprint", wrong{change: replace("POST /oauth/introspect", `"jkt":"`, `"jkt":"x`)}, conform.OAuth, []string{
			"oauth: POST /oauth/introspect, a token bound to a key → 200, token_type DPoP and the key's thumbprint",
		}},
		{"one that announces neither signatures nor proofs", wrong{change: func(request, answer string) string {
			if strings.HasPrefix(request, "GET /.well-known/oauth-authorization-server") {
				return sized(strings.NewReplacer(`"private_key_jwt"`, `"other"`, `"dpop_signing_alg_values_supported"`, `"other"`).Replace(answer))
			}
			if strings.HasPrefix(answer, "HTTP/1.1 200") && (strings.Contains(request, "DPoP: ") || strings.Contains(request, "client_assertion")) {
				return "HTTP/1.1 500 No\r\n\r\n" // and does not know them
			}
			return answer
		}}, conform.OAuth, nil},
	} {
		t.Run(w.name, func(t *testing.T) {
			c := c
			c.URL, c.Contracts, c.Timeout = w.wrong.serve(t, address), []string{w.contract}, 10*time.Second
			got := failed(judge(t, c))
			slices.Sort(got)
			if diff := cmp.Diff(slices.Sorted(slices.Values(w.fails)), got); diff != "" {
				t.Errorf("rows that do not hold (-want +got)\n%s", diff)
			}
		})
	}
}

// failed are the names of the rows that do not hold.
func failed(r conform.Report) []string {
	var names []string
	for _, row := range r.Rows {
		if row.Outcome == conform.Failed {
			names = append(names, row.Name)
		}
	}
	return names
}
