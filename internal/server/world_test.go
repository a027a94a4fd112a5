package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/apitest"
	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/beside"
	"github.com/gatehouse/gatehouse/internal/config"
	"github.com/gatehouse/gatehouse/internal/people"
	"github.com/gatehouse/gatehouse/internal/registry"
	"github.com/gatehouse/gatehouse/internal/store/storetest"
)

// A world is a server in this process, asked without a socket, with a clock that the test moves and one account.
type world struct {
	*Server
	t       testing.TB
	offset  *atomic.Int64
	account auth.AccountID
	dir     string
	file    string // the configuration
	stop    func()
	moved   func() // called after each start
	log     *beside.Said
	screen  io.Writer // where somebody sits; nil: nowhere

	leapt atomic.Int64
	deaf  atomic.Int64 // while it is not 0 the clock by which knowledge grows old leaps by so much with every look

	headTime, stall time.Duration // the listener's patience with heads and with what stands still; 0: its own
	hashing         people.Cost   // of persons' passwords
}

var began = time.Now()

var operator = auth.Actor{Name: "test", Role: auth.RoleOwner, Machine: true}

// unlimited takes every limit away.
const unlimited = `
limits:
  exchange_per_address: {rate: 0}
  exchange_per_credential: {rate: 0}
  failures_per_address: {rate: 0}
  failures_per_identifier: {rate: 0}
`

func newWorld(t testing.TB, yaml string) *world {
	t.Helper()
	return newWorldOf(t, yaml, 0, 0)
}

// newWorldOf is newWorld with a listener that has its own patience.
func newWorldOf(t testing.TB, yaml string, headTime, stall time.Duration) *world {
	t.Helper()
	w := &world{t: t, headTime: headTime, stall: stall}
	w.begin(yaml)
	return w
}

// begin starts the world, of which only how it is to be is set.
func (w *world) begin(yaml string) {
	t := w.t
	t.Helper()
	w.offset, w.dir, w.moved = new(atomic.Int64), filepath.Join(t.TempDir(), "data"), func() {}
	storetest.Migrated(t, DatabasePath(w.dir))
	w.start(yaml)
	a, err := w.Registry().CreateAccount(t.Context(), operator, "Customer", "")
	if err != nil {
		t.Fatal(err)
	}
	w.account = a.ID
}

// start starts the server, for the first time or again on the same data.
func (w *world) start(yaml string) {
	w.t.Helper()
	w.file = filepath.Join(w.t.TempDir(), "gatehouse.yaml")
	w.configure(yaml)
	load := func() (*config.Config, error) {
		return config.Load(config.Options{Path: w.file, Flags: map[string]string{
			"listen": "127.0.0.1:0", "admin_listen": "127.0.0.1:0", "data_dir": w.dir,
		}})
	}
	c, err := load()
	if err != nil {
		w.t.Fatal(err)
	}
	w.log = new(beside.Said)
	now := func() time.Time { return time.Now().Add(time.Duration(w.offset.Load())) }
	if w.Server, err = New(context.Background(), c, Options{
		Log: w.log, Terminal: w.screen, Now: now, Version: "test", Load: load, headTime: w.headTime, stall: w.stall, clock: w.sinceBoot, hashing: w.hashing,
	}); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	<-w.Ready()
	stopped := false
	w.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("the server stopped with %v", err)
		}
	}
	w.t.Cleanup(w.stop)
	w.moved()
}

// sinceBoot is the clock by which knowledge grows old.
func (w *world) sinceBoot() time.Duration {
	w.leapt.Add(w.deaf.Load())
	return time.Since(began) + time.Duration(w.leapt.Load())
}

// configure writes the configuration file, which the server notices by itself, or with Reload at once.
func (w *world) configure(yaml string) {
	w.t.Helper()
	if err := os.WriteFile(w.file, []byte(yaml), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) move(d time.Duration) { w.offset.Add(int64(d)) }

// An answer is what came back.
type answer struct {
	*httptest.ResponseRecorder
}

func (a answer) decode(t testing.TB, into any) {
	t.Helper()
	if err := json.Unmarshal(a.Body.Bytes(), into); err != nil {
		t.Fatalf("%s: %v", a.Body, err)
	}
}

// from is where requests come from unless a test says otherwise.
const from = "192.0.2.1:40000"

func (w *world) ask(method, path, body string, headers ...string) answer {
	return w.askFrom(from, method, path, body, headers...)
}

// askFrom asks from an address; headers are names and values in turn.
func (w *world) askFrom(peer, method, path, body string, headers ...string) answer {
	r := httptest.NewRequest(method, path, io.NopCloser(strings.NewReader(body)))
	if body == "" {
		r = httptest.NewRequest(method, path, nil)
	} else {
		r.ContentLength = int64(len(body))
		r.Header.Set("Content-Type", "application/json")
	}
	r.RemoteAddr = peer
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return w.serve(r)
}

// serve lets the server answer, and holds the answer to the OpenAPI document if it is one of an address in there.
func (w *world) serve(r *http.Request) answer {
	w.t.Helper()
	rec := httptest.NewRecorder()
	w.public.Handler.ServeHTTP(rec, r)
	apitest.Check(w.t, apitest.Answer{
		Method: r.Method, Target: r.RequestURI, Status: rec.Code, Header: rec.Result().Header, Body: rec.Body.Bytes(),
	})
	return answer{rec}
}

// A pair is what a login or a refresh answers.
type pair struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

func (w *world) issue(kind auth.Kind, scopes ...string) (auth.Credential, string, string) {
	w.t.Helper()
	issued, err := w.Registry().CreateCredential(w.t.Context(), operator, registry.NewCredential{Account: w.account, Kind: kind, Scopes: scopes})
	if err != nil {
		w.t.Fatal(err)
	}
	identifier, secret := issued.Reveal()
	return issued.Credential, identifier, secret
}

func (w *world) login(username, password string) (pair, int) {
	w.t.Helper()
	a := w.ask("POST", "/auth/login", fmt.Sprintf(`{"username":%q,"password":%q}`, username, password))
	var body struct{ Data pair }
	if a.Code == http.StatusOK {
		a.decode(w.t, &body)
	}
	return body.Data, a.Code
}

func (w *world) refresh(token, key string) (pair, int) {
	w.t.Helper()
	var headers []string
	if key != "" {
		headers = []string{"Idempotency-Key", key}
	}
	a := w.ask("POST", "/auth/refresh", `{"refresh_token":"`+token+`"}`, headers...)
	var body struct{ Data pair }
	if a.Code == http.StatusOK {
		a.decode(w.t, &body)
	}
	return body.Data, a.Code
}

// form asks with a form, as a client that is known by Basic, or, without an id, by what the form says.
func (w *world) form(path, id, secret, form string, headers ...string) answer {
	r := httptest.NewRequest("POST", path, strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.RemoteAddr = from
	if id != "" {
		r.SetBasicAuth(id, secret)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return w.serve(r)
}

// A tokenAnswer is what POST /oauth/token answers.
type tokenAnswer struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	Scope        string
}

func (w *world) token(id, secret, form string) (tokenAnswer, int) {
	w.t.Helper()
	a := w.form("/oauth/token", id, secret, form)
	var got tokenAnswer
	if a.Code == http.StatusOK {
		a.decode(w.t, &got)
	}
	return got, a.Code
}

func (w *world) logout(access string) int {
	return w.ask("POST", "/auth/logout", "", "Authorization", "Bearer "+access).Code
}

// works says whether an access token is let through by the gate.
func (w *world) works(access string) bool {
	_, _, err := w.Gate().Verify(context.Background(), access, auth.Caller{}, auth.Want{Types: []verifyType{b2bAccess}})
	return err == nil
}

// signingKeys are the keys that sign tokens.
func (w *world) signingKeys() []auth.KeyRow {
	w.t.Helper()
	keys, err := w.Registry().SigningKeys(w.t.Context(), operator)
	if err != nil {
		w.t.Fatal(err)
	}
	return keys
}
