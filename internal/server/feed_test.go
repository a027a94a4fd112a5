package server

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	_ "modernc.org/sqlite" // to change a database from outside

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/registry"
	"github.com/gatehouse/gatehouse/verify"
	"github.com/gatehouse/gatehouse/verify/remote"
)

// elsewhere is a verifier in another service, which follows this server over a socket until the test ends. Its clock is the
// server's, plus what the test adds.
func (w *world) elsewhere(url string) (v *remote.Verifier, ahead *atomic.Int64) {
	w.t.Helper()
	id, secret := w.reader()
	ahead = new(atomic.Int64)
	v, err := remote.New(remote.Config{
		URL: url, Credentials: func() (string, string, error) { return id, secret, nil },
		Issuers: []string{w.config().Issuer}, Seen: 1000,
		Now: func() time.Time { return time.Now().Add(time.Duration(w.offset.Load() + ahead.Load())) },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- v.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
	if err := v.Wait(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return v, ahead
}

// reader is a client that may read the feed, of an account that nothing happens to.
func (w *world) reader() (id, secret string) {
	w.t.Helper()
	a, err := w.Registry().CreateAccount(w.t.Context(), operator, "Ourselves", "")
	if err != nil {
		w.t.Fatal(err)
	}
	issued, err := w.Registry().CreateCredential(w.t.Context(), operator, registry.NewCredential{Account: a.ID, Kind: auth.OAuth, Scopes: []string{"gatehouse:revocations"}})
	if err != nil {
		w.t.Fatal(err)
	}
	return issued.Reveal()
}

// soon waits until f says yes, for as long as a slow machine may need.
func soon(t *testing.T, otherwise string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(otherwise)
		}
	}
}

func (w *world) url() string { return "http://" + w.Addr() }

// exchanged is a token of each contract.
func (w *world) exchanged(scopes ...string) (tokens []string, credentials []auth.CredentialID) {
	w.t.Helper()
	basic := func(id, secret string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
	}
	take := func(c auth.Credential, token string) {
		if token == "" {
			w.t.Fatalf("no token for the %s", c.Kind)
		}
		tokens, credentials = append(tokens, token), append(credentials, c.ID)
	}
	c, key, _ := w.issue(auth.APIKey, scopes...)
	var body struct{ Data struct{ Token string } }
	w.ask("GET", "/authentication", "", "X-LIQUID-API-KEY", key).decode(w.t, &body)
	take(c, body.Data.Token)
	c, id, secret := w.issue(auth.Basic, scopes...)
	var order struct{ Token string }
	w.ask("GET", "/order-authentication", "", "Authorization", basic(id, secret)).decode(w.t, &order)
	take(c, order.Token)
	c, id, secret = w.issue(auth.Login, scopes...)
	p, _ := w.login(id, secret)
	take(c, p.Access)
	c, id, secret = w.issue(auth.OAuth, scopes...)
	var client struct {
		Token string `json:"access_token"`
	}
	w.form("/oauth/token", id, secret, "grant_type=client_credentials").decode(w.t, &client)
	take(c, client.Token)
	return tokens, credentials
}

// Whatever is done to accounts, credentials, sessions and keys, in whatever order: a verifier elsewhere comes to decide as the
// server does, about tokens of every contract.
func TestAVerifierElsewhereDecidesAsTheServer(t *testing.T) {
	w := newWorld(t, unlimited)
	early, _ := w.elsewhere(w.url())
	var tokens []string
	var credentials []auth.CredentialID
	var accounts []auth.AccountID
	for range 3 {
		a, err := w.Registry().CreateAccount(t.Context(), operator, "Customer", "")
		if err != nil {
			t.Fatal(err)
		}
		w.account = a.ID
		accounts = append(accounts, a.ID)
		for range 3 {
			more, of := w.exchanged("orders:read", "orders:write")
			tokens, credentials = append(tokens, more...), append(credentials, of...)
		}
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	draw := rand.New(rand.NewPCG(seed, 0))
	one := func() auth.CredentialID { return credentials[draw.IntN(len(credentials))] }
	whose := func() auth.AccountID { return accounts[draw.IntN(len(accounts))] }
	r := w.Registry()
	acts := []func() error{
		func() error {
			_, err := r.SuspendAccount(t.Context(), operator, whose(), draw.IntN(2) == 0)
			return err
		},
		func() error {
			if draw.IntN(4) != 0 { // there are but three
				return nil
			}
			_, err := r.DeleteAccount(t.Context(), operator, whose())
			return err
		},
		func() error { _, err := r.ResumeAccount(t.Context(), operator, whose()); return err },
		func() error { _, err := r.RevokeCredential(t.Context(), operator, one()); return err },
		func() error {
			scope := []string{"", "orders:read", "orders:read orders:write", "orders:write gatehouse:revoke"}[draw.IntN(4)]
			_, err := r.UpdateCredential(t.Context(), operator, one(), auth.CredentialUpdate{Scope: &scope})
			return err
		},
		func() error {
			end := time.Now().Add(time.Duration(draw.IntN(3)-1) * time.Hour)
			_, err := r.UpdateCredential(t.Context(), operator, one(), auth.CredentialUpdate{ExpiresAt: &end})
			return err
		},
		func() error {
			_, err := r.RotateCredential(t.Context(), operator, one(), time.Time{}, true)
			return err
		},
		func() error { w.logout(tokens[draw.IntN(len(tokens))]); return nil },
		func() error {
			sessions, err := r.Sessions(t.Context(), operator, auth.SessionQuery{Account: whose(), LiveOnly: true})
			if err != nil || len(sessions) == 0 {
				return err
			}
			_, err = r.RevokeSession(t.Context(), operator, sessions[0].ID, sessions[0].Account)
			return err
		},
	}
	agree := func(v *remote.Verifier) (why string) {
		for _, token := range tokens {
			here, _, err := w.Gate().Verify(t.Context(), token, auth.Caller{}, auth.Want{Types: verify.Types})
			there, errThere := v.Verify(token, verify.Types)
			if (err == nil) != (errThere == nil) || err == nil && here.Scope != there.Scope {
				return fmt.Sprintf("%s: here %v %q, elsewhere %v %q", token, err, here.Scope, errThere, there.Scope)
			}
		}
		return ""
	}
	for i := range 60 {
		err := acts[draw.IntN(len(acts))]()
		if kind := auth.AsError(err).Kind; err != nil && kind != auth.Conflict && kind != auth.Invalid && kind != auth.NotFound {
			t.Fatal(err)
		}
		if i%10 == 0 {
			if a, err := r.Account(t.Context(), operator, w.account.String()); err == nil && !a.Suspended() {
				more, of := w.exchanged("orders:read", "orders:write")
				tokens, credentials = append(tokens, more...), append(credentials, of...)
			}
		}
		soon(t, "they never come to agree", func() bool { return agree(early) == "" })
	}
	late, _ := w.elsewhere(w.url()) // which has heard nothing of how it came to this
	if why := agree(late); why != "" {
		t.Error(why)
	}
	signing, _ := w.opened.Rings.Signers(w.opened.DB.Now())
	if _, err := r.RevokeSigningKey(t.Context(), operator, signing); err != nil {
		t.Fatal(err)
	}
	for _, v := range []*remote.Verifier{early, late} {
		soon(t, "a token of a revoked key is still good", func() bool {
			_, err := v.Verify(tokens[0], verify.Types)
			return errors.Is(err, verify.ErrSignature)
		})
	}
}

func TestWhoIsCutOffFromTheFeedRefusesPastHisBound(t *testing.T) {
	w := newWorld(t, unlimited)
	v, ahead := w.elsewhere(w.url())
	tokens, _ := w.exchanged()
	if _, err := v.Verify(tokens[0], verify.Types); err != nil {
		t.Fatal(err)
	}
	w.stop()
	ahead.Store(int64(30 * time.Second))
	if _, err := v.Verify(tokens[0], verify.Types); err != nil {
		t.Errorf("within its bound: %v", err)
	}
	ahead.Store(int64(time.Minute))
	if _, err := v.Verify(tokens[0], verify.Types); !errors.Is(err, verify.ErrUnknown) {
		t.Errorf("past its bound: %v", err)
	}
}

// A proxy hands requests to whatever server runs now.
type proxy struct{ to atomic.Pointer[string] }

func (p *proxy) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Host = *p.to.Load()
	return http.DefaultTransport.RoundTrip(r)
}

func TestWhoSeesAnotherIncarnationLoadsEverythingAnew(t *testing.T) {
	w := newWorld(t, unlimited)
	id, secret := w.reader()
	tokens, credentials := w.exchanged()
	if _, err := w.Registry().RevokeCredential(t.Context(), operator, credentials[0]); err != nil {
		t.Fatal(err)
	}
	p := new(proxy)
	p.to.Store(new(w.Addr()))
	v, err := remote.New(remote.Config{
		URL: "http://localhost", Credentials: func() (string, string, error) { return id, secret, nil },
		Issuers: []string{w.config().Issuer}, Client: &http.Client{Transport: p},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = v.Run(ctx) }()
	if err := v.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	good := func(token string) bool { _, err := v.Verify(token, verify.Types); return err == nil }
	if good(tokens[0]) || !good(tokens[1]) {
		t.Fatal("the first token is dead, the second is alive")
	}

	// The database is put back to before the revocation, as another incarnation.
	w.stop()
	db, err := sql.Open("sqlite", filepath.Join(w.dir, "gatehouse.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		`UPDATE meta SET incarnation = 'another'`,
		`UPDATE credentials SET revoked_at = NULL, restricted_at = NULL, dead_below = 0`,
		`DELETE FROM changes`, `UPDATE log_head SET head = 1`,
	} {
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(statement, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	w.start(unlimited)
	p.to.Store(new(w.Addr()))
	soon(t, "the new incarnation was not loaded", func() bool { return good(tokens[0]) && good(tokens[1]) })
	if _, err := w.Registry().RevokeCredential(t.Context(), operator, credentials[1]); err != nil {
		t.Fatal(err)
	}
	soon(t, "the new incarnation is not followed", func() bool { return !good(tokens[1]) })
}

func TestWhoMayReadTheFeed(t *testing.T) {
	w := newWorld(t, unlimited)
	get := func(id, secret string) answer {
		return w.ask("GET", "/.well-known/gatehouse-revocations", "", "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(id+":"+secret)))
	}
	c, id, secret := w.issue(auth.OAuth, "gatehouse:revocations", "orders:read")
	if a := get(id, secret); a.Code != http.StatusOK {
		t.Errorf("with the scope: %d %s", a.Code, a.Body)
	}
	_, other, itsSecret := w.issue(auth.OAuth, "gatehouse:introspect", "revocations")
	if a := get(other, itsSecret); a.Code != http.StatusForbidden {
		t.Errorf("without the scope: %d %s", a.Code, a.Body)
	}
	_, login, password := w.issue(auth.Login, "gatehouse:revocations")
	if a := get(login, password); a.Code != http.StatusUnauthorized {
		t.Errorf("a credential of another kind: %d %s", a.Code, a.Body)
	}
	if _, err := w.Registry().RevokeCredential(t.Context(), operator, c.ID); err != nil {
		t.Fatal(err)
	}
	if a := get(id, secret); a.Code != http.StatusUnauthorized {
		t.Errorf("revoked: %d %s", a.Code, a.Body)
	}
	w = newWorld(t, unlimited+"contracts: {oauth: {enabled: false}}")
	if a := get(id, secret); a.Code != http.StatusNotFound {
		t.Errorf("with the contract disabled: %d %s", a.Code, a.Body)
	}
	w = newWorld(t, unlimited+"tokens: {algorithm: HS256}")
	_, id, secret = w.issue(auth.OAuth, "gatehouse:revocations")
	if a := get(id, secret); a.Code != http.StatusNotImplemented {
		t.Errorf("with shared secrets: %d %s", a.Code, a.Body)
	}
}

// Who waits is answered when the server ends, and keeps nobody waiting.
func TestAServerThatEndsAnswersThoseWhoWait(t *testing.T) {
	w := newWorld(t, unlimited)
	_, id, secret := w.issue(auth.OAuth, "gatehouse:revocations")
	ask := func(query string) (*http.Response, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url()+"/.well-known/gatehouse-revocations"+query, nil)
		if err != nil {
			return nil, err
		}
		req.SetBasicAuth(id, secret)
		return http.DefaultClient.Do(req)
	}
	res, err := ask("")
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(res.Body).ReadString('\n')
	res.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	payload, _ := base64.RawURLEncoding.DecodeString(strings.Split(line, ".")[1])
	_, after, _ := strings.Cut(string(payload), `"incarnation":"`)
	incarnation, _, _ := strings.Cut(after, `"`)
	answered := make(chan error, 1)
	go func() {
		res, err := ask(fmt.Sprintf("?after=%s.%d&wait=30", incarnation, w.follower.Applied()))
		if err == nil {
			_, err = io.ReadAll(res.Body)
			res.Body.Close()
			if res.StatusCode != http.StatusOK {
				err = errors.New(res.Status)
			}
		}
		answered <- err
	}()
	soon(t, "nobody waits", func() bool { return w.feed.Waiting() == 1 })
	w.stop()
	if err := <-answered; err != nil {
		t.Errorf("who waited got %v", err)
	}
}
