package remote

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/verify"
)

const server = "https://auth.example.com"

// A fake is a server with a feed, asked without a socket.
type fake struct {
	t  testing.TB
	mu sync.Mutex

	incarnation string
	position    int64
	log         []string // entries as they stand on the wire; the last is that of position
	full        []string // what a full answer says
	revokedKeys []string
	moved       chan struct{}

	keys    []*signer // the first signs
	etags   bool
	status  int                         // what every request is answered with; 0: as it should be
	bend    func(page map[string]any)   // changes what is said before it is signed
	rewrite func(body string) string    // changes what is sent
	typ     string                      // of the answer
	asked   []string                    // the queries of the feed
	fetches int                         // of the key set
	reply   func(w http.ResponseWriter) // answers the feed instead
	silent  bool                        // the feed is not answered at all
	perPage int                         // entries; 0 stands for 2
}

// A signer is a key of the server.
type signer struct {
	private ed25519.PrivateKey
	key     *verify.Key
}

func newSigner(t testing.TB, id string) *signer {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := verify.NewKey(id, verify.EdDSA, public)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{private, key}
}

func (s *signer) sign(header string, payload []byte) string {
	signed := header + "." + base64.RawURLEncoding.EncodeToString(payload)
	return signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(s.private, []byte(signed)))
}

func (s *signer) jwk() string {
	return fmt.Sprintf(`{"use":"sig","kty":"OKP","kid":%q,"crv":"Ed25519","alg":"EdDSA","x":%q}`,
		s.key.ID, base64.RawURLEncoding.EncodeToString(s.private.Public().(ed25519.PublicKey)))
}

func newFake(t testing.TB) *fake {
	return &fake{t: t, incarnation: "one", position: 5, moved: make(chan struct{}), keys: []*signer{newSigner(t, "key1")}, etags: true}
}

// questions is how often the feed was asked, and fetched how often the key set was.
func (f *fake) questions() int { return f.count(func() int { return len(f.asked) }) }
func (f *fake) fetched() int   { return f.count(func() int { return f.fetches }) }

func (f *fake) count(of func() int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return of()
}

// at is where v is.
func at(v *Verifier) string {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return fmt.Sprint(v.incarnation, " ", v.position)
}

// set changes the server.
func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	close(f.moved)
	f.moved = make(chan struct{})
}

// add appends entries to what the server tells.
func (f *fake) add(entries ...string) {
	f.set(func() {
		f.log = append(f.log, entries...)
		f.position += int64(len(entries))
	})
}

func (f *fake) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	switch r.URL.Path {
	case keySetPath:
		f.keySet(w, r)
	case feedPath:
		if err := f.feed(w, r); err != nil {
			return nil, err
		}
	default:
		f.t.Errorf("%s was asked for", r.URL)
	}
	res := w.Result()
	res.Request = r
	return res, nil
}

func (f *fake) keySet(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fetches++
	if f.status != 0 {
		w.WriteHeader(f.status)
		return
	}
	var all []string
	for _, k := range f.keys {
		all = append(all, k.jwk())
	}
	body := `{"keys":[` + strings.Join(all, ",") + `]}`
	if f.etags {
		tag := strconv.Quote(strconv.Itoa(len(f.keys)) + f.keys[0].key.ID)
		w.Header().Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	fmt.Fprint(w, body)
}

func (f *fake) feed(w http.ResponseWriter, r *http.Request) error {
	if id, secret, ok := r.BasicAuth(); !ok || id != "u_client" || secret != "secret%26" {
		f.t.Errorf("asked with the client %q", id)
	}
	q := r.URL.Query()
	f.mu.Lock()
	f.asked = append(f.asked, r.URL.RawQuery)
	incarnation, number, _ := strings.Cut(q.Get("after"), ".")
	after, _ := strconv.ParseInt(number, 10, 64)
	if f.status == 0 && f.reply == nil && incarnation == f.incarnation && after == f.position && q.Get("wait") != "" {
		wait, _ := strconv.Atoi(q.Get("wait"))
		moved := f.moved
		f.mu.Unlock()
		select {
		case <-moved:
		case <-time.After(time.Duration(wait) * time.Second):
		case <-r.Context().Done():
			return context.Cause(r.Context())
		}
		f.mu.Lock()
	}
	if f.silent {
		f.mu.Unlock()
		<-r.Context().Done()
		return context.Cause(r.Context())
	}
	defer f.mu.Unlock()
	if f.status != 0 {
		w.WriteHeader(f.status)
		return nil
	}
	if f.reply != nil {
		f.reply(w)
		return nil
	}
	f.answer(w, incarnation != f.incarnation || after < f.position-int64(len(f.log)), after)
	return nil
}

// answer is called with mu held.
func (f *fake) answer(w http.ResponseWriter, full bool, after int64) {
	entries := f.full
	if !full {
		entries = f.log[max(0, len(f.log)-max(0, int(f.position-after))):]
	}
	var parts [][]string
	for n := cmp.Or(f.perPage, 2); len(entries) > n; {
		parts, entries = append(parts, entries[:n]), entries[n:]
	}
	parts = append(parts, entries)
	var body strings.Builder
	for i, part := range parts {
		page := map[string]any{
			"iss": server, "iat": time.Now().Unix(), "version": 1, "answer": "answer" + strconv.Itoa(len(f.asked)), "page": i + 1,
			"last": i == len(parts)-1, "full": full, "incarnation": f.incarnation, "position": f.position, "age_ms": 100,
			"revoked_keys": append([]string{}, f.revokedKeys...), "entries": json.RawMessage("[" + strings.Join(part, ",") + "]"),
		}
		if f.bend != nil {
			f.bend(page)
		}
		payload, err := json.Marshal(page)
		if err != nil {
			f.t.Error(err)
		}
		body.WriteString(f.keys[0].sign(f.keys[0].key.HeaderOf(verify.RevocationsType), payload) + "\n")
	}
	text := body.String()
	if f.rewrite != nil {
		text = f.rewrite(text)
	}
	w.Header().Set("Content-Type", mediaType)
	if f.typ != "" {
		w.Header().Set("Content-Type", f.typ)
	}
	fmt.Fprint(w, text)
}

// mint makes a token that is good but for revocations; bend may change what it says.
func (f *fake) mint(bend func(*verify.Claims)) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return mintWith(f.keys[0], bend)
}

func mintWith(s *signer, bend func(*verify.Claims)) string {
	now := time.Now().Unix()
	c := verify.Claims{
		Issuer: server, Subject: "100001", Audience: server, IssuedAt: now, NotBefore: now - 30, Expires: now + 86400, AuthTime: now,
		ID: "jti1", Type: verify.B2BAccess, Credential: "cred1", Session: "sid1", Position: 5, Granted: "orders:read orders:write",
	}
	if bend != nil {
		bend(&c)
	}
	return s.sign(s.key.Header(), c.Append(nil))
}

func config(f *fake) Config {
	return Config{
		URL: server, Credentials: func() (id, secret string, err error) { return "u_client", "secret&", nil },
		Client: &http.Client{Transport: f}, MaxStaleness: time.Minute,
	}
}

func newVerifier(t testing.TB, c Config) *Verifier {
	t.Helper()
	v, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// run lets a verifier follow the server until stop is called, and waits until it knows everything.
func run(t *testing.T, f *fake, bend func(*Config)) (v *Verifier, stop func()) {
	t.Helper()
	c := config(f)
	if bend != nil {
		bend(&c)
	}
	v = newVerifier(t, c)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := v.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := v.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return v, func() { cancel(); running.Wait() }
}
