package conform

import (
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"
)

// What contract 4 takes that is signed: clients in place of a secret (RFC 7523), and proofs that a token is bound to a key by
// (RFC 9449). A server need speak neither, so both are judged where its metadata announce them.

// described are the server's metadata, asked for once.
func (p *probe) described() (map[string]any, error) {
	if p.kit.described == nil {
		a, err := p.ask(get(metadataPath))
		if err != nil {
			return nil, err
		}
		v, err := decode(a.body)
		members, ok := v.(map[string]any)
		if err != nil || !ok || a.status != http.StatusOK {
			return nil, fmt.Errorf("there are no metadata: the status is %d", a.status)
		}
		p.kit.described = members
	}
	return p.kit.described, nil
}

// announced are the metadata, if a list in them has one of these; none stands for any.
func (p *probe) announced(member string, oneOf ...string) (map[string]any, error) {
	members, err := p.described()
	if err != nil {
		return nil, err
	}
	for _, one := range oneOf {
		list, _ := members[member].([]any)
		for _, has := range list {
			if has == one {
				return members, nil
			}
		}
	}
	return nil, skip(fmt.Sprintf("the metadata do not announce %s in %s", strings.Join(oneOf, " or "), member))
}

// signed is a JWS whose header and claims are changed: nil leaves a member out, and a duration is a time from the server's now.
func (p *probe) signed(key signingKey, header, changeHeader, claims, changeClaims map[string]any) (string, error) {
	maps.Copy(header, changeHeader)
	maps.Copy(claims, changeClaims)
	for _, members := range []map[string]any{header, claims} {
		for name, value := range members {
			if from, ok := value.(time.Duration); ok {
				members[name] = time.Now().Add(p.kit.ahead + from).Unix()
			} else if value == nil {
				delete(members, name)
			}
		}
	}
	return key.jws(header, claims)
}

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// A signer is a client about to sign.
type signer struct {
	id     string
	key    signingKey
	issuer any // of the server, to which assertions are addressed
	p      *probe
}

// assertion is one that is good but for what change says.
func (s signer) assertion(header, change map[string]any) (string, error) {
	own := map[string]any{}
	if s.key.id != "" {
		own["kid"] = s.key.id
	}
	return s.p.signed(s.key, own, header, map[string]any{
		"iss": s.id, "sub": s.id, "aud": s.issuer, "iat": time.Duration(0), "exp": time.Minute, "jti": rand.Text(),
	}, change)
}

func asserted(r request, assertion string) request {
	r.body += "&client_assertion_type=" + strings.ReplaceAll(assertionType, ":", "%3A") + "&client_assertion=" + assertion
	return r
}

// signs is a row that needs a client that signs.
func signs(name, member string, run func(p *probe, s signer) error) row {
	return row{name: name, run: func(p *probe) error {
		given, err := p.credentials.signer()
		if err != nil {
			return err
		}
		members, err := p.announced(member, "private_key_jwt")
		if err != nil {
			return err
		}
		key, err := readKey(given.Key)
		if err != nil {
			return fmt.Errorf("oauth.signer: %w", err)
		}
		return run(p, signer{given.ID, key, members["issuer"], p})
	}}
}

// signedWrong is a row of an assertion that is wrong in one thing.
func signedWrong(name string, header, change map[string]any) row {
	return signs("POST /oauth/token, private_key_jwt: "+name+" → 401 invalid_client", "token_endpoint_auth_methods_supported", func(p *probe, s signer) error {
		a, err := s.assertion(header, change)
		if err != nil {
			return err
		}
		return p.expect(asserted(clientCredentials, a), badClient)
	})
}

func (k *Kit) signingClients() []row {
	const at, atToken = "POST /oauth/token, private_key_jwt: ", "token_endpoint_auth_methods_supported"
	return []row{
		signs(at+"→ 200, and the same assertion again → 401 invalid_client", atToken, func(p *probe, s signer) error {
			a, err := s.assertion(nil, nil)
			if err != nil {
				return err
			}
			return errors.Join(
				p.expect(asserted(clientCredentials, a), isOAuthToken),
				p.does(asserted(clientCredentials, a), badClient, errors.New("it counts twice")),
			)
		}),
		signs(at+"with a secret beside it → 400 invalid_request", atToken, func(p *probe, s signer) error {
			a, err := s.assertion(nil, nil)
			if err != nil {
				return err
			}
			return p.expect(asserted(clientCredentials.in(Client{ID: s.id, Secret: "conform"}), a), badRequest)
		}),
		signs(at+"by another key → 401 invalid_client", atToken, func(p *probe, s signer) error {
			other, err := newSigningKey()
			if err != nil {
				return err
			}
			other.id, s.key = s.key.id, other
			a, err := s.assertion(nil, nil)
			if err != nil {
				return err
			}
			return p.expect(asserted(clientCredentials, a), badClient)
		}),
		signedWrong("not signed", map[string]any{"alg": "none"}, nil),
		signedWrong("to another audience", nil, map[string]any{"aud": "https://conform.invalid"}),
		signedWrong("that expired", nil, map[string]any{"iat": -time.Hour, "exp": -59 * time.Minute}),
		signedWrong("without an end", nil, map[string]any{"exp": nil}),
		signedWrong("about another client", nil, map[string]any{"sub": "u_conformanobod"}),
		signedWrong("by an unknown client", nil, map[string]any{"iss": "u_conformanobod", "sub": "u_conformanobod"}),
		signs("POST /oauth/introspect, private_key_jwt: its own live token → 200, what the token says", "introspection_endpoint_auth_methods_supported", func(p *probe, s signer) error {
			first, err := s.assertion(nil, nil)
			if err != nil {
				return err
			}
			answered, err := p.ask(asserted(clientCredentials, first))
			token, err := got(answered, err, "access_token")
			if err != nil {
				return err
			}
			second, err := s.assertion(nil, nil)
			if err != nil {
				return err
			}
			return p.expect(asserted(introspect(token), second), active(token))
		}),
	}
}

// isBoundToken is what POST /oauth/token answers to a proof by key.
func isBoundToken(key signingKey) check {
	return all(
		answers(http.StatusOK, body(object{"access_token": isToken, "token_type": "DPoP", "expires_in": number, "scope?": text})),
		without("WWW-Authenticate"), expiresIn,
		func(a answer) error {
			t, err := open(a.str("access_token"))
			if err != nil {
				return err
			}
			return fits("the token's cnf", object{"jkt": key.thumbprint()}, t.claims["cnf"])
		},
	)
}

// A prover proves, in one row, that it holds a key.
type prover struct {
	key signingKey
	at  any // the token endpoint
	p   *probe
}

// proof is one for the token endpoint that is good but for what change and header say.
func (v prover) proof(header, change map[string]any) (string, error) {
	return v.p.signed(v.key, map[string]any{"typ": "dpop+jwt", "jwk": v.key.public}, header, map[string]any{
		"jti": rand.Text(), "htm": http.MethodPost, "htu": v.at, "iat": time.Duration(0),
	}, change)
}

// proves is a row of a client that proves to hold a key.
func proves(name string, run func(p *probe, c Client, v prover) error) row {
	return client(name, func(p *probe, c Client) error {
		members, err := p.announced("dpop_signing_alg_values_supported", "ES256")
		if err != nil {
			return err
		}
		key, err := newSigningKey()
		if err != nil {
			return err
		}
		return run(p, c, prover{key, members["token_endpoint"], p})
	})
}

var badProof = oauthRefuses(http.StatusBadRequest, "invalid_dpop_proof")

// provedWrong is a row of a proof that is wrong in one thing.
func provedWrong(name string, header, change map[string]any) row {
	return proves("POST /oauth/token, DPoP: a proof "+name+" → 400 invalid_dpop_proof", func(p *probe, c Client, v prover) error {
		proof, err := v.proof(header, change)
		if err != nil {
			return err
		}
		return p.expect(clientCredentials.as(c).with("DPoP: "+proof), badProof)
	})
}

func (k *Kit) proofs() []row {
	const at = "POST /oauth/token, DPoP: "
	bound := func(p *probe, c Client, v prover) (string, error) {
		proof, err := v.proof(nil, nil)
		if err != nil {
			return "", err
		}
		a, err := p.ask(clientCredentials.as(c).with("DPoP: " + proof))
		return got(a, err, "access_token")
	}
	return []row{
		proves(at+"→ 200, a token bound to the key, and the same proof again → 400 invalid_dpop_proof", func(p *probe, c Client, v prover) error {
			proof, err := v.proof(nil, nil)
			if err != nil {
				return err
			}
			r := clientCredentials.as(c).with("DPoP: " + proof)
			return errors.Join(
				p.expect(r, isBoundToken(v.key)),
				p.does(r, badProof, errors.New("it counts twice")),
			)
		}),
		proves(at+"two proofs → 400 invalid_dpop_proof", func(p *probe, c Client, v prover) error {
			first, err := v.proof(nil, nil)
			if err != nil {
				return err
			}
			second, err := v.proof(nil, nil)
			if err != nil {
				return err
			}
			return p.expect(clientCredentials.as(c).with("DPoP: "+first, "DPoP: "+second), badProof)
		}),
		proves(at+"a proof by another key than it names → 400 invalid_dpop_proof", func(p *probe, c Client, v prover) error {
			other, err := newSigningKey()
			if err != nil {
				return err
			}
			proof, err := v.proof(map[string]any{"jwk": other.public}, nil)
			if err != nil {
				return err
			}
			return p.expect(clientCredentials.as(c).with("DPoP: "+proof), badProof)
		}),
		provedWrong("that is none", map[string]any{"typ": "JWT"}, nil),
		provedWrong("not signed", map[string]any{"alg": "none"}, nil),
		provedWrong("without a key", map[string]any{"jwk": nil}, nil),
		provedWrong("of another method", nil, map[string]any{"htm": http.MethodGet}),
		provedWrong("of another address", nil, map[string]any{"htu": "https://conform.invalid" + tokenPath}),
		provedWrong("of an hour ago", nil, map[string]any{"iat": -time.Hour}),
		provedWrong("without a name", nil, map[string]any{"jti": nil}),
		proves("POST /oauth/introspect, a token bound to a key → 200, token_type DPoP and the key's thumbprint", func(p *probe, c Client, v prover) error {
			token, err := bound(p, c, v)
			if err != nil {
				return err
			}
			return p.expect(introspect(token).as(c), activeAs(token, object{"token_type": "DPoP", "cnf": object{"jkt": v.key.thumbprint()}}))
		}),
		proves("a token bound to a key, alone at a route → 401", func(p *probe, c Client, v prover) error {
			r, err := k.route(OAuth)
			if err != nil {
				return err
			}
			token, err := bound(p, c, v)
			if err != nil {
				return err
			}
			return p.expect(r.with(bearer(token)), all(status(http.StatusUnauthorized), told, isJSON, noStore))
		}),
	}
}
