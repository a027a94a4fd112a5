package server

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

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

// serve answers r as often as the benchmark wants, without a socket: what is measured is our own work.
func serve(b *testing.B, w *world, r *http.Request, want int) {
	s := &sink{h: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(s.h)
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
	serve(b, w, r, http.StatusCreated)
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
