package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
)

// A shelf is a store in memory.
type shelf struct {
	mu       sync.Mutex
	holder   string
	acts     []auth.AuditEntry
	seq      int64
	queue    []auth.WebhookMessage
	number   int64
	told     map[string]bool
	expiring []auth.Credential
	old      []auth.Credential
}

func (s *shelf) ClaimWebhooks(_ context.Context, replica string, _ time.Duration) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holder == "" {
		s.holder = replica
	}
	return s.holder == replica, nil
}

func (s *shelf) WebhookActs(_ context.Context, most int) ([]auth.AuditEntry, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rest := s.acts[s.seq:]
	return slices.Clone(rest[:min(len(rest), most)]), s.seq, nil
}

func (s *shelf) QueueWebhooks(_ context.Context, behind, to int64, messages []auth.WebhookMessage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seq == behind {
		s.seq = to
		s.add(messages)
	}
	return nil
}

func (s *shelf) add(messages []auth.WebhookMessage) {
	for _, m := range messages {
		s.number++
		m.Number = s.number
		s.queue = append(s.queue, m)
	}
}

func (s *shelf) QueueWebhooksOnce(_ context.Context, what string, _ time.Time, messages []auth.WebhookMessage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.told[what] {
		s.told[what] = true
		s.add(messages)
	}
	return nil
}

func (s *shelf) NextWebhook(_ context.Context, endpoint string) (auth.WebhookMessage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.queue {
		if m.Endpoint == endpoint {
			return m, nil
		}
	}
	return auth.WebhookMessage{}, auth.ErrNotFound
}

func (s *shelf) WebhookDelivered(_ context.Context, number int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = slices.DeleteFunc(s.queue, func(m auth.WebhookMessage) bool { return m.Number == number })
	return nil
}

func (s *shelf) WebhookFailed(_ context.Context, number int64, next time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.queue {
		if m := &s.queue[i]; m.Number == number {
			m.Tries, m.NextAt = m.Tries+1, next
		}
	}
	return nil
}

func (s *shelf) TrimWebhooks(context.Context, time.Time, int, []string) (int64, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return 0, int64(len(s.queue)), nil
}

func (s *shelf) CredentialsToTell(context.Context, string, time.Duration) ([]auth.Credential, error) {
	return s.expiring, nil
}

func (s *shelf) OldSecretsToTell(context.Context, string, time.Duration) ([]auth.Credential, error) {
	return s.old, nil
}

func (s *shelf) act(action string, account auth.AccountID, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acts = append(s.acts, auth.AuditEntry{
		Seq: int64(len(s.acts) + 1), At: at, Act: auth.Act{Actor: "operator jane@example.com", Action: action, Detail: "gk_live_secret", RequestID: "reqid_1", Address: netip.MustParseAddr("203.0.113.7")},
		About: auth.Subject{Account: account, Credential: "aB3dE5gH7jK9", Secret: 2},
	})
}

var start = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

// hears is a receiver who takes what he is sent unless he is out of order, in the order that he gets it.
func hears(t *testing.T) (e Endpoint, heard func() []string, broken func(bool)) {
	t.Helper()
	var mu sync.Mutex
	var got []string
	down := false
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m event
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if down {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		got = append(got, fmt.Sprintf("%s %d", m.Type, m.Data.Account))
	}))
	t.Cleanup(s.Close)
	return Endpoint{URL: s.URL, Key: key, AllowInternal: true}, func() []string {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(got)
		}, func(is bool) {
			mu.Lock()
			defer mu.Unlock()
			down = is
		}
}

// A teller is a Sender whose steps the test takes by hand.
func teller(t *testing.T, s *shelf, now *time.Time, endpoints ...Endpoint) *Sender {
	t.Helper()
	sender, err := New(Config{Store: s, Replica: "one", Endpoints: endpoints, Now: func() time.Time { return *now }})
	if err != nil {
		t.Fatal(err)
	}
	return sender
}

// step gathers what there is and sends what is due.
func step(t *testing.T, s *Sender) {
	t.Helper()
	if err := s.gather(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, e := range s.endpoints {
		for more := true; more; {
			var err error
			if more, err = s.deliverNext(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Events come in order, at least once each, to each endpoint what it asked for; one that is out of order keeps its own waiting and nobody
// else's.
func TestEventsComeInOrder(t *testing.T) {
	store, now := &shelf{told: map[string]bool{}}, start
	all, heardAll, brokenAll := hears(t)
	some, heardSome, _ := hears(t)
	some.Events = []string{"account.*", "session.reuse_detected"}
	sender := teller(t, store, &now, all, some)
	store.act("account.suspend", 100001, now)
	store.act("credential.rotate", 100001, now)
	store.act("account.read", 100001, now) // nobody is told
	store.act("account.resume", 100002, now.Add(-4*24*time.Hour))
	step(t, sender)
	brokenAll(true)
	store.act("account.resume", 100001, now)
	store.act("credential.revoke", 100003, now)
	step(t, sender)
	if want := []string{"account.suspended 100001", "credential.rotated 100001"}; !slices.Equal(heardAll(), want) {
		t.Errorf("heard %q, want %q", heardAll(), want)
	}
	if want := []string{"account.suspended 100001", "account.resumed 100001"}; !slices.Equal(heardSome(), want) {
		t.Errorf("the other heard %q, want %q", heardSome(), want)
	}
	brokenAll(false)
	step(t, sender) // its time has not come
	if got := sender.config.Stats; got.Failed.Load() != 1 || got.Delivered.Load() != 4 {
		t.Errorf("%d were delivered and %d failed", got.Delivered.Load(), got.Failed.Load())
	}
	now = now.Add(backOff(0))
	again := teller(t, store, &now, all, some) // a restart between
	step(t, again)
	if want := []string{"account.suspended 100001", "credential.rotated 100001", "account.resumed 100001", "credential.revoked 100003"}; !slices.Equal(heardAll(), want) {
		t.Errorf("heard %q, want %q", heardAll(), want)
	}
	store.holder = "two"
	store.act("account.suspend", 100009, now)
	step(t, again)
	if len(heardAll()) != 4 || again.mine.Load() {
		t.Error("it is another replica's to send")
	}
}

// What ends soon is told once, whoever asks how often; no event holds a secret, nor what an act says in free words.
func TestWhatEndsSoonIsToldOnce(t *testing.T) {
	store, now := &shelf{told: map[string]bool{}}, start
	e, heard, _ := hears(t)
	used := auth.Use{At: now.Add(-time.Hour), Address: netip.MustParseAddr("203.0.113.9")}
	store.expiring = []auth.Credential{{ID: "c1", Account: 100001, Kind: auth.Login, Name: "till", ExpiresAt: now.Add(48 * time.Hour)}}
	store.old = []auth.Credential{
		{ID: "c2", Account: 100002, Secrets: []auth.Secret{{Number: 2, CreatedAt: now.Add(-48 * time.Hour)}, {Number: 1, ExpiresAt: now.Add(40 * time.Hour), LastUse: used, Digest: []byte("digest")}}},
		{ID: "c3", Account: 100003, Secrets: []auth.Secret{{Number: 2, CreatedAt: now.Add(-96 * time.Hour), LastUse: used}, {Number: 1, ExpiresAt: now.Add(40 * time.Hour)}}},
	}
	sender := teller(t, store, &now, e)
	for range 3 {
		step(t, sender)
		now = now.Add(lookEvery)
	}
	if want := []string{"credential.expiring 100001", "secret.old_in_use 100002"}; !slices.Equal(heard(), want) {
		t.Errorf("heard %q, want %q", heard(), want)
	}
	store.act("credential.create", 100001, now)
	if err := sender.gatherActs(t.Context()); err != nil || len(store.queue) != 1 {
		t.Fatal(store.queue, err)
	}
	body := store.queue[0].Body
	if strings.Contains(body, "secret\":\"") || strings.Contains(body, "gk_live") || !strings.Contains(body, `"type":"credential.created"`) || !strings.Contains(body, `"actor":"operator jane@example.com"`) {
		t.Errorf("the event is %s", body)
	}
}

func TestWanted(t *testing.T) {
	for _, c := range []struct {
		events string
		kind   string
		want   bool
	}{
		{"", "credential.revoked", true},
		{"*", "credential.revoked", true},
		{"credential.*", "credential.revoked", true},
		{"credential.revoked", "credential.revoked", true},
		{"credential", "credential.revoked", false},
		{"account.*", "credential.revoked", false},
		{"account.* credential.revoked", "credential.revoked", true},
	} {
		if got := Wanted(strings.Fields(c.events), c.kind); got != c.want {
			t.Errorf("%q wants %s: %v", c.events, c.kind, got)
		}
	}
}

// Run sends by itself, and ends.
func TestRun(t *testing.T) {
	store := &shelf{told: map[string]bool{}}
	e, heard, _ := hears(t)
	sender, err := New(Config{Store: store, Replica: "one", Endpoints: []Endpoint{e}})
	if err != nil {
		t.Fatal(err)
	}
	store.act("account.suspend", 100001, time.Now())
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- sender.Run(ctx) }()
	for deadline := time.Now().Add(time.Minute); len(heard()) == 0 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	if err := <-ended; err != nil || len(heard()) != 1 {
		t.Errorf("heard %q, %v", heard(), err)
	}
}
