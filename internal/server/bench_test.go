package server

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/verify"
)

// A sink answers nowhere.
type sink struct {
	h    http.Header
	code int
}

func (s *sink) Header() http.Header         { return s.h }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(code int)        { s.code = code }

func (s *sink) SetReadDeadline(time.Time) error { return nil }

// serve answers r, with body, as often as the benchmark wants, without a socket: what is measured is our own work.
func serve(b *testing.B, w *world, r *http.Request, body string, want int) {
	s := &sink{h: http.Header{}}
	reader := strings.NewReader(body)
	r.Body, r.ContentLength = io.NopCloser(reader), int64(len(body))
	b.ReportAllocs()
	for b.Loop() {
		clear(s.h)
		reader.Reset(body)
		w.public.Handler.ServeHTTP(s, r)
		if s.code != want {
			b.Fatalf("answered %d, want %d", s.code, want)
		}
	}
}

func BenchmarkExchangeOfACachedKey(b *testing.B) {
	w := newWorld(b, unlimited)
	_, key, _ := w.issue(auth.APIKey)
	r := httptest.NewRequest("GET", "/authentication", nil)
	r.Header.Set("X-Liquid-Api-Key", key)
	w.ask("GET", "/authentication", "", "X-Liquid-Api-Key", key)
	serve(b, w, r, "", http.StatusCreated)
}

func BenchmarkLogin(b *testing.B) {
	w := newWorld(b, unlimited)
	_, username, password := w.issue(auth.Login)
	body := fmt.Sprintf(`{"username":%q,"password":%q}`, username, password)
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		s := &sink{h: http.Header{}}
		for pb.Next() {
			r := httptest.NewRequest("POST", "/auth/login", io.NopCloser(strings.NewReader(body)))
			r.ContentLength = int64(len(body))
			r.Header.Set("Content-Type", "application/json")
			clear(s.h)
			w.public.Handler.ServeHTTP(s, r)
			if s.code != http.StatusOK {
				b.Fatalf("answered %d", s.code)
			}
		}
	})
}

// A token that was seen before, asked about by a client that was, too.
func BenchmarkIntrospectionOfASeenToken(b *testing.B) {
	w := newWorld(b, unlimited)
	_, id, secret := w.issue(auth.OAuth)
	got, status := w.token(id, secret, "grant_type=client_credentials")
	if status != http.StatusOK {
		b.Fatalf("answered %d", status)
	}
	r := httptest.NewRequest("POST", "/oauth/introspect", nil)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(id, secret)
	serve(b, w, r, "token="+got.AccessToken, http.StatusOK)
}

// A call's token that was seen before: what a route pays for every call.
func BenchmarkVerifySeenToken(b *testing.B) {
	w := newWorld(b, unlimited)
	h := &holder{kind: auth.APIKey}
	h.credential, h.identifier, h.secret = w.issue(auth.APIKey, "orders:read")
	if !w.exchange(h) {
		b.Fatal("it did not get in")
	}
	from := auth.Caller{Address: netip.MustParseAddr("192.0.2.1")}
	want := auth.Want{Types: []verify.Type{verify.AccessToken}, Scopes: []string{"orders:read"}}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := w.Gate().Verify(b.Context(), h.access, from, want); err != nil {
			b.Fatal(err)
		}
	}
}
