package gateway

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse/gatehouse/internal/auth"
	"github.com/gatehouse/gatehouse/internal/web"
	"github.com/gatehouse/gatehouse/verify"
)

// yes lets everybody in, at no cost.
type yes struct{ who verify.Principal }

func (y yes) Verify(context.Context, string, auth.Caller, auth.Want) (verify.Principal, auth.Limit, error) {
	return y.who, auth.Limit{}, nil
}

// proxies are a bare ReverseProxy and a gateway on the floor, to the same upstream over the same transport.
func proxies(b *testing.B, upstream string, transport http.RoundTripper) map[string]http.Handler {
	b.Helper()
	target, err := url.Parse(upstream)
	if err != nil {
		b.Fatal(err)
	}
	bare := &httputil.ReverseProxy{Transport: transport, BufferPool: &buffers{}, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.SetXForwarded()
	}}
	who := verify.Principal{Claims: &verify.Claims{
		Subject: "100001", Account: 100001, Credential: "cred00000001", Session: "session1", Type: verify.B2BAccess,
	}, Scope: "orders:read orders:write"}
	g, err := New(Config{
		Routes: newTable(b, open("/"), Route{Path: "/api/v1/", Accepts: []verify.Type{verify.B2BAccess}, Upstream: target}),
		Gate:   yes{who}, Transport: transport, KeyHeader: "X-LIQUID-API-KEY",
	})
	if err != nil {
		b.Fatal(err)
	}
	floor, err := web.New(web.Config{
		Next: g.Serve, Fallbacks: []web.Fallback{{Refuse: refuseAs("liquid")}}, Observe: func(*auth.Observation) {},
		Resolve: func(r *http.Request) (netip.Addr, netip.Addr, string) {
			a, _ := netip.ParseAddrPort(r.RemoteAddr)
			return a.Addr(), a.Addr(), ""
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	return map[string]http.Handler{"bare": bare, "gateway": floor}
}

func typicalCall(b *testing.B, base string) *http.Request {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, base+"/api/v1/orders/7?full=1", nil)
	if err != nil {
		b.Fatal(err)
	}
	r.Header = http.Header{
		"Authorization": {"Bearer " + strings.Repeat("x", 600)}, "Accept": {"application/json"}, "User-Agent": {"sdk/1.7"},
		"Accept-Encoding": {"gzip"}, "X-Liquid-Api-Key": {"gk_live_x"}, "X-Liquid-Api-Sdk": {"node"},
	}
	return r
}

// What a call costs from socket to socket. Compare "bare" and "gateway": the difference is to stay below 15 %.
func BenchmarkSockets(b *testing.B) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":7}`)
	}))
	defer api.Close()
	for name, handler := range proxies(b, api.URL, newTransport(Timeouts{Connect: time.Second})) {
		b.Run(name, func(b *testing.B) {
			s := httptest.NewServer(handler)
			defer s.Close()
			r := typicalCall(b, s.URL)
			b.ReportAllocs()
			for b.Loop() {
				res, err := s.Client().Transport.RoundTrip(r)
				if err != nil || res.StatusCode != http.StatusOK {
					b.Fatal(res, err)
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
		})
	}
}

type instant struct{}

func (instant) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, ContentLength: 8, Body: io.NopCloser(strings.NewReader(`{"id":7}`)),
		Header: http.Header{"Content-Type": {"application/json"}, "Content-Length": {"8"}},
	}, nil
}

// What of it is our own work, without any socket.
func BenchmarkWork(b *testing.B) {
	for name, handler := range proxies(b, "http://api", instant{}) {
		b.Run(name, func(b *testing.B) {
			r := typicalCall(b, "http://gateway")
			r.RequestURI, r.RemoteAddr = r.URL.RequestURI(), "203.0.113.7:1234"
			w := &discard{h: make(http.Header)}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.h)
				handler.ServeHTTP(w, r)
			}
		})
	}
}

type discard struct{ h http.Header }

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}
