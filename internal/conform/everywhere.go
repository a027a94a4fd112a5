package conform

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What holds at every contract's addresses, at routes, and before any of them.

// HTTP is where rows stand that are of no contract alone: they are always judged.
const HTTP = "http"

// methods are the rows of all methods but the one that an address has. Where the contract is "", it is not said in whose words
// they are refused.
func methods(contract, path, only string) []row {
	refused := all(status(http.StatusMethodNotAllowed), told, isJSON, noStore)
	if contract != "" {
		refused = refusal(contract, http.StatusMethodNotAllowed)
	}
	rows := []row{{
		name: "HEAD " + path + " → 405 with Allow, and no body",
		run: func(p *probe) error {
			return p.expect(request{method: http.MethodHead, target: path}, all(status(http.StatusMethodNotAllowed), told, allows(only), bodiless))
		},
	}}
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
		if method != only {
			rows = append(rows, asks(method+" "+path+" → 405 with Allow", request{method: method, target: path},
				all(refused, allows(only))))
		}
	}
	return rows
}

var (
	limitPolicy = regexp.MustCompile(`^"[^"]+";q=\d+;w=\d+$`)
	limitState  = regexp.MustCompile(`^"[^"]+";r=\d+;t=\d+$`)
)

// mostAttempts is how often a limit is tried to be met.
const mostAttempts = 400

// limited is the row about coming too often: r is refused with code until it is refused with 429.
func limited(contract string, r request, code int, refused check) row {
	return row{name: r.method + " " + r.target + ", too many requests → 429 with Retry-After, RateLimit and RateLimit-Policy", after: exhausts, run: func(p *probe) error {
		for range mostAttempts {
			a, err := p.ask(r)
			if err != nil {
				return err
			}
			p.exchanges = p.exchanges[max(0, len(p.exchanges)-1):]
			if a.status == code {
				continue
			}
			retry, err := a.only("Retry-After")
			seconds, noNumber := strconv.Atoi(retry)
			problems := []error{refused(a), err}
			if err == nil && (noNumber != nil || seconds < 0) {
				problems = append(problems, fmt.Errorf("Retry-After is %q, wanted whole seconds", retry))
			}
			for name, shape := range map[string]*regexp.Regexp{"RateLimit": limitState, "RateLimit-Policy": limitPolicy} {
				got, err := a.only(name)
				if err == nil && !shape.MatchString(got) {
					err = fmt.Errorf("%s is %q, wanted %s", name, got, shape)
				}
				problems = append(problems, err)
			}
			if err := errors.Join(problems...); err != nil {
				return err
			}
			if err := p.wait(time.Duration(max(seconds, 1)) * time.Second); err != nil {
				return err
			}
			return p.does(r, status(code), errors.New("after Retry-After it is still too often"))
		}
		return skip(fmt.Sprintf("no limit was met in %d requests", mostAttempts))
	}}
}

// everywhere are the rows that each contract has in its own words.
func (k *Kit) everywhere(contract string) []row {
	// Where the rows about browsers and paths ask, and an address that is refused in the contract's words.
	of := map[string]struct{ method, path, folder string }{
		Liquid: {http.MethodGet, apiKeyPath, "/api/"},
		Orders: {http.MethodGet, ordersAPIPath, ""},
		B2B:    {http.MethodPost, loginPath, "/auth/"},
		OAuth:  {http.MethodPost, tokenPath, "/oauth/"},
	}[contract]
	var rows []row
	if of.folder != "" {
		nothing := of.folder + "conform/nothing-is-here"
		if contract == Liquid {
			nothing = "/conform/nothing-is-here"
		}
		rows = append(rows, asks("GET "+nothing+" → 404", get(nothing), refusal(contract, http.StatusNotFound)))
		leaf := strings.TrimPrefix(of.path, of.folder)
		for _, target := range []string{
			of.folder + ".." + of.path, of.folder + "%2e%2e" + of.path, of.folder + "./" + leaf, of.folder + "/" + leaf, of.folder + leaf + "%2f", of.folder + "..;/" + leaf,
			of.folder + `\` + leaf, of.folder + leaf + "%00", of.folder + "%zz", of.folder + "%252e%252e/" + leaf, of.folder + "%ff",
		} {
			rows = append(rows, asks(of.method+" "+target+" → 400", request{method: of.method, target: target}, refusal(contract, http.StatusBadRequest)))
		}
	}
	if contract == B2B {
		rows = append(rows, row{name: "POST /auth/login, chunks that are none → 400 BAD_REQUEST, and the connection ends", run: func(p *probe) error {
			text := "POST /auth/login HTTP/1.1\r\nHost: " + k.wire.host + "\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
			return p.broken(text, refusal(B2B, http.StatusBadRequest))
		}})
	}
	rows = append(rows, k.browsers(of.method, of.path)...)
	return append(rows, k.routes(contract)...)
}

// closing is how long a server may take to end a connection that it cannot go on with.
const closing = 3 * time.Second

// broken sends what cannot be read, and wants one answer and the end of the connection.
func (p *probe) broken(text string, c check) error {
	a, err := p.raw(http.MethodPost, text+"GET /conform/behind-it HTTP/1.1\r\nHost: "+p.kit.wire.host+"\r\n\r\n", min(closing, p.kit.config.Timeout))
	if err != nil {
		return err
	}
	var problems []error
	if a.after != "" {
		problems = append(problems, errors.New("what stood behind the request was answered too"))
	}
	if !a.closed {
		problems = append(problems, errors.New("the connection lives on, wanted its end"))
	}
	return errors.Join(append(problems, c(a))...)
}

// http are the rows about how a request is framed.
func (k *Kit) http() []row {
	host := "Host: " + k.wire.host + "\r\n"
	of := func(lines, body string) string { return "POST / HTTP/1.1\r\n" + host + lines + "\r\n" + body }
	var rows []row
	for _, c := range []struct{ name, text string }{
		{"a length and chunks", of("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nG")},
		{"two lengths that differ", of("Content-Length: 5\r\nContent-Length: 6\r\n", "hello!")},
		{"a list of lengths", of("Content-Length: 5, 6\r\n", "hello!")},
		{"a length with a sign", of("Content-Length: +5\r\n", "hello")},
		{"a length that is no number", of("Content-Length: 0x5\r\n", "hello")},
		{"a coding besides chunked", of("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n")},
		{"chunked twice", of("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")},
		{"a coding that is none", of("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n")},
		{"a space before the colon", of("Content-Length : 5\r\n", "hello")},
		{"a header over two lines", of("A: b\r\n Content-Length: 5\r\n", "")},
		{"a bare CR in a header", of("A: b\rContent-Length: 5\r\n", "")},
		{"no Host", "POST / HTTP/1.1\r\n\r\n"},
		{"two Hosts", of(host, "")},
	} {
		rows = append(rows, row{contract: HTTP, name: HTTP + ": framing, " + c.name + " → 400, and the connection ends", run: func(p *probe) error {
			return p.broken(c.text, all(status(http.StatusBadRequest), told, isJSON))
		}})
	}
	return rows
}

// exposed and allowed are what a browser is told.
var (
	exposed = []string{"X-Request-Id", "Retry-After", "RateLimit", "RateLimit-Policy", "WWW-Authenticate", "X-Auth-Refresh"}
	allowed = []string{"Authorization", "Content-Type", "Idempotency-Key", "X-Request-Id", "X-LIQUID-API-OBF", "X-LIQUID-API-SDK", "X-LIQUID-SDK-VERSION"}
)

// lists wants a header to name all of these, in any case and order.
func lists(name string, wanted ...string) check {
	return func(a answer) error {
		got, err := a.only(name)
		if err != nil {
			return err
		}
		var problems []error
		for _, one := range wanted {
			if !slices.ContainsFunc(strings.Split(got, ","), func(s string) bool { return strings.EqualFold(strings.TrimSpace(s), one) }) {
				problems = append(problems, fmt.Errorf("%s is %q, without %s", name, got, one))
			}
		}
		return errors.Join(problems...)
	}
}

// browsers are the rows about calls from pages elsewhere.
func (k *Kit) browsers(method, path string) []row {
	origin := k.config.Origin
	row := func(name string, r request, c check) row {
		return row{name: name, run: func(p *probe) error {
			if origin == "" {
				return skip("no page's origin is given: --origin")
			}
			return p.expect(r, c)
		}}
	}
	preflight := request{method: http.MethodOptions, target: path, headers: []string{"Access-Control-Request-Method: " + method, "Access-Control-Request-Headers: authorization"}}
	other := "Origin: https://conform.invalid"
	return []rowOf{
		row("OPTIONS "+path+", a preflight → 204", preflight.with("Origin: "+origin), all(
			status(http.StatusNoContent), header("Access-Control-Allow-Origin", origin), header("Access-Control-Max-Age", "600"),
			lists("Access-Control-Allow-Methods", method), lists("Access-Control-Allow-Headers", append(allowed, k.config.Credentials.Liquid.Header)...),
			without("Access-Control-Allow-Credentials"),
		)),
		row("OPTIONS "+path+", a preflight from elsewhere: nothing is allowed", preflight.with(other), all(
			without("Access-Control-Allow-Origin"), without("Access-Control-Allow-Methods"), without("Access-Control-Allow-Headers"),
		)),
		row(method+" "+path+", refused, from a page: its scripts may read it", request{method: method, target: path, headers: []string{"Origin: " + origin}}, all(
			header("Access-Control-Allow-Origin", origin), lists("Access-Control-Expose-Headers", exposed...), without("Access-Control-Allow-Credentials"),
		)),
		row(method+" "+path+", refused, from a page elsewhere: its scripts may not read it", request{method: method, target: path, headers: []string{other}},
			without("Access-Control-Allow-Origin")),
	}
}

// rowOf is row, where a variable has its name.
type rowOf = row

// route is the address behind the gateway for a contract, as a request without token.
func (k *Kit) route(contract string) (request, error) {
	routes := k.config.Credentials.Routes
	said := map[string]string{Liquid: routes.Liquid, Orders: routes.Orders, B2B: routes.B2B, OAuth: routes.OAuth}[contract]
	if said == "" {
		return request{}, need("routes." + contract)
	}
	method, path, both := strings.Cut(said, " ")
	if !both {
		method, path = http.MethodGet, said
		if contract == Liquid {
			method = http.MethodPost
		}
	}
	r := request{method: method, target: path}
	if contract == Liquid {
		r = request{method: method, target: path, headers: []string{"Content-Type: application/json"}, body: "{}"}
	}
	return r, nil
}

// routes are the rows about calls with a token.
func (k *Kit) routes(contract string) []row {
	call := func(name string, run func(p *probe, r request) error) row {
		return row{name: "route: " + name, run: func(p *probe) error {
			r, err := k.route(contract)
			if err != nil {
				return err
			}
			return run(p, r)
		}}
	}
	with := func(name string, lines func(token string) []string, c check) row {
		return call(name, func(p *probe, r request) error {
			token, err := p.shared(contract)
			if err != nil {
				return err
			}
			return p.expect(r.with(lines(token)...), c)
		})
	}
	good := func(a answer) error {
		if a.status < 200 || a.status > 299 {
			return fmt.Errorf("the status is %d, wanted the API's own, 2xx", a.status)
		}
		return nil
	}
	refused := refusal(contract, http.StatusUnauthorized)
	if contract == OAuth { // such routes are often contract 3's too, and speak in its words
		refused = all(status(http.StatusUnauthorized), told, isJSON, noStore)
	}
	invalid := all(refused, because("The access token is not valid"))
	rows := []row{
		with("a good token → the API's answer", func(token string) []string { return []string{bearer(token)} }, good),
		with("a good token, the scheme in other letters → the API's answer", func(token string) []string { return []string{"Authorization: bEARER " + token} }, good),
		call("no token → 401", func(p *probe, r request) error { return p.expect(r, all(refused, challenge(bearerRealm))) }),
		call("a malformed token → 401", func(p *probe, r request) error { return p.expect(r.with(bearer("abc")), invalid) }),
		with("the token twice → 401", func(token string) []string { return []string{bearer(token), bearer(token)} }, invalid),
		with("a token with another signature → 401", func(token string) []string { return []string{bearer(resigned(token))} }, invalid),
	}
	for _, other := range Contracts {
		if other == contract || contract == B2B && other == OAuth || contract == OAuth && other == B2B {
			continue
		}
		rows = append(rows, call("a token of "+other+" → 401", func(p *probe, r request) error {
			token, err := p.shared(other)
			if err != nil {
				return err
			}
			return p.expect(r.with(bearer(token)), all(refused, because("The access token is of another type")))
		}))
	}
	switch contract {
	case B2B:
		rows = append(rows, call("a token after its logout → 401", func(p *probe, r request) error {
			s, err := p.signIn()
			if err != nil {
				return err
			}
			if err := p.expect(logoutWith(s.access), signedOut); err != nil {
				return err
			}
			return p.expect(r.with(bearer(s.access)), all(refused, because("The access token was revoked")))
		}))
	case Liquid:
		rows = append(
			rows,
			with("a key that is no good beside a good token → the API's answer", func(token string) []string {
				return []string{bearer(token), k.keyHeader("abc")}
			}, good),
			call("a good key without a token → 401", func(p *probe, r request) error {
				key, err := p.credentials.key()
				if err != nil {
					return err
				}
				return p.expect(r.with(k.keyHeader(key)), all(refused, challenge(bearerRealm)))
			}),
		)
		rows = append(rows, k.inBand()...)
	}
	return rows
}

var authMember = regexp.MustCompile(`([{,])"auth":\{"token":"([^"]+)","type":"ACCESS_TOKEN","exp":([0-9]+)\}\}[ \t\r\n]*$`)

// inBand are the rows about a new token in the answer to a call.
func (k *Kit) inBand() []row {
	call := func(name, media, body string, more []string, c func(p *probe, old string, a answer) error) row {
		return row{name: "refresh in band: " + name, run: func(p *probe) error {
			r, err := k.route(Liquid)
			if err != nil {
				return err
			}
			old, err := p.shared(Liquid)
			if err != nil {
				return err
			}
			r.headers, r.body = append([]string{bearer(old), "Content-Type: " + media}, more...), body
			a, err := p.ask(r)
			if err != nil {
				return err
			}
			return c(p, old, a)
		}}
	}
	renewed := func(_ *probe, old string, a answer) error {
		found := authMember.FindStringSubmatch(a.body)
		if found == nil {
			return fmt.Errorf("the answer (%d) does not end in %q", a.status, `"auth":{"token":"…","type":"ACCESS_TOKEN","exp":…}}`)
		}
		if !json.Valid([]byte(a.body)) {
			return errors.New("the answer is not JSON any more")
		}
		before, err := open(old)
		if err != nil {
			return err
		}
		after, err := open(found[2])
		if err != nil {
			return err
		}
		var problems []error
		if want := strconv.FormatInt(after.int("exp")*1000, 10); found[3] != want {
			problems = append(problems, fmt.Errorf("auth.exp is %s, wanted the new token's claim × 1000, %s", found[3], want))
		}
		if found[2] == old {
			problems = append(problems, errors.New("the token is the old one"))
		}
		return errors.Join(append(problems, same(before, after, "iss", "sub", "cid", "sid", "pos", "aud", "auth_time", "type", "scope"))...)
	}
	untouched := func(_ *probe, _ string, a answer) error {
		if a.at("auth") != nil || authMember.MatchString(a.body) {
			return errors.New("the answer carries a new token, which was not asked for")
		}
		return without("X-Auth-Refresh")(a)
	}
	const asJSON = "application/json"
	rows := []row{
		call(`{"refresh":true} → a new token of the same session, last in the answer`, asJSON, `{"refresh":true}`, nil, renewed),
		call("the old token lives on", asJSON, `{"refresh":true}`, nil, func(p *probe, old string, a answer) error {
			if err := renewed(p, old, a); err != nil {
				return err
			}
			r, err := k.route(Liquid)
			if err != nil {
				return err
			}
			return p.expect(r.with(bearer(old)), func(a answer) error {
				if a.status == http.StatusUnauthorized {
					return errors.New("the old token is refused")
				}
				return nil
			})
		}),
		call("the new token is as good as the old one", asJSON, `{"refresh":true}`, nil, func(p *probe, old string, a answer) error {
			if err := renewed(p, old, a); err != nil {
				return err
			}
			r, err := k.route(Liquid)
			if err != nil {
				return err
			}
			return p.expect(r.with(bearer(authMember.FindStringSubmatch(a.body)[2])), func(a answer) error {
				if a.status < 200 || a.status > 299 {
					return fmt.Errorf("with the new token the status is %d, wanted the API's own, 2xx", a.status)
				}
				return nil
			})
		}),
		call(`the key escaped, {"\u0072efresh":true} → a new token`, asJSON, `{"\u0072efresh":true}`, nil, renewed),
		call("among other members, and white space → a new token", asJSON, " {\"a\":[{}],\t\"refresh\" : true ,\n\"b\":1e400}\r\n", nil, renewed),
		call("as application/vnd.conform+json → a new token", "application/vnd.conform+json", `{"refresh":true}`, nil, renewed),
	}
	for _, body := range []string{
		`{"refresh":false}`, `{"refresh":"true"}`, `{"refresh":1}`, `{"refresh":null}`, `{"refresh":[true]}`, `{"Refresh":true}`, `{"a":{"refresh":true}}`,
		`[{"refresh":true}]`, `{"refresh":true,"refresh":true}`, `{"refresh":true,"\u0072efresh":true}`, `{"refresh":true} x`, `{"refresh":true}{}`, `{"refresh":true`, `{}`,
	} {
		rows = append(rows, call(body+" does not ask", asJSON, body, nil, untouched))
	}
	return append(
		rows,
		call("a byte order mark before it does not ask", asJSON, "\ufeff"+`{"refresh":true}`, nil, untouched),
		call("as text/plain it does not ask", "text/plain", `{"refresh":true}`, nil, untouched),
		call("with a Content-Encoding it does not ask", asJSON, `{"refresh":true}`, []string{"Content-Encoding: identity"}, untouched),
	)
}
