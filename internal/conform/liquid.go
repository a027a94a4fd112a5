package conform

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
)

// Contract 1: an API key to an access token.

const apiKeyPath = "/api/authentication"

func get(target string, headers ...string) request {
	return request{method: http.MethodGet, target: target, headers: headers}
}

// keyHeader is the line that a key comes in.
func (k *Kit) keyHeader(key string) string { return k.config.Credentials.Liquid.Header + ": " + key }

func (p *probe) liquidToken() (string, error) {
	key, err := p.credentials.key()
	if err != nil {
		return "", err
	}
	a, err := p.ask(get(apiKeyPath, p.kit.keyHeader(key)))
	return got(a, err, "data", "token")
}

// milliseconds checks that exp says when the token beside it expires.
func milliseconds(path ...string) check {
	return func(a answer) error {
		t, err := open(a.str(append(path, "token")...))
		if err != nil {
			return err
		}
		if exp := a.int(append(path, "exp")...); exp != t.int("exp")*1000 {
			return fmt.Errorf("exp is %d, wanted the token's claim × 1000, %d", exp, t.int("exp")*1000)
		}
		return nil
	}
}

// otherEnvironment is a credential as it would be called in the other environment.
func otherEnvironment(s string) string {
	switch {
	case strings.Contains(s, "_test_"):
		return strings.Replace(s, "_test_", "_live_", 1)
	case strings.Contains(s, "_live_"):
		return strings.Replace(s, "_live_", "_test_", 1)
	}
	if rest, test := strings.CutPrefix(s, "test_"); test {
		return rest
	}
	return "test_" + s
}

func (k *Kit) liquid() []row {
	c := &k.config.Credentials
	noKey := liquidRefuses(http.StatusBadRequest, 5000, "API Key not found", apiKeyPath)
	granted := all(
		enveloped(http.StatusCreated, apiKeyPath, object{"token": isToken, "type": "ACCESS_TOKEN", "exp": number}),
		milliseconds("data"), without("WWW-Authenticate"),
	)
	// with is a row that needs the good key: lines are what is sent of it.
	with := func(name, path string, c check, lines func(key string) []string) row {
		return row{name: name, run: func(p *probe) error {
			key, err := p.credentials.key()
			if err != nil {
				return err
			}
			return p.expect(get(path, lines(key)...), c)
		}}
	}
	var rows []row
	for _, path := range []string{"/authentication", apiKeyPath} {
		at := "GET " + path
		rows = append(
			rows,
			with(at+", a good key → 201", path, granted, func(key string) []string {
				return []string{k.keyHeader(key), "Content-Type: application/json"}
			}),
			asks(at+", header missing → 400 5000", get(path), noKey),
			asks(at+", header empty → 400 5000", get(path, k.keyHeader("")), noKey),
			with(at+", header twice → 400 5000", path, noKey, func(key string) []string { return []string{k.keyHeader(key), k.keyHeader(key)} }),
			with(at+", two keys in one header → 400 5000", path, noKey, func(key string) []string { return []string{k.keyHeader(key + ", " + key)} }),
			asks(at+", key malformed → 400 5000", get(path, k.keyHeader("abc")), noKey),
			with(at+", key of another environment → 400 5000", path, noKey, func(key string) []string { return []string{k.keyHeader(otherEnvironment(key))} }),
			with(at+", key as a bearer token → 400 5000", path, noKey, func(key string) []string { return []string{"Authorization: Bearer " + key} }),
			given(at+", key revoked → 400 5000", "liquid.revoked_key", c.Liquid.Revoked != "", get(path, k.keyHeader(c.Liquid.Revoked)), noKey),
			given(at+", address not allowed → 403", "liquid.blocked_key", c.Liquid.Blocked != "", get(path, k.keyHeader(c.Liquid.Blocked)),
				liquidRefuses(http.StatusForbidden, 403, "IP address not authorized", apiKeyPath)),
		)
		rows = append(rows, methods(Liquid, path, http.MethodGet)...)
	}
	return append(
		rows,
		with("GET "+apiKeyPath+", the header in lower case → 201", apiKeyPath, granted, func(key string) []string {
			return []string{strings.ToLower(c.Liquid.Header) + ":" + key}
		}),
		token("ACCESS_TOKEN", 24*60*60, (*probe).liquidToken),
		limited(Liquid, get(apiKeyPath, k.keyHeader("abc")), http.StatusBadRequest, refusal(Liquid, http.StatusTooManyRequests)),
	)
}

// given is a row that needs a credential of its own.
func given(name, member string, there bool, r request, c check) row {
	return row{name: name, run: func(p *probe) error {
		if !there {
			return need(member)
		}
		return p.expect(r, c)
	}}
}

// Contract 2: user ID and password to an order token.

const ordersPath, ordersAPIPath = "/order-authentication", "/api/order-authentication"

func basic(id, secret string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
}

func (p *probe) orderToken() (string, error) {
	u, err := p.credentials.user()
	if err != nil {
		return "", err
	}
	a, err := p.ask(get(ordersPath, basic(u.ID, u.Password)))
	return got(a, err, "token")
}

// left checks that exp says how long the token beside it lives.
func left(a answer) error {
	t, err := open(a.str("data", "token"))
	if err != nil {
		return err
	}
	if exp, life := a.int("data", "exp"), t.int("exp")-t.int("iat"); exp < life-1 || exp > life {
		return fmt.Errorf("data.exp is %d, wanted the token's remaining life in seconds, %d", exp, life)
	}
	return nil
}

func (k *Kit) orders() []row {
	c := &k.config.Credentials
	data := object{"token": isToken, "type": "ORDER_API", "exp": number}
	var rows []row
	for _, path := range []string{ordersPath, ordersAPIPath} {
		at := "GET " + path
		granted := all(answers(http.StatusOK, body(data)), milliseconds())
		where := "" // of an error at the bare address the contract says nothing
		if path == ordersAPIPath {
			granted, where = all(enveloped(http.StatusOK, path, data), left), path
		}
		refused := all(liquidRefuses(http.StatusUnauthorized, 401, "Invalid credentials", where), challenge(basicRealm))
		with := func(name string, c check, lines func(u User) []string) row {
			return row{name: at + ", " + name, run: func(p *probe) error {
				u, err := p.credentials.user()
				if err != nil {
					return err
				}
				return p.expect(get(path, lines(u)...), c)
			}}
		}
		rows = append(
			rows,
			with("good credentials → 200", granted, func(u User) []string { return []string{basic(u.ID, u.Password)} }),
			with("the scheme in other letters → 200", granted, func(u User) []string {
				return []string{strings.Replace(basic(u.ID, u.Password), "Basic", "bAsIc", 1)}
			}),
			asks(at+", header missing → 401", get(path), refused),
			asks(at+", header empty → 401", get(path, "Authorization:"), refused),
			with("header twice → 401", refused, func(u User) []string { return []string{basic(u.ID, u.Password), basic(u.ID, u.Password)} }),
			asks(at+", another scheme → 401", get(path, "Authorization: Bearer x"), refused),
			asks(at+", no base64 → 401", get(path, "Authorization: Basic !!!!"), refused),
			asks(at+", no colon → 401", get(path, "Authorization: Basic dXNlcg=="), refused),
			asks(at+", unknown user → 401", get(path, basic("u_conformanobod", "conform")), refused),
			with("wrong password → 401", refused, func(u User) []string { return []string{basic(u.ID, "conform-is-not-it")} }),
			with("user of another environment → 401", refused, func(u User) []string { return []string{basic(otherEnvironment(u.ID), u.Password)} }),
			given(at+", user revoked → 401", "orders.revoked", c.Orders.Revoked != nil, get(path, c.Orders.Revoked.header()), refused),
			given(at+", address not allowed → 403", "orders.blocked", c.Orders.Blocked != nil, get(path, c.Orders.Blocked.header()),
				liquidRefuses(http.StatusForbidden, 403, "IP address not authorized", where)),
		)
		rows = append(rows, methods(Orders, path, http.MethodGet)...)
	}
	return append(
		rows,
		token("ORDER_API", 10*60, (*probe).orderToken),
		limited(Orders, get(ordersAPIPath), http.StatusUnauthorized, refusal(Orders, http.StatusTooManyRequests)),
	)
}

func (u *User) header() string {
	if u == nil {
		return ""
	}
	return basic(u.ID, u.Password)
}
