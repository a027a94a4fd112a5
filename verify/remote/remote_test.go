package remote

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse/gatehouse/verify"
)

// settle gives a verifier in a bubble the time to ask once more, and to do what follows from the answer.
func settle() {
	time.Sleep(2 * pollAtMost)
	synctest.Wait()
}

func TestWhatIsRevokedIsRefusedHere(t *testing.T) {
	for name, c := range map[string]struct {
		entry string
		token func(*verify.Claims)
		want  error
		scope string // of who is let in
	}{
		"a session":            {`{"session":"sid1","until":9999999999}`, nil, verify.ErrRevoked, ""},
		"another session":      {`{"session":"sid2","until":9999999999}`, nil, nil, "orders:read orders:write"},
		"a suspended account":  {`{"account":100001,"suspended":true}`, nil, verify.ErrRevoked, ""},
		"another account":      {`{"account":100002,"suspended":true}`, nil, nil, "orders:read orders:write"},
		"a contract's tokens":  {`{"account":100001,"dead_below_of":{"B2B_ACCESS":6},"until":9999999999}`, nil, verify.ErrRevoked, ""},
		"those from later":     {`{"account":100001,"dead_below_of":{"B2B_ACCESS":5},"until":9999999999}`, nil, nil, "orders:read orders:write"},
		"another contract's":   {`{"account":100001,"dead_below_of":{"ACCESS_TOKEN":6,"ELSE":6},"until":9999999999}`, nil, nil, "orders:read orders:write"},
		"a credential":         {`{"credential":"cred1","revoked":true,"until":9999999999}`, nil, verify.ErrRevoked, ""},
		"a credential's past":  {`{"credential":"cred1","dead_below":6,"until":9999999999}`, nil, verify.ErrRevoked, ""},
		"an end that has come": {`{"credential":"cred1","expires":946684800,"until":9999999999}`, nil, verify.ErrRevoked, ""},
		"an end to come":       {`{"credential":"cred1","expires":9999999999,"until":9999999999}`, nil, nil, "orders:read orders:write"},
		"scopes taken away":    {`{"credential":"cred1","scope":"orders:read x","until":9999999999}`, nil, nil, "orders:read"},
		"all scopes taken":     {`{"credential":"cred1","scope":"","until":9999999999}`, nil, nil, ""},
		"nothing any more":     {`{"credential":"cred1"}`, nil, nil, "orders:read orders:write"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, full := range []bool{true, false} {
				synctest.Test(t, func(t *testing.T) {
					f := newFake(t)
					token := f.mint(c.token)
					if full {
						f.full = []string{c.entry}
					}
					v, stop := run(t, f, nil)
					defer stop()
					if !full {
						before, err := v.Verify(token, verify.Types)
						if err != nil {
							t.Errorf("before: %v", err)
						}
						f.add(c.entry)
						settle()
						if _, err := v.Again(before, verify.Types); !errors.Is(err, c.want) {
							t.Errorf("again: %v", err)
						}
					}
					who, err := v.Verify(token, verify.Types)
					if !errors.Is(err, c.want) || err == nil && who.Scope != c.scope {
						t.Errorf("full %v: %v, scope %q", full, err, who.Scope)
					}
				})
			}
		})
	}
}

func TestItGoesOnFromWhereItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.full = []string{`{"account":100001,"suspended":true}`, `{"account":100002,"suspended":true}`, `{"session":"sid9","until":9999999999}`}
		token := f.mint(nil)
		v, stop := run(t, f, nil)
		defer stop()
		if _, err := v.Verify(token, verify.Types); !errors.Is(err, verify.ErrRevoked) {
			t.Errorf("suspended: %v", err)
		}
		f.add(`{"account":100001}`) // resumed
		settle()
		if _, err := v.Verify(token, verify.Types); err != nil {
			t.Errorf("resumed: %v", err)
		}
		time.Sleep(time.Minute)
		f.add(`{"session":"sid2","until":9999999999}`, `{"session":"sid3","until":9999999999}`, `{"session":"sid1","until":9999999999}`)
		settle()
		if _, err := v.Verify(token, verify.Types); !errors.Is(err, verify.ErrRevoked) {
			t.Errorf("on the second page: %v", err)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		want := []string{"", "after=one.5&wait=15", "after=one.6&wait=15"}
		for i, q := range want {
			if f.asked[i] != q {
				t.Errorf("request %d was %q, want %q", i, f.asked[i], q)
			}
		}
		if last := f.asked[len(f.asked)-1]; last != "after=one.9&wait=15" || len(f.asked) > 10 {
			t.Errorf("after a minute %d requests, the last %q", len(f.asked), last)
		}
	})
}

func TestTheAgeIsCountedFromBeforeTheAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		token := f.mint(nil)
		v := newVerifier(t, config(f))
		if _, err := v.Verify(token, verify.Types); err == nil || v.Ready() == nil || v.Age() != math.MaxInt64 {
			t.Errorf("before anything is known: %v, age %v", err, v.Age())
		}
		v, stop := run(t, f, nil)
		defer stop()
		synctest.Wait()
		if got := v.Age(); got != 100*time.Millisecond { // the server's own age
			t.Errorf("at once: %v", got)
		}
		time.Sleep(15 * time.Second)
		if got := v.Age(); got != 15*time.Second+100*time.Millisecond {
			t.Errorf("while the server holds the answer back: %v", got)
		}
		time.Sleep(pollAtMost + time.Millisecond) // now it has answered what was asked pollAtMost after the first answer
		synctest.Wait()
		if got := v.Age(); got != 15*time.Second+101*time.Millisecond {
			t.Errorf("after an answer that was held back: %v", got)
		}
		f.add(`{"session":"other","until":9999999999}`)
		time.Sleep(2 * pollAtMost)
		synctest.Wait()
		if got := v.Age(); got > 100*time.Millisecond+3*pollAtMost {
			t.Errorf("after an answer that came at once: %v", got)
		}
	})
}

func TestWhoIsCutOffRefusesPastHisBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		token := f.mint(nil)
		var log bytes.Buffer
		v, stop := run(t, f, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
		defer stop()
		f.set(func() { f.status = http.StatusBadGateway })
		time.Sleep(time.Minute - 101*time.Millisecond - time.Millisecond)
		if _, err := v.Verify(token, verify.Types); err != nil {
			t.Errorf("within the bound: %v", err)
		}
		time.Sleep(103 * time.Millisecond)
		if _, err := v.Verify(token, verify.Types); !errors.Is(err, verify.ErrUnknown) || v.Ready() == nil {
			t.Errorf("past the bound: %v", err)
		}
		time.Sleep(time.Hour)
		f.set(func() { f.status = 0 })
		time.Sleep(2 * mostBackoff)
		settle()
		if _, err := v.Verify(token, verify.Types); err != nil {
			t.Errorf("heard again: %v", err)
		}
		if n := f.questions(); n > 3600/2 {
			t.Errorf("%d requests in an hour of nothing", n)
		}
		for _, once := range []string{"cannot be followed", "is followed again"} {
			if strings.Count(log.String(), once) != 1 {
				t.Errorf("the log says not once that it %s:\n%s", once, log.String())
			}
		}
	})
}

func TestAServerThatSaysNothingIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		v, stop := run(t, f, nil)
		defer stop()
		asked := f.questions()
		f.set(func() { f.silent = true })
		time.Sleep(v.wait + 3*v.patience)
		if n := f.questions() - asked; n < 2 {
			t.Errorf("asked %d times", n)
		}
		f.set(func() { f.silent = false })
		time.Sleep(v.patience + 2*mostBackoff)
		if err := v.Ready(); err != nil {
			t.Error(err)
		}
	})
}

func TestAnotherIncarnationIsLoadedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.full = []string{`{"session":"sid1","until":9999999999}`, `{"session":"sid2","until":1}`, `{"account":100002,"suspended":true}`, `{"credential":"cred3","revoked":true,"until":9999999999}`}
		dead := f.mint(nil)
		former := f.mint(func(c *verify.Claims) { c.Session = "sid7" })
		v, stop := run(t, f, nil)
		defer stop()
		if _, err := v.Verify(former, verify.Types); err != nil {
			t.Error(err)
		}
		old := f.keys[0]
		f.set(func() {
			f.incarnation, f.position, f.log = "two", 2, nil
			f.full = []string{`{"account":100003,"suspended":true}`}
			f.keys = []*signer{newSigner(t, "key2")} // a restored database has new keys
		})
		settle()
		if got := at(v); got != "two 2" {
			t.Fatalf("it is at %s", got)
		}
		if _, err := v.Verify(former, verify.Types); !errors.Is(err, verify.ErrSignature) {
			t.Errorf("a token of the former keys: %v", err)
		}
		for account, want := range map[int64]error{100001: nil, 100002: nil, 100003: verify.ErrRevoked} {
			token := f.mint(func(c *verify.Claims) { c.Subject, c.Session = fmt.Sprint(account), "sid8" })
			if _, err := v.Verify(token, verify.Types); !errors.Is(err, want) {
				t.Errorf("account %d: %v, want %v", account, err, want)
			}
		}
		// Should the keys be the same after all: what was known of sessions is kept.
		f.set(func() {
			f.incarnation, f.keys = "three", []*signer{old}
		})
		time.Sleep(time.Second)
		settle()
		if _, err := v.Verify(dead, verify.Types); !errors.Is(err, verify.ErrRevoked) {
			t.Errorf("a session that the new database knows nothing of: %v", err)
		}
		if _, err := v.Verify(former, verify.Types); err != nil {
			t.Errorf("another session: %v", err)
		}
		v.mu.RLock()
		defer v.mu.RUnlock()
		if _, kept := v.known.sessions["sid2"]; kept {
			t.Error("what is over is kept")
		}
	})
}

// Each of these answers leaves everything as it was, and is not taken for having heard.
func TestAnswersThatAreNotBelieved(t *testing.T) {
	for name, bend := range map[string]func(f *fake){
		"back within the incarnation": func(f *fake) { f.position, f.log = 4, nil },
		"changes of another incarnation": func(f *fake) {
			f.bend = func(p map[string]any) { p["incarnation"] = "two" }
		},
		"another issuer":      func(f *fake) { f.bend = func(p map[string]any) { p["iss"] = "https://evil.example" } },
		"another version":     func(f *fake) { f.bend = func(p map[string]any) { p["version"] = 2 } },
		"no version":          func(f *fake) { f.bend = func(p map[string]any) { delete(p, "version") } },
		"made long ago":       func(f *fake) { f.bend = func(p map[string]any) { p["iat"] = time.Now().Unix() - 60 } },
		"made in the future":  func(f *fake) { f.bend = func(p map[string]any) { p["iat"] = time.Now().Unix() + 60 } },
		"not from page 1":     func(f *fake) { f.bend = func(p map[string]any) { p["page"] = p["page"].(int) + 1 } },
		"no last page":        func(f *fake) { f.bend = func(p map[string]any) { p["last"] = false } },
		"no incarnation":      func(f *fake) { f.bend = func(p map[string]any) { p["incarnation"] = "" } },
		"a negative age":      func(f *fake) { f.bend = func(p map[string]any) { p["age_ms"] = -1 } },
		"an age of ages":      func(f *fake) { f.bend = func(p map[string]any) { p["age_ms"] = 1e300 } },
		"a position as text":  func(f *fake) { f.bend = func(p map[string]any) { p["position"] = "6" } },
		"an unknown entry":    func(f *fake) { f.log = append(f.log, `{"planet":"Mars"}`); f.position++ },
		"two things in one":   func(f *fake) { f.log = append(f.log, `{"session":"x","account":1}`); f.position++ },
		"a negative position": func(f *fake) { f.log = append(f.log, `{"credential":"x","dead_below":-1}`); f.position++ },
		"cut off":             func(f *fake) { f.rewrite = func(s string) string { return s[:len(s)/2] } },
		"nothing":             func(f *fake) { f.rewrite = func(string) string { return "" } },
		"a bent signature": func(f *fake) {
			f.rewrite = func(s string) string { return s[:len(s)-10] + strings.Repeat("A", 9) + "\n" }
		},
		"a line without end":       func(f *fake) { f.rewrite = func(s string) string { return strings.Repeat("a", maxPage+1) + "\n" + s } },
		"a page of another answer": func(f *fake) { f.rewrite = mixed() },
		"another media type":       func(f *fake) { f.typ = "text/html" },
		"a redirect": func(f *fake) {
			f.reply = func(w http.ResponseWriter) { w.Header().Set("Location", "/"); w.WriteHeader(302) }
		},
		"a token for a page": func(f *fake) {
			f.rewrite = func(s string) string {
				parts := strings.Split(s, ".")
				payload, _ := strict.DecodeString(parts[1])
				return f.keys[0].sign(f.keys[0].key.Header(), payload) + "\n"
			}
		},
		"an unknown key": func(f *fake) {
			stranger := newSigner(f.t, "key1")
			f.rewrite = func(s string) string {
				parts := strings.Split(s, ".")
				payload, _ := strict.DecodeString(parts[1])
				return stranger.sign(parts[0], payload) + "\n"
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				token := f.mint(nil)
				v, stop := run(t, f, nil)
				defer stop()
				settle()
				asked := f.questions()
				f.set(func() {
					// What would be believed, if it were:
					f.log = append(f.log, `{"account":100001,"suspended":true}`, `{"session":"a","until":9999999999}`, `{"session":"b","until":9999999999}`)
					f.position += 3
					bend(f)
				})
				time.Sleep(30 * time.Second)
				settle()
				if got := at(v); got != "one 5" || v.Age() < 30*time.Second {
					t.Errorf("it is at %s, %v old", got, v.Age())
				}
				if _, err := v.Verify(token, verify.Types); err != nil {
					t.Errorf("it was believed: %v", err)
				}
				if n := f.questions() - asked; n < 2 {
					t.Errorf("asked %d times", n)
				}
				if n := f.fetched(); n > 40 {
					t.Errorf("the key set was fetched %d times", n)
				}
				time.Sleep(time.Minute)
				if v.Ready() == nil {
					t.Error("it counts as having been heard")
				}
			})
		})
	}
}

// mixed puts the first page of the answer before in front of what follows it.
func mixed() func(string) string {
	var first string
	return func(s string) string {
		page, rest, _ := strings.Cut(s, "\n")
		if first == "" {
			first = page
			return ""
		}
		return first + "\n" + rest
	}
}

func TestKeysAreFetchedWhenOneIsUnknownButNotForEachToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		v, stop := run(t, f, func(c *Config) { c.Seen = 1000 })
		defer stop()
		if n := f.fetched(); n != 1 {
			t.Errorf("%d fetches at the start, want 1", n)
		}
		time.Sleep(time.Minute)
		_, rest, _ := strings.Cut(f.mint(nil), ".")
		for i := range 10_000 {
			header := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"alg":"EdDSA","typ":"JWT","kid":"made-up%d"}`, i))
			if _, err := v.Verify(header+"."+rest, verify.Types); !errors.Is(err, verify.ErrSignature) {
				t.Fatal(err)
			}
		}
		settle()
		if n := f.fetched(); n > 2 {
			t.Errorf("10,000 made-up keys: %d fetches", n-1)
		}
		time.Sleep(2 * keysAtMost) // for those whose kid came while it was fetched
		token := f.mint(nil)
		before, _ := v.Key(f.keys[0].key.Header())
		next := newSigner(t, "key2")
		f.set(func() { f.keys = append(f.keys, next) }) // published, and it does not sign the feed yet
		if _, err := v.Verify(mintWith(next, nil), verify.Types); !errors.Is(err, verify.ErrSignature) {
			t.Fatal(err) // not fetched within the call
		}
		settle()
		if _, err := v.Verify(mintWith(next, nil), verify.Types); err != nil {
			t.Errorf("a new key: %v", err)
		}
		if after, _ := v.Key(f.keys[0].key.Header()); before != after {
			t.Error("a key that stayed is another: what was remembered of its signatures is lost")
		}
		f.set(func() { f.keys = []*signer{next} }) // retired
		time.Sleep(keysEvery)
		if _, err := v.Verify(token, verify.Types); !errors.Is(err, verify.ErrSignature) {
			t.Errorf("a retired key: %v", err)
		}
		f.set(func() { f.status = http.StatusBadGateway })
		time.Sleep(2 * keysEvery)
		f.set(func() { f.status = 0 })
		time.Sleep(mostBackoff * 2)
		if _, err := v.Verify(mintWith(next, nil), verify.Types); err != nil {
			t.Errorf("fetches that failed took the keys away: %v", err)
		}
	})
}

func TestARevokedKeyIsDeadWhateverTheKeySetSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		leaked, next := f.keys[0], newSigner(t, "key2")
		token := f.mint(nil)
		v, stop := run(t, f, nil)
		defer stop()
		f.set(func() {
			f.keys = []*signer{next, leaked} // a key set from a cache
			f.revokedKeys = []string{"key1"}
			f.position++
			f.log = append(f.log, `{"session":"other","until":9999999999}`)
		})
		settle()
		if _, err := v.Verify(token, verify.Types); !errors.Is(err, verify.ErrSignature) {
			t.Errorf("a token of the leaked key: %v", err)
		}
		if _, err := v.Verify(mintWith(next, nil), verify.Types); err != nil {
			t.Errorf("a token of its successor: %v", err)
		}
		f.set(func() { f.revokedKeys = nil }) // forgotten: no token of it can be alive
		time.Sleep(2 * keysEvery)
		if _, err := v.Verify(token, verify.Types); !errors.Is(err, verify.ErrSignature) {
			t.Errorf("later: %v", err)
		}
		f.set(func() { f.keys = []*signer{leaked} }) // whoever has it signs what he likes
		before := at(v)
		f.add(`{"session":"forged","until":9999999999}`)
		time.Sleep(time.Minute)
		settle()
		if at(v) != before {
			t.Error("the leaked key signed a page that was believed")
		}
	})
}

func TestWhatAServerMustBe(t *testing.T) {
	f := newFake(t)
	for _, bend := range []func(*Config){
		func(c *Config) { c.URL = "" },
		func(c *Config) { c.URL = "auth.example.com" },
		func(c *Config) { c.URL = "http://auth.example.com" },
		func(c *Config) { c.URL = "http://192.0.2.1" },
		func(c *Config) { c.URL = "ftp://auth.example.com" },
		func(c *Config) { c.URL = "https://user:password@auth.example.com" },
		func(c *Config) { c.URL = "https://auth.example.com?x" },
		func(c *Config) { c.Credentials = nil },
		func(c *Config) { c.MaxStaleness = time.Second },
		func(c *Config) { c.Issuers = []string{""} },
	} {
		c := config(f)
		bend(&c)
		if _, err := New(c); err == nil || strings.Contains(err.Error(), "password") {
			t.Errorf("%+v: %v", c.URL, err)
		}
	}
	for _, url := range []string{"http://127.0.0.1:8000", "http://localhost:8000/", "http://[::1]:8000", "https://auth.example.com/base/"} {
		c := config(f)
		c.URL = url
		if v, err := New(c); err != nil || strings.Contains(v.feed, "//.well-known") {
			t.Errorf("%s: %v", url, err)
		}
	}
	c := config(f)
	c.URL, c.ClearText = "http://192.0.2.1", true
	newVerifier(t, c)
}

func TestASecretThatCannotBeReadIsNoReasonToGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		var log bytes.Buffer
		c := config(f)
		c.Log = slog.New(slog.NewTextHandler(&log, nil))
		var mu sync.Mutex
		broken := errors.New("no such file")
		c.Credentials = func() (id, secret string, err error) {
			mu.Lock()
			defer mu.Unlock()
			return "u_client", "secret&", broken
		}
		v := newVerifier(t, c)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = v.Run(ctx) })
		time.Sleep(time.Minute)
		synctest.Wait()
		if v.Ready() == nil || f.questions() != 0 || !strings.Contains(log.String(), "no such file") || strings.Contains(log.String(), "secret&") {
			t.Errorf("asked %d times; the log:\n%s", f.questions(), log.String())
		}
		mu.Lock()
		broken = nil
		mu.Unlock()
		time.Sleep(2 * mostBackoff)
		if err := v.Ready(); err != nil {
			t.Error(err)
		}
		if err := v.Run(ctx); err == nil {
			t.Error("it runs twice")
		}
		cancel()
		running.Wait()
	})
}

func TestRevocationsAreForgottenWhenTheyAreOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		soon := time.Now().Add(90 * time.Second).Unix()
		f.full = []string{
			fmt.Sprintf(`{"session":"sid1","until":%d}`, soon), fmt.Sprintf(`{"credential":"cred1","revoked":true,"until":%d}`, soon),
			fmt.Sprintf(`{"account":100001,"dead_below_of":{"B2B_ACCESS":9},"until":%d}`, soon), `{"account":100002,"suspended":true}`,
		}
		v, stop := run(t, f, nil)
		defer stop()
		time.Sleep(80 * time.Second)
		count := func() int {
			v.mu.RLock()
			defer v.mu.RUnlock()
			return len(v.known.accounts) + len(v.known.credentials) + len(v.known.sessions)
		}
		if count() != 4 {
			t.Errorf("%d are known, want 4", count())
		}
		time.Sleep(100 * time.Second)
		if count() != 1 {
			t.Errorf("%d are known, want the suspended account alone", count())
		}
	})
}

func TestVerifyWhileMuchIsRevoked(t *testing.T) {
	f := newFake(t)
	v, stop := run(t, f, func(c *Config) { c.Seen = 100 })
	defer stop()
	token := f.mint(func(c *verify.Claims) { c.Session = "stays" })
	end := make(chan struct{})
	var callers sync.WaitGroup
	for range 2 {
		callers.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
				}
				if _, err := v.Verify(token, verify.Types); err != nil {
					t.Error(err)
					return
				}
				v.Key("none")
			}
		})
	}
	for i := range 100 {
		f.add(fmt.Sprintf(`{"session":"s%d","until":9999999999}`, i))
	}
	last := f.mint(func(c *verify.Claims) { c.Session = "s99" })
	for {
		if _, err := v.Verify(last, verify.Types); errors.Is(err, verify.ErrRevoked) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	close(end)
	callers.Wait()
}

func TestCredentialsFromAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "client")
	read := File(path)
	if _, _, err := read(); err == nil {
		t.Error("there is no file yet")
	}
	for text, want := range map[string]string{
		"client_id=u_1\nclient_secret=s=1\n":    "u_1 s=1",
		"client_secret=s\r\nx=y\nclient_id=u_2": "u_2 s",
		"client_id=u_1\n":                       " ",
		"u_1\ns\n":                              " ",
		"client_id=\nclient_secret=s\n":         " ",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		id, secret, err := read()
		if got := id + " " + secret; got != want || (err == nil) != (want != " ") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
		if err != nil && strings.Contains(err.Error(), "u_1") {
			t.Errorf("the error shows the file: %v", err)
		}
	}
}
