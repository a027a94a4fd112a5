package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse/gatehouse/client"
)

const exchanged = "GET /authentication"

func TestATokenIsRenewedInTime(t *testing.T) {
	h := openHouse(t, "")
	c := h.client(h.key())
	first := token(t, c)
	h.wire.wants("the first call", exchanged)
	h.Clock.Advance(24*time.Hour - 7*time.Minute)
	if token(t, c) != first {
		t.Error("seven minutes before its end there is another")
	}
	h.wire.wants("seven minutes before its end")
	h.Clock.Advance(2 * time.Minute) // five are left, and a second for the request
	second := token(t, c)
	h.wire.wants("five minutes before its end", exchanged)
	if second == first {
		t.Error("five minutes before its end there is no other")
	}
	h.alive(first)
	h.alive(second)

	// Ten minutes: the last one, and up to twelve seconds more.
	basic := h.NewBasic(h.NewAccount("Another"))
	c = h.client(client.Basic{UserID: basic.Identifier, Password: client.NewSecret(basic.Secret)})
	first = token(t, c)
	h.wire.wants("an order token", "GET /order-authentication")
	h.Clock.Advance(8*time.Minute + 45*time.Second)
	if token(t, c) != first {
		t.Error("75 seconds before its end there is another")
	}
	h.Clock.Advance(16 * time.Second)
	if token(t, c) == first {
		t.Error("a minute before its end there is no other")
	}
	h.wire.wants("an order token, renewed", "GET /order-authentication")
}

// The moments at which processes renew the same token are not the same one.
func TestProcessesDoNotComeTogether(t *testing.T) {
	h := openHouse(t, "")
	key, store := h.key(), new(client.MemoryStore)
	token(t, h.client(key, func(c *client.Config) { c.Store = store }))
	saved, err := store.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h.Clock.Advance(24*time.Hour - 5*time.Minute - 30*time.Second)
	asked := 0
	h.wire.passed()
	for range 50 {
		one := new(client.MemoryStore)
		if err := one.Save(t.Context(), saved); err != nil {
			t.Fatal(err)
		}
		token(t, h.client(key, func(c *client.Config) { c.Store = one }))
		if h.wire.passed() != "" {
			asked++
		}
	}
	if asked == 0 || asked == 50 {
		t.Errorf("%d of 50 renew half a minute before the five", asked)
	}
}

// Whatever this machine's clock says: a token lives by the server's.
func TestAWrongClock(t *testing.T) {
	h := openHouse(t, "")
	for _, off := range []time.Duration{-90 * time.Minute, 90 * time.Minute, 5 * 365 * 24 * time.Hour, -30 * time.Second} {
		wrong := func() time.Time { return h.Clock.Now().Add(off) }
		c := h.client(h.login(), func(c *client.Config) { c.Now = wrong })
		first, err := c.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if life := first.Expires.Sub(wrong()); life < 59*time.Minute || life > time.Hour+2*time.Second {
			t.Errorf("%v: by our clock it lives for %v", off, life)
		}
		h.Clock.Advance(50 * time.Minute)
		if token(t, c) != first.Value.Reveal() {
			t.Errorf("%v: renewed ten minutes before its end", off)
		}
		h.Clock.Advance(5 * time.Minute)
		if token(t, c) == first.Value.Reveal() {
			t.Errorf("%v: not renewed five minutes before its end", off)
		}
		h.wire.wants(off.String(), "POST /auth/login", "POST /auth/refresh")
	}
}

func TestAHundredCallersAskOnce(t *testing.T) {
	h := openHouse(t, "")
	c := h.client(h.key())
	for round := range 3 {
		var wg sync.WaitGroup
		got := make([]string, 100)
		for i := range got {
			wg.Go(func() {
				if one, err := c.Token(t.Context()); err != nil {
					t.Error(err)
				} else {
					got[i] = one.Value.Reveal()
				}
			})
		}
		wg.Wait()
		for _, one := range got {
			if one != got[0] {
				t.Error("they have different tokens")
			}
		}
		h.wire.wants("round "+strconv.Itoa(round), exchanged)
		h.alive(got[0])
		h.Clock.Advance(24 * time.Hour)
	}
}

// A caller who leaves takes nobody along, whoever began; when all have left, what is under way is brought to its end, and
// kept.
func TestCallersWhoLeave(t *testing.T) {
	h := openHouse(t, "")
	c := h.client(h.key())
	arrived, goOn := make(chan struct{}), make(chan struct{})
	h.wire.on(once("/authentication", func(*http.Request) (*http.Response, error) {
		close(arrived)
		<-goOn
		return nil, errPass
	}))
	ctx, leave := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := c.Token(ctx)
		ended <- err
	}()
	<-arrived
	stays := make(chan string)
	go func() {
		got, err := c.Token(t.Context())
		if err != nil {
			t.Error(err)
			stays <- ""
			return
		}
		stays <- got.Value.Reveal()
	}()
	leave()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("who left got %v", err)
	}
	close(goOn)
	h.alive(<-stays)

	// Now alone.
	h.Clock.Advance(25 * time.Hour)
	h.wire.passed()
	arrived, goOn = make(chan struct{}), make(chan struct{})
	h.wire.on(once("/authentication", func(*http.Request) (*http.Response, error) {
		close(arrived)
		<-goOn
		return nil, errPass
	}))
	ctx, leave = context.WithCancel(t.Context())
	go func() {
		_, err := c.Token(ctx)
		ended <- err
	}()
	<-arrived
	leave()
	<-ended
	close(goOn)
	h.alive(token(t, c))
	h.wire.wants("after everybody left", exchanged)

	// Nobody waits: nothing new is begun.
	h.Clock.Advance(25 * time.Hour)
	ctx, leave = context.WithCancel(t.Context())
	h.wire.on(times(9, "/authentication", func(*http.Request) (*http.Response, error) {
		leave()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		close(goOn)
		return nil, io.ErrUnexpectedEOF
	}))
	goOn = make(chan struct{})
	go func() {
		_, err := c.Token(ctx)
		ended <- err
	}()
	<-goOn
	h.wire.on(nil)
	token(t, c)
	if got := h.wire.passed(); strings.Count(got, exchanged) != 2 {
		t.Errorf("what passed was %s", got)
	}
	if _, err := c.Token(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("who had left before: %v", err)
	}
}

// Callers who leave at any moment, while the server stalls, refuses and answers: whoever stays has a token, and a while after
// the last one nothing runs any more, or the bubble would not end.
func TestNothingIsLeftRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire(t, nil)
		w.on(func(req *http.Request) (*http.Response, error) {
			stalls := time.NewTimer(rand.N(15 * time.Second)) // the client waits for ten
			defer stalls.Stop()
			select {
			case <-stalls.C:
			case <-req.Context().Done():
				return nil, req.Context().Err()
			}
			if rand.N(3) == 0 {
				return says(503, "", "Retry-After", "1"), nil
			}
			now := time.Now()
			return says(201, fmt.Sprintf(`{"statusCode":200,"data":{"token":"t.%d.t","type":"ACCESS_TOKEN","exp":%d}}`,
				now.UnixNano(), now.Add(time.Minute).UnixMilli()), "Date", now.UTC().Format(http.TimeFormat)), nil
		})
		c := newClient(t, client.Config{
			BaseURL: "https://auth.example", Credential: client.APIKey{Key: client.NewSecret("k")}, Transport: w, Attempts: 99,
		})
		var wg sync.WaitGroup
		for i := range 500 {
			wg.Go(func() {
				time.Sleep(rand.N(5 * time.Minute))
				ctx := t.Context()
				if i%10 != 0 {
					limited, leave := context.WithTimeout(ctx, rand.N(20*time.Second))
					defer leave()
					ctx = limited
				}
				if _, err := c.Token(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, client.ErrUnavailable) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		time.Sleep(10 * time.Second) // of the bubble
	})
}

func TestWhatIsRetried(t *testing.T) {
	h := openHouse(t, "")
	key := h.key()
	date := func(in time.Duration) string { return h.Clock.Now().Add(in).UTC().Format(http.TimeFormat) }
	fail := func(n, status int, header ...string) func(*http.Request) (*http.Response, error) {
		return times(n, "/authentication", always(status, "", header...))
	}
	for _, c := range []struct {
		what string
		hook func(*http.Request) (*http.Response, error)
		want []string
		err  error
	}{
		{"429 with seconds", fail(1, 429, "Retry-After", "10"), []string{exchanged, "sleep 1", exchanged}, nil},
		{"503 with a date", fail(1, 503, "Date", date(0), "Retry-After", date(10*time.Second)), []string{exchanged, "sleep 1", exchanged}, nil},
		{"503 that does not say", fail(1, 503), []string{exchanged, "sleep 0s", exchanged}, nil},
		{"503 in the past", fail(1, 503, "Retry-After", date(-time.Hour)), []string{exchanged, "sleep 0s", exchanged}, nil},
		{"502", fail(3, 502), []string{exchanged, "sleep 0s", exchanged, "sleep 0s", exchanged, "sleep 0s", exchanged}, nil},
		{"504", fail(1, 504), []string{exchanged, "sleep 0s", exchanged}, nil},
		{"a connection", times(1, "/authentication", h.wire.lost), []string{exchanged, "sleep 0s", exchanged}, nil},
		{"502 for ever", fail(9, 502), []string{exchanged, "sleep 0s", exchanged, "sleep 0s", exchanged, "sleep 0s", exchanged}, client.ErrBadGateway},
		{"429 for an hour", fail(1, 429, "Retry-After", "3600"), []string{exchanged}, client.ErrTooManyRequests},
		{"400", fail(1, 400), []string{exchanged}, client.ErrBadRequest},
		{"403", fail(1, 403), []string{exchanged}, nil},
		{"500", fail(1, 500), []string{exchanged}, client.ErrInternal},
	} {
		cl := h.client(key)
		h.wire.on(c.hook)
		_, err := cl.Token(t.Context())
		passed := h.wire.passed()
		for part := range strings.SplitSeq(passed, ", ") { // Retry-After, and a part of it
			if strings.HasPrefix(part, "sleep 1") {
				if part != "sleep 10s" && part != "sleep 11s" && part != "sleep 12s" {
					t.Errorf("%s: %s", c.what, part)
				}
				passed = strings.Replace(passed, part, "sleep 1", 1)
			}
		}
		if want := strings.Join(c.want, ", "); passed != want {
			t.Errorf("%s: what passed was %s, want %s", c.what, passed, want)
		}
		if c.err != nil && !errors.Is(err, c.err) || c.err == nil && err != nil && c.what != "403" {
			t.Errorf("%s: %v", c.what, err)
		}
		h.wire.on(nil)
	}
}

// A Sleep that fails is an error, and the end.
func TestASleepThatFails(t *testing.T) {
	w := newWire(t, nil)
	w.on(always(502, ""))
	broken := errors.New("no clock")
	c := newClient(t, client.Config{
		BaseURL: "https://auth.example", Credential: client.APIKey{Key: client.NewSecret("k")}, Transport: w,
		Sleep: func(context.Context, time.Duration) error { return broken },
	})
	if _, err := c.Token(t.Context()); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	w.wants("a sleep that fails", exchanged)
}

// Callers come a hundred times a second. A server that has refused is not asked as often.
func TestARefusalStandsForAWhile(t *testing.T) {
	h := openHouse(t, "")
	c := h.client(h.key())
	h.wire.on(times(1, "/authentication", always(400, `{"statusCode":5000,"message":"API Key not found","errors":[]}`)))
	for range 10 {
		if _, err := c.Token(t.Context()); !errors.Is(err, client.ErrKeyNotFound) {
			t.Errorf("got %v", err)
		}
	}
	h.wire.wants("a refusal", exchanged)
	h.Clock.Advance(time.Second)
	token(t, c)
	h.wire.wants("a second later", exchanged)

	// Longer than anybody waits for.
	c = h.client(h.key())
	h.wire.on(times(1, "/authentication", always(429, "", "Retry-After", "120")))
	for range 10 {
		if _, err := c.Token(t.Context()); !errors.Is(err, client.ErrTooManyRequests) {
			t.Errorf("got %v", err)
		}
	}
	h.wire.wants("an hour", exchanged)
	h.Clock.Advance(time.Minute)
	token(t, c)
	h.wire.wants("a minute later", exchanged)
}

// A server that is away does not matter while a token is good, and is not waited for.
func TestATokenIsGoodUntilItsEnd(t *testing.T) {
	h := openHouse(t, "")
	var log bytes.Buffer
	c := h.client(h.key(), func(c *client.Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	first := token(t, c)
	h.wire.passed()
	h.wire.on(times(99, "/authentication", func(*http.Request) (*http.Response, error) { return nil, errors.New("no route to host") }))
	h.Clock.Advance(24*time.Hour - 4*time.Minute)
	for range 5 {
		if token(t, c) != first {
			t.Error("there is another")
		}
	}
	h.wire.wants("four minutes before its end", exchanged)
	h.Clock.Advance(30 * time.Second)
	token(t, c)
	h.wire.wants("half a minute later", exchanged)
	if text := log.String(); !strings.Contains(text, "no route to host") || strings.Contains(text, first) {
		t.Errorf("the log is %s", text)
	}
	h.wire.on(times(1, "/authentication", always(503, "", "Retry-After", "50")))
	h.Clock.Advance(30 * time.Second)
	token(t, c)
	h.Clock.Advance(49 * time.Second)
	token(t, c)
	h.wire.wants("told to wait", exchanged)
	h.Clock.Advance(time.Second)
	if token(t, c) == first {
		t.Error("there is no other")
	}
	h.wire.wants("as long as told", exchanged)

	h.wire.on(times(99, "/authentication", func(*http.Request) (*http.Response, error) { return nil, errors.New("no route to host") }))
	h.Clock.Advance(24 * time.Hour)
	if _, err := c.Token(t.Context()); err == nil {
		t.Error("a dead token was given")
	}
}
