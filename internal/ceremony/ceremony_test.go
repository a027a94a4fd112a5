package ceremony

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// A memory is where what counted once is remembered.
type memory struct {
	mu   sync.Mutex
	seen map[string]time.Time
	away error
}

func (m *memory) First(_ context.Context, name string, until time.Time) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.away != nil {
		return false, m.away
	}
	if _, again := m.seen[name]; again {
		return false, nil
	}
	m.seen[name] = until
	return true, nil
}

func mac(key string) func(parts ...string) [sha256.Size]byte {
	return func(parts ...string) [sha256.Size]byte {
		h := hmac.New(sha256.New, []byte(key))
		for _, p := range parts {
			h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p))))
			h.Write([]byte(p))
		}
		return [sha256.Size]byte(h.Sum(nil))
	}
}

// A world is some servers with one memory, and a clock.
type world struct {
	now    time.Time
	memory *memory
}

func newWorld() *world {
	return &world{now: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC), memory: &memory{seen: map[string]time.Time{}}}
}

func (w *world) server(t testing.TB, key string) *Ceremonies {
	t.Helper()
	c, err := New(Config{MAC: mac(key), Once: w.memory, Now: func() time.Time { return w.now }})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var signIn = Question{Purpose: "passkey sign-in", Browser: "cookie of one browser", About: []string{"a", "b"}}

func TestAChallengeCountsOnceForItsQuestion(t *testing.T) {
	w := newWorld()
	one, other := w.server(t, "k"), w.server(t, "k")
	challenge := one.Begin(signIn)
	if len(challenge) != 75 || len(w.memory.seen) != 0 {
		t.Errorf("a challenge of %d letters, and %d are remembered", len(challenge), len(w.memory.seen))
	}
	if err := other.End(t.Context(), signIn, challenge); err != nil {
		t.Errorf("on another server: %v", err)
	}
	for _, until := range w.memory.seen {
		if !until.Equal(w.now.Add(Life)) {
			t.Errorf("it is remembered until %v", until)
		}
	}
	if err := one.End(t.Context(), signIn, challenge); !errors.Is(err, ErrOver) {
		t.Errorf("once more: %v", err)
	}

	challenge = one.Begin(signIn)
	w.now = w.now.Add(Life - time.Millisecond)
	if err := one.End(t.Context(), signIn, challenge); err != nil {
		t.Errorf("at the last moment: %v", err)
	}
	challenge = one.Begin(signIn)
	w.now = w.now.Add(Life)
	if err := one.End(t.Context(), signIn, challenge); !errors.Is(err, ErrOver) {
		t.Errorf("too late: %v", err)
	}
}

func TestChallengesForSomethingElse(t *testing.T) {
	w := newWorld()
	c := w.server(t, "k")
	good := c.Begin(signIn)
	raw, _ := base64.RawURLEncoding.DecodeString(good)
	later := append([]byte(nil), raw...)
	binary.BigEndian.PutUint64(later[16:], uint64(w.now.Add(time.Hour).UnixMilli()))
	for name, one := range map[string]struct {
		question  Question
		challenge string
	}{
		"another purpose": {Question{"passkey step-up", signIn.Browser, signIn.About}, good},
		"another browser": {Question{signIn.Purpose, "cookie of another", signIn.About}, good},
		"no browser":      {Question{signIn.Purpose, "", signIn.About}, good},
		"another person":  {Question{signIn.Purpose, signIn.Browser, []string{"a", "c"}}, good},
		"nobody":          {Question{signIn.Purpose, signIn.Browser, nil}, good},
		"run together":    {Question{signIn.Purpose, signIn.Browser, []string{"ab"}}, good},
		"empty":           {signIn, ""},
		"cut":             {signIn, good[:len(good)-1]},
		"longer":          {signIn, good + "AAAA"},
		"padded":          {signIn, good + "="},
		"a line break":    {signIn, good[:10] + "\n" + good[10:]},
		"plain base64":    {signIn, strings.Repeat("+", 75)},
		"prolonged":       {signIn, base64.RawURLEncoding.EncodeToString(later)},
		"of another key":  {signIn, w.server(t, "other").Begin(signIn)},
	} {
		if err := c.End(t.Context(), one.question, one.challenge); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for _, last := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" { // one spelling
		if twin := good[:74] + string(last); twin != good && c.End(t.Context(), signIn, twin) == nil {
			t.Errorf("%s counts too", twin)
		}
	}
	if err := c.End(t.Context(), signIn, good); err != nil {
		t.Errorf("after all that: %v", err)
	}
	alone := Question{Purpose: "x"}
	if err := c.End(t.Context(), alone, c.Begin(alone)); !errors.Is(err, ErrForeign) {
		t.Errorf("bound to no browser: %v", err)
	}
}

func TestWhatCannotBeRememberedDoesNotCount(t *testing.T) {
	w := newWorld()
	c := w.server(t, "k")
	w.memory.away = errors.New("the database is away")
	if err := c.End(t.Context(), signIn, c.Begin(signIn)); !errors.Is(err, auth.ErrOverloaded) {
		t.Errorf("got %v", err)
	}
}

// Of many who answer at once one is taken.
func TestOneAnswerIsTaken(t *testing.T) {
	w := newWorld()
	c := w.server(t, "k")
	challenge := c.Begin(signIn)
	var taken atomic.Int32
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			if c.End(t.Context(), signIn, challenge) == nil {
				taken.Add(1)
			}
		})
	}
	all.Wait()
	if taken.Load() != 1 {
		t.Errorf("%d were taken", taken.Load())
	}
}

func TestDerivedSecrets(t *testing.T) {
	w := newWorld()
	c := w.server(t, "k")
	a, b := c.Begin(signIn), c.Begin(signIn)
	if a == b {
		t.Fatal("the same challenge twice")
	}
	seen := map[string]bool{}
	for _, s := range []string{c.Derived(a, "nonce"), c.Derived(a, "verifier"), c.Derived(b, "nonce"), w.server(t, "other").Derived(a, "nonce")} {
		if len(s) != 43 || seen[s] {
			t.Errorf("%q", s)
		}
		seen[s] = true
	}
	if w.server(t, "k").Derived(a, "nonce") != c.Derived(a, "nonce") {
		t.Error("another server derives another")
	}
}

func TestNewWantsBoth(t *testing.T) {
	if _, err := New(Config{MAC: mac("k")}); err == nil {
		t.Error("without a memory")
	}
	if _, err := New(Config{Once: newWorld().memory}); err == nil {
		t.Error("without a key")
	}
}

func FuzzEnd(f *testing.F) {
	w := newWorld()
	c := w.server(f, "k")
	f.Add(c.Begin(signIn))
	f.Add("")
	f.Add(strings.Repeat("A", 75))
	f.Fuzz(func(t *testing.T, challenge string) {
		if b, err := decode(challenge); err == nil && base64.RawURLEncoding.EncodeToString(b) != challenge {
			t.Fatalf("%q has another spelling", challenge)
		}
		if err := c.End(t.Context(), Question{Purpose: "another", Browser: "x"}, challenge); !errors.Is(err, ErrForeign) {
			t.Fatalf("%q: %v", challenge, err)
		}
	})
}
