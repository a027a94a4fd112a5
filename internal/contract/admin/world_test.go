package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/api"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/backup"
	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/contract/admin"
	"github.com/gatehouse/gatehouse/internal/registry"
	"github.com/gatehouse/gatehouse/internal/secret"
	"github.com/gatehouse/gatehouse/internal/server"
	tokens "github.com/gatehouse/gatehouse/internal/token"
	"github.com/gatehouse/gatehouse/internal/web"
	"github.com/gatehouse/gatehouse/internal/web/webtest"
)

// A world is the API on a socket, over a database of its own.
type world struct {
	*webtest.Server
	t      *testing.T
	opened *server.Opened
	offset atomic.Int64
	people atomic.Int64 // that were invited

	tokens map[string]auth.Actor
	broken error // of every token that is looked up; nil: they are not
	breaking
}

// breaking is a store in which something breaks before or after the next act, whatever that is.
type breaking struct {
	registry.Store
	mu            sync.Mutex
	before, after func() error // nil: nothing
	noteFails     atomic.Bool
}

func (b *breaking) around(do func() error) error {
	b.mu.Lock()
	before, after := b.before, b.after
	b.before, b.after = nil, nil
	b.mu.Unlock()
	if before != nil {
		if err := before(); err != nil {
			return err
		}
	}
	err := do()
	if err == nil && after != nil {
		err = after()
	}
	return err
}

func (b *breaking) Note(ctx context.Context, act auth.Act, about auth.Subject) error {
	if b.noteFails.Load() {
		return auth.ErrOverloaded.From(errors.New("the disk stands still"))
	}
	return b.Store.Note(ctx, act, about)
}

func (b *breaking) ExportAudit(ctx context.Context, to backup.Trail) error {
	return b.around(func() error { return b.Store.ExportAudit(ctx, to) })
}

func (b *breaking) CreateAccount(ctx context.Context, name, ref string, act auth.Act) (a auth.Account, err error) {
	err = b.around(func() error { a, err = b.Store.CreateAccount(ctx, name, ref, act); return err })
	return a, err
}

func (b *breaking) CreateCredential(ctx context.Context, c auth.Credential, act auth.Act) error {
	return b.around(func() error { return b.Store.CreateCredential(ctx, c, act) })
}

func (b *breaking) RotateSecret(ctx context.Context, id auth.CredentialID, digest []byte, pepper auth.KeyID, old time.Time, end bool, act auth.Act) (s auth.Secret, r auth.Revoked, err error) {
	err = b.around(func() error { s, r, err = b.Store.RotateSecret(ctx, id, digest, pepper, old, end, act); return err })
	return s, r, err
}

func (b *breaking) InvitePerson(ctx context.Context, p auth.Person, i auth.Invitation, act auth.Act) error {
	return b.around(func() error { return b.Store.InvitePerson(ctx, p, i, act) })
}

func (b *breaking) ResetPerson(ctx context.Context, account auth.AccountID, id auth.PersonID, i auth.Invitation, act auth.Act) error {
	return b.around(func() error { return b.Store.ResetPerson(ctx, account, id, i, act) })
}

func (b *breaking) CreateOperatorToken(ctx context.Context, o auth.OperatorToken, act auth.Act) error {
	return b.around(func() error { return b.Store.CreateOperatorToken(ctx, o, act) })
}

func (b *breaking) ReplaceAllowlist(ctx context.Context, id auth.AccountID, entries []auth.AllowEntry, was string, terms auth.Terms, acts []auth.Act) (r auth.Revoked, err error) {
	err = b.around(func() error { r, err = b.Store.ReplaceAllowlist(ctx, id, entries, was, terms, acts); return err })
	return r, err
}

func (w *world) Machine(_ context.Context, token string, from auth.Caller) (auth.Actor, error) {
	if w.broken != nil {
		return auth.Actor{}, w.broken
	}
	actor, ok := w.tokens[token]
	if !ok {
		return auth.Actor{}, auth.ErrBadToken.Because(auth.ReasonUnknown)
	}
	actor.Address, actor.RequestID = from.Address, from.RequestID
	return actor, nil
}

// token is an actor with the role and the scopes.
func token(name string, role auth.Role, scopes ...string) auth.Actor {
	return auth.Actor{Name: "token " + name, Role: role, Machine: true, Token: auth.OperatorTokenID("ot_" + name), Scopes: scopes}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldIn(t, "", "GATEHOUSE_DATA_DIR="+filepath.Join(t.TempDir(), "data"))
}

// newWorldIn is newWorld with a configuration file, and a database that variables of the environment name.
func newWorldIn(t *testing.T, file string, environ ...string) *world {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "gatehouse.yaml"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(config.Options{Environ: environ, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, tokens: map[string]auth.Actor{
		"gko_owner": token("owner", auth.RoleOwner, registry.Scopes()...), "gko_admin": token("admin", auth.RoleAdmin, registry.Scopes()...),
		"gko_viewer": token("viewer", auth.RoleViewer, registry.Scopes()...), "gko_member": token("member", auth.RoleDeveloper, registry.Scopes()...), "gko_nothing": token("nothing", auth.RoleOwner, "nothing:at-all"),
	}}
	now := func() time.Time { return time.Now().Add(time.Duration(w.offset.Load())) }
	if w.opened, err = server.Open(t.Context(), c, server.OpenOptions{Create: true, Now: now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.opened.Close(); err != nil {
			t.Error(err)
		}
	})
	w.Store = w.opened.DB
	if w.opened.Registry, err = registry.New(registry.Config{
		Store: &w.breaking, Rings: w.opened.Rings, Environment: c.Environment, KeyPrefix: c.KeyPrefix, Acknowledge: w.opened.Acknowledge, Now: now,
	}); err != nil {
		t.Fatal(err)
	}
	desks, err := w.opened.Desks(c)
	if err != nil {
		t.Fatal(err)
	}
	contract, err := admin.New(admin.Config{
		Desks: desks, Tokens: w, Repeats: w.opened.DB, Digest: w.opened.Rings.HandedOut, Realm: "gatehouse", Now: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Server = webtest.Serve(t, web.Config{
		Own: contract.Addresses(), Now: now, Fallbacks: []web.Fallback{{Refuse: contract.Refuse}},
	})
	return w
}

// ask sends a request, with a body of JSON unless it is "". headers are whole lines.
func (w *world) ask(token, method, path, body string, headers ...string) webtest.Answer {
	w.t.Helper()
	lines := []string{method + " " + path}
	if token != "" {
		lines = append(lines, "Authorization: Bearer "+token)
	}
	if body != "" {
		lines = append(lines, "Content-Type: application/json", fmt.Sprint("Content-Length: ", len(body)))
	}
	return w.Send(w.t, strings.Join(append(lines, headers...), "\n")+"\n\n"+body)
}

// must asks as an owner and decodes what is answered.
func (w *world) must(status int, method, path, body string, into any, headers ...string) webtest.Answer {
	w.t.Helper()
	a := w.ask("gko_owner", method, "/admin/v1"+path, body, headers...)
	if a.Status != status {
		w.t.Fatalf("%s %s %s: %d, want %d: %s", method, path, body, a.Status, status, a.Body)
	}
	if into != nil {
		if err := json.Unmarshal([]byte(a.Body), into); err != nil {
			w.t.Fatalf("%s %s: %v in %s", method, path, err, a.Body)
		}
	}
	return a
}

// problem asks as an owner and wants a failure of this code.
func (w *world) problem(code, method, path, body string, headers ...string) webtest.Answer {
	w.t.Helper()
	a := w.ask("gko_owner", method, "/admin/v1"+path, body, headers...)
	w.says(a, code)
	return a
}

func (w *world) says(a webtest.Answer, code string) {
	w.t.Helper()
	var p api.Problem
	if err := json.Unmarshal([]byte(a.Body), &p); err != nil || p.Code != code || p.Status != a.Status || p.Instance != a.RequestID ||
		p.Type != admin.Type(code) || p.Title == "" || p.Detail == "" || a.Header.Get("Content-Type") != "application/problem+json" {
		w.t.Errorf("got %d %s, want %s (%v)", a.Status, a.Body, code, err)
	}
}

func (w *world) account(name string) api.Account {
	w.t.Helper()
	var a api.Account
	w.must(201, "POST", "/accounts", `{"name":"`+name+`"}`, &a)
	return a
}

func (w *world) credential(account int64, kind string) api.Issued {
	w.t.Helper()
	var i api.Issued
	w.must(201, "POST", "/credentials", fmt.Sprintf(`{"account":%d,"kind":%q}`, account, kind), &i)
	return i
}

// person invites a viewer, among the operators or the members of an account.
func (w *world) person(at string) api.Person {
	w.t.Helper()
	var i api.Invited
	a := w.must(201, "POST", at, fmt.Sprintf(`{"email":"p%d@example.com","name":"Jane Doe","role":"viewer"}`, w.people.Add(1)), &i)
	if got, want := a.Header.Get("Location"), "/admin/v1"+at+"/"+i.ID; got != want {
		w.t.Errorf("they are at %s, want %s", got, want)
	}
	return i.Person
}

// reset takes a person's ways to sign in away.
func (w *world) reset(person string) (i api.Invited) {
	w.t.Helper()
	w.must(200, "POST", person+"/reset", "", &i)
	return i
}

func (w *world) operatorToken() (o api.OperatorToken) {
	w.t.Helper()
	w.must(201, "POST", "/operator-tokens", `{"name":"ci","role":"viewer","scopes":["accounts:read"]}`, &o)
	return o
}

// key makes the next signing key.
func (w *world) key() (k api.SigningKey) {
	w.t.Helper()
	w.must(201, "POST", "/signing-keys", "", &k)
	return k
}

// mint makes an access token of a credential of the account, and says which session it is of.
func (w *world) mint(account int64) (token, session string) {
	w.t.Helper()
	c := w.credential(account, "oauth")
	now := w.opened.DB.Now()
	session = string(secret.NewSessionID(now))
	token, err := w.opened.Rings.Mint(tokens.Order{
		Account: auth.AccountID(account), Credential: auth.CredentialID(c.ID), Session: auth.SessionID(session), Type: auth.OAuth2.Type(),
		AuthTime: now, Expires: now.Add(time.Hour).Truncate(time.Second),
	}, now)
	if err != nil {
		w.t.Fatal(err)
	}
	return token, session
}

// login writes a session of a credential of the account.
func (w *world) login(account int64) (session string) {
	w.t.Helper()
	made := w.credential(account, "login")
	c, err := w.opened.DB.Credential(w.t.Context(), auth.CredentialID(made.ID))
	if err != nil {
		w.t.Fatal(err)
	}
	now := w.opened.DB.Now()
	access, refresh := w.opened.Rings.Signers(now)
	s, err := w.opened.DB.StartSession(w.t.Context(), auth.NewSession{
		ID: secret.NewSessionID(now), Credential: c.ID, SecretDigest: c.Secrets[0].Digest, Expires: now.Add(time.Hour),
		AccessExpires: now.Add(time.Minute), AccessKey: access, RefreshKey: refresh, Address: webtest.Address,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return string(s.ID)
}

// trail is the audit trail: action, actor, request and address of each act.
func (w *world) trail() []string {
	w.t.Helper()
	var all []string
	if err := w.opened.DB.ExportAudit(w.t.Context(), backup.Acts(func(e backup.Entry) error {
		all = append(all, strings.Join([]string{e.Action, e.Actor, e.RequestID, e.Address}, " "))
		return nil
	})); err != nil {
		w.t.Fatal(err)
	}
	return all
}

// join lets somebody in who was invited.
func (w *world) join(i api.Invited) {
	w.t.Helper()
	_, code, _ := strings.Cut(i.Link, "#")
	now := w.opened.DB.Now()
	_, err := w.opened.DB.Join(w.t.Context(), w.opened.Rings.LookupDigest(auth.LookupLink, code), auth.Joining{Password: "hash"}, auth.DashboardSession{
		ID: auth.DashboardSessionID("ds_" + i.ID), Digest: []byte("ds_" + i.ID), Person: auth.PersonID(i.ID), Stage: auth.StageFull, Method: "password", CreatedAt: now, SeenAt: now,
		IdleEnds: now.Add(time.Hour), EndsAt: now.Add(time.Hour), ProvedAt: now,
	}, auth.Act{Action: "operator.join"})
	if err != nil {
		w.t.Fatal(err)
	}
}
