package feed

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/facts"
	"github.com/gatehouse/gatehouse/internal/secret"
	"github.com/gatehouse/gatehouse/internal/token"
	"github.com/gatehouse/gatehouse/internal/web"
	"github.com/gatehouse/gatehouse/internal/web/webtest"
	"github.com/gatehouse/gatehouse/verify"
)

var start = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

// A store is what facts and rings are read from.
type store struct {
	mu   sync.Mutex
	all  auth.Exceptions
	keys []auth.KeyRow
}

func (s *store) Exceptions(context.Context, time.Time) (auth.Exceptions, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all, nil
}

func (s *store) ExceptionsOf(_ context.Context, accounts []auth.AccountID, credentials []auth.CredentialID) (auth.Exceptions, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var of auth.Exceptions
	for _, id := range accounts {
		for _, a := range s.all.Accounts {
			if a.ID == id {
				of.Accounts = append(of.Accounts, a)
			}
		}
	}
	for _, id := range credentials {
		for _, c := range s.all.Credentials {
			if c.ID == id {
				of.Credentials = append(of.Credentials, c)
			}
		}
	}
	return of, nil
}

func (s *store) Holder(context.Context, auth.Kind, auth.CredentialID) (auth.Holder, error) {
	return auth.Holder{}, auth.ErrNotFound
}

func (s *store) Keys(context.Context) ([]auth.KeyRow, error)                       { return s.keys, nil }
func (s *store) AddKey(context.Context, auth.KeyRow, auth.KeyID, auth.Act) error   { return nil }
func (s *store) DeleteKeys(context.Context, []auth.KeyID) error                    { return nil }
func (s *store) Lifetimes(context.Context) ([]auth.Lifetime, error)                { return nil, nil }
func (s *store) SetLifetime(context.Context, auth.Lifetime) (auth.Position, error) { return 0, nil }

// A world is a feed over facts and rings, with what a test bends.
type world struct {
	*Feed
	t     testing.TB
	store *store
	facts *facts.Facts
	rings *token.Rings
	at    auth.Position
	stale error
}

const issuer = "https://auth.example.com"

func newWorld(t testing.TB, algorithm verify.Algorithm, waiting int) *world {
	t.Helper()
	master, err := secret.ParseMasterKey(secret.GenerateMasterKey())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, store: &store{all: auth.Exceptions{Incarnation: "one", Position: 5}}, at: 5}
	masters := secret.Masters{Current: master}
	if w.store.keys, err = token.NewKeys(masters, algorithm, start); err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return start }
	w.rings, err = token.New(token.Config{Store: w.store, Masters: masters, Algorithm: algorithm, Issuer: issuer, Audience: issuer, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	w.facts, err = facts.New(facts.Config{
		Store: w.store, Keep: func() time.Duration { return time.Hour }, Now: now, Fresh: func() error { return w.stale },
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Feed, err = New(Config{
		Facts: w.facts, Rings: w.rings, Issuer: issuer, Age: func() time.Duration { return 119 * time.Millisecond },
		Waiting: waiting, Now: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.load()
	return w
}

// load reads everything anew, as the change log's follower lets it be done: facts, rings, feed.
func (w *world) load() {
	w.t.Helper()
	_, at, err := w.facts.Load(w.t.Context())
	if err = errors.Join(err, w.rings.Load(w.t.Context()), w.Load(w.t.Context())); err != nil {
		w.t.Fatal(err)
	}
	w.at = at
}

// apply appends changes to the log.
func (w *world) apply(changes ...auth.Change) {
	w.t.Helper()
	for i := range changes {
		w.at++
		changes[i].Number = w.at
	}
	if err := errors.Join(w.facts.Apply(w.t.Context(), changes), w.Apply(w.t.Context(), changes)); err != nil {
		w.t.Fatal(err)
	}
}

func revoked(sid string) auth.Change {
	return auth.Change{Of: auth.ChangedSession, Session: auth.SessionID(sid), Until: start.Add(time.Hour)}
}

func (w *world) serve(t *testing.T) *webtest.Server {
	t.Helper()
	return webtest.Serve(t, web.Config{
		Own: []web.Address{w.Address()},
		Fallbacks: []web.Fallback{{Refuse: func(rw http.ResponseWriter, r *web.Request, err error) {
			_ = web.Reply(rw, web.Fail(rw.Header(), r, err).Status, []byte(`{}`))
		}}},
	})
}

// ask asks as a client of HTTP: an answer may come in chunks.
func ask(t *testing.T, s *webtest.Server, query string) webtest.Answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Addr+Path+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return webtest.Answer{}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Error(err)
	}
	return webtest.Answer{Status: res.StatusCode, Header: res.Header, Body: string(body)}
}

// said are the pages of an answer, their signatures checked.
func (w *world) said(t *testing.T, body string) []map[string]any {
	t.Helper()
	var all []map[string]any
	for line := range strings.Lines(body) {
		line, whole := strings.CutSuffix(line, "\n")
		parts := strings.Split(line, ".")
		if !whole || len(parts) != 3 || len(line) > 1<<20 {
			t.Errorf("a line of %d bytes in %d parts", len(line), len(parts))
			return nil
		}
		header, err1 := base64.RawURLEncoding.DecodeString(parts[0])
		payload, err2 := base64.RawURLEncoding.DecodeString(parts[1])
		sig, err3 := base64.RawURLEncoding.DecodeString(parts[2])
		tokens := strings.Replace(string(header), "gatehouse-revocations+jwt", "JWT", 1)
		key, known := w.rings.Key(base64.RawURLEncoding.EncodeToString([]byte(tokens)))
		if err := errors.Join(err1, err2, err3); err != nil || !known || !key.Verify(parts[0]+"."+parts[1], sig) || tokens == string(header) {
			t.Errorf("a page that nobody can believe: %s %s (%v)", header, payload, err)
			return nil
		}
		var page map[string]any
		if err := json.Unmarshal(payload, &page); err != nil {
			t.Error(err)
			return nil
		}
		if len(all) > 0 && page["answer"] != all[0]["answer"] || page["page"] != float64(len(all)+1) {
			t.Errorf("page %v of answer %v after %v", page["page"], page["answer"], all)
		}
		all = append(all, page)
	}
	for i, page := range all {
		if page["last"] != (i == len(all)-1) {
			t.Errorf("page %d of %d says last: %v", i+1, len(all), page["last"])
		}
	}
	return all
}

// only is the one page of an answer as JSON, without what is drawn anew.
func (w *world) only(t *testing.T, a webtest.Answer) string {
	t.Helper()
	if a.Status != http.StatusOK || a.Header.Get("Content-Type") != "application/gatehouse-revocations+jwt" || a.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v\n%s", a.Status, a.Header, a.Body)
	}
	pages := w.said(t, a.Body)
	if len(pages) != 1 {
		t.Fatalf("%d pages", len(pages))
	}
	payload, _ := base64.RawURLEncoding.DecodeString(strings.Split(a.Body, ".")[1])
	return strings.Replace(string(payload), pages[0]["answer"].(string), "ANSWER", 1)
}

const headOf = `{"iss":"https://auth.example.com","iat":1795338000,"version":1,"answer":"ANSWER","page":1,"last":true,`

func TestEverythingAndThenWhatChanges(t *testing.T) {
	w := newWorld(t, verify.EdDSA, 0)
	restricted := auth.Account{ID: 100002, RestrictedAt: start}
	restricted.DeadBelow[auth.B2B.Index()] = 4
	w.store.all.Accounts = []auth.Account{{ID: 100001, SuspendedAt: start}, restricted, {ID: 100003, Ref: "C-4711", Name: "Acme"}}
	w.store.keys = append(w.store.keys, auth.KeyRow{ID: "leaked", Ring: auth.SigningRing, RevokedAt: start})
	w.load()
	s := w.serve(t)

	var full struct {
		Entries []json.RawMessage
	}
	got := w.only(t, ask(t, s, ""))
	if err := json.Unmarshal([]byte(got), &full); err != nil {
		t.Fatal(err)
	}
	if string(full.Entries[0]) != `{"account":100001,"suspended":true}` { // a map's order is none
		full.Entries[0], full.Entries[1] = full.Entries[1], full.Entries[0]
		got = strings.Replace(got, fmt.Sprintf("%s,%s", full.Entries[1], full.Entries[0]), fmt.Sprintf("%s,%s", full.Entries[0], full.Entries[1]), 1)
	}
	if diff := cmp.Diff(headOf+`"full":true,"incarnation":"one","position":5,"age_ms":120,"revoked_keys":["leaked"],"entries":[`+
		`{"account":100001,"suspended":true},{"account":100002,"dead_below_of":{"B2B_ACCESS":4},"until":1795341600}]}`, got); diff != "" {
		t.Errorf("everything (-want +got)\n%s", diff)
	}

	w.store.mu.Lock()
	w.store.all.Accounts[0].SuspendedAt = time.Time{}
	w.store.all.Credentials = []auth.Credential{
		{ID: "gone", RevokedAt: start, RestrictedAt: start},
		{ID: "less", NarrowedAt: start, ExpiresAt: start.Add(90 * time.Second), Scope: "a&b gatehouse:revoke", RestrictedAt: start},
		{ID: "none", NarrowedAt: start, RestrictedAt: start, DeadBelow: 7},
		{ID: "new"},
	}
	w.store.mu.Unlock()
	of := func(id auth.CredentialID) auth.Change {
		return auth.Change{Of: auth.ChangedCredential, Credential: id}
	}
	w.apply(auth.Change{Of: auth.ChangedAccount, Account: 100001}, of("gone"), of("less"), of("none"), of("new"), revoked("sid1"))
	want := headOf + `"full":false,"incarnation":"one","position":11,"age_ms":120,"revoked_keys":["leaked"],"entries":[` +
		`{"account":100001},` +
		`{"credential":"gone","revoked":true,"until":1795341600},` +
		`{"credential":"less","expires":1795338090,"scope":"a&b","until":1795341600},` +
		`{"credential":"none","dead_below":7,"scope":"","until":1795341600},` +
		`{"credential":"new"},` +
		`{"session":"sid1","until":1795341600}]}`
	if diff := cmp.Diff(want, w.only(t, ask(t, s, "?after=one.5"))); diff != "" {
		t.Errorf("what changed (-want +got)\n%s", diff)
	}
	want = headOf + `"full":false,"incarnation":"one","position":11,"age_ms":120,"revoked_keys":["leaked"],"entries":[]}`
	if diff := cmp.Diff(want, w.only(t, ask(t, s, "?wait=0&other=1&after=one.11"))); diff != "" {
		t.Errorf("nothing new (-want +got)\n%s", diff)
	}
	want = headOf + `"full":false,"incarnation":"one","position":11,"age_ms":120,"revoked_keys":["leaked"],"entries":[{"session":"sid1","until":1795341600}]}`
	if diff := cmp.Diff(want, w.only(t, ask(t, s, "?after=one.10"))); diff != "" {
		t.Errorf("the last (-want +got)\n%s", diff)
	}
}

func TestWhereNobodyCanGoOnThereIsEverything(t *testing.T) {
	w := newWorld(t, verify.EdDSA, 0)
	s := w.serve(t)
	full := func(query string, want bool) {
		t.Helper()
		if pages := w.said(t, ask(t, s, query).Body); len(pages) == 0 || pages[0]["full"] != want {
			t.Errorf("%s is answered with %.300s, want full: %v", query, fmt.Sprint(pages), want)
		}
	}
	full("?after=one.5", false)
	full("?after=one.4", true)
	full("?after=two.5&wait=30", true)
	w.apply(revoked("a"))
	full("?after=one.5", false)
	w.load() // there was a gap
	w.apply(revoked("b"))
	full("?after=one.4", true)
	full("?after=one.5", false)

	for range 2*mostRecent/1000 + 1 {
		w.apply(slices.Repeat([]auth.Change{revoked("c")}, 1000)...)
	}
	full(fmt.Sprintf("?after=one.%d", w.at-mostRecent), false)
	full(fmt.Sprintf("?after=one.%d", w.at-2*mostRecent), true)

	w.store.all.Incarnation, w.store.all.Position = "two", 3
	if _, _, err := w.facts.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := ask(t, s, "?after=one.5"); a.Status != http.StatusServiceUnavailable {
		t.Errorf("while everything is loaded anew: %d %s", a.Status, a.Body)
	}
	w.load()
	full("?after=one.5", true)
	full("?after=two.3", false)
}

func TestQuestionsThatAreNotAnswered(t *testing.T) {
	w := newWorld(t, verify.EdDSA, 0)
	s := w.serve(t)
	for _, query := range []string{
		"?after=", "?after=one", "?after=.5", "?after=one.", "?after=one.-1", "?after=one.x", "?after=one.5&after=one.5",
		"?after=one.99999999999999999999", "?wait=", "?wait=x", "?wait=-1", "?wait=1.5", "?wait=1&wait=1",
	} {
		if a := ask(t, s, query); a.Status != http.StatusBadRequest {
			t.Errorf("%s: %d", query, a.Status)
		}
	}
	if a := s.Send(t, "POST /.well-known/gatehouse-revocations"); a.Status != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", a.Status)
	}
	w.stale = auth.ErrOverloaded
	if a := ask(t, s, ""); a.Status != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
		t.Errorf("what is too old to decide on was told: %d %v", a.Status, a.Header)
	}
	w = newWorld(t, verify.HS256, 0)
	s = w.serve(t)
	for _, query := range []string{"", "?after=one.5"} {
		if a := ask(t, s, query); a.Status != http.StatusNotImplemented || !strings.Contains(a.Body, "HS256") {
			t.Errorf("with shared secrets: %d %s", a.Status, a.Body)
		}
	}
}

func TestAnAnswerIsHeldBackUntilThereIsSomethingToSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, verify.EdDSA, 0)
		began := time.Now()
		wait := func(after auth.Position, wait time.Duration) (news, error) {
			return w.wait(t.Context(), query{incarnation: "one", after: after, wait: wait})
		}
		n, err := wait(5, 10*time.Second)
		if err != nil || n.standing != still || time.Since(began) != 10*time.Second {
			t.Errorf("%+v, %v after %v", n, err, time.Since(began))
		}
		if !n.looked.Equal(time.Now()) {
			t.Error("what nobody waited for is as old as the waiting")
		}
		began = time.Now()
		time.AfterFunc(3*time.Second, func() { w.apply(revoked("a")) })
		if n, err = wait(5, 10*time.Second); err != nil || n.standing != moved || len(n.changes) != 1 || time.Since(began) != 3*time.Second {
			t.Errorf("%+v, %v after %v", n, err, time.Since(began))
		}
		began = time.Now()
		if n, err = wait(7, 0); !errors.Is(err, auth.ErrOverloaded) || time.Since(began) != catchUp {
			t.Errorf("one who is ahead: %+v, %v after %v", n, err, time.Since(began))
		}
		time.AfterFunc(time.Second, func() { w.apply(revoked("b")) })
		if n, err = wait(7, 0); err != nil || n.standing != still || n.at != 7 {
			t.Errorf("one who was ahead: %+v, %v", n, err)
		}
		began = time.Now()
		time.AfterFunc(time.Second, func() {
			w.store.all.Incarnation = "two"
			w.load()
		})
		if n, err = wait(7, 10*time.Second); err != nil || n.standing != lost || time.Since(began) != time.Second {
			t.Errorf("another incarnation: %+v, %v after %v", n, err, time.Since(began))
		}
		began = time.Now()
		time.AfterFunc(time.Second, w.Stop)
		if n, err = w.wait(t.Context(), query{incarnation: "two", after: 5, wait: 10 * time.Second}); err != nil || n.standing != still || time.Since(began) != time.Second {
			t.Errorf("the server ends: %+v, %v after %v", n, err, time.Since(began))
		}
		if w.Waiting() != 0 {
			t.Errorf("%d wait", w.Waiting())
		}
	})
}

func TestWhoWaitsIsBounded(t *testing.T) {
	w := newWorld(t, verify.EdDSA, 2)
	s := w.serve(t)
	var answered sync.WaitGroup
	var bodies [2]string
	for i := range bodies {
		answered.Go(func() { bodies[i] = ask(t, s, "?after=one.5&wait=30").Body })
	}
	for w.Waiting() < 2 {
		runtime.Gosched()
	}
	if a := ask(t, s, "?after=one.5&wait=30"); a.Status != http.StatusServiceUnavailable || a.Header.Get("Retry-After") != "1" {
		t.Errorf("a third: %d %v", a.Status, a.Header)
	}
	w.only(t, ask(t, s, "")) // who does not wait is not among them
	w.apply(revoked("a"))
	answered.Wait()
	if bodies[0] != bodies[1] {
		t.Error("two who waited for the same got two answers")
	}
	if later := ask(t, s, "?after=one.5").Body; later == bodies[0] {
		t.Error("one who asked later got what was made before he asked")
	}
}

func TestManyRevocationsComeInPages(t *testing.T) {
	w := newWorld(t, verify.EdDSA, 0)
	const many = 10_000
	for i := range many {
		w.store.all.Sessions = append(w.store.all.Sessions, auth.RevokedSession{ID: auth.SessionID(fmt.Sprintf("session%016d", i)), Until: start.Add(time.Hour)})
	}
	for i := range 500 { // as large as entries get
		w.store.all.Credentials = append(w.store.all.Credentials, auth.Credential{
			ID: auth.CredentialID(fmt.Sprintf("credential%06d", i)), NarrowedAt: start, RestrictedAt: start, Scope: strings.Repeat("<", auth.MaxScope),
		})
	}
	w.load()
	var changes []auth.Change
	for i := range 5000 {
		changes = append(changes, revoked(fmt.Sprintf("later%018d", i)))
	}
	s := w.serve(t)
	count := func(query string, want int) {
		t.Helper()
		pages := w.said(t, ask(t, s, query).Body)
		n := 0
		for _, p := range pages {
			n += len(p["entries"].([]any))
		}
		if n != want || len(pages) < 2 {
			t.Errorf("%d entries in %d pages, want %d", n, len(pages), want)
		}
	}
	count("", many+500)
	w.apply(changes...)
	count("?after=one.5", 5000)
}

// Readers, changes and loads at once: for the race detector, and nobody may be told less than he must know.
func TestNobodyMissesAChange(t *testing.T) {
	w := newWorld(t, verify.EdDSA, 0)
	s := w.serve(t)
	const rounds = 300
	var done atomic.Bool
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			known := make(map[string]bool)
			after := ""
			for {
				last := done.Load()
				pages := w.said(t, ask(t, s, after).Body)
				for _, p := range pages {
					for _, e := range p["entries"].([]any) {
						known[e.(map[string]any)["session"].(string)] = true
					}
					after = fmt.Sprintf("?after=%s.%d&wait=1", p["incarnation"], int64(p["position"].(float64)))
				}
				if last {
					break
				}
			}
			for i := range rounds {
				if !known[fmt.Sprint("s", i)] {
					t.Errorf("session %d of %d was never told", i, rounds)
				}
			}
		})
	}
	for i := range rounds {
		w.apply(revoked(fmt.Sprint("s", i)))
		if i%50 == 49 {
			w.store.mu.Lock()
			w.store.all.Position = w.at
			w.store.mu.Unlock()
			w.load()
		}
	}
	done.Store(true)
	w.apply(revoked("last"))
	readers.Wait()
}

// What a full answer costs: its memory must not grow with what there is to tell.
func BenchmarkFull(b *testing.B) {
	for _, many := range []int{10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(many), func(b *testing.B) {
			w := newWorld(b, verify.EdDSA, 0)
			for i := range many {
				w.store.all.Sessions = append(w.store.all.Sessions, auth.RevokedSession{ID: auth.SessionID(fmt.Sprintf("session%016d", i)), Until: start.Add(time.Hour)})
			}
			w.load()
			b.ReportAllocs()
			for b.Loop() {
				if err := w.tellAll(&sink{}, w.look(query{})); err != nil {
					b.Fatal(err)
				}
			}
			measured := &sink{measures: true}
			if err := w.tellAll(measured, w.look(query{})); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(measured.bytes), "bytes")
			b.ReportMetric(float64(measured.growth>>10), "growth-KiB")
		})
	}
}

// A sink takes an answer; one that measures looks how the memory in use grows from the first page on.
type sink struct {
	measures       bool
	header         http.Header
	bytes          int64
	writes         int
	before, growth uint64
}

func (s *sink) Header() http.Header {
	if s.header == nil {
		s.header = make(http.Header)
		s.before = s.inUse()
	}
	return s.header
}

func (s *sink) WriteHeader(int) {}

func (s *sink) Write(p []byte) (int, error) {
	s.bytes += int64(len(p))
	if s.writes++; s.writes%16 == 1 {
		now := s.inUse()
		s.growth = max(s.growth, now-min(s.before, now))
	}
	return len(p), nil
}

func (s *sink) inUse() uint64 {
	if !s.measures {
		return 0
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
