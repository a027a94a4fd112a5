package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
)

// exchanges presents keys drawn at random.
type exchanges struct {
	keys   keyring
	random *rand.Rand
}

// A keyring holds keys of one length, end to end: a million strings would keep the collector busy while we measure.
type keyring struct {
	all    []byte
	length int
}

func newKeyring(keys []string) keyring {
	r := keyring{length: len(keys[0])}
	for _, k := range keys {
		if len(k) != r.length {
			panic("keys of different lengths")
		}
		r.all = append(r.all, k...)
	}
	return r
}

func (r keyring) len() int { return len(r.all) / r.length }

func (r keyring) at(i int) []byte { return r.all[i*r.length : (i+1)*r.length] }

func (e *exchanges) next(buf []byte) []byte {
	buf = append(buf, "GET /authentication HTTP/1.1\r\nHost: 127.0.0.1\r\nX-LIQUID-API-KEY: "...)
	buf = append(buf, e.keys.at(e.random.IntN(e.keys.len()))...)
	return append(buf, "\r\n\r\n"...)
}

func (e *exchanges) took(status int, body []byte) error { return want(201, status, body) }

// logins logs one user in, again and again.
type logins struct {
	request []byte
}

func newLogins(l login) *logins {
	return &logins{post("/auth/login", fmt.Appendf(nil, `{"username":%q,"password":%q}`, l.Username, l.Password))}
}

func (l *logins) next([]byte) []byte { return l.request }

func (l *logins) took(status int, body []byte) error { return want(200, status, body) }

// refreshes carries one session on: every answer has the refresh token of the next request.
type refreshes struct {
	token []byte
}

// newRefreshes logs a user in, on a connection of its own.
func newRefreshes(ctx context.Context, address string, l login) (*refreshes, error) {
	c, err := dial(ctx, address)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	status, body, err := c.ask(newLogins(l).request)
	if err != nil {
		return nil, err
	}
	r := new(refreshes)
	return r, r.took(status, body)
}

func (r *refreshes) next(buf []byte) []byte {
	buf = appendPostHead(buf, "/auth/refresh", len(`{"refresh_token":""}`)+len(r.token))
	buf = append(buf, `{"refresh_token":"`...)
	buf = append(buf, r.token...)
	return append(buf, `"}`...)
}

var refreshToken = []byte(`"refresh_token":"`)

func (r *refreshes) took(status int, body []byte) error {
	if err := want(200, status, body); err != nil {
		return err
	}
	_, rest, _ := bytes.Cut(body, refreshToken)
	token, _, ok := bytes.Cut(rest, []byte(`"`))
	if !ok {
		return errors.New("an answer without a refresh token")
	}
	r.token = append(r.token[:0], token...)
	return nil
}

// exchangeAll exchanges each key for a token.
func exchangeAll(ctx context.Context, address string, keys []string) ([]string, error) {
	c, err := dial(ctx, address)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var tokens []string
	for _, key := range keys {
		status, body, err := c.ask(newExchanges(newKeyring([]string{key}), 0).next(nil))
		if err == nil {
			err = want(201, status, body)
		}
		if err != nil {
			return nil, err
		}
		var answer struct{ Data struct{ Token string } }
		if err := json.Unmarshal(body, &answer); err != nil {
			return nil, err
		}
		tokens = append(tokens, answer.Data.Token)
	}
	return tokens, nil
}

// calls send one request again and again, and look whether the answer has what it must.
type calls struct {
	request []byte
	has     []byte // nil: anything
}

func (c *calls) next([]byte) []byte { return c.request }

func (c *calls) took(status int, body []byte) error {
	if err := want(200, status, body); err != nil {
		return err
	}
	if !bytes.Contains(body, c.has) {
		return fmt.Errorf("an answer without %s: %s", c.has, body)
	}
	return nil
}

// newCalls calls the API.
func newCalls(token string, _ bool) traffic {
	return &calls{fmt.Appendf(nil, "GET /api/things/4711 HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\nAccept: application/json\r\n\r\n", token), []byte(`{"id":4711,`)}
}

// newRenewals calls the API and asks for a new token, which the gateway adds to its answer.
func newRenewals(token string, gateway bool) traffic {
	const body = `{"sku":"A-4711","quantity":3,"refresh":true}`
	has := `{"id":4711,`
	if gateway {
		has = `,"auth":{"token":"`
	}
	return &calls{fmt.Appendf(nil, "POST /api/cart HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", token, len(body), body), []byte(has)}
}

// newQuestions ask as nginx does.
func newQuestions(token string, _ bool) traffic {
	return &calls{fmt.Appendf(nil, "GET /authz/nginx HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\nX-Original-Method: GET\r\nX-Original-URI: /api/things/4711\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n", token), nil}
}

// newIntrospections ask about a token.
func newIntrospections(c client, token string) traffic {
	body := "token=" + token
	return &calls{fmt.Appendf(nil, "POST /oauth/introspect HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s",
		base64.StdEncoding.EncodeToString([]byte(c.ID+":"+c.Secret)), len(body), body), []byte(`"active":true`)}
}

func want(want, status int, body []byte) error {
	if status != want {
		return fmt.Errorf("got status %d, want %d: %s", status, want, body)
	}
	return nil
}

func post(path string, body []byte) []byte {
	return append(appendPostHead(nil, path, len(body)), body...)
}

func appendPostHead(buf []byte, path string, length int) []byte {
	buf = append(buf, "POST "...)
	buf = append(buf, path...)
	buf = append(buf, " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: "...)
	buf = strconv.AppendInt(buf, int64(length), 10)
	return append(buf, "\r\n\r\n"...)
}
