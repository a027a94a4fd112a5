package remote

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/gatehouse/gatehouse/verify"
)

// FuzzReadAnswer reads whatever comes. The key takes any signature, so that the pages themselves are reached.
func FuzzReadAnswer(f *testing.F) {
	fake := newFake(f)
	fake.full = []string{`{"account":100001,"suspended":true,"dead_below_of":{"B2B_ACCESS":6}}`, `{"credential":"c","scope":""}`, `{"session":"s","until":9}`}
	w := httptest.NewRecorder()
	fake.answer(w, true, 0)
	var lines []string
	for line := range strings.Lines(w.Body.String()) {
		payload, _ := strict.DecodeString(strings.Split(line, ".")[1])
		lines = append(lines, string(payload))
	}
	f.Add(strings.Join(lines, "\n"))
	f.Add(lines[0])
	f.Add(`{"version":1,"incarnation":"x","answer":"a","page":1,"last":true,"iss":"https://auth.example.com","entries":[{"session":"s"}]}`)
	f.Fuzz(func(t *testing.T, said string) {
		var body strings.Builder
		for line := range strings.SplitSeq(said, "\n") {
			body.WriteString(fake.keys[0].sign("header", []byte(line)) + "\n")
		}
		a, err := readAnswer(strings.NewReader(body.String()), []string{server}, func(string) (*verify.Key, error) { return fake.keys[0].key, nil }, func() {})
		if err != nil {
			return
		}
		// Whatever is believed says which answer it is of, and something of each entry.
		if a.Incarnation == "" || !a.Last || a.Position < 0 || a.Age < 0 || a.Version != version || a.Issuer != server {
			t.Fatalf("%q was read as %+v", said, a.page)
		}
		first, _, _ := strings.Cut(said, "\n")
		var page struct{ Entries []json.RawMessage }
		if err := json.Unmarshal([]byte(first), &page); err != nil {
			t.Fatalf("%q was believed, encoding/json says %v", said, err)
		}
		if n := len(a.told.accounts) + len(a.told.credentials) + len(a.told.sessions); n == 0 && len(page.Entries) > 0 {
			t.Fatalf("%q: nothing is known of %d entries", said, len(page.Entries))
		}
		a.told.standing(&verify.Claims{Account: 100001, Credential: "c", Session: "s", Type: verify.B2BAccess}, 0)
		a.told.forget(1 << 40)
	})
}

// FuzzOpenPage: whoever has no key of ours is believed nothing.
func FuzzOpenPage(f *testing.F) {
	fake := newFake(f)
	w := httptest.NewRecorder()
	fake.answer(w, true, 0)
	line := strings.TrimSuffix(w.Body.String(), "\n")
	find := func(header string) (*verify.Key, error) {
		if header != fake.keys[0].key.HeaderOf(verify.RevocationsType) {
			return nil, fmt.Errorf("unknown")
		}
		return fake.keys[0].key, nil
	}
	f.Add(line)
	f.Add(fake.mint(nil))
	f.Add("..")
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := openPage(s, find); err == nil && s != line {
			t.Fatalf("forged: %q", s)
		}
	})
}

// FuzzParseKey reads the keys of a key set.
func FuzzParseKey(f *testing.F) {
	for _, jwk := range jwks(f) {
		f.Add(jwk)
	}
	f.Add(`{"kty":"oct","alg":"HS256","kid":"x","k":"AAAA"}`)
	f.Fuzz(func(t *testing.T, s string) {
		key, err := parseKey([]byte(s))
		if err != nil {
			return
		}
		if key.Algorithm == verify.HS256 || key.ID == "" || key.Verify("a.b", make([]byte, 64)) {
			t.Fatalf("%q makes the key %s of %s", s, key.ID, key.Algorithm)
		}
	})
}

// jwks are good keys, one of each algorithm.
func jwks(t testing.TB) []string {
	t.Helper()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := ec.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	return []string{
		newSigner(t, "eddsa").jwk(),
		fmt.Sprintf(`{"use":"sig","kty":"EC","kid":"es256","crv":"P-256","alg":"ES256","x":%q,"y":%q}`, b64(point[1:33]), b64(point[33:])),
		fmt.Sprintf(`{"use":"sig","kty":"RSA","kid":"rs256","alg":"RS256","n":%q,"e":"AQAB"}`, b64(rs.N.Bytes())),
	}
}

func TestKeysThatAreTakenAndKeysThatAreNot(t *testing.T) {
	good := jwks(t)
	k := newKeys(server, nil, discard())
	if err := k.replace([]byte(`{"keys":[` + strings.Join(good, ",") + `]}`)); err != nil || len(k.ring.Load().tokens) != 3 {
		t.Fatalf("%d keys, %v", len(k.ring.Load().tokens), err)
	}
	for name, bent := range map[string]string{
		"for encryption":    strings.Replace(good[0], `"sig"`, `"enc"`, 1),
		"another curve":     strings.Replace(good[0], `Ed25519`, `Ed448`, 1),
		"another algorithm": strings.Replace(good[1], `ES256`, `EdDSA`, 1),
		"no algorithm":      strings.Replace(good[1], `"alg":"ES256",`, ``, 1),
		"off the curve":     strings.Replace(good[1], `"x":"`, `"x":"AAAA`, 1),
		"a shared secret":   `{"use":"sig","kty":"oct","kid":"hs256","alg":"HS256","k":"` + strings.Repeat("A", 86) + `"}`,
		"a short modulus":   `{"use":"sig","kty":"RSA","kid":"rs256","alg":"RS256","n":"AQAB","e":"AQAB"}`,
		"an exponent of 1":  strings.Replace(good[2], `"AQAB"`, `"AQ"`, 1),
		"no kid":            strings.Replace(good[0], `"kid":"eddsa"`, `"kid":""`, 1),
		"padding":           strings.Replace(good[0], `"}`, `="}`, 1),
		"a number":          `7`,
	} {
		if err := k.replace([]byte(`{"keys":[` + bent + `]}`)); err != nil || len(k.ring.Load().tokens) != 0 {
			t.Errorf("%s: %d keys, %v", name, len(k.ring.Load().tokens), err)
		}
	}
	for _, set := range []string{``, `[]`, `{"keys":7}`, `{"keys":[`} {
		if err := k.replace([]byte(set)); err == nil {
			t.Errorf("%q is a key set", set)
		}
	}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestTheKeySetIsFetchedWithItsTag(t *testing.T) {
	f := newFake(t)
	v := newVerifier(t, config(f))
	for range 2 {
		if err := v.keys.fetch(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	before := v.keys.ring.Load()
	if err := v.keys.fetch(t.Context()); err != nil || v.keys.ring.Load() != before {
		t.Errorf("a key set that did not change was read again (%v)", err)
	}
	f.set(func() { f.status = http.StatusNotModified; f.etags = false })
	v.keys.etag = ""
	if err := v.keys.fetch(t.Context()); err == nil {
		t.Error("304 to a question without a tag")
	}
}

// The page that docs/revocation-feed.md shows is one that this package reads.
func TestThePageThatIsShownIsRead(t *testing.T) {
	text, err := os.ReadFile("../../docs/revocation-feed.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(string(text), "```json\n")
	shown, _, _ = strings.Cut(shown, "```")
	p, err := readPage([]byte(shown))
	if err != nil || len(p.Entries) != 5 {
		t.Fatalf("%+v, %v", p, err)
	}
	told := newRevocations()
	for i := range p.Entries {
		told.take(&p.Entries[i])
	}
	for session, want := range map[string]verify.Standing{
		"01K…": {Revoked: true}, "another": {Narrowed: true, Scope: "orders:read"},
	} {
		c := &verify.Claims{Account: 100002, Credential: "lM3nO5pQ7rS9", Session: session, Type: verify.B2BAccess, Position: 4705}
		if got := told.standing(c, p.IssuedAt); got != want {
			t.Errorf("session %s: %+v, want %+v", session, got, want)
		}
	}
}

// What a full answer of so many revocations costs a verifier.
func BenchmarkReadAnswer(b *testing.B) {
	for _, many := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(many), func(b *testing.B) {
			f := newFake(b)
			for i := range many {
				f.full = append(f.full, fmt.Sprintf(`{"session":"session%016d","until":9999999999}`, i))
			}
			f.perPage = 4000
			w := httptest.NewRecorder()
			f.answer(w, true, 0)
			body := w.Body.String()
			find := func(string) (*verify.Key, error) { return f.keys[0].key, nil }
			b.ReportAllocs()
			for b.Loop() {
				if _, err := readAnswer(strings.NewReader(body), []string{server}, find, func() {}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
