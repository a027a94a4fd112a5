package conform

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Contract 4: OAuth 2.

const tokenPath, introspectPath, revokePath, metadataPath = "/oauth/token", "/oauth/introspect", "/oauth/revoke", "/.well-known/oauth-authorization-server"

const formType = "application/x-www-form-urlencoded"

// form is a request with parameters, names and values in turn.
func form(target string, pairs ...string) request {
	var parts []string
	for i := 0; i+1 < len(pairs); i += 2 {
		parts = append(parts, url.QueryEscape(pairs[i])+"="+url.QueryEscape(pairs[i+1]))
	}
	return post(target, formType, strings.Join(parts, "&"))
}

// as is r by a client, who is known by client_secret_basic.
func (r request) as(c Client) request {
	return r.with(basic(url.QueryEscape(c.ID), url.QueryEscape(c.Secret)))
}

// in is r by a client, who is known by client_secret_post.
func (r request) in(c Client) request {
	r.body += "&client_id=" + url.QueryEscape(c.ID) + "&client_secret=" + url.QueryEscape(c.Secret)
	return r
}

var clientCredentials = form(tokenPath, "grant_type", "client_credentials")

func (p *probe) oauthToken() (string, error) {
	c, err := p.credentials.client()
	if err != nil {
		return "", err
	}
	return p.clientToken(c)
}

func (p *probe) clientToken(c Client) (string, error) {
	a, err := p.ask(clientCredentials.as(c))
	return got(a, err, "access_token")
}

// The answers of contract 4.
var (
	isOAuthToken = all(
		answers(http.StatusOK, body(object{"access_token": isToken, "token_type": "Bearer", "expires_in": number, "scope?": text})),
		without("WWW-Authenticate"), expiresIn,
	)
	isOAuthPair = all(
		answers(http.StatusOK, body(object{"access_token": isToken, "token_type": "Bearer", "expires_in": number, "scope?": text, "refresh_token": isToken})),
		without("WWW-Authenticate"), expiresIn,
	)
	badRequest = oauthRefuses(http.StatusBadRequest, "invalid_request")
	badGrant   = oauthRefuses(http.StatusBadRequest, "invalid_grant")
	badClient  = all(oauthRefuses(http.StatusUnauthorized, "invalid_client"), challenge(basicRealm))
	inactive   = answers(http.StatusOK, body(object{"active": false}))
	revoked    = all(status(http.StatusOK), told, noStore)
)

// expiresIn checks what is said of a token against its claims.
func expiresIn(a answer) error {
	t, err := open(a.str("access_token"))
	if err != nil {
		return err
	}
	var problems []error
	if in, life := a.int("expires_in"), t.int("exp")-t.int("iat"); in < life-1 || in > life {
		problems = append(problems, fmt.Errorf("expires_in is %d, wanted the token's life, %d", in, life))
	}
	if got := a.str("scope"); got != t.str("scope") {
		problems = append(problems, fmt.Errorf("scope is %q, wanted the token's, %q", got, t.str("scope")))
	}
	return errors.Join(problems...)
}

// active is what introspection says of a live token that is a bearer's.
func active(raw string) check { return activeAs(raw, object{"token_type": "Bearer"}) }

// activeAs is what it says of a live token, besides what the token says.
func activeAs(raw string, shape object) check {
	t, err := open(raw)
	if err != nil {
		return func(answer) error { return err }
	}
	shape["active"], shape["scope?"] = true, text
	for _, claim := range []string{"iss", "sub", "aud", "jti"} {
		shape[claim] = t.str(claim)
	}
	for _, claim := range []string{"iat", "nbf", "exp"} {
		shape[claim] = int(t.int(claim))
	}
	return answers(http.StatusOK, body(shape))
}

// A client is a row that needs one.
func client(name string, run func(p *probe, c Client) error) row {
	return row{name: name, run: func(p *probe) error {
		c, err := p.credentials.client()
		if err != nil {
			return err
		}
		return run(p, c)
	}}
}

// clientAsks is a row of one request by a client.
func clientAsks(name string, of func(c Client) request, wanted check) row {
	return client(name, func(p *probe, c Client) error { return p.expect(of(c), wanted) })
}

func (k *Kit) oauth() []row {
	creds := &k.config.Credentials
	at := "POST /oauth/token, "
	rows := []row{
		clientAsks(at+"client_credentials, client_secret_basic → 200", func(c Client) request { return clientCredentials.as(c) }, isOAuthToken),
		clientAsks(at+"client_credentials, client_secret_post → 200", func(c Client) request { return clientCredentials.in(c) }, isOAuthToken),
		clientAsks(at+"client authentication in both ways → 400 invalid_request", func(c Client) request { return clientCredentials.in(c).as(c) }, badRequest),
		clientAsks(at+"Authorization twice → 400 invalid_request", func(c Client) request { return clientCredentials.as(c).as(c) }, badRequest),
		clientAsks(at+"another client_id in the body → 400 invalid_request", func(c Client) request {
			return form(tokenPath, "grant_type", "client_credentials", "client_id", "u_conformanobod").as(c)
		}, badRequest),
		asks(at+"no client → 401 invalid_client", clientCredentials, badClient),
		asks(at+"unknown client → 401 invalid_client", clientCredentials.as(Client{ID: "u_conformanobod", Secret: "conform"}), badClient),
		clientAsks(at+"wrong secret → 401 invalid_client", func(c Client) request { return clientCredentials.as(Client{ID: c.ID, Secret: "conform-is-not-it"}) }, badClient),
		clientAsks(at+"client of another environment → 401 invalid_client", func(c Client) request {
			return clientCredentials.as(Client{ID: otherEnvironment(c.ID), Secret: c.Secret})
		}, badClient),
		clientAsks(at+"the client in the query → 401 invalid_client", func(c Client) request {
			r := clientCredentials
			r.target += "?client_id=" + url.QueryEscape(c.ID) + "&client_secret=conform"
			return r
		}, badClient),
		k.clientGiven(at+"client revoked → 401 invalid_client", "oauth.revoked", creds.OAuth.Revoked, badClient),
		k.clientGiven(at+"address not allowed → 403 access_denied", "oauth.blocked", creds.OAuth.Blocked, oauthRefuses(http.StatusForbidden, "access_denied")),
		clientAsks(at+"a scope that the client does not have → 400 invalid_scope", func(c Client) request {
			return form(tokenPath, "grant_type", "client_credentials", "scope", "conform:nobody-has-this").as(c)
		}, oauthRefuses(http.StatusBadRequest, "invalid_scope")),
		clientAsks(at+"unknown grant → 400 unsupported_grant_type", func(c Client) request { return form(tokenPath, "grant_type", "password").as(c) },
			oauthRefuses(http.StatusBadRequest, "unsupported_grant_type")),
		clientAsks(at+"no grant_type → 400 invalid_request", func(c Client) request { return form(tokenPath, "scope", "x").as(c) }, badRequest),
		clientAsks(at+"empty → 400 invalid_request", func(c Client) request { return form(tokenPath).as(c) }, badRequest),
		clientAsks(at+"a parameter twice → 400 invalid_request", func(c Client) request {
			return form(tokenPath, "grant_type", "client_credentials", "grant_type", "client_credentials").as(c)
		}, badRequest),
		clientAsks(at+"scope twice → 400 invalid_request", func(c Client) request {
			return form(tokenPath, "grant_type", "client_credentials", "scope", "a", "scope", "b").as(c)
		}, badRequest),
		clientAsks(at+"half an escape → 400 invalid_request", func(c Client) request { return post(tokenPath, formType, "grant_type=%6").as(c) }, badRequest),
		clientAsks(at+"JSON → 415 invalid_request", func(c Client) request {
			return post(tokenPath, "application/json", `{"grant_type":"client_credentials"}`).as(c)
		}, oauthRefuses(http.StatusUnsupportedMediaType, "invalid_request")),
		asks(at+"body over 64 KiB → 413 invalid_request", form(tokenPath, "a", strings.Repeat("x", 64<<10)), oauthRefuses(http.StatusRequestEntityTooLarge, "invalid_request")),
		clientAsks(at+"refresh_token missing → 400 invalid_request", func(c Client) request { return form(tokenPath, "grant_type", "refresh_token").as(c) }, badRequest),
		clientAsks(at+"refresh_token unknown → 400 invalid_grant", func(c Client) request { return renewal("abc").as(c) }, badGrant),
		token("OAUTH_ACCESS", 60*60, (*probe).oauthToken),
	}
	for _, path := range []string{tokenPath, introspectPath, revokePath} {
		rows = append(rows, methods(OAuth, path, http.MethodPost)...)
	}
	rows = append(rows, methods("", metadataPath, http.MethodGet)...)
	rows = append(rows, methods("", getKeys.target, http.MethodGet)...)
	rows = append(rows, k.refreshGrant()...)
	rows = append(rows, k.introspection()...)
	rows = append(rows, k.revocation()...)
	rows = append(rows, k.signingClients()...)
	rows = append(rows, k.proofs()...)
	return append(
		rows,
		row{name: "GET " + metadataPath + " → 200, and its members", run: published},
		row{name: "GET /.well-known/jwks.json → 200, with public keys alone", run: keySetRow},
		limited(OAuth, clientCredentials, http.StatusUnauthorized, refusal(OAuth, http.StatusTooManyRequests)),
	)
}

func (k *Kit) clientGiven(name, member string, c *Client, wanted check) row {
	if c == nil {
		c = new(Client)
	}
	return given(name, member, c.ID != "", clientCredentials.as(*c), wanted)
}

func renewal(token string) request {
	return form(tokenPath, "grant_type", "refresh_token", "refresh_token", token)
}

// A family is a client and a login of contract 3 of one account.
func family(name string, run func(p *probe, c Client, s pair) error) row {
	return client(name, func(p *probe, c Client) error {
		s, err := p.signIn()
		if err != nil {
			return err
		}
		own, err := p.shared(OAuth)
		if err != nil {
			return err
		}
		mine, err := open(own)
		if err != nil {
			return err
		}
		theirs, err := open(s.access)
		if err != nil {
			return err
		}
		if mine.str("sub") != theirs.str("sub") {
			return skip("oauth.client_id and b2b.username are of different accounts")
		}
		return run(p, c, s)
	})
}

// strangers is a row about a client and a token of another account's: the token is of oauth, and the client is oauth.other.
func strangers(name string, run func(p *probe, stranger, owner Client, token string) error) row {
	return client(name, func(p *probe, c Client) error {
		other, err := p.credentials.other()
		if err != nil {
			return err
		}
		token, err := p.clientToken(c)
		if err != nil {
			return err
		}
		return run(p, other, c, token)
	})
}

func (k *Kit) refreshGrant() []row {
	at := "POST /oauth/token, refresh_token: "
	return []row{
		family(at+"→ 200, a pair of contract 3 of the same session", func(p *probe, c Client, s pair) error {
			a, err := p.ask(renewal(s.refresh).as(c))
			if err != nil {
				return err
			}
			if err := isOAuthPair(a); err != nil {
				return err
			}
			before, err := open(s.access)
			if err != nil {
				return err
			}
			after, err := open(a.str("access_token"))
			if err != nil {
				return err
			}
			return errors.Join(
				same(before, after, "type", "sub", "cid", "sid", "aud", "auth_time"),
				p.does(refreshWith(a.str("refresh_token")), isPair, errRefreshDead),
			)
		}),
		family(at+"already used → 400 invalid_grant", func(p *probe, c Client, s pair) error {
			if _, err := p.ask(renewal(s.refresh).as(c)); err != nil {
				return err
			}
			return p.expect(renewal(s.refresh).as(c), badGrant)
		}),
		family(at+"an access token → 400 invalid_grant", func(p *probe, c Client, s pair) error {
			return p.expect(renewal(s.access).as(c), badGrant)
		}),
		family(at+"without the client → 401 invalid_client, and it stays good", func(p *probe, _ Client, s pair) error {
			return errors.Join(p.expect(renewal(s.refresh), badClient), p.does(refreshWith(s.refresh), isPair, errRefreshDead))
		}),
		family(at+"a repeat with the same Idempotency-Key → 200, the same tokens", func(p *probe, c Client, s pair) error {
			first, err := p.ask(renewal(s.refresh).as(c).with(anIdempotencyKey))
			if err != nil {
				return err
			}
			second, err := p.ask(renewal(s.refresh).as(c).with(anIdempotencyKey))
			if err != nil {
				return err
			}
			if err := errors.Join(isOAuthPair(first), isOAuthPair(second)); err != nil {
				return err
			}
			if first.str("access_token") != second.str("access_token") || first.str("refresh_token") != second.str("refresh_token") {
				return errors.New("the tokens differ")
			}
			return nil
		}),
		family(at+"of another account → 400 invalid_grant, and it stays good", func(p *probe, _ Client, s pair) error {
			other, err := p.credentials.other()
			if err != nil {
				return err
			}
			return errors.Join(p.expect(renewal(s.refresh).as(other), badGrant), p.does(refreshWith(s.refresh), isPair, errRefreshDead))
		}),
	}
}

func introspect(token string) request { return form(introspectPath, "token", token) }

func (k *Kit) introspection() []row {
	at := "POST /oauth/introspect, "
	return []row{
		client(at+"its own live token → 200, what the token says", func(p *probe, c Client) error {
			token, err := p.shared(OAuth)
			if err != nil {
				return err
			}
			return errors.Join(p.expect(introspect(token).as(c), active(token)), p.expect(introspect(token).in(c), active(token)))
		}),
		family(at+"a live token of contract 3 → 200, what the token says", func(p *probe, c Client, s pair) error {
			return p.expect(introspect(s.access).as(c), active(s.access))
		}),
		family(at+"a token after its logout → {\"active\":false}", func(p *probe, c Client, s pair) error {
			if err := p.expect(logoutWith(s.access), signedOut); err != nil {
				return err
			}
			return errors.Join(p.expect(introspect(s.access).as(c), inactive), p.expect(introspect(s.refresh).as(c), inactive))
		}),
		clientAsks(at+"no token of ours → {\"active\":false}", func(c Client) request { return introspect("abc").as(c) }, inactive),
		client(at+"a token with another signature → {\"active\":false}", func(p *probe, c Client) error {
			token, err := p.shared(OAuth)
			if err != nil {
				return err
			}
			return p.expect(introspect(resigned(token)).as(c), inactive)
		}),
		strangers(at+"a token of another account → {\"active\":false}", func(p *probe, stranger, _ Client, token string) error {
			return p.expect(introspect(token).as(stranger), inactive)
		}),
		clientAsks(at+"token missing → 400 invalid_request", func(c Client) request { return form(introspectPath, "a", "b").as(c) }, badRequest),
		clientAsks(at+"token twice → 400 invalid_request", func(c Client) request { return form(introspectPath, "token", "a", "token", "b").as(c) }, badRequest),
		asks(at+"no client → 401 invalid_client", introspect("abc"), badClient),
		client(at+"a bearer token for a client → 401 invalid_client", func(p *probe, _ Client) error {
			token, err := p.shared(OAuth)
			if err != nil {
				return err
			}
			return p.expect(introspect(token).with(bearer(token)), badClient)
		}),
	}
}

func revocation(token string) request { return form(revokePath, "token", token) }

func (k *Kit) revocation() []row {
	at := "POST /oauth/revoke, "
	return []row{
		client(at+"its own token → 200, and the token is dead", func(p *probe, c Client) error {
			token, err := p.clientToken(c)
			if err != nil {
				return err
			}
			return errors.Join(
				p.expect(revocation(token).as(c), revoked),
				p.does(introspect(token).as(c), inactive, errors.New("the token lives on")),
				p.does(revocation(token).as(c), revoked, errors.New("a second time is no error")),
			)
		}),
		family(at+"a refresh token → 200, and everything renewed from it is dead", func(p *probe, c Client, s pair) error {
			next, err := p.refreshed(s.refresh)
			if err != nil {
				return err
			}
			return errors.Join(
				p.expect(revocation(next.refresh).as(c), revoked),
				p.does(refreshWith(next.refresh), noRefresh, errSessionLives),
				p.does(logoutWith(s.access), all(noAccess, because("The access token was revoked")), errSessionLives),
			)
		}),
		strangers(at+"a token of another account → 200, without effect", func(p *probe, stranger, owner Client, token string) error {
			return errors.Join(
				p.expect(revocation(token).as(stranger), revoked),
				p.does(introspect(token).as(owner), active(token), errors.New("the token is dead")),
			)
		}),
		clientAsks(at+"no token of ours → 200", func(c Client) request { return revocation("abc").as(c) }, revoked),
		clientAsks(at+"token missing → 400 invalid_request", func(c Client) request { return form(revokePath, "a", "b").as(c) }, badRequest),
		asks(at+"no client → 401 invalid_client", revocation("abc"), badClient),
	}
}

// published judges the metadata. Endpoints are told by their paths: how clients reach the server, it knows itself.
func published(p *probe) error {
	a, err := p.ask(get(metadataPath))
	if err != nil {
		return err
	}
	v, err := decode(a.body)
	if err != nil {
		return fmt.Errorf("the body is not JSON as it should be: %w", err)
	}
	members, _ := v.(map[string]any)
	problems := []error{all(status(http.StatusOK), told, isJSON)(a)}
	for member, path := range map[string]string{
		"token_endpoint": tokenPath, "introspection_endpoint": introspectPath, "revocation_endpoint": revokePath, "jwks_uri": getKeys.target,
	} {
		if s, _ := members[member].(string); !strings.HasSuffix(s, path) || !strings.Contains(s, "://") {
			problems = append(problems, fmt.Errorf("%s is %s, wanted a URL that ends in %s", member, show(members[member]), path))
		}
	}
	for member, wanted := range map[string][]string{
		"grant_types_supported": {"client_credentials"}, "token_endpoint_auth_methods_supported": {"client_secret_basic", "client_secret_post"},
	} {
		if list := show(members[member]); texts(members[member]) != nil {
			problems = append(problems, fmt.Errorf("%s is %s, wanted a list", member, list))
		} else {
			for _, one := range wanted {
				if !strings.Contains(list, `"`+one+`"`) {
					problems = append(problems, fmt.Errorf("%s is %s, without %s", member, list, one))
				}
			}
		}
	}
	token, err := p.shared(OAuth)
	if err != nil {
		return errors.Join(append(problems, unlessSkipped(err), fits("issuer", text, members["issuer"]))...)
	}
	t, err := open(token)
	if err != nil {
		return errors.Join(append(problems, err)...)
	}
	return errors.Join(append(problems, fits("issuer", t.str("iss"), members["issuer"]))...)
}

// unlessSkipped is err, but nil where it only says what the credentials lack.
func unlessSkipped(err error) error {
	if errors.As(err, new(skip)) {
		return nil
	}
	return err
}

// keySetRow judges the key set.
func keySetRow(p *probe) error {
	a, err := p.ask(getKeys)
	if err != nil {
		return err
	}
	if err := all(status(http.StatusOK), told, isJSON)(a); err != nil {
		return err
	}
	keys, _ := a.at("keys").([]any)
	var problems []error
	for i, one := range keys {
		key, _ := one.(map[string]any)
		at := fmt.Sprintf("keys[%d]", i)
		problems = append(problems, fits(at+".kty", text, key["kty"]), fits(at+".kid", text, key["kid"]))
		for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "k"} {
			if _, there := key[private]; there {
				problems = append(problems, fmt.Errorf("%s has %q, which is secret", at, private))
			}
		}
	}
	if keys == nil {
		problems = append(problems, errors.New("keys is not a list"))
	}
	return errors.Join(problems...)
}
